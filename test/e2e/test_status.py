"""What operators see: --status, [status] path, ping and listen, whatever the rest of the process does."""
import json
import os
import pathlib
import re
import shutil
import select
import signal
import socket
import subprocess

import pytest

import fastcgi
import scgi
from host import PROGRAM, PYTHON, Host, temporary_folder
from process import wait_until

SETTINGS = {"server": {"threads": 2}, "status": {"path": "/status", "ping": "/ping"}}

# The names of the JSON, of which each must be there.
NAMES = {
    "": "version python state started uptime_seconds generation listeners requests threads connections "
        "applications imports resources pools locks cleanups restarts log processes",
    "listeners": "address queued backlog",
    "requests": "total in_flight sending waiting oldest_waiting_seconds by_status slow timeouts",
    "threads": "total busy max_busy",
    "connections": "open idle max",
    "applications": "name mount required state generation attempts last_error reload_failed next_attempt_seconds loaded_in_seconds",
    "imports": "name required state generation attempts last_error reload_failed next_attempt_seconds loaded_in_seconds",
    "resources": "name pid state last_error retry_in_seconds age_seconds",
    "pools": "name pid size in_use idle waiting oldest_lease_seconds age_seconds",
    "locks": "name pid state holder_pid holder_thread held_seconds waiting age_seconds",
    "cleanups": "registered scopes age_seconds",
    "restarts": "requests lifetime memory idle reload crash timeout",
    "log": "dropped",
    "processes": "pid state started requests rss_bytes generation threads",
}
APP = '''
import ctypes, os, time
import fcgihost

pool = fcgihost.Pool(object, size=2)

@fcgihost.resource(retry_delay=3600)
def db():
    raise ConnectionError("no <b>route</b>\\nto it")

@fcgihost.register_cleanup
def say_goodbye():
    pass

def use_all():
    try:
        db.get()
    except fcgihost.ResourceUnavailable:
        pass
    with pool.lease(), fcgihost.lock("invoices"):
        wait()

def wait():
    open(os.environ["MARKER"], "a").write("x")
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.01)

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/wait"):
        wait()
    elif path == "/use":
        use_all()
    elif path == "/restart":
        fcgihost.restart()
    elif path == "/wedge":  # holds the GIL in C, as a broken extension does
        open(os.environ["MARKER"], "a").write("x")
        libc = ctypes.PyDLL(None)
        while libc.access(os.environ["GO"].encode(), 0) != 0:
            libc.usleep(10000)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hi"]
'''


class Watched:
    """A host in a run-time directory of its own, with a socket of the status's own."""

    def __init__(self, folder, app=APP, settings=None, wait=True, probe=False, listen_status=None, **more):
        self.folder = folder
        (folder / "watched_app.py").write_text(app)
        self.marker, self.go = folder / "marker", folder / "go"
        self.runtime = folder / "run"
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        self.environ = {"MARKER": str(self.marker), "GO": str(self.go), "RUNTIME_DIRECTORY": str(self.runtime),
                        "PYTHONPATH": ""}
        self.status_socket = str(self.runtime / "s")
        settings = {**SETTINGS, **(settings or {})}
        settings["status"] = {**SETTINGS["status"], "listen": listen_status or "unix:" + self.status_socket}
        settings["python"] = {"path": [str(folder)], "bytecode": "no"}
        self.connections = []
        self.host = Host(None if "application" in settings else "watched_app:application", settings, environ=self.environ, wait=wait, probe=probe, **more)
        if wait:
            self.host.log.wait("serving .*watched_app")
        else:
            wait_until(lambda: os.path.exists(self.status_socket) and list(self.runtime.glob("fcgihost-*.sock")),
                       "the control thread")

    def ask(self, *args, ini=None):
        return subprocess.run([PROGRAM, "--status", *(args or ("-c", os.path.join(self.host.folder, "fcgihost.ini")))],
                              capture_output=True, text=True, env={**os.environ, **self.environ}, timeout=60)

    def json(self):
        result = self.ask("-c", os.path.join(self.host.folder, "fcgihost.ini"), "--format", "json")
        return json.loads(result.stdout)

    def http(self, target, method="GET"):
        """Status and text, over plain HTTP on the status's own socket."""
        result = subprocess.run(["curl", "-s", "-o", "-", "-w", "\n%{http_code}", "-X", method, "--max-time", "30",
                                 "--unix-socket", self.status_socket, "http://status" + target],
                                capture_output=True, text=True, timeout=60)
        text, _, code = result.stdout.rpartition("\n")
        return int(code), text

    def begin(self, path, count=1):
        """Requests that are in the application when it returns."""
        before = len(self.marker.read_text()) if self.marker.exists() else 0
        for _ in range(count):
            connection = fastcgi.Connection(self.host.address)
            connection.send(fastcgi.request_bytes("GET", path, keep=False))
            self.connections.append(connection)
        wait_until(lambda: self.marker.exists() and len(self.marker.read_text()) >= before + count, "the requests")

    def let_go(self):
        self.go.touch()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def watched(tmp_path):
    made = []

    def make(**more):
        made.append(Watched(more.pop("folder", tmp_path), **more))
        return made[-1]
    yield make
    for one in made:
        one.let_go()


