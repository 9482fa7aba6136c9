"""FastCGI's other roles: authorizers and filters."""
import base64
import hashlib
import json
import os
import re
import time
import signal

import pytest

import fastcgi
import fronts
import message
import scgi
from fronts import changed
from host import ROOT, Host
from process import wait_until

EXAMPLE = os.path.join(ROOT, "examples", "authorizer")
PASSWORD = "lovelace"  # that of the example's ada


def basic(name, password=PASSWORD):
    text = base64.b64encode(("%s:%s" % (name, password)).encode()).decode()
    return [("Authorization", "Basic " + text)]


# -------------------------------------------------------------------------------
# Behind web servers that ask for an authorizer


class Gated:
    """Below /private an authorizer is asked; what serves there tells what has reached it."""
    example_name = None
    gate = {}  # keys of the section that nginx and Caddy ask

    def __init__(self, authorizer="roles_app:allow", page="roles_app:page", settings=None):
        self.keys = {
            "application": {"wsgi": page, "authorizer": authorizer, "mount": "/private"},
            "application gate": dict({"authorizer": authorizer, "mount": "/gate"}, **self.gate)}
        super().__init__(None, "/private", fronts.merged(settings, self.keys))

    def is_ready(self):
        return self.get("/ready", headers=basic("ada")).status < 500

    def example_text(self):
        return self.example("authorizer/" + self.example_name)


class NginxGate(Gated, fronts.Site):
    name, example_name = "nginx", "nginx.conf"

    def make_front(self):
        return fronts.Nginx(self.folder, self.example_text())


class NginxScgiGate(NginxGate):
    """The example with scgi in the place of fastcgi; over SCGI nginx sends a CONTENT_LENGTH itself."""
    name = "nginx-scgi"

    def example_text(self):
        return changed(super().example_text(), {
            '            fastcgi_param CONTENT_LENGTH "";\n': ""}).replace("fastcgi_", "scgi_")


class CaddyGate(Gated, fronts.Site):
    name, example_name = "caddy", "Caddyfile"

    def make_front(self):
        return fronts.Caddy(self.folder, self.example_text())


class LighttpdGate(Gated, fronts.Site):
    name, example_name = "lighttpd", "lighttpd.conf"

    def make_front(self):
        return fronts.Lighttpd(self.folder, self.example_text())


SHOW = """
    <Location /private>
        Header always set X-User "%{REMOTE_USER}e"
        Header always set X-Group "%{GROUP}e"
        Header always set X-Token "%{TOKEN}e"
    </Location>
    """


class ApacheGate(Gated):
    """A file is served, and headers show the variables."""
    modules = ["auth_basic", "authn_core", "authz_user", "headers"]

    def write_page(self):
        folder = os.path.join(self.folder, "documents", "private")
        os.makedirs(folder)
        fronts.write_file(os.path.join(folder, "x"), "a file")

    def shown(self, *args, **kwargs):
        response = self.get(*args, **kwargs)
        assert (response.status, response.text) == (200, "a file")
        return {"REMOTE_USER": response.get("X-User"), "GROUP": response.get("X-Group"),
                "TOKEN": response.get("X-Token")}, response


class FcgidGate(ApacheGate, fronts.ApacheFcgid):
    """mod_fcgid asks in one of its three kinds."""
    name, example_name = "apache-fcgid", "apache.conf"
    directives = 'FcgidAuthenticator "%s"\n    Require valid-user'

    def make_front(self):
        self.settings["server"].pop("socket_mode")
        os.chmod(self.folder, 0o777)  # sanitizers' reports are www-data's
        self.write_page()
        command = "%s -c %s" % (self.program(), fronts.write_site_ini(self))
        fronts.copy_for_others(os.path.join(EXAMPLE, "gate.py"),
                               os.path.join(self.folder, "apps", "gate.py"))
        environ = "\n".join('FcgidInitialEnv %s "%s"' % item
                            for item in fronts.sanitizer_environ(self.folder).items())
        text = changed(fronts.example("authorizer/apache.conf"), {
            'FcgidAuthenticator "/usr/local/bin/fcgihost --config /srv/app/fcgihost.ini"\n'
            "    Require valid-user": self.directives.replace("%s", command)})
        return fronts.Apache(self.folder, ["fcgid"] + self.modules, """
            FcgidIPCDir %(folder)s/fcgid
            FcgidProcessTableFile %(folder)s/fcgid_shm
            FcgidMaxProcesses 2
            FcgidConnectTimeout %(seconds)d
            FcgidIOTimeout %(seconds)d
            %(environ)s
            %(text)s
            """ % {"folder": self.folder, "environ": environ, "text": text + SHOW,
                   "seconds": fronts.process.deadline(30)})


