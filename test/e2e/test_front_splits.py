"""Where the web server splits the path, or fails to: script files, and what the log says of it."""
import pytest

import fronts
import script_fronts
from conftest import end_shared
from fronts import changed

ENVIRON_PAGE = '''
import json

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: environ[name] for name in ("SCRIPT_NAME", "PATH_INFO")}).encode()]
'''


class OneScript:
    """The host serves one script file, wherever the web server finds it."""
    def keys(self):
        return {"script": self.write("app.wsgi", ENVIRON_PAGE)}


class TestScriptFiles:
    @pytest.fixture(scope="module", ids=lambda kind: kind.name,
                    params=[script_fronts.NginxTryFilesScripts, script_fronts.ApacheMatchScripts,
                            script_fronts.ApacheHandlerScripts, script_fronts.LighttpdScripts])
    def site(self, request):
        found = type("OneScriptSite", (OneScript, request.param), {})()
        yield found
        end_shared(found)

    @pytest.mark.parametrize("rest, path_info", [
        ("", ""), ("/", "/"), ("/a/b", "/a/b"), ("/caf%C3%A9%20x", "/caf\xc3\xa9 x"),
        ("/a;b=c", "/a;b=c"), ("?a=/b", "")])
    def test_the_file_becomes_script_name(self, site, rest, path_info):
        response = site.ask("/app.wsgi" + rest)
        assert response.status == 200, response
        assert response.json == {"SCRIPT_NAME": "/app.wsgi", "PATH_INFO": path_info}


def what_counts(environ):
    """What applications read, and is not the number of a port or an object's own."""
    names = {"REQUEST_METHOD", "REQUEST_URI", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING",
             "CONTENT_TYPE", "CONTENT_LENGTH", "SERVER_NAME", "SERVER_PROTOCOL", "REMOTE_ADDR",
             "HTTP_X_TOKEN", "HTTP_COOKIE", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE",
             "wsgi.version", "wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess",
             "wsgi.run_once", "wsgi.input_terminated"}
    return {name: environ[name] for name in environ if name in names}


@pytest.mark.parametrize("prefix", ["/app", ""], ids=["prefix", "root"])
@pytest.mark.parametrize("kinds", [
    (fronts.NginxFastcgi, fronts.NginxScgi), (fronts.NginxStock, fronts.NginxStockScgi),
    (fronts.ApacheProxy, fronts.ApacheProxyScgi), (fronts.LighttpdFastcgi, fronts.LighttpdScgi)],
    ids=lambda kinds: kinds[0].name)
def test_scgi_gives_the_environ_that_fastcgi_gives(kinds, prefix):
    pair = [kind(prefix=prefix) for kind in kinds]
    for path in ("/", "/a/b", "/a%20b", "/caf%C3%A9", "/a//b", "/a;b", "/x/../b", "/application"):
        seen = []
        for site in pair:
            found = site.request("POST", path + "?show-environ&a=%20", b"1234", [
                ("Content-Type", "a/b"), ("X-Token", "t"), ("Cookie", "a=b")]).json
            seen.append(what_counts(found))
        assert seen[0]["CONTENT_LENGTH"] == "4" and "SCRIPT_NAME" in seen[0]
        assert seen[0] == seen[1]


class ProxyPathInfo(fronts.ApacheProxy):
    """Apache is told to split the path, and then leaves PATH_INFO percent-encoded."""
    name, mount_setting, variable = "apache-proxy-pathinfo", False, "proxy-fcgi-pathinfo"

    def example(self, name):
        return super().example(name) + "\nSetEnvIf Request_URI . %s=1\n" % self.variable

    def make_front(self):
        front = super().make_front()
        front.modules.append("setenvif")
        return front


class ScgiProxyPathInfo(ProxyPathInfo):
    name, scheme, variable = "apache-proxy-scgi-pathinfo", "scgi", "proxy-scgi-pathinfo"


@pytest.mark.parametrize("mount", [None, "/"], ids=["automatic", "mounted"])
@pytest.mark.parametrize("kind", [ProxyPathInfo, ScgiProxyPathInfo], ids=lambda kind: kind.name)
class TestApachePathInfo:
    PATHS = [("/", "/"), ("/app/a/b", "/app/a/b"), ("/app/a%20b", "/app/a b"),
             ("/app/a%20b/c", "/app/a b/c"), ("/app/a%20b/c/", "/app/a b/c/"),
             ("/caf%C3%A9", "/caf\xc3\xa9"), ("/caf%c3%a9/%20", "/caf\xc3\xa9/ "),
             ("/100%25", "/100%"), ("/a%2520b", "/a%20b"), ("/a;b=c", "/a;b=c")]

    def test_at_the_root(self, kind, mount):
        site = kind(prefix="", settings={"application": {"mount": mount}})
        for path, path_info in self.PATHS:
            found = site.get(path + "?show-environ").json
            assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("", path_info), path

    def test_below_a_prefix(self, kind, mount):
        site = kind(prefix="/app", settings={"application": {"mount": mount and "/app"}})
        for path, path_info in self.PATHS:
            found = site.get(path + "?show-environ").json
            assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/app", path_info), path


