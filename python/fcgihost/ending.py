"""The end of the process, on the main thread: cleanups, the application's threads, atexit's functions."""

import atexit
import sys
import time

from fcgihost import cleanup, interrupt

_RESERVE = 0.1  # of the time that is left, for what comes after the threads


def run_cleanups(log, on_start):
    """The process's cleanups. log(name, exception), on_start(name): as Scope.run. Returns the names of those that
    were interrupted."""
    interrupted = []

    def note(name, exception):
        if isinstance(exception, interrupt.Interrupted):
            interrupted.append(name)
        log(name, exception)

    cleanup.process_scope.run(note, on_start)
    return interrupted


def join_threads(seconds, clock=time.monotonic):
    """Waits until the application's non-daemon threads have ended, for that long at most. Returns those that have not."""
    threading = sys.modules.get("threading")
    if threading is None:
        return []  # nobody has started a thread
    deadline = clock() + seconds * (1 - _RESERVE)
    waker = threading.Thread(target=_wake_executors, name="fcgihost-executors", daemon=True)
    waker.start()
    for thread in _own_threads(waker):
        thread.join(max(deadline - clock(), 0))
    return _own_threads(waker)


def run_exit_functions():
    """atexit's functions, each once: Python's own end finds none left."""
    try:
        atexit._run_exitfuncs()
    except BaseException:
        pass  # it has printed what they raised


def _own_threads(waker):
    import threading

    return [thread for thread in threading.enumerate()
            if thread is not threading.main_thread() and thread is not waker and not thread.daemon]


def _wake_executors():
    """What threading._shutdown() would call first: concurrent.futures tells its threads so that they may end."""
    import threading

    for function in reversed(list(getattr(threading, "_threading_atexits", ()))):
        try:
            function()
        except Exception:
            pass  # it is called again by Python's own end, which reports it
