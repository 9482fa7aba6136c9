"""fcgihost.host.scripts, with random trees: what runs is what the rule of script_root allows, and nothing else.

SCRIPTS_SEED=N repeats a run, SCRIPTS_TREES=N makes it longer.
"""
import os
import pathlib
import random
import socket
import stat
import threading
import unittest
from unittest import mock

import support
from fcgihost import cleanup
from fcgihost.host import scripts

SEED = int(os.environ.get("SCRIPTS_SEED", "1"))
TREES = int(os.environ.get("SCRIPTS_TREES", "40"))
RACES = 1500
EXTENSIONS = ".py", ".wsgi"
NAMES = ("a.py", "b.wsgi", "n.py", "o.wsgi", "c.PY", "d.Wsgi", "e.gif", "f.py.gif", "g.py~", ".py", ".wsgi", "py",
         "new\nline.py", "h\n.gif", "i .py", "j.py ", "\udcff.py", "k.pyc", "wsgi", "l.wsgi.bak", "..py", "m.gif.py")
FOLDERS = "one", "two", "x.py", "with\nline", "root"
SCRIPT = "def application(environ, start_response):\n    return %r\n"


def may_run(path, root):
    """The contract's rule, and only that; loosely, as a tree is looked at that stands still.

    "Only regular files under this folder, after links are resolved, that neither the group nor others can write and
    whose name ends as `extensions` says, run." Nor may everybody be able to put a file there.
    """
    try:
        real = str(pathlib.Path(path).resolve(strict=True))  # os.path.realpath() has no strict before Python 3.10
        state = os.lstat(real)
    except (OSError, ValueError, RuntimeError):  # the last: links in a circle
        return False
    root = os.path.realpath(root)
    if os.path.commonpath([real, root]) != root or not stat.S_ISREG(state.st_mode) or state.st_mode & 0o022:
        return False
    folder = real
    while folder != root:
        folder = os.path.dirname(folder)
        if os.stat(folder).st_mode & 0o002:
            return False
    name = os.path.basename(real)
    return any(name[-len(end):] == end and name[:-len(end)] for end in EXTENSIONS)  # ".py" alone has no ending


