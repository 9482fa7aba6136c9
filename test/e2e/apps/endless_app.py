"""Responses without end, and what became of them: /seen says it, as JSON."""
import collections
import itertools
import json
import threading
import time
import urllib.parse

seen = {}
released = collections.defaultdict(threading.Event)  # by token


def query(environ, name, default=""):
    return dict(urllib.parse.parse_qsl(environ["QUERY_STRING"])).get(name, default)


def record(token, **facts):
    seen.setdefault(token, {"asked": 0, "closed": 0, "raised": None}).update(facts)


def items(token, content):
    """Without end. What is empty comes at once, what is not in a rhythm of its own."""
    try:
        for number in itertools.count(1):
            record(token, asked=number)
            yield content
            time.sleep(0.001)
    finally:
        record(token, closed=seen[token]["closed"] + 1)


class Stream:
    """The same with a close() of its own, which waits for /release if it is to."""

    def __init__(self, token, content, is_waiting):
        self.token, self.is_waiting, self.parts = token, is_waiting, items(token, content)

    def __iter__(self):
        return self.parts

    def close(self):
        if self.is_waiting:
            released[self.token].wait(60)
        self.parts.close()


def write_on(token, write, content):
    """Until write() raises; what that was is recorded, and goes on to the host."""
    try:
        for number in itertools.count(1):
            record(token, asked=number)
            write(content)
            time.sleep(0.001)
    except BaseException as error:
        record(token, raised=[cls.__name__ for cls in type(error).__mro__])
        raise
    finally:
        record(token, closed=1)


def application(environ, start_response):
    """/stream and /write; ?token, status, length (as declared), content, wait (in close())."""
    path, token = environ["PATH_INFO"], query(environ, "token")
    if path in ("/seen", "/release", "/ready"):
        if path == "/release":
            released[token].set()
        body = json.dumps(seen.get(token)).encode()
        start_response("200 OK", [("Content-Type", "application/json"),
                                  ("Content-Length", str(len(body)))])
        return [body]
    headers = [("Content-Type", "text/event-stream")]
    if query(environ, "length"):
        headers.append(("Content-Length", query(environ, "length")))
    status = query(environ, "status", "200")
    content = query(environ, "content", "data: x\n\n" if path == "/stream" else "").encode()
    write = start_response(status + " Chosen", headers if status in ("200", "304") else [])
    if path == "/write":
        write_on(token, write, content)
    return Stream(token, content, query(environ, "wait"))


def handler(req):
    """The same by a handler: /write, /flush (without anything written), /file, /redirect."""
    path, token = req.path_info, query(req.environ, "token")
    if path == "/redirect":
        return req.internal_redirect("/stream?" + req.query)
    req.content_type = "text/event-stream"
    if query(req.environ, "length"):
        req.headers_out["Content-Length"] = query(req.environ, "length")
    req.status = int(query(req.environ, "status", "200"))

    def send(content):
        if path == "/file":
            req.send_file(__file__)
        elif path == "/write":
            req.write(content)
        req.flush()
    write_on(token, send, query(req.environ, "content", "data: x\n\n").encode())
