"""Every suite on several Pythons, compilers, sanitizers and systems, one after the other; ends with a table.

    make matrix                  whole suites: hours
    make matrix T=test_several   only tests whose name contains it
    make matrix ROWS=gcc,3.13    only rows whose name contains one of these
    make matrix GOALS="test-unit test-python"    these suites, whole, in all rows but the bare systems

Exit status 1: a row failed. Its output is build/matrix/ROW.log. A Python is taken where it is found: PYTHON, and what
pyenv has; a system is a bare root that debootstrap makes (as root)."""
import glob
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = os.path.join(ROOT, "build", "matrix")
SUPPORTED = ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]
SYSTEMS = ["bookworm", "trixie", "forky"]


def pythons():
    """{version: program} of the supported ones that pyenv has; their order is that of their versions."""
    found = {}
    for path in glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python3")):
        version = re.search(r"/versions/(\d+\.\d+)", path)
        if version and version.group(1) in SUPPORTED:
            found[version.group(1)] = path
    return dict(sorted(found.items(), key=lambda item: SUPPORTED.index(item[0])))


def rows():
    """(name, make's arguments), the usual ones first."""
    tests = ["run-test", "JOBS=2", "RERUN=1"]
    result = [("%s, Debian's Python" % compiler, tests + ["CC=" + compiler]) for compiler in ("gcc", "clang")]
    result += [("gcc, Python %s" % version, tests + ["PYTHON=" + path]) for version, path in pythons().items()]
    result += [("gcc, SAN=%s" % kinds, ["run-test", "JOBS=2", "SAN=" + kinds]) for kinds in ("address,undefined", "thread")]
    result += [("a bare %s" % system, ["test-fresh", "SUITES=" + system]) for system in SYSTEMS]
    return result


def commands(arguments, pattern):
    """What make is called with, one after the other; the tests of a built tree get their parts built beside each other."""
    goal, *variables = arguments
    if pattern:
        variables.append("T=" + pattern)
    if goal != "run-test":
        return [[goal, *variables]]
    goals = os.environ.get("GOALS", "").split() or [goal]
    return [["-j%d" % os.cpu_count(), "all", "unit-programs", *variables]] + [[goal, *variables] for goal in goals]


def run_row(name, arguments, pattern):
    """(counted, is_good): the count that each command ends with, and whether make always ended with 0."""
    log, counts, is_good = os.path.join(LOGS, re.sub(r"[^\w.]+", "-", name) + ".log"), [], True
    # A row says all: what this make was told, GOALS among it, means something else to test/fresh.sh.
    environ = {key: value for key, value in os.environ.items() if key not in ("GOALS", "MAKEFLAGS", "MAKEOVERRIDES")}
    with open(log, "w") as output, open(log, errors="replace") as written:
        for command in commands(arguments, pattern):
            done = subprocess.run(["make", "-C", ROOT, "--no-print-directory", *command], env=environ,
                                  stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
            counts += re.findall(r"\d+ passed, \d+ failed, \d+ skipped", written.read())[-1:]
            if done.returncode != 0:
                is_good = False
                break
    return "; ".join(counts) or "no count: see %s" % os.path.relpath(log, ROOT), is_good


def main():
    wanted = [word for word in os.environ.get("ROWS", "").split(",") if word]
    os.makedirs(LOGS, exist_ok=True)
    table, chosen = [], [row for row in rows() if not wanted or any(word in row[0] for word in wanted)]
    if not chosen:
        sys.exit("matrix: no row has %s in its name; there are: %s" % (wanted, "; ".join(name for name, _ in rows())))
    for name, arguments in chosen:
        began = time.monotonic()
        counted, is_good = run_row(name, arguments, os.environ.get("T", ""))
        table.append("%-28s %-6s %-44s %5d s" % (name, "good" if is_good else "FAILED", counted, time.monotonic() - began))
        print("matrix: " + table[-1], flush=True)
    return 1 if any(" FAILED " in line for line in table) else 0


if __name__ == "__main__":
    sys.exit(main())
