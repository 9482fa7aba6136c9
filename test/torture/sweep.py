"""Every call that can fail, does: each library call of the host fails once, with each error, at each stage of a life.

    sweep.py [--stages NAMES] [--kinds NAMES] [--count] [--all] [--jobs N]

A stage is run with the first call of a kind failing, then with the second, until a run has fewer: what the host's own
code, libfcgi and libinih call is swept to its end. Of what Python calls, in the stages called so, there is too much:
there a stride is taken, which the table has; --all: none. --count: only says how many calls there are. Exit status 1:
something was found; it has been printed."""
import argparse
import contextlib
import os
import queue
import re
import shutil
import signal
import socket
import sys
import threading
import time

from fault_control import ERRORS, HOSTS, OTHERS, FaultControl, ask
from torment import HERE, Found, Request, TormentedHost, fastcgi, process, scgi, temporary_folder
from host import merged, write_file
from process import wait_until

STRIDES = 40    # runs of one kind and error that are Python's, unless --all
ALIKE = 8       # so many calls that come one after the other from one place: then only every eighth is taken
END_SECONDS = 30  # drain_timeout, cleanup_timeout, and 3 s until a worker is killed
RUNS_MAX = 5000  # a bound that only catches a sweep that does not end
BAD_LOG = re.compile(r"SystemError|Fatal Python error|Sanitizer|[Aa]ssertion .* failed|Segmentation")
# As messages say it, if not in the system's words.
# pthread_create() has another word for no memory.
REASONS = {"ENOMEM": "memory|temporarily unavailable", "EADDRINUSE": "in use", "EPERM": "not permitted|has no CAP_SETUID",
           "ENOENT": "no such file|no such user|not exist|missing|is not a"}
# Blocks that each thread may keep for its next request, and by whom: there are three threads with the watch.
SPARE = {"request_new": 3, "add_block": 3, "response_make_room": 3}
LARGE = b"0123456789abcdef" * (3 << 16)  # of app.py


class Shape(Request):
    """A request that is the same each time. pause: before its response is read, so that it has to wait somewhere."""

    def __init__(self, path="/echo", body=b"", is_scgi=False, pause=0.0):
        self.token, self.body, self.path = "W0-" + path[1:], body, path
        self.is_scgi, self.is_kept, self.pause = is_scgi, False, pause
        protocol = scgi if is_scgi else fastcgi
        self.bytes = protocol.request_bytes("POST" if body else "GET", "%s?token=%s" % (path, self.token), body)

    def read(self, connection):
        time.sleep(self.pause)
        return super().read(connection)

    def expected(self):
        return self.body + (LARGE if self.path in ("/large", "/wrapped") else b"")


GET = Shape()
UPLOAD = bytes(range(256)) * 1200


