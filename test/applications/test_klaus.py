"""klaus: a git repository in the browser, and over git's smart HTTP for git itself."""
import os
import subprocess

import pytest

from deployed import deployed, many_at_once
from fronts import needs
from host import write_file

INI = """
[application]
script = shelf.wsgi
"""
# klaus.contrib.wsgi, which reads the environment, takes a distutils that Python 3.12 has not any more.
SCRIPT = """
from klaus import make_app
application = make_app(["%s"], "shelf", use_smarthttp=True, unauthenticated_push=True)
"""
AUTHOR = {"GIT_%s_%s" % (who, what): value for who in ("AUTHOR", "COMMITTER")
          for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"),
                              ("DATE", "2026-11-28T12:00:00Z"))}
PICTURE = bytes(range(256)) * 1200  # 300 KiB that does not compress to little


def git(*args, cwd=None):
    needs("git", "git")
    environ = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", HOME="/nonexistent",
                   GIT_TERMINAL_PROMPT="0", **AUTHOR)
    done = subprocess.run(["git", "-c", "init.defaultBranch=main", *args], cwd=cwd, env=environ,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")
    return done.stdout.decode().strip()


def prepare(site):
    work, bare = os.path.join(site.folder, "work"), os.path.join(site.folder, "poems.git")
    git("init", "-q", work)
    os.mkdir(os.path.join(work, "verses"))
    write_file(os.path.join(work, "README"), "Poems by <Ada> & others\n")
    write_file(os.path.join(work, "verses", "first verse.txt"), "Half a league\n" * 400)
    with open(os.path.join(work, "picture.bin"), "wb") as file:
        file.write(PICTURE)
    git("add", "-A", cwd=work)
    git("commit", "-q", "-m", "The first verse", cwd=work)
    git("clone", "-q", "--bare", work, bare)
    write_file(os.path.join(site.folder, "shelf.wsgi"), SCRIPT % bare)
    return INI, {}


site = deployed(prepare, [("python3-klaus", "klaus")])


@pytest.fixture
def head(site):
    return git("rev-parse", "HEAD", cwd=os.path.join(site.folder, "work"))


class TestPages:
    def test_the_repository_is_listed_with_links_below_the_prefix(self, site):
        page = site.get("/")
        assert page.status == 200 and "shelf" in page.text
        assert 'href="%s/poems/"' % site.prefix in page.text
        assert 'src="%s/static/' % site.prefix in page.text or \
            'href="%s/static/' % site.prefix in page.text

    def test_a_commit_shows_its_diff(self, site, head):
        page = site.get("/poems/commit/%s/" % head)
        assert page.status == 200, page
        assert "The first verse" in page.text
        assert "Poems by &lt;Ada&gt; &amp; others" in page.text

    def test_a_file_with_a_space_in_its_name_is_shown_and_downloaded(self, site):
        shown = site.get("/poems/blob/main/verses/first%20verse.txt")
        assert (shown.status, "Half a league" in shown.text) == (200, True)
        raw = site.get("/poems/raw/main/verses/first%20verse.txt")
        assert raw.body == b"Half a league\n" * 400

    def test_a_binary_file_arrives_byte_for_byte(self, site):
        assert site.get("/poems/raw/main/picture.bin").body == PICTURE

    def test_a_static_file_is_sent_and_its_etag_spares_the_second_time(self, site):
        style = site.get("/static/klaus.css")
        assert style.status == 200 and style.get("Content-Type").startswith("text/css")
        again = site.get("/static/klaus.css", headers=[("If-None-Match", style.get("ETag"))])
        assert (again.status, again.body) == (304, b"")

    def test_an_archive_of_a_branch_is_made(self, site):
        archive = site.get("/poems/tarball/main/")
        assert archive.status == 200, archive
        assert archive.body[:2] == b"\x1f\x8b"

    def test_what_is_not_there_is_404(self, site):
        assert site.get("/nothing/").status == 404
        assert site.get("/poems/commit/%s/" % ("0" * 40)).status == 404

    def test_many_visitors_at_once_get_the_same_page(self, site, head):
        pages = many_at_once(lambda number: site.get("/poems/commit/%s/" % head))
        assert {page.status for page in pages} == {200}


@pytest.fixture
def smart_http(site):
    """klaus 2.0.3 hands dulwich's server a repository that is none of dulwich's: each clone fails."""
    if "False" in site.run(["/usr/bin/python3", "-c", "import dulwich.repo, klaus.repo; print("
                            "issubclass(klaus.repo.FancyRepo, dulwich.repo.Repo))"]):
        pytest.skip("this release's klaus can't serve git itself")


@pytest.mark.usefixtures("smart_http")
class TestGit:
    def test_clone_has_all_that_is_in_the_repository(self, site, head, tmp_path):
        copy = str(tmp_path / "copy")
        git("clone", "-q", site.url("/poems"), copy)
        assert git("rev-parse", "HEAD", cwd=copy) == head
        with open(os.path.join(copy, "picture.bin"), "rb") as file:
            assert file.read() == PICTURE

    def test_push_arrives_and_the_next_clone_has_it(self, site, tmp_path):
        copy, second = str(tmp_path / "copy"), str(tmp_path / "second")
        git("clone", "-q", site.url("/poems"), copy)
        write_file(os.path.join(copy, "verses", "second"), os.urandom(300000).hex())
        git("add", "-A", cwd=copy)
        git("commit", "-q", "-m", "The second verse", cwd=copy)
        # Larger than git's buffer: it is sent in chunks, of which nobody knew the length.
        git("-c", "http.postBuffer=65536", "push", "-q", "origin", "main:other", cwd=copy)
        git("clone", "-q", "-b", "other", site.url("/poems"), second)
        assert git("rev-parse", "HEAD", cwd=second) == git("rev-parse", "HEAD", cwd=copy)
