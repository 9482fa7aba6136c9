"""Peers that break a protocol, or use its rarer parts: answered as it says, or closed with one line
in the log; others are served."""
import contextlib
import os
import random
import threading
import time

import pytest

import fastcgi
import message
import scgi
from conftest import end_shared, serves
from fastcgi import PARAMS, STDIN, begin, head, pairs, record, request_bytes, stream
from host import Host
from process import wait_until

protocols = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)
GET = message.parameters("GET", "/ready")
POST_CUT = message.parameters("POST", "/cut", b"x" * 5000)


@pytest.fixture(scope="module")
def shared_host():
    host = Host(settings={"server": {"threads": 2}}, shared=True)
    yield host
    end_shared(host)


@pytest.fixture(scope="module")
def streaming_host():
    """Its application gets a body as it comes: without `stream` it is called once the body is there."""
    host = Host(settings={"server": {"threads": 2}, "application": {"wsgi": "wsgi_app:application", "stream": "yes"}},
                shared=True)
    yield host
    end_shared(host)


class TestManagementRecords:
    VALUES = record(fastcgi.GET_VALUES, pairs([("FCGI_MAX_CONNS", ""), ("FCGI_MAX_REQS", ""),
                                               ("FCGI_MPXS_CONNS", "")]), 0)

    def check(self, values):
        assert set(values) == {"FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"}
        assert values["FCGI_MPXS_CONNS"] == "0"
        assert int(values["FCGI_MAX_CONNS"]) > 0 and int(values["FCGI_MAX_REQS"]) > 0

    def test_values_before_the_first_request_and_between_requests(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            for number in range(3):
                connection.send(self.VALUES)
                self.check(connection.read_values())
                assert connection.exchange("POST", "/echo?token=%d" % number,
                                           b"body").json["token"] == str(number)

    def test_only_what_was_asked_for_is_answered(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(record(fastcgi.GET_VALUES, pairs([("FCGI_MPXS_CONNS", "")]), 0))
            assert connection.read_values() == {"FCGI_MPXS_CONNS": "0"}
            connection.send(record(fastcgi.GET_VALUES, b"", 0))
            assert connection.read_values() == {}

    @pytest.mark.parametrize("number", [1, 100, 200])
    def test_unknown_names_are_left_out(self, shared_host, number):
        names = [("X_UNKNOWN_%d" % count, "") for count in range(number)]
        with fastcgi.Connection(shared_host.address) as connection:
            for _ in range(3):
                asked = pairs(names + [("FCGI_MPXS_CONNS", "")])
                connection.send(record(fastcgi.GET_VALUES, asked, 0))
                assert connection.read_values() == {"FCGI_MPXS_CONNS": "0"}
                assert connection.exchange("GET", "/ready").text == "ready"

    def test_a_huge_question_is_answered_or_closed(self, shared_host):
        names = [("X_UNKNOWN_%d" % count, "") for count in range(3000)]
        with fastcgi.Connection(shared_host.address) as connection:
            asked = pairs(names + [("FCGI_MPXS_CONNS", "")])
            with contextlib.suppress(ConnectionError):  # closed before it has taken all
                connection.send(record(fastcgi.GET_VALUES, asked, 0))
            found = connection.read_record()
            assert found is None or dict(fastcgi.split_pairs(found[2])) == {"FCGI_MPXS_CONNS": "0"}
        assert serves(shared_host, 4)

    def test_names_and_lengths_that_make_no_sense_do_no_harm(self, shared_host):
        for content in (b"\x7f", b"\xff\xff\xff\xff", b"\x80", b"\x05\x00abc",
                        b"\xff\xff\xff\xff\xff\xff\xff\xffabc",
                        os.urandom(1000), b"\0" * 65535):
            with fastcgi.Connection(shared_host.address) as connection:
                with contextlib.suppress(ConnectionError):  # closed before it has taken all
                    connection.send(record(fastcgi.GET_VALUES, content, 0))
                found = connection.read_record()  # an answer, or the end of the connection
                assert found is None or found[0] == fastcgi.GET_VALUES_RESULT
            assert serves(shared_host, 2)

    def test_an_unknown_type_is_answered_as_unknown(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            for kind in (12, 100, 255):
                connection.send(record(kind, b"of what?", 0))
                assert connection.read_record() == (fastcgi.UNKNOWN_TYPE, 0,
                                                    bytes([kind]) + b"\0" * 7)
                assert connection.exchange("GET", "/ready").text == "ready"

    @pytest.mark.parametrize("place", ["in the parameters", "before the body", "in the body"])
    def test_in_the_middle_of_a_request_they_leave_it_unharmed(self, shared_host, place):
        parameters = pairs(message.parameters("POST", "/echo?token=whole", b"x" * 2000))
        first = record(PARAMS, parameters[:50])
        second = record(PARAMS, parameters[50:]) + record(PARAMS)
        bodies = [record(STDIN, b"x" * 1000), record(STDIN, b"x" * 1000) + record(STDIN)]
        at = ["in the parameters", "before the body", "in the body"].index(place)
        for pause in (False, True):
            parts = [begin() + first, second, bodies[0], bodies[1]]
            parts.insert(at + 1, self.VALUES)
            with fastcgi.Connection(shared_host.address) as connection:
                for part in parts:
                    connection.send(part)
                    if pause:
                        time.sleep(0.02)
                self.read_both(connection)
                assert connection.exchange("GET", "/ready").text == "ready"

    def read_both(self, connection):
        """The answer to the values and the response may come in either order."""
        out, is_ended, values = b"", False, None
        while not is_ended or values is None:
            found = connection.read_record()
            assert found, "the connection ended; so far %r" % out
            kind, request_id, content = found
            if kind == fastcgi.GET_VALUES_RESULT:
                values = dict(fastcgi.split_pairs(content))
            elif kind == fastcgi.STDOUT:
                out += content
            elif kind == fastcgi.END_REQUEST:
                is_ended = True
            else:
                raise AssertionError("a record of type %d" % kind)
        self.check(values)
        assert message.parse_cgi(out).json["size"] == 2000

    def test_a_flood_of_them_from_one_peer_does_not_harm_others(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            stop = threading.Event()

            def flood():
                try:
                    while not stop.is_set():
                        connection.send(self.VALUES * 10)  # and never reads an answer
                except OSError:
                    pass
            thread = threading.Thread(target=flood, daemon=True)
            thread.start()
            try:
                assert serves(shared_host, 50)
            finally:
                stop.set()
                connection.socket.shutdown(2)
                thread.join()


class TestProtocolErrors:
    def end_of(self, connection, request_id):
        kind, number, content = connection.read_record()
        assert (kind, number) == (fastcgi.END_REQUEST, request_id)
        return content[4]

    @pytest.mark.parametrize("place", ["in the parameters", "in the body"])
    def test_a_second_request_is_refused_while_the_first_is_served(self, shared_host, place):
        body = b"x" * 400000
        request = request_bytes("POST", "/echo?token=first", body, head_chunk=50, chunk=50000)
        # After the first record of the parameters; before the last of the body that is not empty.
        at = {"in the parameters": 16 + 8 + 50, "in the body": -(8 + 50000 + 8)}[place]
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(request[:at])
            connection.send(begin(2))
            assert self.end_of(connection, 2) == fastcgi.CANT_MPX_CONN
            connection.send(request[at:])
            found = connection.read_response().json
            assert (found["size"], found["token"]) == (400000, "first")
            assert connection.exchange("GET", "/ready").text == "ready"

    def test_a_second_request_beside_a_small_body_is_refused(self, shared_host):
        request = request_bytes("POST", "/echo?token=first", b"x" * 2000)
        at = request.index(record(STDIN))
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(request[:at] + begin(2) + request[at:])
            ends, out = {}, b""
            while len(ends) < 2:  # in either order
                kind, number, content = connection.read_record()
                if kind == fastcgi.END_REQUEST:
                    ends[number] = content[4]
                else:
                    assert (kind, number) == (fastcgi.STDOUT, 1)
                    out += content
            assert ends == {1: fastcgi.REQUEST_COMPLETE, 2: fastcgi.CANT_MPX_CONN}
            assert message.parse_cgi(out).json["size"] == 2000
            assert connection.exchange("GET", "/ready").text == "ready"

    @pytest.mark.parametrize("role", [0, 4, 17, 65535])
    def test_an_unknown_role_is_refused(self, shared_host, role):
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(head(GET, role=role) + record(STDIN))
            assert self.end_of(connection, 1) == fastcgi.UNKNOWN_ROLE
        assert serves(shared_host, 2)

    def test_an_unknown_role_is_refused_before_its_parameters_come(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(begin(role=17))
            assert self.end_of(connection, 1) == fastcgi.UNKNOWN_ROLE

    def test_records_of_requests_that_are_over_or_never_were_are_ignored(self, shared_host):
        strays = [fastcgi.abort(9), record(PARAMS, pairs(GET), 9), record(STDIN, b"late", 9),
                  record(STDIN, b"late"), record(STDIN)]
        with fastcgi.Connection(shared_host.address) as connection:
            for number, stray in enumerate(strays):
                connection.send(stray)
                assert connection.exchange("GET", "/ready").text == "ready", number


def netstring(content):
    return b"%d:%s," % (len(content), content)


HELLO = bytes.fromhex("16030100c8010000c40303") + b"\x55" * 200
GARBAGE = {
    "random-bytes": b"\xa5" + random.Random(3).randbytes(3000),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": HELLO,
    "zeros": b"\0" * 100,
    "fastcgi-version-0": record(1, b"\0\1\1\0\0\0\0\0", version=0),
    "fastcgi-version-2": record(1, b"\0\1\1\0\0\0\0\0", version=2),
    "fastcgi-later-version-2": begin() + record(PARAMS, pairs(GET), version=2),
    "fastcgi-begins-with-stdout": record(fastcgi.STDOUT, b"body"),
    "fastcgi-request-0": head(GET, request_id=0),
    "fastcgi-short-begin": record(1, b"\0\1"),
    "fastcgi-long-begin": record(1, b"\0\1\1" + b"\0" * 500),
    "fastcgi-stdin-in-parameters": begin() + record(PARAMS, pairs(GET)) + record(STDIN, b"early"),
    "fastcgi-name-of-2-gib": begin() + stream(PARAMS, b"\xff\xff\xff\xff\x01" + b"N" * 1000),
    "fastcgi-value-of-2-gib": begin() + stream(PARAMS, b"\x01\xff\xff\xff\xffNV"),
    "fastcgi-pair-cut-short": begin() + stream(PARAMS, pairs(GET)[:-3]) + record(STDIN),
    "fastcgi-length-cut-short": begin() + stream(PARAMS, pairs(GET) + b"\x80\0") + record(STDIN),
    "fastcgi-name-with-equals-sign": head(GET + [("A=B", "1")]) + record(STDIN),
    "fastcgi-name-with-nul": head(GET + [("A\0B", "1")]) + record(STDIN),
    "fastcgi-value-with-nul": head(GET + [("A", "1\x002")]) + record(STDIN),
    "scgi-huge-length": b"99999999999999999999:CONTENT_LENGTH\x000\0",
    "scgi-length-beyond-the-limit": b"1000000:CONTENT_LENGTH\x000\0",
    "scgi-leading-zero": b"010:CONTENT_LE,",
    "scgi-no-colon": b"12x",
    "scgi-no-comma": scgi.head(GET)[:-1] + b";",
    "scgi-empty": b"0:,",
    "scgi-no-content-length": netstring(b"SCGI\x001\0A\0B\0"),
    "scgi-odd-strings": netstring(b"CONTENT_LENGTH\x000\0SCGI\x001\0A\0"),
    "scgi-no-last-nul": netstring(b"CONTENT_LENGTH\x000\0SCGI\x001\0A\0B"),
    "scgi-content-length-is-a-word": netstring(b"CONTENT_LENGTH\0ten\0SCGI\x001\0"),
    "scgi-negative-content-length": netstring(b"CONTENT_LENGTH\0-1\0SCGI\x001\0"),
}


class TestGarbage:
    @pytest.mark.parametrize("kind", sorted(GARBAGE))
    def test_is_closed_with_one_line_in_the_log(self, shared_host, kind):
        mark = shared_host.log.mark()
        with message.Connection(shared_host.address) as connection:
            connection.send(GARBAGE[kind])
            answer = connection.receive_all()
            assert b"ready" not in answer and b"Status: 200" not in answer
        wait_until(lambda: shared_host.log.read(mark), "a line about it")
        assert serves(shared_host, 4)
        assert len(shared_host.log.read(mark).splitlines()) == 1, shared_host.log.read(mark)

    def test_a_peer_that_says_nothing_is_not_worth_a_line(self, shared_host):
        mark = shared_host.log.mark()
        for _ in range(20):
            message.Connection(shared_host.address).close()
        assert serves(shared_host, 4)
        assert shared_host.log.read(mark) == ""

    @protocols
    def test_a_peer_that_goes_in_the_middle_of_its_head(self, shared_host, protocol):
        request = protocol.request_bytes("GET", "/ready")
        for at in range(1, len(request) // 2, 20):
            with protocol.Connection(shared_host.address) as connection:
                connection.send(request[:at])
        assert serves(shared_host, 4)

    def test_random_changes_in_good_requests_do_no_harm(self):
        host = Host("wsgi_app:tolerant", {"server": {"threads": 2}})
        numbers = random.Random(4)
        for number in range(300):
            make = (request_bytes, scgi.request_bytes)[number % 2]
            good = bytearray(make("POST", "/ready", b"body" * 50))
            for _ in range(numbers.choice([1, 1, 2, 10])):
                good[numbers.randrange(len(good))] = numbers.randrange(256)
            with message.Connection(host.address) as connection:
                try:
                    connection.send(bytes(good))
                    connection.half_close()
                except OSError:
                    continue  # it was refused at once
                connection.receive_all()
        for number in range(10):
            module = (fastcgi, scgi)[number % 2]
            assert module.exchange(host.address, "POST", "/", b"body").text == "read 4"


class TestMethods:
    @pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)
    @pytest.mark.parametrize("method, status", [("", 400), (None, 500)], ids=["empty", "missing"])
    def test_an_empty_one_is_the_client_s_fault_and_a_missing_one_the_web_server_s(self, shared_host, protocol,
                                                                                   method, status):
        extra = {"REQUEST_METHOD": method}
        assert protocol.exchange(shared_host.address, "GET", "/ready", extra=extra).status == status


class TestLimits:
    @protocols
    @pytest.mark.parametrize("limit, size", [(None, 66000), ("4K", 5000)])
    def test_a_head_beyond_request_head_is_refused(self, protocol, limit, size):
        host = Host(settings={"limits": {"request_head": limit}})
        mark = host.log.mark()
        with protocol.Connection(host.address) as connection:
            request = protocol.request_bytes("GET", "/ready", headers=[("X-Long", "x" * size)])
            try:
                connection.send(request)
            except OSError:
                pass  # it may close before everything was sent
            assert connection.receive_all() == b""
        host.log.wait("request_head", mark)
        assert protocol.exchange(host.address, "GET", "/ready",
                                 headers=[("X-Long", "x" * (size // 2))]).text == "ready"

    def test_a_head_of_many_records_beyond_request_head_is_refused(self, shared_host):
        mark = shared_host.log.mark()
        with fastcgi.Connection(shared_host.address) as connection:
            try:
                for number in range(20000):
                    connection.send(b"" if number else begin())
                    connection.send(record(PARAMS, pairs([("N%d" % number, "v" * 20)])))
            except OSError:
                pass
            assert connection.receive_all() == b""
        shared_host.log.wait("request_head", mark)
        assert serves(shared_host, 2)

    @protocols
    def test_a_body_beyond_request_body_is_413(self, protocol):
        host = Host(settings={"limits": {"request_body": "10K"}})
        response = protocol.exchange(host.address, "POST", "/echo", b"x" * 10241)
        assert response.status == 413
        assert protocol.exchange(host.address, "POST", "/echo", b"x" * 10240).json["size"] == 10240
        response = protocol.exchange(host.address, "POST", "/echo", b"x" * 1000000)
        assert response.status == 413
        assert serves(host, 2)

    def test_a_body_without_a_length_beyond_request_body_is_413(self):
        host = Host(settings={"limits": {"request_body": "10K"}})
        response = fastcgi.exchange(host.address, "POST", "/echo", b"x" * 100000,
                                    extra={"CONTENT_LENGTH": None})
        assert response.status == 413
        assert serves(host, 2)


class TestBodyCutShort:
    def last(self, host):
        return fastcgi.exchange(host.address, "GET", "/last").text

    @pytest.mark.parametrize("how", ["in-a-record", "between-records", "before-the-body",
                                     "in-a-record-header"])
    @pytest.mark.parametrize("end", ["half-close", "close"])
    def test_a_fastcgi_peer_that_ends_makes_read_raise(self, streaming_host, how, end):
        whole = record(STDIN, b"x" * 1000)
        sent = {"in-a-record": whole[:500], "between-records": whole, "before-the-body": b"",
                "in-a-record-header": whole + whole[:3]}[how]
        self.cut(streaming_host, fastcgi, head(POST_CUT) + sent, end)

    @pytest.mark.parametrize("sent", [0, 1, 4999])
    @pytest.mark.parametrize("end", ["half-close", "close"])
    def test_an_scgi_peer_that_ends_makes_read_raise(self, streaming_host, sent, end):
        request = scgi.request_bytes("POST", "/cut", b"x" * 5000)
        self.cut(streaming_host, scgi, request[:len(request) - 5000 + sent], end)

    def cut(self, host, protocol, data, end):
        fastcgi.exchange(host.address, "GET", "/last?reset=1")
        with protocol.Connection(host.address) as connection:
            connection.send(data)
            if end == "half-close":
                connection.half_close()
                connection.receive_all()
        wait_until(lambda: self.last(host) != "None" and self.last(host) != "reading",
                   "the application to be told")
        assert self.last(host) == "OSError"
        assert serves(host, 2)

    def test_a_stream_that_ends_before_its_content_length_makes_read_raise(self, streaming_host):
        with fastcgi.Connection(streaming_host.address) as connection:
            connection.send(head(POST_CUT) + stream(STDIN, b"x" * 1000))
            assert connection.read_response().text == "OSError"
        assert serves(streaming_host, 2)

    @pytest.mark.parametrize("end", ["half-close", "close"])
    def test_without_a_length_the_end_of_the_stream_is_awaited(self, streaming_host, end):
        parameters = message.parameters("POST", "/cut", b"x" * 5000, extra={"CONTENT_LENGTH": None})
        self.cut(streaming_host, fastcgi, head(parameters) + record(STDIN, b"x" * 5000), end)

    def test_an_application_that_lets_it_pass_has_failed(self, streaming_host, expected_log):
        mark = streaming_host.log.mark()
        with fastcgi.Connection(streaming_host.address) as connection:
            parameters = message.parameters("POST", "/echo", b"x" * 5000)
            connection.send(head(parameters) + stream(STDIN, b"x" * 1000))
            out, _, _ = connection.read_raw()
            assert b"Status: 200" not in out
        assert serves(streaming_host, 2)
        if "Traceback" in streaming_host.log.read(mark):
            expected_log("OSError|Error")
