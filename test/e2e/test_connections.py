"""Connections: slow, many, kept, split anywhere, stalled. Others are served meanwhile."""
import hashlib
import os
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import fastcgi
import message
import process
import scgi
from conftest import end_shared, serves
from fastcgi import PARAMS, STDIN, begin, head, pairs, record, request_bytes, stream
from host import Host, write_file
from process import deadline, wait_until

protocols = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)
options = pytest.mark.parametrize(
    "protocol, options", [(fastcgi, {"keep": True}), (fastcgi, {"keep": False}), (scgi, {})],
    ids=["fastcgi-kept", "fastcgi", "scgi"])
GET = message.parameters("GET", "/ready")


@pytest.fixture(scope="module")
def shared_host():
    host = Host(settings={"server": {"threads": 2}}, shared=True)
    yield host
    end_shared(host)


def let_the_host_read():
    """Time for the host to see what was sent so far; no result depends on it."""
    time.sleep(0.001)


class TestSlowPeers:
    @protocols
    def test_half_a_head_holds_no_worker(self, protocol):
        host = Host(settings={"server": {"threads": 2}})
        request = protocol.request_bytes("GET", "/ready")
        peers = [protocol.Connection(host.address) for _ in range(64)]
        for number, peer in enumerate(peers):
            peer.send(request[:1 + number * (len(request) // 2) // 64])
        assert serves(host, 200)
        for number, peer in enumerate(peers):  # they were not forgotten either
            peer.send(request[1 + number * (len(request) // 2) // 64:])
            assert peer.read_response().text == "ready"

    @protocols
    def test_a_byte_at_a_time_holds_no_worker(self, protocol):
        host = Host(settings={"server": {"threads": 2}})
        request = protocol.request_bytes("GET", "/ready")
        peers = [protocol.Connection(host.address) for _ in range(64)]
        stop, sent = threading.Event(), []

        def drip():
            for byte in request[:-1]:
                for peer in peers:
                    peer.send(bytes([byte]))
                sent.append(byte)
                if stop.wait(0.05):
                    return
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert serves(host, 200)
        finally:
            stop.set()
            thread.join()
        for peer in peers:
            peer.send(request[len(sent):])
            assert peer.read_response().text == "ready"

    @protocols
    def test_more_stalled_heads_than_threads_before_the_host_is_asked_anything_else(self, protocol):
        host = Host(settings={"server": {"threads": 1}})
        peers = [protocol.Connection(host.address) for _ in range(8)]
        for peer in peers:
            peer.send(protocol.request_bytes("GET", "/ready")[:20])
        assert serves(host, 50)

    @protocols
    def test_peers_that_send_nothing_hold_no_worker(self, protocol):
        host = Host(settings={"server": {"threads": 2}})
        peers = [protocol.Connection(host.address) for _ in range(64)]
        assert serves(host, 200)
        for peer in peers:
            assert peer.exchange("GET", "/ready").text == "ready"

    def test_a_half_management_record_on_a_kept_connection_holds_no_worker(self):
        host = Host(settings={"server": {"threads": 2}})
        peers = [fastcgi.Connection(host.address) for _ in range(16)]
        values = record(fastcgi.GET_VALUES, pairs([("FCGI_MAX_CONNS", "")]), 0)
        for peer in peers:
            assert peer.exchange("GET", "/ready").text == "ready"
            peer.send(values[:11])
        assert serves(host, 50)
        for peer in peers:
            peer.send(values[11:])
            assert "FCGI_MAX_CONNS" in peer.read_values()


class TestManyKeptConnections:
    def test_256_on_4_threads_are_served_again_and_again(self):
        host = Host(settings={"server": {"threads": 4}})
        peers = [fastcgi.Connection(host.address) for _ in range(256)]
        for turn in range(10):
            for number, peer in enumerate(peers):
                peer.send(request_bytes("GET", "/ignore?token=%d-%d" % (turn, number)))
            for number, peer in enumerate(peers):
                assert peer.read_response().text == "ignored %d-%d" % (turn, number)
        assert serves(host)

    def test_some_busy_connections_do_not_starve_the_others(self):
        host = Host(settings={"server": {"threads": 2}})
        stop, failures = threading.Event(), []

        def hammer():
            with fastcgi.Connection(host.address) as connection:
                while not stop.is_set():
                    if connection.exchange("GET", "/ready").text != "ready":
                        failures.append("wrong answer")
        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            peers = [fastcgi.Connection(host.address) for _ in range(20)]
            for _ in range(5):
                for peer in peers:
                    assert peer.exchange("GET", "/ready").text == "ready"
            assert serves(host, 20)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not failures


class TestDescriptorsRunOut:
    def test_accepting_pauses_is_logged_once_and_heals(self):
        host = Host(settings={"server": {"threads": 2}}, nofile=40)
        kept = fastcgi.Connection(host.address)
        assert kept.exchange("GET", "/ready").text == "ready"
        mark = host.log.mark()
        peers = [fastcgi.Connection(host.address) for _ in range(60)]
        host.log.wait("(?i)too many open files|descriptors", mark)
        for _ in range(20):  # those who are in go on, and who leaves makes room for one who waits
            assert kept.exchange("GET", "/ready").text == "ready"
            peers.pop(0).close()
            peers.append(fastcgi.Connection(host.address))
            time.sleep(0.01)
        lines = re.findall("(?i).*(?:too many open files|descriptors).*", host.log.read(mark))
        assert len(lines) == 1, lines
        waiting = peers.pop()
        waiting.send(request_bytes("GET", "/ready"))
        for peer in peers:
            peer.close()
        assert waiting.read_response().text == "ready"
        assert serves(host, 50)


    def test_an_eighth_is_reserved_for_the_application_whatever_slow_uploads_take(self, tmp_path):
        """Each of them needs one for its connection and one for its file."""
        script = write_file(str(tmp_path / "app.py"), """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    files = [open(__file__) for _ in range(7)]  # of 64 / 8 that are reserved
    import wave, colorsys
    return [b"%d files" % len(files)]
""")
        host = Host(app=None, settings={"application": {"script": script}, "limits": {"min_rate": 0},
                                        "server": {"threads": 2, "temporary": "."}}, nofile=64)
        kept = fastcgi.Connection(host.address)
        assert kept.exchange("GET", "/").text == "7 files"
        slow = [fastcgi.Connection(host.address) for _ in range(60)]
        for peer in slow:
            peer.socket.setblocking(False)
        whole = request_bytes("POST", "/", b"x" * 200000)
        sent = [0] * len(slow)

        def advance():  # those that are accepted; others wait in the backlog, or are answered 503
            for number, peer in enumerate(slow):
                try:
                    sent[number] += peer.socket.send(whole[sent[number]:150000])
                except OSError:
                    pass
            return max(map(int, process.descriptors(host.pid))) >= 64 - 8 - 1
        wait_until(advance, "the descriptors to run out")
        for _ in range(20):
            advance()
            assert kept.exchange("GET", "/").text == "7 files"
        for peer in slow:
            peer.close()
        assert serves_files(host)


def serves_files(host):
    return wait_until(lambda: host.exchange("GET", "/").text == "7 files", "it to serve as before")


class TestAsManyConnectionsAsAllowed:
    def kept(self, host, number):
        connections = []
        for _ in range(number):
            connections.append(fastcgi.Connection(host.address))
            assert connections[-1].exchange("GET", "/ready", keep=True).text == "ready"
        return connections

    @pytest.mark.parametrize("how", ["limit", "descriptors"])
    def test_the_longest_idle_ones_are_closed_for_new_ones(self, how):
        if how == "limit":
            host = Host(settings={"server": {"threads": 2}, "limits": {"connections": 8}})
            kept = self.kept(host, 8 - host.connections())
        else:
            host, kept = Host(settings={"server": {"threads": 2}}, nofile=40), []
            kept = self.kept(host, 32 - len(host.descriptors()))
        time.sleep(1.1)
        mark = host.log.mark()
        assert kept[0].exchange("GET", "/ready", keep=True).text == "ready"  # idle for the least
        new = [fastcgi.Connection(host.address) for _ in range(3)]
        for connection in new:
            connection.send(request_bytes("GET", "/ready", keep=True))
        for connection in new:
            assert connection.read_response().text == "ready"
        wait_until(lambda: kept[1].is_closed_by_peer(), "the longest idle one to be closed")
        assert kept[0].exchange("GET", "/ready", keep=True).text == "ready"
        assert host.log.read(mark) == ""

    def test_new_ones_wait_where_none_is_idle(self):
        host = Host(settings={"server": {"threads": 2}, "limits": {"connections": 4}})
        wait_until(lambda: not host.connections(), "the probe to be gone")
        mark = host.log.mark()
        peers = [fastcgi.Connection(host.address) for _ in range(4)]
        for peer in peers:
            peer.send(request_bytes("GET", "/ready")[:20])
        wait_until(lambda: host.connections() == 4, "them to be accepted")
        late = [fastcgi.Connection(host.address) for _ in range(3)]
        for connection in late:
            connection.send(request_bytes("GET", "/ready", keep=False))
        host.log.wait("warning: can't accept connections: 4 are open, as many as \\[limits\\] "
                      "connections allows, and none is idle", mark)
        peers.pop().close()
        for connection in late:
            assert connection.read_response().text == "ready"
        assert host.log.read(mark).count("can't accept") == 1


class TestKeptConnection:
    def test_1000_requests_of_which_half_carry_bodies_that_nobody_reads(self, shared_host):
        """A body that was left must never be taken for the next request, whatever it looks like."""
        forged = request_bytes("GET", "/ignore?token=FORGED")
        numbers = random.Random(1)
        edges = [1, 7, 8, 9, 8176, 8184, 8191, 8192, 8193, 16368, 16384, 65535, 65536, 200000]
        with fastcgi.Connection(shared_host.address) as connection:
            for number in range(1000):
                path = "/ignore?token=%d" % number
                if number % 2:
                    size = numbers.choice(edges + [numbers.randrange(30000)])
                    body = os.urandom(size)
                    if number % 4 == 1:
                        body = (forged * (size // len(forged) + 1))[-size:]
                    chunk = numbers.choice([65535, 8184, 8192, 1000]) if size > 8 else 3
                    connection.send(request_bytes("POST", path, body, chunk=chunk,
                                                  padding=numbers.choice([0, 0, 1, 7])))
                else:
                    connection.send(request_bytes("GET", path))
                response = connection.read_response()
                assert (response.status, response.text) == (200, "ignored %d" % number)
                assert response.ended
                assert (response.app_status, response.protocol_status) == (0, 0)

    def test_bodies_read_in_part(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            for size in (0, 1, 9, 10, 11, 8183, 8184, 8185, 8191, 8192, 8193, 65536, 100000):
                response = connection.exchange("POST", "/read-some?token=%d" % size, b"x" * size)
                assert response.text == "read some %d" % size

    def test_the_terminator_at_every_place_around_a_buffer_edge(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            for size in range(8192 - 700, 8192 + 20):
                response = connection.exchange("POST", "/ignore?token=%d" % size, b"x" * size)
                assert response.text == "ignored %d" % size

    def test_the_end_of_a_request_waits_for_the_end_of_its_body(self, shared_host):
        """A web server stops sending at END_REQUEST, and puts the connection back into its pool."""
        pieces = [record(STDIN, b"x" * 10000) for _ in range(100)] + [record(STDIN)]
        with fastcgi.Connection(shared_host.address) as connection:
            for number in range(3):
                path, extra = "/ignore?token=%d" % number, {"CONTENT_LENGTH": "1000000"}
                connection.send(head(message.parameters("POST", path, extra=extra)))
                sent = 0
                for piece in pieces:
                    if connection.can_receive():
                        kind, _, _ = connection.read_record()
                        assert kind != fastcgi.END_REQUEST, "END_REQUEST after %d pieces" % sent
                    connection.send(piece)
                    sent += 1
                    let_the_host_read()
                kind = None
                while kind != fastcgi.END_REQUEST:
                    kind, _, _ = connection.read_record()

    def test_the_keep_flag_is_honoured(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            for number in range(3):
                assert connection.exchange("GET", "/ignore?token=%d" % number,
                                           keep=True).text == "ignored %d" % number
            assert connection.exchange("GET", "/ready", keep=False).text == "ready"
            assert connection.is_closed_by_peer()

    def test_the_request_id_is_the_peers(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            for number in (1, 2, 255, 256, 65535):
                assert connection.exchange("GET", "/ready", request_id=number).text == "ready"

    def test_requests_sent_ahead_are_answered_in_their_order(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(b"".join(request_bytes("POST", "/echo?token=%d" % number,
                                                   b"b" * number * 100)
                                     for number in range(50)))
            for number in range(50):
                found = connection.read_response().json
                assert (found["token"], found["size"]) == (str(number), number * 100)

    def test_scgi_closes_after_its_response(self, shared_host):
        with scgi.Connection(shared_host.address) as connection:
            connection.send(scgi.request_bytes("GET", "/ready"))
            assert connection.read_response().text == "ready"  # reads to the end of the connection

    def test_a_connection_that_the_peer_closes_between_requests_leaves_no_line(self, shared_host):
        mark = shared_host.log.mark()
        for _ in range(10):
            with fastcgi.Connection(shared_host.address) as connection:
                assert connection.exchange("GET", "/ready").text == "ready"
        serves(shared_host)
        assert shared_host.log.read(mark) == ""


class TestUnreadBodies:
    REST = 2000

    def send_all_but_the_rest(self, connection, protocol, number, options):
        request = protocol.request_bytes("POST", "/ignore?token=%d" % number, b"x" * 400000,
                                         **options)
        connection.send(request[:-self.REST])
        return request[-self.REST:]

    @options
    def test_what_is_still_to_come_holds_no_worker(self, protocol, options):
        host = Host(settings={"server": {"threads": 1}})
        peers = [protocol.Connection(host.address) for _ in range(8)]
        rests = [self.send_all_but_the_rest(peer, protocol, number, options)
                 for number, peer in enumerate(peers)]
        assert serves(host, 10)
        is_kept = options.get("keep")
        for peer, rest in zip(peers, rests):  # into connections that are open
            peer.send(rest + request_bytes("GET", "/ready") if is_kept else rest)
        for number, peer in enumerate(peers):
            assert peer.read_response().text == "ignored %d" % number
            if is_kept:
                assert peer.read_response().text == "ready"
                assert peer.exchange("GET", "/ready").text == "ready"

    @pytest.mark.parametrize("protocol, options", [(fastcgi, {"keep": False}), (scgi, {})],
                             ids=["fastcgi", "scgi"])
    def test_on_a_connection_that_closes_the_response_does_not_wait(self, protocol, options):
        """nginx sends no more of a body once it has seen the response begin."""
        host = Host(settings={"server": {"threads": 1}, "application": {"stream": "yes"}})
        peers = [protocol.Connection(host.address) for _ in range(8)]
        rests = []
        for number, peer in enumerate(peers):
            rests.append(self.send_all_but_the_rest(peer, protocol, number, options))
            response = peer.read_response()
            assert (response.text, response.ended) == ("ignored %d" % number, True)
            assert peer.receive_all() == b""
        for peer, rest in zip(peers, rests):
            peer.send(rest)  # the host takes it: a connection reset now could lose the response
        wait_until(lambda: not host.connections(), "the host to close the connections")


class TestSplits:
    def test_a_fastcgi_request_in_two_pieces_at_every_point(self, shared_host):
        body = b"split body"
        with fastcgi.Connection(shared_host.address) as connection:
            request = request_bytes("POST", "/echo?token=split", body, chunk=4, padding=3)
            for at in range(1, len(request)):
                connection.send(request[:at])
                let_the_host_read()
                connection.send(request[at:])
                found = connection.read_response().json
                assert (found["size"], found["token"]) == (len(body), "split"), at

    def test_an_scgi_request_in_two_pieces_at_every_point(self, shared_host):
        body = b"split body"
        request = scgi.request_bytes("POST", "/echo?token=split", body)
        for at in range(1, len(request)):
            with scgi.Connection(shared_host.address) as connection:
                connection.send(request[:at])
                let_the_host_read()
                connection.send(request[at:])
                found = connection.read_response().json
                assert (found["size"], found["token"]) == (len(body), "split"), at

    @protocols
    def test_a_byte_at_a_time(self, shared_host, protocol):
        with protocol.Connection(shared_host.address) as connection:
            for byte in protocol.request_bytes("POST", "/echo?token=bytes", b"slow body"):
                connection.send(bytes([byte]))
                time.sleep(0.0005)
            assert connection.read_response().json["size"] == 9

    @pytest.mark.parametrize("chunk, padding", [(1, 0), (1, 7), (7, 255), (255, 8), (65535, 255)])
    def test_parameters_and_body_in_records_of_any_size(self, shared_host, chunk, padding):
        body = os.urandom(3000)
        with fastcgi.Connection(shared_host.address) as connection:
            for number in range(3):
                response = connection.exchange("POST", "/echo?token=%d" % number, body, chunk=chunk,
                                               padding=padding)
                assert response.json["sha256"] == hashlib.sha256(body).hexdigest()
                assert response.json["token"] == str(number)

    @protocols
    def test_a_body_in_pieces(self, shared_host, protocol):
        numbers = random.Random(2)
        body = numbers.randbytes(200000)
        request = protocol.request_bytes("POST", "/echo", body)
        with protocol.Connection(shared_host.address) as connection:
            at = 0
            while at < len(request):
                size = numbers.choice([1, 100, 5000, 20000])
                connection.send(request[at:at + size])
                at += size
                let_the_host_read()
            assert connection.read_response().json["sha256"] == hashlib.sha256(body).hexdigest()

    def test_a_body_in_records_that_are_mostly_padding(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            for number in range(3):
                response = connection.exchange("POST", "/echo?token=%d" % number, b"x" * 3000,
                                               chunk=1, padding=255, head_chunk=1000)
                assert (response.json["size"], response.json["token"]) == (3000, str(number))

    def test_long_form_lengths(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            for _ in range(2):
                connection.send(begin() + stream(PARAMS, pairs(GET, long=True)) + record(STDIN))
                assert connection.read_response().text == "ready"


class TestTimeouts:
    SETTINGS = {"server": {"threads": 1}, "limits": {"io_timeout": "%ds" % deadline(1)}}

    @protocols
    def test_a_peer_that_stops_reading_does_not_hold_a_worker(self, protocol):
        host = Host(settings=self.SETTINGS)
        connection = protocol.Connection(host.address)
        connection.send(protocol.request_bytes("GET", "/big?size=20000000"))
        assert len(connection.receive_exactly(1000)) == 1000
        assert serves(host, 10)
        wait_until(lambda: not host.connections(), "the host to close the connection")
        received = 1000
        while True:
            data = connection.receive()
            if not data:
                break
            received += len(data)
        assert received < 20000000, "it waited for ever"

    @protocols
    def test_a_peer_that_stops_sending_its_body_does_not_hold_a_worker(self, protocol):
        """With stream = yes the application reads as it comes; test_bodies.py has the others."""
        host = Host(settings=dict(self.SETTINGS, application={"stream": "yes"}))
        connection = protocol.Connection(host.address)
        connection.send(protocol.request_bytes("POST", "/cut", b"x" * 400000)[:-2000])
        wait_until(lambda: protocol.exchange(host.address, "GET", "/last").text == "OSError",
                   "the application to be told")
        assert serves(host, 10)

    @options
    @pytest.mark.parametrize("size", [5000, 400000])
    def test_a_peer_that_never_ends_an_unread_body_is_given_up(self, protocol, options, size):
        host = Host(settings=self.SETTINGS)
        connection = protocol.Connection(host.address)
        request = protocol.request_bytes("POST", "/ignore?token=x", b"x" * size, **options)
        connection.send(request[:-2000])
        assert serves(host, 10)
        connection.receive_all()  # an answer or none, and its end
        wait_until(lambda: not host.connections(), "the host to close the connection")
        assert serves(host, 10)

    @pytest.mark.parametrize("keep", [True, False])
    def test_a_peer_that_never_ends_its_last_record_is_given_up(self, keep):
        """The application has answered all the same: nothing to be said in the log."""
        host = Host(settings=self.SETTINGS)
        mark = host.log.mark()
        connection = fastcgi.Connection(host.address)
        connection.send(request_bytes("POST", "/ignore?token=x", b"x" * 5000, keep=keep)[:-4])
        response = connection.read_response()
        assert (response.text, response.ended) == ("ignored x", True)
        wait_until(lambda: not host.connections(), "the host to close the connection")
        assert host.log.read(mark) == ""

    @options
    def test_an_unread_body_that_trickles_in_is_given_up(self, protocol, options):
        host = Host(settings=self.SETTINGS)
        connection = protocol.Connection(host.address)
        request = protocol.request_bytes("POST", "/ignore?token=x", b"x" * 400000, **options)
        connection.send(request[:-100000])
        try:
            for byte in request[-100000:-1]:
                connection.send(bytes([byte]))
                time.sleep(0.01)
        except OSError:
            pass
        else:
            pytest.fail("the host took a body for ever")
        assert serves(host, 10)

    @protocols
    def test_half_a_head_is_given_up(self, protocol):
        host = Host(settings=self.SETTINGS)
        connection = protocol.Connection(host.address)
        connection.send(protocol.request_bytes("GET", "/ready")[:30])
        assert connection.is_closed_by_peer()
        assert serves(host, 4)

    def test_an_idle_kept_connection_is_not_given_up(self):
        host = Host(settings=self.SETTINGS)
        with fastcgi.Connection(host.address) as connection:
            assert connection.exchange("GET", "/ready").text == "ready"
            time.sleep(deadline(2.5))
            assert connection.exchange("GET", "/ready").text == "ready"

    @options
    @pytest.mark.parametrize("path", ["/ignore?token=x", "/big?size=3000000"])
    def test_an_unread_body_of_any_size_is_dropped_without_a_thread(self, protocol, options, path):
        """The peer sends all of it before it reads, as some web servers do."""
        host = Host(settings={"server": {"threads": 1}})
        size, block = 150 << 20, b"x" * 65528
        with protocol.Connection(host.address) as connection:
            extra = {"CONTENT_LENGTH": str(size)}
            head = protocol.request_bytes("POST", path, extra=extra, **options)
            connection.send(head if protocol is scgi else head[:-8])  # without the end of STDIN
            for at in range(0, size, len(block)):
                part = block[:size - at]
                connection.send(part if protocol is scgi else record(STDIN, part))
                if "ignore" in path and at // len(block) % 500 == 0:
                    assert serves(host, 2)
            if protocol is fastcgi:
                connection.send(record(STDIN))
            response = connection.read_response()
            assert response.ended and len(response.body) == (9 if "ignore" in path else 3000000)
            if options.get("keep"):
                assert connection.exchange("GET", "/ready").text == "ready"


class TestProtocol:
    def test_auto_takes_both_on_one_socket(self, shared_host):
        assert serves(shared_host, 40)

    def test_fastcgi_refuses_scgi(self):
        host = Host(protocol="fastcgi")
        mark = host.log.mark()
        with scgi.Connection(host.address) as connection:
            connection.send(scgi.request_bytes("GET", "/ready"))
            assert connection.receive_all() == b""
        host.log.wait(".", mark)
        assert fastcgi.exchange(host.address, "GET", "/ready").text == "ready"

    def test_scgi_refuses_fastcgi(self):
        host = Host(protocol="scgi")
        mark = host.log.mark()
        with fastcgi.Connection(host.address) as connection:
            connection.send(request_bytes("GET", "/ready"))
            assert connection.receive_all() == b""
        host.log.wait(".", mark)
        assert scgi.exchange(host.address, "GET", "/ready").text == "ready"


class TestConcurrency:
    def test_as_many_requests_run_at_once_as_there_are_threads(self, tmp_path):
        host = Host(settings={"server": {"threads": 3}})
        go = tmp_path / "go"
        peers = [fastcgi.Connection(host.address) for _ in range(3)]
        for number, peer in enumerate(peers):
            names = (number, go, tmp_path / str(number))
            peer.send(request_bytes("GET", "/sleep?token=%d&until=%s&marker=%s" % names))
        for number in range(3):
            wait_until((tmp_path / str(number)).exists,
                       "request %d to run beside the others" % number)
        fourth = fastcgi.Connection(host.address)
        fourth.send(request_bytes("GET", "/ready"))
        go.touch()
        for number, peer in enumerate(peers):
            assert peer.read_response().text == "slept %d" % number
        assert fourth.read_response().text == "ready"

    @protocols
    def test_a_chunk_that_nobody_takes_holds_up_nobody_else(self, protocol):
        host = Host(settings={"server": {"threads": 2}})
        connection = protocol.Connection(host.address)
        connection.send(protocol.request_bytes("GET", "/close?how=endless"))
        assert len(connection.receive_exactly(1000)) == 1000
        assert serves(host)

    @protocols
    def test_long_computed_response_that_nobody_takes_holds_up_nobody_else(self, protocol):
        """It is sent with the GIL held, until the peer must be waited for."""
        host = Host(settings={"server": {"threads": 2}})
        connection = protocol.Connection(host.address)
        connection.send(protocol.request_bytes("GET", "/long_head"))
        assert len(connection.receive_exactly(1000)) == 1000
        assert serves(host)
        connection.close()
        assert serves(host)

    @protocols
    def test_long_computing_keeps_and_loses_its_connection_as_others_do(self, protocol):
        host = Host(settings={"server": {"threads": 2}})
        with protocol.Connection(host.address) as connection:
            for _ in range(3 if protocol is fastcgi else 1):
                connection.send(protocol.request_bytes("GET", "/long"))
                assert connection.read_response().text == "computed"
        assert serves(host)

    def test_many_clients_over_both_protocols_get_their_own_answers(self, shared_host):
        def ask(number):
            module, body = (fastcgi, scgi)[number % 2], os.urandom(number * 613 % 40000)
            found = module.exchange(shared_host.address, "POST", "/echo?token=%d" % number,
                                    body).json
            return found == {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body),
                             "token": str(number)}
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(ask, range(600))).count(True) == 600

    def test_descriptors_do_not_leak(self, shared_host):
        before = len(shared_host.descriptors())
        for _ in range(100):
            serves(shared_host, 2)
            with message.Connection(shared_host.address) as connection:
                connection.send(b"garbage")
                connection.receive_all()
        wait_until(lambda: len(shared_host.descriptors()) <= before, "descriptors to be given back")
