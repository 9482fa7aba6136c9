"""A host with a manager: its workers, and web servers in front of it that share its socket."""
import os
import re
import signal

import load
import process
from fronts import Haproxy, Nginx, changed, example
from host import Host, merged, temporary_folder
from process import wait_until

ROLLED = r"reload: all workers have been replaced"


class ManagedHost(Host):
    """state: the folder in which manager_app finds and notes things."""

    def __init__(self, state, settings=None, processes=2, **more):
        self.processes, self.first_text = processes, None
        settings = merged({"server": {"processes": processes, "manager": "yes"}, "application": {"mount": "/"}}, settings)
        more.setdefault("environ", {"FOLDER": str(state)})
        super().__init__("manager_app:application", settings, **more)

    def wait_until_ready(self, probe=True):
        def is_ready():
            assert self.is_running(), self.log.read()
            return len(self.serving()) >= self.processes
        wait_until(is_ready, "workers that serve:\n" + self.log.read(), 60)
        self.baseline = len(self.descriptors())

    def configure(self, old, new):
        """Rewrites its ini file: what it was started with, old replaced by new."""
        path = os.path.join(self.folder, "fcgihost.ini")
        if self.first_text is None:
            with open(path) as file:
                self.first_text = file.read()
        assert old in self.first_text
        with open(path, "w") as file:
            file.write(self.first_text.replace(old, new))

    def descriptors(self):
        """Memory as well: the manager has no threads that may still be starting."""
        return {number: name for number, name in process.descriptors(self.pid).items() if "/sanitizer." not in name}

    def workers(self):
        return {pid for pid in process.children(self.pid) if process.state(pid) not in (None, "Z")}

    def serving(self, since=0):
        """Those that live and have said that they serve."""
        said = re.findall(r"\[(\d+)\] info: serving ", self.log.read(since))
        return {int(pid) for pid in said} & self.workers()

    def wait_serving(self, number):
        return wait_until(lambda: len(self.serving()) == len(self.workers()) == number and self.serving(),
                          "%d workers that serve:\n%s" % (number, self.log.read()[-3000:]), 60)

    def roll(self, pattern=ROLLED):
        """SIGHUP; the log's match when it has ended."""
        mark = self.log.mark()
        self.popen.send_signal(signal.SIGHUP)
        return self.log.wait(pattern, mark, 60)

    def check_descriptors(self):
        """Complaints about descriptors and zombies of the manager."""
        complaints = super().check_descriptors()
        try:
            wait_until(lambda: not self.zombies(), "zombies to be collected", 10)
        except AssertionError:
            complaints.append("zombies: %r" % self.zombies())
        return complaints

    def zombies(self):
        return [pid for pid in process.children(self.pid) if process.state(pid) == "Z"] if self.is_running() else []


class Fronts:
    """nginx that keeps connections to the host, nginx that does not, and HAProxy, which shares them, all at one socket."""

    def __init__(self, socket_path):
        nginx = changed(example("nginx/nginx.conf"), {"/run/fcgihost.sock": socket_path})
        haproxy = changed(example("haproxy/haproxy.cfg"), {"/run/fcgihost.sock": socket_path})
        self.servers = {"nginx, kept": Nginx(temporary_folder(), nginx, 8003),
                        "nginx, new": Nginx(temporary_folder(), nginx, 8002),
                        "haproxy": Haproxy(temporary_folder(), haproxy, 8002)}
        for server in self.servers.values():
            server.start()

    def loads(self, clients=3):
        """Through each of them."""
        return {name: load.Load(lambda port=server.port: load.Http(port, True), clients=clients)
                for name, server in self.servers.items()}

    def stop(self):
        for server in self.servers.values():
            server.stop()


def direct_loads(host, clients=3):
    return {"direct, kept": load.Load(lambda: load.Direct(host.address, True), clients=clients),
            "direct, new": load.Load(lambda: load.Direct(host.address, False), clients=clients)}
