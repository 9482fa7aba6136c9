"""What is measured: a table of cases, each with the servers it compares and its goal."""
from collections import namedtuple

HELLO = b"Hello, world\n"
PAGE = b"<!doctype html><title>Items &amp; more</title><ul>%s</ul>" % b"".join(
    b"<li>%d: item &lt;%d&gt;</li>" % (number, number) for number in range(20))
LETTERS = b"abcdefghijklmnopqrstuvwxyz"
COMPUTED = b"%d\n" % sum(number * number & 7 for number in range(24000))

# A figure's unit; each figure is better the smaller it is, but for the last two.
UNITS = {"cpu_us": "µs CPU", "p99_ms": "ms p99", "memory_mib": "MiB", "start_ms": "ms",
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
                              "upload_bytes app max_rounds repeats",
                      defaults=("load", ("uwsgi", "fcgihost"), "/hello", HELLO, 4, True, 0,
                                "app.py", 100, 1))):
    """The first of peers is the baseline; kind is how measure.py takes the figure, repeats how
    often in each of the rounds, of which there are max_rounds at most."""

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
           Goal(0.45) if number > 1 else None, connections=number) for number in (1, 4, 32, 256)),
    *(Case("hello-new-%d" % number, "hello, %s, each for one request" % plural(number), "cpu_us",
           Goal(0.70) if number > 1 else None, connections=number, is_kept=False,
           peers=DIRECT_SCGI if number == 4 else DIRECT) for number in (1, 4, 32, 256)),
    Case("nginx-kept", "hello through nginx, upstream connections kept", "cpu_us", Goal(0.50),
         peers=FRONTED_KEPT),
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
    Case("compute-1ms", "1 ms of Python on 4 threads", "p99_ms", Goal(0.50), path="/compute",
         body=COMPUTED, repeats=3),
    Case("sleep-10ms", "10 ms of sleeping on 4 threads", "cpu_us", None, path="/sleep"),
    Case("flask", "a page by Flask", "cpu_us", None, path="/page", body=PAGE, app="flask_page.py"),
    Case("django", "a page by Django", "cpu_us", None, path="/page", body=PAGE,
         app="django_page.py"),
    Case("memory", "resident memory, idle", "memory_mib", Goal(0.70), "memory", max_rounds=3),
    Case("start", "start to first response", "start_ms", Goal(0.80), "start", repeats=5),
    Case("growth", "growth of memory over 200,000 requests", "growth_kib", Goal(512, False),
         "growth", max_rounds=1),
    Case("stalled", "hello beside 4 peers that stall, 4 threads", "undisturbed_percent",
         Goal(90, False, True), "stalled"),
]
