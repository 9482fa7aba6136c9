"""fcgihost.host.loader: applications out of modules and script files, and what a failed load leaves."""
import os
import subprocess
import sys
import traceback
import unittest

import support
from fcgihost.host import loader

WSGI = "def application(environ, start_response):\n    return [b'%s']\n"
FAIL_AT_1 = "if value == 1:\n    raise RuntimeError\n"


class ModuleTest(support.FolderTestCase):
    def test_a_callable_of_a_module(self):
        self.write("hello.py", WSGI % "hello")
        application = loader.load_module("hello:application")
        self.assertEqual(application({}, None), [b"hello"])
        self.assertIs(application, sys.modules["hello"].application)

    def test_a_callable_of_a_submodule(self):
        self.write("pkg/__init__.py", "")
        self.write("pkg/inner/__init__.py", "")
        self.write("pkg/inner/wsgi.py", WSGI % "inner")
        self.assertEqual(loader.load_module("pkg.inner.wsgi:application")({}, None), [b"inner"])

    def test_a_callable_with_dots(self):
        self.write("hello.py", "class A:\n    class B:\n        @staticmethod\n"
                               "        def app(e, s):\n            return [b'dots']\n")
        self.assertEqual(loader.load_module("hello:A.B.app")({}, None), [b"dots"])

    def test_an_instance_that_can_be_called(self):
        self.write("hello.py", "class App:\n    def __call__(self, e, s):\n"
                               "        return [b'instance']\napp = App()\n")
        self.assertEqual(loader.load_module("hello:app")({}, None), [b"instance"])

    def test_a_module_that_is_loaded_already_is_not_loaded_again(self):
        self.write("hello.py", "count = globals().get('count', 0) + 1\n" + WSGI % "x")
        first = loader.load_module("hello:application")
        self.assertIs(loader.load_module("hello:application"), first)

    def test_what_the_module_raises_comes_out(self):
        self.write("hello.py", "1 / 0\n")
        self.assertRaises(ZeroDivisionError, loader.load_module, "hello:application")
        self.write("hello.py", "raise SystemExit(3)\n")
        self.assertRaises(SystemExit, loader.load_module, "hello:application")
        self.write("hello.py", "def application(:\n")
        self.assertRaises(SyntaxError, loader.load_module, "hello:application")

    def test_a_module_that_is_not_there(self):
        with self.assertRaises(ModuleNotFoundError) as caught:
            loader.load_module("no_such_module_here:application")
        self.assertEqual(caught.exception.name, "no_such_module_here")

    def test_a_name_that_the_module_does_not_have(self):
        self.write("hello.py", WSGI % "x")
        for name in "app", "application.missing", "application.__wrapped__":
            with self.subTest(name=name):
                self.assertRaises(AttributeError, loader.load_module, "hello:" + name)
                self.assertNotIn("hello", sys.modules)

    def test_a_name_that_can_not_be_called(self):
        self.write("hello.py", "application = 5\n")
        with self.assertRaisesRegex(TypeError, "hello:application is not callable, it is int"):
            loader.load_module("hello:application")
        self.assertNotIn("hello", sys.modules)


