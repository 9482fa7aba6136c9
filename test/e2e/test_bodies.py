"""Request bodies are taken in before a thread is given to their request: slow ones hold none."""
import hashlib
import os
import re
import socket
import threading
import time

import pytest

import fastcgi
import fronts
import message
import scgi
from conftest import serves
from fastcgi import PARAMS, STDIN, begin, pairs, record, request_bytes, stream
from host import Host, write_file
from managed import ManagedHost
from process import deadline, wait_until

protocols = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)
options = pytest.mark.parametrize(
    "protocol, options", [(fastcgi, {"keep": True}), (fastcgi, {"keep": False}), (scgi, {})],
    ids=["fastcgi-kept", "fastcgi", "scgi"])
KIB = 1024
LARGE = os.urandom(64 * KIB) * 5  # beyond what stays in memory
TRICKLE_APP = '''
import time

def application(environ, start_response):
    body, read = environ["wsgi.input"], 0
    try:
        if environ["PATH_INFO"] == "/late":
            read = len(body.read(10))
            time.sleep(13)
            print("late: reads")
        text = str(read + len(body.read()))
    except OSError as error:
        text = "%s %s" % (type(error).__name__, error)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
'''


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def temporary_files(host):
    """The unnamed ones that it holds."""
    return [name for name in host.descriptors().values()
            if name.startswith(host.folder) and name.endswith("(deleted)")]


def bytes_in_files(host):
    """Of temporary files: one may be there, and empty."""
    return sum(os.stat("/proc/%d/fd/%s" % (host.pid, fd)).st_size
               for fd, name in host.descriptors().items()
               if name.startswith(host.folder) and name.endswith("(deleted)"))


def in_folder(host_settings=None, **kwargs):
    """A host whose temporary files are in its folder."""
    settings = {"server": {"threads": 4, "temporary": "."}}
    for section, keys in (host_settings or {}).items():
        settings.setdefault(section, {}).update(keys)
    return Host(settings=settings, **kwargs)


class TestSlowBodies:
    @protocols
    def test_64_uploads_that_stand_still_hold_none_of_4_threads(self, protocol):
        host = in_folder()
        peers = []
        for number in range(64):
            body = LARGE[:1000 + number * 4000]
            peer = protocol.Connection(host.address)
            peer.send(protocol.request_bytes("POST", "/echo?token=%d" % number, body)[:-500])
            peers.append((peer, protocol.request_bytes("POST", "/echo", body)[-500:], body))
        assert serves(host, 200)
        for number, (peer, rest, body) in enumerate(peers):
            peer.send(rest)
            found = peer.read_response().json
            assert (found["size"], found["sha256"]) == (len(body), sha256(body))
            assert found["token"] == str(number)
        wait_until(lambda: not temporary_files(host), "the temporary files to go")

    @protocols
    def test_uploads_that_trickle_hold_no_thread(self, protocol):
        host = in_folder()
        request = protocol.request_bytes("POST", "/echo?token=t", LARGE)
        peers = [protocol.Connection(host.address) for _ in range(64)]
        for peer in peers:
            peer.send(request[:-64])
        failures = []

        def others():
            failures.extend(number for number in range(200)
                            if host.exchange("GET", "/ready").text != "ready")
        thread = threading.Thread(target=others)
        thread.start()
        for at in range(len(request) - 64, len(request)):
            for peer in peers:
                peer.send(request[at:at + 1])
        for peer in peers:
            assert peer.read_response().json["sha256"] == sha256(LARGE)
        thread.join()
        assert failures == []

    @options
    @pytest.mark.parametrize("size", [2, 9100, 64 * KIB, 64 * KIB + 1, 300 * KIB])
    def test_a_body_in_two_pieces(self, protocol, options, size):
        host = in_folder({"server": {"threads": 1}})
        body = LARGE[:size]
        with protocol.Connection(host.address) as connection:
            for _ in range(2 if options.get("keep") else 1):
                request = protocol.request_bytes("POST", "/echo?token=x", body, **options)
                cut = len(request) - size // 2 - 4
                connection.send(request[:cut])
                assert serves(host, 5)
                connection.send(request[cut:])
                found = connection.read_response().json
                assert (found["size"], found["sha256"]) == (size, sha256(body))

    def test_a_connection_is_kept_after_many_bodies_of_all_sizes(self):
        host = in_folder({"limits": {"body_memory": "4K"}})
        with fastcgi.Connection(host.address) as connection:
            for size in (1, 100000, 0, 4096, 4097, 300000, 70000):
                body, chunk = LARGE[:size], 1 + size // 7
                request = request_bytes("POST", "/echo?token=x", body, chunk=chunk, padding=5)
                for at in range(0, len(request), 30000):
                    connection.send(request[at:at + 30000])
                assert connection.read_response().json["sha256"] == sha256(body)
        wait_until(lambda: not temporary_files(host), "the temporary files to go")

    @protocols
    def test_each_way_of_reading_works_on_a_body_in_a_file(self, protocol):
        host = in_folder({"limits": {"body_memory": "0"}})
        lines = b"".join(b"%d" % number * (number % 50) + b"\n" for number in range(20000))
        for calls, size in (("iterate", None), ("readline,readline:3,read:5,readlines:10,read", None),
                            ("readlines", None), ("read:70000,readline,read", None)):
            with protocol.Connection(host.address) as connection:
                request = protocol.request_bytes("POST", "/read-by?calls=" + calls, lines)
                connection.send(request[:-9])
                wait_until(lambda: temporary_files(host), "the body to be in a file")
                connection.send(request[-9:])
                response = connection.read_response()
                assert response.status == 200, response
                with protocol.Connection(host.address) as whole:  # what is not in a file
                    assert response.json == whole.exchange(
                        "POST", "/read-by?calls=" + calls, lines).json