class FcgidAuthorizerGate(FcgidGate):
    name = "apache-fcgid-authorizer"
    directives = """FcgidAuthenticator "%s"
    FcgidAuthorizer "%s"
    Require valid-user"""


class FcgidAccessGate(FcgidGate):
    name = "apache-fcgid-access"
    directives = 'FcgidAccessChecker "%s"'


class AuthnzGate(ApacheGate, fronts.Site):
    """mod_authnz_fcgi asks a fcgihost that runs on its own; over TCP, as it knows nothing else."""
    name = "apache-authnz"

    def make_front(self):
        self.write_page()
        self.tcp_port = fronts.process.free_port()
        text = changed(fronts.example("authorizer/apache.conf"), {
            "#   AuthnzFcgiDefineProvider authn gate fcgi://127.0.0.1:9000/\n":
            "AuthnzFcgiDefineProvider authn gate fcgi://127.0.0.1:%d/\n" % self.tcp_port,
            'FcgidAuthenticator "/usr/local/bin/fcgihost --config /srv/app/fcgihost.ini"\n':
            "AuthBasicProvider gate\n"})
        return fronts.Apache(self.folder, ["authnz_fcgi"] + self.modules, text + SHOW)

    def start_host(self):
        self.settings["server"].pop("socket_mode")
        self.host = Host(None, self.settings, folder=self.folder, watched=False,
                         listen=["127.0.0.1:%d" % self.tcp_port])


APACHE = [FcgidGate, FcgidAuthorizerGate, AuthnzGate]  # those that have a name and a password


def named(kinds):
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.name)


