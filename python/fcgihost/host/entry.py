"""The functions of the package that C calls, by name (py_module_call in embed/py_support.h); it calls no others.

Each is called with the GIL, on the thread that its docstring names, or else on any.
"""

import faulthandler
import marshal
import os
import sys
import time

import _fcgihost

from fcgihost import cleanup, errors, folders, interrupt, runtime, status_items
from fcgihost.host import loader, output, programs, repeats, startup, status_report

_LEVELS = {"error": _fcgihost.LOG_ERROR, "warning": _fcgihost.LOG_WARNING, "info": _fcgihost.LOG_INFO,
           "debug": _fcgihost.LOG_DEBUG}
_AFRESH_SECONDS = 0.3
_PID = os.getpid()
_SCRIPT_PAGES = {403: ("403 Forbidden", "This can't be run.\n"), 404: ("404 Not Found", "Nothing is here.\n"),
                 500: ("500 Internal Server Error", None)}
OWN_FILES = (os.path.dirname(os.path.dirname(__file__)) + os.sep, "<frozen importlib")  # C asks for it too
RequestTimeout, ClientGone = errors.RequestTimeout, errors.ClientGone  # … and for these


class FileWrapper:
    """wsgi.file_wrapper (PEP 3333): iterates over a file in blocks; close() closes the file.

    It has seek() and tell() where the file has, so that frameworks can send a range without reading what precedes it.
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
    """What C takes as a string: surrogates and NUL, which exceptions' texts may have, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def set_up(switch_interval, interrupt_signal, stacks_signal, stacks_descriptor):
    """Main thread, once, before any code of the application runs.

    switch_interval: seconds; 0 keeps Python's default. interrupt_signal: makes the main thread leave application code
    (interrupt.py). stacks_signal: writes the stacks of all threads to stacks_descriptor, without the GIL.
    """
    if switch_interval:
        sys.setswitchinterval(switch_interval)
    output.set_up()
    interrupt.set_up(interrupt_signal)
    faulthandler.register(stacks_signal, file=stacks_descriptor, all_threads=True)
    errors.report_to(_report)
    status_items.wake = _fcgihost.wake


def watch_signals(descriptor):
    """Main thread. From now on each signal that the application handles writes a byte to the descriptor."""
    import _signal

    _signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)


def ignore_signals():
    """Main thread. Removes the application's signal handlers."""
    import _signal

    for number in _signal.valid_signals():
        if callable(_signal.getsignal(number)):
            _signal.signal(number, _signal.SIG_IGN)


def start_up(settings, on_loaded, before):
    """Main thread. Loads the imports and applications that settings names, with retries. Calls
    on_loaded(index of the application, (responder, authorizer, filter)) when requests for it can be served.

    before: the bytes that start_up returned to the program that this one replaced in the same process, or None.
    Returns True if the process goes on, False if it must stop ([startup] on_failure = exit), or bytes if the next
    attempt needs a fresh interpreter: they are its `before`.
    """
    imports, applications = _tasks(settings)
    loading = _startup(settings, imports, applications)
    if before is not None:
        loading.resume(marshal.loads(before))
    _begin_reloading(settings)
    try:
        _import_late()
        loading.run(lambda task: _serve(settings, on_loaded, applications.index(task), task.result))
    except startup.Stopped:
        pass
    except startup.Failed:
        return False
    except startup.Afresh:
        return marshal.dumps(loading.state())
    return True


_status_report = status_report.StatusReport(_fcgihost.tell)
_reloader = None  # a reload.Reloader
_replacer = None  # a replace.Replacer
_applications = 0  # how many there are
_served = {}  # index of an application -> what was loaded for it, of those whose requests keep their generation


def _begin_reloading(settings):
    global _reloader, _replacer, _applications
    _served.clear()
    _applications = len(settings["applications"])
    _reloader = _replacer = None
    if settings["reload"] == "process":
        from fcgihost.host import reload, replace

        _replacer = replace.Replacer(_ReloadHost, reload.Settings(True, settings["interval"], settings["watch"]),
                                     imported=replace.record_imports())
    if any(programs.has_generations(application) for application in settings["applications"]):
        from fcgihost import generations
        from fcgihost.host import reload

        generations.store().on_switch = _switch
        _reloader = reload.Reloader(generations.store(), _ReloadHost, reload.Settings(
            settings["reload"] == "script", settings["interval"], settings["watch"]))


def _serve(settings, on_loaded, index, loaded):
    """From now on requests for an application get what was loaded."""
    if not programs.has_generations(settings["applications"][index]):
        on_loaded(index, loaded)
        return
    from fcgihost import generations

    def serve(hold):
        _served[index] = loaded
        on_loaded(index, programs.callables(loaded, hold.generation))
        _switch(hold)
    generations.store().with_current(serve)


