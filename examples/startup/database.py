"""A tiny database server, to be started and stopped by hand: it counts, in memory.

    python3 examples/startup/database.py [SOCKET]
"""
import os
import signal
import socketserver
import sys
import tempfile
import threading

DEFAULT = os.path.join(tempfile.gettempdir(), "fcgihost-example-database.sock")


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            words = line.decode().split()
            with self.server.mutex:
                answer = self.server.answer(*words)
            self.wfile.write((answer + "\n").encode())


class Database(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path):
        super().__init__(path, Handler)
        self.mutex = threading.Lock()
        self.names = set()
        self.hits = 0

    def answer(self, verb, name=""):
        if verb == "ping":
            return "pong"
        if verb == "hit":
            self.hits += 1
            return str(self.hits)
        if verb == "who":
            return " ".join(sorted(self.names))
        if verb == "hello":
            self.names.add(name)
        if verb == "bye":
            self.names.discard(name)
        print(verb, name, flush=True)
        return "ok"


def main(path):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if os.path.exists(path):
        os.unlink(path)
    with Database(path) as database:
        try:
            print("listening on", path, flush=True)
            database.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            os.unlink(path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATABASE") or DEFAULT)
