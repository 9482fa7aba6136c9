"""SIGSTOP and SIGCONT, to the host, its manager or a worker, for as long as it takes: as if the machine had paused."""
import json
import os
import signal
import threading
import time

from asking import Asking
from torment import Found, Request, process
from trial import Trial, ask_status, workers_of

TIMES = [0.01, 0.1, 0.5, 1.5, 2.5]


class Stops(Trial):

    def run_once(self):
        self.processes = self.random.choice([1, 2, 2])
        is_short = self.random.random() < 0.7
        self.what = "%d process(es)%s" % (self.processes, ", io_timeout 1s" if is_short else "")
        host = self.start({"server": {"processes": self.processes},
                           "limits": {"io_timeout": "1s"} if is_short else {}})
        try:
            before = workers_of(host)
            with Asking(self.torment, host) as asking:
                asking.wait(5)
                for _ in range(3):
                    self.stop_one(host)
                    asking.wait(20)
            if workers_of(host) != before:
                raise Found("workers %r, now %r; the log:\n%s" % (before, workers_of(host), host.log.read()[-3000:]))
            self.check_status(host)
        except BaseException:
            self.kill(host)
            raise
        self.end(host)

    def stop_one(self, host):
        self.torment.count(faults=1)
        pids = self.random.choice([[host.pid], sorted(workers_of(host))[:1] or [host.pid],
                                   [host.pid, *workers_of(host)]])
        seconds = self.random.choice(TIMES) * self.random.random() * 2
        self.what += ", %s stopped for %.2f s" % ("all" if len(pids) > 1 else "host" if host.pid in pids else "a worker",
                                                  seconds)
        halves, unread = self.send_halves(host), self.send_for_large_answers(host)
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            for request, connection in halves:
                connection.send(request.bytes[len(request.bytes) // 2:])
            readers = [threading.Thread(target=self.check_whole, args=(host, *pair)) for pair in unread]
            for reader in readers:
                reader.start()
            if self.random.random() < 0.3:
                self.ask_a_stopped(host, host.pid in pids)
            time.sleep(seconds)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        for request, connection in halves:
            self.check_whole(host, request, connection)
        for reader in readers:
            reader.join()

    def send_for_large_answers(self, host):
        """Larger than a socket's buffer: their clients take nothing before the host is stopped, and then what there is."""
        sent = []
        for _ in range(2):
            request = Request(self.random, body=bytes(400000))
            sent.append((request, request.connect(host.address)))
            sent[-1][1].send(request.bytes)
        return sent

    def send_halves(self, host):
        """Of requests whose rest comes while the host is stopped: it is there in time, although nobody sees that."""
        halves = []
        while len(halves) < 6:
            request = Request(self.random)
            if len(request.bytes) > 50000:
                continue  # the rest would wait for room in the socket
            connection = request.connect(host.address)
            connection.send(request.bytes[:len(request.bytes) // 2])
            halves.append((request, connection))
        time.sleep(0.05 * process.SLOWNESS)
        return halves

    def check_whole(self, host, request, connection):
        self.torment.count(requests=1)
        try:
            with connection:
                request.check(connection.read_response())
        except (OSError, ValueError, AssertionError, Found) as error:
            self.torment.count(lost=1)
            self.note("%s, which was under way while it was stopped: %s: %s; the log:\n%s" % (
                request.path, type(error).__name__, error, host.log.read()[-1500:]))

    def ask_a_stopped(self, host, is_hosts_own):
        """It does not answer; whoever asks is told so in a bounded time. With a stopped worker the manager answers."""
        done = ask_status(host)
        if is_hosts_own and done.returncode != 1:
            raise Found("a stopped host is said to serve: %r" % done.stdout)
        if not is_hosts_own and not done.stdout:
            raise Found("the manager does not answer beside a stopped worker: %r" % done.stderr)

    def check_status(self, host):
        done = ask_status(host, "--format", "json")
        if done.returncode != 0:
            raise Found("--status exits with %d: %s %s" % (done.returncode, done.stdout[-1000:], done.stderr))
        status = json.loads(done.stdout)
        pids = {item["pid"] for item in status["processes"]}
        expected = workers_of(host) if self.processes > 1 else {host.pid}
        if status["state"] != "serving" or pids != expected:
            raise Found("%r and %r instead of serving and %r" % (status["state"], pids, expected))
        for name in "reload", "crash", "timeout":
            if status["restarts"][name]:
                raise Found("restarts: %r" % status["restarts"])
