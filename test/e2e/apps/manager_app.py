"""An application whose answers say which process and which version of the code gave them. In the folder FOLDER it finds
its version (the file `version`), and whether it is broken (`broken`), crashes (`crash`) or takes long (`slow`) while it
is loaded; there it notes what it does."""
import array
import ctypes
import os
import socket
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


def babble(environ, start_response):
    """Sends messages that make no sense, some with descriptors, to whoever is at the other end of a socket that keeps
    messages apart: the manager. Answers with how many."""
    sent = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            channel = socket.socket(fileno=os.dup(int(number)))
        except OSError:
            continue
        with channel:
            if (channel.family, channel.type & 0xf) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
                continue
            for size in [1, 3, 4, 5, 8, 20, 100, 4096, 30000] * 30 + [0]:
                kind = (sent % 40).to_bytes(4, "little")
                pieces = [(kind + os.urandom(size))[:size]]
                descriptors = [0, 1, 2] * (sent % 4)
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
                try:
                    sent += channel.sendmsg(pieces, ancillary) >= 0
                except BlockingIOError:
                    time.sleep(0.01)
                except ConnectionError:
                    break
    return answer(start_response, str(sent))


ROUTES = {"/echo": echo, "/wait": wait, "/stuck": stuck, "/allocate": allocate, "/restart": restart, "/leave": leave,
          "/babble": babble}


def application(environ, start_response):
    return ROUTES.get(environ["PATH_INFO"], whoami)(environ, start_response)
