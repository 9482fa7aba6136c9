"""HTTP clients that abort, stall and lie about lengths, through each real web server, beside well-formed requests whose
answers are all checked.

    hostile_clients.py [--requests N] [--fronts NAMES] [--seed S]

Half of the requests are well-formed. Prints a table; with exit status 1 if anything was found. Fronts that are not
installed are left out, but not in continuous integration."""
import argparse
import collections
import hashlib
import http.client
import os
import random
import re
import string
import sys
import threading
import time

from torment import HERE, SOURCE, Found, Torment, log_complaints, merged, new_token, process, random_body, temporary_folder, tokens
import fronts
import http_sessions
from host import run
from managed import ManagedHost

TOKEN = re.compile(rb"[WHS]\d{1,6}-[0-9a-f]{12}")
FRONTS = fronts.ALL + fronts.STREAMING
FILE_BYTES = 300000
GOOD_CLIENTS, HOSTILE_CLIENTS = 4, 14
WARM_UP = 0.15  # of the requests, before the level of memory, descriptors and threads is taken
MOST_TO_WARM_UP = 300
MEMORY_BYTES = 24 << 20  # of growth from there: buffers of requests that meet in another way, and malloc's own
STOP_SECONDS = 8  # drain_timeout and cleanup_timeout, and a second
SECONDS_TO_LEVEL = 15

VARIANTS = {
    "usual": {},
    "stream": {"application": {"stream": "yes"}},
    "retire": {"limits": {"requests": 200, "requests_jitter": 50}},
}


# -------------------------------------------------------------------------------
# Sites


def tormented(kind, variant):
    """The front, and behind it a host of test/torture/app.py."""
    class Tormented(kind):
        apps = HERE
        is_managed = variant == "retire" and not kind.starts_host

        def start_host(self):
            if not self.is_managed:
                return super().start_host()
            settings = merged({"application": {"wsgi": self.app, "mount": None}}, self.settings)
            self.host = ManagedHost(self.notes, settings, folder=self.folder, watched=False)

        def make_front(self):
            front = super().make_front()
            front.lingering = ""
            return front

    Tormented.notes = make_notes()
    settings = {"server": {"threads": 4, "temporary": os.path.join(Tormented.notes, "temporary")},
                "environment": {"FOLDER": Tormented.notes, "JOURNAL": "yes"}}
    if variant == "retire" and issubclass(kind, fronts.SpawnFcgi):
        settings["server"]["manager"] = "yes"  # nobody else starts another
    site = Tormented("app:application", "/app", merged(settings, VARIANTS[variant]))
    if site.host is not None and not site.is_managed:  # the application was not loaded when it was taken
        site.host.baseline = len(site.host.descriptors()) - site.host.connections()
    return site


def make_notes():
    """A folder of the application, which may run as another user."""
    folder = temporary_folder()
    os.mkdir(os.path.join(folder, "temporary"))
    for name in (folder, os.path.join(folder, "temporary")):
        os.chmod(name, 0o777)
    with open(os.path.join(folder, "file"), "wb") as file:
        file.write(random.Random(folder).randbytes(FILE_BYTES))
    return folder


def host_pids(site):
    """Those that have loaded the application, and live."""
    with open(os.path.join(site.notes, "loads"), encoding="ascii") as file:
        return sorted({int(line) for line in file} & {int(name) for name in os.listdir("/proc") if name.isdigit()})


def thread_name(pid, thread):
    with open("/proc/%d/task/%s/comm" % (pid, thread), encoding="ascii") as file:
        return file.read().strip()


class Level:
    """What one process has taken; without the one thread that sends to slow peers, as it is started with the first of these."""

    def __init__(self, pid, folder):
        with open("/proc/%d/status" % pid, encoding="ascii") as file:
            self.memory = int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) * 1024
        found = [name for name in process.descriptors(pid).values() if "memfd:" not in name and "/sanitizer." not in name]
        self.temporary = [name for name in found if name.startswith(folder + "/temporary")]
        self.sockets = sum(name.startswith("socket:") for name in found)
        self.others = len(found) - self.sockets - len(self.temporary)
        self.threads = sum(thread_name(pid, thread) != "sender" for thread in os.listdir("/proc/%d/task" % pid))


