"""Requests that take too long, each in a way of its own."""
import ctypes
import os
import queue
import threading
import time

import fcgihost

never_released = threading.Lock()
never_released.acquire()
local = threading.local()
flags = {}


def spin(seconds):
    """In Python, so that it can be interrupted at any time."""
    end, turns = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turns += 1
    return turns


def log(environ, text):
    print("%s %s" % (environ["PATH_INFO"], text))  # also in cleanups, when wsgi.errors has gone


def loop(environ):
    try:
        spin(60)
    except Exception:
        log(environ, "except Exception")
    finally:
        log(environ, "finally")


def swallow(environ):
    try:
        spin(60)
    except BaseException as error:
        log(environ, "caught %s: %s" % (type(error).__name__, error))


def stubborn(environ):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            spin(60)
        except BaseException:
            log(environ, "goes on")


def near(environ):
    """/near/MILLISECONDS/NAME: ends at about that time."""
    time.sleep(int(environ["PATH_INFO"].split("/")[2]) / 1000)


def pool_wait(environ):
    with pool.lease():
        pass


def lock_wait(environ):
    with fcgihost.lock("held by another thread"):
        pass


pool = fcgihost.Pool(object, size=1)
lease = threading.Event()


def hold(environ):
    """Keeps the pool's only object and a lock, in a thread that nobody watches."""
    def keep():
        with pool.lease(), fcgihost.lock("held by another thread"):
            lease.set()
            fcgihost.stopping.wait()
    threading.Thread(target=keep, daemon=True).start()
    lease.wait()


def let_go(environ):
    """Has a thread that is no request's wedge the GIL."""
    def wedge():
        time.sleep(1)  # the response leaves first
        print("the GIL is wedged")
        ctypes.PyDLL(None).usleep(70 * 10**6)
    threading.Thread(target=wedge, daemon=True).start()


WAYS = {
    "loop": loop, "swallow": swallow, "stubborn": stubborn, "near": near, "pool": pool_wait, "lock": lock_wait,
    "hold": hold, "wedge": let_go,
    "sleep": lambda environ: time.sleep(60),
    "locked": lambda environ: never_released.acquire(),
    "c": lambda environ: ctypes.CDLL(None).usleep(60 * 10**6),
    "c-with-gil": lambda environ: ctypes.PyDLL(None).usleep(60 * 10**6),
    "read": lambda environ: log(environ, "read %d" % len(environ["wsgi.input"].read())),
    "whoami": lambda environ: None,
    "ready": lambda environ: None,
}


class Body:
    """A response that begins, and then spins in its iteration, its close() or both."""

    def __init__(self, environ, where):
        self.environ, self.where, self.is_begun = environ, where, False

    def __iter__(self):
        return self

    def __next__(self):
        if self.is_begun and self.where != "iteration":
            raise StopIteration
        if self.is_begun:
            spin(0.05)
        self.is_begun = True
        return b"x" * 10

    def close(self):
        try:
            if self.where == "close":
                spin(3)
            log(self.environ, "closed")
        except BaseException as error:
            log(self.environ, "close() was hit by %r" % error)


def forever(environ):
    """A generator that the client takes slowly, or not at all."""
    try:
        while True:
            yield b"x" * 65536
    except BaseException as error:
        log(environ, "generator %s" % type(error).__name__)
        raise


def queue_until(seconds):
    """A body whose iteration is all C code, which gives Python no chance to raise anything."""
    chunks = queue.SimpleQueue()
    chunks.put(b"begun")
    threading.Timer(seconds, chunks.put, [b""]).start()
    return iter(chunks.get, b"")


def clean_up(environ):
    try:
        spin(3)
        log(environ, "cleaned up")
    except BaseException as error:
        log(environ, "cleanup was hit by %r" % error)


def application(environ, start_response):
    way = environ["PATH_INFO"].split("/")[1]
    text = "%s by %d" % (environ["PATH_INFO"], os.getpid())
    if way in ("iteration", "close"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body(environ, way)
    if way == "queue":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return queue_until(0.9)
    if way == "forever":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return forever(environ)
    if way == "cleanup":
        fcgihost.request().register_cleanup(clean_up, environ)
    else:
        WAYS[way](environ)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]


def handler(req):
    if req.path_info == "/redirect":
        req.internal_redirect("/loop")
        return None
    WAYS[req.path_info.strip("/")](req.environ)
    req.write("%s by %d" % (req.path_info, os.getpid()))
    return None


def wait_for_client(req):
    """Spins until it is interrupted."""
    if req.path_info == "/ready":
        req.write("ready")
        return None
    if req.path_info == "/begun":
        req.write(b"begun")
        req.flush()
    req.log("begun %s" % req.query)
    try:
        spin(float(req.query or 60))
        req.write("not interrupted")
    except fcgihost.ClientGone as error:
        req.log("interrupted: %s" % error)
        raise
    return None
