"""Compares fcgihost with its peers: the same application, interleaved rounds, a fresh server for
each figure, every response checked.

    FCGIHOST=program test/bench/bench.py --load PROGRAM [--case NAMES] [--rounds N] [--seconds S]
                                         [--against PROGRAM]
"""
import argparse
import fnmatch
import glob
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import figures
import measure
import peers
from cases import CASES, UNITS


PYTHON = os.environ.get("PYTHON") or "/usr/bin/python3"  # the one that is embedded


class Bench:
    """The options of a run, its temporary folder, and who runs where."""

    def __init__(self, load, seconds):
        self.load, self.seconds, self.sites = load, seconds, 0
        self.folder = tempfile.mkdtemp(prefix="fcgihost-bench-")
        os.chmod(self.folder, 0o755)  # for www-data
        shutil.copytree(os.path.join(peers.HERE, "apps"), os.path.join(self.folder, "apps"),
                        ignore=shutil.ignore_patterns("__pycache__"))
        cores = sorted(os.sched_getaffinity(0))
        self.cores = cores[:2] if len(cores) > 1 else []
        self.server_cores = set(self.cores[:1])
        if self.cores:
            os.sched_setaffinity(0, {self.cores[1]})  # ours, and so the load generator's

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def site_folder(self):
        self.sites += 1
        folder = os.path.join(self.folder, "site-%d" % self.sites)
        os.mkdir(folder)
        return folder

    def venv(self, kind):
        """A virtual environment in which nothing is installed, or Django alone."""
        folder = os.path.join(self.folder, "venv-" + kind)
        if not os.path.exists(folder):
            subprocess.run([PYTHON, "-m", "venv", "--without-pip", folder], check=True)
            packages, = glob.glob(os.path.join(folder, "lib", "python3*", "site-packages"))
            for name in ("django", "asgiref", "sqlparse", "pytz") if kind == "django" else ():
                found = importlib.util.find_spec(name)
                if found is not None:
                    os.symlink(os.path.dirname(found.origin), os.path.join(packages, name))
        return folder

    def expected_file(self, case):
        path = os.path.join(self.folder, case.name + ".expected")
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(case.body)
        return path


class Round:
    """The figures and problems of each peer, taken one after the other, and how much of the
    machine's time the hypervisor gave to others meanwhile."""

    def __init__(self, case, chosen, bench):
        self.found, self.problems = {}, {}
        before = measure.machine_ticks()
        for name in chosen:
            try:
                self.found[name], self.problems[name] = measure.measure(peers.PEERS[name], case,
                                                                        bench)
            except peers.Unusable as error:
                self.found[name], self.problems[name] = {}, [str(error)]
        self.stolen_percent = figures.stolen_percent(before, measure.machine_ticks())


def run_case(case, bench, rounds):
    """The case as it stands in the JSON."""
    chosen = [name for name in case.peers if not peers.PEERS[name].programs()]
    calmest, every = figures.take_calm(lambda: Round(case, chosen, bench), case.rounds(rounds))
    taken = {name: [one.found[name] for one in calmest] for name in chosen}
    problems = {name: sum((one.problems[name] for one in every), []) for name in chosen}
    rows = []
    for name in chosen:
        found = figures.medians(taken[name])
        figure_ratio = figures.median_ratio(taken[name], taken.get(case.baseline(), []),
                                            case.figure)
        is_judged = name in ("fcgihost", "nginx+fcgihost")
        rows.append({"name": name, "title": peers.PEERS[name].title, "figures": found,
                     "ratio": figure_ratio, "rounds": taken[name], "is_judged": is_judged,
                     "problems": problems[name],
                     "verdict": figures.verdict(case.goal, is_judged, found.get(case.figure),
                                                figure_ratio, problems[name])})
    return {"name": case.name, "title": case.title, "figure": case.figure,
            "unit": UNITS[case.figure], "goal": str(case.goal or ""), "peers": rows,
            "stolen_percent": max(one.stolen_percent for one in calmest)}


def first_line(*command):
    path = peers.find_program(command[0])
    if path is None:
        return "no " + command[0]
    done = subprocess.run([path, *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode("utf-8", "replace").strip().partition("\n")[0]


def versions():
    return {
        "fcgihost": first_line("fcgihost", "--version"),
        "uwsgi": "uWSGI " + first_line("uwsgi", "--version"),
        "nginx": first_line("nginx", "-v").replace("nginx version: ", ""),
        "apache": first_line("apache2", "-v").replace("Server version: ", ""),
        "mod_wsgi": "mod_wsgi " + first_line("dpkg-query", "-W", "-f", "${Version}",
                                             "libapache2-mod-wsgi-py3"),
        "gunicorn": first_line("gunicorn", "--version"),
        "php-fpm": first_line("php-fpm", "-v").partition(" (")[0],
        "flask, django": ", ".join(
            "%s %s" % (name, importlib.metadata.version(name)) for name in ("Flask", "Django")
            if importlib.util.find_spec(name.lower())),
    }


def machine(cores):
    with open("/proc/cpuinfo") as file:
        model = figures.cpu_model(file.read())
    return {"cpu": model, "core_count": os.cpu_count(), "kernel": os.uname().release,
            "cores": cores}


def choose(patterns):
    """The cases that one of the patterns (hello-*,start) names."""
    if not patterns:
        return CASES
    names = patterns.split(",")
    for name in names:
        if not any(fnmatch.fnmatchcase(case.name, name) for case in CASES):
            sys.exit("bench: no case %r; there are: %s" % (name, " ".join(c.name for c in CASES)))
    return [case for case in CASES if any(fnmatch.fnmatchcase(case.name, name) for name in names)]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", required=True, help="the load generator")
    parser.add_argument("--case", default="", help="names or patterns, with commas between them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.6, help="of load for each figure")
    parser.add_argument("--against", help="another fcgihost, instead of the peers")
    parser.add_argument("--json", default="build/bench.json")
    return parser.parse_args()


def main():
    options = parse_options()
    cases, started = choose(options.case), time.monotonic()
    if options.against:
        os.environ["AGAINST"] = os.path.abspath(options.against)
        cases = [case.against_another_build() for case in cases]
    bench = Bench(os.path.abspath(options.load), options.seconds)
    report = {"machine": machine(bench.cores), "versions": versions(), "rounds": options.rounds,
              "seconds": options.seconds, "cases": []}
    print("\n".join(figures.machine_lines(report)), flush=True)
    for missing in sorted({name for case in cases for peer in case.peers
                           for name in peers.PEERS[peer].programs()}):
        print("without %s, which is not installed (make deps-bench)" % missing)
    try:
        for case in cases:
            report["cases"].append(run_case(case, bench, options.rounds))
            print("\n" + "\n".join(figures.case_lines(report["cases"][-1])), flush=True)
    finally:
        bench.close()
    with open(options.json, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
    verdicts = [peer["verdict"] for case in report["cases"] for peer in case["peers"]]
    print("\n%d goals met, %d missed, %d failures, in %d s; %s has the figures" % (
        verdicts.count("met"), verdicts.count("missed"), verdicts.count("FAILED"),
        time.monotonic() - started, options.json))
    return 1 if "FAILED" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
