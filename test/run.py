"""Runs test suites and ends with one line, "N passed, N failed, N skipped".

    FCGIHOST=program BUILD=folder PYTHON=python SAN= T=part-of-a-name APPLICATIONS= \
        test/run.py unit python e2e applications

A crash, a sanitizer's report, and a suite that ran nothing (unless T is given) are failures.
With JOBS=2 the end-to-end tests run in so many processes at the same time.
With RERUN=1 up to three end-to-end tests that failed run once more, and a line names those that then
passed: they time real servers, and a loaded machine makes one of thousands late now and then."""
import glob
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
SANITIZER = re.compile(r"(Address|Thread|Leak|Memory)Sanitizer|runtime error:")
UNIT_LINE = re.compile(r"^\[\s*(RUN|OK|FAILED|SKIPPED|ERROR)\s*\] (\w+)$")


class Counts:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        return self

    def __str__(self):
        return "%d passed, %d failed, %d skipped" % (self.passed, self.failed, self.skipped)

    def any(self):
        return self.passed or self.failed or self.skipped


def show(text):
    print(text.rstrip("\n"), flush=True)


def sanitizer_environ():
    environ = dict(os.environ)
    environ.setdefault("ASAN_OPTIONS", "detect_leaks=1")
    environ.setdefault("LSAN_OPTIONS", "print_suppressions=0:suppressions=" + os.path.join(HERE, "e2e", "lsan.supp"))
    environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    environ.setdefault("TSAN_OPTIONS", "halt_on_error=0")
    return environ


def unit_outcomes(output):
    """(name, outcome) of each test of a cmocka program, in order; outcome None: it never ended."""
    outcomes = []
    for line in output.splitlines():
        match = UNIT_LINE.match(line.rstrip())
        if not match:
            continue
        word, name = match.groups()
        if word == "RUN":
            outcomes.append([name, None])
        elif outcomes and outcomes[-1] == [name, None]:  # not the list in the summary
            outcomes[-1][1] = word
    return outcomes


def run_unit_program(program, pattern):
    name = os.path.basename(program)
    try:
        process = subprocess.run([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 timeout=600,
                                 stderr=subprocess.STDOUT, env=sanitizer_environ(), cwd=ROOT)
        output, status = process.stdout.decode("utf-8", "replace"), process.returncode
    except subprocess.TimeoutExpired as timeout:
        output, status = (timeout.stdout or b"").decode("utf-8", "replace"), "no end after 600 s"
    outcomes = unit_outcomes(output)
    if pattern and pattern not in name:
        chosen = [(test, outcome) for test, outcome in outcomes if pattern in test]
        if not chosen:
            return Counts()
    else:
        chosen = outcomes
    counts = Counts(sum(outcome == "OK" for _, outcome in chosen),
                    sum(outcome not in ("OK", "SKIPPED") for _, outcome in chosen),
                    sum(outcome == "SKIPPED" for _, outcome in chosen))
    ended_badly = status != 0 and all(outcome in ("OK", "SKIPPED") for _, outcome in outcomes)
    if ended_badly or SANITIZER.search(output) or not outcomes:
        counts.failed += 1
    if counts.failed:
        show(output)
        show("%s: exit status %s" % (name, status))
    show("unit: %s: %s" % (name, counts))
    return counts


def run_unit(pattern):
    counts = Counts()
    for program in sorted(glob.glob(os.path.join(os.environ["BUILD"], "unit", "test_*"))):
        source = os.path.join(HERE, "unit", os.path.basename(program) + ".c")
        if not os.access(program, os.X_OK) or program.endswith(".d") or not os.path.exists(source):
            continue
        with open(source, encoding="utf-8") as file:
            if pattern in os.path.basename(program) or pattern in file.read():
                counts += run_unit_program(program, pattern)
    return counts


def run_python(pattern):
    python = os.environ.get("PYTHON", "/usr/bin/python3")
    environ = dict(os.environ, PYTHONPATH=os.path.join(ROOT, "python"))
    command = [python, "-B", "-m", "unittest", "discover", "-s", os.path.join(HERE, "python")]
    if pattern:
        command += ["-k", pattern]
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ,
                             cwd=os.path.join(ROOT, "python"))
    output = process.stdout.decode("utf-8", "replace")
    ran = re.search(r"^Ran (\d+) tests? in", output, re.M)
    words = {word: int(number) for word,
             number in re.findall(r"(\w+)=(\d+)", output[ran.end():] if ran else "")}
    failed = words.get("failures", 0) + words.get("errors", 0) + words.get("successes", 0)
    skipped = words.get("skipped", 0)
    total = int(ran.group(1)) if ran else 0
    counts = Counts(max(total - failed - skipped, 0), failed, skipped)
    if process.returncode not in (0, 5) and not failed and not (pattern and ran and not total):
        counts.failed += 1  # it crashed
    if counts.failed:
        show(output)
    show("python: %s" % counts)
    return counts


