"""Descriptors 0 to 2 are closed: at the start, each subset of them; later by the application."""
import contextlib
import os
import re

import fastcgi
from asking import Asking
from torment import Found, process
from trial import Trial, name_of, workers_of

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d \[\d+\] \w+: |\t")  # or what belongs to one
MARK = "printed-by-the-application"
OWN = re.compile(r"socket:|anon_inode:|/memfd:|.* \(deleted\)$")


class StandardStreams(Trial):

    def run_once(self):
        subset = self.random.randrange(8)
        closed = [number for number in range(3) if subset >> number & 1]
        log = self.random.choice(["file", "file", "stderr", "syslog"])
        processes = self.random.choice([1, 1, 2])
        self.what = "started without %r, log to %s, %d process(es)" % (closed, log, processes)
        self.has_stderr = 2 not in closed
        host = self.start_without(closed, log, processes)
        try:
            with Asking(self.torment, host) as asking:
                asking.wait(10)
                for _ in range(self.random.randrange(1, 4)):
                    self.disturb(host)
                    asking.wait(10)
                    self.check_standard(host)
            self.check_log(host, log)
        except BaseException:
            self.kill(host)
            raise
        if self.random.random() < 0.5:
            self.close_everything(host, log, processes)
        else:
            self.end(host)

    def start_without(self, closed, log, processes):
        """host.log is the log's file; with stderr it is what stderr leads to, and what nobody can read if that is
        closed."""
        settings = {"server": {"processes": processes}, "log": {"destination": log if log != "file" else "host.log"},
                    "status": {"listen": "unix:status"}}

        def close():
            for number in closed:
                os.close(number)
        return self.start(settings, run_first=close)

    def get(self, host, path):
        response = fastcgi.exchange(host.address, "GET", path)
        if response.status != 200:
            raise Found("%d for %s" % (response.status, path))
        return response.text

    def disturb(self, host):
        self.torment.count(faults=1)
        first, last = self.random.choice([(0, 1), (1, 2), (2, 3), (0, 3), (0, 3)])
        self.what += ", closes %d to %d" % (first, last - 1)
        self.has_stderr = self.has_stderr and not first <= 2 < last  # the only copy left, should it close the host's
        if self.get(host, "/close?first=%d&last=%d" % (first, last)) != "closed soon":
            raise Found("another one's answer to /close")
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(fastcgi.Connection(address))
                      for address in [host.address, self.status(host)] for _ in range(3)]
            for _ in range(4):
                if self.get(host, "/print") != "printed":
                    raise Found("another one's answer to /print")
            for connection in silent:
                self.check_silence(connection)

    @staticmethod
    def status(host):
        return os.path.join(host.folder, "status")

    @staticmethod
    def check_silence(connection):
        """Who has asked nothing gets nothing."""
        connection.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raise Found("%r came to a client that has asked nothing" % connection.socket.recv(1000))

    def check_standard(self, host):
        """What the host opens is never 0, 1 or 2; but for the moment in which it moves."""
        for pid in [host.pid] + process.children(host.pid):
            for _ in range(3):
                bad = self.find_own(pid)
                if not bad:
                    break
            else:
                raise Found("of process %d, descriptors of the host are standard ones: %r" % (pid, bad))

    @staticmethod
    def find_own(pid):
        try:
            if name_of(pid) == "fcgihost-log":
                return {}  # it has its pipe there
            return {number: name for number, name in process.descriptors(pid).items() if number < 3 and OWN.match(name)}
        except OSError:
            return {}

    def check_log(self, host, log):
        """What is printed comes as whole lines of the log, and not as bytes in the file."""
        if log != "file":
            return
        for line in host.log.read().splitlines():
            if MARK in line and not LINE.match(line):
                raise Found("printed into the log's file: %r" % line)

    def check_replacement(self, host, before):
        """The manager starts another worker, and loses no request to it; those of the old one may be."""
        process.wait_until(lambda: not before <= workers_of(host), "the worker's end", 20)
        process.wait_until(lambda: len(workers_of(host)) == len(before), "another worker", 20)
        with Asking(self.torment, host) as asking:
            asking.wait(10)

    def close_everything(self, host, log, processes):
        """The application closes all the host's descriptors: no host can go on so. It says that, where it still can,
        and does not claim that it has stopped in order."""
        self.torment.count(faults=1)
        first = self.random.choice([0, 3, 3])
        self.what += ", closes everything from %d" % first
        workers = workers_of(host)
        fastcgi.exchange(host.address, "GET", "/close?first=%d&last=10000" % first)
        is_told = log == "file" or (log == "stderr" and self.has_stderr and first > 2)
        if is_told:
            host.log.wait("has closed the host's descriptors", seconds=20)
        if processes > 1:
            self.check_replacement(host, workers)
            self.end(host)
            return
        status = host.wait_exit(20)
        if status != 1:
            raise Found("exit status %d; the log:\n%s" % (status, host.log.read()[-3000:]))
        if os.path.exists(host.address):
            raise Found("the socket's file is left")
        host.clean_up()
