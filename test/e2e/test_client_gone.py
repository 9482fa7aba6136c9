"""A handler learns that nobody waits for its response any more."""
import socket
import struct

import pytest

import fastcgi
import fronts
import process
import scgi
from host import Host

HANDLER = {"application": {"handler": "gone_app:handler", "mount": "/"}}


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class TestBehindAWebServer:
    """Not all of them tell: Apache and others do only when they can't pass on what is sent."""

    class Streaming(fronts.LighttpdFastcgi):
        name = "lighttpd-streaming"

        def make_front(self):
            found = super().make_front()
            found.text = "server.stream-response-body = 2\n" + found.text
            return found

    @pytest.mark.parametrize("kind, path", [
        pytest.param(kind, path, id=kind.name + path) for kind, path in [
            (fronts.NginxFastcgi, "/silent"), (fronts.NginxFastcgiKept, "/silent"),
            (fronts.NginxScgi, "/silent"), (fronts.NginxFastcgi, "/read"),
            (fronts.NginxFastcgi, "/streaming"), (fronts.NginxScgi, "/streaming"),
            (fronts.ApacheProxy, "/streaming"), (fronts.ApacheProxyReuse, "/streaming"),
            (fronts.ApacheProxyScgi, "/streaming"), (Streaming, "/streaming"),
            (fronts.HaproxyFastcgi, "/streaming"), (fronts.CaddyFastcgi, "/streaming"),
            (fronts.H2oFastcgi, "/streaming")]])
    def test_the_client_leaves(self, kind, path):
        site = kind(app=None, prefix="", settings=HANDLER)
        with socket.create_connection(("127.0.0.1", site.port), process.deadline(60)) as client:
            client.sendall(b"GET %s?first HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
            site.host_log.wait("begun first, gone: False")
            reset(client)
        site.host_log.wait("gone first")
        assert site.get("/ready").text == "ready"


ADDRESSES = pytest.mark.parametrize("is_tcp", [False, True], ids=["unix", "tcp"])
PROTOCOLS = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)


@pytest.fixture
def start():
    def start_host(is_tcp, **settings):
        listen = ["127.0.0.1:%d" % process.free_port()] if is_tcp else None
        return Host(None, dict(HANDLER, **settings), listen=listen)
    return start_host


@ADDRESSES
class TestByTheProtocol:
    @PROTOCOLS
    @pytest.mark.parametrize("path", ["/silent", "/read", "/streaming"])
    def test_the_connection_ends(self, start, protocol, is_tcp, path):
        host = start(is_tcp)
        for method, body in (("GET", b""), ("POST", b"a body")):
            connection = protocol.Connection(host.address)
            connection.send(protocol.request_bytes(method, path + "?" + method, body))
            host.log.wait("begun %s, gone: False" % method)
            connection.close()
            host.log.wait("gone " + method)

    @PROTOCOLS
    def test_the_connection_is_reset(self, start, protocol, is_tcp):
        host = start(is_tcp)
        connection = protocol.Connection(host.address)
        connection.send(protocol.request_bytes("GET", "/silent?first"))
        host.log.wait("begun first, gone: False")
        reset(connection.socket)
        host.log.wait("gone first")

    @PROTOCOLS
    def test_in_the_middle_of_the_body(self, start, protocol, is_tcp):
        host = start(is_tcp, limits={"io_timeout": "1h"}, application=dict(HANDLER["application"], stream="yes"))
        connection = protocol.Connection(host.address)
        data = protocol.request_bytes("POST", "/silent?first", b"x" * 200000)
        connection.send(data[:150000])
        host.log.wait("begun first, gone: False")
        connection.close()
        host.log.wait("gone first")

    @pytest.mark.parametrize("path", ["/silent", "/read"])
    @pytest.mark.parametrize("body", [b"", b"a body"])
    def test_an_abort_request(self, start, is_tcp, path, body):
        host = start(is_tcp)
        with fastcgi.Connection(host.address) as connection:
            for number in range(3):
                connection.send(fastcgi.request_bytes("POST", "%s?n%d" % (path, number), body))
                host.log.wait("begun n%d, gone: False" % number)
                connection.send(fastcgi.abort())
                host.log.wait("gone n%d" % number)
                assert connection.read_response().text == "the end"

    @pytest.mark.parametrize("length", [1, 6, 70000])
    def test_an_abort_request_behind_an_end_of_the_body_that_nobody_has_read(self, start, is_tcp, length):
        """Its length is known: the request is served before that end has come."""
        host = start(is_tcp)
        with fastcgi.Connection(host.address) as connection:
            for number, path in enumerate(["/silent", "/read", "/silent", "/streaming"]):
                whole = fastcgi.request_bytes("POST", "%s?n%d" % (path, number), b"x" * length)
                connection.send(whole[:-8])
                host.log.wait("begun n%d, gone: False" % number)
                connection.send(fastcgi.record(fastcgi.STDIN, padding=255 * (number % 2)))
                connection.send(fastcgi.abort())
                host.log.wait("gone n%d" % number)
                assert connection.read_raw()[2] == (0, fastcgi.REQUEST_COMPLETE)

    def test_an_abort_request_that_came_with_the_request(self, start, is_tcp):
        host = start(is_tcp)
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/silent?first") + fastcgi.abort())
            host.log.wait("begun first, gone: True")
            assert connection.read_response().text == "the end"

    @pytest.mark.parametrize("more", [b"", fastcgi.abort(2), fastcgi.abort()[:7],
                                      fastcgi.request_bytes("GET", "/ready")],
                             ids=["nothing", "another's", "a part", "the next request"])
    def test_what_does_not_mean_it(self, start, is_tcp, more):
        host = start(is_tcp)
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("POST", "/read?first", b"x") + more)
            host.log.wait("begun first, gone: False")
            connection.send(fastcgi.abort(2))
            assert "gone first" not in host.log.read()
            connection.close()
            host.log.wait("gone first")
