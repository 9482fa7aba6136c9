"""What peers do not take of a response leaves without the thread of its request."""
import json
import socket
import time

import pytest

import fastcgi
import fronts
import scgi
from conftest import serves
from host import Host, run, write_file
from process import SAN, deadline, free_port, wait_until

protocols = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)
SIZE = 3000000
APP = '''
import threading
import fcgihost

go, cleaned = threading.Event(), []

def application(environ, start_response):
    path, ask = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/go":
        go.set()
    if path == "/cleanup":
        fcgihost.request().register_cleanup(cleaned.append, ask)
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/cleanup":
        return [b"x" * 3000000]
    if path == "/events":
        return events()
    return [repr(cleaned).encode() if path == "/cleaned" else b"ready"]

def events():
    yield b"x" * 3000000
    go.wait(60)
    yield b"the end"
'''


def start(settings=None, **kwargs):
    found = {"server": {"threads": 4, "temporary": "."}, "limits": {"response_memory": "64K"}}
    for section, keys in (settings or {}).items():
        found.setdefault(section, {}).update(keys)
    return Host(settings=found, **kwargs)


def start_script(tmp_path, settings=None):
    script = write_file(str(tmp_path / "app.py"), APP)
    return start(dict({"application": {"script": script}}, **(settings or {})), app=None)


def temporary_files(host):
    return [name for name in host.descriptors().values()
            if name.startswith(host.folder) and name.endswith("(deleted)")]


def status_of(host):
    return json.loads(run("--status", "--format", "json", "-l", host.listen[0]).stdout)


def resident_mib(host):
    with open("/proc/%d/status" % host.pid) as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.skipif(bool(SAN), reason="a sanitizer's memory is not the program's")
class TestMemory:
    def test_of_all_responses_that_wait_is_bounded_however_many_they_are(self):
        host = start({"limits": {"response_memory": "1M"}})
        before = resident_mib(host)
        readers = []
        for _ in range(150):
            readers.append(fastcgi.Connection(host.address))
            readers[-1].send(fastcgi.request_bytes("GET", "/big?size=%d" % SIZE))  # two thirds fit into the socket
        wait_until(lambda: len(temporary_files(host)) > 50, "files")
        assert serves(host)
        assert resident_mib(host) - before < 64 + 40
        for reader in readers:
            assert len(reader.read_response().body) == SIZE


