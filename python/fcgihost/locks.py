"""Locks by name, across the threads and the processes of the host.

Within a process the threads queue. The one whose turn it is locks two bytes of a file, which it shares with the
other processes, at a place that the name determines. These are POSIX record locks: the kernel drops them when
their process dies, a forked child does not inherit them, and closing the file anywhere in the process would
drop them all, so it is opened once and never closed. The first byte is the lock. Of the second one, the gate,
nobody can get past while it is locked: a process that was passed over for too long keeps it locked.
"""

import collections
import os
import threading
import time
import weakref

from fcgihost import folders, runtime, status_items

_POLL = 0.05      # seconds between two attempts while another process has the lock
_PATIENCE = 0.5   # seconds after which a waiting process closes the gate
_RECORDS = 1024   # the file has this many records of who holds a lock, for messages only
_RECORD_BYTES = 256
OWN = "[reload] "     # the host's own locks are called so, and not shown


def lock(name, *, timeout=None):
    """A context in which the thread has the lock called name: with fcgihost.lock("invoices"): ...

    Only one thread at a time has it, in all processes of the host. A thread that has it may enter again. The object may
    be used any number of times, by any thread. name: any text. timeout: the seconds to wait; 0: not at all; None: for
    ever; then entering raises TimeoutError, which says who has the lock. When its process dies the lock is free; a
    forked child has none of its parent's locks. Outside the host all processes of a user share the locks. Raises
    TypeError or ValueError for arguments of a wrong kind, OSError if the file of the locks can't be used.
    """
    if not isinstance(name, str):
        raise TypeError("the name of a lock must be str, not %s" % type(name).__name__)
    return _Lock(_locks, name, runtime.check_seconds("timeout", timeout, is_optional=True))


class _Lock:
    __slots__ = ("_locks", "_name", "_timeout")

    def __init__(self, locks, name, timeout):
        self._locks = locks
        self._name = name
        self._timeout = timeout

    def __repr__(self):
        return "<fcgihost lock %r>" % self._name

    def __enter__(self):
        self._locks.acquire(self._name, self._timeout)

    def __exit__(self, *_):
        self._locks.release(self._name)


class Locks:
    """The locks that this process holds or waits for, and the file that it shares with the others."""

    _clock = staticmethod(time.monotonic)
    _sleep = staticmethod(time.sleep)

    def __init__(self):
        self._file = None
        self._reset()
        runtime.reset_in_child(self)
        status_items.add(self)

    def describe(self):
        """For the status. What another process holds is told by that one."""
        items = []
        for name, queue in list(self._queues.items()):
            turns = list(queue)
            if not turns or name.startswith(OWN):
                continue
            since = turns[0].since
            is_held = since is not None
            items.append(status_items.Item(
                "lock", name, state="held" if is_held else "waiting", detail=turns[0].thread if is_held else "",
                pid=os.getpid() if is_held else 0, waiting=len(turns) - is_held,
                seconds=self._clock() - turns[0].held_from if is_held else None))
        return items

    def acquire(self, name, timeout):
        began = self._clock()
        token = self._token()
        with self._mutex:
            holder = self._holder(name)
            if holder is not None and holder.token() is token:
                holder.depth += 1
                return
        turn = _Turn(name, token)
        try:
            if not self._join(turn) and not runtime.wait(turn.woken, timeout):
                raise self._too_long(turn, began)
            self._lock_file(turn, began, timeout)
            turn.held_from, turn.since = self._clock(), time.time()
            turn.file.write_holder(turn)
            status_items.changed()
        except BaseException:
            self._leave(turn)
            raise

    def release(self, name):
        with self._mutex:
            turn = self._holder(name)
        if turn is None or turn.token() is not self._token():
            self._release_inherited(name)
            return
        if turn.depth > 1:
            turn.depth -= 1
        else:
            self._leave(turn)

    def _reset(self):
        self._mutex = threading.Lock()
        self._queues = {}                # name -> its turns; the first has the lock, or waits for other processes
        self._local = threading.local()  # .token: stands for a thread, and ends with it
        self._inherited = {}             # name -> depth: what the parent's thread had that forked this child

    def _token(self):
        try:
            return self._local.token
        except AttributeError:
            self._local.token = _Token()
            return self._local.token

    def _holder(self, name):
        queue = self._queues.get(name)
        return queue[0] if queue else None

    def _join(self, turn):
        """Joins the queue; returns whether turn is at its head."""
        with self._mutex:
            queue = self._queues.setdefault(turn.name, collections.deque())
            queue.append(turn)
            is_first = queue[0] is turn
        status_items.changed()
        return is_first

    def _leave(self, turn):
        """Gives up the lock, or the wait for it; completely, even if an exception is raised in between."""
        try:
            self._pass_on(turn)
        except BaseException:
            self._pass_on(turn)
            raise

    def _pass_on(self, turn):
        if turn.file is not None:
            turn.file.unlock(turn.place)
        with self._mutex:
            queue = self._queues.get(turn.name)
            if queue is None:
                return
            if turn in queue:
                queue.remove(turn)
            if not queue:
                del self._queues[turn.name]
            elif queue[0].woken.locked():
                queue[0].woken.release()
        status_items.changed()

    def _open_file(self):
        with self._mutex:
            if self._file is None or not self._file.is_there():
                self._file = _File(folders.find(runtime.lock_folders or _user_folders()))
            return self._file

    def _lock_file(self, turn, began, timeout):
        patient_until = self._clock() + _PATIENCE
        while True:
            now = self._clock()
            turn.file = self._open_file()  # anew, if it was removed: others would not wait for this one
            if turn.file.try_lock(turn.place, keeps_gate=now >= patient_until):
                if turn.file.is_there():
                    return
                turn.file.unlock(turn.place)
                continue
            if timeout is not None and now >= began + timeout:
                raise self._too_long(turn, began)
            runtime.check_interrupt()
            self._sleep(_POLL if timeout is None else min(_POLL, began + timeout - now))

    def _too_long(self, turn, began):
        holder = self._holder(turn.name)
        if holder is not None and holder is not turn and holder.since is not None:
            text = _describe_holder(os.getpid(), holder.thread, holder.since)
            if holder.token() is None:
                text += ", and has ended without releasing it"
        else:
            text = self._open_file().read_holder(turn.place)
        return TimeoutError("lock %r: waited %.1f s; %s" % (turn.name, self._clock() - began, text))

    def _release_inherited(self, name):
        depth = self._inherited.pop(name, 0)
        if depth == 0:
            raise RuntimeError("lock %r: this thread does not hold it" % name)
        if depth > 1:
            self._inherited[name] = depth - 1

    def _after_fork(self):
        token = self._token()
        inherited = self._inherited
        for name, queue in self._queues.items():
            if queue and queue[0].token() is token:
                inherited[name] = inherited.get(name, 0) + queue[0].depth
        self._reset()
        self._inherited = inherited


