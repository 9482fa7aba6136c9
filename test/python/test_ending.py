"""fcgihost.host.ending: cleanups, threads and atexit's functions when the process ends."""
import signal
import subprocess
import sys
import threading
import unittest
from unittest import mock

import support
from fcgihost import cleanup, interrupt
from fcgihost.host import ending, entry


def run_python(code):
    """What it printed: for what can be done to a process only once."""
    code = "import sys\nsys.path.insert(0, %r)\nfrom fcgihost.host import ending\n%s" % (support.PACKAGE, code)
    result = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert result.returncode == 0, result.stdout.decode()
    return result.stdout.decode().split()


class CleanupsTest(unittest.TestCase):
    def setUp(self):
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        interrupt.set_up(signal.SIGUSR1)
        self.process = cleanup.Scope("the process")
        patch = mock.patch.object(cleanup, "process_scope", self.process)
        patch.start()
        self.addCleanup(patch.stop)
        self.told = []

    def run_cleanups(self):
        return ending.run_cleanups(lambda name, error: self.told.append((name, type(error).__name__)),
                                   lambda name: self.told.append(name))

    def register(self, name, function, *args):
        self.process._add(cleanup._Cleanup(function, args, name=name))

    def test_the_last_one_first_and_each_is_announced(self):
        ran = []
        self.register("one", ran.append, 1)
        self.register("two", ran.append, 2)
        self.assertEqual(self.run_cleanups(), [])
        self.assertEqual(ran, [2, 1])
        self.assertEqual(self.told, ["two", "one"])

    def test_one_that_fails_is_told_and_was_not_interrupted(self):
        self.register("exit", sys.exit)
        self.assertEqual(self.run_cleanups(), [])
        self.assertEqual(self.told, ["exit", ("exit", "SystemExit")])

    def test_one_that_is_interrupted_is_named_and_the_others_run(self):
        ran = []
        self.register("one", ran.append, 1)
        self.register("hanging", signal.raise_signal, signal.SIGUSR1)
        self.assertEqual(self.run_cleanups(), ["hanging"])
        self.assertEqual(ran, [1])
        self.assertEqual(self.told, ["hanging", ("hanging", "Interrupted"), "one"])

    def test_what_tells_of_them_is_not_interrupted(self):
        ran = []

        def note(*_):
            signal.raise_signal(signal.SIGUSR1)
            ran.append("told")
        self.register("exit", sys.exit)
        self.assertEqual(ending.run_cleanups(note, note), [])
        self.assertEqual(ran, ["told", "told"])


class RecordingThread(threading.Thread):
    """One that does not end until it is told to, and notes how long it was waited for."""

    def __init__(self, test, now=None, takes=0):
        super().__init__(daemon=False)
        self.leave = threading.Event()
        self.waited = []
        self._now = now
        self._takes = takes
        self.start()
        test.addCleanup(super().join)
        test.addCleanup(self.leave.set)

    def run(self):
        self.leave.wait(60)

    def join(self, timeout=None):
        self.waited.append(timeout)
        if self._now:
            self._now[0] += self._takes


class ThreadsTest(unittest.TestCase):
    def test_nothing_to_wait_for(self):
        self.assertEqual(ending.join_threads(60), [])

    def test_a_thread_that_ends_is_waited_for(self):
        leave = threading.Event()
        ended = []

        def run():
            leave.wait(60)
            ended.append(True)
        thread = threading.Thread(target=run)
        thread.start()
        timer = threading.Timer(0.05, leave.set)
        timer.daemon = True
        timer.start()
        self.assertEqual(ending.join_threads(60), [])
        self.assertEqual(ended, [True])

    def test_a_thread_that_does_not_end_is_named(self):
        thread = RecordingThread(self)
        self.assertEqual(ending.join_threads(0), [thread])

    def test_a_daemon_is_not_waited_for(self):
        leave = threading.Event()
        self.addCleanup(leave.set)
        threading.Thread(target=leave.wait, args=(60,), daemon=True).start()
        self.assertEqual(ending.join_threads(0), [])

    def test_they_share_the_time_and_leave_a_tenth(self):
        now = [100.0]
        first, second, third = (RecordingThread(self, now, takes=6.0) for _ in range(3))
        left = ending.join_threads(10, lambda: now[0])
        self.assertEqual(left, [first, second, third])
        self.assertEqual([thread.waited for thread in left], [[9.0], [3.0], [0]])

    def test_what_a_signal_handler_raises_does_not_end_the_wait(self):
        first, second = RecordingThread(self), RecordingThread(self)
        first.join = mock.Mock(side_effect=SystemExit)
        with mock.patch("fcgihost.errors.report") as report:
            self.assertEqual(ending.join_threads(10, lambda: 0), [first, second])
        self.assertEqual(second.waited, [9.0])
        self.assertEqual(report.call_count, 1)


