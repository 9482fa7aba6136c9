"""Serves what make pgo takes its profile of: a fixed number of requests of each kind, by the program that counts.

    FCGIHOST=program test/bench/train.py --load PROGRAM

Flask and Django are not in it: what they do is Python's work, and the build needs neither.
"""
import argparse
import os
import sys

import peers
from bench import Bench
from cases import CASES

# Kept connections most of all, as fronts that care for speed keep them.
REQUESTS = {"hello-kept-1": 10000, "hello-kept-4": 40000, "hello-kept-32": 20000, "hello-new-4": 10000,
            "upload-16k": 5000, "upload-1m": 200, "body-1m": 300, "chunks-1m": 100}
LONGEST_SECONDS = 120


def train(peer, case, bench):
    with peers.Site(peer, case, bench) as site:
        site.wait_until_ready()
        result = site.load(seconds=LONGEST_SECONDS, requests=REQUESTS[case.name])
    if not result or result["errors"] or result["served"] < REQUESTS[case.name]:
        sys.exit("train: %s by %s: %s" % (case.name, peer.title, result))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", required=True, help="the load generator")
    options = parser.parse_args()
    bench = Bench(os.path.abspath(options.load), LONGEST_SECONDS)
    try:
        for case in CASES:
            if case.name in REQUESTS:
                train(peers.PEERS["fcgihost"], case, bench)
                if not case.is_kept:
                    train(peers.PEERS["fcgihost-scgi"], case, bench)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
