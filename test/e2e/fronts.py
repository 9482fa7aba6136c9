"""Real web servers, each with a whole configuration of its own in a temporary folder."""
import contextlib
import http.client
import os
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


def needs(program, package):
    """The program's path. A missing server skips a test, and fails it in continuous integration."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
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


class Server:
    """A web server that runs in the foreground on a free port."""
    program = package = None
    stop_signal = signal.SIGTERM

    def __init__(self, folder):
        self.folder = folder
        self.path = needs(self.program, self.package)
        self.config = os.path.join(folder, self.program + ".conf")
        self.error_log = LogFile(os.path.join(folder, self.program + ".log"))
        self.popen = self.port = None

    def configuration(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def start(self):
        for _ in range(5):
            self.port = process.free_port()
            write_file(self.config, self.configuration())
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

    def __init__(self, folder, locations, upstream=""):
        super().__init__(folder)
        self.locations, self.upstream = locations, upstream

    def configuration(self):
        return """
            %(user)s
            daemon off;
            worker_processes 1;
            pid %(folder)s/nginx.pid;
            error_log %(folder)s/nginx.log warn;
            events { worker_connections 512; }
            http {
                access_log off;
                client_body_temp_path %(folder)s/nginx-body;
                proxy_temp_path %(folder)s/nginx-proxy;
                fastcgi_temp_path %(folder)s/nginx-fastcgi;
                scgi_temp_path %(folder)s/nginx-scgi;
                uwsgi_temp_path %(folder)s/nginx-uwsgi;
                client_max_body_size 100m;
                lingering_close off;
                %(upstream)s
                server {
                    listen 127.0.0.1:%(port)d;
                    server_name localhost;
                    %(locations)s
                }
            }
            """ % {"folder": self.folder, "port": self.port, "upstream": self.upstream,
                   "locations": self.locations, "user": "user root;" if AS_ROOT else ""}

    def command(self):
        return [self.path, "-c", self.config, "-p", self.folder, "-e", self.error_log.path]


class Apache(Server):
    program, package = "apache2", "apache2-bin"

    def __init__(self, folder, modules, directives):
        super().__init__(folder)
        self.modules = ["mpm_event", "authz_core", "alias"] + modules
        self.directives = directives
        self.documents = os.path.join(folder, "documents")
        os.makedirs(self.documents, exist_ok=True)

    def configuration(self):
        loads = "\n".join("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so" % (name, name)
                          for name in self.modules)
        return """
            ServerRoot %(folder)s
            DefaultRuntimeDir %(folder)s
            PidFile %(folder)s/apache2.pid
            Listen 127.0.0.1:%(port)d
            ServerName localhost
            %(loads)s
            %(user)s
            Mutex file:%(folder)s default
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
            """ % {"folder": self.folder, "port": self.port, "loads": loads,
                   "documents": self.documents,
                   "directives": self.directives,
                   "user": "User www-data\n            Group www-data" if AS_ROOT else ""}

    def command(self):
        return [self.path, "-DFOREGROUND", "-f", self.config]


class Lighttpd(Server):
    program, package = "lighttpd", "lighttpd"

    def __init__(self, folder, directives):
        super().__init__(folder)
        self.directives = directives

    def configuration(self):
        os.makedirs(os.path.join(self.folder, "documents"), exist_ok=True)
        return """
            server.modules = ("mod_fastcgi", "mod_scgi")
            server.bind = "127.0.0.1"
            server.port = %(port)d
            server.document-root = "%(folder)s/documents"
            server.errorlog = "%(folder)s/lighttpd.log"
            server.upload-dirs = ("%(folder)s")
            server.max-request-field-size = 65536
            %(directives)s
            """ % {"folder": self.folder, "port": self.port, "directives": self.directives}

    def command(self):
        return [self.path, "-D", "-f", self.config]


# -------------------------------------------------------------------------------
# Sites: a web server with a host behind it


class Site:
    """An application below a prefix ("/app", or "" for the root) of a web server."""
    started = []  # those that were not stopped yet
    mount_setting = False  # the front can't tell the prefix from the rest: the host is told
    carries_stderr = True  # what the host sends as FCGI_STDERR reaches its error log

    def __init__(self, app="wsgi_app:application", prefix="/app", settings=None, shared=False):
        self.app, self.prefix, self.shared = app, prefix, shared
        self.folder = temporary_folder()
        self.host = self.front = None
        mount = {"application": {"mount": prefix or "/"}} if self.mount_setting else None
        self.settings = merged({"server": {"socket_mode": "0666"}}, mount, settings)
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

    def start_host(self):
        self.host = Host(self.app, self.settings, folder=self.folder, watched=False)

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
    name, options = "nginx-fastcgi", ""

    def upstream(self):
        return ""

    def target(self):
        return "unix:" + self.socket_path

    def make_front(self):
        if self.prefix:
            location, split = "~ ^%s(/|$)" % self.prefix, "^(%s)(/.*)?$" % self.prefix
        else:
            location, split = "/", "^()(/.*)$"
        return Nginx(self.folder, """
            location %s {
                fastcgi_split_path_info %s;
                include /etc/nginx/fastcgi_params;
                fastcgi_param SCRIPT_NAME $fastcgi_script_name;
                fastcgi_param PATH_INFO $fastcgi_path_info;
                %s
                fastcgi_pass %s;
            }""" % (location, split, self.options, self.target()), self.upstream())


class NginxFastcgiKept(NginxFastcgi):
    name, options = "nginx-fastcgi-kept", "fastcgi_keep_conn on;"

    def upstream(self):
        return "upstream application { server unix:%s; keepalive 4; }" % self.socket_path

    def target(self):
        return "application"


class NginxScgi(Site):
    name, carries_stderr = "nginx-scgi", False

    def make_front(self):
        pattern = "^(?<sn>%s)(?<pi>/.*)?$" % self.prefix if self.prefix else "^(?<sn>)(?<pi>/.*)$"
        return Nginx(self.folder, """
            location ~ %s {
                include /etc/nginx/scgi_params;
                scgi_param SCRIPT_NAME $sn;
                scgi_param PATH_INFO $pi;
                scgi_pass unix:%s;
            }""" % (pattern, self.socket_path))


class ApacheProxy(Site):
    name, mount_setting, parameters = "apache-proxy", True, ""

    def make_front(self):
        return Apache(self.folder, ["proxy", "proxy_fcgi"],
                      "ProxyPass %s unix:%s|fcgi://localhost%s %s" % (
            self.prefix or "/", self.socket_path, "" if self.prefix else "/", self.parameters))


class ApacheProxyReuse(ApacheProxy):
    name, parameters = "apache-proxy-reuse", "enablereuse=on flushpackets=on"


class LighttpdFastcgi(Site):
    name, mount_setting = "lighttpd-fastcgi", True  # it takes /application too

    def make_front(self):
        return Lighttpd(self.folder, """
            fastcgi.server = ("%s" => (("socket" => "%s", "check-local" => "disable"%s)))""" % (
                self.prefix or "/", self.socket_path, "" if self.prefix
                else ', "fix-root-scriptname" => "enable"'))


def write_site_ini(site, more=None):
    settings = merged(base_settings(site.app), site.settings, more)
    settings["python"]["path"] = [os.path.join(site.folder, "apps")]
    copy_for_others(APPS, os.path.join(site.folder, "apps"))
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
    name, mount_setting = "apache-fcgid", True

    def start_host(self):
        pass

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
        command = "%s -c %s" % (self.program(), write_site_ini(self))
        environ = "\n".join('FcgidInitialEnv %s "%s"' % item
                            for item in sanitizer_environ(self.folder).items())
        if self.prefix:
            script = write_file(os.path.join(self.folder, "app.wsgi"),
                                "# the host has its own application\n", 0o755)
            serve = """
                Alias %s %s
                <FilesMatch "\\.wsgi$">
                    SetHandler fcgid-script
                    Options +ExecCGI
                    FcgidWrapper "%s" .wsgi
                </FilesMatch>""" % (self.prefix, script, command)
        else:
            script = write_file(os.path.join(self.folder, "wrapper"),
                                "#!/bin/sh\nexec %s\n" % command, 0o755)
            serve = """
                ScriptAlias / %s/
                <Location />
                    SetHandler fcgid-script
                    Options +ExecCGI
                </Location>""" % script
        return Apache(self.folder, ["fcgid"], """
            FcgidIPCDir %(folder)s/fcgid
            FcgidProcessTableFile %(folder)s/fcgid_shm
            FcgidMaxRequestLen 209715200
            FcgidMaxProcesses 2
            FcgidConnectTimeout %(seconds)d
            FcgidIOTimeout %(seconds)d
            %(environ)s
            %(serve)s""" % {"folder": self.folder, "environ": environ, "serve": serve,
                            "seconds": deadline(30)})

    @property
    def host_log(self):
        return self.front.error_log


class SpawnFcgi(NginxFastcgi):
    """spawn-fcgi binds the socket, has the host's fds 1 and 2 on /dev/null, and leaves."""
    name = "spawn-fcgi"

    def start_host(self):
        self.settings["server"].pop("socket_mode")
        self.log_file = LogFile(os.path.join(self.folder, "host.log"))
        path = write_site_ini(self, {"log": {"destination": self.log_file.path}})
        pid_file = os.path.join(self.folder, "spawn.pid")
        subprocess.run([needs("spawn-fcgi", "spawn-fcgi"), "-s", self.socket_path, "-M", "0666",
                        "-P", pid_file,
                        "--", PROGRAM, "-c", path], stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                       env=dict(os.environ, **sanitizer_environ(self.folder)), check=True,
                       timeout=deadline(30))
        with open(pid_file) as file:
            self.pid = int(file.read())
        process.adopted.add(self.pid)

    @property
    def host_log(self):
        return self.log_file

    def stop_host(self):
        if not hasattr(self, "pid"):
            return []
        os.kill(self.pid, signal.SIGTERM)
        status = []

        def has_ended():
            pid, found = os.waitpid(self.pid, os.WNOHANG)
            status.append(found)
            return pid
        try:
            wait_until(has_ended, "the host to end", 30)
        except AssertionError as error:
            process.end_adopted(self.pid)
            return [str(error)]
        finally:
            process.adopted.discard(self.pid)
        return ["wait status %d" % status[-1]] if status[-1] else []


ALL = [NginxFastcgiKept, NginxFastcgi, NginxScgi, ApacheFcgid, ApacheProxyReuse, ApacheProxy,
       SpawnFcgi,
       LighttpdFastcgi]
