"""A start that fails leaves nothing: the next attempt begins in a fresh interpreter, and what waits is handed over."""
import json
import os
import signal
import socket
import subprocess
import sysconfig
import threading
import time

import pytest

import fastcgi
import process
import scgi
from host import APPS, PROGRAM, PYTHON, Host, can_import, ini_text, sanitizer_environ, sanitizer_reports, temporary_folder, write_file
from process import deadline, wait_until

FULL = bool(os.environ.get("FULL_STORM"))
FAST = {"retry_delay": "10ms", "retry_max_delay": "10ms"}

EXTENSION = """
#include <Python.h>
#include <unistd.h>
static int has_begun;
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "onlyonce", 0, -1, 0};
PyMODINIT_FUNC PyInit_onlyonce(void)
{
    if (has_begun) {
        PyErr_SetString(PyExc_SystemError, "can't be initialised twice");
        return NULL;
    }
    has_begun = 1;
    if (access(FOLDER "/go", F_OK) < 0) {
        PyErr_SetString(PyExc_ImportError, "announced failure");
        return NULL;
    }
    return PyModule_Create(&module);
}
"""


def start(folder, startup=None, environ=None, sections=None, **more):
    settings = {"startup": {**FAST, "request_wait": "60s", **(startup or {})}, "python": {"path": [APPS]}}
    settings.update(sections or {})
    return Host("afresh_app:application", settings, probe=False,
                environ=dict({"FOLDER": str(folder)}, **(environ or {})), **more)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


