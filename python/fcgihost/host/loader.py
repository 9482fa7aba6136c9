"""Loads applications: a callable of a module, or of a script file. A load that fails leaves nothing behind."""

import os
import sys

from fcgihost.host import files


class Watch:
    """The files that a failure came from."""

    def __init__(self):
        self._states = {}  # file -> its state when the load failed

    def has_changed(self):
        """Has a file that the last failed load touched changed since?"""
        now = files.states(self._states)
        changed = {file: state for file, state in now.items() if state != self._states[file]}
        files.forget_stale_bytecode(changed)
        return bool(changed)

    def state(self):
        """What resume() wants to know, of objects that the marshal module takes."""
        return self._states

    def resume(self, state):
        """Continues from the state of another process's Watch."""
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


def load_script(path, attribute, watch=None, read=None, role="script"):
    """The generations.Unit of the script file at path, in the current generation; its application is the callable that
    the file calls attribute.

    Raises as load_module does. read(unit, generation) returns the file's content; None: as it is. role: who loads it;
    another one has a unit of its own.
    """
    from fcgihost import generations  # not for those who have no script

    store = generations.store()
    return store.load(store.enter(), path, script_runner(attribute, watch or Watch(), read), (role, attribute))


def script_runner(attribute, watch, read=None):
    """What fills the module of a script's unit, for Store.load(): as load_script() says."""
    from fcgihost import generations

    def run(unit, generation):
        before = set(sys.modules)
        try:
            source = unit.read(generation) if read is None else read(unit, generation)
            exec(generations.compile_source(source, unit.path), unit.module.__dict__)
            unit.application = _check_callable(
                _script_attribute(unit, attribute), "%s: %s" % (unit.path, attribute))
        except generations.Changing:
            raise
        except BaseException as error:
            own = [] if generation.is_private else _own_of_script(unit.path, before)
            watch.note(error, [unit.path, *(_file_of(sys.modules[name]) for name in own)])
            for name in own:
                del sys.modules[name]
            _forget_folders()
            raise
    return run


def _script_attribute(unit, attribute):
    try:
        return getattr(unit.module, attribute)
    except AttributeError:
        raise AttributeError(
            "%s defines no %r: name its WSGI callable so, or set [application] callable" % (unit.path, attribute)
        ) from None


def _own_of_script(path, before):
    """The ordinary modules below the script's folder that have been imported since sys.modules was before."""
    folder = os.path.dirname(path)
    return [name for name in set(sys.modules) - before
            if not name.startswith("fcgihost.loaded.") and _is_below(folder, sys.modules[name])]


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
        raise TypeError("%s is not callable, it is %s" % (target, type(application).__name__))
    return application


def _file_of(module):
    """The file that the module was loaded from, or None, whatever the module has made of its attributes."""
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
    return files.states([file])[file]
