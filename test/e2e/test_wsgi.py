"""PEP 3333 as the host keeps it, over FastCGI and over SCGI, without a web server between."""
import hashlib
import os
import random
import time

import pytest

import fastcgi
import message
import scgi
from apps.bad_starts import BAD_STARTS
from conftest import end_shared
from host import Host
from process import wait_until


@pytest.fixture(scope="module")
def shared_host():
    host = Host(settings={"server": {"threads": 2}}, shared=True)
    yield host
    end_shared(host)


@pytest.fixture(params=[fastcgi, scgi], ids=lambda module: module.NAME)
def ask(request, shared_host):
    """ask(method, path, body, headers, extra): one request, over each protocol."""
    def ask(method="GET", path="/", *args, **kwargs):
        return request.param.exchange(shared_host.address, method, path, *args, **kwargs)
    ask.module, ask.host = request.param, shared_host
    return ask


def fresh_connection_works(ask):
    assert ask("GET", "/ready").text == "ready"


class TestEnviron:
    def test_has_what_wsgi_wants(self, ask):
        found = ask("GET", "/environ?a=1").json
        assert found["wsgi.version"] == [1, 0]
        assert found["wsgi.url_scheme"] == "http"
        assert found["wsgi.multithread"] is True and found["wsgi.multiprocess"] is False
        assert found["wsgi.run_once"] is False and found["wsgi.input_terminated"] is True
        assert {"wsgi.input", "wsgi.errors", "wsgi.file_wrapper"} <= set(found)
        assert found["REQUEST_METHOD"] == "GET" and found["QUERY_STRING"] == "a=1"

    def test_is_a_dictionary_of_its_own_for_each_request(self, ask):
        ask("GET", "/environ", headers=[("X-First", "1")])
        assert "HTTP_X_FIRST" not in ask("GET", "/environ").json

    def test_has_the_headers_of_its_own_request_whatever_the_others_sent(self, ask):
        chance = random.Random(1)
        for _ in range(60):
            sent = {"HTTP_Y_%d" % chance.randrange(400): "v" * chance.choice((0, 1, 511, 512, 513, 900))
                    + str(chance.randrange(3)) for _ in range(chance.randrange(25))}
            found = ask("GET", "/environ", extra=sent).json
            assert {name: found[name] for name in found if name.startswith("HTTP_Y_")} == sent

    @pytest.mark.parametrize("name", ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH",
                                      "HTTP_TRANSFER_ENCODING",
                                      "HTTP_PROXY"])
    def test_drops(self, ask, name):
        assert name not in ask("GET", "/environ", extra={name: "1"}).json

    @pytest.mark.parametrize("extra, scheme", [
        ({"HTTPS": "on"}, "https"), ({"HTTPS": "1"}, "https"), ({"HTTPS": "off"}, "http"),
        ({"HTTPS": ""}, "http"),
        ({"REQUEST_SCHEME": "https"}, "https"), ({"REQUEST_SCHEME": None}, "http"),
        ({"REQUEST_SCHEME": None, "HTTPS": "on"}, "https")])
    def test_url_scheme_follows_the_web_server(self, ask, extra, scheme):
        assert ask("GET", "/environ", extra=extra).json["wsgi.url_scheme"] == scheme

    def test_query_string_is_always_there(self, ask):
        assert ask("GET", "/environ", extra={"QUERY_STRING": None}).json["QUERY_STRING"] == ""

    @pytest.mark.parametrize("name, expected", [
        ("example.org:8080", "example.org"), ("[::1]:8080", "[::1]"), ("[::1]", "[::1]"),
        ("example.org", "example.org")])
    def test_server_name_loses_its_port(self, ask, name, expected):
        assert ask("GET", "/environ", extra={"SERVER_NAME": name}).json["SERVER_NAME"] == expected

    @pytest.mark.parametrize("extra", [{"SERVER_NAME": ""}, {"SERVER_NAME": None},
                                       {"SERVER_NAME": "", "HTTP_HOST": ""},
                                       {"SERVER_NAME": None, "HTTP_HOST": None}])
    def test_server_name_is_never_empty(self, ask, extra):
        assert ask("GET", "/environ", extra=extra).json["SERVER_NAME"]

    def test_server_port_and_protocol_are_always_there(self, ask):
        found = ask("GET", "/environ", extra={"SERVER_PORT": None, "SERVER_PROTOCOL": None}).json
        assert found["SERVER_PORT"].isdigit() and found["SERVER_PROTOCOL"]

    def test_an_empty_host_header_counts_as_absent(self, ask):
        assert "HTTP_HOST" not in ask("GET", "/environ", extra={"HTTP_HOST": ""}).json

    def test_values_are_bytes_read_as_latin_1(self, ask):
        found = ask("GET", "/x?show-environ",
                    extra={"PATH_INFO": "/caf\u00e9".encode("utf-8").decode("latin-1"),
                                                     "HTTP_X_RAW": "\xff\x80"}).json
        assert found["PATH_INFO"] == "/caf\xc3\xa9" and found["HTTP_X_RAW"] == "\xff\x80"

    def test_absent_script_name_and_path_info(self, ask):
        found = ask("GET", "/x?show-environ", extra={"SCRIPT_NAME": None, "PATH_INFO": None,
                                                     "REQUEST_URI": "/x%20y?show-environ",
                                                     "DOCUMENT_URI": None}).json
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("", "/x y")

    def test_a_script_name_of_the_front_is_kept(self, ask):
        found = ask("GET", "/x?show-environ", script_name="/app").json
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/app", "/x")

    def test_without_path_info_the_whole_path_is_path_info(self, ask):
        found = ask("GET", "/x?show-environ", extra={
            "SCRIPT_NAME": "/app/x", "PATH_INFO": None, "REQUEST_URI": "/app/x?show-environ",
            "DOCUMENT_URI": "/app/x"}).json
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("", "/app/x")

    @pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 8191, 8192, 8193, 30000])
    def test_a_value_of_any_length(self, ask, size):
        found = ask("GET", "/environ", extra={"HTTP_X_LONG": "v" * size}).json
        assert found["HTTP_X_LONG"] == "v" * size

    def test_many_parameters(self, ask):
        extra = {"HTTP_X_%d" % number: str(number) for number in range(1000)}
        found = ask("GET", "/environ", extra=extra).json
        assert all(found[name] == value for name, value in extra.items())

    def test_parameters_named_like_wsgi_keys_do_not_replace_them(self, ask):
        found = ask("GET", "/environ", extra={"wsgi.input": "forged", "wsgi.url_scheme": "ftp",
                                              "wsgi.version": "9", "fcgihost.data": "forged",
                                              "fcgihost_data": "stays"}).json
        assert found["wsgi.url_scheme"] == "http" and found["wsgi.version"] == [1, 0]
        assert found["wsgi.input"] != "forged"
        assert "fcgihost.data" not in found and found["fcgihost_data"] == "stays"


