"""fcgihost.host.reload: what is loaded anew, when, and what the log says."""
import contextlib
import gc
import os
import sys
import threading
import unittest
import weakref
from unittest import mock

import support
from test_generations import Case
from fcgihost import cleanup, generations, runtime
from fcgihost.host import entry, files, loader, programs, reload, scripts

REGISTER = "import fcgihost, told_by_tests\nfcgihost.register_cleanup(told_by_tests.tell, %r)\n"


class Host:
    """Keeps what it is told. Threads run when the test says so."""

    def __init__(self):
        self.log_lines, self.threads, self.steps = [], [], []
        self.wakes = 0
        self.notes = []     # for the status: (paths, failure)
        self.ends = []      # of loads, in their threads: the failure

    def note(self, keys, failure):
        self.notes.append((sorted(os.path.basename(key[0]) for key in keys), failure and str(failure)))

    def log(self, level, event, text):
        self.log_lines.append((level, text))

    def format_exception(self, exception):
        return "%s: %s" % (type(exception).__name__, exception)

    def start_thread(self, function):
        self.threads.append(function)

    def log_cleanup(self, name, exception):
        self.log_lines.append(("cleanup", name))

    def begin_cleanup(self, name):
        self.steps.append(name)

    def end_cleanups(self):
        self.steps.append(None)

    def end_load(self, failure):
        self.ends.append(failure and str(failure))

    def wake(self):
        self.wakes += 1


class ReloadCase(Case):
    def setUp(self):
        super().setUp()
        self.now = 100.0
        self.host = Host()
        self.states = {}        # path -> its state, if it is not what the disk says
        self.looked = []        # what was asked for, look by look
        self.make()

    def make(self, **settings):
        self.reloader = reload.Reloader(self.store, self.host, reload.Settings(**settings), self.get_states,
                                        lambda: self.now)

    def get_states(self, paths):
        self.looked.append(sorted(paths))
        return {**files.states(paths), **{path: state for path, state in self.states.items() if path in paths}}

    def look(self, count=1):
        """So many looks, an interval apart."""
        for _ in range(count):
            self.now += 1
            self.reloader.tend()

    def run_threads(self):
        while self.host.threads:
            self.host.threads.pop(0)()
        self.reloader.tend()

    def settle(self):
        """Two looks, and what they start."""
        self.look(2)
        self.run_threads()

    def levels(self):
        return [level for level, _ in self.host.log_lines if level != "debug"]

    def value(self, name="app.py"):
        return self.load(name)(None, None)[:2]


