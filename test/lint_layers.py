#!/usr/bin/env python3
"""Holds the layers of fcgihost/README: which folder may include which, and no include in a circle.

    test/lint_layers.py [FOLDER]      FOLDER: fcgihost, where another tree is to be looked at

One line for each complaint; exit status 1 if there is any.
"""
import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
GENERATED = {"build_facts.h", "status_page.h"}


def read_layers(root):
    """The folders that the README lists, lowest first."""
    return re.findall(r"^ {4}(\w+)/ ", (root / "README").read_text(encoding="utf-8"), re.M)


def module_of(path):
    """net/input.c, net/input.h and net/input_internal.h, which other files of its folder share, are one: net/input."""
    name = path[:-2] if path.endswith((".c", ".h")) else path
    return name[:-len("_internal")] if name.endswith("_internal") else name


def read_includes(root):
    """{file: what it includes in quotes}, both relative to root."""
    return {str(path.relative_to(root)): INCLUDE.findall(path.read_text(encoding="utf-8"))
            for path in sorted(root.rglob("*.[ch]"))}


def check_folders(includes, layers):
    known = {path.partition("/")[0] for path in includes if "/" in path}
    for folder in sorted(known.symmetric_difference(layers)):
        yield f"{folder}/: in one of both, fcgihost/README or the tree: write a line on its duty, or take it out"


def check_layers(includes, layers):
    for path, names in includes.items():
        folder, separator, _ = path.partition("/")
        for name in names:
            target = name.partition("/")[0]
            if name in GENERATED:
                continue
            if name not in includes:
                yield f'{path}: includes "{name}": no such file below fcgihost/: write it with its folder'
            elif separator and layers.index(target) > layers.index(folder):
                yield f"{path}: includes {name}: {target}/ is a layer above {folder}/: move what it needs down"


def find_circles(includes):
    """Modules that include each other, directly or not, as sorted lists (Tarjan)."""
    graph = {}
    for path, names in includes.items():
        targets = graph.setdefault(module_of(path), set())
        targets.update(module_of(name) for name in names if name in includes)
    number, low, stack, circles = {}, {}, [], []

    def visit(module):
        number[module] = low[module] = len(number)
        stack.append(module)
        for target in graph[module] - {module}:
            if target not in number:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], number[target])
        if low[module] == number[module]:
            circle = stack[stack.index(module):]
            del stack[stack.index(module):]
            if len(circle) > 1:
                circles.append(sorted(circle))
    for module in graph:
        if module not in number:
            visit(module)
    return circles


def complaints(root):
    includes, layers = read_includes(root), read_layers(root)
    found = list(check_folders(includes, layers))
    if not found:
        found += check_layers(includes, layers)
    return found + ["a circle of includes: " + ", ".join(circle) for circle in find_circles(includes)]


def main(arguments):
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1] / "fcgihost"
    found = complaints(root)
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
