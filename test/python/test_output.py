"""fcgihost.host.output: what is printed, and where it ends."""
import io
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import support  # noqa: F401
from fcgihost.host import output


class OutputTest(unittest.TestCase):
    def setUp(self):
        self.file = tempfile.TemporaryFile()
        self.addCleanup(self.file.close)
        self.left = None  # bytes that the request may still print; None: there is no request
        patch = mock.patch.dict(output._File.write.__kwdefaults__, _admit=self.admit)
        patch.start()
        self.addCleanup(patch.stop)
        raw = open(self.file.fileno(), "wb", closefd=False)
        self.stream = output._bind(io.TextIOWrapper(raw, "utf-8"))

    def admit(self, data):
        if self.left is None or len(data) <= self.left:
            return None
        kept, self.left = self.left, 0
        return kept

    def written(self):
        return os.pread(self.file.fileno(), 1 << 20, 0)

    def test_outside_of_a_request_all_is_written(self):
        print("x" * 100000, file=self.stream)
        self.assertEqual(self.written(), b"x" * 100000 + b"\n")

    def test_what_passes_the_bound_is_cut_there_and_ends_its_line(self):
        self.left = 5
        self.assertEqual(print("one two", file=self.stream), None)
        print("three", file=self.stream)
        self.assertEqual(self.written(), b"one t\n")

    def test_who_prints_is_told_that_all_was_written(self):
        self.left = 4
        for text in "one\ntwo\n", "x" * 100000 + "\n":
            self.assertEqual(self.stream.write(text), len(text))
            self.assertEqual(self.stream.buffer.write(text.encode()), len(text))
            self.stream.flush()
        self.assertEqual(self.stream.buffer.raw.write(memoryview(bytes(8)).cast("I")), 8)
        self.assertEqual(self.written(), b"one\n")

    def test_the_next_request_prints_again(self):
        self.left = 0
        print("dropped", file=self.stream)
        self.left = None
        print("written", file=self.stream)
        self.assertEqual(self.written(), b"written\n")

    def test_it_is_a_file_as_the_interpreter_makes_it(self):
        self.assertEqual(self.stream.fileno(), self.file.fileno())
        self.assertEqual((self.stream.encoding, self.stream.errors, self.stream.mode, self.stream.line_buffering),
                         ("utf-8", "backslashreplace", "w", True))
        self.assertEqual(self.stream.name, self.file.fileno())
        subprocess.run(["echo", "child"], stdout=self.stream, check=True)
        self.stream.reconfigure(errors="strict")
        self.stream.close()
        self.assertEqual(self.written(), b"child\n")
        os.fstat(self.file.fileno())  # not closed with it

    def test_an_unbuffered_stream_stays_one(self):
        raw = open(self.file.fileno(), "wb", 0, closefd=False)
        stream = output._bind(io.TextIOWrapper(raw, "utf-8", write_through=True))
        stream.write("no line")
        self.assertEqual(self.written(), b"no line")

    def test_both_streams_are_bound_and_what_they_were_at_start_too(self):
        script = """
import sys
sys.modules["_fcgihost"] = stub = type(sys)("_fcgihost")
stub.admit_output = eval("lambda data: len(data) - 2", {})  # without a reference to this module
sys.path.insert(0, %r)
from fcgihost.host import output
output.set_up()
for stream in sys.stdout, sys.__stdout__, sys.stderr, sys.__stderr__:
    print(stream.name, "cut", file=stream)
class Late:
    def __del__(self):
        print("at the end: cut")
late = Late()
""" % support.PACKAGE
        done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", script], capture_output=True, timeout=60,
                              check=True)
        self.assertEqual((done.stdout, done.stderr),
                         (b"<stdout> cu\n" * 2 + b"at the end: cu\n", b"<stderr> cu\n" * 2))


if __name__ == "__main__":
    unittest.main()