class FcgidAsInTheExamples(fronts.ApacheFcgid):
    """No configuration file, and no mount: mod_fcgid splits the path itself."""
    mount_setting, script = False, ENVIRON_PAGE

    def split(self, path):
        response = fronts.http_request(self.port, "GET", path)
        assert response.status == 200, response
        return response.json["SCRIPT_NAME"], response.json["PATH_INFO"]

    def command(self):
        return "%s --threads 1 %s/app.wsgi" % (self.program(), self.folder)


@pytest.mark.parametrize("prefix", ["/app", ""], ids=["prefix", "root"])
def test_mod_fcgid_needs_no_mount(prefix):
    site = FcgidAsInTheExamples(None, prefix)
    for path, path_info in (("/", "/"), ("/a/b", "/a/b"), ("/caf%C3%A9%20x", "/caf\xc3\xa9 x"),
                            ("/a//b", "/a/b"), ("/x/../b", "/b"), ("/a;b=c", "/a;b=c"),
                            ("/application", "/application")):
        assert site.split(prefix + path) == (prefix, path_info)
    if prefix:
        assert site.split("/app") == ("/app", "")
    for path in ("/application", "/app.x") if prefix else ():
        assert fronts.http_request(site.port, "GET", path).status == 404
    assert warnings_of(site) == []


# -------------------------------------------------------------------------------
# What cannot be known is said: each of these configurations lacks something.


class ProxyWithoutMount(fronts.ApacheProxy):
    name, mount_setting = "apache-proxy", False
    advice = r"set \[application\] mount = /app "


class ScgiProxyWithoutMount(fronts.ApacheProxyScgi):
    name, mount_setting = "apache-proxy-scgi", False
    advice = r"set \[application\] mount = /app "


class NginxPrefixTwice(fronts.NginxFastcgi):
    name = "nginx-prefix-twice"
    advice = r"PATH_INFO=/app/ready, both with the prefix: set \[application\] mount = /app, or"

    def example(self, name):
        return changed(super().example(name), {
            "fastcgi_param PATH_INFO $fastcgi_path_info;":
            "fastcgi_param PATH_INFO $fastcgi_script_name$fastcgi_path_info;"})


class LighttpdRoot(fronts.LighttpdFastcgi):
    name, mount_setting = "lighttpd-root", False
    advice = '"fix-root-scriptname" => "enable" beside "socket"'

    def __init__(self):
        super().__init__(prefix="")

    def example(self, name):
        return changed(super().example(name), {',\n        "fix-root-scriptname" => "enable"': ""})


class LighttpdSlash(fronts.LighttpdFastcgi):
    name, mount_setting = "lighttpd-slash", False
    advice = 'write "/app" => instead of "/app/" =>'

    def example(self, name):
        return changed(super().example(name), {'("/app" =>': '("/app/" =>'})


def warnings_of(site):
    """But for the one that the tests run as root."""
    return [line for line in site.host_log.read().splitlines()
            if " warning: " in line and "running as root" not in line]


class TestAdvice:
    @pytest.mark.parametrize("kind", [ProxyWithoutMount, ScgiProxyWithoutMount, NginxPrefixTwice,
                                      LighttpdRoot, LighttpdSlash], ids=lambda kind: kind.name)
    def test_one_line_says_what_the_configuration_lacks(self, kind):
        site = kind()
        for path in ("/", "/ready", "/a/b", "/"):
            site.get(path)
        site.host_log.wait(kind.advice)
        assert len(warnings_of(site)) == 1

    @pytest.mark.parametrize("kind", [kind for kind in fronts.ALL if not kind.mount_setting],
                             ids=lambda kind: kind.name)
    def test_with_the_configuration_of_the_examples_nothing_is_said(self, kind):
        site = kind()
        for path in ("", "/", "/ready", "/a/b", "/app/x"):
            site.get(path)
        assert warnings_of(site) == []

    @pytest.mark.parametrize("kind", [fronts.NginxFastcgi, fronts.HaproxyFastcgi,
                                      fronts.CaddyFastcgi, fronts.H2oFastcgi,
                                      fronts.ApacheProxy, fronts.LighttpdFastcgi],
                             ids=lambda kind: kind.name)
    def test_nor_is_it_at_the_root_without_a_mount(self, kind):
        site = kind(prefix="", settings={"application": {"mount": None}})
        for path in ("/", "/ready", "/a/b", "/app/x"):
            site.get(path)
        found = site.get("/a/b?show-environ").json
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("", "/a/b")
        assert warnings_of(site) == []
