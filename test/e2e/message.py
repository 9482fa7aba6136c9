"""What requests and responses have in common, whichever protocol carries them."""
import json
import select
import socket
import urllib.parse

from process import deadline


class Response:
    """A status, headers in their order, a body. ended: the protocol said that it was whole."""

    def __init__(self, status, headers, body, reason="", ended=True, stderr=b"", app_status=None,
                 protocol_status=None):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body
        self.ended, self.stderr = ended, stderr
        self.app_status, self.protocol_status = app_status, protocol_status

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        return values[-1] if values else None

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "<Response %s %r %d bytes: %r>" % (self.status, self.headers, len(self.body),
                                                  self.body[:300])


def parse_cgi(raw, **more):
    """A CGI response, as FastCGI and SCGI carry it. Raises ValueError if it is none."""
    head, separator, body = raw.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError("no end of the headers in %r" % raw[:300])
    status, reason, headers = 200, "", []
    for line in head.split(b"\r\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise ValueError("a header line without a colon: %r" % line)
        if name.lower() == "status":
            number, _, reason = value.strip().partition(" ")
            status = int(number)
        else:
            headers.append((name, value.strip()))
    return Response(status, headers, body, reason, **more)


def parameters(method="GET", path="/", body=b"", headers=(), extra=None, script_name=""):
    """What a web server sends for a request. path: as in the URL, with its query. extra: overrides;
    a value None drops the parameter."""
    raw, _, query = path.partition("?")
    found = {
        "CONTENT_LENGTH": str(len(body)) if body or method in ("POST", "PUT") else "",
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": "application/octet-stream" if body else "",
        "SCRIPT_NAME": script_name,
        "PATH_INFO": urllib.parse.unquote(raw, "latin-1"),
        "REQUEST_URI": script_name + path,
        "DOCUMENT_URI": script_name + urllib.parse.unquote(raw, "latin-1"),
        "DOCUMENT_ROOT": "/usr/share/nginx/html",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "test/1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "40000",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_NAME": "localhost",
        "HTTP_HOST": "localhost",
    }
    for name, value in headers:
        found["HTTP_" + name.upper().replace("-", "_")] = value
    found.update(extra or {})
    return [(name, value) for name, value in found.items() if value is not None]


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


class Connection:
    """A socket towards the host. address: a path, or (host, port)."""
    alive = []  # closed after each test, whatever happened

    def __init__(self, address, seconds=60, receive_buffer=None):
        family = socket.AF_UNIX if isinstance(address, str) else \
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(deadline(seconds))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.pending = b""
        Connection.alive.append(self)
        try:
            self.socket.connect(address)
        except OSError:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self.socket.close()
        if self in Connection.alive:
            Connection.alive.remove(self)

    def receive(self, size=65536):
        """Some bytes, b"" at the end (a reset counts as the end)."""
        if self.pending:
            data, self.pending = self.pending[:size], self.pending[size:]
            return data
        try:
            return self.socket.recv(size)
        except ConnectionError:
            return b""

    def can_receive(self):
        """Is there something to receive, or the end, at this moment?"""
        return bool(self.pending) or bool(select.select([self.socket], [], [], 0)[0])

    def receive_exactly(self, size):
        """size bytes, or fewer if the peer ended before."""
        parts, missing = [], size
        while missing:
            data = self.receive(missing)
            if not data:
                break
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def receive_all(self):
        parts = []
        while True:
            data = self.receive()
            if not data:
                return b"".join(parts)
            parts.append(data)

    def is_closed_by_peer(self):
        """Waits for the end of the connection; False if bytes come instead, TimeoutError if
        neither does."""
        return self.receive(1) == b""
