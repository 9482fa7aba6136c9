"""A response ends when nothing more can be sent: iteration stops, close() is called, write() raises."""
import http.client
import itertools
import socket

import pytest

import fastcgi
import fronts
import process
import scgi
from conftest import end_shared
from host import APPS, Host, run
from process import wait_until

SETTINGS = {"server": {"threads": 2}, "application": {"wsgi": "endless_app:application", "mount": "/"},
            "application handler": {"handler": "endless_app:handler", "mount": "/handler"}}
numbers = itertools.count(1)


@pytest.fixture(scope="module", params=["unix", "tcp"])
def shared_host(request):
    listen = ["127.0.0.1:%d" % process.free_port()] if request.param == "tcp" else None
    host = Host(None, SETTINGS, listen=listen, shared=True)
    yield host
    end_shared(host)


class Asker:
    def __init__(self, module, host):
        self.module, self.host, self.token = module, host, "t%d" % next(numbers)

    def target(self, path, **more):
        return "%s?%s" % (path, "&".join("%s=%s" % item for item in dict(more, token=self.token).items()))

    def connect(self, path, method="GET", body=b"", options=None, **more):
        connection = self.module.Connection(self.host.address, 20)
        connection.send(self.module.request_bytes(method, self.target(path, **more), body, **(options or {})))
        return connection

    def ask(self, path, method="GET", **more):
        with self.connect(path, method, **more) as connection:
            return connection.read_response()

    def seen(self):
        return self.module.exchange(self.host.address, "GET", self.target("/seen")).json

    def wait_closed(self):
        wait_until(lambda: (self.seen() or {}).get("closed"), "the response to be closed")
        return self.seen()


@pytest.fixture(params=[fastcgi, scgi], ids=lambda module: module.NAME)
def asker(request, shared_host):
    return Asker(request.param, shared_host)


@pytest.fixture
def fastcgi_asker(shared_host):
    return Asker(fastcgi, shared_host)


# What ends a response: method, and what the application is asked for, and what comes of the body.
KINDS = {
    "head": ("HEAD", {}, b""), "head-with-a-length": ("HEAD", {"length": 1000}, b""),
    "head-empty": ("HEAD", {"content": ""}, b""), "204": ("GET", {"status": "204"}, b""),
    "304": ("GET", {"status": "304"}, b""), "length": ("GET", {"length": 9, "content": "123456789"}, b"123456789"),
    "beyond-length": ("GET", {"length": 5, "content": "123456789"}, b"12345"),
    "of-several": ("GET", {"length": 14, "content": "123456789"}, b"12345678912345"),
    "length-0": ("GET", {"length": 0}, b""),
}
kinds = pytest.mark.parametrize("kind", sorted(KINDS))


class TestNothingMoreCanBeSent:
    @kinds
    def test_iteration_stops_and_close_is_called(self, asker, kind):
        method, more, body = KINDS[kind]
        response = asker.ask("/stream", method, **more)
        assert response.body == body
        assert asker.wait_closed()["asked"] == (2 if kind == "of-several" else 1)

    @kinds
    @pytest.mark.parametrize("path", ["/write", "/handler/write"])
    def test_write_raises(self, asker, kind, path):
        method, more, body = KINDS[kind]
        if path == "/write":
            more = dict({"content": "data"}, **more)
        mark = asker.host.log.mark()
        response = asker.ask(path, method, **more)
        assert response.body == body
        found = asker.wait_closed()
        if more.get("content") != "":
            assert found["asked"] == (3 if kind == "of-several" else 2)
        assert {"BrokenPipeError", "OSError"} <= set(found["raised"])
        assert "Traceback" not in asker.host.log.read(mark)

    @kinds
    @pytest.mark.parametrize("path", ["/stream", "/write", "/handler/write", "/handler/redirect"])
    def test_a_kept_connection_serves_on(self, fastcgi_asker, kind, path):
        method, more, body = KINDS[kind]
        if path == "/write":
            more = dict({"content": "data"}, **more)
        with fastcgi_asker.connect(path, method, **more) as connection:
            response = connection.read_response()
            assert (response.body, response.ended) == (body, True)
            fastcgi_asker.wait_closed()
            assert connection.exchange("GET", "/ready").status == 200

    @pytest.mark.parametrize("path", ["/handler/file", "/handler/redirect"])
    @pytest.mark.parametrize("method", ["HEAD", "GET"])
    def test_files_and_redirects_of_handlers_stop(self, asker, method, path):
        response = asker.ask(path, method, **({} if method == "HEAD" else {"length": 5}))
        assert len(response.body) == (0 if method == "HEAD" else 5)
        assert asker.wait_closed()["asked"] <= 2

    def test_an_empty_write_at_the_end_of_the_length_is_none_beyond(self, asker):
        """As by a handler that flushes when all has been written."""
        connection = asker.connect("/handler/flush", length=0)
        assert connection.read_response().body == b""
        assert asker.seen()["raised"] is None
        connection.close()
        assert "BrokenPipeError" in asker.wait_closed()["raised"]

    @pytest.mark.parametrize("status", ["200", "304"])
    def test_a_declared_length_is_kept(self, asker, status):
        response = asker.ask("/stream", "HEAD", length=1000, status=status)
        assert (response.status, response.get("Content-Length")) == (int(status), "1000")

    def test_what_was_too_much_is_logged_once(self, asker):
        mark = asker.host.log.mark()
        assert asker.ask("/stream", length=5).body == b"data:"
        asker.wait_closed()
        asker.host.log.wait("sent more than its Content-Length", mark)
        assert asker.host.log.read(mark).count("Content-Length") == 1

    def test_plain_cgi_stops_too(self):
        for more in (["--method", "HEAD"], []):
            done = run("--call", "/stream?token=x&length=5", *more, "endless_app:application",
                               cwd=APPS)
            assert done.returncode == 0 and done.stdout.endswith(b"\r\n\r\n" if more else b"data:")


