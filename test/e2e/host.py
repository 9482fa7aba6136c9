"""The program under test: started in a temporary folder, waited for, watched, stopped."""
import glob
import os
import re
import shutil
import subprocess
import tempfile

import fastcgi
import process
import scgi
from process import deadline, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
APPS = os.path.join(HERE, "apps")
PROGRAM = os.path.abspath(os.environ.get("FCGIHOST") or os.path.join(ROOT, "build", "fcgihost"))
# The Python that is embedded: tests that need a module or a virtual environment ask it.
PYTHON = os.environ.get("PYTHON") or "/usr/bin/python3"

# What may never be in a log unless the test announced it.
BAD_LINE = re.compile(r"Traceback \(most recent call last\)|Sanitizer|runtime error:|"
                      r"Fatal Python error|Exception ignored|WSGIWarning|"
                      r"(?<!exit signal )Segmentation fault|"  # Apache reports its own children so
                      r"Iterator garbage collected without being closed|[Aa]ssertion .* failed")


def temporary_folder():
    """A short name (a Unix socket's path has 107 bytes) in which www-data finds its way."""
    folder = tempfile.mkdtemp(prefix="fcgihost-test-")
    os.chmod(folder, 0o755)
    return folder


def write_file(path, text, mode=None):
    with open(path, "w") as file:
        file.write(text)
    if mode is not None:
        os.chmod(path, mode)
    return path


def ini_text(settings):
    """{"server": {"listen": ["a", "b"], "threads": 2}} as an ini file; None leaves a key out."""
    lines = []
    for section, keys in settings.items():
        lines.append("[%s]" % section)
        for key, value in keys.items():
            for item in value if isinstance(value, (list, tuple)) else [value]:
                if item is not None:
                    lines.append("%s = %s" % (key, item))
        lines.append("")
    return "\n".join(lines)


def merged(*many):
    """Settings of several dictionaries, the later ones winning key by key."""
    result = {}
    for settings in many:
        for section, keys in (settings or {}).items():
            result.setdefault(section, {}).update(keys)
    return result


def base_settings(app=None):
    """What every test's configuration has: the path of the test applications, and no .pyc."""
    settings = {"python": {"path": [APPS], "bytecode": "no"}}
    if app:
        settings["application"] = {"wsgi": app}
    return settings


def sanitizer_environ(folder):
    """Reports go to files, since a host's stderr may be closed or another program's log."""
    prefix = os.path.join(folder, "sanitizer")
    found = {}
    for name, default in (("ASAN_OPTIONS", "detect_leaks=1"), ("TSAN_OPTIONS", ""),
                          ("UBSAN_OPTIONS", ""),
                          ("LSAN_OPTIONS", "")):
        if not process.SAN:
            break
        options = dict(option.split("=", 1) for option in (os.environ.get(name) or default).split(":") if option)
        options["log_path"] = prefix
        suppressions = os.path.join(HERE, name.split("_")[0].lower() + ".supp")
        if os.path.exists(suppressions):
            options.update(suppressions=suppressions, print_suppressions="0")
        if name == "UBSAN_OPTIONS":
            options["print_stacktrace"] = "1"
        # Each once: mod_fcgid cuts what is longer than 128 bytes.
        found[name] = ":".join("%s=%s" % option for option in options.items())
    return found


def sanitizer_reports(folder):
    """The text of all reports; they are read once."""
    text = ""
    for path in sorted(glob.glob(os.path.join(folder, "sanitizer.*"))):
        with open(path, errors="replace") as file:
            text += file.read()
        os.rename(path, os.path.join(folder, "read-" + os.path.basename(path)))
    return text


class LogFile:
    """A log that others write: its text since a mark."""

    def __init__(self, path):
        self.path, self.checked = path, 0

    def read(self, since=0):
        try:
            with open(self.path, "rb") as file:
                file.seek(since)
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def mark(self):
        try:
            return os.path.getsize(self.path)
        except FileNotFoundError:
            return 0

    def wait(self, pattern, since=0, seconds=30):
        """The first match of a regular expression in what was logged since the mark."""
        try:
            return wait_until(lambda: re.search(pattern, self.read(since)), pattern, seconds)
        except AssertionError as error:
            raise AssertionError("%s; the log:\n%s" % (error, self.read(since))) from None

    def take_unchecked(self):
        """What was logged since the last call."""
        end = self.mark()
        text = self.read(self.checked)[:]
        self.checked = end
        return text


def unexpected(text, expected):
    """Complaints about a log: tracebacks and reports that nobody announced, announcements that did
    not come true. expected: regular expressions, to be found in the lines around a bad one."""
    complaints, lines = [], text.splitlines()
    starts = [number for number, line in enumerate(lines) if BAD_LINE.search(line)]
    unseen = set(expected)
    for position, start in enumerate(starts):
        end = starts[position + 1] if position + 1 < len(starts) else len(lines)
        # The line that names a request stands before its traceback, the exception after it.
        block = "\n".join(lines[max(start - 1, 0):min(end, start + 200)])
        found = [pattern for pattern in expected if re.search(pattern, block)]
        unseen.difference_update(found)
        if not found:
            complaints.append("in the log, and not announced:\n" + block)
    complaints += ["announced, and not in the log: " + pattern for pattern in sorted(unseen)]
    return complaints


