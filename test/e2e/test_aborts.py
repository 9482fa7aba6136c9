"""FCGI_ABORT_REQUEST (FastCGI 1.0, section 5.4), at any moment: the request ends, and a connection
that may be kept serves the next one."""
import time

import pytest

import fastcgi
import message
from conftest import end_shared, serves
from fastcgi import PARAMS, STDIN, abort, begin, head, pairs, record
from host import Host
from process import wait_until
from test_slow_readers import SIZE, start, temporary_files

STREAM = {"application": {"wsgi": "wsgi_app:application", "stream": "yes"}}


@pytest.fixture(scope="module")
def shared_host():
    host = Host(settings={"server": {"threads": 2}}, shared=True)
    yield host
    end_shared(host)


def parameters(method, length, path="/cut"):
    """length: None leaves CONTENT_LENGTH out."""
    return message.parameters(method, path, extra={"CONTENT_LENGTH": None if length is None else str(length)})


def content(size):
    return fastcgi.stream(STDIN, b"x" * size, end=False)


def ask_last(host):
    """What /cut saw since the last question; None: it was not called."""
    return fastcgi.exchange(host.address, "GET", "/last?reset=1").text


def assert_serves_the_next(connection):
    for number in range(2):
        assert connection.exchange("POST", "/echo?token=%d" % number, b"next").json["token"] == str(number)


class TestBeforeTheEndOfTheBody:
    @pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
    @pytest.mark.parametrize("length", [None, "", 5000, 400000])
    def test_it_is_answered_400_without_the_application(self, shared_host, method, length):
        ask_last(shared_host)
        with fastcgi.Connection(shared_host.address) as connection:
            for sent in [0, 1000, 4999] + ([300000] if length != 5000 else []):
                connection.send(head(parameters(method, length)) + content(sent) + abort())
                assert connection.read_response().status == 400
                connection.send(head(parameters(method, length)) + content(sent))
                connection.send(abort())
                assert connection.read_response().status == 400
                assert_serves_the_next(connection)
        assert ask_last(shared_host) == "None"

    def test_what_still_comes_of_it_is_not_the_next_request(self, shared_host):
        forged = fastcgi.request_bytes("GET", "/big?size=7")
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(head(parameters("POST", None)) + content(10) + abort() + record(STDIN, forged) + record(STDIN))
            assert connection.read_response().status == 400
            assert_serves_the_next(connection)

    def test_its_padding_may_come_later(self, shared_host):
        padded = record(fastcgi.ABORT_REQUEST, b"?", padding=9)
        with fastcgi.Connection(shared_host.address) as connection:
            for cut in range(1, len(padded)):
                connection.send(head(parameters("POST", 100)) + content(10) + padded[:cut])
                assert not connection.can_receive()
                connection.send(padded[cut:])
                assert connection.read_response().status == 400
            assert_serves_the_next(connection)

    def test_a_connection_that_is_not_to_be_kept_is_closed(self):
        host = Host()
        with fastcgi.Connection(host.address) as connection:
            connection.send(head(parameters("POST", None), keep=False) + content(10) + abort())
            assert connection.read_response().status == 400
            assert connection.is_closed_by_peer()
        host.log.wait("warning: POST /cut: 400: the web server aborted it before its body had arrived")

    def test_a_connection_that_ends_there_is_answered_too(self, shared_host):
        ask_last(shared_host)
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(head(parameters("POST", None)) + content(10))
            connection.half_close()
            assert connection.read_response().status == 400
            assert connection.is_closed_by_peer()
        assert ask_last(shared_host) == "None"

    def test_an_application_that_streams_is_told(self):
        host = Host(settings=STREAM)
        with fastcgi.Connection(host.address) as connection:
            connection.send(head(parameters("POST", 800000)) + content(400000))
            wait_until(lambda: fastcgi.exchange(host.address, "GET", "/last").text == "reading", "the application to read")
            connection.send(abort())
            connection.read_raw()
            assert ask_last(host) == "OSError"
            assert_serves_the_next(connection)

    def test_an_application_that_leaves_it_unread_is_not_disturbed(self):
        host = Host(settings=STREAM)
        with fastcgi.Connection(host.address) as connection:
            connection.send(head(parameters("POST", 800000, "/ignore?token=one")) + content(400000) + abort())
            assert connection.read_response().text == "ignored one"
            assert_serves_the_next(connection)

    def test_a_filter_that_waits_for_its_file(self):
        host = Host(None, {"application": {"filter": "roles_app:change"},
                           "application page": {"wsgi": "roles_app:page", "mount": "/private"}})
        given = parameters("GET", 0, "/doc?do=short") + [("FCGI_DATA_LENGTH", "13")]
        with fastcgi.Connection(host.address) as connection:
            for sent in (b"", record(STDIN), record(STDIN) + record(fastcgi.DATA, b"one")):
                connection.send(head(given, role=fastcgi.FILTER) + sent + abort())
                connection.read_raw()
            assert connection.exchange("GET", "/private/after").json["PATH_INFO"] == "/after"


