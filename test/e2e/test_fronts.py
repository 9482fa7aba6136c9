"""What a site needs works through each web server, with its stock configuration."""
import hashlib
import http.client
import os
import signal
import socket
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest

import fronts
import process
from conftest import end_shared

MIB = 1024 * 1024
UPLOAD = hashlib.sha256(b"seed").digest() * (20 * MIB // 32)  # 20 MiB
DOWNLOAD_SHA256 = hashlib.sha256(bytes(range(256)) * (20 * MIB // 256)).hexdigest()

# Paths below a mount that every front decodes alike, and the PATH_INFO that comes of them.
PATHS = [("/", "/"), ("/a/b", "/a/b"), ("/a/b/", "/a/b/"), ("/a%20b", "/a b"),
         ("/caf%C3%A9", "/caf\xc3\xa9"), ("/caf%C3%A9%20x/", "/caf\xc3\xa9 x/"),
         ("/a%2Bb+c", "/a+b+c"), ("/a;b=c", "/a;b=c"), ("/a%3Bb%3Fc", "/a;b?c")]


def site_fixture(app, kinds, prefix, settings=None, modules=()):
    """One site for all tests of a module that use it: to start web servers takes longer."""
    @pytest.fixture(scope="module", params=kinds, ids=lambda kind: kind.name)
    def fixture(request):
        if modules:
            fronts.needs_module(*modules)
        found = request.param(app, prefix, settings, shared=True)
        yield found
        end_shared(found)
    return fixture


site = site_fixture("wsgi_app:application", fronts.ALL, "/app")
root_site = site_fixture("wsgi_app:application", fronts.ALL, "")
flask_site = site_fixture("flask_app:application", fronts.ALL, "/app", modules=["flask"])
django_site = site_fixture("django_app:application", fronts.ALL, "/app", modules=["django"])
front_log_site = site_fixture("wsgi_app:application",
                              [kind for kind in fronts.ALL if kind.survives_stderr],
                              "/app", {"log": {"front": "yes"}})
leavers_site = site_fixture("wsgi_app:application", [
    kind for kind in fronts.ALL + [fronts.LighttpdStreaming] if kind.notices_leaving], "/app")


def environ(found, path):
    response = found.get(path + ("&" if "?" in path else "?show-environ&"))
    assert response.status == 200, response
    return response.json


def form_data(fields, name, content):
    """A multipart/form-data body and its content type."""
    boundary = "----0123456789"
    part = "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n"
    parts = [part % (boundary, key, value) for key, value in fields]
    parts.append("--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\n"
                 "Content-Type: application/octet-stream\r\n\r\n" % (boundary, name))
    return "".join(parts).encode() + content + b"\r\n--%s--\r\n" % boundary.encode(), \
        [("Content-Type", "multipart/form-data; boundary=" + boundary)]


class TestPath:
    def test_the_prefix_alone(self, site):
        if site.adds_slash:
            response = fronts.http_request(site.port, "GET", "/app?show-environ")
            assert response.status == 301
            assert response.get("Location").endswith("/app/?show-environ")
            return
        found = environ(site, "")
        assert (found["SCRIPT_NAME"], found.get("PATH_INFO", "")) == ("/app", "")

    @pytest.mark.parametrize("path, path_info", PATHS)
    def test_a_prefix_becomes_script_name(self, site, path, path_info):
        found = environ(site, path)
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/app", path_info)

    @pytest.mark.parametrize("path", ["/a//b", "/x/../b"])
    def test_slashes_and_dots(self, site, path):
        found = environ(site, path)
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/app", site.normalized(path))

    @pytest.mark.parametrize("path", ["/../b", "/x/../../b"])
    def test_dots_do_not_leave_the_mount(self, site, path):
        """A front that passes them on gets them back: the host does not resolve them either."""
        response = site.get(path + "?show-environ&")
        if response.status not in (403, 404):
            found = response.json
            assert not site.resolves_dots
            assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/app", path)

    def test_a_mount_is_not_left_by_its_escaped_spelling(self, site):
        response = fronts.http_request(site.port, "GET", "/%61pp/a?show-environ")
        assert response.status == 404 or response.json["PATH_INFO"] == "/a"

    @pytest.mark.parametrize("path, path_info", PATHS + [
        ("/app", "/app"), ("/app/", "/app/"), ("/app/a/b", "/app/a/b"),
        ("/application", "/application")])
    def test_at_the_root_the_whole_path_is_path_info(self, root_site, path, path_info):
        found = environ(root_site, path)
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("", path_info)

    @pytest.mark.parametrize("path", ["/a//b", "/app//b", "/x/../b"])
    def test_slashes_and_dots_at_the_root(self, root_site, path):
        found = environ(root_site, path)
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("", root_site.normalized(path))

    @pytest.mark.parametrize("path", ["//evil.example", "///evil.example/a", "//evil.example//a/"])
    def test_no_path_info_of_the_root_is_another_server_s_address(self, root_site, path):
        found = environ(root_site, path)
        assert found["SCRIPT_NAME"] == "" and not found["PATH_INFO"].startswith("//")
        assert found["PATH_INFO"] == root_site.normalized("/" + path.lstrip("/"))

    def test_query_string_arrives_raw(self, site):
        found = environ(site, "/x?show-environ&a=%C3%A9&b=1%202&c=+&&d")
        assert found["QUERY_STRING"] == "show-environ&a=%C3%A9&b=1%202&c=+&&d&"
        assert found["REQUEST_METHOD"] == "GET"

    def test_without_a_query_the_query_string_is_empty(self, site):
        found = site.get("/environ").json
        assert found["QUERY_STRING"] == ""

    def test_request_uri_is_raw(self, site):
        found = environ(site, "/caf%C3%A9?show-environ&")
        assert urllib.parse.urlsplit(found["REQUEST_URI"]).path == "/app/caf%C3%A9"

    def test_a_similar_prefix_is_not_ours(self, site):
        for path in ("/application", "/application/environ", "/app.x", "/app;x"):
            assert fronts.http_request(site.port, "GET", path).status == 404


class TestEnviron:
    def test_what_pep_3333_wants_is_there(self, site):
        found = site.get("/environ", headers=[("X-Token", "of one"), ("Accept", "a/b")]).json
        assert found["SERVER_NAME"] and ":" not in found["SERVER_NAME"]
        assert found["SERVER_PORT"] == str(site.port)
        assert found["SERVER_PROTOCOL"] == "HTTP/1.1"
        assert found["wsgi.url_scheme"] == "http"
        assert found["HTTP_X_TOKEN"] == "of one" and found["HTTP_ACCEPT"] == "a/b"
        assert found["HTTP_HOST"] and found["wsgi.run_once"] is False

    def test_body_headers_have_only_their_cgi_names(self, site):
        found = site.request("POST", "/environ", b"12345", [("Content-Type", "text/x-test")]).json
        assert (found["CONTENT_LENGTH"], found["CONTENT_TYPE"]) == ("5", "text/x-test")
        assert not {"HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE",
                    "HTTP_TRANSFER_ENCODING"} & set(found)

    def test_what_nobody_is_called_is_absent(self, site):
        """nginx sends REMOTE_USER to everybody, Caddy more: Django logs a user without name out."""
        found = environ(site, "/")
        assert not {"REMOTE_USER", "AUTH_TYPE", "REMOTE_IDENT"}.intersection(found)

    def test_the_proxy_header_does_not_arrive(self, site):
        found = site.get("/environ", headers=[("Proxy", "http://attacker.invalid")]).json
        assert "HTTP_PROXY" not in found

    def test_repeated_cookies_are_joined(self, site):
        found = site.get("/environ", headers=[("Cookie", "a=1"), ("Cookie", "b=2")]).json
        # Apache and lighttpd join them themselves.
        assert found["HTTP_COOKIE"].replace(" ", "") in ("a=1;b=2", "a=1,b=2")

    def test_parameters_stay_out_of_the_process_environment(self, site):
        found = site.get("/os-environ", headers=[("X-Token", "t")]).json
        assert not {"HTTP_X_TOKEN", "REQUEST_METHOD", "PATH_INFO"} & set(found)

    def test_a_long_head_arrives_whole(self, site):
        values = ["v" * 6000] * (site.head_bytes // 6000)
        found = site.get("/environ", headers=[("X-Long-%d" % number, value)
                                              for number, value in enumerate(values)]).json
        assert [found["HTTP_X_LONG_%d" % number] for number in range(len(values))] == values


class TestResponse:
    def test_head_has_the_headers_and_no_body(self, site):
        response = site.request("HEAD", "/head")
        assert (response.status, response.body) == (200, b"")
        assert response.get("Content-Type") == "text/plain; charset=utf-8"
        assert site.get("/ready").text == "ready"

    @pytest.mark.parametrize("code", ["204", "304"])
    def test_a_status_without_a_body(self, site, code):
        response = site.get("/status?code=" + code)
        assert (response.status, response.body, response.get("X-Empty")) == (int(code), b"", "yes")

    @pytest.mark.parametrize("code", ["201", "404", "410", "500", "503"])
    def test_the_status_of_the_application(self, site, code):
        response = site.get("/status?code=" + code)
        assert (response.status, response.text) == (int(code), "status " + code)

    @pytest.mark.parametrize("to", ["/elsewhere", "/app/ready", "http://other.invalid/x"])
    @pytest.mark.parametrize("code", ["201", "301", "302", "303", "307", "308"])
    def test_a_redirect_reaches_the_client(self, site, code, to):
        """None is followed by the web server itself; 201 is not one, and has a Location too."""
        response = site.get("/redirect?code=%s&to=%s" % (code, to))
        assert (response.status, response.text) == (int(code), "see there")
        assert response.get("Location").endswith(to)

    def test_a_redirect_after_a_post(self, site):
        response = site.request("POST", "/redirect?code=303&to=/app/ready", b"a=b")
        assert (response.status, response.text) == (303, "see there")

    def test_two_cookies_stay_two(self, site):
        response = site.get("/headers")
        assert response.all("Set-Cookie") == ["one=1; Path=/", "two=2; Path=/"]
        assert response.get("X-Latin") == "caf\xe9"

    def test_a_generator_and_write_and_late_start(self, site):
        assert site.get("/empty-chunks").text == "ab"
        assert site.get("/write").text == "written, written again, returned"
        response = site.get("/late-start")
        assert (response.status, response.get("X-Late")) == (202, "yes")
        assert response.text == "started late"

    def test_a_path_that_the_application_does_not_know_is_404(self, site):
        response = site.get("/nothing/here")
        assert (response.status, response.text) == (404, "no route /nothing/here")

    def test_an_exception_becomes_a_page_without_its_traceback(self, site, expected_log):
        expected_log("announced failure here")
        response = site.get("/error?token=here")
        assert response.status == 500
        assert "announced failure" not in response.text and "Traceback" not in response.text
        assert site.get("/ready").text == "ready"


class TestBodies:
    def test_a_form_post_is_echoed(self, site):
        body = urllib.parse.urlencode({"name": "caf\xe9", "two": "a b"}).encode()
        response = site.request("POST", "/echo-body", body,
                                [("Content-Type", "application/x-www-form-urlencoded")])
        assert response.body == body

    def test_an_upload_of_20_mib_arrives_whole(self, site):
        response = site.request("POST", "/echo", UPLOAD)
        assert response.json == {"sha256": hashlib.sha256(UPLOAD).hexdigest(), "size": len(UPLOAD),
                                 "token": ""}

    def test_a_download_of_20_mib_arrives_whole(self, site):
        response = site.get("/download")
        assert len(response.body) == 20 * MIB
        assert hashlib.sha256(response.body).hexdigest() == DOWNLOAD_SHA256

    def test_one_large_object_arrives_whole(self, site):
        response = site.get("/big?size=%d" % (20 * MIB))
        assert hashlib.sha256(response.body).hexdigest() == DOWNLOAD_SHA256

    def test_a_chunked_upload_arrives_whole(self, site):
        parts = [bytes([number]) * (number * 101 + 1) for number in range(site.chunked_parts)]
        response = site.request("POST", "/echo", iter(parts), chunked=True)
        if not site.takes_chunked:
            assert response.status == 411
            return
        whole = b"".join(parts)
        assert response.json == {"sha256": hashlib.sha256(whole).hexdigest(), "size": len(whole),
                                 "token": ""}

    def test_the_length_of_a_chunked_upload_is_right_or_not_there(self, site):
        response = site.request("POST", "/environ", iter([b"12", b"345"]), chunked=True)
        if not site.takes_chunked:
            assert response.status == 411
            return
        assert response.json.get("CONTENT_LENGTH") in (None, "5")
        assert "HTTP_TRANSFER_ENCODING" not in response.json

    def test_a_body_that_is_not_read_does_not_harm_the_next_requests(self, site):
        for number in range(10):
            response = site.request("POST", "/ignore?token=%d" % number, UPLOAD[:300000])
            assert (response.status, response.text) == (200, "ignored %d" % number)
            assert site.request("POST", "/echo", b"body %d" % number).json["size"] == 6

    def test_a_body_that_is_not_read_and_a_large_response(self, site):
        """mod_fcgid reads nothing before it has sent the whole body."""
        for size in (300000, 800000):
            response = site.request("POST", "/big?size=%d" % (20 * MIB), UPLOAD[:size])
            assert response.status == 200
            assert hashlib.sha256(response.body).hexdigest() == DOWNLOAD_SHA256

    @pytest.mark.parametrize("kind", [fronts.ApacheFcgid, fronts.ApacheProxy, fronts.ApacheProxyScgi,
                                      fronts.LighttpdFastcgi], ids=lambda kind: kind.name)
    def test_a_body_that_is_read_after_a_large_part_of_the_response(self, kind):
        """nginx sends no more of a body once it has the head of the response."""
        site = kind()
        response = site.request("POST", "/answer-first", UPLOAD[:500000])
        assert len(response.body) == 5 * MIB + 64
        assert response.body[-64:].decode() == hashlib.sha256(UPLOAD[:500000]).hexdigest()

    @pytest.mark.parametrize("kind", [fronts.NginxFastcgi, fronts.NginxScgi, fronts.ApacheFcgid,
                                      fronts.ApacheProxy, fronts.LighttpdFastcgi],
                             ids=lambda kind: kind.name)
    def test_many_bodies_that_are_not_read_and_one_thread(self, kind):
        """If each held the thread for the time that an unread body gets, clients would give up."""
        site = kind(settings={"server": {"threads": 1}})

        def ask(number):
            path, text = [("/ignore?token=%d" % number, "ignored %d" % number),
                          ("/empty-chunks", "ab")][number % 2]
            response = site.request("POST", path, UPLOAD[:1000000])
            return (response.status, response.text) == (200, text)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(200))).count(True) == 200

    def test_a_body_that_is_read_in_part(self, site):
        response = site.request("POST", "/read-some?token=x", UPLOAD[:200000])
        assert response.text == "read some x"


class TestClientLeaves:
    def test_in_the_middle_of_a_download(self, site):
        for _ in range(3):
            fronts.leave_early(site.port, b"GET %s/download HTTP/1.1\r\nHost: localhost\r\n\r\n" %
                               site.prefix.encode(), 100000)
        for number in range(10):
            assert site.get("/ignore?token=%d" % number).text == "ignored %d" % number

    def test_the_application_is_closed(self, leavers_site):
        """Without that its threads, fewer than the clients here, would all be lost."""
        site = leavers_site
        request = "GET %s/endless?token=%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for token in ("first", "second", "third", "fourth", "fifth"):
            since = site.host_log.mark()
            with socket.create_connection(("127.0.0.1", site.port)) as client:
                client.sendall((request % (site.prefix, token)).encode())
                site.host_log.wait("endless %s begins" % token, since)
            site.host_log.wait("endless %s is closed" % token, since)
        assert site.get("/ready").text == "ready"

    def test_in_the_middle_of_an_upload(self, site):
        head = "POST %s/cut HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" % site.prefix
        for _ in range(3):
            fronts.leave_early(site.port, head.encode() + b"x" * 300000, 0)
        for number in range(10):
            assert site.get("/ignore?token=%d" % number).text == "ignored %d" % number

    def test_before_the_answer(self, site):
        request = b"GET %s/sleep?ms=100 HTTP/1.1\r\nHost: localhost\r\n\r\n" % site.prefix.encode()
        for _ in range(3):
            fronts.leave_early(site.port, request, 0)
        for number in range(10):
            assert site.get("/ignore?token=%d" % number).text == "ignored %d" % number


class TestManyRequests:
    def test_each_client_gets_its_own_answer(self, site):
        def ask(number):
            token, body = "t%d" % number, b"%d" % number * (number * 37 % 5000)
            if number % 3 == 0:
                response = site.request("POST", "/echo?token=" + token, body)
                return response.json == {"sha256": hashlib.sha256(body).hexdigest(),
                                         "size": len(body), "token": token}
            if number % 3 == 1:
                return site.request("POST", "/ignore?token=" + token,
                                    body).text == "ignored " + token
            return site.get("/ignore?token=" + token).text == "ignored " + token
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(300)))
        assert answers.count(True) == 300

    def test_a_client_that_keeps_its_connection(self, site):
        client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=process.deadline(60))
        for number in range(50):
            client.request("POST", site.prefix + "/ignore?token=%d" % number,
                           b"x" * (number * 1000))
            assert client.getresponse().read() == b"ignored %d" % number
        client.close()


