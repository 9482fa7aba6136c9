"""fcgihost.host.entry: what the C side calls by name."""
import faulthandler
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

import support
from fcgihost import errors, interrupt, runtime
from fcgihost.host import ending, entry, loader


KINDS = """
import functools
def function(e, s):
    pass
class Class:
    def __call__(self, e, s):
        pass
    def method(self, e, s):
        pass
instance = Class()
method = instance.method
partial = functools.partial(function)
builtin = len
slot = "".join
"""


class FileWrapperTest(unittest.TestCase):
    def test_seeks_where_the_file_can(self):
        """As who sends a range of it does, werkzeug for example."""
        wrapper = entry.FileWrapper(io.BytesIO(b"abcdefgh"), 3)
        self.assertTrue(wrapper.seekable())
        self.assertEqual((wrapper.seek(4), wrapper.tell(), list(wrapper)), (4, 4, [b"efg", b"h"]))
        self.assertEqual(wrapper.seek(-2, io.SEEK_END), 6)

    def test_does_not_seek_where_the_file_can_not(self):
        class OnlyRead:
            def read(self, size):
                return b""

        class OnlySeek(OnlyRead):
            def seek(self, position):
                return position

        class Pipe(OnlySeek):
            def seekable(self):
                return False
        self.assertFalse(entry.FileWrapper(OnlyRead()).seekable())
        self.assertFalse(hasattr(entry.FileWrapper(OnlyRead()), "seek"))
        self.assertTrue(entry.FileWrapper(OnlySeek()).seekable())
        self.assertFalse(entry.FileWrapper(Pipe()).seekable())

    def test_blocks(self):
        wrapper = entry.FileWrapper(io.BytesIO(b"abcdefgh"), 3)
        self.assertIs(iter(wrapper), wrapper)
        self.assertEqual(list(wrapper), [b"abc", b"def", b"gh"])
        self.assertRaises(StopIteration, next, wrapper)

    def test_the_size_of_a_block_can_be_left_out(self):
        blocks = list(entry.FileWrapper(io.BytesIO(bytes(70000))))
        self.assertEqual([len(block) for block in blocks], [65536, 4464])

    def test_an_empty_file(self):
        self.assertEqual(list(entry.FileWrapper(io.BytesIO(), 3)), [])

    def test_closing_closes_the_file(self):
        file = io.BytesIO(b"x")
        entry.FileWrapper(file).close()
        self.assertTrue(file.closed)

    def test_a_file_that_can_not_be_closed(self):
        class OnlyRead:
            def read(self, n):
                return b""
        self.assertFalse(hasattr(entry.FileWrapper(OnlyRead()), "close"))

    def test_errors_come_out(self):
        class Broken:
            def read(self, n):
                raise OSError("broken")
        self.assertRaisesRegex(OSError, "broken", next, entry.FileWrapper(Broken()))


class SetUpTest(unittest.TestCase):
    def setUp(self):
        names = "stdout", "stderr", "__stdout__", "__stderr__"
        streams, interval = [getattr(sys, name) for name in names], sys.getswitchinterval()
        handler = signal.getsignal(signal.SIGUSR1)
        support.clear_host()
        self.stacks = tempfile.TemporaryFile()

        def restore():
            for name, stream in zip(names, streams):
                setattr(sys, name, stream)
            sys.setswitchinterval(interval)
            signal.signal(signal.SIGUSR1, handler)
            faulthandler.unregister(signal.SIGUSR2)
            errors.report_to(None)
            self.stacks.close()
        self.addCleanup(restore)
        self.interval = interval

    def set_up_host(self, switch_interval=0):
        self.out, self.err = (tempfile.TemporaryFile() for _ in range(2))
        self.addCleanup(self.out.close)
        self.addCleanup(self.err.close)
        sys.stdout, sys.stderr = (io.TextIOWrapper(open(file.fileno(), "wb", closefd=False), "utf-8")
                                  for file in (self.out, self.err))
        entry.set_up(switch_interval, signal.SIGUSR1, signal.SIGUSR2, self.stacks.fileno())

    def test_nothing_asked_for_changes_nothing(self):
        self.set_up_host()
        self.assertEqual(sys.getswitchinterval(), self.interval)

    def test_the_switch_interval(self):
        self.set_up_host(switch_interval=0.25)
        self.assertEqual(sys.getswitchinterval(), 0.25)

    def test_a_line_arrives_when_it_is_printed_whatever_is_in_it(self):
        self.set_up_host()
        print("out \u20ac \ud800")
        print("err \udcff", file=sys.stderr)
        self.assertEqual(os.pread(self.out.fileno(), 100, 0).decode(), "out \u20ac \\ud800\n")
        self.assertEqual(os.pread(self.err.fileno(), 100, 0), b"err \\udcff\n")

    def test_the_signal_that_interrupts(self):
        self.set_up_host()
        with self.assertRaises(interrupt.Interrupted), interrupt.possible():
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)    # nothing of the application's: nothing happens

    def test_the_signal_that_shows_the_stacks(self):
        self.set_up_host()
        os.kill(os.getpid(), signal.SIGUSR2)
        self.stacks.seek(0)
        self.assertIn(b"test_the_signal_that_shows_the_stacks", self.stacks.read())

    def test_what_nobody_can_catch_goes_to_the_log(self):
        self.set_up_host()
        errors.report("close of pool shop", ValueError("mine"))
        self.assertEqual(support.host_log, [(support.stub.LOG_ERROR, "close of pool shop failed\nValueError: mine")])


