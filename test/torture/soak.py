"""Very many requests of all kinds: memory, descriptors, threads and Python's objects are level at the end, no answer is
wrong or missing, and the status counts each.

    soak.py [--requests N | --minutes N] [--sites NAMES]

The clients are test/bench/load.c, one process for each kind, all at the same time; beside them some that abort, lie and
read slowly. The run has segments; after each, once the host is idle, a sample is taken and printed. Exit status 1: one
was not level, or anything was lost; it has been printed."""
import argparse
import contextlib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import namedtuple

from torment import HERE, Host, fastcgi, merged, process, reset, scgi, temporary_folder
from host import ROOT, sanitizer_reports
from managed import ManagedHost
sys.path.insert(0, os.path.join(ROOT, "python"))
import soak_app  # noqa: E402

SEGMENTS = 20  # of a run; the first PART of them warm up
PART = SEGMENTS // 4
LEVEL_KIB = 512  # how much the median of the last quarter may be above that of the second one
LEVEL_PYTHON = {"objects": 20, "blocks": 500}  # how many more of Python's: its caches take a million requests to settle
BESIDE_SECONDS = 0.02  # between two clients that misbehave
WORKER_REQUESTS = 20000  # of each worker of a manager, before it is replaced
SETTINGS = {"python": {"path": [HERE]},
            "application": {"wsgi": "soak_app:application", "mount": "/app"},
            "application handler": {"handler": "soak_app:handle", "mount": "/handler"},
            "limits": {"body_memory": "16K", "response_memory": "16K", "io_timeout": "10s"}}
SITES = {"host": 1, "manager": 2}  # how many workers


def letters(number):
    """The end of what load.c uploads."""
    return bytes(ord("a") + at % 26 for at in range(number - 16, number))


class Kind(namedtuple("Kind", "share path status body protocol is_kept connections upload",
                      defaults=(200, soak_app.SMALL, "fastcgi", True, 4, 0))):
    """share: of each 1,000 requests. body: what must come; None: the host's own page, as it comes at first."""

    @classmethod
    def uploading(cls, share, size):
        return cls(share, "/app/upload", body=b"%d bytes, %s\n" % (size, letters(size)), upload=size)


with open(soak_app.FILE, "rb") as source:
    KINDS = [Kind(420, "/app/small", connections=16),
             Kind(150, "/app/small", is_kept=False),
             Kind(100, "/app/small", protocol="scgi", is_kept=False),
             Kind.uploading(80, 4000),
             Kind.uploading(25, 64000),  # beyond body_memory
             Kind(5, "/app/large", body=soak_app.LARGE),
             Kind(50, "/app/stream", body=soak_app.PIECE * soak_app.PIECES),
             Kind(40, "/app/file", body=source.read()),
             Kind(50, "/handler", body=b"Hello, localhost\n"),
             Kind(20, "/app/fail", status=500, body=None),
             Kind(40, "/nowhere", status=404, body=None),
             Kind(20, "/app/log", is_kept=False)]
assert sum(kind.share for kind in KINDS) == 1000

# What the log may say, each line from its beginning; the lines of a traceback are further in.
EXPECTED = re.compile("|".join((
    r"\[\d+\] info: ", r"\[\d+\] warning: running as root",
    r"\[\d+\] warning: connection closed: not FastCGI version 1$",
    r"\[\d+\] warning: GET /(nowhere|ready): 404: no \[application\] mount matches",
    r"\[\d+\] warning: POST /app/upload: 400: (its body was cut|the web server aborted it before its body had arrived)",
    r"\[\d+\] warning: path-not-mounted: \d+ more like it came within a second$",
    r"\[\d+\] error: GET /app/log: announced in wsgi.errors \(request", "announced on standard output$",
    r"\[\d+\] error: GET /app/fail: the application failed: answered with 500")))


# -------------------------------------------------------------------------------
# Clients that misbehave: how many requests each is, of those that the host counts


def leave_within_the_body(address, random):
    with fastcgi.Connection(address) as connection:
        data = fastcgi.request_bytes("POST", "/app/upload", b"x" * 30000)
        connection.send(data[:random.randrange(2000, len(data) - 100)])
    return 1  # answered with 400, though nobody reads it


