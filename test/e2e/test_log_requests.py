"""What the log says of requests: which one a line belongs to."""
import json
import os
import re
import threading

import pytest

import fastcgi
from host import APPS, Host, LogFile, run, temporary_folder, write_file
from process import wait_until

SLOW = """
import time
def application(environ, start_response):
    while environ["PATH_INFO"] == "/slow":
        time.sleep(0.01)
    start_response("200 OK", [])
    return [b"ready"]
"""
MADE = r"[0-9a-f]{16}"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00-%s-00f067aa0ba902b7-01" % TRACE


@pytest.fixture(scope="module")
def shared_host():
    host = Host(shared=True)
    yield host
    assert host.stop() == []
    host.clean_up()


def identifier(host, headers=()):
    return host.exchange("GET", "/environ", headers=headers).json["fcgihost.request_id"]


class TestIdentifiers:
    def test_the_web_server_s_is_the_application_s_and_the_log_s(self, shared_host):
        assert identifier(shared_host, [("X-Request-Id", "front-1")]) == "front-1"
        assert identifier(shared_host, [("traceparent", PARENT)]) == TRACE
        assert identifier(shared_host, [("traceparent", PARENT), ("X-Request-Id", "both")]) == "both"
        mark = shared_host.log.mark()
        shared_host.exchange("GET", "/errors?text=x", headers=[("X-Request-Id", "front-2")])
        shared_host.log.wait(r"error: GET /errors: .*\(request front-2\)\n", mark)

    def test_one_that_could_forge_a_line_is_replaced(self, shared_host):
        for wrong in ("a b", "a\x1b[2J", "x" * 129):
            assert re.fullmatch(MADE, identifier(shared_host, [("X-Request-Id", wrong)]))

    def test_without_one_each_request_gets_its_own(self, shared_host):
        seen = [identifier(shared_host) for _ in range(20)]
        assert len(set(seen)) == 20 and all(re.fullmatch(MADE, one) for one in seen)

    def test_a_traceback_and_what_the_host_refuses_name_their_request(self, expected_log):
        expected_log("announced failure x")
        host = Host(settings={"application": {"mount": "/app"}})
        headers = [("X-Request-Id", "front-3")]
        assert host.exchange("GET", "/app/error?token=x", headers=headers).status == 500
        assert re.search(r"error: GET /app/error: the application failed: answered with 500 \(request front-3\)\n"
                         r"  Traceback", host.log.read())
        assert host.exchange("GET", "/else", headers=headers).status == 404
        host.log.wait(r"warning: GET /else: 404: .* \(request front-3\)\n")

    def test_the_same_failure_again_is_a_line_that_names_its_request_and_the_exception(self, expected_log):
        expected_log("announced failure x", "announced failure x", "announced failure x", "announced failure y")
        host = Host()
        for number in range(5):
            assert host.exchange("GET", "/error?token=x", headers=[("X-Request-Id", "front-%d" % number)]).status == 500
        assert host.exchange("GET", "/error?token=y").status == 500
        host.log.wait("announced failure y")
        log = host.log.read()
        assert log.count("Traceback") == 4  # three times the one, and then the other
        assert re.findall(r"error: GET /error: the application failed: answered with 500; as before: .*announced failure "
                          r"x \((\d) times in \d+ s; its traceback was logged \d+ s ago, for GET /error\) "
                          r"\(request front-(\d)\)\n", log) == [("4", "3"), ("5", "4")]

    def test_the_status_names_what_is_being_served(self):
        host = Host()
        client = threading.Thread(target=host.exchange, args=("GET", "/sleep?ms=3000"),
                                  kwargs={"headers": [("X-Request-Id", "front-4")]})
        client.start()

        def names():
            asked = run("--status", "--format", "json", "-l", host.listen[0], folder=temporary_folder())
            return [thread["request_id"] for thread in json.loads(asked.stdout)["processes"][0]["threads"]]
        wait_until(lambda: "front-4" in names(), "the request in the status")
        client.join()
        assert set(names()) == {None}


ACCESS = (r"(?m)^\S+ \[%d\] info: (?P<line>\S+ \S+) (?P<status>\d+|-) (?P<bytes>\d+) bytes (?P<ms>\d+\.\d{3}) ms "
          r"waited (?P<wait>\d+\.\d{3}) ms \(request (?P<id>\S+)\)$")


