"""What every torment shares: what it counts, a running host, well-formed requests whose answers are checked."""
import os
import random
import socket
import string
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

import fastcgi  # noqa: E402
import process  # noqa: E402
import scgi  # noqa: E402
from host import BAD_LINE, Host, base_settings, merged, temporary_folder  # noqa: E402,F401

SOURCE = "".join(chr(number) for number in range(32, 127))


class Found(Exception):
    """The host did what it never may: what, and where to look."""


class Torment:
    """One kind of torture. Its counts are totals over all rounds; threads add to them through count()."""
    name = "?"
    is_sanitized = True  # can run against a build with sanitizers

    def __init__(self, seed):
        self.random = random.Random("%s %s" % (seed, self.name))
        self.lock = threading.Lock()
        self.inputs = self.faults = self.requests = self.lost = 0
        self.found = []

    def count(self, **more):
        with self.lock:
            for name, number in more.items():
                setattr(self, name, getattr(self, name) + number)

    def note(self, text):
        """Something was found: keeps on, so that one fault does not hide the next."""
        with self.lock:
            self.found.append(text)

    def run(self, until):
        """Torments for as long as until() is false, at least once."""
        raise NotImplementedError

    def in_threads(self, functions):
        """Calls each in a thread of its own, with a random generator of its own; what one raises is found."""
        def call(function, seed):
            try:
                function(random.Random(seed))
            except Exception as error:
                self.note("%s: %s: %s" % (function.__name__, type(error).__name__, error))
        threads = [threading.Thread(target=call, args=(function, self.random.random())) for function in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class TormentedHost(Host):
    """A host of test/torture/app.py. More settings and options as Host has them."""

    def __init__(self, settings=None, environ=None, **more):
        self.notes = temporary_folder()
        os.chmod(self.notes, 0o777)  # for a host that becomes another user
        path = {"python": {"path": [HERE]}, "application": {"mount": "/"}}
        super().__init__("app:application", merged(path, settings), watched=False,
                         environ=dict(environ or {}, FOLDER=self.notes), **more)

    def noted(self, name):
        """The pids of processes that have noted this: loads, cleanups."""
        try:
            with open(os.path.join(self.notes, name)) as file:
                return [int(line) for line in file]
        except FileNotFoundError:
            return []

    def complaints(self):
        return log_complaints(self.take_log())


def log_complaints(text):
    """What a log must not say: a traceback that the application did not raise on purpose, and reports."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if BAD_LINE.search(line):
            block = "\n".join(lines[max(number - 1, 0):number + 60])
            if "Announced: " not in block:
                return ["in the log:\n" + block]
    return []


tokens = set()  # all that were ever issued
tokens_lock = threading.Lock()


def new_token(random, kind):
    token = "%s%d-%s" % (kind, random.randrange(10 ** 6), "".join(random.choices("0123456789abcdef", k=12)))
    with tokens_lock:
        tokens.add(token.encode())
    return token


def random_body(random):
    """Mostly none or short; now and then more than a socket's buffer, or than is kept in memory."""
    size = random.choice([0, 0, 1, 10, 1000, 8191, 8192, 8193, 70000, 300000])
    return random.randbytes(random.randint(0, size)) if size else b""


class Request:
    """A well-formed one: its bytes in either protocol, and what must come back."""

    def __init__(self, random, kind="W", body=None):
        self.token = new_token(random, kind)
        self.body = random_body(random) if body is None else body
        self.path = random.choice(["/echo", "/echo", "/stream", "/late", "/echo/lines", "/fail"])
        method = "POST" if self.body or random.random() < 0.3 else "GET"
        headers = [("X-%s" % "".join(random.choices(string.ascii_letters, k=8)),
                    "".join(random.choices(SOURCE, k=random.randrange(60)))) for _ in range(random.randrange(12))]
        arguments = (method, "%s?token=%s" % (self.path, self.token), self.body, headers)
        self.is_kept = random.random() < 0.5
        self.is_scgi = random.random() < 0.4
        if self.is_scgi:
            self.bytes = scgi.request_bytes(*arguments)
        else:
            # What records add to the parameters counts for [limits] request_head.
            chunk, padding = random.choice([(1, 0), (100, 255), (8184, 7), (65535, 0), (65535, 255)])
            self.bytes = fastcgi.request_bytes(*arguments, keep=self.is_kept, padding=padding,
                                               chunk=chunk if len(self.body) < 2000 else 65535)

    def connect(self, address):
        return (scgi if self.is_scgi else fastcgi).Connection(address, seconds=60)

    def read(self, connection):
        return connection.read_response()

    def check(self, response):
        """Raises Found if this is not the whole answer to this request."""
        if self.path == "/fail":
            if response.status != 500:
                raise Found("%d instead of the announced 500" % response.status)
            return
        if response.status != 200:
            raise Found("%d for a well-formed request: %r" % (response.status, response.body[:200]))
        head, _, rest = response.body.partition(b"\n")
        if head.split(b" ")[0] != self.token.encode():
            raise Found("another one's answer: %r instead of %s" % (head[:100], self.token))
        if rest != self.expected():
            raise Found("a body of %d bytes came back as %d, to %s over %s" %
                        (len(self.expected()), len(rest), self.path, "SCGI" if self.is_scgi else "FastCGI"))

    def expected(self):
        return self.body


def drop(connection):
    """Closes it, if there is one; for `connection = drop(connection)`."""
    if connection is not None:
        connection.close()


def send_in_pieces(connection, data, random):
    """All of it, cut where it may hurt. Raises OSError if the host has closed."""
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.choice([0, 0, 1, 2, 8])))
    for start, end in zip([0] + cuts, cuts + [len(data)]):
        if start < end:
            connection.send(data[start:end])
        if random.random() < 0.2:
            threading.Event().wait(random.random() * 0.003)


def reset(connection):
    """Closes with RST over TCP; over a Unix socket, without reading what has come."""
    if connection.socket.family != socket.AF_UNIX:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
