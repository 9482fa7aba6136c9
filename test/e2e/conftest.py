"""What surrounds every end-to-end test: the checks after it, and a bound on its time."""
import os
import signal
import sys

import pytest

import fastcgi
import message
import process
import scgi
from fronts import Site
from host import PROGRAM, Host, unexpected, write_file

sys.dont_write_bytecode = True
process.adopt_orphans()


HELLO = '''
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello from " + __name__.encode()]
'''


def pytest_addoption(parser):
    parser.addoption("--only", default="", help="run only the tests whose name contains this")


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("--only")
    if wanted:
        dropped = [item for item in items if wanted not in item.nodeid]
        items[:] = [item for item in items if wanted in item.nodeid]
        config.hook.pytest_deselected(items=dropped)


def pytest_sessionstart(session):
    if not os.access(PROGRAM, os.X_OK):
        pytest.exit("no program at %s: run make, or set FCGIHOST" % PROGRAM, returncode=1)


class TooLong(BaseException):
    """Not an Exception: nothing on the way up may take it for an ordinary failure."""


@pytest.fixture(autouse=True)
def time_bound():
    def on_alarm(number, frame):
        raise TooLong("the test did not end in %d s" % process.deadline(150))
    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(process.deadline(150))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def expected_log():
    """expected_log(pattern): announces a traceback (or another bad line) that must come."""
    patterns = []

    def announce(*more):
        patterns.extend(more)
    announce.patterns = patterns
    return announce


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        item.has_failed = True


@pytest.fixture(autouse=True)
def checks_afterwards(request, time_bound, expected_log):
    """Descriptors are back to the baseline, hosts stop cleanly, no log surprises, no orphan."""
    yield
    for connection in list(message.Connection.alive):
        connection.close()
    complaints, texts, ended = [], "", []
    for server in list(Host.started) + list(Site.started):
        complaints += server.check_descriptors()
        if not server.shared:
            complaints += server.stop()
            ended.append(server)
        texts += server.take_log()
    for server in ended:
        server.clean_up()
    complaints += unexpected(texts, expected_log.patterns) + left_over()
    if complaints and getattr(request.node, "has_failed", False):
        print("\n".join(complaints))  # beside the failure, not one of its own
    elif complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


def left_over():
    """Complaints about processes that lost their parent."""
    complaints = []
    try:
        process.wait_until(lambda: not process.reap_adopted(), "orphans to end", 5)
    except AssertionError:
        pass
    for pid in process.reap_adopted():
        complaints.append("an orphan: %d %s" % (pid, process.command_line(pid)))
        process.end_adopted(pid)
    return complaints


def end_shared(server):
    """Ends what the tests of a module shared."""
    complaints = server.check_descriptors() + server.stop()
    complaints += unexpected(server.take_log(), []) + left_over()
    server.clean_up()
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


def serves(host, number=20):
    """The host answers others, over both protocols, on new connections."""
    for count in range(number):
        module = (fastcgi, scgi)[count % 2]
        response = module.exchange(host.address, "GET", "/ignore?token=%d" % count)
        assert (response.status, response.text) == (200, "ignored %d" % count)
    return True


@pytest.fixture
def folder(tmp_path):
    """A folder with an application that leaves no .pyc in the source tree."""
    write_file(tmp_path / "hello.py", HELLO)
    return tmp_path


def one_line(done, *words):
    """The program's complaint: one line that has the words."""
    text = done.stderr.decode()
    assert len(text.strip().splitlines()) == 1, text
    for word in words:
        assert word in text, text
    return text
