"""How the process ends: what is in flight is finished, and children do not disturb."""
import os
import signal
import threading
import time

import pytest

import fastcgi
import process
import scgi
from host import Host
from process import wait_until

protocols = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)
signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT],
                                  ids=lambda number: number.name)


def stopped(host):
    """The host ended by itself, cleanly."""
    assert host.wait_exit() == 0, host.log.read()
    assert not os.path.exists(host.address)
    return True


def in_flight(host, folder, protocol=fastcgi, name="in-flight", **kwargs):
    """A request that the application is working on until `folder/go` is there."""
    connection = protocol.Connection(host.address)
    marker = folder / name
    connection.send(protocol.request_bytes(
        "GET", "/sleep?token=%s&until=%s&marker=%s" % (name, folder / "go", marker), **kwargs))
    wait_until(marker.exists, "the request to be in flight")
    return connection


def wait_until_draining(host):
    """It has seen the signal: its socket file has gone."""
    wait_until(lambda: not os.path.exists(host.address), "the host to stop listening")


class TestSignal:
    @signals
    def test_an_idle_host_ends_with_0(self, number):
        host = Host()
        os.kill(host.pid, number)
        assert stopped(host)

    @signals
    @protocols
    def test_a_request_in_flight_is_finished(self, tmp_path, number, protocol):
        host = Host()
        connection = in_flight(host, tmp_path, protocol)
        os.kill(host.pid, number)
        wait_until_draining(host)
        (tmp_path / "go").touch()
        response = connection.read_response()
        assert (response.status, response.text) == (200, "slept in-flight")
        assert stopped(host)

    def test_every_thread_finishes_its_request(self, tmp_path):
        host = Host(settings={"server": {"threads": 4}})
        connections = [in_flight(host, tmp_path, name="r%d" % number) for number in range(4)]
        os.kill(host.pid, signal.SIGTERM)
        wait_until_draining(host)
        (tmp_path / "go").touch()
        for number, connection in enumerate(connections):
            assert connection.read_response().text == "slept r%d" % number
        assert stopped(host)

    def test_a_body_that_is_still_coming_is_read(self):
        host = Host()
        request = fastcgi.request_bytes("POST", "/echo?token=late", b"x" * 5000)
        connection = fastcgi.Connection(host.address)
        connection.send(request[:-3000])
        wait_until(lambda: host.connections() == 1, "the connection to be accepted")
        time.sleep(0.1)  # it reads by now; if not, the request is a queued one and served as well
        os.kill(host.pid, signal.SIGTERM)
        wait_until_draining(host)
        connection.send(request[-3000:])
        assert connection.read_response().json["size"] == 5000
        assert stopped(host)

    def test_atexit_functions_run_once(self, tmp_path):
        host = Host()
        host.exchange("GET", "/atexit?path=%s" % (tmp_path / "atexit"))
        os.kill(host.pid, signal.SIGTERM)
        assert stopped(host)
        assert (tmp_path / "atexit").read_text() == "atexit in %d\n" % host.pid

    def test_queued_requests_are_served(self, tmp_path):
        host = Host(settings={"server": {"threads": 1}})
        connection = in_flight(host, tmp_path)
        queued = []
        for number in range(10):
            protocol = (fastcgi, scgi)[number % 2]
            waiting = protocol.Connection(host.address)
            waiting.send(protocol.request_bytes("GET", "/ignore?token=%d" % number))
            queued.append(waiting)
        os.kill(host.pid, signal.SIGTERM)
        wait_until_draining(host)
        (tmp_path / "go").touch()
        assert connection.read_response().text == "slept in-flight"
        for number, waiting in enumerate(queued):
            assert waiting.read_response().text == "ignored %d" % number
        assert stopped(host)

    def test_idle_kept_connections_are_closed(self, tmp_path):
        host = Host()
        idle = [fastcgi.Connection(host.address) for _ in range(20)]
        for connection in idle:
            assert connection.exchange("GET", "/ready").text == "ready"
        working = in_flight(host, tmp_path)
        os.kill(host.pid, signal.SIGTERM)
        for connection in idle:
            assert connection.is_closed_by_peer()
        (tmp_path / "go").touch()
        assert working.read_response().text == "slept in-flight"
        assert stopped(host)

    def test_a_kept_connection_is_closed_after_its_last_request(self, tmp_path):
        host = Host()
        connection = in_flight(host, tmp_path, keep=True)
        os.kill(host.pid, signal.SIGTERM)
        wait_until_draining(host)
        (tmp_path / "go").touch()
        assert connection.read_response().text == "slept in-flight"
        assert connection.is_closed_by_peer()
        assert stopped(host)

    @protocols
    def test_half_a_head_does_not_keep_it(self, protocol):
        host = Host()
        peers = [protocol.Connection(host.address) for _ in range(8)]
        for peer in peers:
            peer.send(protocol.request_bytes("GET", "/ready")[:25])
        wait_until(lambda: host.connections() == 8, "the peers to be accepted")
        os.kill(host.pid, signal.SIGTERM)
        assert stopped(host)

    @signals
    def test_a_second_signal_changes_nothing(self, tmp_path, number):
        host = Host()
        host.exchange("GET", "/atexit?path=%s" % (tmp_path / "atexit"))
        connection = in_flight(host, tmp_path)
        os.kill(host.pid, number)
        wait_until_draining(host)
        for _ in range(3):
            os.kill(host.pid, signal.SIGTERM)
            time.sleep(0.05)
        assert host.is_running()
        (tmp_path / "go").touch()
        assert connection.read_response().text == "slept in-flight"
        assert stopped(host)
        assert (tmp_path / "atexit").read_text().count("atexit") == 1

    def test_under_load_no_request_is_lost_half_way(self):
        """A request is answered whole, or not at all."""
        host = Host(settings={"server": {"threads": 4}})
        wrong, answered = [], []

        def ask(number):
            while True:
                try:
                    response = fastcgi.exchange(host.address, "GET", "/download?size=100000")
                except AssertionError as error:
                    if "no response" not in str(error):
                        wrong.append(error)
                    return
                except OSError:
                    return
                if (response.status, len(response.body), response.ended) != (200, 100000, True):
                    wrong.append(response)
                answered.append(number)
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answered) > 60, "some requests")
        os.kill(host.pid, signal.SIGTERM)
        for thread in threads:
            thread.join(process.deadline(60))
        assert stopped(host) and not wrong

    def test_a_signal_that_the_application_sends_itself(self):
        host = Host()
        response = host.exchange("GET", "/kill-self?signal=15")
        assert response.text == "sent"
        assert stopped(host)

    def test_right_after_the_start(self, tmp_path):
        """A signal may come at any moment of the start; the socket file is never left behind."""
        for delay in (0, 0.005, 0.01, 0.02, 0.04, 0.08):
            host = Host(wait=False)
            time.sleep(process.deadline(delay))
            os.kill(host.pid, signal.SIGTERM)
            status = host.wait_exit()
            # Before its handlers are there, the signal's own action ends it.
            assert status in (0, -signal.SIGTERM)
            assert not os.path.exists(host.address)
            host.expected_status = None

    def test_while_a_connection_stops_reading(self):
        host = Host(settings={"limits": {"io_timeout": "%ds" % process.deadline(1)}})
        connection = fastcgi.Connection(host.address)
        connection.send(fastcgi.request_bytes("GET", "/big?size=20000000"))
        connection.receive_exactly(1000)
        os.kill(host.pid, signal.SIGTERM)
        assert host.wait_exit() in (0, 1)
        host.expected_status = None