class ScriptTest(ReloadCase):
    def setUp(self):
        super().setUp()
        self.dep = self.write("dep.py", "VALUE = 1\n")
        self.app = self.write("app.py", SCRIPT_OF(1))
        self.load()

    def test_a_changed_script_is_loaded_anew_after_two_looks_and_told_in_a_line(self):
        self.write("app.py", SCRIPT_OF(2))
        self.look()
        self.assertEqual(self.host.threads, [])
        self.look()
        self.assertEqual((len(self.host.threads), self.value()), (1, (1, 1)))
        self.run_threads()
        self.assertEqual(self.value(), (2, 1))
        (level, text), = [line for line in self.host.log_lines if line[0] != "debug"][:1]
        self.assertRegex(text, r"script %s: loaded anew as generation 2 in 0.000 s, because %s has changed$" % (
            self.app, self.app))
        self.assertEqual(self.levels()[0], "info")

    def test_nothing_is_looked_at_more_often_than_the_interval_says_nor_with_mode_off(self):
        for _ in range(10):
            self.reloader.tend()
            self.now += 0.25
        self.assertEqual(len(self.looked), 2)
        self.assertEqual(self.reloader.tend(), 0.5)
        self.make(is_on=False)
        self.write("app.py", SCRIPT_OF(2))
        del self.looked[:]
        self.settle()
        self.assertEqual((self.reloader.tend(), self.looked, self.value()), (None, [], (1, 1)))

    def test_requests_look_at_no_file(self):
        self.write("late.py", "import fcgihost\ndef application(e, s): return fcgihost.import_module('dep').VALUE\n")
        unit = loader.load_script(os.path.join(self.folder, "late.py"), "application")
        self.begin_request()
        self.assertEqual(unit.application(None, None), 1)
        with contextlib.ExitStack() as stack:
            for name in ("os.stat", "os.lstat", "io.open", "builtins.open", "os.listdir", "os.scandir"):
                stack.enter_context(mock.patch(name, side_effect=AssertionError(name)))
            for _ in range(100):
                self.assertEqual(programs.callables((programs.Script(unit.key),), self.store.current)[0](None, None), 1)

    def test_a_changed_dependency_loads_what_depends_on_it(self):
        self.write("dep.py", "VALUE = 2\n")
        self.settle()
        self.assertEqual(self.value(), (1, 2))
        self.assertIn("and 1 more: loaded anew as generation 2", self.host.log_lines[0][1])

    def test_both_that_change_make_one_generation(self):
        self.write("dep.py", "VALUE = 2\n")
        self.write("app.py", SCRIPT_OF(2))
        self.settle()
        self.assertEqual((self.value(), self.store.current.number), ((2, 2), 2))

    def test_one_that_is_still_being_written_keeps_the_other_waiting(self):
        self.write("dep.py", "VALUE = 2\n")
        for count in range(3):
            self.states[self.app] = 1, count, 1
            self.look()
            self.assertEqual(self.host.threads, [])
        self.write("app.py", SCRIPT_OF(2))
        del self.states[self.app]
        self.settle()
        self.assertEqual((self.value(), self.store.current.number), ((2, 2), 2))

    def test_two_scripts_that_share_a_module_change_together(self):
        self.write("other.py", SCRIPT_OF(7))
        self.load("other.py")
        self.write("dep.py", "VALUE = 2\n")
        self.settle()
        self.assertIs(self.load()(None, None)[2], self.load("other.py")(None, None)[2])
        self.assertEqual(self.store.current.number, 2)

    def test_scripts_that_share_nothing_do_not_wait_for_each_other(self):
        self.write("other.py", "def application(e, s): return 1, None\n")
        self.load("other.py")
        self.write("other.py", "def application(e, s): return 2, None\n")
        self.write("app.py", SCRIPT_OF(2))
        self.look(2)
        self.assertEqual(len(self.host.threads), 2)
        late, other = self.host.threads
        if "other" not in str(sorted(self.reloader._loads[1].keys)):
            late, other = other, late
        del self.host.threads[:]
        other()
        self.look(3)
        self.assertEqual((self.host.threads, self.value(), self.value("other.py")), ([], (1, 1), (2, None)))
        late()
        self.assertEqual(self.value(), (2, 1))

    def test_a_broken_edit_is_told_once_and_the_next_change_is_tried(self):
        self.write("app.py", REGISTER % "attempt" + "1 / 0\n")
        self.settle()
        self.look(5)
        self.assertEqual((self.levels(), self.value(), self.told), (["error"], (1, 1), ["attempt"]))
        self.assertRegex(self.host.log_lines[0][1], "script .*/app.py can't be loaded anew, though .*/app.py has changed: "
                         "generation 1 goes on serving; it is tried again when a file of it changes\nZeroDivisionError")
        self.assertEqual(self.host.notes, [(["app.py"], "division by zero")])
        self.write("app.py", SCRIPT_OF(2))
        self.settle()
        self.assertEqual(self.value(), (2, 1))
        self.assertEqual(self.host.notes[1:], [(["app.py"], None)])

    def test_a_failure_that_another_file_mends(self):
        self.write("app.py", "import helper_of_reload\n" + SCRIPT_OF(2))
        self.write("helper_of_reload.py", "1 / 0\n")
        self.settle()
        self.assertEqual((self.levels(), self.value()), (["error"], (1, 1)))
        self.write("helper_of_reload.py", "")
        self.settle()
        self.assertEqual(self.value(), (2, 1))

    def test_a_failure_in_a_module_that_is_new(self):
        self.write("new.py", "1 / 0\n")
        self.write("app.py", "import fcgihost\nfcgihost.import_module('new')\n" + SCRIPT_OF(2))
        self.settle()
        self.look(3)
        self.assertEqual(self.levels(), ["error"])
        self.write("new.py", "")
        self.settle()
        self.assertEqual(self.value(), (2, 1))

    def test_a_failure_that_came_of_what_a_module_holds_that_has_loaded_well(self):
        self.write("zero.py", "VALUE = 0\n")
        self.write("app.py", SCRIPT_OF(2) + "1 / fcgihost.import_module('zero').VALUE\n")
        self.settle()
        self.assertEqual(self.value(), (1, 1))
        self.write("zero.py", "VALUE = 1\n")
        self.settle()
        self.assertEqual(self.value(), (2, 1))

    def test_what_an_earlier_failure_came_from_does_not_count_after_the_next_load(self):
        self.write("helper.py", "1 / 0\n")
        for text in "1 / 0\n", SCRIPT_OF(2):  # one that fails for itself, one that does not
            with self.subTest(text):
                self.write("app.py", "import helper\n")
                self.settle()
                self.write("app.py", text)
                self.settle()
                self.write("helper.py", "1 / 0 # again\n" + text)
                self.look(3)
                self.assertEqual(self.host.threads, [])

    def test_an_ordinary_module_that_a_failed_load_imported_stays_as_requests_may_have_it_by_now(self):
        self.write("ordinary_of_reload.py", "")
        self.write("app.py", "import ordinary_of_reload\n1 / 0\n")
        self.settle()
        self.assertEqual((self.levels(), "ordinary_of_reload" in sys.modules), (["error"], True))

    def test_the_end_of_a_load_is_told_in_its_thread_and_what_it_has_left_is_tended_soon(self):
        self.write("app.py", "1 / 0\n")
        self.look(2)
        wakes = self.host.wakes
        self.host.threads.pop(0)()
        self.assertEqual((self.host.ends, self.host.wakes > wakes), (["division by zero"], True))
        self.write("app.py", SCRIPT_OF(2))
        self.settle()
        self.assertEqual(self.host.ends, ["division by zero", None])

    def test_a_dependency_that_breaks_never_reaches_a_request_that_imports_late(self):
        self.write("late.py", "VALUE = 1\n")
        self.write("lazy.py", "import fcgihost\n"
                              "def application(e, s): return fcgihost.import_module('late').VALUE, None\n")
        self.value("lazy.py")
        self.write("late.py", "def (:\n")
        self.settle()
        self.assertEqual((self.levels(), self.value("lazy.py")), (["error"], (1, None)))
        self.write("late.py", "VALUE = 2\n")
        self.settle()
        self.assertEqual(self.value("lazy.py"), (2, None))

    def test_a_file_that_is_replaced_touched_or_emptied(self):
        os.rename(self.write("new.py", SCRIPT_OF(2)), self.app)
        self.settle()
        self.assertEqual(self.value(), (2, 1))
        os.utime(self.app, (1, 1))
        self.settle()
        self.assertEqual(self.store.current.number, 3)
        self.write("app.py", "")
        self.settle()
        self.assertEqual((self.value(), self.levels()[-1]), ((2, 1), "error"))

    def test_a_script_that_vanishes_goes_on_serving_with_one_line_and_may_come_back(self):
        os.rename(self.app, self.app + "~")
        self.settle()
        self.look(5)
        self.assertEqual((self.host.log_lines, self.value()), (
            [("warning", "%s has gone: what was loaded from it goes on serving" % self.app)], (1, 1)))
        os.rename(self.app + "~", self.app)
        self.settle()
        self.assertEqual((self.value(), self.store.current.number), ((1, 1), 2))

    def test_a_link_that_is_switched_to_another_release(self):
        for release in "12":
            self.write("releases/%s/app.py" % release, SCRIPT_OF(int(release)))
            self.write("releases/%s/dep.py" % release, "VALUE = %s0\n" % release)
        current = os.path.join(self.folder, "current")
        os.symlink("releases/1", current)
        self.assertEqual(self.value("current/app.py"), (1, 10))
        os.symlink("releases/2", current + "~")
        os.rename(current + "~", current)
        self.settle()
        self.assertEqual(self.value("current/app.py"), (2, 20))

    def test_what_a_failed_load_had_changed_is_loaded_with_what_mends_it(self):
        self.write("dep.py", "VALUE = 2\n")
        self.write("app.py", "1 / 0\n")
        self.settle()
        self.assertEqual(self.value(), (1, 1))
        self.write("app.py", SCRIPT_OF(2))
        self.settle()
        self.assertEqual(self.value(), (2, 2))

    def test_what_a_failed_load_had_changed_and_is_as_before_again_is_not(self):
        self.write("dep.py", "import told_by_tests\ntold_by_tests.tell('dep')\nVALUE = 1\n")
        self.settle()
        before = files.states([os.path.join(self.folder, "dep.py")])
        self.write("app.py", "1 / 0\n")
        self.settle()
        self.write("app.py", SCRIPT_OF(2))
        self.settle()
        self.assertEqual((self.value(), self.told), ((2, 1), ["dep"]))
        self.assertEqual(files.states(before), before)

    def test_what_changes_while_it_is_loaded_is_not_loaded_twice_at_the_same_time(self):
        self.write("app.py", SCRIPT_OF(2))
        self.look(2)
        self.write("dep.py", "VALUE = 9\n")
        self.look(4)
        self.assertEqual(len(self.host.threads), 1)
        self.run_threads()
        self.settle()
        self.assertEqual(self.value(), (2, 9))

    def test_a_load_that_did_not_go_with_what_others_loaded_is_tried_again_though_nothing_else_changes(self):
        self.write("app.py", SCRIPT_OF(2))
        with mock.patch.object(self.store, "publish", return_value=None):
            self.settle()
        self.assertEqual(self.value(), (1, 1))
        self.settle()
        self.assertEqual(self.value(), (2, 1))

    def test_a_load_that_met_a_file_being_written_is_tried_again_though_nothing_else_changes(self):
        self.write("app.py", SCRIPT_OF(2))
        with mock.patch.object(self.store, "build", side_effect=generations.Changing("app.py")):
            self.settle()
        self.assertEqual((self.value(), self.levels()), ((1, 1), []))
        self.settle()
        self.assertEqual(self.value(), (2, 1))

    def test_what_was_imported_late_counts_as_a_dependency(self):
        """It may have kept something of it."""
        self.write("late.py", "import fcgihost\nkept = []\ndef application(e, s):\n"
                   "    kept.append(fcgihost.import_module('dep').VALUE)\n    return kept[0], None\n")
        self.assertEqual(self.value("late.py"), (1, None))
        self.write("dep.py", "VALUE = 2\n")
        self.settle()
        self.assertEqual(self.value("late.py"), (2, None))

    def test_nothing_is_left_of_an_old_generation_after_the_next_look(self):
        old = weakref.ref(self.load())  # a function and its module are a cycle
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.write("app.py", REGISTER % "two" + SCRIPT_OF(2))
        self.settle()
        self.write("app.py", SCRIPT_OF(3))
        self.settle()
        self.look(2)
        self.assertEqual((self.value(), old()), ((3, 1), None))

    def test_a_file_that_changes_while_it_is_loaded_is_loaded_again(self):
        self.write("app.py", SCRIPT_OF(2))
        self.look(2)
        self.write("app.py", SCRIPT_OF(3))
        self.run_threads()
        self.assertEqual((self.value(), self.levels()), ((1, 1), []))
        self.settle()
        self.assertEqual(self.value(), (3, 1))

    def test_a_change_after_the_file_was_read_is_found(self):
        self.write("app.py", "import told_by_tests\ntold_by_tests.during()\n" + SCRIPT_OF(2))
        import told_by_tests
        told_by_tests.during = lambda: self.write("app.py", SCRIPT_OF(3))
        self.settle()
        self.assertEqual(self.value(), (2, 1))
        self.settle()
        self.assertEqual(self.value(), (3, 1))

    def test_what_was_loaded_meanwhile_is_loaded_with_the_rest_at_the_next_look(self):
        self.write("dep.py", "VALUE = 2\n")
        self.look(2)
        self.write("other.py", "import told_by_tests\ntold_by_tests.tell('other')\n" + SCRIPT_OF(7))
        self.load("other.py")
        # It has the new file, the running load has it too: they do not go together.
        self.write("dep.py", "VALUE = 3\n")
        self.run_threads()
        self.settle()
        self.settle()
        self.assertEqual((self.value(), self.value("other.py")), ((1, 3), (7, 3)))

    def test_watched_files_load_all_scripts_anew(self):
        self.make(watch=[os.path.join(self.folder, "templates", "*.html")])
        self.write("templates/a.html", "")
        self.look(3)
        self.assertEqual(self.host.threads, [])
        one, two = (os.path.join(self.folder, "templates", name) for name in ("a.html", "b.html"))
        self.write("templates/a.html", "changed")
        self.settle()
        self.assertEqual(self.store.current.number, 2)
        self.write("templates/b.html", "new")
        self.settle()
        self.assertEqual(self.store.current.number, 3)
        os.remove(one)
        self.settle()
        self.assertEqual((self.store.current.number, self.levels()[-1], os.path.exists(two)), (3, "warning", True))

    def test_a_watched_file_that_changes_during_a_load_counts_for_all_scripts_once_that_has_ended(self):
        self.write("other.py", "def application(e, s): return 1, None\n")
        self.load("other.py")
        self.write("a.html", "")
        self.make(watch=[os.path.join(self.folder, "*.html")])
        self.look(2)
        self.write("app.py", SCRIPT_OF(2))
        self.look(2)
        self.write("a.html", "changed")
        self.look(3)
        self.assertEqual(len(self.host.threads), 1)
        self.run_threads()
        self.settle()
        told = "".join(text for _, text in self.host.log_lines if "loaded anew" in text and "a.html" in text)
        self.assertIn("app.py", told)
        self.assertIn("other.py", told)

    def test_a_load_that_hangs_is_named_once_and_delays_nobody(self):
        told = __import__("told_by_tests")
        told.gate, told.begun = threading.Event(), threading.Event()
        self.write("app.py", "import told_by_tests\ntold_by_tests.begun.set()\ntold_by_tests.gate.wait()\n" + SCRIPT_OF(2))
        self.look(2)
        thread = threading.Thread(target=self.host.threads.pop())
        self.addCleanup(told.gate.set)
        thread.start()
        told.begun.wait()
        self.write("other.py", "def application(e, s): return 1, None\n")
        self.load("other.py")
        self.write("other.py", "def application(e, s): return 2, None\n")
        self.settle()
        self.assertEqual((self.value(), self.value("other.py")), ((1, 1), (2, None)))
        self.look(60)
        slow = [text for level, text in self.host.log_lines if level == "warning"]
        self.assertEqual(len(slow), 1)
        self.assertIn("app.py: its load has been running for 3", slow[0])
        self.assertIn("told_by_tests.gate.wait()", slow[0])
        told.gate.set()
        thread.join()
        self.assertEqual(self.value(), (2, 1))

    def test_cleanups_run_in_the_thread_that_tends_and_after_the_last_request(self):
        self.write("app.py", REGISTER % "two" + SCRIPT_OF(2))
        self.settle()
        self.begin_request()
        self.write("app.py", SCRIPT_OF(3))
        self.settle()
        self.assertEqual(self.told, [])
        wakes = self.host.wakes
        runtime.end_request()
        self.assertEqual((self.told, self.host.wakes), ([], wakes + 1))
        self.reloader.tend()
        self.assertEqual((self.told, self.host.steps[-1]), (["two"], None))
        self.assertIn(("info", "generation 2 has served its last request: 1 cleanup ran"), self.host.log_lines)


    def test_what_a_load_left_that_failed_just_before_the_end_is_cleaned_up(self):
        self.write("app.py", REGISTER % "attempt" + "1 / 0\n")
        self.look(2)
        self.host.threads.pop(0)()
        self.assertEqual(self.told, [])
        self.reloader.finish()
        self.assertEqual(self.told, ["attempt"])

    def end_during_a_load(self, text):
        self.write("app.py", text)
        self.look(2)
        self.reloader.finish()
        cleanup.process_scope.run(self.host.log_cleanup)
        self.host.threads.pop(0)()

    def test_a_load_that_ends_after_the_process_cleans_up_itself_and_is_no_error(self):
        self.end_during_a_load(REGISTER % "late" + SCRIPT_OF(2))
        self.assertEqual((self.told, self.levels(), self.value()), (["late"], [], (1, 1)))

    def test_so_does_one_that_fails_then(self):
        self.end_during_a_load(REGISTER % "late" + "1 / 0\n")
        self.assertEqual((self.told, self.levels()), (["late"], ["error"]))

    def test_what_modules_have_registered_that_such_a_load_imported_is_cleaned_up_too(self):
        self.write("imported_late.py", REGISTER % "module's")
        self.end_during_a_load("import imported_late\n1 / 0\n")
        self.assertEqual((self.told, self.levels()), (["module's"], ["error"]))


