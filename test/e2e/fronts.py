"""Real web servers, each with a whole configuration of its own in a temporary folder."""
import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import struct
import subprocess

import pytest

import message
import process
from host import (APPS, PROGRAM, ROOT, Host, LogFile, base_settings, can_import, ini_text, merged,
                  sanitizer_environ, sanitizer_reports, temporary_folder, write_file)
from process import deadline, wait_until

AS_ROOT = os.geteuid() == 0


def needs(program, package, is_rare=False):
    """The program's path. A missing server skips a test, and fails it in continuous integration,
    unless it is one that not every release of an operating system has."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path and is_rare:
        pytest.skip("%s is not installed" % program)
    return path or unavailable("%s is not installed: apt install %s (make deps-test)" %
                               (program, package))


def needs_module(*modules):
    if not can_import(*modules):
        unavailable("the embedded Python has no %s: apt install %s (make deps-test)" %
                    (" and no ".join(modules), " ".join("python3-" + name for name in modules)))


def unavailable(reason):
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


# -------------------------------------------------------------------------------
# The clients' side


def http_request(port, method="GET", path="/", body=None, headers=(), chunked=False):
    """One request on a connection of its own. body: bytes, or with chunked an iterable of bytes."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port,
                                                       timeout=deadline(60))) as client:
        client.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            client.putheader(name, value)
        if chunked:
            client.putheader("Transfer-Encoding", "chunked")
        elif body is not None:
            client.putheader("Content-Length", str(len(body)))
        client.endheaders(body, encode_chunked=chunked)
        found = client.getresponse()
        return message.Response(found.status, found.getheaders(), found.read(), found.reason)


def leave_early(port, data, receive_bytes):
    """Sends data, reads some of the answer, and resets the connection."""
    with socket.create_connection(("127.0.0.1", port), deadline(60)) as client:
        client.sendall(data)
        received = 0
        while received < receive_bytes:
            part = client.recv(4096)
            assert part, "the connection ended after %d bytes" % received
            received += len(part)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# -------------------------------------------------------------------------------
# Web servers


def example(name):
    with open(os.path.join(ROOT, "examples", name)) as file:
        return file.read()


def document(name):
    with open(os.path.join(ROOT, name)) as file:
        return file.read()


def changed(text, changes):
    """The text with each part replaced; every one of them must be there."""
    for part, replacement in changes.items():
        assert part in text, "the example has no %r" % part
        text = text.replace(part, replacement)
    return text


def instead(text, usual, other):
    """An example in which a line that it has as a comment takes the place of the usual one."""
    return changed(text, {"\n" + usual + "\n": "\n", "#   " + other + "\n": other + "\n"})


class Server:
    """A web server that runs in the foreground on a free port, with the configuration of an example.
    listens: which of the example's ports (8001 …) a test asks; the others get free ones as well."""
    program = package = None
    is_rare = False
    stop_signal = signal.SIGTERM
    suffix = ".conf"

    def __init__(self, folder, text, listens=8001):
        self.folder, self.text, self.listens = folder, text, listens
        self.path = needs(self.program, self.package, self.is_rare)
        self.config = os.path.join(folder, self.program + self.suffix)
        self.error_log = LogFile(os.path.join(folder, self.program + ".log"))
        self.popen = self.port = None

    def configuration(self):
        """The whole of it: the example, and what a server in a test's folder needs."""
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def with_ports(self, text):
        ports = {str(self.listens): str(self.port)}
        return re.sub(r"\b800\d\b",
                      lambda match: ports.setdefault(match[0], str(process.free_port())), text)

    def start(self):
        for _ in range(5):
            self.port = process.free_port()
            write_file(self.config, self.with_ports(self.configuration()))
            with open(os.path.join(self.folder, self.program + ".out"), "wb") as output:
                self.popen = process.start(self.command(), stdout=output, stderr=output,
                                           cwd=self.folder,
                                           env=self.environ())
            if wait_until(lambda: self.popen.poll() is not None or self.answers(),
                          self.program + " to listen"):
                if self.popen.poll() is None:
                    return
            if not process.is_port_taken(self.output()):
                break
        raise AssertionError("%s did not start:\n%s" % (self.program, self.output()))

    def environ(self):
        return dict(os.environ)

    def output(self):
        return LogFile(os.path.join(self.folder,
                                    self.program + ".out")).read() + self.error_log.read()

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.popen:
            process.stop(self.popen, self.stop_signal)


