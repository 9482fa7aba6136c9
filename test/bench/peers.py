"""The servers that are compared, each with its whole configuration in a temporary folder."""
import glob
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import namedtuple

import figures

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), "e2e"))
import process  # noqa: E402

SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
APACHE_MODULES = "/usr/lib/apache2/modules"
THREADS = "4"
READY_SECONDS, STOP_SECONDS = 20, 1
# Which variable of the environment names them: the one that is measured, and another build of it.
OWN_PROGRAMS = {"fcgihost": "FCGIHOST", "other-fcgihost": "AGAINST"}

AS_ROOT = os.geteuid() == 0


class Unusable(Exception):
    """A peer does not answer as it should."""


class Peer(namedtuple("Peer", "title protocol application front keeps_connections",
                      defaults=(None, True))):
    """application, front: functions of a site that give a command, or None. protocol: what the
    load generator speaks to it. keeps_connections: where not, the client does not ask for it."""

    def programs(self):
        """The names of the programs that it takes; those of one that is not there."""
        names = [function.program for function in (self.application, self.front) if function]
        return [name for name in names if find_program(name) is None]


def find_program(name):
    if name == "php-fpm":  # php-fpm8.2
        found = sorted(glob.glob("/usr/sbin/php-fpm*"))
        return found[-1] if found else None
    if name in OWN_PROGRAMS:
        return os.environ.get(OWN_PROGRAMS[name])
    return shutil.which(name, path=SEARCH_PATH)


def runs(program):
    """Says which program the command that a function gives will run."""
    def decorate(function):
        function.program = program
        return function
    return decorate


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


# -------------------------------------------------------------------------------
# Application servers: one process, four threads


def own(name):
    @runs(name)
    def command(site):
        home = ["--set", "python.home=" + site.venv] if site.venv else []
        return [find_program(name), "--listen", "unix:" + site.socket, "--threads", THREADS,
                *home, site.app]
    return command


def uwsgi(option):
    @runs("uwsgi")
    def command(site):
        with open("/proc/sys/net/core/somaxconn") as file:
            backlog = min(511, int(file.read()))
        return [find_program("uwsgi"), "--plugin", "python3", option, site.socket, "--processes",
                "1", "--threads", THREADS, "--enable-threads", "--listen", str(backlog),
                "--disable-logging", "--need-app", "--die-on-term", "--wsgi-file", site.app,
                *(["--virtualenv", site.venv] if site.venv else [])]
    return command


@runs("gunicorn")
def gunicorn(site):
    module = os.path.basename(site.app)[:-len(".py")]
    return [find_program("gunicorn"), "--worker-class", "gthread", "--workers", "1", "--threads",
            THREADS, "--keep-alive", "60", "--backlog", "511", "--log-level", "error", "--bind",
            "unix:" + site.socket, module + ":application"]


PHP_FPM = """
[global]
daemonize = no
error_log = %(folder)s/log
[www]
listen = %(socket)s
%(user)s
pm = static
pm.max_children = %(threads)s
"""


@runs("php-fpm")
def php_fpm(site):
    path = write(os.path.join(site.folder, "php-fpm.conf"), PHP_FPM % {
        "folder": site.folder, "socket": site.socket, "threads": THREADS,
        "user": "user = root\ngroup = root" if AS_ROOT else ""})
    return [find_program("php-fpm"), "--fpm-config", path, *(["-R"] if AS_ROOT else [])]


# -------------------------------------------------------------------------------
# Web servers

NGINX = """
%(user)s
daemon off;
worker_processes 1;
pid %(folder)s/nginx.pid;
events { worker_connections 2048; }
http {
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path %(folder)s/nginx-body;
    proxy_temp_path %(folder)s/nginx-proxy;
    fastcgi_temp_path %(folder)s/nginx-fastcgi;
    scgi_temp_path %(folder)s/nginx-scgi;
    uwsgi_temp_path %(folder)s/nginx-uwsgi;
    %(buffers)s
    upstream application { server unix:%(socket)s; %(keepalive)s }
    server {
        listen unix:%(front_socket)s;
        location / { %(location)s }
    }
}
"""
# The whole path is PATH_INFO.
NGINX_FASTCGI = """
            fastcgi_split_path_info ^()(/.*)$;
            include /etc/nginx/fastcgi_params;
            fastcgi_param PATH_INFO $fastcgi_path_info;
            %s
            fastcgi_pass application;
"""
NGINX_PHP = """
            include /etc/nginx/fastcgi.conf;
            fastcgi_param SCRIPT_FILENAME %s/hello.php;
            %%s
            fastcgi_pass application;
""" % os.path.join(HERE, "apps")
NGINX_UWSGI = """
            include /etc/nginx/uwsgi_params;
            uwsgi_pass application;
"""
# By the name that a case gives them. "example": as examples/nginx has them. The same for all peers.
NGINX_BUFFERS = {
    "": "",
    "example": "client_body_buffer_size 1m;",
    "no files": "fastcgi_max_temp_file_size 0; uwsgi_max_temp_file_size 0;",
}
NGINX_SCGI = """
            include /etc/nginx/scgi_params;
            scgi_param SCRIPT_NAME "";
            scgi_param PATH_INFO $document_uri;
            scgi_pass application;
"""
NGINX_PROXY = """
            include /etc/nginx/proxy_params;
            proxy_http_version 1.1;
            proxy_set_header Connection "%s";
            proxy_pass http://application;
"""


