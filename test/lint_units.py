#!/usr/bin/env python3
"""Each C file has a unit test: fcgihost/net/input.c has test/unit/test_input.c, which links it.

    test/lint_units.py [ROOT]      ROOT: another tree

One line for each complaint; exit status 1 if there is any. What has none is listed here, with the reason. A line of
these lists that is out of date is a complaint that fails nothing.
"""
import importlib.machinery
import importlib.util
import sys
from pathlib import Path

# Files that the tests of another one cover: whose contract is only seen through it, or several of one kind of which a
# test says most about all.
COVERED = {
    "config/config_application.c": "test_config test_config_file",  # sections and mounts, as a whole configuration
    "config/config_assignment.c": "test_config test_config_file",  # every type of value, through the table
    "config/config_error.c": "test_config_file",  # one line each, as it reads
    "config/config_load.c": "test_config test_config_file",
    "config/config_text.c": "test_config_file",  # its lines
    "config/settings_table.c": "test_config test_config_file",  # no code but look-ups
    "connection/idle_connections.c": "test_poller",
    "connection/poller_accept.c": "test_poller",  # parts of one object, the poller
    "connection/poller_handover.c": "test_poller",
    "http/reply.c": "test_response test_request",  # how much of a response leaves, and when
    "net/listener_set.c": "test_listener test_listener_inherited",
    "net/listener_unix.c": "test_listener",
    "protocol/libfcgi_os.c": "test_fastcgi_contract",  # it and the library are one
    "status/format_json.c": "test_formats",  # several writers of the same figures
    "status/format_page.c": "test_formats",
    "status/format_plain.c": "test_formats",
    "status/format_prometheus.c": "test_formats",
}

# Files that only a whole process shows, and the end-to-end test that does so.
WITHOUT = {
    "main.c": "test_start",  # and test/unit/test_command.c, which includes it: it has a main() of its own
}


E2E = {path.stem for path in Path(__file__).parent.glob("e2e/test_*.py")}


def load_links():
    """test/links, which knows what a test links."""
    loader = importlib.machinery.SourceFileLoader("links", str(Path(__file__).with_name("links")))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("links", loader))
    loader.exec_module(module)
    return module


def read_tests(root):
    """{"test_gate": {"gate.c", "record.c"}}"""
    links = load_links()
    return {path.stem: set(links.linked_names(path)) for path in sorted(root.glob("test/unit/test_*.c"))}


def check_file(path, tests):
    """Is there a test of fcgihost/PATH? Complaints if not."""
    name, own = Path(path).name, "test_" + Path(path).stem
    if own in tests:
        if name not in tests[own]:
            yield f"test/unit/{own}.c: does not link {name}, whose test it is by its name"
    elif path not in COVERED and path not in WITHOUT:
        yield f"fcgihost/{path}: has no test/unit/{own}.c: write one (or say why not in test/lint_units.py)"
    for other in COVERED.get(path, "").split():
        if name not in tests.get(other, ()):
            yield f"test/lint_units.py: {path} is said to be covered by {other}, which does not link it"
    if path in WITHOUT and WITHOUT[path] not in E2E:
        yield f"test/lint_units.py: {path}: there is no test/e2e/{WITHOUT[path]}.py"


def find_outdated(paths, tests):
    """Lines of the lists that can go."""
    for path in sorted(COVERED.keys() | WITHOUT.keys()):
        if path not in paths:
            yield f"test/lint_units.py: there is no fcgihost/{path} any more: take it out of the list"
        elif "test_" + Path(path).stem in tests:
            yield f"test/lint_units.py: {path} has a test of its own by now: take it out of the list"


def main(root):
    tests = read_tests(root)
    paths = [str(path.relative_to(root / "fcgihost")) for path in sorted(root.glob("fcgihost/**/*.c"))]
    complaints = [complaint for path in paths for complaint in check_file(path, tests)]
    for line in complaints + list(find_outdated(paths, tests)):
        print(line)
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]))
