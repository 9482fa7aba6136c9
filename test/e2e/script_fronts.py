"""Web servers that choose a script file in their document root, each over a host without a mount."""
import os
import re

import fronts
from host import write_file


class ScriptSite(fronts.Site):
    """application: keys of [application], beside the script or script_root."""
    mount_setting = False

    def __init__(self, application=None, settings=None, shared=True):
        self.application = application or {}
        super().__init__(app=None, settings=settings, shared=shared)

    def start(self):
        self.documents = os.path.join(self.folder, "documents")
        os.mkdir(self.documents)
        self.settings["application"] = dict(self.keys(), **self.application)
        super().start()

    def keys(self):
        return {"script_root": self.documents}

    def start_host(self):
        # There is no /ready: any answer tells that it is.
        self.host = fronts.Host(None, self.settings, folder=self.folder, watched=False, probe=False)

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.documents, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return write_file(path, text, mode)

    def ask(self, path, method="GET", **kwargs):
        return fronts.http_request(self.port, method, path, **kwargs)


class NginxScripts(ScriptSite):
    """The example's way, which is that of doc/fronts.md too."""
    name = "nginx"

    def make_front(self):
        text = fronts.example("nginx/nginx.conf")
        assert location_of(text) == location_of(fronts.document("doc/fronts.md"))
        return fronts.Nginx(self.folder, fronts.changed(text, {
            "/run/fcgihost.sock": self.socket_path, "/srv/pages;": self.documents + ";"}), 8007)


def location_of(text):
    """That of script files in a configuration of nginx, without indentation."""
    found = re.search(r"(?s)location ~ \\.wsgi\(/\|\$\) \{.*?\}", text)[0]
    return [line.strip() for line in found.replace("/etc/nginx/", "").splitlines()]


class NginxSplitScripts(ScriptSite):
    """It does not ask whether there is such a file."""
    name, more = "nginx-only-split", ""

    def make_front(self):
        return fronts.Nginx(self.folder, """
            events {}
            http {
                server {
                    listen 127.0.0.1:8001;
                    root %s;
                    location ~ \\.wsgi(/|$) {
                        fastcgi_split_path_info ^(.+?\\.wsgi)(/.*)?$;
                        %s
                        include /etc/nginx/fastcgi.conf;
                        fastcgi_param PATH_INFO $fastcgi_path_info;
                        fastcgi_pass unix:%s;
                    }
                }
            }""" % (self.documents, self.more, self.socket_path))


class NginxTryFilesScripts(NginxSplitScripts):
    """try_files loses what follows the file."""
    name, more = "nginx-try-files", "try_files $fastcgi_script_name =404;"


class NginxScgiScripts(ScriptSite):
    name = "nginx-scgi"

    def make_front(self):
        return fronts.Nginx(self.folder, """
            events {}
            http {
                server {
                    listen 127.0.0.1:8001;
                    root %s;
                    location ~ ^(?<script>.+?\\.wsgi)(?<rest>/.*)?$ {
                        include /etc/nginx/scgi_params;
                        scgi_param SCRIPT_FILENAME $document_root$script;
                        scgi_param SCRIPT_NAME $script;
                        scgi_param PATH_INFO $rest;
                        scgi_pass unix:%s;
                    }
                }
            }""" % (self.documents, self.socket_path))


class ApacheMatchScripts(ScriptSite):
    name = "apache-match"

    def make_front(self):
        return fronts.Apache(self.folder, ["proxy", "proxy_fcgi"], """
            ProxyPassMatch ^/(.*\\.wsgi(/.*)?)$ "unix:%s|fcgi://localhost%s/$1"
            """ % (self.socket_path, self.documents))


class ApacheHandlerScripts(ScriptSite):
    name = "apache-handler"

    def make_front(self):
        return fronts.Apache(self.folder, ["proxy", "proxy_fcgi"], """
            <FilesMatch "\\.wsgi$">
                SetHandler "proxy:unix:%s|fcgi://localhost"
            </FilesMatch>
            """ % self.socket_path)


class ApacheHandlerScgiScripts(ScriptSite):
    """Over SCGI the file's name comes as it is."""
    name = "apache-handler-scgi"

    def make_front(self):
        return fronts.Apache(self.folder, ["proxy", "proxy_scgi"], """
            <FilesMatch "\\.wsgi$">
                SetHandler "proxy:unix:%s|scgi://localhost"
            </FilesMatch>
            """ % self.socket_path)


class ApacheFcgidScripts(ScriptSite, fronts.ApacheFcgid):
    """FcgidWrapper for all .wsgi files, in the folder of the example."""
    name = "apache-fcgid"
    start_host = fronts.ApacheFcgid.start_host
    make_front = fronts.ApacheFcgid.make_front
    host_log = fronts.ApacheFcgid.host_log


class LighttpdScripts(ScriptSite):
    name, module = "lighttpd", "fastcgi"

    def make_front(self):
        return fronts.Lighttpd(self.folder, """
            server.modules = ("mod_%s")
            server.bind = "127.0.0.1"
            server.port = 8001
            server.document-root = "/var/www/html"
            %s.server = (".wsgi" => (("socket" => "%s")))
            """ % (self.module, self.module, self.socket_path))


class LighttpdScgiScripts(LighttpdScripts):
    name, module = "lighttpd-scgi", "scgi"


class CaddyScripts(ScriptSite):
    name = "caddy"

    def make_front(self):
        return fronts.Caddy(self.folder, """
:8001 {
	bind 127.0.0.1
	reverse_proxy unix/%s {
		transport fastcgi {
			root %s
			split .wsgi
		}
	}
}
""" % (self.socket_path, self.documents))


class HaproxyScripts(ScriptSite):
    name = "haproxy"

    def make_front(self):
        return fronts.Haproxy(self.folder, """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend scripts
    bind 127.0.0.1:8001
    default_backend fcgihost
fcgi-app scripts
    docroot %s
    path-info ^(/.+?\\.wsgi)(/.*)?$
backend fcgihost
    use-fcgi-app scripts
    server fcgihost unix@%s proto fcgi
""" % (self.documents, self.socket_path))


class H2oScripts(ScriptSite):
    name = "h2o"

    def make_front(self):
        return fronts.H2o(self.folder, """
hosts:
  default:
    listen:
      host: 127.0.0.1
      port: 8001
    file.custom-handler:
      extension: .wsgi
      fastcgi.connect:
        port: %s
        type: unix
    paths:
      "/":
        file.dir: %s
""" % (self.socket_path, self.documents))


ALL = [NginxScripts, NginxSplitScripts, NginxTryFilesScripts, NginxScgiScripts,
       ApacheMatchScripts, ApacheHandlerScripts, ApacheHandlerScgiScripts, ApacheFcgidScripts,
       LighttpdScripts, LighttpdScgiScripts, CaddyScripts, HaproxyScripts, H2oScripts]
