"""Gets the main thread out of code of the application's that keeps the process from ending.

The host sends the main thread a signal of its own. Its handler raises Interrupted, but only inside `possible`, so
that nothing of the host's or the package's is ever torn. What waits in C code that goes on after a signal, as
libpq does, can't be reached so.
"""

from _thread import get_ident  # as threading has it: see __init__.py


class Interrupted(BaseException):
    """Raised in a start-up import when the process ends, and in a cleanup that has taken too long."""


class possible:
    """A context in which the main thread may be interrupted. In other threads it does nothing. May be nested."""

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
    """Installs the handler of the host's signal. On the main thread."""
    import _signal as signal  # signal itself would import enum and re: a tenth of the host's start

    global _main
    _main = get_ident()
    signal.signal(signal_number, _on_signal)


def _on_signal(number, frame):
    if _depth > 0:
        raise Interrupted("the process ends, and this has taken too long")


_depth = 0
_main = get_ident()
