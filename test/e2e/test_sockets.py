"""Every way to get a listening socket, and who may connect to it."""
import os
import pwd
import socket
import stat
import sys

import pytest

import fastcgi
import process
import scgi
from conftest import HELLO, one_line
from host import (APPS, PROGRAM, Host, LogFile, run, sanitizer_environ, sanitizer_reports,
                  write_file)

# What systemd does between fork and exec: the sockets become descriptors 3, 4 and so on.
ACTIVATE = """
import fcntl, os, sys
numbers = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1].split(",")]
for target, number in enumerate(numbers, 3):
    os.dup2(number, target)
    os.close(number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(numbers)))
os.execv(sys.argv[2], sys.argv[2:])
"""


class TestUnixSocket:
    def test_its_mode(self, folder):
        assert stat.S_IMODE(os.stat(Host().address).st_mode) == 0o600
        host = Host(settings={"server": {"socket_mode": "0660"}})
        assert stat.S_IMODE(os.stat(host.address).st_mode) == 0o660

    def test_the_umask_does_not_change_it(self):
        before = os.umask(0o077)
        try:
            host = Host(settings={"server": {"socket_mode": "0666"}})
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat(host.address).st_mode) == 0o666

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_its_owner(self):
        host = Host(settings={"server": {"socket_owner": "www-data", "socket_group": "www-data"}})
        found = os.stat(host.address)
        assert (found.st_uid, found.st_gid) == tuple(pwd.getpwnam("www-data")[2:4])

    def test_a_stale_file_is_replaced(self, folder):
        path = str(folder / "x.sock")
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
            stale.listen()
        host = Host(listen=["unix:" + path])
        assert host.exchange("GET", "/ready").text == "ready"

    def test_a_live_one_is_refused(self, folder):
        first = Host()
        done = run("--listen", "unix:" + first.address, "hello:application", cwd=folder)
        assert done.returncode in (1, 3)
        one_line(done, first.address)
        assert first.exchange("GET", "/ready").text == "ready"

    def test_a_file_that_is_no_socket_is_refused(self, folder):
        write_file(folder / "precious", "text")
        done = run("--listen", "unix:%s" % (folder / "precious"), "hello:application", cwd=folder)
        assert done.returncode in (1, 3)
        one_line(done, "precious")
        assert (folder / "precious").read_text() == "text"

    def test_only_our_own_file_is_removed(self, folder):
        path = str(folder / "x.sock")
        first = Host(listen=["unix:" + path])
        os.rename(path, path + ".moved")
        second = Host(listen=["unix:" + path])
        first.socket_files = []
        assert first.stop() == []
        first.clean_up()
        assert second.exchange("GET", "/ready").text == "ready"
        os.unlink(path + ".moved")

    def test_a_missing_folder_is_said(self, folder):
        done = run("--listen", "unix:%s/none/x.sock" % folder, "hello:application", cwd=folder)
        assert done.returncode in (1, 3)
        one_line(done, "none/x.sock")

    def test_a_path_that_is_too_long_is_said(self, folder):
        done = run("--listen", "unix:/tmp/" + "x" * 200, "hello:application", cwd=folder)
        assert done.returncode in (1, 2, 3)
        one_line(done, "xxx")


