"""What the tests of the Python package share: the host's C module as a stub, a folder to load
things from."""
import importlib
import os
import shutil
import sys
import tempfile
import types
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGE = os.path.join(ROOT, "python")
# From the repository's root `fcgihost` would be the folder of the C files.
sys.path.insert(0, PACKAGE)

host_log = []   # what the package logged: (level, text)
host_steps = []     # what it told the host that it does: (step, name); "signals" when it took those back
host_waits = []     # the seconds that it waited
host_activities = []    # what the workers serve: (thread, request, seconds)


def _wait(seconds, next_attempt):
    """True: the process ends. A test that would wait for ever ends so, too."""
    host_waits.append((seconds, next_attempt))
    return len(host_waits) > 100


stub = types.ModuleType("_fcgihost")
for number, name in enumerate(("LOG_ERROR", "LOG_WARNING", "LOG_INFO", "LOG_DEBUG")):
    setattr(stub, name, number)
for number, name in enumerate(("STEP_NONE", "STEP_IMPORT", "STEP_CLEANUP", "STEP_THREADS", "STEP_EXIT")):
    setattr(stub, name, number)
stub.log = lambda level, event, text, *more: host_log.append((level, text))
stub.admit_output = lambda data: None  # no request: all may be written
stub.begin_step = lambda step, name: host_steps.append((step, name))
stub.take_signals = lambda: host_steps.append("signals")
stub.wait = _wait
stub.activities = lambda: list(host_activities)
stub.report_start = lambda untried, failed_applications, failed_imports: None
stub.note_program = lambda *facts: None
stub.ask_heal = lambda what, state: False  # no manager
stub.switch = lambda changes, hold, number: None
stub.wake = lambda: None
stub.tell = lambda items, left_out: None  # for the status
sys.modules["_fcgihost"] = stub


def clear_host():
    """Forgets what the host has been told."""
    for told in host_log, host_steps, host_waits, host_activities:
        del told[:]


import fcgihost     # noqa: E402

assert fcgihost.__file__ == os.path.join(PACKAGE, "fcgihost", "__init__.py"), fcgihost.__file__


class FolderTestCase(unittest.TestCase):
    """Each test has an empty folder on sys.path, and leaves no module behind."""

    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="fcgihost-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        path, modules = list(sys.path), dict(sys.modules)
        sys.path.insert(0, self.folder)

        def restore():
            sys.path[:] = path
            for name in set(sys.modules) - set(modules):
                del sys.modules[name]
        self.addCleanup(restore)
        clear_host()

    def write(self, name, text):
        """The path of the file that now holds the text; newer than what was there before."""
        path = os.path.join(self.folder, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        before = os.stat(path).st_mtime_ns if os.path.exists(path) else None
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        if before is not None:
            os.utime(path, ns=(before + 10**9, before + 10**9))
        importlib.invalidate_caches()
        return path
