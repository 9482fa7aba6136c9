"""Which web server sent a request, and what of the request was lost on the way because of its configuration."""

import ipaddress
from collections import namedtuple
from urllib.parse import unquote_to_bytes

from fcgihost.redirect import normalise
from fcgihost.runtime import decode

Finding = namedtuple("Finding", "kind title text lines")  # kind: "problem" or "hint"; lines: of a configuration


class Front(namedtuple("Front", "name software is_scgi")):
    """A web server and its module. name: one of the constants below, or "" if it is not known."""

    def __str__(self):
        return "%s (%s)" % (self.name or "unknown", self.software or "it does not name itself")


NGINX, LIGHTTPD, HAPROXY, CADDY, H2O, CALL = "nginx", "lighttpd", "HAProxy", "Caddy", "h2o", "fcgihost --call"
FCGID, PROXY_FCGI, PROXY_SCGI = "Apache mod_fcgid", "Apache mod_proxy_fcgi", "Apache mod_proxy_scgi"
_APACHE = (FCGID, PROXY_FCGI, PROXY_SCGI)
_OTHERS = (("nginx", NGINX), ("openresty", NGINX), ("lighttpd", LIGHTTPD), ("haproxy", HAPROXY), ("caddy", CADDY),
           ("h2o", H2O), ("fcgihost", CALL))


def recognise(sent):
    """The front that sent these parameters, as far as they tell."""
    software = sent.get("SERVER_SOFTWARE", "")
    file = sent.get("SCRIPT_FILENAME", "")
    is_scgi = sent.get("SCGI") == "1" or file.startswith("proxy:scgi:")
    if software.lower().startswith("apache"):
        is_fcgi_proxy = file.startswith(("proxy:", "//"))  # "//": ProxyFCGIBackendType GENERIC
        return Front(PROXY_SCGI if is_scgi else PROXY_FCGI if is_fcgi_proxy else FCGID, software, is_scgi)
    for start, name in _OTHERS:
        if software.lower().startswith(start):
            return Front(name, software, is_scgi)
    is_nginx = is_scgi and not software and "DOCUMENT_URI" in sent  # its scgi_params lack SERVER_SOFTWARE
    return Front(NGINX if is_nginx else "", software, is_scgi)


def examine(front, sent, environ):
    """The findings, problems first. sent: the parameters as they came; environ: as the application sees them."""
    case = _Case(front, sent, environ)
    found = [finding for finding in (check(case) for check in _CHECKS) if finding]
    return sorted(found, key=lambda finding: finding.kind, reverse=True)


class _Case:
    """What the checks look at."""

    def __init__(self, front, sent, environ):
        self.front, self.sent, self.environ = front, sent, environ
        self.name = front.name
        self.is_apache = front.name in _APACHE
        self.script_name = decode(environ.get("SCRIPT_NAME", ""))
        self.path_info = decode(environ.get("PATH_INFO", ""))
        self.client_path = _client_path(sent.get("REQUEST_URI", ""))

    @property
    def is_doubled(self):
        is_below = (self.path_info + "/").startswith(self.script_name + "/")
        return self.script_name != "" and is_below and self.path_info == self.client_path

    @property
    def proxied_prefix(self):
        """What Apache's ProxyPass took away from the path, as SCRIPT_FILENAME shows; None if that does not tell."""
        file = self.sent.get("SCRIPT_FILENAME", "")
        if not file.startswith("proxy:") or "://" not in file or self.client_path is None:
            return None
        _, slash, rest = file.partition("?")[0].partition("://")[2].partition("/")
        raw = decode(slash + rest)
        for tail in (raw, unquote_to_bytes(raw).decode("utf-8", "surrogateescape")):
            if self.client_path.endswith(tail):
                return self.client_path[:len(self.client_path) - len(tail)].rstrip("/")
        return None

    def problem(self, title, text, *lines):
        return Finding("problem", title, text, self._adapted(lines))

    def hint(self, title, text, *lines):
        return Finding("hint", title, text, self._adapted(lines))

    def _adapted(self, lines):
        if self.front.is_scgi:
            lines = [line.replace("fastcgi_param", "scgi_param") for line in lines]
        return list(lines)


def _client_path(uri):
    """The path that the client asked for, decoded, its dots resolved; None if there is none."""
    path = uri.partition("#")[0].partition("?")[0]
    if "://" in path and not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    if not path.startswith("/"):
        return None
    return normalise(unquote_to_bytes(path.encode("latin-1", "replace")).decode("utf-8", "surrogateescape"))


def _mount(prefix):
    return "[application]", "mount = " + (prefix or "/")


def _doubled(case):
    if case.is_doubled:
        return case.problem(
            "the prefix is there twice",
            "SCRIPT_NAME is %s, and PATH_INFO is the whole path, %s. In fcgihost.ini:" % (
                case.script_name, case.path_info), *_mount(case.script_name),
            *(("# or in nginx:", "fastcgi_split_path_info ^(%s)(/.*)?$;" % case.script_name,
               "fastcgi_param PATH_INFO $fastcgi_path_info;")
              if case.name == NGINX and not case.front.is_scgi else ()))


