"""What the edited files of changes.py have in common; it is itself never edited.

An answer: "TOKEN PID NAME VERSION PART CONFIG\\n", the body, "\\nVERSION PART". The last two are looked up when the
body has been sent. What loads and cleanups do is noted in the file FOLDER/notes, a line for each."""
import concurrent.futures
import itertools
import os
import queue
import threading
import urllib.parse

import fcgihost

FOLDER = os.environ["FOLDER"]
LATE_ERRORS = (OSError, ValueError, RuntimeError)  # what may come of objects that outlive their request
numbers = itertools.count()


def note(*words):
    descriptor = os.open(os.path.join(FOLDER, "notes"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(descriptor)


def new_name(prefix):
    """Of something that happens once: no two processes have the same, nor one that has executed itself anew."""
    return "%s-%d-%d-%s" % (prefix, os.getpid(), next(numbers), os.urandom(6).hex())


class Announced(Exception):
    """What is raised on purpose, or as the peer deserves it."""


class Load:
    """One load of one file: whom it serves, and its one cleanup."""

    def __init__(self, name, version, get_part=None):
        """get_part: returns the module that is edited with the file; of another version, it can't be loaded."""
        self.name, self.version, self.get_part = name, version, get_part
        self.key = new_name("%s/%d" % (name, version))
        self.mutex = threading.Lock()
        self.active = self.registered = self.ran = 0
        fcgihost.register_cleanup(self.clean_up)
        note("load", os.getpid(), self.key)
        if get_part is not None and get_part().VERSION != version:
            raise Announced("half of an edit")

    def count(self, **more):
        with self.mutex:
            for name, number in more.items():
                setattr(self, name, getattr(self, name) + number)

    def clean_up(self):
        note("cleanup", os.getpid(), self.key, self.active, self.registered - self.ran)

    # - requests

    def application(self, environ, start_response):
        self.count(active=1)
        try:
            return Body(self, self.answer(environ, start_response))
        except BaseException:
            self.count(active=-1)
            raise

    def answer(self, environ, start_response):
        self.register_on_request(fcgihost.request())
        way = ROUTES[environ["PATH_INFO"].rsplit("/", 1)[1]]
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return way(self, environ)

    def register_on_request(self, request):
        self.count(registered=1)
        request.register_cleanup(self.count, ran=1)

    def head(self, environ):
        token = urllib.parse.parse_qs(environ["QUERY_STRING"])["token"][0]
        return ("%s %d %s %d %d %s\n" % (token, os.getpid(), self.name, self.version, self.get_part().VERSION,
                                         os.environ.get("CONFIG", "0"))).encode()

    def tail(self):
        return b"\n%d %d" % (self.version, self.get_part().VERSION)


class Body:
    """close() is called once the server is done with it."""

    def __init__(self, load, parts):
        self.load, self.parts = load, parts

    def __iter__(self):
        return iter(self.parts)

    def close(self):
        self.parts.close()
        self.load.count(active=-1)


def read_part(body):
    try:
        return body.read(8000)
    except OSError as error:  # the peer left
        raise Announced(str(error)) from None


def plain(load, environ):
    parts = [load.head(environ)]
    parts += iter(lambda: read_part(environ["wsgi.input"]), b"")
    yield b"".join(parts) + load.tail()


def stream(load, environ):
    yield load.head(environ)
    yield from iter(lambda: read_part(environ["wsgi.input"]), b"")
    yield load.tail()


def threads(load, environ):
    """One thread reads and logs while the request's own writes."""
    parts, request = queue.Queue(), fcgihost.request()

    def read():
        try:
            load.register_on_request(request)
            for part in iter(lambda: read_part(environ["wsgi.input"]), b""):
                parts.put(part)
            environ["wsgi.errors"].write("read by a thread\n")
            parts.put(b"")
        except BaseException as error:
            parts.put(error)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield load.head(environ)
        while True:
            part = parts.get()
            if isinstance(part, BaseException):
                raise part
            if part == b"":
                break
            yield part
    finally:
        reader.join()
    yield load.tail()


def futures(load, environ):
    """An executor of its own: its threads read, log, and ask whom they serve."""
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        head = executor.submit(load.head, environ)
        body = executor.submit(lambda: b"".join(iter(lambda: read_part(environ["wsgi.input"]), b"")))
        others = [executor.submit(work) for work in (fcgihost.request, lambda: print("printed by an executor"),
                                                     lambda: fcgihost.process.requests and None)]
        yield head.result()
        yield body.result()
        if any(other.result() is not None for other in others):
            note("wrong", "an executor's thread serves a request")
    yield load.tail()


def late(load, environ):
    """A thread goes on after the request has ended."""
    ended = threading.Event()
    threading.Thread(target=use_late, args=(load, environ, fcgihost.request(), ended), daemon=True).start()
    try:
        yield from stream(load, environ)
    finally:
        ended.set()


def use_late(load, environ, request, ended):
    ended.wait()
    for use in (lambda: environ["wsgi.input"].read(10), lambda: environ["wsgi.errors"].write("late\n"),
                lambda: environ["wsgi.errors"].flush(), lambda: print("late"), lambda: load.get_part().VERSION,
                lambda: request.is_client_gone, lambda: request.log("late"), lambda: repr(fcgihost.process),
                register_on_process):
        try:
            use()
        except LATE_ERRORS:
            pass
        except BaseException as error:
            note("wrong", "a late thread got", type(error).__name__, error)
    if fcgihost.request() is not None:
        note("wrong", "a late thread serves a request")


def register_on_process():
    """A thread has no file that is being loaded: its cleanup belongs to the process."""
    key = new_name("late")
    fcgihost.register_cleanup(note, "cleanup", os.getpid(), key, 0, 0)
    note("load", os.getpid(), key)


def spin(load, environ):
    """Until [limits] request_time ends it."""
    while True:
        sum(range(100))
    yield b""


def restart(load, environ):
    fcgihost.restart()
    yield from plain(load, environ)


def fail(load, environ):
    yield load.head(environ)
    raise Announced("announced")


ROUTES = {"plain": plain, "stream": stream, "threads": threads, "futures": futures, "late": late, "spin": spin,
          "restart": restart, "fail": fail}
