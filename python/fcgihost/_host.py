"""What the C side of the host asks of Python: it calls these functions by name, and no others."""

import importlib
import os
import sys
import threading
import traceback

import _fcgihost

from fcgihost import cleanup, loader, runtime

_LOG_ERROR, _LOG_INFO = 0, 2
_OWN_FILES = (os.path.dirname(__file__) + os.sep, importlib.__file__, "<frozen importlib")


class FileWrapper:
    """wsgi.file_wrapper (PEP 3333): iterates over a file in blocks, closes it at the end."""

    def __init__(self, file, block_size=65536):
        self._file = file
        self._block_size = block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self):
        return self

    def __next__(self):
        block = self._file.read(self._block_size)
        if block:
            return block
        raise StopIteration


class LogStream:
    """A sys.stdout and sys.stderr for a process whose own lead nowhere: lines go to the host's log."""

    encoding = "utf-8"
    errors = "backslashreplace"
    closed = False

    def __init__(self):
        self._line = ""
        self._lock = threading.Lock()

    def write(self, text):
        with self._lock:
            *lines, self._line = (self._line + text).split("\n")
        if lines:
            _fcgihost.log(_LOG_INFO, _printable("\n".join(lines)))
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        with self._lock:
            line, self._line = self._line, ""
        if line:
            _fcgihost.log(_LOG_INFO, _printable(line))

    def isatty(self):
        return False

    def writable(self):
        return True


def _printable(text):
    return text.encode("utf-8", "backslashreplace").decode()


def set_up(switch_interval, is_log_elsewhere):
    """Called once, before anything of the application's. switch_interval: seconds, 0 leaves Python's own.
    is_log_elsewhere: the log is not the process's stderr."""
    if switch_interval:
        sys.setswitchinterval(switch_interval)
    if is_log_elsewhere:
        sys.stdout = sys.stderr = LogStream()


def load_application(is_script, target, name):
    """The WSGI callable; raises whatever keeps it from being loaded."""
    return loader.load_script(target, name) if is_script else loader.load_module(target)


has_changed = loader.has_changed


def run_cleanups():
    """The process ends: runs what register_cleanup() was given, before atexit's functions."""
    runtime.set_stopping()
    cleanup.process_scope.run(_log_failed_cleanup)


def _log_failed_cleanup(name, exception):
    _fcgihost.log(_LOG_ERROR, "the cleanup %s failed, the others still run\n%s" % (name, format_exception(exception)))


def describe_application(application):
    """One line on what was loaded: "function hello.application of /srv/hello.py"."""
    kind = type(application).__name__
    named = application if hasattr(application, "__qualname__") else type(application)
    file = getattr(sys.modules.get(named.__module__), "__file__", None)
    return "%s %s.%s%s" % (kind, named.__module__, named.__qualname__, " of %s" % file if file else "")


def format_exception(exception):
    """The traceback as printable text, without the frames of the host and of the import system that lead to it."""
    start = exception.__traceback__
    while start and start.tb_frame.f_code.co_filename.startswith(_OWN_FILES):
        start = start.tb_next
    lines = traceback.format_exception(type(exception), exception, start)
    return _printable("".join(lines)).rstrip("\n")