class TestDuplicateParameters:
    """nginx sends a parameter for each header line, and an overridden one twice."""

    def send(self, host, *more):
        parameters = [pair for pair in message.parameters("GET", "/environ")
                      if pair[0] != "HTTP_HOST"]
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.head(parameters + list(more)) + fastcgi.record(fastcgi.STDIN))
            return connection.read_response().json

    def test_cookies_are_joined_with_a_semicolon(self, shared_host):
        found = self.send(shared_host, ("HTTP_COOKIE", "a=1"), ("HTTP_COOKIE", "b=2"),
                          ("HTTP_COOKIE", "c=3"))
        assert found["HTTP_COOKIE"] == "a=1; b=2; c=3"

    def test_other_headers_are_joined_with_a_comma(self, shared_host):
        found = self.send(shared_host, ("HTTP_X_A", "1"), ("HTTP_X_B", "x"), ("HTTP_X_A", "2"))
        assert (found["HTTP_X_A"], found["HTTP_X_B"]) == ("1, 2", "x")

    def test_of_the_host_header_the_last_wins(self, shared_host):
        assert self.send(shared_host, ("HTTP_HOST", "first"),
                         ("HTTP_HOST", "second"))["HTTP_HOST"] == "second"

    def test_of_everything_else_the_last_wins(self, shared_host):
        found = self.send(shared_host, ("SCRIPT_NAME", "/app"), ("X_VARIABLE", "1"),
                          ("X_VARIABLE", "2"))
        assert (found["SCRIPT_NAME"], found["X_VARIABLE"]) == ("/app", "2")


