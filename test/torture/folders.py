"""Folders that the host uses are removed while it serves, and made again. Requests that need none of them are answered
as ever; the others as the documents say; and all are once the folder is back."""
import os
import shutil
import signal
import time

import fastcgi
from asking import Asking
from host import write_file
from torment import Found, process, temporary_folder
from trial import Trial, ask_status

SCRIPT = '''
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"a script"]
'''
BODY_MEMORY = 64 << 10
NAMES = ["work", "temporary", "log", "socket", "python", "scripts", "runtime", "pid"]


class Folders(Trial):

    def run_once(self):
        self.name = self.random.choice(NAMES)
        self.processes = self.random.choice([1, 2])
        self.mode = self.random.choice(["script", "process"])
        self.what = "%s, %d process(es), reload %s" % (self.name, self.processes, self.mode)
        self.root = temporary_folder()
        for name in NAMES:
            os.mkdir(self.path(name))
        self.make_contents("scripts")
        self.make_contents("python")
        self.environ = {"RUNTIME_DIRECTORY": self.path("runtime")}
        host = self.start_here()
        self.was_told = False
        try:
            with Asking(self.torment, host, may_fail=self.may_fail) as asking:
                asking.wait(10)
                for _ in range(2):
                    self.take_away_and_back(host, asking)
            self.check_after(host)
        except BaseException:
            self.kill(host)
            raise
        self.end(host)
        left = [os.path.join(place, name) for place, _, names in os.walk(self.root) for name in names
                if not name.endswith((".py", ".pyc", ".log")) and name != "locks"]
        if left:
            self.note("left behind: %r" % left)
        shutil.rmtree(self.root)

    def path(self, *names):
        return os.path.join(self.root, *names)

    def make_contents(self, name):
        if name == "scripts":
            write_file(self.path("scripts", "one.py"), SCRIPT, 0o644)
        elif name == "python":
            write_file(self.path("python", "module_of_the_application.py"), "VALUE = 1\n", 0o644)

    def start_here(self):
        settings = {"server": {"threads": 3, "processes": self.processes, "temporary": self.path("temporary"),
                               "directory": self.path("work"), "pid_file": self.path("pid", "pid")},
                    "python": {"path": [os.path.dirname(os.path.abspath(__file__)), self.path("python")]},
                    "reload": {"mode": self.mode, "interval": "50ms"},
                    "log": {"destination": self.path("log", "host.log")},
                    "application scripts": {"script_root": self.path("scripts"), "mount": "/scripts"}}
        host = self.start(settings, listen=["unix:" + self.path("socket", "s")], environ=self.environ)
        host.log.path = self.path("log", "host.log")
        # A worker that starts while script_root is away can't load it: 503, and not 404.
        process.wait_until(lambda: host.log.read().count("info: serving ") >= self.processes, "all workers to serve", 20)
        return host

    def may_fail(self, request, began, answer):
        if self.name == "socket":
            return isinstance(answer, (FileNotFoundError, ConnectionRefusedError)) and began >= self.gone_at - 1
        if self.name == "temporary":
            return getattr(answer, "status", 0) == 503 and len(request.body) > BODY_MEMORY
        return False

    def take_away_and_back(self, host, asking):
        self.torment.count(faults=1)
        is_renamed = self.random.random() < 0.5 or self.name == "socket"
        self.what += ", %s" % ("renamed" if is_renamed else "removed")
        self.gone_at, path, mark = time.monotonic(), self.path(self.name), host.log.mark()
        if is_renamed:
            os.rename(path, path + ".away")
        else:
            shutil.rmtree(path)
        if self.name != "socket":
            asking.wait(10)
        time.sleep(self.random.choice([0, 0.3, 2.5]) * self.random.random())
        getattr(self, "without_" + self.name, lambda host, mark: None)(host, mark)
        if is_renamed:
            os.rename(path + ".away", path)
        else:
            os.mkdir(path)
            self.make_contents(self.name)
        getattr(self, "with_" + self.name, lambda host, mark: None)(host, mark)
        asking.wait(10)

    # What each is for

    def ask(self, host, path, body=b"", script=None):
        parameters = {"extra": {"SCRIPT_FILENAME": script}} if script else {}
        return fastcgi.exchange(host.address, "POST" if body else "GET", path, body, **parameters)

    def with_work(self, host, mark):
        done = ask_status(host, environ=self.environ)
        if done.returncode != 0:
            raise Found("--status: %d: %s" % (done.returncode, done.stderr))

    def wait_told(self, host, pattern, mark):
        """A loss that follows another one within the second, or ten, between two looks at the file is the same to it."""
        if not self.was_told:
            host.log.wait(pattern, mark, seconds=20)
        self.was_told = True

    def without_socket(self, host, mark):
        self.wait_told(host, r"error: unix:\S+: its file was removed, moved", mark)

    def without_temporary(self, host, mark):
        if self.ask(host, "/echo?token=t", b"x" * (4 * BODY_MEMORY)).status != 503:
            raise Found("a body that can't be stored is not answered 503")
        host.log.wait(r"warning: .*503: |error: .*503", mark, seconds=10)

    def with_temporary(self, host, mark):
        response = self.ask(host, "/echo?token=t", b"x" * (4 * BODY_MEMORY))
        if response.status != 200:
            raise Found("%d for a large body, now that its folder is back" % response.status)

    def with_log(self, host, mark):
        """It is there again within two seconds, without a signal; or at once, with one."""
        if self.random.random() < 0.5:
            host.popen.send_signal(signal.SIGHUP)
        process.wait_until(lambda: os.path.exists(self.path("log", "host.log")), "a log in its folder", 10)
        # A line that came before it was there is in the file that is gone.
        token = "noted%d" % self.random.randrange(10 ** 9)
        time.sleep(1.2)
        self.ask(host, "/fail/" + token)
        host.log.wait("Announced: /fail/" + token, seconds=10)

    def without_scripts(self, host, mark):
        status = self.get_script(host)
        if status != 404:
            raise Found("%d for a script that is gone" % status)

    def with_scripts(self, host, mark):
        process.wait_until(lambda: self.get_script(host) == 200, "a script that is there again", 10)

    def get_script(self, host):
        return self.ask(host, "/scripts/one.py", script=self.path("scripts", "one.py")).status

    def without_runtime(self, host, mark):
        self.wait_told(host, r"warning: control socket \S+: it was removed", mark)
        done = ask_status(host, environ=self.environ)
        if done.returncode != 1:
            raise Found("--status without a control socket exits with %d" % done.returncode)

    def with_runtime(self, host, mark):
        process.wait_until(lambda: ask_status(host, environ=self.environ).returncode == 0,
                           "a control socket in its folder", 10)

    def check_after(self, host):
        """Whatever was taken away: it can still be replaced, and everything works."""
        if self.processes > 1:
            mark = host.log.mark()
            time.sleep(1.5 if self.name == "log" else 0)
            host.popen.send_signal(signal.SIGHUP)
            host.log.wait("all workers have been replaced", mark, seconds=30)
        for name in "work", "temporary", "scripts", "runtime":
            getattr(self, "with_" + name)(host, host.log.mark())