class ScriptRootTest(ReloadCase):
    def setUp(self):
        super().setUp()
        self.path = self.write("root/app.wsgi", "def application(e, s): return 1\n")
        self.root = scripts.ScriptRoot(os.path.join(self.folder, "root"))

    def get(self):
        return self.root.get(self.path)(None, None)

    def test_a_changed_file_is_loaded_anew_if_it_may_run(self):
        self.assertEqual(self.get(), 1)
        self.write("root/app.wsgi", "def application(e, s): return 2\n")
        self.settle()
        self.assertEqual(self.get(), 2)
        self.write("root/app.wsgi", "def application(e, s): return 3\n")
        os.chmod(self.path, 0o666)
        self.settle()
        self.assertEqual(self.levels()[-1], "error")
        self.assertIn("everybody can write it", self.host.log_lines[-1][1])

    def test_one_that_vanishes_is_404_and_its_cleanups_run(self):
        self.write("root/app.wsgi", REGISTER % "gone" + "def application(e, s): return 1\n")
        self.get()
        os.remove(self.path)
        self.settle()
        self.assertEqual(self.told, ["gone"])
        self.assertIn("app.wsgi has gone: its requests get 404", self.host.log_lines[0][1])
        self.assertRaisesRegex(Exception, "is not there", self.get)
        self.write("root/app.wsgi", "def application(e, s): return 2\n")
        self.assertEqual(self.get(), 2)

    def test_a_script_that_is_imported_by_another_one_still_has_to_be_allowed(self):
        os.chmod(self.write("root/free.wsgi", "def application(e, s): return 5\n"), 0o666)
        self.write("root/app.wsgi", "import fcgihost\nfcgihost.import_module('free.wsgi')\n"
                                    "def application(e, s): return 1\n")
        self.assertEqual(self.get(), 1)
        self.assertRaisesRegex(Exception, "everybody can write it",
                               self.root.get, os.path.join(self.folder, "root", "free.wsgi"))


