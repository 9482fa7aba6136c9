"""Tells the host's status what there is of resources, pools, locks and cleanups, when that has changed."""

import time

from fcgihost import status_items

INTERVAL = 1.0  # seconds between two tellings, at least
ITEMS_MAX = 64  # as FIGURES_ITEMS_MAX: what is told first is kept


class StatusReport:
    """tell: called with a list of tuples, as _fcgihost.tell() takes them."""

    def __init__(self, tell, clock=time.monotonic):
        self._tell = tell
        self._clock = clock
        self._next = clock()

    def tend(self):
        """Main thread. Tells if it is time. Returns the seconds until it will be, None if nothing has changed."""
        if not status_items.is_changed():
            return None
        now = self._clock()
        if now < self._next:
            return self._next - now
        self._next = now + INTERVAL
        items = sorted(status_items.collect(), key=_interest)
        self._tell([_as_tuple(item) for item in items[:ITEMS_MAX]], max(len(items) - ITEMS_MAX, 0))
        return None


def _interest(item):
    """What needs somebody's attention comes first."""
    return item.kind != "cleanups", item.state != "failed", -item.waiting, item.kind, item.name


def _as_tuple(item):
    return (item.kind, item.name, item.state, item.detail, item.pid, -1.0 if item.seconds is None else item.seconds,
            item.size, item.in_use, item.idle, item.waiting)
