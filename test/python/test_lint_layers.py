"""test/lint_layers.py: what it finds in a tree with faults."""
import importlib.util
import os
import pathlib
import unittest

import support

PATH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lint_layers.py")
specification = importlib.util.spec_from_file_location("lint_layers", PATH)
lint_layers = importlib.util.module_from_spec(specification)
specification.loader.exec_module(lint_layers)


class LayersTest(support.FolderTestCase):
    def complaints(self, **files):
        self.write("README", "    low/    what is below\n    high/   what is above\n")
        for name, includes in {"low_a_h": [], "high_b_c": ["low/a.h"], **files}.items():
            path = "/".join(name.rsplit("_", 2)[:2]) + "." + name[-1]
            self.write(path, "".join('#include "%s"\n' % include for include in includes))
        return lint_layers.complaints(pathlib.Path(self.folder))

    def test_a_good_tree(self):
        self.assertEqual(self.complaints(high_b_h=["low/a.h"]), [])

    def test_a_layer_above(self):
        found, = self.complaints(low_c_c=["high/b.h"], high_b_h=[])
        self.assertIn("low/c.c: includes high/b.h", found)

    def test_a_circle_within_a_folder(self):
        found, = self.complaints(low_c_h=["low/d.h"], low_d_h=[], low_d_c=["low/c.h"])
        self.assertIn("low/c, low/d", found)

    def test_a_circle_of_three(self):
        found, = self.complaints(low_c_h=["low/d.h"], low_d_h=["low/e.h"], low_e_c=["low/c.h"], low_e_h=[])
        self.assertIn("low/c, low/d, low/e", found)

    def test_an_include_without_its_folder(self):
        found, = self.complaints(low_c_c=["a.h"])
        self.assertIn('low/c.c: includes "a.h": no such file', found)

    def test_a_folder_that_nobody_has_described(self):
        found, = self.complaints(other_x_h=[])
        self.assertIn("other/", found)

    def test_the_tree_of_the_project(self):
        self.assertEqual(lint_layers.complaints(pathlib.Path(PATH).parents[1] / "fcgihost"), [])


if __name__ == "__main__":
    unittest.main()
