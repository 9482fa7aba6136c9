"""Cleanups: functions that release what was acquired, run once, by the process that registered them."""

import itertools
import os
import sys
from _thread import RLock, _local as Local  # threading, which exports them, is slow to import

from fcgihost import errors, interrupt, status_items

_IS_HOST = "_fcgihost" in sys.builtin_module_names

_local = Local()            # .stack: the scopes that are active in this thread
_loads = []                 # scopes that have been active, and are neither adopted nor closed
_orders = itertools.count()
_mutex = RLock()            # guards all scopes; reentrant, as a finaliser may run at any point


class TooLate(RuntimeError):
    """The cleanups of a lifetime have run: it takes no more."""


class Scope:
    """The cleanups of one lifetime: the process's, an attempt's at an import, a script's load's, a request's.

    Any thread may call any method. name: whose lifetime it is, for messages.
    """

    def __init__(self, name, module=None):
        """module: for a script's scope, the name of the module that is loaded while it is active. Ordinary modules that
        are imported meanwhile stay when the script is loaded anew: what they register goes to the scope ordinary."""
        self.name = name
        self.module = module
        self.ordinary = Scope("what %s imports" % name) if module is not None else None
        self._cleanups = []
        self._is_running = False
        self._is_closed = False
        self._adopter = None

    def __repr__(self):
        return "<fcgihost cleanups of %s: %d>" % (self.name, len(self._cleanups))

    def register(self, func, /, *args, **kwargs):
        """Has func(*args, **kwargs) called when the lifetime ends; registered twice, it is called twice.

        Returns func, so it decorates. While the cleanups run, one more still runs. Raises TypeError if func
        can't be called, RuntimeError once all have run.
        """
        if not callable(func):
            raise TypeError("a cleanup must be callable, not %s" % type(func).__name__)
        if not self._add(_Cleanup(func, args, kwargs)):
            raise TooLate(
                "cleanup %s comes too late: the cleanups of %s have run" % (describe(func), self._owner().name)
            )
        return func

    def unregister(self, func):
        """Forgets all registrations that equal func. Does nothing if there is none (as atexit.unregister)."""
        with _mutex:
            candidates = list(self._owner()._cleanups)
        found = {id(cleanup) for cleanup in candidates if cleanup.func == func}  # __eq__ runs without the mutex
        with _mutex:
            cleanups = self._owner()._cleanups
            cleanups[:] = [cleanup for cleanup in cleanups if id(cleanup) not in found]
            self._owner()._tell()

    def run(self, log, on_start=None):
        """Calls the cleanups, last in first out, each once ever; then the scope is closed. Returns how many ran.

        log(name, exception) gets what a cleanup raised, SystemExit and KeyboardInterrupt too; on_start(name)
        is called before each: a cleanup that hangs is the last one named. A forked child does not call those of
        its parent. While one run is going on, another returns 0 at once.
        """
        with _mutex:
            if self._is_running:
                return 0
            self._is_running = True
        try:
            with self.active() if self in _loads else _nothing:
                return self._run_all(log, on_start)
        finally:
            self._is_running = False

    def pending(self):
        """The names of the cleanups that are still to run, in the order in which they would."""
        with _mutex:
            cleanups = list(self._owner()._cleanups)
        return [cleanup.name for cleanup in reversed(cleanups) if cleanup.pid == os.getpid()]

    def count(self):
        """How many cleanups are still to run, without those that it would adopt."""
        pid = os.getpid()
        return sum(cleanup.pid == pid and cleanup.func != process_scope.adopt for cleanup in list(self._cleanups))

    def describe(self):
        """For the status; asked of the process's scope, it answers for all but those of requests."""
        scopes = [(scope, scope.count()) for scope in (self, *loads())]
        return [status_items.Item("cleanups", scope.name, size=count) for scope, count in scopes if count or scope is self]

    def adopt(self, scope):
        """Takes over the cleanups of scope, after its own and in their order, and those registered there later.

        Raises RuntimeError if this scope is closed (then scope keeps them), ValueError if it is scope itself.
        """
        with _mutex:
            owner, given = self._owner(), scope._owner()
            if owner is given:
                raise ValueError("%s can't adopt its own cleanups" % owner.name)
            if owner._is_closed:
                raise TooLate("the cleanups of %s have run: it adopts no more" % owner.name)
            owner._cleanups.extend(given._cleanups)
            given._cleanups.clear()
            given._adopter = owner
            _forget_load(given)
        if owner is process_scope:
            _arrange_exit()

    def active(self):
        """A context in which register_cleanup(), called by this thread, means this scope. May be nested."""
        return _Activation(self)

    def _owner(self):
        scope = self
        while scope._adopter is not None:
            scope = scope._adopter
        return scope

    def _add(self, cleanup):
        with _mutex:
            owner = self._owner()
            if owner._is_closed:
                return False
            owner._cleanups.append(cleanup)
            owner._tell()
        if owner is process_scope:
            _arrange_exit()
        return True

    def _tell(self):
        if self is process_scope or self in _loads:
            status_items.changed()  # the status does not show those of requests

    def _run_all(self, log, on_start):
        count = 0
        while True:
            cleanup = self._take()
            if cleanup is None:
                return count
            cleanup.run(log, on_start)
            count += 1

    def _take(self):
        """The next cleanup of this process; None closes the scope."""
        pid = os.getpid()
        with _mutex:
            while self._cleanups:
                cleanup = self._cleanups.pop()
                if cleanup.pid == pid:
                    self._tell()
                    return cleanup
            self._is_closed = True
            _forget_load(self)
            return None


