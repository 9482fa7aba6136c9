"""The application, what it imports, a script and the configuration are edited all the time under load: each answer is
of one version, none is lost, versions never go back, and each load is cleaned up once, after its last request.

Clients abort and leave at any moment; requests use several threads, some of which outlive them; in some rounds
processes are retired, or requests interrupted, as well."""
import contextlib
import os
import re
import shutil
import signal
import time

import torment
from torment import Found, Torment, TormentedHost, fastcgi, process, random_body, reset, scgi, temporary_folder
from host import write_file

PART = "import changes_app\nVERSION = %d\nload = changes_app.Load('part', VERSION)\n"
SHOP = "import changes_app\nVERSION = %d\ndef get_part():\n    %s\n    return part\n" \
    "load = changes_app.Load('shop', VERSION, get_part)\napplication = load.application\n"
BY_IMPORT = "import shop_part as part"
BY_IMPORT_MODULE = "import fcgihost\n    part = fcgihost.import_module('shop_part')"
BROKEN = "import changes_app\nraise changes_app.Announced('a broken edit')\n"
WAYS = ["plain", "stream", "threads", "futures", "late"]
GOOD_CLIENTS, BAD_CLIENTS = 4, 3
SITE_SECONDS = 6  # then another one, with other settings
AGREE = 20  # so many answers in a row are of the last version: then it is everybody's
# What the log may say at levels warning and error, from behind the level. Their tracebacks are looked at by themselves.
EXPECTED = re.compile("|".join((
    "running as root", "all threads are busy, and", "connection closed: the peer hung up in the middle of a",
    r"(GET|POST) /\S*: ", r"\S*/(shop_part|shop|page)\.\w+", "script ", r"\[reload\] ", "application ", "reload: ",
    "a module that has been imported: can't be loaded", r"worker \d+, which was to replace another one, could not")))


if process.SAN:  # the threads have a second to end, whatever the settings: a build that is so slow may need more
    EXPECTED = re.compile(EXPECTED.pattern + r"|stopping: \d+ worker thread\(s\) are still busy")


class Site:
    """The files, and what has been made of them. is_script: [reload] mode = script, else process."""

    def __init__(self, is_script):
        self.folder, self.is_script, self.version = temporary_folder(), is_script, 0
        os.mkdir(self.path("root"), 0o755)
        self.edit(None)

    def path(self, name):
        return os.path.join(self.folder, name)

    def texts(self):
        return {"shop_part.py": PART % self.version,
                "shop.py": SHOP % (self.version, BY_IMPORT_MODULE if self.is_script else BY_IMPORT),
                "root/page.wsgi": SHOP.replace("'shop'", "'page'") % (self.version, BY_IMPORT_MODULE)}

    def replace(self, name, text):
        write_file(self.path(name + "~"), text, 0o644)
        os.rename(self.path(name + "~"), self.path(name))

    def edit(self, random):
        """The next version, one file after the other. random: None for a quick one."""
        self.version += 1
        names = list(self.texts())
        if random is not None:
            random.shuffle(names)
            if random.random() < 0.2:
                self.replace(names[0], BROKEN)
                time.sleep(random.choice([0, 0.05, 0.3]))
        for name in names:
            self.replace(name, self.texts()[name])
            if random is not None:
                time.sleep(random.choice([0, 0, 0.001, 0.05]))

    def settings(self):
        application = {"script": self.path("shop.py")} if self.is_script else {"wsgi": "shop:application"}
        return {"python": {"path": [torment.HERE, self.folder]},
                "application": {"mount": "/shop", "stream": "yes", "wsgi": None, **application},
                "application page": {"mount": "/page", "script_root": self.path("root")},
                "reload": {"mode": "script" if self.is_script else "process", "interval": "20ms"},
                "shutdown": {key: "%ds" % process.deadline(5) for key in ("drain_timeout", "cleanup_timeout")},
                "startup": {"retry_delay": "20ms", "retry_max_delay": "100ms", "request_wait": "60s"}}


