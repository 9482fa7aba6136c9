"""script_root: the web server chooses a script file, one process runs them all."""
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import fastcgi
import fronts
import scgi
import script_fronts
from conftest import end_shared
from host import Host, write_file

PROTOCOLS = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)
NAMES = ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SCRIPT_FILENAME")

SCRIPT = '''
import json
import os

served = 0


def application(environ, start_response):
    global served
    served += 1
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"name": "%s", "pid": os.getpid(), "served": served, "body": body.decode(),
                        "environ": {name: environ.get(name) for name in %r}}).encode()]
''' % ("%s", NAMES)

# Its import takes its time, and tells how often it was done.
SLOW = '''
import os
import time

with open(os.path.join(os.path.dirname(__file__), "imports"), "a") as file:
    file.write("x")
time.sleep(0.5)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"there"]
'''


def hello(text="hello", attribute="application"):
    return '''
def %s(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [%r]
''' % (attribute, text.encode())


class TestBehindEachWebServer:
    @pytest.fixture(scope="module", params=script_fronts.ALL, ids=lambda kind: kind.name)
    def site(self, request):
        found = request.param()
        yield found
        end_shared(found)

    def test_several_scripts_in_one_process(self, site):
        for name in ("one.wsgi", "two.wsgi", "sub/one.wsgi"):
            site.write(name, SCRIPT % name)
        answers = {}
        for count in (1, 2, 3):
            for name in ("one.wsgi", "two.wsgi", "sub/one.wsgi"):
                answers[name] = site.ask("/" + name).json
                assert (answers[name]["name"], answers[name]["served"]) == (name, count)
        assert len({answer["pid"] for answer in answers.values()}) == 1

    @pytest.mark.parametrize("rest, path_info", [
        ("", ""), ("/", "/"), ("/a/b", "/a/b"), ("/caf%C3%A9%20x", "/caf\xc3\xa9 x"),
        ("/a.wsgi/b", "/a.wsgi/b"), ("?a=/b", "")])
    def test_path_info_is_what_follows_the_file(self, site, rest, path_info):
        path = site.write("sub/path.wsgi", SCRIPT % "path")
        found = site.ask("/sub/path.wsgi" + rest).json["environ"]
        assert found == {"SCRIPT_NAME": "/sub/path.wsgi", "PATH_INFO": path_info,
                         "QUERY_STRING": rest.partition("?")[2], "SCRIPT_FILENAME": path}

    def test_a_name_with_a_space_and_an_accent(self, site):
        site.write("caf\xe9 x.wsgi", SCRIPT % "accent")
        response = site.ask("/caf%C3%A9%20x.wsgi/y")
        assert response.json["environ"]["PATH_INFO"] == "/y"

    def test_a_post(self, site):
        site.write("post.wsgi", SCRIPT % "post")
        assert site.ask("/post.wsgi", "POST", body=b"a=1").json["body"] == "a=1"

    def test_one_that_others_can_write_does_not_run(self, site):
        path = site.write("writable.wsgi", hello(), 0o664)
        response = site.ask("/writable.wsgi/x")
        assert response.status == 403 and "hello" not in response.text
        assert path not in response.text
        site.host_log.wait(re.escape(path) + "' is not allowed to run: its group can write it")

    @pytest.mark.parametrize("name", ["me.gif", "app.wsgi~", "app.py.bak"])
    def test_a_file_that_was_uploaded_does_not_run(self, site, name):
        ran = os.path.join(site.documents, "ran")
        site.write("uploads/" + name, "open(%r, 'w')\n" % ran + hello())
        os.chmod(site.documents, 0o777)
        for rest in ("", "/", "/x.wsgi", "/x.py/y", "/a.wsgi/b.wsgi"):
            response = site.ask("/uploads/" + name + rest)
            # What is asked for by its own name a web server may send, as the file that it is.
            assert response.status in (403, 404) or response.text.startswith("open("), rest
        os.chmod(site.documents, 0o755)
        assert not os.path.exists(ran)
        site.write("right.wsgi", hello("this may"))
        assert site.ask("/right.wsgi/x").text == "this may"

    def test_one_that_is_not_there(self, site):
        assert site.ask("/missing.wsgi").status == 404
        assert site.ask("/missing.wsgi/a").status == 404

    def test_one_that_can_not_be_loaded_heals_at_once(self, site, expected_log):
        expected_log("announced failure")
        path = site.write("broken.wsgi", "raise ValueError('announced failure')")
        response = site.ask("/broken.wsgi/x")
        assert response.status == 500 and "announced" not in response.text
        site.host_log.wait(re.escape(path) + " can't be loaded: ValueError: announced failure; ")
        site.write("broken.wsgi", hello("healed"))
        assert site.ask("/broken.wsgi/x").text == "healed"


