"""The application under torture: what it answers shows whose request it was and that nothing of it is lost.

/echo?token=T: "T PID\n" and the body. /stream?token=T: the same, in pieces. /late: after a moment. /fail: raises.
/large?token=T: "T PID\n" and LARGE bytes. /file?token=T: the same, from a file.
In the folder FOLDER it notes each load, each cleanup, and each body that was shorter than announced."""
import io
import os
import time
import urllib.parse

import fcgihost

FOLDER = os.environ["FOLDER"]
LARGE = b"0123456789abcdef" * (3 << 16)


def note(name):
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write("%d\n" % os.getpid())


note("loads")


@fcgihost.register_cleanup
def clean_up():
    note("cleanups")


class Announced(Exception):
    """What is raised on purpose, or as the peer deserves it."""


def read_body(environ):
    body = environ["wsgi.input"]
    try:
        return b"".join(body) if environ["PATH_INFO"].endswith("lines") else body.read()
    except OSError as error:  # the peer left
        raise Announced(str(error)) from None


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/fail"):
        raise Announced(path)
    token = urllib.parse.parse_qs(environ["QUERY_STRING"]).get("token", ["none"])[0]
    if path.startswith("/late"):
        time.sleep(0.02)
    body = read_body(environ)
    if len(body) < int(environ.get("CONTENT_LENGTH") or 0):
        note("short-bodies")
    answer = ("%s %d\n" % (token, os.getpid())).encode("latin-1", "replace") + body
    if path.startswith(("/large", "/file")):
        answer += LARGE
    if path.startswith("/stream"):
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return (answer[at:at + 1000] for at in range(0, len(answer), 1000))
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(answer)))])
    if path.startswith("/file"):
        return environ["wsgi.file_wrapper"](io.BytesIO(answer), 65536)
    return [answer]
