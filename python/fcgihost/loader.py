"""Loads applications: a callable of a module, or of a script file. A load that fails leaves nothing behind."""

import importlib
import os
import sys
import traceback
import types
import zlib

_watched = {}   # file -> its state when the last load failed


def load_module(target):
    """The callable that "package.module:callable" names; "callable" may have dots.

    Raises what the import raises, AttributeError if the module has no such name, TypeError if it can't be called.
    Modules of the target's own top-level package that a failed import added to sys.modules are dropped, so
    that the next attempt starts anew.
    """
    module_name, _, attribute = target.partition(":")
    before = set(sys.modules)
    files = []
    try:
        application = importlib.import_module(module_name)
        files.append(_file_of(application))
        for part in attribute.split("."):
            application = getattr(application, part)
        return _check_callable(application, target)
    except BaseException as error:
        package = module_name.partition(".")[0]
        own = [name for name in set(sys.modules) - before if name.partition(".")[0] == package]
        _watch(error, files + [_file_of(sys.modules[name]) for name in own])
        for name in own:
            del sys.modules[name]
        importlib.invalidate_caches()
        raise


def load_script(path, attribute):
    """The callable called attribute of the script file at path, run as a module of its own.

    Raises as load_module does. No bytecode is cached: app.py and app.wsgi would share one file.
    """
    name = "_fcgihost_%s_%08x" % (os.path.splitext(os.path.basename(path))[0], zlib.crc32(os.fsencode(path)))
    module = types.ModuleType(name)
    module.__file__ = path
    before = set(sys.modules)
    sys.modules[name] = module
    try:
        with open(path, "rb") as file:
            source = file.read()
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
        try:
            application = getattr(module, attribute)
        except AttributeError:
            raise AttributeError(
                "%s defines no %r: name its WSGI callable so, or set [application] callable" % (path, attribute)
            ) from None
        return _check_callable(application, "%s: %s" % (path, attribute))
    except BaseException as error:
        folder = os.path.dirname(path)
        own = [name for name in set(sys.modules) - before if _is_below(folder, sys.modules[name])]
        _watch(error, [path, *(_file_of(sys.modules[other]) for other in own)])
        for other in own:
            del sys.modules[other]
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        raise


def has_changed():
    """Has a file that the last failed load touched changed since?"""
    return any(_state(file) != state for file, state in _watched.items())


def _check_callable(application, target):
    if not callable(application):
        raise TypeError("%s is no callable but %s" % (target, type(application).__name__))
    return application


def _file_of(module):
    """The file that the module was loaded from, or None: also where a module makes fun of us."""
    file = getattr(module, "__dict__", {}).get("__file__")
    return file if isinstance(file, str) else None


def _is_below(folder, module):
    """Is it the application's own, rather than an extension or a package that was installed there?"""
    file = _file_of(module)
    if file is None or not file.endswith(".py"):
        return False
    parts = os.path.relpath(file, folder).split(os.sep)
    return not {os.pardir, "site-packages", "dist-packages"}.intersection(parts)


def _state(file):
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _watch(error, files):
    """Notes the files that the failure came from: those of its traceback, and of its causes."""
    files = set(files)
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        files.update(frame.filename for frame in traceback.extract_tb(error.__traceback__))
        if isinstance(error, SyntaxError) and error.filename:
            files.add(error.filename)
        if isinstance(error, ImportError) and error.path:
            files.add(error.path)
        error = error.__cause__ or error.__context__
    _watched.clear()
    _watched.update((file, _state(file)) for file in files if file and not file.startswith("<"))