def nginx(location, option_if_kept="", option_if_new=""):
    @runs("nginx")
    def command(site):
        option = option_if_kept if site.is_kept else option_if_new
        site.address = "unix:" + site.front_socket
        path = write(os.path.join(site.folder, "nginx.conf"), NGINX % {
            "folder": site.folder, "socket": site.socket, "front_socket": site.front_socket,
            "user": "user root;" if AS_ROOT else "",
            "buffers": NGINX_BUFFERS[site.case.buffers],
            "keepalive": "keepalive 64;" if site.is_kept else "",
            "location": location % option if "%s" in location else location})
        return [find_program("nginx"), "-c", path, "-p", site.folder, "-e",
                os.path.join(site.folder, "nginx.log")]
    return command


APACHE = """
ServerRoot %(folder)s
DefaultRuntimeDir %(folder)s
PidFile %(folder)s/apache2.pid
Mutex file:%(folder)s default
ErrorLog %(folder)s/apache2.log
LogLevel warn
ServerName localhost
Listen 127.0.0.1:%(port)d
LoadModule mpm_event_module %(modules)s/mod_mpm_event.so
LoadModule authz_core_module %(modules)s/mod_authz_core.so
LoadModule wsgi_module %(modules)s/mod_wsgi.so
%(user)s
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 0
WSGISocketPrefix %(folder)s/wsgi
WSGIDaemonProcess application processes=1 threads=%(threads)s
WSGIProcessGroup application
WSGIApplicationGroup %%{GLOBAL}
WSGIScriptAlias / %(app)s
<Directory />
    AllowOverride None
    Require all granted
</Directory>
"""


@runs("apache2")
def apache(site):
    port = process.free_port()
    site.address = "127.0.0.1:%d" % port
    path = write(os.path.join(site.folder, "apache2.conf"), APACHE % {
        "folder": site.folder, "port": port, "modules": APACHE_MODULES, "threads": THREADS,
        "app": site.app, "user": "User www-data\nGroup www-data" if AS_ROOT else ""})
    return [find_program("apache2"), "-DFOREGROUND", "-f", path]


fcgihost, other_fcgihost = own("fcgihost"), own("other-fcgihost")
uwsgi_fastcgi, uwsgi_scgi = uwsgi("--fastcgi-socket"), uwsgi("--scgi-socket")
nginx_fastcgi = nginx(NGINX_FASTCGI, "fastcgi_keep_conn on;")
nginx_scgi = nginx(NGINX_SCGI)
uwsgi_own, nginx_uwsgi = uwsgi("--uwsgi-socket"), nginx(NGINX_UWSGI)

PEERS = {
    # uWSGI closes every connection after its request, whatever the client asks.
    "uwsgi": Peer("uWSGI, FastCGI", "fastcgi", uwsgi_fastcgi, keeps_connections=False),
    "uwsgi-scgi": Peer("uWSGI, SCGI", "scgi", uwsgi_scgi, keeps_connections=False),
    "fcgihost": Peer("fcgihost, FastCGI", "fastcgi", fcgihost),
    "fcgihost-scgi": Peer("fcgihost, SCGI", "scgi", fcgihost, keeps_connections=False),
    "nginx+uwsgi": Peer("nginx and uWSGI, FastCGI", "http", uwsgi_fastcgi, nginx_fastcgi),
    "nginx+uwsgi-scgi": Peer("nginx and uWSGI, SCGI", "http", uwsgi_scgi, nginx_scgi),
    "nginx+uwsgi-own": Peer("nginx and uWSGI, its own protocol", "http", uwsgi_own, nginx_uwsgi),
    "nginx+php-fpm": Peer("nginx and PHP-FPM", "http", php_fpm,
                          nginx(NGINX_PHP, "fastcgi_keep_conn on;")),
    "nginx+fcgihost": Peer("nginx and fcgihost, FastCGI", "http", fcgihost, nginx_fastcgi),
    "nginx+fcgihost-scgi": Peer("nginx and fcgihost, SCGI", "http", fcgihost, nginx_scgi),
    "nginx+gunicorn": Peer("nginx and gunicorn", "http", gunicorn,
                           nginx(NGINX_PROXY, "", "close")),
    "other": Peer("the other fcgihost", "fastcgi", other_fcgihost),
    "nginx+other": Peer("nginx and the other fcgihost", "http", other_fcgihost, nginx_fastcgi),
    "apache+mod_wsgi": Peer("Apache, mod_wsgi's daemon", "http", None, apache),
}


