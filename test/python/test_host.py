"""fcgihost._host: what the C side calls by name."""
import io
import sys
import threading
import unittest

import support
from fcgihost import _host


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
    def test_blocks(self):
        wrapper = _host.FileWrapper(io.BytesIO(b"abcdefgh"), 3)
        self.assertIs(iter(wrapper), wrapper)
        self.assertEqual(list(wrapper), [b"abc", b"def", b"gh"])
        self.assertRaises(StopIteration, next, wrapper)

    def test_the_size_of_a_block_can_be_left_out(self):
        blocks = list(_host.FileWrapper(io.BytesIO(bytes(70000))))
        self.assertEqual([len(block) for block in blocks], [65536, 4464])

    def test_an_empty_file(self):
        self.assertEqual(list(_host.FileWrapper(io.BytesIO(), 3)), [])

    def test_closing_closes_the_file(self):
        file = io.BytesIO(b"x")
        _host.FileWrapper(file).close()
        self.assertTrue(file.closed)

    def test_a_file_that_can_not_be_closed(self):
        class OnlyRead:
            def read(self, n):
                return b""
        self.assertFalse(hasattr(_host.FileWrapper(OnlyRead()), "close"))

    def test_errors_come_out(self):
        class Broken:
            def read(self, n):
                raise OSError("broken")
        self.assertRaisesRegex(OSError, "broken", next, _host.FileWrapper(Broken()))


class LogStreamTest(unittest.TestCase):
    def setUp(self):
        del support.host_log[:]
        self.stream = _host.LogStream()

    def assert_logged(self, *texts):
        self.assertEqual(support.host_log, [(_host._LOG_INFO, text) for text in texts])

    def test_whole_lines_are_logged(self):
        print("one", file=self.stream)
        print("two", "three", file=self.stream)
        self.assert_logged("one", "two three")

    def test_half_a_line_waits_for_its_end(self):
        self.assertEqual(self.stream.write("a"), 1)
        self.assertEqual(self.stream.write("b"), 1)
        self.assert_logged()
        self.assertEqual(self.stream.write("c\nd"), 3)
        self.assert_logged("abc")
        self.stream.write("\n")
        self.assert_logged("abc", "d")

    def test_several_lines_are_one_message(self):
        self.stream.write("one\ntwo\n\nthree\nrest")
        self.assert_logged("one\ntwo\n\nthree")

    def test_writelines(self):
        self.stream.writelines(["a\n", "b", "c\n"])
        self.assert_logged("a", "bc")

    def test_what_utf_8_can_not_say_is_escaped(self):
        self.stream.write("\u20ac \udcff \ud800\n")
        self.assert_logged("\u20ac \\udcff \\ud800")

    def test_it_passes_for_a_text_stream(self):
        self.assertIsNone(self.stream.flush())
        self.assertFalse(self.stream.isatty())
        self.assertTrue(self.stream.writable())
        self.assertFalse(self.stream.closed)
        self.assertEqual(self.stream.encoding, "utf-8")
        self.assertRaises(TypeError, self.stream.write, b"bytes")
        self.assert_logged()

    def test_threads_lose_nothing(self):
        def write():
            for _ in range(200):
                self.stream.write("line\n")
        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sum(text.split("\n").count("line") for _, text in support.host_log), 800)


class SetUpTest(unittest.TestCase):
    def setUp(self):
        streams, interval = (sys.stdout, sys.stderr), sys.getswitchinterval()

        def restore():
            sys.stdout, sys.stderr = streams
            sys.setswitchinterval(interval)
        self.addCleanup(restore)
        self.streams, self.interval = streams, interval

    def test_nothing_asked_for_changes_nothing(self):
        _host.set_up(0, False)
        self.assertEqual((sys.stdout, sys.stderr), self.streams)
        self.assertEqual(sys.getswitchinterval(), self.interval)

    def test_the_switch_interval(self):
        _host.set_up(0.25, False)
        self.assertEqual(sys.getswitchinterval(), 0.25)

    def test_a_log_that_is_elsewhere_gets_what_is_printed(self):
        del support.host_log[:]
        _host.set_up(0, True)
        print("out")
        print("err", file=sys.stderr)
        sys.stdout, sys.stderr = self.streams
        self.assertEqual([text for _, text in support.host_log], ["out", "err"])


