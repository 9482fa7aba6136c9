"""Makes one library call of a host fail: which kinds there are, and the memory shared with test/torture/faults.c."""
import collections
import ctypes
import errno
import os
import re
import struct
import subprocess

from preload import preload
from torment import HERE, Found
from host import PROGRAM

SHORT = 0
SOURCE = os.path.join(HERE, "faults.c")
# What may fail, and how the kernel says so.
ERRORS = {
    "malloc": ["ENOMEM"],
    "recv": ["EINTR", "EAGAIN", "ECONNRESET", SHORT],
    "send": ["EINTR", "EAGAIN", "EPIPE", "ENOBUFS", SHORT],
    "accept": ["EINTR", "EAGAIN", "EMFILE", "ENFILE", "ECONNABORTED", "ENOMEM"],
    "epoll_wait": ["EINTR", SHORT],
    "epoll_ctl": ["ENOMEM", "ENOSPC"],
    "open": ["EMFILE", "EACCES", "ENOENT", "EINTR", "ENOSPC"],
    "read": ["EINTR", "EIO", SHORT],
    "stdio": ["EIO", SHORT],
    "write": ["EINTR", "EAGAIN", "ENOSPC", "EIO", SHORT],
    "pread": ["EINTR", "EIO", SHORT],
    "pwrite": ["EINTR", "ENOSPC", "EIO", SHORT],
    "lseek": ["ESPIPE"],
    "socket": ["EMFILE", "ENOBUFS"],
    "descriptor": ["EMFILE", "ENOMEM"],
    "dup": ["EMFILE"],
    "close": ["EINTR", "EIO"],
    "thread": ["EAGAIN"],
    "mmap": ["ENOMEM"],
    "ftruncate": ["ENOSPC", "EINTR"],
    "stat": ["ENOENT", "EACCES", "EIO"],
    "fstat": ["EIO"],
    "bind": ["EADDRINUSE", "EACCES"],
    "listen": ["EADDRINUSE"],
    "connect": ["ECONNREFUSED", "EAGAIN", "EINTR"],
    "setsockopt": ["ENOBUFS"],
    "getsockopt": ["ENOBUFS"],
    "shutdown": ["ENOTCONN"],
    "poll": ["EINTR", "ENOMEM", SHORT],
    "fork": ["EAGAIN", "ENOMEM"],
    "exec": ["ENOENT", "ENOMEM", "EACCES"],
    "waitpid": ["EINTR"],
    "kill": ["EPERM"],  # no ESRCH: the host's own children are there until it has collected them
    "unlink": ["EACCES", "EBUSY"],
    "rename": ["ENOSPC", "EACCES"],
    "mkdir": ["ENOSPC", "EACCES"],
    "chmod": ["EPERM"],
    "flock": ["EINTR", "ENOLCK", "EWOULDBLOCK"],
    "chdir": ["EACCES", "ENOENT"],
    "setrlimit": ["EPERM"],
    "setuid": ["EAGAIN", "EPERM"],
    "users": ["EIO", "ENOENT"],
    "prctl": ["EPERM"],
    "getrandom": ["EINTR", "ENOSYS", SHORT],
    "close_range": ["ENOSYS"],
}
ANYONES, HOSTS, OTHERS = range(3)
RANGES_MAX, FRAMES_MAX, SLOTS = 16, 16, 1 << 16
# The bytes between functions of the host's objects, which lie one behind the other.
GAP_MAX = 64


def read_kinds():
    """Their numbers, which enum kind of faults.c gives."""
    with open(SOURCE, encoding="utf-8") as file:
        names = re.findall(r"^    KIND_([A-Z_]+),$", file.read(), re.M)
    kinds = {name.lower(): number for number, name in enumerate(names)}
    assert set(kinds) == {"none"} | set(ERRORS), set(kinds) ^ set(ERRORS)
    return kinds


