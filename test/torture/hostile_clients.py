"""HTTP clients that abort, stall and lie about lengths, through each real web server, beside well-formed requests whose
answers are all checked.

    hostile_clients.py [--requests N] [--fronts NAMES] [--seed S]

Half of the requests are well-formed. Prints a table; with exit status 1 if anything was found. Fronts that are not
installed are left out, but not in continuous integration."""
import argparse
import collections
import hashlib
import http.client
import os
import random
import re
import socket
import string
import sys
import threading
import time

from torment import (HERE, SOURCE, Found, Torment, fastcgi, log_complaints, merged, new_token, process, random_body, scgi,
                     temporary_folder, tokens)
import fronts
from host import run
from managed import ManagedHost

TOKEN = re.compile(rb"[WHS]\d{1,6}-[0-9a-f]{12}")
FRONTS = fronts.ALL + fronts.STREAMING
FILE_BYTES = 300000
GOOD_CLIENTS, HOSTILE_CLIENTS = 4, 8
WARM_UP = 0.15  # of the requests, before the level of memory, descriptors and threads is taken
MOST_TO_WARM_UP = 300
MEMORY_BYTES = 24 << 20  # of growth from there: buffers of requests that meet in another way, and malloc's own
STOP_SECONDS = 8  # drain_timeout and cleanup_timeout, and a second
SECONDS_TO_LEVEL = 15

VARIANTS = {
    "usual": {},
    "stream": {"application": {"stream": "yes"}},
    "retire": {"limits": {"requests": 200, "requests_jitter": 50}},
}


# -------------------------------------------------------------------------------
# Sites


def tormented(kind, variant):
    """The front, and behind it a host of test/torture/app.py."""
    class Tormented(kind):
        apps = HERE
        is_managed = variant == "retire" and not kind.starts_host

        def start_host(self):
            if not self.is_managed:
                return super().start_host()
            settings = merged({"application": {"wsgi": self.app, "mount": None}}, self.settings)
            self.host = ManagedHost(self.notes, settings, folder=self.folder, watched=False)

    Tormented.notes = make_notes()
    settings = {"server": {"threads": 4, "temporary": os.path.join(Tormented.notes, "temporary")},
                "environment": {"FOLDER": Tormented.notes, "JOURNAL": "yes"}}
    if variant == "retire" and issubclass(kind, fronts.SpawnFcgi):
        settings["server"]["manager"] = "yes"  # nobody else starts another
    site = Tormented("app:application", "/app", merged(settings, VARIANTS[variant]))
    if site.host is not None and not site.is_managed:  # the application was not loaded when it was taken
        site.host.baseline = len(site.host.descriptors()) - site.host.connections()
    return site


def make_notes():
    """A folder of the application, which may run as another user."""
    folder = temporary_folder()
    os.mkdir(os.path.join(folder, "temporary"))
    for name in (folder, os.path.join(folder, "temporary")):
        os.chmod(name, 0o777)
    with open(os.path.join(folder, "file"), "wb") as file:
        file.write(random.Random(folder).randbytes(FILE_BYTES))
    return folder


def host_pids(site):
    """Those that have loaded the application, and live."""
    with open(os.path.join(site.notes, "loads"), encoding="ascii") as file:
        return sorted({int(line) for line in file} & {int(name) for name in os.listdir("/proc") if name.isdigit()})


class Level:
    """What one process has taken."""

    def __init__(self, pid, folder):
        with open("/proc/%d/status" % pid, encoding="ascii") as file:
            self.memory = int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) * 1024
        found = [name for name in process.descriptors(pid).values() if "memfd:" not in name and "/sanitizer." not in name]
        self.temporary = [name for name in found if name.startswith(folder + "/temporary")]
        self.sockets = sum(name.startswith("socket:") for name in found)
        self.others = len(found) - self.sockets - len(self.temporary)
        self.threads = len(os.listdir("/proc/%d/task" % pid))


# -------------------------------------------------------------------------------
# Well-formed requests