class ApplicationTest(support.FolderTestCase):
    def test_a_module(self):
        self.write("hello.py", "def application(e, s):\n    return [b'module']\n")
        application = _host.load_application(False, "hello:application", "ignored")
        self.assertEqual(application({}, None), [b"module"])

    def test_a_script(self):
        path = self.write("hello.wsgi", "def app(e, s):\n    return [b'script']\n")
        application = _host.load_application(True, path, "app")
        self.assertEqual(application({}, None), [b"script"])

    def test_what_failed_can_be_asked_for_changes(self):
        path = self.write("hello.wsgi", "1 / 0\n")
        self.assertRaises(ZeroDivisionError, _host.load_application, True, path, "app")
        self.assertFalse(_host.has_changed())
        self.write("hello.wsgi", "app = print\n")
        self.assertTrue(_host.has_changed())

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
                application = _host.load_application(False, "hello:" + name, "")
                line = _host.describe_application(application)
                self.assertNotIn("\n", line)
                for word in words:
                    self.assertIn(word, line)

    def test_a_script_s_application_is_described_with_its_file(self):
        path = self.write("hello.wsgi", "def app(e, s):\n    pass\n")
        application = _host.load_application(True, path, "app")
        self.assertIn(path, _host.describe_application(application))


class TracebackTest(support.FolderTestCase):
    def format(self, function, *arguments):
        try:
            function(*arguments)
        except BaseException as error:
            # The C side has no frame of its own, as this function has.
            return _host.format_exception(error.with_traceback(error.__traceback__.tb_next))
        self.fail("nothing was raised")

    def test_a_traceback_has_the_application_s_lines_and_the_error(self):
        path = self.write("hello.wsgi", "def f():\n    1 / 0  # here\nf()\n")
        text = self.format(_host.load_application, True, path, "app")
        self.assertIn('File "%s", line 2' % path, text)
        self.assertIn("1 / 0  # here", text)
        self.assertTrue(text.endswith("ZeroDivisionError: division by zero"), text)

    def test_the_host_s_own_frames_are_left_out(self):
        path = self.write("hello.wsgi", "1 / 0\n")
        self.write("module.py", "1 / 0\n")
        for arguments in (True, path, "app"), (False, "module:app", ""):
            text = self.format(_host.load_application, *arguments)
            self.assertNotIn("loader.py", text)
            self.assertNotIn("importlib", text)

    def test_an_error_without_frames_of_the_application(self):
        text = self.format(_host.load_application, False, "no_such_module:app", "")
        self.assertIn("ModuleNotFoundError: No module named 'no_such_module'", text)

    def test_causes_are_told(self):
        self.write("hello.py", "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n"
                               "    raise RuntimeError('mine') from e\n")
        text = self.format(_host.load_application, False, "hello:app", "")
        self.assertIn("ZeroDivisionError", text)
        self.assertIn("direct cause", text)
        self.assertTrue(text.endswith("RuntimeError: mine"))

    def test_what_utf_8_can_not_say_is_escaped(self):
        text = self.format(lambda: int("\udcff"))
        text.encode("utf-8")
        self.assertIn("udcff", text)

    def test_an_error_that_was_never_raised(self):
        self.assertEqual(_host.format_exception(ValueError("x")), "ValueError: x")

    def test_an_error_that_can_not_say_what_it_is(self):
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError
        self.assertIn("Mute", _host.format_exception(Mute()))


if __name__ == "__main__":
    unittest.main()