def _mount_lost(case):
    prefix = case.proxied_prefix
    if prefix and prefix != case.script_name:
        return case.problem(
            "the prefix of the application is lost",
            "Apache forwards what is below %s but does not say so: SCRIPT_NAME is \"%s\", so links that the "
            "application makes are wrong. In fcgihost.ini:" % (prefix, case.script_name), *_mount(prefix))


def _mount_unknown(case):
    if case.script_name == "" and not case.proxied_prefix and case.path_info.count("/") > 1 and case.name != CALL:
        first = "/" + case.path_info.split("/")[1]
        return case.hint(
            "the application is at the root of the site",
            "SCRIPT_NAME is empty. If the application is to be below %s instead, fcgihost.ini has to say so:" % first,
            *_mount(first))


def _slash_at_end(case):
    if case.script_name.endswith("/"):
        prefix = case.script_name.rstrip("/")
        lines = _mount(prefix)
        if case.name == LIGHTTPD:
            lines = ("fastcgi.server = (\"%s\" => ((" % (prefix or "/"), "    \"socket\" => \"/run/fcgihost.sock\",",
                     "    \"check-local\" => \"disable\"%s)))" % (
                         "" if prefix else ", \"fix-root-scriptname\" => \"enable\""))
        return case.problem(
            "SCRIPT_NAME ends with a slash",
            "It is \"%s\"; links that the application makes get two slashes." % case.script_name, *lines)


def _path_info_lost(case):
    is_lost = case.script_name and case.path_info == "" and case.client_path is not None
    if is_lost and case.client_path.startswith(case.script_name + "/"):
        lines = _mount(case.script_name)
        if case.name == NGINX:
            lines = ("fastcgi_split_path_info ^(.+?\\.wsgi)(/.*)?$;", "set $path_info $fastcgi_path_info;",
                     "try_files $fastcgi_script_name =404;", "fastcgi_param PATH_INFO $path_info;")
        return case.problem(
            "PATH_INFO is lost", "The client asked for %s, PATH_INFO is empty. In nginx try_files does that, unless "
            "the value was kept before:" % case.client_path, *lines)


def _rewritten(case):
    path = normalise(case.script_name + case.path_info or "/")
    if case.client_path is None or case.is_doubled or case.proxied_prefix or _path_info_lost(case) or \
            normalise(path + "/") == normalise(case.client_path + "/"):
        return None
    lines = ()
    if case.is_apache and case.client_path.endswith(case.path_info):
        prefix = case.client_path[:len(case.client_path) - len(case.path_info)]
        lines = ("Alias %s /srv/app.wsgi" % (prefix or "/"),)
    return case.hint(
        "the web server has rewritten the path",
        "The client asked for %s, the application sees %s: links that it makes have the second form. A mapping without "
        "a rewrite keeps the first." % (case.client_path, path), *lines)


def _query_lost(case):
    query = case.sent.get("REQUEST_URI", "").partition("#")[0].partition("?")[2]
    if query and not case.environ.get("QUERY_STRING"):
        lines = {NGINX: ("fastcgi_param QUERY_STRING $query_string;", "# and where try_files names the application:",
                         "try_files $uri /app$is_args$args;")}.get(case.name, ())
        if case.is_apache:
            lines = ("RewriteRule ^app/(.*)$ app.wsgi/$1 [QSA,L]",)
        return case.problem("the query is lost", "REQUEST_URI has one, QUERY_STRING is empty.", *lines)


def _no_request_uri(case):
    if not case.sent.get("REQUEST_URI") and case.name != CALL:
        lines = ("fastcgi_param REQUEST_URI $request_uri;",) if case.name == NGINX else ()
        return case.problem("REQUEST_URI is missing",
                            "Without it a path that the web server has changed can't be told from one that it has not.",
                            *lines)


def _authorization(case):
    if not (case.is_apache or case.name == HAPROXY) or "HTTP_AUTHORIZATION" in case.sent:
        return None
    where, line = ("its <Location> or <Directory>", "CGIPassAuth On") if case.is_apache else (
        "the fcgi-app section", "pass-header Authorization")
    return case.hint(
        "%s keeps the Authorization header to itself" % case.name.partition(" ")[0],
        "There was none in this request. If the client sent one, and the application is to see it, put this into %s:"
        % where, line)


def _remote_user(case):
    if case.name == NGINX and case.sent.get("REMOTE_USER") and "HTTP_AUTHORIZATION" in case.sent:
        return case.problem(
            "REMOTE_USER may not have been checked",
            "nginx takes the name from the Authorization header, whether the password is right or not, unless "
            "auth_basic is on for this location. Either check it, or don't pass it on:", "auth_basic \"restricted\";",
            "auth_basic_user_file /etc/nginx/htpasswd;", "# or", "fastcgi_param REMOTE_USER \"\";")


def _server_name(case):
    if case.sent.get("SERVER_NAME", "") in ("", "_"):
        lines = ()
        if case.name == NGINX:
            lines = ("server_name www.example.org;",)
        elif case.is_apache:
            lines = ("ServerName www.example.org",)
        return case.problem(
            "SERVER_NAME is empty", "The application is told \"%s\" instead. Links that are made for a client without "
            "a Host header are wrong." % case.environ.get("SERVER_NAME", ""), *lines)


