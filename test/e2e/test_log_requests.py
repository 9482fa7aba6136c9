"""What the log says of requests: which one a line belongs to."""
import json
import re
import threading

import pytest

from host import Host, run, temporary_folder
from process import wait_until

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
    return host.exchange("GET", "/environ", headers=headers).json()["fcgihost.request_id"]


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