def settings(wsgi="", script="", callable="application", imports=(), require=False, exits=False):
    return several([section(wsgi=wsgi, script=script, callable=callable)], imports, require, exits)


def several(sections, imports=(), require=False, exits=False):
    return {"applications": sections, "file": None, "imports": list(imports), "require": require, "retry_delay": 1.0,
            "retry_max_delay": 60.0, "exits": exits, "reload": "script", "interval": 1.0, "watch": []}


def section(**keys):
    names = ("name", "wsgi", "handler", "script", "script_root", "mount", "authorizer", "filter")
    return {**dict.fromkeys(names), "callable": "application", "extensions": ".py .wsgi", **keys}


class ApplicationTest(support.FolderTestCase):
    def start_up(self, before=None, **keys):
        """What on_loaded was called with, and whether the process goes on."""
        loaded = []
        goes_on = entry.start_up(settings(**keys), lambda place, programs: loaded.append(programs[0]), before)
        return loaded, goes_on

    def test_a_module(self):
        self.write("hello.py", "def application(e, s):\n    return [b'module']\n")
        (application,), goes_on = self.start_up(wsgi="hello:application")
        self.assertEqual(application({}, None), [b"module"])
        self.assertIs(goes_on, True)

    def test_a_script(self):
        path = self.write("hello.wsgi", "def app(e, s):\n    return [b'script']\n")
        (application,), _ = self.start_up(script=path, callable="app")
        self.assertEqual(application({}, None), [b"script"])

    def test_imports_come_first(self):
        self.write("order.py", "names = []\n")
        self.write("one.py", "import order\norder.names.append(__name__)\n")
        self.write("two.py", "import order\ndef fill():\n    order.names.append('fill')\n")
        self.write("hello.py", "import order\norder.names.append(__name__)\napplication = print\n")
        self.start_up(wsgi="hello:application", imports=["one", "two:fill"])
        self.assertEqual(sys.modules["order"].names, ["one", "fill", "hello"])

    def test_the_host_knows_what_is_being_imported(self):
        self.write("one.py", "")
        self.write("hello.py", "application = print\n")
        self.start_up(wsgi="hello:application", imports=["one"])
        self.assertEqual(support.host_steps, [
            (support.stub.STEP_IMPORT, "start-up import one, attempt 1"), (support.stub.STEP_NONE, ""), "signals",
            (support.stub.STEP_IMPORT, "application hello:application, attempt 1"), (support.stub.STEP_NONE, ""), "signals"])
        self.assertEqual([level for level, _ in support.host_log], [support.stub.LOG_INFO] * 2)

    def test_a_process_that_ends_meanwhile_goes_on_to_its_end(self):
        _, before = self.start_up(wsgi="no_such_module:application")
        loaded, goes_on = self.start_up(before, wsgi="no_such_module:application")
        self.assertEqual((loaded, goes_on), ([], True))
        self.assertTrue(support.host_waits)

    def test_a_failure_wants_a_fresh_interpreter_which_goes_on_counting(self):
        _, before = self.start_up(wsgi="no_such_module:application")
        self.assertIsInstance(before, bytes)
        self.assertFalse(support.host_waits)
        self.write("no_such_module.py", "application = print\n")

        def wait(seconds, next_attempt):
            time.sleep(seconds)
            return False
        support.stub.wait, original = wait, support.stub.wait
        self.addCleanup(setattr, support.stub, "wait", original)
        self.start_up(before, wsgi="no_such_module:application")
        self.assertIn("loaded at attempt 2", support.host_log[-1][1])

    def test_a_failure_that_ends_the_process(self):
        self.assertEqual(self.start_up(wsgi="no_such_module:application", exits=True), ([], False))
        self.assertFalse(support.host_waits)

    def test_a_changed_file_is_loaded_at_once(self):
        path = self.write("hello.wsgi", "1 / 0\n")
        waited = []

        def repair(seconds, next_attempt):
            waited.append(next_attempt)
            self.write("hello.wsgi", "application = print\n")
            return len(waited) > 1
        support.stub.wait, wait = repair, support.stub.wait
        self.addCleanup(setattr, support.stub, "wait", wait)
        _, before = self.start_up(script=path)
        self.assertEqual(self.start_up(before, script=path), ([print], True))
        self.assertEqual(len(waited), 1)

    def test_once(self):
        self.write("hello.py", "application = print\n")
        self.write("one.py", "")
        self.assertEqual(entry.start_up_once(settings("hello:application", imports=["one"])),
                         ([(print, None, None)], True))
        self.assertEqual(support.host_log, [])

    def test_once_with_an_import_that_fails(self):
        self.write("hello.py", "application = print\n")
        for keys, programs in (({}, (print, None, None)), ({"require": True}, None), ({"exits": True}, None)):
            with self.subTest(keys=keys):
                done = entry.start_up_once(settings("hello:application", imports=["no_such_module"], **keys))
                self.assertEqual(done, ([programs], False))

    def test_once_with_an_application_that_fails(self):
        self.assertEqual(entry.start_up_once(settings("no_such_module:application")), ([None], False))
        (level, text), = support.host_log
        self.assertEqual(level, support.stub.LOG_ERROR)
        self.assertIn("application no_such_module:application: can't be loaded\nModuleNotFoundError", text)

    def test_one_that_fails_does_not_keep_the_others_from_serving(self):
        self.write("hello.py", "application = print\n")
        loaded = []
        sections = [section(name="a", wsgi="no_such_module:a"), section(name="b", wsgi="hello:application")]
        before = entry.start_up(several(sections), lambda *arguments: loaded.append(arguments), None)
        entry.start_up(several(sections), lambda *arguments: loaded.append(arguments), before)
        self.assertEqual(loaded, [(1, (print, None, None))])

    def test_the_roles_of_a_section(self):
        self.write("hello.py", "application = print\ndef judge(req): pass\ndef change(req): pass\n")
        loaded = []
        entry.start_up(several([
            section(wsgi="hello:application", authorizer="hello:judge", filter="hello:change"),
            section(name="gate", authorizer="hello:judge")]), lambda place, programs: loaded.append(programs), None)
        (responder, authorizer, filter_), (gate, other, nothing) = loaded
        self.assertIs(responder, print)
        self.assertEqual([authorizer.__wrapped__.__name__, filter_.__wrapped__.__name__], ["judge", "change"])
        self.assertIs(gate, other)
        self.assertIsNone(nothing)

    def test_redirects_reach_what_the_other_sections_serve(self):
        from fcgihost import redirect

        self.addCleanup(redirect.set_resolver, None)
        self.write("hello.py", "application = print\ndef change(req): pass\n")
        sections = [section(name="root", wsgi="hello:application", mount=""),
                    section(name="late", wsgi="late:application", mount="/late"),
                    section(name="filter", filter="hello:change", mount="/filter"),
                    section(name="files", script_root=self.folder, mount="/files"),
                    section(name="judge", authorizer="hello:change"),
                    section(name="rest", wsgi="hello:application")]
        entry.start_up_once(several(sections))
        self.assertEqual(redirect._rest_resolver("/x/y"), (print, "", "/x/y"))
        self.assertEqual(redirect._resolver("/x/y"), (print, "", "/x/y"))
        self.assertEqual(redirect._resolver("/filter/x"), (print, "", "/filter/x"))
        self.assertEqual(redirect._resolver("/filesystem"), (print, "", "/filesystem"))  # it is not below /files
        os.mkdir(self.folder + "/sub")
        self.write("sub/a.wsgi", "application = print\n")
        for path, name, path_info in (("/sub/a.wsgi/x/y", "/sub/a.wsgi", "/x/y"), ("/sub/a.wsgi", "/sub/a.wsgi", ""),
                                      ("/sub/none/x", "/sub/none/x", ""), ("/", "/", ""), ("", "", ""),
                                      ("/x" * 100, "/x" * 100, "")):
            self.assertEqual(redirect._resolver("/files" + path)[1:], ("/files" + name, path_info))
        with self.assertRaisesRegex(errors.ResourceUnavailable, "application late:application has not been loaded yet"):
            redirect._resolver("/late/x")

    def test_a_responder_that_counts_as_false_is_one_all_the_same(self):
        self.write("hello.py", "class App(list):\n    def __call__(self, e, s): pass\n"
                               "application = App()\ndef judge(req): pass\n")
        programs, = entry.start_up_once(several([section(wsgi="hello:application", authorizer="hello:judge")]))[0]
        self.assertEqual(type(programs[0]).__name__, "App")

    def test_a_script_root_that_is_no_folder(self):
        self.assertEqual(entry.start_up_once(several([section(script_root="/no/such/folder")])), ([None], False))
        self.assertIn("script_root /no/such/folder is not a folder", support.host_log[0][1])

    def test_every_kind_of_application_is_described_in_a_line(self):
        path = self.write("hello.py", KINDS)
        for name, words in [("function", ["hello.function", path]),
                            ("Class", ["hello.Class", path]),
                            ("instance", ["hello.Class", path]),
                            ("method", ["hello.Class.method", path]),
                            ("partial", ["partial"]),
                            ("builtin", ["len"]),
                            ("slot", ["join"])]:
            with self.subTest(name=name):
                line = entry.describe_application(loader.load_module("hello:" + name))
                self.assertNotIn("\n", line)
                for word in words:
                    self.assertIn(word, line)

    def test_a_script_s_application_is_described_with_its_file(self):
        path = self.write("hello.wsgi", "def app(e, s):\n    pass\n")
        self.assertIn(path, entry.describe_application(loader.load_script(path, "app").application))