class TestCutBodies:
    @protocols
    @pytest.mark.parametrize("size", [100, 9000, 300 * KIB])
    def test_a_body_that_is_cut_is_answered_400_and_the_application_not_called(self, protocol, size):
        host = in_folder()
        mark = host.log.mark()
        with protocol.Connection(host.address) as connection:
            connection.send(protocol.request_bytes("POST", "/cut", LARGE[:size])[:-20])
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.read_response().status == 400
        assert "400: its body was cut short" in host.log.read(mark)
        assert host.exchange("GET", "/last").text == "None"
        wait_until(lambda: not temporary_files(host), "the temporary files to go")

    def test_a_stream_that_ends_before_its_content_length_is_answered_400(self):
        host = in_folder()
        with fastcgi.Connection(host.address) as connection:
            connection.send(begin() + stream(PARAMS, pairs(message.parameters(
                "POST", "/cut", b"x" * 50))) + stream(STDIN, b"x" * 49))
            assert connection.read_response().status == 400
        assert host.exchange("GET", "/last").text == "None"

    @protocols
    def test_a_peer_that_stops_sending_its_body_is_answered_400(self, protocol):
        host = in_folder({"limits": {"io_timeout": "%ds" % deadline(1)}})
        with protocol.Connection(host.address) as connection:
            connection.send(protocol.request_bytes("POST", "/cut", LARGE)[:-20])
            assert connection.read_response().status == 400
        assert host.exchange("GET", "/last").text == "None"

    @protocols
    def test_with_stream_the_application_gets_what_has_come_and_an_oserror(self, protocol):
        host = Host(settings={"application": {"stream": "yes"}})
        with protocol.Connection(host.address) as connection:
            connection.send(protocol.request_bytes("POST", "/cut", b"x" * 9000)[:-20])
            connection.socket.shutdown(socket.SHUT_WR)
            wait_until(lambda: host.exchange("GET", "/last").text == "OSError",
                       "the application to be told")

    @protocols
    def test_with_stream_a_trickle_is_given_up_and_the_time_that_the_application_takes_is_not_counted(self, protocol, tmp_path):
        script = write_file(str(tmp_path / "app.py"), TRICKLE_APP)
        host = Host(None, {"application": {"script": script, "stream": "yes"}, "limits": {"min_rate": "100"}}, probe=None)
        late, trickle = protocol.Connection(host.address), protocol.Connection(host.address)
        with late, trickle:
            whole = protocol.request_bytes("POST", "/late", b"x" * 400)
            late.send(whole[:-200])
            trickle.send(protocol.request_bytes("POST", "/trickle", b"x" * 400)[:-399])
            started = time.monotonic()
            while not trickle.can_receive() and time.monotonic() - started < deadline(60):
                trickle.send(b"x")  # a byte a second does not do, though io_timeout is 60 s
                time.sleep(1)
            assert re.match(r"TimeoutError .*\[limits\] io_timeout, or more slowly than min_rate", trickle.read_response().text)
            host.log.wait("late: reads")  # after longer than trickle's peer had
            late.send(whole[-200:])
            assert late.read_response().text == "400"

    @protocols
    def test_with_stream_an_application_answers_before_the_body_comes(self, protocol):
        host = Host(settings={"application": {"stream": "yes"}})
        with protocol.Connection(host.address) as connection:
            request = protocol.request_bytes("POST", "/ignore?token=early", b"x" * 100)
            connection.send(request[:-100])
            assert b"ignored early" in connection.receive_exactly(100)

    def test_the_longest_mount_says_whether_a_body_is_a_stream(self):
        host = Host(settings={
            "application": {"wsgi": "wsgi_app:application", "mount": "/"},
            "application live": {"wsgi": "wsgi_app:application", "mount": "/live", "stream": "yes"},
        })
        for path, status in (("/live/cut", b""), ("/cut", b"Status: 400")):
            with scgi.Connection(host.address) as connection:
                connection.send(scgi.request_bytes("POST", path, b"x" * 9000)[:-20])
                connection.socket.shutdown(socket.SHUT_WR)
                assert connection.receive_all().startswith(status)
            wait_until(lambda: host.exchange("GET", "/last").text == ("None" if status else "OSError"),
                       "the application to be told, or not to be called")
            host.exchange("GET", "/last?reset=1")


