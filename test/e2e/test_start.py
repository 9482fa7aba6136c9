"""The command line, errors of the configuration, and what Python and the application find."""
import os
import re
import signal
import subprocess

import pytest

import fastcgi
import process
from conftest import HELLO, one_line
from host import (APPS, PROGRAM, PYTHON, Host, ini_text, merged, run, sanitizer_environ,
                  sanitizer_reports, write_file)
from message import parse_cgi
from process import deadline, wait_until


def ini(folder, settings, name="fcgihost.ini"):
    return write_file(str(folder / name), ini_text(settings))


def cgi(done):
    return parse_cgi(done.stdout)


def answers(address):
    try:
        fastcgi.Connection(address).close()
        return True
    except OSError:
        return False


class TestUsage:
    @pytest.mark.parametrize("flag", ["--version", "-V"])
    def test_version_names_what_it_runs_with(self, flag):
        done = run(flag)
        text = done.stdout.decode()
        assert done.returncode == 0 and re.match(r"fcgihost \d+\.\d+", text)
        assert re.search(r"Python 3\.\d+", text) and "libfcgi" in text and "inih" in text

    @pytest.mark.parametrize("flag", ["--help", "-h"])
    def test_help_shows_flags_and_keys(self, flag):
        done = run(flag)
        text = done.stdout.decode()
        assert done.returncode == 0 and not done.stderr
        for word in ("--config", "--listen", "--threads", "--set", "--check", "--call", "--method",
                     "--data", "--header",
                     "--version", "APP"):
            assert word in text

    @pytest.mark.parametrize("args", [
        ["--no-such-flag"], ["-Z"], ["--config"], ["--listen"], ["--threads", "none"],
        ["--threads", "0"],
        ["-t", "-1"], ["hello:application", "another:application"], ["--set"],
        ["--set", "threads=2"],
        ["--set", "server.threads"], ["--set", "server.no_such_key=1"],
        ["--set", "nowhere.threads=1"],
        ["--set", "server.threads=many"], ["--set", "server.threads=0"],
        ["--set", "limits.io_timeout=5 parsecs"],
        ["--set", "log.level=loud"], ["--set", "python.bytecode=perhaps"], ["--call"]],
        ids=" ".join)
    def test_wrong_usage_is_2(self, folder, args):
        done = run(*args, cwd=folder)
        assert done.returncode == 2 and done.stderr and b"Traceback" not in done.stderr

    def test_a_wrong_value_is_named(self, folder):
        one_line(run("--set", "server.threads=many", "hello:application", cwd=folder), "threads",
                 "many")
        one_line(run("--set", "server.no_such_key=1", "hello:application", cwd=folder),
                 "no_such_key")

    def test_no_application_is_said(self, folder):
        done = run(cwd=folder)
        assert done.returncode in (2, 3)
        one_line(done, "application")

    def test_no_socket_is_said(self, folder):
        done = run("hello:application", cwd=folder)
        assert done.returncode in (2, 3)
        one_line(done, "listen")