# -------------------------------------------------------------------------------
# What a web server's configuration does not matter to.


@pytest.fixture
def root(tmp_path):
    found = tmp_path / "root"
    found.mkdir(mode=0o755)
    return found


@pytest.fixture
def start(root):
    def start_host(application=None, **settings):
        settings["application"] = dict({"script_root": str(root)}, **(application or {}))
        return Host(None, settings, probe=False)
    return start_host


def script(folder, name, text, mode=0o644):
    return str(write_file(folder / name, text, mode))


def ask(host, path, rest="", protocol=fastcgi):
    """path: the file."""
    name = "/" + os.path.basename(str(path))
    return protocol.exchange(host.address, "GET", rest or "/", script_name=name, extra={
        "SCRIPT_FILENAME": str(path), "PATH_INFO": rest})


@PROTOCOLS
class TestLoading:
    def test_the_name_of_the_callable(self, start, root, protocol):
        host = start({"callable": "page"})
        path = script(root, "a.wsgi", hello("a page", "page"))
        assert ask(host, path, protocol=protocol).text == "a page"

    def test_once_for_fifty_clients_at_the_same_time(self, start, root, protocol):
        host = start(server={"threads": 8})
        path = script(root, "slow.wsgi", SLOW)
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: ask(host, path, protocol=protocol).text, range(50)))
        assert answers == ["there"] * 50
        assert (root / "imports").read_text() == "x"

    def test_one_that_loads_keeps_no_other_waiting(self, start, root, protocol):
        host = start(server={"threads": 2})
        fifo = root / "gate"
        os.mkfifo(fifo)
        path = script(root, "slow.wsgi", "open(%r).read()\n" % str(fifo) + hello("at last"))
        other = script(root, "other.wsgi", hello())
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(ask, host, path, protocol=protocol)
            with open(fifo, "w"):  # the script is at its first line
                for _ in range(5):
                    assert ask(host, other, protocol=protocol).text == "hello"
            assert slow.result().text == "at last"

    def test_two_threads_of_one_script_share_its_module(self, start, root, protocol):
        host = start(server={"threads": 4})
        path = script(root, "count.wsgi", '''
import itertools
numbers = itertools.count(1)
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"%d" % next(numbers)]
''')
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: int(ask(host, path, protocol=protocol).text),
                                  range(40)))
        assert sorted(found) == list(range(1, 41))


