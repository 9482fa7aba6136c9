"""Failures that come again."""
import sys
import threading
import unittest

import support  # noqa: F401  the package's place

from fcgihost.host import repeats

TRACEBACK = 'Traceback (most recent call last):\n  File "shop.py", line 7, in sell\nValueError: sold out'


class RepeatsTest(unittest.TestCase):
    def setUp(self):
        self.now = 100.0
        self.repeats = repeats.Repeats(lambda: self.now)

    def tell(self, traceback=TRACEBACK, request="GET /buy", brief="ValueError: sold out"):
        return self.repeats.tell(request, traceback, brief)

    def test_the_first_three_are_whole_and_others_a_line_each(self):
        for number in range(3):
            self.assertEqual(self.tell(request="GET /%d" % number), "\n" + TRACEBACK)
            self.now += 2
        self.assertEqual(self.tell(), "; as before: ValueError: sold out (4 times in 6 s; its traceback was logged "
                                      "2 s ago, for GET /2)")
        self.assertEqual(self.tell().count("Traceback"), 0)

    def test_a_minute_after_the_first_it_is_whole_again(self):
        wholes = [number for number in range(1000) if self.tell().startswith("\n") or self.advance(1)]
        self.assertEqual(len(wholes), 3)
        self.now = 160.0
        self.assertEqual(self.tell(), "\n" + TRACEBACK)

    def advance(self, ms):
        self.now += ms / 1000
        return False

    def test_what_differs_in_a_line_a_type_or_a_message_is_another_failure(self):
        for _ in range(4):
            self.tell()
        for other in (TRACEBACK.replace("line 7", "line 8"), TRACEBACK.replace("Value", "Key"),
                      TRACEBACK.replace("sold out", "sold 8"), TRACEBACK + "\n"):
            self.assertEqual(self.tell(other), "\n" + other)

    def test_an_address_makes_no_other_failure(self):
        wholes = [self.tell(TRACEBACK + " <Shop object at 0x7f%08x>" % number).startswith("\n") for number in range(20)]
        self.assertEqual(wholes.count(True), 3)

    def test_of_many_failures_those_seen_last_are_remembered(self):
        for _ in range(3):
            self.tell()
        for number in range(31):
            self.tell("other %d" % number)
        self.assertTrue(self.tell().startswith(";"))  # one of 32, and now the last
        for number in range(1000):
            self.tell("another %d" % number)
        self.assertEqual(len(self.repeats._seen), 32)
        self.assertTrue(self.tell().startswith("\n"))

    def test_a_message_of_many_lines_is_one_line_that_ends(self):
        for _ in range(3):
            self.tell()
        line = self.tell(brief="first\nsecond\r\x0bthird\u2028" + "x" * 100000, request="GET /a\nb")
        self.assertEqual(len(line.splitlines()), 1)
        self.assertIn("first second", line)
        self.assertLess(len(line), 1200)

    def test_threads_that_fail_together_lose_nothing(self):
        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-6)
        told = []

        def fail(number):
            for turn in range(300):
                told.append((turn % 40, self.tell("failure %d" % (turn % 40), "GET /%d" % number)))
        threads = [threading.Thread(target=fail, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(told), 1200)
        self.assertTrue(all(text == "\nfailure %d" % kind or text.startswith("; as before") for kind, text in told))
        self.assertEqual({kind for kind, text in told if text.startswith("\n")}, set(range(40)))


if __name__ == "__main__":
    unittest.main()
