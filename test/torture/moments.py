"""A signal at any moment of the start, of serving and of the end: the host ends in order, and leaves nothing."""
import os
import signal
import subprocess
import time

from torment import Request, Torment, TormentedHost, process

STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGQUIT]
OTHERS = [signal.SIGHUP, signal.SIGUSR2]


class Moments(Torment):
    name = "moments"

    def run(self, until):
        while True:
            self.one_life()
            if until():
                return

    def one_life(self):
        processes = self.random.choice([1, 1, 2])
        host = TormentedHost({"server": {"processes": processes}, "shutdown": {"drain_timeout": "3s"}}, wait=False)
        try:
            time.sleep(self.random.random() * self.random.choice([0.02, 0.1, 0.3]) * process.SLOWNESS)
            has_begun = "starting" in host.log.read()
            connections = self.begin_requests(host) if has_begun else []
            for number in self.random.choices(OTHERS, k=self.random.choice([0, 0, 1, 20])) if has_begun else []:
                self.signal(host, number)
            for _ in range(self.random.choice([1, 1, 2, 5])):
                self.signal(host, self.random.choice(STOPPING))
                time.sleep(self.random.random() * 0.01)
            self.check_end(host, has_begun)
            for connection in connections:
                connection.close()
        finally:
            if host.is_running():
                host.popen.kill()
                host.popen.wait()
            host.clean_up()

    def signal(self, host, number):
        self.count(faults=1)
        host.popen.send_signal(number)

    def begin_requests(self, host):
        """They may be answered, refused or cut off: the host is ending."""
        connections = []
        for _ in range(self.random.randrange(4)):
            request = Request(self.random)
            try:
                connections.append(request.connect(host.address))
                connections[-1].socket.settimeout(1)
                connections[-1].send(request.bytes)
            except OSError:
                continue
            self.count(requests=1)
        return connections

    def check_end(self, host, has_begun):
        try:
            status = host.popen.wait(process.deadline(20))
        except subprocess.TimeoutExpired:
            self.note("no end within 20 s of a signal; the log:\n" + host.log.read()[-3000:])
            return
        log = host.log.read()[-3000:]
        loads, cleanups = sorted(host.noted("loads")), sorted(host.noted("cleanups"))
        if status != 0 and (has_begun or loads):
            self.note("exit status %d after a signal; the log:\n%s" % (status, log))
        is_interrupted = "interrupted, because the process ends" in log  # perhaps between the two notes
        if loads != cleanups and not is_interrupted:
            self.note("loaded by %r, cleaned up by %r; the log:\n%s" % (loads, cleanups, log))
        if os.path.exists(host.address):
            self.note("the socket's file is left; the log:\n" + log)
        for complaint in host.complaints():
            if not is_interrupted:
                self.note(complaint)
