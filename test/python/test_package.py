"""The package: what applications import works without the host, and imports nothing that is the host's own."""
import os
import subprocess
import sys
import unittest

import support

FOLDER = os.path.join(support.PACKAGE, "fcgihost")
SCRIPT = """
import sys
sys.path.insert(0, %r)
import fcgihost
for name in sys.argv[1:]:
    __import__("fcgihost." + name)
missing = [name for name in fcgihost.__all__ if not hasattr(fcgihost, name)]
print(missing, [name for name in sys.modules if name.startswith(("fcgihost.host", "_fcgihost"))])
""" % support.PACKAGE


class PackageTest(unittest.TestCase):
    def test_all_that_is_public_is_there_without_the_host_and_without_its_modules(self):
        modules = [name[:-3] for name in os.listdir(FOLDER) if name.endswith(".py") and name != "__init__.py"]
        self.assertIn("handler", modules)
        self.assertEqual(subprocess.check_output([sys.executable, "-I", "-B", "-c", SCRIPT, *modules], timeout=60),
                         b"[] []\n")


if __name__ == "__main__":
    unittest.main()
