"""fcgihost.generations: import_module(), and which generation a request has from its start to its end."""
import dataclasses
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
import traceback
import typing
import unittest
import weakref

import support
import fcgihost
from fcgihost import cleanup, generations, loaded, runtime
from fcgihost.host import loader

SCRIPT = "import fcgihost\ndep = fcgihost.import_module('dep')\nVALUE = %r\n" \
         "def application(e, s): return VALUE, dep.VALUE, dep\n"


class Case(support.FolderTestCase):
    def setUp(self):
        super().setUp()
        self.store = generations.Store()
        before, generations._store = generations._store, self.store
        scope, cleanup.process_scope = cleanup.process_scope, cleanup.Scope("the process")
        self.told = []  # what cleanups and modules append to
        sys.modules["told_by_tests"] = told = type(sys)("told_by_tests")
        told.tell = self.told.append

        def restore():
            generations._store = before
            cleanup.process_scope = scope
            runtime.leave_request()
        self.addCleanup(restore)

    def load(self, name="app.py", attribute="application"):
        """The callable of the script, in this thread's generation."""
        return loader.load_script(os.path.join(self.folder, name), attribute).application

    def load_anew(self, *names):
        """A new generation, with these files anew. Returns whether it became the current one."""
        paths = {os.path.join(self.folder, name) for name in names}
        before = self.store.current
        keys = {key for key in before.units if key[0] in paths}
        generation = self.store.begin_build(keys, {})
        self.store.build(generation, [before.units[key] for key in keys])
        return self.store.publish(generation, keys) is not None

    def begin_request(self):
        """This thread serves a request, with the current generation."""
        runtime.begin_request({"REQUEST_METHOD": "GET", "PATH_INFO": "/"})
        return self.store.enter()

    def retire(self):
        """Runs the cleanups of generations that have ended. Their numbers."""
        retired = self.store.retire()
        for _, scopes in retired:
            cleanup.run_together(scopes, None)
        return [number for number, _ in retired]


class RequestTest(Case):
    def test_a_request_keeps_its_generation_and_the_next_one_gets_the_new_one(self):
        self.write("dep.py", "VALUE = 1\n")
        self.write("app.py", SCRIPT % 1)
        self.begin_request()
        self.assertEqual(self.load()(None, None)[:2], (1, 1))
        self.write("dep.py", "VALUE = 2\n")
        self.write("app.py", SCRIPT % 2)
        self.assertTrue(self.load_anew("app.py", "dep.py"))
        self.assertEqual(self.load()(None, None)[:2], (1, 1))
        runtime.end_request()
        self.begin_request()
        self.assertEqual(self.load()(None, None)[:2], (2, 2))

    def test_what_is_imported_late_belongs_to_the_request_s_generation(self):
        self.write("dep.py", "VALUE = 1\n")
        self.write("app.py", "import fcgihost\ndef application(e, s): return fcgihost.import_module('dep').VALUE\n")
        application = self.load()
        self.begin_request()
        self.assertEqual(application(None, None), 1)
        self.write("dep.py", "VALUE = 2\n")
        self.assertTrue(self.load_anew("app.py", "dep.py"))
        self.assertEqual(application(None, None), 1)
        runtime.end_request()
        self.begin_request()
        self.assertEqual(self.load()(None, None), 2)

    def test_a_generation_ends_with_its_last_request(self):
        self.write("app.py", "application = print\n")
        self.load()
        held = self.begin_request()
        self.assertTrue(self.load_anew("app.py"))
        self.assertEqual((self.retire(), self.store.living()), ([], [1, 2]))
        del held
        runtime.end_request()
        self.assertEqual((self.retire(), self.store.living()), ([1], [2]))

    def test_a_generation_ends_at_once_if_no_request_has_it(self):
        self.write("app.py", "application = print\n")
        self.load()
        self.assertTrue(self.load_anew("app.py"))
        self.assertEqual(self.retire(), [1])

    def test_generations_end_in_whatever_order_their_requests_do(self):
        self.write("app.py", "import fcgihost, told_by_tests\n"
                             "fcgihost.register_cleanup(told_by_tests.tell, __name__[-1])\napplication = print\n")
        self.load()
        holds = [self.store.hold]
        for _ in range(2):
            self.load_anew("app.py")
            holds.append(self.store.hold)
        del holds[1]
        self.assertEqual((self.retire(), self.told), ([2], ["2"]))
        del holds[0]
        self.assertEqual((self.retire(), self.told), ([1], ["2", "1"]))
        self.assertEqual(self.retire(), [])

    def test_what_two_generations_share_is_kept_until_both_have_ended(self):
        self.write("dep.py", "import fcgihost, told_by_tests\nfcgihost.register_cleanup(told_by_tests.tell, 'dep')\n"
                             "VALUE = 1\n")
        self.write("app.py", SCRIPT % 1)
        dep = self.load()(None, None)[2]
        self.load_anew("app.py")
        self.assertIs(self.load()(None, None)[2], dep)
        self.assertEqual((self.retire(), self.told), ([1], []))
        self.load_anew("app.py", "dep.py")
        self.assertIsNot(self.load()(None, None)[2], dep)
        self.assertEqual((self.retire(), self.told), ([2], ["dep"]))

    def test_a_script_that_is_loaded_late_goes_to_the_newer_generations_too(self):
        self.write("app.py", "application = print\n")
        self.write("late.py", "import told_by_tests\ntold_by_tests.tell('load')\napplication = len\n")
        self.load()
        self.begin_request()
        self.load_anew("app.py")
        self.load("late.py")
        runtime.end_request()
        self.begin_request()
        self.load("late.py")
        self.assertEqual(self.told, ["load"])

    def test_nothing_refers_to_what_has_ended(self):
        self.write("dep.py", "class Thing: pass\nVALUE = Thing()\n")
        self.write("app.py", SCRIPT % 1)
        self.begin_request()
        application = self.load()
        references = [weakref.ref(application), weakref.ref(sys.modules[application.__module__]),
                      weakref.ref(application(None, None)[2].VALUE)]
        pickle.loads(pickle.dumps(application(None, None)[1]))
        names = [name for name in sys.modules if name.startswith("fcgihost.loaded.")]
        del application
        self.load_anew("app.py", "dep.py")
        runtime.end_request()
        self.assertEqual(self.retire(), [1])
        gc.collect()
        self.assertEqual([reference() for reference in references], [None] * 3)
        self.assertEqual([name for name in names if name in sys.modules], [])


