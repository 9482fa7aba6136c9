"""What a normal client notices of 1,000 slow ones, through each front: half of them upload a few bytes at a time, half
take a download so. The host has four threads.

    slow_peers.py [--peers N] [--requests N] [--seconds N] [--fronts NAMES]

Prints a table; with exit status 1 if the normal client lost a request, or if slow peers were given up. Fronts that are
not installed are left out. A slow peer moves RATE bytes a second, which is more than [limits] min_rate."""
import argparse
import multiprocessing
import resource
import selectors
import socket
import sys
import time

from torment import fastcgi, process, scgi
import fronts
from host import Host

RATE = 8192  # bytes a second of each slow peer; so it moves less than …
SIZE = 1000000  # … this while it is looked at
THREADS = {"server": {"threads": 4}}


# -------------------------------------------------------------------------------
# Fronts, each with room for the peers


class Direct:
    """No web server: the client speaks the host's protocol."""
    prefix = ""

    def __init__(self, peers):
        self.host = Host(settings=THREADS, watched=False)

    def connect(self, receive_buffer=None):
        return self.protocol.Connection(self.host.address, receive_buffer=receive_buffer).socket

    def request(self, method, path, size=0):
        """The head of a request and, if it has a body of size bytes, all of that."""
        return self.protocol.request_bytes(method, path, b"x" * size)

    def ask(self):
        return self.protocol.exchange(self.host.address, "GET", "/ready").text

    def stop(self):
        complaints = self.host.stop()
        self.host.clean_up()
        return complaints


class DirectFastcgi(Direct):
    name, protocol = "FastCGI direct", fastcgi


class DirectScgi(Direct):
    name, protocol = "SCGI direct", scgi


class Behind:
    """A web server. room: what its configuration needs beyond its example for so many peers."""
    prefix = "/app"

    def __init__(self, peers):
        front, room = self.site, self.room

        class Roomy(front):
            def example(self, name):
                return room(super().example(name), 2 * peers + 100)
        self.running = Roomy("wsgi_app:application", self.prefix, THREADS)

    def connect(self, receive_buffer=None):
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(60)
        client.connect(("127.0.0.1", self.running.port))
        return client

    def request(self, method, path, size=0):
        head = "%s %s%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % (method, self.prefix, path)
        return (head + ("Content-Length: %d\r\n" % size if size else "") + "\r\n").encode() + b"x" * size

    def ask(self):
        return self.running.get("/ready").text

    def stop(self):
        complaints = self.running.stop()
        self.running.clean_up()
        return complaints


class Nginx(Behind):
    name, site = "nginx", fronts.NginxFastcgi

    @staticmethod
    def room(text, connections):
        return fronts.changed(text, {"events {}": "events { worker_connections %d; }" % (2 * connections)})


class NginxUnbuffered(Nginx):
    name = "nginx, unbuffered"

    @staticmethod
    def room(text, connections):
        return fronts.changed(Nginx.room(text, connections), {
            "http {": "http {\n    fastcgi_buffering off;\n    fastcgi_request_buffering off;"})


class Apache(Behind):
    name, site = "Apache, mod_proxy_fcgi", fronts.ApacheProxy

    @staticmethod
    def room(text, connections):
        processes = connections // 64 + 1
        return text + "ServerLimit %d\nThreadLimit 64\nThreadsPerChild 64\nMaxRequestWorkers %d\n" \
            "StartServers %d\nMaxSpareThreads %d\n" % (processes, 64 * processes, processes, 64 * processes)


class Haproxy(Behind):
    name, site = "HAProxy", fronts.HaproxyFastcgi

    @staticmethod
    def room(text, connections):
        return fronts.changed(text, {"maxconn 1000": "maxconn %d" % connections})


class Lighttpd(Behind):
    name, site = "lighttpd", fronts.LighttpdFastcgi

    @staticmethod
    def room(text, connections):
        return text + "server.max-connections = %d\nserver.max-fds = %d\n" % (connections, 3 * connections)


class Caddy(Behind):
    name, site = "Caddy", fronts.CaddyFastcgi

    @staticmethod
    def room(text, connections):
        return text  # it has no limit


FRONTS = [DirectFastcgi, DirectScgi, Nginx, NginxUnbuffered, Apache, Haproxy, Lighttpd, Caddy]


