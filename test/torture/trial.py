"""What the trials of the surroundings share: a host, its end, and its status from outside."""
import os
import subprocess

from torment import Found, TormentedHost, fastcgi, merged, process
from host import PROGRAM

# What ends late on a machine that has too much to do is no fault.
SETTINGS = {"application": {"wsgi": "surroundings_app:application", "mount": "/"}, "server": {"threads": 3},
            "shutdown": {"drain_timeout": "10s", "cleanup_timeout": "10s"}}


class Trial:
    """One kind of change. What it does now is in self.what, for whoever reads what was found."""
    is_sanitized = True

    def __init__(self, torment):
        self.torment, self.random, self.what = torment, torment.random, ""

    def __str__(self):
        return "%s, %s" % (type(self).__name__, self.what)

    def run_once(self):
        raise NotImplementedError

    def note(self, text):
        self.torment.note("%s: %s" % (self, text))

    def start(self, settings=None, **more):
        """Settings with two processes have a manager; all workers serve."""
        host = TormentedHost(merged(SETTINGS, settings), wait=False, **more)
        try:
            self.wait_for_serving(host, (settings or {}).get("server", {}).get("processes", 1))
        except BaseException:
            self.kill(host)
            raise
        return host

    @staticmethod
    def wait_for_serving(host, processes):
        def serves():
            if not host.is_running():
                raise AssertionError("the host ended at its start:\n" + host.log.read())
            try:
                return fastcgi.exchange(host.address, "GET", "/ready").status == 200
            except (OSError, AssertionError):
                return False
        process.wait_until(serves, "a host that answers", 20)
        if processes > 1:  # each has the log's relay as a child, which has its own name
            process.wait_until(lambda: len(workers_of(host)) == processes and not
                               any(process.state(pid) is None for pid in workers_of(host)), "workers", 20)

    def end(self, host, status=0):
        """In order, and with nothing left."""
        if not host.is_running():
            code, log = host.popen.returncode, host.log.read()[-3000:]
            host.clean_up()
            raise Found("the host has ended with %s; the log:\n%s" % (code, log))
        complaints = host.complaints()
        host.expected_status = status
        for complaint in complaints + host.stop():
            self.note("%s; the log:\n%s" % (complaint, host.log.read()[-3000:]))
        host.clean_up()

    def kill(self, host):
        """After something was found."""
        host.popen.kill()
        host.popen.wait()
        host.clean_up()


def name_of(pid):
    """As it calls itself; None: it has gone."""
    try:
        with open("/proc/%d/comm" % pid) as file:
            return file.read().strip()
    except OSError:
        return None


def workers_of(host):
    """The children of a manager, without the small process that carries what is printed. A host alone has none."""
    return {pid for pid in process.children(host.pid)
            if process.state(pid) not in (None, "Z") and name_of(pid) not in (None, "fcgihost-log")}


def ask_status(host, *arguments, seconds=15, environ=None):
    """fcgihost --status, which is bounded whatever has become of the host."""
    command = [PROGRAM, "--status", "-c", os.path.join(host.folder, "fcgihost.ini"), *arguments]
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=dict(os.environ, **(environ or {})), timeout=process.deadline(seconds))
    except subprocess.TimeoutExpired:
        raise Found("fcgihost --status has not ended within %d s" % seconds) from None
