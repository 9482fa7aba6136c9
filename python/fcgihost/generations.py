"""Generations of code: scripts, and what they load with import_module(), loaded anew beside what is being served.

A unit is one load of one file, as a module of its own. A generation is a set of units, one for a key: the file's path
and its role, None for a module, what the script belongs to for a script (so that none runs unchecked). A request keeps
the generation that was the current one when it began. A changed file and all units that depend on it are loaded into a
new generation, which shares the other units with the one before, and becomes the current one by one assignment. Once
nobody keeps a generation any more, the units that only it had are discarded: their cleanups run.
"""

import itertools
import os
import sys
from _thread import RLock, allocate_lock, get_ident, _local as Local  # threading, which exports them, is slow to import

from fcgihost import cleanup, errors, loaded, runtime

try:
    import _fcgihost as _host
except ImportError:
    _host = None  # outside the host

_FOLDER = os.path.dirname(__file__) + os.sep
_SUFFIXES = (".py", ".wsgi")
states_read = None  # path -> its state when it was last read; None: nobody wants to know
_local = Local()  # .units: what this thread is loading, innermost last


class _Spec(sys.modules["_frozen_importlib"].ModuleSpec):
    parent = ""  # a script is no part of a package, whatever its name looks like


class Changing(Exception):
    """A file is no longer what it was when its generation's load began: somebody is writing it."""


class Unit:
    """One load of one file. Its module is in sys.modules until it is discarded."""

    def __init__(self, path, role, run, number):
        self.path = path
        self.key = path, role
        self.run = run            # run(unit, generation) fills the module; the next load of the file calls it too
        self.number = number      # units that were begun later have higher ones
        self.module = make_module(path, number)
        self.names = [self.module.__name__]  # in sys.modules
        self.scope = cleanup.Scope("script " + path, self.module.__name__)
        self.state = None         # of the file, as file_state() returns it, when it was read
        self.application = None   # the callable that a script defines
        self.bound = {}           # key -> Unit: what it imported while it was loaded
        self.imports = set()      # keys: that, and what it has imported since
        self.made_in = None       # the Generation that it was loaded for, while that is private
        self.cancel = None        # cancels that its cleanups run at the process's end

    def __repr__(self):
        return "<fcgihost load %d of %s>" % (self.number, self.path)

    @property
    def is_script(self):
        """Does it define an application?"""
        return self.key[1] is not None

    def read(self, generation):
        """The file's content, bytes. Raises OSError, or Changing."""
        with open(self.path, "rb") as file:
            self.note_state(generation, os.fstat(file.fileno()))
            return file.read()

    def note_state(self, generation, status):
        """Takes the state of the file that has been opened. Raises Changing if it is not the expected one."""
        self.state = file_state(status)
        if states_read is not None:
            states_read[self.path] = self.state
        if generation.expected.get(self.path, self.state) != self.state:
            raise Changing(self.path)


class Generation:
    """Units that belong together. number: 0 for what is outside of all generations; None while it is being loaded."""

    def __init__(self, number, units=()):
        self.number = number
        self.units = dict(units)  # key -> Unit
        self.found = {}           # (key of the importing unit or None, name) -> module
        self.loads = {}           # key -> _Load: what is being loaded into it
        self.expected = {}        # path -> state: what the files have to be
        self.attempted = []       # Units whose load has begun, while it is private
        self.failed = []          # scopes of what could not be loaded, while it is private

    def __repr__(self):
        return "<fcgihost generation %s: %d files>" % (self.number, len(self.units))

    @property
    def is_private(self):
        """Is it being loaded, so that no request has it yet?"""
        return self.number is None


class Hold:
    """What keeps a generation alive: the store has one of the current generation, and each request one of its own."""

    __slots__ = ("generation", "_store", "__weakref__")

    def __init__(self, generation, store):
        self.generation = generation
        self._store = store

    def __del__(self):
        # In any thread, whatever it is doing: it takes no lock.
        self._store.note_end(self.generation.number)