# -------------------------------------------------------------------------------
# Well-formed requests


class WellFormed:
    """Its parts, and what must come back."""
    NAMES = ["echo", "echo", "echo/lines", "stream", "late", "slow", "file", "fail", "empty", "redirect", "ignore", "half",
             "early", "headers"]

    def __init__(self, random, site):
        self.token, self.name, self.body = new_token(random, "W"), random.choice(self.NAMES), random_body(random)
        self.method = random.choice(["POST", "PUT"]) if self.body else random.choice(["GET", "GET", "HEAD", "POST", "DELETE"])
        self.half, self.status = random.randrange(len(self.body) + 1), random.choice([204, 304])
        self.path = "%s/%s?token=%s&size=%d&status=%d" % (site.prefix, self.name, self.token, self.half, self.status)
        self.check_text = "".join(random.choices(string.ascii_letters, k=20))
        self.is_chunked = bool(self.body) and site.takes_chunked and random.random() < 0.3 and \
            len(self.body) < 500 * site.chunked_parts
        self.headers = [("X-Check", self.check_text)] + [
            ("X-" + "".join(random.choices(string.ascii_letters, k=8)), "".join(random.choices(SOURCE, k=40)).strip())
            for _ in range(random.choice([0, 1, 12]))]
        self.random = random

    def send(self, client):
        client.putrequest(self.method, self.path, skip_accept_encoding=True)
        for name, value in self.headers:
            client.putheader(name, value)
        if self.is_chunked:
            client.putheader("Transfer-Encoding", "chunked")
            client.endheaders(self.chunks(), encode_chunked=True)
        elif self.body or self.method in ("POST", "PUT"):
            client.putheader("Content-Length", str(len(self.body)))
            client.endheaders(self.body)
        else:
            client.endheaders()

    def chunks(self):
        cuts = sorted(self.random.randrange(len(self.body) + 1) for _ in range(self.random.choice([0, 1, 5])))
        return [self.body[start:end] for start, end in zip([0] + cuts, cuts + [len(self.body)]) if start < end]

    def expected(self, file):
        """(status, what follows the line of the token; None: there is no such line, b"" or a page)"""
        if self.name == "fail":
            return 500, None
        if self.name == "empty":
            return self.status, None
        rest = {"file": None, "redirect": b"", "ignore": b"", "headers": b"", "early": b"x" * 1000,
                "half": self.body[:self.half]}.get(self.name, self.body)
        return (303 if self.name == "redirect" else 200), rest

    def check(self, response, body, file):
        status, rest = self.expected(file)
        if response.status != status:
            raise Found("%d instead of %d: %r" % (response.status, status, body[:200]))
        if self.method == "HEAD" or self.name == "empty":
            if body:
                raise Found("a body where none may be: %r" % body[:100])
        elif self.name == "file":
            if body != file:
                raise Found("a file of %d bytes came as %d" % (len(file), len(body)))
        elif rest is not None:
            head, _, found = body.partition(b"\n")
            if head.split(b" ")[0] != self.token.encode():
                raise Found("another one's answer: %r" % head[:100])
            if found != rest:
                raise Found("%d bytes came back as %d" % (len(rest), len(found)))
        if status != 500 and (response.getheader("X-Token"), response.getheader("X-Check")) != (self.token, self.check_text):
            raise Found("another one's headers: %r" % response.getheaders())

    def __repr__(self):
        return "%s /%s, %d bytes of body%s (%s)" % (self.method, self.name, len(self.body),
                                                     ", chunked" if self.is_chunked else "", self.token)


# -------------------------------------------------------------------------------
# The journal: what reached the application


