"""fcgihost.handler, redirect and headers: what a handler is given, and what becomes of what it does."""
import gc
import io
import itertools
import os
import subprocess
import sys
import threading
import unittest
import weakref
from unittest import mock
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import support
import fcgihost
from fcgihost import handler, headers, redirect, runtime
from test_cleanup import in_thread


class Response:
    """What a WSGI server sends, and when: .sent is what had left before the callable returned."""

    def __init__(self):
        self.status = self.headers = None
        self.sent = []
        self.body = b""

    def start(self, status, items, exc_info=None):
        if self.status is not None and exc_info is None:
            raise AssertionError("start_response was called twice")
        self.status, self.headers = status, items
        return self.sent.append

    def get(self, name):
        values = [value for known, value in self.headers if known.lower() == name.lower()]
        return values[0] if len(values) == 1 else values or None


def call(application, path="/app", is_valid=True, body=b"", **environ):
    setup_testing_defaults(environ)
    environ.setdefault("QUERY_STRING", "")
    environ.update({"SCRIPT_NAME": path[:4] if path.startswith("/app") else "",
                    "PATH_INFO": path[4:] if path.startswith("/app") else path,
                    "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO(), "log": ""})
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    response = Response()
    result = (validator(application) if is_valid else application)(environ, response.start)
    try:
        response.left = list(result)
    finally:
        if hasattr(result, "close"):
            result.close()
    response.body = b"".join(response.sent + response.left)
    response.environ = environ
    return response


def run(function, *args, **environ):
    return call(handler.adapt(function), *args, **environ)


class Case(support.FolderTestCase):
    def tearDown(self):
        handler.set_resolver(None)
        runtime.end_request()


class RequestTest(Case):
    def test_what_was_asked_for(self):
        def function(req):
            self.assertEqual((req.method, req.script_name, req.path_info, req.query, req.uri),
                             ("PUT", "/app", "/a\u00e9/\udcff", "q=%20", "/app/a%C3%A9/%FF?q=%20"))
            self.assertEqual(repr(req), "<fcgihost request PUT /app/a%C3%A9/%FF>")
            self.assertIsNone(req.prev)
            self.assertFalse(req.is_client_gone)
        run(function, "/app/a\xc3\xa9/\xff", REQUEST_METHOD="PUT", QUERY_STRING="q=%20")

    def test_the_uri_is_the_one_the_client_sent(self):
        run(lambda req: self.assertEqual(req.uri, "/%61pp"), "/app", REQUEST_URI="/%61pp")

    def test_environ_is_wsgis(self):
        seen = []
        response = call(handler.adapt(lambda req: seen.append(req.environ)), is_valid=False)
        self.assertIs(seen[0], response.environ)

    def test_headers_in(self):
        def function(req):
            self.assertEqual(req.headers_in["x-forwarded-FOR"], "a, b")
            self.assertEqual(req.headers_in["Content-Type"], "text/x")
            self.assertEqual(req.headers_in.get("content-length"), "3")
            self.assertNotIn("Missing", req.headers_in)
            self.assertIs(req.headers_in, req.headers_in)
            self.assertIn("X-Forwarded-For", list(req.headers_in))
            with self.assertRaisesRegex(RuntimeError, "what the client sent"):
                req.headers_in["X"] = "1"
        run(function, body=b"abc", HTTP_X_FORWARDED_FOR="a, b", CONTENT_TYPE="text/x")

    def test_the_body(self):
        def function(req):
            seen.append(req.read(2))
            seen.append(req.readline())
            seen.append(req.readline(1))
            seen.extend(req)
            seen.append(req.read())
        seen = []
        call(handler.adapt(function), body=b"abc\nde\nf\ng", is_valid=False)
        self.assertEqual(seen, [b"ab", b"c\n", b"d", b"e\n", b"f\n", b"g", b""])

    def test_log(self):
        def function(req):
            req.log("one")
            req.log("two\n")
        response = call(handler.adapt(function), is_valid=False)
        self.assertEqual(response.environ["wsgi.errors"].getvalue(), "one\ntwo\n")

    def test_a_secret_is_in_the_environ_and_in_nothing_that_is_printed(self):
        def function(req):
            self.assertEqual(req.environ["REMOTE_PASSWD"], "hush")
            self.assertNotIn("hush", repr(req) + repr(req.headers_in) + repr(handler.adapt(function)))
        run(function, REMOTE_PASSWD="hush", HTTP_AUTHORIZATION="Basic hush")


class ResponseTest(Case):
    def test_nothing_is_an_empty_page(self):
        response = run(lambda req: None)
        self.assertEqual((response.status, response.body), ("200 OK", b""))
        self.assertEqual(response.headers, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "0")])

    def test_what_is_written_leaves_at_the_end_with_its_length(self):
        def function(req):
            req.write("\u20ac ")
            req.write(b"\xff")
            req.write(bytearray(b"a"))
            req.write("")
        response = run(function)
        self.assertEqual((response.sent, response.body), ([], "\u20ac ".encode() + b"\xffa"))
        self.assertEqual(response.get("Content-Length"), "6")

    def test_str_is_written_in_the_charset_of_the_content_type(self):
        for content_type, written in (("text/html", b"\xc3\xa9"), ("text/html; charset=iso-8859-1", b"\xe9"),
                                      ('text/html;x=y; Charset="UTF-16-BE"', b"\x00\xe9")):
            def function(req):
                req.content_type = content_type
                self.assertEqual(req.content_type, content_type)
                req.write("\xe9")
            response = run(function)
            self.assertEqual((response.body, response.get("Content-Type")), (written, content_type))

    def test_what_the_charset_can_not_say_raises(self):
        def function(req):
            req.content_type = "text/html; charset=ascii"
            self.assertRaises(UnicodeEncodeError, req.write, "\xe9")
            self.assertEqual(req.status, 200)
            req.content_type = "text/html; charset=klingon"
            with self.assertRaisesRegex(ValueError, "no charset 'klingon'"):
                req.write("x")
        self.assertEqual(run(function).body, b"")

    def test_bytes_of_a_path_that_is_no_utf_8_are_written_as_they_came(self):
        self.assertEqual(run(lambda req: req.write(req.path_info), "/app/\xff").body, b"/\xff")

    def test_other_things_are_not_written(self):
        def function(req):
            for thing in (1, None, ["x"]):
                self.assertRaises(TypeError, req.write, thing)
        run(function)

    def test_much_leaves_before_the_end(self):
        block = b"x" * 30000

        def function(req):
            for count in (0, 0, 1):
                self.assertEqual(len(response.sent), 0)
                req.write(block)
            self.assertEqual(response.sent, [3 * block])
            req.write(b"end")
        response = Response()
        environ = {}
        setup_testing_defaults(environ)
        self.assertEqual(list(handler.adapt(function)(environ, response.start)), [b"end"])
        self.assertIsNone(response.get("Content-Length"))

    def test_flush(self):
        def function(req):
            req.flush()
            self.assertEqual((response.status, response.sent), ("200 OK", [b""]))
            req.write("a")
            req.write("b")
            req.flush()
            self.assertEqual(response.sent, [b"", b"ab"])
        response = Response()
        environ = {}
        setup_testing_defaults(environ)
        handler.adapt(function)(environ, response.start)

    def test_headers_out(self):
        def function(req):
            req.headers_out["X-One"] = "1"
            req.headers_out.add("Set-Cookie", "a=1")
            req.headers_out.add("set-cookie", "b=2")
            req.headers_out["content-type"] = "text/html"
            req.headers_out["Content-Length"] = "2"
            req.write("ab")
        self.assertEqual(run(function).headers, [
            ("X-One", "1"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("content-type", "text/html"),
            ("Content-Length", "2")])

    def test_headers_come_too_late_once_the_response_has_begun(self):
        for begin in (lambda req: req.write("x"), lambda req: req.flush()):
            def function(req):
                begin(req)
                for change in (lambda: req.headers_out.add("X", "1"), lambda: req.headers_out.__setitem__("X", "1"),
                               lambda: req.headers_out.__delitem__("X"), lambda: setattr(req, "status", 404),
                               lambda: setattr(req, "content_type", "text/html")):
                    with self.assertRaisesRegex(RuntimeError, "too late: the response has begun"):
                        change()
            self.assertEqual(run(function).status, "200 OK")

    def test_an_empty_write_begins_nothing(self):
        def function(req):
            req.write(b"")
            req.headers_out["X"] = "1"
        self.assertEqual(run(function).get("X"), "1")

    def test_status(self):
        def function(req):
            self.assertEqual(req.status, 200)
            req.status = 201
            self.assertEqual(req.status, 201)
            for value, error in (("404", TypeError), (True, TypeError), (4.0, TypeError), (199, ValueError),
                                 (100, ValueError), (1000, ValueError)):
                self.assertRaises(error, setattr, req, "status", value)
        self.assertEqual(run(function).status, "201 Created")

    def test_the_status_that_is_returned(self):
        for status, line, body in ((404, "404 Not Found", b"404 Not Found\n"), (599, "599 Unknown", b"599 Unknown\n"),
                                   (302, "302 Found", b""), (200, "200 OK", b"")):
            response = run(lambda req: status)
            self.assertEqual((response.status, response.body), (line, body))
            self.assertEqual(response.get("Content-Length"), str(len(body)))

    def test_the_plain_page_is_plain_whatever_the_content_type_was(self):
        def function(req):
            req.content_type = "application/json"
            return 500
        self.assertEqual(run(function).get("Content-Type"), "text/plain; charset=utf-8")

    def test_a_page_of_ones_own(self):
        def function(req):
            req.write("gone")
            return 410
        response = run(function)
        self.assertEqual((response.status, response.body), ("410 Gone", b"gone"))

    def test_a_status_that_comes_after_the_head_has_left(self):
        def function(req):
            req.flush()
            return status
        for status in (None, 200):
            self.assertEqual(run(function).status, "200 OK")
        status = 404
        with self.assertRaisesRegex(RuntimeError, "returned 404, but the response has begun to leave with 200"):
            run(function)

    def test_other_things_are_not_returned(self):
        for returned, error in (("404", TypeError), (True, TypeError), (b"body", TypeError), (100, ValueError)):
            self.assertRaises(error, run, lambda req: returned)

    def test_responses_without_a_body(self):
        for status in (204, 304):
            def function(req):
                req.content_type = "text/html"
                req.write("dropped")
                return status
            response = run(function)
            self.assertEqual((response.body, response.headers), (b"", []))

    def test_head_is_answered_with_the_length_of_what_get_would_have(self):
        def function(req):
            if is_flushed:
                req.flush()
            req.write("abc")
        is_flushed = False
        response = run(function, REQUEST_METHOD="HEAD")
        self.assertEqual((response.body, response.get("Content-Length")), (b"", "3"))
        is_flushed = True
        self.assertEqual(run(function, REQUEST_METHOD="HEAD").body, b"")
        self.assertIsNone(run(lambda req: None, REQUEST_METHOD="HEAD").get("Content-Length"))

    def test_what_a_handler_raises_comes_out_before_anything_has_left(self):
        def function(req):
            req.write("half a page")
            1 / 0
        response, environ = Response(), {}
        setup_testing_defaults(environ)
        self.assertRaises(ZeroDivisionError, handler.adapt(function), environ, response.start)
        self.assertIsNone(response.status)


class SendFileTest(Case):
    def setUp(self):
        super().setUp()
        self.content = os.urandom(handler.BUFFER_BYTES * 2 + 10)
        self.path = self.write("a.png", self.content)

    def test_a_file(self):
        response = run(lambda req: req.send_file(self.path))
        self.assertEqual(response.body, self.content)
        self.assertEqual(response.headers, [("Content-Type", "image/png"), ("Content-Length", str(len(self.content)))])
        self.assertLessEqual(max(map(len, response.left)), handler.BUFFER_BYTES)

    def test_a_file_between_other_things(self):
        def function(req):
            req.write("<")
            req.send_file(self.path)
            if is_flushed:
                req.flush()
            req.write(">")
        for is_flushed in (False, True):
            response = run(function)
            self.assertEqual(response.body, b"<" + self.content + b">")
            self.assertEqual(response.get("Content-Length"), None if is_flushed else str(len(self.content) + 2))
            self.assertEqual(response.get("Content-Type"), handler.DEFAULT_TYPE)

    def test_the_type(self):
        for name, kind in (("a.html", "text/html"), ("a", "application/octet-stream"),
                           ("a.tar.gz", "application/octet-stream")):
            path = self.write(name, "x")
            self.assertEqual(run(lambda req: req.send_file(path)).get("Content-Type"), kind)

        def function(req):
            req.content_type = "x/y"
            req.send_file(self.path)
        self.assertEqual(run(function).get("Content-Type"), "x/y")

    def test_an_empty_file(self):
        path = self.write("empty", "")
        response = run(lambda req: req.send_file(path))
        self.assertEqual((response.body, response.get("Content-Length")), (b"", "0"))

    def test_what_is_no_file_raises_and_begins_nothing(self):
        os.mkfifo(self.folder + "/fifo")
        before = os.listdir("/proc/self/fd")

        def function(req):
            self.assertRaises(FileNotFoundError, req.send_file, self.folder + "/missing")
            for path in (self.folder, self.folder + "/fifo"):
                with self.assertRaisesRegex(ValueError, "not a regular file"):
                    req.send_file(path)
            self.assertEqual(os.listdir("/proc/self/fd"), before)
            req.headers_out["X"] = "1"
        run(function)

    def test_a_file_that_grows_is_sent_as_long_as_it_was(self):
        def function(req):
            req.send_file(self.path)
            with open(self.path, "ab") as file:
                file.write(b"more")
        self.assertEqual(run(function).body, self.content)

    def test_a_file_that_vanishes_is_sent_all_the_same(self):
        def function(req):
            req.send_file(self.path)
            os.unlink(self.path)
        self.assertEqual(run(function).body, self.content)

    def test_a_file_begins_the_response(self):
        def function(req):
            req.send_file(self.path)
            with self.assertRaisesRegex(RuntimeError, "too late"):
                req.headers_out["X"] = "1"
        run(function)

    def test_files_are_closed_whatever_happens(self):
        def function(req):
            for _ in range(3):
                req.send_file(self.path)
            if what == "raise":
                1 / 0
            if what == "flush":
                req.flush()
            if what == "redirect":
                req.internal_redirect("/app")
            return 204 if what == "204" else None
        opened = []
        patch = mock.patch.object(handler, "_File", type("File", (handler._File,), {
            "__init__": lambda file, path, init=handler._File.__init__: opened.append(file) or init(file, path)}))
        patch.start()
        self.addCleanup(patch.stop)
        for what in ("", "flush", "204", "raise", "redirect"):
            try:
                run(function)
            except (ZeroDivisionError, RuntimeError):
                pass
            self.assert_closed(opened, what)
        what = ""
        run(function, REQUEST_METHOD="HEAD")
        self.assert_closed(opened, "HEAD")
        environ = {}
        setup_testing_defaults(environ)
        handler.adapt(function)(environ, Response().start).close()  # a client that has gone: nothing is asked for
        self.assert_closed(opened, "gone")
        runtime.begin_request({})
        handler.adapt(function)(environ, Response().start).close()
        self.assert_closed(opened, "in the host")

    def assert_closed(self, opened, what):
        self.assertEqual([file._file.closed for file in opened], [True] * 3, what)
        del opened[:]


class LifeTest(Case):
    def test_a_request_that_is_over_can_be_looked_at_and_not_used(self):
        kept = []
        run(kept.append, "/app/x", HTTP_X="1")
        req, = kept
        self.assertEqual((req.method, req.path_info, req.status, req.headers_in["X"]), ("GET", "/x", 200, "1"))
        self.assertTrue(req.is_client_gone)
        for use in (lambda: req.read(), lambda: req.readline(), lambda: next(iter(req)), lambda: req.write("x"),
                    lambda: req.flush(), lambda: req.send_file(__file__), lambda: req.log("x"),
                    lambda: req.internal_redirect("/app"), lambda: setattr(req, "status", 404),
                    lambda: req.register_cleanup(print)):
            with self.assertRaisesRegex(RuntimeError, "too late"):
                use()

    def test_it_is_over_also_when_its_handler_raised(self):
        kept = []

        def function(req):
            kept.append(req)
            1 / 0
        self.assertRaises(ZeroDivisionError, run, function)
        with self.assertRaisesRegex(RuntimeError, "write.. comes too late: <fcgihost request GET /app> is over"):
            kept[0].write("x")

    def test_the_current_request_is_the_handlers(self):
        run(lambda req: self.assertIs(fcgihost.request(), req))
        self.assertIsNone(fcgihost.request())

    def test_cleanups_run_once_after_the_response_has_left(self):
        calls = []

        def function(req):
            self.assertEqual(req.register_cleanup(calls.append, "first"), calls.append)
            fcgihost.request().register_cleanup(calls.append, "second")
            req.write("x")
        environ = {}
        setup_testing_defaults(environ)
        body = handler.adapt(function)(environ, Response().start)
        self.assertEqual(list(body), [b"x"])
        self.assertEqual(calls, [])
        body.close()
        body.close()
        self.assertEqual(calls, ["second", "first"])

    def test_cleanups_run_when_the_handler_raises(self):
        calls = []

        def function(req):
            req.register_cleanup(calls.append, 1)
            1 / 0
        self.assertRaises(ZeroDivisionError, run, function)
        self.assertEqual(calls, [1])

    def test_who_has_begun_the_request_ends_it(self):
        calls = []
        outer = runtime.begin_request({})
        run(lambda req: req.register_cleanup(calls.append, 1) and None)
        self.assertEqual(calls, [])
        self.assertEqual(runtime.end_request(outer), 1)
        self.assertEqual(calls, [1])

    def test_the_host_keeps_the_outermost_request_and_ends_it(self):
        host = types_of_host()
        calls = []

        def function(req):
            self.assertIs(fcgihost.request(), req)
            req.register_cleanup(lambda: calls.append(fcgihost.request() is req))
        with mock.patch.object(runtime, "_host", host):
            run(function)
            self.assertIs(type(host.request), runtime.CurrentRequest)
            self.assertEqual(calls, [])
            runtime.end_request(host.request)
            self.assertEqual(calls, [True])

    def test_is_client_gone_asks_the_host(self):
        host = types_of_host()
        host.is_client_gone = lambda: host.is_gone
        with mock.patch.object(runtime, "_host", host):
            for host.is_gone in (True, False):
                run(lambda req: self.assertIs(req.is_client_gone, host.is_gone))

    def test_a_thread_of_the_host_that_serves_nothing_can_call_a_handler(self):
        host = types_of_host()
        host.current_request = lambda make: None
        calls = []
        with mock.patch.object(runtime, "_host", host):
            run(lambda req: req.register_cleanup(calls.append, fcgihost.request() is req) and None)
        self.assertEqual(calls, [True])

    def test_no_cycle_keeps_a_request(self):
        gc.disable()
        self.addCleanup(gc.enable)
        refs = []

        def function(req):
            refs.append(weakref.ref(req))
            req.headers_in
            req.write("x")
            if req.path_info != "/target":
                req.register_cleanup(str)
        run(function)
        self.assertIsNone(refs[0]())

    def test_a_handler_is_described_as_its_function(self):
        def function(req):
            pass
        adapted = handler.adapt(function)
        self.assertEqual((adapted.__qualname__, adapted.__module__), (function.__qualname__, __name__))
        self.assertIn("function", repr(adapted))
        for thing in (None, "function"):
            self.assertRaises(TypeError, handler.adapt, thing)

    def test_handlers_that_have_no_name_work_too(self):
        class Handler:
            def __call__(self, req):
                req.write("instance")
        self.assertEqual(call(handler.adapt(Handler())).body, b"instance")

    def test_importing_the_package_does_not_import_handlers(self):
        text = ("import sys, fcgihost; print('fcgihost.handler' in sys.modules, fcgihost.Request.__name__, "
                "fcgihost.InternalRedirect.__name__, hasattr(fcgihost, 'nothing'))")
        self.assertEqual(subprocess.check_output([sys.executable, "-B", "-c", text]),
                         b"False Request InternalRedirect False\n")


def types_of_host():
    from test_runtime import Host

    return Host()


class RedirectTest(Case):
    def paths(self, **functions):
        """A handler that serves /app/NAME with the function of that name."""
        return handler.adapt(lambda req: functions[req.path_info.strip("/") or "index"](req))

    def test_the_target_has_the_first_as_prev_and_makes_the_response(self):
        def index(req):
            req.note = ["kept"]
            req.headers_out["X-First"] = "lost"
            seen.append(req)
            self.assertIsNone(req.internal_redirect("/app/target?a=%20b#part"))
            self.assertIs(fcgihost.request(), req)

        def target(req):
            self.assertIs(req.prev, seen[0])
            self.assertIs(fcgihost.request(), req)
            self.assertEqual(req.prev.note, ["kept"])
            self.assertEqual((req.method, req.script_name, req.path_info, req.query, req.uri),
                             ("GET", "/app", "/target", "a=%20b", "/app/target?a=%20b"))
            self.assertEqual(threading.get_ident(), thread)
            req.headers_out["X-Target"] = "1"
            req.write("target")
            return 404
        seen, thread = [], threading.get_ident()
        response = call(self.paths(index=index, target=target), "/app", QUERY_STRING="old=1")
        self.assertEqual((response.status, response.body), ("404 Not Found", b"target"))
        self.assertEqual((response.get("X-Target"), response.get("X-First")), ("1", None))

    def test_locks_that_the_thread_holds_stay_its_own(self):
        lock = threading.RLock()

        def index(req):
            with lock:
                req.internal_redirect("/app/target")

        def target(req):
            self.assertTrue(lock.acquire(timeout=0))
            lock.release()
            self.assertFalse(in_thread(lambda: lock.acquire(timeout=0)))
        call(self.paths(index=index, target=target))

    def test_what_apache_sets_is_in_the_environ(self):
        def target(req):
            environ = req.environ
            self.assertEqual([environ["REDIRECT_" + name] for name in (
                "STATUS", "URL", "QUERY_STRING", "REQUEST_METHOD")], ["403", "/app", "old=1", "POST"])
            self.assertEqual((environ["REQUEST_URI"], environ["DOCUMENT_URI"], environ["HTTP_X"]),
                             ("/app/target", "/app/target", "1"))
            for name in ("SCRIPT_FILENAME", "PATH_TRANSLATED", "CONTENT_LENGTH", "CONTENT_TYPE"):
                self.assertNotIn(name, environ)

        def index(req):
            before = dict(req.environ)
            req.status = 403
            req.internal_redirect("/app/target")
            self.assertEqual(req.environ, before)
        call(self.paths(index=index, target=target), QUERY_STRING="old=1", DOCUMENT_URI="/app", HTTP_X="1",
             SCRIPT_FILENAME="/srv/app.py", PATH_TRANSLATED="/x", REQUEST_METHOD="POST", CONTENT_TYPE="a/b", body=b"x")

    def test_the_method_and_the_body(self):
        for before, asked, after, body in (("POST", None, "GET", b""), ("GET", None, "GET", b""),
                                           ("HEAD", None, "HEAD", b""), ("POST", "POST", "POST", b"rest"),
                                           ("PUT", "POST", "POST", b"rest"), ("POST", "GET", "GET", b"")):
            def index(req):
                req.read(1)
                req.internal_redirect("/app/target", asked)

            def target(req):
                self.assertEqual((req.method, req.read(), req.readline(), list(req)), (after, body, b"", []))
                self.assertEqual(req.headers_in.get("Content-Length"), "5" if body else None)
                req.prev.read()
            call(self.paths(index=index, target=target), REQUEST_METHOD=before, body=b"1rest", is_valid=False)

    def test_a_bad_method(self):
        def index(req):
            self.assertRaises(ValueError, req.internal_redirect, "/app", "a b")
            self.assertRaises(TypeError, req.internal_redirect, "/app", 1)
        call(self.paths(index=index))

    def test_nothing_can_be_written_afterwards(self):
        def index(req):
            req.internal_redirect("/app/target")
            for use in (lambda: req.write("x"), lambda: req.flush(), lambda: req.send_file(__file__),
                        lambda: req.internal_redirect("/app/target"), lambda: req.headers_out.add("X", "1"),
                        lambda: setattr(req, "status", 404)):
                with self.assertRaisesRegex(RuntimeError, "internal_redirect.. has made the response"):
                    use()
            req.log("still")
            req.register_cleanup(calls.append, 1)
            return 500
        calls = []
        response = call(self.paths(index=index, target=lambda req: req.write("target")))
        self.assertEqual((response.status, response.body, calls), ("200 OK", b"target", [1]))

    def test_it_comes_too_late_once_something_was_written(self):
        def index(req):
            req.write("x")
            with self.assertRaisesRegex(RuntimeError, "internal_redirect.'/app/target'. comes too late"):
                req.internal_redirect("/app/target")
        self.assertEqual(call(self.paths(index=index)).body, b"x")

    def test_cleanups_run_once_after_the_outermost_response(self):
        calls = []

        def index(req):
            req.register_cleanup(calls.append, "first")
            req.internal_redirect("/app/target")
            self.assertEqual(calls, [])

        def target(req):
            req.register_cleanup(calls.append, "target")
        call(self.paths(index=index, target=target))
        self.assertEqual(calls, ["target", "first"])

    def test_a_loop_ends_and_shows_its_chain(self):
        def index(req):
            depths.append(req)
            req.internal_redirect("/app/?n=%d" % len(depths))
        depths = []
        with self.assertRaises(RuntimeError) as caught:
            call(self.paths(index=index))
        self.assertEqual(len(depths), redirect.MAX_REDIRECTS + 1)
        self.assertRegex(str(caught.exception), r"more than 10 internal redirects.*\? /app( -> /app/){11}$")

    def test_the_exception(self):
        def index(req):
            def deep():
                raise fcgihost.InternalRedirect("/app/target", "PUT")
            deep()
        response = call(self.paths(index=index, target=lambda req: req.write(req.method + req.prev.uri)))
        self.assertEqual(response.body, b"PUT/app")
        self.assertEqual(str(fcgihost.InternalRedirect("/x")), "/x")

    def test_the_exception_comes_too_late_once_something_was_written(self):
        def index(req):
            req.write("x")
            raise fcgihost.InternalRedirect("/app/target")
        self.assertRaisesRegex(RuntimeError, "too late", call, self.paths(index=index))

    def test_what_the_target_raises_comes_out_and_the_first_can_still_answer(self):
        def index(req):
            self.assertRaises(ZeroDivisionError, req.internal_redirect, "/app/target")
            req.write("instead")
            return 502
        response = call(self.paths(index=index, target=lambda req: req.write("x") or 1 / 0))
        self.assertEqual((response.status, response.body), ("502 Bad Gateway", b"instead"))

    def test_a_target_that_fails_after_it_has_begun_leaves_nothing_to_answer(self):
        def index(req):
            self.assertRaises(ZeroDivisionError, req.internal_redirect, "/app/target")
            self.assertRaises(RuntimeError, req.write, "x")

        def target(req):
            req.write("half")
            req.flush()
            1 / 0
        self.assertEqual(call(self.paths(index=index, target=target)).body, b"half")

    def test_what_is_not_below_the_handler_is_404(self):
        for uri in ("/", "/ap", "/application", "/app/../x", "/%61pplication", "/app%2F..%2Fx"):
            response = run(lambda req: req.internal_redirect(uri))
            self.assertEqual((response.status, response.body), ("404 Not Found", b"404 Not Found\n"), uri)

    def test_paths_are_decoded_and_their_dots_resolved(self):
        for uri, path_info in (("/app", ""), ("/app/", "/"), ("/app//a/./b/../c/", "/a/c/"),
                               ("/app/%C3%A9%20", "/\xe9 "), ("/app/%FF", "/\udcff"), ("/../app/x", "/x"),
                               ("/app/a/..", "/"), ("/app/\xe9", "/\xe9")):
            def index(req):
                if req.prev is None:
                    return req.internal_redirect(uri)
                seen.append(req.path_info)
                req.environ["PATH_INFO"].encode("latin-1")
                self.assertTrue(req.uri.isascii() if hasattr(str, "isascii") else True)
            seen = []
            run(index)
            self.assertEqual(seen, [path_info], uri)

    def test_what_is_no_path_on_this_server(self):
        def index(req):
            for uri in ("http://example.org/", "", "x", "?a", "/a\r\nb", "/a\x7f", "/a%00"):
                self.assertRaises(ValueError, req.internal_redirect, uri)
            self.assertRaises(TypeError, req.internal_redirect, b"/app")
            req.write("unharmed")
        self.assertEqual(run(index).body, b"unharmed")

    def test_a_resolver_finds_other_targets(self):
        def application(environ, start_response):
            seen.append((environ["SCRIPT_NAME"], environ["PATH_INFO"], fcgihost.request().prev))
            start_response("203 Other", [("Content-Type", "x/y"), ("Content-Length", "2")])
            return [b"a", b"b"]
        handler.set_resolver(lambda path: (application, "/\u20ac", path) if path == "/other" else None)
        seen = []
        kept = []
        response = run(lambda req: kept.append(req) or req.internal_redirect("/other"))
        self.assertEqual((response.status, response.body, response.sent), ("203 Other", b"ab", []))
        self.assertEqual(seen, [("/\xe2\x82\xac", "/other", kept[0])])
        self.assertEqual(run(lambda req: req.internal_redirect("/elsewhere")).status, "404 Not Found")
        self.assertRaises(TypeError, handler.set_resolver, "x")

    def test_a_wsgi_target_is_streamed_before_the_redirect_returns_and_closed(self):
        class Body:
            def __iter__(self):
                yield b"a"
                events.append(list(response.sent))
                yield b""
                yield b"b"

            def close(self):
                events.append("closed")

        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "x/y")])
            return Body()

        def index(req):
            req.internal_redirect("/other")
            events.append("returned")
        events, response, environ = [], Response(), {}
        setup_testing_defaults(environ)
        handler.set_resolver(lambda path: (application, "", path))
        handler.adapt(index)(environ, response.start)
        self.assertEqual((events, response.sent), ([[b"a"], "closed", "returned"], [b"a", b"b"]))

    def test_a_wsgi_target_that_starts_late_or_writes(self):
        def application(environ, start_response):
            write = start_response("200 OK", [("Content-Type", "x/y")])
            write(b"a")
            yield b"b"
        handler.set_resolver(lambda path: (application, "", path))
        self.assertEqual(run(lambda req: req.internal_redirect("/other")).body, b"ab")

    def test_a_wsgi_target_that_never_starts(self):
        for body in ([b"x"], iter([b"x"]), iter([])):
            handler.set_resolver(lambda path: (lambda environ, start_response: body, "", path))
            with self.assertRaisesRegex(RuntimeError, "without calling start_response"):
                run(lambda req: req.internal_redirect("/other"))

    def test_a_wsgi_target_is_not_asked_for_more_when_nothing_more_can_be_sent(self):
        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "x/y")])
            return itertools.islice(itertools.cycle(chunks), 100)
        for chunks in [b"x"], [b""]:
            handler.set_resolver(lambda path: (application, "", path))
            host, asked = types_of_host(), []
            host.is_response_over = lambda is_silent: not asked.append(is_silent)
            with mock.patch.object(runtime, "_host", host):
                self.assertEqual(run(lambda req: req.internal_redirect("/other")).body, chunks[0])
            self.assertEqual(asked, [chunks == [b""]])

    def test_a_wsgi_target_may_replace_its_start(self):
        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "x/y")])
            try:
                raise ValueError
            except ValueError:
                start_response("500 Oops", [("Content-Type", "x/y")], sys.exc_info())
            return [b"x"]
        handler.set_resolver(lambda path: (application, "", path))
        self.assertEqual(run(lambda req: req.internal_redirect("/other")).status, "500 Oops")

    def test_a_handler_behind_a_middleware_keeps_prev(self):
        def target(req):
            req.write(req.prev.note + req.environ["added"])
            self.assertIs(fcgihost.request(), req)

        def middleware(environ, start_response):
            fcgihost.request().mark = True
            return adapted(dict(environ, added="!"), start_response)

        def index(req):
            req.note = "kept"
            req.internal_redirect("/other")
        adapted = handler.adapt(target)
        handler.set_resolver(lambda path: (middleware, "", path))
        self.assertEqual(run(index).body, b"kept!")

    def test_a_handler_that_is_called_as_an_application_has_no_prev(self):
        def index(req):
            inner = call(handler.adapt(lambda inner: inner.write(str(inner.prev))))
            self.assertIs(fcgihost.request(), req)
            req.write(inner.body)
        self.assertEqual(run(index).body, b"None")

    def test_a_target_may_send_a_file(self):
        path = self.write("file", b"x" * 100000)
        response = call(self.paths(index=lambda req: req.internal_redirect("/app/target"),
                                   target=lambda req: req.send_file(path)))
        self.assertEqual((len(response.body), response.get("Content-Length")), (100000, "100000"))

    def test_only_the_thread_of_the_request_can_redirect(self):
        def index(req):
            def use():
                try:
                    req.internal_redirect("/app")
                except RuntimeError as error:
                    return str(error)
            self.assertIn("only the thread", in_thread(use))
            self.assertIn("only the thread", in_thread(lambda: runtime.begin_request({}) and use()))
            with mock.patch.object(runtime, "outermost_request", lambda: None):
                self.assertIn("only the thread", use())
        run(index)

    def test_a_target_of_another_role_keeps_prev_too(self):
        def target(req):
            self.assertIs(type(req), handler.FilterRequest)
            self.assertIs(fcgihost.request(), req)
            req.write(req.prev.uri)
        adapted = handler.adapt_filter(target)
        handler.set_resolver(lambda path: (adapted, "", path))
        self.assertEqual(run(lambda req: req.internal_redirect("/other")).body, b"/app")

    def test_the_root_of_the_site(self):
        handler.set_resolver(lambda path: (handler.adapt(lambda req: req.write(path)), "", path))
        for uri in ("/", "//", "/?a", "/.", "/a/.."):
            self.assertEqual(run(lambda req: req.internal_redirect(uri)).body, b"/")

    def test_a_wsgi_target_without_a_body_can_read_it_in_every_way(self):
        def application(environ, start_response):
            body = environ["wsgi.input"]
            self.assertEqual((body.read(), body.read(5), body.readline(), body.readlines(), list(body)),
                             (b"", b"", b"", [], []))
            kept.append(fcgihost.request())
            start_response("204 No Content", [])
            return []
        kept = []
        handler.set_resolver(lambda path: (application, "", path))
        run(lambda req: req.internal_redirect("/other"), body=b"x")
        with self.assertRaisesRegex(RuntimeError, "is over"):
            kept[0].log("x")

    def test_the_requests_of_a_redirect_are_over_with_it(self):
        kept = []

        def index(req):
            req.internal_redirect("/app/target")
            with self.assertRaisesRegex(RuntimeError, "is over"):
                kept[0].write("x")
        call(self.paths(index=index, target=kept.append))