class _Load:
    """The load of a file that is going on. done: a lock that is released when it is over."""

    __slots__ = ("thread", "done")

    def __init__(self):
        self.thread = get_ident()
        self.done = allocate_lock()
        self.done.acquire()


class Store:
    """The living generations of this process. Any thread may call any method, but for retire()."""

    def __init__(self):
        self._mutex = RLock()      # guards what follows, and the dicts of the generations
        self._numbers = itertools.count(1)
        self._living = {}          # number -> Generation
        self._names = {}           # module's name -> Unit
        self._waits = {}           # thread -> the _Load that it waits for
        self._ended = []           # numbers of generations that nobody holds any more
        self.on_switch = None      # on_switch(hold): called with each new current generation, with the mutex
        self.on_end = None         # on_end(): called when retire() has something to do; in any thread, takes no lock
        self.outside = Generation(0)
        self.hold = None
        self._make_current(Generation(1))

    @property
    def current(self):
        """The generation that requests begin with."""
        return self.hold.generation

    def enter(self):
        """The generation of the request that this thread serves, from now to its end. Without one: the current one."""
        hold = runtime.held()
        if hold is None:
            hold = self.hold
            runtime.keep(hold)
        return hold.generation

    def load(self, generation, path, run, role=None):
        """The unit of path and role in generation. If there is none yet, one thread makes it with run(unit, generation),
        and others wait for it. Raises what run raises, after the cleanups that it registered; ImportError in a circle."""
        key = path, role
        while True:
            unit = generation.units.get(key)
            if unit is not None:
                return unit
            load, is_mine = self._begin(generation, key)
            if is_mine:
                try:
                    unit = generation.units.get(key)  # somebody else may have been faster
                    return unit if unit is not None else self._make(generation, path, role, run)
                finally:
                    with self._mutex:
                        generation.loads.pop(key, None)
                    load.done.release()
            try:
                runtime.wait(load.done)
                load.done.release()
            finally:
                with self._mutex:
                    self._waits.pop(get_ident(), None)

    def begin_build(self, keys, expected):
        """A private generation like the current one, without the units of keys. expected: path -> its state."""
        with self._mutex:
            generation = Generation(None, _without(self.current.units, keys))
        generation.expected = expected
        return generation

    def build(self, generation, units):
        """Loads into a private generation what these units of an older one stand for. Raises what a load raises.

        What they have only imported while they were loaded comes by itself if it is still wanted; what they asked for
        later is loaded now, so that no request meets it broken.
        """
        bound = {key for unit in units for key in unit.bound}
        for unit in sorted(units, key=lambda unit: (not unit.is_script, unit.number)):
            if unit.is_script or (unit.key not in bound and os.path.exists(unit.path)):
                self.load(generation, unit.path, unit.run, unit.key[1])

    def publish(self, generation, keys):
        """Makes a private generation the current one, in which it replaces keys. Returns the Hold of the one before, or
        None if what others have loaded meanwhile does not go with it: then it has to be built again."""
        with self._mutex:
            units = _without(self.current.units, keys)
            fresh = {key: unit for key, unit in generation.units.items() if unit.made_in is generation}
            if units.keys() & fresh.keys():
                return None
            units.update(fresh)
            if not _drop_stale(units):
                return None
            generation.units = units
            generation.expected, generation.attempted = {}, []
            before = self._make_current(generation)
            for unit in fresh.values():
                unit.made_in = None
        return before

    def abandon(self, generation):
        """Discards what was loaded for a private generation. Returns the scopes whose cleanups have to run."""
        units = [unit for unit in generation.units.values() if unit.made_in is generation]
        return [*generation.failed, *self._discard(units)]

    def forget(self, key):
        """The file has gone: the next generation does without it."""
        with self._mutex:
            if key not in self.current.units:
                return
            units = _without(self.current.units, [key])
            _drop_stale(units)
            before = self._make_current(Generation(None, units))
        del before  # without the mutex: it may be the last reference

    def with_current(self, function):
        """Calls function(hold) while no other generation can become the current one."""
        with self._mutex:
            return function(self.hold)

    def note_end(self, number):
        """Nobody holds the generation of that number any more."""
        self._ended.append(number)
        if self.on_end is not None:
            self.on_end()

    def retire(self):
        """Lets go of the generations that have ended. Returns [(number, scopes whose cleanups have to run)].

        One thread calls it, which then runs the cleanups.
        """
        retired = []
        while self._ended:
            number = self._ended.pop(0)
            with self._mutex:
                generation = self._living.pop(number, None)
                if generation is None:
                    continue
                alive = {id(unit) for other in self._living.values() for unit in other.units.values()}
                dead = [unit for unit in generation.units.values() if id(unit) not in alive]
            retired.append((number, self._discard(dead)))
        return retired

    def find(self, name):
        """The unit whose module has that name, or None."""
        return self._names.get(name)

    def living(self):
        """The numbers of the generations that requests have, or can have."""
        with self._mutex:
            return sorted(self._living)

    def generation_of(self, unit):
        """The newest generation that has the unit; if none has it, the current one."""
        with self._mutex:
            if unit.made_in is not None:
                return unit.made_in
            for number in sorted(self._living, reverse=True):
                if self._living[number].units.get(unit.key) is unit:
                    return self._living[number]
            return self.outside if self.outside.units.get(unit.key) is unit else self.current

    def add_name(self, unit, name):
        """From now on the unit's module is imported by that name too."""
        with self._mutex:
            unit.names.append(name)

    def _make_current(self, generation):
        """With the mutex. Returns the hold of the one before."""
        before = self.hold
        generation.number = before.generation.number + 1 if before is not None else 1
        self._living[generation.number] = generation
        hold = Hold(generation, self)
        if self.on_switch is not None:
            self.on_switch(hold)
        self.hold = hold
        return before

    def _begin(self, generation, key):
        """The _Load of key, and whether it is this thread's."""
        thread = get_ident()
        with self._mutex:
            load = generation.loads.get(key)
            if load is None:
                load = generation.loads[key] = _Load()
                return load, True
            other = load
            while other is not None:
                if other.thread == thread:
                    raise ImportError(_describe_circle(key), path=key[0])
                other = self._waits.get(other.thread)
            self._waits[thread] = load
            return load, False

    def _make(self, generation, path, role, run):
        unit = Unit(path, role, run, next(self._numbers))
        name = unit.names[0]
        if generation.is_private:
            unit.made_in = generation
            generation.attempted.append(unit)
        self._names[name] = unit
        sys.modules[name] = unit.module
        units = _local.__dict__.setdefault("units", [])
        units.append((unit, generation))
        try:
            with unit.scope.active():
                run(unit, generation)
            unit.cancel = cleanup.adopt_at_end(unit.scope)
            (cleanup.active_outside() or cleanup.process_scope).adopt(unit.scope.ordinary)
        except BaseException:
            self._fail(unit, generation)
            raise
        finally:
            units.pop()
        self._add(unit, generation)
        return unit

    def _fail(self, unit, generation):
        for asked in list(generation.found):
            if asked[0] == unit.key:  # the next load of the file is to be bound to it, too
                generation.found.pop(asked, None)
        scopes = [unit.scope.ordinary, *self._discard([unit])]
        outer = cleanup.active_outside()
        if generation.is_private:  # the ordinary modules stay, as what is being served may use them
            try:
                cleanup.process_scope.adopt(unit.scope.ordinary)
            except cleanup.TooLate:
                generation.failed.append(unit.scope.ordinary)
            generation.failed.append(unit.scope)
        elif outer is not None:  # an attempt, which runs them
            for scope in scopes:
                outer.adopt(scope)
        else:
            cleanup.run_together(
                scopes, lambda name, error: errors.report("cleanup %s of %s" % (name, unit.path), error))

    def _add(self, unit, generation):
        """Adds what was loaded to its generation; and to newer ones, if they have all that it is bound to."""
        with self._mutex:
            generation.units[unit.key] = unit
            if generation.is_private or generation is self.outside:
                return
            for other in self._living.values():
                if other.number > generation.number and unit.key not in other.units and all(
                        other.units.get(key) is bound for key, bound in unit.bound.items()):
                    other.units[unit.key] = unit

    def _discard(self, units):
        """Takes the units' modules out of sys.modules. Returns their scopes."""
        scopes = []
        for unit in units:
            with self._mutex:
                names, unit.names = unit.names, []
            for name in names:
                self._names.pop(name, None)
                sys.modules.pop(name, None)
                vars(loaded).pop(name.rpartition(".")[2], None)
            if unit.cancel is not None:
                unit.cancel()
            scopes.append(unit.scope)
        return scopes

    def _after_fork(self):
        self._mutex = RLock()
        self._waits.clear()
        for generation in (*self._living.values(), self.outside):
            generation.loads.clear()  # by threads that the child hasn't got
        self.on_switch = self.on_end = None


