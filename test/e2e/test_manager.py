"""The manager: workers that die, are stuck, or reach a limit, and the end of all of them."""
import contextlib
import os
import re
import signal

import pytest

import fastcgi
import load
import process
import scgi
from host import APPS
from managed import ManagedHost, direct_loads
from process import wait_until

FULL = bool(os.environ.get("FULL_STORM"))
QUICK_END = {"shutdown": {"drain_timeout": "400ms", "cleanup_timeout": "400ms"}}


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def ask_to_wait(host, folder, path="/wait?token=w", count=1, method="GET"):
    """Requests that some worker has begun: [(connection, pid)]."""
    found = []
    for _ in range(count):
        connection = fastcgi.Connection(host.address)
        before = len(lines(folder / "waiting"))
        connection.send(fastcgi.request_bytes(method, path, b"body" if method == "POST" else b""))
        wait_until(lambda: len(lines(folder / "waiting")) > before, "the request to begin")
        found.append((connection, int(lines(folder / "waiting")[before].split()[1])))
    return found


def check_what_a_kill_took_along(running, victim, folder):
    """At most one request of each client, and none that another worker has begun."""
    begun_by = dict(line.split() for line in lines(folder / "journal"))
    clients = [failure.client for failure in running.failures]
    assert len(clients) == len(set(clients)), running.failures
    assert {begun_by.get(str(failure.number), str(victim)) for failure in running.failures} <= {str(victim)}


class TestAWorkerThatDies:
    @pytest.mark.parametrize("kept", [True, False], ids=["kept", "new"])
    def test_takes_along_its_own_requests_and_no_other(self, kept, tmp_path):
        host = ManagedHost(tmp_path)
        (tmp_path / "note-requests").touch()
        (waiting, victim), = ask_to_wait(host, tmp_path)
        with load.Load(lambda: load.Direct(host.address, kept)) as running:
            running.wait(100)
            os.kill(victim, signal.SIGKILL)
            assert waiting.receive_all() == b""
            running.wait(300)
            host.wait_serving(2)
        check_what_a_kill_took_along(running, victim, tmp_path)
        said = re.findall(r"error: worker %d .*" % victim, host.log.read())
        assert len(said) == 1
        assert re.search(r"killed by signal 9 .* while it served .*GET /wait \(", said[0])
        assert "token" not in said[0]

    def test_is_told_of_with_its_exit_code(self, tmp_path):
        host = ManagedHost(tmp_path)
        connection = fastcgi.Connection(host.address)
        connection.send(fastcgi.request_bytes("GET", "/leave"))
        assert connection.receive_all() == b""
        host.log.wait(r"error: worker \d+ exited with code 3, .* while it served GET /leave \(")
        host.wait_serving(2)

    def test_again_and_again_is_started_ever_later_and_heals(self, tmp_path):
        """The other worker serves all the time."""
        host = ManagedHost(tmp_path)
        victim = min(host.serving())
        with load.Load(lambda: load.Direct(host.address, False), clients=2) as running:
            (tmp_path / "crash").touch()
            os.kill(victim, signal.SIGKILL)
            host.log.wait(r"started in 1\.6 s")
            mark = running.answers
            (tmp_path / "crash").unlink()
            host.wait_serving(2)
            assert running.answers > mark
        assert len(running.failures) <= 2  # the victim's own
        delays = re.findall(r"another one is started in ([\d.]+) s", host.log.read())
        assert delays[:5] == ["0.1", "0.2", "0.4", "0.8", "1.6"]

    def test_from_the_first_start_on_is_tried_until_it_heals(self, tmp_path):
        (tmp_path / "crash").touch()
        host = ManagedHost(tmp_path, wait=False)
        host.log.wait(r"started in 0\.8 s")
        assert host.is_running()
        (tmp_path / "crash").unlink()
        waiting = fastcgi.Connection(host.address)
        waiting.send(fastcgi.request_bytes("GET", "/who"))
        assert waiting.read_response().status == 200
        host.wait_serving(2)

    def test_leaves_nothing_in_the_manager_however_often(self, tmp_path):
        """Descriptors are compared after the test; here memory maps as well."""
        host = ManagedHost(tmp_path, processes=1)

        def replace():
            before, = host.serving()
            host.exchange("GET", "/restart")
            wait_until(lambda: process.state(before) is None and len(host.serving()) == 1, "another worker", 60)
        replace()
        descriptors, maps = len(host.descriptors()), count_maps(host.pid)
        for _ in range(100 if FULL else 8):
            replace()
        wait_until(lambda: len(host.descriptors()) <= descriptors, "descriptors to be given back")
        assert count_maps(host.pid) <= maps + 2