class TestLengths:
    @pytest.mark.parametrize("size", [1, 9000, 300 * KIB])
    @pytest.mark.parametrize("method", ["POST", "DELETE"])
    @pytest.mark.parametrize("length", ["", None])
    def test_a_chunked_body_gets_its_true_content_length(self, size, method, length):
        host = in_folder()
        extra = {"CONTENT_LENGTH": length, "HTTP_TRANSFER_ENCODING": "chunked"}
        with fastcgi.Connection(host.address) as connection:
            for path in ("/environ", "/echo?token=x"):
                request = request_bytes(method, path, LARGE[:size], extra=extra, chunk=5000)
                connection.send(request[:-7])
                time.sleep(0.01)  # no result depends on it
                connection.send(request[-7:])
                found = connection.read_response().json
                if path == "/environ":
                    assert found["CONTENT_LENGTH"] == str(size)
                else:
                    assert (found["size"], found["sha256"]) == (size, sha256(LARGE[:size]))

    def test_without_a_body_there_is_none(self):
        host = in_folder()
        with fastcgi.Connection(host.address) as connection:
            found = connection.exchange("POST", "/environ", extra={"CONTENT_LENGTH": ""}).json
            assert found.get("CONTENT_LENGTH", "") == ""

    def test_beyond_request_body_a_chunked_body_is_refused_and_the_connection_kept(self):
        host = in_folder({"limits": {"request_body": "100K"}})
        with fastcgi.Connection(host.address) as connection:
            connection.send(request_bytes("POST", "/cut", LARGE, extra={"CONTENT_LENGTH": ""}))
            assert connection.read_response().status == 413
            assert connection.exchange("GET", "/last").text == "None"

    @protocols
    def test_a_length_beyond_request_body_is_refused_before_the_body_comes(self, protocol):
        host = in_folder({"limits": {"request_body": "100K"}})
        with protocol.Connection(host.address) as connection:
            request = protocol.request_bytes("POST", "/cut", b"x" * 200000)
            connection.send(request[:len(request) - 200500])
            assert b"413" in connection.receive_exactly(40)

    def test_a_chunked_upload_through_caddy_has_its_length(self):
        site = fronts.CaddyFastcgi("wsgi_app:application", "/app")
        response = site.request("POST", "/environ", iter([b"12", b"345"]), chunked=True)
        assert response.json["CONTENT_LENGTH"] == "5"


