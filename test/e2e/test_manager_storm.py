"""Under load workers reach their limit, are reloaded with new code and a new program, and no request is lost."""
import contextlib
import os
import re
import shutil
import signal
import time

import pytest

import load
import process
from fronts import copy_for_others
from host import PROGRAM, ROOT
from managed import ROLLED, Fronts, ManagedHost, direct_loads
from process import deadline, wait_until

FULL = bool(os.environ.get("FULL_STORM"))
REQUESTS = 20000 if FULL else 900  # through each way
LIMIT = 50
RELOADS = 30 if FULL else 10


@pytest.fixture
def storm_bound(time_bound):
    """The whole storm takes longer than a test may."""
    if FULL:
        signal.alarm(deadline(1800))


@pytest.fixture
def ways(tmp_path):
    """ways(settings): a host, and clients through each way to it."""
    made = []

    def make(settings):
        host = ManagedHost(tmp_path, settings)
        made.append(Fronts(host.address))
        return host, {**direct_loads(host), **made[0].loads()}
    yield make
    for fronts in made:
        fronts.stop()


@contextlib.contextmanager
def all_running(loads):
    with contextlib.ExitStack() as stack:
        for each in loads.values():
            stack.enter_context(each)
        yield


def failures(loads):
    return {name: each.failures[:5] for name, each in loads.items() if each.failures}


def test_no_request_is_lost_while_workers_reach_their_limit(ways, storm_bound):
    host, loads = ways({"limits": {"requests": LIMIT}})

    def is_enough():
        served_by = set().union(*[set(each.by_pid) for each in loads.values()])
        return failures(loads) or (len(served_by) >= 4 and min(each.answers for each in loads.values()) >= REQUESTS)
    with all_running(loads):
        wait_until(is_enough, "answers of several workers", 1700 if FULL else 120)
    assert not failures(loads)
    assert "cut off" not in host.log.read()


def test_no_request_is_lost_while_it_is_reloaded_every_second(ways, storm_bound):
    host, loads = ways({})
    first = host.serving()
    with all_running(loads):
        for _ in range(RELOADS):
            host.popen.send_signal(signal.SIGHUP)
            time.sleep(1)
        wait_until(lambda: not first & host.workers(), "the first workers to leave")
        for each in loads.values():
            each.wait(10)
    assert not failures(loads)
    host.log.wait(ROLLED)
    host.wait_serving(2)
    assert "cut off" not in host.log.read()


class TestAReload:
    def test_brings_new_code_into_service(self, tmp_path):
        host = ManagedHost(tmp_path)
        with load.Load(lambda: load.Direct(host.address, True)) as running:
            running.wait(50)
            (tmp_path / "version").write_text("2")
            host.roll()
            running.by_version.clear()
            running.wait(100)
        assert not running.failures
        assert running.by_version["2"] > 50
        # An answer that was under way while the count began.
        assert sum(running.by_version.values()) - running.by_version["2"] <= len(running.threads)

    def test_of_a_broken_application_changes_nothing(self, tmp_path, expected_log):
        expected_log("announced: broken at import")
        host = ManagedHost(tmp_path)
        before = host.serving()
        with load.Load(lambda: load.Direct(host.address, True)) as running:
            (tmp_path / "broken").touch()
            mark = host.log.mark()
            host.roll(r"error: reload: worker \d+ could not load")
            host.wait_serving(2)
            running.wait(100)
        assert host.serving() == before
        assert not running.failures
        log = host.log.read(mark)
        assert log.count("RuntimeError: announced: broken at import") == 1
        assert len(re.findall("could not load", log)) == 1
        assert not re.search(r"attempt 2 failed", log)
        (tmp_path / "broken").unlink()
        (tmp_path / "version").write_text("mended")
        host.roll()
        assert host.exchange("GET", "/who").text.split()[1] == "mended"

    def test_of_a_wrong_configuration_changes_nothing(self, tmp_path):
        host = ManagedHost(tmp_path)
        before = host.serving()
        host.configure("[server]\n", "[server]\nthreads = many\n")
        host.roll(r'error: reload: .*fcgihost.ini:\d+: \[server\] threads: "many"')
        assert host.serving() == before
        host.configure("processes = 2", "processes = 3")
        host.roll()
        host.wait_serving(3)
        host.configure("processes = 2", "processes = 1")
        host.roll()
        host.wait_serving(1)
        host.baseline = None  # of two

    def test_takes_the_program_file_as_it_is_then(self, tmp_path):
        """It was replaced under load, as a package manager does: by renaming another file."""
        copy_for_others(os.path.join(ROOT, "python"), str(tmp_path / "tree" / "python"))
        is_of_tree = PROGRAM.startswith(ROOT + os.sep)
        program = tmp_path / "tree" / (os.path.relpath(PROGRAM, ROOT) if is_of_tree else "build/fcgihost")
        copy_for_others(PROGRAM, str(program))
        host = ManagedHost(tmp_path, program=str(program))
        with load.Load(lambda: load.Direct(host.address, True)) as running:
            running.wait(50)
            shutil.copy(PROGRAM, str(program) + ".new")
            os.rename(str(program) + ".new", program)
            assert program_of(min(host.serving())) != os.stat(program).st_ino
            host.roll()
            running.wait(50)
        assert not running.failures
        assert {program_of(pid) for pid in host.serving()} == {os.stat(program).st_ino}


def program_of(pid):
    """The file that it executes, by its inode."""
    return os.stat("/proc/%d/exe" % pid).st_ino
