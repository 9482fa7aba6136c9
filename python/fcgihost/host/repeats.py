"""Failures of requests that come again: the log has the whole traceback a few times, then a line for each."""

import time

_WHOLE = 3  # of these the tracebacks are logged whole,
_PERIOD = 60.0  # in so many seconds
_KINDS = 32  # different failures that are remembered: those seen last
_LINE = 1000  # characters of an exception's message in a line


def _without_addresses(text):
    """They differ each time. Without the module re, which takes longer to import than all of the host's own."""
    first, *others = text.split("0x")
    return "0x".join([first, *(other.lstrip("0123456789abcdef") for other in others)])


class Repeats:
    """Remembers which tracebacks the log has. Any thread may use it, without a lock: whoever looks takes the entry out
    meanwhile, so that of two who come at the same time one may log a traceback too many, never one too few."""

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._seen = {}  # (hash and length of a traceback's text) -> _Seen, the one that was seen last at the end

    def tell(self, request, traceback, brief):
        """What is logged of a failure behind the words that name the request.

        request: how the log names it, or what else has failed. traceback: text; the same text is the same failure,
        addresses apart. brief: the exception as text, for a line that has room for it.
        """
        essence = _without_addresses(traceback)
        key = hash(essence), len(essence)
        now = self._clock()
        seen = self._seen.pop(key, None)
        if seen is None or now - seen.since >= _PERIOD:
            seen = _Seen(now)
        seen.count += 1
        is_whole = seen.count <= _WHOLE
        if is_whole:
            seen.logged, seen.request = now, request
        text = "\n" + traceback if is_whole else seen.describe(brief, now)
        self._seen[key] = seen
        for oldest in list(self._seen)[:-_KINDS]:
            self._seen.pop(oldest, None)
        return text


class _Seen:
    def __init__(self, since):
        self.since = since
        self.count = 0
        self.logged = since
        self.request = None  # the one whose traceback was logged last

    def describe(self, brief, now):
        if len(brief) > _LINE:
            brief = brief[:_LINE] + "..."
        text = "; as before: %s (%d times in %.0f s; its traceback was logged %.0f s ago, for %s)" % (
            brief, self.count, now - self.since, now - self.logged, self.request)
        return " ".join(text.splitlines())
