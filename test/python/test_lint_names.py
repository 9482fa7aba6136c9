"""test/lint_names.py: what it finds in a tree with faults."""
import importlib.util
import os
import pathlib
import unittest

import support

PATH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lint_names.py")
specification = importlib.util.spec_from_file_location("lint_names", PATH)
lint_names = importlib.util.module_from_spec(specification)
specification.loader.exec_module(lint_names)


class NamesTest(support.FolderTestCase):
    def complaints(self, **files):
        self.write("Makefile", "all: build\n\t@true\ntest-unit:\n")
        self.write("fcgihost.ini", "[limits]\n; request_time = 0\n\n[log]\n; level = info\n")
        self.write("net/gate.c", "/* Whole? */\nint gate_open(void) { return 0; }\n")
        for name, text in files.items():
            self.write(name.replace("__", "/").replace("_dot_", "."), text)
        return lint_names.complaints(pathlib.Path(self.folder))

    def test_a_good_tree(self):
        self.assertEqual(self.complaints(
            net__a_dot_c="/* gate_open() is in net/gate.c, bounded by [limits] request_time. */\nint a;\n",
            python__b_dot_py='"""See gate.c: gate_open."""\n',
            README="`make test-unit T=gate` runs gate.c; `[log] level`.\n",
            doc__a_dot_md="# A title\n\n[that](#a-title), [this](b.md#other-title)\n", doc__b_dot_md="## Other title\n"), [])

    def test_a_function_that_a_comment_in_c_mentions(self):
        found, = self.complaints(net__a_dot_c="int a;\n/* Not\n * gate_close. */\n")
        self.assertEqual(found, "net/a.c:3: gate_close: there is no such name")

    def test_a_function_that_a_comment_or_a_docstring_in_python_mentions(self):
        found = self.complaints(a_dot_py='"""Of close()."""\n\n\ndef f():\n    """As\n    shut_it."""\n    return 1  # see_below\n')
        self.assertEqual([line.partition(": ")[0] for line in found], ["a.py:1", "a.py:6", "a.py:7"])

    def test_what_only_comments_mention_does_not_exist_for_that(self):
        self.assertEqual(len(self.complaints(a_dot_c="/* ghost_one */\n", b_dot_c="// ghost_one\n")), 2)

    def test_a_file(self):
        found, = self.complaints(a_dot_c="/* See net/door.c. */\n")
        self.assertIn("a.c:1: net/door.c: there is no such file", found)
        found, = self.complaints(a_dot_c="", README="\nSee door.c\n")
        self.assertIn("README:2: door.c: there is no such file", found)

    def test_a_target_of_make(self):
        found, = self.complaints(README="    make test-units T=gate    some of them\n")
        self.assertIn("README:1: make test-units: the Makefile has no such target", found)

    def test_links(self):
        found = self.complaints(doc__a_dot_md="[a](b.md), [c](#c)\n")
        self.assertEqual(found, ["doc/a.md:1: b.md: the link leads nowhere",
                                 "doc/a.md:1: #c: a.md has no such heading"])

    def test_settings(self):
        found = self.complaints(a_dot_c="/* [limits] requests_time */\n", README="`[log] levels`\n")
        self.assertEqual([line for line in found if "key" in line],
                         ["a.c:1: [limits] requests_time: there is no such key",
                          "README:1: [log] levels: there is no such key"])


if __name__ == "__main__":
    unittest.main()