class CleanupTest(Case):
    REGISTER = "fcgihost.register_cleanup(told_by_tests.tell, %r)\n"

    def test_cleanups_of_a_generation_run_last_in_first_out_wherever_they_are(self):
        self.write("dep.py", "import fcgihost, told_by_tests\n" + self.REGISTER % "dep")
        self.write("app.py", "import fcgihost, told_by_tests\n" + self.REGISTER % "first" +
                   "fcgihost.import_module('dep')\n" + self.REGISTER % "last" + "application = print\n")
        self.load()
        self.load_anew("app.py", "dep.py")
        self.retire()
        self.assertEqual(self.told, ["last", "dep", "first"])

    def test_what_an_ordinary_module_registers_stays_with_the_process(self):
        self.write("ordinary_of_tests.py", "import fcgihost, told_by_tests\n" + self.REGISTER % "ordinary" +
                   "thing = fcgihost.resource(lambda: object(), close=told_by_tests.tell)\n")
        self.write("app.py", "import fcgihost, told_by_tests, ordinary_of_tests\nthing = ordinary_of_tests.thing.get()\n" +
                   self.REGISTER % "script" + "def application(): return thing\n")
        thing = self.load()()
        self.load_anew("app.py")
        self.retire()
        self.assertEqual(self.told, ["script"])
        self.assertIs(self.load()(), thing)
        cleanup.process_scope.run(None)
        self.assertEqual(self.told, ["script", "script", thing, "ordinary"])

    def test_a_resource_of_a_script_is_closed_with_its_generation(self):
        self.write("app.py", "import fcgihost, told_by_tests\n"
                             "thing = fcgihost.resource(lambda: __name__, close=told_by_tests.tell)\n"
                             "def application(): return thing.get()\n")
        first = self.load()()
        self.load_anew("app.py")
        self.retire()
        self.assertEqual(self.told, [first])
        self.assertNotEqual(self.load()(), first)

    def test_cleanups_of_a_load_that_fails_run_and_those_of_the_old_one_do_not(self):
        text = "import fcgihost, told_by_tests\nfcgihost.register_cleanup(told_by_tests.tell, %r)\n"
        self.write("dep.py", text % "dep")
        self.write("app.py", text % "old" + "fcgihost.import_module('dep')\napplication = print\n")
        self.load()
        self.write("app.py", text % "new" + "fcgihost.import_module('dep')\n1 / 0\n")
        keys = set(self.store.current.units)
        generation = self.store.begin_build(keys, {})
        self.assertRaises(ZeroDivisionError, self.store.build, generation, list(self.store.current.units.values()))
        cleanup.run_together(self.store.abandon(generation), None)
        self.assertEqual(self.told, ["dep", "new"])
        self.assertEqual(self.store.current.number, 1)
        cleanup.process_scope.run(None)
        self.assertEqual(self.told, ["dep", "new", "old", "dep"])