class TestLogs:
    def test_wsgi_errors_goes_to_the_log(self, site):
        site.get("/errors?text=for-the-log")
        site.host_log.wait("several pieces of for-the-log")

    def test_front_sends_it_to_the_web_servers_log_too(self, front_log_site):
        front_log_site.get("/errors?text=for-the-front")
        if front_log_site.carries_stderr:
            front_log_site.error_log.wait("several pieces of for-the-front")
        assert front_log_site.get("/ready").text == "ready"

    def test_front_sends_a_traceback_too(self, front_log_site, expected_log):
        expected_log("announced failure for-the-front")
        assert front_log_site.get("/error?token=for-the-front").status == 500
        if front_log_site.carries_stderr:
            front_log_site.error_log.wait("announced failure for-the-front")
        assert front_log_site.get("/ready").text == "ready"


class TestFlask:
    def test_url_for_has_the_prefix(self, flask_site):
        found = flask_site.get("/address").json
        assert found["relative"] == "/app/item/caf%C3%A9%201"
        assert found["root"] == "/app" and found["path"] == "/address"
        assert found["external"].startswith("http://") and found["external"].endswith("/app/item/x")

    def test_redirect(self, flask_site):
        response = flask_site.get("/old")
        assert response.status == 302 and response.get("Location").endswith("/app/item/new")
        assert flask_site.get("/item/caf%C3%A9").text == "item caf\u00e9"

    def test_a_slash_is_added_below_the_prefix(self, flask_site):
        response = flask_site.get("/folder?a=b")
        assert response.status == 308
        assert response.get("Location").endswith("/app/folder/?a=b")

    def test_form(self, flask_site):
        response = flask_site.request("POST", "/form", "a=1&a=2&b=caf%C3%A9".encode(),
                                      [("Content-Type", "application/x-www-form-urlencoded")])
        assert response.json == {"a": ["1", "2"], "b": ["caf\u00e9"]}

    def test_upload(self, flask_site):
        body, headers = form_data([("note", "of mine")], "x.bin", UPLOAD[:3 * MIB])
        response = flask_site.request("POST", "/upload", body, headers)
        assert response.json == {"name": "x.bin", "note": "of mine", "size": 3 * MIB,
                                 "sha256": hashlib.sha256(UPLOAD[:3 * MIB]).hexdigest()}

    def test_session(self, flask_site):
        first = flask_site.get("/count")
        cookie = first.get("Set-Cookie").partition(";")[0]
        again = flask_site.get("/count", headers=[("Cookie", cookie)])
        assert (first.text, again.text) == ("1", "2")

    def test_errors(self, flask_site, expected_log):
        assert flask_site.get("/forbidden").status == 403
        assert flask_site.get("/nowhere").status == 404
        expected_log("announced failure in Flask")
        assert flask_site.get("/raise").status == 500