class Journal:
    """of: a site. What the application noted, against what was sent."""

    def __init__(self, site):
        self.calls, self.bodies, self.ended, self.begun = collections.Counter(), [], set(), {}
        self.unnoticed = []
        try:
            with open(os.path.join(site.notes, "journal"), encoding="latin-1") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            kind, token, *rest = line.split(" ")
            if kind == "call":
                self.calls[token] += 1
                self.begun[token] = rest
            elif kind == "body":
                self.bodies.append((token, *rest))
            elif kind == "unnoticed":
                self.unnoticed.append(token)

    def check(self, well_formed, closed, forbidden, unfinished):
        """Complaints. closed: those whose kept connection was closed instead of an answer."""
        found = ["the application was called with %s, which was in a body" % token for token in self.calls if token in forbidden]
        found += ["nobody sent %s" % token for token in self.calls if token != "none" and token.encode() not in tokens]
        found += ["%s %s was called %d times" % (self.begun[token][0], token, count)
                  for token, count in self.calls.items() if count > 1 and token != "none"]
        found += ["%r was not called" % request for request in well_formed.values() if not self.calls[request.token]]
        found += ["%r was called, and its connection closed" % request for request in closed.values()
                  if self.calls[request.token]]
        found += ["the application never learned that the client of %s had left" % token for token in self.unnoticed]
        unfinished = {token.decode() for token in unfinished}
        for token, length, count, digest, size in self.bodies:
            if token in unfinished and int(size) < 0:
                found.append("%s bytes passed for the whole body of %s, of which no more came" % (count, token))
            reason = self.body_complaint(well_formed.get(token), length, int(count), digest, int(size))
            if reason:
                found.append("%s of %s" % (reason, well_formed.get(token, token)))
        return found

    @staticmethod
    def body_complaint(request, length, count, digest, size):
        """length: CONTENT_LENGTH, or -. count: bytes that the application read, asking for size (-1: all)."""
        if length != "-":
            announced = int(length)
            if count > announced:
                return "%d bytes were read of %d" % (count, announced)
            if count < (announced if size < 0 else min(size, announced)):
                return "a short body, %d bytes instead of %d, passed for the whole one" % (count, announced)
        if request is None:
            return None
        whole = request.body if size < 0 else request.body[:size]
        if (count, digest) != (len(whole), hashlib.sha256(whole).hexdigest()):
            return "%d bytes, not the %d that were sent, were the body" % (count, len(whole))
        if length != "-" and int(length) != len(request.body):
            return "CONTENT_LENGTH %s instead of %d" % (length, len(request.body))
        return None


# -------------------------------------------------------------------------------
# A round