def _without(units, keys):
    return {key: unit for key, unit in units.items() if key not in keys}


def _drop_stale(units):
    """Takes out of units what is bound to units that are no longer among them. False if a script is."""
    while True:
        stale = [unit for unit in units.values()
                 if any(units.get(key) is not bound for key, bound in unit.bound.items())]
        if not stale:
            return True
        if any(unit.is_script for unit in stale):
            return False
        for unit in stale:
            del units[unit.key]


def _describe_circle(key):
    units = [unit for unit, _ in _local.__dict__.get("units", ())]
    keys = [unit.key for unit in units]
    chain = [unit.path for unit in units[keys.index(key) if key in keys else 0:]]
    return ("import_module() in a circle: %s: move what they need of each other into a module that imports none of them"
            % " -> ".join([*chain, key[0]]))


def import_module(name_or_path):
    """The module of that name, "shop" or "shop.cart", or at that path, "cart.py" or "/srv/cart.py" (str, os.PathLike).

    In a script, and in what a script imports so, it is a part of the script's generation: when its file changes, the
    host loads it and all that has imported it anew, and each request sees either the old modules or the new ones. A
    relative path is relative to the importing file's folder, where names are looked for first, then on sys.path.
    Elsewhere it imports once for the process, as importlib.import_module() does, and paths are relative to the current
    folder. What is installed (Python's own modules, site-packages), and extension modules, are imported so everywhere.

    Any thread may call it; each file is loaded by one thread, and others wait. Raises ImportError if there is no such
    module, or if modules import each other in a circle; else what the module raises.
    """
    name = os.fspath(name_or_path)
    if not isinstance(name, str) or not name:
        raise TypeError("import_module() takes a module's name or path, not %r" % (name_or_path,))
    generation, unit = _asker(sys._getframe(1))
    key = unit.key if unit is not None else None, name
    found = generation.found.get(key)
    if found is not None:
        return found
    path = _locate(name, os.path.dirname(unit.path) if unit is not None else None, generation)
    if path is None:
        return _import_ordinary(name)
    try:
        imported = store().load(generation, path, _run_module(name))
    except BaseException as error:
        if unit is not None:
            unit.imports.add((path, None))
        raise error.with_traceback(_without_own(error.__traceback__))
    if unit is not None:
        unit.imports.add(imported.key)
        if (unit, generation) in _local.__dict__.get("units", ()):
            unit.bound[imported.key] = imported
    generation.found[key] = imported.module
    return imported.module


