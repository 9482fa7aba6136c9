"""The scripts of a script_root: the web server names a file, what it defines serves the request."""

import errno
import os
import stat
import threading
import time

from fcgihost import generations, runtime
from fcgihost.errors import ScriptError
from fcgihost.host import loader

_MAX_BYTES = 16 << 20  # no script is larger, but a file that is named by mistake may be
_MAX_REPLACED = 100    # how often in a row a file may be replaced while it is opened
_MAX_FOLDERS = 64        # more than a script lies in: a client chooses how many there seem to be
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


class ScriptRoot:
    """The scripts below a folder. get() loads a file when it is asked for first, and keeps it.

    A script runs if it is a regular file below root once all links are resolved, its name then ends with one of
    extensions, and nobody but its owner can write it; nor may others put another one in its place: all folders from
    root down to it must not be writable by everybody (by their group they may: its members are those who deploy).
    attribute: the name of the WSGI callable in a script. retry_delay: seconds until a script that could not be loaded
    is tried again, if no file of it changes before.

    That the web server chose a file proves nothing: it takes /uploads/me.gif/x.wsgi for a script by its last part, and
    the file on the disk is one that somebody has uploaded.
    """

    def __init__(self, root, attribute="application", retry_delay=1.0, extensions=(".py", ".wsgi"),
                 clock=time.monotonic):
        self._root = root
        self._attribute = attribute
        self._extensions = tuple(extensions)
        self._retry_delay = runtime.check_seconds("retry_delay", retry_delay)
        self._clock = clock
        self._mutex = threading.Lock()
        self._failures = {}  # path -> _Failure: of files that are being loaded, or could not be
        self._store = generations.store()
        self.role = "script_root", root, attribute, self._extensions

    def __repr__(self):
        return "<fcgihost scripts below %s>" % self._root

    def __call__(self, environ, start_response):
        """Lets the script that SCRIPT_FILENAME names answer. Raises ScriptError, or what the script raises."""
        path = environ.get("SCRIPT_FILENAME", "")
        if not path:
            raise ScriptError(500, "the web server sent no SCRIPT_FILENAME, which says what file to run: nginx does "
                              "with \"include fastcgi.conf;\", Apache with SetHandler")
        return self.get(os.fsdecode(path.encode("latin-1")))(environ, start_response)

    def find(self, path):
        """What serves a path below the folder, whose names a client chose: (WSGI callable, the script's part, the rest).

        For internal redirects, which no web server sees: as one does whose document root the folder is. The callable
        raises as get() does; what is no script is refused there.
        """
        name = path
        for _ in range(_MAX_FOLDERS):
            if os.path.isfile(self._root + name):
                break
            name = name.rpartition("/")[0]
        else:
            name = path
        name = name or path

        def script(environ, start_response):
            file = self._root + name
            environ["SCRIPT_FILENAME"] = os.fsencode(file).decode("latin-1")
            return self.get(file)(environ, start_response)
        return script, name, path[len(name):]

    def get(self, path):
        """The WSGI callable of the script at path, absolute, in this request's generation. Raises ScriptError.

        Any number of threads may ask: one loads the file, the others wait.
        """
        path = os.path.normpath(path)
        if path.startswith("//"):
            path = path[1:]
        try:
            _check(path)
            unit = self._store.enter().units.get((path, self.role))
            return (unit if unit is not None else self._load(path)).application
        except ScriptError as error:
            if error.status == 404:
                self._forget(path)
            raise

    def _load(self, path):
        """The script's unit. One thread at a time for each path, so that one failure is not tried by many."""
        while True:
            with self._mutex:
                failure = self._failures.setdefault(path, _Failure())
            runtime.wait(failure.lock)
            try:
                if self._failures.get(path) is not failure:
                    continue
                unit = self._try(path, failure)
                with self._mutex:
                    self._failures.pop(path, None)
                return unit
            finally:
                failure.lock.release()

    def _try(self, path, failure):
        generation = self._store.enter()
        unit = generation.units.get((path, self.role))
        if unit is not None:
            return unit
        now = self._clock()
        is_changed = failure.text is None or failure.watch.has_changed()
        if not is_changed and now < failure.retry_at:
            raise ScriptError(500, _describe_failure(path, failure, failure.retry_at - now))
        try:
            return self._store.load(
                generation, path, loader.script_runner(self._attribute, failure.watch, self._read), self.role)
        except ScriptError:
            self._forget(path)
            raise
        except (Exception, SystemExit) as error:
            before, failure.text = failure.text, _describe(error)
            failure.retry_at = self._clock() + self._retry_delay
            # A failure that trying again has found again has its traceback in the log.
            is_new = is_changed or failure.text != before
            raise ScriptError(500, _describe_failure(path, failure, self._retry_delay)) from (error if is_new else None)

    def _read(self, unit, generation):
        source, status = _read(unit.path, self._root, self._extensions)
        unit.note_state(generation, status)
        return source

    def _forget(self, path):
        """The file has gone: one that appears there later counts as a new one."""
        with self._mutex:
            self._failures.pop(path, None)
        self._store.forget((path, self.role))


