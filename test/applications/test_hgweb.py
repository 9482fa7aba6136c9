"""Mercurial's hgweb: the script file that Mercurial ships, with the path of a repository."""
import os

from deployed import deployed
from host import write_file

# With a file as its log the host's standard error is not what it was started with; hgweb asks for
# the file descriptors of all three streams.
INI = """
[log]
destination = host.log

[application]
script = hgweb.wsgi
"""
# As /usr/share/doc/mercurial-common/examples/hgweb.wsgi has it, which not every system installs.
SCRIPT = """
config = b"%s"
from mercurial import demandimport; demandimport.enable()
from mercurial.hgweb import hgweb
application = hgweb(config)
"""
HGRC = """[web]
name = shelf
allow_archive = gz
allow_push = *
push_ssl = false
"""


def prepare(site):
    site.service_environ = {"HGRCPATH": "/dev/null", "HGUSER": "ada"}
    repository = os.path.join(site.folder, "shelf")
    site.run(["hg", "init", repository])
    write_file(os.path.join(repository, "verse.txt"), "Half a league\n" * 400)
    site.run(["hg", "-R", repository, "commit", "-qAm", "The first verse"])
    write_file(os.path.join(repository, ".hg", "hgrc"), HGRC)
    write_file(os.path.join(site.folder, "hgweb.wsgi"), SCRIPT % repository)
    return INI, site.service_environ


site = deployed(prepare, [("mercurial", "mercurial")])


def hg(site, *args):
    return site.run(["hg", *args])


class TestPages:
    def test_the_log_links_below_the_prefix(self, site):
        page = site.get("/")
        assert page.status == 200 and "The first verse" in page.text, page
        assert 'href="%s/rev/' % site.prefix in page.text

    def test_a_file_is_downloaded_byte_for_byte(self, site):
        raw = site.get("/raw-file/tip/verse.txt")
        assert raw.body == b"Half a league\n" * 400

    def test_an_archive_is_made_as_it_is_sent(self, site):
        archive = site.get("/archive/tip.tar.gz")
        assert archive.status == 200 and archive.body[:2] == b"\x1f\x8b", archive

    def test_what_is_not_there_is_404(self, site):
        assert site.get("/rev/nothing").status == 404


class TestMercurial:
    def test_clone_and_push_and_the_next_clone_has_it(self, site, tmp_path):
        copy, second = str(tmp_path / "copy"), str(tmp_path / "second")
        hg(site, "clone", "-q", site.url("/"), copy)
        write_file(os.path.join(copy, "second"), os.urandom(300000).hex())
        hg(site, "-R", copy, "commit", "-qAm", "The second verse")
        hg(site, "-R", copy, "push", "-q", "--insecure", site.url("/"))
        hg(site, "clone", "-q", site.url("/"), second)
        assert hg(site, "-R", second, "id", "-i") == hg(site, "-R", copy, "id", "-i")
