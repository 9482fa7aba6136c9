"""Start-up imports that fail and heal, resources that come and go."""
import os
import socket
import threading

import pytest

import fastcgi
from host import Host, run, write_file
from process import deadline, wait_until

RETRY = {"retry_delay": "100ms", "retry_max_delay": "300ms"}


def start(folder, imports=(), **startup):
    settings = {"startup": dict(RETRY, **{"import": ["startup_app:" + name if ":" not in name
                                                     and "." not in name else name
                                                     for name in imports]}),
                "server": {"threads": 2}, "python": {"path": [str(folder), APPS]}}
    settings["startup"].update(startup)
    return Host("startup_app:application", settings, environ={"FOLDER": str(folder)}, probe=False)


APPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps")


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


class TestImport:
    def test_that_fails_twice_and_heals_without_a_restart(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, ["twice_in_vain"])
        host.log.wait(r"startup_app:twice_in_vain: loaded at attempt 3, \d+\.\d s after the first")
        host.log.wait(r"twice_in_vain: attempt 1 failed, the next one comes in \d\.\d s.*; "
                      r"1 cleanup of it ran\n  Traceback(.*\n)+?.*announced failure")
        host.log.wait(r"twice_in_vain: attempt 2 failed, the next one comes in \d\.\d s.*; "
                      r"1 cleanup of it ran(; as before: .*|\n  Traceback(.*\n)+?.*)announced failure")
        assert lines(tmp_path / "attempts") == [str(host.pid)] * 3
        assert lines(tmp_path / "cleanups") == ["cleaned"] * 2
        assert host.exchange("GET", "/").text == "served"
        os.kill(host.pid, 15)
        assert host.wait_exit() == 0
        assert lines(tmp_path / "cleanups") == ["cleaned"] * 3

    def test_whose_exception_has_a_nul_byte_is_tried_again(self, tmp_path, expected_log):
        expected_log("announced failure")
        start(tmp_path, ["nul_once"]).log.wait(r"nul_once: attempt 1 failed(.*\n)+?.*announced failure \\x00"
                                               r"(.*\n)+?.*nul_once: loaded at attempt 2")

    def test_the_order_and_the_functions(self, tmp_path):
        host = start(tmp_path, ["second", "first", "second"])
        wait_until(lambda: len(lines(tmp_path / "order")) == 3, "the imports")
        assert lines(tmp_path / "order") == ["second", "first", "second"]
        assert host.exchange("GET", "/").text == "served"

    def test_those_after_one_that_fails_wait_for_it(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, ["twice_in_vain", "first"])
        host.log.wait("first: loaded")
        assert len(lines(tmp_path / "attempts")) == 3
        log = host.log.read()
        assert log.index("twice_in_vain: loaded") < log.index("startup_app:first: loaded")

    def test_not_required_does_not_keep_requests_waiting(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, ["until_there"])
        host.log.wait("attempt 1 failed")
        assert host.exchange("GET", "/").text == "served"
        (tmp_path / "go").touch()
        host.log.wait("until_there: loaded")

    def test_required_gives_503_after_the_wait(self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, ["until_there"], require="yes", request_wait="100ms")
        response = host.exchange("GET", "/")
        assert response.status == 503 and int(response.get("Retry-After")) >= 1
        (tmp_path / "go").touch()
        host.log.wait("until_there: loaded")
        assert host.exchange("GET", "/").text == "served"

    def test_more_waiting_requests_than_threads_are_answered_once_it_is_loaded(
            self, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(tmp_path, ["until_there"], require="yes", request_wait="60s")
        connections = [fastcgi.Connection(host.address) for _ in range(20)]
        for connection in connections:
            connection.send(fastcgi.request_bytes("GET", "/", keep=False))
        wait_until(lambda: host.connections() == 20, "all to be accepted")
        host.log.wait("attempt 2 failed")
        (tmp_path / "go").touch()
        assert [connection.read_response().text for connection in connections] == ["served"] * 20

    @pytest.mark.parametrize("name, shown", [("leave", "SystemExit"),
                                             ("interrupt", "KeyboardInterrupt")])
    def test_an_exception_that_is_none(self, tmp_path, expected_log, name, shown):
        expected_log(shown)
        host = start(tmp_path, [name])
        host.log.wait(name + ": attempt 1 failed")
        (tmp_path / "go").touch()
        host.log.wait(name + ": loaded at attempt")
        assert set(lines(tmp_path / "attempts")) == {str(host.pid)}

    def test_a_package_starts_anew(self, tmp_path, expected_log):
        """Its modules that the failed attempt left in sys.modules are dropped, a syntax error heals."""
        expected_log("SyntaxError")
        package = tmp_path / "shop"
        package.mkdir()
        write_file(package / "__init__.py", "import shop.setup\nimport shop.broken\n")
        write_file(package / "setup.py", "import startup_app\nstartup_app.note('setup', 'ran')\n")
        write_file(package / "broken.py", "def (:\n")
        host = start(tmp_path, ["shop.setup"])
        host.log.wait("shop.setup: attempt 1 failed.*\n(.*\n)+.*SyntaxError")
        write_file(package / "broken.py", "good = True\n")
        host.log.wait("shop.setup: loaded at attempt")
        assert len(lines(tmp_path / "setup")) >= 2


class TestFailure:
    def test_exit_ends_with_4(self, tmp_path, expected_log):
        expected_log("announced failure")
        settings = {"startup": {"import": "startup_app:until_there", "on_failure": "exit"}}
        host = Host("startup_app:application", settings, environ={"FOLDER": str(tmp_path)},
                    wait=False)
        host.expected_status = 4
        assert host.wait_exit() == 4

    def test_check_says_4(self, tmp_path):
        done = run("--check", "--set", "startup.import=startup_app:until_there",
                   "--set", "python.path=" + APPS, "--set", "python.bytecode=no",
                   "startup_app:application", environ={"FOLDER": str(tmp_path)}, cwd=tmp_path)
        assert done.returncode == 4 and b"announced failure" in done.stderr


class TestResource:
    def test_that_is_down_gives_503_and_heals(self, tmp_path):
        host = start(tmp_path)
        responses = ask_together(host, "/database")
        assert {response.status for response in responses} == {503}
        assert all(int(response.get("Retry-After")) >= 1 for response in responses)
        assert len(lines(tmp_path / "connects")) < 10  # not one for each request
        with socket.socket(socket.AF_UNIX) as database:
            database.bind(str(tmp_path / "db.sock"))
            database.listen(64)
            wait_until(lambda: host.exchange("GET", "/database").status == 200, "it to heal")
            texts = {response.text for response in ask_together(host, "/database")}
            assert len(texts) == 1
            assert lines(tmp_path / "connects").count("created") == 1

    def test_first_requests_together_create_one(self, tmp_path):
        with socket.socket(socket.AF_UNIX) as database:
            database.bind(str(tmp_path / "db.sock"))
            database.listen(64)
            host = start(tmp_path)
            responses = ask_together(host, "/database")
        assert {response.status for response in responses} == {200}
        assert len({response.text for response in responses}) == 1
        assert lines(tmp_path / "connects") == ["attempt", "created"]

    def test_unavailable_is_503_with_its_delay(self, tmp_path):
        response = start(tmp_path).exchange("GET", "/unavailable")
        assert (response.status, response.get("Retry-After")) == (503, "7")

    def test_a_requests_cleanups_run_after_its_response(self, tmp_path):
        host = start(tmp_path)
        assert host.exchange("GET", "/cleanup?token=a").text == "registered, False ran"
        wait_until(lambda: lines(tmp_path / "cleanups") == ["request a"], "the cleanup")


def ask_together(host, path, number=50):
    found = []

    def ask():
        found.append(host.exchange("GET", path))
    threads = [threading.Thread(target=ask) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(deadline(60))
    assert len(found) == number
    return found