def abort_within_the_body(address, random):
    with fastcgi.Connection(address) as connection:
        data = fastcgi.request_bytes("POST", "/app/upload", b"x" * 30000, chunk=1000)
        head = fastcgi.head(fastcgi.message.parameters("POST", "/app/upload", b"x" * 30000))
        part = fastcgi.stream(fastcgi.STDIN, b"x" * random.randrange(29000), end=False)
        connection.send(head + part + fastcgi.abort())
        expect(connection.read_response().status, 400)
        connection.send(data)
        expect(connection.read_response().status, 200)
    return 2


def leave_within_the_response(address, random):
    protocol = random.choice([fastcgi, scgi])
    connection = protocol.Connection(address)
    connection.send(protocol.request_bytes("GET", random.choice(["/app/stream", "/app/large"])))
    expect(len(connection.receive(100)) > 0, True)
    reset(connection)
    return 1


def read_slowly(address, random):
    with scgi.Connection(address, receive_buffer=4096) as connection:
        connection.send(scgi.request_bytes("GET", "/app/large"))
        time.sleep(0.05)
        expect(connection.read_response().body == soak_app.LARGE, True)
    return 1


def send_no_head(address, random):
    with fastcgi.Connection(address) as connection:
        data = bytearray(fastcgi.request_bytes("GET", "/app/small"))
        data[16] = random.choice([0, 2, 255])  # the version of the second record
        connection.send(bytes(data))
        expect(connection.is_closed_by_peer(), True)
    return 0


def expect(found, wanted):
    if found != wanted:
        raise AssertionError("%r instead of %r" % (found, wanted))


MISBEHAVING = [leave_within_the_body, abort_within_the_body, leave_within_the_response, read_slowly, send_no_head]


class Beside:
    """A thread with one of them after the other. counted, clients: totals."""

    def __init__(self, address, seed):
        self.address, self.random = address, random.Random(seed)
        self.counted = self.clients = 0
        self.problems = []

    def __enter__(self):
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def __exit__(self, *unused):
        self.ended.set()
        self.thread.join()

    def run(self):
        while True:
            client = self.random.choice(MISBEHAVING)
            try:
                self.counted += client(self.address, self.random)
            except (OSError, ValueError, AssertionError) as error:
                self.problems.append("%s: %s: %s" % (client.__name__, type(error).__name__, error))
            self.clients += 1
            if self.ended.wait(BESIDE_SECONDS):
                return


# -------------------------------------------------------------------------------
# What is sampled


class Sample(namedtuple("Sample", "requests anonymous_kib pss_kib descriptors threads connections temporary objects "
                                  "blocks")):
    """Of the process that is to stay level, once it is idle. objects, blocks: None for a manager: it has no Python."""
    TITLES = ("requests", "anonymous KiB", "PSS KiB", "descriptors", "threads", "connections", "temporary", "objects",
              "blocks")


def kib_of(pid, *names):
    with open("/proc/%d/smaps_rollup" % pid) as file:
        found = dict(line.split(":") for line in file if "kB" in line)
    return [int(found[name].split()[0]) for name in names]


def thread_count(pid):
    return len(os.listdir("/proc/%d/task" % pid))


