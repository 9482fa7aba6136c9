"""fcgihost.diagnostics: what the web server sent, and what an application sees of it."""
import re

import pytest

import fronts

DIAGNOSTICS = "fcgihost.diagnostics:application"


def table(text, title):
    """The rows below a title of the plain text."""
    block = re.search(r"(?m)^%s\n-+\n((?:.+\n)+)" % re.escape(title), text)[1]
    return {name.strip(): value for name, _, value in
            (line.partition(" = ") for line in block.splitlines())}


class StockNginx(fronts.NginxFastcgi):
    """location / with fastcgi_params alone: no PATH_INFO."""
    def example(self, name):
        return fronts.changed(super().example(name), {
            "fastcgi_split_path_info ^()(/.*)$;\n            include /etc/nginx/fastcgi_params;\n"
            "            fastcgi_param PATH_INFO $fastcgi_path_info;\n"
            "            fastcgi_pass unix:": "include /etc/nginx/fastcgi_params;\n"
            "            fastcgi_pass unix:"})


class TestDiagnostics:
    def test_behind_nginx_it_shows_both_sides(self):
        site = StockNginx(DIAGNOSTICS, "", {"application": {"mount": "/app"}})
        response = fronts.http_request(site.port, "GET", "/app/a%20b?x=1", headers=[
            ("Proxy", "http://attacker.invalid"), ("Authorization", "Basic YWRhOm9wZW4tc2VzYW1l"),
            ("Cookie", "session=secret")])
        assert response.status == 200 and response.get("Cache-Control") == "no-store"
        sent, seen = (table(response.text, title) for title in
                      ("What the web server sent", "What the application sees"))
        assert (sent["SCRIPT_NAME"], sent.get("PATH_INFO")) == ("/app/a b", None)
        assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/app", "/a b")
        assert sent["HTTP_PROXY"] == "http://attacker.invalid"
        assert sent["SERVER_SOFTWARE"].startswith("nginx/")
        assert "Web server: nginx (nginx/" in response.text
        assert sent["HTTP_AUTHORIZATION"] == "Basic (hidden)" and "YWRh" not in response.text
        assert "secret" not in response.text

    def test_in_a_browser(self):
        site = fronts.NginxFastcgi(DIAGNOSTICS)
        response = site.get("/<script>", headers=[("Accept", "text/html,*/*")])
        assert response.get("Content-Type") == "text/html; charset=utf-8"
        assert "<title>fcgihost diagnostics</title>" in response.text
        assert "<script>" not in response.text and "&lt;script&gt;" in response.text

    @pytest.mark.parametrize("kind, name", [
        (fronts.NginxScgi, "nginx"), (fronts.ApacheProxy, "Apache mod_proxy_fcgi"),
        (fronts.ApacheProxyScgi, "Apache mod_proxy_scgi"), (fronts.ApacheFcgid, "Apache mod_fcgid"),
        (fronts.LighttpdFastcgi, "lighttpd"), (fronts.HaproxyFastcgi, "HAProxy"),
        (fronts.CaddyFastcgi, "Caddy"), (fronts.H2oFastcgi, "h2o")],
        ids=lambda value: value.name if isinstance(value, type) else "")
    def test_it_knows_the_web_server(self, kind, name):
        text = kind(DIAGNOSTICS).get("/x").text
        assert "Web server: %s (" % name in text
        assert table(text, "What the application sees")["PATH_INFO"] == "/x"