class ExecutorsTest(unittest.TestCase):
    """With functions of their own: the real ones are for a process that ends."""

    def setUp(self):
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        interrupt.set_up(signal.SIGUSR1)
        self.functions, self.told = [], []
        for name, value in ("_threading_atexits", self.functions), ("_SHUTTING_DOWN", False):
            patch = mock.patch.object(threading, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def end_executors(self):
        return ending.end_executors(lambda name, error: self.told.append((name, type(error).__name__)),
                                    self.told.append)

    def test_the_last_one_first_each_once_and_no_more_are_taken(self):
        ran = []
        for number in 1, 2:
            threading._register_atexit(ran.append, number)
        self.assertEqual(self.end_executors(), [])
        self.assertEqual(self.end_executors(), [])
        self.assertEqual(ran, [2, 1])
        self.assertEqual(len(self.told), 2)
        with self.assertRaises(RuntimeError):
            threading._register_atexit(ran.append, 3)

    def test_one_that_fails_is_told_and_the_others_run(self):
        ran = []
        self.functions += [lambda: ran.append(1), sys.exit]
        self.assertEqual(self.end_executors(), [])
        self.assertEqual(ran, [1])
        self.assertEqual(self.told[:2], ["sys.exit", ("sys.exit", "SystemExit")])

    def test_one_that_is_interrupted_is_named(self):
        def hang():
            signal.raise_signal(signal.SIGUSR1)
        threading._register_atexit(hang)
        name = "test_ending.ExecutorsTest.test_one_that_is_interrupted_is_named.<locals>.hang"
        self.assertEqual([found.replace("__main__", "test_ending") for found in self.end_executors()], [name])

    def test_where_there_are_none(self):
        del threading._threading_atexits
        self.addCleanup(setattr, threading, "_threading_atexits", self.functions)
        self.assertEqual(self.end_executors(), [])


class ProcessTest(unittest.TestCase):
    def test_idle_threads_of_an_executor_end(self):
        self.assertEqual(run_python("""
import concurrent.futures
executor = concurrent.futures.ThreadPoolExecutor(2)
executor.submit(print, "work").result()
print(ending.end_executors(print, lambda name: None))
print(ending.join_threads(0))
"""), ["work", "[]", "[]"])

    def test_processes_that_would_be_waited_for_are_ended(self):
        self.assertEqual(run_python("""
import multiprocessing, time
process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(100,))
process.start()
ending.end_children()
process.join()
print(process.exitcode)
"""), ["-15"])

    def test_exit_functions_run_once_the_last_one_first(self):
        self.assertEqual(run_python("""
import atexit
for name in "ab":
    atexit.register(print, name)
ending.run_exit_functions()
print("end")
"""), ["b", "a", "end"])

    def test_an_exit_function_that_fails_does_not_end_it(self):
        for failure in "SystemExit(3)", "ValueError()", "KeyboardInterrupt()":
            with self.subTest(failure=failure):
                printed = run_python("""
import atexit
def fail():
    raise %s
atexit.register(print, "one")
atexit.register(fail)
ending.run_exit_functions()
print("end")
""" % failure)
                self.assertEqual([word for word in printed if word in ("one", "end")], ["one", "end"])


class OrderTest(unittest.TestCase):
    """What entry.end() does, and what it returns: may Python be finalized?"""

    def end(self, is_stuck=False, interrupted=(), hanging=(), left=()):
        steps = mock.Mock()
        steps.run_cleanups.return_value, steps.end_executors.return_value = list(interrupted), list(hanging)
        steps.join_threads.return_value = list(left)
        names = "run_cleanups", "end_executors", "end_children", "join_threads", "run_exit_functions"
        with mock.patch.multiple(ending, **{name: getattr(steps, name) for name in names}), \
                mock.patch.object(entry.runtime, "set_stopping", steps.set_stopping), \
                mock.patch.object(entry, "_replacer", steps.replacer), mock.patch.object(entry, "_reloader", steps.reloader):
            may_finalize = entry.end(1.0, is_stuck, False)
        return may_finalize, [call[0] for call in steps.mock_calls]

    def test_what_loads_have_left_comes_before_the_cleanups_and_atexit_last(self):
        self.assertEqual(self.end(), (True, [
            "set_stopping", "replacer.stop", "reloader.finish", "run_cleanups", "end_executors", "join_threads",
            "run_exit_functions"]))

    def test_executors_that_hang_have_their_processes_ended_and_nothing_is_finalized(self):
        may_finalize, steps = self.end(hanging=["pool"])
        self.assertEqual((may_finalize, steps[4:6]), (False, ["end_executors", "end_children"]))

    def test_what_is_left_in_python_keeps_it_from_being_finalized(self):
        for left in {"is_stuck": True}, {"interrupted": ["a cleanup"]}, {"left": [threading.current_thread()]}:
            with self.subTest(left):
                self.assertIs(self.end(**left)[0], False)


if __name__ == "__main__":
    unittest.main()