# -------------------------------------------------------------------------------
# The slow peers


class SlowPeer:
    """has_ended: the other side has given it up."""

    def __init__(self, front, number):
        self.is_upload = number % 2 == 0
        self.socket = front.connect(None if self.is_upload else 4096)
        self.to_send = memoryview(front.request("POST", "/echo?token=x", SIZE) if self.is_upload
                                  else front.request("GET", "/big?size=%d" % SIZE))
        self.has_ended, self.moved = False, 0
        if not self.is_upload:
            self.socket.sendall(self.to_send)
        self.socket.setblocking(False)

    def move(self, n):
        try:
            if self.is_upload:
                moved = self.socket.send(self.to_send[:n])
                self.to_send = self.to_send[moved:]
            else:
                moved = len(self.socket.recv(n))
            self.moved += moved
            self.has_ended |= moved == 0
        except BlockingIOError:
            pass
        except OSError:
            self.has_ended = True


def be_slow(front, count, pipe):
    """A process of its own: moves all of them until told to end, and says how many were given up."""
    peers = [SlowPeer(front, number) for number in range(count)]
    turn = time.monotonic()
    for _ in range(4):  # what they ask for has arrived
        for peer in peers:
            peer.move(RATE // 4)
    pipe.send("ready")
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not selector.select(max(0, turn + 0.5 - time.monotonic())):
            turn = time.monotonic()
            for peer in peers:
                peer.move(RATE // 2)
    pipe.send(sum(peer.has_ended for peer in peers))
    for peer in peers:
        peer.socket.close()


# -------------------------------------------------------------------------------
# The normal client


class Figures:
    """Of so many requests, which are spread over so many seconds."""

    def __init__(self, front, requests, seconds=0):
        self.failures, times, start = 0, [], time.monotonic()
        for number in range(requests):
            time.sleep(max(0, start + seconds * number / requests - time.monotonic()))
            begin = time.monotonic()
            try:
                self.failures += front.ask() != "ready"
            except (OSError, AssertionError):
                self.failures += 1
            times.append(1000 * (time.monotonic() - begin))
        times.sort()
        self.median, self.p99 = times[len(times) // 2], times[len(times) * 99 // 100]


def measure(kind, peers, requests, seconds):
    """(figures without slow peers, figures with them, how many of these were given up, complaints)"""
    front = kind(peers)
    try:
        for _ in range(20):
            front.ask()
        without = Figures(front, requests, seconds)
        ours, theirs = multiprocessing.Pipe()
        slow = multiprocessing.get_context("fork").Process(target=be_slow, args=(front, peers, theirs))
        slow.start()
        theirs.close()
        ours.recv()
        beside = Figures(front, requests, seconds)
        ours.send("end")
        given_up = ours.recv()
        slow.join()
    finally:
        complaints = front.stop()
    return without, beside, given_up, complaints


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=1000, help="of the normal client, with and without them")
    parser.add_argument("--seconds", type=float, default=25, help="over which these are spread; min_rate is measured over 10")
    parser.add_argument("--fronts", help="those whose name contains one of these words, with commas between")
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    process.adopt_orphans()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the fronts, too
    words = options.fronts.lower().split(",") if options.fronts else [""]
    print("%d slow peers, %d requests of a normal client, 4 threads; p50 and p99 in ms" % (options.peers,
                                                                                          options.requests))
    print("| front | p50 alone | p99 alone | p50 beside them | p99 beside them | failed | given up |")
    print("|---|---|---|---|---|---|---|", flush=True)
    is_bad = False
    for kind in FRONTS:
        if not any(word in kind.name.lower() for word in words):
            continue
        try:
            without, beside, given_up, complaints = measure(kind, options.peers, options.requests,
                                                            options.seconds)
        except fronts.pytest.skip.Exception as reason:
            print("| %s | %s | | | | | |" % (kind.name, reason), flush=True)
            continue
        failed = without.failures + beside.failures
        is_bad |= failed > 0 or given_up > 0 or bool(complaints)
        print("| %s | %.1f | %.1f | %.1f | %.1f | %d | %d |" % (kind.name, without.median, without.p99, beside.median,
                                                               beside.p99, failed, given_up), flush=True)
        for complaint in complaints:
            print(complaint)
    sys.exit(is_bad)


if __name__ == "__main__":
    main()
