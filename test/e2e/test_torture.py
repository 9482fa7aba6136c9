"""A short round of the standing adversary (`make torture` has the long one), and what fuzzers found before."""
import glob
import os
import signal
import subprocess
import sys

import pytest

from host import PROGRAM, ROOT
from process import SAN, SLOWNESS, deadline


@pytest.mark.parametrize("torment", ["sessions", "moments", "starts", "rolls", "changes", "clients", "surroundings",
                                     pytest.param("faults", marks=pytest.mark.skipif(
                                         bool(SAN), reason="a sanitizer wants to be the first that replaces malloc"))])
def test_nothing_is_found_in_a_short_round_of(torment):
    done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "test", "torture", "torture.py"), "--seconds", "5",
                           "--only", torment], env=dict(os.environ, FCGIHOST=PROGRAM), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120 * SLOWNESS)
    assert done.returncode == 0, done.stdout
    assert torment in done.stdout.splitlines()[-1]


def test_20000_requests_of_all_kinds_leave_nothing_in_a_host_and_in_a_manager():
    done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "test", "torture", "soak.py"), "--requests", "20000"],
                          env=dict(os.environ, FCGIHOST=PROGRAM), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=120 * SLOWNESS)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(", 0 lost; ") == done.stdout.count("; level\n") == 2


# Of `make fault-sweep`, what takes seconds: among it what has once been found.
@pytest.mark.skipif(bool(SAN), reason="a sanitizer wants to be the first that replaces malloc")
@pytest.mark.parametrize("stages, kinds", [("get,upload,raise", "malloc,send,open,pwrite"), ("download", "epoll_ctl,thread"),
                                           ("start-plain", "descriptor,socket,bind"), ("end", "thread,write,send")])
def test_nothing_is_found_when_each_call_fails_once_at(stages, kinds):
    done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "test", "torture", "sweep.py"), "--stages", stages,
                           "--kinds", kinds], env=dict(os.environ, FCGIHOST=PROGRAM), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    faults = int(done.stdout.splitlines()[-1].split()[3])
    assert faults >= 10, done.stdout


@pytest.mark.parametrize("protocol", ["FastCGI", "SCGI"])
def test_50_slow_peers_cost_others_no_request_and_none_of_them_is_given_up(protocol):
    done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "test", "torture", "slow_peers.py"), "--peers", "50",
                           "--requests", "100", "--seconds", "12", "--fronts", protocol + " direct"],
                          env=dict(os.environ, FCGIHOST=PROGRAM), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=120 * SLOWNESS)
    assert done.returncode == 0, done.stdout
    assert protocol + " direct" in done.stdout.splitlines()[-1]


def test_the_parsers_still_stand_what_fuzzers_once_found(time_bound):
    signal.alarm(deadline(600))  # it compiles them all, with sanitizers
    done = subprocess.run(["sh", os.path.join(ROOT, "test", "fuzz", "run.sh"), "0"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=deadline(580))
    assert done.returncode == 0, done.stdout
    harnesses = glob.glob(os.path.join(ROOT, "test", "fuzz", "fuzz_*.c"))
    assert done.stdout.count("none broke it") == len(harnesses) >= 9