def count_maps(pid):
    with open("/proc/%d/maps" % pid) as file:
        return len(file.readlines())


WAYS = ["python", "lock", "c", "gil"]


class TestAWorkerThatIsStuck:
    @pytest.mark.parametrize("way", WAYS)
    def test_is_gone_at_the_deadline_of_the_stop(self, way, tmp_path):
        host = ManagedHost(tmp_path, QUICK_END)
        host.expected_status = 1
        ask_to_wait(host, tmp_path, "/stuck?way=" + way)
        workers = host.workers()
        host.popen.send_signal(signal.SIGTERM)
        assert host.wait_exit() == 1
        assert all(process.state(pid) is None for pid in workers)
        assert "GET /stuck" in host.log.read()

    @pytest.mark.parametrize("way", WAYS)
    def test_is_replaced_by_a_reload(self, way, tmp_path):
        host = ManagedHost(tmp_path, QUICK_END)
        (_, pid), = ask_to_wait(host, tmp_path, "/stuck?way=" + way)
        (tmp_path / "version").write_text("2")
        host.roll()
        wait_until(lambda: process.state(pid) is None, "the stuck worker to leave")
        assert {host.exchange("GET", "/who").text.split()[1] for _ in range(20)} == {"2"}


    def test_so_that_it_can_do_nothing_at_all_is_killed(self, tmp_path):
        """A stopped process keeps no deadline of its own."""
        host = ManagedHost(tmp_path, QUICK_END)
        host.expected_status = 1
        os.kill(min(host.serving()), signal.SIGSTOP)
        host.popen.send_signal(signal.SIGTERM)
        assert host.wait_exit() == 1
        host.log.wait(r"worker \d+ was killed by signal 9 .*by the manager: it did not end in time")


class TestALimit:
    def test_of_memory(self, tmp_path):
        host = ManagedHost(tmp_path, {"limits": {"memory": "150M"}})
        with load.Load(lambda: load.Direct(host.address, True), clients=2) as running:
            greedy = int(host.exchange("GET", "/allocate?mib=200").text)
            host.log.wait(r"\[%d\] info: .*memory" % greedy)
            wait_until(lambda: process.state(greedy) is None, "the greedy worker to leave")
            host.wait_serving(2)
            running.wait(50)
        assert not running.failures

    def test_of_age_with_jitter(self, tmp_path):
        host = ManagedHost(tmp_path, {"limits": {"lifetime": "1s", "lifetime_jitter": "500ms"}})
        with load.Load(lambda: load.Direct(host.address, True), clients=2) as running:
            wait_until(lambda: len(running.by_pid) >= 5 or running.failures, "workers to be replaced", 60)
        assert not running.failures
        assert len(host.workers()) <= 3  # never two replacements at once

    def test_that_the_application_asks_for(self, tmp_path):
        host = ManagedHost(tmp_path)
        with load.Load(lambda: load.Direct(host.address, True), clients=2) as running:
            before = int(host.exchange("GET", "/restart").text)
            wait_until(lambda: process.state(before) is None, "the worker to leave")
            host.wait_serving(2)
        assert not running.failures
        assert str(before) in lines(tmp_path / "cleanups")


