"""Python in the program, built in or as a library: what extensions and children of the application
find."""
import ctypes
import glob
import json
import os
import re
import subprocess

import pytest

from host import PYTHON, ROOT, run, write_file
from message import parse_cgi


def python_says(expression):
    done = subprocess.run([PYTHON, "-c", "import sysconfig; get = sysconfig.get_config_var; "
                           "print(%s)" % expression], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip()


def python_api():
    """The names that libpython has for extensions."""
    folder, library = python_says("get('LIBDIR')"), python_says("get('LDLIBRARY')")
    path = os.path.join(folder, library)
    if not os.path.exists(path) or not library.endswith(".so"):
        pytest.skip("this Python has no shared library, whose names could be compared")
    listed = subprocess.run(["nm", "-D", "--defined-only", path], stdout=subprocess.PIPE, check=True)
    names = [line.split()[-1] for line in listed.stdout.decode().splitlines()]
    return [name for name in names if re.match(r"_?Py", name)]


def own_functions():
    """What the program's headers declare, but for what libc has too."""
    names = set()
    for path in glob.glob(os.path.join(ROOT, "fcgihost", "*", "*.h")):
        with open(path) as file:
            names.update(re.findall(r"^\w[\w *]*?\b(\w+)\(", file.read(), re.M))
    libc = ctypes.CDLL(None)
    return sorted(name for name in names - {"__attribute__"} if not hasattr(libc, name))


def call(folder, code):
    """What the function answer() of the code returns inside the program."""
    write_file(str(folder / "app.py"), "import json\n" + code + """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer()).encode()]
""")
    done = run("--call", "/", "./app.py", cwd=folder)
    assert done.returncode == 0, done
    return json.loads(parse_cgi(done.stdout).text)


FOUND = """
import ctypes
def answer():
    program = ctypes.CDLL(None)
    return [name for name in %r if hasattr(program, name)]
"""


def test_extensions_find_every_function_of_python(tmp_path):
    names = python_api()
    assert len(names) > 1000 and "PyList_New" in names
    assert set(names) - set(call(tmp_path, FOUND % names)) == set()


def test_the_programs_own_functions_do_not_take_the_place_of_an_extensions(tmp_path):
    names = own_functions()
    assert len(names) > 300 and "log_info" in names
    assert call(tmp_path, FOUND % names) == []


def test_the_version_says_whether_python_is_built_in(tmp_path):
    is_loaded = call(tmp_path, """
def answer():
    with open("/proc/self/maps") as file:
        return "/libpython3." in file.read()
""")
    word = "as shared library" if is_loaded else "built in"
    assert re.search(r"Python 3\.[0-9.]+\S* %s," % word, run("-V").stdout.decode())


def test_extensions_of_the_standard_library_are_those_of_this_python(tmp_path):
    modules = ["_asyncio", "_ctypes", "_hashlib", "_sqlite3", "_ssl", "pyexpat", "zlib"]
    assert call(tmp_path, """
import importlib
def answer():
    return [importlib.import_module(name).__name__ for name in %r]
""" % modules) == modules


def test_python_and_its_children_know_the_interpreter(tmp_path):
    found = call(tmp_path, """
import multiprocessing, os, sys, sysconfig
def answer():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        parent = pool.apply(os.getppid)
    return {"executable": os.path.realpath(sys.executable), "prefix": sys.prefix, "is_parent":
            parent == os.getpid(), "stdlib": sysconfig.get_path("stdlib")}
""")
    assert found == {"executable": os.path.realpath(PYTHON), "is_parent": True,
                     "prefix": python_says("__import__('sys').prefix"),
                     "stdlib": python_says("sysconfig.get_path('stdlib')")}
