"""Mailman's core and its web interface, Postorius and HyperKitty: two sites that talk with each other."""
import os
import urllib.parse

import pytest

from deployed import ALL_FORMS, Browser, deployment, many_at_once
from host import write_file

SUITE = "/usr/share/mailman3-web"
CORE_CONFIG = """[mailman]
site_owner: root@example.org
layout: here
[paths.here]
var_dir: %(folder)s/var
bin_dir: /usr/lib/mailman3/bin
log_dir: %(folder)s/log
etc_dir: %(folder)s
pid_file: %(folder)s/master.pid
[webservice]
admin_user: restadmin
admin_pass: restpass
[mta]
incoming: mailman.mta.null.NullMTA
"""
CORE_SCRIPT = """
from mailman.core.initialize import initialize
initialize("%s")
from mailman.rest.wsgiapp import make_application
application = make_application()
"""
# Its database session is one for the whole process.
CORE_INI = """threads = 1
[application]
script = core.wsgi
"""
WEB_SETTINGS = """
SECRET_KEY = "only for a test"
ALLOWED_HOSTS = ["127.0.0.1"]
MAILMAN_REST_API_URL = "%(core)s"
MAILMAN_REST_API_USER, MAILMAN_REST_API_PASS = "restadmin", "restpass"
MAILMAN_ARCHIVER_KEY = "archiver"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "%(folder)s/web.db"}}
TIME_ZONE = "America/New_York"
STATIC_ROOT = "%(folder)s/static"
COMPRESS_ENABLED = False
COMPRESS_PRECOMPILERS = ()
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = "%(folder)s/mails"
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.whoosh_backend.WhooshEngine",
                                    "PATH": "%(folder)s/index"}}
LOGGING = {"version": 1, "disable_existing_loggers": False,
           "handlers": {"console": {"class": "logging.StreamHandler"}},
           "root": {"handlers": ["console"], "level": "WARNING"}}
"""
WEB_INI = """
[python]
path = %%(folder)s
path = %(suite)s

[application]
script = %(suite)s/wsgi.py
""" % {"suite": SUITE}
ADD_USER = """
from django.contrib.auth.models import User
from allauth.account.models import EmailAddress
user = User.objects.create_superuser("ada", "ada@example.org", "secret")
EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
"""
MAIL = """From: Grace <grace@example.org>
To: poems@lists.example.org
Subject: %(subject)s
Date: Sat, 28 Nov 2026 12:00:00 +0000
Message-ID: <%(number)s@example.org>
Content-Type: text/plain; charset=utf-8

Half a league onward. %(text)s
"""


def prepare_core(site):
    config = write_file(os.path.join(site.folder, "mailman.cfg"),
                        CORE_CONFIG % {"folder": site.folder})
    write_file(os.path.join(site.folder, "core.wsgi"), CORE_SCRIPT % config)
    return CORE_INI, {}


def prepare_web(site, core):
    names = {"folder": site.folder, "core": core.url()}
    write_file(os.path.join(site.folder, "settings_local.py"), WEB_SETTINGS % names)
    site.service_environ = {"DJANGO_SETTINGS_MODULE": "settings"}
    for command in (["migrate", "-v", "0"], ["shell", "-c", ADD_USER]):
        site.run(["/usr/bin/python3", "-m", "django", *command],
                 PYTHONPATH=site.folder + ":" + SUITE)
    return WEB_INI % names, site.service_environ


@pytest.fixture(scope="module")
def core():
    yield from deployment("root-kept", prepare_core, [("mailman3", "mailman")])


@pytest.fixture(scope="module", params=ALL_FORMS)
def site(request, core):
    yield from deployment(request.param, lambda site: prepare_web(site, core),
                          [("mailman3-web", "postorius", "hyperkitty")])


@pytest.fixture(scope="module")
def ada(site):
    """A visitor who has logged in as the administrator."""
    browser = Browser(site)
    entered = browser.submit("/accounts/login/", login="ada", password="secret")
    assert entered.status == 302 and "sessionid" in browser.cookies, entered
    return browser


@pytest.fixture(scope="module")
def mailing_list(ada):
    """The name of a list that was made with Postorius; each form has its own domain."""
    domain = "lists-%d.example.org" % ada.site.port
    made = ada.submit("/postorius/domains/new/", mail_host=domain, description="Verses",
                      alias_domain="", site="1")
    assert made.status == 302, made.text
    made = ada.submit("/postorius/lists/new/", listname="poems", mail_host=domain,
                      list_owner="ada@example.org", advertised="True", list_style="legacy-default",
                      description="Verses \u2013 s\u00e9ance")
    assert made.status == 302, made.text
    return "poems@" + domain