class Nginx(Server):
    program, package = "nginx", "nginx-light"
    # By default it reads on for a while if it has answered before the body came, so that the answer arrives.
    lingering = "lingering_close off;"

    def configuration(self):
        main = "user root;" if AS_ROOT else ""
        http = """http {
            access_log off;
            client_body_temp_path %(folder)s/nginx-body;
            proxy_temp_path %(folder)s/nginx-proxy;
            fastcgi_temp_path %(folder)s/nginx-fastcgi;
            scgi_temp_path %(folder)s/nginx-scgi;
            uwsgi_temp_path %(folder)s/nginx-uwsgi;
            client_max_body_size 100m;
            %(lingering)s
            """ % {"folder": self.folder, "lingering": self.lingering}
        return main + changed(self.text, {"http {": http})

    def command(self):
        return [self.path, "-c", self.config, "-p", self.folder, "-e", self.error_log.path, "-g",
                "daemon off; worker_processes 1; pid %s/nginx.pid;" % self.folder]


class Apache(Server):
    """text: directives for the main server."""
    program, package = "apache2", "apache2-bin"

    def __init__(self, folder, modules, directives):
        super().__init__(folder, directives)
        self.modules = ["mpm_event", "authz_core", "alias", "mime"] + modules
        self.documents = os.path.join(folder, "documents")
        os.makedirs(self.documents, exist_ok=True)

    def configuration(self):
        loads = "\n".join("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so" % (name, name)
                          for name in self.modules)
        return """
            ServerRoot %(folder)s
            DefaultRuntimeDir %(folder)s
            PidFile %(folder)s/apache2.pid
            Listen 127.0.0.1:8001
            ServerName localhost
            %(loads)s
            %(user)s
            Mutex file:%(folder)s default
            TypesConfig /dev/null
            ErrorLog %(folder)s/apache2.log
            LogLevel warn
            StartServers 1
            ServerLimit 2
            ThreadsPerChild 16
            MaxRequestWorkers 32
            MinSpareThreads 4
            MaxSpareThreads 32
            Timeout 60
            GracefulShutdownTimeout 5
            DocumentRoot %(documents)s
            <Directory />
                AllowOverride None
                Require all granted
            </Directory>
            %(directives)s
            """ % {"folder": self.folder, "loads": loads, "documents": self.documents,
                   "directives": self.text,
                   "user": "User www-data\n            Group www-data" if AS_ROOT else ""}

    def command(self):
        return [self.path, "-DFOREGROUND", "-f", self.config]


class Lighttpd(Server):
    program, package = "lighttpd", "lighttpd"

    def configuration(self):
        os.makedirs(os.path.join(self.folder, "documents"), exist_ok=True)
        return changed(self.text, {"/var/www/html": self.folder + "/documents"}) + """
            server.errorlog = "%(folder)s/lighttpd.log"
            server.upload-dirs = ("%(folder)s")
            server.max-request-field-size = 65536
            """ % {"folder": self.folder}

    def command(self):
        return [self.path, "-D", "-f", self.config]


class Haproxy(Server):
    program, package, suffix = "haproxy", "haproxy", ".cfg"

    def configuration(self):
        return self.text

    def command(self):
        return [self.path, "-db", "-f", self.config]


class Caddy(Server):
    program, package, suffix, is_rare = "caddy", "caddy", "file", True

    def configuration(self):
        return "{\nadmin off\nauto_https off\nlog {\noutput file %s\n}\n}\n%s" % (
            self.error_log.path, self.text)

    def environ(self):
        return dict(os.environ, HOME=self.folder, XDG_DATA_HOME=self.folder,
                    XDG_CONFIG_HOME=self.folder)

    def command(self):
        return [self.path, "run", "--config", self.config, "--adapter", "caddyfile"]


def caddy_version():
    """(2, 6)"""
    text = subprocess.run([needs("caddy", "caddy", True), "version"], stdout=subprocess.PIPE).stdout
    return tuple(int(word) for word in re.findall(rb"\d+", text)[:2])