class AuthorizerTest(Case):
    def ask(self, verdict, is_role=True, **environ):
        function = verdict if callable(verdict) else lambda req: verdict
        if is_role:
            environ["FCGI_ROLE"] = "AUTHORIZER"
        return call(handler.adapt_authorizer(function), is_valid=not is_role, **environ)

    def test_what_allows(self):
        for verdict in (True, 200):
            response = self.ask(verdict)
            self.assertEqual((response.status, response.headers, response.left), ("200 OK", [], []))
            response = self.ask(verdict, is_role=False)
            self.assertEqual((response.status, response.get("Content-Length"), response.body), ("200 OK", "0", b""))

    def test_what_refuses(self):
        for is_role in (True, False):
            for verdict, line in ((False, "403 Forbidden"), (None, "403 Forbidden"), (403, "403 Forbidden"), (401, "401 Unauthorized"),
                                  (503, "503 Service Unavailable"), (302, "302 Found")):
                response = self.ask(verdict, is_role)
                self.assertEqual(response.status, line)
                self.assertEqual(response.body, b"" if verdict == 302 else line.encode() + b"\n")

    def test_false_with_a_challenge_is_401(self):
        def function(req):
            req.headers_out["WWW-Authenticate"] = "Basic realm=x"
            req.write("who are you?")
            return False
        response = self.ask(function)
        self.assertEqual((response.status, response.get("WWW-Authenticate"), response.body),
                         ("401 Unauthorized", "Basic realm=x", b"who are you?"))

    def test_nothing_that_is_returned_never_allows(self):
        def function(req):
            req.status = status
            req.variables["GROUP"] = "staff"
        for is_role in (True, False):
            for status, line in ((200, "403 Forbidden"), (202, "403 Forbidden"), (401, "401 Unauthorized"),
                                 (503, "503 Service Unavailable")):
                response = self.ask(function, is_role)
                self.assertEqual((response.status, response.get("Variable-GROUP")), (line, None))

    def test_anything_else_is_no_verdict(self):
        for verdict, error in ((204, ValueError), (100, ValueError), ("yes", TypeError), ([], TypeError),
                               (0.5, TypeError)):
            self.assertRaises(error, self.ask, verdict)
        self.assertRaises(ZeroDivisionError, self.ask, lambda req: 1 / 0)

    def test_variables(self):
        def function(req):
            req.variables["REMOTE_USER"] = "ada"
            req.variables.update({"X-Group": "staff"})
            req.headers_out["X-Other"] = "1"
            req.write("dropped")
            return True
        response = self.ask(function)
        self.assertEqual((response.status, response.body), ("200 OK", b""))
        self.assertEqual(response.headers, [("X-Other", "1"), ("Variable-REMOTE_USER", "ada"),
                                            ("Variable-X-Group", "staff")])
        response = self.ask(function, is_role=False)
        self.assertEqual((response.get("Variable-REMOTE_USER"), response.body), ("ada", b""))

    def test_variables_are_not_sent_with_a_refusal(self):
        def function(req):
            req.variables["REMOTE_USER"] = "ada"
            return False
        self.assertIsNone(self.ask(function).get("Variable-REMOTE_USER"))

    def test_bad_variables(self):
        def function(req):
            for name, value, error in (("a b", "x", ValueError), ("", "x", ValueError), ("A", "a\nb", ValueError),
                                       ("A", "\u20ac", ValueError), ("A", 1, TypeError), (1, "x", TypeError)):
                self.assertRaises(error, req.variables.__setitem__, name, value)
        self.ask(function)
        self.assertRaises(ValueError, self.ask, lambda req: req.variables.update({"A": "a\nb"}) or True)

    def test_a_file_that_is_not_sent_is_closed(self):
        opened = []

        def function(req):
            req.send_file(__file__)
            opened.extend(req._parts)
            return True
        self.assertEqual(self.ask(function).body, b"")
        self.assertEqual([part._file.closed for part in opened], [True])

    def test_nothing_leaves_before_the_verdict(self):
        def function(req):
            req.write("x" * 100000)
            req.flush()
            return False
        response = self.ask(function)
        self.assertEqual((response.status, len(response.body), response.sent), ("403 Forbidden", 100000, []))

    def test_another_one_can_not_decide(self):
        def function(req):
            raise fcgihost.InternalRedirect("/app")
        self.assertRaisesRegex(RuntimeError, "decide itself", self.ask, function)
        self.assertRaisesRegex(RuntimeError, "decide itself", self.ask, lambda req: req.internal_redirect("/app"))