class TestWithinTheHead:
    @pytest.mark.parametrize("sent", [0, 60])
    def test_it_gets_an_end_and_nothing_else(self, shared_host, sent):
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(begin() + (record(PARAMS, pairs(parameters("POST", None))[:sent]) if sent else b"") + abort())
            assert connection.read_raw() == (b"", b"", (0, fastcgi.REQUEST_COMPLETE))
            assert_serves_the_next(connection)

    def test_a_connection_that_ends_there_is_closed(self, shared_host):
        mark = shared_host.log.mark()
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(begin() + record(PARAMS, pairs(parameters("POST", None))[:60]))
            connection.half_close()
            assert connection.is_closed_by_peer()
        shared_host.log.wait("connection closed: the peer hung up in the middle of a request's head", mark)
        assert serves(shared_host, 2)


class TestWithoutABody:
    @pytest.mark.parametrize("length", [None, "", 0])
    def test_a_method_that_has_none_needs_no_end_of_it(self, shared_host, length):
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(head(parameters("GET", length, "/environ")))
            assert connection.read_response().status == 200

    def test_one_that_has_one_gets_its_length(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            connection.send(head(parameters("GET", None, "/environ")) + content(70000))
            assert not connection.can_receive()
            connection.send(record(STDIN))
            assert connection.read_response().json["CONTENT_LENGTH"] == "70000"
            assert_serves_the_next(connection)


class TestWhileTheResponseIsSent:
    def test_the_record_that_has_begun_is_completed_and_the_next_request_served(self):
        host = start({"log": {"access": "yes"}})
        with fastcgi.Connection(host.address) as connection:
            for taken in (0, 1, 8, 65544, 100000):
                mark = host.log.mark()
                connection.send(fastcgi.request_bytes("GET", "/big?size=%d" % SIZE))
                wait_until(lambda: temporary_files(host), "the response to wait")
                begun = connection.receive_exactly(taken)
                connection.send(abort() + (fastcgi.request_bytes("GET", "/ready") if taken % 2 else b""))
                wait_until(lambda: not temporary_files(host), "the rest to be dropped")
                connection.pending = begun
                out, _, end = connection.read_raw()
                assert len(out) < SIZE and end == (0, fastcgi.REQUEST_COMPLETE)
                if taken % 2:
                    assert connection.read_response().text == "ready"
                assert_serves_the_next(connection)
                assert int(host.log.wait(r"GET /big 200 (\d+) bytes", mark).group(1)) < SIZE

    def test_small_pieces_and_errors_beside_them_end_in_order_too(self, tmp_path):
        script = tmp_path / "app.py"
        script.write_text('''
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] != "/pieces":
        return [b"ready"]
    return pieces(environ["wsgi.errors"])

def pieces(errors):
    for number in range(3000):
        if number % 100 == 0:
            errors.write("at %d\\\\n" % number)
            errors.flush()
        yield b"x" * 1001
''')
        host = start({"application": {"script": str(script)}, "log": {"front": "yes"}}, app=None)
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/pieces"))
            wait_until(lambda: temporary_files(host), "the response to wait")
            connection.send(abort())
            wait_until(lambda: not temporary_files(host), "the rest to be dropped")
            out, _, end = connection.read_raw()
            assert len(out) < 3000 * 1001 and end == (0, fastcgi.REQUEST_COMPLETE)
            assert connection.exchange("GET", "/next").text == "ready"

    def test_a_thread_that_waits_for_the_peer_itself_goes_on(self, tmp_path):
        """The rest of the body may still be wanted: the response can't be left to others."""
        script = tmp_path / "app.py"
        script.write_text('''
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return produce(environ["wsgi.errors"]) if environ["REQUEST_METHOD"] == "POST" else [b"ready"]

def produce(errors):
    errors.write("production begins\\n")
    try:
        while True:
            yield b"x" * 65000
    finally:
        errors.write("production ends\\n")
''')
        host = Host(app=None, settings={"application": {"script": str(script), "stream": "yes"},
                                        "limits": {"io_timeout": "1h", "min_rate": "0"}})
        with fastcgi.Connection(host.address) as connection:
            connection.send(head(parameters("POST", 100000)) + content(1000))
            host.log.wait("production begins")
            wait_until(connection.can_receive, "a response")
            time.sleep(0.2)  # until nothing more can be sent
            connection.send(abort())
            host.log.wait("production ends")
        assert fastcgi.exchange(host.address, "GET", "/").text == "ready"

    def test_a_connection_that_is_not_to_be_kept_is_closed(self):
        host = start()
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/big?size=%d" % SIZE, keep=False))
            wait_until(lambda: temporary_files(host), "the response to wait")
            connection.send(abort())
            wait_until(lambda: not temporary_files(host), "the rest to be dropped")
            assert connection.read_raw()[2] == (0, fastcgi.REQUEST_COMPLETE)
            assert connection.is_closed_by_peer()
