"""A guestbook in SQLite: each request that needs the database has a connection of its own, from a pool.

    build/fcgihost --call / examples/pool/guestbook.py

GUESTBOOK names the database file; otherwise it is in the folder for temporary files.
"""
import html
import os
import sqlite3
import tempfile
from urllib.parse import parse_qs

import fcgihost

FILE = os.environ.get("GUESTBOOK") or os.path.join(tempfile.gettempdir(), "fcgihost-example-guestbook.db")
MAX_BODY = 10000

PAGE = """<!doctype html>
<html lang="en">
<title>Guestbook</title>
<h1>Guestbook</h1>
<form method="post"><label>Your name <input name="name" required></label> <button>Sign</button></form>
<ol>
{entries}</ol>
</html>
"""


def connect():
    # A connection serves one thread at a time but not always the same, and the cleanup closes it on
    # Python's main thread.
    connection = sqlite3.connect(FILE, timeout=10, check_same_thread=False)
    connection.execute("CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
    return connection


# Eight threads, four connections: who waits longer than ten seconds for one gets a TimeoutError.
pool = fcgihost.Pool(connect, size=4, close=lambda connection: connection.close(), max_idle=300, timeout=10)


def sign(name):
    with pool.lease() as connection, connection:  # the second one commits, or rolls back
        connection.execute("INSERT INTO entry (name) VALUES (?)", (name,))


def names():
    with pool.lease() as connection:
        return [name for name, in connection.execute("SELECT name FROM entry ORDER BY id DESC LIMIT 100")]


def application(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read(min(int(environ.get("CONTENT_LENGTH") or 0), MAX_BODY))
        for name in parse_qs(body.decode("utf-8", "replace")).get("name", [])[:1]:
            sign(name.strip()[:100])
        start_response("303 See Other", [("Location", environ.get("SCRIPT_NAME", "") + "/"), ("Content-Length", "0")])
        return []
    entries = "".join("<li>%s\n" % html.escape(name) for name in names())
    body = PAGE.format(entries=entries).encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
