"""[limits] client_gone = interrupt: a request whose client has left does not run to its end."""
import socket
import struct

import pytest

import fastcgi
import fronts
import process
import scgi
from host import Host

HANDLER = {"application": {"handler": "time_app:wait_for_client", "mount": "/"}, "server": {"threads": 2}}
INTERRUPT = dict(HANDLER, limits={"client_gone": "interrupt"})
protocols = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)


def begin(host, protocol, path="/silent", query="60"):
    mark = host.log.mark()
    connection = protocol.Connection(host.address)
    connection.send(protocol.request_bytes("GET", "%s?%s" % (path, query)))
    host.log.wait("begun " + query, mark)
    return connection


def on_tcp(settings):
    return Host(None, settings, listen=["127.0.0.1:%d" % process.free_port()])


class TestByTheProtocol:
    @protocols
    @pytest.mark.parametrize("path", ["/silent", "/begun"])
    def test_the_connection_is_closed(self, protocol, path):
        host = Host(None, INTERRUPT)
        before = host.pid
        for _ in range(3):  # more than there are threads
            mark = host.log.mark()
            begin(host, protocol, path).close()
            host.log.wait("interrupted: the client of the request has left", mark)
            host.log.wait(r"info: GET %s: its client has left: interrupted \(\[limits\] client_gone\)" % path, mark)
        assert host.exchange("GET", "/ready").text == "ready" and host.pid == before
        assert "retired" not in host.log.read()

    @protocols
    def test_over_tcp_a_reset_is_seen_at_once(self, protocol):
        host = on_tcp(INTERRUPT)
        connection = begin(host, protocol)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        host.log.wait("interrupted: the client of the request has left")

    @protocols
    @pytest.mark.parametrize("is_tcp", [False, True], ids=["unix", "tcp"])
    def test_a_peer_that_only_sends_no_more_gets_its_answer(self, protocol, is_tcp):
        host = on_tcp(INTERRUPT) if is_tcp else Host(None, INTERRUPT)
        with begin(host, protocol, query="2") as connection:
            connection.half_close()
            assert connection.read_response().text == "not interrupted"

    def test_an_abort_request_gets_an_end_and_nothing_more(self):
        host = Host(None, INTERRUPT)
        with begin(host, fastcgi) as connection:
            connection.send(fastcgi.abort())
            out, _, end = connection.read_raw()
            assert out == b"" and end is not None
            connection.send(fastcgi.request_bytes("GET", "/ready"))
            assert connection.read_response().text == "ready"
        assert "interrupted: the client of the request has left" in host.log.read()

    @protocols
    def test_without_the_setting_it_runs_to_its_end(self, protocol):
        host = Host(None, HANDLER)
        begin(host, protocol, query="1").close()
        with begin(host, protocol, query="2") as connection:
            assert connection.read_response().text == "not interrupted"
        assert "interrupted" not in host.log.read()


@pytest.mark.parametrize("kind", [fronts.NginxFastcgi, fronts.NginxFastcgiKept, fronts.NginxScgi], ids=lambda kind: kind.name)
def test_a_client_leaves_the_web_server(kind):
    site = kind(app=None, prefix="", settings=INTERRUPT)
    with socket.create_connection(("127.0.0.1", site.port), process.deadline(60)) as client:
        client.sendall(b"GET /silent?60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        site.host_log.wait("begun 60")
    site.host_log.wait("interrupted: the client of the request has left")
    assert site.get("/ready").text == "ready"
