"""fcgihost.ending: cleanups, threads and atexit's functions when the process ends."""
import signal
import subprocess
import sys
import threading
import unittest
from unittest import mock

import support
from fcgihost import cleanup, ending, interrupt


def run_python(code):
    """What it printed: for what can be done to a process only once."""
    code = "import sys\nsys.path.insert(0, %r)\nfrom fcgihost import ending\n%s" % (support.PACKAGE, code)
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
    def setUp(self):
        # The real one is for a process that ends: its executors take no more work.
        patch = mock.patch.object(ending, "_wake_executors", lambda: None)
        patch.start()
        self.addCleanup(patch.stop)

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

    def test_executors_that_hang_do_not_hold_it_up(self):
        leave = threading.Event()
        self.addCleanup(leave.set)
        with mock.patch.object(ending, "_wake_executors", lambda: leave.wait(60)):
            self.assertEqual(ending.join_threads(0), [])


class ProcessTest(unittest.TestCase):
    def test_idle_threads_of_an_executor_end(self):
        self.assertEqual(run_python("""
import concurrent.futures
executor = concurrent.futures.ThreadPoolExecutor(2)
executor.submit(print, "work").result()
print(ending.join_threads(60))
"""), ["work", "[]"])

    @unittest.skipIf(sys.version_info < (3, 9), "has no such functions")
    def test_one_that_fails_does_not_keep_the_others_from_being_woken(self):
        self.assertEqual(run_python("""
import threading
threading._register_atexit(print, "one")
threading._register_atexit(lambda: 1 / 0)
threading._register_atexit(print, "two")
ending._wake_executors()
threading._threading_atexits.clear()
"""), ["two", "one"])

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


if __name__ == "__main__":
    unittest.main()
