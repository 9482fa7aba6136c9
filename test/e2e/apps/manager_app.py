"""An application whose answers say which process and which version of the code gave them. In the folder FOLDER it finds
its version (the file `version`), and whether it is broken (`broken`), crashes (`crash`) or takes long (`slow`) while it
is loaded; there it notes what it does."""
import ctypes
import os
import threading
import time

import fcgihost
from routes import answer, query

FOLDER = os.environ["FOLDER"]
kept = []


def in_folder(name):
    return os.path.join(FOLDER, name)


def note(name, line):
    """Appends a line, in one write."""
    with open(in_folder(name), "a") as file:
        file.write(line + "\n")


def read(name, default):
    try:
        with open(in_folder(name)) as file:
            return file.read().strip()
    except FileNotFoundError:
        return default


note("loads", str(os.getpid()))
while os.path.exists(in_folder("slow")):
    time.sleep(0.01)
if os.path.exists(in_folder("crash")):
    os.kill(os.getpid(), 9)
if os.path.exists(in_folder("broken")):
    raise RuntimeError("announced: broken at import")
VERSION = read("version", "1")
fcgihost.register_cleanup(lambda: note("cleanups", str(os.getpid())))


def echo(environ, start_response):
    """The token, the process and the version in a line, then the body."""
    body = environ["wsgi.input"].read()
    token = query(environ, "token")
    if os.path.exists(in_folder("note-requests")):
        note("journal", "%s %d" % (token, os.getpid()))
    head = "%s %d %s\n" % (token, os.getpid(), VERSION)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [head.encode(), body]


def wait(environ, start_response):
    """Until the file `go` is there."""
    note("waiting", "%s %d" % (query(environ, "token"), os.getpid()))
    end = time.monotonic() + 100
    while not os.path.exists(in_folder("go")) and time.monotonic() < end:
        time.sleep(0.01)
    return answer(start_response, "waited %d" % os.getpid())


def sleep_in_python():
    time.sleep(300)


def wait_for_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def sleep_in_c_without_gil():
    libc = ctypes.CDLL(None)
    end = time.monotonic() + 300
    while time.monotonic() < end:
        libc.sleep(300)


def sleep_in_c_with_gil():
    ctypes.PyDLL(None).sleep(300)


WAYS = {"python": sleep_in_python, "lock": wait_for_lock, "c": sleep_in_c_without_gil, "gil": sleep_in_c_with_gil}


def stuck(environ, start_response):
    note("waiting", "stuck %d" % os.getpid())
    WAYS[query(environ, "way")]()
    return answer(start_response, "not stuck")


def allocate(environ, start_response):
    kept.append(os.urandom(1 << 20) * int(query(environ, "mib")))
    return answer(start_response, "%d" % os.getpid())


def leave(environ, start_response):
    os._exit(3)


def restart(environ, start_response):
    fcgihost.restart()
    return answer(start_response, "%d" % os.getpid())


def whoami(environ, start_response):
    return answer(start_response, "%d %s" % (os.getpid(), VERSION))


ROUTES = {"/echo": echo, "/wait": wait, "/stuck": stuck, "/allocate": allocate, "/restart": restart, "/leave": leave}


def application(environ, start_response):
    return ROUTES.get(environ["PATH_INFO"], whoami)(environ, start_response)