class FailedModuleTest(support.FolderTestCase):
    def load_failing(self, target="pkg.wsgi:application", error=RuntimeError):
        self.assertRaises(error, loader.load_module, target)

    def test_submodules_of_its_package_are_dropped(self):
        self.write("pkg/__init__.py", "")
        self.write("pkg/settings.py", "value = 1\n")
        self.write("pkg/deep/__init__.py", "from . import deeper\n")
        self.write("pkg/deep/deeper.py", "")
        self.write("pkg/wsgi.py", "import pkg.settings, pkg.deep\nraise RuntimeError\n")
        self.load_failing()
        self.assertEqual([name for name in sys.modules if name.partition(".")[0] == "pkg"], [])

    def test_the_next_attempt_starts_anew(self):
        self.write("pkg/__init__.py", "")
        self.write("pkg/settings.py", "value = 1\n")
        self.write("pkg/wsgi.py", "from pkg.settings import value\n" + FAIL_AT_1 + WSGI % "x")
        self.load_failing()
        self.write("pkg/settings.py", "value = 2\n")
        self.assertEqual(loader.load_module("pkg.wsgi:application")({}, None), [b"x"])

    def test_a_module_can_appear_after_it_was_missed(self):
        self.load_failing("late:application", ModuleNotFoundError)
        self.write("late.py", WSGI % "late")
        self.assertEqual(loader.load_module("late:application")({}, None), [b"late"])

    def test_a_submodule_can_appear_after_it_was_missed(self):
        self.write("pkg/__init__.py", "")
        self.load_failing(error=ModuleNotFoundError)
        self.write("pkg/wsgi.py", WSGI % "late")
        self.assertEqual(loader.load_module("pkg.wsgi:application")({}, None), [b"late"])

    def test_a_module_can_appear_in_a_folder_that_looks_the_same(self):
        self.load_failing("late:application", ModuleNotFoundError)
        before = os.stat(self.folder)
        self.write_unnoticed("late.py", WSGI % "late")
        os.utime(self.folder, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assertEqual(loader.load_module("late:application")({}, None), [b"late"])

    def test_a_folder_of_a_namespace_package_can_appear(self):
        self.write("one/space/first.py", "")
        self.write("two/other.py", "")
        sys.path[:0] = [os.path.join(self.folder, name) for name in ("one", "two")]
        import space.first
        import other
        self.load_failing("space.second:application", ModuleNotFoundError)
        self.write_unnoticed("two/space/second.py", WSGI % "late")
        self.assertEqual(loader.load_module("space.second:application")({}, None), [b"late"])

    def write_unnoticed(self, name, text):
        """Unlike write, tells no finder."""
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def test_finders_of_others_forget_too(self):
        class Finder:
            asked = 0

            def find_spec(self, *_):
                return None

            def invalidate_caches(self):
                self.asked += 1
        finder = Finder()
        sys.meta_path.append(finder)
        self.addCleanup(sys.meta_path.remove, finder)
        self.load_failing("late:application", ModuleNotFoundError)
        self.assertEqual(finder.asked, 1)

    def test_it_takes_nothing_more_of_the_library_into_the_process(self):
        """importlib.metadata, and 40 modules with it, while the others are served."""
        program = """if True:
            import sys
            from fcgihost.host import loader
            before = set(sys.modules)
            try:
                loader.load_module("not_there:application")
            except ModuleNotFoundError:
                print(*sorted(set(sys.modules) - before))"""
        done = subprocess.run([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE, check=True,
                              universal_newlines=True)
        self.assertEqual(done.stdout.split(), [])

    def test_modules_of_others_stay(self):
        self.write("library.py", "")
        self.write("pkgs.py", "")
        self.write("pkg/__init__.py", "")
        self.write("pkg/wsgi.py", "import library, pkgs\nraise RuntimeError\n")
        self.load_failing()
        self.assertIn("library", sys.modules)
        self.assertIn("pkgs", sys.modules)

    def test_modules_of_its_package_that_were_there_before_stay(self):
        self.write("pkg/__init__.py", "")
        self.write("pkg/before.py", "")
        self.write("pkg/wsgi.py", "import pkg.after\nraise RuntimeError\n")
        self.write("pkg/after.py", "")
        import pkg.before
        self.load_failing()
        self.assertIs(sys.modules["pkg.before"], pkg.before)
        self.assertIn("pkg", sys.modules)
        self.assertNotIn("pkg.after", sys.modules)
        self.assertNotIn("pkg.wsgi", sys.modules)


class ScriptTest(support.FolderTestCase):
    def test_a_script_file(self):
        for name in "app.py", "app.wsgi", "app", "my app.v2.wsgi":
            with self.subTest(name=name):
                path = self.write(name, WSGI % name)
                self.assertEqual(loader.load_script(path, "application").application({}, None), [name.encode()])

    def test_what_the_script_sees_of_itself(self):
        path = self.write("app.wsgi", "seen = __name__, __file__\n"
                                      "def application(e, s):\n    return seen\n")
        name, file = loader.load_script(path, "application").application({}, None)
        self.assertEqual(file, path)
        self.assertNotEqual(name, "__main__")
        self.assertIn(name, sys.modules)

    def test_scripts_of_one_name_in_two_folders_are_two_modules(self):
        one = loader.load_script(self.write("a/app.py", WSGI % "one"), "application").application
        two = loader.load_script(self.write("b/app.py", WSGI % "two"), "application").application
        self.assertNotEqual(one.__module__, two.__module__)
        self.assertEqual((one({}, None), two({}, None)), ([b"one"], [b"two"]))

    def test_another_name_for_the_callable(self):
        path = self.write("app.wsgi", "def handler(e, s):\n    return [b'named']\n")
        self.assertEqual(loader.load_script(path, "handler").application({}, None), [b"named"])

    def test_a_coding_comment(self):
        text = "# -*- coding: latin-1 -*-\ntext = '\xe9'\n" + WSGI % "x"
        path = self.write("app.wsgi", text.encode("latin-1"))
        module = sys.modules[loader.load_script(path, "application").application.__module__]
        self.assertEqual(module.text, "\xe9")

    def test_the_loader_s_own_future_imports_are_not_the_script_s(self):
        path = self.write("app.wsgi", "from __future__ import annotations\n"
                                      "def application(e: undefined, s):\n    return []\n")
        self.assertEqual(loader.load_script(path, "application").application({}, None), [])

    def test_no_bytecode_is_written(self):
        path = self.write("app.py", WSGI % "x")
        loader.load_script(path, "application")
        self.assertEqual(os.listdir(self.folder), ["app.py"])

    def test_objects_of_the_script_can_be_pickled(self):
        for name in ("app.wsgi", "my.app.v2.wsgi", "a b-c.py", "caf\xe9.py", ".app.py", "2.py", "\udcff.py"):
            with self.subTest(name=ascii(name)):
                path = self.write(name, "import pickle\nclass Thing:\n    pass\n"
                                        "def application(e, s):\n"
                                        "    return pickle.loads(pickle.dumps(Thing()))\n")
                thing = loader.load_script(path, "application").application({}, None)
                self.assertEqual(type(thing).__name__, "Thing")

    def test_a_process_pool_calls_a_function_of_a_script_whose_name_has_a_dot(self):
        path = self.write("my.app.wsgi", "import multiprocessing\n"
                                         "def double(x):\n    return 2 * x\n"
                                         "def application(e, s):\n"
                                         "    with multiprocessing.get_context('fork').Pool(1) as pool:\n"
                                         "        return pool.map(double, [1, 2])\n")
        self.assertEqual(loader.load_script(path, "application").application({}, None), [2, 4])

    def test_a_script_finds_the_files_beside_it_as_a_module_does(self):
        self.write("templates/page.txt", "a template")
        self.write("data.txt", "some data")
        path = self.write("my.app.wsgi", "import importlib.util, inspect, pkgutil\n"
                                         "def application(e, s):\n"
                                         "    return [pkgutil.get_data(__name__, 'data.txt'),\n"
                                         "            importlib.util.find_spec(__name__).origin,\n"
                                         "            inspect.getsource(application).splitlines()[0]]\n")
        application = loader.load_script(path, "application").application
        self.assertEqual(application({}, None), [b"some data", path, "def application(e, s):"])
        module = sys.modules[application.__module__]
        self.assertEqual((module.__spec__.name, module.__spec__.loader, module.__package__, module.__spec__.parent),
                         (module.__name__, module.__loader__, "", ""))
        self.assertIsNone(module.__spec__.submodule_search_locations)

    def test_jinja2_finds_the_templates_beside_a_script(self):
        try:
            import jinja2
        except ImportError:
            self.skipTest("jinja2 is not installed")
        self.write("templates/page.txt", "hello {{ name }}")
        path = self.write("app.wsgi", "import jinja2\n"
                                      "loader = jinja2.PackageLoader(__name__)\n"
                                      "def application(e, s):\n"
                                      "    return jinja2.Environment(loader=loader).get_template('page.txt')"
                                      ".render(name='x')\n")
        self.assertEqual(loader.load_script(path, "application").application({}, None), "hello x")

    def test_a_file_that_is_not_there(self):
        path = self.folder + "/none.wsgi"
        self.assertRaises(FileNotFoundError, loader.load_script, path, "application")

    def test_no_callable(self):
        path = self.write("app.wsgi", "x = 1\n")
        with self.assertRaisesRegex(AttributeError, "defines no 'application'.*callable"):
            loader.load_script(path, "application")
        with self.assertRaisesRegex(TypeError, "not callable, it is int"):
            loader.load_script(path, "x")

    def test_a_name_s_own_error_is_not_taken_for_a_missing_name(self):
        path = self.write("app.wsgi", "def __getattr__(name):\n    raise RuntimeError(name)\n")
        self.assertRaises(RuntimeError, loader.load_script, path, "application")

    def test_what_the_script_raises_comes_out_with_its_lines(self):
        path = self.write("app.wsgi", "x = 1\n1 / 0\n")
        try:
            loader.load_script(path, "application")
        except ZeroDivisionError as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
        self.assertEqual((frame.filename, frame.lineno), (path, 2))


class FailedScriptTest(support.FolderTestCase):
    def test_it_leaves_no_module(self):
        path = self.write("app.wsgi", "raise RuntimeError\n")
        self.assertRaises(RuntimeError, loader.load_script, path, "application")
        files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        self.assertNotIn(path, files)

    def test_modules_beside_it_are_loaded_anew(self):
        self.write("settings.py", "value = 1\n")
        path = self.write("app.wsgi", "from settings import value\n" + FAIL_AT_1 + WSGI % "x")
        self.assertRaises(RuntimeError, loader.load_script, path, "application")
        self.assertNotIn("settings", sys.modules)
        self.write("settings.py", "value = 2\n")
        self.assertEqual(loader.load_script(path, "application").application({}, None), [b"x"])

    def test_packages_beside_it_are_loaded_anew(self):
        self.write("mysite/__init__.py", "")
        self.write("mysite/settings.py", "value = 1\n")
        path = self.write("app.wsgi", "from mysite.settings import value\n" + FAIL_AT_1 + WSGI % "x")
        watch = loader.Watch()
        self.assertRaises(RuntimeError, loader.load_script, path, "application", watch)
        self.assertFalse(watch.has_changed())
        self.write("mysite/settings.py", "value = 2\n")
        self.assertTrue(watch.has_changed())
        self.assertEqual(loader.load_script(path, "application").application({}, None), [b"x"])

    def test_a_module_without_a_proper_file_does_not_hide_the_failure(self):
        path = self.write("app.wsgi", """
import sys, types
class Lazy(types.ModuleType):
    def __getattr__(self, name):
        raise ImportError("lazy " + name)
sys.modules["odd"] = types.ModuleType("odd")
sys.modules["odd"].__file__ = 5
sys.modules["lazy"] = Lazy("lazy")
raise RuntimeError
""")
        self.assertRaises(RuntimeError, loader.load_script, path, "application")

    def test_installed_modules_stay(self):
        self.write("venv/site-packages/library.py", "")
        sys.path.insert(0, self.folder + "/venv/site-packages")
        path = self.write("app.wsgi", "import library\nraise RuntimeError\n")
        self.assertRaises(RuntimeError, loader.load_script, path, "application")
        self.assertIn("library", sys.modules)


class WatchTest(support.FolderTestCase):
    def setUp(self):
        super().setUp()
        self.watch = loader.Watch()

    def fail_script(self, text):
        path = self.write("app.wsgi", text)
        with self.assertRaises(BaseException):
            loader.load_script(path, "application", self.watch)
        return path

    def fail_module(self, target="hello:application"):
        with self.assertRaises(BaseException):
            loader.load_module(target, self.watch)

    def assert_noticed(self, name, text="x = 2\n"):
        self.assertFalse(self.watch.has_changed())
        self.write(name, text)
        self.assertTrue(self.watch.has_changed())

    def test_the_script_itself(self):
        for text in ("1 / 0\n", "def f(:\n", "x = 1\n", "application = 5\n",
                     "import no_such_module\n"):
            with self.subTest(text=text):
                self.fail_script(text)
                self.assert_noticed("app.wsgi")

    def test_a_module_that_the_script_imports(self):
        for text in "1 / 0\n", "def f(:\n", "import no_such_module\n":
            with self.subTest(text=text):
                self.write("helper.py", text)
                self.fail_script("import helper\n")
                self.assert_noticed("helper.py")

    def test_the_module_itself(self):
        for text in ("1 / 0\n", "def f(:\n", "import no_such_module\n", "x = 1\n",
                     "application = 5\n"):
            with self.subTest(text=text):
                self.write("hello.py", text)
                self.fail_module()
                self.assert_noticed("hello.py")

    def test_a_module_that_the_module_imports_a_name_from(self):
        self.write("helper.py", "x = 1\n")
        self.write("hello.py", "from helper import y\n")
        self.fail_module()
        self.assert_noticed("helper.py", "y = 1\n")

    def test_the_cause_of_an_error(self):
        self.write("helper.py", "def f():\n    1 / 0\n")
        self.write("hello.py", "import helper\ntry:\n    helper.f()\n"
                               "except ZeroDivisionError:\n    raise RuntimeError\n")
        self.fail_module()
        self.assert_noticed("helper.py")

    def test_a_file_that_appears_and_one_that_goes(self):
        self.fail_script("1 / 0\n")
        path = self.folder + "/app.wsgi"
        os.remove(path)
        self.assertTrue(self.watch.has_changed())
        self.assertRaises(FileNotFoundError, loader.load_script, path, "application", self.watch)
        self.assert_noticed("app.wsgi", WSGI % "x")

    def test_a_file_of_the_same_size_and_time_put_in_its_place(self):
        path = self.fail_script("1 / 0\n")
        status = os.stat(path)
        os.rename(self.write("new.wsgi", "1 / 1\n"), path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.assertTrue(self.watch.has_changed())

    def test_a_second_edit_within_a_second_is_not_hidden_by_the_bytecode_of_the_first(self):
        import py_compile

        path = self.write("quick_module.py", "1 / 0\n")
        os.utime(path, ns=(10**18, 10**18))
        py_compile.compile(path, doraise=True)
        self.assertRaises(ZeroDivisionError, loader.load_module, "quick_module:V", self.watch)
        with open(path, "w") as file:
            file.write("V=int\n")
        os.utime(path, ns=(10**18 + 5, 10**18 + 5))
        self.assertTrue(self.watch.has_changed())
        self.assertIs(loader.load_module("quick_module:V", self.watch), int)

    def test_nothing_has_changed_if_nothing_has(self):
        self.fail_script("1 / 0\n")
        for _ in range(3):
            self.assertFalse(self.watch.has_changed())

    def test_only_the_last_failure_counts(self):
        self.write("helper.py", "1 / 0\n")
        self.fail_script("import helper\n")
        self.fail_script("raise RuntimeError\n")
        self.write("helper.py", "x = 1\n")
        self.assertFalse(self.watch.has_changed())

    def test_errors_that_are_each_other_s_context(self):
        self.fail_script("a, b = RuntimeError(1), RuntimeError(2)\n"
                         "a.__context__ = b\nb.__cause__ = a\nraise a\n")
        self.assert_noticed("app.wsgi")


if __name__ == "__main__":
    unittest.main()
