"""Prints the summary of build/bench.json for the README.

    test/bench/table.py [--markdown] [FILE]
"""
import argparse
import json

import figures


def markdown(rows):
    lines = ["| %s |" % " | ".join(row) for row in rows]
    return lines[:1] + ["|---|" + "--:|" * (len(rows[0]) - 2) + "---|"] + lines[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("file", nargs="?", default="build/bench.json")
    options = parser.parse_args()
    with open(options.file, encoding="utf-8") as file:
        report = json.load(file)
    rows = figures.summary_rows(report)
    lines = markdown(rows) if options.markdown else \
        ["    " + line for line in figures.aligned(rows, 1)]
    print("\n".join(figures.machine_lines(report) + [""] + lines))


if __name__ == "__main__":
    main()
