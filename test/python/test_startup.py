"""fcgihost.host.startup: what is tried when, what a failed attempt leaves, when requests can be served."""
import functools
import marshal
import os
import sys
import unittest
from unittest import mock

import support
from fcgihost import cleanup, interrupt
from fcgihost.host import loader, startup


class FakeHost:
    """A host whose clock goes on only while somebody waits. Notes what it was told, with the time."""

    def __init__(self):
        self.now = 0.0
        self.told = []
        self.logged = []        # (level, text)
        self.waits = []         # (seconds, seconds to the next attempt)
        self.reports = []       # (untried, failed applications, failed imports)
        self.healed = []        # (what, state)
        self.notes = []         # (what, state, attempts, error, seconds to the next attempt)
        self.is_managed = False
        self.on_wait = None     # called with how often there was a wait; true: the process ends

    def clock(self):
        return self.now

    def tell(self, *what):
        self.told.append(what)

    def begin_attempt(self, text):
        self.tell("begin", text)

    def end_attempt(self, failure):
        self.tell("end", type(failure).__name__ if failure else None)

    def begin_cleanup(self, name):
        self.tell("cleanup", name)

    def log_cleanup(self, name, exception):
        self.tell("failed cleanup", name, type(exception).__name__)

    def report(self, untried, failed_applications, failed_imports):
        self.reports.append((untried, failed_applications, failed_imports))

    def ask_heal(self, what, state):
        self.healed.append((what, state))
        return self.is_managed

    def wait(self, seconds, next_attempt):
        self.waits.append((seconds, next_attempt))
        assert len(self.waits) < 10000, "it waits for ever"
        self.now += seconds
        return bool(self.on_wait and self.on_wait(len(self.waits)))

    def note(self, task, state, error, next_attempt):
        self.notes.append((task.what, state, task.attempts, error, next_attempt))

    def log(self, level, event, text):
        self.logged.append((level, text))

    @staticmethod
    def format_exception(exception):
        return repr(exception)


class FakeWatch:
    changed = False

    def has_changed(self):
        changed, self.changed = self.changed, False
        return changed

    def state(self):
        return None

    def resume(self, state):
        pass