class _Token:
    __slots__ = ("__weakref__",)


class _Turn:
    """A thread's place in the queue for a lock."""

    __slots__ = ("name", "place", "token", "thread", "woken", "file", "since", "held_from", "depth")

    def __init__(self, name, token):
        self.name = name
        self.place = _place(name)
        self.token = weakref.ref(token)
        self.thread = "%s (%d)" % (threading.current_thread().name, threading.get_native_id())
        self.woken = threading.Lock()
        self.woken.acquire()
        self.file = None
        self.since = None  # it has the lock since then: seconds since 1970, to be shown
        self.held_from = None  # likewise, on the clock that nobody sets
        self.depth = 1


class _File:
    """The file where the processes meet. Its bytes are locked far beyond its end, which fcntl allows."""

    def __init__(self, folder):
        self._path = os.path.join(folder, "locks")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._identity = _identity(os.fstat(self._fd))

    def is_there(self):
        """False if it was removed, or an application closed all the descriptors that it didn't know."""
        try:
            return _identity(os.fstat(self._fd)) == self._identity == _identity(os.lstat(self._path))
        except OSError:
            return False

    def try_lock(self, place, keeps_gate):
        """Locks place, unless another process has it or keeps its gate; then keeps the gate itself if told to."""
        if not self._try(place + 1):
            return False
        is_mine = self._try(place)
        if is_mine or not keeps_gate:
            self._lockf(_fcntl().LOCK_UN, 1, place + 1)
        return is_mine

    def unlock(self, place):
        self._lockf(_fcntl().LOCK_UN, 2, place)

    def write_holder(self, turn):
        text = "%d %d %r %s\n" % (turn.place, os.getpid(), turn.since, turn.thread)
        record = text.encode("utf-8", "replace")[:_RECORD_BYTES].ljust(_RECORD_BYTES)
        try:
            os.pwrite(self._fd, record, _record_offset(turn.place))
        except OSError:
            pass  # a full disk: it is only for messages

    def read_holder(self, place):
        """One phrase on who holds the lock: true while it is held, unless the record was used for another."""
        try:
            record = os.pread(self._fd, _RECORD_BYTES, _record_offset(place)).decode("utf-8", "replace")
            noted, pid, since, thread = record.split("\n")[0].split(" ", 3)
            if int(noted) == place:
                return _describe_holder(int(pid), thread.strip(), float(since))
        except (OSError, ValueError):
            pass
        return "another process holds it"

    def _try(self, offset):
        fcntl = _fcntl()
        try:
            self._lockf(fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _lockf(self, operation, length, offset):
        _fcntl().lockf(self._fd, operation, length, offset)


def _identity(status):
    return status.st_dev, status.st_ino


def _fcntl():
    import fcntl

    return fcntl


def _place(name):
    """The offset of a lock's first byte: even, and with the gate's below 2**63."""
    import hashlib  # slow to import: not before a lock is used

    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2 << 1


def _record_offset(place):
    return (place >> 1) % _RECORDS * _RECORD_BYTES


def _describe_holder(pid, thread, since):
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))
    return "process %d, thread %s, has held it since %s" % (pid, thread, when)


def _user_folders():
    import tempfile  # slow to import, and not needed in the host

    return folders.candidates([tempfile.gettempdir()], "fcgihost-%d" % os.geteuid())


_locks = Locks()
