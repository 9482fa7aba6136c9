"""fcgihost.host.stacks: what the log shows of the threads."""
import sys
import threading
import types
import unittest
import unittest.mock

import support     # noqa: F401
from fcgihost.host import stacks


class StacksTest(unittest.TestCase):
    def test_no_thread(self):
        self.assertEqual(stacks.format_stacks([], {}, {}), "no thread is in Python")

    def test_a_thread_that_serves_nothing(self):
        text = stacks.format_stacks([], {7: sys._getframe()}, {7: "refresh"})
        first, *rest = text.split("\n")
        self.assertEqual(first, "thread refresh, most recent call last:")
        self.assertIn(", in test_a_thread_that_serves_nothing", rest[-2])
        self.assertIn("stacks.format_stacks([]", rest[-1])

    def test_a_thread_that_serves_a_request(self):
        text = stacks.format_stacks([(7, "GET /shop", 12.345)], {7: sys._getframe()}, {7: "worker-1"})
        self.assertTrue(text.startswith("thread worker-1, serving GET /shop for 12.3 s, most recent call last:\n"), text)

    def test_a_thread_without_a_name(self):
        self.assertTrue(stacks.format_stacks([], {255: sys._getframe()}, {}).startswith("thread 0xff, most recent"))

    def test_while_threading_is_being_imported(self):
        with unittest.mock.patch.dict(sys.modules, threading=types.ModuleType("threading")):
            text = stacks.format_stacks([], {255: sys._getframe()})
        self.assertTrue(text.startswith("thread 0xff, most recent"), text)

    def test_a_thread_that_is_not_in_python(self):
        self.assertEqual(stacks.format_stacks([(255, "GET /", 0.04), (16, "PUT /", 1)], {}, {}),
                         "thread 0x10, serving PUT / for 1.0 s: not in Python\n"
                         "thread 0xff, serving GET / for 0.0 s: not in Python")

    def test_the_thread_that_looks_is_left_out(self):
        own = threading.get_ident()
        self.assertEqual(stacks.format_stacks([(own, "GET /", 1)], {own: sys._getframe()}, {own: "me"}),
                         "no thread is in Python")

    def test_several_threads_in_the_order_of_their_numbers(self):
        frame = sys._getframe()
        lines = stacks.format_stacks([], {9: frame, 8: frame}, {8: "a", 9: "b"}).split("\n")
        self.assertEqual([line for line in lines if line.startswith("thread ")],
                         ["thread a, most recent call last:", "thread b, most recent call last:"])

    def test_real_threads(self):
        inside, leave = threading.Event(), threading.Event()

        def linger():
            inside.set()
            leave.wait(60)
        thread = threading.Thread(target=linger, name="lingering")
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(leave.set)
        self.assertTrue(inside.wait(60))
        text = stacks.format_stacks([(thread.ident, "GET /slow", 3)])
        self.assertIn("thread lingering, serving GET /slow for 3.0 s, most recent call last:\n", text)
        self.assertIn(", in linger\n", text)
        self.assertNotIn("thread MainThread", text)


if __name__ == "__main__":
    unittest.main()
