"""fcgihost.folders: a folder that the processes of one user share, and nobody else."""
import os
import shutil
import tempfile
import unittest
from unittest import mock

import support  # noqa: F401
from fcgihost import folders
from fcgihost.host import entry, loader

NOBODY = 65534


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="fcgihost-test-")
        self.addCleanup(shutil.rmtree, self.folder)

    def make(self, name, mode=0o700):
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        os.chmod(path, mode)
        return path


class PlacesTest(Case):
    def places(self, **environ):
        return [place for place in folders.places(environ) if place != "/run/fcgihost"]

    def test_without_any_it_is_the_temporary_folder(self):
        self.assertEqual(self.places(), ["/tmp"])
        self.assertEqual(self.places(TMPDIR="/var/tmp"), ["/var/tmp"])

    def test_the_run_time_directories_come_first(self):
        one, two, three = (self.make(name) for name in ("one", "two", "three"))
        self.assertEqual(self.places(RUNTIME_DIRECTORY="%s:%s" % (one, two), XDG_RUNTIME_DIR=three),
                         [one, two, three, "/tmp"])

    def test_run_fcgihost_is_one_if_it_is_there(self):
        with mock.patch.object(folders, "_is_ours", lambda place: place == "/run/fcgihost"):
            self.assertEqual(folders.places({}), ["/run/fcgihost", "/tmp"])

    def test_those_that_are_not_this_user_s_are_left_out(self):
        open_to_all = self.make("open", 0o777)
        self.assertEqual(self.places(RUNTIME_DIRECTORY=open_to_all + ":relative:/missing", XDG_RUNTIME_DIR="/proc/1/ns/net"),
                         ["/tmp"])
        if os.geteuid() == 0:
            others = self.make("others")
            os.chown(others, NOBODY, NOBODY)
            self.assertEqual(self.places(XDG_RUNTIME_DIR=others), ["/tmp"])


class FindTest(Case):
    def find(self, *places):
        return folders.find(folders.candidates(places or [self.folder], "x"))

    def test_it_is_made_and_found_again(self):
        path = self.find()
        self.assertEqual(path, os.path.join(self.folder, "x"))
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o700)
        self.assertEqual(self.find(), path)

    def test_a_name_that_others_have_taken_is_passed_over(self):
        self.make("x", 0o777)
        os.symlink(self.make("target"), os.path.join(self.folder, "x-1"))
        open(os.path.join(self.folder, "x-2"), "w").close()
        path = self.find()
        self.assertEqual(path, os.path.join(self.folder, "x-3"))
        # And once it is found it stays, even if those go.
        os.rmdir(os.path.join(self.folder, "x"))
        self.assertEqual(self.find(), path)

    def test_a_place_where_nothing_can_be_made_is_passed_over(self):
        self.assertEqual(self.find("/proc/self", "/missing", self.folder), os.path.join(self.folder, "x"))

    def test_if_there_is_none_the_error_says_why(self):
        for number in range(8):
            self.make("x-%d" % number if number else "x", 0o770)
        with self.assertRaisesRegex(PermissionError, "x, must be a folder of user %d's alone" % os.geteuid()):
            self.find()
        with self.assertRaises(OSError):
            self.find("/proc/self")

    def test_the_same_settings_have_the_same_one(self):
        def paths(file):
            return entry._lock_folders({"file": file, "applications": [{"wsgi": "a:b"}]})
        self.assertEqual(paths("/a.ini"), paths("/a.ini"))
        self.assertNotEqual(paths("/a.ini"), paths("/b.ini"))
        self.assertIn("%08x" % loader.checksum(b"/a.ini\0a:b"), paths("/a.ini")[0][0])


if __name__ == "__main__":
    unittest.main()
