"""Several applications in one process: the path says whose a request is."""
import pytest

import fastcgi
import fronts
import scgi
from host import Host, write_file
from process import wait_until

PROTOCOLS = pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)

SHOP = '''
import json
import os
import threading

import fcgihost

PID = os.getpid()
lock = threading.RLock()


def named(name):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps([name, environ["SCRIPT_NAME"], environ["PATH_INFO"]]).encode()]
    return application


shop, api, newest, rest = map(named, ["shop", "api", "newest", "rest"])


def basket(req):
    req.items = ["a lamp"]
    with lock:
        return REDIRECTS[req.path_info](req)


def raise_redirect(req):
    raise fcgihost.InternalRedirect("/pay/card?number=7")


REDIRECTS = {
    "/pay": lambda req: req.internal_redirect("/pay/card?number=7"),
    "/raise": raise_redirect,
    "/plain": lambda req: req.internal_redirect("/plain/below"),
    "/late": lambda req: req.internal_redirect("/late/x"),
    "/nowhere": lambda req: req.internal_redirect("/nobody/is/here"),
    "/script": lambda req: req.internal_redirect("/pages/sub/one.wsgi/a%20b?c"),
    "/picture": lambda req: req.internal_redirect("/pages/me.gif/x.wsgi"),
    "/outside": lambda req: req.internal_redirect("/pages/%2e%2e/shop.py"),
    "/missing": lambda req: req.internal_redirect("/pages/missing.wsgi"),
    "/folder": lambda req: req.internal_redirect("/pages/sub"),
}


def pay(req):
    if req.prev is None:
        return 404
    req.prev.items.append("paid")
    is_held = lock.acquire(blocking=False)
    req.write(json.dumps([req.script_name, req.path_info, req.query, req.prev.items, req.prev.uri,
                          is_held and lock._is_owned()]))
    lock.release()
'''

LATE = '''
import os

if not os.path.exists(os.path.join(os.path.dirname(__file__), "go")):
    raise ConnectionError("announced failure")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"late but there"]
'''

MOUNTS = {"application shop": {"wsgi": "shop:shop", "mount": "/shop"},
          "application api": {"wsgi": "shop:api", "mount": "/shop/api"},
          "application newest": {"wsgi": "shop:newest", "mount": "/shop/api/v2"}}
REST = {"application": {"wsgi": "shop:rest"}}
LATER = {"application late": {"wsgi": "late:application", "mount": "/late"}}


@pytest.fixture
def start(tmp_path):
    write_file(tmp_path / "shop.py", SHOP)
    write_file(tmp_path / "late.py", LATE)

    def start_host(*settings, **more):
        wanted = {"python": {"path": str(tmp_path)}}
        for each in settings:
            wanted.update(each)
        return Host(None, wanted, **more)
    return start_host


@PROTOCOLS
class TestMounts:
    @pytest.mark.parametrize("path, answer", [
        ("/shop", ["shop", "/shop", ""]), ("/shop/", ["shop", "/shop", "/"]),
        ("/shop/apiary", ["shop", "/shop", "/apiary"]), ("/shop/api", ["api", "/shop/api", ""]),
        ("/shop/api/v1", ["api", "/shop/api", "/v1"]),
        ("/shop/api/v2/a%20b", ["newest", "/shop/api/v2", "/a b"]),
        ("/shopping", ["rest", "", "/shopping"]), ("/", ["rest", "", "/"])])
    def test_the_longest_one_wins_and_the_rest_is_automatic(self, start, protocol, path, answer):
        host = start(MOUNTS, REST)
        assert protocol.exchange(host.address, "GET", path).json == answer

    def test_the_automatic_one_keeps_the_split_of_the_web_server(self, start, protocol):
        host = start(MOUNTS, REST)
        response = protocol.exchange(host.address, "GET", "/b", script_name="/a")
        assert response.json == ["rest", "/a", "/b"]
        response = protocol.exchange(host.address, "GET", "/api/x", script_name="/shop")
        assert response.json == ["api", "/shop/api", "/x"]

    def test_below_none_of_them_is_404(self, start, protocol):
        host = start(MOUNTS)
        assert protocol.exchange(host.address, "GET", "/shopping").status == 404
        host.log.wait("GET /shopping: 404: no .application. mount matches the path")
        assert protocol.exchange(host.address, "GET", "/shop/x").json == ["shop", "/shop", "/x"]


class TestBehindAWebServer:
    @pytest.mark.parametrize("kind", [fronts.NginxFastcgi, fronts.NginxScgi, fronts.ApacheProxy,
                                      fronts.LighttpdFastcgi], ids=lambda kind: kind.name)
    def test_one_url_space_several_applications(self, kind):
        site = kind(prefix="", settings={
            "application": {"mount": None},
            "application second": {"wsgi": "wsgi_app:application", "mount": "/second"}})
        for path, script_name, path_info in (
                ("/second/environ", "/second", "/environ"), ("/secondary/environ", "", None),
                ("/environ", "", "/environ")):
            response = site.get(path)
            assert response.status == (404 if path_info is None else 200)
            if path_info:
                found = response.json
                assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == (script_name, path_info)