def _without_own(traceback):
    """The traceback from its first frame that is no code of this package."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_FOLDER):
        traceback = traceback.tb_next
    return traceback


def store():
    """The process's Store, made when it is first needed."""
    global _store
    if _store is None:
        with _store_mutex:
            if _store is None:
                _store = Store()
                runtime.reset_in_child(_store)
    return _store


def alias(path, name):
    """The module that the name of a load that is gone means: that of path in this thread's generation."""
    loading = _local.__dict__.get("units")
    hold = runtime.held()
    generation = loading[-1][1] if loading else hold.generation if hold is not None else store().current
    candidates = [*generation.units.values(), *store().outside.units.values()]
    found = [unit for unit in candidates if unit.path == path]
    unit = min(found, key=lambda unit: not unit.is_script, default=None)
    if unit is None:  # in a process that a pool has started, say
        unit = store().load(store().outside, path, _run_module(path))
    store().add_name(unit, name)
    return unit.module


def make_module(path, number):
    """An empty module for the file at path, which knows where it comes from, as imported ones do: pkgutil.get_data,
    importlib.resources and jinja2's PackageLoader find the files beside it by its __spec__."""
    name = loaded.module_name(path, number)
    module = type(sys)(name)
    module.__file__ = path
    # importlib's own modules, which are there before any import.
    module.__loader__ = sys.modules["_frozen_importlib_external"].SourceFileLoader(name, path)
    module.__spec__ = _Spec(name, module.__loader__, origin=path)
    module.__spec__.has_location = True
    module.__package__ = ""
    return module