class TestASignalToOneWorker:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda number: number.name)
    def test_has_it_replaced_and_loses_nothing(self, number, tmp_path):
        host = ManagedHost(tmp_path)
        with contextlib.ExitStack() as stack:
            loads = [stack.enter_context(running) for running in direct_loads(host).values()]
            for _ in range(3):
                victim = min(host.serving())
                mark = host.log.mark()
                os.kill(victim, number)
                host.log.wait(r"\[%d\] info: a signal to this worker: the manager starts a successor" % victim, mark)
                wait_until(lambda: process.state(victim) is None, "the worker to leave")
                host.wait_serving(2)
            for running in loads:
                running.wait(100)
        assert not [running.failures for running in loads if running.failures]
        assert len(lines(tmp_path / "cleanups")) == 3


class TestRequestsThatWaitForAThread:
    @pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda protocol: protocol.NAME)
    def test_are_served_by_the_successor_of_a_worker_whose_threads_stay_busy(self, protocol, tmp_path):
        host = ManagedHost(tmp_path, {"server": {"threads": 1}}, processes=1)
        victim, = host.serving()
        (busy, _), = ask_to_wait(host, tmp_path)
        waiting = [(number, protocol.Connection(host.address)) for number in range(20)]
        for number, connection in waiting:
            connection.send(protocol.request_bytes("POST", "/echo?token=%d" % number, load.body_of(number)))
        os.kill(victim, signal.SIGTERM)
        found = [(number, connection.read_response()) for number, connection in waiting]
        (tmp_path / "go").touch()
        assert busy.read_response().text == "waited %d" % victim
        successor, = host.wait_serving(1)
        assert [response.body for _, response in found] == \
            [b"%d %d 1\n" % (number, successor) + load.body_of(number) for number, _ in found]


class TestTheEnd:
    def test_leaves_no_socket_no_pid_file_and_no_process(self, tmp_path):
        pid_file = tmp_path / "pid"
        host = ManagedHost(tmp_path, {"server": {"pid_file": str(pid_file)}})
        assert int(pid_file.read_text()) == host.pid
        workers = host.workers()
        host.popen.send_signal(signal.SIGTERM)
        host.popen.send_signal(signal.SIGTERM)
        assert host.wait_exit() == 0
        assert not pid_file.exists() and not os.path.exists(host.address)
        assert all(process.state(pid) is None for pid in workers)
        assert {int(line) for line in lines(tmp_path / "cleanups")} == workers

    def test_lets_requests_finish(self, tmp_path):
        host = ManagedHost(tmp_path, {"shutdown": {"drain_timeout": "60s"}})
        waiting = ask_to_wait(host, tmp_path, count=4, method="POST")
        host.popen.send_signal(signal.SIGTERM)
        host.log.wait("SIGTERM: stopping: no new connections")
        (tmp_path / "go").touch()
        assert [connection.read_response().text for connection, _ in waiting] == \
            ["waited %d" % pid for _, pid in waiting]
        assert host.wait_exit() == 0

    def test_at_once(self, tmp_path):
        host = ManagedHost(tmp_path, {"shutdown": {"drain_timeout": "1h"}})
        host.expected_status = None  # a request is cut off
        ask_to_wait(host, tmp_path)
        host.popen.send_signal(signal.SIGTERM)
        host.log.wait("SIGTERM: stopping: no new connections")
        host.popen.send_signal(signal.SIGQUIT)
        (tmp_path / "go").touch()
        host.wait_exit()

    def test_while_a_reload_is_under_way(self, tmp_path):
        """The successor is still loading."""
        host = ManagedHost(tmp_path, QUICK_END)
        host.expected_status = None  # it is cut off
        (tmp_path / "slow").touch()
        before = len(lines(tmp_path / "loads"))
        host.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: len(lines(tmp_path / "loads")) > before, "the successor to load")
        workers = host.workers()
        assert len(workers) == 3
        host.popen.send_signal(signal.SIGTERM)
        host.wait_exit()
        assert all(process.state(pid) is None for pid in workers)
        assert not os.path.exists(host.address)

    def test_of_the_manager_alone_lets_the_workers_finish_and_leave(self, tmp_path):
        host = ManagedHost(tmp_path, {"shutdown": {"drain_timeout": "60s"}})
        host.expected_status, host.socket_files = -signal.SIGKILL, []
        waiting = ask_to_wait(host, tmp_path, count=4)
        workers = host.workers()
        host.popen.kill()
        host.popen.wait()
        host.log.wait("(?i)manager.*(gone|ended|died|left)")
        (tmp_path / "go").touch()
        assert [connection.read_response().text for connection, _ in waiting] == \
            ["waited %d" % pid for _, pid in waiting]
        wait_until(lambda: all(process.has_gone(pid) for pid in workers), "the workers to leave")
        assert {int(line) for line in lines(tmp_path / "cleanups")} == workers


