"""Serves the examples behind nginx on 127.0.0.1, each in a fcgihost of its own, until interrupted.

    make demo                            also: PORT=8081 python3 examples/demo/demo.py
    python3 examples/demo/demo.py --once     asks each application, and stops

Everything it writes is in one temporary folder, which goes at the end like the processes.
"""
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FCGIHOST = ROOT / "build/fcgihost"
HOST = "127.0.0.1"
START_SECONDS = 30
STOP_SECONDS = 10

# name, mount, script or ini file below examples/, a path to ask for below the mount, what the answer
# contains
APPLICATIONS = [
    ("hello", "/", "hello/hello.py", "", "Hello"),
    ("flask", "/flask", "flask/app.py", "/?name=Ada", "Hello, Ada."),
    ("django", "/django", "django/app.py", "/?name=Ada", "Hello, Ada."),
    ("environ", "/environ", "environ/environ.py", "/a/b?plain", "PATH_INFO=/a/b\n"),
    ("pool", "/pool", "pool/fcgihost.ini", "", "Guestbook"),
    ("startup", "/startup", "startup/fcgihost.ini", "", "Visit "),
]

NGINX_CONF = """
daemon off;
master_process off;  # one process, of the user who started it, whom the sockets admit
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;

events {{}}

http {{
    access_log off;
    client_body_temp_path {folder}/client_body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    client_max_body_size 0;

    include {parameters};
    fastcgi_param HTTP_HOST $host:$server_port;
    fastcgi_keep_conn on;
{upstreams}
    server {{
        listen {host}:{port};
        server_name localhost;
{locations}
    }}
}}
"""

UPSTREAM = """
    upstream {name} {{
        server unix:{folder}/{name}.sock;
        keepalive 8;
    }}
"""

LOCATION = """
        location {prefix} {{
            fastcgi_pass {name};
        }}
"""


class Failure(Exception):
    """A message for the person at the terminal."""


class Interrupted(Exception):
    """Ctrl-C, SIGTERM or SIGHUP came, or who started this has gone (a killed make tells nobody)."""


class Demo:
    def __init__(self, port, folder):
        self.port = port
        self.folder = folder
        self.processes = {}  # name: Popen
        self.parent = os.getppid()
        self.interrupted = threading.Event()  # set in a signal handler, looked at where it is safe

    def start(self):
        nginx = find_nginx()
        if not os.access(FCGIHOST, os.X_OK):
            raise Failure(f"{FCGIHOST.relative_to(ROOT)} is not there: `make` builds it")
        check_port(self.port)
        os.environ["DATABASE"] = f"{self.folder}/database.sock"
        os.environ["GUESTBOOK"] = f"{self.folder}/guestbook.db"
        self.spawn("database", [sys.executable, ROOT / "examples/startup/database.py"])
        for name, mount, file, _, _ in APPLICATIONS:
            self.spawn(name, [
                FCGIHOST, "--listen", f"unix:{self.folder}/{name}.sock",
                "--set", f"application.mount={mount}",
                *(["--config"] if file.endswith(".ini") else []), ROOT / "examples" / file])
        conf = self.folder / "nginx.conf"
        conf.write_text(NGINX_CONF.format(
            folder=self.folder, host=HOST, port=self.port,
            parameters=nginx_folder(nginx) / "fastcgi_params",
            upstreams="".join(UPSTREAM.format(name=name, folder=self.folder)
                              for name, *_ in APPLICATIONS),
            locations="".join(LOCATION.format(name=name, prefix=mount.rstrip("/") + "/")
                              for name, mount, *_ in APPLICATIONS)))
        self.spawn("nginx", [nginx, "-p", self.folder, "-e", self.folder / "nginx.log", "-c", conf])

    def spawn(self, name, command):
        with open(self.folder / f"{name}.log", "ab") as log:
            # A session of its own: Ctrl-C at the terminal reaches this program alone, which stops
            # the others in order.
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def pause(self, seconds):
        if self.interrupted.wait(seconds) or os.getppid() != self.parent:
            raise Interrupted
        for name, process in self.processes.items():
            if process.poll() is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                tail = "\n    ".join(log.splitlines()[-10:])
                raise Failure(f"{name} ended with code {process.returncode}; its log:\n    {tail}")

    def ask(self, path):
        """(status line, body) of one request through nginx."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode(errors="replace")
            return f"HTTP/1.1 {response.status} {response.reason}", body
        finally:
            connection.close()

    def wait_until_ready(self):
        """Every application answers with what it should."""
        deadline = time.monotonic() + START_SECONDS
        for name, mount, _, path, expected in APPLICATIONS:
            answer = None
            while answer is None or "200" not in answer[0] or expected not in answer[1]:
                self.pause(0.05)
                if time.monotonic() > deadline:
                    raise Failure(f"{name} gave no good answer in {START_SECONDS} s: {answer}")
                try:
                    answer = self.ask(mount.rstrip("/") + (path or "/"))
                except (OSError, http.client.HTTPException) as error:
                    answer = str(error), ""

    def print_proof(self):
        status, body = self.ask("/")
        print(f"GET / HTTP/1.1\n\n{status}\n\n{body}")
        for name, mount, file, _, _ in APPLICATIONS:
            address = f"http://{HOST}:{self.port}{mount.rstrip('/')}/"
            print(f"  {address:34}  examples/{file}")

    def run(self):
        print(f"\nThe logs are {self.folder}/*.log. Ctrl-C stops everything.", flush=True)
        while True:
            self.pause(0.5)

    def stop(self):
        """nginx first, so that nobody asks an application that has gone."""
        for process in reversed(list(self.processes.values())):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def find_nginx():
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
    nginx = shutil.which("nginx", path=path)
    if not nginx:
        raise Failure("there is no nginx: `make deps-demo` installs it")
    return nginx


def nginx_folder(nginx):
    """Where its stock files are, as it was built."""
    for word in subprocess.run([nginx, "-V"], stderr=subprocess.PIPE, text=True).stderr.split():
        if word.startswith("--conf-path="):
            return Path(word.partition("=")[2]).parent
    return Path("/etc/nginx")


def check_port(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            another = 8081 if port != 8081 else 8082
            raise Failure(f"port {port}: {error.strerror.lower()}: "
                          f"take another one: make demo PORT={another}")


def main(arguments):
    if arguments not in ([], ["--once"]):
        sys.exit(__doc__)
    port = os.environ.get("PORT", "8080")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        sys.exit("demo: PORT is a number from 1 to 65535: make demo PORT=8081")
    demo = Demo(int(port), Path(tempfile.mkdtemp(prefix="fcgihost-demo-")))
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: demo.interrupted.set())
    try:
        demo.start()
        demo.wait_until_ready()
        demo.print_proof()
        if not arguments:
            demo.run()
    except Interrupted:
        print("\ndemo: stopping", flush=True)
    except Failure as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    finally:
        demo.stop()
        shutil.rmtree(demo.folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
