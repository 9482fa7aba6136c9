"""A signal at any moment of the start, of serving and of the end: the host ends in order, and leaves nothing.

    moments.py [--moments N] [--signals NAMES] [--processes NUMBERS]

Systematically: for each signal that stops, without a manager and with one, half of N lives end at a moment of their
start, half get a second signal at a moment of their end. The moments are library calls of the host's processes
(moments.c), spread evenly over those that a start, or an end, makes."""
import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time

from preload import preload
from torment import Request, Torment, TormentedHost, process

STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGQUIT]
OTHERS = [signal.SIGHUP, signal.SIGUSR2]


class Control(ctypes.Structure):
    """struct moments of moments.c."""
    _fields_ = [("calls", ctypes.c_long), ("countdown", ctypes.c_long), ("number", ctypes.c_int), ("pid", ctypes.c_int),
                ("sent", ctypes.c_int)]


class Moments(Torment):
    name = "moments"

    def __init__(self, seed):
        super().__init__(seed)
        self.control, self.environ = preload("moments.c", Control, "MOMENTS")
        self.lengths = {}  # how many calls a stage had: the longest so far

    def run(self, until):
        while True:
            # A sanitizer wants to be the first that replaces these functions.
            kind = self.one_life if process.SAN else self.random.choice([self.one_life, self.one_exact_life])
            kind()
            if until():
                return

    # At a time

    def one_life(self):
        processes = self.random.choice([1, 1, 2])
        host = self.start(processes)
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
            self.end(host)

    def start(self, processes, **more):
        shutdown = {"drain_timeout": "%ds" % process.deadline(3), "cleanup_timeout": "%ds" % process.deadline(10)}
        return TormentedHost({"server": {"processes": processes}, "shutdown": shutdown}, wait=False, **more)

    def end(self, host):
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

    # At a call

    def one_exact_life(self):
        self.life_with(self.random.choice(STOPPING), self.random.choice([1, 1, 2]), self.random.choice(["start", "end"]),
                       self.random.random())

    def life_with(self, number, processes, stage, part):
        """part: of the stage's calls, from 0 to 1, at which the signal comes."""
        length = self.lengths.get((processes, stage)) or self.measure(processes, stage)
        self.control.calls = self.control.sent = self.control.pid = 0
        self.control.number = number
        self.control.countdown = int(part * length) + 1 if stage == "start" else 0
        host = self.start(processes, environ=self.environ)
        try:
            if stage == "end":
                self.wait_for_serving(host, processes)
                self.begin_end(host, number, int(part * length) + 1)
            else:
                process.wait_until(lambda: self.control.sent or self.serves(host, processes), "a signal, or a host that serves")
            if not self.control.sent and host.is_running() and stage == "start":
                self.signal(host, number)  # this life has fewer calls
            self.check_end(host, False)
            self.count(faults=self.control.sent, inputs=1)
        finally:
            self.end(host)

    def measure(self, processes, stage):
        """How many calls a start, or an end, has."""
        self.control.calls = self.control.countdown = self.control.pid = 0
        host = self.start(processes, environ=self.environ)
        try:
            self.wait_for_serving(host, processes)
            if stage == "end":
                self.begin_end(host, signal.SIGTERM, 0)
                host.wait_exit(20)
            self.lengths[processes, stage] = self.control.calls
        finally:
            self.end(host)
        return self.control.calls

    def begin_end(self, host, number, countdown):
        with Request(self.random).connect(host.address):
            self.control.calls, self.control.countdown = 0, countdown
            self.signal(host, number)

    @staticmethod
    def serves(host, processes):
        return not host.is_running() or host.log.read().count("info: serving ") >= (processes if processes > 1 else 1)

    def wait_for_serving(self, host, processes):
        process.wait_until(lambda: self.serves(host, processes), "a host that serves", 20)

    # What must hold

    def check_end(self, host, has_begun):
        try:
            status = host.popen.wait(process.deadline(20))
        except subprocess.TimeoutExpired:
            self.note("no end within 20 s of a signal; the log:\n" + host.log.read()[-3000:])
            return
        log = host.log.read()[-3000:]
        loads, cleanups = sorted(host.noted("loads")), sorted(host.noted("cleanups"))
        # Before it says so it may not have its handlers yet, and has nothing to put in order.
        has_begun = has_begun or "starting" in log or "managing" in log
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
        try:
            process.wait_until(lambda: not process.reap_adopted(), "its children to end", 10)
        except AssertionError as error:
            self.note("%s: %r; the log:\n%s" % (error, process.reap_adopted(), log))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--moments", type=int, default=300, help="for each signal, without a manager and with one")
    parser.add_argument("--signals", default=",".join(number.name for number in STOPPING))
    parser.add_argument("--processes", default="1,2", help="1: without a manager; 2: with one, and so many workers")
    options = parser.parse_args()
    process.adopt_orphans()
    moments, row = Moments("moments"), "%-10s %10s %6s %12s %8s %8s"
    print(row % ("signal", "processes", "stage", "calls", "moments", "found"), flush=True)
    for number in map(signal.Signals.__getitem__, options.signals.split(",")):
        for processes in map(int, options.processes.split(",")):
            for stage in "start", "end":
                before, count = len(moments.found), options.moments // 2
                for i in range(count):
                    moments.life_with(number, processes, stage, (i + 0.5) / count)
                print(row % (number.name, processes, stage, moments.lengths[processes, stage], count,
                             len(moments.found) - before), flush=True)
                for text in moments.found[before:]:
                    print("FOUND: %s" % text, flush=True)
    print("%d lives, %d signals, %d found" % (moments.inputs, moments.faults, len(moments.found)))
    return 1 if moments.found else 0


if __name__ == "__main__":
    sys.exit(main())