class TestAuthorizer:
    @named([NginxGate, NginxScgiGate, LighttpdGate, CaddyGate])
    def test_what_it_says_reaches_the_application(self, kind):
        site = kind()
        found = site.get("/x?token=first").json
        assert (found["GROUP"], found["PATH_INFO"], found["SCRIPT_NAME"]) == (
            "staff", "/x", "/private")
        for token in ("a", "b"):
            found = site.request("POST", "/x?token=" + token, b"a body" * 1000).json
            assert found["method"] == "POST" and found["kept"]["body"] == 0
            if kind is LighttpdGate:  # nginx passes on what its configuration names
                assert found["TOKEN"] == token

    @named([LighttpdGate])
    def test_it_is_asked_in_fastcgi_s_role(self, kind):
        assert kind().get("/x").json["kept"]["role"] == "AUTHORIZER"

    @named([NginxGate, NginxScgiGate, CaddyGate])
    def test_auth_request_is_an_ordinary_request_that_names_the_role(self, kind):
        assert kind().get("/x").json["kept"]["role"] == "AUTHORIZER"

    @pytest.mark.parametrize("gate", [{"mount": "/gat"}, {"mount": "/gate/x"}, {"mount": "/gates"},
                                      {"authorizer": None, "wsgi": "roles_app:page"}],
                             ids=["shorter", "below", "longer", "no-authorizer"])
    @named([NginxGate, NginxScgiGate, CaddyGate])
    def test_with_a_wrong_mount_nobody_passes(self, kind, gate):
        site = type("WrongGate", (kind,), {"gate": gate})()
        for headers in ([], basic("ada")):
            response = site.get("/x", headers=headers)
            assert response.status == 403 and "kept" not in response.text
        site.host_log.wait(r"GET /private/x: 403: the web server asks for an authorizer \(FCGI_ROLE\) at "
                           "/gate, where none is mounted: set ")

    @named([NginxGate, NginxScgiGate, CaddyGate])
    def test_one_that_returns_nothing_lets_nobody_pass(self, kind):
        site = kind()
        assert site.get("/x").status == 200
        assert site.get("/x?verdict=none").status == 403

    @named([NginxGate, NginxScgiGate, LighttpdGate, CaddyGate])
    def test_a_refusal(self, kind):
        site = kind()
        assert site.get("/x?verdict=no").status == 403
        response = site.get("/x?verdict=challenge")
        assert response.status == 401
        assert response.get("WWW-Authenticate") == 'Basic realm="test"'
        assert site.get("/x?verdict=404").status == (404 if kind in (LighttpdGate, CaddyGate) else 500)
        assert site.get("/x").status == 200

    @named([NginxGate, NginxScgiGate, LighttpdGate, CaddyGate, FcgidAccessGate])
    def test_one_that_fails_lets_nobody_pass(self, kind, expected_log):
        site = kind()
        expected_log("announced failure")
        response = site.get("/x?verdict=raise")
        assert response.status == (401 if kind is FcgidAccessGate else 500)
        assert "staff" not in response.text and "a file" not in response.text

    @named([NginxGate, NginxScgiGate, LighttpdGate, CaddyGate])
    def test_the_example(self, kind):
        site = kind("gate:allow", "gate:page", {"python": {"path": EXAMPLE}})
        response = site.get("/x", headers=basic("ada"))
        assert (response.status, response.text) == (200, "hello ada of staff\n")
        for headers in ([], basic("ada", "wrong"), basic("nobody")):
            response = site.get("/x", headers=headers)
            assert response.status == 401 and "hello" not in response.text
            assert response.get("WWW-Authenticate") == 'Basic realm="fcgihost"'


class TestAuthorizerOfApache:
    @named(APACHE)
    def test_its_variables_are_in_the_environment(self, kind):
        site = kind()
        shown, response = site.shown("/x?token=first", headers=basic("ada"))
        several = ", " if kind is FcgidAuthorizerGate else None  # both kinds have set it
        assert set(shown["GROUP"].split(several)) == {"staff"}
        assert set(shown["TOKEN"].split(several)) == {"first"}
        assert response.get("Variable-GROUP") is None

    @named(APACHE)
    def test_a_refusal(self, kind):
        site = kind()
        for path, headers in (("/x", []), ("/x?verdict=no", basic("ada")),
                              ("/x", basic("nobody"))):
            response = site.get(path, headers=headers)
            assert response.status == 401 and "a file" not in response.text
        assert site.get("/x", headers=basic("ada")).text == "a file"

    def test_an_authorizer_that_refuses_whom_the_authenticator_knows(self):
        site = FcgidAuthorizerGate()
        for only in ("AUTHENTICATOR", "AUTHORIZER"):
            response = site.get("/x?verdict=no&only=" + only, headers=basic("ada"))
            assert response.status == 401, only
        assert site.get("/x?verdict=no&only=ACCESS_CHECKER", headers=basic("ada")).status == 200

    def test_an_access_checker(self):
        site = FcgidAccessGate()
        shown, response = site.shown("/x?token=first")
        assert (shown["GROUP"], shown["TOKEN"]) == ("staff", "first")
        assert site.get("/x?verdict=no").status == 401  # mod_fcgid does not say 403
        assert site.get("/x?verdict=no&only=AUTHORIZER").status == 200

    @named([FcgidGate, AuthnzGate])
    def test_the_example(self, kind):
        site = kind("gate:allow", "gate:page", {"python": {"path": EXAMPLE}})
        shown, _ = site.shown("/x", headers=basic("ada"))
        assert (shown["REMOTE_USER"], shown["GROUP"]) == ("ada", "staff")
        for headers in ([], basic("ada", "wrong"), basic("nobody")):
            assert site.get("/x", headers=headers).status == 401