class Stage:
    """A part of a host's life. shoot(): lives it once with a fault; how many calls failed, 0 or 1."""
    name, whose = "?", HOSTS
    more = {}  # settings
    is_slow = False  # for a fault
    rounds = 1  # of allocations

    def __init__(self, control):
        self.control, self.requests, self.refused, self.host = control, 0, 0, None

    def settings(self):
        return merged({"server": {"threads": 2}, "limits": {"response_memory": "64K"},
                       "shutdown": {"cleanup_timeout": "15s"},  # a machine may be busy
                       "startup": {"retry_delay": "20ms", "retry_max_delay": "100ms"}}, self.more)

    def start(self, **more):
        self.control.forget_owner()
        folder, settings = temporary_folder(), self.settings()
        user = settings["server"].get("user")
        if user:
            shutil.chown(folder, user)
        host = TormentedHost(settings, environ=self.environ(), folder=folder, **more)
        host.becomes_user = bool(user)
        return host

    def environ(self):
        """Its control sockets have a folder of their own."""
        self.runtime = temporary_folder()
        os.chmod(self.runtime, 0o755)
        return dict(self.control.environ, XDG_RUNTIME_DIR=self.runtime, RUNTIME_DIRECTORY=self.runtime)

    def ask(self, host, request=GET, armed=None):
        self.requests += 1
        return ask(host, request, armed)

    def shoot(self, kind, error, nth):
        raise NotImplementedError

    def fail(self, what, host):
        raise Found("%s; the log:\n%s" % (what, host.log.read()[-3000:]))

    def check_log(self, host):
        log = host.log.read()
        if BAD_LOG.search(log):
            self.fail("a bad line", host)

    def check_end(self, host, statuses=(0,)):
        """It ends when asked to, with one of these codes, and leaves nothing; a 1 has its reason in the log."""
        if host.is_running():
            host.popen.terminate()
        try:
            status = host.wait_exit(END_SECONDS)
        except AssertionError:
            self.fail("no end within %d s" % END_SECONDS, host)
        if status not in statuses:
            self.fail("exit status %d at the end" % status, host)
        if status == 1 and not re.search(r' error: |"severity": ?"error"', log_of(host)):
            self.fail("exit status 1 without a reason", host)
        self.check_left(host)

    def check_left(self, host):
        """No socket, pid file or temporary file; each load was cleaned up, once. A file that can't be looked at, or whose
        removal is refused, stays; so may an empty pid file, where its folder can't be opened."""
        left = [path for path in host.socket_files if os.path.exists(path)]
        pid_file = os.path.join(host.folder, "host.pid")
        if os.path.exists(pid_file) and os.path.getsize(pid_file) > 0:
            left.append(pid_file)
        if not re.search("of (fstat|flock) ", self.control.armed):  # the next start takes it, and removes it
            left += [name for name in os.listdir(host.folder) if name.endswith(".lock")]
        if not host.becomes_user:  # who may not remove what root has made there
            left += os.listdir(self.runtime)
        if left and not re.search("of (unlink|stat) ", self.control.armed):
            self.fail("left behind: %s" % left, host)
        is_unsignalled = " of kill " in self.control.armed  # then the worker is killed at the end of its time
        if sorted(host.noted("loads")) != sorted(host.noted("cleanups")) and not is_unsignalled:
            self.fail("loaded by %r, cleaned up by %r" % (host.noted("loads"), host.noted("cleanups")), host)
        if host.noted("short-bodies"):
            self.fail("the application got a short body", host)
        self.check_log(host)

    def end(self, host):
        """Whatever state it is in."""
        if host.is_running():
            host.popen.kill()
        host.popen.wait()
        for folder in (host.folder, host.notes, self.runtime):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self):
        if self.host is not None:
            host, self.host = self.host, None
            try:
                self.check_end(host)
            finally:
                self.end(host)

    def settle(self):
        """After all faults of a kind."""


def log_of(host):
    """What it has logged: to standard error, and to the file that EVERYTHING names."""
    text = host.log.read()
    with contextlib.suppress(FileNotFoundError), open(os.path.join(host.folder, "log"), encoding="utf-8") as file:
        text += file.read()
    return text


EVERYTHING = {"server": {"pid_file": "host.pid", "umask": "0027", "allow": "127.0.0.0/8"},
              "status": {"listen": "unix:status.sock", "path": "/status"},
              "log": {"access": "yes", "format": "json", "destination": "log"}}
MANAGED = {"server": {"manager": "yes"}}