class TestWholeResponse:
    """The peer need not wait for what the application does afterwards."""

    @pytest.mark.parametrize("method, more", [("GET", {"length": 9}), ("HEAD", {})])
    @pytest.mark.parametrize("body", [b"", b"unread"])
    @pytest.mark.parametrize("keep", [True, False])
    def test_ends_at_once(self, asker, method, more, body, keep):
        is_kept = asker.module is fastcgi and keep
        if is_kept and body:
            pytest.skip("the body may still be read, and has to be before the response's end")
        options = {"keep": keep} if asker.module is fastcgi else {}
        with asker.connect("/stream", method, body, options, wait="yes", **more) as connection:
            response = connection.read_response()
            assert response.ended and len(response.body) == more.get("length", 0)
            assert not asker.seen()["closed"]
            asker.module.exchange(asker.host.address, "GET", asker.target("/release"))
            asker.wait_closed()

    def test_leaves_an_unread_body_to_be_read(self, tmp_path):
        (tmp_path / "late.py").write_text('''
class Body:
    def __init__(self, input, errors):
        self.input, self.errors = input, errors
    def __iter__(self):
        yield b"whole"
    def close(self):
        self.errors.write("read %d\\n" % len(self.input.read()))
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return Body(environ["wsgi.input"], environ["wsgi.errors"])
''')
        host = Host("late:application", {"python": {"path": [str(tmp_path)]}})
        with fastcgi.Connection(host.address) as connection:
            for number in range(1, 4):
                mark = host.log.mark()
                response = connection.exchange("POST", "/", b"x" * (100 * number))
                assert (response.text, response.ended) == ("whole", True)
                host.log.wait(r"read %d\b" % (100 * number), mark)


class TestThePeerHasLeft:
    @pytest.mark.parametrize("path", ["/stream", "/write"])
    @pytest.mark.parametrize("content", ["", "data"])
    def test_the_application_is_stopped(self, asker, path, content):
        mark = asker.host.log.mark()
        connection = asker.connect(path, content=content)
        wait_until(lambda: (asker.seen() or {}).get("asked", 0) > 3, "the application to begin")
        connection.close()
        found = asker.wait_closed()
        assert (found["raised"] is not None) == (path == "/write")
        assert "Traceback" not in asker.host.log.read(mark)

    @pytest.mark.parametrize("path", ["/handler/write", "/handler/flush", "/handler/redirect"])
    def test_a_handler_is_stopped(self, asker, path):
        connection = asker.connect(path)
        wait_until(lambda: (asker.seen() or {}).get("asked", 0) > 3, "the handler to begin")
        connection.close()
        asker.wait_closed()

    @pytest.mark.parametrize("path", ["/stream", "/write", "/handler/write", "/handler/redirect"])
    @pytest.mark.parametrize("more", [{"content": "data"}, {"length": 10000000}])
    def test_it_aborts_the_request_on_a_kept_connection(self, fastcgi_asker, path, more):
        with fastcgi_asker.connect(path, **dict({"content": "data"}, **more)) as connection:
            wait_until(lambda: (fastcgi_asker.seen() or {}).get("asked", 0) > 3, "the application to begin")
            connection.send(fastcgi.abort())
            assert connection.read_response().ended
            fastcgi_asker.wait_closed()
            assert connection.exchange("GET", "/ready").status == 200

    def test_one_that_only_ended_what_it_sends_gets_everything(self, asker):
        length = 400  # in pieces of four bytes, with a millisecond between
        with asker.connect("/stream", content="data", length=length) as connection:
            connection.half_close()
            assert len(connection.read_response().body) == length


