"""Resources: one object for the whole process, created by whoever needs it first, and again after a failure."""

import threading
import time

from fcgihost import cleanup, errors, runtime, status_items

_inherited = []  # in a forked child, what its parent made: to drop it might end the parent's connection


def resource(create=None, *, close=None, check=None, name=None, retry_delay=1.0):
    """A Resource: an object that all threads share, created by the first get().

        db = fcgihost.resource(connect, close=lambda connection: connection.close())

        @fcgihost.resource(retry_delay=5)
        def index(): ...                     # index.get()

    create: called without arguments, makes the object.
    close: called with it once, as a cleanup. That belongs to the start-up import that runs while the object is created,
    else to the start-up import or script that defined the resource, else to the process. None: nothing is called.
    check: called with the object in each get(), except right after its creation, in the calling thread, so perhaps in
    several at once; if it returns a false value or raises, the object is closed and a new one created.
    name: for messages; None: "module.qualname" of create.
    retry_delay: seconds during which a failed creation is not tried again.
    Raises TypeError or ValueError for arguments of a wrong kind.
    """
    if create is None:
        return lambda create: Resource(create, close=close, check=check, name=name, retry_delay=retry_delay)
    return Resource(create, close=close, check=check, name=name, retry_delay=retry_delay)


class Resource:
    """See resource(). A forked child creates an object of its own: its parent's it neither uses nor closes."""

    _clock = staticmethod(time.monotonic)

    def __init__(self, create, *, close=None, check=None, name=None, retry_delay=1.0):
        self._create = runtime.check_callable("create", create, is_optional=False)
        self._close = runtime.check_callable("close", close)
        self._check = runtime.check_callable("check", check)
        self._retry_delay = runtime.check_seconds("retry_delay", retry_delay)
        self.name = name if name is not None else cleanup.describe(create)
        self.__doc__ = getattr(create, "__doc__", None)
        self._scope = cleanup.defining()
        self._state = _State()
        runtime.reset_in_child(self)
        status_items.add(self)

    def __repr__(self):
        return "<fcgihost resource %s: %s>" % (self.name, "created" if self._state.made else "not created")

    def describe(self):
        """For the status."""
        state = self._state
        failure = state.failure
        is_failed = failure is not None and state.made is None
        return [status_items.Item(
            "resource", self.name,
            state="creating" if state.attempt is not None else "created" if state.made is not None else
            "failed" if is_failed else "closed" if state.is_closed else "not created",
            detail=failure.text if failure is not None else "",
            seconds=max(failure.until - self._clock(), 0.0) if is_failed else None)]

    def get(self):
        """The object, created if there is none or if check refuses it; while a thread creates it the others wait.

        Raises ResourceUnavailable if the creation failed, with its exception as __cause__; it is not tried again until
        retry_delay has passed, and retry_after says how long that is. If the creation itself raised
        ResourceUnavailable, the longer retry_after counts. In the thread that creates, a BaseException such as
        KeyboardInterrupt passes through. Raises RuntimeError if create calls get().
        """
        while True:
            state = self._state
            made = state.made
            if made is None:
                made = self._create_or_wait(state)
                if made is not None:
                    return made.object
            elif self._is_good(made):
                return made.object
            elif state.take(made):
                self._close_reporting(made)

    def _is_good(self, made):
        if self._check is None:
            return True
        try:
            return self._check(made.object)
        except Exception:
            return False

    def _create_or_wait(self, state):
        """The object made by this thread, or by the one that it waited for; None: look again."""
        mine = _Attempt()
        try:
            attempt = self._join(state, mine)
            if attempt is mine:
                self._attempt(state, mine)
        finally:
            state.end(mine)  # whatever happened, nobody waits for it any longer
        if attempt is None:
            return None
        while not attempt.is_over.wait(runtime.SLICE):
            pass
        if attempt.failure is not None:
            raise self._unavailable(attempt.failure) from attempt.failure.cause
        return attempt.made

    def _join(self, state, mine):
        """The attempt that is under way, else mine, which then is; None if there is an object by now."""
        with state.mutex:
            if state.made is not None:
                return None
            attempt = state.attempt
            if attempt is None:
                failure = state.failure
                is_load = cleanup.active() is not None  # a start-up import has a delay of its own
                if failure is not None and self._clock() < failure.until and not is_load:
                    raise self._unavailable(failure) from failure.cause
                state.attempt = mine
                status_items.changed()
                return mine
        if attempt.thread == threading.get_ident():
            raise RuntimeError("resource %s: its own creation asks for it" % self.name)
        return attempt

    def _attempt(self, state, attempt):
        try:
            attempt.made = self._make(state)
        except BaseException as error:
            delay = self._retry_delay
            if isinstance(error, errors.ResourceUnavailable):
                delay = max(delay, error.retry_after)
            attempt.failure = state.failure = _Failure(error, self._clock() + delay)
            if not isinstance(error, Exception):
                raise

    def _make(self, state):
        made = _Made(self._create())
        with state.mutex:
            state.made = made
            state.failure = None
            state.is_closed = False
            is_registered = state.is_registered or self._close is None or state is not self._state
            state.is_registered = True
        if not is_registered:
            try:
                cleanup.register_for(self._scope, "close of resource " + self.name, lambda: self._clean_up(state))
            except RuntimeError:  # the process's cleanups have run: nobody would close it
                self._clean_up(state)
                raise
        return made

    def _clean_up(self, state):
        with state.mutex:
            state.is_registered = False
            made = state.made
        if made is not None and state.take(made):
            self._close(made.object)

    def _close_reporting(self, made):
        if self._close is None:
            return
        try:
            self._close(made.object)
        except Exception as error:
            errors.report("close of resource " + self.name, error)

    def _unavailable(self, failure):
        seconds = max(failure.until - self._clock(), 0.0)
        message = "resource %s is unavailable: %s: %s (it is tried again in %.1f s)" % (
            self.name, type(failure.cause).__name__, failure.cause, seconds)
        return errors.ResourceUnavailable(message, retry_after=seconds, name=self.name)

    def _after_fork(self):
        _inherited.append(self._state)
        self._state = _State()


class _State:
    """A resource's state in one process."""

    def __init__(self):
        self.mutex = threading.Lock()
        self.made = None           # a _Made
        self.attempt = None        # the _Attempt that is going on
        self.failure = None        # the _Failure of the last attempt
        self.is_registered = False
        self.is_closed = False     # there was an object, and it is closed

    def take(self, made):
        """Must the caller close made? True for one caller only; get() does not return it any more."""
        with self.mutex:
            is_mine = self.made is made
            if is_mine:
                self.made = None
                self.is_closed = True
            return is_mine  # the cleanup that runs, or the next attempt, is a change by itself

    def end(self, attempt):
        with self.mutex:
            if self.attempt is attempt:
                self.attempt = None
        attempt.is_over.set()
        status_items.changed()


class _Made:
    __slots__ = ("object",)

    def __init__(self, object):
        self.object = object


class _Failure:
    __slots__ = ("cause", "until", "text")

    def __init__(self, cause, until):
        self.cause = cause
        self.until = until
        self.text = errors.describe(cause)


class _Attempt:
    __slots__ = ("thread", "is_over", "made", "failure")

    def __init__(self):
        self.thread = threading.get_ident()
        self.is_over = threading.Event()
        self.made = None
        self.failure = None