class RequestTimeTest(unittest.TestCase):
    def setUp(self):
        support.clear_host()

    def test_the_stack_of_a_thread_that_serves_for_too_long(self):
        begun, go_on = threading.Event(), threading.Event()

        def serve_slowly():
            begun.set()
            go_on.wait()
        thread = threading.Thread(target=serve_slowly)
        thread.start()
        begun.wait()
        try:
            entry.log_stack("GET /a\udcff", "4f2a", 2.04, "[limits] request_time", ": it is interrupted", thread.ident)
        finally:
            go_on.set()
            thread.join()
        (level, text), = support.host_log
        self.assertEqual(level, support.stub.LOG_WARNING)
        self.assertTrue(text.startswith("GET /a\\udcff: has been running for 2.0 s, longer than [limits] request_time: it is "
                                        "interrupted; its stack, most recent call last:\n"), text)
        self.assertIn("in serve_slowly\n", text)

    def test_a_thread_that_is_not_in_python(self):
        entry.log_stack("GET /a", "4f2a", 1, "[log] slow_request", "", 0)
        self.assertEqual(support.host_log[0][1],
                         "GET /a: has been running for 1.0 s, longer than [log] slow_request; not in Python")

    def test_what_became_of_it(self):
        entry.log_timeout("GET /a", "answered with 504", None)
        try:
            raise errors.RequestTimeout
        except errors.RequestTimeout as error:
            entry.log_timeout("GET /a", "answered with 504", error)
        (level, text), (_, longer) = support.host_log
        self.assertEqual((level, text), (
            support.stub.LOG_WARNING, "GET /a: it took longer than [limits] request_time: answered with 504"))
        self.assertTrue(longer.startswith(text + "; where that was, most recent call last:\n  File "), longer)
        self.assertNotIn("Traceback", longer)


