"""The application under torture: what it answers shows whose request it was and that nothing of it is lost.

/echo?token=T: "T PID\\n" and the body; ROUTES has the others, which answer in other ways. /fail: raises.
In the folder FOLDER it notes each load, each cleanup and each body shorter than announced; with JOURNAL, each call and each body that it has read, too."""
import hashlib
import io
import os
import re
import time
import urllib.parse

import fcgihost

FOLDER = os.environ["FOLDER"]
LARGE = b"0123456789abcdef" * (3 << 16)
JOURNAL = None
if os.environ.get("JOURNAL"):
    JOURNAL = os.open(os.path.join(FOLDER, "journal"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
ENDLESS_PIECES = 4000  # each takes 2 ms: who has not noticed by then that the client has left never does


def note(name):
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write("%d\n" % os.getpid())


def journal(*words):
    """A line in one write: whole, whoever else writes."""
    if JOURNAL is not None:
        os.write(JOURNAL, (" ".join(map(str, words)) + "\n").encode("latin-1", "replace"))


note("loads")


@fcgihost.register_cleanup
def clean_up():
    note("cleanups")


class Announced(Exception):
    """What is raised on purpose, or as the peer deserves it."""


class Call:
    def __init__(self, environ):
        self.environ, self.query = environ, urllib.parse.parse_qs(environ["QUERY_STRING"])
        self.token = self.asked("token", "none")
        self.id = re.sub("[^A-Za-z0-9-]", "", self.token)[:40] or "none"
        self.head = ("%s %d\n" % (self.token, os.getpid())).encode("latin-1", "replace")
        journal("call", self.id, re.sub(r"\s", "_", environ["REQUEST_METHOD"]), self.length)

    @property
    def length(self):
        return self.environ.get("CONTENT_LENGTH") or "-"

    def asked(self, name, default):
        return self.query.get(name, [default])[0]

    def read(self, size=-1):
        body = self.environ["wsgi.input"]
        try:
            if self.environ["PATH_INFO"].endswith("lines"):
                found = b"".join(body)
            else:
                found = body.read(size)
        except OSError as error:  # the peer left
            journal("cut", self.id, self.length)
            raise Announced(str(error)) from None
        if size < 0 and len(found) < int(self.environ.get("CONTENT_LENGTH") or 0):
            note("short-bodies")
        journal("body", self.id, self.length, len(found), hashlib.sha256(found).hexdigest(), size)
        return found

    def headers(self, length=None):
        found = [("Content-Type", "application/octet-stream"), ("X-Token", self.id)]
        if "HTTP_X_CHECK" in self.environ:
            found.append(("X-Check", re.sub("[^ -~]", "", self.environ["HTTP_X_CHECK"])))
        return found + ([("Content-Length", str(length))] if length is not None else [])


def pieces_of(answer, size, pause=0):
    for at in range(0, len(answer), size):
        yield answer[at:at + size]
        if pause:
            time.sleep(pause)


def echo(call, start_response):
    answer = call.head + call.read()
    start_response("200 OK", call.headers(len(answer)))
    return [answer]


def late(call, start_response):
    time.sleep(0.02)
    return echo(call, start_response)


def stream(call, start_response):
    answer = call.head + call.read()
    start_response("200 OK", call.headers())
    return pieces_of(answer, 1000)


def slow(call, start_response):
    answer = call.head + call.read()
    start_response("200 OK", call.headers())
    return pieces_of(answer, len(answer) // 5 + 1, 0.005)


def large(call, start_response):
    answer = call.head + call.read() + LARGE
    start_response("200 OK", call.headers(len(answer)))
    return [answer]


def wrapped(call, start_response):
    """The same, of what looks like a file."""
    answer, = large(call, start_response)
    return call.environ["wsgi.file_wrapper"](io.BytesIO(answer), 65536)


def fail(call, start_response):
    raise Announced(call.environ["PATH_INFO"])


def send_file(call, start_response):
    call.read()
    file = open(os.path.join(FOLDER, "file"), "rb")
    start_response("200 OK", call.headers(os.fstat(file.fileno()).st_size))
    return call.environ["wsgi.file_wrapper"](file, 65536)


def empty(call, start_response):
    call.read()
    start_response(call.asked("status", "204") + " Empty", call.headers())
    return []


def redirect(call, start_response):
    call.read()
    start_response("303 See Other", call.headers() + [("Location", "/elsewhere")])
    return [call.head]


def ignore(call, start_response):
    start_response("200 OK", call.headers(len(call.head)))
    return [call.head]


def half(call, start_response):
    """As much of the body as ?size= says."""
    answer = call.head + call.read(int(call.asked("size", "10")))
    start_response("200 OK", call.headers(len(answer)))
    return [answer]


def early(call, start_response):
    """Answers, and only then reads: with [application] stream some web servers send nothing more then."""
    write = start_response("200 OK", call.headers())
    write(call.head + b"x" * 1000)
    try:
        call.read()
    except Announced:
        pass
    return []


def headers(call, start_response):
    call.read()
    start_response("200 OK", call.headers(len(call.head)) + [("X-Big-%d" % i, "v" * 100) for i in range(20)])
    return [call.head]


def endless(call, start_response):
    """Until the client has left."""
    start_response("200 OK", call.headers())
    return produce(call)


def produce(call):
    yield call.head
    try:
        for _ in range(ENDLESS_PIECES):
            yield b"x" * 16384
            time.sleep(0.002)
        journal("unnoticed", call.id)
    finally:
        journal("closed", call.id)


ROUTES = {"echo": echo, "late": late, "stream": stream, "slow": slow, "large": large, "wrapped": wrapped, "fail": fail,
          "file": send_file, "empty": empty, "redirect": redirect, "ignore": ignore, "half": half, "early": early,
          "headers": headers, "endless": endless}


def application(environ, start_response):
    name = environ["PATH_INFO"].lstrip("/").split("/")[0]
    return ROUTES.get(name, echo)(Call(environ), start_response)