class TestConfigurationFile:
    @pytest.mark.parametrize("text, line, words", [
        ("[server]\nthreads = many\n", 2, ["[server]", "threads", "many"]),
        ("[server]\n\n\nthreads = 0\n", 4, ["[server]", "threads"]),
        ("[server]\nthreds = 2\n", 2, ["threds"]),
        ("[sever]\nthreads = 2\n", 1, ["sever"]),
        ("[server]\nthreads = 2\nthreads = 3\n", 3, ["threads"]),
        ("[server]\nthreads = 2\n[log]\nlevel = info\n[server]\nbacklog = 5\n", 5, ["server"]),
        ("[server]\nthreads\n", 2, []),
        ("threads = 2\n", 1, []),
        ("[server\nthreads = 2\n", 1, []),
        ("[server]\nthreads = 2 # " + "x" * 100000 + "\n", 2, []),
        ("[server]\nlisten = nowhere\n", 2, ["listen", "nowhere"]),
        ("[server]\nallow = 1.2.3.4/99\n", 2, ["allow", "1.2.3.4/99"]),
        ("[server]\nsocket_mode = 9999\n", 2, ["socket_mode"]),
        ("[limits]\nio_timeout = soon\n", 2, ["io_timeout", "soon"]),
        ("[limits]\nrequest_head = 64Q\n", 2, ["request_head", "64Q"]),
        ("[log]\nlevel = loud\n", 2, ["level", "loud"]),
        ("[log]\nshow_errors = perhaps\n", 2, ["show_errors", "perhaps"]),
        ("[server]\nprotocol = gopher\n", 2, ["protocol", "gopher"]),
    ], ids=lambda value: value[:40].replace("\n", "|") if isinstance(value, str) else "")
    def test_an_error_is_one_line_with_its_place_and_3(self, folder, text, line, words):
        path = write_file(folder / "bad.ini", text)
        for arguments in (["-c", str(path)], ["-c", str(path), "--check"]):
            done = run(*arguments, cwd=folder)
            assert done.returncode == 3, done
            one_line(done, "bad.ini:%d:" % line, *words)

    def test_a_missing_file_is_3(self, folder):
        done = run("-c", "missing.ini", cwd=folder)
        assert done.returncode == 3
        one_line(done, "missing.ini")

    def test_a_folder_instead_of_a_file_is_3(self, folder):
        done = run("-c", str(folder), cwd=folder)
        assert done.returncode == 3
        one_line(done, str(folder))

    def test_two_applications_are_3(self, folder):
        ini(folder, {"application": {"wsgi": "hello:application", "script": "hello.py"}})
        done = run("--check", cwd=folder)
        assert done.returncode == 3
        one_line(done, "wsgi", "script")

    def test_the_file_of_the_current_folder_is_read(self, folder):
        ini(folder, {"python": {"path": "."}, "application": {"wsgi": "hello:application"}})
        done = run("--call", "/", cwd=folder)
        assert cgi(done).text == "hello from hello"

    def test_a_flag_wins_over_the_file(self, folder):
        path = ini(folder, {"server": {"threads": "1"}, "python": {"path": "."},
                            "application": {"wsgi": "missing:application"}})
        done = run("-c", path, "--set", "application.wsgi=hello:application", "--call", "/",
                   cwd=folder)
        assert cgi(done).text == "hello from hello"

    def test_relative_paths_are_relative_to_the_file(self, folder):
        (folder / "etc").mkdir()
        (folder / "etc" / "lib").mkdir()
        write_file(folder / "etc" / "lib" / "inside.py", HELLO)
        write_file(folder / "etc" / "script.wsgi", HELLO)
        path = ini(folder / "etc", {"python": {"path": "lib"},
                                    "application": {"wsgi": "inside:application"}})
        assert cgi(run("-c", path, "--call", "/", cwd="/")).text == "hello from inside"
        path = ini(folder / "etc", {"application": {"script": "script.wsgi"}})
        assert cgi(run("-c", path, "--call", "/", cwd="/")).status == 200

    def test_a_relative_socket_and_log_file_are_relative_to_the_file(self, folder):
        (folder / "run").mkdir()
        path = ini(folder, {"server": {"listen": "unix:run/x.sock", "pid_file": "run/pid"},
                            "python": {"path": "."},
                            "application": {"wsgi": "hello:application"},
                            "log": {"destination": "run/log"}})
        listen = ["unix:%s/run/x.sock" % folder]
        host = Host(args=["-c", path], use_ini=False, listen=listen, cwd="/")
        assert host.exchange("GET", "/").text == "hello from hello"
        assert (folder / "run" / "log").exists()
        assert int((folder / "run" / "pid").read_text()) == host.pid
        assert host.stop() == []
        assert not (folder / "run" / "pid").exists()
        host.clean_up()