class Start(Stage):
    """From exec until it serves, with one of everything that can be opened."""
    name, more, is_slow = "start", EVERYTHING, True

    def shoot(self, kind, error, nth):
        self.control.arm(kind, error, nth, self.whose)
        host = self.start(wait=False)
        try:
            self.wait(host)
            fired = self.control.disarm()
            if host.is_running():
                self.ask(host)
                self.check_end(host)
            else:
                self.refused += 1
                self.check_refusal(host, error)
            return fired
        finally:
            self.control.disarm()
            self.end(host)

    def text(self, host):
        """What it has said: to its starter, and in its log."""
        path = os.path.join(host.folder, "log")
        if not os.path.exists(path):
            return host.log.read()
        with open(path, encoding="utf-8", errors="replace") as file:
            return host.log.read() + file.read()

    def serves(self, host):
        """A line of the log may be what failed: so it is also asked."""
        if "serving app" in self.text(host) or not host.is_running():
            return True
        if time.monotonic() < self.patience:
            return False
        self.patience = time.monotonic() + 1
        try:
            return self.ask(host, armed=self.control.armed) is not None
        except Found:
            return False

    def wait(self, host):
        self.patience = time.monotonic() + 3
        try:
            wait_until(lambda: self.serves(host), "", 20)
        except AssertionError:
            raise Found("neither serves nor has ended after 20 s; the log:\n" + self.text(host)) from None

    def fail(self, what, host):
        raise Found("%s; the log:\n%s" % (what, self.text(host)[-1500:]))

    def check_refusal(self, host, error):
        """A line that says what failed, and why."""
        text, status = self.text(host), host.popen.returncode
        if status not in (1, 3):
            self.fail("the start ended with code %d" % status, host)
        lines = [line for line in text.splitlines() if line.startswith("fcgihost: ") or " error: " in line or '"error"' in line]
        if not lines:
            self.fail("the start ended with code %d and no line that says why" % status, host)
        why = REASONS.get(error, re.escape(os.strerror(self.control.shared.error)))
        if error and not any(re.search(why, line, re.I) for line in lines):
            self.fail("the start ended and did not say that it was %s" % error, host)
        self.check_left(host)


class StartUser(Start):
    """As root, who becomes another user."""
    name, more = "start-user", merged(EVERYTHING, {"server": {"user": "nobody"}})


class StartPlain(Start):
    """As it is without any settings: the log is standard error."""
    name, more = "start-plain", {}


class StartManager(Start):
    """A manager and its worker."""
    name, more = "start-manager", merged(EVERYTHING, MANAGED)


class StartPython(StartPlain):
    """What Python calls. It may say in its own words why it can't start, and crash where it does so itself."""
    name, whose = "start-python", OTHERS

    def check_refusal(self, host, error):
        if not self.text(host).strip():
            self.fail("the start ended with code %d and said nothing" % host.popen.returncode, host)

    def check_log(self, host):
        pass


class End(Stage):
    """From SIGTERM until the exit."""
    name, more, is_slow = "end", EVERYTHING, True

    def start(self, **more):
        return super().start(probe=False, **more)

    def shoot(self, kind, error, nth):
        host = self.start()
        try:
            self.ask(host)
            self.control.arm(kind, error, nth, self.whose)
            host.popen.terminate()
            self.check_end(host, (0, 1))
            return self.control.disarm()
        finally:
            self.control.disarm()
            self.end(host)


class EndManager(End):
    name, more = "end-manager", merged(EVERYTHING, MANAGED)


class EndPython(End):
    name, whose = "end-python", OTHERS

    def check_log(self, host):
        pass


class Living(Stage):
    """One host for many faults: act() is what it does with each."""

    def open(self):
        if self.host is None:
            self.host = self.start(probe=self.more is not MANAGED)
            self.opened(self.host)

    def opened(self, host):
        """Lives through it without a fault, so that everything is there that will be kept."""
        self.warm_up(host)
        self.kept = fastcgi.Connection(host.address)
        self.check_whole(host)
        self.blocks, host.baseline = self.control.blocks(), len(host.descriptors())

    def warm_up(self, host):
        for _ in range(5):
            self.act(host, None)

    def act(self, host, armed):
        raise NotImplementedError

    def shoot(self, kind, error, nth):
        self.open()
        self.control.arm(kind, error, nth, self.whose)
        try:
            self.act(self.host, self.control.armed)
        finally:
            fired = self.control.disarm()
        if not self.host.is_running():
            self.fail("ended with %d" % self.host.popen.returncode, self.host)
        self.check_whole(self.host)
        return fired

    def check_whole(self, host):
        """Nothing fails any more: so every answer is right, also over a connection that was there before."""
        self.ask(host)
        if host.noted("short-bodies"):
            self.fail("the application got a short body", host)
        try:
            self.kept.send(fastcgi.request_bytes("GET", "/echo?token=" + GET.token))
            response = self.kept.read_response()
            self.requests += 1
            GET.check(response)
        except (OSError, AssertionError) as error:
            self.kept.close()
            self.kept = fastcgi.Connection(host.address)
            # They make room for new ones, or there is no way to hand them over.
            if not re.search("accept .*(EMFILE|ENFILE|ENOMEM)|recv .*ECONNRESET", self.control.armed) and \
                    not re.search("they are closed|it is ended in order", host.log.read()):
                self.fail("a connection that was idle is gone: %s" % error, host)

    def settle(self):
        """Nothing is kept of all that failed: no descriptor, no connection, no memory. Only libfcgi, which calls assert()
        where malloc() fails, may lose what it did not point to yet."""
        if self.host is None:
            return
        self.check_log(self.host)
        complaints, is_libraries = self.host.check_descriptors(), "of malloc" not in self.control.armed
        end, more = time.monotonic() + 5, self.control.more_blocks(self.blocks, SPARE, is_libraries)
        while more and time.monotonic() < end:
            time.sleep(0.05)
            more = self.control.more_blocks(self.blocks, SPARE, is_libraries)
        if more:
            complaints.append("blocks that were not there before: %s" % more)
        if more or not is_libraries:
            self.blocks = self.control.blocks()
        if complaints:
            self.fail("; ".join(complaints), self.host)

    def close(self):
        if self.host is not None:
            self.kept.close()
        super().close()