class TestRefusals:
    """The page says nothing about the server, the log which file, why and what to do."""

    def check(self, host, path, status, reason, protocol=fastcgi):
        response = ask(host, path, "/x", protocol)
        assert response.status == status and response.body
        assert os.path.basename(str(path)) not in response.text
        assert not re.search("Traceback|mode|root|line", response.text)
        host.log.wait(r"GET \S+/x: %d: .*%s" % (status, reason))

    @PROTOCOLS
    @pytest.mark.parametrize("mode, who", [(0o664, "its group"), (0o646, "everybody"),
                                           (0o666, "everybody")])
    def test_a_file_that_others_can_write(self, start, root, protocol, mode, who):
        host = start()
        path = script(root, "a.wsgi", hello(), mode)
        self.check(host, path, 403, r"a.wsgi' is not allowed to run: %s can write it \(mode %04o\): "
                   "chmod go-w" % (who, mode), protocol)
        os.chmod(path, 0o644)
        assert ask(host, path, protocol=protocol).text == "hello"
        os.chmod(path, mode)  # once it is loaded, too
        assert ask(host, path, protocol=protocol).status == 403

    def test_a_folder_that_everybody_can_write(self, start, root):
        host = start()
        (root / "open").mkdir()
        os.chmod(root / "open", 0o777)
        path = script(root / "open", "a.wsgi", hello())
        self.check(host, path, 403, "everybody can put another file in its place, as the folder "
                   ".*/root/open' has mode 0777: chmod o-w")

    def test_a_link_that_leads_out_of_the_root(self, start, root, tmp_path):
        host = start()
        target = script(tmp_path, "outside.wsgi", hello())
        os.symlink(target, root / "link.wsgi")
        self.check(host, root / "link.wsgi", 403, "link.wsgi' is not allowed to run: it is .*"
                   "/outside.wsgi', which is not below script_root .*/root'")
        os.unlink(root / "link.wsgi")
        os.symlink(script(root, "inside.wsgi", hello()), root / "link.wsgi")
        assert ask(host, root / "link.wsgi").text == "hello"

    @PROTOCOLS
    @pytest.mark.parametrize("front", [
        lambda path: {"SCRIPT_FILENAME": path},
        lambda path: {"SCRIPT_FILENAME": path, "PATH_INFO": "/x.wsgi"},
        lambda path: {"SCRIPT_FILENAME": path + "/x.wsgi"},
        lambda path: {"SCRIPT_FILENAME": path + "/x.wsgi", "PATH_INFO": "/y"},
        lambda path: {"SCRIPT_FILENAME": path + "/../me.gif/x.py"},
        lambda path: {"SCRIPT_FILENAME": "proxy:fcgi://localhost/" + path + "/x.wsgi"},
        lambda path: {"SCRIPT_FILENAME": "proxy:fcgi://localhost" + path.replace("me", "%6De")},
        lambda path: {"SCRIPT_FILENAME": path + "?x.wsgi"},
    ], ids=["alone", "path-info", "below", "both", "dots", "proxy", "encoded", "query"])
    def test_what_does_not_end_as_a_script_does(self, start, root, protocol, front):
        host = start()
        path = script(root, "me.gif", "open(%r, 'w')\n" % str(root / "ran") + hello())
        response = protocol.exchange(host.address, "GET", "/x", script_name="/me.gif",
                                     extra=front(path))
        assert response.status in (403, 404) and "hello" not in response.text
        assert not (root / "ran").exists()
        host.log.wait(r"GET /me.gif/x: 40[34]: .*me.gif")
        assert "Traceback" not in host.log.read()

    def test_the_page_and_the_log_line_of_one_that_does_not(self, start, root):
        host = start()
        path = script(root, "app.wsgi~", hello())
        self.check(host, path, 403, "app.wsgi~' is not allowed to run: its name does not end in .py or .wsgi: rename it, "
                   r"or set \[application\] extensions")

    def test_other_extensions(self, start, root):
        host = start({"extensions": ".cgi"})
        assert ask(host, script(root, "a.cgi", hello())).text == "hello"
        self.check(host, script(root, "a.wsgi", hello()), 403, "does not end in .cgi")

    def test_a_link_to_a_picture(self, start, root):
        host = start()
        script(root, "me.gif", hello())
        os.symlink("me.gif", root / "x.wsgi")
        self.check(host, root / "x.wsgi", 403, "x.wsgi' is not allowed to run: it is .*/me.gif', and its name does not")

    @PROTOCOLS
    def test_dots_that_lead_out_of_the_root(self, start, root, tmp_path, protocol):
        host = start()
        script(tmp_path, "outside.wsgi", hello())
        self.check(host, str(root) + "/../outside.wsgi", 403, "is not below script_root", protocol)
        self.check(host, str(root) + "/../missing.wsgi", 404, "missing.wsgi' is not there",
                   protocol)

    def test_what_is_no_regular_file(self, start, root):
        host = start()
        (root / "folder.wsgi").mkdir()
        os.mkfifo(root / "fifo.wsgi")
        for name in ("folder.wsgi", "fifo.wsgi"):
            self.check(host, root / name, 403, name + "' is not allowed to run: it is not a regular "
                       "file")

    def test_what_is_not_there(self, start, root):
        host = start()
        self.check(host, root / "missing.wsgi", 404, "missing.wsgi' is not there: No such file")

    def test_what_only_a_proxy_s_url_names(self, start, root):
        host = start()
        self.check(host, "proxy:fcgi://localhost/%s/missing.wsgi" % root, 404,
                   "'%s/missing.wsgi' is not there: No such file" % root)
        path = script(root, "a.wsgi", hello())
        assert ask(host, "proxy:fcgi://localhost/%s" % path).text == "hello"

    def test_a_web_server_that_names_no_file(self, start):
        host = start()
        response = fastcgi.exchange(host.address, "GET", "/a.wsgi")
        assert response.status == 500
        host.log.wait("GET /a.wsgi: 500: the web server sent no SCRIPT_FILENAME, .*include "
                      "fastcgi.conf")