class TestCheck:
    def test_a_good_configuration_is_0_and_says_what_was_found(self, folder):
        path = ini(folder, {"python": {"path": "."}, "application": {"wsgi": "hello:application"},
                            "server": {"listen": "unix:never.sock"}})
        done = run("-c", path, "--check", cwd="/")
        assert done.returncode == 0, done
        for word in (b"fcgihost.ini", b"hello", b"never.sock"):
            assert word in done.stdout
        assert not (folder / "never.sock").exists()

    @pytest.mark.parametrize("application, text", [
        ("missing:application", "missing"), ("hello:missing", "missing"),
        ("broken:application", "announced"),
        ("hello:__name__", "callable")])
    def test_an_application_that_cannot_be_loaded_is_4(self, folder, application, text):
        write_file(folder / "broken.py", "raise ValueError('announced')\n")
        done = run("--check", application, cwd=folder)
        assert done.returncode == 4, done
        assert text in done.stderr.decode() + done.stdout.decode()

    def test_a_script_that_cannot_be_loaded_is_4(self, folder):
        write_file(folder / "broken.py", "def application(:\n")
        done = run("--check", "./broken.py", cwd=folder)
        assert done.returncode == 4
        assert "broken.py" in done.stderr.decode() and "SyntaxError" in done.stderr.decode()

    @pytest.mark.parametrize("source, answer", [
        (b"# coding: latin-1\ntext = '\xe9'\n", "'\\xe9'"),
        (b"\xef\xbb\xbftext = '\xc3\xa9'\n", "'\\xe9'"),
        (b"from __future__ import annotations\ndef text(x: missing): pass\n", "<function text"),
        (b"text = 1\x00", "null bytes"), (b"def text(:\r\n", "SyntaxError")])
    def test_a_script_s_source_is_read_as_python_reads_it(self, folder, source, answer):
        (folder / "app.py").write_bytes(source + b"\ndef application(environ, start_response):\n"
                                        b"    start_response('200 OK', [])\n"
                                        b"    return [ascii(text).encode()]\n")
        done = run("--call", "/", "./app.py", cwd=folder)
        assert answer in done.stdout.decode() + done.stderr.decode()

    def test_a_script_whose_name_is_no_utf8(self, folder, expected_log):
        name = "caf\udce9.py"
        write_file(folder / name, HELLO)
        done = run("--call", "/", "./" + name, cwd=folder)
        assert done.returncode == 0 and cgi(done).text.startswith("hello from")
        done = run("--check", "./" + name, cwd=folder)
        assert done.returncode == 0 and b"caf\xe9.py (function " in done.stdout, done
        write_file(folder / name, "raise ValueError('announced')\n")
        done = run("--call", "/", "./" + name, cwd=folder)
        assert b"caf\\udce9.py\", line 1" in done.stderr and b"ValueError: announced" in done.stderr

    def test_a_missing_script_is_4_or_3(self, folder):
        done = run("--check", "./missing.py", cwd=folder)
        assert done.returncode in (3, 4)
        assert "missing.py" in done.stderr.decode()


    def test_all_problems_of_the_file_are_listed(self, folder):
        write_file(folder / "fcgihost.ini", "[server]\nthreads = many\nlissten = x\n[nonsense]\nfoo = bar\n"
                   "[startup]\nrequire = perhaps\n[application]\nwsgi = \"hello:application\"\n")
        done = run("--check", cwd=folder)
        assert done.returncode == 3
        lines = done.stderr.decode().splitlines()
        assert [re.match(r"fcgihost: fcgihost.ini:(\d+): ", line).group(1) for line in lines] == list("23479")
        assert "in quotes" in lines[-1]

    def test_what_is_not_there_is_listed_before_anything_is_loaded(self, folder):
        write_file(folder / "fcgihost.ini", "[application]\nscript = nowhere.wsgi\n[server]\nsocket_owner = no one\n"
                   "directory = nowhere\nlisten = unix:nowhere/x.sock\npid_file = nowhere/pid\n"
                   "[log]\ndestination = nowhere/log\n[startup]\nimport = hello\n")
        done = run("--check", cwd=folder)
        text = done.stderr.decode()
        assert (done.returncode, len(text.splitlines())) == (3, 6), text
        for key in "script", "socket_owner", "directory", "listen", "pid_file", "destination":
            assert key in text

    def test_a_missing_listen_is_only_mentioned(self, folder):
        done = run("--check", "hello:application", cwd=folder)
        assert done.returncode == 0 and b"listen: not set" in done.stdout