def _port_lost(case):
    host = case.sent.get("HTTP_HOST", "")
    port = case.sent.get("SERVER_PORT", "")
    default = "443" if case.environ.get("wsgi.url_scheme") == "https" else "80"
    if case.name == NGINX and host and ":" not in host.rpartition("]")[2] and port not in ("", default):
        return case.problem(
            "the port is lost from HTTP_HOST",
            "nginx listens on port %s, HTTP_HOST is \"%s\": the stock parameters of Debian's nginx set it to $host, "
            "which has none. After the include:" % (port, host), "fastcgi_param HTTP_HOST $host:$server_port;")


def _https_lost(case):
    sent = case.sent
    is_tls = sent.get("HTTP_X_FORWARDED_PROTO", "").lower().startswith("https") or \
        "proto=https" in sent.get("HTTP_FORWARDED", "").lower().replace('"', "") or \
        "on" in (sent.get("HTTP_X_FORWARDED_SSL", "").lower(), sent.get("HTTP_FRONT_END_HTTPS", "").lower())
    if case.environ.get("wsgi.url_scheme") == "https" or not (is_tls or sent.get("SERVER_PORT") == "443"):
        return None
    lines = {
        NGINX: ("# in http { }:", "map $http_x_forwarded_proto $https_of_proxy { default \"\"; https on; }",
                "# in the location:", "fastcgi_param HTTPS $https_of_proxy if_not_empty;"),
        LIGHTTPD: ("server.modules += (\"mod_extforward\")",
                   "extforward.forwarder = (\"%s\" => \"trust\")" % sent.get("REMOTE_ADDR", "10.0.0.1")),
        HAPROXY: ("# in the fcgi-app section:", "set-param HTTPS on if { req.hdr(X-Forwarded-Proto) https }"),
        CADDY: ("# in the fastcgi transport:", "env HTTPS on"), H2O: ("setenv:", "  HTTPS: \"on\""),
    }.get(case.name, ("HTTPS=on",))
    if case.is_apache:
        lines = ("SetEnvIf X-Forwarded-Proto \"^https$\" HTTPS=on",)
    return case.problem(
        "HTTPS is lost",
        "The client speaks TLS with a proxy in front of this web server, but the application sees \"http\": its links "
        "and redirects leave TLS. Have HTTPS set, if only the proxy can reach this web server:", *lines)


def _client_address(case):
    if not case.sent.get("HTTP_X_FORWARDED_FOR") and not case.sent.get("HTTP_FORWARDED"):
        return None
    address = case.sent.get("REMOTE_ADDR", "")
    try:
        is_inner = ipaddress.ip_address(address).is_private
    except ValueError:
        return None
    if not is_inner:
        return None
    lines = {
        NGINX: ("set_real_ip_from %s;" % address, "real_ip_header X-Forwarded-For;"),
        LIGHTTPD: ("server.modules += (\"mod_extforward\")", "extforward.forwarder = (\"%s\" => \"trust\")" % address),
        HAPROXY: ("# in the fcgi-app section:", "set-param REMOTE_ADDR %[req.hdr_ip(X-Forwarded-For,-1)]"),
    }.get(case.name, ())
    if case.is_apache:
        lines = ("# a2enmod remoteip", "RemoteIPHeader X-Forwarded-For", "RemoteIPInternalProxy " + address)
    return case.hint("REMOTE_ADDR is a proxy's",
                     "It is %s, and the client's address is in a header. Where the proxy is to be trusted:" % address,
                     *lines)


def _body_limit(case):
    limits = {
        NGINX: ("nginx answers 413 to a request body beyond 1 MiB, unless it is told otherwise:",
                "client_max_body_size 200m;"),
        FCGID: ("mod_fcgid answers 500 to a request body beyond 128 KiB, unless it is told otherwise:",
                "FcgidMaxRequestLen 209715200"),
        PROXY_SCGI: ("mod_proxy_scgi answers 411 to a chunked request body; mod_proxy_fcgi takes it:",
                     "ProxyPass /app unix:/run/fcgihost.sock|fcgi://localhost"),
        HAPROXY: ("HAProxy answers 400 to a chunked request body beyond its buffer of 16 KiB, for which there is:",
                  "tune.bufsize 131072"),
    }
    if case.name in limits:
        text, *lines = limits[case.name]
        return case.hint("request bodies are limited", text, *lines)


def _haproxy_stderr(case):
    if case.name == HAPROXY:
        return case.hint("HAProxy and FCGI_STDERR",
                         "HAProxy 2.6 crashes now and then on what an application logs over FastCGI. Keep:", "[log]",
                         "front = no")


_CHECKS = (_doubled, _mount_lost, _slash_at_end, _path_info_lost, _query_lost, _no_request_uri, _https_lost,
           _server_name, _port_lost, _remote_user, _rewritten, _mount_unknown, _authorization, _client_address,
           _body_limit, _haproxy_stderr)
