"""Several starts at once, of the same ini: one address, pid file, run-time folder. Some are killed, some begin while
another ends. One serves; the others end with code 1 and one line; what the one has made is its own and remains, and in
the end nothing is left."""
import os
import re
import shutil
import signal
import time

from host import PROGRAM, LogFile, address_of, base_settings, ini_text, merged, sanitizer_environ, write_file
from torment import HERE, Found, Request, Torment, process, temporary_folder

REFUSAL = re.compile(r'fcgihost: listen "[^"\n]+": in use: [^\n]+\n')
FOLDERS = ["runtime", "files"]


GATE = 'read -r nothing; exec "$0" "$@" </dev/null'


class Start:
    """One of them: its process, which begins when the gate is opened, and what it says."""

    def __init__(self, place, number):
        self.place, self.output = place, LogFile(os.path.join(place.root, "output.%d" % number))
        self.was_killed = self.was_signalled = False
        environ = dict(os.environ, RUNTIME_DIRECTORY=place.path("runtime"), FOLDER=place.root,
                       **sanitizer_environ(place.root))
        reader, self.gate = os.pipe()
        with open(self.output.path, "wb") as file:
            self.popen = process.start(["/bin/sh", "-c", GATE, PROGRAM, "-c", place.ini], stdin=reader, stdout=file,
                                       stderr=file, cwd=place.root, env=environ)
        os.close(reader)

    def open_gate(self):
        os.close(self.gate)

    def is_running(self):
        return self.popen.poll() is None

    def serves(self):
        return self.is_running() and "info: serving " in self.output.read()

    def kill(self):
        self.was_killed = True
        self.popen.kill()

    def stop(self):
        self.was_signalled = True
        self.popen.terminate()

    def __str__(self):
        return "process %d (%s%s): %s" % (self.popen.pid, self.popen.returncode, ", killed" if self.was_killed else "",
                                          self.output.read()[-1500:])


class Place:
    """The ini that all of them have, and where their files are."""

    def __init__(self, random):
        self.root = temporary_folder()
        for name in FOLDERS:
            os.mkdir(self.path(name))
        os.chmod(self.path("runtime"), 0o700)
        self.is_unix = random.random() < 0.7
        self.processes = random.choice([1, 1, 2])
        self.listen = "unix:" + self.path("files", "s") if self.is_unix else "127.0.0.1:%d" % process.free_port()
        settings = {"server": {"listen": self.listen, "processes": self.processes, "threads": 2,
                               "pid_file": self.path("files", "pid")},
                    "shutdown": {"drain_timeout": "10s", "cleanup_timeout": "10s"},
                    "python": {"path": [HERE]}, "application": {"mount": "/"}}
        self.ini = write_file(self.path("x.ini"), ini_text(merged(base_settings("app:application"), settings)))
        self.starts = []

    def path(self, *names):
        return os.path.join(self.root, *names)

    def start(self):
        self.starts.append(Start(self, len(self.starts)))
        return self.starts[-1]

    def running(self):
        return [start for start in self.starts if start.is_running()]

    def left(self):
        return sorted(os.path.join(name, file) for name in FOLDERS for file in os.listdir(self.path(name))
                      if not os.path.isdir(self.path(name, file)))