class StatesTest(support.FolderTestCase):
    def test_links_are_followed(self):
        link = os.path.join(self.folder, "link")
        os.symlink(self.write("one", "1"), link)
        before = files.states([link])
        self.write("one", "2")
        self.assertNotEqual(files.states([link]), before)
        os.remove(os.path.join(self.folder, "one"))
        self.assertEqual(files.states([link]), {link: None})


    def test_a_file_that_may_not_be_read_is_another_once_it_may(self):
        path = self.write("one", "1")
        with mock.patch("os.access", return_value=False):
            before = files.states([path])
        self.assertEqual(before[path][2], 0)
        self.assertEqual(files.states([path])[path][2], os.stat(path).st_ino)


class LookTest(unittest.TestCase):
    def test_what_differs_between_two_looks_is_still_changing(self):
        now = {}
        look = files.Look(lambda paths: {path: now.get(path) for path in paths})
        known = {"a": 1, "b": 1}
        for state, settled, changing in (({"a": 1, "b": 1}, {}, set()), ({"a": 2, "b": 1}, {}, {"a"}),
                                         ({"a": 3, "b": 2}, {}, {"a", "b"}), ({"a": 3, "b": 3}, {"a": 3}, {"b"}),
                                         ({"b": 3}, {"b": 3}, {"a"}), ({"b": 1}, {"a": None}, set())):
            now.clear()
            now.update(state)
            self.assertEqual(look.changed(known), (settled, changing))


