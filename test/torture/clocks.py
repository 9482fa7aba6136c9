"""The clocks jump: the time of day by hours and decades, which nobody may notice who is not told the time of day; the
monotonic one by an hour, or it stands still, as on a machine that was suspended."""
import ctypes
import json
import re
import time

import fastcgi
from asking import Asking, cpu_seconds
from preload import preload
from torment import Found, process
from trial import Trial, ask_status

HOUR, YEAR = 3600, 365 * 86400
LIMITS = {"limits": {"request_time": "8s", "queue_time": "8s", "io_timeout": "8s", "lifetime": "20h"},
          "log": {"slow_request": "8s", "access": "yes", "destination": "host.log"},
          "shutdown": {"drain_timeout": "10s", "cleanup_timeout": "10s"}}
IDLE_SECONDS, IDLE_CPU = 1.0, 0.25
# What a jump of the time of day may not bring about.
OUT_OF_TIME = re.compile(r"slow_request|request_time|queue_time|io_timeout|lifetime|drain_timeout|cleanup_timeout")
ACCESS = re.compile(r" bytes (\d+\.\d+) ms waited (\d+\.\d+) ms")


class Control(ctypes.Structure):
    """struct clocks of clock.c."""
    _fields_ = [("real_ns", ctypes.c_int64), ("monotonic_ns", ctypes.c_int64), ("frozen_ns", ctypes.c_int64)]


class Clocks(Trial):
    is_sanitized = False  # a sanitizer has its own clock_gettime before ours

    def __init__(self, torment_of_all):
        super().__init__(torment_of_all)
        self.control, self.environ = preload("clock.c", Control, "CLOCK")

    def run_once(self):
        kind = self.random.choice([self.jump_real, self.jump_real, self.jump_monotonic, self.stand_still])
        self.processes = self.random.choice([1, 1, 2])
        self.what = "%s, %d process(es)" % (kind.__name__, self.processes)
        self.control.real_ns = self.control.monotonic_ns = self.control.frozen_ns = 0
        self.began, self.jumped = time.monotonic(), 0
        settings = dict(LIMITS, server={"threads": 3, "processes": self.processes})
        if kind != self.jump_real:
            settings = dict(LIMITS, limits={"io_timeout": "8s"}, server=settings["server"])
        host = self.start(settings, environ=self.environ)
        try:
            kind(host)
            self.check_idle(host)
            self.check_status(host)
        except BaseException:
            self.kill(host)
            raise
        self.end(host)

    def jump_real(self, host):
        """Nothing is late, slow or old because of it."""
        with Asking(self.torment, host) as asking:
            for _ in range(4):
                asking.wait(10)
                self.torment.count(faults=1)
                seconds = self.random.choice([-1, 1]) * self.random.choice([30, HOUR, 26 * HOUR, YEAR, 13 * YEAR, 40 * YEAR])
                if self.random.random() < 0.2:
                    seconds = -time.time()  # 1970
                self.what += ", %+d s" % seconds
                self.control.real_ns = int(seconds * 10 ** 9)
                asking.wait(10)
                self.check_lock(host)
        text = host.log.read()
        late = OUT_OF_TIME.search(text)
        if late:
            raise Found("it says %s; the log:\n%s" % (late.group(), text[-3000:]))
        for duration, waited in ACCESS.findall(text):
            if float(duration) > 8000 or float(waited) > 8000:
                raise Found("a request of %s ms, which waited %s ms" % (duration, waited))
        self.check_lock_age(host)

    def check_lock(self, host):
        if fastcgi.exchange(host.address, "GET", "/hold").text != "held":
            raise Found("no lock could be held")

    def check_lock_age(self, host):
        """The time of day jumps while a lock is held: it is as old as before."""
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/hold?seconds=1"))
            time.sleep(0.3)
            self.control.real_ns += 10 * YEAR * 10 ** 9
            status = json.loads(ask_status(host, "--format", "json").stdout)
            connection.read_response()
        for lock in status["locks"]:
            if lock.get("seconds") is not None and not 0 <= lock["seconds"] < 60:
                raise Found("a lock that was just taken is %r s old" % lock["seconds"])

    def jump_monotonic(self, host):
        """What was under way may time out; what comes afterwards is served."""
        def may_fail(request, began, answer):
            return began < self.jumped + 0.5
        with Asking(self.torment, host, may_fail=may_fail) as asking:
            for _ in range(3):
                asking.wait(10)
                self.torment.count(faults=1)
                seconds = self.random.choice([20, HOUR, 24 * HOUR])
                self.what += ", %+d s" % seconds
                self.jumped = time.monotonic()
                self.control.monotonic_ns += seconds * 10 ** 9
                asking.wait(10)

    def stand_still(self, host):
        """Nothing times out while it does; then it goes on where it stood."""
        with Asking(self.torment, host) as asking:
            asking.wait(10)
            self.torment.count(faults=1)
            shown = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + self.control.monotonic_ns
            self.control.frozen_ns = shown
            self.control.real_ns += HOUR * 10 ** 9
            time.sleep(self.random.random())
            asking.wait(10)
            self.control.monotonic_ns = shown - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            self.control.frozen_ns = 0
            asking.wait(10)
            self.check_idle(host)

    def check_idle(self, host):
        """Whoever waits does not turn in circles."""
        pids = [host.pid] + process.children(host.pid)
        time.sleep(0.2)  # the last request has ended
        before = {pid: cpu_seconds(pid) for pid in pids}
        time.sleep(IDLE_SECONDS)
        for pid in pids:
            used = cpu_seconds(pid) - before[pid]
            if used > IDLE_CPU:
                raise Found("process %d took %.2f s of %.1f s while nothing was asked" % (pid, used, IDLE_SECONDS))

    def check_status(self, host):
        """How long it has been there is told by no clock that jumps."""
        done = ask_status(host, "--format", "json")
        if done.returncode != 0:
            raise Found("--status exits with %d: %s %s" % (done.returncode, done.stdout[-500:], done.stderr))
        status = json.loads(done.stdout)
        elapsed = time.monotonic() - self.began + max(self.control.monotonic_ns, 0) / 10 ** 9
        if not 0 <= status["uptime_seconds"] <= elapsed + 1:
            raise Found("up for %r s instead of %.1f" % (status["uptime_seconds"], elapsed))
        if len(status["processes"]) != self.processes or any(status["restarts"].values()):
            raise Found("%d processes, restarts: %r" % (len(status["processes"]), status["restarts"]))