class TestNothingIsLeft:
    def test_after_fifty_failed_attempts_each_finds_what_the_first_found(self, tmp_path, expected_log):
        """Threads, handlers, sys.path, environment, descriptors, folder, umask, timers, masks, limits, children."""
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:setup", "require": "yes"}, {"ATTEMPTS": "50"})
        host.log.wait(r"afresh_app:setup: loaded at attempt 51,", seconds=120)
        attempts = [json.loads(line) for line in lines(tmp_path / "attempts")]
        assert len(attempts) == 51
        assert attempts[0]["pid"] == host.pid and attempts[0]["modules"] == []
        for attempt in attempts[1:]:
            assert attempt == attempts[0]
        assert lines(tmp_path / "cleanups") == ["ran"] * 50
        assert lines(tmp_path / "atexit") == ["ran"] * 50
        assert host.exchange("GET", "/a").text == "/a 0"
        assert len(host.log.read().split("Traceback")) == 2  # the same failure again is one line

    def test_what_is_open_stays_level(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:setup", "require": "yes"})
        host.log.wait("attempt 3 failed")
        few = len(process.descriptors(host.pid))
        host.log.wait("attempt 20 failed")
        assert len(process.descriptors(host.pid)) <= few + 10  # of an attempt that is under way
        (tmp_path / "go").touch()
        host.log.wait("loaded at attempt")

    def test_the_environment_of_an_attempt_is_the_one_it_was_started_with(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:setup", "require": "yes"}, {"GROWS": "", "ATTEMPTS": "3"})
        host.log.wait("loaded at attempt 4")
        attempts = [json.loads(line) for line in lines(tmp_path / "attempts")]
        assert [attempt["grows"] for attempt in attempts] == [""] * 4
        assert [attempt["own"] for attempt in attempts] == [[]] * 4

    def test_a_c_extension_that_was_half_loaded(self, tmp_path, expected_log):
        expected_log("announced failure")
        build_extension(tmp_path)
        host = start(tmp_path, {"import": "afresh_app:half_loaded", "require": "yes"})
        host.log.wait("attempt 2 failed.*: announced failure")
        (tmp_path / "go").touch()
        host.log.wait("half_loaded: loaded at attempt")
        assert set(lines(tmp_path / "extension")) == {str(host.pid)}


def build_extension(folder):
    write_file(folder / "onlyonce.c", EXTENSION)
    facts = subprocess.run([PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('include'))"],
                           stdout=subprocess.PIPE, check=True)
    subprocess.run([sysconfig.get_config_var("CC").split()[0] or "cc", "-shared", "-fPIC", "-DFOLDER=\"%s\"" % folder,
                    "-I" + facts.stdout.decode().strip(), "-o", str(folder / "onlyonce.so"),
                    str(folder / "onlyonce.c")], check=True)


DJANGO = {
    "shop/__init__.py": "",
    "shop/apps.py": """
import os
from django.apps import AppConfig
class ShopConfig(AppConfig):
    name = "shop"
    def ready(self):
        if not os.path.exists(os.path.join(os.environ["FOLDER"], "go")):
            raise ConnectionError("announced failure")
""",
    "settings.py": """
SECRET_KEY = "x"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["shop.apps.ShopConfig"]
""",
    "urls.py": """
from django.http import HttpResponse
from django.urls import re_path
urlpatterns = [re_path("", lambda request: HttpResponse("django %d" % len(request.body)))]
""",
    "site_wsgi.py": """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
""",
}


@pytest.mark.skipif(not can_import("django"), reason="the embedded Python has no Django")
class TestDjango:
    def site(self, folder, **startup):
        (folder / "shop").mkdir()
        for name, text in DJANGO.items():
            write_file(folder / name, text)
        settings = {"startup": dict(FAST, request_wait="60s", **startup), "python": {"path": [str(folder)]},
                    "application": {"mount": "/"}}
        return Host("site_wsgi:application", settings, probe=False,
                    environ={"FOLDER": str(folder), "DJANGO_SETTINGS_MODULE": "settings"})

    def check_that_it_heals(self, host, folder):
        connection = fastcgi.Connection(host.address)
        connection.send(fastcgi.request_bytes("POST", "/", b"x" * 200000))
        host.log.wait("attempt 3 failed.*: announced failure")
        (folder / "go").touch()
        host.log.wait(r"loaded at attempt \d+, \d+\.\d s after the first")
        assert connection.read_response().text == "django 200000"
        assert "reentrant" not in host.log.read()

    def test_the_application_heals_by_itself_and_the_request_that_waited_is_served(self, tmp_path, expected_log):
        expected_log("announced failure")
        self.check_that_it_heals(self.site(tmp_path), tmp_path)

    def test_setup_as_a_required_import_heals(self, tmp_path, expected_log):
        expected_log("announced failure")
        self.check_that_it_heals(self.site(tmp_path, **{"import": "django:setup", "require": "yes"}), tmp_path)

    def test_setup_as_an_import_that_is_not_required_has_failed_once_in_no_way_of_the_application(
            self, tmp_path, expected_log):
        expected_log("announced failure")
        host = self.site(tmp_path, **{"import": "django:setup"})
        self.check_that_it_heals(host, tmp_path)


class TestWaitingRequests:
    """They were accepted by a program that is gone, and are answered by the next."""

    def connections(self, host, number):
        """Half of them FastCGI, some with bodies that have not come whole, some that are kept."""
        made = []
        for i in range(number):
            module = (fastcgi, scgi)[i % 2]
            connection = module.Connection(host.address)
            body = b"b" * (i * 3001)
            keep = {"keep": i % 4 == 0} if module is fastcgi else {}
            request = module.request_bytes("POST", "/%d" % i, body, **keep)
            cut = len(request) if i % 3 else len(request) // 2
            connection.send(request[:cut])
            made.append((i, connection, request[cut:], len(body), keep.get("keep")))
        return made

    def test_fifty_of_both_protocols_with_bodies_kept_and_not(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:setup", "require": "yes"})
        made = self.connections(host, 50)
        wait_until(lambda: host.connections() >= 50, "all to be accepted")
        host.log.wait("attempt 5 failed")
        for i, connection, rest, size, keep in made:
            connection.send(rest)
        host.log.wait("attempt 8 failed")
        (tmp_path / "go").touch()
        for i, connection, rest, size, keep in made:
            assert connection.read_response().text == "/%d %d" % (i, size)
            if keep:
                assert connection.exchange("GET", "/again").text == "/again 0"

    def test_one_whose_head_is_cut_anywhere(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:setup", "require": "yes"})
        made = []
        for module in fastcgi, scgi:
            request = module.request_bytes("POST", "/", b"body")
            for cut in range(1, len(request), 37):
                connection = module.Connection(host.address)
                connection.send(request[:cut])
                made.append((connection, request[cut:]))
        wait_until(lambda: host.connections() >= len(made), "all to be accepted")
        host.log.wait("attempt 5 failed")
        for connection, rest in made:
            connection.send(rest)
        (tmp_path / "go").touch()
        assert {connection.read_response().text for connection, _ in made} == {"/ 4"}

    def test_the_wait_ends_when_it_would_have(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:setup", "require": "yes", "request_wait": "300ms"})
        response = host.exchange("POST", "/", b"x" * 100000)
        assert response.status == 503 and int(response.get("Retry-After")) >= 1
        (tmp_path / "go").touch()
        host.log.wait("loaded at attempt")

    def test_several_applications_each_get_their_own(self, tmp_path, expected_log):
        """One that works does not wait for another one that fails."""
        expected_log("announced failure")
        write_file(tmp_path / "bad.py", "import os\nif not os.path.exists('%s/go'):\n"
                   "    raise ConnectionError('announced failure')\nfrom afresh_app import application\n" % tmp_path)
        host = start(tmp_path, sections={
            "python": {"path": [APPS, str(tmp_path)]}, "application": {"wsgi": "bad:application", "mount": "/bad"},
            "application good": {"wsgi": "afresh_app:application", "mount": "/good"}})
        waiting = fastcgi.Connection(host.address)
        waiting.send(fastcgi.request_bytes("GET", "/bad/x"))
        assert host.exchange("GET", "/good/x").text == "/x 0"
        (tmp_path / "go").touch()
        assert waiting.read_response().text == "/x 0"


class TestUnderStress:
    """What an attempt, or who waits for it, does to the process must not keep it from being executed anew."""

    def check_that_it_heals(self, host, folder, attempts=4):
        wait_until(lambda: len(lines(folder / "attempts")) >= attempts, "attempts:\n" + host.log.read())
        (folder / "go").touch()
        assert host.exchange("POST", "/late", b"body").text == "/late 4"

    def test_connections_leave_descriptors_to_the_application(self, tmp_path, expected_log):
        """More clients wait than the process may have descriptors: it can import, and is executed anew, all the same."""
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:setup", "require": "yes"}, nofile=48)
        waiting = [fastcgi.Connection(host.address) for _ in range(80)]
        for connection in waiting:
            connection.send(fastcgi.request_bytes("POST", "/w", b"x" * 500, keep=False))
        host.log.wait("(?i)too many open files")
        mark = host.log.mark()
        host.log.wait(r"attempt \d+ failed.*announced failure", mark)
        self.check_that_it_heals(host, tmp_path)
        assert [connection.read_response().text for connection in waiting] == ["/w 500"] * len(waiting)

    def test_an_attempt_that_takes_all_descriptors(self, tmp_path, expected_log):
        expected_log("Too many open files")
        host = start(tmp_path, {"import": "afresh_app:take_all_descriptors", "require": "yes"}, nofile=64)
        self.check_that_it_heals(host, tmp_path)
        assert len(lines(tmp_path / "cleanups")) >= 3

    def test_an_attempt_that_closes_the_standard_streams(self, tmp_path, expected_log):
        """Their numbers go to nothing that is handed over: neither to a connection nor to the memory."""
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:close_standard", "require": "yes"})
        wait_until(lambda: not {0, 1, 2} & set(process.descriptors(host.pid)), "them to be closed")
        waiting = [fastcgi.Connection(host.address) for _ in range(4)]
        for connection in waiting:
            connection.send(fastcgi.request_bytes("POST", "/w", b"x" * 500))
        wait_until(lambda: host.connections() >= 4, "all to be accepted")
        (tmp_path / "connected").touch()
        self.check_that_it_heals(host, tmp_path)
        assert [connection.read_response().text for connection in waiting] == ["/w 500"] * 4

    def test_an_attempt_that_lowers_limits(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:lower_limits", "require": "yes"})
        self.check_that_it_heals(host, tmp_path)

    def test_a_cleanup_that_hangs(self, tmp_path, expected_log):
        """It has as long as all have at the end, then the next attempt comes."""
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:hang_in_cleanup", "require": "yes"},
                     sections={"shutdown": {"cleanup_timeout": "400ms"}})
        host.log.wait("attempt 3 failed")
        (tmp_path / "go").touch()
        assert host.exchange("GET", "/x").text == "/x 0"
        assert len(lines(tmp_path / "cleanups")) >= 3
        if "this has taken too long" in host.log.read():  # else it was left behind at the deadline
            expected_log("this has taken too long")

    def test_a_cleanup_that_hangs_while_others_are_served(self, tmp_path, expected_log):
        """The first attempt ends its interpreter, the others don't."""
        expected_log("announced failure")
        expected_log("this has taken too long")
        host = start(tmp_path, {"import": "afresh_app:hang_in_cleanup"},
                     sections={"shutdown": {"cleanup_timeout": "400ms"}})
        host.log.wait("attempt 3 failed")
        assert host.exchange("GET", "/x").text == "/x 0"
        (tmp_path / "go").touch()
        host.log.wait("hang_in_cleanup: loaded at attempt")


class TestInPlace:
    def test_an_import_that_fails_while_others_are_served_never_ends_the_process(self, tmp_path, expected_log):
        """After the third failure in one interpreter the log says that somebody should look."""
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:fail"})
        host.log.wait("attempt 6 failed")
        assert host.exchange("GET", "/x").text == "/x 0"
        host.log.wait("warning: start-up import afresh_app:fail: failed 3 times in an interpreter that serves others")

    def test_an_import_that_has_worked_before_one_that_fails(self, tmp_path, expected_log):
        """It is loaded again in each interpreter, and that is no news."""
        expected_log("announced failure")
        host = start(tmp_path, {"import": ["afresh_app:works", "afresh_app:setup"], "require": "yes"},
                     {"ATTEMPTS": "3"})
        host.log.wait("afresh_app:setup: loaded at attempt 4,")
        assert host.exchange("GET", "/x").text == "/x 0"
        assert lines(tmp_path / "works") == [str(host.pid)] * 4
        assert len(host.log.read().split("afresh_app:works: loaded")) == 2


class TestConfiguration:
    @pytest.mark.parametrize("config", [[], ["-c", "fcgihost.ini"]], ids=["arguments", "file"])
    def test_it_goes_on_when_the_folder_it_was_started_in_is_gone(self, config, tmp_path, expected_log):
        """As a deployment's that makes a new one for each release."""
        expected_log("announced failure")
        folder = tmp_path / "current"
        folder.mkdir()
        path = str(tmp_path / "host.sock")
        settings = {"startup": dict(FAST, **{"import": "afresh_app:lose_folder", "require": "yes"}),
                    "python": {"path": [APPS]}, "application": {"wsgi": "afresh_app:application"}}
        write_file(str(folder / "fcgihost.ini"), ini_text(settings))
        arguments = config or [item for section, keys in settings.items() for key, value in keys.items()
                               for item in ("--set", "%s.%s=%s" % (section, key, value if isinstance(value, str) else APPS))]
        host = Host(args=[*arguments, "-l", "unix:" + path], use_ini=False, listen=["unix:" + path], cwd=str(folder),
                    probe=False, wait=False, environ={"FOLDER": str(tmp_path)})
        wait_until(lambda: len(lines(tmp_path / "attempts")) >= 3, "attempts:\n" + host.log.read())
        (tmp_path / "go").touch()
        assert host.exchange("GET", "/x").text == "/x 0"

    def test_it_goes_on_as_it_was_read(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:setup", "require": "yes"})
        host.log.wait("attempt 2 failed")
        write_file(os.path.join(host.folder, "fcgihost.ini"), "[nonsense\n")
        mark = host.log.mark()
        host.log.wait("attempt 6 failed", mark)
        os.unlink(os.path.join(host.folder, "fcgihost.ini"))
        host.log.wait("attempt 9 failed", mark)
        (tmp_path / "go").touch()
        host.log.wait("loaded at attempt")
        assert host.exchange("GET", "/").text == "/ 0"


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
    def test_a_signal_at_any_moment_ends_it_in_order(self, number, tmp_path, expected_log):
        """Before, in and behind the execution of the program: never lost, never by the signal's default."""
        expected_log("announced failure")
        for moment in range(12):
            host = start(tmp_path, {"import": "afresh_app:fail", "require": "yes"})
            host.log.wait("attempt %d failed" % (moment % 3 + 1))
            time.sleep(moment * 0.013)
            os.kill(host.pid, number)
            assert host.wait_exit() == 0, host.log.read()
            assert not os.path.exists(host.address)
            host.take_log()
            host.forget()
            host.clean_up()
        expected_log.patterns.clear()

    def test_children_of_an_attempt_end_with_it(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, {"import": "afresh_app:setup", "require": "yes"}, {"ATTEMPTS": "2"})
        host.log.wait("loaded at attempt 3")
        with open("/proc/%d/task/%d/children" % (host.pid, host.pid)) as file:
            assert file.read() == ""


class TestKeptConnections:
    """At a limit behind a spawner's socket: the web server never sees a kept connection close."""

    def test_no_post_on_a_kept_connection_is_lost(self, time_bound):
        requests, limit = (20000, 150) if FULL else (3000, 150)
        if FULL:
            signal.alarm(deadline(900))
        folder = temporary_folder()
        path = os.path.join(folder, "spawned.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(100)
        config = write_file(os.path.join(folder, "fcgihost.ini"), ini_text({
            "python": {"path": [APPS], "bytecode": "no"}, "application": {"wsgi": "wsgi_app:application"},
            "limits": {"requests": limit}}))
        log = open(os.path.join(folder, "log"), "wb")
        popen = process.start([PROGRAM, "-c", config], stdin=listener, stdout=log, stderr=log,
                              env=dict(os.environ, **sanitizer_environ(folder)))
        listener.close()
        failures, answers = [], []

        def client(number):
            with fastcgi.Connection(path) as connection:
                for i in range(requests // 8):
                    body = b"x" * (i * 7919 % 70000)
                    try:
                        text = connection.exchange("POST", "/echo-body", body).body
                    except (OSError, AssertionError) as error:
                        failures.append(repr(error))
                        return
                    answers.append(text == body)
        threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        status = process.stop(popen)
        text = open(log.name).read()
        assert failures == [] and len(answers) == requests // 8 * 8 and all(answers), (failures, text[-2000:])
        assert text.count("requests have been served") > requests // limit // 4
        assert status == 0, text[-2000:]
        assert sanitizer_reports(folder) == ""
