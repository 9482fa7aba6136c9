"""What hostile HTTP clients do to a web server: each of WAYS is one session of one of them."""
import socket
import time

from torment import fastcgi, new_token, process, random_body, scgi


class Session:
    """One connection of a hostile client. own: tokens that its answers may hold. forbidden: those of what is no request,
    as it is in a body whose length nobody can mistake, or speaks another protocol. unfinished: those whose body never came
    whole: no application may be told that it did."""

    def __init__(self, site, random):
        self.site, self.random, self.own, self.forbidden, self.unfinished = site, random, set(), set(), set()
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
        if self.random.random() < 0.6:  # then nobody has to wait for the end
            lines.append("Connection: close")
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
    session.unfinished |= session.own
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
    head = session.head("POST", None, [("Content-Length", len(body) + more)])
    session.unfinished |= session.own
    session.send(head + body)
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
    cut = session.random.choice([len(data), session.random.randrange(len(data) - 10)])
    head = session.head("POST", None, CHUNKED)
    if cut < len(data) or data.endswith(b"ab"):
        session.unfinished |= session.own
    session.send(head + data[:cut])
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
