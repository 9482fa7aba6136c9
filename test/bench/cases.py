"""What is measured: a table of cases, each with the servers it compares and its goal."""
from collections import namedtuple

HELLO = b"Hello, world\n"
PAGE = b"<!doctype html><title>Items &amp; more</title><ul>%s</ul>" % b"".join(
    b"<li>%d: item &lt;%d&gt;</li>" % (number, number) for number in range(20))
# As the templates of flask_template.py and django_site.py make it.
MENU = b"".join(b'<a href="/%s">%s</a>' % (name, name) for name in (b"home", b"shop", b"help"))
TABLE = b"".join(b"<tr><td>%d</td><td>Item &lt;%d&gt;</td></tr>" % (number, number)
                 for number in range(50))
SITE = b"<!doctype html><title>Items &amp; more</title><nav>%s</nav>" % MENU
FLASK_SITE = SITE + b"<main><table>%s</table></main>" % TABLE
DJANGO_SITE = SITE + b"<table>%s</table><p>12 cookies, welcome" % TABLE
LETTERS = b"abcdefghijklmnopqrstuvwxyz"
COMPUTED = b"%d\n" % sum(number * number & 7 for number in range(24000))

# A figure's unit; each figure is better the smaller it is, but for the last two.
UNITS = {"cpu_us": "µs CPU", "p50_ms": "ms p50", "p99_ms": "ms p99", "memory_mib": "MiB", "start_ms": "ms",
         "growth_kib": "KiB", "requests_a_second": "requests/s", "undisturbed_percent": "%"}


class Goal(namedtuple("Goal", "limit is_ratio is_least", defaults=(True, False))):
    """is_ratio: of the figure to the baseline's; is_least: no less instead of no more."""

    def __str__(self):
        return "%s %s" % ("≥" if self.is_least else "≤",
                          "%.2f" % self.limit if self.is_ratio else "%g" % self.limit)

    def is_met_by(self, figure, ratio):
        value = ratio if self.is_ratio else figure
        if value is None:
            return False
        return value >= self.limit if self.is_least else value <= self.limit


class Case(namedtuple("Case", "name title figure goal kind peers path body connections is_kept "
                              "upload_bytes app max_rounds repeats is_rich buffers venv",
                      defaults=("load", ("uwsgi", "fcgihost"), "/hello", HELLO, 4, True, 0,
                                "app.py", 100, 1, False, "", ""))):
    """The first of peers is the baseline; kind is how measure.py takes the figure, repeats how
    often in each of the rounds, of which there are max_rounds at most. is_rich: with 30 headers and
    12 cookies; buffers: which nginx has, a name in peers.py; venv: "clean" or "django"."""

    def rounds(self, wanted):
        return min(wanted, self.max_rounds) * self.repeats

    def baseline(self):
        return self.peers[0]

    def against_another_build(self):
        """The same with another build of fcgihost instead of all peers, and without a goal."""
        front = "nginx+" if "nginx+fcgihost" in self.peers else ""
        return self._replace(peers=(front + "other", front + "fcgihost"), goal=None)


def upload_answer(n):
    return b"%d bytes, %s\n" % (n, bytes(LETTERS[at % 26] for at in range(n - 16, n)))


def plural(number):
    return "%d connection%s" % (number, "" if number == 1 else "s")


DIRECT = ("uwsgi", "fcgihost")
DIRECT_SCGI = DIRECT + ("uwsgi-scgi", "fcgihost-scgi")
FRONTED_KEPT = ("nginx+uwsgi", "nginx+fcgihost", "nginx+gunicorn")
FRONTED_NEW = ("nginx+uwsgi", "nginx+fcgihost", "nginx+uwsgi-scgi", "nginx+fcgihost-scgi",
               "nginx+gunicorn", "apache+mod_wsgi")