class TestTcp:
    def test_version_4(self):
        port = process.free_port()
        host = Host(listen=["127.0.0.1:%d" % port])
        assert host.exchange("GET", "/ready").text == "ready"
        assert scgi.exchange(host.address, "GET", "/ready").text == "ready"

    def test_version_6(self):
        try:
            port = process.free_port(socket.AF_INET6)
        except OSError:
            pytest.skip("this machine has no IPv6 loopback address")
        host = Host(listen=["[::1]:%d" % port])
        assert host.exchange("GET", "/ready").text == "ready"

    def test_a_port_in_use_is_said(self, folder):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            name = "127.0.0.1:%d" % taken.getsockname()[1]
            done = run("--listen", name, "hello:application", cwd=folder)
        assert done.returncode in (1, 3)
        one_line(done, name)

    def test_a_peer_that_is_not_allowed_is_closed_and_one_line_says_so(self, folder):
        port = process.free_port()
        unix = "unix:%s/x.sock" % folder
        host = Host(listen=[unix, "127.0.0.1:%d" % port],
                    settings={"server": {"allow": ["192.0.2.0/24", "::1"]}})
        mark = host.log.mark()
        with fastcgi.Connection(("127.0.0.1", port)) as connection:
            try:
                connection.send(fastcgi.request_bytes("GET", "/ready"))
            except OSError:
                pass
            assert connection.receive_all() == b""
        host.log.wait(r"127\.0\.0\.1", mark)
        assert host.exchange("GET", "/ready").text == "ready"

    def test_a_peer_in_an_allowed_block_is_served(self):
        port = process.free_port()
        host = Host(listen=["127.0.0.1:%d" % port],
                    settings={"server": {"allow": ["192.0.2.1", "127.0.0.0/8"]}})
        assert host.exchange("GET", "/ready").text == "ready"

    def test_it_can_be_started_again_at_once(self):
        port = process.free_port()
        for _ in range(3):
            host = Host(listen=["127.0.0.1:%d" % port])
            kept = fastcgi.Connection(host.address)
            assert kept.exchange("GET", "/ready").text == "ready"
            assert host.stop() == []
            host.clean_up()


class TestInheritedSockets:
    def listening(self, folder, name="x.sock"):
        found = socket.socket(socket.AF_UNIX)
        found.bind(str(folder / name))
        found.listen()
        return found

    def settings(self):
        return ["--set", "python.path=" + APPS, "--set", "python.bytecode=no",
                "wsgi_app:application"]

    def test_fd_0(self, folder):
        with self.listening(folder) as stdin:
            host = Host(use_ini=False, listen=["unix:%s/x.sock" % folder], args=self.settings(),
                        stdin=stdin)
            host.socket_files = []
            for module in (fastcgi, scgi):
                assert module.exchange(host.address, "GET", "/ready").text == "ready"
            assert host.stop() == []
            assert (folder / "x.sock").exists(), "it removed a socket file that it did not make"
            host.clean_up()

    def test_fd_0_over_tcp(self, folder):
        with socket.socket() as stdin:
            stdin.bind(("127.0.0.1", 0))
            stdin.listen()
            host = Host(use_ini=False, listen=["127.0.0.1:%d" % stdin.getsockname()[1]],
                        args=self.settings(), stdin=stdin)
            assert host.exchange("GET", "/ready").text == "ready"

    def test_fd_0_loses_nothing_when_the_host_is_replaced(self, folder):
        """The socket's other owner goes on when the host has gone: nothing in its queue is lost."""
        with self.listening(folder) as stdin:
            host = Host(use_ini=False, listen=["unix:%s/x.sock" % folder], args=self.settings(),
                        stdin=stdin)
            host.socket_files = []
            assert host.exchange("GET", "/ready").text == "ready"
            assert host.stop() == []
            host.clean_up()
            with fastcgi.Connection(str(folder / "x.sock")) as late:
                late.send(fastcgi.request_bytes("GET", "/ready", keep=False))
                host = Host(use_ini=False, listen=["unix:%s/x.sock" % folder], args=self.settings(),
                            stdin=stdin)
                host.socket_files = []
                assert late.read_response().text == "ready"

    def test_a_descriptor_by_its_number(self, folder):
        with self.listening(folder) as inherited:
            number = inherited.fileno()
            host = Host(use_ini=False, listen=["unix:%s/x.sock" % folder], pass_fds=[number],
                        args=["--listen", "fd:%d" % number] + self.settings())
            host.socket_files = []
            assert host.exchange("GET", "/ready").text == "ready"

    def test_a_descriptor_that_is_no_socket_is_said(self, folder):
        done = run("--listen", "fd:0", "hello:application", cwd=folder)
        assert done.returncode in (1, 3)
        one_line(done, "fd:0")

    def start_by_systemd(self, folder, sockets, *args):
        """The sockets become descriptors 3, 4 …; LISTEN_PID is the host's own."""
        numbers = [item.fileno() for item in sockets]
        command = [sys.executable, "-c", ACTIVATE, ",".join(map(str, numbers)), PROGRAM, *args]
        log = LogFile(str(folder / "systemd.log"))
        with open(log.path, "wb") as output:
            popen = process.start(command, pass_fds=numbers, stdout=output, stderr=output,
                                  cwd=str(folder),
                                  env=dict(os.environ, **sanitizer_environ(str(folder))))
        return log, popen

    def test_systemd_activation(self, folder):
        with self.listening(folder, "a.sock") as a, self.listening(folder, "b.sock") as b:
            log, popen = self.start_by_systemd(folder, [a, b], *self.settings())
            try:
                for name in ("a.sock", "b.sock"):
                    assert fastcgi.exchange(str(folder / name), "GET", "/ready").text == "ready"
                found = fastcgi.exchange(str(folder / "a.sock"), "GET", "/os-environ").json
                assert not {"LISTEN_PID", "LISTEN_FDS"} & set(found)
            finally:
                assert process.stop(popen) == 0, log.read()
        assert not sanitizer_reports(str(folder))
        assert (folder / "a.sock").exists()

    def test_activation_that_is_meant_for_another_process_is_ignored(self, folder):
        done = run("hello:application", cwd=folder, environ={"LISTEN_PID": "1", "LISTEN_FDS": "1"})
        assert done.returncode in (2, 3)
        one_line(done, "listen")


