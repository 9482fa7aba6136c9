"""[server] user, group, umask, directory, no_new_privs; [environment]: which user the process becomes, seen from inside."""
import grp
import json
import os
import pwd
import resource
import shutil
import stat

import pytest

from host import APPS, Host, ini_text, merged, run, temporary_folder, write_file
from process import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")

USER = "www-data"
APP = "privileges_app:application"
SECRET = "gr8-s3cret"


@pytest.fixture
def folder():
    """Nobody but root gets into its subfolder "root"."""
    path = temporary_folder()
    os.mkdir(os.path.join(path, "root"), 0o700)
    return path


@pytest.fixture
def start(folder):
    """Starts a host that is user, with everything in a folder of root's."""
    hosts = []

    def begin(probe=True, **sections):
        root = os.path.join(folder, "root")
        environment_file = write_file(os.path.join(root, "secrets"), "PASSWORD=%s\nEMPTY=\n" % SECRET, 0o600)
        settings = merged({
            "server": {"user": USER, "pid_file": os.path.join(root, "pid"),
                       "environment_file": environment_file},
            "environment": {"GREETING": '"hello" $HOME'},
            "log": {"destination": os.path.join(root, "log")}}, sections)
        host = Host(APP, settings, listen=["unix:" + os.path.join(root, "host.sock")], folder=folder,
                    probe=probe)
        host.socket_files = []  # its user can't remove it: see fcgihost.ini(5)
        hosts.append(host)
        return host

    yield begin
    for host in hosts:
        if host.is_running():
            assert not host.stop()
    shutil.rmtree(folder, ignore_errors=True)


def ask(host, query=""):
    response = host.exchange("GET", "/?" + query)
    assert response.status == 200
    return json.loads(response.body)


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def assert_is_user(answer):
    uid, gid = str(pwd.getpwnam(USER).pw_uid), str(pwd.getpwnam(USER).pw_gid)
    groups = {entry.gr_gid for entry in grp.getgrall() if USER in entry.gr_mem} | {int(gid)}
    status = answer["status"]
    assert status["Uid"] == [uid] * 4 and status["Gid"] == [gid] * 4
    assert {int(group) for group in status["Groups"]} == groups
    assert all(ids == [uid] * 4 for ids in answer["threads"])
    assert int(status["CapEff"][0], 16) == int(status["CapPrm"][0], 16) == 0


class TestUser:
    def test_the_process_is_that_user_without_capabilities_in_every_thread(self, start, folder):
        host = start()
        answer = ask(host)
        assert_is_user(answer)
        assert answer["status"]["NoNewPrivs"] == ["1"] and int(answer["status"]["CapBnd"][0], 16) == 0
        assert answer["pid"] == int(read(folder, "root", "pid"))

    def test_what_is_roots_can_not_be_written_any_more(self, start, folder):
        host = start()
        write_file(os.path.join(folder, "file"), "", 0o644)
        assert ask(host, os.path.join(folder, "file"))["can_write"] is False
        assert ask(host, os.path.join(folder, "root", "secrets"))["can_write"] is False
        os.chown(os.path.join(folder, "file"), pwd.getpwnam(USER).pw_uid, -1)
        assert ask(host, os.path.join(folder, "file"))["can_write"] is True

    def test_home_user_and_logname_are_the_users(self, start):
        environ = ask(start())["environ"]
        assert environ["HOME"] == pwd.getpwnam(USER).pw_dir
        assert environ["USER"] == environ["LOGNAME"] == USER

    def test_group_umask_and_directory_are_taken_on(self, start, folder):
        answer = ask(start(server={"group": "nogroup", "umask": "0027", "directory": folder}))
        assert answer["status"]["Gid"] == [str(grp.getgrnam("nogroup").gr_gid)] * 4
        assert int(answer["status"]["Umask"][0], 8) == 0o027 and answer["folder"] == folder

    def test_without_no_new_privs_children_may_gain_some(self, start):
        status = ask(start(server={"no_new_privs": "no"}))["status"]
        assert status["NoNewPrivs"] == ["0"] and int(status["CapBnd"][0], 16) != 0

    def test_a_number_without_an_entry_needs_a_group(self, start):
        status = ask(start(server={"user": "61234", "group": "61235"}))["status"]
        assert status["Uid"] == ["61234"] * 4 and status["Gid"] == ["61235"] * 4
        assert status["Groups"] == ["61235"]
        done = run("--set", "server.user=61234", "--set", "server.listen=unix:x", APP)
        assert done.returncode == 2 and b"[server] user" in done.stderr

    def test_a_start_that_failed_is_tried_again_although_the_log_is_roots(self, start, folder):
        once = os.path.join(folder, "users", "once")
        os.mkdir(os.path.dirname(once))
        os.chown(os.path.dirname(once), pwd.getpwnam(USER).pw_uid, -1)
        host = start(startup={"import": "privileges_app:fail_first", "require": "yes", "retry_delay": "100ms"},
                     environment={"ONCE": once})
        answer = ask(host)
        assert_is_user(answer)
        assert answer["environ"]["PASSWORD"] == SECRET
        log = read(folder, "root", "log")
        assert "attempt 1 failed" in log and "loaded at attempt 2" in log
        assert not host.stop()
        assert "stopped" in read(folder, "root", "log") and read(folder, "root", "pid") == ""

    def test_the_workers_of_a_manager_are_the_user_and_the_manager_is_not(self, start, folder):
        host = start(probe=False, server={"processes": 2})
        answer = ask(host)
        assert_is_user(answer)
        assert "\nUid:\t0\t" in read("/proc", str(host.pid), "status")
        os.kill(answer["pid"], 9)
        wait_until(lambda: "was killed by signal 9" in read(folder, "root", "log"), "the end of the worker", 30)
        again = ask(host)
        assert_is_user(again)
        assert again["environ"]["PASSWORD"] == SECRET
        assert not host.stop()
        assert not os.path.exists(os.path.join(folder, "root", "pid"))
        assert not os.path.exists(os.path.join(folder, "root", "host.sock"))

    def test_the_log_file_is_the_users(self, start, folder):
        start()
        status = os.stat(os.path.join(folder, "root", "log"))
        assert status.st_uid == pwd.getpwnam(USER).pw_uid and stat.S_IMODE(status.st_mode) == 0o640


