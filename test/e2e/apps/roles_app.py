"""Functions for FastCGI's other roles, and an application that shows what they left for it."""
import json
import threading
import time
import urllib.parse

import fcgihost
from routes import answer_json

SHOWN = ("REMOTE_USER", "GROUP", "SCRIPT_NAME", "PATH_INFO", "REMOTE_PASSWD", "TOKEN")
release = threading.Event()
kept = {}


def allow(req):
    """Answers as the query of the client's URI says: ?verdict=403&variable=NAME:value."""
    fields = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(req.uri).query))
    verdict = fields.get("verdict", "yes")
    kept.update(role=req.environ.get("FCGI_ROLE"), apache=req.environ.get("FCGI_APACHE_ROLE"),
                password=req.environ.get("REMOTE_PASSWD"), length=req.environ.get("CONTENT_LENGTH"),
                body=len(req.read()))
    if req.environ.get("REMOTE_USER") == "nobody":
        return False
    if fields.get("only") not in (None, kept["apache"]):
        return True
    if verdict == "stack":
        req.log("waits for its release")
        release.wait(60)
    if verdict == "log":
        req.log("allowed %r" % req)
    if verdict == "raise":
        password = req.environ.get("REMOTE_PASSWD", "")  # a local, which no traceback shows
        raise ValueError("announced failure with %d characters" % len(password))
    if verdict == "challenge":
        req.headers_out["WWW-Authenticate"] = 'Basic realm="test"'
        req.write("who are you?\n")
        return False
    req.variables["GROUP"] = "staff"
    req.variables["TOKEN"] = fields.get("token", "none")
    return {"no": False, "none": None}.get(verdict, int(verdict) if verdict.isdigit() else True)


def page(environ, start_response):
    if environ["PATH_INFO"] == "/release":
        release.set()
    found = {name: environ.get(name) for name in SHOWN}
    return answer_json(start_response, dict(found, kept=kept, method=environ["REQUEST_METHOD"]))


def change(req):
    """A filter: ?do= says how it reads."""
    action = req.query.partition("=")[2]
    lines = []
    if action == "input":
        lines.append(b"input " + req.read())
    if action == "late-input":
        lines += [b"data " + req.data.read(5), b"input " + req.read(), b"rest " + req.data.read()]
    elif action == "some":
        lines.append(req.data.read(5))
    elif action == "short":
        try:
            lines.append(req.data.read())
        except OSError as error:
            lines.append(b"OSError " + str(error).encode())
    elif action == "both":  # a thread waits for the file, and this one asks for the body
        reader = threading.Thread(target=lambda: lines.append(b"data " + req.data.read()))
        reader.start()
        print("the file is waited for")
        time.sleep(0.1)
        body = req.read()
        reader.join()
        lines.append(b"input " + body)
    elif action == "hash":
        import hashlib
        digest = hashlib.sha256()
        for chunk in iter(lambda: req.data.read(10000), b""):
            digest.update(chunk)
        lines.append(digest.hexdigest().encode())
    elif action != "nothing":
        lines += [line.rstrip(b"\n").upper() for line in iter(req.data.readline, b"")]
    req.content_type = "application/json"
    req.write(json.dumps([line.decode() for line in lines] + [req.data_length]))
