"""fcgihost.diagnostics and fcgihost.fronts: what is shown to an administrator, and what is never shown."""
import re
import unittest
from html.parser import HTMLParser
from unittest import mock
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import support  # noqa: F401
from fcgihost import diagnostics, fronts, runtime


def ask(**environ):
    """(status, headers, body) of the page."""
    for name, value in (("QUERY_STRING", ""), ("SCRIPT_NAME", ""), ("PATH_INFO", "/")):
        environ.setdefault(name, value)
    setup_testing_defaults(environ)
    answer = []
    result = validator(diagnostics.application)(environ, lambda status, items, exc_info=None: answer.extend((
        status, dict(items))))
    try:
        body = b"".join(result)
    finally:
        result.close()
    return answer[0], answer[1], body.decode()


def findings(sent, **environ):
    """The titles of what is found, each with its configuration, for parameters that reach the application."""
    sent = dict({"REQUEST_URI": "/", "SERVER_NAME": "www.example.org", "SCRIPT_NAME": "", "PATH_INFO": "/"}, **sent)
    environ = dict(sent, **dict({"wsgi.url_scheme": "http"}, **environ))
    return {finding.title: finding for finding in fronts.examine(fronts.recognise(sent), sent, environ)}


class Checker(HTMLParser):
    """Notes what a page would load, and the text of its cells."""

    def __init__(self):
        super().__init__()
        self.tags, self.loads = set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "action", "data", "srcset")]


