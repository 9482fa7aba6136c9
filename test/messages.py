"""The identifiers of the log's messages, in the source and in man/fcgihost-messages.7.

Each call that logs names one, a literal like "worker-died"; each has an entry `.It Sy worker-died` in the man page, which
says what the message means and what to do.
"""
import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAN = "man/fcgihost-messages.7"
EVENT = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Where in its arguments each function of C has it.
C_CALL = re.compile(r"\b(log_error|log_warning|log_info|log_debug|log_fail|request_log|request_log_refusal|log_exception|log_traceback)\(")
C_PLACES = {"request_log": 1, "request_log_refusal": 1, "log_exception": 1, "log_traceback": 1}
C_MEMBER = re.compile(r"\.event = ([^,;}]+)")
# These take it from their caller.
C_PASSED = ("event", "NULL")
# Python functions whose result C logs: where in the tuple it is.
PY_RESULTS = {"describe_answer": 3, "_describe_unavailable": 3}


def find(root=ROOT):
    """{event: where it is used first}, and what is wrong."""
    events, problems = {}, []

    def use(event, where):
        if EVENT.fullmatch(event):
            events.setdefault(event, where)
        else:
            problems.append('%s: "%s" is no identifier: words of lower-case letters with "-" between' % (where, event))
    for path in sorted(root.glob("fcgihost/**/*.c")):
        for line, text in _events_of_c(_without_comments(path.read_text())):
            where = "%s:%d" % (path.relative_to(root), line)
            found = re.findall(r'"([^"]*)"', text)
            for event in found:
                use(event, where)
            if not found and text.strip() not in C_PASSED:
                problems.append("%s: a message without an identifier: %s" % (where, text.strip()))
    for path in sorted(root.glob("python/fcgihost/**/*.py")):
        for node, event in _events_of_python(ast.parse(path.read_text())):
            where = "%s:%d" % (path.relative_to(root), node.lineno)
            if event is None:
                problems.append("%s: a message without an identifier" % where)
            else:
                use(event, where)
    return events, problems


def _without_comments(text):
    return re.sub(r"/\*.*?\*/", lambda match: "\n" * match[0].count("\n"), text, flags=re.S)


def _events_of_c(text):
    """(line, the argument that names it)"""
    for match in C_CALL.finditer(text):
        arguments = _arguments(text, match.end())
        place = C_PLACES.get(match[1], 0)
        if arguments[0].startswith(("const char *", "struct ")):
            continue  # the function itself
        yield text.count("\n", 0, match.start()) + 1, arguments[place] if len(arguments) > place + 1 else ""
    for match in C_MEMBER.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1]


def _arguments(text, start):
    """The texts between the commas of a call, to its end."""
    found, depth, begin, in_string, position = [], 0, start, False, start
    while depth >= 0:
        c = text[position]
        if in_string:
            if c == "\\":
                position += 1
            in_string = c != '"'
        elif c == '"':
            in_string = True
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        if not in_string and (c == "," and depth == 0 or depth < 0):
            found.append(text[begin:position].strip())
            begin = position + 1
        position += 1
    return found


def _events_of_python(tree):
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        names = {argument.arg for argument in function.args.args}
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and _logs(node.func):
                yield from _events_of_value(function, names, node, node.args[1])
            elif isinstance(node, ast.Return) and function.name in PY_RESULTS and isinstance(node.value, ast.Tuple):
                yield from _events_of_value(function, names, node, node.value.elts[PY_RESULTS[function.name]])


def _logs(function):
    """host.log(level, event, text), as all files call it."""
    return (isinstance(function, ast.Attribute) and function.attr == "log" and (
        isinstance(function.value, ast.Name) and function.value.id in ("_fcgihost", "_host") or
        isinstance(function.value, ast.Attribute) and function.value.attr == "_host"))


def _events_of_value(function, names, node, value):
    if isinstance(value, ast.Name) and value.id in names:
        return  # its caller's
    if isinstance(value, ast.Name):
        values = [assignment.value for assignment in ast.walk(function) if isinstance(assignment, ast.Assign)
                  and any(isinstance(target, ast.Name) and target.id == value.id for target in assignment.targets)]
    else:
        values = [value]
    found = [part.value for one in values for part in ([one.body, one.orelse] if isinstance(one, ast.IfExp) else [one])
             if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    for event in found or [None]:
        yield node, event


def explained(text):
    """{event: what the man page says of it}"""
    events, event = {}, None
    for line in text.splitlines():
        if match := re.fullmatch(r"\.It Sy (\S+)", line):
            event = match[1]
            events[event] = ""
        elif line.startswith((".El", ".Sh", ".Ss")):
            event = None
        elif event:
            events[event] += line + "\n"
    return events


def problems(root=ROOT):
    """Each a line, that says what to do."""
    events, found = find(root)
    page = explained((root / MAN).read_text())
    for event in sorted(events.keys() - page.keys()):
        found.append("%s: %s is missing, which %s logs: add `.It Sy %s`, what it means and what to do" % (
            MAN, event, events[event], event))
    for event in sorted(page.keys() - events.keys()):
        found.append("%s: %s is no message of the program" % (MAN, event))
    found += ["%s: %s: nothing is said of it" % (MAN, event) for event, said in sorted(page.items()) if not said.strip()]
    return found
