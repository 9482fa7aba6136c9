"""[log] format = json: each line is an object, whatever bytes arrive."""
import json
import re

import pytest

import fastcgi
from host import APPS, Host, LogFile, run, write_file
from process import wait_until
from test_log import PRINTING, needs_mount, start_with_syslog

NAMES = {"timestamp", "severity", "message", "pid", "thread", "request_id", "event_id"}
ACCESS = {"http.request.method", "url.path", "http.response.status_code", "http.response.body.size", "duration_ms",
          "wait_ms"}
HOSTILE = bytes(range(1, 256)).decode("latin-1")


def objects(text):
    """Read by Python's json, and by nothing kinder: no NaN, no line that is no object."""
    def refuse(constant):
        raise AssertionError(constant)
    found = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    assert all(NAMES <= set(one) for one in found)
    return found


@pytest.fixture(params=["stderr", "file"])
def make(request, tmp_path):
    """make(app, settings) -> a host and what its log has."""
    def start(app="printing:application", **log):
        write_file(tmp_path / "printing.py", PRINTING)
        destination = {"destination": str(tmp_path / "log")} if request.param == "file" else {}
        host = Host(app, {"python": {"path": [APPS, str(tmp_path)]}, "log": {"format": "json", **destination, **log}})
        file = LogFile(tmp_path / "log") if destination else host.log
        return host, lambda: objects(file.read())
    return start


def wait_for(read, test):
    return wait_until(lambda: [one for one in read() if test(one)], "an object in the log: %r" % read())


def event(word):
    return lambda one: one["event_id"] == word