class WellFormed:
    """Its parts, and what must come back."""
    NAMES = ["echo", "echo", "echo/lines", "stream", "late", "slow", "file", "fail", "empty", "redirect", "ignore", "half",
             "early", "headers"]

    def __init__(self, random, site):
        self.token, self.name, self.body = new_token(random, "W"), random.choice(self.NAMES), random_body(random)
        self.method = random.choice(["POST", "PUT"]) if self.body else random.choice(["GET", "GET", "HEAD", "POST", "DELETE"])
        self.half, self.status = random.randrange(len(self.body) + 1), random.choice([204, 304])
        self.path = "%s/%s?token=%s&size=%d&status=%d" % (site.prefix, self.name, self.token, self.half, self.status)
        self.check_text = "".join(random.choices(string.ascii_letters, k=20))
        self.is_chunked = bool(self.body) and site.takes_chunked and random.random() < 0.3 and \
            len(self.body) < 500 * site.chunked_parts
        self.headers = [("X-Check", self.check_text)] + [
            ("X-" + "".join(random.choices(string.ascii_letters, k=8)), "".join(random.choices(SOURCE, k=40)).strip())
            for _ in range(random.choice([0, 1, 12]))]
        self.random = random

    def send(self, client):
        client.putrequest(self.method, self.path, skip_accept_encoding=True)
        for name, value in self.headers:
            client.putheader(name, value)
        if self.is_chunked:
            client.putheader("Transfer-Encoding", "chunked")
            client.endheaders(self.chunks(), encode_chunked=True)
        elif self.body or self.method in ("POST", "PUT"):
            client.putheader("Content-Length", str(len(self.body)))
            client.endheaders(self.body)
        else:
            client.endheaders()

    def chunks(self):
        cuts = sorted(self.random.randrange(len(self.body) + 1) for _ in range(self.random.choice([0, 1, 5])))
        return [self.body[start:end] for start, end in zip([0] + cuts, cuts + [len(self.body)]) if start < end]

    def expected(self, file):
        """(status, what follows the line of the token; None: there is no such line, b"" or a page)"""
        if self.name == "fail":
            return 500, None
        if self.name == "empty":
            return self.status, None
        rest = {"file": None, "redirect": b"", "ignore": b"", "headers": b"", "early": b"x" * 1000,
                "half": self.body[:self.half]}.get(self.name, self.body)
        return (303 if self.name == "redirect" else 200), rest

    def check(self, response, body, file):
        status, rest = self.expected(file)
        if response.status != status:
            raise Found("%d instead of %d: %r" % (response.status, status, body[:200]))
        if self.method == "HEAD" or self.name == "empty":
            if body:
                raise Found("a body where none may be: %r" % body[:100])
        elif self.name == "file":
            if body != file:
                raise Found("a file of %d bytes came as %d" % (len(file), len(body)))
        elif rest is not None:
            head, _, found = body.partition(b"\n")
            if head.split(b" ")[0] != self.token.encode():
                raise Found("another one's answer: %r" % head[:100])
            if found != rest:
                raise Found("%d bytes came back as %d" % (len(rest), len(found)))
        if status != 500 and (response.getheader("X-Token"), response.getheader("X-Check")) != (self.token, self.check_text):
            raise Found("another one's headers: %r" % response.getheaders())

    def __repr__(self):
        return "%s /%s, %d bytes of body%s (%s)" % (self.method, self.name, len(self.body),
                                                     ", chunked" if self.is_chunked else "", self.token)


# -------------------------------------------------------------------------------
# Hostile clients