class TestAccess:
    """[log] access"""
    def lines(self, host, number):
        def found():
            every = [match.groupdict() for match in re.finditer(ACCESS % host.pid, host.log.read())]
            every = [line for line in every if line["line"] != "GET /ready"]
            return every if len(every) >= number else None
        return wait_until(found, "%d lines of the access log:\n%s" % (number, host.log.read()))

    def start(self, settings=None, **log):
        return Host(settings={"log": {"access": "yes", "level": "error", **log}, **(settings or {})})

    def test_each_request_has_a_line_whatever_the_level_and_without_its_query(self):
        host = self.start()
        assert host.exchange("GET", "/ready").text == "ready"
        response = host.exchange("GET", "/environ?token=hush", headers=[("X-Request-Id", "front-5")])
        assert host.exchange("HEAD", "/environ?token=hush").body == b""
        get, head = self.lines(host, 2)
        assert (get["line"], get["status"], get["bytes"]) == ("GET /environ", "200", str(len(response.body)))
        assert get["id"] == "front-5" and float(get["ms"]) >= float(get["wait"])
        assert (head["line"], head["status"], head["bytes"]) == ("HEAD /environ", "200", "0")
        assert "hush" not in host.log.read()

    def test_with_its_query_if_that_is_wanted(self):
        host = self.start(access_query="yes")
        host.exchange("GET", "/environ?a=1&b=2")
        assert self.lines(host, 1)[0]["line"] == "GET /environ?a=1&b=2"

    def test_without_the_setting_there_is_no_line(self, shared_host):
        mark = shared_host.log.mark()
        shared_host.exchange("GET", "/environ")
        shared_host.exchange("GET", "/errors?text=x")
        shared_host.log.wait("GET /errors: ", mark)
        assert "GET /environ" not in shared_host.log.read(mark)

    def test_requests_that_the_host_answers_itself_have_one(self):
        host = self.start({"limits": {"request_body": "1K"}, "application": {"mount": "/app"}, "status": {"ping": "/ping"}})
        wait_until(lambda: host.exchange("GET", "/ping").status == 200, "an application that is loaded")
        assert host.exchange("GET", "/else").status == 404
        assert host.exchange("POST", "/app/echo", b"x" * 2000).status == 413
        assert host.exchange("GET", "/app/echo", extra={"CONTENT_LENGTH": "many"}).status == 400
        assert [(line["line"], line["status"]) for line in self.lines(host, 4)[-4:]] == [
            ("GET /ping", "200"), ("GET /else", "404"), ("POST /app/echo", "413"), ("GET /app/echo", "400")]

    def test_a_request_with_control_characters_has_one_line_wherever_it_is_named(self, expected_log):
        """The front decides what arrives: FastCGI carries any byte."""
        expected_log("announced failure", "forged")
        host = self.start({"limits": {"request_body": "1K"}, "log": {"access": "yes", "access_query": "yes"}})
        forged = "\n2026-11-21T09:30:00.123+00:00 [1] error: forged\r\t\x1b[2J"
        named = r"\\x0a2026-11-21T09:30:00\.123\+00:00 \[1\] error: forged\\x0d\\x09\\x1b\[2J"

        def ask(path, **extra):
            with fastcgi.Connection(host.address) as connection:
                connection.send(fastcgi.request_bytes("GET", path, extra={**extra}))
                return connection.read_raw()
        assert host.exchange("GET", "/ready").text == "ready"
        mark = host.log.mark()
        ask("/ready", REQUEST_URI="/ready" + forged + "?q" + forged)
        ask("/ready", REQUEST_METHOD="GET" + forged)
        ask("/errors", REQUEST_URI="/errors" + forged, QUERY_STRING="text=x")
        ask("/error", REQUEST_URI="/error" + forged)
        ask("/ready", REQUEST_URI="/large" + forged, CONTENT_LENGTH="2000")
        ask("/ready", REQUEST_URI="/number" + forged, CONTENT_LENGTH="many")
        for line in ("info: GET /ready%s\\?q%s 200 " % (named, named), "info: GET%s /ready 200 " % named,
                     "error: GET /errors%s: x" % named, "error: GET /error%s: the application failed" % named,
                     "info: GET /large%s 413 " % named, "info: GET /number%s 400 " % named):
            host.log.wait(r"(?m)^\S+ \[\d+\] " + line, mark)
        assert not re.search(r"(?m)^\s*2026-11-21T09", host.log.read(mark))
        assert len(host.log.read(mark).splitlines()) == host.log.read(mark).count("\n")

    def test_so_have_those_for_which_there_was_no_time(self, folder):
        write_file(folder / "slow.py", SLOW)
        host = Host("slow:application", {"log": {"access": "yes"}, "python": {"path": [APPS, str(folder)]},
                                         "server": {"threads": 1},
                                         "limits": {"request_time": "700ms", "queue_time": "100ms"}})
        busy = threading.Thread(target=host.exchange, args=("GET", "/slow"))
        busy.start()
        wait_until(lambda: host.exchange("GET", "/environ").status == 503, "a thread that is busy")
        busy.join()
        lines = {line["line"]: line for line in self.lines(host, 2)}
        assert (lines["GET /environ"]["status"], lines["GET /slow"]["status"]) == ("503", "504")
        assert float(lines["GET /environ"]["wait"]) > 0