class TestScriptFile:
    def test_that_is_not_there_is_an_error_and_no_failure_that_could_heal(self, folder):
        for key, value in ("script", "nowhere.wsgi"), ("script_root", "nowhere"), ("script", "."):
            done = run("--listen", "unix:x.sock", "--set", "application.%s=%s" % (key, value), cwd=folder)
            assert done.returncode == 2
            one_line(done, key, value)


class TestCall:
    def test_get(self, folder):
        done = run("--call", "/a%20b?show-environ&x=1", "wsgi_app:application", cwd=APPS)
        response = cgi(done)
        assert done.returncode == 0 and response.status == 200
        assert response.json["PATH_INFO"] == "/a b"
        assert response.json["QUERY_STRING"] == "show-environ&x=1"
        assert response.json["REQUEST_METHOD"] == "GET"

    def test_post_with_data(self, folder):
        write_file(folder / "data", "some data")
        done = run("--call", "/echo-body", "--method", "POST", "--data", str(folder / "data"),
                   "wsgi_app:application", cwd=APPS)
        assert done.returncode == 0 and cgi(done).text == "some data"

    def test_a_body_that_is_cut_short_is_400_and_the_application_is_not_called(self):
        done = run("--call", "/error", "--header", "Content-Length: 5", "wsgi_app:application", cwd=APPS)
        assert cgi(done).status == 400 and b"400: its body was cut short" in done.stderr

    def test_a_body_from_a_pipe_has_its_length(self):
        done = run("--call", "/environ", "--method", "POST", "--data", "-", "wsgi_app:application", cwd=APPS,
                   input=b"x" * 200000)
        assert cgi(done).json["CONTENT_LENGTH"] == "200000"

    def test_header(self):
        done = run("--call", "/environ", "--header", "X-Token: of one", "--header",
                   "Content-Type: text/x",
                   "wsgi_app:application", cwd=APPS)
        found = cgi(done).json
        assert (found["HTTP_X_TOKEN"], found["CONTENT_TYPE"]) == ("of one", "text/x")

    @pytest.mark.parametrize("code, status",
                             [("200", 0), ("404", 0), ("499", 0), ("500", 1), ("503", 1)])
    def test_the_exit_code_says_whether_the_status_was_below_500(self, code, status):
        done = run("--call", "/status?code=" + code, "wsgi_app:application", cwd=APPS)
        assert (cgi(done).status, done.returncode) == (int(code), status)

    def test_a_failing_application_is_1_and_its_traceback_is_on_stderr(self):
        done = run("--call", "/error", "wsgi_app:application", cwd=APPS)
        assert done.returncode == 1 and cgi(done).status == 500
        assert b"announced failure" in done.stderr and b"announced failure" not in done.stdout

    def test_a_large_answer(self):
        done = run("--call", "/download", "wsgi_app:application", cwd=APPS)
        assert len(cgi(done).body) == 20 * 1024 * 1024

    def test_missing_data_is_said(self, folder):
        done = run("--call", "/", "--data", "missing.data", "hello:application", cwd=folder)
        assert done.returncode in (1, 2) and b"missing.data" in done.stderr

    def test_no_socket_is_touched(self, folder):
        path = ini(folder, {"python": {"path": "."}, "application": {"wsgi": "hello:application"},
                            "server": {"listen": "unix:never.sock"}})
        assert cgi(run("-c", path, "--call", "/")).status == 200
        assert not (folder / "never.sock").exists()