class PageTest(unittest.TestCase):
    def test_curl_gets_text_and_a_browser_html(self):
        browser = "text/html,application/xhtml+xml,*/*;q=0.8"
        for accept, query, kind in (("*/*", "", "plain"), ("", "", "plain"), ("text/plain", "", "plain"),
                                    (browser, "", "html"), (browser, "format=text", "plain"),
                                    ("*/*", "a=b&format=html", "html"), ("*/*", "format=x", "plain")):
            status, headers, body = ask(HTTP_ACCEPT=accept, QUERY_STRING=query)
            self.assertEqual((status, headers["Content-Type"]), ("200 OK", "text/%s; charset=utf-8" % kind))
            self.assertEqual(body.startswith("<!doctype html>"), kind == "html")
            self.assertEqual(headers["Content-Length"], str(len(body.encode())))

    def test_nobody_keeps_it(self):
        headers = ask()[1]
        self.assertEqual(headers["Cache-Control"], "no-store")
        self.assertEqual(headers["X-Robots-Tag"], "noindex")
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])

    def test_it_warns(self):
        for kind in ("text", "html"):
            self.assertIn("This page shows internals", ask(QUERY_STRING="format=" + kind)[2])

    def test_the_html_loads_nothing_and_has_no_script(self):
        body = ask(QUERY_STRING="format=html")[2]
        checker = Checker()
        checker.feed(body)
        self.assertEqual(checker.loads, [])
        self.assertFalse(checker.tags & {"script", "link", "img", "iframe"})
        self.assertNotIn("url(", body)
        self.assertIn('name="viewport"', body)

    def test_what_was_sent_is_there_sorted(self):
        body = ask(HTTP_X_B="2", HTTP_X_A="1")[2]
        rows = re.findall(r"^([A-Z_]+) += (.*)$", body.partition("What the web server sent")[2], re.M)
        self.assertEqual([name for name, _ in rows], sorted(name for name, _ in rows))
        self.assertIn(("HTTP_X_A", "1"), rows)
        self.assertNotIn("wsgi.input", body)
        self.assertEqual(body.count("wsgi.url_scheme"), 1)

    def test_the_host_knows_what_was_sent_before_it_corrected_it(self):
        sent = {"SCRIPT_NAME": "/raw", "SERVER_SOFTWARE": "nginx/1"}
        with mock.patch.object(runtime, "sent_parameters", lambda: sent):
            body = ask(SCRIPT_NAME="/app")[2]
        self.assertRegex(body, r"(?s)Web server: nginx \(nginx/1\).*application sees.*SCRIPT_NAME += /app\n.*"
                               r"server sent.*SCRIPT_NAME += /raw\n")

    def test_the_hosts_parameters_come_from_its_c_side(self):
        self.assertIsNone(runtime.sent_parameters())
        with mock.patch.object(runtime, "_host", mock.Mock(sent_parameters=lambda: [("A", "1"), ("A", "2")])):
            self.assertEqual(runtime.sent_parameters(), {"A": "2"})

    def test_what_the_application_sees(self):
        body = ask(REQUEST_METHOD="POST", SCRIPT_NAME="/app", PATH_INFO="/\xc3\xa9", QUERY_STRING="a=1",
                   HTTP_HOST="x:81")[2]
        for name, value in (("URL, reconstructed", "http://x:81/app/%C3%A9?a=1"), ("REQUEST_METHOD", "POST"),
                            ("PATH_INFO", "/\xe9"), ("wsgi.url_scheme", "http"), ("REMOTE_USER", r"\(absent\)"),
                            ("wsgi.multithread", "(True|False|1|0)")):
            self.assertRegex(body, "(?m)^%s += %s$" % (re.escape(name), value.replace("?", r"\?")))

    def test_secrets_are_hidden_in_both_forms(self):
        secrets = {"HTTP_AUTHORIZATION": "Basic aHVzaA-secret", "HTTP_COOKIE": "sid=secret", "REMOTE_PASSWD": "secret",
                   "HTTP_PROXY_AUTHORIZATION": "secret", "REDIRECT_HTTP_AUTHORIZATION": "Bearer secret",
                   "HTTP_X_CSRF_TOKEN": "secret", "HTTP_X_API_KEY": "secret", "DB_PASSWORD": "secret",
                   "HTTP_X_AMZ_SECURITY_TOKEN": "secret"}
        for kind in ("text", "html"):
            body = ask(QUERY_STRING="format=" + kind, **secrets)[2]
            self.assertNotIn("secret", body)
            for name in secrets:
                self.assertIn(name, body)
            self.assertIn("Basic (hidden)", body)

    def test_secrets_in_queries_are_hidden_wherever_the_query_is_shown(self):
        query = "%s&api_key=secret&next=%%2Fa%%3Ftoken%%3Dsecret"
        for kind in "text", "html":
            sent = query % ("format=" + kind)
            body = ask(QUERY_STRING=sent, REQUEST_URI="/app?" + sent, HTTP_REFERER="http://u:secret@x/?" + sent,
                       REDIRECT_QUERY_STRING=sent, HTTP_X_ORIGINAL_URI="/app?" + sent, SCRIPT_NAME="/app")[2]
            self.assertNotIn("secret", body)
            self.assertGreaterEqual(body.count("api_key=(hidden)"), 5)

    def test_an_empty_secret_is_seen_to_be_empty(self):
        self.assertEqual(diagnostics.mask("HTTP_COOKIE", ""), "")
        self.assertEqual(diagnostics.mask("HTTP_COOKIE", "a b"), "(hidden)")
        self.assertEqual(diagnostics.mask("HTTP_AUTHORIZATION", "token"), "(hidden)")

    def test_nothing_that_was_sent_becomes_markup_or_controls_a_terminal(self):
        evil = '<script>alert(1)</script>"\x1b[2J\x9b\xe2\x80\xae'
        body = ask(QUERY_STRING="format=html", **{
            "HTTP_X": evil, "<b>": "x", "SERVER_SOFTWARE": evil,
            "REQUEST_URI": "/" + evil, "SCRIPT_NAME": "/" + evil + "/",
            "SCRIPT_FILENAME": "proxy:fcgi://x/", "HTTP_HOST": evil})[2]
        self.assertNotIn("<script", body)
        self.assertNotIn("<b>x", body)
        self.assertIn("&lt;script&gt;", body)
        text = ask(HTTP_X=evil, SERVER_SOFTWARE=evil, SCRIPT_NAME="/" + evil + "/", **{"A\nB": "x"})[2]
        for page in (body, text):
            self.assertEqual([c for c in page if not c.isprintable() and c != "\n"], [])
        self.assertIn("A\\nB", text)
        self.assertIn("\\x1b[2J", text)

    def test_findings_are_shown_with_their_configuration(self):
        sent = {"SERVER_SOFTWARE": "Apache/2.4", "SCRIPT_FILENAME": "proxy:fcgi://h:1/a", "REQUEST_URI": "/<app>/a",
                "SCRIPT_NAME": "", "PATH_INFO": "/<app>/a"}
        text = ask(**sent)[2]
        self.assertIn("problem: the prefix of the application is lost", text)
        self.assertIn("        mount = /<app>\n", text)
        self.assertIn("hint: Apache keeps the Authorization", text)
        self.assertLess(text.index("problem: "), text.index("hint: "))
        html = ask(QUERY_STRING="format=html", **sent)[2]
        self.assertRegex(html, r"(?s)<section class=problem><h3>problem: the prefix of the application is lost</h3>"
                               r"<p>.*mount = /&lt;app&gt;</pre>\n</section>\n<section class=hint>.*</section>\n<h2>What")
        self.assertEqual((html.count("<table>"), html.count("</table>")), (3, 3))

    def test_nothing_found(self):
        for kind in ("text", "html"):
            body = ask(QUERY_STRING="format=" + kind, SERVER_SOFTWARE="fcgihost", SERVER_NAME="x", PATH_INFO="/",
                       REQUEST_URI="/?format=" + kind)[2]
            self.assertIn("No problems were found.", body)


