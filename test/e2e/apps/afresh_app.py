"""Imports that fail halfway and leave all kinds of things behind; FOLDER holds what steers and what is noted."""
import atexit
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import fcgihost
from routes import answer
from startup_app import exists, note

ATTEMPTS = int(os.environ.get("ATTEMPTS", "1000000"))


def facts():
    """What an attempt finds, as it should find it each time."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    old_umask = os.umask(0)
    os.umask(old_umask)
    return {
        "pid": os.getpid(), "threads": threading.active_count(), "handlers": len(logging.getLogger().handlers),
        "path": len(sys.path), "descriptors": len(os.listdir("/proc/self/fd")), "grows": os.environ.get("GROWS"), "own": [name for name in os.environ if name.startswith("FCGIHOST_")],
        "folder": os.getcwd(), "umask": old_umask, "mask": sorted(map(int, mask)),
        "timer": signal.getitimer(signal.ITIMER_REAL), "child_signal": int(signal.getsignal(signal.SIGCHLD)),
        "stdout": os.readlink("/proc/self/fd/1"), "children": children(), "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "modules": sorted(name for name in sys.modules if name.startswith("email")),
    }


def children():
    with open("/proc/self/task/%d/children" % os.getpid()) as file:
        return len(file.read().split())


def attempt_number():
    try:
        with open(os.path.join(os.environ["FOLDER"], "attempts")) as file:
            return len(file.readlines()) + 1
    except FileNotFoundError:
        return 1


def make_a_mess():
    """Everything that a process can have."""
    import email.message  # noqa: F401

    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    threading.Thread(target=time.sleep, args=(1000,)).start()
    logging.getLogger().addHandler(logging.NullHandler())
    sys.path.append("/nowhere")
    os.environ["GROWS"] = os.environ.get("GROWS", "") + "x"
    descriptor = os.open(__file__, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    atexit.register(note, "atexit", "ran")
    fcgihost.register_cleanup(note, "cleanups", "ran")
    os.chdir("/")
    os.umask(0o777)
    os.umask(0o027)
    subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 1000)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGUSR1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    null = os.open("/dev/null", os.O_WRONLY)
    os.dup2(null, 1)


def setup():
    number = attempt_number()
    note("attempts", json.dumps(facts()))
    if number <= ATTEMPTS and not exists("go"):
        make_a_mess()
        raise ConnectionError("announced failure")


def take_all_descriptors():
    note("attempts", "begun")
    if not exists("go"):
        fcgihost.register_cleanup(note, "cleanups", "ran")
        while True:
            os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)


def close_standard():
    note("attempts", "begun")
    if not exists("go"):
        for descriptor in 0, 1, 2:
            os.close(descriptor)
        deadline = time.monotonic() + 60
        while not exists("connected") and time.monotonic() < deadline:
            time.sleep(0.01)
        raise ConnectionError("announced failure")


def lower_limits():
    note("attempts", "begun")
    if not exists("go"):
        resource.setrlimit(resource.RLIMIT_NOFILE, (5, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        raise ConnectionError("announced failure")


def lose_folder():
    if not exists("go"):
        note("attempts", "begun")
        shutil.rmtree(os.path.join(os.environ["FOLDER"], "current"), ignore_errors=True)
        raise ConnectionError("announced failure")


def works():
    note("works", os.getpid())


def hang_in_cleanup():
    if not exists("go"):
        fcgihost.register_cleanup(time.sleep, 1000)
        fcgihost.register_cleanup(note, "cleanups", "ran")
        raise ConnectionError("announced failure")


def fail():
    raise ConnectionError("announced failure")


def half_loaded():
    """A C extension that fails and then can't be loaded again in that interpreter."""
    note("extension", os.getpid())
    sys.path.append(os.environ["FOLDER"])
    import onlyonce  # noqa: F401


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    return answer(start_response, "%s %d" % (environ["PATH_INFO"], len(body)))