class TestInput:
    BODY = b"first line\nsecond\n\nfourth, without an end"

    def read(self, ask, calls, body=None):
        return ask("POST", "/read-by?calls=" + calls, self.BODY if body is None else body).json

    def test_read_takes_everything(self, ask):
        assert self.read(ask, "read,read,read:5") == [self.BODY.decode(), "", ""]

    def test_read_with_sizes(self, ask):
        assert self.read(ask, "read:0,read:5,read:6,read:1000,read:1") == \
            ["", "first", " line\n", "second\n\nfourth, without an end", ""]

    def test_read_with_a_negative_size_takes_everything(self, ask):
        assert self.read(ask, "read:-1,read:-1") == [self.BODY.decode(), ""]

    def test_readline(self, ask):
        assert self.read(ask, "readline,readline,readline,readline,readline,readline") == \
            ["first line\n", "second\n", "\n", "fourth, without an end", "", ""]

    def test_readline_with_sizes(self, ask):
        calls = "readline:5,readline:100,readline:0,readline:7,readline:-1,readline:3,readline"
        assert self.read(ask, calls) == \
            ["first", " line\n", "", "second\n", "\n", "fou", "rth, without an end"]

    def test_readlines(self, ask):
        assert self.read(ask, "readlines,readlines") == \
            [["first line\n", "second\n", "\n", "fourth, without an end"], []]

    def test_readlines_with_a_hint(self, ask):
        lines, rest = self.read(ask, "readlines:12,readlines")
        assert lines == ["first line\n", "second\n"] and rest == ["\n", "fourth, without an end"]

    def test_iteration(self, ask):
        assert self.read(ask, "readline,iterate,iterate") == \
            ["first line\n", ["second\n", "\n", "fourth, without an end"], []]

    def test_mixed(self, ask):
        assert self.read(ask, "read:3,readline,read:6,iterate,read") == \
            ["fir", "st line\n", "second", ["\n", "\n", "fourth, without an end"], ""]

    def test_no_body(self, ask):
        response = ask("GET", "/read-by?calls=read,read:1,readline,readlines,iterate")
        assert response.json == ["", "", "", [], []]

    @pytest.mark.parametrize("size", [8191, 8192, 8193, 65535, 65536, 65537, 1000000])
    def test_long_lines(self, ask, size):
        line = b"z" * size + b"\n"
        results = self.read(ask, "readline,readline:%d,read" % (size + 10), line * 2 + b"end")
        assert results == [line.decode(), line.decode(), "end"]

    @pytest.mark.parametrize("size", [1, 8191, 8192, 8193, 16384, 65535, 65536, 1048576 + 1])
    def test_a_body_of_any_size(self, ask, size):
        body = os.urandom(size)
        assert ask("POST", "/echo", body).json["sha256"] == hashlib.sha256(body).hexdigest()
        assert ask("POST", "/echo-body", body).body == body

    def test_nothing_beyond_content_length_is_read(self, ask):
        response = ask("POST", "/read-by?calls=read,read", b"12345EXTRA",
                       extra={"CONTENT_LENGTH": "5"})
        assert response.json == ["12345", ""]
        fresh_connection_works(ask)

    def test_a_kept_input_raises_when_it_is_used_later(self, ask):
        ask("POST", "/keep-input", b"the body of another request")
        names = ask("POST", "/use-input", b"of this one").json
        assert len(names) == 5 and not any(name.startswith("nothing") for name in names), names
        fresh_connection_works(ask)

    @pytest.mark.parametrize("body", [b"", BODY, BODY * 5000], ids=["empty", "short", "long"])
    @pytest.mark.parametrize("by", ["buffered", "buffered-lines", "text", "text-lines", "readinto", "read1"])
    def test_can_be_wrapped_as_files_are(self, ask, by, body):
        assert ask("POST", "/wrapped?by=" + by, body).body == body

    def test_what_wraps_it_may_be_collected(self, ask):
        rest = ask("POST", "/wrapped?by=collected", b"x" * 100000).body  # the wrapper took some of it
        assert rest and set(rest) == {ord("x")}
        assert ask("POST", "/wrapped?by=collected", b"").body == b""

    def test_what_wraps_it_raises_when_it_is_used_later(self, ask):
        ask("POST", "/wrapped?by=text", b"the body of another request")
        assert ask("POST", "/use-wrapped", b"of this one").json == ["True"] + ["ValueError"] * 6
        fresh_connection_works(ask)

    def test_kept_errors_do_not_crash(self, ask):
        ask("GET", "/keep-input")
        assert ask("GET", "/use-errors").text
        fresh_connection_works(ask)