def assert_complete(status):
    """Each name is there; of each list with a member at least, or it would show nothing."""
    def check(names, value):
        assert set(names.split()) == set(value), names
    check(NAMES[""], status)
    for key, names in NAMES.items():
        values = [] if not key else status[key] if isinstance(status[key], list) else [status[key]]
        assert values or not key, key
        for value in values:
            check(names, value)
    check("2xx 3xx 4xx 5xx", status["requests"]["by_status"])
    for scope in status["cleanups"]["scopes"]:
        check("name pid registered age_seconds", scope)
    for process in status["processes"]:
        assert process["threads"]
        for thread in process["threads"]:
            check("number state method path seconds request_id", thread)
    for moment in (status["started"], *(process["started"] for process in status["processes"])):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", moment), moment


def test_a_host_is_found_by_its_file_and_by_its_address_and_says_that_it_serves(watched):
    one = watched()
    by_file = one.ask()
    assert (by_file.returncode, by_file.stderr) == (0, "")
    assert "serving" in by_file.stdout.splitlines()[0]
    by_address = one.ask("-l", one.host.listen[0])
    assert (by_address.returncode, by_address.stdout.splitlines()[1]) == (0, by_file.stdout.splitlines()[1])
    os.symlink(one.host.folder, one.folder / "link")
    assert one.ask("-c", str(one.folder / "link" / "fcgihost.ini")).returncode == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_every_name_is_in_the_json_and_what_the_application_has_acquired(watched, processes):
    one = watched(settings={"server": {"processes": processes, "threads": 2}, "startup": {"import": ["json"]}})
    wait_until(lambda: [process["state"] for process in one.json()["processes"]] == ["serving"] * processes, "all workers")
    one.begin("/use")
    wait_until(lambda: [lock["state"] for lock in one.json()["locks"]] == ["held"] and
               len(one.json()["pools"]) == processes, "all to be told")
    status = one.json()
    assert_complete(status)
    [lock] = status["locks"]
    pids = sorted(process["pid"] for process in status["processes"])
    assert (lock["name"], lock["state"], lock["waiting"]) == ("invoices", "held", 0)
    assert lock["pid"] == lock["holder_pid"] and lock["pid"] in pids
    assert lock["held_seconds"] >= lock["age_seconds"] >= 0
    assert sorted(pool["pid"] for pool in status["pools"]) == pids
    assert sorted((pool["size"], pool["in_use"]) for pool in status["pools"]) == [(2, 0), (2, 1)][-processes:]
    failed = [resource for resource in status["resources"] if resource["pid"] == lock["pid"]]
    assert [resource["state"] for resource in failed] == ["failed"]
    assert failed[0]["last_error"] == "ConnectionError: no <b>route</b>\nto it"
    assert 3000 < failed[0]["retry_in_seconds"] <= 3600
    assert status["cleanups"]["registered"] >= processes
    text = one.ask().stdout
    for line in ("watched_app.db: failed", "invoices: held by ", ": 1 of 2 in use", "no <b>route</b>\\x0ato it"):
        assert line in text
    assert "invoices" in one.http("/")[1] and "<b>route" not in one.http("/")[1]
    one.let_go()
    wait_until(lambda: not one.json()["locks"], "the lock to be free")