class TestTemporaryFiles:
    @protocols
    def test_of_a_body_that_stands_still_only_body_memory_stays_in_memory(self, protocol):
        host = in_folder()
        request = protocol.request_bytes("POST", "/echo?token=x", LARGE)
        with protocol.Connection(host.address) as connection:
            connection.send(request[:-100])
            wait_until(lambda: bytes_in_files(host) > len(LARGE) - 64 * KIB - 200,
                       "the body to be in a file")
            assert serves(host, 5)
            connection.send(request[-100:])
            assert connection.read_response().json["sha256"] == sha256(LARGE)
        wait_until(lambda: not temporary_files(host), "the temporary files to go")

    @protocols
    def test_without_space_a_body_gets_503_and_the_space_comes_back(self, protocol):
        host = in_folder({"limits": {"temporary_space": "500K"}})
        request = protocol.request_bytes("POST", "/echo?token=x", LARGE)
        with protocol.Connection(host.address) as first:
            first.send(request[:-20])
            wait_until(lambda: temporary_files(host), "the body to be in a file")
            second = protocol.Connection(host.address)
            second.send(request)
            response = second.read_response()
            assert response.status == 503 and response.get("Retry-After")
            assert serves(host, 5)
            first.send(request[-20:])
            assert first.read_response().json["sha256"] == sha256(LARGE)
        with protocol.Connection(host.address) as third:
            third.send(request)
            assert third.read_response().json["sha256"] == sha256(LARGE)

    def test_a_folder_that_has_gone_is_503_and_said_in_the_log(self):
        host = Host(environ={"TMPDIR": "/nonexistent/folder"})
        mark = host.log.mark()
        with fastcgi.Connection(host.address) as connection:
            connection.send(request_bytes("POST", "/echo?token=x", LARGE, chunk=8000))
            assert connection.read_response().status == 503
            assert connection.exchange("POST", "/echo?token=x", b"small").json["size"] == 5
        assert re.search(r"503: no room for its body .*\[server\] temporary", host.log.read(mark))


class TestHandover:
    """A body that is half there goes to the process that comes next, with its bytes."""

    @options
    @pytest.mark.parametrize("size", [9000, 300 * KIB])
    def test_half_a_body_finds_its_end_in_a_new_worker(self, protocol, options, size, tmp_path):
        host = ManagedHost(tmp_path, {"server": {"temporary": "."},
                                      "application": {"wsgi": "wsgi_app:application"}}, 1)
        body = LARGE[:size]
        peers = []
        for number in range(20):
            request = protocol.request_bytes("POST", "/echo?token=%d" % number, body, **options)
            cut = len(request) - 10 - number * (size - 100) // 20
            peer = protocol.Connection(host.address)
            peer.send(request[:cut])
            peers.append((peer, request[cut:]))
        assert host.exchange("GET", "/ready").text == "ready"
        time.sleep(0.1)  # all of it is read; no result depends on it
        host.roll()
        for number, (peer, rest) in enumerate(peers):
            peer.send(rest)
            found = peer.read_response().json
            assert (found["token"], found["sha256"]) == (str(number), sha256(body))