# With one connection a server sleeps after each request: the kernel's waking is most of the figure,
# which says little of the server. So that has no goal.
CASES = [
    *(Case("hello-kept-%d" % number, "hello, %s, kept" % plural(number), "cpu_us",
           {4: Goal(0.36), 32: Goal(0.36), 256: Goal(0.45)}.get(number), connections=number)
      for number in (1, 4, 32, 256)),
    *(Case("hello-new-%d" % number, "hello, %s, each for one request" % plural(number), "cpu_us",
           Goal(0.52) if number > 1 else None, connections=number, is_kept=False,
           peers=DIRECT_SCGI if number == 4 else DIRECT) for number in (1, 4, 32, 256)),
    Case("nginx-kept", "hello through nginx, upstream connections kept", "cpu_us", Goal(0.50),
         peers=FRONTED_KEPT),
    *(Case("nginx-kept-" + name, "the same, against nginx and " + title, "cpu_us", Goal(0.50),
           peers=(peer, "nginx+fcgihost"))
      for name, title, peer in (("uwsgi", "uWSGI's own protocol", "nginx+uwsgi-own"),
                                ("php", "PHP-FPM", "nginx+php-fpm"))),
    Case("nginx-new", "hello through nginx, a new upstream connection each", "cpu_us", Goal(0.80),
         is_kept=False, peers=FRONTED_NEW),
    Case("body-1m", "1 MiB in one object", "cpu_us", Goal(0.70), path="/body",
         body=b"x" * (1 << 20)),
    Case("chunks-1m", "1 MiB in 128 chunks", "cpu_us", Goal(0.70), path="/chunks",
         body=b"y" * (1 << 20)),
    Case("upload-16k", "POST of 16 KiB", "cpu_us", Goal(0.45), path="/upload",
         upload_bytes=16384, body=upload_answer(16384)),
    Case("upload-1m", "POST of 1 MiB", "cpu_us", Goal(0.80), path="/upload",
         upload_bytes=1 << 20, body=upload_answer(1 << 20)),
    *(Case(name, "1 MiB through nginx, " + title, "cpu_us", goal, path="/body",
           peers=("nginx+uwsgi-own", "nginx+fcgihost", "nginx+uwsgi"), body=b"x" * (1 << 20),
           buffers=buffers)
      for name, title, goal, buffers in (
          ("nginx-body-1m", "buffers as in examples/nginx", Goal(0.75), "example"),
          ("nginx-body-1m-no-files", "which writes no temporary files", None, "no files"))),
    *(Case(name, "POST of 16 KiB through nginx, " + title, "cpu_us", goal, path="/upload",
           peers=("nginx+uwsgi-own", "nginx+fcgihost"), upload_bytes=16384,
           body=upload_answer(16384), buffers=buffers)
      for name, title, goal, buffers in (
          ("nginx-upload-16k", "buffers as in examples/nginx", Goal(0.45), "example"),
          ("nginx-upload-16k-stock", "its own buffers", None, ""))),
    Case("compute", "1 ms of Python on 4 threads, CPU", "cpu_us", Goal(0.90), path="/compute",
         body=COMPUTED),
    Case("compute-1ms", "1 ms of Python on 4 threads", "p99_ms", Goal(0.50), path="/compute",
         body=COMPUTED, repeats=3),
    Case("sleep-10ms", "10 ms of sleeping on 4 threads", "cpu_us", None, path="/sleep"),
    Case("flask", "a page by Flask", "cpu_us", Goal(0.80), path="/page", body=PAGE,
         app="flask_page.py"),
    Case("flask-p50", "a page by Flask, 4 threads: the median time", "p50_ms", Goal(1), path="/page",
         body=PAGE, app="flask_page.py"),
    Case("flask-site", "a page by Flask: templates, 30 headers, 12 cookies", "cpu_us", Goal(0.80),
         path="/page", body=FLASK_SITE, app="flask_template.py", is_rich=True),
    Case("django", "a page by Django", "cpu_us", Goal(0.85), path="/page", body=PAGE,
         app="django_page.py"),
    Case("django-site", "a page by Django: templates, session, 30 headers, 12 cookies", "cpu_us",
         Goal(0.85), path="/page", body=DJANGO_SITE, app="django_site.py", is_rich=True),
    Case("memory", "memory (PSS), idle", "memory_mib", Goal(0.66), "memory", max_rounds=3),
    Case("memory-served", "memory (PSS) after 200,000 requests", "memory_mib", Goal(0.62), "growth",
         max_rounds=1),
    Case("start", "start to first response, in a clean virtual environment", "start_ms", Goal(0.80),
         "start", repeats=3, venv="clean"),
    Case("start-django", "start to first response, with Django", "start_ms", Goal(0.90), "start",
         path="/page", body=PAGE, app="django_page.py", repeats=3, venv="django"),
    Case("growth", "growth of memory over 200,000 requests", "growth_kib", Goal(512, False),
         "growth", max_rounds=1),
    Case("stalled", "hello beside 4 peers that stall, 4 threads", "undisturbed_percent",
         Goal(90, False, True), "stalled"),
]