class Request:
    """A well-formed one, and its answer. root: the folder of script_root."""

    def __init__(self, random, root, way=None):
        self.token, self.body = torment.new_token(random, "C"), random_body(random)
        self.place, self.way = random.choice(["shop", "shop", "page"]), way or random.choice(WAYS)
        self.is_kept, self.is_scgi = random.random() < 0.5, random.random() < 0.3
        script = "/page.wsgi" if self.place == "page" else ""
        self.arguments = ("POST", "/%s%s/%s?token=%s" % (self.place, script, self.way, self.token), self.body)
        self.extra = {"SCRIPT_FILENAME": os.path.join(root, "page.wsgi")}
        self.protocol = scgi if self.is_scgi else fastcgi
        more = {} if self.is_scgi else {"keep": self.is_kept}
        self.bytes = self.protocol.request_bytes(*self.arguments, extra=self.extra, **more)

    def connect(self, address):
        return self.protocol.Connection(address, seconds=60)

    def check(self, response):
        """(pid, version, configuration) of the whole answer. Raises Found if it is not."""
        if response.status != 200 or not response.ended:
            raise Found("%d%s: %r" % (response.status, "" if response.ended else ", cut short", response.body[:200]))
        head, _, rest = response.body.partition(b"\n")
        body, _, tail = rest.rpartition(b"\n")
        token, pid, name, *versions, config = head.decode("latin-1").split(" ")
        if token != self.token or name != self.place or body != self.body:
            raise Found("another one's answer: %r and %d bytes, to %s" % (head, len(body), self.token))
        if len(set(versions + tail.decode("latin-1").split(" "))) != 1:
            raise Found("an answer of several versions: %r … %r" % (head, tail))
        return int(pid), int(versions[0]), int(config)


