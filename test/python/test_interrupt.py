"""fcgihost.interrupt: the main thread is interrupted inside `possible`, and nowhere else."""
import signal
import threading
import unittest

import support     # noqa: F401
from fcgihost import interrupt

SIGNAL = signal.SIGUSR1


class InterruptTest(unittest.TestCase):
    def setUp(self):
        self.addCleanup(signal.signal, SIGNAL, signal.getsignal(SIGNAL))
        interrupt.set_up(SIGNAL)

    def interrupt(self):
        signal.raise_signal(SIGNAL)

    def test_inside(self):
        with self.assertRaisesRegex(interrupt.Interrupted, "the process stops"), interrupt.possible():
            self.interrupt()
            self.fail("it went on")

    def test_outside_nothing_happens(self):
        self.interrupt()
        with interrupt.possible():
            pass
        self.interrupt()

    def test_nested(self):
        with self.assertRaises(interrupt.Interrupted), interrupt.possible():
            with interrupt.possible():
                pass
            self.interrupt()

    def test_an_exception_ends_it(self):
        with self.assertRaises(ValueError), interrupt.possible():
            raise ValueError
        self.interrupt()
        with self.assertRaises(interrupt.Interrupted), interrupt.possible():
            self.interrupt()
        self.interrupt()

    def test_it_is_the_cause_of_what_is_made_of_it(self):
        def caught(raising):
            try:
                with interrupt.possible():
                    raising()
            except BaseException as error:
                return error

        def fail_meanwhile():
            try:
                self.interrupt()
            finally:
                {}["missing"]

        def fail_because():
            try:
                self.interrupt()
            except BaseException as error:
                raise RuntimeError("Error calling __set_name__") from error
        for raising in self.interrupt, fail_meanwhile, fail_because:
            self.assertTrue(interrupt.is_cause(caught(raising)), raising)
        looping = ValueError("its own context")
        looping.__context__ = KeyError("of another")
        looping.__context__.__context__ = looping
        for other in None, ValueError("of its own"), looping:
            self.assertFalse(interrupt.is_cause(other), other)

    def test_it_waits_for_the_end_of_a_callback_in_which_it_would_be_lost(self):
        """importlib's weak references have one: what is raised there is only printed, into the log."""
        def call(name, file):
            scope = {"signal": signal.raise_signal, "number": SIGNAL}
            exec(compile("def %s(_):\n    signal(number)" % name, file, "exec"), scope)
            with interrupt.possible():
                scope[name](None)
        call("cb", "<frozen importlib._bootstrap>")
        for name, file in ("_find_and_load", "<frozen importlib._bootstrap>"), ("cb", "app.py"):
            with self.assertRaises(interrupt.Interrupted):
                call(name, file)

    def test_except_exception_does_not_catch_it(self):
        with self.assertRaises(interrupt.Interrupted), interrupt.possible():
            try:
                self.interrupt()
            except Exception:
                self.fail("it was caught")

    def test_another_thread_does_not_make_it_possible(self):
        inside, leave = threading.Event(), threading.Event()

        def run():
            with interrupt.possible():
                inside.set()
                leave.wait(60)
        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(leave.set)
        self.assertTrue(inside.wait(60))
        self.interrupt()

    def test_another_thread_does_not_make_it_impossible(self):
        def run():
            with interrupt.possible():
                pass
        with self.assertRaises(interrupt.Interrupted), interrupt.possible():
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            self.interrupt()

    def test_it_gets_through_a_wait(self):
        main = threading.get_ident()
        timer = threading.Timer(0.05, signal.pthread_kill, (main, SIGNAL))
        timer.daemon = True
        with self.assertRaises(interrupt.Interrupted), interrupt.possible():
            timer.start()
            self.assertFalse(threading.Event().wait(60), "it was not interrupted")
        timer.join()


if __name__ == "__main__":
    unittest.main()