class _Cleanup:
    __slots__ = ("func", "args", "kwargs", "name", "pid", "order")

    def __init__(self, func, args=(), kwargs=None, name=None):
        self.func = func
        self.args = args
        self.kwargs = kwargs or {}
        self.name = name or describe(func)
        self.pid = os.getpid()
        self.order = next(_orders)

    def run(self, log, on_start):
        if on_start is not None:
            _try(on_start, self.name)
        try:
            with interrupt.possible():
                self.func(*self.args, **self.kwargs)
        except BaseException as exception:  # not even a SystemExit keeps the others from running
            _try(log, self.name, exception)


class _Activation:
    def __init__(self, scope):
        self._scope = scope

    def __enter__(self):
        with _mutex:
            owner = self._scope._owner()
            if owner is not process_scope and not owner._is_closed and owner not in _loads:
                _loads.append(owner)
        if not hasattr(_local, "stack"):
            _local.stack = []
        _local.stack.append(self._scope)
        return self._scope

    def __exit__(self, *_):
        _local.stack.pop()


class _Nothing:
    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


_nothing = _Nothing()
process_scope = Scope("the process")
status_items.add(process_scope)


def register_cleanup(func, /, *args, **kwargs):
    """Calls func(*args, **kwargs) at the end of what registers it; returns func, so that it can be a decorator.

    Registered in a start-up import, it is called when that attempt fails, else when the process stops; in a script
    file, or a module that it got by import_module(), once that load of it has been replaced and its last request has
    ended; anywhere else, when the process stops. Cleanups run last in first out, each once, in the process that
    registered them and in no forked child; one that raises is logged, and the others still run. Outside the host they
    run at the interpreter's exit. Raises TypeError if func can't be called, RuntimeError if the cleanups have run.
    """
    return current().register(func, *args, **kwargs)


def unregister_cleanup(func):
    """Forgets func, wherever it was registered, except on requests. Does nothing if it was not registered."""
    with _mutex:
        scopes = [process_scope, *_loads]
    for scope in scopes:
        scope.unregister(func)


def active():
    """The scope that is active in this thread, or None."""
    stack = getattr(_local, "stack", None)
    return stack[-1] if stack else None


def loads():
    """The scopes of what is being loaded, the latest first."""
    with _mutex:
        return list(reversed(_loads))


def active_outside():
    """The scope that is active in this thread, without those of scripts; or None."""
    for scope in reversed(getattr(_local, "stack", ())):
        if scope.module is None:
            return scope
    return None


def defining():
    """The scope of what is defined now: that of the module that this thread is running the body of; None: the process.

    While a script is loaded that is the script's, but for the ordinary modules that it imports, which outlive it.
    """
    scope = active()
    if scope is None or scope.module is None:
        return scope
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return scope if frame is None or frame.f_globals.get("__name__") == scope.module else scope.ordinary


def current():
    """The scope that register_cleanup() means in this thread."""
    return defining() or process_scope


def register_for(scope, name, func):
    """Registers func, called name, for something that was defined in scope and acquires only now.

    It belongs to the start-up import that this thread is running; else to the scope of the definition; if that is
    closed, to the process. Raises RuntimeError if that is closed too.
    """
    cleanup = _Cleanup(func, name=name)
    for owner in (active_outside(), scope, process_scope):
        if owner is not None and owner._add(cleanup):
            return
    raise TooLate("%s comes too late: the cleanups of the process have run" % name)


def adopt_at_end(scope):
    """The cleanups of scope that have not run when the process ends run then, at this place in the order.

    Returns a function that takes this back. Raises RuntimeError if the cleanups of the process have run.
    """
    adoption = _Cleanup(process_scope.adopt, (scope,), name="those of " + scope.name)
    if not process_scope._add(adoption):
        raise TooLate("%s comes too late: the cleanups of the process have run" % scope.name)

    def cancel():
        with _mutex:
            process_scope._cleanups[:] = [other for other in process_scope._cleanups if other is not adoption]
    return cancel


def run_together(scopes, log, on_start=None):
    """Runs the cleanups of scopes that end at the same time: the last one registered comes first, wherever it was.

    log, on_start: as Scope.run. Returns how many ran.
    """
    together = Scope(scopes[0].name if scopes else "nothing")
    for scope in scopes:
        if scope._adopter is None and not scope._is_closed:
            together.adopt(scope)
    with _mutex:
        together._cleanups.sort(key=lambda cleanup: cleanup.order)
    return together.run(log, on_start)


def describe(func):
    """A readable name of a callable: "module.qualname"."""
    inner = getattr(func, "func", None)
    if callable(inner) and not hasattr(func, "__qualname__"):
        return describe(inner)  # functools.partial
    if not hasattr(func, "__qualname__"):
        return describe(type(func)) + " object"
    module = getattr(func, "__module__", None) or type(getattr(func, "__self__", None)).__module__
    return "%s.%s" % (short_name(module), func.__qualname__)


def short_name(module):
    """What messages call the module of that name: a script's by its file."""
    if not module.startswith("fcgihost.loaded."):
        return module
    from fcgihost import loaded

    return loaded.short_name(module)


def _try(function, *args):
    try:
        function(*args)
    except BaseException:
        pass  # a log that fails must not keep the others from running


def _forget_load(scope):
    if scope in _loads:
        _loads.remove(scope)
        status_items.changed()  # it is shown no longer, whoever runs its cleanups


def _arrange_exit():
    """Outside the host the interpreter's exit runs the process's cleanups: nobody else does."""
    global _is_exit_arranged
    if _is_exit_arranged or _IS_HOST:
        return
    _is_exit_arranged = True
    import atexit

    atexit.register(process_scope.run, lambda name, exception: errors.report("cleanup " + name, exception))


def _after_fork():
    global _mutex
    _mutex = RLock()


_is_exit_arranged = False
os.register_at_fork(after_in_child=_after_fork)