class Round(Torment):
    """So many requests, half of them well-formed, through one front."""
    name = "hostile clients"

    def __init__(self, kind, variant, requests, seed):
        super().__init__("%s %s %s" % (seed, kind.name, variant))
        self.kind, self.variant, self.left = kind, variant, collections.Counter()
        self.wanted = requests
        self.aborted = self.closed_before = self.mixed = self.held = 0
        self.well_formed, self.closed, self.forbidden, self.unfinished = {}, {}, set(), set()
        self.until = lambda: False

    def run(self, until):
        site = self.site = tormented(self.kind, self.variant)
        with open(os.path.join(site.notes, "file"), "rb") as file:
            self.file = file.read()
        try:
            self.send(min(int(self.wanted * WARM_UP), MOST_TO_WARM_UP))
            before = {pid: Level(pid, site.notes) for pid in host_pids(site)}
            self.until = until
            self.send(self.wanted - self.inputs - self.requests)
            self.check_levels(before)
            for complaint in Journal(site).check(self.well_formed, self.closed, self.forbidden, self.unfinished):
                self.note(complaint)
        finally:
            self.stop()

    def send(self, requests):
        """So many, or as many as there is time for."""
        self.left = collections.Counter(good=requests // 2, hostile=requests - requests // 2)
        self.in_threads([self.be_good] * GOOD_CLIENTS + [self.be_hostile] * HOSTILE_CLIENTS)

    def take(self, what):
        with self.lock:
            self.left[what] -= 1
            return self.left[what] >= 0 and not self.until()

    # Well-formed ones.

    def be_good(self, random):
        client, uses = None, 0
        while self.take("good"):
            if client is None:
                client, uses = http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=process.deadline(60)), 0
            request = WellFormed(random, self.site)
            with self.lock:
                self.well_formed[request.token] = request
            is_last = self.ask(client, request, uses)
            uses += 1
            if is_last or random.random() < 0.2:
                client.close()
                client = None
        if client is not None:
            client.close()

    def ask(self, client, request, uses):
        """Must the connection be closed? A web server may close a kept one at any moment (RFC 9112, section 9.5), Apache
        does when its threads are busy: then nothing may have reached the application."""
        self.count(requests=1)
        begun = time.monotonic()
        try:
            try:
                request.send(client)
                response = client.getresponse()
            except ConnectionError:
                if uses == 0:
                    raise
                with self.lock:
                    self.closed[request.token] = self.well_formed.pop(request.token)
                    self.closed_before += 1
                return True
            body = response.read()
            request.check(response, body, self.file)
            self.check_leak({request.token.encode()}, repr(response.getheaders()).encode() + (b"" if body == self.file else body))
            return response.will_close
        except (OSError, ValueError, AssertionError, http.client.HTTPException, Found) as error:
            self.count(lost=1)
            self.note("%r, number %d of its connection, after %.1f s: %s: %s" % (request, uses + 1, time.monotonic() - begun,
                                                                         type(error).__name__, error))
            return True

    # Hostile ones.

    def be_hostile(self, random):
        while self.take("hostile"):
            session = http_sessions.Session(self.site, random)
            self.count(inputs=1)
            way = random.choice(http_sessions.WAYS)
            try:
                session.connect(4096 if way is http_sessions.stall_while_reading else None)
                way(session)
            except OSError:
                pass  # the front may close, or let it wait, at any moment
            finally:
                session.socket.close()
            self.check_leak(session.own, session.received, way.__name__)
            with self.lock:
                self.forbidden |= session.forbidden
                self.unfinished |= session.unfinished
                self.aborted += session.is_aborted

    def check_leak(self, own, answer, who="a well-formed request"):
        for token in TOKEN.findall(answer):
            if token in tokens and token not in own:
                self.count(mixed=1)
                self.note("the answer to %s has another request's token: %r" % (who, token))

    # Afterwards.

    def check_levels(self, before):
        """What they hold must be as before within some seconds, as a front may still be telling that clients have left."""
        complaints = []
        for pid in host_pids(self.site):
            complaints = []
            try:
                process.wait_until(lambda: not self.complaints_of(pid, before.get(pid), complaints), "", SECONDS_TO_LEVEL)
            except AssertionError:
                self.count(held=len(complaints))
                for complaint in complaints:
                    self.note("process %d: %s" % (pid, complaint))
        if os.listdir(os.path.join(self.site.notes, "temporary")):
            self.note("temporary files were left")
        self.check_status()

    def complaints_of(self, pid, before, complaints):
        complaints.clear()
        try:
            now = Level(pid, self.site.notes)
        except (FileNotFoundError, ProcessLookupError, TypeError):
            return complaints  # it has retired
        if now.temporary:
            complaints.append("temporary files: %r" % now.temporary)
        if before is None or self.variant == "retire":
            return complaints
        if now.others > before.others:
            complaints.append("%d descriptors, %d before" % (now.others, before.others))
        if now.sockets > before.sockets and not self.kind.keeps_connections:
            complaints.append("%d sockets, %d before" % (now.sockets, before.sockets))
        if now.threads > before.threads:
            complaints.append("%d threads, %d before" % (now.threads, before.threads))
        if now.memory > before.memory + MEMORY_BYTES and not process.SAN:
            complaints.append("%.1f MiB, %.1f before" % (now.memory / 2 ** 20, before.memory / 2 ** 20))
        return complaints

    def check_status(self):
        """Nothing runs, whatever connections a front keeps."""
        if self.site.host is None or self.site.is_managed:
            return

        def is_idle():
            done = run("--status", "--format", "json", "-l", self.site.host.listen[0])
            found = fronts.message.json.loads(done.stdout)
            return found["requests"]["in_flight"] == found["requests"]["waiting"] == found["threads"]["busy"] == 0
        process.wait_until(is_idle, "no request to be in flight", SECONDS_TO_LEVEL)

    def stop(self):
        site, begun = self.site, time.monotonic()
        complaints = site.stop()
        seconds, log = time.monotonic() - begun, site.take_log()
        for complaint in complaints + log_complaints(log):
            self.note(complaint)
        if self.found:
            self.keep(log)
        if not complaints and seconds > process.deadline(STOP_SECONDS):
            self.note("the stop took %.1f s" % seconds)
        site.clean_up()
        fronts.shutil.rmtree(site.notes, ignore_errors=True)

    def keep(self, log):
        """Where the variable KEEP names a folder: log and journal of a round that found something."""
        if os.environ.get("KEEP"):
            name = os.path.join(os.environ["KEEP"], "%s-%s" % (self.kind.name, self.variant))
            with open(name + ".log", "w", encoding="utf-8") as file:
                file.write(log)
            fronts.shutil.copy(os.path.join(self.site.notes, "journal"), name + ".journal")