class Starts(Torment):
    name = "starts"

    def run(self, until):
        while True:
            self.what = []
            self.place = Place(self.random)
            try:
                self.one_place()
            except (OSError, AssertionError, Found) as error:
                self.note("%s, %d process(es): %s: %s: %s\n%s" % (
                    self.place.listen, self.place.processes, ", ".join(self.what), type(error).__name__, error,
                    "\n".join(map(str, self.place.starts))))
            finally:
                for start in self.place.running():
                    start.popen.kill()
                    start.popen.wait()
                shutil.rmtree(self.place.root, ignore_errors=True)
            if until():
                return

    def one_place(self):
        self.start_some()
        self.check_one_serves()
        for _ in range(self.random.randrange(3)):
            self.random.choice([self.kill_and_start, self.stop_and_start, self.start_beside, self.kill_one_of_two])()
            self.check_one_serves()
        for start in self.place.running():
            start.stop()
        self.wait_for_all()
        if self.place.left():
            raise Found("left behind: %r" % self.place.left())

    # What happens

    def start_some(self):
        """Within microseconds of each other, or over the time of a start."""
        count, spread = self.random.choice([2, 2, 3, 5]), self.random.choice([0, 0, 0.005, 0.3])
        self.what.append("%d starts over %g s" % (count, spread))
        self.count(faults=count - 1, inputs=count)
        for start in [self.place.start() for _ in range(count)]:
            time.sleep(spread * self.random.random())
            start.open_gate()

    def kill_and_start(self):
        """Over the leftovers of one that was killed. A manager's workers have its socket until they have drained."""
        self.what.append("SIGKILL, then")
        self.count(faults=1)
        for start in self.place.running():
            start.kill()
            start.popen.wait()
        self.wait_for_orphans()
        self.start_some()

    def stop_and_start(self):
        """While another one ends: it may be refused as long as that one has the address."""
        self.what.append("SIGTERM, then")
        self.count(faults=1)
        for start in self.place.running():
            start.stop()
        time.sleep(self.random.random() * self.random.choice([0.01, 0.1]) * process.SLOWNESS)
        self.start_some()
        self.wait_for_stopped()
        if not self.place.running():
            self.start_some()

    def start_beside(self):
        self.what.append("beside one that serves:")
        self.start_some()

    def kill_one_of_two(self):
        """While they start: whoever is left serves, if the other one had not refused it before."""
        self.what.append("all stopped; then one of these killed:")
        for start in self.place.running():
            start.stop()
        self.wait_for_all()
        before = len(self.place.starts)
        self.start_some()
        time.sleep(self.random.random() * self.random.choice([0.005, 0.1]) * process.SLOWNESS)
        victim = self.random.choice(self.place.starts[before:])
        victim.kill()
        victim.popen.wait()
        self.count(faults=1)
        self.wait_for_orphans()
        process.wait_until(lambda: any(map(Start.serves, self.place.starts)) or not self.place.running(),
                           "one that serves, or none that runs")
        if not self.place.running():
            self.start_some()

    # What must hold

    def check_one_serves(self):
        """And the others have been refused."""
        process.wait_until(lambda: len(self.place.running()) <= 1 and
                           (not self.place.running() or self.place.running()[0].serves()), "one that serves alone")
        if not self.place.running():
            raise Found("none serves")
        winner, = self.place.running()
        for start in self.place.starts:
            if start is not winner:
                self.check_ended(start)
        self.check_files(winner)
        self.ask(winner)

    def check_ended(self, start):
        status, said = start.popen.returncode, start.output.read()
        if start.was_killed or start.was_signalled:
            return
        if status != 1:
            raise Found("process %d has ended with %d" % (start.popen.pid, status))
        if not REFUSAL.fullmatch(said):
            raise Found("process %d was refused, and said %r" % (start.popen.pid, said))

    def check_files(self, winner):
        pid = winner.popen.pid
        expected = ["files/pid", "runtime/fcgihost-%d.sock" % pid] + ["files/s"] * self.place.is_unix
        process.wait_until(lambda: set(expected) <= set(self.place.left()), "files %r, not %r" % (
            expected, self.place.left()), 10)
        with open(self.place.path("files", "pid")) as file:
            text = file.read()
        if text != "%d\n" % pid:
            raise Found("the pid file says %r while %d serves" % (text, pid))
        if self.place.left() != sorted(expected):
            raise Found("beside those of %d there are %r" % (pid, self.place.left()))

    def ask(self, winner):
        """It is the winner who answers."""
        for _ in range(2):
            request = Request(self.random)
            self.count(requests=1)
            with request.connect(address_of(self.place.listen)) as connection:
                connection.send(request.bytes)
                response = connection.read_response()
            request.check(response)
            if response.status == 200:
                pid = int(response.body.partition(b"\n")[0].split(b" ")[1])
                if pid != winner.popen.pid and pid not in process.children(winner.popen.pid):
                    raise Found("process %d answers, and %d serves" % (pid, winner.popen.pid))

    def wait_for_all(self):
        process.wait_until(lambda: not self.place.running(), "all of them to end")
        self.wait_for_orphans()
        self.check_stopped()

    def wait_for_stopped(self):
        process.wait_until(lambda: not any(start.was_signalled for start in self.place.running()), "those to end")
        self.check_stopped()

    def check_stopped(self):
        for start in self.place.starts:
            if start.was_signalled and not start.was_killed and start.popen.returncode not in (0, -signal.SIGTERM):
                raise Found("process %d ended with %d after SIGTERM" % (start.popen.pid, start.popen.returncode))

    def wait_for_orphans(self):
        """The workers of a manager that was killed."""
        process.wait_until(lambda: not process.reap_adopted(), "orphans to end", 30)
