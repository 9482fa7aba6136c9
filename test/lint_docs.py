"""Checks the documents against the program: every key, default, range and flag, both ways.

    lint_docs.py PROGRAM

The program's word is `PROGRAM --print-ini` and `PROGRAM --help`. man/fcgihost.ini.5 has a line
`.Ss [section]` for each section, `.It Cm key = default` for each key, and says "from MIN to MAX"
where the key has a range; man/fcgihost.1 has a line `.It Fl x ..., Fl \\-long ...` for each flag.
"""
import difflib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import messages

ROOT = Path(__file__).resolve().parents[1]
MAN_1, MAN_5 = ROOT / "man/fcgihost.1", ROOT / "man/fcgihost.ini.5"
MAN_7 = ROOT / messages.MAN
INI = ROOT / "fcgihost.ini"

problems = []


def main(program):
    printed = run(program, "--print-ini")
    check_ini(printed)
    check_keys(keys_of_program(printed), keys_of_man(MAN_5.read_text()))
    check_flags(flags_of_program(run(program, "--help")), flags_of_man(MAN_1.read_text()))
    problems.extend(messages.problems())
    check_man_pages()
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def run(*command):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True).stdout


def name(path):
    return path.relative_to(ROOT)


def check_ini(printed):
    lines = INI.read_text().splitlines() if INI.exists() else []
    for line in difflib.unified_diff(lines, printed.splitlines(), n=0, lineterm=""):
        if line.startswith("@@"):
            number = re.match(r"@@ -(\d+)", line)[1]
            problems.append(f"{name(INI)}:{number}: not what --print-ini prints: "
                            "build/fcgihost --print-ini >fcgihost.ini")
            return


def keys_of_program(printed):
    """{"section.key": (default, (min, max) or None)}; the range ends the comment above the key."""
    keys, section, comment = {}, None, ""
    for line in printed.splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        elif match := re.fullmatch(r"; (\w+) = ?(.*)", line):
            bounds = re.search(r"\((\w+) to (\w+)\)$", comment)
            keys[f"{section}.{match[1]}"] = match[2], bounds and bounds.groups()
        comment = line
    return keys


def keys_of_man(text):
    """{"section.key": (default, what is said of it)}"""
    keys, section, key = {}, None, None
    for line in text.splitlines():
        if match := re.fullmatch(r"\.Ss \[(\w+)\]\\?&?", line):
            section, key = match[1], None
        elif line.startswith(".Sh "):
            section = key = None
        elif section and (match := re.fullmatch(r"\.It Cm (\w+) = ?(.*)", line)):
            key = f"{section}.{match[1]}"
            keys[key] = match[2], ""
        elif key:
            keys[key] = keys[key][0], keys[key][1] + " " + line
    return keys


def check_keys(program, man):
    if not program:
        problems.append("--print-ini: no key found in it")
    for key in program.keys() - man.keys():
        problems.append(f"{name(MAN_5)}: {key} is missing")
    for key in man.keys() - program.keys():
        problems.append(f"{name(MAN_5)}: {key} is no key of the program")
    for key in sorted(program.keys() & man.keys()):
        (default, bounds), (said_default, said) = program[key], man[key]
        if default != said_default:
            problems.append(
                f'{name(MAN_5)}: {key}: the default is "{default}", not "{said_default}"')
        if bounds and "from %s to %s" % bounds not in said:
            problems.append(f'{name(MAN_5)}: {key}: "from %s to %s" is missing' % bounds)


def flags_of_program(text):
    """The flags at the start of an indented line: "  -t, --threads N ...", "  --check ..."."""
    flags = set()
    for line in text.splitlines():
        if match := re.match(r"\s+(?:-(\w), )?--([a-z-]+)\b", line):
            flags.update(flag for flag in match.groups() if flag)
    return flags


def flags_of_man(text):
    flags = set()
    for line in text.splitlines():
        if line.startswith(".It Fl "):
            flags.update(re.findall(r"Fl (?:\\-)?([\w-]+)", line))
    return flags


def check_flags(program, man):
    if not program:
        problems.append("--help: no flag found in it")
    for flag in sorted(program - man):
        problems.append(f"{name(MAN_1)}: the flag {dashes(flag)} is missing")
    for flag in sorted(man - program):
        problems.append(f"{name(MAN_1)}: {dashes(flag)} is no flag of the program")


def dashes(flag):
    return ("-" if len(flag) == 1 else "--") + flag


def check_man_pages():
    if not shutil.which("mandoc"):
        return
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", name(MAN_1), name(MAN_5), name(MAN_7)],
                          cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    problems.extend(lint.stdout.splitlines())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