class PublishTest(Case):
    def test_a_script_that_could_not_be_loaded_at_first_is_bound_to_what_it_imports_too(self):
        self.write("dep.py", "VALUE = 1\n")
        self.write("app.py", "import fcgihost\ndep = fcgihost.import_module('dep')\n1 / 0\n")
        with self.assertRaises(ZeroDivisionError):
            self.load()
        self.write("app.py", SCRIPT % 1)
        self.assertEqual(self.load()(None, None)[:2], (1, 1))
        unit, = (unit for unit in self.store.current.units.values() if unit.is_script)
        self.assertEqual([os.path.basename(path) for path, _ in unit.bound], ["dep.py"])
        self.assertEqual([os.path.basename(path) for path, _ in unit.imports], ["dep.py"])
        self.write("dep.py", "VALUE = 2\n")
        self.assertFalse(self.load_anew("dep.py"), "the script has the old one")

    def test_a_script_that_bound_the_old_module_meanwhile_prevents_the_switch(self):
        self.write("dep.py", "VALUE = 1\n")
        self.write("app.py", SCRIPT % 1)
        self.write("late.py", SCRIPT % 1)
        self.load()
        keys = {key for key in self.store.current.units}
        generation = self.store.begin_build(keys, {})
        self.store.build(generation, [self.store.current.units[key] for key in keys])
        self.load("late.py")
        self.assertIsNone(self.store.publish(generation, keys))
        self.store.abandon(generation)
        self.assertTrue(self.load_anew("app.py", "late.py", "dep.py"))
        self.assertIs(self.load()(None, None)[2], self.load("late.py")(None, None)[2])

    def test_what_was_loaded_meanwhile_and_is_unconcerned_is_kept(self):
        self.write("app.py", "application = print\n")
        self.write("late.py", "def application(): pass\n")
        self.load()
        keys = set(self.store.current.units)
        generation = self.store.begin_build(keys, {})
        self.store.build(generation, list(self.store.current.units.values()))
        late = self.load("late.py")
        self.assertIsNotNone(self.store.publish(generation, keys))
        self.assertIs(self.load("late.py"), late)

    def test_a_file_that_is_not_what_is_expected_is_being_written(self):
        path = self.write("app.py", "application = print\n")
        self.load()
        keys = set(self.store.current.units)
        generation = self.store.begin_build(keys, {path: (0, 0, 0)})
        self.assertRaises(generations.Changing, self.store.build, generation, list(self.store.current.units.values()))

    def test_a_module_that_is_wanted_no_more_is_not_loaded_anew_and_one_asked_for_late_is(self):
        self.write("dep.py", "import told_by_tests\ntold_by_tests.tell('dep')\n")
        self.write("late.py", "import told_by_tests\ntold_by_tests.tell('late')\n")
        text = "import fcgihost\ndef application(): fcgihost.import_module('late')\n"
        self.write("app.py", "import fcgihost\nfcgihost.import_module('dep')\n" + text)
        self.load()()
        self.write("app.py", text)
        self.load_anew("app.py", "dep.py", "late.py")
        self.assertEqual(self.told, ["dep", "late", "late"])


