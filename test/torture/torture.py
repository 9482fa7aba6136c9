"""The standing adversary: torments a host for so long, and ends with a table of what was tried and what was found.

    torture.py [--seconds N | --hours N] [--only NAMES] [--seed S]

Exit status 1: something was found; it has been printed. The seed gives the same choices again, although not the same
timing."""
import argparse
import random
import sys
import time

from torment import process
from changes import Changes
from faults import Faults
from hostile_clients import Clients
from moments import Moments
from rolls import Rolls
from sessions import Sessions
from starts import Starts
from surroundings import Surroundings

TORMENTS = [Sessions, Moments, Starts, Rolls, Changes, Faults, Clients, Surroundings]
ROUND_SECONDS = 20  # then the next torment has its turn


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--hours", type=float)
    parser.add_argument("--only", default=",".join(kind.name for kind in TORMENTS), help="names, with commas between")
    parser.add_argument("--seed", default=str(random.randrange(10 ** 9)))
    options = parser.parse_args(arguments)
    if options.hours is not None:
        options.seconds = options.hours * 3600
    return options


def run_round(torment, seconds):
    end = time.monotonic() + seconds
    before = len(torment.found)
    try:
        torment.run(lambda: time.monotonic() >= end)
    except Exception as error:
        torment.note("%s: %s" % (type(error).__name__, error))
    for text in torment.found[before:]:
        print("torture: %s: FOUND: %s" % (torment.name, text), flush=True)


def print_table(torments):
    row = "%-12s %12s %12s %12s %8s %8s"
    print(row % ("torment", "inputs", "faults", "requests", "lost", "found"))
    for torment in torments:
        print(row % (torment.name, torment.inputs, torment.faults, torment.requests, torment.lost, len(torment.found)))


def main():
    options = parse(sys.argv[1:])
    process.adopt_orphans()
    wanted = options.only.split(",")
    torments = [kind(options.seed) for kind in TORMENTS
                if kind.name in wanted and (kind.is_sanitized or not process.SAN)]
    if not torments:
        sys.exit("torture: no torment is called %s; there are %s" % (options.only, ", ".join(k.name for k in TORMENTS)))
    print("torture: %g s, seed %s" % (options.seconds, options.seed), flush=True)
    end = time.monotonic() + options.seconds
    share = min(ROUND_SECONDS, options.seconds / len(torments))
    while True:
        for torment in torments:
            run_round(torment, share)
        if time.monotonic() >= end:
            break
    print_table(torments)
    return 1 if any(torment.found for torment in torments) else 0


if __name__ == "__main__":
    sys.exit(main())
