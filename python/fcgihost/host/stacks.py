"""The stacks of all threads, with the requests they serve, as text for the log."""

import sys
from _thread import get_ident

from fcgihost import errors


def format_stacks(activities, frames=None, names=None):
    """The stacks of all threads but the calling one. activities: [(thread ident, "GET /path", seconds)], for each thread
    that serves a request. frames, names: {ident: …}, by default those of this process."""
    if frames is None:
        frames = sys._current_frames()
    if names is None:
        # Not imported here: entry._import_late() says why. A signal may come while it is being imported.
        enumerate_threads = getattr(sys.modules.get("threading"), "enumerate", tuple)
        names = {thread.ident: thread.name for thread in enumerate_threads()}
    serving = {ident: (request, seconds) for ident, request, seconds in activities}
    own = get_ident()
    parts = []
    for ident, frame in sorted(frames.items()):
        if ident == own:
            continue
        doing = ""
        if ident in serving:
            doing = ", serving %s for %.1f s" % serving[ident]
        parts.append("thread %s%s, most recent call last:\n%s" % (
            names.get(ident, "%#x" % ident), doing, errors.format_stack(frame).rstrip("\n")))
    for ident in sorted(set(serving) - set(frames)):
        parts.append("thread %#x, serving %s for %.1f s: not in Python" % ((ident,) + serving[ident]))
    return "\n".join(parts) or "no thread is in Python"
