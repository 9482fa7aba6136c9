"""The examples with start-up imports, cleanups and pools do what their READMEs say."""
import os
import signal
import sqlite3
import sys
import threading

import pytest

import process
from host import ROOT, Host, LogFile, run
from process import wait_until

STARTUP = os.path.join(ROOT, "examples", "startup")
POOL = os.path.join(ROOT, "examples", "pool")
DATABASE_IS_DOWN = r"store\.py"  # in the tracebacks of store:connect


class Database:
    """examples/startup/database.py"""

    def __init__(self, path, log):
        self.log = LogFile(log)
        mark = self.log.mark()
        with open(log, "ab") as output:
            self.popen = process.start([sys.executable, os.path.join(STARTUP, "database.py"), path],
                                       stdout=output, stderr=output)
        self.log.wait("listening on", mark)

    def stop(self):
        assert process.stop(self.popen) == 0


@pytest.fixture
def start_database(tmp_path):
    """start_database() -> a Database; each is stopped in the end, after the test has stopped its host."""
    databases = []

    def start():
        databases.append(Database(str(tmp_path / "database.sock"), str(tmp_path / "database.log")))
        return databases[-1]
    yield start
    for database in databases:
        if database.popen.poll() is None:
            database.stop()


def example(folder, tmp_path, retry_delay="100ms", **environ):
    """A host with the example's own ini file, but for the address and .pyc files."""
    path = str(tmp_path / "host.sock")
    return Host(listen=["unix:" + path], use_ini=False, wait=False, environ=environ, args=[
        "-c", os.path.join(folder, "fcgihost.ini"), "--listen", "unix:" + path,
        "--set", "python.bytecode=no", "--set", "startup.retry_delay=" + retry_delay,
        "--set", "startup.retry_max_delay=" + retry_delay])


def shop(tmp_path, retry_delay="100ms"):
    return example(STARTUP, tmp_path, retry_delay, DATABASE=str(tmp_path / "database.sock"))


def wait_for_status(host, status):
    """The first response with it, once the host listens."""
    def ask():
        try:
            response = host.exchange("GET", "/")
        except OSError:
            assert host.is_running(), host.log.read()
            return None
        return response if response.status == status else None
    return wait_until(ask, "a %d; the log:\n%s" % (status, host.log.read()))


def stopped(host):
    os.kill(host.pid, signal.SIGTERM)
    assert host.wait_exit() == 0, host.log.read()
    return True


class TestStartup:
    def test_with_the_database_there_the_start_up_import_connects(self, tmp_path, start_database):
        database = start_database()
        host = shop(tmp_path)
        database.log.wait("hello web-%d" % host.pid)  # before any request
        assert "Visit 1" in wait_for_status(host, 200).text
        assert "Signed on: web-%d<" % host.pid in host.exchange("GET", "/").text
        assert stopped(host)

    def test_without_it_visitors_get_the_applications_own_503(self, tmp_path, expected_log):
        expected_log(DATABASE_IS_DOWN)
        host = shop(tmp_path)
        response = wait_for_status(host, 503)
        assert "Back in a moment" in response.text
        assert int(response.get("Retry-After")) >= 1
        assert stopped(host)

    def test_once_it_comes_the_import_succeeds_without_a_restart(self, tmp_path, start_database,
                                                                 expected_log):
        expected_log(DATABASE_IS_DOWN)
        host = shop(tmp_path)
        host.log.wait("store:connect: attempt 1 failed")
        database = start_database()
        database.log.wait("hello web-%d" % host.pid)  # nobody sent a request
        host.log.wait("store:connect: loaded at attempt")
        assert "Visit 1" in wait_for_status(host, 200).text
        assert stopped(host)

    def test_a_request_connects_before_the_import_is_tried_again(self, tmp_path, start_database,
                                                                 expected_log):
        expected_log(DATABASE_IS_DOWN)
        host = shop(tmp_path, "1h")
        host.log.wait("application app:application: loaded")
        start_database()
        assert "Visit 1" in wait_for_status(host, 200).text
        assert "attempt 2" not in host.log.read()
        assert stopped(host)

    def test_a_database_that_goes_and_comes_back_needs_no_restart(self, tmp_path, start_database):
        database = start_database()
        host = shop(tmp_path)
        wait_for_status(host, 200)
        database.stop()
        assert "Back in a moment" in wait_for_status(host, 503).text
        start_database()
        assert "Visit 1" in wait_for_status(host, 200).text
        assert stopped(host)

    def test_the_cleanups_say_bye(self, tmp_path, start_database):
        database = start_database()
        host = shop(tmp_path)
        wait_for_status(host, 200)
        assert stopped(host)
        database.log.wait("bye web-%d" % host.pid)

    def test_call_without_a_database_is_a_503(self, tmp_path):
        done = run("-c", os.path.join(STARTUP, "fcgihost.ini"), "--set", "python.bytecode=no",
                   "--call", "/", environ={"DATABASE": str(tmp_path / "database.sock")})
        assert done.returncode == 1
        assert done.stdout.startswith(b"Status: 503 Service Unavailable\r\n")
        assert b"Back in a moment" in done.stdout


class TestPool:
    @pytest.fixture
    def guestbook(self, tmp_path):
        self.file = tmp_path / "guestbook.db"
        return example(POOL, tmp_path, GUESTBOOK=str(self.file))

    def test_names_are_signed_and_listed_escaped(self, guestbook):
        wait_for_status(guestbook, 200)
        response = guestbook.exchange("POST", "/", b"name=Ada+%3Cb%3E")
        assert (response.status, response.get("Location")) == (303, "/")
        assert "<li>Ada &lt;b&gt;" in guestbook.exchange("GET", "/").text

    def test_many_at_once_lose_nothing_and_open_four_connections_at_most(self, guestbook):
        wait_for_status(guestbook, 200)
        statuses = []

        def sign(number):
            for count in range(10):
                body = b"name=visitor+%d.%d" % (number, count)
                statuses.append(guestbook.exchange("POST", "/", body).status)
        threads = [threading.Thread(target=sign, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [303] * 80
        opened = [name for name in guestbook.descriptors().values() if name == str(self.file)]
        assert 1 <= len(opened) <= 4
        assert stopped(guestbook)
        with sqlite3.connect(str(self.file)) as connection:
            (count,), = connection.execute("SELECT count(DISTINCT name) FROM entry")
        connection.close()
        assert count == 80
