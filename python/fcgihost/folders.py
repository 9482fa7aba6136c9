"""A folder that the processes of one user share, and that no other user can put anything into.

It is made in a run-time directory if there is one, which is the user's and which no cleaner touches. In /tmp others may
have taken the name; so there are several names, and all processes use the first that they can.
"""

import os

_NAMES = 8  # in one place; others may have taken the first ones


def places(environ):
    """The folders that it may be in, the best one first."""
    found = [*environ.get("RUNTIME_DIRECTORY", "").split(":"), "/run/fcgihost", environ.get("XDG_RUNTIME_DIR", "")]
    return list(dict.fromkeys([*filter(_is_ours, found), environ.get("TMPDIR") or "/tmp"]))


def candidates(places, name):
    """The paths that the folder of that name may have: a list for each place."""
    return [[os.path.join(place, name + suffix) for suffix in ["", *("-%d" % i for i in range(1, _NAMES))]]
            for place in places]


def find(candidates):
    """The path of the folder, made if there is none; candidates: what candidates() returned.

    Raises OSError if there can be none anywhere: the first one but for what was only missing.
    """
    first = None
    for paths in candidates:
        for attempt in _check, _make:
            for path in paths:
                try:
                    return attempt(path)
                except OSError as error:
                    if first is None or isinstance(first, FileNotFoundError):
                        first = error
    raise first


def _is_ours(place):
    """Can this user make files there, and nobody else remove them?"""
    try:
        status = os.stat(place)
    except OSError:
        return False
    return (place.startswith("/") and status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o002 and
            os.access(place, os.W_OK | os.X_OK))


def _make(path):
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass  # another process was faster, or it is another user's
    return _check(path)


def _check(path):
    """path; raises PermissionError if it is not this user's alone."""
    status = os.lstat(path)
    if status.st_uid != os.geteuid() or status.st_mode != 0o040700:
        raise PermissionError(
            "the folder of the locks, %s, must be a folder of user %d's alone, with mode 0700: remove it, or correct "
            "its owner and mode" % (path, os.geteuid()))
    return path
