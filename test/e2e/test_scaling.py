"""Two hosts over TCP behind one web server, as examples/haproxy and examples/nginx have it: one is drained, or dies."""
import os
import re
import signal
import socket
import threading

import pytest

import load
import process
from fronts import Haproxy, Nginx, changed, example, http_request
from host import APPS, Host, temporary_folder
from managed import ManagedHost
from process import wait_until

ADDRESSES = "10.0.0.11:9000", "10.0.0.12:9000"


class Pair:
    """Two hosts, one and two. A subclass has the web server."""
    closes_clients = False  # where they keep connections, when it is told to spare a host

    def __init__(self, folder, settings=(None, None)):
        self.folder, self.ports = str(folder), [process.free_port(), process.free_port()]
        self.settings = settings
        self.hosts = [self.start_host(0), self.start_host(1)]
        self.front = self.make_front(temporary_folder())
        self.front.start()
        wait_until(self.answers, "the front to answer")

    def start_host(self, which):
        settings = {"python": {"path": [APPS]}, "application": {"mount": "/"},
                    "startup": {"request_wait": "100ms"}, "shutdown": {"drain_timeout": "30s"},
                    "status": {"ping": "/ping"}}
        settings.update(self.settings[which] or {})
        return Host("manager_app:application", settings, listen=["127.0.0.1:%d" % self.ports[which]],
                    environ={"FOLDER": self.folder})

    def example(self, name):
        return changed(example(name), dict(zip(ADDRESSES, ["127.0.0.1:%d" % port for port in self.ports])))

    def answers(self):
        try:
            return http_request(self.front.port, "GET", "/who").status == 200
        except OSError:
            return False

    def client(self, kept=True):
        return lambda: load.Http(self.front.port, kept)

    def use_both(self, running):
        for host in self.hosts:
            running.wait_for_pid(host.pid)

    def restart(self, which):
        self.hosts[which].stop()
        self.hosts[which].clean_up()
        self.hosts[which] = self.start_host(which)

    def stop(self):
        self.front.stop()


class HaproxyPair(Pair):
    name = "haproxy"

    def make_front(self, folder):
        self.admin = os.path.join(folder, "admin.sock")
        return Haproxy(folder, changed(self.example("haproxy/two-hosts.cfg"), {
            "/run/haproxy-admin.sock": self.admin}))

    def ask_admin(self, command):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.admin)
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def status(self, name):
        line, = [line for line in self.ask_admin("show stat").splitlines() if line.startswith("fcgihost,%s," % name)]
        return line.split(",")[17]

    def drain_first(self):
        assert self.ask_admin("set server fcgihost/one state drain").strip() == ""

    def use_first(self):
        self.ask_admin("set server fcgihost/one state ready")
        wait_until(lambda: self.status("one") == "UP", "the check to pass")


class NginxPair(Pair):
    name, closes_clients = "nginx", True

    def make_front(self, folder):
        return Nginx(folder, self.example("nginx/two-hosts.conf"))

    def reload(self, text):
        self.front.text = text
        with open(self.front.config, "w") as file:
            file.write(self.front.with_ports(self.front.configuration()))
        before = process.children(self.front.popen.pid)
        self.front.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: set(process.children(self.front.popen.pid)) - set(before), "a new worker of nginx")

    def drain_first(self):
        line, = re.findall(r"server 127.0.0.1:%d [^;]*;" % self.ports[0], self.front.text)
        self.reload(changed(self.front.text, {line: line.replace(";", " down;")}))

    def use_first(self):
        self.reload(changed(self.front.text, {" down;": ";"}))


class NginxNewPair(NginxPair):
    """It keeps no connection to a host."""
    name = "nginx-new"

    def example(self, name):
        return changed(super().example(name), {"keepalive 16;": "", "fastcgi_keep_conn on;": ""})


@pytest.fixture
def make_pair(tmp_path):
    made = []

    def make(kind, **kwargs):
        made.append(kind(tmp_path, **kwargs))
        return made[-1]
    yield make
    for pair in made:
        pair.stop()


BOTH = pytest.mark.parametrize("kind", [HaproxyPair, NginxPair], ids=lambda kind: kind.name)


class Asking(threading.Thread):
    """One request that the application answers when the test makes the file `go`."""

    def __init__(self, pair, method, token):
        super().__init__()
        self.pair, self.method, self.token, self.outcome = pair, method, token, None
        self.start()

    def run(self):
        body = b"once" if self.method == "POST" else None
        try:
            response = http_request(self.pair.front.port, self.method, "/wait?token=" + self.token, body)
            self.outcome = (response.status, response.text)
        except OSError as error:
            self.outcome = (None, repr(error))

    def join_outcome(self):
        self.join()
        return self.outcome


def waiting(folder):
    """Which process has begun which waiting request: [(token, pid)]."""
    path = folder / "waiting"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(token, int(pid)) for token, pid in (line.split() for line in lines)]


def ask_until_it_waits_at(pair, folder, pid, method):
    """A request that this host has begun; others begin some too. Returns all that were asked."""
    asked = []

    def has_begun():
        return {token for token, _ in waiting(folder)} >= {each.token for each in asked}
    while pid not in [pid for token, pid in waiting(folder) if token.startswith(method)]:
        assert len(asked) < 6
        asked.append(Asking(pair, method, "%s-%d" % (method, len(asked))))
        wait_until(has_begun, "the request to begin")
    return asked