class TestPlainCgi:
    ENVIRON = {"GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "POST",
               "SCRIPT_NAME": "/cgi-bin/x", "PATH_INFO": "/echo-body",
               "QUERY_STRING": "a=1", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
               "SERVER_PROTOCOL": "HTTP/1.1"}

    def test_one_request_is_served_on_stdin_and_stdout(self):
        done = run("wsgi_app:application", cwd=APPS, input=b"by a pipe",
                   environ=dict(self.ENVIRON, CONTENT_LENGTH="9"))
        assert done.returncode == 0, done
        assert (cgi(done).status, cgi(done).text) == (200, "by a pipe")

    def test_the_environ(self):
        done = run("wsgi_app:application", cwd=APPS,
                   environ=dict(self.ENVIRON, PATH_INFO="/environ", REQUEST_METHOD="GET"))
        found = cgi(done).json
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/cgi-bin/x", "/environ")
        assert found["QUERY_STRING"] == "a=1"
        assert found["wsgi.run_once"] is True

    def serve(self, body, *settings, **variables):
        return run(*(part for setting in settings for part in ("--set", setting)), "wsgi_app:application", cwd=APPS,
                   input=body, environ=dict(self.ENVIRON, **variables))

    def test_a_body_that_is_cut_short_is_400_and_the_application_is_not_called(self):
        done = self.serve(b"by a", PATH_INFO="/error", CONTENT_LENGTH="9")
        assert (cgi(done).status, done.returncode) == (400, 0)
        assert b"400: its body was cut short" in done.stderr and b"announced" not in done.stderr

    def test_with_stream_the_application_gets_what_has_come_and_an_oserror(self):
        done = self.serve(b"by a", "application.stream=yes", CONTENT_LENGTH="9")
        assert cgi(done).status == 500
        assert b"ConnectionAbortedError" in done.stderr and b"400: its body" not in done.stderr

    def test_a_length_beyond_request_body_is_refused_before_the_body_comes(self):
        done = self.serve(b"", "limits.request_body=8", CONTENT_LENGTH="9")
        assert (cgi(done).status, done.returncode) == (413, 0)

    def test_a_chunked_body_is_what_comes_and_has_its_length(self):
        assert cgi(self.serve(b"by a pipe", HTTP_TRANSFER_ENCODING="chunked")).text == "by a pipe"
        assert cgi(self.serve(b"no body at all")).text == ""


class TestPython:
    def test_the_package_comes_from_beside_the_program(self):
        found = Host().exchange("GET", "/sys").json
        assert os.path.isdir(os.path.dirname(found["fcgihost"]))
        assert os.path.basename(os.path.dirname(found["fcgihost"])) == "fcgihost"
        assert os.path.basename(found["fcgihost"]).startswith("__init__.py")

    def test_path_comes_first_in_its_order(self, folder):
        (folder / "one").mkdir()
        (folder / "two").mkdir()
        settings = {"python": {"path": [str(folder / "one"), str(folder / "two"), APPS]}}
        found = Host(settings=settings).exchange("GET", "/sys").json
        assert found["path"][:3] == [str(folder / "one"), str(folder / "two"), APPS]

    def test_with_app_the_current_folder_comes_first(self, folder):
        write_file(folder / "wsgiref.py", HELLO)  # even before the standard library
        for app in ("hello", "wsgiref"):
            assert cgi(run("--call", "/", app + ":application",
                           cwd=folder)).text == "hello from " + app

    def test_without_app_the_current_folder_is_not_on_the_path(self, folder):
        path = ini(folder, {"application": {"wsgi": "hello:application"}})
        done = run("-c", path, "--check", cwd=folder)
        assert done.returncode == 4 and b"hello" in done.stderr

    @pytest.mark.parametrize("value, expected", [("yes", True), ("no", False)])
    def test_bytecode(self, folder, value, expected):
        path = ini(folder, {"python": {"path": ".", "bytecode": value},
                            "application": {"wsgi": "hello:application"}})
        assert run("-c", path, "--check").returncode == 0
        assert (folder / "__pycache__").exists() == expected

    def test_switch_interval(self):
        found = Host(settings={"python": {"switch_interval": "50ms"}}).exchange("GET", "/sys").json
        assert abs(found["switch_interval"] - 0.05) < 1e-9

    def test_the_environment_does_not_change_the_path(self, folder):
        (folder / "evil").mkdir()
        write_file(folder / "evil" / "wsgiref.py", "raise SystemError('PYTHONPATH was honoured')\n")
        host = Host(environ={"PYTHONPATH": str(folder / "evil"), "PYTHONHOME": "/nonexistent"})
        assert host.exchange("GET", "/ready").text == "ready"

    def test_application_code_runs_in_threads_and_not_on_the_main_one(self):
        assert Host().exchange("GET", "/sys").json["thread"] is False


