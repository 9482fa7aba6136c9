"""The application of soak.py: a route for each kind of request, and what it knows of Python's memory.

/small, /upload, /large, /stream, /file, /fail, /log; /memory: objects and blocks; handle(): an old-style handler."""
import gc
import os
import sys

import fcgihost

PLAIN = ("Content-Type", "text/plain")
SMALL = b"Hello, world\n"
LARGE = b"x" * 400000  # more than a socket's buffer and [limits] response_memory
PIECE = b"y" * 1000
PIECES = 20
FILE = os.path.abspath(__file__)


class Announced(Exception):
    """What is raised on purpose."""


def answer(start_response, body):
    start_response("200 OK", [PLAIN, ("Content-Length", str(len(body)))])
    return [body]


def small(environ, start_response):
    return answer(start_response, SMALL)


def upload(environ, start_response):
    """How much was sent, and its end."""
    body = environ["wsgi.input"].read()
    return answer(start_response, b"%d bytes, %s\n" % (len(body), body[-16:]))


def large(environ, start_response):
    return answer(start_response, LARGE)


def stream(environ, start_response):
    start_response("200 OK", [PLAIN])
    return (PIECE for _ in range(PIECES))


def file(environ, start_response):
    start_response("200 OK", [PLAIN])
    return environ["wsgi.file_wrapper"](open(FILE, "rb"))


def fail(environ, start_response):
    raise Announced("announced")


def log(environ, start_response):
    environ["wsgi.errors"].write("announced in wsgi.errors\n")
    print("announced on standard output")
    fcgihost.request().register_cleanup(str, "announced")
    return answer(start_response, SMALL)


def memory(environ, start_response):
    gc.collect()
    return answer(start_response, b"%d %d\n" % (len(gc.get_objects()), sys.getallocatedblocks()))


ROUTES = {"/small": small, "/upload": upload, "/large": large, "/stream": stream, "/file": file, "/fail": fail, "/log": log,
          "/memory": memory}


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def handle(request):
    request.content_type = "text/plain"
    request.register_cleanup(str, "announced")
    request.write("Hello, %s\n" % request.headers_in["Host"])