class TestInputFastcgi:
    def test_a_body_without_a_content_length_ends_with_its_stream(self, shared_host):
        for length in (None, ""):
            response = fastcgi.exchange(shared_host.address, "POST", "/echo", b"x" * 100000,
                                        extra={"CONTENT_LENGTH": length}, chunk=1000, padding=7)
            assert response.json["size"] == 100000


class TestBadStart:
    TYPE = {"status-integer", "status-bytes", "status-none", "headers-tuple", "headers-none",
            "header-list",
            "header-string", "name-bytes", "value-bytes", "value-integer"}
    EITHER = {"header-of-three"}

    @pytest.mark.parametrize("kind", sorted(BAD_STARTS))
    def test_is_refused(self, ask, kind):
        wanted = {"TypeError", "ValueError"} if kind in self.EITHER else \
            {"TypeError"} if kind in self.TYPE else {"ValueError"}
        response = ask("GET", "/bad-header?kind=" + kind)
        assert response.body != b"accepted", response
        name, text = response.json
        assert name in wanted and text
        assert (response.status, response.get("X-Forged")) == (200, None)

    def test_a_second_start_is_a_runtime_error(self, ask):
        response = ask("GET", "/start-twice")
        assert (response.status, response.text) == (200, "RuntimeError")

    def test_write_of_a_string_is_a_type_error(self, ask):
        assert ask("GET", "/write-wrong").text == "TypeError"

    def test_write_and_start_response_of_an_earlier_request_raise(self, ask):
        ask("GET", "/keep-write")
        response = ask("GET", "/use-write")
        assert "nothing" not in response.json and response.get("X-Forged") is None