class TestVirtualEnvironment:
    @pytest.fixture
    def home(self, folder):
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(folder / "venv")], check=True,
                       timeout=deadline(60), stdin=subprocess.DEVNULL)
        packages = subprocess.run([str(folder / "venv/bin/python3"), "-c",
                                   "import sysconfig; print(sysconfig.get_path('purelib'))"],
                                  stdout=subprocess.PIPE, check=True,
                                  timeout=deadline(60)).stdout.decode().strip()
        write_file(os.path.join(packages, "of_the_venv.py"), HELLO)
        return folder / "venv"

    def test_its_packages_can_be_imported(self, folder, home):
        path = ini(folder, {"python": {"home": "venv", "bytecode": "no"},
                            "application": {"wsgi": "of_the_venv:application"}})
        done = run("-c", path, "--call", "/", cwd="/")
        assert done.returncode == 0 and cgi(done).text == "hello from of_the_venv", done

    def test_the_host_imports_none_of_the_modules_that_take_long(self, folder, home):
        """Each of them takes longer than all of the host's own, and many applications need none."""
        slow = {"re", "enum", "collections", "functools", "contextlib", "glob", "traceback", "inspect", "logging"}
        show = "' '.join(sorted(%r.intersection(sys.modules)))" % slow
        alone = subprocess.run([str(home / "bin/python3"), "-c", "import sys; print(%s)" % show], check=True,
                               stdout=subprocess.PIPE, timeout=deadline(60)).stdout.decode().split()
        write_file(str(folder / "shows.py"), """import sys
SHOWN = %s.encode()
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [SHOWN]
""" % show)
        done = run("--call", "/", "--set", "python.home=venv", "shows.py", cwd=str(folder))
        assert done.returncode == 0 and set(cgi(done).text.split()) <= set(alone), done

    def test_sys_prefix_is_it(self, home):
        found = Host(settings={"python": {"home": str(home)}}).exchange("GET", "/sys").json
        assert found["prefix"] == str(home) and found["executable"].startswith(str(home) + "/bin/")

    def test_a_folder_that_is_none_is_a_clear_error(self, folder):
        for name in ("missing", "."):
            path = ini(folder, {"python": {"home": name},
                                "application": {"wsgi": "hello:application"}})
            for arguments in (["--check"], ["--call", "/"]):
                done = run("-c", path, *arguments, cwd="/")
                assert done.returncode == 3, done
                one_line(done, "fcgihost.ini:2: [python] home")

    @pytest.fixture
    def other_build(self, folder):
        """The folder of the program of a Python of the same version, with a library of its own."""
        version = subprocess.run([PYTHON, "-c", "import sys; print('python%d.%d' % sys.version_info[:2])"],
                                 stdout=subprocess.PIPE, check=True).stdout.decode().strip()
        (folder / "other/bin").mkdir(parents=True)
        (folder / "other/lib" / version).mkdir(parents=True)
        (folder / "other/lib" / version / "os.py").touch()
        return folder / "other/bin"

    def check(self, folder, home, made_with):
        """--check of the environment, as if it had been made with the program in that folder."""
        text = (home / "pyvenv.cfg").read_text()
        (home / "pyvenv.cfg").write_text(re.sub(r"(?m)^home.*$", "home = %s" % made_with, text))
        path = ini(folder, {"python": {"home": "venv"}, "application": {"wsgi": "hello:application"}})
        return run("-c", path, "--set", "python.path=%s" % folder, "--check", cwd="/")

    def test_one_of_another_build_of_the_same_version_is_a_clear_error(self, folder, home, other_build):
        done = self.check(folder, home, other_build)
        assert done.returncode == 3, done
        one_line(done, "home", "Python 3.", " in %s," % other_build, "but this program runs the 3.")

    @pytest.mark.parametrize("way", ["a link", "/bin", "another environment", "/usr/local", "nothing"])
    def test_many_ways_lead_to_the_same_python(self, folder, home, way):
        program = subprocess.run([PYTHON, "-c", "import sys; print(sys.base_exec_prefix + '/bin')"],
                                 stdout=subprocess.PIPE, check=True).stdout.decode().strip()
        os.symlink(program, folder / "link")
        ways = {"a link": folder / "link", "/bin": "/bin" if program == "/usr/bin" else program,
                "another environment": home / "bin", "nothing": folder / "missing/bin",
                "/usr/local": "/usr/local/bin" if program == "/usr/bin" else program}
        done = self.check(folder, home, ways[way])
        assert done.returncode == 0, done

    def test_one_of_another_python_is_a_clear_error(self, folder, home):
        text = (home / "pyvenv.cfg").read_text()
        changed = re.sub(r"(?m)^version.*$", "version = 2.7.18", text)
        (home / "pyvenv.cfg").write_text(changed)
        for name in os.listdir(home / "lib"):
            os.rename(home / "lib" / name, home / "lib" / "python2.7")
        path = ini(folder, {"python": {"home": "venv"},
                            "application": {"wsgi": "hello:application"}})
        done = run("-c", path, "--check", cwd="/")
        assert done.returncode == 3, done
        one_line(done, "fcgihost.ini:2: [python] home", "2.7")