class TestChildren:
    @pytest.mark.skipif("thread" in process.SAN, reason="ThreadSanitizer holds the signals of "
                        "a threaded process's child back")
    def test_sigterm_to_a_forked_child_ends_it_alone(self, tmp_path):
        host = Host()
        host.exchange("GET", "/atexit?path=%s" % (tmp_path / "atexit"))
        pid = int(host.exchange("GET", "/fork-and-leave").text)
        os.kill(pid, signal.SIGTERM)
        assert host.exchange("GET", "/collect-child").text == str(-signal.SIGTERM)
        assert os.path.exists(host.address) and not (tmp_path / "atexit").exists()
        assert host.exchange("GET", "/ready").text == "ready"

    def test_sigterm_to_a_subprocess_ends_it_alone(self):
        host = Host()
        pid = int(host.exchange("GET", "/subprocess-and-leave").text)
        os.kill(pid, signal.SIGTERM)
        assert host.exchange("GET", "/collect-subprocess").text == str(-signal.SIGTERM)
        assert host.exchange("GET", "/ready").text == "ready"

    def test_a_child_that_lives_does_not_keep_the_host(self):
        host = Host()
        pid = int(host.exchange("GET", "/fork-and-leave").text)
        other = int(host.exchange("GET", "/subprocess-and-leave").text)
        try:
            os.kill(host.pid, signal.SIGTERM)
            assert stopped(host)
        finally:
            process.end_adopted(pid)
            process.end_adopted(other)

    def test_a_forked_child_holds_no_connection_of_others(self):
        """It inherits descriptors; a peer still sees the end of its response."""
        host = Host()
        pid = int(host.exchange("GET", "/fork-and-leave").text)
        try:
            assert fastcgi.exchange(host.address, "GET", "/ready").text == "ready"
            assert scgi.exchange(host.address, "GET", "/ready").text == "ready"
        finally:
            os.kill(pid, signal.SIGKILL)
            host.exchange("GET", "/collect-child")

    def test_sys_exit_in_a_child_leaves_the_parent_alone(self, tmp_path):
        host = Host()
        host.exchange("GET", "/atexit?path=%s" % (tmp_path / "atexit"))
        assert host.exchange("GET", "/fork?how=exit").text == "child ended with 7"
        assert os.path.exists(host.address)
        assert host.exchange("GET", "/ready").text == "ready"
        os.kill(host.pid, signal.SIGTERM)
        assert stopped(host)
        assert "atexit in %d\n" % host.pid in (tmp_path / "atexit").read_text()