# -------------------------------------------------------------------------------
# A peer that runs


class Site:
    """One peer, started for one figure; a context that stops it."""

    def __init__(self, peer, case, bench):
        self.peer, self.case, self.bench = peer, case, bench
        self.is_kept, self.folder = case.is_kept, bench.site_folder()
        self.app = os.path.join(bench.folder, "apps", case.app)
        self.venv = bench.venv(case.venv) if case.venv else None
        self.socket = os.path.join(self.folder, "app.sock")
        self.front_socket = os.path.join(self.folder, "front.sock")
        self.address = "unix:" + self.socket
        self.children = []
        self.shared = mmap.mmap(-1, 8)  # with the children

    def __enter__(self):
        try:
            for function in (self.peer.application, self.peer.front):
                if function:
                    self.start(function(self))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception):
        self.stop()

    def start(self, command):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.children.append(process.start(command, stdout=log, stderr=log,
                                               cwd=os.path.dirname(self.app),
                                               run_first=self.prepare_child))

    def prepare_child(self):
        if self.bench.server_cores:
            os.sched_setaffinity(0, self.bench.server_cores)
        self.shared[:8] = struct.pack("d", time.perf_counter())

    def executed_at(self):
        """On the clock of time.perf_counter(): when the program that was started last was about
        to be executed, so without the time that Python takes to fork."""
        return struct.unpack("d", self.shared[:8])[0]

    def log(self):
        texts = []
        for name in ("log", "nginx.log", "apache2.log"):
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    texts.append(file.read())
        return "".join(texts)[-2000:]

    def wait_until_ready(self):
        """Until the first response that is right in every byte."""
        end = time.monotonic() + READY_SECONDS
        result = None
        while time.monotonic() < end:
            if any(child.poll() is not None for child in self.children):
                break
            result = self.load(requests=1, connections=1, seconds=1)
            if result and result["served"]:
                return
            time.sleep(0.01)
        raise Unusable("%s does not answer (%s); its log:\n%s" %
                       (self.peer.title, result and result["problem"], self.log()))

    def load(self, seconds, requests=0, connections=None, grace=5):
        """Runs the load generator; what it printed, or None if it could not connect."""
        case, bench = self.case, self.bench
        command = [bench.load, "--address", self.address, "--protocol", self.peer.protocol,
                   "--path", case.path, "--expect", bench.expected_file(case), "--upload",
                   str(case.upload_bytes), "--connections", str(connections or case.connections),
                   "--seconds", str(seconds), "--requests", str(requests), "--grace", str(grace)]
        # Web browsers keep theirs; whether the upstream connection is kept is the front's business.
        if self.peer.protocol == "http" or case.is_kept and self.peer.keeps_connections:
            command.append("--keep")
        if case.is_rich:
            command.append("--rich")
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=seconds + grace + 20)
        return json.loads(done.stdout.decode()) if done.returncode == 0 else None

    def pids(self):
        """All its processes: the children that we started, and theirs."""
        found = []
        pending = [child.pid for child in self.children]
        while pending:
            pid = pending.pop()
            found.append(pid)
            try:
                pending += process.children(pid)
            except OSError:
                pass
        return found

    def cpu_seconds(self):
        """CPU time, user and system, of all its processes and of their children that ended.
        The clock of a process has nanoseconds, where /proc/PID/stat has hundredths of a second."""
        total = 0.0
        for pid in self.pids():
            try:
                total += time.clock_gettime(~pid << 3 | 2)
                with open("/proc/%d/stat" % pid) as file:
                    ticks = figures.parent_and_reaped_ticks(file.read())[1]
                total += ticks / os.sysconf("SC_CLK_TCK")
            except OSError:
                pass  # it has ended: its time is its parent's now
        return total

    def memory_kib(self):
        total = 0
        for pid in self.pids():
            try:
                with open("/proc/%d/smaps_rollup" % pid) as file:
                    total += figures.proportional_kib(file.read())
            except OSError:
                pass
        return total

    def stop(self):
        for child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass  # uWSGI with a stalled peer, gunicorn with a kept connection
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for child in self.children:
            child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