class TestPassword:
    """It is where the authorizer finds it, and nowhere else."""
    PASSWORD = "open-sesame-7316"

    def forbidden(self):
        return self.PASSWORD, basic("ada", self.PASSWORD)[0][1].split()[1]

    @named(APACHE)
    def test_behind_apache(self, kind, expected_log):
        site = kind(settings={"log": {"level": "debug", "show_errors": "yes"}})
        expected_log("announced failure with %d characters" % len(self.PASSWORD))
        headers = basic("ada", self.PASSWORD)
        assert site.get("/x?verdict=log", headers=headers).status == 200
        texts = [site.get("/x?verdict=" + verdict, headers=headers).text
                 for verdict in ("no", "raise")]
        site.host_log.wait("announced failure with %d characters" % len(self.PASSWORD))
        texts += [site.host_log.read(), site.error_log.read()]
        assert "allowed <fcgihost request GET /private/x" in texts[-2]
        for secret in self.forbidden():
            assert not any(secret in text for text in texts)

    def test_in_the_stacks_of_all_threads(self):
        host = start_host({"log": {"level": "debug", "show_errors": "yes"}})
        with fastcgi.Connection(host.address) as connection:
            connection.send(authorizer_bytes("/private/x?verdict=stack", extra={
                "REMOTE_PASSWD": self.PASSWORD, "REMOTE_USER": "ada",
                "HTTP_AUTHORIZATION": self.forbidden()[1]}))
            host.log.wait("waits for its release")
            os.kill(host.pid, signal.SIGUSR2)
            host.log.wait("GET /private/x for .*(.*\n)+?.*, in allow")
            assert host.exchange("GET", "/private/release").json["kept"]["password"] == \
                self.PASSWORD
            assert connection.read_response().status == 200
        for secret in self.forbidden():
            assert secret not in host.log.read()


# -------------------------------------------------------------------------------
# By raw records


def start_host(settings=None, **keys):
    application = dict({"wsgi": "roles_app:page", "mount": "/private",
                        "authorizer": "roles_app:allow"}, **keys)
    host = Host(None, fronts.merged({"application": application}, settings))
    host.log.wait("loaded at attempt 1")  # to end before that is worth a line in the log
    return host


def authorizer_bytes(path, keep=False, extra=None, request_id=1):
    """As mod_fcgid does: FCGI_PARAMS end, and nothing follows."""
    parameters = message.parameters("GET", path, extra=dict(
        {"SCRIPT_NAME": None, "PATH_INFO": None, "CONTENT_LENGTH": None}, **(extra or {})))
    return fastcgi.head(parameters, request_id, fastcgi.AUTHORIZER, keep)


class TestAuthorizerByRecords:
    def test_it_answers_at_the_end_of_the_parameters(self):
        host = start_host()
        with fastcgi.Connection(host.address) as connection:
            connection.send(authorizer_bytes("/private/x?token=t"))
            response = connection.read_response()
            assert (response.status, response.body) == (200, b"")
            assert sorted(response.headers) == [("Variable-GROUP", "staff"),
                                                ("Variable-TOKEN", "t")]
            assert connection.is_closed_by_peer()

    def test_on_a_kept_connection_others_follow(self):
        host = start_host()
        with fastcgi.Connection(host.address) as connection:
            for number in range(3):
                connection.send(authorizer_bytes("/private/x?verdict=no", keep=True))
                assert connection.read_response().status == 403
                connection.send(authorizer_bytes("/private/x?token=%d" % number, keep=True))
                assert connection.read_response().get("Variable-TOKEN") == str(number)
                assert connection.exchange("GET", "/private/x").json["PATH_INFO"] == "/x"

    def test_several_sent_at_once(self):
        host = start_host()
        with fastcgi.Connection(host.address) as connection:
            connection.send(b"".join(authorizer_bytes("/private/x?token=%d" % number, keep=True)
                                     for number in range(20)))
            tokens = [connection.read_response().get("Variable-TOKEN") for _ in range(20)]
        assert tokens == [str(number) for number in range(20)]

    @pytest.mark.parametrize("body", [b"", b"a body that no authorizer gets"])
    def test_a_server_that_sends_stdin_all_the_same(self, body):
        host = start_host()
        with fastcgi.Connection(host.address) as connection:
            for number in range(3):
                connection.send(authorizer_bytes("/private/x?token=%d" % number, keep=True, extra={
                    "CONTENT_LENGTH": str(len(body))}) + fastcgi.stream(fastcgi.STDIN, body))
                assert connection.read_response().get("Variable-TOKEN") == str(number)
            assert connection.exchange("GET", "/private/x").json["kept"]["body"] == 0

    def test_a_path_that_no_authorizer_is_for_is_404(self):
        host = start_host()
        with fastcgi.Connection(host.address) as connection:
            connection.send(authorizer_bytes("/elsewhere"))
            assert connection.read_response().status == 404

    def test_before_it_is_loaded_it_is_503(self):
        host = Host(None, {"application": {"authorizer": "not_there:allow"},
                           "startup": {"request_wait": "50ms"}}, probe=False)
        with fastcgi.Connection(host.address) as connection:
            connection.send(authorizer_bytes("/private"))
            assert connection.read_response().status == 503

    def test_a_section_that_has_nothing_else_answers_ordinary_requests(self):
        host = Host(None, {"application": {"authorizer": "roles_app:allow"}})
        response = host.exchange("GET", "/x?token=t")
        assert (response.status, response.get("Variable-TOKEN")) == (200, "t")
        assert host.exchange("GET", "/x?verdict=no").status == 403


