"""fcgihost.host.replace: [reload] mode = process."""
import importlib.machinery
import os
import unittest

import support
from fcgihost import generations
from fcgihost.host import files, loader, reload, replace


class Host:
    def __init__(self):
        self.log_lines, self.marks, self.killed = [], [], []
        self.checks = self.reloads = 0
        self.names = None
        self.is_first = True
        self.code = None    # of the trial's end
        self.failures = []  # for the status

    def log(self, level, event, text):
        self.log_lines.append((level, text))

    def claim(self, mark):
        self.marks.append(mark)
        return self.is_first

    def note_failure(self, text):
        self.failures.append(text)

    def start_check(self, names):
        self.names = names
        if self.checks is None:
            raise OSError(11, "Resource temporarily unavailable")
        self.checks += 1
        return 1000 + self.checks

    def reload(self, mark, why):
        assert mark == self.marks[-1] and why.endswith("changed"), (mark, why)
        self.reloads += 1

    def reap(self, pid):
        return self.code

    def kill(self, pid):
        self.killed.append(pid)


class Module:
    def __init__(self, file):
        self.__file__ = file


class ReplacerTest(support.FolderTestCase):
    def setUp(self):
        super().setUp()
        self.now = 0.0
        self.imported = {}
        self.host = Host()
        self.path = self.write("shop.py", "V = 1\n")
        self.modules = {"shop": Module(self.path), "builtin": object(), "odd": Module(None)}
        self.make()

    def make(self, *watch):
        self.replacer = replace.Replacer(self.host, reload.Settings(True, 1.0, watch), files.states, lambda: self.now,
                                         self.modules, self.imported)
        self.look()

    def look(self, count=1):
        for _ in range(count):
            self.replacer.tend()
            self.now += 1

    def change(self, name="shop.py", text="V = 2\n"):
        path = self.write(name, text)
        self.look(2)
        return path

    def end_trial(self, code):
        self.host.code = code
        self.look()
        self.host.code = None

    def levels(self):
        return [level for level, _ in self.host.log_lines]

    def test_a_change_is_tried_and_only_then_the_process_is_replaced(self):
        self.change()
        self.assertEqual((self.host.checks, self.host.reloads), (1, 0))
        self.end_trial(0)
        self.look(3)
        self.assertEqual((self.host.checks, self.host.reloads, self.levels()), (1, 1, ["info", "info"]))

    def test_nothing_changes(self):
        self.look(5)
        self.assertEqual((self.host.checks, self.host.log_lines), (0, []))

    def test_a_second_edit_within_a_second_is_not_hidden_by_the_bytecode_of_the_first(self):
        import py_compile

        os.utime(self.path, ns=(10**18, 10**18))
        cached = py_compile.compile(self.path, doraise=True)
        self.make()
        with open(self.path, "w") as file:
            file.write("V = 2\n")
        os.utime(self.path, ns=(10**18 + 5, 10**18 + 5))
        self.look(2)
        self.assertEqual((self.host.checks, os.path.exists(cached)), (1, False))

    def test_bytecode_that_python_would_not_take_stays_where_it_is(self):
        import py_compile

        cached = py_compile.compile(self.path, doraise=True)
        self.change(text="V = 22\n")
        self.change("none.py", "")
        self.assertTrue(os.path.exists(cached))
        files.forget_stale_bytecode({self.path: None, "/no/such/file.py": (1, 1, 1), "page.html": (1, 1, 1)})

    def check_waits_while_it_is_written(self):
        for count in range(4):
            self.write("shop.py", "V = 2\n" * count)
            self.look()
        self.assertEqual(self.host.checks, 0)
        self.look()
        self.assertEqual(self.host.checks, 1)

    def test_one_that_is_still_being_written_waits(self):
        self.check_waits_while_it_is_written()

    def test_one_that_is_still_being_written_keeps_the_others_waiting(self):
        self.modules["parts"] = Module(self.write("parts.py", ""))
        self.look()
        self.write("parts.py", "P = 2\n")
        self.check_waits_while_it_is_written()

    def test_a_trial_that_fails_leaves_all_as_it_is_and_the_next_change_is_tried(self):
        self.change(text="def (:\n")
        self.end_trial(4)
        self.look(5)
        self.assertEqual((self.host.checks, self.host.reloads, self.levels()), (1, 0, ["info", "error"]))
        self.assertIn("can't be loaded (exit code 4): this process goes on serving", self.host.log_lines[-1][1])
        self.assertEqual(self.host.failures, ["%s has changed, but can't be loaded: the log says why" % self.path])
        self.change(text="V = 3\n")
        self.end_trial(0)
        self.assertEqual((self.host.checks, self.host.reloads), (2, 1))

    def test_a_failure_that_a_file_mends_which_this_process_has_not_loaded(self):
        self.write("new.py", "1 / 0\n")
        self.write("pack/new.py", "")
        self.change(text="import new\n")
        self.end_trial(4)
        self.change("new.py", "")
        self.assertEqual(self.host.checks, 2)
        self.end_trial(4)
        self.change("pack/newer.py", "")
        self.assertEqual(self.host.checks, 3)

    def test_a_change_during_a_trial_begins_another_one(self):
        self.change()
        self.change(text="V = 3\n")
        self.assertEqual((self.host.checks, self.host.killed), (2, [1001]))
        self.replacer.stop()
        self.assertEqual((self.host.killed, self.replacer.tend()), ([1001, 1002], None))

    def test_what_changed_during_a_trial_that_succeeds_is_tried_first(self):
        self.change()
        self.write("shop.py", "def (:\n")
        self.end_trial(0)
        self.assertEqual((self.host.reloads, self.levels()), (0, ["info"]))
        self.look(2)
        self.assertEqual(self.host.checks, 2)

    def test_a_trial_that_hangs_is_named_once(self):
        self.change()
        self.look(100)
        self.assertEqual(self.levels(), ["info", "warning"])
        self.assertIn("process 1001 has tried to load the changed code for 30 s", self.host.log_lines[1][1])

    def test_one_of_several_workers_tries_a_change(self):
        self.host.is_first = False
        self.change()
        self.assertEqual((self.host.checks, len(self.host.marks)), (0, 1))
        self.host.is_first = True
        self.change(text="V = 3\n")
        self.assertEqual((self.host.checks, len(set(self.host.marks))), (1, 2))

    def test_the_trial_imports_what_this_process_has_imported_of_the_application_s_own(self):
        self.modules.update(json=__import__("json"), replace=replace, os=os, gone=Module("/no/such/file.py"))
        self.modules["fcgihost.loaded.x__1"] = Module(self.write("page.wsgi", ""))
        self.change()
        self.assertEqual(self.host.names, ["shop", os.path.join(self.folder, "page.wsgi")])

    def test_two_workers_name_a_change_alike(self):
        other = replace.Replacer(self.host, reload.Settings(True, 1.0, ()), files.states, lambda: self.now, self.modules)
        other.tend()
        self.write("shop.py", "V = 2\n")
        self.look()
        other.tend()
        self.look()
        other.tend()
        self.assertEqual((len(self.host.marks), len(set(self.host.marks))), (2, 1))

    def test_watched_files_that_change_or_come(self):
        self.write("a.html", "")
        self.make(os.path.join(self.folder, "*.html"))
        self.change("a.html", "x")
        self.assertEqual(self.host.checks, 1)
        self.end_trial(4)
        self.change("b.html", "x")
        self.assertEqual(self.host.checks, 2)

    def test_a_compiled_module_counts_if_watch_names_it(self):
        self.modules["fast"] = Module(self.write("fast.so", "1"))
        self.make()
        self.change("fast.so", "2")
        self.assertEqual(self.host.checks, 0)
        self.make(os.path.join(self.folder, "*.so"))
        self.change("fast.so", "3")
        self.assertEqual(self.host.checks, 1)

    def test_a_link_that_is_switched_to_another_release(self):
        for release in "12":
            self.write("releases/%s/shop.py" % release, "V = %s\n" % release)
        current = os.path.join(self.folder, "current")
        os.symlink("releases/1", current)
        self.modules["shop"] = Module(os.path.join(current, "shop.py"))
        self.make()
        os.symlink("releases/2", current + "~")
        os.rename(current + "~", current)
        self.look(2)
        self.assertEqual(self.host.checks, 1)
        self.end_trial(0)
        self.assertEqual(self.host.reloads, 1)

    def test_files_are_looked_at_once_in_an_interval_at_most(self):
        looks = []

        def get_states(paths):
            looks.append(self.now)
            return files.states(paths)
        replacer = replace.Replacer(self.host, reload.Settings(True, 1.0, ()), get_states, lambda: self.now, self.modules)
        replacer.tend()
        del looks[:]
        for _ in range(40):
            self.now += 0.25
            replacer.tend()
        self.assertLessEqual(len(set(looks)), 10)
        self.assertGreater(len(set(looks)), 5)

    def test_a_module_that_is_imported_later_counts_from_then_on(self):
        self.modules["late"] = Module(self.write("late.py", ""))
        self.look(3)
        self.assertEqual(self.host.checks, 0)
        self.change("late.py", "x = 1\n")
        self.assertEqual(self.host.checks, 1)

    def test_a_module_that_changes_between_its_import_and_the_first_look_has_changed(self):
        source_loader = importlib.machinery.SourceFileLoader
        path_stats = source_loader.path_stats
        self.addCleanup(setattr, source_loader, "path_stats", path_stats)
        recorded = replace.record_imports()
        path = self.write("late_of_tests.py", "V = 1\n")
        self.modules["late"] = __import__("late_of_tests")
        self.assertEqual(recorded, files.states([path]))
        self.imported.update(recorded)
        self.write("late_of_tests.py", "V = 2\n")
        self.look(2)
        self.assertEqual(self.host.checks, 1)

    def test_a_script_that_changes_between_its_load_and_the_first_look_has_changed(self):
        source_loader = importlib.machinery.SourceFileLoader
        self.addCleanup(setattr, source_loader, "path_stats", source_loader.path_stats)
        self.addCleanup(setattr, generations, "states_read", None)
        self.addCleanup(setattr, generations, "_store", generations._store)
        generations._store = generations.Store()
        self.imported.update(replace.record_imports())
        recorded = generations.states_read
        path = self.write("script_of_tests.py", "def application(e, s): return 1\n")
        loader.load_script(path, "application")
        self.assertEqual(recorded, files.states([path]))
        self.imported.update(recorded)
        self.modules["fcgihost.loaded.script"] = Module(path)
        self.write("script_of_tests.py", "def application(e, s): return 22\n")
        self.look(2)
        self.assertEqual(self.host.checks, 1)

    def test_no_process_can_be_started(self):
        self.host.checks = None
        self.change()
        self.assertEqual(self.levels(), ["error"])
        self.host.checks = 0
        self.change(text="V = 3\n")
        self.assertEqual(self.host.checks, 1)


if __name__ == "__main__":
    unittest.main()