class TestResponse:
    def test_status_and_headers_arrive(self, ask):
        response = ask("GET", "/headers")
        assert response.all("Set-Cookie") == ["one=1; Path=/", "two=2; Path=/"]
        assert (response.get("X-Latin"), response.get("X-Empty")) == ("caf\xe9", "")
        response = ask("GET", "/status?code=418")
        assert (response.status, response.reason) == (418, "Chosen")

    def test_empty_strings_do_not_end_it(self, ask):
        assert ask("GET", "/empty-chunks").text == "ab"

    def test_an_empty_list_is_an_empty_body(self, ask):
        response = ask("GET", "/empty-list")
        assert (response.status, response.body) == (200, b"")
        assert response.get("Content-Type").startswith("text/plain")

    def test_write_comes_before_what_is_returned(self, ask):
        assert ask("GET", "/write").text == "written, written again, returned"

    def test_start_response_may_be_called_at_the_first_next(self, ask):
        response = ask("GET", "/late-start")
        assert (response.status, response.get("X-Late")) == (202, "yes")
        assert response.text == "started late"

    def test_exc_info_replaces_what_was_not_sent(self, ask):
        response = ask("GET", "/exc-info")
        assert (response.status, response.reason) == (503, "Second Thoughts")
        assert response.text == "second thoughts"
        assert response.get("X-Second") == "yes" and response.get("X-First") is None

    def test_exc_info_raises_the_same_exception_when_headers_were_sent(self, ask):
        response = ask("GET", "/exc-info-late")
        assert (response.status, response.text) == (200, "first, same")

    @pytest.mark.parametrize("code", ["204", "304"])
    def test_a_status_without_a_body(self, ask, code):
        response = ask("GET", "/status?code=" + code)
        assert (response.status, response.body) == (int(code), b"")

    def test_no_byte_beyond_content_length(self, ask):
        mark = ask.host.log.mark()
        assert ask("GET", "/excess").body == b"12345"
        assert ask("GET", "/excess?chunks=1").body == b"12345"
        ask.host.log.wait("(?i)content-length", mark)
        fresh_connection_works(ask)

    def test_one_object_gets_a_content_length(self, ask):
        assert ask("GET", "/no-length").get("Content-Length") in ("10", None)

    @pytest.mark.parametrize("size", [1, 8184, 8192, 65528, 65535, 65536, 1000003])
    def test_one_object_of_any_size(self, ask, size):
        body = ask("GET", "/big?size=%d" % size).body
        assert body == (bytes(range(256)) * (size // 256 + 1))[:size]

    @pytest.mark.parametrize("chunk", [256, 8192, 65536, 262144])
    def test_chunks_of_any_size(self, ask, chunk):
        body = ask("GET", "/download?size=1000003&chunk=%d" % chunk).body
        expected = b"".join((bytes(range(256)) * (chunk // 256))[:min(chunk, 1000003 - at)]
                            for at in range(0, 1000003, chunk))
        assert body == expected

    def test_a_file(self, ask, tmp_path):
        data = os.urandom(300001)
        (tmp_path / "file").write_bytes(data)
        assert ask("GET", "/file?path=%s" % (tmp_path / "file")).body == data
        assert ask("GET", "/file?closed=1").text == "True"
        assert ask("GET", "/file?seek=100000&path=%s" % (tmp_path / "file")).body == data[100000:]

    def test_a_file_that_is_no_file(self, ask):
        assert ask("GET", "/file-like").text == "from an object"


class TestShortResponse:
    def test_is_logged(self, ask):
        mark = ask.host.log.mark()
        response = ask("GET", "/partial")
        assert response.body == b"only this" and response.get("Content-Length") == "100"
        ask.host.log.wait("(?i)content-length", mark)
        fresh_connection_works(ask)

    def test_closes_a_kept_connection(self, shared_host):
        with fastcgi.Connection(shared_host.address) as connection:
            response = connection.exchange("GET", "/partial", keep=True)
            assert response.body == b"only this"
            assert connection.is_closed_by_peer()


class TestApplicationFails:
    def test_an_exception_is_logged_and_answered_500(self, ask, expected_log):
        expected_log("ValueError: announced failure one")
        response = ask("GET", "/error?token=one")
        assert response.status == 500 and response.get("Content-Type")
        assert "announced" not in response.text and "wsgi_app.py" not in response.text
        fresh_connection_works(ask)

    def test_an_exception_in_the_middle_of_the_body_closes_the_connection(self, ask, expected_log):
        expected_log("ValueError: announced failure two")
        with ask.module.Connection(ask.host.address) as connection:
            response = connection.exchange("GET", "/error-later?size=100000&token=two")
            assert response.status == 200 and response.body.startswith(b"x" * 100000)
            assert b"Internal" not in response.body and b"Traceback" not in response.body
            assert connection.is_closed_by_peer()
        fresh_connection_works(ask)

    @pytest.mark.parametrize("path, text", [
        ("/no-start", "start_response"), ("/no-start-empty", "start_response"),
        ("/return-none", "TypeError|None"),
        ("/return-text", "TypeError|str|bytes")])
    def test_a_broken_application_is_answered_500(self, ask, expected_log, path, text):
        mark = ask.host.log.mark()
        response = ask("GET", path)
        assert response.status == 500 and b"never called" not in response.body
        ask.host.log.wait(text, mark)
        if "Traceback" in ask.host.log.read(mark):
            expected_log(text)
        fresh_connection_works(ask)

    def test_system_exit_ends_the_request_alone(self, ask, expected_log):
        mark = ask.host.log.mark()
        assert ask("GET", "/system-exit").status == 500
        ask.host.log.wait("announced exit|SystemExit", mark)
        if "Traceback" in ask.host.log.read(mark):
            expected_log("announced exit")
        fresh_connection_works(ask)

    def test_show_errors_puts_the_traceback_into_the_page(self, expected_log):
        expected_log("announced failure three")
        host = Host(settings={"log": {"show_errors": "yes"}})
        response = host.exchange("GET", "/error?token=three")
        assert response.status == 500
        assert "ValueError" in response.text and "announced failure three" in response.text


class TestClose:
    def closed(self, ask):
        return int(ask("GET", "/closed").text)

    @pytest.mark.parametrize("path", ["/close?how=normal", "/close-unstarted"])
    def test_is_called_once(self, ask, path):
        before = self.closed(ask)
        ask("GET", path)
        assert self.closed(ask) == before + 1

    def test_is_called_after_an_error_in_iteration(self, ask, expected_log):
        expected_log("announced failure in iteration")
        before = self.closed(ask)
        ask("GET", "/close?how=error")
        assert self.closed(ask) == before + 1

    def test_is_called_when_the_client_has_gone(self, ask):
        before = self.closed(ask)
        with ask.module.Connection(ask.host.address) as connection:
            connection.send(ask.module.request_bytes("GET", "/close?how=endless"))
            assert len(connection.receive_exactly(1000)) == 1000
        wait_until(lambda: self.closed(ask) == before + 1, "close() after the client has gone")

    def test_that_raises_is_logged_and_the_response_is_whole(self, ask, expected_log):
        expected_log("announced failure in close")
        response = ask("GET", "/close-error")
        assert (response.status, response.body) == (200, b"whole")
        fresh_connection_works(ask)


class TestHead:
    def test_the_headers_arrive(self, ask):
        response = ask("HEAD", "/head")
        assert response.status == 200 and response.get("Content-Length") in ("22", None)
        assert response.body in (b"", b"a body of 22 bytes, ok")
        fresh_connection_works(ask)


class TestErrors:
    def test_text_goes_to_the_log(self, ask):
        mark = ask.host.log.mark()
        assert ask("GET", "/errors?text=marked").text == "logged"
        ask.host.log.wait("several pieces of marked", mark)
        assert "marked" in ask.host.log.read(mark).replace("several pieces of marked", "")

    def test_print_works_anywhere(self, ask):
        mark = ask.host.log.mark()
        assert ask("GET", "/print-errors?text=marked").text == "printed"
        ask.host.log.wait("printed marked caf", mark)
        ask.host.log.wait("to stderr marked", mark)

    def test_front_sends_it_as_fcgi_stderr(self):
        host = Host(settings={"log": {"front": "yes"}})
        response = fastcgi.exchange(host.address, "GET", "/errors?text=marked")
        assert b"several pieces of marked" in response.stderr
        host.log.wait("several pieces of marked")
        assert scgi.exchange(host.address, "GET", "/errors?text=marked").text == "logged"

    def test_without_front_nothing_is_sent_as_fcgi_stderr(self, shared_host):
        assert fastcgi.exchange(shared_host.address, "GET", "/errors?text=marked").stderr == b""


class TestThreads:
    def test_a_thread_keeps_its_threading_local(self, ask):
        seen = {}
        for _ in range(40):
            found = ask("GET", "/threads").json
            assert found["served"] > seen.get(found["thread"], 0)
            seen[found["thread"]] = found["served"]
        assert len(seen) <= 2, "more threads than threads = 2"

    @pytest.mark.parametrize("module", [fastcgi, scgi], ids=lambda module: module.NAME)
    @pytest.mark.parametrize("is_leaving", [False, True])
    @pytest.mark.parametrize("stream", ["no", "yes"])
    def test_several_may_use_one_request(self, module, is_leaving, stream):
        """What a thread sanitizer finds of it, is found here."""
        host = Host(settings={"log": {"front": "yes"}, "server": {"threads": 2}, "application": {"stream": stream}})
        for _ in range(5):
            with module.Connection(host.address) as connection:
                # A peer that leaves takes nothing before: one thread waits to send, one for the body.
                request = module.request_bytes("POST", "/threads-together?size=%d" % (
                    50000 if is_leaving else 1), b"x" * 300000)
                for at in range(0, len(request), 20000):
                    connection.send(request[at:at + 20000])
                    if is_leaving and at > 150000:
                        time.sleep(0.1)
                        break
                else:
                    text = connection.read_response().text
                    assert text == "written " * 200 + "read 300000"
        assert module.exchange(host.address, "GET", "/ready").text == "ready"

    @pytest.mark.parametrize("module", [fastcgi, scgi], ids=lambda module: module.NAME)
    def test_one_may_read_on_while_the_application_returns(self, module):
        """What a thread sanitizer finds of it, is found here."""
        host = Host(settings={"limits": {"request_time": "1h"}, "application": {"stream": "yes"}})
        for _ in range(20):
            with module.Connection(host.address) as connection:
                request = module.request_bytes("POST", "/read-on", b"x" * 30000)
                connection.send(request[:20000])  # so it waits for the peer
                connection.receive_all()
        assert module.exchange(host.address, "GET", "/ready").text == "ready"

    def test_one_thread_is_not_multithread(self):
        host = Host(settings={"server": {"threads": 1}})
        assert host.exchange("GET", "/threads").json["multithread"] is False


class TestLeaks:
    """Python's blocks are counted: what one request leaves behind, every round of them leaves."""

    KINDS = {
        "get": ("GET", "/ready", b""), "environ": ("GET", "/environ?a=1", b""),
        "post": ("POST", "/echo", b"x" * 3000), "large-post": ("POST", "/echo", b"x" * 100000),
        "unread-post": ("POST", "/ignore", b"x" * 3000),
        "part-read": ("POST", "/read-some", b"x" * 3000),
        "lines": ("POST", "/read-by?calls=readline:3,readlines:5,iterate", b"a line\n" * 100),
        "generator": ("GET", "/download?size=100000&chunk=8192", b""),
        "write": ("GET", "/write", b""),
        "large-object": ("GET", "/big?size=100000", b""), "exc-info": ("GET", "/exc-info", b""),
        "exc-info-late": ("GET", "/exc-info-late", b""),
        "start-twice": ("GET", "/start-twice", b""),
        "bad-status": ("GET", "/bad-header?kind=status-newline", b""),
        "bad-name": ("GET", "/bad-header?kind=name-bytes", b""),
        "bad-value": ("GET", "/bad-header?kind=value-nul", b""),
        "partial": ("GET", "/partial", b""),
        "excess": ("GET", "/excess?chunks=1", b""), "close": ("GET", "/close", b""),
        "file-like": ("GET", "/file-like", b""), "errors": ("GET", "/errors", b""),
        "threads": ("GET", "/threads", b""), "keep-input": ("POST", "/keep-input", b"kept"),
        "no-start": ("GET", "/no-start", b""), "return-text": ("GET", "/return-text", b""),
        "error": ("GET", "/error", b""), "error-later": ("GET", "/error-later", b""),
    }

    def check(self, do_a_request, count):
        numbers = []
        for _ in range(8):  # what Python keeps for reuse grows during the first four or five
            for _ in range(100):
                do_a_request()
            numbers.append(count())
        growths = [after - before for before, after in zip(numbers, numbers[1:])]
        assert min(growths) < 50, "100 requests leave these numbers of blocks: %r" % growths

    @pytest.mark.parametrize("kind", sorted(KINDS))
    def test_requests_leave_nothing_behind(self, ask, kind, expected_log):
        mark = ask.host.log.mark()
        method, path, body = self.KINDS[kind]
        self.check(lambda: ask(method, path, body), lambda: int(ask("GET", "/blocks").text))
        if "Traceback" in ask.host.log.read(mark):
            expected_log(".")

    @pytest.mark.parametrize("cut", ["before-the-body", "in-the-body", "in-the-answer"])
    def test_peers_that_leave_leave_nothing_behind(self, ask, cut):
        path, size = ("/download", 0) if cut == "in-the-answer" else ("/cut", 100000)
        request = ask.module.request_bytes("POST", path, b"x" * size)
        if cut == "before-the-body":
            request = request[:len(request) - size - 100]

        def leave():
            with ask.module.Connection(ask.host.address) as connection:
                connection.send(request if cut == "in-the-answer" else request[:-1000])
                if cut == "in-the-answer":
                    connection.receive_exactly(1000)

        def count():
            wait_until(lambda: ask.host.connections() == 0, "the connections to end")
            return int(ask("GET", "/blocks").text)
        self.check(leave, count)


class TestFork:
    @pytest.mark.parametrize("how, status", [("exit", 7), ("_exit", 7)])
    def test_a_child_that_exits_ends_alone(self, ask, how, status):
        assert ask("GET", "/fork?how=" + how).text == "child ended with %d" % status
        fresh_connection_works(ask)

    def test_a_child_that_raises_ends_alone(self, ask, expected_log):
        mark = ask.host.log.mark()
        assert ask("GET", "/fork?how=raise").text.startswith("child ended with ")
        if "Traceback" in ask.host.log.read(mark):
            expected_log("announced failure in the child")
        fresh_connection_works(ask)

    def test_a_child_that_returns_does_not_answer(self, ask):
        response = ask("GET", "/fork?how=return")
        assert response.text.startswith("child ended with ")
        fresh_connection_works(ask)

    def test_the_socket_file_survives_a_child(self, ask):
        ask("GET", "/fork?how=exit")
        assert os.path.exists(ask.host.address)

    def test_a_subprocess_gets_no_socket_and_no_blocked_signal(self, ask):
        lines = ask("GET", "/subprocess").text.splitlines()
        assert lines[0] == "from a child" and lines[1] == "0"
        assert int(lines[2].split()[1], 16) == 0, lines