class UnavailableTest(unittest.TestCase):
    def describe(self, *arguments, cause=None, **keys):
        exception = errors.ResourceUnavailable(*arguments, **keys)
        exception.__cause__ = cause
        status, page, seconds, event, line, told = entry.describe_answer(exception)
        self.assertEqual((status, told), ("503 Service Unavailable", None))
        self.assertIn("Please try again", page)
        return seconds, line

    def test_other_exceptions_are_none(self):
        for exception in ValueError("x"), SystemExit(), ConnectionError():
            self.assertIsNone(entry.describe_answer(exception))

    def test_a_line_and_the_seconds(self):
        self.assertEqual(self.describe("the index is being rebuilt", retry_after=30), (30, "503: the index is being rebuilt"))

    def test_seconds_are_whole_and_within_a_day(self):
        for retry_after, seconds in ((0, 1), (-5, 1), (0.2, 1), (1, 1), (1.001, 2), (86400, 86400), (86400.5, 86400),
                                     (1e300, 86400), (float("inf"), 86400), (float("-inf"), 1), (float("nan"), 1)):
            with self.subTest(retry_after=retry_after):
                described, _ = self.describe("x", retry_after=retry_after)
                self.assertEqual(described, seconds)
                self.assertIs(type(described), int)

    def test_a_subclass_is_one_too(self):
        class Mine(errors.ResourceUnavailable):
            pass
        self.assertEqual(entry.describe_answer(Mine("x", retry_after=2))[2:], (2, "resource-unavailable", "503: x", None))

    def test_the_cause_is_told(self):
        self.assertEqual(self.describe("shop", cause=OSError("refused"))[1], "503: shop (OSError: refused)")

    def test_a_cause_that_the_message_has_is_not_told_twice(self):
        self.assertEqual(self.describe("shop: refused", cause=OSError("refused"))[1], "503: shop: refused")

    def test_it_is_one_printable_line(self):
        line = self.describe("one\ntwo \udcff \0", cause=OSError("three\nfour"))[1]
        self.assertEqual(line, "503: one two \\udcff \\x00 (OSError: three four)")