class H2o(Server):
    program, package, is_rare = "h2o", "h2o", True

    def configuration(self):
        return "%serror-log: %s\nnum-threads: 2\n%s" % (
            "user: root\n" if AS_ROOT else "", self.error_log.path, self.text)

    def command(self):
        return [self.path, "-m", "worker", "-c", self.config]


# -------------------------------------------------------------------------------
# Sites: a web server with a host behind it


class Site:
    """An application below a prefix ("/app", or "" for the root) of a web server."""
    started = []  # those that were not stopped yet
    mount_setting = False  # the front can't tell the prefix from the rest: the host is told
    carries_stderr = True  # what the host sends as FCGI_STDERR reaches its error log
    survives_stderr = True
    # What it does with paths, uploads and heads before a host sees them.
    merges_slashes = resolves_dots = True
    adds_slash = False  # it redirects /app to /app/
    takes_chunked = True  # uploads; else it answers 411
    chunked_parts = 200  # how much of one it takes
    head_bytes = 18000  # a head of this size passes
    notices_leaving = True  # of a client, while the application sends
    starts_host = False
    keeps_connections = False  # to the host, between requests
    apps = APPS  # the folder of the application

    def __init__(self, app="wsgi_app:application", prefix="/app", settings=None, shared=False):
        self.app, self.prefix, self.shared = app, prefix, shared
        self.folder = temporary_folder()
        self.host = self.front = None
        mount = {"application": {"mount": prefix or "/"}} if self.mount_setting else None
        self.settings = merged({"server": {"socket_mode": "0666"}, "python": {"path": [self.apps]}}, mount, settings)
        self.extra_logs = []
        try:
            self.start()
            wait_until(self.is_ready, "the site to answer", 30)
        except BaseException:
            self.stop_processes()
            self.clean_up()
            raise
        Site.started.append(self)

    # What a subclass says.

    def make_front(self):
        raise NotImplementedError

    def example(self, name):
        return changed(example(name), {"/run/fcgihost.sock": self.socket_path})

    def start_host(self):
        self.host = Host(self.app, self.settings, folder=self.folder, watched=False)

    def replace_host(self, pid, number=None):
        """Ends the host by a signal, or waits for the end that it has chosen, and starts another."""
        if number:
            os.kill(pid, number)
        assert self.host.wait_exit() == (-number if number == signal.SIGKILL else 0)
        self.start_host()

    # What tests use.

    @property
    def socket_path(self):
        return os.path.join(self.folder, "host.sock")

    @property
    def port(self):
        return self.front.port

    def url(self, path=""):
        return "http://127.0.0.1:%d%s%s" % (self.port, self.prefix, path)

    def request(self, method="GET", path="/", *args, **kwargs):
        """path: below the prefix."""
        return http_request(self.port, method, self.prefix + path, *args, **kwargs)

    def normalized(self, path):
        """What the front makes of // and x/.. in a path."""
        if self.merges_slashes:
            path = re.sub("//+", "/", path)
        return path.replace("/x/..", "") if self.resolves_dots else path

    def get(self, path="/", **kwargs):
        return self.request("GET", path, **kwargs)

    @property
    def error_log(self):
        return self.front.error_log

    @property
    def host_log(self):
        """Where the host writes."""
        return self.host.log

    # Its life.

    def start(self):
        self.front = self.make_front()
        self.start_host()
        self.front.start()

    def is_ready(self):
        try:
            return self.get("/ready").status < 500
        except (OSError, http.client.HTTPException):
            return False

    def check_descriptors(self):
        return []  # the web server may keep connections; they are looked at when it has gone

    def take_log(self):
        return self.host_log.take_unchecked() + sanitizer_reports(self.folder)

    def stop(self):
        Site.started.remove(self)
        return self.stop_processes()

    def stop_processes(self):
        complaints = []
        if self.front:
            try:
                self.front.stop()
            except AssertionError as error:
                complaints.append(str(error))
        return complaints + self.stop_host()

    def stop_host(self):
        if not self.host:
            return []
        return self.host.check_descriptors() + self.host.stop()

    def clean_up(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class NginxFastcgi(Site):
    name, prefix_port, root_port = "nginx-fastcgi", 8001, 8002

    def make_front(self):
        return Nginx(self.folder, self.example("nginx/nginx.conf"),
                     self.prefix_port if self.prefix else self.root_port)


class NginxFastcgiKept(NginxFastcgi):
    name, prefix_port, root_port = "nginx-fastcgi-kept", 8006, 8003
    keeps_connections = True


class NginxStreaming(NginxFastcgi):
    """It passes on bodies and responses as they come."""
    name = "nginx-streaming"

    def example(self, name):
        return changed(super().example(name), {
            "http {": "http {\n    fastcgi_buffering off;\n    fastcgi_request_buffering off;"})


class NginxStreamingKept(NginxStreaming, NginxFastcgiKept):
    name = "nginx-streaming-kept"


class NginxScgi(NginxFastcgi):
    name, prefix_port, root_port = "nginx-scgi", 8004, 8005
    carries_stderr = False


class NginxStock(NginxFastcgi):
    """The README's way: one location, nginx's own parameters, and the host is told the prefix."""
    name, mount_setting, adds_slash = "nginx-stock", True, True
    pass_directive, parameters = "fastcgi_pass", "fastcgi_params"

    def make_front(self):
        server = re.search(r"\n    server \{\n.*?\n    \}\n", document("README"), re.S)[0]
        text = changed("events {}\nhttp {\n%s}\n" % server, {
            "listen 80": "listen 127.0.0.1:8001", "location / ": "location %s/ " % self.prefix,
            "include fastcgi_params": "include /etc/nginx/" + self.parameters,
            "fastcgi_pass unix:/run/fcgihost.sock":
            "%s unix:%s" % (self.pass_directive, self.socket_path)})
        return Nginx(self.folder, text)


class NginxStockScgi(NginxStock):
    name, pass_directive, parameters = "nginx-stock-scgi", "scgi_pass", "scgi_params"
    carries_stderr = False


class ApacheProxy(Site):
    name, mount_setting, scheme, parameters = "apache-proxy", True, "fcgi", ""

    def proxy_pass(self, scheme="fcgi", prefix="/app", parameters=""):
        return "ProxyPass %s unix:%s|%s://localhost%s%s" % (
            prefix or "/", self.socket_path, scheme, "" if prefix else "/", parameters)

    def make_front(self):
        text, usual = self.example("apache-proxy/fcgihost.conf"), self.proxy_pass()
        wanted = self.proxy_pass(self.scheme, self.prefix, self.parameters)
        return Apache(self.folder, ["proxy", "proxy_" + self.scheme],
                      text if wanted == usual else instead(text, usual, wanted))


class ApacheProxyReuse(ApacheProxy):
    name, parameters = "apache-proxy-reuse", " enablereuse=on flushpackets=on"
    keeps_connections = True


class ApacheProxyScgi(ApacheProxy):
    name, scheme, carries_stderr = "apache-proxy-scgi", "scgi", False
    takes_chunked = False


class LighttpdFastcgi(Site):
    name, mount_setting = "lighttpd-fastcgi", True  # it takes /application too
    notices_leaving = False
    prefix_port, root_port = 8001, 8002

    def make_front(self):
        return Lighttpd(self.folder, self.example("lighttpd/lighttpd.conf"),
                        self.prefix_port if self.prefix else self.root_port)


class LighttpdStreaming(LighttpdFastcgi):
    """It reads no faster than its client, and so it sees that one leave."""
    name, notices_leaving = "lighttpd-streaming", True

    def example(self, name):
        return super().example(name) + "server.stream-response-body = 2\n"


class LighttpdStreamingBoth(LighttpdStreaming):
    """Bodies, too; chunked ones need their length first."""
    name, takes_chunked = "lighttpd-streaming-both", False

    def example(self, name):
        return super().example(name) + "server.stream-request-body = 2\n"


class LighttpdScgi(LighttpdFastcgi):
    name, prefix_port, root_port, carries_stderr = "lighttpd-scgi", 8003, 8004, False


class HaproxyFastcgi(Site):
    name, mount_setting, carries_stderr = "haproxy", True, False
    survives_stderr = False  # 2.6 crashes now and then
    merges_slashes = resolves_dots = False
    chunked_parts, head_bytes = 12, 12000
    keeps_connections = True

    def make_front(self):
        return Haproxy(self.folder, self.example("haproxy/haproxy.cfg"),
                       8001 if self.prefix else 8002)


class CaddyFastcgi(Site):
    name, mount_setting, carries_stderr = "caddy", True, False  # 2.7 can
    merges_slashes = resolves_dots = False

    def make_front(self):
        text = self.example("caddy/Caddyfile")
        if caddy_version() >= (2, 9):  # it no longer streams what is chunked
            text = changed(text, {"# request_buffers": "request_buffers"})
        return Caddy(self.folder, text, 8001 if self.prefix else 8002)


class H2oFastcgi(Site):
    """A connection for each request below the prefix, kept ones at the root."""
    name, mount_setting, merges_slashes = "h2o", True, False

    def make_front(self):
        return H2o(self.folder, self.example("h2o/h2o.conf"), 8001 if self.prefix else 8002)


def write_site_ini(site, more=None):
    settings = merged(base_settings(site.app), site.settings, more)
    settings["python"]["path"] = [os.path.join(site.folder, "apps")]
    copy_for_others(site.apps, os.path.join(site.folder, "apps"))
    return write_file(os.path.join(site.folder, "fcgihost.ini"), ini_text(settings))


def copy_for_others(source, target):
    """Copies a folder or a file to where every user may read it."""
    if os.path.isdir(source):
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(source, target)
    for folder, _, files in os.walk(target if os.path.isdir(target) else os.path.dirname(target)):
        os.chmod(folder, 0o755)
        for name in files:
            path = os.path.join(folder, name)
            os.chmod(path, 0o755 if os.access(path, os.X_OK) else 0o644)


def can_others_enter(folder):
    """May any user reach what is in the folder?"""
    while os.stat(folder).st_mode & 0o001:
        if folder == "/":
            return True
        folder = os.path.dirname(folder)
    return False


class ApacheFcgid(Site):
    """mod_fcgid starts the host itself, as www-data, who may not enter the source folder: the
    program and its package are copied, side by side as in the build tree."""
    name, mount_setting, starts_host = "apache-fcgid", True, True
    script = "# the host has its own application\n"

    def start_host(self):
        pass

    def replace_host(self, pid, number=None):
        if number:
            os.kill(pid, number)
            wait_until(lambda: process.has_gone(pid), "the host to end")

    def command(self):
        """The wrapper, instead of the examples' words."""
        return "%s -c %s" % (self.program(), write_site_ini(self))

    def program(self):
        python = os.path.realpath(os.environ.get("PYTHON", "/usr/bin/python3"))
        if AS_ROOT and not can_others_enter(os.path.dirname(python)):
            pytest.skip("mod_fcgid starts the host as www-data, who may not enter %s" % python)
        if not PROGRAM.startswith(ROOT + os.sep):
            return PROGRAM
        copy_for_others(os.path.join(ROOT, "python"), os.path.join(self.folder, "tree", "python"))
        target = os.path.join(self.folder, "tree", os.path.relpath(PROGRAM, ROOT))
        copy_for_others(PROGRAM, target)
        return target

    def make_front(self):
        self.settings["server"].pop("socket_mode")
        os.chmod(self.folder, 0o777)  # sanitizers' reports are www-data's
        command = self.command()
        write_file(os.path.join(self.folder, "app.wsgi"), self.script, 0o755)
        environ = "\n".join('FcgidInitialEnv %s "%s"' % item
                            for item in sanitizer_environ(self.folder).items())
        if self.prefix:
            text = changed(example("apache-fcgid/fcgihost.conf"), {
                "/usr/local/bin/fcgihost --threads 1 /srv/app/app.wsgi": command})
        else:
            write_file(os.path.join(self.folder, "fcgihost"), "#!/bin/sh\nexec %s\n" % command,
                       0o755)
            text = example("apache-fcgid/root.conf")
        return Apache(self.folder, ["fcgid"], """
            FcgidIPCDir %(folder)s/fcgid
            FcgidProcessTableFile %(folder)s/fcgid_shm
            FcgidMaxProcesses 2
            FcgidConnectTimeout %(seconds)d
            FcgidIOTimeout %(seconds)d
            %(environ)s
            %(serve)s""" % {"folder": self.folder, "environ": environ,
                            "serve": changed(text, {"/srv/app": self.folder}),
                            "seconds": deadline(30)})

    @property
    def host_log(self):
        return self.front.error_log


class SpawnFcgi(NginxFastcgi):
    """spawn-fcgi binds the socket, has the host's fds 1 and 2 on /dev/null, and leaves."""
    name, starts_host, options = "spawn-fcgi", True, ""
    pids = ()

    def start_host(self):
        self.settings["server"].pop("socket_mode", None)
        self.log_file = LogFile(os.path.join(self.folder, "host.log"))
        settings = write_site_ini(self, {"log": {"destination": self.log_file.path}})
        needs("spawn-fcgi", "spawn-fcgi")
        self.script = changed(self.example("spawn-fcgi/start"), {
            "/run/fcgihost.pid": self.pid_file, "/usr/local/bin/fcgihost -c /etc/fcgihost.ini":
            PROGRAM + " -c " + settings, "-M 0660 -u app -g www-data": "-M 0666" + self.options})
        self.spawn()

    @property
    def pid_file(self):
        return os.path.join(self.folder, "spawn.pid")

    def spawn(self):
        subprocess.run(["/bin/sh", "-c", self.script], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE,
                       env=dict(os.environ, **sanitizer_environ(self.folder)), check=True,
                       timeout=deadline(30))
        with open(self.pid_file) as file:
            self.pids = [int(word) for word in file.read().split()]
        process.adopted.update(self.pids)

    @property
    def host_log(self):
        return self.log_file

    def replace_host(self, pid, number=None):
        """Nobody starts it again but who started it before."""
        if number:
            os.kill(pid, number)
        assert self.wait_exit(pid) == (number if number == signal.SIGKILL else 0)
        self.spawn()

    def wait_exit(self, pid):
        """The wait status of one of the processes, which is killed if it does not end."""
        self.pids = [other for other in self.pids if other != pid]
        status = []

        def has_ended():
            ended, found = os.waitpid(pid, os.WNOHANG)
            status.append(found)
            return ended
        try:
            wait_until(has_ended, "the host to end", 30)
        except AssertionError:
            process.end_adopted(pid)
            raise
        finally:
            process.adopted.discard(pid)
        return status[-1]

    def stop_host(self):
        pids, complaints = self.pids, []
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        for pid in pids:
            try:
                status = self.wait_exit(pid)
                complaints += ["wait status %d" % status] if status else []
            except AssertionError as error:
                complaints.append(str(error))
        return complaints


class LighttpdSpawn(Site):
    """lighttpd starts the host itself (bin-path), with its fds 1 and 2 on /dev/null."""
    name, mount_setting, starts_host, processes = "lighttpd-spawn", True, True, 1
    notices_leaving = False

    def start_host(self):
        pass

    def replace_host(self, pid, number=None):
        """After a crash lighttpd answers 503 for up to two seconds, whatever the host does."""
        if number:
            os.kill(pid, number)
            wait_until(lambda: process.state(pid) is None, "the host to end")
        if number == signal.SIGKILL:
            wait_until(self.is_ready, "another process")

    def make_front(self):
        self.settings["server"].pop("socket_mode")
        self.log_file = LogFile(os.path.join(self.folder, "host.log"))
        path = write_site_ini(self, {"log": {"destination": self.log_file.path}})
        environ = ", ".join('"%s" => "%s"' % item
                            for item in sanitizer_environ(self.folder).items())
        text = changed(example("lighttpd/spawn.conf"), {
            "/usr/local/bin/fcgihost --set application.mount=/app /srv/app/app.wsgi":
            PROGRAM + " -c " + path, "/run/lighttpd/fcgihost.sock": self.socket_path,
            '"max-procs" => 1': '"max-procs" => %d, "bin-environment" => (%s)' % (
                self.processes, environ)})
        if not self.prefix:
            text = changed(text, {'"/app" =>': '"/" =>'})
        return Lighttpd(self.folder, text)

    @property
    def host_log(self):
        return self.log_file


ALL = [NginxFastcgiKept, NginxFastcgi, NginxScgi, NginxStock, NginxStockScgi, ApacheFcgid,
       ApacheProxyReuse, ApacheProxy, ApacheProxyScgi, SpawnFcgi, LighttpdFastcgi, LighttpdScgi,
       LighttpdSpawn, HaproxyFastcgi, CaddyFastcgi, H2oFastcgi]
STREAMING = [NginxStreaming, NginxStreamingKept, LighttpdStreaming, LighttpdStreamingBoth]
