"""What the routes of the test applications have in common."""
import json
import threading
import urllib.parse

VALID, RAW = {}, {}
TEXT = [("Content-Type", "text/plain; charset=utf-8")]
state = {"closed": 0, "last": None, "input": None, "environ": None}
local = threading.local()


def route(path, table=VALID):
    def add(function):
        table[path] = function
        return function
    return add


def raw(path):
    return route(path, RAW)


def query(environ, name, default=""):
    return dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", ""),
                                       keep_blank_values=True)).get(name, default)


def answer(start_response, text, status="200 OK", headers=()):
    body = text if isinstance(text, bytes) else text.encode("utf-8")
    start_response(status, TEXT + [("Content-Length", str(len(body)))] + list(headers))
    return [body]


def answer_json(start_response, value):
    body = json.dumps(value, sort_keys=True).encode("ascii")
    start_response("200 OK", [("Content-Type", "application/json"),
                              ("Content-Length", str(len(body)))])
    return [body]


def chunks_of(stream, size=65536):
    while True:
        data = stream.read(size)
        if not data:
            return
        yield data


def pattern(total, chunk=65536):
    """total bytes that anybody can make again."""
    block = bytes(range(256)) * (chunk // 256)
    for at in range(0, total, chunk):
        yield block[:min(chunk, total - at)]


class Closing:
    """An iterable that counts its close()."""

    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)

    def close(self):
        state["closed"] += 1
