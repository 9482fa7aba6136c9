import functools
import os
import subprocess
import sys
import threading
import traceback
import unittest
from unittest import mock

import fcgihost
from fcgihost import cleanup
from fcgihost.cleanup import Scope


def in_child(function):
    """What function returns, as text, called in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                result = str(function())
            except BaseException:
                result = traceback.format_exc()
            os.write(writer, result.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read().decode()
    os.waitpid(pid, 0)
    return text


def in_thread(function):
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]


class Case(unittest.TestCase):
    def setUp(self):
        self.calls = []
        self.logged = []
        self.scope = Scope("test")
        self.process = Scope("the process")
        for name, value in (("process_scope", self.process), ("_is_exit_arranged", True)):
            patch = mock.patch.object(cleanup, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.addCleanup(cleanup._loads.clear)

    def log(self, name, exception):
        self.logged.append((name, exception))

    def run_scope(self, scope=None):
        return (scope or self.scope).run(self.log)

    def note(self, *args):
        """A function that notes args when it is called."""
        return lambda: self.calls.append(*args)


class RunTest(Case):
    def test_runs_last_in_first_out_with_the_arguments(self):
        self.scope.register(lambda *args, **kwargs: self.calls.append((args, kwargs)), 1, two=2)
        self.scope.register(self.note("second"))
        self.assertEqual(self.run_scope(), 2)
        self.assertEqual(self.calls, ["second", ((1,), {"two": 2})])
        self.assertEqual(self.logged, [])

    def test_a_keyword_argument_may_be_called_func(self):
        self.scope.register(lambda **kwargs: self.calls.append(kwargs), func=1, self=2)
        self.run_scope()
        self.assertEqual(self.calls, [{"func": 1, "self": 2}])

    def test_runs_each_once_ever(self):
        self.scope.register(self.note("a"))
        self.run_scope()
        self.assertEqual(self.run_scope(), 0)
        self.assertEqual(self.calls, ["a"])

    def test_registered_twice_runs_twice(self):
        func = self.note("a")
        self.scope.register(func)
        self.scope.register(func)
        self.run_scope()
        self.assertEqual(self.calls, ["a", "a"])

    def test_two_threads_that_run_it_call_each_once(self):
        entered, may_end = threading.Event(), threading.Event()
        self.scope.register(self.note("first registered"))

        @self.scope.register
        def slow():
            self.calls.append("slow")
            entered.set()
            may_end.wait()

        thread = threading.Thread(target=self.run_scope)
        thread.start()
        entered.wait()
        self.assertEqual(self.run_scope(), 0)
        self.assertEqual(self.calls, ["slow"])
        self.scope.register(self.note("late"))
        may_end.set()
        thread.join()
        self.assertEqual(self.calls, ["slow", "late", "first registered"])

    def test_an_exception_is_logged_and_the_rest_still_run(self):
        for exception in (ValueError("v"), SystemExit(3), KeyboardInterrupt()):
            with self.subTest(exception=exception):
                scope, self.calls, self.logged = Scope("test"), [], []
                scope.register(self.note("rest"))

                @scope.register
                def failing():
                    raise exception

                self.assertEqual(self.run_scope(scope), 2)
                self.assertEqual(self.calls, ["rest"])
                (name, logged), = self.logged
                self.assertIs(logged, exception)
                self.assertEqual(name, "%s.%s" % (__name__, failing.__qualname__))

    def test_a_log_that_fails_stops_nothing(self):
        self.scope.register(self.note("rest"))
        self.scope.register(int, "no number")

        def fail(*_):
            raise KeyboardInterrupt

        self.scope.run(fail, fail)
        self.assertEqual(self.calls, ["rest"])

    def test_a_run_that_was_interrupted_can_go_on(self):
        self.scope.register(self.note("a"))
        with mock.patch.object(self.scope, "_take", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, self.run_scope)
        self.assertEqual(self.run_scope(), 1)
        self.assertEqual(self.calls, ["a"])

    def test_repr(self):
        self.scope.register(print)
        self.assertEqual(repr(self.scope), "<fcgihost cleanups of test: 1>")

    def test_says_which_one_starts_before_it_does(self):
        self.scope.register(self.note("run"))
        self.scope.register(str.upper, "x")
        self.scope.run(self.log, self.calls.append)
        self.assertEqual(self.calls[0], "builtins.str.upper")
        self.assertTrue(self.calls[1].startswith("%s.Case.note" % __name__))
        self.assertEqual(self.calls[2:], ["run"])

    def test_registered_while_they_run_still_runs_even_by_the_last_one(self):
        def last():
            self.calls.append("last")
            self.scope.register(self.note("later"))

        self.scope.register(last)
        self.scope.register(self.note("first"))
        self.assertEqual(self.run_scope(), 3)
        self.assertEqual(self.calls, ["first", "last", "later"])

    def test_registering_after_the_end_raises(self):
        self.run_scope()
        with self.assertRaisesRegex(RuntimeError, "print comes too late: the cleanups of test have run"):
            self.scope.register(print)
        self.assertEqual(self.scope.pending(), [])

    def test_what_can_not_be_called_is_refused(self):
        with self.assertRaisesRegex(TypeError, "callable, not int"):
            self.scope.register(3)

    def test_pending_names_them_in_the_order_of_their_run(self):
        self.scope.register(print)
        self.scope.register(len)
        self.assertEqual(self.scope.pending(), ["builtins.len", "builtins.print"])


class UnregisterTest(Case):
    def test_removes_all_equal_ones(self):
        class Thing:
            def close(self):
                pass

        thing = Thing()
        for func in (thing.close, print, thing.close):
            self.scope.register(func)
        self.scope.unregister(thing.close)  # another bound method, which equals the first
        self.assertEqual(self.scope.pending(), ["builtins.print"])

    def test_of_an_unknown_one_does_nothing(self):
        self.scope.register(print)
        self.scope.unregister(len)
        self.assertEqual(self.scope.pending(), ["builtins.print"])

    def test_a_comparison_may_register(self):
        class Odd:
            def __call__(odd):
                self.calls.append("odd")

            def __eq__(odd, other):
                self.scope.register(print)
                return True

        self.scope.register(Odd())
        self.scope.unregister(len)
        self.assertEqual(self.scope.pending(), ["builtins.print"])


class ActiveTest(Case):
    def test_the_process_is_the_default(self):
        self.assertIs(fcgihost.register_cleanup(print), print)
        self.assertEqual(self.process.pending(), ["builtins.print"])

    def test_the_innermost_active_scope_takes_the_cleanups(self):
        inner = Scope("inner")
        with self.scope.active() as scope:
            self.assertIs(scope, self.scope)
            with inner.active():
                fcgihost.register_cleanup(len)
            fcgihost.register_cleanup(print)
        fcgihost.register_cleanup(abs)
        self.assertEqual([scope.pending() for scope in (inner, self.scope, self.process)],
                         [["builtins.len"], ["builtins.print"], ["builtins.abs"]])

    def test_it_ends_with_an_exception_too(self):
        with self.assertRaises(ValueError), self.scope.active():
            raise ValueError
        self.assertIs(cleanup.current(), self.process)

    def test_another_thread_has_none_of_it(self):
        with self.scope.active():
            self.assertIs(in_thread(cleanup.current), self.process)

    def test_an_attempts_cleanup_registers_with_the_attempt(self):
        with self.scope.active():
            fcgihost.register_cleanup(fcgihost.register_cleanup, self.note("later"))
        self.run_scope()
        self.assertEqual(self.calls, ["later"])
        self.assertEqual(self.process.pending(), [])

    def test_another_scopes_cleanup_registers_with_the_process(self):
        self.scope.register(fcgihost.register_cleanup, print)
        self.run_scope()
        self.assertEqual(self.process.pending(), ["builtins.print"])

    def test_unregister_finds_what_a_load_registered_and_leaves_requests_alone(self):
        request = Scope("request")
        request.register(print)
        fcgihost.register_cleanup(print)
        with self.scope.active():
            fcgihost.register_cleanup(print)
        fcgihost.unregister_cleanup(print)
        self.assertEqual([scope.pending() for scope in (request, self.scope, self.process)],
                         [["builtins.print"], [], []])

    def test_loads_that_are_over_are_forgotten(self):
        for end in (self.run_scope, self.process.adopt):
            scope = Scope("load")
            with scope.active():
                self.assertEqual(cleanup._loads, [scope])
            end(scope)
            self.assertEqual(cleanup._loads, [])
            with scope.active():
                self.assertEqual(cleanup._loads, [])


class AdoptTest(Case):
    def test_keeps_the_order_behind_its_own(self):
        self.process.register(self.note(1))
        self.scope.register(self.note(2))
        self.scope.register(self.note(3))
        self.process.adopt(self.scope)
        self.run_scope(self.process)
        self.assertEqual(self.calls, [3, 2, 1])

    def test_what_comes_to_the_adopted_later_goes_to_the_adopter(self):
        self.process.adopt(self.scope)
        self.scope.register(print)
        self.assertEqual(self.process.pending(), ["builtins.print"])
        self.assertEqual(self.scope.pending(), ["builtins.print"])
        self.scope.unregister(print)
        self.assertEqual(self.process.pending(), [])

    def test_running_the_adopted_runs_nothing_of_the_adopter(self):
        self.scope.register(self.note("a"))
        self.process.adopt(self.scope)
        self.assertEqual(self.run_scope(), 0)
        self.assertEqual(self.calls, [])

    def test_a_closed_scope_adopts_nothing_and_the_other_keeps_it(self):
        self.run_scope(self.process)
        self.scope.register(print)
        with self.assertRaisesRegex(RuntimeError, "have run"):
            self.process.adopt(self.scope)
        self.assertEqual(self.scope.pending(), ["builtins.print"])

    def test_not_itself(self):
        self.process.adopt(self.scope)
        for one, other in ((self.process, self.scope), (self.scope, self.scope)):
            with self.assertRaises(ValueError):
                one.adopt(other)


class RegisterForTest(Case):
    def test_the_active_scope_comes_before_the_definitions_before_the_process(self):
        definition = Scope("definition")
        with self.scope.active():
            cleanup.register_for(definition, "a", print)
        cleanup.register_for(definition, "b", self.note("b"))
        cleanup.register_for(None, "c", print)
        definition.run(self.log)
        self.assertEqual(self.calls, ["b"])
        cleanup.register_for(definition, "d", print)
        self.assertEqual(self.scope.pending(), ["a"])
        self.assertEqual(self.process.pending(), ["d", "c"])

    def test_raises_when_all_are_closed(self):
        self.run_scope(self.process)
        with self.assertRaisesRegex(RuntimeError, "x comes too late"):
            cleanup.register_for(None, "x", print)


class DescribeTest(unittest.TestCase):
    def test_names(self):
        class Callable:
            def __call__(self):
                pass

        here = __name__ + ".DescribeTest.test_names.<locals>.Callable"
        for func, name in ((print, "builtins.print"), (in_child, __name__ + ".in_child"),
                           ([].append, "builtins.list.append"), (Callable(), here + " object"),
                           (Callable().__call__, here + ".__call__"), (functools.partial(print, 1), "builtins.print"),
                           (Callable, here)):
            with self.subTest(name=name):
                self.assertEqual(cleanup.describe(func), name)


    def test_a_function_with_an_attribute_func_is_itself(self):
        with mock.patch.object(in_child, "func", print, create=True):
            self.assertEqual(cleanup.describe(in_child), __name__ + ".in_child")


class ForkTest(Case):
    def test_a_child_runs_nothing_of_its_parents_and_the_parent_still_does(self):
        self.scope.register(self.note("parent's"))
        self.assertEqual(in_child(lambda: (self.run_scope(), self.calls, self.scope.pending())), "(0, [], [])")
        self.assertEqual(self.run_scope(), 1)
        self.assertEqual(self.calls, ["parent's"])

    def test_a_child_runs_its_own(self):
        self.scope.register(self.note("parent's"))

        def child():
            self.scope.register(self.note("child's"))
            pending = len(self.scope.pending())
            return pending, self.run_scope(), self.calls

        self.assertEqual(in_child(child), '(1, 1, ["child\'s"])')

    def test_a_child_can_register_though_another_thread_held_the_mutex(self):
        entered, may_end = threading.Event(), threading.Event()

        def hold():
            with cleanup._mutex:
                entered.set()
                may_end.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        entered.wait()
        try:
            child = in_child(lambda: cleanup._mutex.acquire(blocking=False))
        finally:
            may_end.set()
            thread.join()
        self.assertEqual(child, "True")


class OutsideTest(unittest.TestCase):
    def run_program(self, text):
        return subprocess.run([sys.executable, "-B", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True)

    def test_the_interpreters_exit_runs_them_once_and_no_childs_exit(self):
        result = self.run_program(
            "import fcgihost, os, sys\n"
            "fcgihost.register_cleanup(print, 'one', flush=True)\n"
            "fcgihost.register_cleanup(print, 'two', flush=True)\n"
            "if os.fork() == 0: sys.exit()\n"
            "os.wait()\n")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "two\none\n", ""))

    def test_adopted_ones_run_too(self):
        result = self.run_program(
            "from fcgihost import cleanup\n"
            "scope = cleanup.Scope('attempt')\n"
            "scope.register(print, 'adopted')\n"
            "cleanup.process_scope.adopt(scope)\n")
        self.assertEqual(result.stdout, "adopted\n")

    def test_in_the_host_the_interpreters_exit_runs_nothing(self):
        result = self.run_program(
            "from fcgihost import cleanup\n"
            "cleanup._IS_HOST = True\n"
            "cleanup.register_cleanup(print, 'run')\n")
        self.assertEqual(result.stdout, "")

    def test_an_exception_there_is_printed_with_the_name(self):
        result = self.run_program("import fcgihost\nfcgihost.register_cleanup(int, 'x')\n")
        self.assertIn("fcgihost: cleanup builtins.int failed\nTraceback", result.stderr)
        self.assertIn("ValueError", result.stderr)


if __name__ == "__main__":
    unittest.main()