def run_e2e(pattern):
    jobs = int(os.environ.get("JOBS") or 1)
    if jobs < 2 or pattern:
        return run_pytest("e2e", [os.path.join(HERE, "e2e")], pattern)
    return run_beside(share_files(sorted(glob.glob(os.path.join(HERE, "e2e", "test_*.py"))), jobs))


def share_files(paths, jobs):
    """Lists of files for so many processes: about as many seconds in each, by what they took."""
    seconds = {"test_fronts.py": 130, "test_scripts.py": 90, "test_afresh.py": 130, "test_manager.py": 90,
               "test_manager_storm.py": 60, "test_request_time.py": 90, "test_retire.py": 50, "test_torture.py": 130}
    shares = [[] for _ in range(jobs)]
    loads = [0] * jobs
    for path in sorted(paths, key=lambda path: (-seconds.get(os.path.basename(path), 20), path)):
        least = loads.index(min(loads))
        shares[least].append(path)
        loads[least] += seconds.get(os.path.basename(path), 20)
    return shares


def run_beside(shares):
    """Each share in a process of its own, at the same time; their outputs one after the other."""
    running = []
    for share in shares:
        output = tempfile.TemporaryFile()
        command = [sys.executable, "-B", os.path.abspath(__file__), "--files", *share]
        running.append((output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)))
    counts = Counts()
    for output, process in running:
        status = process.wait()
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
        show(text)
        last = re.search(r"^(\d+) passed, (\d+) failed, (\d+) skipped\s*\Z", text, re.M)
        share = Counts(*map(int, last.groups())) if last else Counts(0, 1)
        if status and not share.failed:
            share.failed += 1
        counts += share
    show("e2e: %s" % counts)
    return counts


def run_applications(pattern):
    """All of them, or those that APPLICATIONS names."""
    folder = os.path.join(HERE, "applications")
    names = os.environ.get("APPLICATIONS", "").split()
    return run_pytest("applications", [os.path.join(folder, "test_%s.py" % name)
                                       for name in names] or [folder], pattern)


def run_pytest(name, paths, pattern):
    with tempfile.TemporaryDirectory(prefix="fcgihost-junit-") as folder:
        command = [sys.executable, "-B", "-m", "pytest", "-q", "--tb=short", "-ra",
                   "-o", "cache_dir=" + os.path.join(folder, "cache"), *paths]
        if pattern:
            command += ["--only", pattern]
        counts = pytest_once(command, folder)
        if counts.failed and counts.failed <= may_rerun():
            again = pytest_once([*command, "--last-failed"], folder)
            if again.passed:
                show("%s: %d passed only when run again: see FAILED above" % (name, again.passed))
                counts += Counts(again.passed, -again.passed)
    show("%s: %s" % (name, counts))
    return counts


def may_rerun():
    """How many tests may be run again: a sanitizer's finding counts the first time."""
    return 3 if os.environ.get("RERUN") and not os.environ.get("SAN") else 0


def pytest_once(command, folder):
    report = os.path.join(folder, "junit.xml")
    status = subprocess.run([*command, "--junitxml", report], cwd=ROOT, env=sanitizer_environ()).returncode
    try:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
        os.unlink(report)
    except (OSError, ElementTree.ParseError):
        suites = []
    number = lambda key: sum(int(suite.get(key, 0)) for suite in suites)
    failed, skipped = number("failures") + number("errors"), number("skipped")
    counts = Counts(max(number("tests") - failed - skipped, 0), failed, skipped)
    if status not in (0, 5) and not failed:
        counts.failed += 1
    return counts


SUITES = {"unit": run_unit, "python": run_python, "e2e": run_e2e, "applications": run_applications}


def main(names):
    if names[:1] == ["--files"]:  # one of several processes, see run_beside
        counts = run_pytest("e2e", names[1:], "")
        show(str(counts))
        return 1 if counts.failed else 0
    unknown = [name for name in names if name not in SUITES]
    if unknown or not names:
        sys.exit("usage: test/run.py %s (any of them)" % " ".join(SUITES))
    pattern = os.environ.get("T", "")
    total = Counts()
    for name in names:
        counts = SUITES[name](pattern)
        if not pattern and not counts.passed and not counts.failed:
            show("%s: no test ran" % name)
            counts.failed += 1
        total += counts
    if pattern and not total.any():
        show("no test has %r in its name" % pattern)
        total.failed += 1
    show(str(total))
    return 1 if total.failed or not (total.passed or pattern) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