class RecogniseTest(unittest.TestCase):
    def test_fronts(self):
        for name, sent in (
                (fronts.NGINX, {"SERVER_SOFTWARE": "nginx/1.22.1"}),
                (fronts.LIGHTTPD, {"SERVER_SOFTWARE": "lighttpd/1.4.69"}),
                (fronts.HAPROXY, {"SERVER_SOFTWARE": "HAProxy 2.6.12"}),
                (fronts.HAPROXY, {"SERVER_SOFTWARE": "haproxy"}),
                (fronts.CADDY, {"SERVER_SOFTWARE": "Caddy/v2.6.2"}), (fronts.H2O, {"SERVER_SOFTWARE": "h2o/2.2.5"}),
                (fronts.NGINX, {"SCGI": "1", "DOCUMENT_URI": "/app"}), ("", {"SCGI": "1"}), ("", {"DOCUMENT_URI": "/app"}),
                (fronts.CALL, {"SERVER_SOFTWARE": "fcgihost"}), ("", {"SERVER_SOFTWARE": "IIS"}), ("", {}),
                (fronts.FCGID, {"SERVER_SOFTWARE": "Apache/2.4.71 (Debian)", "SCRIPT_FILENAME": "/srv/app.wsgi"}),
                (fronts.PROXY_FCGI, {"SERVER_SOFTWARE": "Apache", "SCRIPT_FILENAME": "proxy:fcgi://h:1/a"}),
                (fronts.PROXY_FCGI, {"SERVER_SOFTWARE": "Apache", "SCRIPT_FILENAME": "//srv/app.wsgi"}),
                (fronts.PROXY_SCGI, {"SERVER_SOFTWARE": "Apache", "SCRIPT_FILENAME": "proxy:scgi://h:1/a"}),
                (fronts.PROXY_SCGI, {"SERVER_SOFTWARE": "Apache", "SCGI": "1"})):
            self.assertEqual(fronts.recognise(sent).name, name, sent)

    def test_how_it_is_called(self):
        self.assertEqual(str(fronts.recognise({"SERVER_SOFTWARE": "nginx/1.22.1"})), "nginx (nginx/1.22.1)")
        self.assertEqual(str(fronts.recognise({})), "unknown (it does not name itself)")


