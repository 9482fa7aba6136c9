"""Radicale: calendars over CalDAV, with passwords that it checks itself."""
import base64
import os
import xml.etree.ElementTree as ElementTree

from deployed import deployed, many_at_once
from host import write_file

EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//fcgihost//test//EN
BEGIN:VEVENT
UID:%(uid)s
DTSTAMP:20261128T120000Z
DTSTART:20261201T100000Z
DTEND:20261201T110000Z
SUMMARY:%(summary)s
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")

INI = """
[application]
wsgi = radicale:application
"""


def prepare(site):
    write_file(os.path.join(site.folder, "users"), "ada:secret\ngrace:hopper\n")
    config = write_file(os.path.join(site.folder, "radicale.conf"), """[auth]
type = htpasswd
htpasswd_filename = %(folder)s/users
htpasswd_encryption = plain
delay = 0
[storage]
filesystem_folder = %(folder)s/collections
""" % {"folder": site.folder})
    return INI, {"RADICALE_CONFIG": config}


site = deployed(prepare, [("python3-radicale", "radicale")])


def as_user(site, method, path, body=None, user="ada:secret", headers=()):
    token = base64.b64encode(user.encode()).decode()
    return site.request(method, path, body.encode() if body else None, [
        ("Authorization", "Basic " + token), ("Content-Type", "text/calendar; charset=utf-8"),
        *headers])


def calendar(site, name):
    """A new calendar of ada's."""
    made = as_user(site, "MKCALENDAR", "/ada/%s/" % name)
    assert made.status == 201, made
    return "/ada/%s/" % name


def hrefs(response):
    return [element.text for element in
            ElementTree.fromstring(response.body).iter("{DAV:}href")]


class TestCalendars:
    def test_an_event_is_put_found_and_read_again(self, site):
        folder = calendar(site, "work")
        put = as_user(site, "PUT", folder + "team%20meeting.ics",
                      EVENT % {"uid": "meeting", "summary": "Besprechung \u2013 \u00fcbermorgen"})
        assert put.status == 201, put
        found = as_user(site, "PROPFIND", folder, headers=[("Depth", "1")])
        assert found.status == 207, found
        assert site.prefix + folder + "team%20meeting.ics" in hrefs(found)
        got = as_user(site, "GET", folder + "team%20meeting.ics")
        assert (got.status, got.get("ETag")) == (200, put.get("ETag"))
        assert "SUMMARY:Besprechung \u2013 \u00fcbermorgen" in got.text

    def test_a_report_has_what_its_body_asks_for(self, site):
        folder = calendar(site, "report")
        for uid in ("first", "second"):
            assert as_user(site, "PUT", folder + uid + ".ics",
                           EVENT % {"uid": uid, "summary": uid}).status == 201
        asked = """<?xml version="1.0"?><C:calendar-multiget xmlns="DAV:"
            xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><getetag/><C:calendar-data/></prop>
            <href>%s%ssecond.ics</href></C:calendar-multiget>""" % (site.prefix, folder)
        report = as_user(site, "REPORT", folder, asked, headers=[("Depth", "1")])
        assert (report.status, len(hrefs(report))) == (207, 1), report
        assert "SUMMARY:second" in report.text

    def test_an_etag_protects_from_a_lost_update_and_delete_deletes(self, site):
        event = calendar(site, "etag") + "one.ics"
        text = EVENT % {"uid": "one", "summary": "one"}
        assert as_user(site, "PUT", event, text).status == 201
        refused = as_user(site, "PUT", event, text, headers=[("If-Match", '"another"')])
        assert refused.status == 412, refused
        assert as_user(site, "DELETE", event).status == 200
        assert as_user(site, "GET", event).status == 404

    def test_a_large_calendar_passes_both_ways(self, site):
        events = "".join(
            (EVENT % {"uid": "event-%d" % number, "summary": "number %d %s" % (number, "x" * 800)})
            .partition("BEGIN:VEVENT")[2].rpartition("END:VCALENDAR")[0].join(("BEGIN:VEVENT", ""))
            for number in range(300))
        whole = (EVENT % {"uid": "u", "summary": "s"}).partition("BEGIN:VEVENT")[0] + events + \
            "END:VCALENDAR\r\n"
        put = as_user(site, "PUT", "/ada/large/", whole)
        assert put.status == 201, put
        got = as_user(site, "GET", "/ada/large/")
        assert got.text.count("BEGIN:VEVENT") == 300

    def test_many_clients_at_once_lose_no_event(self, site):
        folder = calendar(site, "many")
        statuses = many_at_once(lambda number: as_user(
            site, "PUT", "%sevent-%d.ics" % (folder, number),
            EVENT % {"uid": "event-%d" % number, "summary": "e"}).status)
        assert set(statuses) == {201}
        assert as_user(site, "GET", folder).text.count("BEGIN:VEVENT") == len(statuses)


class TestAccess:
    def test_without_a_password_it_asks_for_one(self, site):
        response = site.request("PROPFIND", "/ada/", b"", [("Depth", "0")])
        assert response.status == 401
        assert response.get("WWW-Authenticate").startswith("Basic ")

    def test_a_wrong_password_is_refused_with_its_upload_unread(self, site):
        response = as_user(site, "PUT", "/ada/refused/", "x" * 300000, user="ada:wrong")
        assert response.status == 401

    def test_nobody_sees_anothers_calendars(self, site):
        assert as_user(site, "GET", "/ada/", user="grace:hopper").status == 403

    def test_its_web_interface_stays_below_the_prefix(self, site):
        response = site.get("/")
        assert response.status == 302, response
        assert response.get("Location").endswith(".web"), response
        page = site.get("/.web/")
        assert (page.status, page.get("Content-Type")) == (200, "text/html")
        assert "<title>" in page.text
