"""Loads applications: a callable of a module, or of a script file. A load that fails leaves nothing behind."""

import os
import sys

try:
    import _fcgihost as _host
except ImportError:
    _host = None  # outside the host


class Watch:
    """The files that a failure came from."""

    def __init__(self):
        self._states = {}  # file -> its state when the load failed

    def has_changed(self):
        """Has a file that the last failed load touched changed since?"""
        return any(_state(file) != state for file, state in self._states.items())

    def state(self):
        """What resume() wants to know, of objects that the marshal module takes."""
        return self._states

    def resume(self, state):
        """Goes on where another process's Watch was."""
        self._states = state

    def note(self, error, files=()):
        """Notes the files of the failure's traceback, of its causes, and these."""
        files = set(files)
        seen = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            step = error.__traceback__
            while step:
                files.add(step.tb_frame.f_code.co_filename)
                step = step.tb_next
            if isinstance(error, SyntaxError) and error.filename:
                files.add(error.filename)
            if isinstance(error, ImportError) and error.path:
                files.add(error.path)
            error = error.__cause__ or error.__context__
        self._states = {file: _state(file) for file in files if file and not file.startswith("<")}


def load_import(target, watch=None):
    """What "package.module" names, imported; of "package.module:function", the function's result.

    Raises what the import or the function raises, and leaves no module of the target's own package that it added.
    watch: notes the files that a failure came from.
    """
    module_name, _, function = target.partition(":")
    with _own_modules(module_name, watch) as files:
        module = _import(module_name)
        files.append(_file_of(module))
        return _check_callable(_attribute(module, function), target)() if function else module


def load_module(target, watch=None):
    """The callable that "package.module:callable" names; "callable" may have dots.

    Raises what the import raises, AttributeError if the module has no such name, TypeError if it can't be called.
    Modules of the target's own top-level package that a failed import added to sys.modules are dropped, so
    that the next attempt starts anew. watch: notes the files that a failure came from.
    """
    module_name, _, attribute = target.partition(":")
    with _own_modules(module_name, watch) as files:
        module = _import(module_name)
        files.append(_file_of(module))
        return _check_callable(_attribute(module, attribute), target)


def load_script(path, attribute, watch=None, source=None):
    """The callable called attribute of the script file at path, run as a module of its own.

    Raises as load_module does. No bytecode is cached: app.py and app.wsgi would share one file. source: what the
    file contains, if it has been read already.
    """
    module = _make_script_module(path)
    name = module.__name__
    before = set(sys.modules)
    sys.modules[name] = module
    try:
        if source is None:
            with open(path, "rb") as file:
                source = file.read()
        exec(_compile(source, path), module.__dict__)
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
        if watch is not None:
            watch.note(error, [path, *(_file_of(sys.modules[other]) for other in own)])
        for other in own:
            del sys.modules[other]
        sys.modules.pop(name, None)
        _forget_folders()
        raise


def _make_script_module(path):
    """An empty module that knows where it comes from, as imported ones do: pkgutil.get_data, importlib.resources and
    jinja2's PackageLoader find the files beside it by its __spec__. Its name has no dot, which would make it part of a
    package: pickle imports by the name.
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    name = "_fcgihost_%s_%08x" % ("".join(c if c.isalnum() else "_" for c in stem), checksum(os.fsencode(path)))
    module = type(sys)(name)
    module.__file__ = path
    # importlib's own modules, which are there before any import.
    module.__loader__ = sys.modules["_frozen_importlib_external"].SourceFileLoader(name, path)
    module.__spec__ = sys.modules["_frozen_importlib"].ModuleSpec(name, module.__loader__, origin=path)
    module.__spec__.has_location = True
    module.__package__ = ""
    return module


def checksum(data):
    """32 bits of bytes (FNV-1a), the same in each process. zlib's would take its library into the process for this."""
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 & 0xffffffff
    return value


class _own_modules:
    """A context that drops, if its body raises, the modules of the module's top-level package that the body added."""

    def __init__(self, module_name, watch):
        self._package = module_name.partition(".")[0]
        self._watch = watch

    def __enter__(self):
        self._before = set(sys.modules)
        self._files = []
        return self._files

    def __exit__(self, kind, error, traceback):
        if kind is None:
            return
        own = [name for name in set(sys.modules) - self._before if name.partition(".")[0] == self._package]
        if self._watch is not None:
            self._watch.note(error, self._files + [_file_of(sys.modules[name]) for name in own])
        for name in own:
            del sys.modules[name]
        _forget_folders()


def _compile(source, path):
    if isinstance(source, bytes) and b"\0" not in source and hasattr(_host, "compile"):
        return _host.compile(source, path)
    return compile(source, path, "exec", dont_inherit=True)


def _import(name):
    """importlib.import_module(name), without the import of importlib."""
    __import__(name)
    return sys.modules[name]


def _forget_folders():
    """The next import looks anew at what the folders contain.

    As importlib.invalidate_caches does it, which from Python 3.13 on takes importlib.metadata and 40 modules with it
    into the process, in a tenth of a second, for a cache that without them is not there.
    """
    if "importlib.metadata" in sys.modules:
        import importlib

        importlib.invalidate_caches()
        return
    import _frozen_importlib_external as external

    for finder in sys.meta_path:
        if finder is not external.PathFinder and hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()
    for folder, finder in list(sys.path_importer_cache.items()):
        if finder is None or not os.path.isabs(folder):
            sys.path_importer_cache.pop(folder, None)
        elif hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()
    if hasattr(external._NamespacePath, "_epoch"):  # from 3.11 on; before, these packages are not looked at anew
        external._NamespacePath._epoch += 1


def _attribute(thing, path):
    for part in path.split("."):
        thing = getattr(thing, part)
    return thing


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