def archive(site, name, number, text=""):
    """What Mailman's core does with each mail: a form with a file."""
    mail = MAIL % {"subject": "Verse %s" % number, "number": number, "text": text}
    parts = [("mlist", "", name), ("message", '; filename="message.txt"', mail)]
    body = "".join('--border\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % part
                   for part in parts) + "--border--\r\n"
    return site.request("POST", "/hyperkitty/api/mailman/archive", body.encode(), [
        ("Content-Type", "multipart/form-data; boundary=border"),
        ("Authorization", "Token archiver")])


class TestCore:
    def test_it_tells_its_version_to_who_knows_the_password(self, core):
        assert core.get("/3.1/system/versions").status == 401
        response = core.get("/3.1/system/versions", headers=[
            ("Authorization", "Basic cmVzdGFkbWluOnJlc3RwYXNz")])
        assert response.status == 200 and "GNU Mailman" in response.text, response


class TestPostorius:
    def test_the_root_redirects_to_the_lists_below_the_prefix(self, site):
        response = site.get("/")
        assert response.status == 301
        assert response.get("Location").endswith(site.prefix + "/postorius/lists/")

    def test_a_list_that_was_made_is_shown_to_everybody(self, site, mailing_list):
        page = Browser(site).get("/postorius/lists/")
        assert page.status == 200 and mailing_list in page.text, page

    def test_only_who_logged_in_may_make_lists(self, site, ada):
        assert "/accounts/login/" in site.get("/postorius/lists/new/").get("Location")
        assert ada.get("/postorius/lists/new/").status == 200

    def test_a_wrong_password_is_refused_and_so_is_a_form_without_its_token(self, site):
        browser = Browser(site)
        page = browser.submit("/accounts/login/", login="ada", password="wrong")
        assert (page.status, "sessionid" in browser.cookies) == (200, False)
        assert browser.post("/accounts/login/", login="ada", password="secret").status == 403

    def test_the_settings_of_a_list_are_changed(self, ada, mailing_list):
        address = "/postorius/lists/%s/settings/list_identity" % mailing_list.replace("@", ".")
        page = ada.get(address)
        assert page.status == 200 and "Verses \u2013 s\u00e9ance" in page.text, page
        saved = ada.submit(address, advertised="False", description="Other verses", info="",
                           display_name="Poems", subject_prefix="[Poems] ",
                           preferred_language="en", member_roster_visibility="moderators",
                           gateway_to_mail="False", gateway_to_news="False",
                           newsgroup_moderation="none")
        assert saved.status == 302, saved.text
        assert "Other verses" in ada.get(address).text


class TestHyperkitty:
    def test_a_mail_is_archived_and_read(self, site, mailing_list):
        archived = archive(site, mailing_list, "first", "Caf\u00e9. " * 3000)
        assert archived.status == 200, archived
        browser = Browser(site)
        listed = browser.get("/hyperkitty/list/%s/latest" % mailing_list)
        assert listed.status == 200 and "Verse first" in listed.text, listed
        address = urllib.parse.urlsplit(archived.json["url"]).path
        assert address.startswith(site.prefix + "/hyperkitty/"), archived.text
        message = browser.get(address[len(site.prefix):])
        assert "Half a league onward. Caf\u00e9." in message.text

    def test_nobody_archives_without_the_key(self, site, mailing_list):
        refused = site.request("POST", "/hyperkitty/api/mailman/archive", b"x" * 300000, [
            ("Authorization", "Token wrong")])
        assert refused.status == 401, refused

    def test_an_archive_is_downloaded_compressed(self, site, mailing_list):
        archive(site, mailing_list, "second")
        export = site.get("/hyperkitty/list/%s/export/all.mbox.gz?start=2026-11-01&end=2026-12-31"
                          % mailing_list)
        assert export.status == 200 and export.body[:2] == b"\x1f\x8b", export

    def test_many_visitors_at_once_see_the_lists(self, site, mailing_list):
        pages = many_at_once(lambda number: site.get("/hyperkitty/"))
        assert {page.status for page in pages} == {200}