class _Failure:
    """Why a file could not be loaded. Its lock is held by the thread that tries."""

    def __init__(self):
        self.lock = threading.Lock()
        self.text = None        # on one line; None: it has not failed
        self.retry_at = 0.0     # on the clock
        self.watch = loader.Watch()


def _check(path):
    """Raises ScriptError if there is no file at path, or its state is not that of a script."""
    if not os.path.isabs(path):
        raise ScriptError(404, "%s is not an absolute path: SCRIPT_FILENAME has to be one" % ascii(path))
    try:
        state = os.stat(path)
    except (OSError, ValueError) as error:
        raise _unreachable(path, error) from None
    _check_state(path, state)


class _Replaced(Exception):
    """Something else is at the path by now, or nothing."""


def _read(path, root, extensions):
    """The content and the state of the file at path, if it may run. Raises ScriptError.

    Deploying a script renames a new one to its path: what was opened then has no name any more, but there always is one.
    """
    for _ in range(_MAX_REPLACED):
        try:
            return _read_opened(path, root, extensions)
        except _Replaced:
            pass
    raise ScriptError(500, "%s can't be read: it is replaced again and again" % ascii(path))


def _read_opened(path, root, extensions):
    """As _read(); or raises _Replaced.

    All is checked of what has been opened: what is at path may have been replaced since.
    """
    try:
        # What _check saw is regular; should it be replaced by a FIFO now, that must not be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise _unreachable(path, error) from None
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        _check_state(path, state)
        real = _real_path(path, descriptor, state)
        _check_place(path, real, root)
        _check_name(path, real, extensions)
        if state.st_size > _MAX_BYTES:
            raise ScriptError(403, "%s is not a script: it has %d bytes" % (path, state.st_size))
        try:
            return file.read(_MAX_BYTES), state
        except OSError as error:
            raise _unreachable(path, error) from None


def _check_state(path, state):
    if not stat.S_ISREG(state.st_mode):
        raise ScriptError(403, "%s is not allowed to run: it is not a regular file" % ascii(path))
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "everybody" if state.st_mode & stat.S_IWOTH else "its group"
        raise ScriptError(403, "%s is not allowed to run: %s can write it (mode %04o): chmod go-w" % (
            ascii(path), who, stat.S_IMODE(state.st_mode)))


def _real_path(path, descriptor, state):
    """Where the opened file is, all links resolved. Raises _Replaced."""
    try:
        real = os.readlink("/proc/self/fd/%d" % descriptor)
        if real.endswith(" (deleted)") and not os.path.lexists(real):
            raise _Replaced
    except OSError:
        real = os.path.realpath(path)  # no /proc: then it is looked up again, and has to be the same file
        try:
            is_same = os.path.samestat(os.stat(real), state)
        except OSError:
            is_same = False
        if not is_same:
            raise _Replaced from None
    if os.fstat(descriptor).st_nlink == 0:
        raise _Replaced
    return real


def _check_place(path, real, root):
    root = os.path.realpath(root)  # each time: it may be a link that a deployment switches
    if not real.startswith(root.rstrip("/") + "/"):
        raise ScriptError(403, "%s is not allowed to run: it is %s, which is not below script_root %s" % (
            ascii(path), ascii(real), ascii(root)))
    folder = real
    while folder != root:
        folder = os.path.dirname(folder)
        try:
            mode = os.stat(folder).st_mode
        except OSError as error:
            raise ScriptError(403, "%s is not allowed to run: %s: %s" % (ascii(path), ascii(folder), error.strerror)) \
                from None
        if mode & stat.S_IWOTH:
            raise ScriptError(403, "%s is not allowed to run: everybody can put another file in its place, as the "
                              "folder %s has mode %04o: chmod o-w" % (ascii(path), ascii(folder), stat.S_IMODE(mode)))


def _check_name(path, real, extensions):
    """The file's own name counts: neither that of a link to it, nor what followed it in a path."""
    name = os.path.basename(real)
    if any(name.endswith(extension) and name != extension for extension in extensions):
        return
    which = "its" if real == path else "it is %s, and its" % ascii(real)
    raise ScriptError(403, "%s is not allowed to run: %s name does not end in %s: rename it, or set [application] "
                      "extensions, if it is a script" % (ascii(path), which, " or ".join(extensions)))


def _unreachable(path, error):
    """The ScriptError for what os.stat, os.open or reading raised."""
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError):
        return ScriptError(403, "%s can't be read: %s: make it and its folders readable for the user that fcgihost "
                           "runs as" % (ascii(path), reason))
    if isinstance(error, ValueError) or error.errno in _NOT_THERE:
        return ScriptError(404, "%s is not there: %s" % (ascii(path), reason))
    return ScriptError(500, "%s can't be read: %s" % (ascii(path), reason))


def _describe_failure(path, failure, seconds):
    return "%s can't be loaded: %s; it is tried again in %.1f s, or when a file of it changes" % (
        path, failure.text, seconds)


def _describe(error):
    try:
        text = str(error).partition("\n")[0]
    except Exception:
        text = ""
    return "%s: %s" % (type(error).__name__, text) if text else type(error).__name__