def test_what_python_told_last_is_shown_while_c_holds_the_gil(watched):
    one = watched(settings={"server": {"threads": 3}})
    one.begin("/use")
    wait_until(lambda: one.json()["locks"], "the lock to be told")
    one.begin("/wedge")
    ages = [one.json()["locks"][0]["age_seconds"] for _ in range(2)]
    wait_until(lambda: one.json()["locks"][0]["age_seconds"] > ages[0], "it to get older")
    one.let_go()


def test_a_host_that_executes_itself_anew_counts_why_and_its_generations(watched, tmp_path):
    address = str(tmp_path / "spawned.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        one = watched(listen=["unix:" + address], stdin=listener,
                      settings={"server": {"listen": "fd:0"}, "limits": {"requests": 3}})
    one.host.socket_files = []  # it is its spawner's
    status = one.json()
    assert (status["generation"], set(status["restarts"].values())) == (1, {0})
    assert fastcgi.exchange(address, "GET", "/restart").status == 200
    wait_until(lambda: one.json()["generation"] == 2, "the next program")
    for _ in range(3):
        fastcgi.exchange(address, "GET", "/")
    wait_until(lambda: one.json()["generation"] == 3, "the one after that")
    status = one.json()
    assert {reason: count for reason, count in status["restarts"].items() if count} == {"reload": 1, "requests": 1}
    assert status["processes"][0]["generation"] == 3
    assert 'fcgihost_process_starts_total{reason="requests"} 1' in one.http("/metrics")[1].splitlines()


def test_a_reload_takes_over_listen_path_and_ping_or_refuses_them(watched):
    one = watched(settings={"server": {"processes": 2}})
    wait_until(lambda: [process["state"] for process in one.json()["processes"]] == ["serving"] * 2, "both workers")
    ini = pathlib.Path(one.host.folder, "fcgihost.ini")
    first = ini.read_text()
    before = one.status_socket
    one.status_socket = str(one.runtime / "nowhere" / "s")

    def reload(answer):
        mark = one.host.log.mark()
        one.host.popen.send_signal(signal.SIGHUP)
        one.host.log.wait(answer, mark)
    ini.write_text(first.replace(before, one.status_socket))
    reload("nothing is changed: fix it")
    one.status_socket = before
    assert one.http("/ping") == (200, "pong\n")
    one.status_socket = str(one.runtime / "t")
    ini.write_text(first.replace(before, one.status_socket).replace("ping = /ping", "ping = /health"))
    reload("all workers have been replaced")
    wait_until(lambda: one.http("/health") == (200, "pong\n"), "the new socket and ping")
    assert not os.path.exists(before)
    status = one.json()
    assert (status["generation"], status["restarts"]["reload"], status["restarts"]["crash"]) == (2, 2, 0)
    assert fastcgi.exchange(one.host.address, "GET", "/health").text == "pong\n"


@pytest.mark.parametrize("processes", [1, 2])
def test_changed_code_that_can_not_be_loaded_is_told_of_until_it_can(watched, processes, expected_log):
    expected_log("ZeroDivisionError")
    one = watched(settings={"server": {"processes": processes}, "reload": {"mode": "process", "interval": "100ms"}})
    wait_until(lambda: [process["state"] for process in one.json()["processes"]] == ["serving"] * processes, "all workers")
    application = one.folder / "watched_app.py"

    def edit(text):
        (one.folder / "new").write_text(text)
        os.rename(str(one.folder / "new"), str(application))
    edit("1 / 0\n")
    wait_until(lambda: one.json()["applications"][0]["reload_failed"], "the failure to be told")
    told = one.json()["applications"][0]
    assert (told["state"], "watched_app.py has changed, but can't be loaded" in told["last_error"]) == ("loaded", True)
    assert "but its code has changed and can't be loaded" in one.ask().stdout
    assert one.http("/ping") == (200, "pong\n")
    edit(APP + "\n")
    wait_until(lambda: (one.json()["generation"], one.json()["state"], one.json()["applications"][0]["reload_failed"]) ==
               (2, "serving", False), "the new code")
    wait_until(lambda: len(one.json()["processes"]) == processes, "the old workers to end")
    assert one.json()["restarts"]["reload"] == processes


