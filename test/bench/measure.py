"""How each kind of case takes its figures: (figures, problems) of one peer in one round."""
import contextlib
import time

import figures
import peers  # puts test/e2e on the path
from cases import UNITS

import fastcgi

GROWTH_REQUESTS = 200000
GROWTH_SECONDS = 60  # at most
STALLED_PEERS = 4


def machine_ticks():
    with open("/proc/stat") as file:
        return file.readline()


def warm_up(site):
    site.wait_until_ready()
    site.load(seconds=0.1)


def under_load(site):
    before = site.cpu_seconds()
    result = site.load(seconds=site.bench.seconds)
    cpu_seconds = site.cpu_seconds() - before
    if result is None:
        raise peers.Unusable("%s: the load generator could not connect" % site.peer.title)
    return figures.load_figures(result, cpu_seconds), figures.load_problems(result)


def load(site):
    warm_up(site)
    return under_load(site)


def memory(site):
    site.wait_until_ready()
    time.sleep(0.3)
    return {"memory_mib": site.memory_kib() / 1024}, []


def start(site):
    """From the program's execution to the first right response."""
    started = site.executed_at()
    end = started + peers.READY_SECONDS
    while time.perf_counter() < end:
        try:
            response = fastcgi.exchange(site.socket, "GET", site.case.path)
        except (OSError, AssertionError):
            time.sleep(0.0005)
            continue
        milliseconds = (time.perf_counter() - started) * 1e3
        wrong = response.status != 200 or response.body != site.case.body
        return {"start_ms": milliseconds}, ["a wrong first response"] if wrong else []
    raise peers.Unusable("%s does not answer; its log:\n%s" % (site.peer.title, site.log()))


def growth(site):
    """Of memory, after a first thousand requests have warmed it up; and what it is then."""
    site.wait_until_ready()
    site.load(seconds=5, requests=1000)
    before = site.memory_kib()
    result = site.load(seconds=GROWTH_SECONDS, requests=GROWTH_REQUESTS)
    problems = figures.load_problems(result)
    if result["served"] < GROWTH_REQUESTS and not problems:
        problems.append("only %d requests in %d s" % (result["served"], GROWTH_SECONDS))
    after = site.memory_kib()
    return {"growth_kib": after - before, "memory_mib": after / 1024}, problems


@contextlib.contextmanager
def stalling_peers(site):
    """That sent half of a request's head and say no more."""
    with contextlib.ExitStack() as stack:
        half = fastcgi.request_bytes("GET", "/hello")
        for _ in range(STALLED_PEERS):
            peer = stack.enter_context(fastcgi.Connection(site.socket))
            peer.send(half[:len(half) // 2])
        time.sleep(0.1)
        yield


def stalled(site):
    """Requests a second beside peers that stall, against those of the same server without them,
    just before and just after."""
    warm_up(site)
    before, problems = under_load(site)
    with stalling_peers(site):
        result = site.load(seconds=site.bench.seconds, grace=1)
    if result is None:
        raise peers.Unusable("%s: no connection beside the others" % site.peer.title)
    beside = figures.load_figures(result, 0)
    after, more_problems = under_load(site) if result["served"] else (before, [])
    problems += more_problems
    if result["errors"]:
        problems += figures.load_problems(result)
    alone = (before["requests_a_second"] + after["requests_a_second"]) / 2
    return {"requests_a_second": beside["requests_a_second"], "p99_ms": beside["p99_ms"],
            "undisturbed_percent": 100 * beside["requests_a_second"] / alone}, problems


KINDS = {"load": load, "memory": memory, "start": start, "growth": growth, "stalled": stalled}


def measure(peer, case, bench):
    """Starts the peer anew and takes the figures of one round."""
    with peers.Site(peer, case, bench) as site:
        found, problems = KINDS[case.kind](site)
    assert set(found) <= set(UNITS), found
    return found, problems
