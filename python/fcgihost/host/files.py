"""The state of files on the disk, and which have changed since."""

import os
import sys

try:
    import _fcgihost as _host
except ImportError:
    _host = None  # outside the host


def states(paths):
    """path -> what changes when the file does (modification time in ns, size, inode); None where there is no file.

    Links are followed, so that one that is switched to another file is a change. A file that may not be read has inode
    0: so it changes when it may.
    """
    if hasattr(_host, "file_states"):
        paths = list(paths)
        return dict(zip(paths, _host.file_states([os.fsencode(path) for path in paths])))  # without the GIL
    return {path: _state(path) for path in paths}


def _state(path):
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino if os.access(path, os.R_OK) else 0


def forget_stale_bytecode(states):
    """Removes the .pyc of files that Python would take for that of their present text: it compares the size and the second
    of the modification alone, so that a second edit within a second is not seen. states: path -> state."""
    for path, state in states.items():
        if state is None or not path.endswith(".py"):
            continue
        try:
            cached = sys.modules["_frozen_importlib_external"].cache_from_source(path)
            with open(cached, "rb") as file:
                head = file.read(16)
            if head[4:] == b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in (
                    0, state[0] // 10**9, state[1])):
                os.unlink(cached)
        except (OSError, NotImplementedError):
            pass  # there is none, or it is not ours to remove


def find(patterns):
    """The paths that match one of these globs now."""
    if not patterns:
        return set()
    import glob  # it imports re and enum: a sixth of the start-up time

    return {path for pattern in patterns for path in glob.glob(pattern, recursive=True)}


class Look:
    """Looks at files again and again. changed() says what has changed since, and no longer does.

    A file that differs between two looks is still being written: it waits until two looks in a row find it the same.
    """

    def __init__(self, get_states=states):
        self._get_states = get_states
        self._last = {}  # path -> state at the last look, of what had changed then

    def changed(self, known):
        """known: path -> its state when it was loaded. Returns path -> state of what has changed and is settled, and
        the set of paths that are still changing."""
        now = self._get_states(known)
        changed = {path: state for path, state in now.items() if state != known[path]}
        settled = {path: state for path, state in changed.items()
                   if path in self._last and self._last[path] == state}
        self._last = changed
        return settled, changed.keys() - settled.keys()
