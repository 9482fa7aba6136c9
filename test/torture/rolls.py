"""A manager whose workers are replaced for every reason that loses nothing, under load, directly and through fronts
whose clients abort, stall and lie about lengths."""
import contextlib
import os
import signal
import socket
import time

import load
from managed import Fronts, ManagedHost
from torment import Torment, process, temporary_folder


def lie(port, random):
    """One HTTP client that no web server likes."""
    length = random.choice([10, 1000, 200000])
    head = "POST /echo?token=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(head.encode() + b"x" * random.randint(0, length))
        way = random.choice(["abort", "stall", "half-close"])
        if way == "stall":
            time.sleep(random.random() * 0.1)
        elif way == "half-close":
            client.shutdown(socket.SHUT_WR)
            client.settimeout(1)
            with contextlib.suppress(OSError):
                client.recv(100)


class Rolls(Torment):
    name = "rolls"

    def run(self, until):
        state = temporary_folder()
        settings = {"server": {"threads": 2}, "limits": {"requests": self.random.choice([20, 200]), "requests_jitter": 20}}
        host = ManagedHost(state, settings, watched=False)
        fronts = Fronts(host.address)
        try:
            with contextlib.ExitStack() as stack:
                loads = dict(fronts.loads(2), direct=load.Load(lambda: load.Direct(host.address, True), clients=2))
                for running in loads.values():
                    stack.enter_context(running)
                while True:
                    self.replace_one(host)
                    for _ in range(5):
                        server = self.random.choice(list(fronts.servers.values()))
                        with contextlib.suppress(OSError):
                            lie(server.port, self.random)
                        self.count(inputs=1)
                    if until() or not host.is_running():
                        break
            for name, running in loads.items():
                self.count(requests=running.answers + len(running.failures), lost=len(running.failures))
                for failure in running.failures[:3]:
                    self.note("%s: %r" % (name, failure))
            for complaint in host.check_descriptors():
                self.note(complaint)
        finally:
            fronts.stop()
            for complaint in host.stop():
                self.note(complaint)
            host.clean_up()

    def replace_one(self, host):
        """Limits do so all the time; beside them a reload of all, or a signal to one worker."""
        self.count(faults=1)
        if self.random.random() < 0.5:
            host.popen.send_signal(signal.SIGHUP)
        else:
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(self.random.choice(sorted(host.serving())), signal.SIGTERM)
        time.sleep(self.random.random() * process.SLOWNESS)