def _switch(hold):
    """From now on requests that begin get the scripts of that generation, and keep it."""
    generation = hold.generation
    _fcgihost.switch([(index, programs.callables(loaded, generation)[0]) for index, loaded in _served.items()], hold,
                     generation.number)


def do_chores():
    """Main thread, while serving: what is due. Returns the seconds until something will be, or None."""
    parts = (_status_report,) if runtime.process.stopping else (_status_report, _reloader, _replacer)
    due = [seconds for seconds in (part.tend() for part in parts if part is not None) if seconds is not None]
    return min(due, default=None)


class _LogHost:
    """What start-up and the reloader need of the host alike."""

    @staticmethod
    def log(level, event, text):
        _fcgihost.log(_LEVELS[level], event, text)

    @staticmethod
    def format_exception(exception):
        return format_exception(exception)


class _ReloadHost(_LogHost):
    """What reload.Reloader needs of the host."""

    @staticmethod
    def start_thread(function):
        import threading

        threading.Thread(target=function, name="fcgihost-reload", daemon=False).start()  # the end waits for it

    @staticmethod
    def log_cleanup(name, exception):
        _log_failed_cleanup(name, exception)

    @staticmethod
    def begin_cleanup(name):
        _begin_cleanup(name)

    @staticmethod
    def end_cleanups():
        _fcgihost.begin_step(_fcgihost.STEP_NONE, "")

    @staticmethod
    def end_load(failure):
        startup.leave_forked_child(_PID, failure)

    @staticmethod
    def note(keys, failure):
        error = None if failure is None else _printable(errors.describe(failure))
        for index, loaded in list(_served.items()):
            if programs.is_among(loaded, keys):
                _fcgihost.note_reload(index, error)

    @staticmethod
    def note_failure(text):
        for index in range(_applications):
            _fcgihost.note_reload(index, _printable(text))

    @staticmethod
    def wake():
        _fcgihost.wake()

    @staticmethod
    def claim(mark):
        """One worker tries a change; it keeps the lock until it tries another one."""
        from fcgihost import locks

        try:
            claimed = locks.lock(locks.OWN + mark, timeout=0)
            claimed.__enter__()
        except TimeoutError:
            return False
        except OSError:
            return True  # nowhere to meet the others
        _ReloadHost._claimed, before = claimed, _ReloadHost._claimed
        if before is not None:
            before.__exit__()
        return True

    _claimed = None

    @staticmethod
    def start_check(names):
        return _fcgihost.start_check(os.fsencode("\n".join(names)))

    @staticmethod
    def reload(mark, why):
        if not _fcgihost.ask_reload("%s: %s" % (mark, why)):
            _fcgihost.reload()

    @staticmethod
    def reap(pid):
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # the application has reaped it
            return 1
        return None if found == 0 else os.waitstatus_to_exitcode(status)

    @staticmethod
    def kill(pid):
        import signal

        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except OSError:
            pass  # it is gone


def _import_late():
    """Imports threading, before any thread serves: until Python 3.13 it takes the thread that imports it for the main
    thread. With it comes what the end needs."""
    try:
        import threading  # noqa: F401
        from fcgihost.host import ending, stacks  # noqa: F401
    except Exception as error:  # whoever needs them tries again
        errors.report("import of threading", error)


def start_up_once(settings):
    """Main thread. One attempt at each import and application. Returns a list with what on_loaded gets for each
    application, None for one that failed or needs an import that failed, and whether everything was loaded."""
    also = [name for name in os.environ.pop("FCGIHOST_CHECK_MODULES", "").split("\n") if name]
    imports, applications = _tasks(settings)
    failed = _startup(settings, imports, applications).run_once()
    if not failed and also:
        failed = _startup(settings, [_also_task(also)], []).run_once()
    is_required = settings["require"] or settings["exits"]
    return [None if failed and is_required else task.result and _callables(task.result) for task in applications], \
        not failed


def _also_task(names):
    """The startup.Task that imports what another process has: [reload] mode = process tries it so."""
    from fcgihost import generations

    return startup.Task("a module that has been imported", lambda watch: [
        generations.import_module(name) if "/" in name else loader.load_import(name) for name in names], loader.Watch())


def _callables(loaded):
    if not isinstance(loaded[0], programs.Script):
        return loaded
    from fcgihost import generations

    return programs.callables(loaded, generations.store().current)


def describe_answer(exception):
    """For an exception that stands for a response: (status line, page text or None for the default, seconds for
    Retry-After, event and log message, exception whose traceback is logged with it or None). For any other: None."""
    if isinstance(exception, errors.ResourceUnavailable):
        return _describe_unavailable(exception)
    if isinstance(exception, errors.ScriptError):
        status, page = _SCRIPT_PAGES[exception.status]
        return status, page, 0, "script-refused", _one_line("%d: %s" % (exception.status, exception)), exception.__cause__
    return None


