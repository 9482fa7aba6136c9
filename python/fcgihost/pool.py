"""Pools: a few objects of a kind, each lent to one thread at a time."""

import collections
import threading
import time

from fcgihost import cleanup, errors, runtime, status_items

_inherited = []  # in a forked child, what its parent made: to drop it might end the parent's connections


class Pool:
    """A pool of objects that are lent: with pool.lease() as connection: ...

    create: called without arguments, makes an object; what it raises reaches the caller of lease().
    size: the most objects at a time, at least 1.
    close: called once with each object: when check refused it, when the block that had it raised (GeneratorExit too),
    when it was idle for too long, or as a cleanup. The cleanup belongs to the start-up import that runs while the first
    object is created, else to the start-up import or script that defined the pool, else to the process. It closes idle
    objects; one that is lent then is closed when it comes back.
    check: called in each lease(), except nested ones, with an object that was used before; if it returns a false value
    or raises, the object is closed and a new one created.
    max_idle: seconds; objects that are idle for longer are closed whenever a thread begins or ends a lease.
    timeout: seconds that a lease waits for an object; None: for ever.
    Raises TypeError or ValueError for arguments of a wrong kind.

    Threads that wait get objects in the order in which they came. After os.fork() the child's pool is empty: it neither
    uses nor closes its parent's objects.
    """

    _clock = staticmethod(time.monotonic)

    def __init__(self, create, *, size, close=None, check=None, max_idle=None, timeout=None):
        self._create = runtime.check_callable("create", create, is_optional=False)
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError("size must be a whole number, not %r" % (size,))
        if size < 1:
            raise ValueError("size must be at least 1, not %d" % size)
        self.size = size
        self._close = runtime.check_callable("close", close)
        self._check = runtime.check_callable("check", check)
        self._max_idle = runtime.check_seconds("max_idle", max_idle, is_optional=True)
        self._timeout = runtime.check_seconds("timeout", timeout, is_optional=True)
        self.name = cleanup.describe(create)
        self._scope = cleanup.defining()
        self._state = _State()
        runtime.reset_in_child(self)
        status_items.add(self)

    def __repr__(self):
        state = self._state
        return "<fcgihost pool %s: %d idle, %d out, of %d>" % (
            self.name, len(state.idle), len(state.holdings), self.size)

    def describe(self):
        """For the status."""
        state = self._state
        since = [holding.since for holding in list(state.holdings) if holding.since is not None]
        return [status_items.Item(
            "pool", self.name, size=self.size, in_use=len(state.holdings), idle=len(state.idle),
            waiting=len(state.waiters), seconds=max(self._clock() - min(since), 0.0) if since else None)]

    def lease(self):
        """A context that lends the thread an object; nested in the same thread, it lends the same object again.

        Entering raises TimeoutError after waiting for timeout seconds, and whatever create raises.
        """
        return _Lease(self)

    def _fill(self, holding):
        """Gets a place, of which there are size, and an object for holding."""
        state = holding.state
        self._close_leftovers(state)
        with state.mutex:
            if not state.grant(holding, self.size):  # others were waiting first
                holding.granted = threading.Lock()
                holding.granted.acquire()
                state.waiters.append(holding)
        status_items.changed()
        if holding.granted is not None:
            self._wait(holding)
        if holding.entry is not None and not self._is_good(holding.entry):
            self._close_entry(holding)
        if holding.entry is None:
            holding.entry = self._make(state)
        holding.since = self._clock()

    def _wait(self, holding):
        began = self._clock()
        if runtime.wait(holding.granted, self._timeout):
            return
        state = holding.state
        with state.mutex:
            if holding in state.holdings:
                return  # granted at the last moment
            out = [(other.thread, other.since) for other in state.holdings]
        now = self._clock()
        raise TimeoutError("pool %s: waited %.1f s, and %d of %d are still out (%s)" % (
            self.name, now - began, len(out), self.size, ", ".join(_describe_holders(out, now))))

    def _is_good(self, entry):
        if self._check is None:
            return True
        try:
            return self._check(entry.object)
        except Exception:
            return False

    def _make(self, state):
        epoch = state.epoch  # a cleanup that runs meanwhile closes this object too
        entry = _Entry(self._create(), epoch)
        with state.mutex:
            is_registered = state.is_registered or state is not self._state
            state.is_registered = True
        if not is_registered:
            try:
                cleanup.register_for(self._scope, "pool " + self.name, lambda: self._clean_up(state))
            except RuntimeError:  # the process's cleanups have run: nobody would close it
                state.is_registered = False
                self._close_object(entry.object)
                raise
        return entry

    def _release(self, holding):
        """Takes back holding's place and object; harmless if that was done, or if it never got both."""
        state = holding.state
        if state is not self._state:
            return  # its parent's, in a forked child
        if not state.put_back(holding, self.size, self._clock()):
            self._discard(holding)
        self._close_leftovers(state)

    def _discard(self, holding):
        """Closes holding's object before its place goes to another, so that there are never more than size objects."""
        try:
            self._close_entry(holding)
        finally:
            holding.state.vacate(holding, self.size)

    def _close_entry(self, holding):
        entry = holding.entry
        holding.entry = None
        if entry is not None:
            self._close_object(entry.object)

    def _close_object(self, object):
        if self._close is None:
            return
        try:
            self._close(object)
        except Exception as error:
            errors.report("close of pool " + self.name, error)

    def _close_leftovers(self, state):
        """Closes objects that are idle for too long, and those whose lease was lost."""
        if self._max_idle is not None:
            state.give_up_idle(self._clock() - self._max_idle)
        while state.leftovers:
            holding = None
            try:
                holding = state.take_leftover()
                if holding is not None:
                    self._discard(holding)
            finally:
                if holding is not None and not holding.is_over:
                    state.leftovers.append(holding)  # this thread was interrupted: the next one goes on

    def _clean_up(self, state):
        with state.mutex:
            state.is_registered = False
            state.epoch += 1
        state.give_up_idle()
        self._close_leftovers(state)

    def _abandon(self, holding):
        """A lease was garbage-collected without being left. For finalisers, which may run while the mutex is held."""
        state = holding.state
        state.leftovers.append(holding)
        if state is self._state and state.mutex.acquire(blocking=False):
            state.mutex.release()
            self._close_leftovers(state)

    def _after_fork(self):
        _inherited.append(self._state)
        self._state = _State()