class Soaked:
    """A running host. What its workers are is its manager's affair: if it has one, that is what must stay level."""

    def __init__(self, name, seed):
        self.folder = temporary_folder()
        self.load = os.path.join(self.folder, "load")
        bench = os.path.join(os.path.dirname(HERE), "bench")
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-o", self.load, os.path.join(bench, "load.c"),
                        os.path.join(bench, "wire.c")], check=True)
        runtime = os.path.join(self.folder, "run")
        os.mkdir(runtime, 0o700)
        self.environ = {"RUNTIME_DIRECTORY": runtime}
        more = {"watched": False, "environ": self.environ}
        self.is_managed = SITES[name] > 1
        if self.is_managed:
            limits = {"limits": {"requests": WORKER_REQUESTS, "requests_jitter": WORKER_REQUESTS // 10}}
            self.host = ManagedHost(None, merged(SETTINGS, limits), SITES[name], **more)
        else:
            self.host = Host(None, SETTINGS, **more)
        self.beside = Beside(self.host.address, "%s %s" % (seed, name))
        self.files = [self.expected_file(number, kind) for number, kind in enumerate(KINDS)]
        self.problems, self.samples = [], []
        self.requests = self.lost = 0
        self.wait_until_idle()
        self.counted = self.counted_by_status()["total"]

    def expected_file(self, number, kind):
        """The path of a file with the body that is to come each time."""
        body = kind.body
        if body is None:
            response = fastcgi.exchange(self.host.address, "GET", kind.path)
            body = response.body
            expect(response.status, kind.status)
            expect(b"nnounced" in body, False)  # the page tells strangers nothing
        path = os.path.join(self.folder, "expected-%d" % number)
        with open(path, "wb") as file:
            file.write(body)
        return path

    def start_load(self, kind, path, requests):
        command = [self.load, "--address", "unix:" + self.host.address, "--protocol", kind.protocol,
                   "--path", kind.path, "--expect", path, "--status", str(kind.status), "--upload", str(kind.upload),
                   "--connections", str(kind.connections), "--requests", str(requests), "--seconds", "86400"]
        return process.start(command + ["--keep"] * kind.is_kept, stdout=subprocess.PIPE)

    def run_segment(self, requests):
        with self.beside:
            loads = [(kind, max(1, requests * kind.share // 1000)) for kind in KINDS]
            running = [(kind, wanted, self.start_load(kind, path, wanted))
                       for (kind, wanted), path in zip(loads, self.files)]
            for kind, wanted, load in running:
                self.take(kind, wanted, load)
        self.sample()

    def take(self, kind, wanted, load):
        """What one process of load.c has found."""
        output, _ = load.communicate()
        if load.returncode != 0:
            raise AssertionError("load ended with %d" % load.returncode)
        found = json.loads(output)
        self.requests += found["served"]
        lost, who = wanted - found["served"], "%s, %s" % (kind.path, kind.protocol)
        self.lost += lost
        if lost or found["errors"]:
            self.problems.append("%s: %d of %d lost: %s" % (who, lost, wanted, found["problem"]))
        if found["retries"]:
            self.problems.append("%s: %d kept connections were closed" % (who, found["retries"]))

    # - once it is idle

    def sample(self):
        self.wait_until_idle()
        pid, objects, blocks = self.host.pid, None, None
        if not self.is_managed:
            objects, blocks = map(int, fastcgi.exchange(self.host.address, "GET", "/app/memory").text.split())
            self.counted += 1
            self.wait_until_idle()
        names = process.descriptors(pid).values()
        temporary = sum("(deleted)" in name for name in names if not name.startswith("/memfd:"))
        self.samples.append(Sample(self.requests, *kib_of(pid, "Anonymous", "Pss"), len(self.host.descriptors()),
                                   thread_count(pid), self.connections(), temporary, objects, blocks))
        print_row(self.samples[-1])

    def connections(self):
        return sum(map(self.connections_of, self.pids()))

    @staticmethod
    def connections_of(pid):
        names = process.descriptors(pid).values()
        sockets = {name[8:-1] for name in names if name.startswith("socket:[")}
        return len(sockets & connected_inodes())

    def pids(self):
        return sorted(self.host.serving()) if self.is_managed else [self.host.pid]

    def wait_until_idle(self):
        """Every client has left: what they had is given back soon."""
        if self.is_managed:
            self.host.wait_serving(self.host.processes)
        with contextlib.suppress(AssertionError):  # the sample shows what was left
            process.wait_until(lambda: not self.connections() and len(self.host.descriptors()) <= self.host.baseline,
                               "an idle host", 10)

    # - at the end

    def counted_by_status(self):
        done = subprocess.run([self.host.command[0], "--status", "--format", "json", "-c",
                               os.path.join(self.host.folder, "fcgihost.ini")], stdout=subprocess.PIPE, check=True,
                              env=dict(os.environ, **self.environ))
        return json.loads(done.stdout)["requests"]

    def finish(self):
        """All that was found."""
        found = self.problems + self.beside.problems[:10] + self.check_count()
        found += unlevel(self.samples, self.host.baseline)
        found += self.host.check_descriptors() + self.host.stop() + unexpected_lines(self.host.log.read())
        found += [report for report in [sanitizer_reports(self.host.folder)] if report]
        self.host.clean_up()
        shutil.rmtree(self.folder)
        return found

    def check_count(self):
        wanted = self.counted + self.requests + self.beside.counted
        counted = self.counted_by_status()
        if counted["total"] != wanted or sum(counted["by_status"].values()) != wanted:
            return ["the status counts %r, of %d requests" % (counted, wanted)]
        return []


def connected_inodes():
    """Of all sockets of this machine that are accepted connections: those that have a name and do not listen."""
    with open("/proc/net/unix") as file:
        lines = [line.split() for line in file.read().splitlines()[1:]]
    return {fields[6] for fields in lines if len(fields) > 7 and fields[3] != "00010000"}


def unexpected_lines(log):
    """Of a log: complaints."""
    lines = [re.sub(r"^\S+T\S+ ", "", line) for line in log.splitlines()]
    bad = [line for line in lines if line and not EXPECTED.match(line) and not is_of_traceback(line)]
    kinds = {re.sub(r"[0-9a-f]{16}|\d+", "N", line): line for line in bad}
    return ["%d lines of the log were not expected, such as:\n%s" % (
        len(bad), "\n".join(list(kinds.values())[:9]))] if bad else []


def is_of_traceback(line):
    return line.startswith(("Traceback (most recent call last)", "  ", "soak_app.Announced: announced"))


def unlevel(samples, baseline):
    """What is not as it was. The memory that malloc keeps moves a little: so medians of quarters are compared."""
    found = []
    quarter = len(samples) // 4
    if quarter:
        second, last = samples[quarter:2 * quarter], samples[-quarter:]
        grown = statistics.median(s.anonymous_kib for s in last) - statistics.median(s.anonymous_kib for s in second)
        print("anonymous memory: the last quarter's median is %+d KiB from the second quarter's" % grown)
        if grown > LEVEL_KIB:
            found.append("memory grows: %d KiB over half of the run" % grown)
        found += unlevel_objects(second, last)
    first, end = samples[0], samples[-1]
    if end.descriptors > baseline:
        found.append("%d descriptors, %d at the start" % (end.descriptors, baseline))
    for name in ("threads", "connections", "temporary"):
        if getattr(end, name) != getattr(first, name):
            found.append("%s: %d at first, %d at the end" % (name, getattr(first, name), getattr(end, name)))
    return found


def unlevel_objects(second, last):
    if last[0].objects is None:
        return []
    then = {name: max(getattr(sample, name) for sample in second) for name in LEVEL_PYTHON}
    now = {name: min(getattr(sample, name) for sample in last) for name in LEVEL_PYTHON}
    return ["Python's %s grow: %d, then %d" % (name, then[name], now[name]) for name, limit in LEVEL_PYTHON.items()
            if now[name] > then[name] + limit]


def print_row(values):
    print("  ".join("%*s" % (max(len(title), 9), "-" if value is None else format(value, ","))
                    for title, value in zip(Sample.TITLES, values)), flush=True)


# -------------------------------------------------------------------------------
# The command


def soak(name, options):
    """One site: was anything found?"""
    print("soak: %s, seed %s" % (name, options.seed))
    soaked = Soaked(name, options.seed)
    print("  ".join(title.rjust(9) for title in Sample.TITLES), flush=True)
    begin = time.monotonic()
    number = 0
    while number < SEGMENTS if options.minutes is None else time.monotonic() < begin + 60 * options.minutes:
        soaked.run_segment(options.requests // SEGMENTS)
        number += 1
    seconds = time.monotonic() - begin
    found = soaked.finish()
    for text in found:
        print("soak: %s: FOUND: %s" % (name, text))
    print("soak: %s: %s requests in %d s (%d a second), %d lost; %d clients that misbehaved; %s" % (
        name, format(soaked.requests, ","), seconds, soaked.requests / seconds, soaked.lost, soaked.beside.clients,
        "not level" if found else "level"), flush=True)
    return bool(found)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=10000000)
    parser.add_argument("--minutes", type=float, help="go on for so long: a sample after each --requests / 20")
    parser.add_argument("--sites", default=",".join(SITES), help="host, manager, with a comma between")
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    process.adopt_orphans()
    found = [soak(name, options) for name in options.sites.split(",")]
    return 1 if any(found) else 0


if __name__ == "__main__":
    sys.exit(main())