class ScriptErrorTest(unittest.TestCase):
    def test_what_its_status_says(self):
        for status, line, page in ((403, "403 Forbidden", "This can't be run.\n"),
                                   (404, "404 Not Found", "Nothing is here.\n"),
                                   (500, "500 Internal Server Error", None)):
            described = entry.describe_answer(errors.ScriptError(status, "/srv/a.py is odd\n"))
            self.assertEqual(described, (line, page, 0, "script-refused", "%d: /srv/a.py is odd " % status, None))

    def test_its_cause_is_for_the_log(self):
        error = errors.ScriptError(500, "/srv/a.py can't be loaded")
        error.__cause__ = ValueError("x")
        self.assertIs(entry.describe_answer(error)[5], error.__cause__)


class EndTest(unittest.TestCase):
    def setUp(self):
        support.clear_host()
        self.addCleanup(runtime.stopping.clear)
        self.calls = []

    def end(self, is_stuck=False, interrupted=(), left=()):
        def run_cleanups(log, on_start):
            self.assertTrue(runtime.stopping.is_set())
            on_start("close")
            return list(interrupted)

        def join_threads(seconds):
            self.assertTrue(0 <= seconds <= 60)
            return list(left)
        with mock.patch.multiple(ending, run_cleanups=run_cleanups, join_threads=join_threads,
                                 run_exit_functions=lambda: self.calls.append("exit functions")):
            return entry.end(60, is_stuck, False)

    def test_each_step_is_told(self):
        self.assertIs(self.end(), True)
        self.assertEqual(support.host_steps, [(support.stub.STEP_CLEANUP, "close"),
                                              (support.stub.STEP_THREADS, "the application's threads"),
                                              (support.stub.STEP_EXIT, "an atexit function")])
        self.assertEqual(self.calls, ["exit functions"])
        self.assertEqual(support.host_log, [])

    def test_what_is_left_keeps_python_from_being_ended(self):
        for keys in {"is_stuck": True}, {"interrupted": ["close"]}, {"left": [threading.Thread(name="refresh")]}:
            with self.subTest(keys=keys):
                self.assertIs(self.end(**keys), False)
        self.assertEqual(self.calls, ["exit functions"] * 3)

    def test_before_a_fresh_interpreter_threads_are_neither_waited_for_nor_named(self):
        waited = []
        with mock.patch.multiple(ending, run_cleanups=lambda *_: [], run_exit_functions=lambda: None,
                                 join_threads=lambda seconds: waited.append(seconds) or [threading.Thread()]):
            entry.end(60, False, True)
        self.assertEqual(support.host_log, [])
        self.assertLess(waited[0], 1)

    def test_threads_that_did_not_end_are_named(self):
        support.host_activities.append((5, "GET /slow", 1.0))
        self.end(left=[threading.Thread(name="refresh"), threading.Thread(name="poll")])
        (level, text), = support.host_log
        self.assertEqual(level, support.stub.LOG_ERROR)
        self.assertIn("did not end: refresh, poll:", text)
        self.assertIn("serving GET /slow for 1.0 s", text)


