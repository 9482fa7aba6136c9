"""The matrix of ways to end and of what is in their way: exit code, log, each cleanup once."""
import concurrent.futures
import os
import signal
import threading
import time

import pytest

import fastcgi
from host import Host
from process import deadline, wait_until

APP = "life_app:application"
BASE = {"server": {"threads": 2}, "shutdown": {"drain_timeout": "%dms" % deadline(500),
                                              "cleanup_timeout": "%dms" % deadline(1000)}}
SIGNALS = {"SIGTERM": [signal.SIGTERM], "SIGTERM twice": [signal.SIGTERM, signal.SIGTERM],
           "SIGINT": [signal.SIGINT], "SIGUSR1": [signal.SIGUSR1], "SIGQUIT": [signal.SIGQUIT]}
LIMITS = {"requests": {"requests": 3}, "lifetime": {"lifetime": "%ds" % deadline(3)},
          "memory": {"memory": "250M"}}
WAYS = list(SIGNALS) + ["requests", "lifetime", "memory", "shutdown"]
LOGGED = {"requests": r"\[limits\] requests: \d+ requests have been served",
          "lifetime": r"\[limits\] lifetime: the process is \d+ s old",
          "memory": r"\[limits\] memory: the process has \d+ MiB of 250 MiB",
          "shutdown": r"fcgihost\.shutdown\(\)", "SIGTERM twice": "SIGTERM"}


class Life:
    """A host, what is in the way of its end, and the cleanups that ran."""

    def __init__(self, folder, load="load", extra=None, limits=None, import_settings=None,
                 probe=True, wait=True, settings=None):
        self.folder, self.cleanups = folder, folder / "cleanups"
        self.marker, self.go = folder / "marker", folder / "go"
        settings = dict(BASE, **(settings or {}), startup=dict({"import": "life_app:" + load},
                                           **(import_settings or {})))
        if limits:
            settings["limits"] = limits
        environ = {"CLEANUPS": str(self.cleanups), "MARKER": str(self.marker)}
        if extra:
            environ["EXTRA_CLEANUP"] = extra
        self.connections = []
        self.host = Host(APP, settings, environ=environ, probe=probe, wait=wait)

    def ask(self, path, wait=True):
        """A request that is in flight when it returns."""
        connection = fastcgi.Connection(self.host.address)
        before = self.lines(self.marker)
        connection.send(fastcgi.request_bytes(
            "GET", "%s%smarker=%s&until=%s" % (path, "&" if "?" in path else "?", self.marker,
                                               self.go), keep=False))
        self.connections.append(connection)
        if wait:
            wait_until(lambda: len(self.lines(self.marker)) > len(before), "it to be in flight")
        return connection

    def handlers_ran(self, count):
        """Waits until the application's signal handlers have run so often, all of them on the main thread."""
        def ran():
            number, is_main = self.host.exchange("GET", "/signals").text.split()
            assert is_main == "True"
            return int(number) >= count
        wait_until(ran, "the handlers to run")

    @staticmethod
    def lines(path):
        return path.read_text().splitlines() if path.exists() else []

    def ran(self):
        """The names of the cleanups that ran, all of them in the host itself."""
        found = [line.split() for line in self.lines(self.cleanups)]
        assert {pid for _, pid in found} <= {str(self.host.pid)}
        return [name for name, _ in found]

    def end(self, way):
        """Asks for the end in this way. The threads may all be busy."""
        for number in SIGNALS.get(way, ()):
            self.host.popen.send_signal(number)
            time.sleep(0.02)
        if way == "requests":
            for _ in range(3):  # it may not accept them all any more
                try:
                    self.ask("/ready", wait=False)
                except OSError:
                    pass
        elif way == "memory":
            self.ask("/allocate?mib=300", wait=False).read_response()
        elif way == "shutdown":
            self.ask("/stop", wait=False).read_response()

    def check(self, code, *patterns, cleanups=("last", "first")):
        self.host.expected_status = code
        assert self.host.wait_exit() == code, self.host.log.read()
        assert not os.path.exists(self.host.address)
        assert self.ran() == list(cleanups), self.host.log.read()
        for pattern in patterns:
            self.host.log.wait(pattern, seconds=1)
        return self


def together(folder, stories, **kwargs):
    """A host for each story, and all of them at once: most of the time is spent waiting."""
    lives = []
    for number in range(len(stories)):
        (folder / str(number)).mkdir()
        lives.append(Life(folder / str(number), **kwargs))
    with concurrent.futures.ThreadPoolExecutor(len(stories)) as pool:
        for future in [pool.submit(story, life) for story, life in zip(stories, lives)]:
            future.result()


def limits_of(way):
    return LIMITS.get(way)


def reason(way):
    return LOGGED.get(way, way) + ": stopping"