@PROTOCOLS
class TestOneThatCannotBeLoadedYet:
    def test_is_503_and_the_others_serve(self, start, protocol, expected_log):
        expected_log("announced failure")
        host = start(MOUNTS, LATER, {"startup": {"request_wait": "50ms"}})
        response = protocol.exchange(host.address, "GET", "/late")
        assert response.status == 503 and int(response.get("Retry-After")) >= 1
        assert protocol.exchange(host.address, "GET", "/shop").status == 200

    def test_its_requests_wait_without_a_thread_until_it_heals(self, start, protocol, tmp_path,
                                                               expected_log):
        expected_log("announced failure")
        host = start(LATER, MOUNTS, {"server": {"threads": 1}, "startup": {"request_wait": "1h"}})
        waiting = [protocol.Connection(host.address) for _ in range(5)]
        for connection in waiting:
            connection.send(protocol.request_bytes("GET", "/late"))
        for _ in range(20):
            assert protocol.exchange(host.address, "GET", "/shop").json == ["shop", "/shop", ""]
        assert not any(connection.can_receive() for connection in waiting)
        write_file(tmp_path / "go", "")
        assert [connection.read_response().text for connection in waiting] == ["late but there"] * 5
        host.log.wait(r"application late:application: loaded at attempt \d+")


@PROTOCOLS
class TestRedirects:
    """From one application to another, in the same process and thread."""
    SECTIONS = {"application basket": {"handler": "shop:basket", "mount": "/basket"},
                "application pay": {"handler": "shop:pay", "mount": "/pay"},
                "application plain": {"wsgi": "shop:rest", "mount": "/plain"}}

    @pytest.mark.parametrize("path", ["/pay", "/raise"])
    def test_prev_is_the_request_of_the_first_one(self, start, protocol, path):
        host = start(self.SECTIONS)
        assert protocol.exchange(host.address, "GET", "/pay").status == 404  # it is loaded
        for _ in range(3):
            response = protocol.exchange(host.address, "GET", "/basket" + path)
            assert response.json == ["/pay", "/card", "number=7", ["a lamp", "paid"],
                                     "/basket" + path, True]

    def test_to_a_wsgi_application(self, start, protocol):
        host = start(self.SECTIONS)
        assert protocol.exchange(host.address, "GET", "/plain").status == 200  # it is loaded
        response = protocol.exchange(host.address, "GET", "/basket/plain")
        assert response.json == ["rest", "/plain", "/below"]

    def test_to_what_no_section_serves_is_404(self, start, protocol):
        host = start(self.SECTIONS)
        assert protocol.exchange(host.address, "GET", "/basket/nowhere").status == 404

    def test_to_the_section_without_a_mount(self, start, protocol):
        host = start(self.SECTIONS, REST)
        assert protocol.exchange(host.address, "GET", "/x").json == ["rest", "", "/x"]  # it is loaded
        response = protocol.exchange(host.address, "GET", "/basket/nowhere")
        assert response.json == ["rest", "", "/nobody/is/here"]

    @pytest.mark.parametrize("mount, prefix", [("/pages", ""), (None, "pages/")], ids=["mounted", "rest"])
    def test_to_a_script_of_a_script_root(self, start, protocol, tmp_path, mount, prefix):
        root = tmp_path / "root"
        (root / prefix / "sub").mkdir(parents=True)
        for name in ("sub/one.wsgi", "me.gif"):
            write_file(root / prefix / name, SHOP + "\napplication = named('script')\n", 0o644)
        host = start(self.SECTIONS, {"application pages": {"script_root": str(root), "mount": mount}})
        host.log.wait("root: loaded at attempt 1")
        response = protocol.exchange(host.address, "GET", "/basket/script")
        assert response.json == ["script", "/pages/sub/one.wsgi", "/a b"]
        for path, status, reason in (("/picture", 403, "me.gif' is not allowed to run: its name does not end"),
                                     ("/outside", 404, "is not there|is below no" if mount else "is not there"),
                                     ("/missing", 404, "missing.wsgi' is not there"),
                                     ("/folder", 403, "it is not a regular file")):
            response = protocol.exchange(host.address, "GET", "/basket" + path)
            assert response.status == status and "script" not in response.text
            if path != "/outside":
                host.log.wait("GET /basket%s: %d: .*%s" % (path, status, reason))

    def test_to_one_that_is_not_loaded_yet_is_503(self, start, protocol, tmp_path, expected_log):
        expected_log("announced failure")
        host = start(self.SECTIONS, LATER)
        host.log.wait("late:application: attempt 1 failed")
        response = protocol.exchange(host.address, "GET", "/basket/late")
        assert response.status == 503 and response.get("Retry-After")
        write_file(tmp_path / "go", "")
        wait_until(lambda: protocol.exchange(host.address, "GET", "/basket/late").status == 200,
                   "the application to be loaded")