class TestErrors:
    def test_an_error_that_the_application_answers_itself_is_one_warning(self, shared_host):
        mark = shared_host.log.mark()
        headers = [("X-Request-Id", "front-6")]
        assert shared_host.exchange("GET", "/status?code=503&token=hush", headers=headers).status == 503
        assert shared_host.exchange("GET", "/status?code=404", headers=headers).status == 404
        shared_host.exchange("GET", "/errors?text=x")
        shared_host.log.wait("GET /errors: ", mark)
        text = shared_host.log.read(mark)
        assert re.findall(r"warning: (.*)", text) == ["GET /status: 503: returned by the application (request front-6)"]
        assert "hush" not in text

    def test_one_that_the_host_answers_for_it_is_not_told_twice(self, expected_log):
        expected_log("announced failure x")
        host = Host()
        assert host.exchange("GET", "/error?token=x").status == 500
        assert host.exchange("GET", "/ready").status == 200
        assert len(re.findall("GET /error", host.log.read())) == 1


class TestThreads:
    def test_a_line_names_its_own_request_even_if_that_ends_meanwhile(self, tmp_path):
        script = write_file(str(tmp_path / "app.py"), """
import threading

def application(environ, start_response):
    path, errors, begun = environ["PATH_INFO"], environ["wsgi.errors"], threading.Event()
    def log_on():
        try:
            for _ in range(2000):
                errors.write("line of %s\\n" % path)
                begun.set()
        except ValueError:
            pass  # the request has ended
    threading.Thread(target=log_on).start()
    begun.wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ready"]
""")
        host = Host(app=None, settings={"application": {"script": script}, "log": {"destination": "lines.log"}})
        with fastcgi.Connection(host.address) as connection:  # so that the next request has the same memory
            for number in range(300):
                assert connection.exchange("GET", "/%d" % number).text == "ready"
        log = LogFile(os.path.join(host.folder, "lines.log"))
        log.wait(r"line of /299 ")
        lines = re.findall(r"error: GET (\S+): line of (\S+) \(request", log.read())
        assert len(lines) >= 300 and [line for line in lines if line[0] != line[1]] == []


class TestBounds:
    @staticmethod
    def dropped(host):
        return json.loads(run("--status", "--format", "json", "-l", host.listen[0]).stdout)["log"]["dropped"]

    @pytest.mark.parametrize("lines, size", [(40, 1000000), (200000, 10)], ids=["long lines", "many lines"])
    def test_what_one_request_can_log_is_bounded_and_the_rest_counted(self, lines, size):
        host = Host(settings={"log": {"destination": "flood.log"}})
        log = LogFile(os.path.join(host.folder, "flood.log"))
        host.exchange("GET", "/flood?lines=%d&size=%d" % (lines, size))
        end = log.wait(r"warning: GET /flood: (\d+) bytes that it logged beyond 16 MiB were dropped \(request")
        text = log.read()
        assert text.count("it has logged 16 MiB, as much as a request may") == 1
        written = len(re.findall(r"error: GET /flood: x+", text))
        assert len(text) < (16 << 20) + 10000
        assert 0 < self.dropped(host) and lines - 1 <= written + self.dropped(host) <= lines + 1
        assert int(end[1]) >= (lines - written) * size
        mark = log.mark()
        host.exchange("GET", "/flood?lines=1&size=9")  # the next request may log again
        log.wait("error: GET /flood: x{9} ", mark)

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    @pytest.mark.parametrize("lines, size", [(40, 1000000), (200000, 10)], ids=["long lines", "many lines"])
    def test_what_one_request_can_print_has_the_same_bound(self, lines, size, stream):
        host = Host(settings={"log": {"destination": "flood.log"}})
        log = LogFile(os.path.join(host.folder, "flood.log"))
        assert host.exchange("GET", "/flood?lines=%d&size=%d&to=%s" % (lines, size, stream)).text == "flooded"
        end = log.wait(r"warning: GET /flood: (\d+) bytes that it logged beyond 16 MiB were dropped \(request")
        assert int(end[1]) > lines * size - (16 << 20)
        host.exchange("GET", "/flood?lines=1&size=9&to=" + stream)  # the next request may print again
        log.wait(r"info: x{9}$")
        text = log.read()
        assert text.count("it has logged 16 MiB, as much as a request may") == 1
        assert (8 << 20 if size > 1000 else 1 << 20) < text.count("x") <= (16 << 20)
        assert len(text) < (16 << 20) + 100000
        assert self.dropped(host) > 0

    def test_messages_that_peers_cause_at_will_are_gathered_and_none_is_lost(self):
        host, count = Host(), 1000
        for _ in range(count):
            with fastcgi.Connection(host.address) as connection:
                connection.send(b"nonsense")
                assert connection.is_closed_by_peer()

        def told():
            text = host.log.read()
            return (len(re.findall("connection closed: neither FastCGI nor SCGI", text)),
                    sum(map(int, re.findall(r"connection-closed: (\d+) more like it came within a second", text))))
        wait_until(lambda: sum(told()) == count, "all to be told of")
        written, gathered = told()
        assert written >= 100 and gathered > 0
