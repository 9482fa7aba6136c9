"""fcgihost.host.scripts: the scripts of a script_root, who may run, and when they are loaded."""
import os
import threading
import unittest
from unittest import mock

import support
from fcgihost import cleanup, errors, runtime
from fcgihost.host import scripts

WSGI = "def application(environ, start_response):\n    return [b'%s']\n"
COUNT = "import builtins\nbuiltins.loads.append(__file__)\n"


class Case(support.FolderTestCase):
    def setUp(self):
        super().setUp()
        process = cleanup.Scope("the process")
        for name, value in (("process_scope", process), ("_is_exit_arranged", True)):
            patch = mock.patch.object(cleanup, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.addCleanup(cleanup._loads.clear)
        import builtins
        self.loads = builtins.loads = []
        self.addCleanup(delattr, builtins, "loads")
        self.now = 100.0
        umask = os.umask(0o022)
        self.addCleanup(os.umask, umask)
        self.root = os.path.join(self.folder, "root")
        os.mkdir(self.root)
        self.scripts = scripts.ScriptRoot(self.root, clock=lambda: self.now)

    def get(self, path):
        """What the script answers."""
        return self.scripts.get(path)({}, None)[0]

    def refused(self, path, status):
        with self.assertRaises(scripts.ScriptError) as caught:
            self.scripts.get(path)
        self.assertEqual(caught.exception.status, status, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))
        return caught.exception