class Session:
    """One connection of a hostile client. own: tokens that its answers may hold. forbidden: those of what is no request,
    as it is in a body whose length nobody can mistake, or speaks another protocol."""

    def __init__(self, site, random):
        self.site, self.random, self.own, self.forbidden = site, random, set(), set()
        self.received, self.is_aborted = b"", False
        self.socket = socket.socket()
        self.socket.settimeout(process.deadline(20))

    def connect(self, receive_buffer=None):
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", self.site.port))

    def token(self, kind="H"):
        found = new_token(self.random, kind)
        self.own.add(found.encode())
        if kind == "S":
            self.forbidden.add(found)
        return found

    def url(self, name=None):
        names = ["echo", "echo/lines", "stream", "slow", "file", "fail", "ignore", "half", "early", "empty", "headers"]
        return "%s/%s?token=%s&size=%d" % (self.site.prefix, name or self.random.choice(names), self.token(),
                                           self.random.choice([0, 10, 100000]))

    def head(self, method="POST", url=None, headers=(), version="HTTP/1.1"):
        lines = ["%s %s %s" % (method, url or self.url(), version), "Host: localhost"]
        return ("\r\n".join(lines + ["%s: %s" % item for item in headers]) + "\r\n\r\n").encode("latin-1")

    def body(self):
        return random_body(self.random) or b"x"

    def upload(self, url=None, body=None):
        """(head, body) of a request without a fault."""
        body = self.body() if body is None else body
        return self.head("POST", url, [("Content-Length", len(body))]), body

    def smuggled(self, kind="S", ways=("http", "fastcgi", "scgi", "fastcgi-end")):
        """What is a request for who takes this body for the next one. kind H: a front may do so."""
        url = "/echo?token=" + self.token(kind)
        way = self.random.choice(ways) if kind == "S" else "http"
        if way == "http":
            return b"GET %s%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (self.site.prefix.encode(), url.encode())
        if way == "scgi":
            return scgi.request_bytes("GET", url, script_name=self.site.prefix)
        request = fastcgi.request_bytes("GET", url, script_name=self.site.prefix)
        return (fastcgi.record(fastcgi.STDIN) if way == "fastcgi-end" else b"") + request

    def send(self, data):
        cuts = sorted(self.random.randrange(len(data) + 1) for _ in range(self.random.choice([0, 0, 1, 3])))
        for start, end in zip([0] + cuts, cuts + [len(data)]):
            if start < end:
                self.socket.sendall(data[start:end])
            if cuts:
                time.sleep(self.random.random() * 0.003)

    def receive(self, n):
        while n > 0:
            data = self.socket.recv(min(n, 65536))
            if not data:
                return False
            self.received += data
            n -= len(data)
        return True

    def abort(self):
        self.is_aborted = True
        if self.random.random() < 0.5:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def stall(self):
        time.sleep(self.random.choice([0.01, 0.05, 0.3]) * self.random.random())

    def listen(self, seconds=0.1):
        self.socket.settimeout(seconds)
        self.receive(2000000)

    def end(self):
        way = self.random.choice(["listen", "listen", "half-close", "abort"])
        if way == "abort":
            return self.abort()
        if way == "half-close":
            self.socket.shutdown(socket.SHUT_WR)
        self.listen()


def abort_in_the_head(session):
    head, _ = session.upload()
    session.send(head[:session.random.randrange(1, len(head))])
    session.abort()


def abort_in_the_body(session):
    head, body = session.upload()
    session.send(head + body[:session.random.randrange(len(body))])
    session.abort()


def abort_in_the_response(session):
    name = session.random.choice(["stream", "slow", "file", "late", "echo"])
    if session.site.notices_leaving and session.random.random() < 0.3:
        name = "endless"
    session.send(b"".join(session.upload(session.url(name), session.body() if name != "endless" else b"x")))
    session.receive(session.random.choice([0, 1, 100, 10000]))
    session.abort()


def abort_and_never_listen(session):
    for _ in range(session.random.choice([1, 2, 5])):
        session.send(session.head("GET"))
    session.abort()


def stall_while_sending(session):
    data = b"".join(session.upload())
    cut = session.random.randrange(len(data))
    session.send(data[:cut])
    session.stall()
    if session.random.random() < 0.7:
        session.send(data[cut:])
    session.end()


def stall_while_reading(session):
    session.send(b"".join(session.upload(session.url(session.random.choice(["file", "stream", "echo"])))))
    session.receive(session.random.choice([0, 1, 100]))
    session.stall()
    session.listen()


def length_too_long(session):
    body = session.body()
    more = session.random.choice([1, 100, 10 ** 6])
    session.send(session.head("POST", None, [("Content-Length", len(body) + more)]) + body)
    session.end()


def length_too_short(session):
    body = session.body() + session.random.choice([b"", session.smuggled("H")])
    session.send(session.head("POST", None, [("Content-Length", session.random.randrange(len(body)))]) + body)
    session.end()