@pytest.mark.parametrize("protocol", [fastcgi, scgi], ids=lambda module: module.NAME)
class TestQuestion:
    """An ordinary request that says FCGI_ROLE=AUTHORIZER, as nginx's configuration can."""

    def ask(self, host, protocol, path, query="", **extra):
        return protocol.exchange(host.address, "GET", path + query, extra=dict(
            {"FCGI_ROLE": "AUTHORIZER", "SCRIPT_NAME": path, "PATH_INFO": None}, **extra))

    @pytest.mark.parametrize("mount", [None, "/", "/private"], ids=["automatic", "root", "mounted"])
    def test_where_no_authorizer_is_it_is_refused(self, protocol, mount):
        host = start_host(authorizer=None, mount=mount)
        for path in ("/private", "/private/x", "/gate", "/"):
            response = self.ask(host, protocol, path)
            assert response.status == 403 and "kept" not in response.text
            host.log.wait("GET %s: 403: the web server asks for an authorizer .* at %s, where none" % (path, path))
        assert host.log.read().count("403: ") == 4

    def test_it_is_the_path_that_is_asked_and_not_the_client_s_that_counts(self, protocol):
        host = start_host()
        response = self.ask(host, protocol, "/gate", REQUEST_URI="/private/x")
        assert response.status == 403 and response.get("Variable-GROUP") is None

    def test_where_one_is_mounted_it_answers(self, protocol):
        host = start_host()
        assert self.ask(host, protocol, "/private/x", "?token=t").get("Variable-TOKEN") == "t"
        assert self.ask(host, protocol, "/private/x", "?verdict=no").status == 403
        assert self.ask(host, protocol, "/private/x", "?verdict=none").status == 403

    def test_so_does_one_without_a_mount(self, protocol):
        host = Host(None, {"application": {"authorizer": "roles_app:allow"}})
        assert self.ask(host, protocol, "/x", "?token=t").get("Variable-TOKEN") == "t"


