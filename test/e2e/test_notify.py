"""What systemd hears over NOTIFY_SOCKET, of one process and of a manager that speaks for all."""
import os
import re
import signal
import time

import pytest

import fastcgi
import systemd
from conftest import HELLO
from host import APPS, Host, run, write_file
from managed import ROLLED
from process import wait_until

APP = "manager_app:application"
HOSTS = {"one process": {}, "manager": {"processes": 2}}


@pytest.fixture(params=[False, True], ids=["path", "abstract"])
def notify(request, tmp_path):
    notify = systemd.NotifySocket(tmp_path, request.param)
    yield notify
    notify.close()


@pytest.fixture
def path_notify(tmp_path):
    notify = systemd.NotifySocket(tmp_path)
    yield notify
    notify.close()


def start(notify, folder, settings=None, wait=False, environ=None, **more):
    variables = {"NOTIFY_SOCKET": notify.path, "FOLDER": str(folder), **(environ or {})}
    return Host(APP, {"application": {"mount": "/"}, **(settings or {})}, environ=variables, wait=wait, **more)


def settle(host, kind="one process", count=None):
    """Until every worker serves, so that the end interrupts no start."""
    wanted = count or HOSTS[kind].get("processes", 1)
    wait_until(lambda: len(set(re.findall(r"\[(\d+)\] info: serving ", host.log.read()))) >= wanted,
               "%d that serve:\n%s" % (wanted, host.log.read()))


def settings_of(kind, **sections):
    return {"server": dict(HOSTS[kind]), **sections}


@pytest.mark.parametrize("kind", HOSTS)
class TestStart:
    def test_it_is_ready_once_the_application_is_loaded_and_not_before(self, kind, notify, tmp_path):
        (tmp_path / "slow").touch()
        host = start(notify, tmp_path, settings_of(kind))
        wait_until(lambda: (tmp_path / "loads").exists(), "the application to be loading")
        assert not notify.has("READY")
        (tmp_path / "slow").unlink()
        ready = notify.messages[notify.wait(READY="1")]
        assert ready["MAINPID"] == str(host.pid) and APP in ready["STATUS"]
        assert notify.senders == {host.pid}
        assert fastcgi.exchange(host.address, "GET", "/").status == 200
        settle(host, kind)

    def test_each_failed_attempt_is_told_and_gets_time(self, kind, notify, tmp_path, expected_log):
        (tmp_path / "broken").touch()
        host = start(notify, tmp_path, settings_of(kind, startup={"retry_delay": "300ms"}))
        second = notify.messages[notify.wait(STATUS=None, EXTEND_TIMEOUT_USEC=None)]
        number = notify.wait(notify.messages.index(second) + 1, STATUS=None, EXTEND_TIMEOUT_USEC=None)
        for message in (second, notify.messages[number]):
            assert re.fullmatch(APP + r": attempt \d+ failed, the next one comes in \d+\.\d s \(\d\d:\d\d:\d\d\)",
                                message["STATUS"]), message
            assert int(message["EXTEND_TIMEOUT_USEC"]) > 60000000
        assert second["STATUS"] != notify.messages[number]["STATUS"]
        assert not notify.has("READY")
        (tmp_path / "broken").unlink()
        notify.wait(READY="1")
        assert notify.senders == {host.pid}
        settle(host, kind)
        expected_log("announced: broken at import")

    def test_a_required_import_is_waited_for(self, kind, path_notify, tmp_path, expected_log):
        once = tmp_path / "once"
        host = start(path_notify, tmp_path, settings_of(
            kind, startup={"import": "privileges_app:fail_first", "require": "yes", "retry_delay": "300ms"},
            environment={"ONCE": once}))
        failed = path_notify.wait(EXTEND_TIMEOUT_USEC=None)
        assert "privileges_app:fail_first: attempt 1 failed" in path_notify.messages[failed]["STATUS"]
        ready = path_notify.wait(READY="1")
        assert failed < ready
        settle(host, kind)
        expected_log("the first attempt")


