"""A usual Django site with PostgreSQL, as the unit's service: restricted as systemd would do it, behind nginx."""
import os
import re
import shutil
import subprocess
import sys

import pytest

import process
import systemd
from deployed import Browser, Deployment, deployment, many_at_once
from fronts import AS_ROOT, unavailable
from host import HERE, PROGRAM, ROOT, Host, write_file
from postgres import PASSWORD, Postgres
from process import wait_until

UNIT = os.path.join(ROOT, "packaging/systemd/fcgihost@.service")
UID = 61184  # systemd's first for DynamicUser; nothing else is known of it, as for the site's user with a database
INI = """[server]
processes = 2
[python]
path = %(folder)s/code
bytecode = no
[startup]
import = garden.ready:check
require = yes
request_wait = 100ms
retry_delay = 200ms
retry_max_delay = 1s
[shutdown]
cleanup_timeout = 30s
[application]
wsgi = garden.wsgi:application
"""
CODE = {"__init__": "", "settings": """
import os
SECRET_KEY = "only for a test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "garden.urls"
INSTALLED_APPS = ["django.contrib." + name for name in ("admin", "auth", "contenttypes", "sessions", "messages")] + ["garden"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.contrib.sessions.middleware.SessionMiddleware",
              "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware",
              "django.contrib.messages.middleware.MessageMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
    "context_processors": ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
                           "django.contrib.messages.context_processors.messages"]}}]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "site",
                         "HOST": os.environ["DATABASE_HOST"], "PASSWORD": os.environ["DATABASE_PASSWORD"],
                         "CONN_MAX_AGE": 60, "ATOMIC_REQUESTS": True}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE, USE_TZ, STATIC_URL = "Asia/Kolkata", True, "/static/"
LOGGING = {"version": 1, "disable_existing_loggers": False, "handlers": {"console": {
    "class": "logging.StreamHandler", "formatter": "short"}}, "root": {"handlers": ["console"], "level": "WARNING"},
    "formatters": {"short": {"class": "garden.ready.Short"}}}
MEDIA_ROOT = os.environ["STATE_DIRECTORY"]
""", "models": """
from django.db import models
class Plant(models.Model):
    name = models.CharField(max_length=100)
    def __str__(self):
        return self.name
""", "admin": """
from django.contrib import admin
from garden.models import Plant
admin.site.register(Plant)
""", "urls": """
from django.contrib import admin
from django.urls import path
from garden import views
urlpatterns = [path("admin/", admin.site.urls), path("plants/", views.plants), path("visits/", views.visits),
               path("keep/", views.keep)]
""", "views": """
import os
from django.conf import settings
from django.core.files.storage import default_storage
from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt
from garden.models import Plant
@csrf_exempt
def plants(request):
    if request.method == "POST":
        Plant.objects.create(name=request.POST["name"])
    return JsonResponse({"plants": sorted(Plant.objects.values_list("name", flat=True)), "pid": os.getpid()})
def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})
@csrf_exempt
def keep(request):
    tried = {}
    for name, folder in ("state", settings.MEDIA_ROOT), ("code", os.path.dirname(__file__)), ("etc", "/etc"):
        try:
            with open(os.path.join(folder, "upload"), "wb") as file:
                file.writelines(request.FILES["upload"].chunks())
            tried[name] = os.path.getsize(file.name)
        except OSError as error:
            tried[name] = type(error).__name__
    return JsonResponse(tried)
""", "ready": """
import logging
class Short(logging.Formatter):  # a traceback of Django's own for a database that the test stops is no fault
    def formatException(self, exc_info):
        return repr(exc_info[1])
def check():
    import garden.wsgi
    from django.db import connection
    connection.ensure_connection()
    connection.close()
""", "wsgi": """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "garden.settings"
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""}
ADD_USER = "from django.contrib.auth.models import User; User.objects.create_superuser('ada', 'ada@example.org', 'secret')"


class Service(Deployment):
    """The unit's service, on the unit's socket. Its database is not up yet when it starts."""

    def start_host(self):
        self.state = os.path.join(self.folder, "state")
        os.makedirs(os.path.join(self.state, "run"))
        for folder in self.state, os.path.join(self.state, "run"):
            os.chown(folder, UID, UID)
        os.mkdir(os.path.join(self.folder, "root"))
        ini, self.service_environ = self.prepare(self)
        config = write_file(os.path.join(self.folder, "garden.ini"), ini + "mount = %s\n" % (self.prefix or "/"))
        self.socket = systemd.SocketUnit(self.folder)
        os.rename(self.socket.path, self.socket_path)
        os.chmod(self.socket_path, 0o666)
        self.notify = systemd.NotifySocket(self.folder, is_abstract=True)
        activate = write_file(os.path.join(self.folder, "activate.py"), systemd.ACTIVATE, 0o644)
        number = self.socket.socket.fileno()
        self.host = Host(
            use_ini=False, args=["-c", config], listen=["unix:" + self.socket_path], folder=self.folder, watched=False,
            wait=False, pass_fds=[number], environ=dict(self.service_environ, NOTIFY_SOCKET=self.notify.path),
            program=["unshare", "--mount", "--propagation", "private", sys.executable,
                     os.path.join(HERE, "restricted.py"), UNIT, str(UID), os.path.join(self.folder, "root"), self.folder,
                     self.state, sys.executable, activate, str(number), PROGRAM])
        self.host.socket_files = []

    def is_ready(self):
        assert self.host.is_running(), self.host.log.read()
        return super(Deployment, self).is_ready() or "attempt 1 failed" in self.host.log.read()

    def heal(self):
        """The database comes up, and both workers find it."""
        self.database.start()
        wait_until(lambda: len(re.findall(r"application garden.* loaded at attempt", self.host.log.read())) == 2,
                   "both workers:\n" + self.host.log.read(), 60)

    def stop_processes(self):
        complaints = super().stop_processes()
        self.database.stop()
        return complaints


def prepare(site):
    site.database = Postgres(site.folder)
    os.makedirs(os.path.join(site.folder, "code", "garden"))
    for name, text in CODE.items():
        write_file(os.path.join(site.folder, "code", "garden", name + ".py"), text)
    site.service_environ = {
        "DATABASE_HOST": site.database.folder, "DATABASE_PASSWORD": PASSWORD, "STATE_DIRECTORY": site.state,
        "RUNTIME_DIRECTORY": os.path.join(site.state, "run"), "HOME": site.state}
    site.database.start()
    django = [sys.executable, "-B", "-m", "django"]
    names = {"PYTHONPATH": os.path.join(site.folder, "code"), "DJANGO_SETTINGS_MODULE": "garden.settings"}
    site.run([*django, "makemigrations", "garden", "-v", "0"], **names)
    site.run([*django, "migrate", "-v", "0"], **names)
    site.run([*django, "shell", "-c", ADD_USER], **names)
    site.database.stop()
    return INI % {"folder": site.folder}, site.service_environ


@pytest.fixture(scope="module", params=["readme"])
def site(request):
    if not AS_ROOT or not shutil.which("setpriv"):
        pytest.skip("only root gives up what the unit does")
    if subprocess.run(["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
                      stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        unavailable("no mounts are allowed here, in a namespace of the test's own")
    if not shutil.which("systemd-analyze"):
        unavailable("no systemd-analyze, which knows the sets of system calls: make test-applications installs it")
    yield from deployment(request.param, prepare, [("python3-django", "django"), ("python3-psycopg2", "psycopg2"),
                                                   ("postgresql",)], Service)


@pytest.fixture
def served(site, expected_log):
    """The site once its database is up."""
    if not site.database.popen:
        expected_log("OperationalError")  # of the attempts to load it until now
        site.heal()
    return site


def processes(site):
    """The manager and its workers."""
    return [site.host.pid, *process.children(site.host.pid)]


class TestTheDatabase:
    def test_that_comes_up_late_is_found_by_itself(self, site, expected_log):
        expected_log("OperationalError")
        refused = site.get("/plants/")
        assert refused.status == 503 and int(refused.get("Retry-After")) >= 1, refused
        assert not site.notify.has("READY")
        site.heal()
        site.notify.wait(READY="1")
        assert site.get("/plants/").status == 200 and site.host.is_running()

    def test_that_is_restarted_costs_errors_only_while_it_is_down(self, served):
        before = {served.get("/plants/").json["pid"] for _ in range(20)}
        served.database.stop()
        assert {served.get("/plants/").status for _ in range(20)} == {500}
        served.database.start()
        wait_until(lambda: served.get("/plants/").status == 200, "the site")
        # Each thread of each process has a connection of its own, which Django drops when it has failed.
        wait_until(lambda: {page.status for page in many_at_once(lambda number: served.get("/plants/"))} == {200}, "all of it")
        assert {served.get("/plants/").json["pid"] for _ in range(20)} <= before | set(processes(served))
        assert served.host.log.read().count("worker-died") == 0


class TestTheSite:
    def test_every_process_has_what_the_unit_leaves_it(self, served):
        for pid in processes(served):
            with open("/proc/%d/status" % pid) as file:
                status = dict(line.split(":\t") for line in file.read().splitlines() if ":\t" in line)
            assert status["Uid"].split() == [str(UID)] * 4 and status["Groups"].strip() == ""
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
            assert os.listdir("/proc/%d/root/tmp" % pid) == [os.path.basename(served.folder)]
            assert "sda" not in os.listdir("/proc/%d/root/dev" % pid)
        assert len(processes(served)) == 3

    def test_what_is_uploaded_goes_to_the_state_directory_and_nowhere_else(self, served):
        body = (b'--border\r\nContent-Disposition: form-data; name="upload"; filename="photo"\r\n\r\n' + b"x" * 3000000 +
                b"\r\n--border--\r\n")
        kept = served.request("POST", "/keep/", body, [("Content-Type", "multipart/form-data; boundary=border")])
        assert kept.json == {"state": 3000000, "code": "OSError", "etc": "OSError"}, kept
        found = os.stat(os.path.join(served.state, "upload"))
        assert found.st_uid == UID and found.st_mode & 0o777 == 0o640

    def test_what_is_written_is_read_by_all(self, served):
        names = ["plant %d of %s" % (number, served.prefix) for number in range(24)]
        made = many_at_once(lambda number: Browser(served).post("/plants/", name=names[number]))
        assert {page.status for page in made} == {200}
        assert set(names) <= set(served.get("/plants/").json["plants"])

    def test_a_session_is_in_the_database(self, served):
        browser = Browser(served)
        assert [browser.get("/visits/").json["visits"] for _ in range(10)] == list(range(1, 11))
        assert Browser(served).get("/visits/").json["visits"] == 1

    def test_the_administrator_logs_in_and_adds_a_plant(self, served):
        browser = Browser(served)
        page = browser.get("/admin/", redirects=1)
        assert page.status == 200 and "Django administration" in page.text, page
        wrong = browser.submit("/admin/login/?next=/admin/", username="ada", password="wrong")
        assert wrong.status == 200 and "sessionid" not in browser.cookies
        entered = browser.submit("/admin/login/?next=%s/admin/" % served.prefix, username="ada", password="secret")
        assert entered.status == 302 and "sessionid" in browser.cookies, entered
        added = browser.submit("/admin/garden/plant/add/", name="séance lily")
        assert added.status == 302, added.text
        assert "séance lily" in browser.get(browser.below_prefix(added.get("Location"))).text
        assert "séance lily" in served.get("/plants/").json["plants"]

    def test_systemctl_reload_replaces_the_workers(self, served):
        workers = set(process.children(served.host.pid))
        os.kill(served.host.pid, process.signal.SIGHUP)
        wait_until(lambda: not workers & set(process.children(served.host.pid)), "new workers")
        assert served.get("/plants/").status == 200