class ThreadTest(Case):
    def test_one_thread_loads_and_others_wait(self):
        gate = sys.modules["told_by_tests"].gate = threading.Event()
        begun = sys.modules["told_by_tests"].begun = threading.Event()
        self.write("app.py", "import told_by_tests\ntold_by_tests.tell('load')\ntold_by_tests.begun.set()\n"
                             "told_by_tests.gate.wait()\ndef application(): pass\n")
        results = []
        threads = [threading.Thread(target=lambda: results.append(self.load())) for _ in range(8)]
        for thread in threads:
            thread.start()
        begun.wait()
        gate.set()
        for thread in threads:
            thread.join()
        self.assertEqual((self.told, len(set(results)), len(results)), (["load"], 1, 8))

    def test_the_old_generation_serves_while_the_new_one_is_loaded(self):
        told = sys.modules["told_by_tests"]
        told.gate, told.begun = threading.Event(), threading.Event()
        self.write("app.py", "def application(): return 1\n")
        self.load()
        self.write("app.py", "import told_by_tests\ntold_by_tests.begun.set()\ntold_by_tests.gate.wait()\n"
                             "def application(): return 2\n")
        thread = threading.Thread(target=self.load_anew, args=("app.py",))
        thread.start()
        told.begun.wait()
        self.begin_request()
        self.assertEqual(self.load()(), 1)
        runtime.end_request()
        told.gate.set()
        thread.join()
        self.assertEqual(self.load()(), 2)

    def test_two_threads_that_load_a_circle_do_not_wait_for_each_other(self):
        told = sys.modules["told_by_tests"]
        # Both are in the middle of their files; one whose load has failed is tried again, alone.
        told.barrier = threading.Barrier(2, lambda: setattr(told, "barrier", threading.Barrier(1)))
        for one, other in ("one", "two"), ("two", "one"):
            self.write(one + ".py", "import fcgihost, told_by_tests\ntold_by_tests.barrier.wait()\n"
                                    "fcgihost.import_module(%r)\napplication = print\n" % other)
        failures = []

        def load(name):
            try:
                generations.store().load(self.store.current, os.path.join(self.folder, name),
                                         generations._run_module(name))
            except BaseException as error:
                failures.append(error)
        threads = [threading.Thread(target=load, args=(name,)) for name in ("one.py", "two.py")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertFalse([thread for thread in threads if thread.is_alive()])
        self.assertTrue(failures)
        self.assertEqual({type(failure) for failure in failures}, {ImportError})


class ImportTest(Case):
    def test_a_circle_is_named(self):
        self.write("app.py", "import fcgihost\nfcgihost.import_module('one')\napplication = print\n")
        self.write("one.py", "import fcgihost\nfcgihost.import_module('two')\n")
        self.write("two.py", "import fcgihost\nfcgihost.import_module('one')\n")
        with self.assertRaisesRegex(ImportError, "in a circle: .*/one.py -> .*/two.py -> .*/one.py: move"):
            self.load()

    def test_names_and_paths(self):
        self.write("sub/dep.py", "VALUE = 'sub'\n")
        self.write("sub/app.py", "import fcgihost\nfound = [fcgihost.import_module(name).VALUE for name in "
                                 "('dep', 'dep.py', './dep.py', '../dep.py', 'pack.inner', 'pack')]\n"
                                 "def application(): return found\n")
        self.write("dep.py", "VALUE = 'top'\n")
        self.write("pack/__init__.py", "VALUE = 'pack'\n")
        self.write("pack/inner.py", "VALUE = 'inner ' + __package__\n")
        self.assertEqual(self.load("sub/app.py")(), ["sub", "sub", "sub", "top", "inner pack", "pack"])

    def test_what_is_installed_or_compiled_is_imported_as_usual(self):
        self.write("app.py", "import fcgihost, json, sys, math\ndef application():\n"
                             "    return [fcgihost.import_module(name) is sys.modules[name] for name in "
                             "('json', 'sys', 'math')]\n")
        self.assertEqual(self.load()(), [True] * 3)

    def test_what_is_not_there(self):
        self.write("app.py", "import fcgihost\ndef application(name): return fcgihost.import_module(name)\n")
        application = self.load()
        self.assertRaises(ModuleNotFoundError, application, "no_such_module")
        self.assertRaisesRegex(ModuleNotFoundError, "no_such.py can't be read: No such file", application, "no_such.py")
        self.assertRaises(TypeError, application, b"dep")
        self.assertRaises(TypeError, application, "")

    def test_outside_of_a_generation_it_is_an_import_once(self):
        path = self.write("dep_of_tests.py", "import told_by_tests\ntold_by_tests.tell('load')\n")
        module = fcgihost.import_module("dep_of_tests")
        self.assertIs(module, sys.modules["dep_of_tests"])
        by_path = fcgihost.import_module(path)
        self.assertIs(fcgihost.import_module(path), by_path)
        self.assertEqual(self.told, ["load"] * 2)

    def test_a_failure_shows_the_module_s_lines_and_not_the_package_s(self):
        self.write("dep.py", "1 / 0\n")
        self.write("app.py", "import fcgihost\nfcgihost.import_module('dep')\n")
        try:
            self.load()
        except ZeroDivisionError as error:
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.assertIn("dep.py", text)
        frames = [line.rpartition(" in ")[2] for line in text.splitlines() if line.startswith("  File")]
        self.assertEqual(frames[-3:], ["<module>", "import_module", "<module>"])


class ModuleTest(Case):
    TEXT = """
import dataclasses, typing

@dataclasses.dataclass
class Item:
    name: "str"
    other: "typing.Optional[Item]" = None  # %d

def fail():
    raise ValueError(%d)

def application(e, s):
    return Item
"""

    def check(self, application, number):
        item_type = application(None, None)
        item = item_type("x", item_type("y"))
        self.assertEqual(pickle.loads(pickle.dumps(item)), item)
        self.assertEqual(dataclasses.replace(item, name="z").other, item.other)
        self.assertEqual(typing.get_type_hints(item_type), {"name": str, "other": typing.Optional[item_type]})
        try:
            sys.modules[application.__module__].fail()
        except ValueError as error:
            self.assertIn("raise ValueError(%d)" % number, traceback.format_exc())
            self.assertEqual(str(error), str(number))
        self.assertIn("# %d" % number, inspect.getsource(item_type))
        self.assertIn("ValueError(%d)" % number, inspect.getsource(sys.modules[application.__module__].fail))
        return pickle.dumps(item)

    def test_a_script_s_classes_work_in_every_generation(self):
        self.write("app.py", self.TEXT % (1, 1))
        self.check(self.load(), 1)
        self.begin_request()
        for number in 2, 3:
            self.write("app.py", self.TEXT % (number, number))
            self.load_anew("app.py")
            runtime.end_request()
            self.begin_request()
            self.check(self.load(), number)

    def test_classes_of_an_old_generation_that_has_requests_still_pickle(self):
        self.write("app.py", self.TEXT % (1, 1))
        old = self.load()(None, None)
        hold = self.store.hold
        self.load_anew("app.py")
        self.retire()
        self.assertIs(type(pickle.loads(pickle.dumps(old("x")))), old)
        del hold

    def test_a_pickle_outlives_its_generation(self):
        self.write("app.py", self.TEXT % (1, 1))
        pickled = pickle.dumps(self.load()(None, None)("x"))
        self.load_anew("app.py")
        self.retire()
        self.assertIs(type(pickle.loads(pickled)), self.load()(None, None))
        # The name that has been found so goes with the module.
        self.load_anew("app.py")
        self.retire()
        self.assertIs(type(pickle.loads(pickled)), self.load()(None, None))

    def test_a_process_of_its_own_loads_the_file(self):
        self.write("app.py", self.TEXT % (1, 1))
        code = "import sys, pickle\nsys.path.insert(0, %r)\nprint(pickle.loads(sys.stdin.buffer.read()))" % support.PACKAGE
        output = subprocess.run([sys.executable, "-I", "-B", "-c", code], stdout=subprocess.PIPE, timeout=60, check=True,
                                input=pickle.dumps(self.load()(None, None)("x"))).stdout
        self.assertEqual(output, b"Item(name='x', other=None)\n")

    def test_names_say_what_they_are_names_of(self):
        for path in "/srv/a.b/hello-x.wsgi", "/srv/\xe9_/x__1.py", "/a/\udcff.py", "/a":
            name = loaded.module_name(path, 12)
            self.assertEqual(loaded.path_of(name), path)
            self.assertTrue(name.rpartition(".")[2].isidentifier(), name)
        for name in "fcgihost.loaded.x", "fcgihost.loaded._zz__1", "json", "fcgihost.loaded._2f__x":
            self.assertIsNone(loaded.path_of(name))
        self.assertEqual(loaded.short_name(loaded.module_name("/srv/shop.wsgi", 1)), "shop")


if __name__ == "__main__":
    unittest.main()