def test_a_script_that_is_loaded_anew_is_a_generation_of_its_application(watched, tmp_path, expected_log):
    expected_log("ZeroDivisionError")
    one = watched(settings={"application": {"script": str(tmp_path / "watched_app.py")}, "reload": {"interval": "50ms"}})
    told = lambda: one.json()["applications"][0]
    script = tmp_path / "watched_app.py"
    assert told()["generation"] == 1
    script.write_text(APP + "\n")
    wait_until(lambda: told()["generation"] == 2, "the second generation")
    script.write_text("1 / 0\n")
    wait_until(lambda: told()["reload_failed"], "the failure")
    assert told()["last_error"] == "ZeroDivisionError: division by zero"
    script.write_text(APP + "\n\n")
    wait_until(lambda: told()["generation"] == 3, "the third generation")
    assert (told()["reload_failed"], told()["last_error"]) == (False, None)


def test_counts_are_right(watched):
    one = watched()
    for path in ("/a", "/b", "/c"):
        fastcgi.exchange(one.host.address, "GET", path)
    status = one.json()
    assert status["state"] == "serving"
    assert status["requests"]["by_status"]["2xx"] == status["requests"]["total"] == 3
    assert status["listeners"][0]["address"] == one.host.listen[0]
    assert status["processes"][0]["pid"] == one.host.pid
    assert status["threads"]["total"] == 2


def test_another_file_or_address_and_a_dead_host_are_not_found(watched, tmp_path):
    one = watched()
    other = tmp_path / "other.ini"
    other.write_text("")
    for args in (("-c", str(other)), ("-l", "127.0.0.1:1")):
        result = one.ask(*args)
        assert (result.returncode, result.stdout) == (1, "")
        assert len(result.stderr.splitlines()) == 1
    one.host.popen.kill()
    one.host.popen.wait()
    one.host.expected_status = -signal.SIGKILL
    assert one.ask().returncode == 1
    assert list(one.runtime.glob("fcgihost-*.sock"))  # it is stale: nobody could remove it
    os.path.exists(one.host.socket_files[0]) and os.unlink(one.host.socket_files[0])
    os.unlink(one.status_socket)
    os.path.exists(one.status_socket + ".lock") and os.unlink(one.status_socket + ".lock")
    two = Watched(tmp_path)
    assert len(list(two.runtime.glob("fcgihost-*.sock"))) == 1  # the next host did
    assert two.ask().returncode == 0


def test_a_worker_whose_gil_is_held_in_c_hides_no_other_and_the_drain_is_seen(watched):
    one = watched(settings={"server": {"processes": 2}, "shutdown": {"drain_timeout": "1m"}})
    wait_until(lambda: [process["state"] for process in one.json()["processes"]] == ["serving"] * 2, "both workers")
    one.begin("/wedge")
    status = one.json()
    assert [thread["path"] for process in status["processes"] for thread in process["threads"] if thread["path"]] == ["/wedge"]
    assert [process["state"] for process in status["processes"]] == ["serving"] * 2
    assert one.http("/ping") == (200, "pong\n")
    one.host.popen.send_signal(signal.SIGTERM)
    wait_until(lambda: one.json()["state"] == "draining", "the drain")
    assert one.http("/ping") == (503, "draining\n")
    assert "/wedge" in one.ask().stdout
    one.let_go()
    assert one.host.popen.wait(60) == 0


@pytest.mark.parametrize("path, held", [("/wait", "while all threads wait"), ("/wedge", "while C holds the GIL")])
def test_status_and_ping_are_answered_while_the_process_is_busy(watched, path, held):
    one = watched()
    one.begin(path, 1 if path == "/wedge" else 2)
    status = one.json()
    assert path in [thread["path"] for thread in status["processes"][0]["threads"]]
    assert one.http("/ping") == (200, "pong\n")
    if path == "/wait":
        assert status["threads"]["busy"] == 2
        response = fastcgi.exchange(one.host.address, "GET", "/status?format=json&secret=1")
        assert response.status == 200
        assert json.loads(response.text)["requests"]["in_flight"] >= 2
        assert scgi.exchange(one.host.address, "GET", "/ping").text == "pong\n"
    one.let_go()


def test_no_query_cookie_or_header_is_shown(watched):
    one = watched()
    one.begin("/wait/visible?password=hunter2")
    for text in (one.ask().stdout, json.dumps(one.json()), one.http("/metrics")[1], one.http("/")[1]):
        assert "hunter2" not in text
    assert "/wait/visible" in one.ask().stdout
    one.let_go()