class Host:
    """One fcgihost. address: its first socket, as a path or (host, port)."""
    started = []  # those that were not stopped yet

    def __init__(self, app="wsgi_app:application", settings=None, listen=None, protocol=None,
                 args=(), folder=None, environ=None, use_ini=True, wait=True, probe=True, cwd=None,
                 shared=False, watched=True, program=PROGRAM, **popen):
        self.folder = folder or temporary_folder()
        self.owns_folder = folder is None
        self.listen = listen or ["unix:" + os.path.join(self.folder, "host.sock")]
        self.log = LogFile(os.path.join(self.folder, "host.log"))
        self.socket_files = [name[5:] for name in self.listen if name.startswith("unix:")]
        self.expected_status = 0
        self.is_scgi = protocol == "scgi"
        self.baseline = None
        self.shared = shared  # by the tests of a module: its owner stops it
        command = [program] if isinstance(program, str) else list(program)
        if use_ini:
            server = {"server": {"listen": self.listen, "protocol": protocol}}
            path = os.path.join(self.folder, "fcgihost.ini")
            write_file(path, ini_text(merged(base_settings(app), server, settings)))
            command += ["-c", path]
        command += list(args)
        self.output = open(self.log.path, "ab")
        self.command = command
        self.popen = process.start(
            command, cwd=cwd or self.folder, stdout=self.output, stderr=self.output,
            env=dict(os.environ, **sanitizer_environ(self.folder), **(environ or {})), **popen)
        self.output.close()
        if watched:  # by the checks after each test; a site looks after its own
            Host.started.append(self)
        if wait:
            try:
                self.wait_until_ready(probe)
            except BaseException:
                self.popen.kill()
                self.popen.wait()
                self.forget()
                self.clean_up()
                raise

    @property
    def pid(self):
        return self.popen.pid

    @property
    def address(self):
        return address_of(self.listen[0])

    def wait_until_ready(self, probe=True):
        def is_ready():
            if self.popen.poll() is not None:
                raise AssertionError("the host ended with %d at its start:\n%s" %
                                     (self.popen.returncode, self.log.read()))
            client = scgi if self.is_scgi else fastcgi
            try:
                if not probe:
                    client.Connection(self.address).close()
                    return True
                return client.exchange(self.address, "GET", "/ready").status
            except (OSError, AssertionError):
                return False
        wait_until(is_ready, "a host that answers:\n" + self.log.read(), 20)
        if not probe:
            return  # the threads may not have everything that they will hold
        # The thread that answered gives its descriptors back a moment after the last byte.
        wait_until(lambda: not self.connections(), "the probe's connection to go", 20)
        self.baseline = len(self.descriptors())

    def connections(self):
        """How many accepted connections the host holds: its sockets less those that listen."""
        names = process.descriptors(self.pid).values()
        sockets = {name[8:-1] for name in names if name.startswith("socket:[")}
        return len(sockets - process.listening_inodes())

    def exchange(self, method="GET", path="/", *args, **kwargs):
        protocol = scgi if self.is_scgi else fastcgi
        return protocol.exchange(self.address, method, path, *args, **kwargs)

    def is_running(self):
        return self.popen.poll() is None

    def wait_exit(self, seconds=30):
        try:
            return self.popen.wait(deadline(seconds))
        except subprocess.TimeoutExpired:
            raise AssertionError("the host did not end; its log:\n" + self.log.read()) from None

    def descriptors(self):
        """What it has open; without the memory of threads, of which some may still be starting,
        and without a sanitizer's report."""
        return {number: name for number, name in process.descriptors(self.pid).items()
                if not name.startswith("/memfd:") and "/sanitizer." not in name}

    def check_descriptors(self):
        """Complaints about descriptors that were not given back."""
        if not self.is_running() or self.baseline is None:
            return []
        try:
            wait_until(lambda: len(self.descriptors()) <= self.baseline, "descriptors", 10)
        except AssertionError:
            return ["%d descriptors open before, now %r" % (self.baseline, self.descriptors())]
        return []

    def take_log(self):
        """What was logged since the last call, and all reports of sanitizers."""
        return self.log.take_unchecked() + sanitizer_reports(self.folder)

    def stop(self):
        """Ends it; complaints about how it ended. Its folder is there until clean_up."""
        complaints = []
        self.forget()
        try:
            status = process.stop(self.popen)
        except AssertionError as error:
            return [str(error)]
        if self.expected_status is not None and status != self.expected_status:
            complaints.append("exit status %s instead of %s" % (status, self.expected_status))
        complaints += ["left behind: " + path for path in self.socket_files if os.path.exists(path)]
        return complaints

    def forget(self):
        if self in Host.started:
            Host.started.remove(self)

    def clean_up(self):
        if self.owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def address_of(listen):
    """The address that a listen value names, as the clients take it."""
    if listen.startswith("unix:"):
        return listen[5:]
    name, _, port = listen.rpartition(":")
    return (name.strip("[]"), int(port))


def run(*args, cwd=None, environ=None, stdin=subprocess.DEVNULL, seconds=60, input=None,
        folder=None, **kwargs):
    """Runs the program to its end: for what never listens."""
    owned = folder or temporary_folder()
    env = dict(os.environ, **sanitizer_environ(owned), **(environ or {}))
    try:
        if input is not None:
            kwargs["input"] = input
        else:
            kwargs["stdin"] = stdin
        done = subprocess.run([PROGRAM, *args], cwd=cwd or owned, env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=deadline(seconds), **kwargs)
        reports = sanitizer_reports(owned)
    finally:
        if not folder:
            shutil.rmtree(owned, ignore_errors=True)
    assert not reports, reports
    return done


def can_import(*modules):
    """Does the embedded Python have these modules?"""
    return subprocess.run([PYTHON, "-c", "import " + ", ".join(modules)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
