"""What the C side of the host asks of Python: it calls these functions by name, and no others."""

import faulthandler
import marshal
import os
import sys
import time

import _fcgihost

from fcgihost import cleanup, errors, folders, interrupt, loader, programs, runtime, startup

_LOG_ERROR, _LOG_WARNING, _LOG_INFO, _LOG_DEBUG = range(4)  # as in log_level.h
_LEVELS = {"error": _LOG_ERROR, "warning": _LOG_WARNING, "info": _LOG_INFO, "debug": _LOG_DEBUG}
_STEP_NONE, _STEP_IMPORT, _STEP_CLEANUP, _STEP_THREADS, _STEP_EXIT = range(5)  # as in fcgihost/life/main_thread.h
_AFRESH_SECONDS = 0.3
_PID = os.getpid()
_SCRIPT_PAGES = {403: ("403 Forbidden", "This can't be run.\n"), 404: ("404 Not Found", "Nothing is here.\n"),
                 500: ("500 Internal Server Error", None)}
_OWN_FILES = (os.path.dirname(__file__) + os.sep, "<frozen importlib")


class FileWrapper:
    """wsgi.file_wrapper (PEP 3333): iterates over a file in blocks, closes it at the end.

    It can seek() and tell() where the file can, so that who sends a range does not read what is before it.
    """

    def __init__(self, file, block_size=65536):
        self._file = file
        self._block_size = block_size
        for name in ("close", "seek", "tell"):
            if hasattr(file, name):
                setattr(self, name, getattr(file, name))

    def seekable(self):
        if hasattr(self._file, "seekable"):
            return self._file.seekable()
        return hasattr(self._file, "seek")

    def __iter__(self):
        return self

    def __next__(self):
        block = self._file.read(self._block_size)
        if block:
            return block
        raise StopIteration


def _printable(text):
    return text.encode("utf-8", "backslashreplace").decode()


def set_up(switch_interval, interrupt_signal, stacks_signal, stacks_descriptor):
    """Called once, before anything of the application's.

    switch_interval: seconds, 0 leaves Python's own.
    interrupt_signal: the one that gets the main thread out of the application's code. stacks_signal: has the stacks
    of all threads written to stacks_descriptor, even while Python can't be entered.
    """
    if switch_interval:
        sys.setswitchinterval(switch_interval)
    # A line arrives when it is printed, in one piece, and whatever is in it.
    for stream in sys.stdout, sys.stderr:
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    interrupt.set_up(interrupt_signal)
    faulthandler.register(stacks_signal, file=stacks_descriptor, all_threads=True)
    errors.report_to(_report)


def watch_signals(descriptor):
    """From now on a byte is written to it when a signal comes that the application handles."""
    import _signal

    _signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)


def ignore_signals():
    """Takes the application's handlers away."""
    import _signal

    for number in _signal.valid_signals():
        if callable(_signal.getsignal(number)):
            _signal.signal(number, _signal.SIG_IGN)


def start_up(settings, on_loaded, before):
    """Loads the imports and the applications that settings names, until it works; on_loaded(the application's place,
    its responder, authorizer and filter) once requests for it can be served.

    before: what this returned in the program that was executed before in this process, or None. Returns True if the
    process goes on, False if [startup] on_failure says that it ends, bytes if the next attempt has to begin in a fresh
    interpreter, which is to be given them.
    """
    imports, applications = _tasks(settings)
    loading = _startup(settings, imports, applications)
    if before is not None:
        loading.resume(marshal.loads(before))
    try:
        loading.run(lambda task: _import_late(lambda: on_loaded(applications.index(task), task.result)))
    except startup.Stopped:
        pass
    except startup.Failed:
        return False
    except startup.Afresh:
        return marshal.dumps(loading.state())
    return True


def _import_late(serve):
    """Calls serve(), and imports on the main thread what the first response does not need."""
    _import_threading(serve)
    from fcgihost import ending, stacks  # noqa: F401


