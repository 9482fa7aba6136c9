#!/usr/bin/env python3
"""Every name that a comment, a docstring or a document mentions exists.

    test/lint_names.py [FOLDER]      FOLDER: another tree than this one

In comments and docstrings: words with an underscore, words before "()", and names of C and Python files. In documents:
names of files, targets of make, links. What is not this tree's is in FOREIGN. One line for each complaint; exit status
1 if there is any.
"""
import ast
import io
import re
import sys
import tokenize
from pathlib import Path

# Names of libraries, kernels, other programs and PEP 3333 that the code itself does not use, and examples' inventions.
FOREIGN = set("""
    FCGI_ABORT_REQUEST FCGI_BEGIN_REQUEST FCGI_DATA FCGI_GET_VALUES FCGI_GET_VALUES_RESULT FCGI_KEEP_CONN FCGI_PARAMS
    FCGI_STDIN FCGI_UNKNOWN_TYPE fcgiapp.c fcgios.h fastcgi_index ini_handler ini_reader days_from_civil crypt
    HTTP_SEC_GPC cart.py shop/database.py shop/wsgi.py Python.h handle_path fcgihost/one pages.py test/fuzz/corpus/NAME net/input_internal.h
""".split())

C_TOKEN = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
WORD = re.compile(r"\w+")
NAME = re.compile(r"(?<![\w/.$-])(\w*[A-Za-z]\w*)(\(\))?")
FILE = re.compile(r"(?<![\w./*-])((?:\w[\w-]*/)*\w[\w-]*\.(?:c|h|py|ini|supp|sh))\b(?![\w/(]|\.\d)")
DOCUMENTS = ("README", "*.md", "CONTRIBUTING", "man/*", "*/README", "*/*/README", "doc/*.md")
TARGET = re.compile(r"^([a-z][\w-]*):", re.M)
MAKE = re.compile(r"""(?:`|^\s{4,}|^)(?:sudo )?make((?: (?:[A-Z]+=(?:'[^'`]*'|[^\s`]+)|[a-z][\w-]*)(?=\s|`|;))+)""", re.M)
SETTING = re.compile(r"\[(\w+)(?: NAME)?\]`?\s+`?([a-z]\w*_\w*)|`\[(\w+)(?: NAME)?\] ([a-z]\w*)")
LINK = re.compile(r"\]\(([^)#\s]+)?(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ (.*)", re.M)
FOLDERS = re.compile(r"(?<![\w./-])(?:examples|test|doc|man|fcgihost|python|\.ci)/[\w./-]*\w")


def split_c(text):
    """(line, text) of the comments, and the code without them."""
    comments, code, end = [], [], 0
    for match in C_TOKEN.finditer(text):
        if match[0].startswith("/"):
            comments.append((text.count("\n", 0, match.start()) + 1, match[0]))
            code.append(text[end:match.start()])
            end = match.end()
    return comments, " ".join(code) + text[end:]


def split_python(text):
    """The same of comments and docstrings."""
    tree = ast.parse(text)
    docstrings = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, False) is not None:
            docstrings[node.body[0].lineno] = ast.get_docstring(node, False)
    comments, code = [], []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append((token.start[0], token.string))
        elif token.type == tokenize.STRING and token.start[0] in docstrings:
            comments.append((token.start[0], docstrings[token.start[0]]))
        else:
            code.append(token.string)
    return comments, " ".join(code)


