"""Retirement under load: processes end at [limits] requests, and their web servers see no failure."""
import collections
import http.client
import os
import re
import signal
import threading

import pytest

from fronts import ApacheFcgid, LighttpdSpawn, SpawnFcgi
from process import deadline

FULL = bool(os.environ.get("FULL_STORM"))
REQUESTS = 20000 if FULL else 2000
CLIENTS = 16
LIMIT = 50
LIMITS = {"limits": {"requests": LIMIT}}


class LighttpdStorm(LighttpdSpawn):
    """lighttpd binds a socket for each of its processes."""
    processes = 2


class Storm:
    """Many clients that ask for a number of answers together."""

    def __init__(self, site, requests=REQUESTS):
        self.site, self.left, self.mutex = site, requests, threading.Lock()
        self.answers, self.failures = 0, collections.Counter()

    def run(self):
        threads = [threading.Thread(target=self.client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self

    def take(self):
        with self.mutex:
            self.left -= 1
            return self.left if self.left >= 0 else None

    def client(self):
        number = self.take()
        while number is not None:
            failure = self.ask(number)
            with self.mutex:
                if failure:
                    self.failures[failure] += 1
                else:
                    self.answers += 1
            number = self.take()

    def ask(self, number):
        try:
            response = self.site.get("/whoami?token=%d" % number)
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        token = response.text.partition(" by ")[0]
        if response.status != 200 or token != "token %d" % number:
            return "%d %s" % (response.status, response.text[:60])
        return None


@pytest.fixture
def storm_bound(time_bound):
    """The whole storm takes longer than a test may."""
    if FULL:
        signal.alarm(deadline(900))


@pytest.mark.parametrize("kind", [ApacheFcgid, LighttpdStorm], ids=lambda kind: kind.name)
def test_no_request_is_lost_while_processes_retire(kind, storm_bound):
    site = kind("life_app:application", settings=LIMITS)
    storm = Storm(site).run()
    assert not storm.failures, "%r\n%s" % (storm.failures, site.error_log.read()[-3000:])
    assert storm.answers == REQUESTS
    # A process serves what it had accepted beyond the limit too, so there may be fewer of them.
    log = site.host_log.read()
    retired = re.findall(r"\[limits\] requests: \d+ requests have been served: stopping: new "
                         r"connections wait for a fresh process", log)
    assert len(retired) > REQUESTS // LIMIT // 4
    assert "cut off" not in log


class SpawnTwo(SpawnFcgi):
    """Two processes that share a socket, and kept connections: those go to one of the two."""
    prefix_port, options = 8006, " -F 2"


def test_of_two_processes_one_retires_and_the_other_goes_on():
    """Nobody replaces it, and the other has to keep the socket. One client at a time: all its
    requests go over one connection, and so to one process."""
    site = SpawnTwo("life_app:application", settings=LIMITS)

    def retired():
        log = site.host_log.read()
        return [pid for pid in site.pids
                if re.search(r"\[%d\] info: \[limits\] requests: \d+ requests" % pid, log)]
    asked = collections.Counter()
    while not retired():
        asked[whoami(site)] += 1
        assert sum(asked.values()) < 40 * LIMIT
    gone, = retired()
    other, = set(site.pids) - {gone}
    assert asked[gone] > asked[other]
    storm = Storm(site, LIMIT // 2).run()
    assert not storm.failures, storm.failures
    assert site.wait_exit(gone) == 0
    assert whoami(site) == other
    assert os.path.exists(site.socket_path)
    assert "cut off" not in site.host_log.read()


def whoami(site):
    response = site.get("/whoami?token=x")
    assert response.status == 200, response
    return int(response.text.rpartition(" ")[2])