def request_behind_a_short_length(session):
    body = session.body()
    session.send(session.head("POST", None, [("Content-Length", len(body))]) + body + session.smuggled("H"))
    session.end()


def request_in_the_body(session):
    """All of it is announced: nobody may take a part for a request."""
    body = session.random.choice([b"", session.body()]) + session.smuggled() * session.random.choice([1, 1, 300])
    name = session.random.choice(["ignore", "half", "early", "echo", "fail", "file", "stream"])
    session.send(b"".join(session.upload(session.url(name), body)))
    session.end()


def request_in_the_body_and_an_abort(session):
    body = session.smuggled() * 100
    data = b"".join(session.upload(session.url(session.random.choice(["ignore", "half", "early", "slow"])), body))
    session.send(data[:-session.random.randrange(1, len(body))])
    session.abort()


def chunked(pieces, end=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


CHUNKED = [("Transfer-Encoding", "chunked")]


def chunks_end_early(session):
    data = chunked([session.body(), session.body()], session.random.choice([b"", b"0\r\n", b"0", b"5\r\nab"]))
    session.send(session.head("POST", None, CHUNKED) + data[:session.random.randrange(len(data) + 1)])
    session.end()


def chunks_lie(session):
    size = session.random.choice([b"-1", b"ffffffffffffffff", b"7fffffffffffffff", b"0x5", b"g", b"", b" 5", b"5;a=b", b"3",
                                  b"9", b"000000000000000000005", b"5\n", b"1 0"])
    data = b"%s\r\nhello\r\n" % size + chunked([session.smuggled("H")])
    session.send(session.head("POST", None, CHUNKED) + data)
    session.end()


def chunks_and_a_length(session):
    body = chunked([session.body()[:1000]]) + session.smuggled("H")
    headers = [("Content-Length", session.random.choice([5, len(body), len(body) + 10])), ("Transfer-Encoding", "chunked")]
    session.random.shuffle(headers)
    session.send(session.head("POST", None, headers) + body)
    session.end()


def strange_transfer_encoding(session):
    value = session.random.choice(["identity", "chunked, identity", "identity, chunked", "gzip, chunked", "Chunked", "xchunked",
                                   "chunked\t", "\x0bchunked", "chunked, chunked", ""])
    name = session.random.choice(["Transfer-Encoding", "Transfer_Encoding", "transfer-encoding", "Transfer-Encoding "])
    session.send(session.head("POST", None, [(name, value), ("Content-Length", 5)]) +
                 chunked([b"hello"]) + session.smuggled("H"))
    session.end()


def http_1_0(session):
    body = session.body()
    headers = session.random.choice([[], [("Connection", "keep-alive")], [("Content-Length", len(body))]])
    head = session.head(session.random.choice(["GET", "POST"]), None, headers, "HTTP/1.0")
    session.send(head.replace(b"Host: localhost\r\n", session.random.choice([b"", b"Host: localhost\r\n", b"Host:\r\n"])) + body)
    session.end()


def pipelined(session):
    data = b"".join(session.head("GET") if session.random.random() < 0.5 else b"".join(session.upload())
                    for _ in range(session.random.choice([2, 3, 10])))
    session.send(data)
    session.end()


def expects(session):
    head, body = session.upload()
    value = session.random.choice(["100-continue", "100-Continue", "something"])
    session.send(head[:-2] + b"Expect: %s\r\n\r\n" % value.encode())
    if session.random.random() < 0.5:
        session.socket.settimeout(0.05)
        try:
            session.receive(1)
        except socket.timeout:
            pass
        session.socket.settimeout(20)
    session.send(body[:session.random.choice([len(body), len(body) // 2])])
    session.end()


def body_where_none_is_usual(session):
    head, body = session.upload(body=session.random.choice([session.body(), session.smuggled()]))
    method = session.random.choice([b"HEAD", b"GET", b"DELETE", b"OPTIONS", b"TRACE"])
    session.send(head.replace(b"POST", method, 1) + body)
    session.end()


def strange_length(session):
    value = session.random.choice(["-1", "-5", "+5", "0x5", "5, 5", "5,6", "", " ", "5 5", "99999999999999999999999", "5.0",
                                   "9223372036854775807", "18446744073709551616", "18446744073709551621", "\t5", "05", "1e3",
                                   "2147483648"])
    session.send(session.head("POST", None, [("Content-Length", value)]) + b"hello" + session.smuggled("H"))
    session.end()


def two_lengths(session):
    headers = [("Content-Length", 5), ("Content-Length", session.random.choice([5, 0, 4, 100]))]
    session.send(session.head("POST", None, headers) + b"hello" + session.smuggled("H"))
    session.end()


def strange_uri(session):
    url = session.url("echo")
    prefix = session.site.prefix
    url = session.random.choice([
        "/" + url, url.replace("/echo", "//echo"), url.replace("/echo", "/%00echo"), url.replace("/echo", "/%2fecho"),
        url.replace("/echo", "/%2e%2e/echo"), url.replace("/echo", "/../../echo"), url.replace("/echo", "/./echo"),
        url.replace("/echo", "/\xff\xfe\xe9"), url.replace("/echo", "/%ff%fe%c3"), url.replace("/echo", "/%zz"),
        url.replace("/echo", "/" + "a" * session.random.choice([4000, 9000, 70000])), "http://localhost" + url,
        "http://other.invalid" + url, "https://u:p@localhost:1" + url, url + "#fragment", url + "&a=" + "%41" * 1000,
        url + "&\xff=%", "*", prefix, "localhost:80", url.replace("/echo", "/\\echo"), url.replace("/echo", "/echo;a=b"),
        url[1:], "?" + url, url.replace("/echo", "/e\tcho"), url.replace("/echo", "/e\x01cho")])
    session.send(session.head(session.random.choice(["GET", "POST", "OPTIONS"]), url))
    session.end()


def strange_method(session):
    method = session.random.choice(["get", "PROPFIND", "CONNECT", "TRACE", "OPTIONS", "PATCH", "X" * 300, "G\xcbT", "PRI",
                                    "GET\t", "M-SEARCH", "", "FOO", "QUERY"])
    body = session.random.choice([b"", session.body()])
    session.send(session.head(method, None, [("Content-Length", len(body))] if body else []) + body)
    session.end()


def strange_version(session):
    version = session.random.choice(["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1.1 ", "http/1.1", "HTTP/11", "", "FTP/1.1"])
    session.send(session.head("GET", None, [], version) + session.random.choice([b"", b"\r\n\r\n"]))
    session.end()


def many_headers(session):
    count, size = session.random.choice([(30, 50), (90, 10), (120, 30), (500, 10), (3000, 20), (1, 9000), (10, 6000), (1, 70000)])
    session.send(session.head("GET", None, [("X-Many-%d" % i, "v" * size) for i in range(count)]))
    session.end()


def strange_headers(session):
    headers = session.random.choice([
        [("Content_Length", "7")], [("content-length_", "7")], [("CONTENT-LENGTH", "5"), ("Content_Length", "9")],
        [("Proxy", "http://evil.invalid")], [("X-A", "1"), ("X-A", "2"), ("X_A", "3"), ("x-a", "4")], [("X-Fold", "a\r\n b")],
        [("X-Nul", "a\0b")], [("X-Line", "a\nX-Other: b")], [("X-Return", "a\rb")], [("", "empty")], [("X Space", "a")],
        [("Host", "other.invalid")], [("X-Latin", "\xe9\xff")], [("Cookie", "a=%s" % i) for i in range(20)],
        [("Connection", "close, X-Token, Content-Length")], [("Connection", "Upgrade"), ("Upgrade", "h2c, websocket")],
        [("Range", "bytes=0-5,-1,9-")], [("If-Modified-Since", "never")], [("If-None-Match", "*")], [("TE", "trailers")],
        [("Accept-Encoding", "gzip;q=\xff")], [("Script-Name", "/x"), ("Path-Info", "/y"), ("Remote-User", "root")],
        [("X-Check", "".join(chr(c) for c in range(32, 256)))], [("Status", "500"), ("Location", "/x")],
        [("Authorization", "Basic !!!")], [("X-Sendfile", "/etc/passwd"), ("X-Accel-Redirect", "/app/echo")]])
    with_body = session.random.random() < 0.5
    if with_body:
        headers = headers + [("Content-Length", "5")]
    session.send(session.head("POST" if with_body else "GET", None, headers) + (b"hello" if with_body else b""))
    session.end()


def no_http_at_all(session):
    data = session.random.choice([session.random.randbytes(200), session.smuggled("S", ("fastcgi", "scgi", "fastcgi-end")), b"\r\n" * 100, b"\x16\x03\x01\x02\x00" * 20,
                                  b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET\r\n\r\n", b"GET /app/echo\r\n"])
    session.send(data)
    session.end()


WAYS = [abort_in_the_head, abort_in_the_body, abort_in_the_body, abort_in_the_response, abort_in_the_response,
        abort_in_the_response, abort_and_never_listen, stall_while_sending, stall_while_reading, length_too_long,
        length_too_short, request_behind_a_short_length, request_in_the_body, request_in_the_body,
        request_in_the_body_and_an_abort, chunks_end_early, chunks_lie, chunks_and_a_length, strange_transfer_encoding, http_1_0,
        pipelined, expects, body_where_none_is_usual, strange_length, two_lengths, strange_uri, strange_method, strange_version,
        many_headers, strange_headers, no_http_at_all]


# -------------------------------------------------------------------------------
# The journal: what reached the application


class Journal:
    """of: a site. What the application noted, against what was sent."""

    def __init__(self, site):
        self.calls, self.bodies, self.ended, self.begun = collections.Counter(), [], set(), {}
        self.unnoticed = []
        try:
            with open(os.path.join(site.notes, "journal"), encoding="latin-1") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            kind, token, *rest = line.split(" ")
            if kind == "call":
                self.calls[token] += 1
                self.begun[token] = rest
            elif kind == "body":
                self.bodies.append((token, *rest))
            elif kind == "unnoticed":
                self.unnoticed.append(token)

    def check(self, well_formed, forbidden):
        """Complaints."""
        found = ["the application was called with %s, which was in a body" % token for token in self.calls if token in forbidden]
        found += ["nobody sent %s" % token for token in self.calls if token != "none" and token.encode() not in tokens]
        found += ["%s %s was called %d times" % (self.begun[token][0], token, count)
                  for token, count in self.calls.items() if count > 1 and token != "none"]
        found += ["%r was not called" % request for request in well_formed.values() if not self.calls[request.token]]
        found += ["the application never learned that the client of %s had left" % token for token in self.unnoticed]
        for token, length, count, digest, size in self.bodies:
            reason = self.body_complaint(well_formed.get(token), length, int(count), digest, int(size))
            if reason:
                found.append("%s of %s" % (reason, well_formed.get(token, token)))
        return found

    @staticmethod
    def body_complaint(request, length, count, digest, size):
        """length: CONTENT_LENGTH, or -. count: bytes that the application read, asking for size (-1: all)."""
        if length != "-":
            announced = int(length)
            if count > announced:
                return "%d bytes were read of %d" % (count, announced)
            if count < (announced if size < 0 else min(size, announced)):
                return "a short body, %d bytes instead of %d, passed for the whole one" % (count, announced)
        if request is None:
            return None
        whole = request.body if size < 0 else request.body[:size]
        if (count, digest) != (len(whole), hashlib.sha256(whole).hexdigest()):
            return "%d bytes, not the %d that were sent, were the body" % (count, len(whole))
        if length != "-" and int(length) != len(request.body):
            return "CONTENT_LENGTH %s instead of %d" % (length, len(request.body))
        return None


# -------------------------------------------------------------------------------
# A round


class Round(Torment):
    """So many requests, half of them well-formed, through one front."""
    name = "hostile clients"

    def __init__(self, kind, variant, requests, seed):
        super().__init__("%s %s %s" % (seed, kind.name, variant))
        self.kind, self.variant, self.left = kind, variant, collections.Counter()
        self.wanted = requests
        self.aborted = self.mixed = self.held = 0
        self.well_formed, self.forbidden = {}, set()
        self.until = lambda: False

    def run(self, until):
        site = self.site = tormented(self.kind, self.variant)
        with open(os.path.join(site.notes, "file"), "rb") as file:
            self.file = file.read()
        try:
            self.send(min(int(self.wanted * WARM_UP), MOST_TO_WARM_UP))
            before = {pid: Level(pid, site.notes) for pid in host_pids(site)}
            self.until = until
            self.send(self.wanted - self.inputs - self.requests)
            self.check_levels(before)
            for complaint in Journal(site).check(self.well_formed, self.forbidden):
                self.note(complaint)
        finally:
            self.stop()

    def send(self, requests):
        """So many, or as many as there is time for."""
        self.left = collections.Counter(good=requests // 2, hostile=requests - requests // 2)
        self.in_threads([self.be_good] * GOOD_CLIENTS + [self.be_hostile] * HOSTILE_CLIENTS)

    def take(self, what):
        with self.lock:
            self.left[what] -= 1
            return self.left[what] >= 0 and not self.until()

    # Well-formed ones.

    def be_good(self, random):
        client, uses = None, 0
        while self.take("good"):
            if client is None:
                client, uses = http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=process.deadline(60)), 0
            request = WellFormed(random, self.site)
            with self.lock:
                self.well_formed[request.token] = request
            is_last = self.ask(client, request, uses)
            uses += 1
            if is_last or random.random() < 0.2:
                client.close()
                client = None
        if client is not None:
            client.close()

    def ask(self, client, request, uses):
        """Must the connection be closed?"""
        self.count(requests=1)
        begun = time.monotonic()
        try:
            request.send(client)
            response = client.getresponse()
            body = response.read()
            request.check(response, body, self.file)
            self.check_leak({request.token.encode()}, repr(response.getheaders()).encode() + (b"" if body == self.file else body))
            return response.will_close
        except (OSError, ValueError, AssertionError, http.client.HTTPException, Found) as error:
            self.count(lost=1)
            self.note("%r, number %d of its connection, after %.1f s: %s: %s" % (request, uses + 1, time.monotonic() - begun,
                                                                         type(error).__name__, error))
            return True

    # Hostile ones.

    def be_hostile(self, random):
        while self.take("hostile"):
            session = Session(self.site, random)
            self.count(inputs=1)
            way = random.choice(WAYS)
            try:
                session.connect(4096 if way is stall_while_reading else None)
                way(session)
            except OSError:
                pass  # the front may close, or let it wait, at any moment
            finally:
                session.socket.close()
            self.check_leak(session.own, session.received, way.__name__)
            with self.lock:
                self.forbidden |= session.forbidden
                self.aborted += session.is_aborted

    def check_leak(self, own, answer, who="a well-formed request"):
        for token in TOKEN.findall(answer):
            if token in tokens and token not in own:
                self.count(mixed=1)
                self.note("the answer to %s has another request's token: %r" % (who, token))

    # Afterwards.

    def check_levels(self, before):
        """What they hold must be as before within some seconds, as a front may still be telling that clients have left."""
        complaints = []
        for pid in host_pids(self.site):
            complaints = []
            try:
                process.wait_until(lambda: not self.complaints_of(pid, before.get(pid), complaints), "", SECONDS_TO_LEVEL)
            except AssertionError:
                self.count(held=len(complaints))
                for complaint in complaints:
                    self.note("process %d: %s" % (pid, complaint))
        if os.listdir(os.path.join(self.site.notes, "temporary")):
            self.note("temporary files were left")
        self.check_status()

    def complaints_of(self, pid, before, complaints):
        complaints.clear()
        try:
            now = Level(pid, self.site.notes)
        except (FileNotFoundError, ProcessLookupError, TypeError):
            return complaints  # it has retired
        if now.temporary:
            complaints.append("temporary files: %r" % now.temporary)
        if before is None or self.variant == "retire":
            return complaints
        if now.others > before.others:
            complaints.append("%d descriptors, %d before" % (now.others, before.others))
        if now.sockets > before.sockets and not self.kind.keeps_connections:
            complaints.append("%d sockets, %d before" % (now.sockets, before.sockets))
        if now.threads > before.threads:
            complaints.append("%d threads, %d before" % (now.threads, before.threads))
        if now.memory > before.memory + MEMORY_BYTES and not process.SAN:
            complaints.append("%.1f MiB, %.1f before" % (now.memory / 2 ** 20, before.memory / 2 ** 20))
        return complaints

    def check_status(self):
        """Nothing runs, whatever connections a front keeps."""
        if self.site.host is None or self.site.is_managed:
            return

        def is_idle():
            done = run("--status", "--format", "json", "-l", self.site.host.listen[0])
            found = fronts.message.json.loads(done.stdout)
            return found["requests"]["in_flight"] == found["requests"]["waiting"] == found["threads"]["busy"] == 0
        process.wait_until(is_idle, "no request to be in flight", SECONDS_TO_LEVEL)

    def stop(self):
        site, begun = self.site, time.monotonic()
        complaints, log = site.stop(), site.take_log()
        for complaint in complaints + log_complaints(log):
            self.note(complaint)
        if os.environ.get("KEEP") and self.found:
            open("%s/%s-%s.log" % (os.environ["KEEP"], self.kind.name, self.variant), "w", encoding="utf-8").write(log)
            fronts.shutil.copy(site.notes + "/journal", "%s/%s-%s.journal" % (os.environ["KEEP"], self.kind.name, self.variant))
        seconds = time.monotonic() - begun
        if seconds > process.deadline(STOP_SECONDS):
            self.note("the stop took %.1f s" % seconds)
        site.clean_up()
        fronts.shutil.rmtree(site.notes, ignore_errors=True)


class Clients(Torment):
    """For each round of `make torture` one front that is installed, and one variant of the host behind it."""
    name = "clients"

    def run(self, until):
        """until is asked for the time that is left; a site's start and its checks take some of it."""
        for kind in self.random.sample(FRONTS, len(FRONTS)):
            one = Round(kind, self.random.choice(list(VARIANTS)), 10 ** 9, self.random.random())
            try:
                one.run(until)
            except fronts.pytest.skip.Exception:
                continue
            finally:
                self.count(inputs=one.inputs, requests=one.requests, lost=one.lost)
                for text in one.found:
                    self.note("%s, %s: %s" % (kind.name, one.variant, text))
            return


def run_front(kind, requests, seed):
    """A round for each variant. Raises what pytest does where the front is not installed."""
    rounds = [Round(kind, variant, requests // len(VARIANTS), seed) for variant in VARIANTS]
    for one in rounds:
        try:
            one.run(lambda: False)
        except Exception as error:
            one.note("%s: %s" % (type(error).__name__, error))
        for text in one.found[:20]:
            print("%s, %s: FOUND: %s" % (kind.name, one.variant, text), flush=True)
        if len(one.found) > 20:
            print("%s, %s: … and %d more" % (kind.name, one.variant, len(one.found) - 20), flush=True)
    return rounds


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=10000, help="through each front")
    parser.add_argument("--fronts", help="their names, or parts of these, with commas between")
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    process.adopt_orphans()
    words = options.fronts.lower().split(",") if options.fronts else [""]
    print("%d requests through each front, seed %s" % (options.requests, options.seed))
    print("| front | hostile sessions | aborted by them | well-formed requests | lost | mixed | held afterwards | found |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    is_bad = False
    for kind in FRONTS:
        if not any(word in kind.name for word in words):
            continue
        try:
            rounds = run_front(kind, options.requests, options.seed)
        except fronts.pytest.skip.Exception as reason:
            print("| %s | %s | | | | | | |" % (kind.name, reason), flush=True)
            continue
        found = sum(len(one.found) for one in rounds)
        is_bad |= found > 0
        figures = [sum(getattr(one, name) for one in rounds)
                   for name in ("inputs", "aborted", "requests", "lost", "mixed", "held")]
        print("| %s | %s |" % (kind.name, " | ".join("{:,}".format(figure) for figure in figures + [found])), flush=True)
    return 1 if is_bad else 0


if __name__ == "__main__":
    sys.exit(main())