class Case(support.FolderTestCase):
    def setUp(self):
        super().setUp()
        for name, value in (("process_scope", cleanup.Scope("the process")), ("_is_exit_arranged", True)):
            patch = mock.patch.object(cleanup, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.addCleanup(cleanup._loads.clear)
        self.addCleanup(os.umask, os.umask(0o022))
        self.random = random.Random(SEED)

    def ran(self, root, path):
        """What the script at path answers; None: it was refused."""
        script_root = scripts.ScriptRoot(root, retry_delay=0, extensions=EXTENSIONS)
        try:
            return script_root.get(path)({}, None)
        except scripts.ScriptError as error:
            self.assertNotIn("\n", str(error))
            self.assertIn(error.status, (403, 404), "%r: %s" % (path, error))
            return None
        finally:
            script_root._forget(os.path.normpath(path))  # it is loaded anew, and so looked at, each time


class TreeTest(Case):
    def make_tree(self, top):
        """Folders, files and whatever else a folder can hold, in and beside top/root. Returns all their paths."""
        choose = self.random.choice
        folders, files = [top, os.path.join(top, "root")], []
        os.mkdir(top)
        os.mkdir(folders[1])
        for name in "root-not", "outside":
            folders.append(os.path.join(top, name))
            os.mkdir(folders[-1])
        for _ in range(self.random.randrange(8)):
            path = os.path.join(choose(folders[1:]), choose(FOLDERS))
            if not os.path.lexists(path):
                os.mkdir(path)
                folders.append(path)
        for _ in range(25):
            path = os.path.join(choose(folders[1:] + folders[1:2] * 3), choose(NAMES))
            if os.path.lexists(path):
                continue
            self.make_one(path, folders, files)
            files.append(path)
        for folder in folders:
            os.chmod(folder, choose([0o755] * 24 + [0o775, 0o757, 0o777, 0o1777]))
        return folders + files

    def make_one(self, path, folders, files):
        kind = self.random.choice(["file"] * 12 + ["link"] * 4 + ["folder link", "folder", "fifo", "socket", "device"])
        if kind == "link":
            target = self.random.choice(files + [path, path + "-gone", "../outside/a.py"])
            if target in files and self.random.random() < 0.3:
                target = os.path.relpath(target, os.path.dirname(path))
            os.symlink(target, path)
        elif kind == "folder link":
            os.symlink(self.random.choice(folders), path)
        elif kind == "folder":
            os.mkdir(path)
        elif kind == "fifo":
            os.mkfifo(path, 0o644)
        elif kind == "socket" and len(os.fsencode(path)) < 100:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path)
        elif kind == "device" and os.geteuid() == 0:
            self.make_device(path)
        else:
            with open(path, "w") as file:
                file.write(SCRIPT % os.fsencode(path))
            os.chmod(path, self.random.choice(
                [0o644] * 16 + [0o600, 0o755, 0o664, 0o646, 0o666, 0o777, 0o620, 0o602, 0o4755]))

    @staticmethod
    def make_device(path):
        """Another /dev/null, where that is allowed."""
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except OSError:
            os.mkfifo(path)

    def disguise(self, path, top):
        """The path as a request could spell it, which may then be another one, or none."""
        way = self.random.randrange(12)
        folder, name = os.path.split(path)
        return {0: folder + "//" + name, 1: folder + "/./" + name, 2: folder + "/nothing/../" + name,
                3: "//" + path, 4: path + "/", 5: path + "/x.wsgi", 6: path + "\0.py", 7: path.upper(),
                8: top + "/root/../" + os.path.relpath(path, top), 9: path + "/../" + name,
                10: os.path.relpath(path)}.get(way, path)

    def test_only_what_the_rule_allows_runs(self):
        allowed = refused = 0
        for number in range(TREES):
            top = os.path.join(self.folder, "t%d" % number)
            root = os.path.join(top, "root")
            paths = self.make_tree(top)
            for path in paths * 2:
                asked = self.disguise(path, top)
                # A path is made plain before links are followed, as web servers do.
                plain = os.path.normpath(asked)
                plain = plain[1:] if plain.startswith("//") else plain
                expected = os.path.isabs(asked) and may_run(plain, root)
                answer = self.ran(root, asked)
                with self.subTest(seed=SEED, tree=number, asked=asked, real=os.path.realpath(path)):
                    wanted = os.fsencode(os.path.realpath(plain)) if expected else None
                    self.assertEqual(answer, wanted)
                allowed, refused = allowed + bool(expected), refused + (not expected)
        self.assertTrue(allowed > TREES and refused > TREES, (allowed, refused))  # else it tries little


class RaceTest(Case):
    """The file is exchanged all the time; what must not run says so when it runs."""

    def setUp(self):
        super().setUp()
        for folder in "root/open", "outside":
            os.makedirs(os.path.join(self.folder, folder))
        os.chmod(os.path.join(self.folder, "root/open"), 0o777)
        self.root = os.path.join(self.folder, "root")
        self.path = os.path.join(self.root, "app.py")

    def put(self, kind):
        """Puts one of that kind at the path, at once."""
        new = os.path.join(self.root, "new.py" if kind != "picture" else "new.gif")
        if kind in ("outside", "open"):
            os.symlink(os.path.join(self.folder, "root/open" if kind == "open" else kind, "app.py"), new)
        elif kind == "picture link":
            os.symlink(os.path.join(self.root, "me.gif"), new)
        elif kind == "fifo":
            os.mkfifo(new)
        else:
            with open(new, "w") as file:
                file.write(SCRIPT % ("good" if kind == "good" else "forbidden: " + kind))
            os.chmod(new, {"group": 0o664, "others": 0o646}.get(kind, 0o644))
        os.rename(new, self.path)

    def test_what_is_exchanged_while_it_is_loaded_never_runs_if_it_may_not(self):
        for name in "outside/app.py", "root/open/app.py", "root/me.gif":
            self.write(name, SCRIPT % ("forbidden: " + name))
        self.put("good")
        is_over, failures = threading.Event(), []

        def exchange():
            try:
                while not is_over.is_set():
                    self.put("good")
                    self.put(self.random.choice(["outside", "open", "picture link", "fifo", "group", "others"]))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=exchange)
        thread.start()
        try:
            answers = [self.ran(self.root, self.path) for _ in range(RACES)]
        finally:
            is_over.set()
            thread.join()
        self.assertEqual((failures, set(answers) - {None}), ([], {"good"}), "SCRIPTS_SEED=%d" % SEED)
        self.assertTrue(None in answers, "nothing was exchanged")


if __name__ == "__main__":
    unittest.main()
