"""The end of the process, on the main thread: cleanups, the application's threads, atexit's functions."""

import atexit
import sys
import time

from fcgihost import cleanup, errors, interrupt

_RESERVE = 0.1  # of the time that is left, for what comes after the threads


def run_cleanups(log, on_start):
    """The process's cleanups. log(name, exception), on_start(name): as Scope.run. Returns the names of those that
    were interrupted."""
    interrupted = []

    def note(name, exception):
        if interrupt.is_cause(exception):
            interrupted.append(name)
        log(name, exception)

    cleanup.process_scope.run(note, on_start)
    return interrupted


def end_executors(log, on_start):
    """Calls what threading calls first at Python's end: concurrent.futures tells its threads and processes so that they
    end, and waits for them. Only then may atexit's functions run: they take the queues away over which it tells them.

    log(name, exception), on_start(name): as Scope.run. Returns the names of those that were interrupted.
    """
    threading = sys.modules.get("threading")
    functions = getattr(threading, "_threading_atexits", None)
    if not functions:
        return []
    threading._SHUTTING_DOWN = True  # from now on it takes no more
    interrupted = []
    while functions:
        function = functions.pop()  # Python's own end finds none left
        name = cleanup.describe(_registered(function))
        on_start(name)
        try:
            with interrupt.possible():
                function()
        except BaseException as exception:
            if interrupt.is_cause(exception):
                interrupted.append(name)
            log(name, exception)
    return interrupted


def _registered(function):
    """What threading was given: from Python 3.13 on it keeps a lambda that calls it."""
    code = getattr(function, "__code__", None)
    if code is None or function.__module__ != "threading":
        return function
    return dict(zip(code.co_freevars, (cell.cell_contents for cell in function.__closure__ or ()))).get("func", function)


def end_children():
    """Ends the processes that multiprocessing would wait for: executors that did not end have left them."""
    process = sys.modules.get("multiprocessing.process")
    for child in process.active_children() if process else ():
        child.terminate()


def join_threads(seconds, clock=time.monotonic):
    """Waits until the application's non-daemon threads have ended, for that long at most. Returns those that have not."""
    if "threading" not in sys.modules:
        return []  # nobody has started a thread
    deadline = clock() + seconds * (1 - _RESERVE)
    for thread in _own_threads():
        try:
            thread.join(max(deadline - clock(), 0))
        except BaseException as exception:
            errors.report("a signal handler of the application", exception)
    return _own_threads()


def run_exit_functions():
    """atexit's functions, each once: Python's own end finds none left."""
    try:
        atexit._run_exitfuncs()
    except BaseException:
        pass  # it has printed what they raised


def _own_threads():
    import threading

    return [thread for thread in threading.enumerate()
            if thread is not threading.main_thread() and not thread.daemon]