class TestBehindAWebServer:
    @pytest.mark.parametrize("kind", [fronts.NginxFastcgiKept, fronts.NginxFastcgi, fronts.NginxScgi,
                                      fronts.ApacheProxyReuse, fronts.HaproxyFastcgi],
                             ids=lambda kind: kind.name)
    def test_head_on_an_event_stream_stops_nobody(self, kind):
        site = kind(app=None, prefix="", settings=dict(SETTINGS, server={"threads": 2}))
        clients = []
        for number in range(8):
            client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=process.deadline(60))
            client.request("HEAD", "/stream?token=h%d" % number)
            assert client.getresponse().status == 200
            clients.append(client)
        assert site.get("/ready").status == 200
        for client in clients:
            client.close()

    @pytest.mark.parametrize("content", ["", "data"])
    def test_clients_that_leave_an_event_stream_stop_nobody(self, content):
        site = fronts.NginxFastcgi(app=None, prefix="", settings=SETTINGS)
        for number in range(8):
            with socket.create_connection(("127.0.0.1", site.port), process.deadline(60)) as client:
                client.sendall(b"GET /stream?token=c%d&content=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (
                    number, content.encode()))
                if content:
                    assert client.recv(1000)
        assert site.get("/ready").status == 200


UNREAD = '''
def application(environ, start_response):
    body = b"no" * int(environ["QUERY_STRING"] or 1)
    start_response("401 Unauthorized", [("Content-Type", "text/plain")])
    return [body] if environ["PATH_INFO"].endswith("/list") else iter([body])
'''


class TestUploadsThatNobodyReads:
    """The application's answer arrives, however large they are."""

    @pytest.mark.parametrize("kind", [fronts.NginxFastcgi, fronts.NginxFastcgiKept, fronts.NginxScgi,
                                      fronts.ApacheProxy, fronts.ApacheProxyReuse, fronts.ApacheProxyScgi,
                                      fronts.HaproxyFastcgi, fronts.LighttpdFastcgi],
                             ids=lambda kind: kind.name)
    @pytest.mark.parametrize("path", ["/app/list", "/app/parts"])
    def test_the_answer_arrives(self, kind, path, tmp_path):
        (tmp_path / "unread.py").write_text(UNREAD)
        site = kind("unread:application", settings={"python": {"path": [str(tmp_path)]}})
        for _ in range(2):
            response = site.request("POST", path[4:], b"x" * (40 << 20))
            assert (response.status, response.text) == (401, "no")
            assert site.request("POST", path[4:], b"little").status == 401

    @pytest.mark.parametrize("size", [3 << 20, 40 << 20])
    def test_mod_fcgid_gets_a_large_response(self, size):
        """It reads nothing before it has sent the whole body."""
        response = fronts.ApacheFcgid().request("POST", "/big?size=10000000", b"x" * size)
        assert (response.status, len(response.body)) == (200, 10000000)

    @pytest.mark.parametrize("more", ["", "fastcgi_keep_conn on;"], ids=["closed", "kept"])
    def test_the_answer_arrives_over_tcp(self, more, tmp_path):
        """Where to close over bytes that were not received takes those back that were sent."""
        (tmp_path / "unread.py").write_text(UNREAD)
        port = process.free_port()
        host = Host("unread:application", {"python": {"path": [str(tmp_path)]}},
                    listen=["127.0.0.1:%d" % port])
        front = fronts.Nginx(host.folder, """events {}
http {
    upstream host { server 127.0.0.1:%d; keepalive 4; }
    server { listen 127.0.0.1:8001; include /etc/nginx/fastcgi_params;
             location / { fastcgi_pass host; %s } }
}
""" % (port, more))
        front.start()
        try:
            for _ in range(5):
                response = fronts.http_request(front.port, "POST", "/list", b"x" * (95 << 20))
                assert (response.status, response.text) == (401, "no")
        finally:
            front.stop()