def _import_threading(serve):
    """Imports threading, on the main thread, and calls serve() as soon as this has begun.

    The first response comes 5 ms of 25 earlier so. threading takes the thread that imports it for the main thread
    (until Python 3.13), so that those that serve must not be the first: they wait for the one that has begun.
    """
    if "threading" in sys.modules:
        serve()
        return
    finder = _Announcer("threading", serve)
    sys.meta_path.insert(0, finder)
    try:
        import threading  # noqa: F401
    except Exception as error:  # who needs it tries again
        errors.report("import of threading", error)
    finally:
        sys.meta_path.remove(finder)


class _Announcer:
    """A finder that finds nothing, but is asked first, with the lock of the module held that is to be found."""

    def __init__(self, module, function):
        self._module = module
        self._function = function

    def find_spec(self, name, path=None, target=None):
        if name == self._module:
            self._function()


def start_up_once(settings):
    """One attempt at each. Returns a list of what on_loaded would be given for each application, None for one that
    failed or needs what failed, and whether all worked."""
    imports, applications = _tasks(settings)
    failed = _startup(settings, imports, applications).run_once()
    is_required = settings["require"] or settings["exits"]
    return [None if failed and is_required else task.result for task in applications], not failed


def describe_answer(exception):
    """Of an exception that is an answer: status line, page (None: the usual one), seconds for Retry-After, a line for
    the log, and the exception whose traceback belongs to that line, or None. Of others: None."""
    if isinstance(exception, errors.ResourceUnavailable):
        return _describe_unavailable(exception)
    if isinstance(exception, errors.ScriptError):
        status, page = _SCRIPT_PAGES[exception.status]
        return status, page, 0, _one_line("%d: %s" % (exception.status, exception)), exception.__cause__
    return None


