"""The files that the host writes: log and pid file, where another user or a full disk is in the way."""
import os
import resource
import signal

import pytest

from host import APPS, Host, run

NOBODY = 65534
SETTINGS = {"log": "log.destination", "pid": "server.pid_file"}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def start(folder, setting, path, **kwargs):
    return run("--set", "python.path=" + APPS, "--set", "%s=%s" % (setting, path), "--set", "python.bytecode=no",
               "--listen", "unix:%s/x.sock" % folder, "wsgi_app:application", cwd=folder, seconds=10, **kwargs)


def last_line(done):
    """The complaint, behind the log."""
    return done.stderr.decode().splitlines()[-1]


@needs_root
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
class TestAsRoot:
    def test_a_link_of_another_user_is_not_followed(self, folder, setting):
        (folder / "secret").write_text("secret")
        (folder / "theirs").mkdir()
        os.chown(folder / "theirs", NOBODY, NOBODY)
        os.symlink("../secret", folder / "theirs" / "file")
        os.lchown(folder / "theirs" / "file", NOBODY, NOBODY)
        done = start(folder, setting, folder / "theirs" / "file")
        assert "another user's symbolic link leads there: name a file" in last_line(done)
        assert done.returncode == 2  # --set
        assert (folder / "secret").read_text() == "secret"

    def test_root_s_own_link_is(self, folder, setting):
        (folder / "real").mkdir()
        os.symlink("real", folder / "link")
        host = Host(settings={setting.split(".")[0]: {setting.split(".")[1]: str(folder / "link" / "file")}})
        assert str(host.pid) in (folder / "real" / "file").read_text()


class TestPidFile:
    def test_it_has_the_number_and_is_removed_at_the_end(self, folder):
        path = folder / "pid"
        host = Host(settings={"server": {"pid_file": str(path)}})
        assert path.read_text() == "%d\n" % host.pid
        assert host.stop() == []
        assert not path.exists()

    def test_that_of_another_process_stays(self, folder):
        path = folder / "pid"
        host = Host(settings={"server": {"pid_file": str(path)}})
        path.write_text("1\n")
        assert host.stop() == []
        assert path.read_text() == "1\n"

    def test_a_full_disk_leaves_no_empty_one(self, folder):
        """As full as this: not a byte can be written to any file."""
        def fill():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        done = start(folder, SETTINGS["pid"], folder / "pid", preexec_fn=fill)
        assert "pid_file" in last_line(done) and "file too large" in last_line(done)
        assert done.returncode == 1
        assert sorted(os.listdir(folder)) == ["hello.py"]
