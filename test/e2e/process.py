"""Children of the tests: they cannot outlive us, end by their pid, and none may be left over."""
import ctypes
import os
import re
import resource
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
libc = ctypes.CDLL(None, use_errno=True)

SAN = os.environ.get("SAN", "")
# How much slower the program under test is than a plain build: deadlines are multiplied by it.
SLOWNESS = 8 if "thread" in SAN else 4 if SAN else 1


def deadline(seconds):
    """A bound that only catches what hangs."""
    return seconds * SLOWNESS


def wait_until(condition, what, seconds=30):
    end = time.monotonic() + deadline(seconds)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %d s in vain: %s" % (deadline(seconds), what))
        time.sleep(0.005)


started = []  # every child that somebody here waits for
adopted = set()  # pids of orphans that belong to a test (a daemon that it started)


def adopt_orphans():
    """Processes whose parent dies become our children, so that we see them."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(command, nofile=None, run_first=None, **kwargs):
    """Starts a child that gets SIGTERM if we die, and that ignores no signal because we do, under nohup or in a script's
    background. kwargs are Popen's."""
    def in_child():
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if nofile:
            resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
        if run_first:
            run_first()
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    popen = subprocess.Popen(command, preexec_fn=in_child, **kwargs)
    started[:] = [child for child in started if child.poll() is None] + [popen]
    return popen


def stop(popen, number=signal.SIGTERM, seconds=30):
    """Asks a child to end, kills it if it does not, and returns its exit status."""
    if popen.poll() is None:
        popen.send_signal(number)
        try:
            popen.wait(deadline(seconds))
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
            raise AssertionError("%s did not end after signal %d" % (popen.args, number))
    return popen.returncode


def children(pid="self"):
    """The pids of a process's children (of all its threads), zombies included."""
    pids = []
    for thread in os.listdir("/proc/%s/task" % pid):
        try:
            with open("/proc/%s/task/%s/children" % (pid, thread)) as file:
                pids += [int(word) for word in file.read().split()]
        except OSError:
            pass
    return pids


def command_line(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip() or "(ended)"
    except OSError:
        return "(gone)"


def reap_adopted():
    """Collects ended orphans; returns those that still run."""
    known, running = {child.pid for child in started} | adopted, []
    for pid in children():
        if pid in known:
            continue
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue
        if not ended:
            running.append(pid)
    return running


def end_adopted(pid):
    """Ends an orphan that we adopted."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def has_gone(pid):
    """Has the process ended, with all its threads? Until then its sockets are open, also if its first
    thread is a zombie already."""
    try:
        return state(pid) in (None, "Z") and os.listdir("/proc/%d/task" % pid) == [str(pid)]
    except OSError:
        return True


def state(pid):
    """The letter of ps, Z for one that is dead and not collected yet; None: there is none."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def descriptors(pid):
    """What each open descriptor of a process is: {number: target}."""
    folder, found = "/proc/%d/fd" % pid, {}
    for number in os.listdir(folder):
        try:
            found[int(number)] = os.readlink(os.path.join(folder, number))
        except OSError:
            pass
    return found


def free_port(family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        return probe.getsockname()[1]


def is_port_taken(text):
    """Did a server say in its log that its port was in use (somebody was faster)?"""
    return re.search(r"Address already in use|could not bind|make_sock", text) is not None


def listening_inodes():
    """The inodes, as text, of all sockets of this machine that listen."""
    found = set()
    for path, is_listening, place in (("/proc/net/unix", lambda fields: fields[3] == "00010000", 6),
                                      ("/proc/net/tcp", lambda fields: fields[3] == "0A", 9),
                                      ("/proc/net/tcp6", lambda fields: fields[3] == "0A", 9)):
        try:
            with open(path) as file:
                lines = file.read().splitlines()[1:]
        except FileNotFoundError:
            continue
        found.update(fields[place] for fields in map(str.split, lines) if is_listening(fields))
    return found