class TestApplication:
    def test_a_script_as_app(self, folder):
        write_file(folder / "site.wsgi", HELLO)
        for app in ("site.wsgi", "./site.wsgi", str(folder / "site.wsgi"), "./hello.py"):
            done = run("--call", "/", app, cwd=folder)
            assert done.returncode == 0 and cgi(done).text.startswith("hello from"), app

    def test_a_script_and_the_name_of_its_callable(self, folder):
        write_file(folder / "site.wsgi", HELLO.replace("def application", "def other"))
        path = ini(folder, {"application": {"script": "site.wsgi", "callable": "other"}})
        assert cgi(run("-c", path, "--call", "/")).status == 200
        path = ini(folder, {"application": {"script": "site.wsgi"}})
        assert run("-c", path, "--check").returncode == 4

    def test_an_attribute_of_an_object_is_a_callable_too(self, folder):
        more = "\nclass Holder:\n    app = staticmethod(application)\n"
        write_file(folder / "nested.py", HELLO + more)
        done = run("--call", "/", "nested:Holder.app", cwd=folder)
        assert cgi(done).text == "hello from nested"

    @pytest.mark.parametrize("mount, path, expected", [
        ("/app", "/app/x?show-environ", ("/app", "/x")),
        ("/app", "/app?show-environ", ("/app", "")),
        ("/app/", "/app/x?show-environ", ("/app", "/x")),
        ("/", "/app/x?show-environ", ("", "/app/x")),
        (None, "/app/x?show-environ", ("", "/app/x"))])
    def test_mount(self, folder, mount, path, expected):
        """The front sent the whole path as SCRIPT_NAME, as Apache's mod_proxy_fcgi does."""
        host = Host(settings={"application": {"mount": mount}})
        raw = path.partition("?")[0]
        found = host.exchange("GET", path,
                              extra={"SCRIPT_NAME": raw, "PATH_INFO": None, "REQUEST_URI": path,
                                                  "DOCUMENT_URI": None}).json
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == expected

    @pytest.mark.parametrize("path", ["/application", "/other", "/"])
    def test_what_is_not_below_the_mount_is_404(self, path):
        host = Host(settings={"application": {"mount": "/app"}})
        host.log.wait("loaded at attempt 1")  # 404 comes without it
        response = host.exchange("GET", path,
                                 extra={"SCRIPT_NAME": path, "PATH_INFO": None, "REQUEST_URI": path,
                                                     "DOCUMENT_URI": None})
        assert response.status == 404 and "no route" not in response.text

    def test_one_that_cannot_be_imported_is_503_until_it_is_mended(self, folder, expected_log):
        write_file(folder / "mended.py", "raise ValueError('announced: not yet')\n")
        listen = ["unix:%s/x.sock" % folder]
        host = Host("mended:application", {"python": {"path": str(folder)}}, listen=listen,
                    probe=False)
        expected_log("announced: not yet")
        response = host.exchange("GET", "/")
        assert response.status == 503 and int(response.get("Retry-After")) > 0
        assert "announced" not in response.text
        write_file(folder / "mended.py",
                   HELLO + "\n# longer than before, so that no cache is taken for it\n")

        def is_mended():
            found = host.exchange("GET", "/")
            assert found.status in (200, 503)
            return found.status == 200 and found.text == "hello from mended"
        wait_until(is_mended, "the application to be imported again", 60)

    def test_one_that_cannot_be_imported_lets_the_host_stop(self, folder, expected_log):
        write_file(folder / "broken.py", "raise ValueError('announced: never')\n")
        host = Host("broken:application", {"python": {"path": str(folder)}}, probe=False)
        expected_log("announced: never")
        host.log.wait("announced: never")
        assert host.stop() == []
        host.log.checked = 0
        Host.started.append(host)  # it stays in sight of the checks

    def test_a_slow_import_makes_requests_wait(self, folder):
        write_file(folder / "slow.py", "import time\ntime.sleep(1)\n" + HELLO)
        host = Host("slow:application", {"python": {"path": str(folder)}}, probe=False)
        assert host.exchange("GET", "/").text == "hello from slow"


