"""Start-up: runs the imports and loads the applications, and tries again what fails until it succeeds."""

import os
import time

from fcgihost import cleanup, interrupt

_LOOK = 0.25   # seconds between two looks whether a file of what failed has changed
_HOPELESS = 3  # failures in an interpreter that can't be replaced, after which the log advises a restart


class Settings:
    """The settings of [startup]: seconds where they are times."""

    def __init__(self, require=False, retry_delay=1.0, retry_max_delay=60.0, exits=False):
        self.require = require
        self.retry_delay = retry_delay
        self.retry_max_delay = retry_max_delay
        self.exits = exits


class Task:
    """Something to load. what: how messages call it; load(watch) loads it and returns it.

    watch.has_changed() tells whether a file that the last failure came from has changed since; watch.state() and
    watch.resume(state) take that to another process.
    """

    def __init__(self, what, load, watch):
        self.what = what
        self.load = load
        self.watch = watch
        self.attempts = 0
        self.attempts_here = 0     # of them, in this interpreter
        self.due = 0.0             # on the clock; the first attempt is due at once
        self.began = None
        self.failure = None        # the last one's traceback
        self.place = None          # where the status has it: ("import" or "application", number)
        self.was_loaded = False    # in an interpreter that is gone
        self.is_loaded = False     # in this one
        self.result = None

    def state(self):
        """What resume() wants to know, of objects that the marshal module takes."""
        return (self.attempts, self.due, self.began, self.failure, self.was_loaded or self.is_loaded,
                self.watch.state())

    def resume(self, state):
        """Continues from the state of another process's task, which used the same clock."""
        self.attempts, self.due, self.began, self.failure, self.was_loaded, watched = state
        self.watch.resume(watched)
        if self.was_loaded:
            self.attempts, self.due = 0, 0.0


class Stopped(Exception):
    """The process stops before everything has been loaded."""


class Failed(Exception):
    """Something could not be loaded, and [startup] on_failure says to exit."""


class Afresh(Exception):
    """The next attempt has to begin in a fresh interpreter, as nothing is being served in this one.

    What an attempt leaves behind (threads, handlers, half of a registry) can't be taken back in the same one.
    """