class ThreadingTest(unittest.TestCase):
    SCRIPT = """
import sys, _thread
sys.modules["_fcgihost"] = stub = type(sys)("_fcgihost")
stub.tell = lambda items, left_out: None
stub.admit_output = lambda data: None
stub.LOG_ERROR, stub.LOG_WARNING, stub.LOG_INFO, stub.LOG_DEBUG = range(4)
sys.path.insert(0, %r)
from fcgihost.host import entry
assert "threading" not in sys.modules
entry._import_late()
print("threading" in sys.modules)
print(sys.modules["threading"].main_thread().ident == _thread.get_ident())
""" % support.PACKAGE

    def test_main_thread_imports_it_before_other_threads_can_serve(self):
        self.assertEqual(subprocess.check_output([sys.executable, "-I", "-S", "-B", "-c", self.SCRIPT], timeout=60),
                         b"True\nTrue\n")


class TracebackTest(support.FolderTestCase):
    def format(self, function, *arguments):
        try:
            function(*arguments)
        except BaseException as error:
            # The C side has no frame of its own, as this function has.
            return entry.format_exception(error.with_traceback(error.__traceback__.tb_next))
        self.fail("nothing was raised")

    def test_a_traceback_has_the_application_s_lines_and_the_error(self):
        path = self.write("hello.wsgi", "def f():\n    1 / 0  # here\nf()\n")
        text = self.format(loader.load_script, path, "app")
        self.assertIn('File "%s", line 2' % path, text)
        self.assertIn("1 / 0  # here", text)
        self.assertTrue(text.endswith("ZeroDivisionError: division by zero"), text)

    def test_the_host_s_own_frames_are_left_out(self):
        path = self.write("hello.wsgi", "1 / 0\n")
        self.write("module.py", "1 / 0\n")
        for load, *arguments in (loader.load_script, path, "app"), (loader.load_module, "module:app"):
            text = self.format(load, *arguments)
            self.assertNotIn("loader.py", text)
            self.assertNotIn("importlib", text)

    def test_an_error_without_frames_of_the_application(self):
        text = self.format(loader.load_module, "no_such_module:app")
        self.assertIn("ModuleNotFoundError: No module named 'no_such_module'", text)

    def test_causes_are_told(self):
        self.write("hello.py", "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n"
                               "    raise RuntimeError('mine') from e\n")
        text = self.format(loader.load_module, "hello:app")
        self.assertIn("ZeroDivisionError", text)
        self.assertIn("direct cause", text)
        self.assertTrue(text.endswith("RuntimeError: mine"))

    def test_what_utf_8_can_not_say_is_escaped(self):
        text = self.format(lambda: int("\udcff"))
        text.encode("utf-8")
        self.assertIn("udcff", text)

    def test_an_error_that_was_never_raised(self):
        self.assertEqual(entry.format_exception(ValueError("x")), "ValueError: x")

    def test_an_error_that_can_not_say_what_it_is(self):
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError
        self.assertIn("Mute", entry.format_exception(Mute()))


if __name__ == "__main__":
    unittest.main()
