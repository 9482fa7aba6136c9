"""Real applications, unchanged: deployed as an administrator would, and used as a browser does."""
import http.cookies
import os
import re
import shutil
import subprocess
import urllib.parse

import pytest

import process
from e2e_conftest import end_shared
from fronts import NginxFastcgiKept, NginxScgi, NginxStock, unavailable
from host import PYTHON, Host, write_file

# Where an application is, and how nginx speaks with it: as the README has it, and as examples/nginx.
FORMS = {"readme": (NginxStock, "/app"), "root-kept": (NginxFastcgiKept, ""),
         "prefix-scgi": (NginxScgi, "/app")}
ALL_FORMS = list(FORMS)

# Built with sanitizers: what lxml and others keep is not the host's, and AddressSanitizer's own crypt()
# crashes unless libcrypt was there from the start.
FOR_SANITIZERS = {}
if "address" in process.SAN:
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + \
        ":detect_leaks=0:verify_asan_link_order=0"
    FOR_SANITIZERS["LD_PRELOAD"] = "libcrypt.so.1"


def needs_package(package, *modules):
    """A package that this release has must be there in continuous integration; others are skipped."""
    if not is_installed(package):
        if not shutil.which("apt-cache") or not subprocess.run(
                ["apt-cache", "show", package], stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL).stdout:
            pytest.skip("this release of the operating system has no package %s" % package)
        unavailable("%s is not installed: make test-applications installs it" % package)
    if not has_modules(*modules):
        if os.path.realpath(PYTHON) != os.path.realpath("/usr/bin/python3"):
            pytest.skip("%s is for /usr/bin/python3, embedded is %s" % (package, PYTHON))
        pytest.fail("%s is installed, but there is no module %s" % (package,
                                                                    " and ".join(modules)))


def has_modules(*modules):
    """Does the embedded Python find them? Importing them could take the configuration of a site."""
    return subprocess.run([PYTHON, "-c", "import sys; from importlib.util import find_spec; "
                           "sys.exit(not all(map(find_spec, sys.argv[1:])))", *modules],
                          stdin=subprocess.DEVNULL).returncode == 0


def is_installed(package):
    try:
        found = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return False
    return found.stdout.endswith(b" ok installed")


class Deployment:
    """What an administrator writes: an ini file, and variables for the service. prepare(site) returns
    both, once it has made whatever else the application needs in site.folder; [application] is the
    last section of the file."""

    def __init__(self, prepare, prefix):
        self.prepare = prepare
        super().__init__(prefix=prefix, shared=True)

    def start_host(self):
        ini, self.service_environ = self.prepare(self)
        if self.mount_setting:
            ini += "mount = %s\n" % (self.prefix or "/")
        path = write_file(os.path.join(self.folder, "fcgihost.ini"),
                          "[server]\nlisten = unix:%s\nsocket_mode = 0666\n%s" % (
                              self.socket_path, ini))
        self.host = Host(use_ini=False, args=["-c", path], listen=["unix:" + self.socket_path],
                         folder=self.folder, watched=False, probe=False,
                         environ=dict(self.service_environ, **FOR_SANITIZERS))

    def is_ready(self):
        assert self.host.is_running(), self.host.log.read()
        return super().is_ready()

    def stop_host(self):
        complaints = super().stop_host()
        return complaints + [self.host.log.read()[-3000:]] if complaints else []

    def run(self, command, **environ):
        """Runs a program of the application, in the service's environment, and returns its output."""
        environ = dict(os.environ, **self.service_environ, **environ)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=environ, cwd=self.folder,
                              timeout=process.deadline(60))
        assert done.returncode == 0, done.stdout.decode("utf-8", "replace")
        return done.stdout.decode("utf-8", "replace")


def deployment(form, prepare, packages, kind=Deployment):
    """For a fixture: the application in one form, with the checks at its end. packages: the name of
    each, and of its modules. kind: Deployment, or a class derived from it."""
    for package, *modules in packages:
        needs_package(package, *modules)
    front, prefix = FORMS[form]
    site = type("Deployed" + front.__name__, (kind, front), {})(prepare, prefix)
    yield site
    end_shared(site)


def deployed(prepare, packages, forms=ALL_FORMS):
    """A fixture: the application in each of the forms, one after the other."""
    @pytest.fixture(scope="module", params=forms)
    def fixture(request):
        yield from deployment(request.param, prepare, packages)
    return fixture


class Browser:
    """Cookies, forms and redirects of one visitor. Paths are below the site's prefix."""

    def __init__(self, site):
        self.site, self.cookies = site, {}

    def request(self, method, path, body=None, headers=()):
        cookie = "; ".join("%s=%s" % item for item in self.cookies.items())
        response = self.site.request(method, path, body, [
            *([("Cookie", cookie)] if cookie else []), *headers])
        for value in response.all("Set-Cookie"):
            for name, morsel in http.cookies.SimpleCookie(value).items():
                self.cookies[name] = morsel.value
        return response

    def get(self, path, redirects=0):
        response = self.request("GET", path)
        for _ in range(redirects):
            if response.status not in (301, 302, 303):
                break
            response = self.request("GET", self.below_prefix(response.get("Location")))
        return response

    def below_prefix(self, location):
        """Where a redirect leads to; it must stay in the application."""
        parts = urllib.parse.urlsplit(location)
        # nginx may tell the application its host without the port.
        assert parts.netloc in ("", "127.0.0.1", "127.0.0.1:%d" % self.site.port), location
        assert (parts.path + "/").startswith(self.site.prefix + "/"), location
        path = parts.path[len(self.site.prefix):] or "/"
        return path + ("?" + parts.query if parts.query else "")

    def post(self, path, **fields):
        return self.request("POST", path, urllib.parse.urlencode(fields).encode(),
                            [("Content-Type", "application/x-www-form-urlencoded"),
                             ("Referer", self.site.url(path))])

    def submit(self, path, **fields):
        """Fills in the form of a Django page, with its CSRF token."""
        page = self.get(path)
        assert page.status == 200, page
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token, page.text
        return self.post(path, csrfmiddlewaretoken=token[1], **fields)


def many_at_once(ask, count=24):
    """Calls ask(number) on as many threads; the results in order."""
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, range(count)))