class TestLog:
    def test_to_a_file(self, folder, expected_log):
        host = Host(settings={"log": {"destination": str(folder / "the.log")}})
        host.exchange("GET", "/errors?text=marked")
        wait_until(lambda: "pieces of marked" in (folder / "the.log").read_text(), "the log file")
        assert "marked" not in host.log.read()

    def test_a_file_that_cannot_be_opened_is_said(self, folder):
        done = run("--set", "log.destination=%s/none/log" % folder, "-l", "unix:%s/x.sock" % folder,
                   "hello:application", cwd=folder)
        assert done.returncode in (1, 2, 3)
        one_line(done, "none/log")

    def test_the_level(self):
        quiet = Host(settings={"log": {"level": "error"}})
        loud = Host(settings={"log": {"level": "debug"}})
        for host in (quiet, loud):
            assert host.exchange("GET", "/ready").text == "ready"
        assert quiet.log.read() == ""
        assert loud.log.read() != ""

    def test_a_closed_stderr_does_no_harm(self, folder):
        path = ini(folder, merged({"server": {"listen": "unix:y.sock"}, "python": {"path": "."}},
                                  {"application": {"wsgi": "hello:application"}}))
        popen = process.start(["/bin/sh", "-c", "exec \"$@\" 1>&- 2>&-", "sh", PROGRAM, "-c", path],
                              env=dict(os.environ, **sanitizer_environ(str(folder))))
        try:
            wait_until(lambda: answers(str(folder / "y.sock")), "the host to listen")
            for _ in range(3):
                response = fastcgi.exchange(str(folder / "y.sock"), "GET", "/")
                assert response.text == "hello from hello"
        finally:
            assert process.stop(popen, signal.SIGTERM) == 0
        assert not sanitizer_reports(str(folder))