class TestDjango:
    def test_reverse_has_the_prefix(self, django_site):
        found = django_site.get("/address").json
        assert found["relative"] == "/app/item/caf%C3%A9" and found["root"] == "/app"
        assert found["path"] == "/app/address"
        assert found["external"].startswith("http://")
        assert found["external"].endswith("/app/address")

    def test_redirect(self, django_site):
        response = django_site.get("/old")
        assert response.status == 302 and response.get("Location").endswith("/app/item/new")
        assert django_site.get("/item/caf%C3%A9").text == "item caf\u00e9"

    def test_a_slash_is_added_below_the_prefix(self, django_site):
        response = django_site.get("/folder?a=b")
        assert response.status == 301
        assert response.get("Location").endswith("/app/folder/?a=b")

    def test_form(self, django_site):
        send = lambda text: django_site.request("POST", "/greet", text.encode(),
                                                [("Content-Type",
                                                  "application/x-www-form-urlencoded")])
        assert send("name=caf%C3%A9&times=2").text == "hello caf\u00e9 hello caf\u00e9"
        assert send("name=x&times=9").status == 400

    def test_upload(self, django_site):
        body, headers = form_data([], "x.bin", UPLOAD[:3 * MIB])
        response = django_site.request("POST", "/upload", body, headers)
        assert response.json == {"name": "x.bin", "size": 3 * MIB,
                                 "sha256": hashlib.sha256(UPLOAD[:3 * MIB]).hexdigest()}

    def test_streaming(self, django_site):
        assert django_site.get("/stream").text == "".join("%d," % number for number in range(1000))


