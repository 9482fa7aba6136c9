"""A page for administrators: what the web server sends, what an application sees of it, what to configure better.

    [application]
    wsgi = fcgihost.diagnostics:application
    mount = /diagnostics

In a browser it is HTML; for curl, or with ?format=text, plain text. It shows internals: it must not stay public.
"""

import sys
from html import escape
from urllib.parse import parse_qs
from wsgiref.util import request_uri

import fcgihost
from fcgihost import fronts, masks, runtime

WARNING = ("This page shows internals of your server to whoever can open it. "
           "Remove it, or restrict access to it, when you are done.")

_SEEN = ("REQUEST_METHOD", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME", "PATH_INFO",
         "QUERY_STRING", "REMOTE_ADDR", "REMOTE_USER", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once")


def application(environ, start_response):
    """The WSGI application."""
    render, kind = (_html, "text/html") if _wants_html(environ) else (_text, "text/plain")
    sent = runtime.sent_parameters() or {name: value for name, value in environ.items() if "." not in name}
    front = fronts.recognise(sent)
    body = render(front, fronts.examine(front, sent, environ), [
        ("What the application sees", _seen(environ)), ("What the web server sent", _rows(sent)),
        ("The process", _process())]).encode()
    start_response("200 OK", [
        ("Content-Type", kind + "; charset=utf-8"), ("Content-Length", str(len(body))), ("Cache-Control", "no-store"),
        ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ("X-Content-Type-Options", "nosniff"), ("X-Robots-Tag", "noindex"), ("Referrer-Policy", "no-referrer")])
    return [body]


def mask(name, value):
    """value, as it may be shown: nothing of what is secret."""
    return visible(masks.mask(name, value))


def visible(value):
    """Text that can't do anything: a str of WSGI's decoded, and what does not print escaped."""
    text = value.encode("latin-1", "backslashreplace").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _wants_html(environ):
    asked = parse_qs(environ.get("QUERY_STRING", "")).get("format", [""])[-1]
    return asked == "html" or asked != "text" and "text/html" in environ.get("HTTP_ACCEPT", "").lower()


def _seen(environ):
    rows = [("URL, reconstructed", mask("", request_uri(environ)))]
    for name in _SEEN:
        value = environ.get(name, "(absent)")
        rows.append((name, mask(name, value) if isinstance(value, str) else repr(value)))
    return rows


def _rows(sent):
    return [(visible(name), mask(name, sent[name])) for name in sorted(sent)]


def _process():
    process = fcgihost.process
    return [("fcgihost", fcgihost.__version__), ("Python", sys.version.partition(" ")[0]), ("pid", str(process.pid)),
            ("state", process.state), ("requests", str(process.requests))]


def _text(front, findings, tables):
    lines = ["fcgihost diagnostics", "====================", "", WARNING, "", "Web server: " + visible(str(front)), "",
             "Findings", "--------"]
    if not findings:
        lines.append("No problems were found.")
    for finding in findings:
        lines += ["%s: %s" % (finding.kind, visible(finding.title)), "    " + visible(finding.text)]
        lines += ["        " + visible(line) for line in finding.lines]
        lines.append("")
    for title, rows in tables:
        lines += ["", title, "-" * len(title)]
        width = max(len(name) for name, _ in rows) if rows else 0
        lines += ["%-*s = %s" % (width, name, value) for name, value in rows]
    return "\n".join(lines) + "\n"


def _html(front, findings, tables):
    parts = ["<p class=warning>%s" % escape(WARNING), "<p>Web server: <b>%s</b>" % escape(visible(str(front))),
             "<h2>Findings</h2>"]
    if not findings:
        parts.append("<p>No problems were found.")
    for finding in findings:
        parts.append("<section class=%s><h3>%s: %s</h3><p>%s" % (
            finding.kind, finding.kind, escape(visible(finding.title)), escape(visible(finding.text))))
        if finding.lines:
            parts.append("<pre>%s</pre>" % escape("\n".join(visible(line) for line in finding.lines)))
        parts.append("</section>")
    for title, rows in tables:
        parts.append("<h2>%s</h2>\n<table>" % escape(title))
        parts += ["<tr><th>%s<td>%s" % (escape(name), escape(value)) for name, value in rows]
        parts.append("</table>")
    return _PAGE % "\n".join(parts)


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fcgihost diagnostics</title>
<style>
  :root { color-scheme: light dark }
  body { font: 16px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 62em; padding: 1em }
  h1 { font-size: 1.5em } h2 { font-size: 1.2em; margin-top: 2em } h3 { font-size: 1em; margin: 0 }
  section, .warning { border-left: .3em solid #888; padding: .5em .8em; margin: 1em 0 }
  .problem, .warning { border-color: #c33 }
  pre { overflow-x: auto; padding: .6em; border: 1px solid #8886 }
  table { border-collapse: collapse; width: 100%% }
  tr { border-bottom: 1px solid #8884; vertical-align: top }
  th, td { padding: .25em .8em .25em 0; text-align: left; overflow-wrap: anywhere }
  th { font-weight: normal; width: 16em }
  td, pre { font-family: ui-monospace, monospace; font-size: .9em }
  @media (max-width: 40em) { tr, th, td { display: block; width: auto; padding: 0 } tr { padding: .4em 0 } }
</style>
<h1>fcgihost diagnostics</h1>
%s
</html>
"""