class LoadTest(Case):
    def test_a_script_is_loaded_once(self):
        path = self.write("root/a/app.wsgi", COUNT + WSGI % "a")
        first = self.scripts.get(path)
        self.assertIs(self.scripts.get(path), first)
        self.assertEqual((first({}, None), self.loads), ([b"a"], [path]))

    def test_scripts_have_modules_of_their_own(self):
        paths = [self.write("root/%s/app.wsgi" % name, WSGI % name) for name in "ab"]
        self.assertEqual([self.get(path) for path in paths + paths], [b"a", b"b", b"a", b"b"])

    def test_another_attribute(self):
        path = self.write("root/app.wsgi", "app = lambda e, s: [b'other']\n")
        self.scripts = scripts.ScriptRoot(self.root, "app")
        self.assertEqual(self.get(path), b"other")

    def test_one_file_under_many_spellings_is_one_script(self):
        path = self.write("root/app.wsgi", COUNT + WSGI % "x")
        for spelling in (path, "/" + path, "//" + path, self.root + "//./a/..//app.wsgi"):
            self.get(spelling)
        self.assertEqual(self.loads, [path])

    def test_threads_that_ask_at_once_get_what_one_of_them_loads(self):
        path = self.write("root/app.wsgi", COUNT + "builtins.loads.gate.wait(60)\n" + WSGI % "x")
        self.loads = type("Loads", (list,), {"gate": threading.Event()})()
        waiting = threading.Semaphore(0)

        def wait(lock, timeout=None, wait=runtime.wait):
            waiting.release()
            return wait(lock, timeout)
        import builtins
        builtins.loads = self.loads
        results = []
        with mock.patch.object(runtime, "wait", wait):
            threads = [threading.Thread(target=lambda: results.append(self.scripts.get(path))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for _ in threads:
                self.assertTrue(waiting.acquire(timeout=60))
            self.assertEqual(results, [])
            self.loads.gate.set()
            for thread in threads:
                thread.join()
        self.assertEqual((len(self.loads), len(results), len(set(results))), (1, 8, 1))

    def test_a_script_that_was_loaded_and_is_edited_goes_on_as_it_was(self):
        path = self.write("root/app.wsgi", WSGI % "old")
        self.get(path)
        self.write("root/app.wsgi", WSGI % "new")
        self.assertEqual(self.get(path), b"old")

    def test_a_bad_delay(self):
        self.assertRaises(ValueError, scripts.ScriptRoot, self.root, retry_delay=-1)


class CleanupTest(Case):
    REGISTER = "import fcgihost, builtins\nfcgihost.register_cleanup(builtins.loads.append, %r)\n"

    def test_cleanups_of_a_script_run_one_by_one_when_the_process_ends(self):
        fcgihost_cleanups = cleanup.process_scope
        fcgihost_cleanups.register(self.loads.append, "before")
        for name in "ab":
            path = self.write("root/%s.wsgi" % name, self.REGISTER % name + self.REGISTER % (name * 2) + WSGI % "x")
            self.get(path)
        fcgihost_cleanups.register(self.loads.append, "after")
        self.assertEqual(self.loads, [])
        names = []
        fcgihost_cleanups.run(None, names.append)
        self.assertEqual(self.loads, ["after", "bb", "b", "aa", "a", "before"])
        self.assertIn("those of script " + path, names)

    def test_a_cleanup_can_be_forgotten(self):
        path = self.write("root/a.wsgi", self.REGISTER % "a" + WSGI % "x")
        self.get(path)
        cleanup.unregister_cleanup(self.loads.append)
        cleanup.process_scope.run(None)
        self.assertEqual(self.loads, [])

    def test_cleanups_of_a_load_that_fails_run_at_once(self):
        path = self.write("root/a.wsgi", self.REGISTER % "a" + "fcgihost.register_cleanup(int, 'x')\n1 / 0\n")
        reports = []
        errors.report_to(lambda what, error: reports.append(what))
        self.addCleanup(errors.report_to, None)
        self.refused(path, 500)
        self.assertEqual((self.loads, reports), (["a"], ["cleanup builtins.int of " + path]))
        self.assertEqual(cleanup.process_scope.pending(), [])

    def test_what_comes_after_the_end_of_the_process_is_cleaned_up_at_once(self):
        path = self.write("root/a.wsgi", self.REGISTER % "a" + WSGI % "x")
        cleanup.process_scope.run(None)
        self.assertIn("too late", str(self.refused(path, 500)))
        self.assertEqual(self.loads, ["a"])


class FailureTest(Case):
    def test_a_broken_script_is_500_and_its_traceback_is_told_once(self):
        path = self.write("root/app.wsgi", COUNT + "1 / 0\n")
        error = self.refused(path, 500)
        self.assertIsInstance(error.__cause__, ZeroDivisionError)
        self.assertIn("%s can't be loaded: ZeroDivisionError: division by zero; it is tried again in 1.0 s, or when a "
                      "file of it changes" % path, str(error))
        self.now += 0.4
        error = self.refused(path, 500)
        self.assertIsNone(error.__cause__)
        self.assertIn("ZeroDivisionError: division by zero; it is tried again in 0.6 s", str(error))
        self.assertEqual(len(self.loads), 1)

    def test_every_way_to_fail(self):
        for text, name in (("def application(:\n", "SyntaxError"), ("application = 1\n", "TypeError"),
                           ("", "AttributeError"), ("raise SystemExit(3)\n", "SystemExit: 3"), ("\0", "Error"),
                           ("import no_such_module_here\n", "ModuleNotFoundError"),
                           ("def f(): f()\nf()\n", "Recursion"),
                           ("class E(Exception):\n    def __str__(self): 1 / 0\nraise E\n", ": E;"),
                           ("raise ValueError('a\\nb')\n", "ValueError: a;")):
            self.assertIn(name, str(self.refused(self.write("root/%s.wsgi" % name[:5], text), 500)))

    def test_it_is_tried_again_after_the_delay(self):
        path = self.write("root/app.wsgi", COUNT + "if len(builtins.loads) < 3: 1 / 0\n" + WSGI % "x")
        self.assertIsNotNone(self.refused(path, 500).__cause__)
        self.now += 1
        self.assertIsNone(self.refused(path, 500).__cause__, "told again")
        self.refused(path, 500)
        self.assertEqual(len(self.loads), 2)
        self.now += 1
        self.assertEqual(self.get(path), b"x")

    def test_another_failure_is_told(self):
        path = self.write("root/app.wsgi", COUNT + "builtins.missing if len(builtins.loads) > 1 else 1 / 0\n")
        self.refused(path, 500)
        self.now += 1
        self.assertIsInstance(self.refused(path, 500).__cause__, AttributeError)

    def test_it_is_tried_again_when_it_changes_and_told_again(self):
        path = self.write("root/app.wsgi", "1 / 0\n")
        self.refused(path, 500)
        self.write("root/app.wsgi", "1 / 0 # still\n")
        self.assertIsNotNone(self.refused(path, 500).__cause__)
        self.write("root/app.wsgi", WSGI % "mended")
        self.assertEqual(self.get(path), b"mended")

    def test_it_is_tried_again_when_what_it_failed_on_changes(self):
        self.write("helper_of_scripts.py", "1 / 0\n")
        path = self.write("root/app.wsgi", "import helper_of_scripts\n" + WSGI % "x")
        self.refused(path, 500)
        self.assertIsNone(self.refused(path, 500).__cause__)
        self.write("helper_of_scripts.py", "")
        self.assertEqual(self.get(path), b"x")

    def test_threads_that_waited_for_a_failure_do_not_try_themselves(self):
        path = self.write("root/app.wsgi", COUNT + "builtins.loads.gate.wait(60)\n1 / 0\n")
        import builtins
        builtins.loads = self.loads = type("Loads", (list,), {"gate": threading.Event()})()
        waiting = threading.Semaphore(0)
        causes = []

        def wait(lock, timeout=None, wait=runtime.wait):
            waiting.release()
            return wait(lock, timeout)

        def ask():
            try:
                self.scripts.get(path)
            except scripts.ScriptError as error:
                causes.append(error.__cause__ is not None)
        with mock.patch.object(runtime, "wait", wait):
            threads = [threading.Thread(target=ask) for _ in range(5)]
            for thread in threads:
                thread.start()
            for _ in threads:
                self.assertTrue(waiting.acquire(timeout=60))
            self.loads.gate.set()
            for thread in threads:
                thread.join()
        self.assertEqual((len(self.loads), sorted(causes)), (1, [False] * 4 + [True]))

    def test_a_load_that_is_interrupted_is_no_failure(self):
        path = self.write("root/app.wsgi", COUNT + "if len(builtins.loads) < 2: raise KeyboardInterrupt\n" + WSGI % "x")
        self.assertRaises(KeyboardInterrupt, self.scripts.get, path)
        self.assertEqual(self.get(path), b"x")


class NotThereTest(Case):
    def test_what_is_not_there_is_404(self):
        self.write("root/file", "")
        for path, reason in (("/missing", "No such"), ("/missing/app.wsgi", "No such"), ("/file/app.wsgi", "Not a"),
                             ("/" + "x" * 300, "too long"), ("/a\0b", "null")):
            self.assertRegex(str(self.refused(self.root + path, 404)), "is not there: .*" + reason)
        self.assertIn("not an absolute path", str(self.refused("app.wsgi", 404)))
        self.assertIn("not an absolute path", str(self.refused("", 404)))
        self.assertEqual(self.scripts._failures, {})

    def test_a_link_that_leads_to_itself(self):
        os.symlink("loop", self.root + "/loop")
        self.refused(self.root + "/loop", 404)

    def test_a_script_that_vanishes_is_404_and_another_one_when_it_comes_back(self):
        path = self.write("root/app.wsgi", WSGI % "first")
        self.assertEqual(self.get(path), b"first")
        os.unlink(path)
        self.refused(path, 404)
        self.write("root/app.wsgi", WSGI % "second")
        self.assertEqual(self.get(path), b"second")

    def test_a_broken_script_that_vanishes(self):
        path = self.write("root/app.wsgi", "1 / 0\n")
        self.refused(path, 500)
        os.unlink(path)
        self.refused(path, 404)
        self.write("root/app.wsgi", WSGI % "mended")
        self.assertEqual(self.get(path), b"mended")

    def test_a_script_that_is_removed_while_it_is_opened(self):
        path = self.write("root/app.wsgi", WSGI % "x")
        with mock.patch.object(scripts, "_check", lambda path: os.unlink(path)):
            self.refused(path, 404)
        self.assertEqual(self.scripts._failures, {})
        path = self.write("root/app.wsgi", WSGI % "x")
        with mock.patch.object(os, "open", lambda *args, open=os.open: (open(*args), os.unlink(path))[0]):
            self.assertIn("is not there", str(self.refused(path, 404)))

    def test_a_script_that_is_replaced_while_it_is_opened_is_not_404(self):
        """By a rename, after which there always is one; the old one may have another name, as in a release before."""
        for name, keeps_old in (("open", False), ("open", True), ("readlink", False), ("readlink", True), ("fstat", False)):
            path = self.write("root/%s-%d.wsgi" % (name, keeps_old), WSGI % "old")
            if keeps_old:
                os.link(path, path + ".old")

            def replacing(*args, call=getattr(os, name), path=path):
                result = call(*args) if name != "readlink" else None
                if path is not None and not os.path.exists(path + ".new"):
                    self.write(os.path.relpath(path + ".new", self.folder), WSGI % "new")
                    os.link(path + ".new", path + ".newer")
                    os.rename(path + ".newer", path)
                return result if name != "readlink" else call(*args)
            with self.subTest(call=name, keeps_old=keeps_old), mock.patch.object(os, name, replacing):
                self.assertEqual(self.get(path), b"new")

    def test_a_script_that_is_replaced_all_the_time(self):
        path = self.write("root/app.wsgi", WSGI % "x")

        def replacing(*args, open=os.open):
            descriptor = open(*args)
            self.write("root/new", WSGI % "x")
            os.rename(self.root + "/new", path)
            return descriptor
        with mock.patch.object(os, "open", replacing):
            self.assertIn("replaced again and again", str(self.refused(path, 500)))


class ExtensionTest(Case):
    """What does not end as a script does is data, whatever the web server says."""

    def test_only_files_that_end_as_scripts_do_run(self):
        for name in ("me.gif", "app.py.bak", "app.wsgi~", "app.wsgi.orig", "app.pyc", "app.PY", "app.WSGI", "app.pyw",
                     "app", "apppy", "wsgi", ".wsgi", ".py", "app.wsgi ", "app.wsgi.", "app.wsgi\n"):
            path = self.write("root/uploads/" + name, COUNT + WSGI % "x")
            self.assertRegex(str(self.refused(path, 403)), "is not allowed to run: its name does not end in .py or .wsgi")
        self.assertEqual((self.loads, self.scripts._failures), ([], {}))
        for name in ("a.py", "a.wsgi", "me.gif.py", "\xe9.wsgi", ".hidden.wsgi"):
            self.assertEqual(self.get(self.write("root/" + name, WSGI % "ran")), b"ran")

    def test_the_name_that_counts_is_that_of_the_file_behind_all_links(self):
        for name in ("root/me.gif", "root/folder.wsgi/me.gif"):
            path = self.write(name, COUNT + WSGI % "x")
            self.refused(path, 403)
        os.symlink("me.gif", self.root + "/link.wsgi")
        os.symlink("link.wsgi", self.root + "/twice.wsgi")
        for name in ("/link.wsgi", "/twice.wsgi"):
            self.assertIn("me.gif", str(self.refused(self.root + name, 403)))
        self.assertEqual(self.loads, [])

    def test_other_extensions(self):
        self.scripts = scripts.ScriptRoot(self.root, extensions=(".cgi", ".tar.py"))
        for name in ("a.cgi", "a.tar.py"):
            self.assertEqual(self.get(self.write("root/" + name, WSGI % "ran")), b"ran")
        for name in ("a.py", "a.wsgi"):
            self.assertIn("does not end in .cgi or .tar.py", str(self.refused(self.write("root/" + name, WSGI % "x"), 403)))

    def test_one_that_is_replaced_by_a_picture_while_it_is_opened(self):
        path = self.write("root/app.wsgi", WSGI % "x")
        picture = self.write("root/me.gif", COUNT + WSGI % "x")

        def replace(path, check=scripts._check):
            check(path)
            os.unlink(path)
            os.symlink(picture, path)
        with mock.patch.object(scripts, "_check", replace):
            self.refused(path, 403)
        self.assertEqual(self.loads, [])


class PlaceTest(Case):
    def test_outside_of_the_root(self):
        outside = self.write("outside/app.wsgi", COUNT + WSGI % "x")
        self.write("root-two/app.wsgi", COUNT + WSGI % "x")
        os.symlink(outside, self.root + "/link.wsgi")
        os.symlink(os.path.dirname(outside), self.root + "/folder")
        for path in (outside, self.root + "/link.wsgi", self.root + "/folder/app.wsgi", self.root + "-two/app.wsgi",
                     self.root + "/../outside/app.wsgi"):
            self.assertIn("not below script_root", str(self.refused(path, 403)))
        self.assertEqual((self.loads, self.scripts._failures), ([], {}))

    def test_links_within_the_root(self):
        path = self.write("root/real/app.wsgi", WSGI % "x")
        os.symlink("real", self.root + "/folder")
        os.symlink(path, self.root + "/link.wsgi")
        for path in (self.root + "/folder/app.wsgi", self.root + "/link.wsgi"):
            self.assertEqual(self.get(path), b"x")

    def test_a_root_that_is_a_link_may_be_switched(self):
        for name in ("one", "two"):
            self.write("releases/%s/%s.wsgi" % (name, name), WSGI % name)
        current = self.folder + "/current"
        self.scripts = scripts.ScriptRoot(current)
        for name in ("one", "two"):
            if os.path.islink(current):
                os.unlink(current)
            os.symlink(self.folder + "/releases/" + name, current)
            self.assertEqual(self.get("%s/%s.wsgi" % (current, name)), name.encode())

    def test_a_script_that_is_replaced_by_a_link_to_the_outside_while_it_is_opened(self):
        outside = self.write("outside.wsgi", COUNT + WSGI % "x")
        path = self.write("root/app.wsgi", WSGI % "x")

        def replace(path, check=scripts._check):
            check(path)
            os.unlink(path)
            os.symlink(outside, path)
        with mock.patch.object(scripts, "_check", replace):
            self.refused(path, 403)
        self.assertEqual(self.loads, [])

    def test_what_was_opened_runs_and_not_what_has_taken_its_place_since(self):
        path = self.write("root/app.wsgi", WSGI % "checked")

        def replace(path, real, root, check=scripts._check_place):
            check(path, real, root)
            os.unlink(path)
            self.write("root/app.wsgi", WSGI % "unchecked")
        with mock.patch.object(scripts, "_check_place", replace):
            self.assertEqual(self.get(path), b"checked")

    def test_without_proc(self):
        outside = self.write("outside.wsgi", COUNT + WSGI % "x")
        path = self.write("root/app.wsgi", WSGI % "x")
        os.symlink(outside, self.root + "/link.wsgi")

        def readlink(path):
            raise OSError("no /proc")
        links = {self.root + "/link.wsgi": outside}
        with mock.patch.object(os, "readlink", readlink), \
                mock.patch.object(os.path, "realpath", lambda path: links.get(path, path)):
            self.assertEqual(self.get(path), b"x")
            self.refused(self.root + "/link.wsgi", 403)
        other = self.write("root/other.wsgi", WSGI % "x")
        with mock.patch.object(os, "readlink", readlink), mock.patch.object(os.path, "realpath", lambda path: outside):
            self.assertIn("replaced again and again", str(self.refused(other, 500)))

    def test_what_is_no_regular_file(self):
        os.mkdir(self.root + "/folder")
        os.mkfifo(self.root + "/fifo", 0o600)
        for path in (self.root, self.root + "/folder", self.root + "/folder/", self.root + "/fifo", "/dev/null"):
            self.assertIn("not a regular file", str(self.refused(path, 403)))

    def test_a_script_that_is_replaced_by_a_fifo_while_it_is_opened(self):
        path = self.write("root/app.wsgi", WSGI % "x")

        def replace(path):
            os.unlink(path)
            os.mkfifo(path, 0o600)
        with mock.patch.object(scripts, "_check", replace):
            self.assertIn("not a regular file", str(self.refused(path, 403)))

    def test_a_script_that_others_can_write(self):
        path = self.write("root/app.wsgi", COUNT + WSGI % "x")
        for mode, who in ((0o664, "its group"), (0o646, "everybody"), (0o666, "everybody"), (0o620, "its group")):
            os.chmod(path, mode)
            self.assertIn("%s can write it (mode %04o): chmod go-w" % (who, mode), str(self.refused(path, 403)))
        self.assertEqual(self.loads, [])
        os.chmod(path, 0o644)
        self.assertEqual(self.get(path), b"x")
        os.chmod(path, 0o664)
        self.refused(path, 403)

    def test_a_folder_in_which_everybody_can_put_files(self):
        path = self.write("root/a/b/app.wsgi", COUNT + WSGI % "x")
        for folder in ("root", "root/a", "root/a/b"):
            for mode in (0o777, 0o1777):
                os.chmod(os.path.join(self.folder, folder), mode)
                self.assertIn("everybody can put another file in its place", str(self.refused(path, 403)))
            os.chmod(os.path.join(self.folder, folder), 0o775)
        os.chmod(self.folder, 0o777)  # above the root it is not looked at
        self.assertEqual(self.get(path), b"x")

    def test_a_file_that_is_no_script(self):
        path = self.root + "/large.py"
        with open(path, "wb") as file:
            file.truncate(scripts._MAX_BYTES + 1)
        self.assertIn("is not a script", str(self.refused(path, 403)))

    def test_what_can_not_be_read(self):
        path = self.write("root/app.wsgi", WSGI % "x")
        real = {"stat": os.stat, "open": os.open}
        for name in real:
            for number, status in ((13, 403), (1, 403), (5, 500), (24, 500), (2, 404), (20, 404)):
                def fail(given, *args, **kwargs):
                    if given == path:
                        raise OSError(number, os.strerror(number))
                    return real[name](given, *args, **kwargs)
                with mock.patch.object(os, name, fail):
                    error = self.refused(path, status)
                self.assertIn(os.strerror(number), str(error))
                self.assertIsNone(error.__cause__)
        self.assertEqual(self.get(path), b"x")

    @unittest.skipIf(os.geteuid(), "only root can become somebody else")
    def test_an_unreadable_file_for_somebody_else(self):
        from test_cleanup import in_child

        os.chmod(self.folder, 0o755)
        path = self.write("root/app.wsgi", WSGI % "x")
        os.chmod(path, 0o600)

        def child():
            os.setgid(65534)
            os.setuid(65534)
            try:
                self.scripts.get(path)
            except scripts.ScriptError as error:
                return error.status, str(error)
        self.assertRegex(in_child(child), "^.403, .*app.wsgi' can't be read: Permission denied: make it")

    def test_descriptors_are_closed(self):
        before = os.listdir("/proc/self/fd")
        path = self.write("root/app.wsgi", WSGI % "x")
        self.get(path)
        self.refused("/dev/null", 403)
        self.refused(self.write("outside.wsgi", ""), 403)
        self.assertEqual(os.listdir("/proc/self/fd"), before)


if __name__ == "__main__":
    unittest.main()
