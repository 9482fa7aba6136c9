"""app.py, in an application that disturbs its own process.

/close?first=A&last=B: os.closerange(A, B), after the answer. /print: prints, and so does a child. /hold: holds a
lock for a while. Each request to anything else prints now and then, too."""
import os
import random
import subprocess
import sys
import time
import urllib.parse

import fcgihost

import app

MARK = "printed-by-the-application"


def shout():
    """Whoever has descriptors 1 and 2 now gets this."""
    for stream in sys.stdout, sys.stderr:
        try:
            print(MARK, file=stream, flush=True)
        except (OSError, ValueError):
            pass  # it was closed
    for number in 1, 2:
        try:
            os.write(number, MARK.encode() + b"\n")
        except OSError:
            pass


def close(query):
    fields = urllib.parse.parse_qs(query)
    os.closerange(int(fields["first"][0]), int(fields["last"][0]))


def answer(start_response, text):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/close":
        fcgihost.request().register_cleanup(close, environ["QUERY_STRING"])
        return answer(start_response, "closed soon")
    if path == "/print":
        shout()
        subprocess.run(["/bin/sh", "-c", "echo %s; echo %s >&2" % (MARK, MARK)])
        return answer(start_response, "printed")
    if path == "/hold":
        seconds = float(urllib.parse.parse_qs(environ["QUERY_STRING"]).get("seconds", ["0.05"])[0])
        with fcgihost.lock("held", timeout=30):
            time.sleep(seconds)
        return answer(start_response, "held")
    if random.random() < 0.1:
        shout()
    return app.application(environ, start_response)
