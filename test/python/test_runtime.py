import ast
import copy
import io
import os
import pickle
import subprocess
import sys
import threading
import types
import unittest
from unittest import mock

import fcgihost
from fcgihost import errors, runtime
from test_cleanup import in_child, in_thread

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class PackageTest(unittest.TestCase):
    def test_it_is_the_package_and_not_the_folder_of_the_c_sources(self):
        self.assertEqual(fcgihost.__file__, os.path.join(ROOT, "python", "fcgihost", "__init__.py"))

    def test_exports(self):
        self.assertEqual(fcgihost.__all__, sorted(fcgihost.__all__))
        for name in fcgihost.__all__:
            self.assertFalse(isinstance(getattr(fcgihost, name), types.ModuleType), name)

    def test_no_submodule_takes_the_place_of_what_it_defines(self):
        folder = os.path.dirname(fcgihost.__file__)
        modules = {os.path.splitext(name)[0] for name in os.listdir(folder)}
        self.assertIn("locks", modules)
        self.assertEqual(modules.intersection(fcgihost.__all__), set())

    def test_what_is_imported_later_is_listed_and_the_same_each_time(self):
        text = ("import sys, fcgihost\nassert not {'fcgihost.pool', 'fcgihost.locks'}.intersection(sys.modules)\n"
                "print(set(fcgihost.__all__) - set(dir(fcgihost)), fcgihost.lock is fcgihost.lock, fcgihost.Pool)\n"
                "from fcgihost import *\nprint(resource is fcgihost.resource)")
        self.assertEqual(subprocess.check_output([sys.executable, "-B", "-c", text]),
                         b"set() True <class 'fcgihost.pool.Pool'>\nTrue\n")

    def test_what_it_does_not_have_is_an_attribute_error(self):
        with self.assertRaisesRegex(AttributeError, "has no attribute 'Lock'"):
            fcgihost.Lock

    def test_importing_it_loads_nothing_slow(self):
        text = ("import sys; before = set(sys.modules); import fcgihost\n"
                "print({n for n in set(sys.modules) - before if not n.startswith('fcgihost')\n"
                "       and n not in sys.builtin_module_names})")
        loaded = ast.literal_eval(subprocess.check_output([sys.executable, "-B", "-c", text]).decode().strip()
                                  .replace("set()", "()"))
        self.assertEqual(set(loaded), set())


class OutsideTest(unittest.TestCase):
    def test_the_process(self):
        process = fcgihost.process
        self.assertEqual((process.pid, process.requests, process.generation, process.state, process.stopping),
                         (os.getpid(), 0, 0, "outside", False))
        self.assertGreater(process.started, 1.6e9)
        self.assertIn("outside", repr(process))
        with self.assertRaises(AttributeError):
            process.state = "serving"

    def test_stopping_that_is_asked_for_late(self):
        text = ("import sys, fcgihost\nfrom fcgihost import runtime\nruntime.set_stopping()\n"
                "print('threading' in sys.modules, fcgihost.process.stopping, fcgihost.stopping.is_set())\n"
                "fcgihost.stopping.clear()\n"
                "print(fcgihost.process.stopping, fcgihost.stopping is runtime.stopping)\n"
                "runtime.set_stopping()\nprint(fcgihost.stopping.is_set())")
        self.assertEqual(subprocess.check_output([sys.executable, "-I", "-B", "-c", "import sys; sys.path[:0] = [%r]\n"
                                                  % os.path.join(ROOT, "python") + text]),
                         b"False True True\nFalse True\nTrue\n")

    def test_restart_and_shutdown_say_that_they_need_the_host(self):
        for function in (fcgihost.restart, fcgihost.shutdown):
            with self.assertRaisesRegex(RuntimeError, "%s.. needs the host" % function.__name__):
                function()

    def test_stopping(self):
        self.addCleanup(fcgihost.stopping.clear)
        runtime.set_stopping()
        self.assertTrue(fcgihost.stopping.is_set())
        self.assertTrue(fcgihost.process.stopping)


class Host:
    """Stands for the module _fcgihost."""

    def __init__(self):
        self.calls = []
        self.request = None
        self.state = "serving"

    def process_facts(self):
        return 12.5, 3, 4, self.state

    def current_request(self, make):
        self.request = self.request or make({"REQUEST_METHOD": "GET", "REQUEST_URI": "/x"})
        return self.request

    def restart(self):
        self.calls.append("restart")

    def shutdown(self):
        self.calls.append("shutdown")