def test_hostile_paths_stay_text_in_every_format(watched):
    one = watched()
    hostile = '/wait/"><script>alert(1)</script>\'\\{}"\x1b[2J\x7f\xc2\x9b\xff\nfcgihost_up 0\n'
    one.begin(hostile)
    path = [thread["path"] for thread in one.json()["processes"][0]["threads"] if thread["path"]][0]
    assert path.startswith('/wait/"><script>alert(1)</script>')
    assert "<script>alert" not in one.http("/")[1]
    for text in (one.ask().stdout, one.http("/metrics")[1]):
        assert "\x1b" not in text
        assert "\nfcgihost_up 0" not in text
    one.let_go()


# Python runs such a line of a virtual environment's .pth file at its start: this one waits.
HELD = "import os; exec(%r)" % '''
import time
open(os.environ["MARKER"], "a").write("x")
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.01)
'''


def test_a_failed_start_is_known_before_the_next_program_has_begun_its_python(watched, tmp_path, expected_log):
    expected_log("RuntimeError: no database")
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    packages, = (tmp_path / "venv").glob("lib/python*/site-packages")
    one = watched(app="open(%r, 'w').write(%r)\nraise RuntimeError('no database')" % (str(packages / "held.pth"), HELD),
                  args=["--set", "python.home=%s" % (tmp_path / "venv")], wait=False,
                  settings={"startup": {"retry_delay": "1h", "retry_max_delay": "1h"}})
    wait_until(one.marker.exists, "Python's start in the next program")
    status = json.loads(one.http("/?format=json")[1])
    application, = status["applications"]
    assert (status["state"], application["state"], application["attempts"]) == ("starting", "failed", 1)
    assert "no database" in application["last_error"] and application["next_attempt_seconds"] > 3000
    one.go.touch()


def test_an_application_that_can_t_be_loaded_is_named_and_the_ping_says_503(watched, expected_log):
    expected_log("RuntimeError: no <b>database</b>")
    one = watched(app='raise RuntimeError("no <b>database</b>")', wait=False,
                  settings={"startup": {"retry_delay": "1h", "retry_max_delay": "1h"}})
    wait_until(lambda: one.json()["applications"][0]["state"] == "failed", "the first attempt to fail")
    # The program is executed anew now, and knows of the failure before its Python has begun.
    for _ in range(50):
        answer = json.loads(fastcgi.exchange(one.host.address, "GET", "/status?format=json").body)
        application = answer["applications"][0]
        assert (application["state"], application["attempts"]) == ("failed", 1)
        assert application["next_attempt_seconds"] is not None and "RuntimeError" in application["last_error"]
    result = one.ask()
    assert result.returncode == 1
    assert "starting" in result.stdout.splitlines()[0]
    application = one.json()["applications"][0]
    assert application["attempts"] == 1
    assert "RuntimeError: no <b>database</b>" in application["last_error"]
    assert 3000 < application["next_attempt_seconds"] <= 3600 * 1.1
    assert one.http("/ping") == (503, "starting: watched_app:application: attempt 1 failed\n")
    assert "<b>" not in one.http("/")[1]


@pytest.mark.parametrize("processes", [1, 2])
def test_the_ping_names_a_required_import_that_is_missing(watched, processes):
    one = watched(wait=False, settings={
        "server": {"processes": processes}, "startup": {"import": ["json", "no_such_module"], "require": "yes",
                                                        "retry_delay": "1h", "retry_max_delay": "1h"}})
    wait_until(lambda: one.http("/ping") == (503, "starting: no_such_module: attempt 1 failed\n"), "the reason")
    wait_until(lambda: [program["state"] for program in one.json()["imports"]] == ["loaded", "failed"], "the states")


def test_an_import_that_is_not_required_is_no_reason_for_the_ping(watched):
    one = watched(settings={"startup": {"import": ["no_such_module"], "retry_delay": "1h", "retry_max_delay": "1h"}})
    assert one.http("/ping") == (200, "pong\n")
    assert one.json()["imports"][0]["state"] == "failed"


def test_it_answers_during_the_drain(watched):
    one = watched(settings={"shutdown": {"drain_timeout": "1m"}})
    one.begin("/wait")
    one.host.popen.send_signal(signal.SIGTERM)
    wait_until(lambda: one.json()["state"] == "draining", "the drain")
    assert one.ask().returncode == 1
    assert one.http("/ping") == (503, "draining\n")
    one.go.touch()
    assert one.host.popen.wait(60) == 0
    one.host.expected_status = 0


