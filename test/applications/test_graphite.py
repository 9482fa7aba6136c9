"""Graphite's web interface: Django with a database, graphs of cairo, metrics in Whisper files."""
import json
import os
import time

import pytest

from deployed import Browser, deployed, many_at_once
from host import write_file

INI = """
[python]
path = %(folder)s

[application]
wsgi = graphite.wsgi:application
"""
SETTINGS = """
SECRET_KEY = "only for a test"
TIME_ZONE = "Asia/Kolkata"
STORAGE_DIR = WHISPER_DIR = "%(folder)s/whisper"
LOG_DIR = "%(folder)s/log"
INDEX_FILE = "%(folder)s/index"
CONF_DIR = "/etc/graphite"
DATABASES = {"default": {"NAME": "%(folder)s/graphite.db", "ENGINE": "django.db.backends.sqlite3",
                         "USER": "", "PASSWORD": "", "HOST": "", "PORT": ""}}
CARBONLINK_HOSTS = []
"""
PNG = b"\x89PNG\r\n\x1a\n"
ADD_USER = "from django.contrib.auth.models import User; " \
           "User.objects.create_superuser('ada', 'ada@example.org', 'secret')"


def prepare(site):
    names = {"folder": site.folder}
    for name in ("log", "whisper"):
        os.mkdir(os.path.join(site.folder, name))
    write_file(os.path.join(site.folder, "graphite_site_settings.py"), SETTINGS % names)
    site.service_environ = {"GRAPHITE_SETTINGS_MODULE": "graphite_site_settings"}
    manage = {"PYTHONPATH": site.folder}
    site.run(["graphite-manage", "migrate", "--run-syncdb", "-v", "0"], **manage)
    site.run(["graphite-manage", "shell", "-c", ADD_USER], **manage)
    whisper = os.path.join(site.folder, "whisper", "garden", "temperature.wsp")
    os.makedirs(os.path.dirname(whisper))
    now = int(time.time())
    site.run(["/usr/bin/python3", "-c", "import sys, whisper; name, now = sys.argv[1], int(sys.argv[2])\n"
              "whisper.create(name, [(60, 1440)])\n"
              "whisper.update_many(name, [(now - 60 * n, n) for n in range(1, 100)])",
              whisper, str(now)])
    return INI % names, site.service_environ


site = deployed(prepare, [("graphite-web", "graphite", "whisper")])


@pytest.fixture
def browser(site):
    return Browser(site)


class TestGraphs:
    def test_json_has_the_values_that_were_stored(self, site):
        response = site.get("/render?target=garden.temperature&format=json&from=-1h")
        assert response.status == 200, response
        (series,) = response.json
        assert series["target"] == "garden.temperature"
        assert len([value for value, moment in series["datapoints"] if value]) >= 50

    def test_a_graph_is_drawn(self, site):
        response = site.get("/render?target=garden.temperature&width=400&height=300&from=-1h")
        assert (response.status, response.get("Content-Type")) == (200, "image/png"), response
        assert response.body.startswith(PNG)

    def test_a_long_question_is_posted(self, site):
        target = "sumSeries(%s)" % ",".join(["garden.temperature"] * 500)
        response = site.request("POST", "/render", ("format=json&from=-1h&target=" +
                                                    target).encode(), [
            ("Content-Type", "application/x-www-form-urlencoded")])
        assert response.status == 200 and len(response.json) == 1, response

    def test_many_visitors_at_once_get_their_graphs(self, site):
        graphs = many_at_once(lambda number: site.get(
            "/render?target=garden.temperature&width=%d&from=-1h" % (300 + number)))
        assert {graph.status for graph in graphs} == {200}
        assert all(graph.body.startswith(PNG) for graph in graphs)

    def test_metrics_are_found(self, site):
        found = site.get("/metrics/find?query=garden.*").json
        assert [metric["id"] for metric in found] == ["garden.temperature"]


class TestDashboard:
    def test_its_pages_are_there_and_link_below_the_prefix(self, browser):
        page = browser.get("/")
        assert page.status == 200 and 'src="%s/composer' % browser.site.prefix in page.text, page.text
        assert "Graphite Dashboard" in browser.get("/dashboard").text

    def test_a_dashboard_is_saved_and_loaded(self, browser):
        state = json.dumps({"name": "mine", "graphs": []})
        saved = browser.post("/dashboard/save/mine", state=state)
        assert (saved.status, saved.json) == (200, {"success": True})
        assert browser.get("/dashboard/load/mine").json["state"]["name"] == "mine"

    def test_an_event_is_posted_as_json(self, browser):
        event = {"what": "caf\u00e9", "tags": ["test"], "data": "opened"}
        posted = browser.request("POST", "/events/", json.dumps(event).encode())
        assert posted.status == 200, posted
        assert "caf\u00e9" in [found["what"] for found in browser.get("/events/get_data").json]

    def test_an_administrator_logs_in_with_a_session_and_csrf(self, browser):
        asked = browser.get("/admin/", redirects=1)
        assert "Django administration" in asked.text
        entered = browser.submit("/admin/login/", username="ada", password="secret",
                                 next=browser.site.prefix + "/admin/")
        assert entered.status == 302, entered
        assert "Log out" in browser.get(browser.below_prefix(entered.get("Location"))).text

    def test_a_form_without_its_token_is_refused(self, browser):
        assert browser.post("/admin/login/", username="ada", password="secret").status == 403