@pytest.mark.parametrize("way", WAYS)
class TestEveryWay:
    def test_idle(self, tmp_path, way):
        life = Life(tmp_path, limits=limits_of(way))
        life.end(way)
        life.check(0, reason(way), "info: stopped")

    def test_a_request_in_flight_is_finished_or_cut_off(self, tmp_path, way):
        """One of two hosts finishes its request in time; SIGQUIT gives it no time."""
        def finish(life):
            connection = life.ask("/wait")
            life.end(way)
            life.host.log.wait(reason(way))
            life.go.touch()
            assert connection.read_response().text == "waited"
            life.check(0, "info: stopped")

        def cut(life):
            life.ask("/wait")
            life.end(way)
            life.check(1, reason(way), r"1 worker thread\(s\) are still busy",
                       r"1 connection\(s\) are cut off" if way == "SIGQUIT" else
                       r"did not finish within .*drain_timeout .*\n"
                       r".*requests that did not end(.*\n)*.*/wait")
        together(tmp_path, [cut] if way == "SIGQUIT" else [cut, finish], limits=limits_of(way))

    @pytest.mark.parametrize("load", ["load_slowly", "load_stubbornly"])
    def test_an_import_that_hangs(self, tmp_path, way, load):
        """It is interrupted; if it swallows that, the cleanups run all the same."""
        if way in ("requests", "memory", "shutdown"):
            pytest.skip("takes a request that is served, and nothing is loaded")
        life = Life(tmp_path, load, limits=limits_of(way), probe=False, wait=False)
        wait_until(life.marker.exists, "the import to begin")
        life.end(way)
        if load == "load_slowly":
            life.check(0, reason(way), "info: .*interrupted, because the process ends; 2 cleanups of it ran; "
                                      r"it was in load_slowly\(\), .*/life_app\.py:\d+")
        else:
            life.check(1, reason(way), "an import does not end: the cleanups run on another",
                       "in the way: start-up import life_app:load_stubbornly, attempt 1",
                       "in load_stubbornly")

    def test_an_import_that_fails(self, tmp_path, way, expected_log):
        expected_log("announced failure of an import")
        life = Life(tmp_path, "load_in_vain", limits=limits_of(way),
                    import_settings={"retry_delay": "1h", "retry_max_delay": "1h"})
        life.end(way)
        life.check(0, reason(way), "attempt 1 failed.*2 cleanups of it ran")

    def test_cleanups_that_raise_or_hang(self, tmp_path, way, expected_log):
        expected_log("announced failure of a cleanup", "Interrupted")
        lives = {}
        for extra in ("fail", "hang"):
            (tmp_path / extra).mkdir()
            lives[extra] = Life(tmp_path / extra, extra=extra, limits=limits_of(way))
        for life in lives.values():
            life.end(way)
        lives["fail"].check(0, "the cleanup life_app.fail failed, the others still run",
                            cleanups=("last", "fail", "first"))
        lives["hang"].check(1, "the cleanup life_app.hang did not end in time and was interrupted",
                            cleanups=("last", "hang", "first"))


class TestInTheWay:
    """States that do not depend on who asked for the end."""

    def test_every_thread_is_busy(self, tmp_path):
        life = Life(tmp_path)
        for _ in range(2):
            life.ask("/wait")
        life.end("SIGTERM")
        life.check(1, r"2 connection\(s\) did not finish", r"2 worker thread\(s\) are still busy")

    @pytest.mark.parametrize("way", list(SIGNALS))
    def test_a_thread_holds_the_gil(self, tmp_path, way):
        """No cleanup can run, but the process leaves, and says why."""
        life = Life(tmp_path)
        life.ask("/hold-gil")
        life.end(way)
        life.check(1, "a thread that does not release the GIL", "Python can't be entered",
                   "serving GET /hold-gil", "in hold_gil", cleanups=())

    def test_a_thread_of_the_application_ignores_stopping(self, tmp_path):
        life = Life(tmp_path)
        life.ask("/keep-thread", wait=False).read_response()
        life.end("SIGTERM")
        life.check(1, "these threads of the application did not end: stubborn")

    def test_on_failure_exit(self, tmp_path, expected_log):
        expected_log("announced failure of an import")
        life = Life(tmp_path, "load_in_vain", import_settings={"on_failure": "exit"}, wait=False)
        life.check(4, "attempt 1 failed, and .*on_failure = exit ends the process; 2 cleanups")

    def test_cleanups_run_before_atexit(self, tmp_path):
        life = Life(tmp_path, settings={"shutdown": {"cleanup_timeout": "60s"}})
        life.ask("/note-at-exit", wait=False).read_response()
        life.end("SIGTERM")
        life.check(0, cleanups=("last", "first", "atexit"))