class Startup:
    """Runs the imports in their order, and loads the applications.

    An import waits until those before it have succeeded. The applications wait for them if they are required. host
    has begin_attempt(text), end_attempt(exception or None), wait(seconds, seconds to the next attempt) -> whether
    the process ends, log(level, event, text), format_exception(exception), log_cleanup(name, exception), for the status
    note(task, "loading", "loaded" or "failed", error, seconds to the next attempt or None), and for a manager
    report(tasks that were not tried yet, applications that failed, imports that failed) and ask_heal(what, state) ->
    whether there is one, which tries again in a fresh process.
    """

    def __init__(self, host, settings, imports, applications, clock=time.monotonic, chance=None):
        self._host = host
        self._settings = settings
        self._imports = list(imports)
        self._applications = list(applications)
        self._clock = clock
        self._chance = chance or _chance
        self._all = [*self._imports, *self._applications]
        self._untold = []  # of the applications, those that are loaded and may not serve yet
        self._is_serving = False

    def state(self):
        """What resume() wants to know, of objects that the marshal module takes."""
        return [task.state() for task in self._all]

    def resume(self, state):
        """Continues from the state of another process with the same settings."""
        for task, its_state in zip(self._all, state):
            task.resume(its_state)
            if task.failure is not None and not task.was_loaded:
                self._host.note(task, "loading", "", None)
                self._host.note(task, "failed", _brief(task.failure), max(task.due - self._clock(), 0.0))

    def run(self, on_loaded):
        """Until all is loaded. on_loaded(application's task) is called once requests for it can be served.

        Raises Stopped, Failed or Afresh.
        """
        while True:
            if not self._is_held():
                for task in self._untold:
                    self._is_serving = True
                    on_loaded(task)
                self._untold.clear()
            self._report()
            if not self._imports and not self._applications:
                return
            task = self._next()
            if self._clock() < task.due:
                self._wait(task)
            elif self._is_serving and task.attempts_here and self._heal_elsewhere(task):
                continue
            elif self.attempt(task):
                self._forget(task)
            elif self._settings.exits:
                raise Failed(task.what)
            elif not self._is_serving:
                raise Afresh(task.what)

    def _heal_elsewhere(self, task):
        """Has a manager try task again in a fresh process, which takes this one's place if it succeeds there."""
        if not self._host.ask_heal(task.what, self.state()):
            return False
        task.attempts += 1
        task.due = self._clock() + self._delay(task.attempts)
        return True

    def _report(self):
        missing = [task for task in self._all if not task.is_loaded]
        failed = [task for task in missing if task.attempts_here]
        imports = sum(task in self._imports for task in failed)
        self._host.report(len(missing) - len(failed), len(failed) - imports, imports)

    def run_once(self):
        """One attempt at each. Returns a list of what failed; each task has its result."""
        return [task for task in (*self._imports, *self._applications) if not self.attempt(task, is_last=True)]

    def attempt(self, task, is_last=False):
        """Returns whether it succeeded. What a failure had registered as cleanups has run then, or, if this interpreter
        ends with it, runs at that end: there they have a deadline.
        """
        task.attempts += 1
        task.attempts_here += 1
        if task.began is None:
            task.began = self._clock()
        scope = cleanup.Scope("%s, attempt %d" % (task.what, task.attempts))
        failure = None
        self._host.begin_attempt(scope.name)
        self._host.note(task, "loading", "", None)
        try:
            with scope.active(), interrupt.possible():
                task.result = task.load(task.watch)
        except BaseException as error:
            failure = error
        self._host.end_attempt(failure)
        if failure is None:
            cleanup.process_scope.adopt(scope)
            task.is_loaded = True
            self._host.note(task, "loaded", "", None)
            if not is_last:
                self._log_success(task)
            return True
        if is_last or self._is_serving or interrupt.is_cause(failure):
            count = scope.run(self._host.log_cleanup, self._host.begin_cleanup)
            self._host.end_attempt(None)
        else:
            count = len(scope.pending())
            cleanup.process_scope.adopt(scope)
        if interrupt.is_cause(failure):
            self._log_interruption(task, failure, count)
            raise Stopped(task.what)
        self._log_failure(task, failure, count, is_last)
        if not is_last:
            self._report()
        return False

    def _is_held(self):
        """Do requests wait for an import?"""
        return self._imports and self._settings.require

    def _tasks(self):
        """The tasks that may be tried now."""
        return self._imports[:1] + ([] if self._is_held() else self._applications)

    def _next(self):
        """The task to try next: one that has not been tried before one that failed, else the one that is due first.

        Otherwise an import that never succeeds could keep applications that don't need it from being tried.
        """
        now = self._clock()
        return min(self._tasks(), key=lambda task: (max(task.due, now), task.attempts > 0))

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
        level = "debug" if task.was_loaded else "info"  # it has been said before
        self._host.log(level, "loaded", "%s: loaded at attempt %d%s" % (task.what, task.attempts, again))

    def _log_interruption(self, task, failure, cleanups):
        """No error, and so no traceback: whoever stopped the host wanted that."""
        self._host.note(task, "failed", "interrupted", None)
        self._host.log("info", "startup-interrupted", "%s: interrupted, because the process ends%s%s" % (
            task.what, _ran(cleanups), _innermost(failure)))

    def _log_failure(self, task, failure, cleanups, is_last):
        if is_last:
            end = "can't be loaded"
        elif self._settings.exits:
            end = "attempt %d failed, and [startup] on_failure = exit ends the process" % task.attempts
        else:
            delay = self._delay(task.attempts)
            task.due = self._clock() + delay
            end = "attempt %d failed, the next one comes in %.1f s, or when a file of it changes%s" % (
                task.attempts, delay, self._consequence(task))
        described = self._describe(task, failure)
        left = max(task.due - self._clock(), 0.0) if task.due else None  # to describe it may have taken long
        self._host.note(task, "failed", _brief(task.failure), left)
        self._host.log("error", "startup-attempt-failed", "%s: %s%s%s" % (task.what, end, _ran(cleanups), described))
        if self._is_serving and task.attempts_here == _HOPELESS:
            self._host.log("warning", "startup-attempts-hopeless",
                           "%s: failed %d times in an interpreter that serves others meanwhile: what these "
                           "attempts left behind in it may be in the way by now: restart fcgihost" % (
                               task.what, _HOPELESS))

    def _describe(self, task, failure):
        """The traceback on lines of its own; of the same failure again only the exception."""
        text = self._host.format_exception(failure)
        is_known = task.failure is not None and _essence(text) == _essence(task.failure)
        task.failure = text
        return "; as before: " + text.rpartition("\n")[2] if is_known else "\n" + text

    def _consequence(self, task):
        is_required = task in self._applications or self._settings.require
        return "; requests get 503 until then" if is_required else ""


def _ran(cleanups):
    return "; %d cleanup%s of it ran" % (cleanups, "" if cleanups == 1 else "s") if cleanups else ""


def _innermost(exception):
    """Where the application's code was when this was raised in it: "; it was in name(), file:line", or "" for nowhere."""
    found = ""
    step = exception.__traceback__
    while step:
        code = step.tb_frame.f_code
        if not code.co_filename.startswith(_NOT_THE_APPLICATION):
            found = "; it was in %s(), %s:%d" % (code.co_name, ascii(code.co_filename)[1:-1], step.tb_lineno)
        step = step.tb_next
    return found


_NOT_THE_APPLICATION = (os.path.dirname(os.path.dirname(__file__)) + os.sep, "<frozen ")


def _brief(text):
    """Of a traceback's text what follows the last frame: the exception, which may have several lines."""
    lines = text.splitlines()
    last = max((number for number, line in enumerate(lines) if line.startswith("  ")), default=-1)
    return "\n".join(lines[last + 1:]) or text


def _essence(text):
    """A failure's text without what differs each time: addresses, times, numbers of processes."""
    first, *others = text.split("0x")
    return (first + "".join(other.lstrip("0123456789abcdef") for other in others)).translate(_WITHOUT_DIGITS)


_WITHOUT_DIGITS = dict.fromkeys(range(ord("0"), ord("9") + 1))


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