class StartupTestCase(support.FolderTestCase):
    def setUp(self):
        super().setUp()
        self.host = FakeHost()
        self.attempts = []      # (time, name), in their order
        self.loaded = []        # (time, application)
        self.interpreters = 1
        self.process = cleanup.Scope("the process")
        for name, value in ("process_scope", self.process), ("_IS_HOST", True):
            patch = mock.patch.object(cleanup, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def task(self, name, *outcomes):
        """A task whose attempts end so: what can be raised is, the last one for ever. None are given: it works."""
        left = list(outcomes)

        def load(watch):
            self.assertIsInstance(watch, FakeWatch)
            self.attempts.append((self.host.now, name))
            outcome = left.pop(0) if len(left) > 1 else left[0] if left else name
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome() if callable(outcome) else outcome
        task = startup.Task(name, load, FakeWatch())
        return task

    def startup(self, imports=(), application=None, chance=0.5, **settings):
        application = application or self.task("app")
        loading = startup.Startup(self.host, startup.Settings(**settings), imports, [application],
                                  self.host.clock, lambda: chance)
        loading.application_count = 1
        return loading

    def run_startup(self, *arguments, **keys):
        self.run_afresh(self.startup(*arguments, **keys))

    def run_afresh(self, loading):
        """To its end, in fresh interpreters where it wants them."""
        while True:
            try:
                return loading.run(self.on_loaded)
            except startup.Afresh:
                loading = self.in_fresh_interpreter(loading)

    def in_fresh_interpreter(self, before):
        self.interpreters += 1
        self.process.run(self.host.log_cleanup, self.host.begin_cleanup)
        self.process = cleanup.process_scope = cleanup.Scope("the process")
        tasks = [startup.Task(task.what, task.load, task.watch) for task in before._all]
        number = len(tasks) - before.application_count
        loading = startup.Startup(self.host, before._settings, tasks[:number], tasks[number:], self.host.clock,
                                  before._chance)
        loading.resume(marshal.loads(marshal.dumps(before.state())))
        loading.application_count = before.application_count
        return loading

    def on_loaded(self, task):
        self.loaded.append((self.host.now, task.result))
        self.host.tell("loaded")

    def names(self):
        return [name for _, name in self.attempts]

    def times(self, name):
        return [time for time, other in self.attempts if other == name]


class OrderTest(StartupTestCase):
    def test_imports_in_their_order_then_the_application(self):
        self.run_startup([self.task("b"), self.task("a")])
        self.assertEqual(self.names(), ["b", "a", "app"])
        self.assertEqual(self.loaded, [(0.0, "app")])
        self.assertEqual(self.host.waits, [])

    def test_the_host_knows_what_is_tried(self):
        self.run_startup([self.task("a")], self.task("app", ValueError(), "app"))
        self.assertEqual(self.host.told, [
            ("begin", "a, attempt 1"), ("end", None),
            ("begin", "app, attempt 1"), ("end", "ValueError"),
            ("begin", "a, attempt 1"), ("end", None),
            ("begin", "app, attempt 2"), ("end", None), ("loaded",)])

    def test_an_import_waits_for_those_before_it(self):
        self.run_startup([self.task("a", ValueError(), ValueError(), "a"), self.task("b")])
        self.assertEqual(self.names(), ["a", "app", "a", "a", "b"])

    def test_an_import_that_is_not_required_keeps_no_request_waiting(self):
        self.run_startup([self.task("a", ValueError(), "a")])
        self.assertEqual(self.attempts, [(0.0, "a"), (0.0, "app"), (1.0, "a")])
        self.assertEqual(self.loaded, [(0.0, "app")])

    def test_the_application_waits_for_required_imports(self):
        self.run_startup([self.task("a", ValueError(), "a"), self.task("b")], require=True)
        self.assertEqual(self.attempts, [(0.0, "a"), (1.0, "a"), (1.0, "b"), (1.0, "app")])
        self.assertEqual(self.loaded, [(1.0, "app")])

    def test_an_application_that_fails_does_not_hold_the_imports_up(self):
        self.run_startup([self.task("a", ValueError(), ValueError(), "a")],
                         self.task("app", ValueError(), ValueError(), "app"))
        self.assertEqual(self.attempts, [(0.0, "a"), (0.0, "app"), (1.0, "a"), (1.0, "app"), (3.0, "a"), (3.0, "app")])

    def test_it_is_loaded_once(self):
        self.run_startup([self.task("a"), self.task("b", ValueError(), "b"), self.task("c", ValueError(), "c")])
        self.assertEqual(len(self.loaded), 1)


class RetryTest(StartupTestCase):
    def delays(self, attempts, **keys):
        """The time between the attempts at an application that fails so often before it works."""
        self.run_startup(application=self.task("app", *[ValueError()] * attempts, "app"), **keys)
        times = self.times("app")
        return [after - before for before, after in zip(times, times[1:])]

    def assert_delays(self, delays, expected):
        self.assertEqual([round(delay, 6) for delay in delays], expected)

    def test_the_delay_doubles_up_to_the_longest(self):
        self.assert_delays(self.delays(7, retry_delay=0.5, retry_max_delay=5), [0.5, 1, 2, 4, 5, 5, 5])

    def test_chance_makes_it_a_tenth_shorter_at_most(self):
        self.assert_delays(self.delays(3, chance=0.0, retry_delay=1, retry_max_delay=60), [0.9, 1.8, 3.6])

    def test_chance_makes_it_a_tenth_longer_at_most(self):
        self.assert_delays(self.delays(3, chance=1.0, retry_delay=1, retry_max_delay=60), [1.1, 2.2, 4.4])

    def test_chance_does_not_make_it_longer_than_the_longest(self):
        self.assert_delays(self.delays(3, chance=1.0, retry_delay=2, retry_max_delay=2), [2, 2, 2])

    def test_the_delay_of_the_thousandth_attempt(self):
        delays = self.delays(1100, retry_delay=0.001, retry_max_delay=0.002)
        self.assert_delays(delays[-1:], [0.002])

    def test_it_looks_for_changes_while_it_waits(self):
        self.delays(1, retry_delay=1)
        self.assertEqual(self.host.waits, [(0.25, 1.0), (0.25, 0.75), (0.25, 0.5), (0.25, 0.25)])

    def test_it_does_not_wait_longer_than_to_the_next_attempt(self):
        self.delays(1, retry_delay=0.1)
        self.assertEqual(self.host.waits, [(0.1, 0.1)])

    def test_chance_is_between_0_and_1(self):
        drawn = [startup._chance() for _ in range(100)]
        self.assertTrue(all(0 <= chance < 1 for chance in drawn))
        self.assertGreater(len(set(drawn)), 90)

    def test_whatever_is_raised_is_a_failure(self):
        for failure in (SystemExit(0), KeyboardInterrupt(), SyntaxError("x"), GeneratorExit(), ImportError("x"),
                        RecursionError(), MemoryError()):
            with self.subTest(failure=failure):
                del self.attempts[:], self.loaded[:]
                self.run_startup(application=self.task("app", failure, "app"))
                self.assertEqual(self.names(), ["app", "app"])
                self.assertEqual([application for _, application in self.loaded], ["app"])


class ChangeTest(StartupTestCase):
    def test_a_changed_file_makes_the_next_attempt_due_at_once(self):
        task = self.task("app", ValueError(), "app")

        def change(waits):
            task.watch.changed = waits == 2
        self.host.on_wait = change
        self.run_startup(application=task, retry_delay=60)
        self.assertEqual(self.times("app"), [0.0, 0.5])

    def test_a_changed_file_of_what_is_due_later(self):
        first, application = self.task("a", ValueError(), ValueError(), "a"), self.task("app", *[ValueError()] * 4, "app")
        application.attempts = 3    # its delay is longer than that of the import

        def change(waits):
            application.watch.changed = waits == 2
        self.host.on_wait = change
        self.run_startup([first], application, retry_delay=1)
        self.assertEqual(self.times("a")[:3], [0.0, 1.0, 3.0])
        self.assertEqual(self.times("app")[:2], [0.0, 0.5])

    def test_the_delay_goes_on_doubling_after_a_change_that_did_not_help(self):
        task = self.task("app", ValueError(), ValueError(), "app")

        def change(waits):
            task.watch.changed = waits == 1
        self.host.on_wait = change
        self.run_startup(application=task, retry_delay=10)
        self.assertEqual(self.times("app"), [0.0, 0.25, 20.25])

    def test_what_was_not_tried_yet_is_not_looked_at(self):
        application = self.task("app")
        application.watch.has_changed = self.fail
        self.run_startup([self.task("a", ValueError(), "a")], application, require=True)
        self.assertEqual(self.names(), ["a", "a", "app"])

    def real_task(self, target):
        return startup.Task(target, functools.partial(loader.load_import, target), loader.Watch())

    def test_a_repaired_file_is_imported_anew_and_modules_of_others_stay(self):
        self.write("library.py", "")
        self.write("pkg/__init__.py", "")
        self.write("pkg/settings.py", "value = 1\n")
        self.write("pkg/caches.py", "import library\nfrom pkg.settings import value\n"
                                    "if value == 1:\n    raise RuntimeError\n")
        seen = []

        def repair(waits):
            seen.append([name in sys.modules for name in ("library", "pkg", "pkg.settings", "pkg.caches")])
            self.write("pkg/settings.py", "value = 2\n")
        self.host.on_wait = repair
        self.run_startup([self.real_task("pkg.caches")], require=True, retry_delay=3600, retry_max_delay=3600)
        self.assertEqual(seen, [[True, False, False, False]])
        self.assertEqual(sys.modules["pkg.caches"].value, 2)
        self.assertEqual(self.loaded, [(0.25, "app")])


class EndTest(StartupTestCase):
    def test_a_failure_ends_it_if_the_settings_say_so(self):
        with self.assertRaisesRegex(startup.Failed, "a"):
            self.run_startup([self.task("a", ValueError())], exits=True)
        self.assertEqual((self.names(), self.loaded, self.host.waits), (["a"], [], []))

    def test_an_application_that_fails_ends_it_too(self):
        with self.assertRaises(startup.Failed):
            self.run_startup([self.task("a")], self.task("app", SystemExit(0)), exits=True)
        self.assertEqual(self.names(), ["a", "app"])

    def test_the_process_ends_while_it_waits(self):
        self.host.on_wait = lambda waits: waits == 3
        with self.assertRaises(startup.Stopped):
            self.run_startup(application=self.task("app", ValueError(), "app"), retry_delay=60)
        self.assertEqual(self.names(), ["app"])
        self.assertEqual(len(self.host.waits), 3)

    def test_an_import_that_is_interrupted_is_not_tried_again(self):
        ran = []

        def load():
            cleanup.register_cleanup(ran.append, 1)
            raise interrupt.Interrupted("the process ends")
        for keys in {}, {"exits": True}:
            with self.subTest(keys=keys), self.assertRaises(startup.Stopped):
                self.run_startup([self.task("a", load)], **keys)
        self.assertEqual(ran, [1, 1])
        self.assertEqual(self.host.waits, [])
        for level, text in self.host.logged:
            self.assertEqual(level, "info")
            self.assertRegex(text, r"^a: interrupted, because the process ends; 1 cleanup of it ran; "
                                   r"it was in load\(\), .*test_startup\.py:\d+$")

    def test_an_interruption_that_became_another_exception_is_one(self):
        def load():
            try:
                raise interrupt.Interrupted("the process ends")
            except BaseException as error:
                raise RuntimeError("Error calling __set_name__") from error
        with self.assertRaises(startup.Stopped):
            self.run_startup([self.task("a", load)])
        self.assertIn("a: interrupted, because the process ends", self.host.logged[0][1])

    def test_a_load_can_be_interrupted_and_nothing_else(self):
        depths = []
        application = self.task("app", lambda: depths.append(interrupt._depth))
        self.host.begin_attempt = self.host.end_attempt = lambda _: depths.append(interrupt._depth)
        self.run_startup(application=application)
        self.assertEqual(depths, [0, 1, 0])


class CleanupTest(StartupTestCase):
    def load(self, ran, names, error=None):
        def load():
            for name in names:
                def note(name=name):
                    ran.append((self.host.now, name))
                cleanup.register_cleanup(note)
            if error:
                raise error
            return "app"
        return load

    def test_those_of_a_failed_attempt_run_before_the_next_the_last_one_first(self):
        ran = []
        self.run_startup(application=self.task("app", self.load(ran, "ab", ValueError()), "app"))
        self.assertEqual(ran, [(0.0, "b"), (0.0, "a")])
        self.assertEqual(self.process.pending(), [])
        self.assertEqual([what[0] for what in self.host.told],
                         ["begin", "end", "cleanup", "cleanup", "begin", "end", "loaded"])

    def test_those_of_an_attempt_that_ends_its_interpreter_are_left_to_that_end(self):
        """Which has a deadline: one that hangs would keep the next attempt from ever coming, and the log from telling."""
        ran = []
        for keys, error in ({}, startup.Afresh), ({"exits": True}, startup.Failed):
            with self.subTest(error=error), self.assertRaises(error):
                self.startup(application=self.task("app", self.load(ran, "a", ValueError())), **keys).run(self.on_loaded)
        self.assertEqual(ran, [])
        self.assertEqual(len(self.process.pending()), 2)
        self.assertIn("1 cleanup of it ran", self.host.logged[0][1])

    def test_those_of_an_attempt_while_others_are_served_run_at_once(self):
        ran = []
        self.run_startup([self.task("a", ValueError(), self.load(ran, "a", ValueError()), "a")])
        self.assertEqual(ran, [(1.0, "a")])

    def test_those_of_a_success_are_the_process_s(self):
        ran = []
        self.run_startup([self.task("a", self.load(ran, "ab"))], self.task("app", self.load(ran, "c")))
        self.assertEqual(ran, [])
        self.process.run(lambda *failed: self.fail(failed))
        self.assertEqual([name for _, name in ran], ["c", "b", "a"])

    def test_only_those_of_the_attempt_run(self):
        ran = []
        self.run_startup([self.task("a", self.load(ran, "a"))],
                         self.task("app", ValueError(), self.load(ran, "b", ValueError()), "app"))
        self.assertEqual([(time, name) for time, name in ran if name == "b"], [(1.0, "b")])
        self.assertEqual(len(self.process.pending()), 1)

    def test_those_of_what_worked_run_before_the_fresh_interpreter(self):
        ran = []
        self.run_startup([self.task("a", self.load(ran, "a"))],
                         self.task("app", self.load(ran, "b", ValueError()), "app"))
        self.assertEqual([name for _, name in ran], ["b", "a"])
        self.assertEqual(len(self.process.pending()), 1)

    def test_one_that_fails_is_told_and_the_others_run(self):
        ran = []

        def load():
            cleanup.register_cleanup(ran.append, 1)
            cleanup.register_cleanup(sys.exit)
            raise ValueError
        self.run_startup(application=self.task("app", load, "app"))
        self.assertEqual(ran, [1])
        self.assertIn(("failed cleanup", "sys.exit", "SystemExit"), self.host.told)


class LogTest(StartupTestCase):
    def test_a_first_success_is_told_without_ado(self):
        self.run_startup()
        self.assertEqual(self.host.logged, [("info", "app: loaded at attempt 1")])

    def test_a_late_success_says_how_late(self):
        self.run_startup(application=self.task("app", ValueError(), ValueError(), "app"))
        self.assertEqual(self.host.logged[-1], ("info", "app: loaded at attempt 3, 3.0 s after the first"))

    def test_a_failure_says_what_comes_next(self):
        self.run_startup(application=self.task("app", ValueError("mine"), "app"))
        self.assertEqual(self.host.logged[0], ("error", (
            "app: attempt 1 failed, the next one comes in 1.0 s, or when a file of it changes; "
            "requests get 503 until then\nValueError('mine')")))

    def test_an_import_says_so_only_if_it_is_required(self):
        for require in False, True:
            with self.subTest(require=require):
                del self.host.logged[:]
                self.run_startup([self.task("a", ValueError(), "a")], require=require)
                self.assertEqual("503" in self.host.logged[0][1], require)

    def test_a_failure_that_ends_the_process(self):
        self.assertRaises(startup.Failed, self.run_startup, [self.task("a", ValueError("x"))], exits=True)
        self.assertEqual(self.host.logged, [("error", (
            "a: attempt 1 failed, and [startup] on_failure = exit ends the process\nValueError('x')"))])

    def test_cleanups_are_counted(self):
        def load():
            cleanup.register_cleanup(len, "")
            cleanup.register_cleanup(len, "")
            raise ValueError
        self.run_startup(application=self.task("app", load, "app"))
        self.assertIn("; 2 cleanups of it ran\n", self.host.logged[0][1])


    def test_the_same_failure_again_is_one_line(self):
        self.run_startup(application=self.task("app", ValueError("row 1 at 0x1f"), ValueError("row 2 at 0xab2"),
                                               ValueError("other"), "app"))
        self.assertEqual([text.partition("until then")[2] for _, text in self.host.logged[:3]], [
            "\nValueError('row 1 at 0x1f')", "; as before: ValueError('row 2 at 0xab2')", "\nValueError('other')"])

    def test_the_status_gets_the_exception_without_its_frames_and_when_the_next_attempt_comes(self):
        with mock.patch.object(self.host, "format_exception", lambda error: (
                "Traceback (most recent call last):\n  File \"app.py\", line 1, in f\n    g()\nValueError: one\ntwo")):
            self.run_startup(application=self.task("app", ValueError(), "app"))
        self.assertEqual(self.host.notes[:2], [("app", "loading", 1, "", None), ("app", "failed", 1, "ValueError: one\ntwo", 1.0)])

    def test_the_status_of_what_worked_in_the_interpreter_before_is_no_failure(self):
        self.run_startup([self.task("a", ValueError("a's"), "a")], self.task("app", ValueError("app's"), ValueError("app's"), "app"),
                         require=True)
        self.assertEqual([error for what, state, _, error, _ in self.host.notes if (what, state) == ("a", "failed")],
                         ["ValueError(\"a's\")"] * 2)  # when it failed, and when the next interpreter went on from there

    def test_a_third_failure_while_others_are_served_asks_for_a_restart(self):
        self.run_startup([self.task("a", *[ValueError("x")] * 5, "a")])
        warnings = [(self.names().count("a"), text) for level, text in self.host.logged if level == "warning"]
        self.assertEqual(len(warnings), 1)
        self.assertRegex(warnings[0][1], "a: failed 3 times in an interpreter that serves others .*restart fcgihost")

    def test_no_failure_asks_for_a_restart_while_nothing_is_served(self):
        self.run_startup([self.task("a", *[ValueError("x")] * 5, "a")], require=True)
        self.assertNotIn("warning", [level for level, _ in self.host.logged])


class AfreshTest(StartupTestCase):
    def test_each_failure_wants_a_fresh_interpreter_while_nothing_is_served(self):
        self.run_startup(application=self.task("app", ValueError(), ValueError(), "app"))
        self.assertEqual(self.interpreters, 3)
        self.assertEqual(self.times("app"), [0.0, 1.0, 3.0])

    def test_none_does_once_something_is_served(self):
        self.run_startup([self.task("a", *[ValueError()] * 5, "a")])
        self.assertEqual(self.interpreters, 2)
        self.assertEqual(len(self.times("a")), 6)

    def test_required_imports_that_worked_are_imported_again(self):
        self.run_startup([self.task("a"), self.task("b", ValueError(), ValueError(), "b")], require=True)
        self.assertEqual(self.names(), ["a", "b", "a", "b", "a", "b", "app"])
        self.assertEqual([text for level, text in self.host.logged if level == "info"], [
            "a: loaded at attempt 1", "b: loaded at attempt 3, 3.0 s after the first", "app: loaded at attempt 1"])

    def test_one_that_worked_and_fails_in_the_next_interpreter_is_tried_again(self):
        self.run_startup([self.task("a", "a", ValueError(), "a"), self.task("b", ValueError(), "b")], require=True)
        self.assertEqual(self.names(), ["a", "b", "a", "a", "b", "app"])

    def test_an_import_that_never_works_does_not_keep_the_application_from_being_tried(self):
        """Its next attempt may be due when the fresh interpreter is there."""
        self.run_startup([self.task("a", ValueError(), ValueError(), "a")], retry_delay=0)
        self.assertEqual(self.names()[:2], ["a", "app"])

    def test_of_several_applications_the_one_that_was_not_tried_comes_first(self):
        loading = startup.Startup(self.host, startup.Settings(retry_delay=0), [], [
            self.task("a", ValueError(), "a"), self.task("b")], self.host.clock, lambda: 0.5)
        loading.application_count = 2
        self.run_afresh(loading)
        self.assertEqual(self.names(), ["a", "b", "a"])

    def test_the_state_goes_through_marshal_and_keeps_attempts_delays_and_files(self):
        path = self.write("broken.py", "raise ValueError\n")
        task = startup.Task("broken", functools.partial(loader.load_import, "broken"), loader.Watch())
        loading = self.startup([task], require=True, retry_delay=8)
        self.assertRaises(startup.Afresh, loading.run, self.on_loaded)
        fresh = startup.Task("broken", task.load, loader.Watch())
        fresh.resume(marshal.loads(marshal.dumps(task.state())))
        self.assertEqual((fresh.attempts, fresh.due, fresh.began), (1, 8.0, 0.0))
        self.assertIn("ValueError", fresh.failure)
        self.assertFalse(fresh.watch.has_changed())
        self.write("broken.py", "longer = 1\n")
        self.assertTrue(fresh.watch.has_changed(), path)


class OnceTest(StartupTestCase):
    def test_all_is_tried_once(self):
        failing = self.task("b", ValueError("x"))
        application = self.task("app")
        result = self.startup([self.task("a"), failing, self.task("c")], application).run_once()
        self.assertEqual((application.result, result), ("app", [failing]))
        self.assertEqual(self.names(), ["a", "b", "c", "app"])
        self.assertEqual(self.host.logged, [("error", "b: can't be loaded\nValueError('x')")])

    def test_an_application_that_fails_has_no_result(self):
        application = self.task("app", SystemExit(1))
        self.assertEqual(self.startup(application=application).run_once(), [application])
        self.assertIsNone(application.result)


class SeveralTest(StartupTestCase):
    def run_several(self, *applications, imports=(), **settings):
        loading = startup.Startup(self.host, startup.Settings(**settings), imports, applications, self.host.clock,
                                  lambda: 0.5)
        loading.application_count = len(applications)
        self.run_afresh(loading)

    def test_each_serves_as_soon_as_it_is_loaded(self):
        self.run_several(self.task("a", ValueError(), "a"), self.task("b"))
        self.assertEqual(self.loaded, [(0.0, "b"), (1.0, "a")])

    def test_a_required_import_holds_them_all(self):
        self.run_several(self.task("a"), self.task("b"), imports=[self.task("i", ValueError(), "i")], require=True)
        self.assertEqual(self.loaded, [(1.0, "a"), (1.0, "b")])


class ForkTest(unittest.TestCase):
    def exit_code(self, pid, failure):
        child = os.fork()
        if child == 0:
            startup.leave_forked_child(pid, failure)
            os._exit(99)    # it came back
        return os.WEXITSTATUS(os.waitpid(child, 0)[1])

    def test_a_forked_child_ends_as_a_script_would(self):
        for failure, code in ((None, 0), (SystemExit(), 0), (SystemExit(3), 3), (SystemExit("text"), 1),
                              (ValueError(), 1), (KeyboardInterrupt(), 1), (SystemExit(-1), 255)):
            with self.subTest(failure=failure):
                self.assertEqual(self.exit_code(os.getpid(), failure), code)

    def test_the_process_itself_goes_on(self):
        startup.leave_forked_child(os.getpid(), SystemExit(1))


class ManagerTest(StartupTestCase):
    def test_it_reports_what_was_tried_and_what_failed(self):
        self.run_startup([self.task("db", OSError("down"), "db")], retry_delay=1.0)
        self.assertEqual(self.host.reports[0], (2, 0, 0))
        self.assertIn((1, 0, 1), self.host.reports)
        self.assertEqual(self.host.reports[-1], (0, 0, 0))

    def test_what_fails_beside_others_is_tried_in_a_fresh_process_of_the_manager(self):
        self.host.is_managed = True
        self.host.on_wait = lambda count: len(self.host.healed) == 3
        with self.assertRaises(startup.Stopped):
            self.run_startup([self.task("db", OSError("down"))], retry_delay=1.0)
        here = [name for _, name in self.attempts if name == "db"]
        self.assertEqual(len(here), self.interpreters)  # once in each, before anything was served or after
        numbers = [state[0][0] for _, state in self.host.healed]
        self.assertEqual(numbers, [numbers[0], numbers[0] + 1, numbers[0] + 2])  # attempts that others make count

    def test_without_a_manager_it_is_tried_here(self):
        self.host.on_wait = lambda count: len(self.attempts) > 4
        with self.assertRaises(startup.Stopped):
            self.run_startup([self.task("db", OSError("down"))], retry_delay=1.0)
        self.assertGreater([name for _, name in self.attempts].count("db"), 2)


if __name__ == "__main__":
    unittest.main()
