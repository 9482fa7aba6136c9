"""The log: nobody waits for it, and what an application prints reaches it, whatever it is."""
import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

import fastcgi
import fronts
import process
from conftest import serves
from host import APPS, PROGRAM, Host, LogFile, base_settings, ini_text, merged, write_file
from process import wait_until

PRINTING = '''
import faulthandler
faulthandler.enable()
import ctypes, logging, os, subprocess, sys, threading, time
sys.stdout.reconfigure(line_buffering=True)

def fail():
    raise RuntimeError("announced failure of a thread")

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/print":
        print("printed by the application")
        sys.stderr.write("half a line, ")
        sys.stderr.write("and its end\\n")
        sys.stdout.buffer.write(b"bytes of the application\\n")
        sys.stdout.buffer.flush()
        logging.warning("by logging")
    elif path == "/thread":
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    elif path == "/child":
        subprocess.run("echo output of a child; echo errors of a child >&2", shell=True)
        subprocess.run("echo explicit errors >&2", shell=True, stderr=sys.stderr)
        subprocess.run("echo explicit output", shell=True, stdout=sys.stdout.fileno())
    elif path == "/fork":
        child = os.fork()
        if child == 0:
            environ["wsgi.errors"].write("from a forked child\\n")
            os._exit(0)
        os.waitpid(child, 0)
    elif path == "/wait":  # for all children: the host may have none that an application sees
        try:
            os.wait()
        except ChildProcessError:
            pass
    elif path == "/umask":
        os.umask(0o777)
    elif path == "/zone":
        os.environ["TZ"] = "Asia/Kathmandu"
        time.tzset()
        environ["wsgi.errors"].write("after tzset\\n")
    elif path == "/crash":
        ctypes.string_at(0)
    elif path == "/abort":
        os.abort()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
'''
PRINTED = ("printed by the application", "half a line, and its end", "bytes of the application",
           "by logging")
OF_CHILDREN = ("output of a child", "errors of a child", "explicit errors", "explicit output")
TIME = r"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{3}"
SYSLOG = '''
set -e
mount -t tmpfs none "$1"
for name in null zero urandom; do touch "$1/$name"; mount --bind /dev/$name "$1/$name"; done
mkdir "$1/shm"
ln -s "$2" "$1/log"
ln -s /proc/self/fd "$1/fd"
mount --bind "$1" /dev
shift 2
exec "$@"
'''


@pytest.fixture
def printing(folder):
    write_file(folder / "printing.py", PRINTING)
    return folder


def settings(folder, **log):
    return {"python": {"path": [APPS, str(folder)]}, "log": {"level": "warning", **log}}


def get(host, path):
    return fastcgi.exchange(host.address, "GET", path)


def malformed(host, number=40):
    """Connections that the host closes with a warning each."""
    for _ in range(number):
        with contextlib.suppress(OSError), \
                socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(process.deadline(30))
            peer.connect(host.address)
            peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while peer.recv(1000):
                pass


class Syslog:
    """A daemon's socket; the host sees it as /dev/log, in a namespace of its own."""
    def __init__(self, folder):
        self.path = os.path.join(folder, "syslog")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.text = ""
        os.mkdir(os.path.join(folder, "dev"))
        self.before = ["unshare", "-m", "--propagation", "private", "sh", "-c", SYSLOG, "sh",
                       os.path.join(folder, "dev"), self.path]

    def read(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.text += self.socket.recv(100000).decode() + "\n"
        return self.text

    def wait(self, word):
        wait_until(lambda: word in self.read(), word + "\n" + self.text)


def start_with_syslog(folder, log=None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                      app="printing:application"):
    syslog = Syslog(str(folder))
    server = {"server": {"listen": "unix:%s/s" % folder}}
    path = write_file(folder / "x.ini", ini_text(merged(
        base_settings(app), settings(folder), server, {"log": log or {}})))
    popen = process.start([*syslog.before, PROGRAM, "-c", str(path)], stdout=stdout, stderr=stderr)
    popen.address = str(folder / "s")
    wait_until(lambda: answers(popen), "an answer:\n" + syslog.read())
    return popen, syslog


def answers(host):
    try:
        return get(host, "/ready").status == 200
    except (OSError, AssertionError):
        return False


needs_mount = pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode != 0 or
    bool(process.SAN), reason="no mount namespace for /dev/log, or a sanitizer that wants /dev")


