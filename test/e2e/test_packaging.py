"""What `make install` puts where, and the unit files: offline, as no systemd runs here."""
import os
import re
import shutil
import subprocess
import sys

import pytest

import fastcgi
import systemd
from host import PROGRAM, PYTHON, ROOT, Host, run, write_file
from process import wait_until

UNITS = os.path.join(ROOT, "packaging/systemd")
EXPOSURE_TENTHS = 29  # of 100: less than 3.0


def unit_text(bindir="/usr/bin"):
    with open(os.path.join(UNITS, "fcgihost@.service")) as file:
        return file.read().replace("@BINDIR@", bindir)


def settings_of_unit():
    """The last value of each directive of [Service]."""
    return dict(re.findall(r"^(\w+)=(.*)$", unit_text(), re.M))


needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")


class TestUnits:
    @needs_systemd
    def test_the_exposure_is_below_three(self, tmp_path):
        unit = write_file(tmp_path / "fcgihost@demo.service", unit_text())
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                               "--threshold=%d" % EXPOSURE_TENTHS, unit], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        assert re.search(r"Overall exposure level .*: [0-2]\.\d OK", done.stdout), done.stdout

    @needs_systemd
    def test_systemd_understands_every_line(self, tmp_path):
        program = write_file(tmp_path / "fcgihost", "#!/bin/sh\n", 0o755)
        write_file(tmp_path / "fcgihost@demo.service", unit_text(os.path.dirname(program)))
        shutil.copy(os.path.join(UNITS, "fcgihost@.socket"), tmp_path / "fcgihost@demo.socket")
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(tmp_path / "fcgihost@demo.service"),
                               str(tmp_path / "fcgihost@demo.socket")], capture_output=True, text=True)
        assert not [line for line in (done.stdout + done.stderr).splitlines() if "demo" in line], done.stderr

    def test_the_exit_codes_after_which_a_restart_helps_nothing(self, tmp_path):
        codes = set(settings_of_unit()["RestartPreventExitStatus"].split())
        write_file(tmp_path / "bad.ini", "[server]\nthreads = many\n")
        wrong = [run("--nonsense"), run("-c", str(tmp_path / "bad.ini")),
                 run("--set", "startup.on_failure=exit", "-l", "unix:%s/x.sock" % tmp_path, "no_such_module:app")]
        assert [done.returncode for done in wrong] == [2, 3, 4]
        assert codes == {"2", "3", "4"}

    @pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root gives up what the unit does")
    def test_the_service_runs_with_what_the_unit_leaves_it(self, tmp_path):
        """Without systemd: a user of its own without privileges, and the unit's socket."""
        unit = settings_of_unit()
        assert unit["NoNewPrivileges"] == "yes" and unit["CapabilityBoundingSet"] == "" and unit["UMask"] == "0027"
        socket_unit = systemd.SocketUnit(tmp_path)
        notify = systemd.NotifySocket(tmp_path, is_abstract=True)
        for folder in (tmp_path, *tmp_path.parents[:2]):
            os.chmod(folder, 0o755)
        activate = write_file(tmp_path / "activate.py", systemd.ACTIVATE, 0o644)
        restricted = ["setpriv", "--reuid=61184", "--regid=61184", "--clear-groups", "--no-new-privs",
                      "--bounding-set=-all", "--inh-caps=-all", sys.executable, activate]
        number = socket_unit.socket.fileno()
        host = Host("privileges_app:application", {"server": {"listen": None, "processes": 2}},
                    listen=["unix:" + socket_unit.path], pass_fds=[number], wait=False, umask=0o027,
                    program=[*restricted, str(number), PROGRAM], environ={"NOTIFY_SOCKET": notify.path})
        host.socket_files = []
        notify.wait(READY="1", MAINPID=str(host.pid))
        wait_until(lambda: host.log.read().count(" serving ") >= 2, "both workers")
        status = fastcgi.exchange(socket_unit.path, "GET", "/").json["status"]
        assert status["Uid"] == ["61184"] * 4 and status["Groups"] == [] and status["NoNewPrivs"] == ["1"]
        assert {int(status[name][0], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
        assert int(status["Umask"][0], 8) == 0o027
        assert host.stop() == []
        host.clean_up()
        socket_unit.close()
        notify.close()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """What `make install` puts there."""
    folder = tmp_path_factory.mktemp("tree")
    # -o all: of the program as it is built, with another PREFIX.
    done = subprocess.run(["make", "-s", "-o", "all", "install", "PREFIX=/opt/x", "DESTDIR=%s" % folder,
                           "PYTHON=" + PYTHON, "PROGRAM=" + PROGRAM], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "opt/x"


class TestInstall:
    def test_everything_is_in_its_place(self, tree):
        for name in ("bin/fcgihost", "share/fcgihost/python/fcgihost/host/entry.py", "share/man/man1/fcgihost.1",
                     "share/man/man5/fcgihost.ini.5", "share/man/man7/fcgihost-messages.7", "lib/systemd/system/fcgihost@.service",
                     "lib/systemd/system/fcgihost@.socket", "lib/tmpfiles.d/fcgihost.conf",
                     "share/bash-completion/completions/fcgihost", "share/doc/fcgihost/examples/hello/hello.py",
                     "share/doc/fcgihost/fcgihost.ini", "share/doc/fcgihost/doc/systemd.md"):
            assert (tree / name).is_file(), name
        assert "ExecStart=/opt/x/bin/fcgihost " in (tree / "lib/systemd/system/fcgihost@.service").read_text()
        assert os.access(tree / "share/doc/fcgihost/examples/spawn-fcgi/start", os.X_OK)

    def test_uninstall_leaves_nothing(self, tree, tmp_path):
        shutil.copytree(tree, tmp_path / "opt/x")
        done = subprocess.run(["make", "-s", "uninstall", "PREFIX=/opt/x", "DESTDIR=%s" % tmp_path], cwd=ROOT,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
class TestCompletion:
    def complete(self, *words, cwd=None):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _fcgihost; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", script, "bash", os.path.join(ROOT, "packaging/bash-completion/fcgihost"),
                               PROGRAM, *words], capture_output=True, text=True, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def test_flags(self):
        assert self.complete("--th") == ["--threads"]
        assert {"--check", "--set", "--version", "--status"} <= set(self.complete("--"))

    def test_keys_of_set_are_those_of_the_program(self):
        assert self.complete("--set", "limits.id") == ["limits.idle="]
        printed = run("--print-ini").stdout.decode()
        keys = set(self.complete("--set", ""))
        assert "environment.=" not in keys and len(keys) >= len(re.findall(r"^; [a-z_]+ =", printed, re.M)) - 1

    def test_files(self, tmp_path):
        (tmp_path / "shop.ini").touch()
        assert self.complete("-c", "sh", cwd=tmp_path) == ["shop.ini"]
        assert self.complete("sh", cwd=tmp_path) == ["shop.ini"]

    def test_words_of_a_flag(self):
        assert self.complete("--status", "--format", "") == ["text", "json", "prometheus"]

