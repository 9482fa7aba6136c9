"""fcgihost --reload asks a manager to replace its workers, waits, and says how it ended; --status shows all of them."""
import json
import os

import load
import host as hosts
from managed import ManagedHost
from process import wait_until


class AskedHost(ManagedHost):
    """Its control socket is in a folder of the test's."""

    def __init__(self, state, **more):
        self.runtime = os.path.join(str(state), "run")
        os.makedirs(self.runtime, exist_ok=True)
        super().__init__(state, environ={"FOLDER": str(state), "RUNTIME_DIRECTORY": self.runtime}, **more)

    def run(self, *args):
        return hosts.run(*args, "-c", os.path.join(self.folder, "fcgihost.ini"),
                         environ={"RUNTIME_DIRECTORY": self.runtime}, seconds=100)

    def status(self):
        return json.loads(self.run("--status", "--format", "json").stdout)


class TestReload:
    def test_returns_when_all_workers_have_been_replaced(self, tmp_path):
        host = AskedHost(tmp_path)
        before = host.serving()
        with load.Load(lambda: load.Direct(host.address, True)) as running:
            (tmp_path / "version").write_text("2")
            done = host.run("--reload")
        assert done.returncode == 0, done
        assert not running.failures
        assert not before & host.serving()
        assert {host.exchange("GET", "/who").text.split()[1] for _ in range(20)} == {"2"}

    def test_says_with_its_exit_code_that_the_old_ones_stay(self, tmp_path, expected_log):
        expected_log("announced: broken at import")
        host = AskedHost(tmp_path)
        before = host.serving()
        (tmp_path / "broken").touch()
        done = host.run("--reload")
        assert done.returncode == 1, done
        assert done.stdout + done.stderr
        host.wait_serving(2)
        assert host.serving() == before

    def test_of_a_wrong_configuration_says_what_is_wrong(self, tmp_path):
        host = AskedHost(tmp_path)
        before = host.serving()
        host.configure("[server]\n", "[server]\nthreads = many\n")
        done = host.run("--reload")
        assert done.returncode == 1, done
        assert b"fcgihost" in done.stdout + done.stderr
        assert host.serving() == before

    def test_finds_no_host(self, tmp_path):
        done = hosts.run("--reload", "-c", hosts.write_file(str(tmp_path / "x.ini"), "[server]\n"),
                         environ={"RUNTIME_DIRECTORY": str(tmp_path)})
        assert done.returncode == 1, done
        assert done.stderr


class TestStatus:
    def test_names_all_workers(self, tmp_path):
        host = AskedHost(tmp_path)
        load.Load(lambda: load.Direct(host.address, True), requests=40).run()
        wait_until(lambda: {each["pid"] for each in host.status()["processes"]} == host.serving(), "both workers")
        wait_until(lambda: host.status()["requests"]["total"] >= 40, "their figures")
        assert host.run("--status").returncode == 0