class TestReaders:
    @protocols
    @pytest.mark.parametrize("path", ["/big?size=%d" % SIZE, "/download?size=%d" % SIZE, "/file?path=%s"])
    def test_64_readers_that_stand_still_hold_none_of_4_threads(self, protocol, path, tmp_path):
        host = start()
        if "%s" in path:
            path %= write_file(str(tmp_path / "file"), "0123456789" * (SIZE // 10))
        whole = protocol.exchange(host.address, "GET", path).body
        assert len(whole) == SIZE
        peers = [protocol.Connection(host.address) for _ in range(64)]
        for peer in peers:
            peer.send(protocol.request_bytes("GET", path))
        assert serves(host, 200)
        wait_until(lambda: len(temporary_files(host)) == 64, "all responses to wait in files")
        assert serves(host, 200)
        for peer in peers:
            assert peer.read_response().body == whole
        wait_until(lambda: not temporary_files(host), "the temporary files to go")

    def test_a_kept_connection_goes_on_after_a_response_that_waited(self):
        host = start()
        with fastcgi.Connection(host.address) as connection:
            for _ in range(3):
                connection.send(fastcgi.request_bytes("GET", "/download?size=%d" % SIZE))
                wait_until(lambda: temporary_files(host), "the response to wait")
                connection.send(fastcgi.request_bytes("POST", "/echo?token=next", b"x" * 100000))
                assert len(connection.read_response().body) == SIZE
                assert connection.read_response().json["size"] == 100000

    def test_a_peer_that_leaves_in_the_middle_of_what_waits(self):
        host = start()
        for size in (SIZE, 30000000):
            connection = fastcgi.Connection(host.address)
            connection.send(fastcgi.request_bytes("GET", "/download?size=%d" % size))
            wait_until(lambda: temporary_files(host), "the response to wait")
            connection.close()
            wait_until(lambda: not temporary_files(host) and not host.connections(),
                       "connection and file to go")
        assert serves(host, 10)

    @protocols
    def test_without_space_the_application_waits_for_its_peer(self, protocol):
        host = start({"limits": {"temporary_space": "2M"}})
        path = "/download?size=20000000"
        peers = [protocol.Connection(host.address) for _ in range(3)]
        for peer in peers:
            peer.send(protocol.request_bytes("GET", path))
        assert serves(host, 20)
        for peer in peers:
            assert len(peer.read_response().body) == 20000000
        wait_until(lambda: not temporary_files(host), "the temporary files to go")

    @protocols
    def test_the_status_counts_them_as_in_flight_and_their_threads_as_idle(self, protocol):
        host = start()
        peers = [protocol.Connection(host.address) for _ in range(3)]
        for peer in peers:
            peer.send(protocol.request_bytes("GET", "/big?size=%d" % SIZE))
        wait_until(lambda: status_of(host)["requests"]["sending"] == 3, "the responses to wait")
        status = status_of(host)
        assert status["requests"]["in_flight"] == 3 and status["threads"]["busy"] == 0
        assert [thread["state"] for thread in status["processes"][0]["threads"]] == ["idle"] * 4
        assert len(peers[0].read_response().body) == SIZE
        peers[1].close()  # it leaves in the middle
        wait_until(lambda: status_of(host)["requests"]["in_flight"] == 1, "one to be left")
        assert len(peers[2].read_response().body) == SIZE
        wait_until(lambda: status_of(host)["requests"]["in_flight"] == 0, "none to be left")

    @protocols
    def test_a_stop_that_cuts_them_off_counts_them_and_logs_no_stacks(self, protocol):
        host = start({"shutdown": {"drain_timeout": "200ms"}})
        peers = [protocol.Connection(host.address) for _ in range(3)]
        for peer in peers:
            peer.send(protocol.request_bytes("GET", "/big?size=%d" % SIZE))
        wait_until(lambda: len(temporary_files(host)) == 3, "the responses to wait")
        host.popen.terminate()
        host.expected_status = 1
        assert host.wait_exit() == 1
        log = host.log.read()
        assert "3 of them in the middle of a response that was being sent" in log
        assert "requests that did not end" not in log

    @protocols
    def test_a_stop_waits_for_what_is_still_being_sent(self, protocol):
        host = start({"shutdown": {"drain_timeout": "60s"}})
        with protocol.Connection(host.address) as connection:
            connection.send(protocol.request_bytes("GET", "/big?size=%d" % SIZE))
            wait_until(lambda: temporary_files(host), "the response to wait")
            host.popen.terminate()
            host.log.wait("SIGTERM: stopping")
            assert len(connection.read_response().body) == SIZE
        assert host.wait_exit() == 0


class TestReadersThatAreGivenUp:
    SETTINGS = {"limits": {"io_timeout": "1s", "min_rate": "0"}, "log": {"access": "yes"}}

    @staticmethod
    def read_late(host, protocol):
        """Asks for 20 MB, reads nothing until the host has had enough, then the rest: its bytes, and how it ended."""
        connection = protocol.Connection(host.address, receive_buffer=4096)
        connection.send(protocol.request_bytes("GET", "/download?size=20000000"))
        host.log.wait("did not take the rest of its response")
        received = b""
        try:
            while True:
                data = connection.socket.recv(65536)
                if not data:
                    return received, "end"
                received += data
        except ConnectionResetError:
            return received, "reset"

    @pytest.mark.parametrize("settings", [{"io_timeout": "1s", "min_rate": "0"}, {"min_rate": "1M"}],
                             ids=["io_timeout", "min_rate"])
    @protocols
    def test_a_thread_that_must_wait_for_one_gives_it_up_and_the_log_says_so(self, protocol, settings, tmp_path):
        """The body may still come: what the peer does not take can't be left to others."""
        script = write_file(str(tmp_path / "app.py"), """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["REQUEST_METHOD"] == "GET":
        return [b"ready"]
    environ["wsgi.input"].read(10)
    return [b"x" * 20000000]
""")
        host = Host(app=None, settings={"application": {"script": script, "stream": "yes"}, "limits": settings,
                                        "server": {"threads": 1}}, listen=["127.0.0.1:%d" % free_port()])
        connection = protocol.Connection(host.address, receive_buffer=4096)
        connection.send(protocol.request_bytes("POST", "/", b"x" * 100000)[:50000])
        host.log.wait("POST /: connection closed: the peer did not take the rest of its response")
        assert protocol.exchange(host.address, "GET", "/").text == "ready"

    def test_over_scgi_the_cut_response_does_not_look_whole(self):
        host = start(dict(self.SETTINGS), listen=["127.0.0.1:%d" % free_port()])
        received, ending = self.read_late(host, scgi)
        assert len(received) < 20000000 and ending == "reset"
        assert serves(host)

    def test_so_is_one_that_comes_when_the_sender_has_had_nothing_to_do_for_a_while(self):
        host = start(dict(self.SETTINGS), listen=["127.0.0.1:%d" % free_port()])
        assert len(fastcgi.exchange(host.address, "GET", "/download?size=20000000").body) == 20000000
        for _ in range(2):
            mark = host.log.mark()
            connection = fastcgi.Connection(host.address, receive_buffer=4096)
            connection.send(fastcgi.request_bytes("GET", "/download?size=20000000"))
            host.log.wait("did not take the rest of its response", mark)
            connection.close()

    def test_over_fastcgi_there_is_no_end_of_the_request(self):
        host = start(dict(self.SETTINGS), listen=["127.0.0.1:%d" % free_port()])
        received, _ = self.read_late(host, fastcgi)
        assert len(received) < 20000000 and fastcgi.record(fastcgi.END_REQUEST, b"\0" * 8) not in received
        assert serves(host)

    def test_the_access_line_comes_once_and_says_what_left_and_how_long_it_took(self):
        host = start(dict(self.SETTINGS), listen=["127.0.0.1:%d" % free_port()])
        self.read_late(host, fastcgi)
        line = host.log.wait(r"GET /download 200 (\d+) bytes ([0-9.]+) ms")
        assert 0 < int(line.group(1)) < 20000000 and float(line.group(2)) >= 1000
        assert host.log.read().count("GET /download 200") == 1


class TestStop:
    @staticmethod
    def stop_beside_a_slow_reader(host, then):
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/big?size=%d" % SIZE))
            wait_until(lambda: temporary_files(host), "the response to wait")
            then(connection)

    def test_a_request_behind_a_response_that_is_being_sent_is_served(self):
        def pipeline(connection):
            connection.send(fastcgi.request_bytes("POST", "/echo?token=next", b"x" * 1000))
            host.popen.terminate()
            host.log.wait("SIGTERM: stopping")
            assert len(connection.read_response().body) == SIZE
            assert connection.read_response().json["size"] == 1000
            assert connection.is_closed_by_peer()
        host = start({"shutdown": {"drain_timeout": "60s"}})
        self.stop_beside_a_slow_reader(host, pipeline)
        assert host.wait_exit() == 0

    @protocols
    def test_an_upload_that_is_cut_off_is_not_said_to_be_answered(self, protocol):
        host = start({"shutdown": {"drain_timeout": "200ms"}, "log": {"access": "yes"}})
        with protocol.Connection(host.address) as connection:
            connection.send(protocol.request_bytes("POST", "/echo?token=x", b"x" * 100000)[:50000])
            wait_until(lambda: host.connections() == 1, "it to be accepted")
            wait_until(lambda: status_of(host)["connections"]["idle"] == 0, "it to be looked at")
            host.popen.terminate()
            host.expected_status = 1
            assert host.wait_exit() == 1
            assert connection.receive() == b""
        log = host.log.read()
        assert "1 connection(s) did not finish" in log and "/echo 400" not in log and "body was cut short" not in log


class TestApplications:
    @protocols
    def test_a_request_s_cleanups_run_once_its_response_has_left(self, protocol, tmp_path):
        host = start_script(tmp_path)
        peers = [protocol.Connection(host.address) for _ in range(8)]
        for number, peer in enumerate(peers):
            peer.send(protocol.request_bytes("GET", "/cleanup?%d" % number))
        wait_until(lambda: len(temporary_files(host)) == 8, "the responses to wait")
        assert protocol.exchange(host.address, "GET", "/cleaned").text == "[]"
        peers.pop().close()  # one leaves: its cleanup runs too
        wait_until(lambda: protocol.exchange(host.address, "GET", "/cleaned").text == "['7']",
                   "the cleanup of the one that left")
        for peer in peers:
            assert len(peer.read_response().body) == SIZE
        wait_until(lambda: len(eval(protocol.exchange(host.address, "GET", "/cleaned").text)) == 8,
                   "all cleanups")

    @protocols
    def test_what_waits_leaves_while_the_application_prepares_more(self, protocol, tmp_path):
        host = start_script(tmp_path)
        with protocol.Connection(host.address) as connection:
            connection.send(protocol.request_bytes("GET", "/events"))
            wait_until(lambda: temporary_files(host), "the response to wait")
            assert len(connection.receive_exactly(SIZE)) == SIZE  # and the application waits
            protocol.exchange(host.address, "GET", "/go")
            rest = b""
            while b"the end" not in rest:
                more = connection.receive()
                assert more
                rest += more


class TestWithoutSpace:
    """The application waits in what it produces, as [limits] temporary_space is used up."""
    APP = '''
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"].endswith("/ready"):
        return [b"ready"]
    return produce(environ["wsgi.errors"], int(environ["QUERY_STRING"]))

def produce(errors, size):
    try:
        errors.write("production begins\\n")
        while True:
            yield b"x" * size
    finally:
        errors.write("production ends\\n")
'''
    SETTINGS = {"limits": {"temporary_space": "1M", "response_memory": "64K", "io_timeout": "1h", "min_rate": "0"}}

    @pytest.fixture
    def script(self, tmp_path):
        return {"application": {"script": write_file(str(tmp_path / "app.py"), self.APP)}, **self.SETTINGS}

    @staticmethod
    def wait_until_full(host):
        """Until nothing is produced any more."""
        def written():
            with open("/proc/%d/io" % host.pid) as file:
                return int(file.read().split("wchar: ")[1].split()[0])
        seen = []

        def stands():
            seen.append(written())
            time.sleep(0.1)
            return len(seen) > 3 and seen[-1] == seen[-4]
        wait_until(stands, "the space to be used up")

    def abort_when_full(self, host, connection, size, taken):
        """Asks, and aborts once the application waits; taken: how much of the response has been read by then."""
        mark = host.log.mark()
        connection.send(fastcgi.request_bytes("GET", "/?%d" % size))
        host.log.wait("production begins", mark)
        self.wait_until_full(host)
        connection.pending = connection.receive_exactly(taken)
        connection.send(fastcgi.abort())

    @pytest.mark.parametrize("size", [1, 1000, 65000, 3000000])
    def test_an_abort_is_seen_and_the_next_request_served(self, script, size):
        host = start(script, app=None)
        with fastcgi.Connection(host.address) as connection:
            for taken in (0, 3, 8, 70000):
                mark = host.log.mark()
                self.abort_when_full(host, connection, size, taken)
                host.log.wait("production ends", mark)
                assert connection.read_raw()[2] == (0, fastcgi.REQUEST_COMPLETE)
                assert connection.exchange("GET", "/ready").text == "ready"

    WHOLE_APP = '''
def application(environ, start_response):
    size = int(environ["QUERY_STRING"] or 5)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(size))])
    environ["wsgi.errors"].write("production begins\\n")
    return [b"x" * size]
'''

    @pytest.mark.parametrize("size", [3000000, 6000000])
    @pytest.mark.parametrize("taken", [0, 70000])
    def test_an_aborted_response_of_one_piece_has_an_end_too(self, tmp_path, size, taken):
        """The piece that completes the Content-Length is sent in several steps, and the abort comes between them."""
        host = start({"application": {"script": write_file(str(tmp_path / "app.py"), self.WHOLE_APP)}, **self.SETTINGS}, app=None)
        with fastcgi.Connection(host.address) as connection:
            self.abort_when_full(host, connection, size, taken)
            assert connection.read_raw()[2] == (0, fastcgi.REQUEST_COMPLETE)
            assert connection.exchange("GET", "/ready").text == "xxxxx"

    @protocols
    @pytest.mark.parametrize("is_tcp", [False, True], ids=["unix", "tcp"])
    def test_a_peer_that_leaves_is_noticed(self, script, protocol, is_tcp):
        host = start(script, app=None, listen=["127.0.0.1:%d" % free_port()] if is_tcp else None)
        connection = protocol.Connection(host.address)
        connection.send(protocol.request_bytes("GET", "/?65000"))
        host.log.wait("production begins")
        self.wait_until_full(host)
        connection.close()
        host.log.wait("production ends")

    @pytest.mark.parametrize("kind", [fronts.NginxStreaming, fronts.NginxStreamingKept, fronts.ApacheProxyReuse, fronts.CaddyFastcgi,
                                      fronts.HaproxyFastcgi, fronts.LighttpdStreaming], ids=lambda kind: kind.name)
    def test_a_client_that_leaves_is_noticed(self, kind, script):
        site = kind(app=None, settings=script)
        with socket.create_connection(("127.0.0.1", site.port), deadline(60)) as client:
            client.sendall(b"GET /app/?65000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            site.host_log.wait("production begins")
            time.sleep(0.5)
        site.host_log.wait("production ends")
        assert site.get("/ready").text == "ready"


class TestThroughHaproxy:
    def test_64_slow_clients_are_not_noticed_by_others(self, tmp_path):
        """HAProxy does not buffer: as its example configures it."""
        site = fronts.HaproxyFastcgi("wsgi_app:application", "/app", {"server": {"threads": 4}})
        clients = []
        for number in range(64):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(deadline(60))
            client.connect(("127.0.0.1", site.port))
            if number % 2:
                client.sendall(b"GET /app/big?size=8000000 HTTP/1.1\r\nHost: x\r\n\r\n")
            else:
                client.sendall(b"POST /app/echo?token=x HTTP/1.1\r\nHost: x\r\n"
                               b"Content-Length: 200000\r\n\r\n" + b"x" * 150000)
            clients.append(client)
        failures = [number for number in range(200) if site.get("/ready").text != "ready"]
        assert failures == []
        for number, client in enumerate(clients):
            if number % 2 == 0:
                client.sendall(b"x" * 50000)
                assert client.recv(15).startswith(b"HTTP/1.1 200")
            client.close()