def wait_until_spared(running, host):
    """nginx's old worker process serves what it has accepted before it leaves, and sends that to the host still."""
    answered = None
    while answered != running.by_pid[host.pid]:
        answered = running.by_pid[host.pid]
        running.wait(100)


@BOTH
def test_a_host_that_the_web_server_was_told_to_spare_is_stopped_and_no_request_is_lost(kind, make_pair, tmp_path):
    pair = make_pair(kind)
    first, second = pair.hosts
    slow = ask_until_it_waits_at(pair, tmp_path, first.pid, "POST")
    with load.Load(pair.client(kept=not pair.closes_clients)) as running:
        pair.use_both(running)
        pair.drain_first()
        wait_until_spared(running, first)
        first.popen.send_signal(signal.SIGTERM)
        first.log.wait("SIGTERM: stopping")
        running.wait_for_pid(second.pid, 200)
        (tmp_path / "go").touch()
        assert first.wait_exit() == 0
        pair.restart(0)
        pair.use_first()
        pair.use_both(running)
    outcomes = [asking.join_outcome() for asking in slow]
    assert {status for status, _ in outcomes} == {200}
    assert "waited %d" % first.pid in [text for _, text in outcomes]
    assert not running.failures


def test_a_host_that_is_just_stopped_loses_nothing_where_no_connection_is_kept(make_pair, tmp_path):
    pair = make_pair(NginxNewPair)
    first, second = pair.hosts
    with load.Load(pair.client()) as running:
        pair.use_both(running)
        first.popen.send_signal(signal.SIGTERM)
        assert first.wait_exit() == 0
        running.wait_for_pid(second.pid, 200)
    assert not running.failures


@BOTH
def test_a_host_that_is_killed_takes_along_only_posts_that_were_sent_to_it(kind, make_pair, tmp_path):
    """GETs are sent again, to the other one; no POST is done twice."""
    pair = make_pair(kind)
    first, second = pair.hosts
    first.expected_status = -signal.SIGKILL
    (tmp_path / "note-requests").touch()
    gets = ask_until_it_waits_at(pair, tmp_path, first.pid, "GET")
    posts = ask_until_it_waits_at(pair, tmp_path, first.pid, "POST")
    begun = dict(waiting(tmp_path))
    with load.Load(pair.client()) as running:
        pair.use_both(running)
        first.popen.kill()
        first.popen.wait()
        running.wait_for_pid(second.pid, 300)
        (tmp_path / "go").touch()
    check_what_the_kill_took_along(running, second.pid, tmp_path)
    assert {asking.join_outcome() for asking in gets} == {(200, "waited %d" % second.pid)}
    for asking in posts:
        is_lost = asking.join_outcome()[0] != 200
        assert is_lost == (begun[asking.token] == first.pid), asking.outcome
    assert sorted(token for token, _ in waiting(tmp_path) if token.startswith("POST")) == \
        [asking.token for asking in posts]


def check_what_the_kill_took_along(running, survivor, folder):
    """At most what each client had sent at that moment, and nothing that the survivor has begun."""
    begun_by = dict(line.split() for line in (folder / "journal").read_text().split("\n")[:-1])
    assert {failure.method for failure in running.failures} <= {"POST"}, running.failures
    clients = [failure.client for failure in running.failures]
    assert len(clients) == len(set(clients)), running.failures
    assert str(survivor) not in [begun_by.get(str(failure.number)) for failure in running.failures]


def test_haproxy_asks_only_hosts_that_serve(make_pair):
    """A host that can't load its application answers its check with 503."""
    pair = make_pair(HaproxyPair)
    wait_until(lambda: pair.status("one") == pair.status("two") == "UP", "both checks to pass")
    pair.settings = ({"application": {"wsgi": "no_such_module:application", "mount": "/"}}, None)
    pair.restart(0)
    wait_until(lambda: pair.status("one") == "DOWN", "the check to fail")
    running = load.Load(pair.client(kept=False), requests=200).run()
    assert not running.failures
    assert set(running.by_pid) == {pair.hosts[1].pid}


class ManagedPair(HaproxyPair):
    """Each host has a manager and two workers."""

    def start_host(self, which):
        return ManagedHost(self.folder, {"shutdown": {"drain_timeout": "30s"}, "status": {"ping": "/ping"}},
                           listen=["127.0.0.1:%d" % self.ports[which]])

    def use_both(self, running):
        for host in self.hosts:
            wait_until(lambda: host.workers() & set(running.by_pid), "an answer of each host")


def test_two_managers_reload_and_one_of_their_workers_dies_while_pooled_connections_go_to_both(make_pair, tmp_path):
    """A reload loses nothing; a worker only POSTs that were sent to it."""
    pair = make_pair(ManagedPair)
    with load.Load(pair.client()) as running:
        pair.use_both(running)
        for host in pair.hosts:
            host.roll()
        pair.use_both(running)
    assert not running.failures
    (tmp_path / "note-requests").touch()
    with load.Load(pair.client()) as running:
        pair.use_both(running)
        victim = next(pid for pid in running.by_pid if pid in pair.hosts[0].workers())
        os.kill(victim, signal.SIGKILL)
        running.wait(200)
        pair.hosts[0].wait_serving(2)
    begun_by = dict(line.split() for line in (tmp_path / "journal").read_text().split("\n")[:-1])
    assert {failure.method for failure in running.failures} <= {"POST"}, running.failures
    assert {begun_by.get(str(failure.number), str(victim)) for failure in running.failures} <= {str(victim)}