class TestAuthorizerByAnOrdinaryRequest:
    """auth_request asks with the client's own headers: nginx 1.30 announces over SCGI the client's
    CONTENT_LENGTH, and sends no body."""
    KEYS = {"application": {"wsgi": "roles_app:page"},
            "application gate": {"authorizer": "roles_app:allow", "mount": "/gate"}}

    def announced(self, token):
        """The parameters of a request with a body of 21 bytes."""
        return message.parameters("POST", "/gate?token=" + token, extra={"CONTENT_LENGTH": "21"})

    def assert_saw_no_body(self, host):
        found = host.exchange("GET", "/seen").json["kept"]
        assert (found["body"], found["length"]) == (0, "0")

    def test_over_scgi_a_body_that_was_announced_is_not_waited_for(self):
        host = Host(None, self.KEYS)
        for count in range(20):  # more than there are threads
            with scgi.Connection(host.address) as connection:
                connection.send(scgi.head(self.announced(str(count))))
                assert connection.read_response().get("Variable-TOKEN") == str(count)
        self.assert_saw_no_body(host)

    @pytest.mark.parametrize("body", [b"", b"a body of 21 bytes, x"], ids=["none", "whole"])
    def test_over_fastcgi_it_gets_no_body_and_the_connection_is_kept(self, body):
        host = Host(None, self.KEYS)
        with fastcgi.Connection(host.address) as connection:
            for number in range(3):
                connection.send(fastcgi.head(self.announced(str(number))) +
                                fastcgi.stream(fastcgi.STDIN, body))
                assert connection.read_response().get("Variable-TOKEN") == str(number)
        self.assert_saw_no_body(host)

    @pytest.mark.parametrize("size", [21, 300000])
    def test_over_scgi_one_that_comes_all_the_same_is_dropped(self, size):
        host = Host(None, self.KEYS)
        response = scgi.exchange(host.address, "POST", "/gate?token=t", b"b" * size)
        assert (response.status, response.get("Variable-TOKEN")) == (200, "t")
        self.assert_saw_no_body(host)

    def test_what_others_serve_has_its_body(self):
        host = Host(None, {"application": {"wsgi": "wsgi_app:application"},
                           "application gate": self.KEYS["application gate"]})
        for module in (fastcgi, scgi):
            assert module.exchange(host.address, "POST", "/echo-body", b"a body").body == b"a body"


class TestUnknownRole:
    @pytest.mark.parametrize("role", [fastcgi.AUTHORIZER, fastcgi.FILTER, 4, 31, 32, 65535])
    def test_on_a_kept_connection_the_next_request_is_served(self, role):
        host = start_host(authorizer=None)
        parameters = message.parameters("GET", "/private/x")
        with fastcgi.Connection(host.address) as connection:
            for _ in range(3):
                connection.send(fastcgi.head(parameters, 1, role))
                assert connection.read_raw() == (b"", b"", (0, fastcgi.UNKNOWN_ROLE))
                assert connection.exchange("GET", "/private/x").status == 200

    @pytest.mark.parametrize("role", [fastcgi.AUTHORIZER, fastcgi.FILTER])
    def test_else_it_is_closed(self, role):
        host = start_host(authorizer=None)
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.head(message.parameters("GET", "/x"), 1, role, keep=False))
            assert connection.read_raw() == (b"", b"", (0, fastcgi.UNKNOWN_ROLE))
            assert connection.is_closed_by_peer()

    def test_of_an_authorizer_s_host_it_is_the_filter_s(self):
        host = start_host()
        with fastcgi.Connection(host.address) as connection:
            connection.send(fastcgi.head(message.parameters("GET", "/x"), 1, fastcgi.FILTER))
            assert connection.read_raw()[2] == (0, fastcgi.UNKNOWN_ROLE)
            connection.send(authorizer_bytes("/private/x", keep=True))
            assert connection.read_response().status == 200


FILE = b"one\ntwo\nthree"
LARGE = hashlib.sha256(b"seed").digest() * 100000  # 3.2 MB


def filter_bytes(query="", body=b"", data=FILE, extra=None, length=None, chunk=65535, end=True):
    """No web server asks for this role: FCGI_STDIN, then FCGI_DATA."""
    parameters = message.parameters("POST" if body else "GET", "/file" + query, body, extra=dict({
        "FCGI_DATA_LENGTH": str(len(data) if length is None else length),
        "FCGI_DATA_LAST_MOD": "1700000000"}, **(extra or {})))
    return fastcgi.head(parameters, 1, fastcgi.FILTER) + \
        fastcgi.stream(fastcgi.STDIN, body, chunk=chunk) + \
        fastcgi.stream(fastcgi.DATA, data, chunk=chunk, padding=3, end=end)


