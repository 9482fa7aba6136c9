"""An application for what happens to the process around it: cleanups, threads, ways to end."""
import atexit
import concurrent.futures
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import fcgihost
from routes import answer, query

ROUTES = {}
kept = []


def route(function):
    ROUTES["/" + function.__name__.replace("_", "-")] = function
    return function


def application(environ, start_response):
    found = ROUTES.get(environ["PATH_INFO"])
    if found is None:
        return answer(start_response, "no route", "404 Not Found")
    return found(environ, start_response)


def note(path, line):
    """Appends a line, in one write."""
    with open(path, "a") as file:
        file.write(line + "\n")


@route
def ready(environ, start_response):
    return answer(start_response, "ready")


@route
def whoami(environ, start_response):
    return answer(start_response, "token %s by %d" % (query(environ, "token"), os.getpid()))


# -------------------------------------------------------------------------------
# Ways to be in the way of the end


@route
def stop(environ, start_response):
    fcgihost.shutdown()
    return answer(start_response, "asked")


@route
def wait(environ, start_response):
    """Until the test makes the file `until`, in Python; then says so in the file `marker`."""
    note(query(environ, "marker"), "in flight")
    end = time.monotonic() + 100
    while not os.path.exists(query(environ, "until")) and time.monotonic() < end:
        time.sleep(0.01)
    return answer(start_response, "waited")


@route
def hold_gil(environ, start_response):
    """As an extension would that hangs: nobody can enter Python any more."""
    note(query(environ, "marker"), "in flight")
    ctypes.PyDLL(None).sleep(int(query(environ, "seconds", "30")))
    return answer(start_response, "held")


@route
def keep_thread(environ, start_response):
    """A thread that is no daemon (one that a worker starts is, unless it says so) and does not watch fcgihost.stopping."""
    threading.Thread(target=time.sleep, args=(100,), name="stubborn", daemon=False).start()
    return answer(start_response, "kept")


def work(seconds):
    time.sleep(seconds)
    return os.getpid()


def note_work(future):
    if not future.cancelled() and future.exception() is None:
        cleaned_up("work")


@route
def use_executor(environ, start_response):
    """One that nobody shuts down, idle or with work that takes so long."""
    global executor
    kind, seconds = query(environ, "kind"), float(query(environ, "busy", "0"))
    fork = multiprocessing.get_context("fork")
    if kind == "multiprocessing":
        executor = fork.Pool(2)
        executor.map(work, [0, 0])
        executor.map_async(work, [seconds])
    else:
        executor = (concurrent.futures.ThreadPoolExecutor(2) if kind == "threads" else
                    concurrent.futures.ProcessPoolExecutor(2, mp_context=fork))
        list(executor.map(work, [0, 0]))
        executor.submit(work, seconds).add_done_callback(note_work)
    return answer(start_response, "used")


@route
def signals(environ, start_response):
    """How often the handlers ran, and on which thread."""
    return answer(start_response, "%d %s" % (len(handled), set(handled) <= {"MainThread"}))


@route
def allocate(environ, start_response):
    """Beside the request, which might be cut off where that takes long, and in pieces, between which the GIL is free."""
    def grow(mib):
        while len(kept) < mib and not fcgihost.stopping.is_set():
            kept.append(bytearray(1 << 20))
    threading.Thread(target=grow, args=(int(query(environ, "mib")),), daemon=True).start()
    return answer(start_response, "allocates")


@route
def note_at_exit(environ, start_response):
    atexit.register(cleaned_up, "atexit")
    return answer(start_response, "registered")


@route
def child(environ, start_response):
    """A child of each kind, waited for."""
    kind = query(environ, "kind")
    if kind == "multiprocessing":
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0,))
        worker.start()
        worker.join()
        code = worker.exitcode
    elif kind == "subprocess":
        code = subprocess.call([sys.executable or "python3", "-c", "pass"],
                               stdin=subprocess.DEVNULL)
    else:
        pid = os.fork()
        if pid == 0:
            if kind == "exit":
                sys.exit(0)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return answer(start_response, "child ended with %d" % code)


def cleaned_up(name):
    note(os.environ["CLEANUPS"], "%s %d" % (name, os.getpid()))


def fail():
    cleaned_up("fail")
    raise ValueError("announced failure of a cleanup")


def hang():
    cleaned_up("hang")
    time.sleep(100)


def load():
    """A start-up import: what is registered runs the other way round."""
    fcgihost.register_cleanup(cleaned_up, "first")
    extra = {"fail": fail, "hang": hang}.get(os.environ.get("EXTRA_CLEANUP"))
    if extra:
        fcgihost.register_cleanup(extra)
    fcgihost.register_cleanup(cleaned_up, "last")


handled = []


def handle(number, frame):
    handled.append(threading.current_thread().name)


def handle_badly(number, frame):
    handle(number, frame)
    raise {signal.SIGVTALRM: SystemExit, signal.SIGWINCH: ValueError}[number]("announced failure of a handler")


def load_handlers():
    """Those that are left to an application, and those that are not."""
    load()
    for number in signal.SIGALRM, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
        signal.signal(number, handle)
    for number in signal.SIGVTALRM, signal.SIGWINCH:
        signal.signal(number, handle_badly)


def load_timer():
    """A signal every millisecond, until the very end."""
    load_handlers()
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)


def load_slowly():
    load()
    note(os.environ["MARKER"], "importing")
    time.sleep(100)


def load_stubbornly():
    """Swallows whatever is raised in it."""
    load()
    note(os.environ["MARKER"], "importing")
    end = time.monotonic() + 100
    while time.monotonic() < end:
        try:
            time.sleep(100)
        except BaseException:
            pass


def load_in_vain():
    load()
    note(os.environ["MARKER"], "importing")
    raise ConnectionError("announced failure of an import")