class TestLimits:
    def started(self, folder, soft, hard, threads):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        host = Host(APP, {"server": {"threads": threads, "user": USER}}, listen=["unix:%s/x.sock" % folder],
                    run_first=limit)
        host.socket_files = []
        limits = read("/proc", str(host.pid), "limits")
        text = host.log.read()
        assert not host.stop()
        host.clean_up()
        os.unlink(os.path.join(folder, "x.sock"))
        return [line.split()[3] for line in limits.splitlines() if line.startswith("Max open files")], text

    def test_open_files_are_raised_to_what_the_configuration_needs(self, folder):
        soft, text = self.started(folder, 256, 4096, threads=16)
        assert int(soft[0]) >= 256 + 511 + 16 and "files can be open" not in text

    def test_where_they_can_not_be_one_line_says_what_to_raise(self, folder):
        soft, text = self.started(folder, 256, 400, threads=16)
        assert soft == ["400"]
        assert text.count("only 400 files can be open") == 1 and "LimitNOFILE=" in text


class TestWarning:
    def test_root_without_a_user_is_warned_once(self):
        for args in ([], ["-p", "2"]):
            host = Host(APP, args=args, probe=False)
            host.log.wait("serving")
            assert host.log.read().count("running as root") == 1
            assert not host.stop()
            host.clean_up()

    def test_with_a_user_or_for_one_request_nothing_is_said(self, start, folder):
        start()
        assert "running as root" not in read(folder, "root", "log")
        done = run("--set", "python.path=" + APPS, "--call", "/", APP)
        assert done.returncode == 0 and b"running as root" not in done.stderr


class TestEnvironment:
    def test_python_and_children_see_it_literally(self, start):
        answer = ask(start())
        assert answer["environ"]["GREETING"] == '"hello" $HOME' == answer["child"].rstrip("\n")
        assert answer["environ"]["PASSWORD"] == SECRET and answer["environ"]["EMPTY"] == ""

    def test_values_are_never_logged(self, start, folder):
        host = start(log={"level": "debug"})
        ask(host)
        assert not host.stop()
        assert SECRET not in read(folder, "root", "log") + host.log.read()

    def test_set_says_it_too(self, folder):
        done = run("--set", "python.path=" + APPS, "--set", "environment.GREETING=a.b=c ", "--call", "/", APP)
        assert done.returncode == 0 and b'"GREETING": "a.b=c "' in done.stdout


