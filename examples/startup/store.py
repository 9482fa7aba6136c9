"""The connections to the database (database.py, on the Unix socket that DATABASE names).

The start-up import store:connect makes the pool before requests come. While the database is down that
fails and is tried again; a request that comes meanwhile tries too, but not more often than twice a second.
"""
import os
import socket
import tempfile

import fcgihost

ADDRESS = os.environ.get("DATABASE") or os.path.join(tempfile.gettempdir(), "fcgihost-example-database.sock")
NAME = "web-%d" % os.getpid()


class Connection:
    def __init__(self):
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(5)
            self._socket.connect(ADDRESS)
            self._lines = self._socket.makefile("r", encoding="utf-8")
            self.ask("hello " + NAME)
        except OSError as error:
            self._socket.close()
            raise ConnectionError("no database at %s: %s" % (ADDRESS, error)) from None

    def ask(self, question):
        self._socket.sendall((question + "\n").encode())
        answer = self._lines.readline()
        if not answer:
            raise ConnectionError("the database closed the connection")
        return answer.rstrip("\n")

    def is_alive(self):
        return self.ask("ping") == "pong"

    def close(self):
        self._lines.close()
        self._socket.close()


@fcgihost.resource(retry_delay=0.5)  # shorter than [startup] retry_delay, whose attempts ask it too
def pool():
    made = fcgihost.Pool(Connection, size=4, close=Connection.close, check=Connection.is_alive)
    with made.lease():  # opens the first; the pool registers the cleanup that closes them
        pass
    fcgihost.register_cleanup(say_bye, made)  # last in, first out: before they are closed
    return made


def say_bye(made):
    with made.lease() as connection:
        connection.ask("bye " + NAME)


def connect():
    """The start-up import."""
    pool.get()