def _describe_unavailable(exception):
    cause = exception.__cause__
    because = " (%s: %s)" % (type(cause).__name__, cause) if cause is not None and str(cause) not in str(exception) else ""
    seconds = -int(-min(max(1, exception.retry_after), 86400) // 1)  # rounded up; in this order for inf and nan
    return ("503 Service Unavailable", "Something that this needs is not available now. Please try again.\n", seconds,
            _one_line("503: %s%s" % (exception, because)), None)


def _one_line(text):
    return _printable(text).replace("\n", " ")


def set_stopping():
    """The process begins to end."""
    runtime.set_stopping()


def end_request(request):
    """Runs the cleanups of the request that this thread has served; request: what current_request() made."""
    runtime.end_request(request, _log_failed_cleanup)


def end(seconds, is_stuck, is_afresh):
    """The application's part of the end: cleanups, its executors and threads, atexit's functions; that long at most.

    is_stuck: a worker is still in Python. is_afresh: a fresh interpreter takes over, so that threads which don't end
    by themselves soon are gone all the same. Returns whether all went well: then Python itself can be ended.
    """
    from fcgihost import ending

    deadline = time.monotonic() + seconds
    runtime.set_stopping()
    interrupted = ending.run_cleanups(_log_failed_cleanup, _begin_cleanup)
    hanging = ending.end_executors(_log_executor, _begin_executor)
    if hanging:
        ending.end_children()
    _fcgihost.begin_step(_STEP_THREADS, "the application's threads")
    seconds = max(deadline - time.monotonic(), 0)
    left = ending.join_threads(min(seconds, _AFRESH_SECONDS) if is_afresh else seconds)
    if left and not is_afresh:
        _fcgihost.log(_LOG_ERROR, "stopping: these threads of the application did not end: %s: a thread that is no "
                      "daemon has to watch fcgihost.stopping\n%s" % (
                          ", ".join(thread.name for thread in left), _format_stacks()))
    _fcgihost.begin_step(_STEP_EXIT, "an atexit function")
    ending.run_exit_functions()
    return not left and not interrupted and not hanging and not is_stuck


def run_cleanups():
    """The cleanups alone, on another thread, because the main thread does not come back from what it is loading."""
    from fcgihost import ending

    for scope in cleanup.loads():
        scope.run(_log_failed_cleanup)
    ending.run_cleanups(_log_failed_cleanup, None)


def log_stacks(why):
    """Logs the stacks of all threads."""
    _fcgihost.log(_LOG_INFO, "%s: the stacks of all threads\n%s" % (why, _printable(_format_stacks())))


def _format_stacks():
    from fcgihost import stacks

    return stacks.format_stacks(_fcgihost.activities())


def _lock_folders(settings):
    """The same for all processes that serve the same applications by the same settings, as siblings of mod_fcgid do."""
    identity = "\0".join([str(settings["file"]), *(
        str(value) for application in settings["applications"] for value in application.values())])
    return folders.candidates(folders.places(os.environ), "fcgihost-%d-%08x" % (os.geteuid(), loader.checksum(os.fsencode(identity))))


def _tasks(settings):
    """The imports' and the applications' startup.Tasks."""
    imports = [_import_task(target) for target in settings["imports"]]
    applications = [programs.make_task(application, settings["retry_delay"]) for application in settings["applications"]]
    programs.route_redirects(settings["applications"], applications)
    return imports, applications


def _import_task(target):
    return startup.Task("start-up import " + target, lambda watch: loader.load_import(target, watch), loader.Watch())


def _startup(settings, imports, applications):
    runtime.set_lock_folders(_lock_folders(settings))
    return startup.Startup(
        _StartupHost, startup.Settings(settings["require"], settings["retry_delay"], settings["retry_max_delay"],
                                       settings["exits"]), imports, applications)


class _StartupHost:
    """What startup.Startup needs of the host."""

    @staticmethod
    def begin_attempt(text):
        _fcgihost.begin_step(_STEP_IMPORT, text)

    @staticmethod
    def begin_cleanup(name):
        _begin_cleanup(name)

    @staticmethod
    def end_attempt(failure):
        startup.leave_forked_child(_PID, failure)
        _fcgihost.begin_step(_STEP_NONE, "")
        _fcgihost.take_signals()

    @staticmethod
    def wait(seconds, next_attempt):
        return _fcgihost.wait(seconds, next_attempt)

    @staticmethod
    def log(level, text):
        _fcgihost.log(_LEVELS[level], text)

    @staticmethod
    def format_exception(exception):
        return format_exception(exception)

    @staticmethod
    def log_cleanup(name, exception):
        _log_failed_cleanup(name, exception)


def _begin_cleanup(name):
    _fcgihost.begin_step(_STEP_CLEANUP, name)


def _begin_executor(name):
    _fcgihost.begin_step(_STEP_THREADS, "the end of executors, " + name)


def _log_executor(name, exception):
    if isinstance(exception, interrupt.Interrupted):
        _fcgihost.log(_LOG_ERROR, "stopping: executors did not end, and %s was interrupted: their work has to watch "
                      "fcgihost.stopping\n%s" % (name, _format_stacks()))
    else:
        _fcgihost.log(_LOG_ERROR, "%s failed, the others still run\n%s" % (name, format_exception(exception)))


def _log_failed_cleanup(name, exception):
    what = "failed"
    if isinstance(exception, interrupt.Interrupted):
        what = "did not end in time and was interrupted"
    _fcgihost.log(_LOG_ERROR, "the cleanup %s %s, the others still run\n%s" % (name, what, format_exception(exception)))


def _report(what, exception):
    _fcgihost.log(_LOG_ERROR, "%s failed\n%s" % (what, format_exception(exception)))


def describe_application(application):
    """One line on what was loaded: "function hello.application of /srv/hello.py"."""
    application = getattr(application, "__wrapped__", application)
    kind = type(application).__name__
    named = application if hasattr(application, "__qualname__") else type(application)
    file = getattr(sys.modules.get(named.__module__), "__file__", None)
    return _printable("%s %s.%s%s" % (kind, named.__module__, named.__qualname__, " of %s" % file if file else ""))


def format_exception(exception):
    """The traceback as printable text, without the frames of the host and of the import system that lead to it."""
    start = exception.__traceback__
    while start and start.tb_frame.f_code.co_filename.startswith(_OWN_FILES):
        start = start.tb_next
    return _printable(errors.format_exception(exception, start)).rstrip("\n")