class TestABadValue:
    """Whenever it is found: of --set it is wrong usage, in a file the configuration is wrong."""
    NO_CALL = "pid_file", "socket_owner", "socket_group"  # which --call has no use for

    @pytest.mark.parametrize("section, key, value", [
        ("server", "user", "no-such-user"), ("server", "group", "no-such-group"), ("server", "directory", "/no/such/folder"),
        ("server", "pid_file", "/no/such/folder/pid"), ("server", "temporary", "/no/such/folder"),
        ("server", "socket_owner", "no-such-user"), ("server", "socket_group", "no-such-group"),
        ("server", "environment_file", "/no/such/file"), ("server", "umask", "999"), ("server", "allow", "1.2.3.4/99"),
        ("python", "home", "/no/such/folder"), ("log", "destination", "/no/such/folder/log"),
        ("application", "script", "/no/such/script.py"), ("application", "script_root", "/no/such/folder"),
        ("application", "mount", "no-slash")])
    def test_has_one_exit_code_for_each_way_to_give_it(self, folder, section, key, value):
        settings = {"server": {"listen": "unix:" + os.path.join(folder, "sock")}, "python": {"path": APPS}}
        if not key.startswith("script"):
            settings["application"] = {"wsgi": APP}
        right = write_file(os.path.join(folder, "right.ini"), ini_text(settings))
        wrong = write_file(os.path.join(folder, "wrong.ini"), ini_text(merged(settings, {section: {key: value}})))
        for action in ["--check"], [], ["--call", "/"]:
            if action == ["--call", "/"] and key in self.NO_CALL:
                continue
            by_flag = run(*action, "-c", right, "--set", "%s.%s=%s" % (section, key, value))
            in_file = run(*action, "-c", wrong)
            assert (by_flag.returncode, in_file.returncode) == (2, 3), (action, by_flag.stderr, in_file.stderr)
            for done in by_flag, in_file:
                assert key.encode() in done.stderr and b"Traceback" not in done.stderr


class TestCheck:
    @pytest.mark.parametrize("key, value", [
        ("user", "no-such-user"), ("group", "no-such-group"), ("temporary", "/no/such/folder"),
        ("directory", "/no/such/folder"), ("environment_file", "/no/such/file"),
        ("pid_file", "/no/such/folder/pid"), ("listen", "unix:/no/such/folder/sock"), ("socket_owner", "no-such-user"),
        ("socket_group", "no-such-group"), ("listen", "unix:/etc/passwd")])
    def test_it_refuses_what_the_start_would_refuse(self, folder, key, value):
        settings = merged({"python": {"path": APPS}, "application": {"wsgi": APP},
                           "server": {"listen": "unix:" + os.path.join(folder, "sock")}}, {"server": {key: value}})
        path = write_file(os.path.join(folder, "x.ini"), ini_text(settings))
        check = run("--check", "-c", path)
        assert check.returncode == 3 and key.encode() in check.stderr and b"Traceback" not in check.stderr
        assert run("-c", path).returncode in (1, 3)

    @pytest.mark.parametrize("section, key, value", [
        ("log", "destination", "/no/such/folder/log"), ("status", "listen", "unix:/no/such/folder/sock"),
        ("application", "script", "/no/such/script.py"), ("application", "script_root", "/no/such/folder")])
    def test_also_of_the_other_sections(self, folder, section, key, value):
        settings = {"server": {"listen": "unix:" + os.path.join(folder, "sock")}, "python": {"path": APPS}}
        settings.update({"application": {"wsgi": APP}} if section != "application" else {})
        path = write_file(os.path.join(folder, "x.ini"), ini_text(merged(settings, {section: {key: value}})))
        check = run("--check", "-c", path)
        assert check.returncode == 3 and value.rpartition(":")[2].encode() in check.stderr
        assert run("-c", path).returncode in (1, 3)

    @pytest.mark.parametrize("args", [["--check"], []], ids=["check", "start"])
    @pytest.mark.parametrize("key, value", [("user", "no-such-user"), ("group", "no-such-group"),
                                            ("directory", "/no/such"), ("pid_file", "/no/such/pid")])
    def test_the_message_names_the_file_and_the_line(self, folder, key, value, args):
        lines = ["[application]", "wsgi = " + APP, "[python]", "path = " + APPS, "[server]",
                 "listen = unix:" + os.path.join(folder, "sock"), "; a comment", "%s = %s" % (key, value), ""]
        path = write_file(os.path.join(folder, "x.ini"), "\n".join(lines))
        done = run(*args, "-c", path)
        said = ('%s:8: [server] %s "%s": ' % (path, key, value)).encode()
        assert said in done.stderr and done.returncode in (1, 3)
        over = run(*args, "-c", path, "--set", "server.%s=%s" % (key, value + "-2"))
        assert b"x.ini:8" not in over.stderr and over.returncode in (1, 2, 3)

    def test_it_is_done_as_the_user(self, folder):
        write_file(os.path.join(folder, "root", "private_app.py"), "application = print\n")
        settings = ["--set", "python.path=" + os.path.join(folder, "root"), "--set", "server.user=" + USER,
                    "--set", "application.wsgi=private_app:application", "--set", "server.listen=unix:/tmp/x"]
        assert run("--check", *settings).returncode == 4