def test_the_status_socket_speaks_http_fastcgi_and_scgi(watched):
    one = watched()
    assert json.loads(one.http("/?format=json")[1])["state"] == "serving"
    for module in (fastcgi, scgi):
        assert module.exchange(one.status_socket, "GET", "/ping").text == "pong\n"
        assert json.loads(module.exchange(one.status_socket, "GET", "/status?format=json").text)["state"] == "serving"
    assert one.http("/nothing")[0] == 404
    assert one.http("/", "POST")[0] == 405
    assert one.http("/?format=xml")[0] == 400


def test_silent_clients_of_the_status_socket_keep_nobody_out_but_the_most_silent(watched):
    site = watched()
    silent = []
    for _ in range(100):
        silent.append(socket.socket(socket.AF_UNIX))
        silent[-1].connect(site.status_socket)
        silent[-1].send(b"GET /pi")
    try:
        assert site.http("/ping") == (200, "pong\n")
        closed = select.select(silent, [], [], 0)[0]
        assert closed and set(closed).isdisjoint(silent[-10:])
    finally:
        for connection in silent:
            connection.close()


def test_only_root_and_its_user_may_ask(watched):
    one = watched()
    [control] = one.runtime.glob("fcgihost-*.sock")
    assert control.stat().st_mode & 0o777 == 0o600
    os.chmod(control, 0o666)  # the folder's and the file's modes are not all that keeps others out
    one.runtime.chmod(0o755)
    one.folder.chmod(0o755)
    code = ("import socket; s = socket.socket(socket.AF_UNIX); s.connect(%r); s.send(b'GET /ping HTTP/1.0\\r\\n\\r\\n')\n"
            "try: print(repr(s.recv(100)))\nexcept ConnectionError: print(repr(b''))" % str(control))
    if os.geteuid() == 0:
        out = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c",
                              code], capture_output=True, text=True, cwd="/")
        assert out.stdout == "b''\n" or "PermissionError" in out.stderr or "Errno 32" in out.stderr, out
    own = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True)
    assert "200 OK" in own.stdout


def test_a_host_that_executes_itself_anew_can_be_asked_again(watched, expected_log):
    expected_log("RuntimeError: not yet")
    one = watched(app='import os\nif not os.path.exists(os.environ["GO"]): raise RuntimeError("not yet")\n' + APP,
                  wait=False, settings={"startup": {"retry_delay": "50ms", "retry_max_delay": "50ms"}})
    one.host.log.wait("attempt 3 failed")
    assert "starting" in one.ask().stdout
    wait_until(lambda: one.json()["applications"][0]["attempts"] >= 3, "the attempts to be told")
    one.go.touch()
    one.host.log.wait("serving")
    wait_until(lambda: one.ask().returncode == 0, "it to serve")
    assert one.json()["applications"][0]["state"] == "loaded"


def test_requests_that_wait_for_a_thread_are_counted(watched):
    one = watched(settings={"server": {"threads": 2}})
    one.begin("/wait", 2)
    for _ in range(2):
        one.connections.append(fastcgi.Connection(one.host.address))
        one.connections[-1].send(fastcgi.request_bytes("GET", "/wait", keep=False))
    wait_until(lambda: one.json()["requests"]["waiting"] == 2, "two requests that wait")
    assert one.json()["requests"]["oldest_waiting_seconds"] >= 0
    assert one.json()["connections"]["open"] >= 4 and one.json()["connections"]["max"] > 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_worker_that_is_another_user_than_its_manager_answers_for_all(watched):
    one = watched(folder=pathlib.Path(temporary_folder()),  # which others may enter
                  settings={"server": {"processes": 2, "threads": 2, "user": "nobody", "socket_mode": "0666"}})
    wait_until(lambda: [process["state"] for process in one.json()["processes"]] == ["serving"] * 2, "both workers")
    assert len(fastcgi.exchange(one.host.address, "GET", "/status?format=json").json["processes"]) == 2