class FindingsTest(unittest.TestCase):
    NGINX = {"SERVER_SOFTWARE": "nginx/1.22.1"}
    APACHE = {"SERVER_SOFTWARE": "Apache/2.4.71"}

    def found(self, title, sent, *lines, **environ):
        finding = findings(sent, **environ).get(title)
        self.assertIsNotNone(finding, findings(sent, **environ).keys())
        for line in lines:
            self.assertIn(line, finding.lines)
        return finding

    def not_found(self, title, sent, **environ):
        self.assertNotIn(title, findings(sent, **environ))

    def test_a_right_configuration_has_no_problem(self):
        sent = dict(self.NGINX, SCRIPT_NAME="/app", PATH_INFO="/a b", REQUEST_URI="/app/a%20b?q=1", QUERY_STRING="q=1",
                    HTTP_HOST="x", SERVER_PORT="80", REMOTE_ADDR="192.0.2.1")
        self.assertEqual([finding.title for finding in findings(sent).values()], ["request bodies are limited"])

    def test_the_prefix_of_proxy_pass_is_read_from_script_filename(self):
        title = "the prefix of the application is lost"
        for uri, file, mount in (("/app/a/b?x", "proxy:fcgi://h:1/a/b", "/app"), ("/app", "proxy:fcgi://h:1", "/app"),
                                 ("/app/", "proxy:fcgi://h:1/", "/app"),
                                 ("/a/b/c%20d", "proxy:fcgi://h:1/c%20d", "/a/b"),
                                 ("/app/x", "proxy:scgi://h:1/x", "/app")):
            path = uri.partition("?")[0].replace("%20", " ")
            sent = dict(self.APACHE, REQUEST_URI=uri, SCRIPT_FILENAME=file, PATH_INFO=path)
            self.found(title, sent, "[application]", "mount = " + mount)
            for other in ("the application is at the root of the site", "the web server has rewritten the path"):
                self.not_found(other, sent)
            self.not_found("the web server has rewritten the path", dict(sent, PATH_INFO="/elsewhere"))
            self.not_found(title, dict(sent, SCRIPT_NAME=mount, PATH_INFO=path[len(mount):]))
        for uri, file in (("/a/b", "proxy:fcgi://h:1/a/b"), ("/app.wsgi/x", "proxy:fcgi://h//srv/www/app.wsgi"),
                          ("/a", "/srv/a"), ("*", "proxy:fcgi://h:1/a"), ("/a", "proxy:balancer"),
                          ("/a/b", "fcgi://h/b")):
            self.not_found(title, dict(self.APACHE, REQUEST_URI=uri, SCRIPT_FILENAME=file, PATH_INFO=uri))

    def test_a_doubled_prefix(self):
        sent = dict(self.NGINX, SCRIPT_NAME="/app", PATH_INFO="/app/a", REQUEST_URI="/app/a")
        self.found("the prefix is there twice", sent, "mount = /app", "fastcgi_split_path_info ^(/app)(/.*)?$;")
        for other in ({"SERVER_SOFTWARE": "x"}, {"SCGI": "1"}):
            self.assertEqual(self.found("the prefix is there twice", dict(sent, **other)).lines,
                             ["[application]", "mount = /app"])
        self.not_found("the web server has rewritten the path", sent)
        self.not_found("the prefix is there twice", dict(sent, REQUEST_URI="/app/app/a"))

    def test_an_application_at_the_root_is_asked_about(self):
        title = "the application is at the root of the site"
        self.found(title, dict(self.NGINX, PATH_INFO="/app/a", REQUEST_URI="/app/a"), "mount = /app")
        for other in ({"PATH_INFO": "/app"}, {"SCRIPT_NAME": "/app", "PATH_INFO": "/a/b"},
                      {"PATH_INFO": "/a/b", "SERVER_SOFTWARE": "fcgihost"}):
            self.not_found(title, dict(self.NGINX, **other))

    def test_a_slash_at_the_end_of_the_prefix(self):
        title = "SCRIPT_NAME ends with a slash"
        sent = {"SCRIPT_NAME": "/app/", "PATH_INFO": "", "REQUEST_URI": "/app/"}
        self.found(title, dict(sent, SERVER_SOFTWARE="lighttpd/1.4"), 'fastcgi.server = ("/app" => ((')
        self.found(title, sent, "mount = /app")
        root = self.found(title, dict(sent, SCRIPT_NAME="/", SERVER_SOFTWARE="lighttpd/1.4"))
        self.assertIn("fix-root-scriptname", "".join(root.lines))
        self.assertIn('fastcgi.server = ("/" => ((', root.lines)
        self.not_found(title, dict(sent, SCRIPT_NAME="/app"))

    def test_path_info_that_try_files_lost(self):
        sent = dict(self.NGINX, SCRIPT_NAME="/app.wsgi", PATH_INFO="", REQUEST_URI="/app.wsgi/a/b")
        self.found("PATH_INFO is lost", sent, "set $path_info $fastcgi_path_info;",
                   "fastcgi_param PATH_INFO $path_info;")
        self.not_found("the web server has rewritten the path", sent)
        for other in ({"REQUEST_URI": "/app.wsgi"}, {"REQUEST_URI": "*"}, {"SCRIPT_NAME": ""}):
            self.not_found("PATH_INFO is lost", dict(sent, **other))

    def test_a_path_that_was_rewritten(self):
        title = "the web server has rewritten the path"
        sent = dict(self.APACHE, SCRIPT_NAME="/app.wsgi", PATH_INFO="/a", REQUEST_URI="/app/a")
        self.found(title, sent, "Alias /app /srv/app.wsgi")
        self.found(title, dict(sent, REQUEST_URI="/a"), "Alias / /srv/app.wsgi")
        for other in (dict(sent, REQUEST_URI="/b"), dict(sent, **self.NGINX)):
            self.assertEqual(self.found(title, other).lines, [])
        self.not_found(title, dict(sent, SCRIPT_NAME="/x://y", REQUEST_URI="/x://y/a"))
        self.not_found(title, dict(sent, REQUEST_URI="/app.wsgi//a/"))
        self.not_found(title, dict(sent, REQUEST_URI="http://host/app.wsgi/a?x#y"))
        self.not_found(title, dict(sent, REQUEST_URI="*"))

    def test_a_query_that_was_lost(self):
        sent = dict(self.NGINX, REQUEST_URI="/?a=1", QUERY_STRING="")
        self.found("the query is lost", sent, "fastcgi_param QUERY_STRING $query_string;")
        self.found("the query is lost", dict(sent, **self.APACHE))
        for uri, query in (("/?a=1", "a=1"), ("/?", ""), ("/", "")):
            self.not_found("the query is lost", dict(sent, REQUEST_URI=uri, QUERY_STRING=query))

    def test_without_request_uri(self):
        self.found("REQUEST_URI is missing", dict(self.NGINX, REQUEST_URI=""),
                   "fastcgi_param REQUEST_URI $request_uri;")
        for other in (self.NGINX, {"REQUEST_URI": "", "SERVER_SOFTWARE": "fcgihost"}):
            self.not_found("REQUEST_URI is missing", other)

    def test_lines_for_scgi(self):
        self.found("REQUEST_URI is missing", dict(self.NGINX, REQUEST_URI="", SCGI="1"),
                   "scgi_param REQUEST_URI $request_uri;")

    def test_authorization(self):
        self.found("Apache keeps the Authorization header to itself", self.APACHE, "CGIPassAuth On")
        self.found("HAProxy keeps the Authorization header to itself", {"SERVER_SOFTWARE": "haproxy"},
                   "pass-header Authorization")
        self.not_found("Apache keeps the Authorization header to itself", dict(self.APACHE, HTTP_AUTHORIZATION="x"))
        self.assertNotIn("Authorization", " ".join(findings(self.NGINX)))

    def test_a_user_that_was_not_checked(self):
        title = "REMOTE_USER may not have been checked"
        sent = dict(self.NGINX, REMOTE_USER="ada", HTTP_AUTHORIZATION="Basic x")
        self.found(title, sent, 'fastcgi_param REMOTE_USER "";')
        for other in (self.APACHE, {"REMOTE_USER": ""}):
            self.not_found(title, dict(sent, **other))
        self.not_found(title, dict(self.NGINX, REMOTE_USER="ada"))

    def test_a_server_without_a_name(self):
        for name in ("", "_"):
            self.found("SERVER_NAME is empty", dict(self.NGINX, SERVER_NAME=name), "server_name www.example.org;")
            self.found("SERVER_NAME is empty", dict(self.APACHE, SERVER_NAME=name), "ServerName www.example.org")
        self.not_found("SERVER_NAME is empty", self.NGINX)

    def test_a_port_that_was_lost(self):
        title = "the port is lost from HTTP_HOST"
        sent = dict(self.NGINX, HTTP_HOST="x", SERVER_PORT="8080")
        self.found(title, sent, "fastcgi_param HTTP_HOST $host:$server_port;")
        self.found(title, dict(sent, HTTP_HOST="[::1]"))
        self.found(title, dict(sent, SERVER_PORT="80"), **{"wsgi.url_scheme": "https"})
        for other in ({"HTTP_HOST": "x:8080"}, {"HTTP_HOST": "[::1]:8080"}, {"SERVER_PORT": "80"}, {"HTTP_HOST": ""},
                      self.APACHE):
            self.not_found(title, dict(sent, **other))

    def test_tls_that_was_lost(self):
        for header in ({"HTTP_X_FORWARDED_PROTO": "https"}, {"HTTP_FORWARDED": 'for=x;Proto="https"'},
                       {"HTTP_X_FORWARDED_SSL": "On"}, {"HTTP_FRONT_END_HTTPS": "on"}, {"SERVER_PORT": "443"}):
            self.found("HTTPS is lost", header, "HTTPS=on")
            self.not_found("HTTPS is lost", header, **{"wsgi.url_scheme": "https"})
        self.not_found("HTTPS is lost", {"HTTP_X_FORWARDED_PROTO": "http", "HTTP_X_FORWARDED_SSL": "off"})
        for software, line in (("nginx", "fastcgi_param HTTPS $https_of_proxy if_not_empty;"),
                               ("Apache", 'SetEnvIf X-Forwarded-Proto "^https$" HTTPS=on'),
                               ("lighttpd", 'extforward.forwarder = ("10.0.0.7" => "trust")'),
                               ("haproxy", "set-param HTTPS on if { req.hdr(X-Forwarded-Proto) https }"),
                               ("Caddy/", "env HTTPS on"), ("h2o", '  HTTPS: "on"')):
            self.found("HTTPS is lost", {"SERVER_SOFTWARE": software, "HTTP_X_FORWARDED_PROTO": "https",
                                         "REMOTE_ADDR": "10.0.0.7"}, line)

    def test_the_address_of_a_proxy(self):
        sent = {"HTTP_X_FORWARDED_FOR": "192.0.2.1", "REMOTE_ADDR": "10.0.0.7"}
        for software, line in (("nginx", "set_real_ip_from 10.0.0.7;"), ("Apache", "RemoteIPInternalProxy 10.0.0.7"),
                               ("lighttpd", 'extforward.forwarder = ("10.0.0.7" => "trust")')):
            self.found("REMOTE_ADDR is a proxy's", dict(sent, SERVER_SOFTWARE=software), line)
        self.found("REMOTE_ADDR is a proxy's", {"HTTP_FORWARDED": "for=192.0.2.1", "REMOTE_ADDR": "10.0.0.7"})
        for other in ({"HTTP_X_FORWARDED_FOR": ""}, {"REMOTE_ADDR": "8.8.8.8"}, {"REMOTE_ADDR": "unix:"}):
            self.not_found("REMOTE_ADDR is a proxy's", dict(sent, **other))

    def test_limits_of_bodies(self):
        title = "request bodies are limited"
        self.found(title, self.NGINX, "client_max_body_size 200m;")
        self.found(title, dict(self.APACHE, SCRIPT_FILENAME="/srv/x"), "FcgidMaxRequestLen 209715200")
        self.found(title, dict(self.APACHE, SCRIPT_FILENAME="proxy:scgi://h/"))
        self.not_found(title, dict(self.APACHE, SCRIPT_FILENAME="proxy:fcgi://h/"))

    def test_haproxy(self):
        self.found("HAProxy and FCGI_STDERR", {"SERVER_SOFTWARE": "HAProxy"}, "front = no")

    def test_anything_may_be_sent(self):
        odd = ("", "/", "//", "://", "proxy:", "proxy:fcgi://", "%", "%zz", "\xff", "?", "#", "a:b", "[", "\u20ac")
        for value in odd:
            for software in ("nginx", "Apache", "lighttpd", "HAProxy", ""):
                sent = dict.fromkeys(("REQUEST_URI", "SCRIPT_NAME", "PATH_INFO", "SCRIPT_FILENAME", "HTTP_HOST",
                                      "SERVER_PORT", "REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "QUERY_STRING"), value)
                for finding in findings(dict(sent, SERVER_SOFTWARE=software)).values():
                    self.assertIn(finding.kind, ("problem", "hint"))


if __name__ == "__main__":
    unittest.main()
