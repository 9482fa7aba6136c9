"""What README and doc/ print: the commands and configurations work, each checked by the program that it is for."""
import ast
import grp
import os
import pwd
import re
import shlex
import shutil
import subprocess

import pytest

import fronts
import process
from host import PROGRAM, PYTHON, ROOT, LogFile, run, sanitizer_environ, sanitizer_reports, temporary_folder, write_file

PAGES = sorted(name for name in os.listdir(os.path.join(ROOT, "doc")) if name.endswith(".md"))
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
APACHE_MODULES = ["proxy", "proxy_fcgi", "proxy_scgi", "fcgid"]
HELLO = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    text = "%d %s|%s" % (os.getuid(), environ["SCRIPT_NAME"], environ["PATH_INFO"])
    return [text.encode()]
"""


def blocks(*languages):
    """The fenced blocks of doc/ in these languages."""
    found = []
    for page in PAGES:
        text = fronts.document("doc/" + page)
        for match in FENCED.finditer(text):
            if match[1] in languages:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[2], id="%s-%d" % (page, line)))
    assert found, "no page has a block in " + languages[0]
    return found


def indented(text, first):
    """The indented block of README that begins with this word."""
    found = re.search(r"^    %s.*\n(?:(?:    .*)?\n)*" % re.escape(first), text, re.M)[0]
    return "\n".join(line[4:] for line in found.rstrip().splitlines())


@pytest.fixture
def folder():
    path = temporary_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


class TestReadme:
    """Its command, with the files of a test, and what it prints for nginx and Apache."""

    @pytest.fixture
    def host(self, folder):
        os.makedirs(folder + "/srv/app")
        write_file(folder + "/srv/app/app.wsgi", HELLO)
        text = indented(fronts.document("README"), "useradd").partition("\n")[2].replace("\\\n", " ")
        words = shlex.split(fronts.changed(text, {
            "/run/": folder + "/", "/srv/": folder + "/srv/", "server.user=app": "server.user=" + self.user()}))
        assert words.pop(0) == "fcgihost"
        log = LogFile(folder + "/host.log")
        with open(log.path, "wb") as output:
            popen = process.start([PROGRAM] + words, stdout=output, stderr=output, cwd=folder,
                                  env=dict(os.environ, **sanitizer_environ(folder)))
        process.wait_until(lambda: "serving" in log.read() or popen.poll() is not None, "the README's host")
        assert popen.poll() is None, log.read()
        yield folder + "/fcgihost.sock"
        assert process.stop(popen) == 0
        assert not sanitizer_reports(folder)

    def user(self):
        return "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    def assert_serves(self, front):
        try:
            front.start()
            for path in ("/", "/a/b%20c"):
                response = fronts.http_request(front.port, "GET", path)
                assert (response.status, response.body.decode()) == (
                    200, "%d |%s" % (pwd.getpwnam(self.user()).pw_uid, path.replace("%20", " ")))
        finally:
            front.stop()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a socket to www-data")
    def test_the_socket_is_the_web_servers_and_nobody_elses(self, host):
        status = os.stat(host)
        assert (grp.getgrgid(status.st_gid).gr_name, status.st_mode & 0o777) == ("www-data", 0o660)

    def test_nginx_serves_the_host_that_runs_as_its_own_user(self, folder, host):
        server = indented(fronts.document("README"), "server {")
        self.assert_serves(fronts.Nginx(folder, fronts.changed("events {}\nhttp {\n%s\n}\n" % server, {
            "listen 80": "listen 127.0.0.1:8001", "include fastcgi_params": "include /etc/nginx/fastcgi_params",
            "/run/fcgihost.sock": host})))

    def test_apache_serves_the_host_that_runs_as_its_own_user(self, folder, host):
        text = fronts.changed(indented(fronts.document("README"), "ProxyPass"), {"/run/fcgihost.sock": host})
        self.assert_serves(fronts.Apache(folder, ["proxy", "proxy_fcgi"], text))


class TestSettings:
    @pytest.mark.parametrize("text", blocks("ini"))
    def test_the_program_takes_them(self, text, folder):
        if "/venv" in text:
            subprocess.run([PYTHON, "-m", "venv", "--without-pip", folder + "/venv"], check=True, timeout=60)
        os.mkdir(folder + "/pages")
        write_file(folder + "/secrets", "PASSWORD=x\n")
        for pattern, replacement in {
                r"/srv/\w+/venv": "/venv", r"/srv/pages": "/pages", r"/etc/fcgihost/shop\.secrets": "/secrets",
                r"/(run|var/log)/fcgihost/": "/", r"/srv/\w+": ""}.items():
            text = re.sub(pattern, folder + replacement, text)
        user = pwd.getpwuid(os.geteuid())
        text = re.sub(r"(?m)^user = \w+", "user = " + user.pw_name, text)
        text = re.sub(r"(?m)^socket_group = \S+", "socket_group = %d" % user.pw_gid, text)
        write_file(folder + "/fcgihost.ini", text)
        more = [] if "[application" in text else ["--set", "application.wsgi=shop:application"]
        done = run("--check", "-c", folder + "/fcgihost.ini", *more, folder=folder)
        # 4: the settings are right, but there is no module "shop"
        assert done.returncode in (0, 4) and (done.returncode == 0 or b"No module named" in done.stderr), done.stderr


class TestPython:
    @pytest.mark.parametrize("text", blocks("python"))
    def test_it_is_python_and_what_it_wants_of_the_package_is_there(self, text):
        names = {node.attr for node in ast.walk(ast.parse(text))
                 if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "fcgihost"}
        done = subprocess.run(
            [PYTHON, "-IBc", "import sys; sys.path.insert(0, %r); import fcgihost; print(*fcgihost.__all__)" %
             os.path.join(ROOT, "python")], stdout=subprocess.PIPE, check=True, timeout=60)
        assert names <= set(done.stdout.decode().split())


class TestCommands:
    @pytest.mark.parametrize("text", blocks("sh"))
    def test_flags_keys_and_files_of_the_tree_exist(self, text):
        flags = set(re.findall(r"-[a-zA-Z]\b|--[a-z-]+", run("--help").stdout.decode()))
        keys = set(re.findall(r"^; (\w+) =", run("--print-ini").stdout.decode(), re.M))
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            names = [os.path.basename(word) for word in words]
            own = words[names.index("fcgihost") + 1:] if "fcgihost" in names else []
            for word in own:
                if word.startswith("-"):
                    assert word in flags, line
            for _, key in re.findall(r"--set (\w+)\.(\w+)=", line):
                assert key in keys, line
            for word in words:
                if word.startswith(("examples/", "test/", "doc/")):
                    assert os.path.exists(os.path.join(ROOT, word)), line


class TestWebServers:
    """Their own checks of a configuration; that what it says works is tested with the examples."""

    def check(self, server, *options, folder):
        write_file(server.config, server.configuration())
        command = server.command()
        done = subprocess.run([command[0], *options], cwd=folder, env=server.environ(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        assert done.returncode == 0, done.stdout.decode() + server.error_log.read()

    @pytest.mark.parametrize("text", blocks("nginx"))
    def test_nginx(self, text, folder):
        text = re.sub(r"include (\w+)", r"include /etc/nginx/\1", text)
        if "server {" not in text:
            text = "server { listen 127.0.0.1:80; root %s;\n%s}" % (folder, text)
        server = fronts.Nginx(folder, "events {}\nhttp {\n%s}\n" % text)
        self.check(server, "-t", *server.command()[1:], folder=folder)

    @pytest.mark.parametrize("text", blocks("apache"))
    def test_apache(self, text, folder):
        server = fronts.Apache(folder, APACHE_MODULES, text.replace("/usr/local/bin/fcgihost", PROGRAM))
        self.check(server, "-t", "-f", server.config, folder=folder)

    @pytest.mark.parametrize("text", blocks("lighttpd"))
    def test_lighttpd(self, text, folder):
        server = fronts.Lighttpd(folder, 'server.modules = ()\nserver.document-root = "/var/www/html"\n' +
                                 text.replace("/usr/local/bin/fcgihost", PROGRAM))
        self.check(server, "-tt", "-f", server.config, folder=folder)

    @pytest.mark.parametrize("text", blocks("haproxy"))
    def test_haproxy(self, text, folder):
        server = fronts.Haproxy(folder, "defaults\n    timeout connect 5s\n    timeout client 5s\n"
                                "    timeout server 5s\n" + text)
        self.check(server, "-c", "-f", server.config, folder=folder)

    @pytest.mark.parametrize("text", blocks("caddy"))
    def test_caddy(self, text, folder):
        server = fronts.Caddy(folder, text)
        self.check(server, "validate", "--config", server.config, "--adapter", "caddyfile", folder=folder)

    @pytest.mark.parametrize("text", blocks("h2o"))
    def test_h2o(self, text, folder):
        hosts = 'hosts:\n  "127.0.0.1":\n    listen:\n      port: 8001\n'
        server = fronts.H2o(folder, hosts + "".join("    %s\n" % line for line in text.splitlines()))
        self.check(server, "-t", "-c", server.config, folder=folder)
