"""While every thread is busy: requests wait in their order, for no longer than queue_time."""
import os
import resource
import socket
import time

import pytest

import fastcgi
import message
import scgi
from host import Host
from process import wait_until

protocols = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)
holds = pytest.mark.parametrize("path", ["/hold", "/wedge"], ids=["asleep", "gil-held"])
BURST = 2000


class Busy:
    """A host, all of whose threads are held: asleep, or (/wedge) one of them in C with the GIL."""

    def __init__(self, tmp_path, path="/hold", threads=2, **limits):
        self.fifo, self.threads = str(tmp_path / "fifo"), threads
        os.mkfifo(self.fifo)
        self.fd = os.open(self.fifo, os.O_RDWR)
        self.host = Host("queue_app:application",
                         settings={"server": {"threads": threads}, "limits": limits})
        self.holders = []
        for _ in range(1 if path == "/wedge" else threads):
            holder = scgi.Connection(self.host.address)
            holder.send(scgi.request_bytes("GET", path + "?" + self.fifo))
            self.holders.append(holder)
        self.wait_until_held(path)

    def wait_until_held(self, path):
        """Nobody can ask the application: a thread is in read(2) on the FIFO, or all are."""
        def count():
            found = 0
            for task in os.listdir("/proc/%d/task" % self.host.pid):
                try:
                    with open("/proc/%d/task/%s/syscall" % (self.host.pid, task)) as file:
                        call = file.read().split()
                    name = os.readlink("/proc/%d/fd/%d" % (self.host.pid, int(call[1], 16)))
                except (OSError, IndexError, ValueError):
                    continue
                found += call[0] == "0" and name == self.fifo
            return found
        wait_until(lambda: count() == len(self.holders), "the threads to be held by %s" % path)

    def release(self):
        os.write(self.fd, b"x" * len(self.holders))
        for holder in self.holders:
            assert holder.read_response().text == "served"
        os.close(self.fd)


def connect(host, protocol):
    """The backlog of a Unix socket may be full for a moment; then connect(2) does not wait here."""
    while True:
        try:
            return protocol.Connection(host.address)
        except BlockingIOError:
            time.sleep(0.001)


def ask(host, protocol, path, **kwargs):
    connection = connect(host, protocol)
    connection.send(protocol.request_bytes("GET", path, **kwargs))
    return connection


class TestQueueTime:
    @protocols
    @holds
    def test_who_waits_for_longer_gets_503_although_no_thread_is_free(self, tmp_path, protocol, path):
        busy = Busy(tmp_path, path, queue_time="300ms")
        waiting = [ask(busy.host, protocol, "/%d" % number) for number in range(5)]
        for connection in waiting:
            response = connection.read_response()
            assert (response.status, response.get("Retry-After")) == (503, "1")
        busy.host.log.wait("warning: GET /4: 503: it waited for a thread for longer than")
        busy.release()
        assert busy.host.exchange("GET", "/begun").text == ""  # none of them was served later

    @holds
    def test_a_kept_connection_is_kept_and_served_again(self, tmp_path, path):
        busy = Busy(tmp_path, path, queue_time="300ms")
        connection = ask(busy.host, fastcgi, "/late", keep=True)
        assert connection.read_response().status == 503
        connection.send(fastcgi.request_bytes("POST", "/later", b"x" * 100000, keep=True))
        assert connection.read_response().status == 503
        busy.release()
        assert connection.exchange("GET", "/on-time", keep=True).text == "served"
        assert busy.host.exchange("GET", "/begun").text == "/on-time"

    @protocols
    def test_by_default_requests_wait_for_as_long_as_it_takes(self, tmp_path, protocol):
        busy = Busy(tmp_path)
        waiting = [ask(busy.host, protocol, "/%d" % number) for number in range(5)]
        busy.host.log.wait(r"warning: all threads are busy, and 5 requests wait for one, the first "
                           r"for \d+\.\d s: raise \[server\] threads")
        assert not any(connection.can_receive() for connection in waiting)
        busy.release()
        for connection in waiting:
            assert connection.read_response().text == "served"
        assert busy.host.log.read().count("all threads are busy") == 1

    def test_who_is_served_in_time_is_not_refused(self, tmp_path):
        busy = Busy(tmp_path, queue_time="1h")
        waiting = [ask(busy.host, scgi, "/%d" % number) for number in range(5)]
        time.sleep(0.2)
        busy.release()
        assert [connection.read_response().status for connection in waiting] == [200] * 5

    @protocols
    def test_what_needs_no_application_is_answered_while_no_thread_is_free(self, tmp_path, protocol):
        busy = Busy(tmp_path, request_body="1K")
        connection = protocol.Connection(busy.host.address)
        connection.send(protocol.request_bytes("POST", "/large", b"x" * 2048))
        assert connection.read_response().status == 413
        busy.release()

    def test_a_body_is_received_while_no_thread_is_free(self, tmp_path):
        """More than what two sockets hold: somebody must have read it."""
        busy = Busy(tmp_path, request_head="1M")
        connection = scgi.Connection(busy.host.address)
        extra = {"HTTP_X_%d" % number: "x" * 1000 for number in range(800)}
        connection.send(scgi.request_bytes("POST", "/large", b"", extra=extra))
        busy.release()
        assert connection.read_response().text == "served"


class TestBurst:
    @pytest.mark.parametrize("threads", [1, 4])
    def test_2000_connections_are_served_in_their_order_and_none_is_refused(self, tmp_path, threads):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 2 * BURST + 200:
            pytest.skip("it takes %d descriptors" % (2 * BURST + 200))
        resource.setrlimit(resource.RLIMIT_NOFILE, (2 * BURST + 200, hard))
        try:
            busy = Busy(tmp_path, threads=threads)
            waiting = [ask(busy.host, scgi, "/%d" % number) for number in range(BURST)]
            busy.release()
            assert [one.read_response().text for one in waiting] == ["served"] * BURST
            begun = [int(path[1:]) for path in busy.host.exchange("GET", "/begun").text.split()]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert sorted(begun) == list(range(BURST))
        # A thread that has begun may be switched for long before it tells of it, and its request comes late. So none may
        # come early by more than the requests of the other threads, which is what a later one that is taken first does.
        early = [number - place for place, number in enumerate(begun)]
        assert max(early) < threads + 1, (max(early), min(early))
