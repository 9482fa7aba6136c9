"""Imported as usual, so it is loaded once: what has to survive a reload lives here."""
import itertools
import threading

_numbers = itertools.count(1)
_lock = threading.Lock()


def count():
    with _lock:
        return next(_numbers)