class HostTest(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        patch = mock.patch.object(runtime, "_host", self.host)
        patch.start()
        self.addCleanup(patch.stop)

    def test_the_process(self):
        process = fcgihost.process
        self.assertEqual((process.started, process.requests, process.generation, process.state, process.stopping),
                         (12.5, 3, 4, "serving", False))

    def test_it_is_stopping_in_the_states_of_its_end(self):
        for self.host.state, is_stopping in (("starting", False), ("draining", True), ("cleaning", True)):
            self.assertIs(fcgihost.process.stopping, is_stopping)

    def test_restart_and_shutdown_ask_the_host(self):
        fcgihost.restart()
        fcgihost.shutdown()
        self.assertEqual(self.host.calls, ["restart", "shutdown"])

    def test_the_request_is_the_hosts(self):
        request = fcgihost.request()
        self.assertEqual((request.method, request.uri), ("GET", "/x"))
        self.assertIs(fcgihost.request(), request)

    def test_a_forked_child_is_outside_and_asks_for_nothing(self):
        def child():
            try:
                fcgihost.shutdown()
            except RuntimeError as error:
                return fcgihost.process.state, fcgihost.request(), self.host.calls, str(error)

        message = "fcgihost.shutdown() is for the host's own process, and this is a forked child of it"
        self.assertEqual(in_child(child), str(("outside", None, [], message)))

    def test_a_host_without_a_function_is_like_none(self):
        runtime._host = object()
        self.assertEqual((fcgihost.process.state, fcgihost.request()), ("outside", None))
        with self.assertRaises(RuntimeError):
            fcgihost.restart()


class RequestTest(unittest.TestCase):
    def tearDown(self):
        runtime.end_request()

    def test_none_when_none_is_served(self):
        self.assertIsNone(fcgihost.request())
        self.assertEqual(runtime.end_request(), 0)

    def test_it_belongs_to_its_thread_and_ends(self):
        environ = {"REQUEST_METHOD": "POST", "REQUEST_URI": "/a?b"}
        request = runtime.begin_request(environ)
        self.assertIs(fcgihost.request(), request)
        self.assertIs(request.environ, environ)
        self.assertEqual(repr(request), "<fcgihost request POST /a>")
        self.assertIsNone(in_thread(fcgihost.request))
        runtime.end_request()
        self.assertIsNone(fcgihost.request())

    def test_a_wsgi_application_reads_from_it_what_a_handler_reads_from_its_own(self):
        errors_stream = io.StringIO()
        request = runtime.begin_request({
            "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/b\xc3\xbcro", "PATH_INFO": "/caf\xc3\xa9", "QUERY_STRING": "a=%20",
            "HTTP_USER_AGENT": "me", "wsgi.errors": errors_stream})
        self.assertEqual((request.script_name, request.path_info, request.query), ("/b\xfcro", "/caf\xe9", "a=%20"))
        self.assertEqual(request.headers_in["User-Agent"], "me")
        self.assertIs(request.is_client_gone, False)
        self.assertIsNone(request.prev)
        request.log("one line")
        self.assertEqual(errors_stream.getvalue(), "one line\n")

    def test_its_cleanups_run_at_its_end_last_in_first_out(self):
        request = runtime.begin_request({})
        calls = []
        self.assertEqual(request.register_cleanup(calls.append, 1), calls.append)
        request.register_cleanup(calls.append, 2)
        self.assertEqual(calls, [])
        names = []
        self.assertEqual(runtime.end_request(request, None, names.append), 2)
        self.assertEqual(calls, [2, 1])
        self.assertEqual(names, ["builtins.list.append"] * 2)
        with self.assertRaisesRegex(RuntimeError, "too late"):
            request.register_cleanup(print)

    def test_the_request_that_is_named_ends_and_no_other(self):
        other = runtime.CurrentRequest({})
        calls = []
        other.register_cleanup(calls.append, "other")
        request = runtime.begin_request({})
        self.assertEqual(runtime.end_request(other), 1)
        self.assertEqual(calls, ["other"])
        self.assertIs(fcgihost.request(), request)

    def test_without_a_log_what_a_cleanup_raises_is_reported(self):
        reports = []
        errors.report_to(lambda what, error: reports.append(what))
        self.addCleanup(errors.report_to, None)
        runtime.begin_request({}).register_cleanup(int, "x")
        runtime.end_request()
        self.assertEqual(reports, ["cleanup builtins.int"])

    def test_a_cleanup_that_raises_is_logged_under_its_name(self):
        logged = []
        runtime.begin_request({}).register_cleanup(int, "x")
        runtime.end_request(log=lambda *args: logged.append(args))
        self.assertEqual(logged[0][0], "builtins.int")
        self.assertIsInstance(logged[0][1], ValueError)

    def test_uri_without_request_uri(self):
        for environ, uri in (({}, ""), ({"SCRIPT_NAME": "/app", "PATH_INFO": "/\xc3\xa9 x\n"}, "/app/%C3%A9%20x%0A"),
                             ({"PATH_INFO": "/p", "QUERY_STRING": "a=%20"}, "/p?a=%20")):
            self.assertEqual(runtime.CurrentRequest(environ).uri, uri)


class WaitTest(unittest.TestCase):
    class Lock:
        """A lock that is never free, until it was asked for so many times; notes for how long it was waited for."""

        def __init__(self, free_after):
            self.free_after, self.timeouts = free_after, []

        def acquire(self, timeout):
            self.timeouts.append(timeout)
            return len(self.timeouts) > self.free_after

    def test_it_waits_in_slices_so_that_exceptions_get_through(self):
        for timeout in (None, 1000):
            lock = self.Lock(3)
            self.assertTrue(runtime.wait(lock, timeout))
            self.assertEqual(lock.timeouts, [runtime.SLICE] * 4)

    def test_an_exception_of_the_host_s_is_raised_between_two_slices_and_never_with_the_lock(self):
        for timeout in (None, 1000):
            lock, host = self.Lock(3), Host()
            host.check_interrupt = mock.Mock(side_effect=[None, None, fcgihost.RequestTimeout])
            with mock.patch.object(runtime, "_host", host), self.assertRaises(fcgihost.RequestTimeout):
                runtime.wait(lock, timeout)
            self.assertEqual(len(lock.timeouts), 3)
            host.check_interrupt = mock.Mock(side_effect=fcgihost.RequestTimeout)
            with mock.patch.object(runtime, "_host", host):
                self.assertTrue(runtime.wait(self.Lock(0), timeout))

    def test_it_gives_up(self):
        lock = self.Lock(9)
        self.assertFalse(runtime.wait(lock, 0))
        self.assertEqual(lock.timeouts, [0])
        lock = self.Lock(9)
        now = [100.0]
        with mock.patch.object(runtime.time, "monotonic", lambda: now[0]):
            lock.acquire = lambda timeout: now.__setitem__(0, now[0] + timeout)
            self.assertFalse(runtime.wait(lock, 2.5))
        self.assertEqual(now[0], 102.5)


class ForkTest(unittest.TestCase):
    def test_stopping_works_in_a_child_though_a_thread_held_its_lock(self):
        event = fcgihost.stopping
        with event._cond:
            child = in_child(lambda: (event.is_set(), event.set(), event.is_set()))
        self.assertEqual(child, "(False, None, True)")

    def test_stopping_stays_set(self):
        self.addCleanup(fcgihost.stopping.clear)
        fcgihost.stopping.set()
        self.assertEqual(in_child(fcgihost.stopping.is_set), "True")


class ErrorsTest(unittest.TestCase):
    def tearDown(self):
        errors.report_to(None)

    def test_what_interrupts_a_request_is_no_exception_that_applications_catch_by_habit(self):
        for kind, text in ((fcgihost.RequestTimeout, "the request has taken longer than [limits] request_time"),
                           (fcgihost.ClientGone, "the client of the request has left")):
            self.assertFalse(issubclass(kind, Exception))
            self.assertEqual((str(kind()), str(kind("mine"))), (text, "mine"))

    def test_resource_unavailable(self):
        error = fcgihost.ResourceUnavailable("down", retry_after=30)
        self.assertEqual((str(error), error.retry_after, error.name), ("down", 30.0, None))
        self.assertEqual(fcgihost.ResourceUnavailable().retry_after, 1.0)
        for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            self.assertEqual((str(other), other.retry_after), ("down", 30.0))

    def test_a_report_is_printed(self):
        stderr = io.StringIO()
        with mock.patch.object(sys, "stderr", stderr):
            errors.report("close of x", ValueError("why"))
        self.assertEqual(stderr.getvalue(), "fcgihost: close of x failed\nValueError: why\n")

    def test_without_the_traceback_module_an_exception_is_shown_plainly(self):
        class Mute(Exception):
            def __str__(self):
                raise ValueError

        shown = []
        with mock.patch.dict(sys.modules, {"traceback": None}):  # its import fails
            for raised in ValueError("why"), Mute():
                try:
                    raise raised
                except Exception as error:
                    shown.append(errors.format_exception(error, error.__traceback__).splitlines())
            stack = errors.format_stack(sys._getframe()).splitlines()
        place = 'File "%s", line ' % __file__
        self.assertEqual((shown[0][0], shown[0][2]), ("Traceback (most recent call last):", "ValueError: why"))
        self.assertRegex(shown[0][1], "  %s[0-9]+, in test_without" % place)
        self.assertEqual(shown[1][2], "Mute")
        self.assertRegex(stack[-1], "  %s[0-9]+, in test_without" % place)
        self.assertNotIn("test_without", stack[0])

    def test_so_it_is_if_it_cannot_import_what_it_needs_itself(self):
        import traceback

        no_descriptor = OSError(24, "Too many open files")
        with mock.patch.object(traceback, "format_exception", side_effect=no_descriptor), \
                mock.patch.object(traceback, "format_stack", side_effect=no_descriptor):
            try:
                raise ValueError("why")
            except Exception as error:
                text = errors.format_exception(error, error.__traceback__)
            stack = errors.format_stack(sys._getframe())
        self.assertRegex(text, "^Traceback .*\n.*in test_so_it_is.*\nValueError: why\n$")
        self.assertIn("in test_so_it_is", stack)

    def test_with_it_they_have_their_lines(self):
        try:
            raise ValueError("why")  # here
        except Exception as error:
            self.assertIn('raise ValueError("why")  # here', errors.format_exception(error, error.__traceback__))
        self.assertIn("sys._getframe())", errors.format_stack(sys._getframe()))

    def test_a_report_goes_where_the_host_wants_it_and_never_raises(self):
        reports = []
        errors.report_to(lambda *args: reports.append(args) or 1 / 0)
        error = ValueError()
        errors.report("x", error)
        self.assertEqual(reports, [("x", error)])


if __name__ == "__main__":
    unittest.main()