def _describe_holders(out, now):
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for thread, since in out:
        name = names.get(thread, "thread %d" % thread)
        yield "%s: being created or closed" % name if since is None else "%s: for %.1f s" % (name, now - since)


class _State:
    """A pool's state in one process. Each idle entry and each holding takes one of the pool's places."""

    def __init__(self):
        self.mutex = threading.Lock()
        self.idle = collections.deque()       # entries, the one that is idle for longest first
        self.holdings = set()
        self.waiters = collections.deque()    # holdings without a place, the one that waits for longest first
        self.leftovers = collections.deque()  # holdings to be closed by whoever comes next
        self.local = threading.local()        # .holding: this thread's
        self.epoch = 0                        # grows with each cleanup: what is of an older one is closed
        self.is_registered = False

    def grant(self, holding, size):
        """Gives holding a place, if there is one, and what is idle. With the mutex."""
        if self.idle:
            self.holdings.add(holding)
            holding.entry = self.idle.pop()
        elif len(self.holdings) < size:
            self.holdings.add(holding)
        return holding in self.holdings

    def wake(self, size):
        """Serves those that wait, as far as it goes. With the mutex."""
        while self.waiters and (self.waiters[0] in self.holdings or self.grant(self.waiters[0], size)):
            self.waiters.popleft().granted.release()

    def put_back(self, holding, size, now):
        """Makes holding's object idle, if it may be used again."""
        with self.mutex:
            entry = holding.entry
            if holding.is_broken or entry.epoch != self.epoch:
                return False
            holding.entry = None
            entry.idle_since = now
            self.holdings.discard(holding)
            self.idle.append(entry)
            self.wake(size)
        status_items.changed()
        return True

    def vacate(self, holding, size):
        with self.mutex:
            if holding in self.waiters:
                self.waiters.remove(holding)
            self.holdings.discard(holding)
            self.wake(size)
            holding.is_over = True
        status_items.changed()

    def give_up_idle(self, before=None):
        """Makes leftovers of all entries that are idle since before; None: of all that are idle."""
        with self.mutex:
            while self.idle and (before is None or self.idle[0].idle_since < before):
                holding = _Holding(self)
                self.leftovers.append(holding)
                self.holdings.add(holding)
                holding.entry = self.idle.popleft()

    def take_leftover(self):
        with self.mutex:
            return self.leftovers.popleft() if self.leftovers else None


class _Entry:
    __slots__ = ("object", "epoch", "idle_since")

    def __init__(self, object, epoch):
        self.object = object
        self.epoch = epoch
        self.idle_since = None


class _Holding:
    """A thread's place in the pool, shared by its nested leases."""

    __slots__ = ("state", "thread", "since", "entry", "granted", "leases", "is_broken", "is_over")

    def __init__(self, state):
        self.state = state
        self.thread = threading.get_ident()
        self.since = None      # it has its object since then
        self.entry = None
        self.granted = None    # a lock that is released when the holding, which waits, has its place
        self.leases = set()    # the ids of those that are entered
        self.is_broken = False
        self.is_over = False   # its object is closed, and its place another's


class _Lease:
    __slots__ = ("_pool", "_holding")

    def __init__(self, pool):
        self._pool = pool
        self._holding = None

    def __enter__(self):
        if self._holding is not None:
            raise RuntimeError("pool %s: this lease is entered already" % self._pool.name)
        state = self._pool._state
        holding = getattr(state.local, "holding", None)
        if holding is None or not holding.leases:
            holding = self._begin(state)
        holding.leases.add(id(self))
        self._holding = holding
        return holding.entry.object

    def _begin(self, state):
        holding = self._holding = _Holding(state)
        try:
            self._pool._fill(holding)
            state.local.holding = holding
            return holding
        except BaseException:
            holding.is_broken = True
            self._pool._release(holding)
            self._holding = None
            raise

    def __exit__(self, exception_type, exception, traceback):
        holding = self._holding
        if exception_type is not None:
            holding.is_broken = True
        holding.leases.discard(id(self))
        if not holding.leases:
            self._pool._release(holding)
        self._holding = None

    def __del__(self):
        holding = getattr(self, "_holding", None)
        if holding is None:
            return
        holding.is_broken = True  # an exception came in while it was entered or left, or nobody left it
        holding.leases.discard(id(self))
        if not holding.leases:
            self._pool._abandon(holding)
