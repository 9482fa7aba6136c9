"""[limits] request_time and [log] slow_request: a request that takes too long takes nobody else's time."""
import os
import random
import re
import socket
import threading

import pytest

import fastcgi
import process
import scgi
from host import APPS, Host, temporary_folder

protocols = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)


def start(request_time="300ms", app="time_app:application", wait=True, **more):
    settings = {"limits": {"request_time": request_time}, "server": {"threads": 3}, "shutdown": {"drain_timeout": "200ms"},
                "application": {"wsgi": app}}
    for section, keys in more.items():
        settings.setdefault(section, {}).update(keys)
    return Host(settings=settings, wait=wait)


def whoami(host):
    return host.exchange("GET", "/whoami").text


class TestInterrupted:
    """The thread takes fcgihost.RequestTimeout: 504, and it serves on."""

    @protocols
    @pytest.mark.parametrize("way", ["loop", "pool", "lock"])
    def test_is_answered_with_504_and_the_process_serves_on(self, protocol, way):
        host = start()
        before = whoami(host)
        if way != "loop":
            host.exchange("GET", "/hold")
            host.baseline += 1  # the file of fcgihost.lock stays open
        for _ in range(4):  # more than there are threads
            response = protocol.exchange(host.address, "GET", "/" + way)
            assert (response.status, response.text) == (504, "The application took too long to answer.\n")
        assert whoami(host) == before
        log = host.log.read()
        assert log.count("GET /%s: it took longer than [limits] request_time: answered with 504" % way) == 4
        assert len(re.findall(r"GET /%s: has been running for \S+ s, longer than \[limits\] request_time: "
                              "fcgihost.RequestTimeout is raised in it" % way, log)) == 4
        assert re.search(r'File ".*time_app.py", line \d+, in ' + {"loop": "spin", "pool": "pool_wait",
                                                                  "lock": "lock_wait"}[way], log)

    def test_finally_runs_and_except_exception_does_not_catch_it(self):
        host = start()
        assert host.exchange("GET", "/loop").status == 504
        assert "/loop finally" in host.log.read()
        assert "/loop except Exception" not in host.log.read()

    def test_what_catches_it_once_answers_for_itself(self):
        host = start()
        before = whoami(host)
        assert host.exchange("GET", "/swallow").text == "/swallow by " + before.split()[-1]
        assert "/swallow caught RequestTimeout: the request has taken longer than [limits] request_time" in host.log.read()
        assert whoami(host) == before

    def test_each_request_has_a_deadline_of_its_own(self):
        """Requests that come one after the other on all threads: none of them puts off another's."""
        host = start()
        ended = threading.Event()

        def keep_busy():
            while not ended.is_set():
                host.exchange("GET", "/near/20/x")
        threads = [threading.Thread(target=keep_busy) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            assert [host.exchange("GET", "/loop").status for _ in range(3)] == [504] * 3
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    @pytest.mark.parametrize("path", ["/loop", "/redirect"])
    def test_a_handler_too_and_a_redirect_has_no_time_of_its_own(self, path):
        host = start(app=None, application={"handler": "time_app:handler", "mount": "/"})
        assert host.exchange("GET", path).status == 504
        assert host.log.read().count("fcgihost.RequestTimeout is raised in it") == 1

    @protocols
    def test_a_body_that_nobody_has_read(self, protocol):
        host = start()
        with protocol.Connection(host.address) as connection:
            connection.send(protocol.request_bytes("POST", "/loop", b"x" * 3000000))
            assert connection.read_response().status == 504
        assert host.exchange("POST", "/whoami", b"x").status == 200

    @protocols
    def test_a_body_that_does_not_come(self, protocol):
        """The wait for it ends in time, and the process is not retired for what its peer does."""
        host = start(application={"stream": "yes"})
        before = whoami(host)
        with protocol.Connection(host.address) as connection:
            connection.send(protocol.request_bytes("POST", "/read", b"x" * 300000)[:200000])
            response = connection.read_response()
            assert response.status == 504
        assert "/read read" not in host.log.read()
        assert whoami(host) == before


class TestOtherCode:
    """What follows the application's own code is not hit."""

    def test_close_of_the_response(self):
        host = start()
        assert host.exchange("GET", "/close").text == "x" * 10
        host.log.wait("/close closed")
        assert "nothing is raised in it" in host.log.read()
        assert "was hit" not in host.log.read()

    def test_cleanups_of_the_request(self):
        host = start()
        assert host.exchange("GET", "/cleanup").status == 200
        host.log.wait("/cleanup cleaned up")
        assert "was hit" not in host.log.read()

    def test_one_that_c_code_left_no_chance_to_be_raised_is_withdrawn(self):
        host = start(server={"threads": 1})
        for _ in range(3):
            assert host.exchange("GET", "/queue").text == "begun"
            assert whoami(host)
        assert host.log.read().count("GET /queue: has been running") == 3
        assert "answered with 504" not in host.log.read()

    def test_one_that_comes_too_late_never_hits_the_next_request(self):
        """Requests that end about when their time does: each has its own answer, or the 504 that the log
        gives the reason for."""
        host = start(request_time="50ms", server={"threads": 8}, log={"level": "warning"})
        before, failures, timed_out = whoami(host), [], []

        def client(number):
            chance = random.Random(number)
            with fastcgi.Connection(host.address) as connection:
                for i in range(200):
                    for path in "/near/%d/%d-%d" % (chance.randint(44, 54), number, i), "/whoami/%d-%d" % (number, i):
                        response = connection.exchange("GET", path)
                        if response.status == 504:
                            timed_out.append(path)
                        elif response.text != "%s by %s" % (path, before.split()[-1]):
                            failures.append(response)
        threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        log = host.log.read()
        due = set(re.findall(r"GET (\S+): has been running for 0\.(?:0[5-9]|[1-9])", log.replace(" 0.1 s", " 0.10 s"))) | \
            set(re.findall(r"GET (\S+): it took longer than \[limits\] request_time", log))
        assert timed_out and set(timed_out) <= due
        assert whoami(host) == before


class TestResponseThatHasBegun:
    @protocols
    @pytest.mark.parametrize("is_tcp", [False, True], ids=["unix", "tcp"])
    def test_is_broken_off(self, protocol, is_tcp):
        settings = {"limits": {"request_time": "300ms"}, "server": {"threads": 2}}
        host = Host("time_app:application", settings, listen=["127.0.0.1:%d" % process.free_port()] if is_tcp else None)
        with protocol.Connection(host.address) as connection:
            connection.send(protocol.request_bytes("GET", "/iteration"))
            if protocol is scgi and is_tcp:
                with pytest.raises(ConnectionResetError):
                    while connection.socket.recv(65536):
                        pass
            elif protocol is fastcgi:
                assert connection.read_raw()[2] is None, "the response has an end"
            else:  # over SCGI on a Unix socket the end of the connection is all that there is
                connection.receive_all()
        host.log.wait("/iteration closed")
        assert "its response had begun, the connection is closed" in host.log.read()

    @protocols
    def test_a_client_that_does_not_take_it_retires_nothing(self, protocol):
        host = start()
        before = whoami(host)
        with protocol.Connection(host.address) as connection:
            connection.send(protocol.request_bytes("GET", "/forever"))
            host.log.wait("/forever generator RequestTimeout")
            host.log.wait("GET /forever: it took longer than")
        assert whoami(host) == before
        assert "retired" not in host.log.read()


class TestStuck:
    """It does not take the exception: the process is retired."""

    @pytest.mark.parametrize("way", ["sleep", "locked", "c", "stubborn"])
    def test_the_others_are_served_until_the_process_leaves_with_1(self, way):
        host = start()
        host.expected_status = 1
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/" + way))
            host.log.wait("GET /%s: has been running" % way)
            assert host.exchange("GET", "/whoami").status == 200
            host.log.wait(r"GET /%s: did not end within 5 s of fcgihost.RequestTimeout" % way)
            assert host.wait_exit() == 1
        assert "[limits] request_time: stopping" in host.log.read()

    def test_one_that_ends_after_all_is_answered_and_the_process_leaves_with_1(self):
        host = start(shutdown={"drain_timeout": "30s"})
        host.expected_status = 1
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/near/7000/x"))
            assert connection.read_response().status == 504
            assert host.wait_exit() == 1

    def test_c_code_that_keeps_the_gil(self):
        host = start()
        host.expected_status = 1
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/c-with-gil"))
            host.log.wait("Python can't be entered")
            host.log.wait("GET /c-with-gil: did not end within 5 s")
            assert host.wait_exit() == 1

    def test_a_wedged_gil_is_noticed_long_before_request_time(self):
        host = start(request_time="1h")
        host.expected_status = 1
        host.exchange("GET", "/wedge")
        host.log.wait("the GIL is wedged")
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/whoami"))
            host.log.wait("no thread could take the GIL for 30 s, and requests wait for it", seconds=60)
            assert host.wait_exit() == 1

    def test_behind_a_spawner_s_socket_the_process_executes_itself_anew(self):
        folder = temporary_folder()
        with socket.socket(socket.AF_UNIX) as stdin:
            stdin.bind(folder + "/spawned.sock")
            stdin.listen()
            host = Host(use_ini=False, listen=["unix:%s/spawned.sock" % folder], stdin=stdin, args=[
                "--set", "python.path=" + APPS, "--set", "python.bytecode=no", "--set", "limits.request_time=300ms",
                "--set", "shutdown.drain_timeout=200ms", "time_app:application"])
        host.socket_files = []
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/sleep"))
            host.log.wait("new connections wait for a fresh process with the same number")
            mark = host.log.mark()
            assert host.exchange("GET", "/whoami").text == "/whoami by %d" % host.pid
            assert connection.read_raw()[2] is None
        host.log.wait("serving time_app:application", mark)
        assert host.stop() == []

    def test_a_manager_replaces_the_worker(self):
        host = start(server={"processes": 2, "threads": 2}, wait=False)
        host.log.wait("serving time_app:application.*(?s:.)*serving time_app:application")
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.request_bytes("GET", "/sleep"))
            host.log.wait("GET /sleep: did not end within 5 s")
            failures = []
            while not connection.can_receive():
                response = host.exchange("GET", "/whoami")
                if response.status != 200:
                    failures.append(response)
        assert failures == []
        pids = {whoami(host).split()[-1] for _ in range(50)}
        host.log.wait("retired: another worker serves in its place")
        stuck = re.search(r"\[(\d+)\] error: GET /sleep: did not end", host.log.read()).group(1)
        assert stuck not in pids
        process.wait_until(lambda: not os.path.exists("/proc/" + stuck), "the stuck worker to have gone")


class TestSlowRequest:
    def test_its_stack_is_logged_once_while_it_runs(self):
        host = start(request_time="0", log={"slow_request": "200ms"})
        assert host.exchange("GET", "/near/1000/x").status == 200
        log = host.log.read()
        assert len(re.findall(r"warning: GET /near/1000/x: has been running for \d.\d s, longer than \[log\] slow_request; "
                              r"its stack, most recent call last:", log)) == 1
        assert re.search(r'File ".*time_app.py", line \d+, in near', log)

    def test_what_is_not_slow_is_not_logged(self):
        host = start(request_time="0", log={"slow_request": "10s"})
        assert host.exchange("GET", "/near/100/x").status == 200
        assert "has been running" not in host.log.read()

    def test_a_query_is_not_logged(self):
        host = start(request_time="0", log={"slow_request": "100ms"})
        host.exchange("GET", "/near/500/x?password=secret")
        assert "has been running" in host.log.read() and "secret" not in host.log.read()