class Tree:
    """The files of a tree, and the names that they define or use."""

    def __init__(self, root):
        self.root = root
        self.files = {str(path.relative_to(root)) for path in root.rglob("*")
                      if path.is_file() and not path.relative_to(root).parts[0] in ("build", ".git")}
        self.comments, self.names = {}, set(FOREIGN)
        for file in sorted(self.files):
            self._read(file)

    def _read(self, file):
        self.names.update(WORD.findall(file))
        path = self.root / file
        if path.suffix in (".c", ".h", ".py"):
            split = split_python if path.suffix == ".py" else split_c
            self.comments[file], code = split(path.read_text(encoding="utf-8"))
            self.names.update(WORD.findall(code))
        elif not any(path.match(pattern) for pattern in DOCUMENTS) and path.suffix not in (".gz", ".png"):
            self.names.update(WORD.findall(path.read_text(encoding="utf-8", errors="replace")))

    def has_file(self, name):
        return name in self.files or any(file.endswith("/" + name) for file in self.files)


def check_comments(tree):
    for file, comments in tree.comments.items():
        for first, text in comments:
            for number, line in enumerate(text.splitlines(), first):
                for name, call in NAME.findall(line):
                    if (call or "_" in name.strip("_")) and name not in tree.names:
                        yield f"{file}:{number}: {name}{call}: there is no such name"
                for name in FILE.findall(line):
                    if not tree.has_file(name) and name not in FOREIGN:
                        yield f"{file}:{number}: {name}: there is no such file"


def documents(tree):
    for file in sorted(tree.files):
        path = Path(file)
        if any(path.match(pattern) for pattern in DOCUMENTS) and path.parts[0] != "LICENSE":
            yield file, (tree.root / file).read_text(encoding="utf-8")


def check_documents(tree):
    targets = set(TARGET.findall((tree.root / "Makefile").read_text(encoding="utf-8")))
    for file, text in documents(tree):
        def at(match):
            return "%s:%d" % (file, text.count("\n", 0, match.start()) + 1)
        if file == "python/README":
            missing = {Path(name).name for name in tree.files if re.fullmatch(r"python/.*\.py", name)} - set(
                Path(name).name for name in FILE.findall(text))
            yield from (f"{file}: {name} is missing" for name in sorted(missing))
        for match in FILE.finditer(text):
            if not tree.has_file(match[1]) and match[1] not in FOREIGN:
                yield f"{at(match)}: {match[1]}: there is no such file"
        for match in FOLDERS.finditer(text):
            if not any((folder / match[0]).exists() for folder in ((tree.root / file).parent, tree.root)) and not tree.has_file(match[0]) and match[0] not in FOREIGN:
                yield f"{at(match)}: {match[0]}: there is no such file or folder"
        for match in MAKE.finditer(text):
            for word in match[1].split():
                if re.fullmatch(r"[a-z][\w-]*", word) and word not in targets:
                    yield f"{at(match)}: make {word}: the Makefile has no such target"
        for match in LINK.finditer(text):
            yield from check_link(tree, file, at(match), *match.groups())


def check_link(tree, file, where, target, anchor):
    if target and "://" in target:
        return
    path = (tree.root / file).parent / target if target else tree.root / file
    if not path.exists():
        yield f"{where}: {target}: the link leads nowhere"
    elif anchor and anchor not in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
                                   for title in HEADING.findall(path.read_text(encoding="utf-8"))}:
        yield f"{where}: #{anchor}: {path.name} has no such heading"


def check_settings(tree):
    """[section] key, in comments and documents."""
    keys, section = set(), None
    for line in (tree.root / "fcgihost.ini").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        elif match := re.match(r"; (\w+) =", line):
            keys.add((section, match[1]))
    sections = {section for section, _ in keys} - {"environment"}
    texts = [(file, first, text) for file, comments in tree.comments.items() for first, text in comments]
    texts += [(file, 1, text) for file, text in documents(tree)]
    for file, first, text in texts:
        for match in SETTING.finditer(text):
            section, key = [word for word in match.groups() if word]
            if section in sections and (section, key) not in keys:
                yield f"{file}:{first + text.count(chr(10), 0, match.start())}: [{section}] {key}: there is no such key"


def complaints(root):
    tree = Tree(root)
    return [*check_comments(tree), *check_documents(tree), *check_settings(tree)]


def main(arguments):
    found = complaints(Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1])
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