def compile_source(source, path):
    """The code of a file's content. No bytecode is cached: app.py and app.wsgi would share one file."""
    if isinstance(source, bytes) and b"\0" not in source and hasattr(_host, "compile"):
        return _host.compile(source, path)
    return compile(source, path, "exec", dont_inherit=True)


def file_state(status):
    """What changes when a file does, from what os.stat() returns."""
    return status.st_mtime_ns, status.st_size, status.st_ino


def _asker(frame):
    """The generation that code in frame belongs to, and the unit that it is part of, or None."""
    units = _local.__dict__.get("units")
    unit = _store.find(frame.f_globals.get("__name__")) if _store is not None else None
    if units:
        loading, generation = units[-1]
        return generation, unit if unit is not None else loading
    hold = runtime.held()
    if unit is not None:
        if hold is not None and hold.generation.units.get(unit.key) is unit:
            return hold.generation, unit
        return store().generation_of(unit), unit
    return (hold.generation if hold is not None else store().outside), None


def _locate(name, folder, generation):
    """The path of the file that import_module(name) loads; None: it is imported as usual."""
    if "/" in name or name.endswith(_SUFFIXES):
        return os.path.abspath(os.path.join(folder or os.getcwd(), name))
    if generation.number == 0 and folder is None:
        return None
    if name.partition(".")[0] in sys.builtin_module_names:
        return None
    spec = _find_spec(name, [folder, *sys.path] if folder else sys.path)
    origin = spec and spec.origin
    if spec is None or not spec.has_location or not origin.endswith(".py") or is_installed(origin):
        return None
    return os.path.abspath(origin)


def _find_spec(name, path):
    finder = sys.modules["_frozen_importlib_external"].PathFinder
    parts = name.split(".")
    spec = None
    for count in range(1, len(parts) + 1):
        if path is None:
            return None
        spec = finder.find_spec(".".join(parts[:count]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return spec


def is_installed(path):
    """Is the file Python's own, or in site-packages?"""
    if {"site-packages", "dist-packages"}.intersection(path.split("/")):
        return True
    return path.startswith(os.path.dirname(os.__file__) + "/")


def _import_ordinary(name):
    import importlib

    return importlib.import_module(name)


def _run_module(name):
    """What fills the module of a unit that is imported by name."""
    package = name.rpartition(".")[0] if "/" not in name and not name.endswith(_SUFFIXES) else ""

    def run(unit, generation):
        try:
            source = unit.read(generation)
        except OSError as error:
            raise ModuleNotFoundError("import_module(): %s can't be read: %s" % (unit.path, error.strerror),
                                      name=name, path=unit.path) from error
        unit.module.__package__ = package
        if unit.path.endswith("/__init__.py"):
            unit.module.__package__ = name
            unit.module.__path__ = [os.path.dirname(unit.path)]
        exec(compile_source(source, unit.path), unit.module.__dict__)
    return run


_store = None
_store_mutex = RLock()
