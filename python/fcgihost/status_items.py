"""What the status shows of resources, pools, locks and cleanups.

Whoever changes something says so, which costs a look at a flag. The host's main thread asks later what it is now, at
most once a second (host/status_report.py), so that no request waits for the status, nor the status for Python.
"""

import os
from _weakref import ref

_PID = os.getpid()
_things = set()    # references to what has describe()
_is_changed = False
wake = None        # called without arguments when something is to be told, in any thread; None: nobody listens


class Item:
    """One line of the status. kind: "resource", "pool", "lock" or "cleanups".

    state, detail: text; detail is a resource's last error, a lock's thread. pid: of a lock's holder. seconds: how long a
    lock has been held or the oldest lease of a pool has been out, or until a resource is tried again; None: no such
    thing. size: of a pool, or how many cleanups there are.
    """

    __slots__ = ("kind", "name", "state", "detail", "pid", "seconds", "size", "in_use", "idle", "waiting")

    def __init__(self, kind, name, *, state="", detail="", pid=0, seconds=None, size=0, in_use=0, idle=0, waiting=0):
        self.kind = kind
        self.name = name
        self.state = state
        self.detail = detail
        self.pid = pid
        self.seconds = seconds
        self.size = size
        self.in_use = in_use
        self.idle = idle
        self.waiting = waiting


def add(thing):
    """From now on thing.describe() is asked, in the main thread, for as long as thing lives: it returns a list of Items,
    waits for nobody and calls no code of the application's."""
    _things.add(ref(thing, _things.discard))
    changed()


def changed():
    """Something that is told of is no longer as it was. Any thread; takes no lock."""
    global _is_changed
    if not _is_changed:
        _is_changed = True
        if wake is not None and os.getpid() == _PID:
            wake()


def is_changed():
    return _is_changed


def collect():
    """All Items as they are now."""
    global _is_changed
    _is_changed = False  # before the looks, so that what changes meanwhile is told of the next time
    items = []
    for reference in list(_things):
        thing = reference()
        if thing is not None:
            items.extend(thing.describe())
    return items
