"""Start-up: imports what is to be there before requests come, and tries again what fails until it works."""

import os
import time

from fcgihost import cleanup, interrupt

_LOOK = 0.25  # seconds between two looks whether a file of what failed has changed


class Settings:
    """The settings of [startup]: seconds where they are times."""

    def __init__(self, require=False, retry_delay=1.0, retry_max_delay=60.0, exits=False):
        self.require = require
        self.retry_delay = retry_delay
        self.retry_max_delay = retry_max_delay
        self.exits = exits


class Task:
    """Something to load. what: how messages call it; load(watch) loads it and returns it.

    watch.has_changed() tells whether a file that the last failure came from has changed since.
    """

    def __init__(self, what, load, watch):
        self.what = what
        self.load = load
        self.watch = watch
        self.attempts = 0
        self.due = 0.0        # on the clock; the first attempt is due at once
        self.began = None
        self.result = None


class Stopped(Exception):
    """The process ends before everything was loaded."""


class Failed(Exception):
    """Something could not be loaded, and the settings say that the process ends then."""


class Startup:
    """Runs the imports in their order, and loads the applications.

    An import waits until those before it have succeeded. The applications wait for them if they are required. host
    has begin_attempt(text), end_attempt(exception or None), wait(seconds, seconds to the next attempt) -> whether
    the process ends, log(level, text), format_exception(exception), log_cleanup(name, exception).
    """

    def __init__(self, host, settings, imports, applications, clock=time.monotonic, chance=None):
        self._host = host
        self._settings = settings
        self._imports = list(imports)
        self._applications = list(applications)
        self._clock = clock
        self._chance = chance or _chance
        self._untold = []  # of the applications, those that are loaded and may not serve yet

    def run(self, on_loaded):
        """Until all is loaded. on_loaded(application's task) is called once requests for it can be served.

        Raises Stopped or Failed.
        """
        while True:
            if not self._is_held():
                for task in self._untold:
                    on_loaded(task)
                self._untold.clear()
            if not self._imports and not self._applications:
                return
            task = self._next()
            if self._clock() < task.due:
                self._wait(task)
            elif self.attempt(task):
                self._forget(task)
            elif self._settings.exits:
                raise Failed(task.what)

    def run_once(self):
        """One attempt at each. Returns a list of what failed; each task has its result."""
        return [task for task in (*self._imports, *self._applications) if not self.attempt(task, is_last=True)]

    def attempt(self, task, is_last=False):
        """Returns whether it succeeded; what a failure had registered as cleanups has run then."""
        task.attempts += 1
        if task.began is None:
            task.began = self._clock()
        scope = cleanup.Scope("%s, attempt %d" % (task.what, task.attempts))
        failure = None
        self._host.begin_attempt(scope.name)
        try:
            with scope.active(), interrupt.possible():
                task.result = task.load(task.watch)
        except BaseException as error:
            failure = error
        self._host.end_attempt(failure)
        if failure is None:
            cleanup.process_scope.adopt(scope)
            if not is_last:
                self._log_success(task)
            return True
        count = scope.run(self._host.log_cleanup, self._host.begin_cleanup)
        self._host.end_attempt(None)
        self._log_failure(task, failure, count, is_last)
        if isinstance(failure, interrupt.Interrupted):
            raise Stopped(task.what)
        return False

    def _is_held(self):
        """Do requests wait for an import?"""
        return self._imports and self._settings.require

    def _tasks(self):
        """Those whose turn it is."""
        return self._imports[:1] + ([] if self._is_held() else self._applications)

    def _next(self):
        """What is to be tried next: the one that is due first."""
        now = self._clock()
        return min(self._tasks(), key=lambda task: max(task.due, now))

    def _wait(self, task):
        seconds = task.due - self._clock()
        if self._host.wait(min(seconds, _LOOK), seconds):
            raise Stopped(task.what)
        for other in self._imports[:1] + self._applications:
            if other.attempts and other.watch.has_changed():
                other.due = self._clock()

    def _forget(self, task):
        if task in self._applications:
            self._applications.remove(task)
            self._untold.append(task)
        else:
            self._imports.remove(task)

    def _delay(self, attempts):
        """The seconds to the next attempt: doubled each time, a tenth more or less by chance, up to the maximum."""
        doubled = self._settings.retry_delay * 2.0 ** min(attempts - 1, 60)
        return min(doubled * (0.9 + 0.2 * self._chance()), self._settings.retry_max_delay)

    def _log_success(self, task):
        seconds = self._clock() - task.began
        again = "" if task.attempts == 1 else ", %.1f s after the first" % seconds
        self._host.log("info", "%s: loaded at attempt %d%s" % (task.what, task.attempts, again))

    def _log_failure(self, task, failure, cleanups, is_last):
        if isinstance(failure, interrupt.Interrupted):
            end = "interrupted, because the process ends"
        elif is_last:
            end = "can't be loaded"
        elif self._settings.exits:
            end = "attempt %d failed, and [startup] on_failure = exit ends the process" % task.attempts
        else:
            delay = self._delay(task.attempts)
            task.due = self._clock() + delay
            end = "attempt %d failed, the next one comes in %.1f s, or when a file of it changes%s" % (
                task.attempts, delay, self._consequence(task))
        ran = "; %d cleanup%s of it ran" % (cleanups, "" if cleanups == 1 else "s") if cleanups else ""
        self._host.log("error", "%s: %s%s\n%s" % (task.what, end, ran, self._host.format_exception(failure)))

    def _consequence(self, task):
        is_required = task in self._applications or self._settings.require
        return "; requests get 503 until then" if is_required else ""


def _chance():
    return int.from_bytes(os.urandom(4), "big") / 2 ** 32


def leave_forked_child(pid, failure):
    """After os.fork() in an import the child comes here too, and ends as a script would."""
    if os.getpid() == pid:
        return
    code = 1
    if failure is None:
        code = 0
    elif isinstance(failure, SystemExit):
        code = failure.code if isinstance(failure.code, int) else 0 if failure.code is None else 1
    os._exit(code & 0xFF)
