"""searx: a search over several engines, here with one that asks nobody."""
import os
import re

import pytest

from deployed import Browser, deployed, many_at_once
from host import write_file

INI = """
[application]
wsgi = searx.webapp:application
"""
EXAMPLE = "/usr/share/doc/searx/examples/settings.yml"
ENGINES = """
engines:
  - name: poems
    engine: command
    command: ["grep", "-h", "{{QUERY}}", "%(folder)s/poems"]
    query_type: path
    query_enum: ["league", "valley"]
    delimiter: {chars: "|", keys: ["title", "content"]}
    shortcut: p
    timeout: 20.0
    disabled: false
    enable_http: true
"""


def prepare(site):
    if not os.path.exists(EXAMPLE):
        pytest.skip("searx's settings come as %s, which this system does not install" % EXAMPLE)
    with open(EXAMPLE) as file:
        text = file.read()
    begin, end = re.search(r"^engines:", text, re.M).start(), re.search(r"^locales:", text, re.M)
    text = text[:begin] + ENGINES % {"folder": site.folder} + "\n" + text[end.start():]
    settings = write_file(os.path.join(site.folder, "settings.yml"),
                          text.replace("ultrasecretkey", "a-key-for-a-test"))
    write_file(os.path.join(site.folder, "poems"), "Half a league|onward\nAll in the valley|of\n")
    return INI, {"SEARX_SETTINGS_PATH": settings}


site = deployed(prepare, [("searx", "searx")])


class TestSearch:
    def test_the_start_page_links_below_the_prefix(self, site):
        page = site.get("/")
        assert page.status == 200 and "<form" in page.text, page
        assert "%s/static/themes/oscar/" % site.prefix in page.text

    def test_static_files_are_sent_whole_and_a_304_the_second_time(self, site):
        address = re.search(r'href="([^"]*/static/[^"]*\.css)[^"]*"', site.get("/").text)[1]
        address = "/" + address[len(site.prefix):].lstrip("/")
        style = site.get(address)
        assert style.status == 200 and style.get("Content-Type").startswith("text/css")
        assert len(style.body) == int(style.get("Content-Length") or len(style.body)) > 1000
        again = site.get(address, headers=[("If-None-Match", style.get("ETag"))])
        assert (again.status, again.body) == (304, b"")

    def test_preferences_are_kept_in_cookies(self, site):
        browser = Browser(site)
        assert browser.get("/preferences").status == 200
        saved = browser.post("/preferences", theme="oscar", locale="de", language="de-DE",
                             method="GET", safesearch="0", autocomplete="", image_proxy="",
                             results_on_new_tab="0", oscar_style="logicodev")
        assert saved.status == 302, saved
        assert "Einstellungen" in browser.get("/preferences").text

    def test_what_is_searched_is_found(self, site):
        page = Browser(site).post("/search", q="league", category_general="1")
        assert page.status == 200 and "Half a" in page.text, page

    def test_many_visitors_at_once_find_it(self, site):
        pages = many_at_once(lambda number: site.get("/search?q=valley&format=html"))
        assert {page.status for page in pages} == {200}
        assert all("All in the" in page.text for page in pages)

    def test_what_is_not_there_is_404(self, site):
        assert site.get("/nothing").status == 404
