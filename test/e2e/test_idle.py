"""[limits] idle: the host ends after so long without a request, and whoever holds the socket starts it again."""
import os

import pytest

import fastcgi
from host import Host
from process import wait_until
from systemd import SocketUnit

APP = "manager_app:application"
IDLE = r"\[limits\] idle: no request for 0\.3 s: stopping"
HOSTS = {"one process": {}, "manager": {"processes": 2}}


@pytest.fixture
def unit(tmp_path):
    unit = SocketUnit(tmp_path)
    yield unit
    unit.close()


@pytest.fixture(params=HOSTS.values(), ids=HOSTS)
def start(request, unit, tmp_path):
    """Starts a host that ends when it is idle."""
    def begin(**more):
        settings = {"server": dict(request.param), "limits": {"idle": "300ms"}, "application": {"mount": "/"}}
        return unit.start(APP, settings, environ={"FOLDER": str(tmp_path)}, wait=False, **more)
    return begin


def ends_idle(host):
    assert host.wait_exit() == 0
    host.log.wait(IDLE)
    return True


def test_it_ends_in_order_and_the_socket_starts_it_again(start, unit, tmp_path):
    for _ in range(2):
        host = start()
        assert fastcgi.exchange(unit.path, "GET", "/").status == 200
        assert ends_idle(host)
        assert os.path.exists(unit.path)
        loads, cleanups = ((tmp_path / name).read_text().splitlines() for name in ("loads", "cleanups"))
        assert sorted(cleanups) == sorted(loads), host.log.read()
    assert not unit.is_wanted()
    with fastcgi.Connection(unit.path) as late:
        late.send(fastcgi.request_bytes("GET", "/", keep=False))
        assert unit.is_wanted()
        host = start()
        assert late.read_response().status == 200
        assert ends_idle(host)


def test_it_ends_without_any_request(start):
    assert ends_idle(start())


def test_a_request_that_runs_keeps_it(start, unit, tmp_path):
    host = start()
    with fastcgi.Connection(unit.path) as running:
        running.send(fastcgi.request_bytes("GET", "/wait?token=w", keep=False))
        wait_until(lambda: (tmp_path / "waiting").exists(), "the request to begin")
        with pytest.raises(AssertionError):
            wait_until(lambda: "idle" in host.log.read(), "an end that must not come", 2)
        (tmp_path / "go").touch()
        assert running.read_response().status == 200
    assert ends_idle(host)


def test_a_kept_connection_does_not(start, unit):
    host = start()
    with fastcgi.Connection(unit.path) as kept:
        assert kept.exchange("GET", "/").status == 200
        assert ends_idle(host)
        assert kept.receive_all() == b""


def test_a_start_that_is_tried_again_is_not_idle(start, unit, tmp_path, expected_log):
    (tmp_path / "broken").touch()
    host = start(args=["--set", "startup.retry_delay=600ms"])
    host.log.wait("attempt 3 failed")
    (tmp_path / "broken").unlink()
    assert fastcgi.exchange(unit.path, "GET", "/").status == 200
    assert ends_idle(host)
    expected_log("announced: broken at import")


def test_pings_are_no_requests(unit, tmp_path):
    host = unit.start(APP, {"limits": {"idle": "1s"}, "status": {"ping": "/ping"}},
                      environ={"FOLDER": str(tmp_path)}, wait=False)
    assert fastcgi.exchange(unit.path, "GET", "/ping").status in (200, 503)
    host.log.wait("serving")

    def is_pinged_to_its_end():
        try:
            with fastcgi.Connection(unit.path, seconds=0.5) as ping:  # unanswered: for the next host
                ping.exchange("GET", "/ping", keep=False)
        except (OSError, AssertionError):
            pass
        return not host.is_running()
    wait_until(is_pinged_to_its_end, "the end although somebody pings")
    assert host.popen.returncode == 0


def test_without_it_the_host_stays():
    host = Host()
    with pytest.raises(AssertionError):
        wait_until(lambda: not host.is_running(), "an end that must not come", 1)