class TestSeveralListeners:
    def test_all_are_served(self, folder):
        port = process.free_port()
        listen = ["unix:%s/a.sock" % folder, "unix:%s/b.sock" % folder, "127.0.0.1:%d" % port]
        Host(listen=listen)
        for address in (str(folder / "a.sock"), str(folder / "b.sock"), ("127.0.0.1", port)):
            for module in (fastcgi, scgi):
                assert module.exchange(address, "GET", "/ready").text == "ready"

    def test_by_flags(self, folder):
        write_file(folder / "hello.py", HELLO)
        listen = ["unix:%s/a.sock" % folder, "unix:%s/b.sock" % folder]
        host = Host(use_ini=False, listen=listen, cwd=str(folder),
                    args=["-l", listen[0], "--listen", listen[1], "hello:application"])
        for name in ("a.sock", "b.sock"):
            assert fastcgi.exchange(str(folder / name), "GET", "/").text == "hello from hello"
        assert host.is_running()

    def test_if_one_cannot_be_had_none_is_left_behind(self, folder):
        done = run("-l", "unix:%s/a.sock" % folder, "-l", "unix:%s/none/b.sock" % folder,
                   "hello:application", cwd=folder)
        assert done.returncode in (1, 3)
        one_line(done, "none/b.sock")
        assert not (folder / "a.sock").exists()

    def test_if_that_of_the_status_cannot_be_had_none_is_left_behind(self, folder):
        done = run("-l", "unix:%s/a.sock" % folder, "--set", "status.listen=unix:%s/none/b.sock" % folder,
                   "hello:application", cwd=folder)
        assert done.returncode == 1
        one_line(done, "none/b.sock")
        assert not (folder / "a.sock").exists()


@pytest.mark.parametrize("manager", ["no", "yes"])
def test_a_socket_file_that_is_removed_is_told_of_and_open_connections_go_on(manager):
    host = Host(settings={"server": {"manager": manager}}, probe=manager == "no")
    with fastcgi.Connection(host.address) as connection:
        assert connection.exchange("GET", "/ready", keep=True).text == "ready"
        os.unlink(host.address)
        host.log.wait(r"error: unix:\S+: its file was removed, moved, or replaced by another one")
        assert connection.exchange("GET", "/ready", keep=True).text == "ready"