FAST = {"startup": {"retry_delay": "20ms", "retry_max_delay": "200ms", "request_wait": "60s"}}


class TestLoading:
    def module(self, folder, name, more=""):
        """One that can be imported when the file `go` is there."""
        (folder / (name + ".py")).write_text(
            "import os\nif not os.path.exists(%r):\n    raise ConnectionError('announced failure')\n%s" %
            (str(folder / "go"), more))

    def settings(self, folder, **sections):
        return dict(FAST, python={"path": [APPS, str(folder)]}, **sections)

    def test_a_required_import_that_keeps_failing_is_tried_by_one_worker(self, tmp_path, expected_log):
        expected_log("announced failure")
        self.module(tmp_path, "needed")
        settings = self.settings(tmp_path)
        settings["startup"] = dict(settings["startup"], **{"import": "needed", "require": "yes"})
        host = ManagedHost(tmp_path, settings, processes=3, wait=False)
        host.log.wait("attempt 3 failed.*announced failure")
        assert len(host.workers()) == 1
        waiting = fastcgi.Connection(host.address)
        waiting.send(fastcgi.request_bytes("POST", "/echo?token=9", b"patient"))
        mark = host.log.mark()
        host.log.wait(r"attempt \d+ failed.*announced failure", mark)
        (tmp_path / "go").touch()
        assert waiting.read_response().body.startswith(b"9 ")
        host.wait_serving(3)

    def test_one_application_of_several_that_failed_is_there_after_a_while_and_the_others_all_the_time(
            self, tmp_path, expected_log):
        expected_log("announced failure")
        self.module(tmp_path, "late", "from manager_app import application\n")
        host = ManagedHost(tmp_path, self.settings(tmp_path, **{
            "application late": {"wsgi": "late:application", "mount": "/late"}}))
        with load.Load(lambda: load.Direct(host.address, True), clients=2) as running:
            running.wait(50)
            (tmp_path / "go").touch()
            wait_until(lambda: late_serves(host), "the application:\n" + host.log.read()[-2000:], 60)
        assert not running.failures


def late_serves(host):
    return all(host.exchange("GET", "/late/who").status == 200 for _ in range(10))


class TestAWorkerThatLies:
    """The manager believes nothing that a worker writes into the memory they share, or says on its channel."""

    def test_rubbish_in_the_memory_harms_only_what_is_said_of_it(self, tmp_path):
        host = ManagedHost(tmp_path)
        victim, other = sorted(host.serving())
        boards = [number for number, name in process.descriptors(victim).items() if "fcgihost-board" in name]
        assert boards
        for number in boards:
            path = "/proc/%d/fd/%s" % (victim, number)
            with open(path, "r+b") as memory:
                memory.write(os.urandom(os.stat(path).st_size))
        assert other in host.serving() and host.is_running()
        mark = host.log.mark()
        os.kill(victim, signal.SIGKILL)
        assert host.log.wait("worker %d was killed by signal 9.*" % victim, mark).group().isprintable()
        host.wait_serving(2)
        assert other in host.serving()
        host.roll()

    def test_rubbish_on_its_channel_harms_only_itself(self, tmp_path):
        """The last message is empty, which ends the channel: the worker leaves, and another takes its place. What the
        manager did not close of the descriptors that came with the messages would be found after the test."""
        host = ManagedHost(tmp_path)
        answer = host.exchange("GET", "/babble").text
        assert int(answer) > 100, answer
        assert host.is_running()
        host.roll()
        host.wait_serving(2)