class TestObjects:
    def test_what_the_host_and_the_application_say_from_start_to_end(self, make):
        host, read = make()
        for path in ("/print", "/thread", "/child", "/fork"):
            assert host.exchange("GET", path).text == "done"
        for word in ("printed by the application", "half a line, and its end", "output of a child", "errors of a child",
                     "explicit errors", "RuntimeError: announced failure of a thread"):
            one = wait_for(read, lambda one: one["message"] == word)[0]
            assert (one["event_id"], one["pid"], one["severity"]) == ("application-output", host.pid, "info")
        assert wait_for(read, lambda one: one["message"] == "GET /fork: from a forked child")[0]["pid"] != host.pid
        assert host.stop() == []
        words = [one["event_id"] for one in read()]
        assert {"starting", "loaded", "serving", "stopping", "stopped"} <= set(words)

    def test_a_traceback_is_inside_its_object(self, make, expected_log):
        host, read = make("wsgi_app:application")
        if read() and host.log.read():
            expected_log("announced failure x")
        assert host.exchange("GET", "/error?token=x", headers=[("X-Request-Id", "front-1")]).status == 500
        one = wait_for(read, event("application-failed"))[0]
        assert one["message"].splitlines()[:2] == ["GET /error: the application failed: answered with 500",
                                                   "Traceback (most recent call last):"]
        assert (one["severity"], one["request_id"], one["pid"]) == ("error", "front-1", host.pid)
        assert re.fullmatch(r"fcgihost-\d", one["thread"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", one["timestamp"])

    def test_the_same_failure_again_is_an_object_of_the_same_kind(self, make, expected_log):
        host, read = make("wsgi_app:application")
        if read() and host.log.read():
            expected_log(*["announced failure x"] * 3)
        for _ in range(4):
            assert host.exchange("GET", "/error?token=x").status == 500
        objects = wait_for(read, lambda one: "as before" in one["message"]) and [
            one for one in read() if one["event_id"] == "application-failed"]
        assert len(objects) == 4 and len({one["request_id"] for one in objects}) == 4
        assert ["Traceback" in one["message"] for one in objects] == [True, True, True, False]
        assert "announced failure x" in objects[3]["message"] and "\n" not in objects[3]["message"]

    @pytest.mark.parametrize("with_query", [False, True])
    def test_a_line_for_each_request_with_any_bytes(self, make, with_query):
        host, read = make("wsgi_app:application", access="yes", access_query="yes" if with_query else "no")
        hostile = "/environ/" + HOSTILE.replace("?", "").replace("#", "")
        host.exchange("GET", "/environ", extra={"REQUEST_URI": hostile + "?q=" + HOSTILE, "HTTP_X_REQUEST_ID": HOSTILE})
        one = wait_for(read, lambda one: one.get("url.path", "").startswith("/environ/"))[0]
        assert ACCESS <= set(one) and one["http.request.method"] == "GET"
        assert (one["http.response.status_code"], one["event_id"]) == (200, "access")
        assert one["duration_ms"] >= one["wait_ms"] >= 0 and one["http.response.body.size"] > 0
        assert one["url.path"].count("\\x") >= 1 and "\x1b" in one["url.path"]
        assert ("url.query" in one) == with_query
        assert not with_query or one["url.query"].startswith("q=\x01\x02")

    def test_any_bytes_of_the_application(self, make, tmp_path):
        write_file(tmp_path / "bytes.py", '''
import os
def application(environ, start_response):
    os.write(2, bytes(range(256)).replace(b"\\n", b"") + b" end\\n")
    environ["wsgi.errors"].write("".join(map(chr, range(0x800))) + "\\ud800\\U0001f40d errors\\n")
    start_response("200 OK", [])
    return [b"done"]
''')
        host, read = make("bytes:application")
        assert host.exchange("GET", "/x").text == "done"
        printed = wait_for(read, lambda one: one["message"].endswith(" end"))[0]["message"]
        assert "\x00\x01" in printed and "\\x80\\x81" in printed
        assert "\u07ff\\ud800\U0001f40d errors" in wait_for(read, event("application-errors"))[0]["message"]


class TestLogging:
    """fcgihost.LogHandler"""
    def test_records_keep_level_thread_and_request(self, make, tmp_path):
        write_file(tmp_path / "logs.py", '''
import logging, threading
import fcgihost
logging.basicConfig(handlers=[fcgihost.LogHandler()], level=logging.INFO)
def application(environ, start_response):
    logging.getLogger("shop").warning("in the request \\x1b[2J")
    thread = threading.Thread(target=logging.info, args=("beside it",), name="loader")
    thread.start()
    thread.join()
    start_response("200 OK", [])
    return [b"done"]
''')
        host, read = make("logs:application")
        assert host.exchange("GET", "/x", headers=[("X-Request-Id", "front-7")]).text == "done"
        within, beside = [one for one in wait_for(read, event("application-log")) if one["request_id"] != "-"][-2:]
        assert (within["message"], within["severity"]) == ("shop: in the request \x1b[2J", "warning")
        assert within["request_id"] == "front-7" and within["thread"].startswith("fcgihost-")
        assert (beside["message"], beside["severity"]) == ("root: beside it", "info")
        assert (beside["request_id"], beside["thread"]) == (None, "loader")


class TestPlaces:
    def test_why_it_can_not_start_is_an_object_too(self, folder):
        write_file(folder / "x.ini", "[server]\nlisten = unix:/none/x\n[application]\nwsgi = hello:application\n"
                   "[log]\nformat = json\n")
        done = run("-c", str(folder / "x.ini"))
        one = objects(done.stderr.decode())[-1]
        assert (done.returncode, one["event_id"]) == (1, "start-failed") and "/none/x" in one["message"]

    @needs_mount
    def test_syslog_gets_an_object_in_each_message(self, folder):
        write_file(folder / "printing.py", PRINTING)
        host, syslog = start_with_syslog(folder, {"format": "json", "level": "info"})
        assert fastcgi.exchange(host.address, "GET", "/print").text == "done"
        syslog.wait("printed by the application")
        for line in syslog.text.splitlines():
            prefix, _, rest = line.partition("]: ")
            assert prefix.startswith("<") and NAMES <= set(json.loads(rest))
