"""Scripts that change while they serve: each request sees one generation, and old ones are cleaned up."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request

import pytest

import process
from fronts import AS_ROOT, changed, example, needs
from host import PROGRAM, ROOT, Host, can_import, temporary_folder, write_file
from process import wait_until

INTERVAL = {"reload": {"interval": "20ms"}}

CENSUS = '''
import weakref

pools = weakref.WeakSet()   # an ordinary module: it stays
'''

DEP = '''
import census
import fcgihost

VERSION = %(version)d
ballast = bytes(range(256)) * 4096


class Counted(fcgihost.Pool):
    pass


pool = Counted(object, size=8)
census.pools.add(pool)
'''

SCRIPT = '''
import json
import threading

import census
import fcgihost

VERSION = %(version)d
dep = fcgihost.import_module("dep")
requests = []


def told():
    print("cleanup of version %(version)d, load %%s, with %%d requests" %% (__name__, len(requests)))


fcgihost.register_cleanup(told)
print("load of version %(version)d, load", __name__)


def application(environ, start_response):
    requests.append(environ)
    if environ["PATH_INFO"] == "/state":
        start_response("200 OK", [("Content-Type", "application/json")])
        return Body([lambda: json.dumps([len(census.pools), fcgihost.process.generation]).encode()])
    start_response("200 OK", [("Content-Type", "text/plain")])
    with dep.pool.lease():
        return Body([lambda: part().encode()] * 3)


def part():
    return "%%s/%%d/%%s/%%d\\n" %% (__name__, VERSION, dep.__name__, fcgihost.import_module("dep").VERSION)


class Body:
    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        return (part() for part in self.parts)

    def close(self):
        requests.pop()
'''

REDIRECTING = '''
import os, time
from fcgihost import handler

def serve(request):
    if request.path_info == "/slow":
        open(%r, "w").close()
        while not os.path.exists(%r):
            time.sleep(0.01)
    request.internal_redirect("/back")

application = handler.adapt(serve)
'''

COUNTED = re.compile(r"^(load|cleanup) of version (\d+), load (\S+?)(?:, with (\d+) requests)?$", re.M)


def replace_file(path, text):
    write_file(path + "~", text)
    os.rename(path + "~", path)


def resident_mib(pid):
    with open("/proc/%d/statm" % pid) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


class Site:
    """A folder with a script, and a host that serves it."""

    def __init__(self, folder, script, settings=None, **files):
        self.folder = str(folder)
        self.script = self.path("app.py")
        write_file(self.script, script)
        for name, text in files.items():
            write_file(self.path(name + ".py"), text)
        self.host = Host(app=None, settings={"python": {"path": [self.folder]}, "application": {"script": self.script},
                                   **INTERVAL, **(settings or {})})

    def path(self, name):
        return os.path.join(self.folder, name)

    def body(self, path="/"):
        response = self.host.exchange("GET", path)
        return response.status, response.body.decode()

    def wait_body(self, text):
        wait_until(lambda: self.body() == (200, text), "the answer %r" % text)


@pytest.fixture
def make_site(tmp_path):
    return lambda script, settings=None, **files: Site(tmp_path, script, settings, **files)


def answer(text):
    return '''
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(%s).encode()]
''' % text


class TestEdits:
    EDITS = 200

    def test_8_clients_see_whole_generations_while_a_script_and_its_dependency_are_rewritten_200_times(self, make_site):
        site = make_site(SCRIPT % {"version": 0}, dep=DEP % {"version": 0}, census=CENSUS)
        done = threading.Event()
        answers, failures = set(), []

        def ask():
            while not done.is_set():
                try:
                    status, body = site.body()
                    parts = body.split()
                    if status != 200 or len(parts) != 3 or len(set(parts)) != 1:
                        failures.append((status, body))
                    answers.update(parts)
                except (OSError, AssertionError) as error:
                    failures.append(error)
        clients = [threading.Thread(target=ask) for _ in range(8)]
        for client in clients:
            client.start()
        try:
            middle = self.edit(site)
        finally:
            done.set()
            for client in clients:
                client.join()
        assert not failures
        assert len(answers) > 50
        self.check_loads(site, answers)
        pools, generation = json.loads(site.body("/state")[1])
        assert generation == site.host.log.read().count("loaded anew") + 1
        assert pools == 1
        assert resident_mib(site.host.pid) < middle + 40, "each generation has 1 MiB"

    def edit(self, site):
        """Returns the resident memory after the 50th generation."""
        for version in range(1, self.EDITS + 1):
            replace_file(site.path("dep.py"), DEP % {"version": version})
            replace_file(site.script, SCRIPT % {"version": version})
            wait_until(lambda: "load of version %d," % version in site.host.log.read() and
                       "/%d\n" % version in site.body()[1], "version %d" % version)
            if version == 50:
                middle = resident_mib(site.host.pid)
        return middle

    def check_loads(self, site, answers):
        wait_until(lambda: len(re.findall("^cleanup of", site.host.log.read(), re.M)) ==
                   len(re.findall("^load of", site.host.log.read(), re.M)) - 1, "cleanups")
        events = COUNTED.findall(site.host.log.read())
        loads = [name for kind, _, name, _ in events if kind == "load"]
        cleanups = [name for kind, _, name, _ in events if kind == "cleanup"]
        assert len(loads) <= 2 * self.EDITS + 1  # both files are an edit
        assert sorted(cleanups) == sorted(set(loads[:-1])), "each old load's once, and not the last one's"
        assert {count for kind, _, _, count in events if kind == "cleanup"} == {"0"}, "after its last request"
        assert {text.split("/")[0] for text in answers} <= set(loads)

    def test_a_load_that_takes_long_delays_no_request(self, make_site, tmp_path):
        site = make_site(answer("1"))
        replace_file(site.script, "import os, time\nopen(%r, 'w').close()\nwhile not os.path.exists(%r): time.sleep(0.01)\n"
                     % (str(tmp_path / "begun"), str(tmp_path / "go")) + answer("2"))
        wait_until(lambda: os.path.exists(str(tmp_path / "begun")), "the load")
        assert [site.body() for _ in range(50)] == [(200, "1")] * 50
        write_file(str(tmp_path / "go"), "")
        site.wait_body("2")

    def test_a_broken_edit_never_reaches_a_client(self, make_site, expected_log):
        expected_log("ZeroDivisionError")
        site = make_site(answer("1"))
        replace_file(site.script, "1 / 0\n")
        site.host.log.wait("generation 1 goes on serving")
        assert [site.body() for _ in range(50)] == [(200, "1")] * 50
        assert site.host.log.read().count("ZeroDivisionError") == 1
        replace_file(site.script, answer("2"))
        site.wait_body("2")

    def test_an_exception_s_text_with_a_nul_byte_stops_no_reloading(self, make_site, expected_log):
        expected_log("ValueError")
        site = make_site(answer("1"))
        replace_file(site.script, 'raise ValueError("\\0 surprise")\n')
        site.host.log.wait(r"generation 1 goes on serving(.*\n)+?.*ValueError: \\x00 surprise")
        replace_file(site.script, answer("2"))
        site.wait_body("2")

    def test_a_request_ends_with_the_code_that_it_began_with(self, make_site, tmp_path):
        go = str(tmp_path / "go")
        site = make_site('''
import os, time
import fcgihost
fcgihost.register_cleanup(print, "cleanup of the first")

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] != "/slow":
        yield b"first"
        return
    fcgihost.request().register_cleanup(print, "cleanup of the request")
    yield b"first, "
    while not os.path.exists(%r):
        time.sleep(0.01)
    yield fcgihost.import_module("dep").TEXT
''' % go, dep="TEXT = b'with the first'\n")
        results = []
        client = threading.Thread(target=lambda: results.append(site.body("/slow")))
        client.start()
        wait_until(lambda: site.host.connections() == 1, "the request")
        replace_file(site.script, answer("2"))
        site.wait_body("2")
        assert "cleanup of the first" not in site.host.log.read()
        write_file(go, "")
        client.join()
        assert results == [(200, "first, with the first")]
        site.host.log.wait("cleanup of the request\n(.|\n)*cleanup of the first\n")


    def test_an_internal_redirect_leads_to_the_generation_that_its_request_began_with(self, tmp_path):
        go, begun = str(tmp_path / "go"), str(tmp_path / "begun")
        paths = {name: str(tmp_path / name) for name in ("front.py", "back.py")}
        write_file(paths["front.py"], REDIRECTING % (begun, go))
        write_file(paths["back.py"], answer("'back of the first'"))
        host = Host(app=None, probe=False, settings={
            "application": {"script": paths["front.py"], "mount": "/front"},
            "application back": {"script": paths["back.py"], "mount": "/back"}, **INTERVAL})
        ask = lambda path: host.exchange("GET", path).body.decode()
        wait_until(lambda: ask("/back") == "back of the first" and ask("/front/quick") == "back of the first", "both")
        results = []
        client = threading.Thread(target=lambda: results.append(ask("/front/slow")))
        client.start()
        wait_until(lambda: os.path.exists(begun), "the request")
        replace_file(paths["back.py"], answer("'back of the second'"))
        wait_until(lambda: ask("/back") == ask("/front/quick") == "back of the second", "the second")
        write_file(go, "")
        client.join()
        assert results == ["back of the first"]


class TestWhatIsLookedAt:
    def test_mode_off_looks_at_nothing(self, make_site):
        site = make_site(answer("1"), {"reload": {"interval": "20ms", "mode": "off"}})
        replace_file(site.script, answer("2"))
        reads = [site.body() for _ in range(200)]
        assert set(reads) == {(200, "1")}

    @pytest.mark.skipif(subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode != 0,
                        reason="takes root, and a mount namespace, which a chroot does not get")
    @pytest.mark.parametrize("mode", ["script", "process"])
    def test_a_folder_that_is_mounted_read_only(self, tmp_path, mode):
        """As the host sees it; new code comes from elsewhere."""
        source, seen = str(tmp_path / "source"), str(tmp_path / "seen")
        os.mkdir(source, 0o755)
        os.mkdir(seen)
        write_file(source + "/app.py", answer("1"))
        mount = "mount --bind %s %s && mount -o remount,ro,bind %s && exec %s \"$@\"" % (source, seen, seen, PROGRAM)
        which = {"application": {"script": seen + "/app.py"}} if mode == "script" else \
            {"application": {"wsgi": "app:application"}, "python": {"path": seen, "bytecode": "yes"}}
        host = Host(app=None, probe=False, program=["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", mount,
                                                    "fcgihost"],
                    settings={**which, "reload": {"mode": mode, "interval": "20ms"}})
        ask = lambda: host.exchange("GET", "/").body
        wait_until(lambda: ask() == b"1", "the first")
        with pytest.raises(OSError):
            write_file("/proc/%d/root%s/new" % (host.pid, seen), "")
        replace_file(source + "/app.py", answer("2"))
        wait_until(lambda: ask() == b"2", "the second", 60)

    @pytest.mark.skipif(os.geteuid() != 0, reason="root alone becomes a user who may not read a file")
    def test_a_file_that_may_not_be_read_is_tried_again_once_it_may(self):
        folder = temporary_folder()
        site = Site(folder, answer("1"), {"server": {"user": "nobody", "socket_mode": "0666"}})
        site.host.socket_files = []  # it may not remove its socket from root's folder
        write_file(site.script + "~", answer("2"))
        os.chmod(site.script + "~", 0o600)
        os.rename(site.script + "~", site.script)
        site.host.log.wait("generation 1 goes on serving.*\n.*PermissionError")
        assert site.body() == (200, "1")
        os.chmod(site.script, 0o644)
        site.wait_body("2")
        shutil.rmtree(folder)

    def test_a_script_that_has_gone_goes_on_serving(self, make_site):
        site = make_site(answer("1"))
        os.remove(site.script)
        site.host.log.wait("app.py has gone: what was loaded from it goes on serving")
        assert site.body() == (200, "1")
        write_file(site.script, answer("2"))
        site.wait_body("2")
        assert site.host.log.read().count("has gone") == 1

    def test_a_file_of_a_script_root_that_has_gone_is_404_and_one_that_changed_is_loaded_anew(self, tmp_path):
        path = str(tmp_path / "root" / "a.wsgi")
        os.mkdir(str(tmp_path / "root"), 0o755)
        write_file(path, answer("1"))
        host = Host(app=None, settings={"application": {"script_root": str(tmp_path / "root")}, **INTERVAL}, probe=False)

        def ask():
            response = host.exchange("GET", "/a.wsgi", extra={"SCRIPT_FILENAME": path})
            return response.status, response.body.decode()
        assert ask() == (200, "1")
        replace_file(path, answer("2"))
        wait_until(lambda: ask() == (200, "2"), "the new one")
        os.remove(path)
        assert ask()[0] == 404


def nothing_listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


class TestExample:
    def test_the_example_does_what_its_readme_says(self, tmp_path, expected_log):
        expected_log("NameError")
        folder = str(tmp_path / "reload")
        shutil.copytree(os.path.join(ROOT, "examples", "reload"), folder)
        path = os.path.join(folder, "host.sock")
        host = Host(listen=["unix:" + path], use_ini=False, probe=False, args=[
            "-c", os.path.join(folder, "fcgihost.ini"), "--listen", "unix:" + path, "--set", "python.bytecode=no"])
        port = process.free_port()
        conf = os.path.join(folder, "changed.conf")
        write_file(conf, ("user root;\n" if AS_ROOT else "") + changed(example("reload/nginx.conf"), {
            "127.0.0.1:8080": "127.0.0.1:%d" % port, "127.0.0.1:9004": "unix:" + path}))
        nginx = process.start([needs("nginx", "nginx-light"), "-p", folder, "-c", conf])
        try:
            self.follow_the_readme(folder, host, port)
        finally:
            process.stop(nginx)

    def follow_the_readme(self, folder, host, port):
        def body():
            with urllib.request.urlopen("http://127.0.0.1:%d/" % port, timeout=60) as answer:
                return answer.read().decode()
        wait_until(lambda: not nothing_listens(port), "nginx")
        assert body() == "Hello (visit 1, generation 1)\n"
        replace_file(os.path.join(folder, "greeting.py"), "TEXT = 'Good morning'\n")
        host.log.wait(r"script \S*/app.py and 1 more: loaded anew as generation 2 in \S+ s, because \S*/greeting.py has "
                      r"changed\n(.|\n)*app.py: nobody uses this generation any more\n.*info: generation 1 has served its "
                      r"last request: 1 cleanup ran\n")
        assert body() == "Good morning (visit 2, generation 2)\n"
        replace_file(os.path.join(folder, "greeting.py"), "TEXT = no_such_name\n")
        host.log.wait("generation 2 goes on serving")
        assert body() == "Good morning (visit 3, generation 2)\n"


class TestProcesses:
    def test_a_spawned_process_gets_a_script_s_classes(self, make_site):
        site = make_site('''
import dataclasses
import multiprocessing

@dataclasses.dataclass
class Item:
    number: int

def double(item):
    return Item(item.number * 2)

def application(environ, start_response):
    with multiprocessing.get_context(environ["QUERY_STRING"] or "fork").Pool(1) as pool:
        body = repr(pool.map(double, [Item(1), Item(2)])) + str(VERSION)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]
VERSION = 1
''')
        for method in "spawn", "fork":
            status, body = site.body("/?" + method)
            assert (status, body) == (200, "[Item(number=2), Item(number=4)]1"), site.host.log.read()
        with open(site.script) as file:
            text = file.read()
        replace_file(site.script, text.replace("VERSION = 1", "VERSION = 2"))
        wait_until(lambda: site.body("/?fork")[1].endswith("]2"), "the new one")
        assert site.body("/?spawn") == (200, "[Item(number=2), Item(number=4)]2")
        site.host.stop()  # multiprocessing keeps descriptors for its own helper


SHOP = '''
import shop_parts


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%s" % shop_parts.TEXT]
'''

DJANGO = '''
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
'''

DJANGO_FILES = {
    "site_settings.py": "SECRET_KEY = 'x'\nROOT_URLCONF = 'site_urls'\nALLOWED_HOSTS = ['*']\nINSTALLED_APPS = ['site_app']\n",
    "site_urls.py": "from django.urls import path\nfrom site_app import views\n"
                    "urlpatterns = [path('', views.page), path('<path:rest>', views.page)]\n",
    "site_app/__init__.py": "",
    "site_app/views.py": "import shop_parts\nfrom django.http import HttpResponse\n"
                         "def page(request, rest=''): return HttpResponse(shop_parts.TEXT)\n",
}


def start_shop(tmp_path, processes, **files):
    for name, text in {"shop.py": SHOP, "shop_parts.py": "TEXT = b'one'\n", **files}.items():
        os.makedirs(os.path.dirname(str(tmp_path / name)), exist_ok=True)
        write_file(str(tmp_path / name), text)
    return Host("shop:application", {
        "python": {"path": [str(tmp_path)]}, "server": {"processes": str(processes)},
        "reload": {"mode": "process", "interval": "100ms"}}, probe=False)


@pytest.mark.parametrize("processes", [1, 2])
class TestProcessMode:
    """An ordinary package: the process, or each worker, is replaced once the new code has been loaded."""

    def edit_under_load(self, host, tmp_path, expected_log, processes):
        expected_log("ZeroDivisionError")
        wait_until(lambda: len(re.findall("serving shop", host.log.read())) == processes, "all workers", 60)
        parts = str(tmp_path / "shop_parts.py")
        done = threading.Event()
        seen, failures = [], []

        def ask():
            while not done.is_set():
                try:
                    response = host.exchange("GET", "/")
                    (seen if response.status == 200 else failures).append(response.body)
                except (OSError, AssertionError) as error:
                    failures.append(error)
        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            mark = host.log.mark()
            replace_file(parts, "TEXT = b'two'\n")
            wait_until(lambda: seen[-20:] == [b"two"] * 20, "the second version", 60)
            if processes > 1:  # one of them may answer twenty times in a row
                host.log.wait("all workers have been replaced", mark, 60)
            mark = host.log.mark()
            replace_file(parts, "1 / 0\n")
            host.log.wait("can't be loaded \\(exit code", mark, 60)
            count = len(seen)
            wait_until(lambda: len(seen) > count + 20, "requests")
            assert set(seen[count:]) == {b"two"}
            mark = host.log.mark()
            replace_file(parts, "TEXT = b'three'\n")
            wait_until(lambda: seen[-20:] == [b"three"] * 20, "the third version", 60)
            if processes > 1:
                host.log.wait("all workers have been replaced", mark, 60)
        finally:
            done.set()
            for client in clients:
                client.join()
        assert not failures, host.log.read()

    def test_good_edits_are_served_and_a_broken_one_is_not(self, tmp_path, processes, expected_log):
        self.edit_under_load(start_shop(tmp_path, processes), tmp_path, expected_log, processes)

    def test_a_trial_that_hangs_ends_with_the_process_that_began_it(self, tmp_path, processes):
        host = start_shop(tmp_path, processes)
        wait_until(lambda: len(re.findall("serving shop", host.log.read())) == processes, "all workers")
        replace_file(str(tmp_path / "shop_parts.py"), "import time\ntime.sleep(1000)\n")
        host.log.wait(r"process \d+ tries whether it can be loaded")
        worker, trial = (int(number) for number in re.search(
            r"\[(\d+)\] info: \[reload\].*process (\d+) tries", host.log.read()).groups())
        assert process.state(trial) not in (None, "Z")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: process.state(trial) in (None, "Z"), "the trial's end")
        if processes == 1:
            host.expected_status = -signal.SIGKILL
            host.wait_exit()
            os.remove(host.socket_files[0])
            return
        replace_file(str(tmp_path / "shop_parts.py"), "TEXT = b'two'\n")  # its successor would hang
        wait_until(lambda: host.exchange("GET", "/").body == b"two", "the next version", 60)

    @pytest.mark.skipif(not can_import("django"), reason="needs Django")
    def test_so_they_are_with_django(self, tmp_path, processes, expected_log):
        host = start_shop(tmp_path, processes, **{"shop.py": DJANGO, **DJANGO_FILES})
        self.edit_under_load(host, tmp_path, expected_log, processes)
