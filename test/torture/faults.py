"""One library call of the host fails, at a random one of its calls: while it starts, serves, reloads, and ends. Unlike in
the sweep, others are served at the same time, and any code's call may be it."""
import signal

from fault_control import ANYONES, ERRORS, HOSTS, FaultControl, ask
from torment import Found, Request, Torment, TormentedHost, process

PYTHONS_WORDS = ("Fatal Python error", "MemoryError", "ModuleNotFoundError", "ImportError")


class Faults(Torment):
    name = "faults"
    is_sanitized = False  # a sanitizer wants to be the first that replaces malloc

    def __init__(self, seed):
        super().__init__(seed)
        self.control, self.stage, self.calls = None, None, {}

    def run(self, until):
        if self.control is None:
            self.control = FaultControl()
        while True:
            for stage in (self.at_the_start, self.in_requests, self.at_a_reload, self.at_the_end):
                try:
                    stage()
                except (OSError, AssertionError, Found) as error:
                    self.note("%s, %s: %s\n  in %s" % (stage.__name__, self.control.armed, error, self.control.where()))
                self.disarm()
            if until():
                return

    def arm(self, stage):
        """The Nth call from now on fails, of as many as there were when this kind was armed at this stage before."""
        whose = self.random.choice([HOSTS, HOSTS, ANYONES])
        # A kind that had no call at this stage has one seldom.
        kind = self.random.choice([kind for kind in ERRORS if self.calls.get((stage, kind, whose), 1) or
                                   self.random.random() < 0.05])
        self.stage = stage, kind, whose
        nth = self.random.randint(1, max(self.calls.get(self.stage, 0), 3))
        self.control.arm(kind, self.random.choice(ERRORS[kind]), nth, whose)

    def disarm(self):
        fired = self.control.disarm()
        if self.stage is not None:
            self.calls[self.stage] = self.control.calls
            self.stage = None
            self.count(faults=fired)

    def start(self, settings=None, **more):
        wanted = {"startup": {"retry_delay": "20ms", "retry_max_delay": "100ms"}, "server": {"threads": 2},
                  "shutdown": {"cleanup_timeout": "15s"}}
        return TormentedHost(dict(wanted, **(settings or {})), environ=self.control.environ, **more)

    def check_still_whole(self, host):
        """Nothing fails any more: so the host serves, and every answer is right."""
        for _ in range(3):
            self.ask(host, Request(self.random), is_disturbed=False)

    def ask(self, host, request, is_disturbed):
        self.count(requests=1)
        try:
            ask(host, request, self.control.armed if is_disturbed else None)
        except Found:
            self.count(lost=1)
            raise

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
                           "a host that serves or has ended; the log:\n%s" % host.log.read(), 20)

    def check_failed_start(self, host):
        """It may refuse to start, with a reason; so may Python, in its own words."""
        log = host.log.read()
        if host.popen.returncode < 0 and not any(text in log for text in PYTHONS_WORDS):
            raise Found("the start ended with signal %d; the log:\n%s" % (-host.popen.returncode, log))
        if not log.strip():
            raise Found("the start ended with code %d and said nothing" % host.popen.returncode)

    def ask_together(self, host):
        self.in_threads([lambda random: self.ask(host, Request(random), is_disturbed=True)] * 3)

    def check_running(self, host):
        if not host.is_running():
            raise Found("ended with %d; the log:\n%s" % (host.popen.returncode, host.log.read()[-4000:]))

    def in_requests(self):
        host = self.start()
        try:
            for _ in range(10):
                self.arm("requests")
                self.ask_together(host)
                self.disarm()
                self.check_running(host)
                self.check_still_whole(host)
        finally:
            self.end(host)

    def at_a_reload(self):
        """A manager replaces its worker while requests come: all of them are answered as one may be, and the host lives."""
        host = self.start({"server": {"threads": 2, "manager": "yes"}}, probe=False)
        try:
            for _ in range(3):
                mark = host.log.mark()
                self.arm("reload")
                host.popen.send_signal(signal.SIGHUP)
                for _ in range(4):
                    self.ask_together(host)
                self.disarm()
                self.check_running(host)
                self.check_still_whole(host)
                host.log.wait("reload: |worker", mark)
            self.check_end(host)
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