class Changes(Torment):
    name = "changes"

    def run(self, until):
        while True:
            self.one_site(until)
            if until():
                return

    def one_site(self, until):
        self.site = Site(is_script=self.random.random() < 0.5)
        self.processes, self.limit = self.random.choice([1, 1, 2]), self.random.choice([0, 0, 200])
        self.is_managed = self.processes > 1 or self.limit > 0
        self.request_time = self.random.choice(["0", "%ds" % process.deadline(3)])
        # A fresh process loads a script of script_root at its first request, from files that may be half an edit.
        self.has_fresh = self.is_managed or not self.site.is_script
        self.config = 0
        server = {"processes": self.processes, "manager": "yes" if self.is_managed else "no"}
        self.host = self.start(dict(self.site.settings(), server=server, environment={"CONFIG": 0},
                                    limits={"requests": self.limit, "request_time": self.request_time}))
        self.variant = "%s, %d processes, limit %d, request_time %s" % (
            "script" if self.site.is_script else "process", self.processes, self.limit, self.request_time)
        end = time.monotonic() + SITE_SECONDS
        self.host_is_in_use(lambda: until() or time.monotonic() >= end)

    def start(self, settings):
        host = TormentedHost(settings, wait=not self.is_managed)
        if self.is_managed:  # the connections of a manager are its workers'
            process.wait_until(lambda: host.log.read().count("info: serving ") >= self.processes, "all workers")
            host.baseline = len(host.descriptors())
        return host

    def host_is_in_use(self, until):
        try:
            self.wait_for("version 1", ("shop", "page"))  # a script of script_root is loaded at its first request
            self.in_threads([lambda random: self.edit(random, until)] +
                            [lambda random: self.be_good(random, until)] * GOOD_CLIENTS +
                            [lambda random: self.be_bad(random, until)] * BAD_CLIENTS)
            if not self.host.is_running():
                raise Found("the host ended:\n" + self.host.log.read()[-3000:])
            self.wait_for_the_last()
            for complaint in self.host.check_descriptors():
                self.complain(complaint)
        except (AssertionError, Found) as error:
            self.complain(str(error))
        finally:
            for complaint in self.host.stop() + self.host.complaints() + self.check_notes() + self.check_log():
                self.complain(complaint)
            self.host.clean_up()
            shutil.rmtree(self.site.folder)

    def complain(self, text):
        self.note("%s: %s" % (self.variant, text))

    # - the edits

    def edit(self, random, until):
        while not until():
            self.count(faults=1)
            if random.random() < 0.2:
                self.host.popen.send_signal(signal.SIGHUP)
            elif self.is_managed and random.random() < 0.2:
                self.edit_configuration(random)
            else:
                self.site.edit(random)
            time.sleep(random.choice([0.01, 0.1, 0.5, 1]) * (1 if self.site.is_script else process.SLOWNESS))

    def edit_configuration(self, random):
        """A manager reads it at a reload; a wrong one replaces nothing."""
        if random.random() < 0.3:
            self.write_configuration("wrong")
            self.host.popen.send_signal(signal.SIGHUP)
            time.sleep(random.random() * 0.2)
        self.config += 1
        self.write_configuration("right")
        self.host.popen.send_signal(signal.SIGHUP)

    def write_configuration(self, how):
        path = os.path.join(self.host.folder, "fcgihost.ini")
        with open(path) as file:
            text = re.sub(r"(?m)^\[(right|wrong)\]$", "", file.read())
        text = re.sub(r"CONFIG = \d+", "CONFIG = %d" % self.config, text)
        write_file(path + "~", text + ("[wrong]\n" if how == "wrong" else ""))
        os.rename(path + "~", path)

    # - clients

    def be_good(self, random, until):
        connection, seen = None, {}
        while True:
            request = Request(random, self.site.path("root"))
            self.count(requests=1)
            try:
                if connection is None or request.is_scgi:
                    torment.drop(connection)
                    connection = request.connect(self.host.address)
                torment.send_in_pieces(connection, request.bytes, random)
                self.check(request, connection.read_response(), seen)
            except (OSError, ValueError, AssertionError, Found) as error:
                self.count(lost=1)
                self.complain("%s %s (%s, %d bytes): %s: %s" % (request.place, request.way, request.protocol.NAME,
                                                               len(request.body), type(error).__name__, error))
                connection = torment.drop(connection)
            if request.is_scgi or not request.is_kept or until():
                connection = torment.drop(connection)
            if until():
                return

    def check(self, request, response, seen):
        """seen: what this client has seen so far, for each process, as a manager replaces one after the other."""
        if response.status == 500 and request.place == "page" and self.has_fresh:
            return
        pid, version, config = request.check(response)
        key = request.place, pid if self.is_managed else None
        before = seen.get(key, (0, 0))
        if version < before[0] or config < before[1]:
            raise Found("version %d, configuration %d came after %r" % (version, config, before))
        if version > self.site.version or config > self.config:
            raise Found("version %d, configuration %d, which are not there yet" % (version, config))
        seen[key] = version, config

    def be_bad(self, random, until):
        while True:
            ways = WAYS + ["fail"] + ["spin"] * (self.request_time != "0") + ["restart"] * (self.limit > 0)
            request = Request(random, self.site.path("root"), random.choice(ways))
            self.count(inputs=1)
            try:
                random.choice([self.leave, self.abort])(random, request)
            except (OSError, ValueError, AssertionError, Found) as error:
                self.complain("%s (%s): %s: %s" % (request.way, request.protocol.NAME, type(error).__name__, error))
            if until():
                return

    def leave(self, random, request):
        """In the middle of the request, or of the response."""
        with request.connect(self.host.address) as connection:
            is_whole = random.random() < 0.7
            with contextlib.suppress(ConnectionError):  # the host may have answered 500 and closed
                connection.send(request.bytes if is_whole else request.bytes[:random.randrange(len(request.bytes))])
            if is_whole and random.random() < 0.7 and request.way != "spin":
                connection.receive(random.choice([1, 100, 10000]))
            elif random.random() < 0.5:
                time.sleep(random.random() * 0.01)
            if random.random() < 0.5:
                reset(connection)

    def abort(self, random, request):
        """FCGI_ABORT_REQUEST; then the next request of the connection is served as any other."""
        next_one = Request(random, self.site.path("root"))
        if next_one.is_scgi:
            next_one.bytes = fastcgi.request_bytes(*next_one.arguments, extra=next_one.extra)
        parameters = fastcgi.message.parameters(*request.arguments, extra=request.extra)
        is_whole = random.random() < 0.5
        sent = len(request.body) if is_whole else random.randint(0, len(request.body))
        with fastcgi.Connection(self.host.address) as connection:
            connection.send(fastcgi.head(parameters) +
                            fastcgi.stream(fastcgi.STDIN, request.body[:sent], chunk=random.choice([100, 8000, 65535]),
                                           end=is_whole))
            time.sleep(random.choice([0, 0, 0.001, 0.01]))
            if request.way == "fail":
                return  # the host closes what it can't end otherwise
            connection.send(fastcgi.abort())
            if connection.read_raw()[2] is None:
                return  # what it streamed could not be ended otherwise
            connection.send(next_one.bytes)
            response = connection.read_response()
            if response.status != 500 or next_one.place != "page" or not self.has_fresh:
                next_one.check(response)

    # - the end

    def wait_for_the_last(self):
        self.site.edit(None)
        if self.is_managed:
            self.config += 1
            self.write_configuration("right")
            self.host.popen.send_signal(signal.SIGHUP)
        self.wait_for("version %d, configuration %d" % (self.site.version, self.config), ("shop", "page"))

    def wait_for(self, what, places):
        """Until all that is asked for there is of the last version."""
        try:
            for place in places:
                process.wait_until(lambda: all(self.is_last(place) for _ in range(AGREE)), what, 30)
        except AssertionError as error:
            raise Found("%s; the log:\n%s" % (error, self.host.log.read()[-3000:])) from None

    def is_last(self, place):
        while True:
            request = Request(self.random, self.site.path("root"), "plain")
            if request.place == place:
                break
        self.count(requests=1)
        with request.connect(self.host.address) as connection:
            connection.send(request.bytes)
            response = connection.read_response()
        if response.status == 500 and place == "page" and self.has_fresh:
            return False
        return request.check(response)[1:] == (self.site.version, self.config)

    def notes(self):
        with open(os.path.join(self.host.notes, "notes")) as file:
            return [line.split() for line in file]

    def check_notes(self):
        """Each load has been cleaned up once, by its own process, after its last request."""
        found, loads, cleanups = [], {}, {}
        trials = set(re.findall(r"process (\d+) tries whether", self.host.log.read()))  # they may be killed
        for kind, *words in self.notes():
            if kind == "wrong":
                found.append(" ".join(words))
            elif kind == "load" and words[0] not in trials:
                loads[words[1]] = words[0]
            elif kind == "cleanup" and words[0] not in trials:
                pid, key, active, unran = words
                if key in cleanups:
                    found.append("%s was cleaned up twice" % key)
                cleanups[key] = pid
                if (active, unran) != ("0", "0"):
                    found.append("%s was cleaned up with %s requests, and %s of their cleanups had not run" % (
                        key, active, unran))
        if loads != cleanups:
            different = sorted(set(loads.items()) ^ set(cleanups.items()))
            found.append("loaded, but not cleaned up, or otherwise: %r; the log:\n%s" % (
                different[:5], self.host.log.read()[-2000:]))
        return found

    def check_log(self):
        lines = re.findall(r"(?m)^\S+ \[\d+\] (?:warning|error): (.*)", self.host.log.read())
        bad = [line for line in lines if not EXPECTED.match(line)]
        kinds = {re.sub(r"[0-9a-f]{16}|\d+", "N", line): line for line in bad}
        return ["%d lines of the log were not expected, such as:\n%s" % (
            len(bad), "\n".join(list(kinds.values())[:9]))] if bad else []