class TestFailures:
    @pytest.mark.parametrize("text, error", [
        ("def f(:\n", "SyntaxError"), ("x = 1\n", "AttributeError: .*defines no 'application'"),
        ("application = 1\n", "TypeError: .*is not callable"),
        ("raise ValueError('announced')\n", "ValueError: announced"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3")])
    def test_a_script_that_can_not_be_loaded_is_a_500_page(self, start, root, expected_log, text,
                                                           error):
        traceback_count = 1 if "announced" in text or "sys" in text else 0  # the others have no frame
        expected_log(*[error] * traceback_count)
        host = start(startup={"retry_delay": "1h", "retry_max_delay": "1h"})
        path = script(root, "a.wsgi", text)
        for _ in range(5):
            response = ask(host, path, "/x")
            assert response.status == 500 and "a.wsgi" not in response.text
        log = host.log.read()
        line = re.escape(path) + " can't be loaded: " + error + \
            ".*; it is tried again in [0-9.]+ s, or when a file of it changes \\(request [0-9a-f]+\\)\n"
        assert len(re.findall("GET /a.wsgi/x: 500: " + line, log)) == 5
        assert len(re.findall("(?m)^ *(?:[A-Za-z]*Error|SystemExit): ", log)) == 1
        assert log.count("Traceback") == traceback_count
        script(root, "a.wsgi", hello("healed"))
        assert ask(host, path, "/x").text == "healed"

    def test_it_is_tried_again_after_retry_delay(self, start, root, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(startup={"retry_delay": "50ms"})
        path = script(root, "a.wsgi", "import os\nif not os.path.exists(%r):\n"
                      "    raise ValueError('announced failure')\n" % str(tmp_path / "go") +
                      hello("healed"))
        for _ in range(3):  # each of them an attempt, and the same failure
            assert ask(host, path).status == 500
            time.sleep(0.06)
        write_file(tmp_path / "go", "")
        fronts.wait_until(lambda: ask(host, path).text == "healed", "the next attempt")
        assert host.log.read().count("Traceback") == 1

    def test_a_module_that_it_imports_is_watched_too(self, start, root, expected_log):
        expected_log("announced failure")
        host = start(startup={"retry_delay": "1h", "retry_max_delay": "1h"}, python={"path": str(root)})
        script(root, "helper.py", "raise ValueError('announced failure')\n")
        path = script(root, "a.wsgi", "import helper\n" + hello("healed"))
        assert ask(host, path).status == 500
        script(root, "helper.py", "")
        assert ask(host, path).text == "healed"

    def test_one_that_vanishes_is_404_and_another_in_its_place_is_loaded(self, start, root):
        host = start()
        path = script(root, "a.wsgi", hello("first"))
        assert ask(host, path).text == "first"
        os.unlink(path)
        assert ask(host, path).status == 404
        script(root, "a.wsgi", hello("second"))
        assert ask(host, path).text == "second"

    def test_the_cleanups_of_a_load_that_failed_have_run(self, start, root, expected_log):
        expected_log("announced failure")
        host = start()
        path = script(root, "a.wsgi", "import fcgihost\n"
                      "fcgihost.register_cleanup(open, %r, 'w')\n"
                      "raise ValueError('announced failure')\n" % str(root / "cleaned"))
        assert ask(host, path).status == 500
        assert (root / "cleaned").exists()

    def test_an_exception_when_it_serves(self, start, root, expected_log):
        expected_log("announced failure")
        host = start()
        path = script(root, "a.wsgi", "def application(environ, start_response):\n"
                      "    raise ValueError('announced failure')\n")
        assert ask(host, path).status == 500
        host.log.wait(r"GET /a.wsgi/: the application failed: answered with 500 \(request [0-9a-f]+\)\n.*Traceback")
