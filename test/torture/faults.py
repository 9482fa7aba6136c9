"""One system or library call of the host fails, at a random one of its calls: while it starts, serves, and ends."""
import ctypes
import mmap
import os
import subprocess

import torment
from torment import Found, Request, Torment, TormentedHost, process, temporary_folder

E = {name: getattr(__import__("errno"), name) for name in
     ("ENOMEM", "EINTR", "EAGAIN", "ECONNRESET", "EPIPE", "EMFILE", "ENFILE", "ENOBUFS", "ECONNABORTED", "ENOSPC", "EIO",
      "EACCES", "ENOENT")}
SHORT = 0
# In the order of enum kind in faults.c: what may fail, and how the kernel says so.
KINDS = [None,
         ("malloc", ["ENOMEM"]),
         ("recv", ["EINTR", "EAGAIN", "ECONNRESET", SHORT]),
         ("send", ["EINTR", "EAGAIN", "EPIPE", "ENOBUFS", SHORT]),
         ("accept", ["EINTR", "EAGAIN", "EMFILE", "ENFILE", "ECONNABORTED", "ENOMEM"]),
         ("epoll_wait", ["EINTR", SHORT]),
         ("epoll_ctl", ["ENOMEM", "ENOSPC"]),
         ("open", ["EMFILE", "EACCES", "ENOENT", "EINTR"]),
         ("read", ["EINTR", "EIO", SHORT]),
         ("write", ["EINTR", "EAGAIN", "ENOSPC", "EIO", SHORT]),
         ("socket", ["EMFILE", "ENOBUFS"]),
         ("pthread_create", ["EAGAIN"]),
         ("mmap", ["ENOMEM"]),
         ("ftruncate", ["ENOSPC", "EINTR"])]


class Control(ctypes.Structure):
    """struct faults of faults.c."""
    _fields_ = [("kind", ctypes.c_int), ("error", ctypes.c_int), ("countdown", ctypes.c_long),
                ("fired", ctypes.c_long), ("calls", ctypes.c_long)]


class Faults(Torment):
    name = "faults"
    is_sanitized = False  # a sanitizer wants to be the first that replaces malloc

    def __init__(self, seed):
        super().__init__(seed)
        folder = temporary_folder()
        self.library, path = os.path.join(folder, "faults.so"), os.path.join(folder, "faults")
        subprocess.run(["cc", "-std=c11", "-O1", "-g", "-fPIC", "-shared", "-o", self.library,
                        os.path.join(torment.HERE, "faults.c"), "-ldl"], check=True)
        with open(path, "w+b") as file:
            file.truncate(mmap.PAGESIZE)
            self.control = Control.from_buffer(mmap.mmap(file.fileno(), mmap.PAGESIZE))
        self.stage, self.calls, self.armed = None, {}, "nothing fails"
        self.environ = {"LD_PRELOAD": self.library, "FAULTS": path}

    def run(self, until):
        while True:
            for stage in (self.at_the_start, self.in_requests, self.at_the_end):
                try:
                    stage()
                except (OSError, AssertionError, Found) as error:
                    self.note("%s, %s: %s" % (stage.__name__, self.armed, error))
                self.disarm()
            if until():
                return

    def arm(self, stage):
        """The Nth call from now on fails, of as many as there were when this kind was armed at this stage before."""
        kind = self.random.randrange(1, len(KINDS))
        name, errors = KINDS[kind]
        error = self.random.choice(errors)
        self.stage = stage, kind
        nth = self.random.randint(1, max(self.calls.get(self.stage, 0), 3))
        self.armed = "call %d of %s fails with %s" % (nth, name, error or "a short result")
        self.control.error = E[error] if error else 0
        self.control.fired = self.control.calls = 0
        self.control.countdown = nth
        self.control.kind = kind

    def disarm(self):
        if self.control.kind:
            self.calls[self.stage] = self.control.calls
        self.control.kind = self.control.countdown = 0
        self.count(faults=self.control.fired)
        self.control.fired = 0

    def start(self, **more):
        return TormentedHost({"startup": {"retry_delay": "20ms", "retry_max_delay": "100ms"}, "server": {"threads": 2}},
                             environ=self.environ, **more)

    def check_still_whole(self, host):
        """Nothing fails any more: so the host serves, and every answer is right."""
        for _ in range(3):
            self.ask(host, Request(self.random), is_disturbed=False)

    def ask(self, host, request, is_disturbed):
        self.count(requests=1)
        try:
            with request.connect(host.address) as connection:
                connection.socket.settimeout(20)
                connection.send(request.bytes)
                response = connection.read_response()
            if not is_disturbed or response.status == 200 and response.ended:
                self.check(request, response)
            elif response.status not in (200, 400, 500, 503):
                raise Found("%d" % response.status)
        except TimeoutError:
            raise Found("no answer in 20 s to %s; the log:\n%s" % (request.path, host.log.read()[-2000:])) from None
        except (OSError, ValueError, AssertionError) as error:
            if not is_disturbed:
                self.count(lost=1)
                raise Found("afterwards, %s: %s: %s; the log:\n%s" % (request.path, type(error).__name__, error,
                                                                     host.log.read()[-3000:])) from None

    def check(self, request, response):
        if request.is_scgi and response.get("Content-Length") is None:
            return  # cut short, it looks whole: the connection's end is the response's
        try:
            request.check(response)
        except Found as error:
            raise Found("%s: %s" % (self.armed, error)) from None

    def at_the_start(self):
        host = None
        self.arm("start")
        try:
            host = self.start(wait=False)
            self.wait_for_start(host)
            self.disarm()
            if host.is_running():
                self.check_still_whole(host)
                self.check_end(host)
            else:
                self.check_failed_start(host)
        finally:
            self.end(host)

    def wait_for_start(self, host):
        process.wait_until(lambda: "serving app" in host.log.read() or not host.is_running(),
                           "a host that serves or has ended, with %s; the log:\n%s" % (self.armed, host.log.read()), 20)

    def check_failed_start(self, host):
        """It may refuse to start, with a reason; so may Python, in its own words."""
        log = host.log.read()
        is_pythons = any(text in log for text in ("Fatal Python error", "MemoryError", "ModuleNotFoundError", "ImportError"))
        if host.popen.returncode < 0 and not is_pythons:
            raise Found("the start ended with signal %d; the log:\n%s" % (-host.popen.returncode, log))
        if not log.strip():
            raise Found("the start ended with code %d and said nothing" % host.popen.returncode)

    def in_requests(self):
        host = self.start()
        try:
            for _ in range(10):
                self.arm("requests")
                self.in_threads([lambda random: self.ask(host, Request(random), is_disturbed=True)] * 3)
                self.disarm()
                if not host.is_running():
                    raise Found("ended with %d; the log:\n%s" % (host.popen.returncode, host.log.read()[-4000:]))
                self.check_still_whole(host)
        finally:
            self.end(host)

    def at_the_end(self):
        host = self.start()
        try:
            self.ask(host, Request(self.random), is_disturbed=False)
            self.arm("end")
            self.check_end(host)
        finally:
            self.end(host)

    def check_end(self, host):
        host.popen.terminate()
        status = host.wait_exit(20)
        if status not in (0, 1):
            raise Found("exit status %d at the end; the log:\n%s" % (status, host.log.read()[-3000:]))
        if len(host.noted("cleanups")) > len(host.noted("loads")):
            raise Found("cleaned up twice")

    def end(self, host):
        if host is not None:
            if host.is_running():
                host.popen.kill()
            host.popen.wait()
            host.clean_up()
