"""Shows what an application is told of a request: the WSGI environ, as a table, or ?plain as text.

    build/fcgihost --call '/a/b?plain' examples/environ/environ.py
"""
from html import escape

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>WSGI environ</title>
<style>
  body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }}
  table {{ border-collapse: collapse }}
  tr {{ border-bottom: 1px solid #ddd; vertical-align: top }}
  th, td {{ padding: .3em .8em .3em 0; text-align: left }}
  th {{ font-weight: normal; white-space: nowrap }}
  td {{ font-family: monospace; overflow-wrap: anywhere }}
</style>
<h1>WSGI environ</h1>
<table>
{rows}
</table>
</html>
"""


def application(environ, start_response):
    items = [(name, environ[name] if isinstance(environ[name], str) else repr(environ[name]))
             for name in sorted(environ)]
    if environ["QUERY_STRING"] == "plain":
        kind = "text/plain"
        text = "".join(f"{name}={value}\n" for name, value in items)
    else:
        kind = "text/html"
        text = PAGE.format(rows="\n".join(
            f"<tr><th>{escape(name)}<td>{escape(value)}" for name, value in items))
    # WSGI's strings carry bytes, one in each character: as Latin-1 they leave as they came.
    body = text.encode("latin-1", "backslashreplace")
    start_response("200 OK", [
        ("Content-Type", f"{kind}; charset=utf-8"),
        ("Content-Length", str(len(body))),
    ])
    return [body]
