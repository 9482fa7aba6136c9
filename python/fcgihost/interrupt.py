"""Interrupts application code on the main thread that keeps the process from stopping.

The host sends the main thread a signal. Its handler raises Interrupted, but only inside `possible`, so that code of
the host or the package is never interrupted half way. C code that retries after a signal, such as libpq, can't be
interrupted like this.
"""

from _thread import get_ident  # threading, which exports it, is slow to import


class Interrupted(BaseException):
    """Raised in a start-up import when the process stops, and in a cleanup that has taken too long."""


def is_cause(exception):
    """Was it raised because of an interruption? Python itself makes others of it, in a class body for example."""
    seen = set()
    while exception is not None and id(exception) not in seen:
        if isinstance(exception, Interrupted):
            return True
        seen.add(id(exception))
        exception = exception.__context__ if exception.__cause__ is None else exception.__cause__
    return False


class possible:
    """A context manager: inside, the main thread may be interrupted. No effect in other threads. May be nested."""

    def __enter__(self):
        global _depth
        self._is_main = get_ident() == _main
        if self._is_main:
            _depth += 1

    def __exit__(self, *_):
        global _depth
        if self._is_main:
            _depth -= 1


def set_up(signal_number):
    """Installs the handler of the host's signal. Main thread."""
    import _signal as signal  # the module signal would import enum and re: a tenth of the start-up time

    global _main
    _main = get_ident()
    signal.signal(signal_number, _on_signal)


def _on_signal(number, frame):
    if _depth > 0 and not _is_lock_callback(frame):
        raise Interrupted("the process stops, and this has taken too long")


def _is_lock_callback(frame):
    """Of the import system's weak references: there an exception is printed and forgotten. The next signal comes soon."""
    return frame is not None and frame.f_code.co_name == "cb" and frame.f_code.co_filename.startswith("<frozen importlib")


_depth = 0
_main = get_ident()