class Requests(Living):
    """shapes: what is asked while a call fails, over connections of their own."""
    shapes, rounds = [], 5  # more blocks than threads may keep are lost, if each fault loses one

    def warm_up(self, host):
        """As many at the same time as a fault may bring about: what a response holds is kept for the next one."""
        for _ in range(5):
            threads = [threading.Thread(target=self.act, args=(host, None)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def act(self, host, armed):
        for shape in self.shapes:
            self.ask(host, shape, armed)


class Get(Requests):
    name, shapes = "get", [GET]


class Upload(Requests):
    """A body that goes to a temporary file: it is too much for a burst that stays in memory."""
    name, shapes, more = "upload", [Shape("/echo", UPLOAD)], {"limits": {"body_memory": "8K"}}


class Download(Requests):
    """A response that waits for its client, in a temporary file."""
    name, shapes = "download", [Shape("/large", pause=0.03)]


class File(Requests):
    name, shapes = "file", [Shape("/wrapped", pause=0.03)]


class Stream(Requests):
    name, shapes = "stream", [Shape("/stream", UPLOAD[:5000])]


class Fail(Requests):
    """An application that raises."""
    name, shapes = "raise", [Shape("/fail")]


class Scgi(Upload):
    name, shapes = "scgi", [Shape("/echo", UPLOAD, is_scgi=True)]


class ScgiDownload(Requests):
    name, shapes = "scgi-download", [Shape("/large", is_scgi=True, pause=0.03)]


class GetPython(Requests):
    """What Python calls for a request."""
    name, whose, shapes = "get-python", OTHERS, [GET, Shape("/echo", UPLOAD)]

    def check_log(self, host):
        pass


class Kept(Requests):
    """Several requests over one connection, with bodies, and one that is aborted."""
    name = "kept"

    def act(self, host, armed):
        self.requests += 3
        try:
            with fastcgi.Connection(host.address, 20) as connection:
                for body in (b"", b"x" * 100, UPLOAD):
                    connection.send(fastcgi.request_bytes("POST", "/echo?token=" + GET.token, body))
                    response = connection.read_response()
                    if response.status == 200 and response.ended:
                        Shape("/echo", body).check(response)
                    elif response.status not in (200, 400, 500, 503):
                        raise Found("%d" % response.status)
                connection.send(fastcgi.begin() + fastcgi.abort())
        except TimeoutError:
            self.fail("no answer in 20 s", host)
        except (OSError, ValueError, AssertionError):
            if armed is None:
                raise


class Status(Living):
    """The status over its own socket, and through a request."""
    name, more = "status", {"status": EVERYTHING["status"]}

    def act(self, host, armed):
        answer = b""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(os.path.join(host.folder, "status.sock"))
                client.sendall(b"GET /status?format=json HTTP/1.0\r\n\r\n")
                while piece := client.recv(65536):
                    answer += piece
        except TimeoutError:
            self.fail("no answer in 20 s", host)
        except OSError:
            if armed is None:
                raise
        if armed is None and b" 200 " not in answer[:20]:
            self.fail("a status without a fault: %r" % answer[:100], host)
        try:
            self.requests += 2
            response = fastcgi.exchange(host.address, "GET", "/status?format=json")
            if response.status not in (200, 500, 503):
                raise Found("%d for the status" % response.status)
        except TimeoutError:
            self.fail("no answer in 20 s", host)
        except (OSError, ValueError, AssertionError):
            if armed is None:
                raise


class Hup(Living):
    """SIGHUP without a manager: the log is opened anew."""
    name, more = "hup", {"log": {"destination": "log"}}

    def act(self, host, armed):
        path = os.path.join(host.folder, "log")
        os.rename(path, path + ".1")
        host.popen.send_signal(signal.SIGHUP)
        end = time.monotonic() + (0.3 if armed else 10)
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.002)
        if not os.path.exists(path):
            if armed is None:
                self.fail("no new log", host)
            os.rename(path + ".1", path)


class Reloading(Living):
    """Code whose answer is its version. After a fault the old or the new one serves; the next change is taken."""
    mode, file, patience = "script", "code.py", 0.5
    source = '''
import os
import fcgihost
VERSION = %d
FOLDER = os.environ["FOLDER"]
def note(name):
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write("%%d\\n" %% VERSION)
note("loads")
fcgihost.register_cleanup(note, "cleanups")
def application(environ, start_response):
    path = environ["PATH_INFO"]
    answer = b"%%d" %% VERSION
    if path == "/echo":
        answer = b"W0-echo\\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
'''

    def start(self, **more):
        self.version, self.code = 1, temporary_folder()
        os.chmod(self.code, 0o755)
        self.write()
        return super().start(**more)

    def settings(self):
        settings = super().settings()
        settings["reload"] = {"mode": self.mode, "interval": "20ms"}
        settings["application"] = {"script": os.path.join(self.code, self.file), "wsgi": None}
        return settings

    def write(self):
        path = os.path.join(self.code, self.file)
        write_file(path + ".new", self.source % self.version, 0o644)
        os.rename(path + ".new", path)

    def serving_version(self, host, armed):
        """None: a request failed as one may."""
        self.requests += 1
        try:
            response = fastcgi.exchange(host.address, "GET", "/version")
        except TimeoutError:
            self.fail("no answer in 20 s", host)
        except (OSError, ValueError, AssertionError):
            if armed is None and host.is_running():
                raise
            return None
        if response.status == 200 and response.ended:
            return int(response.body)
        if response.status not in (200, 400, 500, 503) or armed is None:
            self.fail("%d" % response.status, host)
        return None

    def wait_for(self, host, version, armed, seconds):
        end = time.monotonic() + seconds
        while host.is_running() and time.monotonic() < end:
            found = self.serving_version(host, armed)
            if found == version:
                return True
            if found not in (None, version, self.last):
                self.fail("version %r while %d follows %d" % (found, version, self.last), host)
            time.sleep(0.005)
        return False

    def change(self, host, armed, seconds):
        self.last, self.version = self.version, self.version + 1
        self.write()
        self.trigger(host)
        return self.wait_for(host, self.version, armed, seconds)

    def trigger(self, host):
        """The host finds the change by itself."""

    def act(self, host, armed):
        """A fault may keep the old one; the change after it is taken, without a fault."""
        if not self.change(host, armed, self.patience if armed else 20) and armed is None:
            self.fail("the change was not taken", host)

    def check_whole(self, host):
        """The last change was taken, or the next one is; each one that was loaded is cleaned up once."""
        if self.serving_version(host, None) != self.version and not self.change_again(host):
            self.fail("the change after the fault was not taken", host)
        super().check_whole(host)
        wait_until(lambda: sorted(host.noted("cleanups") + [self.version]) == sorted(host.noted("loads")),
                   "loaded %r, cleaned up %r; the log:\n%s" % (host.noted("loads")[-8:], host.noted("cleanups")[-8:],
                                                               host.log.read()[-3000:]), 10)

    def change_again(self, host):
        before = self.last
        self.version += 1
        self.write()
        self.trigger(host)
        self.last = before
        end = time.monotonic() + 20
        while time.monotonic() < end and host.is_running():
            if self.serving_version(host, None) == self.version:
                return True
            time.sleep(0.005)
        return False


class ReloadScript(Reloading):
    name = "reload-script"


class ReloadProcess(Reloading):
    """Without a manager: a trial process, then the program is executed anew, in which a fault may end the start: after
    exec() there is nothing to go back to."""
    name, mode, patience, is_slow = "reload-process", "process", 3, True

    def shoot(self, kind, error, nth):
        try:
            return super().shoot(kind, error, nth)
        except Found:
            if self.host.is_running() or self.host.popen.returncode not in (1, 3):
                raise
            self.refused += 1
            Start.check_refusal(self, self.host, error)
            self.kept.close()
            self.end(self.host)
            self.host = None
            return 1

    def text(self, host):
        return host.log.read()[-2000:]

    def check_left(self, host):
        """Its loads differ: the trial's and the predecessors' are among them."""

    def settle(self):
        """Each program has a table of its own."""


class Roll(Reloading):
    """SIGHUP to a manager: a successor is started, and takes the place of its predecessor."""
    name, mode, patience, more, is_slow = "roll", "off", 3, MANAGED, True

    def trigger(self, host):
        host.popen.send_signal(signal.SIGHUP)

    def wait_for(self, host, version, armed, seconds):
        """Until it says how it ended."""
        since, is_new = host.log.mark(), super().wait_for(host, version, armed, seconds)
        if armed is None:
            host.log.wait("all workers have been replaced", max(0, since - 300))
        return is_new

    def settle(self):
        super().settle()
        if self.host is not None:
            wait_until(lambda: len(process.children(self.host.pid)) == 1, "one worker", 10)


class Respawn(Living):
    """A worker ends: its manager starts another one."""
    name, more, is_slow = "respawn", MANAGED, True

    def worker(self, host):
        return wait_until(lambda: process.children(host.pid), "a worker", 40)[0]

    def act(self, host, armed):
        before = self.worker(host)
        os.kill(before, signal.SIGTERM)
        wait_until(lambda: process.has_gone(before), "the worker's end", 20)
        self.ask(host, armed=armed)

    def check_whole(self, host):
        """Idle connections are closed in order, as a worker that is signalled has no heir."""
        self.ask(host)


STAGES = [Start, *([StartUser] if os.geteuid() == 0 else []), StartPlain, StartManager, Get, Kept, Upload, Download, File, Stream, Fail, Scgi, ScgiDownload, Status, Hup,
          ReloadScript, ReloadProcess, Roll,
          Respawn, End, EndManager]
PYTHON_STAGES = [StartPython, GetPython, EndPython]


class Row:
    """What the table has of a stage."""

    def __init__(self):
        self.kinds, self.calls, self.faults, self.requests, self.refused, self.found = 0, 0, 0, 0, 0, 0
        self.loops, self.strides = 0, {}


class Sweep:
    """Shares the kinds of all stages out among threads, each with a host of its own."""

    def __init__(self, options):
        self.options, self.lock, self.jobs = options, threading.Lock(), queue.SimpleQueue()
        self.told = set()
        self.rows = {stage.name: Row() for stage in options.stages}
        for stage in options.stages:
            for kind in options.kinds:
                self.jobs.put((stage, kind))

    def run(self):
        threads = [threading.Thread(target=self.work) for _ in range(self.options.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def work(self):
        control, stage = FaultControl(), None
        while True:
            try:
                wanted, kind = self.jobs.get_nowait()
            except queue.Empty:
                break
            if stage is None or type(stage) is not wanted:
                self.close(stage)
                stage = wanted(control)
            self.sweep_kind(stage, kind)
        self.close(stage)

    def close(self, stage):
        if stage is not None:
            self.call(stage, stage.close)
            with self.lock:
                self.rows[stage.name].requests += stage.requests
                self.rows[stage.name].refused += stage.refused

    def call(self, stage, function, *arguments):
        """What it returns; None: something was found."""
        try:
            return function(*arguments)
        except Exception as error:
            self.tell(stage, "%s: %s" % (type(error).__name__, error))
            if isinstance(stage, Living) and stage.host is not None:
                host, stage.host = stage.host, None  # the next fault gets a fresh one
                stage.kept.close() if hasattr(stage, "kept") else None
                stage.end(host)
            return None

    def tell(self, stage, text):
        """The log only once for each place in the code."""
        where = stage.control.where()
        with self.lock:
            self.rows[stage.name].found += 1
            key = stage.name, where, text[:30]
            text = text if key not in self.told else text.split("\n")[0]
            self.told.add(key)
            print("sweep: %s: FOUND: %s: %s\n  in %s" % (stage.name, stage.control.armed, text, where), flush=True)

    def sweep_kind(self, stage, kind):
        most = 0
        began = time.monotonic()
        errors = ERRORS[kind] * (stage.rounds if kind == "malloc" else 1)
        for error in [None] if self.options.count else errors:
            calls = self.sweep_error(stage, kind, error)
            most = max(most, calls)
            if not calls:
                break
        self.call(stage, stage.settle)
        with self.lock:
            row = self.rows[stage.name]
            row.kinds += most > 0
            row.calls += most
            if most:
                print("sweep: %s, %s: %d calls, %.1f s" % (stage.name, kind, most, time.monotonic() - began), flush=True)

    def sweep_error(self, stage, kind, error):
        """How many calls there were. error None: none fails."""
        nth, stride, most, places = int(error is not None), 1, 0, []
        while nth <= RUNS_MAX:
            fired = self.call(stage, stage.shoot, kind, error, nth)
            if fired is None:
                fired = stage.control.shared.frame_count > 0
            most = max(most, stage.control.calls)
            with self.lock:
                self.rows[stage.name].faults += fired
            if not fired:
                break
            if stage.whose == OTHERS and not self.options.all and nth == 1:
                stride = max(1, most // STRIDES)
                with self.lock:
                    self.rows[stage.name].strides[kind] = max(stride, self.rows[stage.name].strides.get(kind, 1))
            places = [place for place in places if place == stage.control.place()] + [stage.control.place()]
            is_loop = stage.is_slow and len(places) > ALIKE
            nth += max(stride, ALIKE if is_loop else 1)
            with self.lock:
                self.rows[stage.name].loops += is_loop
        return most

    def print_table(self):
        line = "%-14s %6s %8s %8s %9s %8s %6s  %s"
        print(line % ("stage", "kinds", "calls", "faults", "requests", "refused", "found", "strides"))
        for name, row in self.rows.items():
            strides = " ".join("%s:%d" % pair for pair in sorted(row.strides.items()) if pair[1] > 1)
            strides += " loops:%d" % ALIKE if row.loops else ""
            print(line % (name, row.kinds, row.calls, row.faults, row.requests, row.refused, row.found, strides))
        total = [sum(getattr(row, name) for row in self.rows.values())
                 for name in ("kinds", "calls", "faults", "requests", "refused", "found")]
        print(line % ("all", *total, ""))


def pick(text, known, what):
    names = [name for name in text.split(",") if name] if text else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit("sweep: no %s is called %s; there are %s" % (what, ", ".join(unknown), ", ".join(known)))
    return [known[name] for name in names]


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stages", default="", help="names, with commas between")
    parser.add_argument("--kinds", default="", help="likewise")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--all", action="store_true", help="no strides for what Python calls")
    options = parser.parse_args(arguments)
    options.stages = pick(options.stages, {stage.name: stage for stage in STAGES + PYTHON_STAGES}, "stage")
    options.kinds = pick(options.kinds, {kind: kind for kind in ERRORS}, "kind")
    return options


def main():
    process.adopt_orphans()
    sweep = Sweep(parse(sys.argv[1:]))
    sweep.run()
    sweep.print_table()
    return 1 if any(row.found for row in sweep.rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
