"""An application whose imports fail as long as the tests want, and that needs a database."""
import os
import socket

import fcgihost
from routes import answer, query

FOLDER = os.environ["FOLDER"]


def note(name, line):
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write("%s\n" % line)


def exists(name):
    return os.path.exists(os.path.join(FOLDER, name))


def connect():
    note("connects", "attempt")
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.path.join(FOLDER, "db.sock"))
    except OSError:
        connection.close()
        raise
    note("connects", "created")
    return connection


database = fcgihost.resource(connect, close=lambda connection: connection.close(), name="database",
                             retry_delay=0.2)


def twice_in_vain():
    note("attempts", os.getpid())
    fcgihost.register_cleanup(note, "cleanups", "cleaned")
    with open(os.path.join(FOLDER, "attempts")) as file:
        if len(file.readlines()) < 3:
            raise ConnectionError("announced failure")


def nul_once():
    if not exists("attempts"):
        note("attempts", os.getpid())
        raise ValueError("announced failure \0")


def until_there():
    note("attempts", os.getpid())
    if not exists("go"):
        raise ConnectionError("announced failure")


def first():
    note("order", "first")


def second():
    note("order", "second")


def leave():
    note("attempts", os.getpid())
    if not exists("go"):
        raise SystemExit(3)


def interrupt():
    note("attempts", os.getpid())
    if not exists("go"):
        raise KeyboardInterrupt


def application(environ, start_response):
    if environ["PATH_INFO"] == "/database":
        return answer(start_response, "connected %d" % id(database.get()))
    if environ["PATH_INFO"] == "/cleanup":
        fcgihost.request().register_cleanup(note, "cleanups", "request " + query(environ, "token"))
        return answer(start_response, "registered, %s ran" % exists("cleanups"))
    if environ["PATH_INFO"] == "/unavailable":
        raise fcgihost.ResourceUnavailable("announced lack", retry_after=7)
    return answer(start_response, "served")