class Clients(Torment):
    """For each round of `make torture` one front that is installed, and one variant of the host behind it."""
    name = "clients"

    def run(self, until):
        """until is asked for the time that is left; a site's start and its checks take some of it."""
        for kind in self.random.sample(FRONTS, len(FRONTS)):
            one = Round(kind, self.random.choice(list(VARIANTS)), 10 ** 9, self.random.random())
            try:
                one.run(until)
            except fronts.pytest.skip.Exception:
                continue
            finally:
                self.count(inputs=one.inputs, requests=one.requests, lost=one.lost)
                for text in one.found:
                    self.note("%s, %s: %s" % (kind.name, one.variant, text))
            return


def run_front(kind, requests, variants, seed):
    """A round for each variant. Raises what pytest does where the front is not installed."""
    rounds = [Round(kind, variant, requests // len(variants), seed) for variant in variants]
    for one in rounds:
        try:
            one.run(lambda: False)
        except Exception as error:
            one.note("%s: %s" % (type(error).__name__, error))
        for text in one.found[:20]:
            print("%s, %s: FOUND: %s" % (kind.name, one.variant, text), flush=True)
        if len(one.found) > 20:
            print("%s, %s: … and %d more" % (kind.name, one.variant, len(one.found) - 20), flush=True)
    return rounds


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=10000, help="through each front")
    parser.add_argument("--fronts", help="their names, or parts of these, with commas between")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="of the host behind it, in turn")
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    process.adopt_orphans()
    words = options.fronts.lower().split(",") if options.fronts else [""]
    print("%d requests through each front, seed %s" % (options.requests, options.seed))
    print("| front | hostile sessions | aborted by them | well-formed requests | closed before them | lost | mixed "
          "| held afterwards | found |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    is_bad = False
    for kind in FRONTS:
        if not any(word in kind.name for word in words):
            continue
        try:
            rounds = run_front(kind, options.requests, options.variants.split(","), options.seed)
        except fronts.pytest.skip.Exception as reason:
            print("| %s | %s | | | | | | | |" % (kind.name, reason), flush=True)
            continue
        found = sum(len(one.found) for one in rounds)
        is_bad |= found > 0
        figures = [sum(getattr(one, name) for one in rounds)
                   for name in ("inputs", "aborted", "requests", "closed_before", "lost", "mixed", "held")]
        print("| %s | %s |" % (kind.name, " | ".join("{:,}".format(figure) for figure in figures + [found])), flush=True)
    return 1 if is_bad else 0


if __name__ == "__main__":
    sys.exit(main())