def test_a_worker_that_died_is_counted_and_what_it_has_served_too(watched):
    one = watched(settings={"server": {"processes": 2}})
    wait_until(lambda: [process["state"] for process in one.json()["processes"]] == ["serving"] * 2, "both workers")
    assert one.json()["restarts"]["crash"] == 0
    for _ in range(20):
        fastcgi.exchange(one.host.address, "GET", "/")
    before = one.json()
    assert before["requests"]["total"] == before["requests"]["by_status"]["2xx"] >= 20
    os.kill(max(before["processes"], key=lambda process: process["requests"])["pid"], signal.SIGKILL)
    wait_until(lambda: one.json()["restarts"]["crash"] == 1, "the death to be counted")
    wait_until(lambda: [process["state"] for process in one.json()["processes"]] == ["serving"] * 2, "its successor")
    assert one.json()["requests"]["total"] >= before["requests"]["total"]
    assert 'fcgihost_process_starts_total{reason="start"} 2' in one.http("/metrics")[1].splitlines()


def test_what_a_worker_has_served_counts_though_nobody_asked_before_it_was_replaced(watched):
    one = watched(settings={"server": {"manager": "yes"}, "limits": {"requests": 10}})
    for _ in range(10):
        fastcgi.exchange(one.host.address, "GET", "/")
    one.host.log.wait("retired: another worker serves")
    wait_until(lambda: len(one.json()["processes"]) == 1, "the old worker to exit")
    assert one.json()["requests"]["total"] == one.json()["requests"]["by_status"]["2xx"] == 10
    os.kill(one.json()["processes"][0]["pid"], signal.SIGKILL)
    wait_until(lambda: one.json()["restarts"]["crash"] == 1, "the death to be counted")
    wait_until(lambda: [process["state"] for process in one.json()["processes"]] == ["serving"], "its successor")
    assert 'fcgihost_requests_total{status="2xx"} 10' in one.http("/metrics")[1].splitlines()


def test_one_answer_covers_all_workers_of_a_manager(watched):
    one = watched(settings={"server": {"processes": 2, "threads": 2}})
    wait_until(lambda: [process["state"] for process in one.json()["processes"]] == ["serving"] * 2, "both workers")
    one.begin("/wait", 3)
    status = one.json()
    assert (status["threads"]["total"], status["threads"]["busy"]) == (4, 3)
    assert status["listeners"][0]["address"] == one.host.listen[0]
    busy = [thread["path"] for process in status["processes"] for thread in process["threads"] if thread["path"]]
    assert busy == ["/wait"] * 3
    assert {'fcgihost_resident_memory_bytes{worker="%d"}' % place for place in (1, 2)} <= {
        line.split(" ")[0] for line in one.http("/metrics")[1].splitlines()}
    for _ in range(3):  # whichever worker is asked, on the application's own socket
        answer = fastcgi.exchange(one.host.address, "GET", "/status?format=json").json
        assert {process["pid"] for process in answer["processes"]} == {p["pid"] for p in status["processes"]}
    worker = status["processes"][0]["pid"]
    os.kill(worker, signal.SIGSTOP)  # it does not answer, and the answer comes all the same
    try:
        stopped = one.json()
        assert {process["pid"] for process in stopped["processes"]} == {p["pid"] for p in status["processes"]}
    finally:
        os.kill(worker, signal.SIGCONT)
    one.go.touch()
    assert one.ask().returncode == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_prometheus_samples_are_unique_and_each_has_its_type(watched, processes):
    one = watched(settings={"server": {"processes": processes}, "startup": {"import": ["json", "json"]}})
    wait_until(lambda: [process["state"] for process in one.json()["processes"]] == ["serving"] * processes, "all workers")
    fastcgi.exchange(one.host.address, "GET", "/")
    lines = one.http("/?format=prometheus")[1].splitlines()
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    samples = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    assert len(set(samples)) == len(samples)
    names = {sample.partition("{")[0] for sample in samples}
    families = {re.sub("_(bucket|sum|count)$", "", name) if re.sub("_(bucket|sum|count)$", "", name) in typed else name
                for name in names}
    assert families <= typed
    for name in """up info requests_total requests_in_flight responses_sending requests_waiting request_duration_seconds
            request_wait_seconds gil_wait_seconds_total threads connections listen_queue process_starts_total
            resident_memory_bytes startup_attempts_total startup_loaded log_dropped_total
            request_timeouts_total""".split():
        assert "fcgihost_" + name in families
    assert 'fcgihost_requests_total{status="2xx"} 1' in lines
    assert 'fcgihost_request_duration_seconds_count 1' in lines
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "metrics"], input="\n".join(lines) + "\n", text=True, check=True)