class TestFilter:
    @pytest.fixture
    def connection(self):
        host = Host(None, {"application": {"filter": "roles_app:change"},
                           "application page": {"wsgi": "roles_app:page", "mount": "/private"}})
        connection = fastcgi.Connection(host.address)
        connection.host = host
        yield connection
        # Whatever it was, the connection can be used again.
        assert connection.exchange("GET", "/private/after").json["PATH_INFO"] == "/after"

    def ask(self, connection, *args, **kwargs):
        connection.send(filter_bytes(*args, **kwargs))
        response = connection.read_response()
        assert response.status == 200
        return json.loads(response.body)

    def test_it_changes_the_file(self, connection):
        for _ in range(3):
            assert self.ask(connection) == ["ONE", "TWO", "THREE", 13]

    @pytest.mark.parametrize("chunk", [1, 7, 65535])
    def test_a_large_file_in_pieces(self, connection, chunk):
        data = LARGE if chunk > 1 else LARGE[:10000]
        assert self.ask(connection, "?do=hash", data=data, chunk=chunk) == [
            hashlib.sha256(data).hexdigest(), len(data)]

    @pytest.mark.parametrize("action, answer", [("nothing", []), ("some", ["one\nt"])])
    def test_a_file_that_is_not_read_or_in_part(self, connection, action, answer):
        for data in (FILE, FILE * 10000):
            assert self.ask(connection, "?do=" + action, data=data) == answer + [len(data)]

    def test_an_empty_file(self, connection):
        assert self.ask(connection, data=b"") == [0]

    def test_the_body_is_read_before_the_file(self, connection):
        assert self.ask(connection, "?do=input", b"a=1") == ["input a=1", "ONE", "TWO", "THREE", 13]

    @pytest.mark.parametrize("body", [b"a=1", LARGE], ids=["small", "large"])
    def test_a_body_that_was_passed_over_is_gone(self, connection, body):
        assert self.ask(connection, "?do=late-input", body) == ["data one\nt", "input ",
                                                                "rest wo\nthree", 13]

    def test_a_length_that_is_not_known(self, connection):
        assert self.ask(connection, extra={"FCGI_DATA_LENGTH": None}) == ["ONE", "TWO", "THREE",
                                                                          None]

    def test_a_file_that_is_shorter_than_its_length(self, connection):
        found = self.ask(connection, "?do=short", length=len(FILE) + 1)
        assert re.match("OSError .*the file to filter was cut short", found[0])

    def test_a_longer_one_is_read_to_its_length(self, connection):
        assert self.ask(connection, length=5) == ["ONE", "T", 5]

    def test_a_connection_that_ends_within_the_file(self, connection):
        with fastcgi.Connection(connection.host.address) as other:
            other.send(filter_bytes("?do=short", length=1000, end=False))
            other.half_close()
            assert "the file to filter was cut short" in other.read_response().text
            assert other.is_closed_by_peer()

    def test_threads_that_wait_for_the_file_and_ask_for_the_body_keep_nobody_waiting(self, connection):
        whole = filter_bytes("?do=both")
        connection.send(whole[:-40])
        connection.host.log.wait("the file is waited for")
        for _ in range(20):
            with fastcgi.Connection(connection.host.address, seconds=10) as other:
                assert other.exchange("GET", "/private/other").json["PATH_INFO"] == "/other"
            time.sleep(0.02)
        connection.send(whole[-40:])
        assert json.loads(connection.read_response().body) == ["data one\ntwo\nthree", "input ", 13]

    def test_the_example(self):
        host = Host(None, {"application": {"filter": "numbering:number"},
                           "python": {"path": os.path.join(ROOT, "examples", "filter")}},
                    probe=False)
        with fastcgi.Connection(host.address) as connection:
            connection.send(filter_bytes("?from=2"))
            response = connection.read_response()
            assert response.text == "     2  two\n     3  three"
            assert response.get("Last-Modified") == "Tue, 14 Nov 2023 22:13:20 GMT"
            connection.send(filter_bytes("?from=x"))
            assert connection.read_response().status == 400
