"""The status page in a real browser. Screenshots are kept in build/status-page/."""
import html
import os
import re
import shutil
import socket
import subprocess
import urllib.request

import pytest

import fastcgi
from fronts import needs
from host import ROOT
from process import wait_until
from test_status import Watched

SHOTS = os.path.join(ROOT, "build", "status-page")
HOSTILE = '/wait/"><script>alert(1)</script>\'\\{}&amp;\x1b[2J\x7f\xc2\x9b\xff'
APP = '''
import os, time
import fcgihost

pool = fcgihost.Pool(object, size=1)

@fcgihost.resource(retry_delay=3600)
def search_index():
    raise ConnectionError("no route to <img src=x onerror=alert(2)>")

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/search":
        search_index.get()
    elif path == "/report":
        with pool.lease(), fcgihost.lock("<i>invoices</i>"):
            wait()
    elif path.startswith("/wait"):
        wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hi"]

def wait():
    open(os.environ["MARKER"], "a").write("x")
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.01)
'''


def plain(page):
    """Without its script and its style, and without its elements."""
    markup = re.sub(r"(?s)<(script|style).*?</\1>", "", page)
    return markup, html.unescape(re.sub(r"<[^>]*>", " ", markup))


class Browser:
    def __init__(self, folder):
        self.program = needs("chromium", "chromium", is_rare=True)
        self.folder = folder

    def run(self, url, *options):
        """Standard output; fails if anything was said on the console."""
        profile = os.path.join(self.folder, "profile")
        done = subprocess.run(
            [self.program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             "--user-data-dir=" + profile, "--enable-logging=stderr", "--window-size=1200,1900",
             "--virtual-time-budget=6000", *options, url],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
            env={**os.environ, "HOME": str(self.folder)})
        shutil.rmtree(profile, ignore_errors=True)
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not said, said
        return done.stdout

    def text(self, url, *options):
        """What stands on the page, without its script and its style."""
        dom = self.run(url, "--dump-dom", *options)
        assert "<body" in dom, dom
        self.markup, text = plain(dom)
        return text

    def keep(self, url, name, *options):
        os.makedirs(SHOTS, exist_ok=True)
        path = os.path.join(SHOTS, name + ".png")
        self.run(url, "--screenshot=" + path, *options)
        assert open(path, "rb").read(8) == b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def browser(tmp_path):
    return Browser(tmp_path)


@pytest.fixture
def troubled(tmp_path, browser, expected_log):
    """A host with all that an operator looks for, and the address of its page."""
    expected_log("RuntimeError: no <b>licence</b>")
    (tmp_path / "broken_import.py").write_text('raise RuntimeError("no <b>licence</b>")\n')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    one = Watched(tmp_path, app=APP, listen_status=address, settings={
        "server": {"threads": 6}, "startup": {"import": "broken_import", "retry_delay": "1h", "retry_max_delay": "1h"}})
    fastcgi.exchange(one.host.address, "GET", "/")
    fastcgi.exchange(one.host.address, "GET", "/search")
    one.begin("/report")
    one.begin(HOSTILE)
    one.connections.append(fastcgi.Connection(one.host.address))
    one.connections[-1].send(fastcgi.request_bytes("GET", "/report", keep=False))
    wait_until(lambda: one.json()["pools"] and one.json()["pools"][0]["waiting"], "a request that waits for the pool")
    yield "http://%s/" % address
    one.let_go()


def test_the_page_shows_what_is_wrong_and_nothing_else_speaks_in_it(troubled, browser):
    text = " ".join(browser.text(troubled).split())
    for words in ("serving", "The import broken_import can't be loaded: attempt 1 failed", "RuntimeError: no <b>licence</b>",
                  "The resource watched_app.search_index can't be created", "1 thread waits for the pool builtins.object, "
                  "1 of 1 in use", "<i>invoices</i>", 'GET /wait/"><script>alert(1)</script>'):
        assert words in text, text
    assert "&lt;img src=x onerror=alert(2)&gt;" in browser.markup
    for element in ("<img", "<i>invoices", "<b>licence"):
        assert element not in browser.markup
    browser.keep(troubled, "light")
    browser.keep(troubled, "dark", "--blink-settings=preferredColorScheme=0")
    browser.keep(troubled, "narrow", "--window-size=420,2600")


def test_without_a_script_it_shows_what_matters(troubled, browser, tmp_path):
    with urllib.request.urlopen(troubled, timeout=60) as answer:
        page = answer.read().decode()
    text = plain(page)[1]
    for words in ("serving, up", "broken_import: failed, attempt 1", "RuntimeError: no <b>licence</b>",
                  "<i>invoices</i>: held by", "1 of 1 in use", 'GET /wait/"><script>alert(1)</script>'):
        assert words in text, text
    # Headless Chromium does nothing without scripts: what it gets is the page without them.
    (tmp_path / "page.html").write_text(re.sub(r"(?s)<script.*?</script>", "", page))
    browser.keep("file://%s/page.html" % tmp_path, "without-script")


def test_a_host_that_is_well_has_no_alerts(tmp_path, browser):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    one = Watched(tmp_path, app=APP, listen_status=address)
    fastcgi.exchange(one.host.address, "GET", "/")
    browser.text("http://%s/" % address)
    assert 'class="cards"' in browser.markup
    assert 'class="alerts"' not in browser.markup
    browser.keep("http://%s/" % address, "well")