class TestNobodyWaits:
    def stays_in_order(self, host):
        malformed(host)
        assert serves(host)
        malformed(host)
        assert serves(host)
        host.popen.send_signal(signal.SIGTERM)
        assert host.wait_exit() == 0

    def test_a_full_pipe_as_standard_error_stops_nothing(self):
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writer, b"x" * 4096)
        host = Host(args=["--set", "log.level=debug"], run_first=lambda: os.dup2(writer, 2))
        os.close(writer)
        self.stays_in_order(host)
        assert fcntl.fcntl(reader, fcntl.F_GETFL) & os.O_NONBLOCK == 0
        os.close(reader)

    def test_the_flags_of_an_inherited_descriptor_are_left_alone(self):
        reader, writer = os.pipe()
        host = Host(run_first=lambda: os.dup2(writer, 2))
        assert fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK == 0
        os.close(writer)
        os.close(reader)
        assert get(host, "/ready").status == 200

    def test_a_fifo_without_a_reader_stops_nothing_and_keeps_what_fits(self, folder):
        os.mkfifo(folder / "fifo")
        host = Host(settings={"log": {"destination": str(folder / "fifo")}})
        with open(os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
            malformed(host)
            wait_until(lambda: (text := reader.read()) and b"connection closed" in text, "the log")
        os.remove(folder / "fifo")
        self.stays_in_order(host)

    @needs_mount
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
    def test_a_stuck_syslog_stops_nothing(self, printing, number):
        host, syslog = start_with_syslog(printing, app="wsgi_app:application")
        malformed(host, 60)  # nobody reads: 10 datagrams fit
        assert serves(host)
        process.stop(host, number)
        assert host.returncode == 0

    @needs_mount
    def test_what_syslog_missed_is_counted(self, printing):
        host, syslog = start_with_syslog(printing, {"level": "info"}, app="wsgi_app:application")
        syslog.read()
        malformed(host, 60)
        os.kill(host.pid, signal.SIGUSR2)
        syslog.wait("SIGUSR2")
        assert syslog.text.count("connection closed") == 60  # so few are kept
        assert process.stop(host) == 0
        syslog.wait("stopped")


class TestStreams:
    def test_what_is_printed_is_in_a_log_file_whatever_its_level(self, printing, expected_log):
        log = LogFile(printing / "log")
        host = Host("printing:application", settings(printing, destination=log.path))
        for path in ("/print", "/thread", "/child", "/fork", "/wait"):
            assert get(host, path).text == "done"
        for word in PRINTED + OF_CHILDREN + ("announced failure of a thread",
                                             "error: GET /fork: from a forked child"):
            log.wait(re.escape(word))
        assert host.log.read() == ""

    def test_standard_output_that_leads_nowhere_joins_standard_error(self, printing):
        host = Host("printing:application", settings(printing),
                    run_first=lambda: os.dup2(os.open("/dev/null", os.O_WRONLY), 1))
        assert get(host, "/print").text == "done"
        host.log.wait("printed by the application")

    @pytest.mark.skipif(bool(process.SAN), reason="the sanitizer has its own last words of a crash")
    @pytest.mark.parametrize("path", ["/crash", "/abort"])
    def test_the_last_words_of_a_crash_are_in_a_log_file(self, printing, path):
        log = LogFile(printing / "log")
        host = Host("printing:application", settings(printing, destination=log.path))
        host.expected_status = None
        with contextlib.suppress(AssertionError, OSError):
            get(host, path)
        log.wait("Fatal Python error")
        log.wait("printing.py\", line \\d+ in application")
        host.wait_exit()
        host.socket_files = []

    @needs_mount
    @pytest.mark.parametrize("path", ["/crash", "/abort"])
    def test_the_last_words_of_a_crash_reach_syslog_and_nothing_stays_behind(self, printing, path):
        host, syslog = start_with_syslog(printing)
        with contextlib.suppress(AssertionError, OSError):
            get(host, path)
        syslog.wait("Fatal Python error")
        syslog.wait("printing.py\", line ")
        assert host.wait(process.deadline(30)) < 0

    @needs_mount
    def test_what_is_printed_reaches_syslog(self, printing):
        host, syslog = start_with_syslog(printing)
        for path, words in (("/print", PRINTED), ("/child", OF_CHILDREN), ("/wait", ()),
                            ("/thread", ["announced failure of a thread"]),
                            ("/fork", ["from a forked child"])):
            assert get(host, path).text == "done"
            for word in words:  # a socket holds 10 datagrams
                syslog.wait(word)
        assert re.search(r"<30>\w{3} [ \d]\d \d\d:\d\d:\d\d fcgihost\[%d\]: printed by" % host.pid,
                         syslog.text)
        assert process.stop(host) == 0

    @needs_mount
    @pytest.mark.parametrize("wrong", [{"threads": "many"}, {"listen": "unix:/none/x"}])
    def test_why_it_can_not_start_reaches_syslog(self, folder, wrong):
        syslog = Syslog(str(folder))
        path = write_file(folder / "x.ini", ini_text(merged(
            base_settings("hello:application"), {"server": {"listen": "unix:x", **wrong}})))
        popen = process.start([*syslog.before, PROGRAM, "-c", str(path)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert popen.wait(process.deadline(30)) in (1, 3)
        assert "<27>" in syslog.read() and list(wrong)[0] in syslog.text


class TestFile:
    def test_times_keep_the_offset_of_the_start(self, printing):
        log = LogFile(printing / "log")
        host = Host("printing:application", settings(printing, destination=log.path),
                    environ={"TZ": "Europe/Paris" if os.path.exists("/usr/share/zoneinfo") else "X-2"})
        assert get(host, "/zone").text == "done"
        assert log.wait(r"(?m)^%s\+0[12]:00 \[%d\] error: GET /zone: after tzset \(request [0-9a-f]{16}\)$" % (TIME, host.pid))

    @pytest.mark.parametrize("number", [None, signal.SIGHUP])
    def test_one_that_was_moved_away_is_opened_anew_with_its_mode(self, printing, number):
        log = LogFile(printing / "log")
        host = Host("printing:application", settings(printing, destination=log.path))
        assert get(host, "/umask").text == "done"
        os.rename(log.path, str(log.path) + ".1")
        if number:
            os.kill(host.pid, number)
        wait_until(lambda: os.path.exists(log.path), "a new file")
        assert os.stat(log.path).st_mode & 0o777 == 0o640
        assert get(host, "/print").text == "done"
        for word in PRINTED:
            log.wait(re.escape(word))

    def test_no_line_is_lost_or_torn_while_it_is_moved_under_load(self, printing):
        write_file(printing / "loud.py", '''
import sys
def application(environ, start_response):
    token = environ["QUERY_STRING"]
    environ["wsgi.errors"].write("begin %s %s end\\n" % (token, "x" * 500))
    sys.stderr.write("begin printed%s end\\n" % token)
    start_response("200 OK", [])
    return [b""]
''')
        log = str(printing / "log")
        host = Host("loud:application", settings(printing, destination=log))
        for number in range(600):
            assert get(host, "/?%d" % number).status == 200
            if number % 60 == 30:
                wait_until(lambda: os.path.exists(log), "the log, opened again")
                os.rename(log, "%s.%d" % (log, number))
                os.kill(host.pid, signal.SIGHUP)
        host.popen.send_signal(signal.SIGTERM)
        assert host.wait_exit() == 0
        text = "".join(LogFile(printing / name).read() for name in os.listdir(printing)
                       if name.startswith("log"))
        lines = [line for line in text.splitlines() if re.search(r"begin (printed)?\d", line)]
        assert len(lines) == 1200
        assert all(re.fullmatch(r"\S+ \[\d+\] (error: GET /: begin \d+ x{500} end \(request \w+\)|"
                                r"info: begin printed\d+ end)", line) for line in lines)


# A file system of its own, for this host alone.
SMALL = 'mount -t tmpfs -o size=64k none "$1" && shift && exec "$@"'


@needs_mount
class TestFullDisk:
    """The log's file system is a tmpfs of 64 KiB that only the host has."""
    @pytest.mark.parametrize("form", ["text", "json"])
    def test_what_is_lost_is_counted_and_told_of_when_it_works_again(self, printing, form):
        small = printing / "small"
        small.mkdir()
        path = write_file(printing / "x.ini", ini_text(merged(base_settings("printing:application"), settings(
            printing, destination=str(small / "log"), format=form, level="info"), {
                "server": {"listen": "unix:%s/s" % printing}, "status": {"path": "/status"}})))
        host = process.start(["unshare", "-m", "--propagation", "private", "sh", "-c", SMALL, "sh", str(small), PROGRAM,
                              "-c", str(path)])
        host.address = str(printing / "s")
        wait_until(lambda: answers(host), "an answer")
        inside = "/proc/%d/root%s/" % (host.pid, small)
        with open(inside + "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 512)
        for _ in range(100):
            assert [get(host, path).text for path in ("/print", "/zone")] == ["done"] * 2
        wait_until(lambda: dropped(host) >= 500, "messages that are dropped")
        os.remove(inside + "filler")
        log = LogFile(inside + "log")

        def is_told():
            assert [get(host, path).text for path in ("/print", "/zone")] == ["done"] * 2
            return len(re.findall(r"\d+ messages were dropped", log.read())) >= 2
        wait_until(is_told, "the host and the relay to say so")
        lines = log.read().splitlines()
        start = r"\S+ \[\d+\] \w+: |  " if form == "text" else r'\{"timestamp":.*\}$'
        assert all(re.match(start, line) for line in lines)
        assert process.stop(host) == 0


def dropped(host):
    return json.loads(get(host, "/status?format=json").body)["log"]["dropped"]


class TestSeveralHosts:
    def test_lines_of_two_hosts_on_one_file_are_whole(self, printing, expected_log):
        log = LogFile(printing / "log")
        long = "y" * 3000
        write_file(printing / "many.py", '''
def application(environ, start_response):
    for number in range(200):
        environ["wsgi.errors"].write("begin %%s %%d %s end\\n" %% (environ["QUERY_STRING"], number))
        print("begin printed%%s %%d %s end" %% (environ["QUERY_STRING"], number))
    start_response("200 OK", [])
    return [b""]
''' % (long, long))
        hosts = [Host("many:application", settings(printing, destination=log.path)) for _ in range(2)]
        clients = [threading.Thread(target=get, args=(host, "/?%d" % number)) for number, host in enumerate(hosts)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        for number in range(2):
            log.wait("begin printed%d 199 " % number)
        lines = [line for line in log.read().splitlines() if "begin" in line]
        assert len(lines) >= 800 and all(re.fullmatch(
            r"\S+ \[\d+\] (error: GET /\w*: begin \d* \d+ y{3000} end \(request \w+\)|"
            r"info: begin printed\d* \d+ y{3000} end)", line) for line in lines)


class TestSecrets:
    def test_no_query_is_in_a_warning_a_traceback_or_the_stacks(self, expected_log, folder):
        expected_log("announced failure x")
        host = Host()
        assert host.exchange("GET", "/error?token=x&secret=hush").status == 500
        host.log.wait("GET /error: the application failed")
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/sleep?ms=2000&secret=hush"))
            wait_until(lambda: in_stacks(host), "a request in the stacks")
            assert connection.read_response().status == 200
        assert "hush" not in host.log.read()


def in_stacks(host):
    mark = host.log.mark()
    os.kill(host.pid, signal.SIGUSR2)
    host.log.wait("SIGUSR2: ", mark)
    return "serving GET /sleep for" in host.log.read()


class TestFront:
    """[log] front: what a request logs as FCGI_STDERR."""
    def test_the_head_comes_first_as_nginx_has_little_room_for_what_is_before_it(self):
        host = Host(settings={"log": {"front": "yes"}})
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/errors?text=a%1b%5B2Jb"))
            records = [connection.read_record()]
            while records[-1][0] != fastcgi.END_REQUEST:
                records.append(connection.read_record())
        kinds = [kind for kind, _, _ in records]
        assert kinds[0] == fastcgi.STDOUT and kinds.count(fastcgi.STDERR) >= 2
        text = b"".join(content for kind, _, content in records if kind == fastcgi.STDERR)
        assert b"several pieces of a\\x1b[2Jb\n" in text

    def test_much_of_it_before_the_head_does_not_make_nginx_answer_502(self):
        site = fronts.NginxFastcgi("wsgi_app:application", "", {"log": {"front": "yes"}})
        text = "x" * 6000  # more than nginx has room for before the head
        response = fronts.http_request(site.port, "GET", site.prefix + "/errors?text=" + text)
        assert response.status == 200
        site.error_log.wait('in stderr: "xxx')
        site.error_log.wait('in stderr: "several pieces of xxx')