class TestExecutors:
    """They are left as they are: Python's own end, or here the host's, shuts them down."""

    @pytest.mark.parametrize("kind", ["threads", "processes", "multiprocessing"])
    def test_one_that_a_request_made_ends_with_its_processes_and_before_atexit(self, tmp_path, kind):
        """What it was given is done. multiprocessing's pools end in one of atexit's functions."""
        life = Life(tmp_path)
        life.ask("/note-at-exit", wait=False).read_response()
        assert life.ask("/use-executor?busy=0.3&kind=" + kind, wait=False).read_response().text == "used"
        life.host.popen.send_signal(signal.SIGTERM)
        work = () if kind == "multiprocessing" else ("work",)
        life.check(0, "info: stopped", cleanups=("last", "first", *work, "atexit"))
        assert "error" not in life.host.log.read()

    def test_processes_that_go_on_working_are_ended(self, tmp_path, expected_log):
        life = Life(tmp_path)
        life.ask("/use-executor?kind=processes&busy=100", wait=False).read_response()
        life.end("SIGTERM")
        life.check(1, "executors did not shut down, and concurrent.futures.process._python_exit was interrupted")
        # That none of them is left is seen after each test.


class TestHandlers:
    """Of signals, set by the application."""

    def test_they_run_on_the_main_thread_while_nothing_else_happens(self, tmp_path, expected_log):
        expected_log("SystemExit: announced", "ValueError: announced")
        life = Life(tmp_path, "load_handlers")
        for count, number in enumerate((signal.SIGALRM, signal.SIGVTALRM, signal.SIGCHLD, signal.SIGWINCH), 1):
            life.host.popen.send_signal(number)
            life.handlers_ran(count)
        life.end("SIGTERM")
        life.check(0)

    def test_between_two_attempts_at_an_application(self, tmp_path, expected_log):
        expected_log("SystemExit: announced")
        life = Life(tmp_path, "load_handlers", import_settings={"retry_delay": "1h", "retry_max_delay": "1h"},
                    settings={"application other": {"wsgi": "not_there:application", "mount": "/other"}})
        life.host.log.wait("attempt 1 failed")
        for count, number in enumerate((signal.SIGALRM, signal.SIGVTALRM, signal.SIGALRM), 1):
            life.host.popen.send_signal(number)
            life.handlers_ran(count)
        life.end("SIGTERM")
        life.check(0)

    def test_those_of_the_host_s_signals_are_replaced_and_the_log_says_so_once(self, tmp_path):
        life = Life(tmp_path, "load_handlers")
        life.host.popen.send_signal(signal.SIGHUP)
        life.host.log.wait("SIGHUP: log opened again")
        life.end("SIGTERM")
        life.check(0, r"SIGTERM: stopping")
        for name in "SIGTERM", "SIGINT", "SIGHUP":
            told = [line for line in life.host.log.read().splitlines()
                    if "%s: the application's handler was replaced" % name in line]
            assert len(told) == 1 and "fcgihost.register_cleanup()" in told[0], life.host.log.read()
        assert "SIGQUIT: the application" not in life.host.log.read()

    def test_a_signal_every_millisecond_disturbs_no_request_and_no_end(self, tmp_path):
        life = Life(tmp_path, "load_timer")

        def ask(number):
            return [life.host.exchange("GET", "/whoami?token=%d" % number).status for _ in range(200)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert [status for many in pool.map(ask, range(4)) for status in many] == [200] * 800
        life.handlers_ran(2)
        life.end("SIGTERM")
        life.check(0, "info: stopped")


class TestStacks:
    def test_with_the_request_and_its_age(self, tmp_path):
        life = Life(tmp_path)
        connection = life.ask("/wait?who=asks")
        os.kill(life.host.pid, signal.SIGUSR2)
        life.host.log.wait(r"SIGUSR2: the stacks of all threads")
        life.host.log.wait(r"GET /wait for \d+\.\d s(.*\n)+.*in wait\b")
        assert "who=asks" not in life.host.log.read()
        life.go.touch()
        assert connection.read_response().text == "waited"

    def test_while_the_gil_is_held(self, tmp_path):
        life = Life(tmp_path)
        connection = life.ask("/hold-gil?seconds=3")
        os.kill(life.host.pid, signal.SIGUSR2)
        life.host.log.wait(r"SIGUSR2: Python can't be entered: a thread holds the GIL")
        life.host.log.wait(r"serving GET /hold-gil\S* for \d+\.\d s(.*\n)+.*in hold_gil")
        assert connection.read_response().text == "held"


class TestChildren:
    @pytest.mark.parametrize("kind", ["fork", "exit", "multiprocessing", "subprocess"])
    def test_run_no_cleanup(self, tmp_path, kind):
        life = Life(tmp_path)
        response = life.ask("/child?kind=" + kind, wait=False).read_response()
        assert response.text == "child ended with 0"
        assert life.ran() == []
        life.end("SIGTERM")
        life.check(0)
