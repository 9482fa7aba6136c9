"""A handler in the manner of mod_python's: one function is given a Request, and internal redirects keep data.

    build/fcgihost --config examples/handler/fcgihost.ini --call '/item?id=2'
"""
import time
from html import escape
from urllib.parse import parse_qs

import fcgihost

ITEMS = {"1": "a lamp", "2": "a chair"}
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Shop</title>
{content}
</html>
"""


def handler(req):
    """Looks up who answers the path. What is returned is None or an HTTP status."""
    started = time.monotonic()
    req.register_cleanup(log_duration, req.method, req.uri, started)  # runs when the response has left
    page = PAGES.get(req.path_info)
    return page(req) if page else 404


def index(req):
    links = "".join(f'<li><a href="{req.script_name}/item?id={id}">{name}</a>' for id, name in ITEMS.items())
    show(req, f'<h1>Shop</h1><ul>{links}</ul>')


def item(req):
    id = parse_qs(req.query).get("id", [""])[0]
    show(req, f"<h1>{escape(find(req, id))}</h1>"
              f'<form method="post" action="{req.script_name}/order"><input type="hidden" name="id" value="{escape(id)}">'
              "<button>Order</button></form>")


def order(req):
    if req.method != "POST":
        req.headers_out["Allow"] = "POST"
        return 405
    id = parse_qs(req.read(4096).decode("utf-8", "replace")).get("id", [""])[0]
    req.ordered = find(req, id)
    req.internal_redirect(req.script_name + "/receipt")  # runs here and now, in this thread
    return None


def receipt(req):
    """Shows what order() left on its request, which is the very same object."""
    if req.prev is None:
        return 404
    req.headers_out.add("Set-Cookie", "last=1; Path=/")
    req.headers_out.add("Set-Cookie", "thanks=1; Path=/")
    show(req, f"<h1>Thank you</h1><p>{escape(req.prev.ordered)} is on its way.")


def error(req):
    if req.prev is None:
        return 404
    req.status = 404
    show(req, f"<h1>Not found</h1><p>{escape(req.prev.problem)}")


def source(req):
    req.content_type = "text/plain; charset=utf-8"
    req.send_file(__file__)


def find(req, id):
    if id not in ITEMS:
        req.problem = f"There is no item {id!r}."
        raise fcgihost.InternalRedirect(req.script_name + "/error")  # from anywhere in a handler
    return ITEMS[id]


def show(req, content):
    req.content_type = "text/html; charset=utf-8"
    req.write(PAGE.format(content=content))


def log_duration(method, uri, started):
    print(f"{method} {uri}: {1000 * (time.monotonic() - started):.1f} ms")


PAGES = {"": index, "/": index, "/item": item, "/order": order, "/receipt": receipt, "/error": error, "/source": source}
