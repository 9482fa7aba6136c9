"""Routes whose effects outlive a request, take time, or make processes."""
import atexit
import gc
import os
import subprocess
import sys
import threading
import time

import fcgihost
from routes import answer, answer_json, query, raw, route, state


@raw("/keep-input")
def keep_input(environ, start_response):
    state["input"], state["environ"] = environ["wsgi.input"], environ
    state["errors"] = environ["wsgi.errors"]
    return answer(start_response, "kept")


@raw("/use-input")
def use_input(environ, start_response):
    """What each use of the kept objects raises."""
    kept, names = state["input"], []
    for call in (lambda: kept.read(), lambda: kept.read(1), lambda: kept.readline(),
                 lambda: kept.readlines(),
                 lambda: next(iter(kept))):
        try:
            names.append("nothing: %r" % (call(),))
        except StopIteration:
            names.append("nothing: StopIteration")
        except Exception as problem:
            names.append(type(problem).__name__)
    return answer_json(start_response, names)


@raw("/use-errors")
def use_errors(environ, start_response):
    """wsgi.errors of an earlier request, from a thread of its own: must not crash."""
    def write_late():
        try:
            state["errors"].write("written late\n")
            state["errors"].flush()
            state["last"] = "written"
        except Exception as problem:
            state["last"] = type(problem).__name__
    thread = threading.Thread(target=write_late)
    thread.start()
    thread.join()
    return answer(start_response, str(state["last"]))


@route("/sleep")
def sleep(environ, start_response):
    ms = float(query(environ, "ms", "0"))
    marker = query(environ, "marker")
    if marker:  # tells the test that the request is in flight
        with open(marker, "w") as started:
            started.write("started")
    until = query(environ, "until")
    if until:  # sleeps until the test makes this file
        end = time.monotonic() + 300
        while not os.path.exists(until) and time.monotonic() < end:
            time.sleep(0.01)
    time.sleep(ms / 1000)
    return answer(start_response, "slept " + query(environ, "token"))


@raw("/fork")
def fork(environ, start_response):
    """?how=exit (sys.exit), _exit, raise, return (the child answers as if it were the parent)."""
    how = query(environ, "how", "_exit")
    pid = os.fork()
    if pid == 0:
        if how == "exit":
            sys.exit(7)
        if how == "raise":
            raise ValueError("announced failure in the child")
        if how == "return":
            return answer(start_response, "the child answered")
        os._exit(7)
    _, ended = os.waitpid(pid, 0)
    return answer(start_response, "child ended with %d" % os.waitstatus_to_exitcode(ended))


@raw("/fork-and-leave")
def fork_and_leave(environ, start_response):
    """A child that goes on sleeping; answers its pid."""
    pid = os.fork()
    if pid == 0:
        time.sleep(300)
        os._exit(0)
    state["child"] = pid
    return answer(start_response, str(pid))


@raw("/collect-child")
def collect_child(environ, start_response):
    _, ended = os.waitpid(state["child"], 0)
    return answer(start_response, str(os.waitstatus_to_exitcode(ended)))


@route("/subprocess")
def run_subprocess(environ, start_response):
    done = subprocess.run(["/bin/sh", "-c",
                           "echo from a child; ls -l /proc/self/fd | grep -c socket:; "
                           "grep SigBlk /proc/self/status"],
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return answer(start_response, done.stdout)


@raw("/subprocess-and-leave")
def subprocess_and_leave(environ, start_response):
    state["subprocess"] = subprocess.Popen(["/bin/sleep", "300"], stdin=subprocess.DEVNULL)
    return answer(start_response, str(state["subprocess"].pid))


@raw("/collect-subprocess")
def collect_subprocess(environ, start_response):
    return answer(start_response, str(state["subprocess"].wait()))


@route("/blocks")
def blocks(environ, start_response):
    """How many blocks of memory Python's objects have."""
    gc.collect()
    return answer(start_response, str(sys.getallocatedblocks()))


@route("/atexit")
def register_atexit(environ, start_response):
    path = query(environ, "path")

    def note():
        with open(path, "a") as file:
            file.write("atexit in %s\n" % os.getpid())
    atexit.register(note)
    return answer(start_response, str(os.getpid()))


@route("/served")
def served(environ, start_response):
    """Which process this is, and how many requests it has served, with this one."""
    return answer_json(start_response, {"pid": os.getpid(), "requests": fcgihost.process.requests})


@raw("/kill-self")
def kill_self(environ, start_response):
    os.kill(os.getpid(), int(query(environ, "signal", "15")))
    return answer(start_response, "sent")