class TestLife:
    @pytest.mark.parametrize("kind", fronts.ALL, ids=lambda kind: kind.name)
    def test_the_request_after_the_end_of_a_process_is_served(self, kind):
        """However it ended, and whatever connections to it the web server keeps."""
        site = kind()
        for number in (signal.SIGTERM, signal.SIGKILL):
            pid = site.get("/served").json["pid"]
            site.replace_host(pid, number)
            for token in range(3):
                response = site.get("/ignore?token=%d" % token)
                assert (response.status, response.text) == (200, "ignored %d" % token)
            assert site.get("/served").json["pid"] != pid

    @pytest.mark.parametrize("kind", [kind for kind in fronts.ALL if kind != fronts.SpawnFcgi],
                             ids=lambda kind: kind.name)
    def test_the_request_after_a_retirement_is_served(self, kind):
        """Where the web server started it, the host retires by becoming a fresh one with the same
        pid: no request fails. The test starts another where it has ended."""
        site = kind(settings={"limits": {"requests": 15}})
        served = again = site.get("/served").json
        while again["requests"] >= served["requests"]:
            served = again
            if served["requests"] == 15 and not site.starts_host:
                site.replace_host(served["pid"])
            again = site.get("/served").json
        assert (again["pid"] == served["pid"]) == site.starts_host
        assert site.get("/ignore?token=x").text == "ignored x"
        site.host_log.wait(r"\[limits\] requests: \d+ requests have been served")

    def test_mod_fcgid_stops_its_processes_cleanly(self, tmp_path):
        site = fronts.ApacheFcgid()
        path = os.path.join(site.folder, "atexit")
        site.get("/atexit?path=" + path)
        site.front.stop()
        with open(path) as file:
            assert file.read().startswith("atexit in")

    def test_spawn_fcgi_finds_its_socket_file_unharmed(self):
        site = fronts.SpawnFcgi()
        site.get("/ready")
        assert site.stop() == []
        assert os.path.exists(site.socket_path), "the host removed another's socket"
        site.clean_up()