class FilterTest(Case):
    def test_the_file(self):
        def function(req):
            self.assertEqual((req.data_length, req.data_last_modified), (6, 1600000000))
            req.write(req.read())
            req.write(req.data.read().upper())
        environ = {"fcgihost.data": io.BytesIO(b"a file"), "FCGI_DATA_LENGTH": "6", "FCGI_DATA_LAST_MOD": "1600000000"}
        response = call(handler.adapt_filter(function), body=b"body ", is_valid=False, **environ)
        self.assertEqual(response.body, b"body A FILE")

    def test_without_a_file(self):
        def function(req):
            self.assertEqual((req.data_length, req.data_last_modified), (None, None))
            with self.assertRaisesRegex(RuntimeError, "role of a filter"):
                req.data
        call(handler.adapt_filter(function), FCGI_DATA_LENGTH="", FCGI_DATA_LAST_MOD="x")
        call(handler.adapt_filter(function))


class HeadersTest(unittest.TestCase):
    def setUp(self):
        self.headers = headers.Headers([("A", "1"), ("b", "2"), ("B", "3")])

    def test_as_a_table(self):
        self.assertEqual((self.headers["a"], self.headers["B"], self.headers.get("c")), ("1", "2", None))
        self.assertEqual((list(self.headers), len(self.headers)), (["A", "B"], 2))
        self.assertIn("a", self.headers)
        self.assertNotIn("c", self.headers)
        self.assertNotIn(1, self.headers)
        self.assertRaises(KeyError, lambda: self.headers["c"])

    def test_names_that_come_several_times(self):
        self.assertEqual(self.headers.get_all("b"), ["2", "3"])
        self.assertEqual(self.headers.get_all("c"), [])
        self.assertEqual(self.headers.items(), [("A", "1"), ("b", "2"), ("B", "3")])

    def test_setting_replaces_all_in_the_place_of_the_first(self):
        self.headers["B"] = "4"
        self.headers["c"] = "5"
        self.headers["a"] = "6"
        self.assertEqual(self.headers.items(), [("a", "6"), ("B", "4"), ("c", "5")])

    def test_deleting(self):
        del self.headers["B"]
        self.assertEqual(self.headers.items(), [("A", "1")])
        self.assertRaises(KeyError, self.headers.__delitem__, "b")
        self.assertEqual(self.headers.pop("a"), "1")
        self.assertEqual(self.headers.setdefault("x", "y"), "y")

    def test_what_can_not_be_sent(self):
        for name, value, error in (
                ("", "x", ValueError), ("a b", "x", ValueError), ("a:", "x", ValueError), ("\xe9", "x", ValueError),
                ("A\n", "x", ValueError), ("A", "x\r\ny", ValueError), ("A", "x\0", ValueError),
                ("A", "\x7f", ValueError),
                ("A", "\u20ac", ValueError), ("A", 1, TypeError), ("A", b"x", TypeError), (b"A", "x", TypeError),
                ("Connection", "x", ValueError), ("transfer-encoding", "x", ValueError), ("Status", "200", ValueError),
                ("Content-Length", "x", ValueError), ("Content-Length", "-1", ValueError),
                ("Content-Length", "1\n", ValueError)):
            for change in (self.headers.add, self.headers.__setitem__):
                self.assertRaises(error, change, name, value)
        self.assertEqual(self.headers.items(), [("A", "1"), ("b", "2"), ("B", "3")])
        self.headers.add("Tab", "a\tb \xe9")

    def test_a_length_comes_once(self):
        self.headers.add("Content-Length", "1")
        self.assertRaises(ValueError, self.headers.add, "content-length", "1")
        self.headers["content-length"] = "2"

    def test_frozen(self):
        self.headers.freeze("because")
        for change in (lambda: self.headers.add("X", "1"), lambda: self.headers.__setitem__("A", "2"),
                       lambda: self.headers.__delitem__("A"), lambda: self.headers.clear()):
            with self.assertRaisesRegex(RuntimeError, "because"):
                change()
        self.assertEqual(self.headers["A"], "1")

    def test_values_are_not_shown(self):
        self.assertEqual(repr(headers.Headers([("Cookie", "secret"), ("A", "x")])), "<fcgihost headers: Cookie, A>")


if __name__ == "__main__":
    unittest.main()