def host_ranges(program):
    """Where the host's own functions are in the program: it alone was compiled with -g, Debian's libpython was not."""
    text = subprocess.run(["readelf", "--debug-dump=aranges", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=True, encoding="utf-8").stdout
    pairs = sorted((int(start, 16), int(size, 16)) for start, size in
                   re.findall(r"^ +([0-9a-f]{16}) ([0-9a-f]{16}) *$", text, re.M) if int(size, 16))
    ranges = []
    for start, size in pairs:
        if ranges and start - ranges[-1][1] <= GAP_MAX:
            ranges[-1][1] = start + size
        else:
            ranges.append([start, start + size])
    assert 0 < len(ranges) <= RANGES_MAX, "%s: %d ranges of functions; was it compiled with -g?" % (program, len(ranges))
    return ranges


class Block(ctypes.Structure):
    _fields_ = [("memory", ctypes.c_uint64), ("caller", ctypes.c_uint64)]


class Shared(ctypes.Structure):
    """struct faults of faults.c."""
    _fields_ = [("kind", ctypes.c_int), ("error", ctypes.c_int), ("whose", ctypes.c_int), ("range_count", ctypes.c_int),
                ("countdown", ctypes.c_long), ("fired", ctypes.c_long), ("calls", ctypes.c_long),
                ("ranges", ctypes.c_uint64 * 2 * RANGES_MAX), ("base", ctypes.c_uint64),
                ("frames", ctypes.c_uint64 * FRAMES_MAX), ("frame_count", ctypes.c_int), ("owner", ctypes.c_int),
                ("locked", ctypes.c_int), ("blocks", Block * SLOTS)]


class FaultControl:
    """environ: for the host, which maps what this shares. One fault at a time."""

    def __init__(self, program=PROGRAM):
        self.program, self.kinds = program, read_kinds()
        self.shared, self.environ = preload("faults.c", Shared, "FAULTS", "-fno-builtin")
        self.ranges = host_ranges(program)
        self.shared.range_count = len(self.ranges)
        for number, (start, end) in enumerate(self.ranges):
            self.shared.ranges[number][0], self.shared.ranges[number][1] = start, end
        self.armed, self.calls = "nothing fails", 0

    def arm(self, kind, error, nth, whose=HOSTS):
        """The nth call of this kind from now on fails; 0: they are only counted."""
        self.armed = "call %d of %s fails with %s" % (nth, kind, error or "a short result")
        self.shared.kind = 0
        self.shared.error = getattr(errno, error) if error else 0
        self.shared.whose, self.shared.frame_count = whose, 0
        self.shared.fired = self.shared.calls = 0
        self.shared.countdown = nth
        self.shared.kind = self.kinds[kind]

    def disarm(self):
        """How many calls have failed: 0 or 1."""
        self.shared.kind = self.shared.countdown = 0
        self.calls, fired = self.shared.calls, self.shared.fired
        return fired

    def forget_owner(self):
        """The next process that starts is the one whose blocks are kept."""
        self.shared.owner = 0

    def place(self):
        """Who made the call that failed: the same for each round of a loop, in any process."""
        addresses = [frame - self.shared.base for frame in self.shared.frames[:self.shared.frame_count]]
        return tuple(at for at in addresses if any(start <= at < end for start, end in self.ranges))

    def where(self):
        """The functions that led to the call that failed, the innermost first."""
        addresses = [self.shared.frames[number] - self.shared.base for number in range(self.shared.frame_count)]
        return " < ".join(self.names(addresses[1:])[:6]) if addresses else "?"

    def names(self, addresses):
        """Functions and lines of these addresses; what is not in the program is left out."""
        if not addresses:
            return []
        lines = subprocess.run(["addr2line", "-f", "-s", "-e", self.program, *(hex(at - 1) for at in addresses)],
                               stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout.splitlines()
        return ["%s (%s)" % pair for pair in zip(lines[::2], lines[1::2]) if pair[0] != "??"]

    def blocks(self):
        """Blocks of the host's code that are not freed: by their caller's address, how many."""
        return collections.Counter(caller for memory, caller in struct.iter_unpack("QQ", bytes(self.shared.blocks)) if memory)

    def more_blocks(self, before, spare, is_libraries=True):
        """Who has more of them than before, as text; spare: how many more a function may keep; is_libraries: libfcgi and
        libinih as well."""
        more = [(caller, self.names([caller - self.shared.base]), number)
                for caller, number in (self.blocks() - before).items()]
        return ["%d of %s" % (number, name[0] if name else "a library, %#x" % caller) for caller, name, number in more
                if (name or is_libraries) and number > spare.get(name[0].split(" ")[0] if name else "", 0)]


def ask(host, request, armed=None):
    """One request on a connection of its own. armed: what may disturb it; then it may also fail, in a way that its web
    server sees. Returns the response, None: the connection was closed. Raises Found."""
    try:
        with request.connect(host.address) as connection:
            connection.socket.settimeout(20)
            connection.send(request.bytes)
            return check(request, request.read(connection), armed)
    except TimeoutError:
        raise Found("no answer in 20 s to %s; the log:\n%s" % (request.path, host.log.read()[-2000:])) from None
    except (OSError, ValueError, AssertionError) as error:
        if armed is None:
            raise Found("afterwards, %s: %s: %s; the log:\n%s" % (request.path, type(error).__name__, error,
                                                                 host.log.read()[-3000:])) from None
        return None


def check(request, response, armed):
    """SCGI has no other end than the connection's: cut short, a response looks whole unless it has its length."""
    if armed is None or response.status == 200 and response.ended:
        length = response.get("Content-Length")
        is_cut = request.is_scgi and (length is None or len(response.body) < int(length))
        if armed is None or not is_cut:
            request.check(response)
    elif response.status not in (200, 400, 500, 503):
        raise Found("%d" % response.status)
    return response