def _describe_unavailable(exception):
    cause = exception.__cause__
    because = " (%s: %s)" % (type(cause).__name__, cause) if cause is not None and str(cause) not in str(exception) else ""
    seconds = -int(-min(max(1, exception.retry_after), 86400) // 1)  # rounded up; in this order for inf and nan
    return ("503 Service Unavailable", "Something that this needs is not available now. Please try again.\n", seconds,
            "resource-unavailable", _one_line("503: %s%s" % (exception, because)), None)


def _one_line(text):
    return _printable(text).replace("\n", " ")


def set_stopping():
    """The drain begins: sets fcgihost.stopping."""
    runtime.set_stopping()


def end_request(request):
    """The thread that served the request, after the response has been sent. Runs the cleanups that were registered
    on it; request: what current_request() made."""
    runtime.end_request(request, _log_failed_request_cleanup)


def end(seconds, is_stuck, is_afresh):
    """Main thread. Runs the cleanups, shuts down executors, joins the application's threads and runs atexit's
    functions, for that many seconds at most.

    is_stuck: a worker thread is still in Python. is_afresh: the process is replaced, so that threads that don't end
    soon are simply left to the exec. Returns True if nothing is left in Python: only then may it be finalized.
    """
    from fcgihost.host import ending

    deadline = time.monotonic() + seconds
    runtime.set_stopping()
    if _replacer is not None:
        _replacer.stop()
    if _reloader is not None:
        _reloader.finish()
    interrupted = ending.run_cleanups(_log_failed_cleanup, _begin_cleanup)
    hanging = ending.end_executors(_log_executor, _begin_executor)
    if hanging:
        ending.end_children()
    _fcgihost.begin_step(_fcgihost.STEP_THREADS, "the application's threads")
    seconds = max(deadline - time.monotonic(), 0)
    left = ending.join_threads(min(seconds, _AFRESH_SECONDS) if is_afresh else seconds)
    if left and not is_afresh:
        _fcgihost.log(_fcgihost.LOG_ERROR, "stop-threads-left",
                      "stopping: these threads of the application did not end: %s: a thread that "
                      "is no daemon must watch fcgihost.stopping\n%s" % (
                          ", ".join(thread.name for thread in left), _format_stacks()))
    _fcgihost.begin_step(_fcgihost.STEP_EXIT, "an atexit function")
    ending.run_exit_functions()
    return not left and not interrupted and not hanging and not is_stuck


def run_cleanups():
    """A thread of the host: runs the cleanups alone, because the main thread is stuck in an import."""
    from fcgihost.host import ending

    for scope in cleanup.loads():
        scope.run(_log_failed_cleanup)
    ending.run_cleanups(_log_failed_cleanup, None)


def log_stacks(why):
    """Logs the stacks of all other threads. why: the first words of the message."""
    _fcgihost.log(_fcgihost.LOG_INFO, "stacks",
                  "%s: the stacks of all threads\n%s" % (why, _printable(_format_stacks())))


def log_stack(request, request_id, seconds, setting, then, ident):
    """A task's thread: logs the stack of a thread that serves a request for longer than a setting allows.

    request: "GET /path". then: what happens to it, text.
    """
    frame = sys._current_frames().get(ident)
    stack = "its stack, most recent call last:\n" + errors.format_stack(frame).rstrip("\n") if frame else "not in Python"
    event = "request-slow" if "slow" in setting else "request-timeout"
    _fcgihost.log(_fcgihost.LOG_WARNING, event, _printable("%s: has been running for %.1f s, longer than %s%s; %s" % (
        request, seconds, setting, then, stack)), request_id)


def log_timeout(request, what, exception):
    """The thread that served it: logs what becomes of a request that RequestTimeout has ended.

    exception: None if log_stack() has told where the request was; else its traceback does.
    """
    text = "%s: it took longer than [limits] request_time: %s" % (request, what)
    if exception is not None:
        text += "; where that was, most recent call last:\n" + format_exception(exception).partition("\n")[2]
    _fcgihost.log(_fcgihost.LOG_WARNING, "request-timeout", _printable(text))


def _format_stacks():
    from fcgihost.host import stacks

    return stacks.format_stacks(_fcgihost.activities())


def _lock_folders(settings):
    """Where lock files may be put. The same for all processes with the same applications and settings, as mod_fcgid
    starts several."""
    identity = "\0".join([str(settings["file"]), *(
        str(value) for application in settings["applications"] for value in application.values())])
    return folders.candidates(folders.places(os.environ), "fcgihost-%d-%08x" % (os.geteuid(), loader.checksum(os.fsencode(identity))))


def _tasks(settings):
    """Two lists of startup.Task: imports, applications."""
    imports = [_import_task(target) for target in settings["imports"]]
    is_whole = settings["reload"] == "process"
    applications = [programs.make_task(application, settings["retry_delay"], is_whole)
                    for application in settings["applications"]]
    for kind, tasks in (("import", imports), ("application", applications)):
        for number, task in enumerate(tasks):
            task.place = kind, number
    programs.route_redirects(settings["applications"], applications)
    return imports, applications


def _import_task(target):
    return startup.Task("start-up import " + target, lambda watch: loader.load_import(target, watch), loader.Watch())


def _startup(settings, imports, applications):
    runtime.set_lock_folders(_lock_folders(settings))
    return startup.Startup(
        _StartupHost, startup.Settings(settings["require"], settings["retry_delay"], settings["retry_max_delay"],
                                       settings["exits"]), imports, applications)


class _StartupHost(_LogHost):
    """The host, as startup.Startup uses it."""

    @staticmethod
    def begin_attempt(text):
        _fcgihost.begin_step(_fcgihost.STEP_IMPORT, text)

    @staticmethod
    def begin_cleanup(name):
        _begin_cleanup(name)

    @staticmethod
    def end_attempt(failure):
        startup.leave_forked_child(_PID, failure)
        _fcgihost.begin_step(_fcgihost.STEP_NONE, "")
        _fcgihost.take_signals()

    @staticmethod
    def wait(seconds, next_attempt):
        is_stopped = _fcgihost.wait(seconds, next_attempt)
        if not is_stopped:
            do_chores()
        return is_stopped

    @staticmethod
    def report(untried, failed_applications, failed_imports):
        _fcgihost.report_start(untried, failed_applications, failed_imports)

    @staticmethod
    def ask_heal(what, state):
        return _fcgihost.ask_heal(what, marshal.dumps(state))

    @staticmethod
    def note(task, state, error, next_attempt):
        _status_report.tend()
        if task.place is None:
            return  # a trial's, which the status does not have
        kind, number = task.place
        _fcgihost.note_program(kind == "import", number, state, task.attempts, _printable(error),
                               -1.0 if next_attempt is None else next_attempt)

    @staticmethod
    def log_cleanup(name, exception):
        _log_failed_cleanup(name, exception)


def _begin_cleanup(name):
    _status_report.tend()
    _fcgihost.begin_step(_fcgihost.STEP_CLEANUP, name)


def _begin_executor(name):
    _fcgihost.begin_step(_fcgihost.STEP_THREADS, "the shutdown of executors, " + name)


def _log_executor(name, exception):
    if interrupt.is_cause(exception):
        _fcgihost.log(_fcgihost.LOG_ERROR, "stop-executors-hang",
                      "stopping: executors did not shut down, and %s was interrupted: their work "
                      "must watch fcgihost.stopping\n%s" % (name, _format_stacks()))
    else:
        _fcgihost.log(_fcgihost.LOG_ERROR, "cleanup-failed",
                      "%s failed, the others still run\n%s" % (name, format_exception(exception)))


def _log_failed_cleanup(name, exception):
    what = "failed"
    if interrupt.is_cause(exception):
        what = "did not end in time and was interrupted"
    _fcgihost.log(_fcgihost.LOG_ERROR, "cleanup-failed", "the cleanup %s %s, the others still run\n%s" % (
        name, what, format_exception(exception)))


def _log_failed_request_cleanup(name, exception):
    _fcgihost.log(_fcgihost.LOG_ERROR, "cleanup-failed", "the cleanup %s failed, the others still run%s" % (
        name, describe_failure(exception, name)))


def _report(what, exception):
    _fcgihost.log(_fcgihost.LOG_ERROR, "background-failed", "%s failed%s" % (what, describe_failure(exception, what)))


def describe_application(application):
    """Which object was loaded: "function hello.application of /srv/hello.py"."""
    application = getattr(application, "__wrapped__", application)
    kind = type(application).__name__
    named = application if hasattr(application, "__qualname__") else type(application)
    file = getattr(sys.modules.get(named.__module__), "__file__", None)
    return _printable("%s %s.%s%s" % (kind, named.__module__, named.__qualname__, " of %s" % file if file else ""))


_repeats = repeats.Repeats()


def describe_failure(exception, request):
    """What the log says behind the words that tell of a failure: a line break and the traceback, or, if the log has it
    already, the rest of the line. request: the name of the one that failed."""
    return _repeats.tell(request, format_exception(exception), _printable(errors.describe(exception)))


def format_exception(exception):
    """The traceback as printable text, without the frames of the host and the import system above the application's."""
    start = exception.__traceback__
    while start and start.tb_frame.f_code.co_filename.startswith(OWN_FILES):
        start = start.tb_next
    return _printable(errors.format_exception(exception, start)).rstrip("\n")