class HostTest(Case):
    def test_requests_get_the_new_script_in_one_call(self):
        switched = []
        support.stub.switch = lambda *arguments: switched.append(arguments)
        self.addCleanup(setattr, support.stub, "switch", lambda changes, hold, number: None)
        path = self.write("app.py", "def application(): return 1\n")
        section = {"script": path, "script_root": None}
        entry._served.clear()
        self.store.on_switch = entry._switch
        unit = loader.load_script(path, "application")
        from fcgihost.host import programs
        loaded = []
        entry._serve({"applications": [section]}, lambda index, programs: loaded.append((index, programs)), 0,
                     (programs.Script(unit.key), None, None))
        self.assertEqual(loaded, [(0, (unit.application, None, None))])
        self.load_anew("app.py")
        (changes, hold, number), = switched[1:]
        self.assertEqual((changes, number), ([(0, self.load())], 2))
        self.assertIs(hold, self.store.hold)
        entry._served.clear()

    def test_the_status_gets_to_know_of_the_application_whose_script_was_loaded_anew(self):
        from fcgihost.host import programs

        noted = []
        support.stub.note_reload = lambda number, error: noted.append((number, error))
        self.addCleanup(delattr, support.stub, "note_reload")
        root = scripts.ScriptRoot(self.folder, "application", 1.0, [".py"])
        entry._served.clear()
        self.addCleanup(entry._served.clear)
        entry._served.update({0: (programs.Script(("/a.py", ("script",))), None, None), 2: (root, None, None)})
        entry._ReloadHost.note({("/a.py", ("script",)), ("/b.py", None)}, ValueError("no"))
        entry._ReloadHost.note({("/x.py", root.role)}, None)
        entry._ReloadHost.note({("/x.py", ("script_root", "/elsewhere"))}, None)
        self.assertEqual(noted, [(0, "ValueError: no"), (2, None)])


def SCRIPT_OF(value):
    return ("import fcgihost\ndep = fcgihost.import_module('dep')\n"
            "def application(e, s): return %d, dep.VALUE, dep\n" % value)


if __name__ == "__main__":
    unittest.main()