@pytest.mark.parametrize("kind", HOSTS)
class TestReload:
    def begin(self, kind, notify, folder):
        host = start(notify, folder, settings_of(kind))
        mark = notify.wait(READY="1") + 1
        settle(host, kind)
        return host, mark

    def check(self, notify, mark, before_us):
        """RELOADING=1, then READY=1; the number of the latter."""
        reloading = notify.wait(mark, RELOADING="1")
        assert before_us <= int(notify.messages[reloading]["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        ready = notify.wait(mark, READY="1")
        assert reloading < ready
        return ready

    def test_sighup_is_a_reload_from_its_beginning_to_its_end(self, kind, path_notify, tmp_path):
        host, mark = self.begin(kind, path_notify, tmp_path)
        before_us = time.monotonic_ns() // 1000
        host.popen.send_signal(signal.SIGHUP)
        ready = self.check(path_notify, mark, before_us)
        if HOSTS[kind]:
            assert "replaced" in path_notify.messages[ready]["STATUS"]
            assert re.search(ROLLED, host.log.read())
        else:
            assert APP in path_notify.messages[ready]["STATUS"]

    def test_one_that_fails_ends_too(self, kind, path_notify, tmp_path, expected_log):
        if not HOSTS[kind]:
            pytest.skip("one process opens its log again, which does not fail")
        host, mark = self.begin(kind, path_notify, tmp_path)
        (tmp_path / "broken").touch()
        host.popen.send_signal(signal.SIGHUP)
        ready = self.check(path_notify, mark, 0)
        assert "old workers" in path_notify.messages[ready]["STATUS"]
        with open(os.path.join(host.folder, "fcgihost.ini"), "a") as file:
            file.write("[nonsense]\n")
        mark = len(path_notify.messages)
        host.popen.send_signal(signal.SIGHUP)
        ready = self.check(path_notify, mark, 0)
        assert "configuration is wrong" in path_notify.messages[ready]["STATUS"]
        expected_log("announced: broken at import")


def test_a_process_that_executes_itself_anew_reloads(path_notify, folder):
    """[reload] mode = process, without a manager."""
    host = Host("hello:application", {"python": {"path": [str(folder)]},
                                      "reload": {"mode": "process", "interval": "50ms"}},
                wait=False, environ={"NOTIFY_SOCKET": path_notify.path})
    mark = path_notify.wait(READY="1") + 1
    write_file(folder / "hello.py", HELLO.replace("hello from", "hello again from"))
    assert path_notify.wait(mark, RELOADING="1") < path_notify.wait(mark, READY="1")
    assert not path_notify.has("STOPPING")
    assert path_notify.senders == {host.pid}
    assert fastcgi.exchange(host.address, "GET", "/").text == "hello again from hello"


@pytest.mark.parametrize("kind", HOSTS)
def test_the_end_is_told_before_the_drain(kind, path_notify, tmp_path):
    host = start(path_notify, tmp_path, settings_of(kind, shutdown={"drain_timeout": "60s"}))
    path_notify.wait(READY="1")
    settle(host, kind)
    with fastcgi.Connection(host.address) as running:
        running.send(fastcgi.request_bytes("GET", "/wait?token=w", keep=False))
        wait_until(lambda: (tmp_path / "waiting").exists(), "the request to begin")
        host.popen.send_signal(signal.SIGTERM)
        stopping = path_notify.messages[path_notify.wait(STOPPING="1")]
        assert "SIGTERM" in stopping["STATUS"] and int(stopping["EXTEND_TIMEOUT_USEC"]) > 60000000
        assert host.is_running()
        (tmp_path / "go").touch()
        assert running.read_response().status == 200
    assert host.wait_exit() == 0


class TestEnvironment:
    def test_the_application_and_its_children_do_not_see_it(self, path_notify):
        for kind in HOSTS:
            host = Host("privileges_app:application", settings_of(kind), wait=False, environ={
                "NOTIFY_SOCKET": path_notify.path, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"})
            path_notify.wait(READY="1", MAINPID=str(host.pid))
            seen = fastcgi.exchange(host.address, "GET", "/").json["environ"]
            assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(seen)
            settle(host, kind)
            assert host.stop() == []
            host.clean_up()

    def test_a_socket_that_is_gone_or_no_socket_at_all_hurts_nobody(self, tmp_path):
        for name, said in ((str(tmp_path / "none"), "can't notify"), ("vsock:2:1", "neither"), ("", "")):
            host = Host(environ={"NOTIFY_SOCKET": name})
            assert host.exchange("GET", "/ready").text == "ready"
            assert host.log.read().count("NOTIFY_SOCKET") == bool(said) and said in host.log.read()

    def test_a_manager_that_reads_nothing_blocks_nothing_and_hears_ready_later(self, path_notify, tmp_path):
        filler = systemd.fill(path_notify)
        host = start(path_notify, tmp_path, wait=True)
        assert fastcgi.exchange(host.address, "GET", "/").status == 200
        filler.close()
        path_notify.wait(READY="1")


class TestWatchdog:
    WATCHED = {"WATCHDOG_USEC": "1000000"}

    def begin(self, notify, folder, kind="one process", pid=None, threads=4):
        socket_unit = systemd.SocketUnit(folder)
        environ = {"NOTIFY_SOCKET": notify.path, "FOLDER": str(folder), **self.WATCHED}
        if pid:
            environ["WATCHDOG_PID"] = pid
        settings = {"server": {**HOSTS[kind], "threads": threads}, "application": {"mount": "/"}}
        host = socket_unit.start(APP, settings, environ=environ, wait=False)
        notify.wait(READY="1")
        settle(host, kind)
        return host, socket_unit

    def wedge(self, socket_unit, folder):
        """A request that sleeps in C, with the GIL."""
        connection = fastcgi.Connection(socket_unit.path)
        connection.send(fastcgi.request_bytes("GET", "/stuck?way=gil"))
        wait_until(lambda: (folder / "waiting").exists(), "the request to begin")
        return connection

    def feeds(self, notify, number):
        """That many more have come."""
        mark = len(notify.receive())
        for _ in range(number):
            mark = notify.wait(mark, WATCHDOG="1") + 1
        return True

    def starves(self, notify):
        """For longer than the watchdog waits."""
        def has_starved():
            mark, end = len(notify.receive()), time.monotonic() + 1.5
            while time.monotonic() < end:
                time.sleep(0.05)
            return not notify.has("WATCHDOG", mark)
        return wait_until(has_starved, "silence")

    @pytest.mark.parametrize("kind", HOSTS)
    def test_it_is_fed_while_python_answers(self, kind, path_notify, tmp_path):
        host, unit = self.begin(path_notify, tmp_path, kind)
        assert self.feeds(path_notify, 6)
        assert host.stop() == []
        unit.close()

    def test_busy_threads_do_not_starve_it(self, path_notify, tmp_path):
        host, unit = self.begin(path_notify, tmp_path, threads=1)
        with fastcgi.Connection(unit.path) as busy:
            busy.send(fastcgi.request_bytes("GET", "/wait?token=w", keep=False))
            wait_until(lambda: (tmp_path / "waiting").exists(), "the request to begin")
            assert self.feeds(path_notify, 6)
            (tmp_path / "go").touch()
            assert busy.read_response().status == 200
        assert host.stop() == []
        unit.close()

    def test_a_wedged_gil_starves_it(self, path_notify, tmp_path):
        host, unit = self.begin(path_notify, tmp_path)
        assert self.feeds(path_notify, 2)
        with self.wedge(unit, tmp_path):
            assert self.starves(path_notify)
            assert host.is_running()
            host.expected_status = -signal.SIGABRT  # systemd's part
            host.popen.send_signal(signal.SIGABRT)
            host.wait_exit()
        unit.close()

    def test_a_managers_worker_whose_gil_is_wedged_is_replaced_and_the_host_is_fed_on(self, path_notify, tmp_path):
        host, unit = self.begin(path_notify, tmp_path, "manager")
        with self.wedge(unit, tmp_path):
            wedged = (tmp_path / "waiting").read_text().split()[1]
            host.log.wait(r"error: worker %s: its Python has not answered" % wedged)
            host.log.wait(r"error: worker %s was killed by signal 6" % wedged)
            settle(host, kind="manager", count=3)
            assert self.feeds(path_notify, 6)
        assert fastcgi.exchange(unit.path, "GET", "/").status == 200
        assert host.stop() == []
        unit.close()

    def test_one_that_is_meant_for_another_process_is_not_fed(self, path_notify, tmp_path):
        host, unit = self.begin(path_notify, tmp_path, pid="1")
        assert self.starves(path_notify)
        assert host.stop() == []
        unit.close()


def test_one_request_tells_nothing(path_notify, tmp_path):
    for command in (["--check"], ["--call", "/"]):
        done = run(*command, "--set", "python.path=" + APPS, APP,
                   environ={"NOTIFY_SOCKET": path_notify.path, "FOLDER": str(tmp_path)})
        assert done.returncode == 0, done.stderr
    assert path_notify.receive() == []
