"""[reload] mode = script: looks whether files have changed, and loads what depends on them into a new generation.

The main thread looks, and runs cleanups. Each load has a thread of its own, so that one that hangs delays nobody.
"""

import gc
import os
import sys
import time

from fcgihost import cleanup, errors, generations
from fcgihost.host import files, loader

_SLOW_SECONDS = 30.0


class Settings:
    """The settings of [reload]. interval: seconds. watch: globs. is_on: False looks at nothing."""

    def __init__(self, is_on=True, interval=1.0, watch=()):
        self.is_on = is_on
        self.interval = interval
        self.watch = tuple(watch)


class _Load:
    """A load that is going on, or has failed."""

    def __init__(self, keys, why, began):
        self.keys = keys         # of the units that it replaces
        self.why = why
        self.began = began       # on the clock
        self.thread = None       # its identifier
        self.is_told = False     # that it is slow
        self.files = {}          # path -> state: what a failure came from


class Reloader:
    """Keeps a generations.Store up to date.

    host: log(level, event, text), format_exception(exception), start_thread(function), log_cleanup(name, exception),
    begin_cleanup(name), end_cleanups(); in the thread of a load end_load(exception or None) and note(keys, exception or
    None), for the status; and wake(): tend() is to be called soon; in any thread, takes no lock.
    """

    def __init__(self, store, host, settings, get_states=files.states, clock=time.monotonic):
        self._store = store
        self._host = host
        self._settings = settings
        self._get_states = get_states
        self._look = files.Look(get_states)
        self._clock = clock
        self._next = clock() + settings.interval
        self._known = {}        # path -> the state that has been dealt with, where it is not what was loaded
        self._watched = None    # paths: what [reload] watch has found
        self._loads = []        # _Loads that are going on
        self._failures = []     # _Loads that failed
        self._cleanups = []     # lists of scopes, of loads that failed
        self._is_finished = False
        store.on_end = host.wake

    def tend(self):
        """Main thread. Does what is due. Returns the seconds until something will be, or None."""
        self._run_cleanups()
        if not self._settings.is_on:
            return None
        now = self._clock()
        self._tell_slow(now)
        if now >= self._next:
            self._next = now + self._settings.interval
            self._look_at_files()
        return max(self._next - self._clock(), 0.0)

    def finish(self):
        """Main thread, before the cleanups of the process: tend() is not called any more. What loads have left is cleaned
        up, and those that are still going on do so themselves."""
        self._is_finished = True
        self._run_abandoned(self._host.begin_cleanup)

    def _run_cleanups(self):
        retired = self._store.retire()
        is_any = bool(retired or self._cleanups)
        for number, scopes in retired:
            count = cleanup.run_together(scopes, self._host.log_cleanup, self._host.begin_cleanup)
            self._host.log("debug" if not scopes else "info", "generation-ended",
                           "generation %d has served its last request: %s" % (
                number, "%d cleanup%s ran" % (count, "" if count == 1 else "s") if scopes else "all of its modules are still in use"))
        self._run_abandoned(self._host.begin_cleanup)
        if any(scopes for _, scopes in retired):
            gc.collect()  # modules are always cycles; Python would get to these, which are old, in hours
        if is_any:
            self._host.end_cleanups()

    def _run_abandoned(self, on_start=None):
        while True:
            try:
                scopes = self._cleanups.pop(0)
            except IndexError:
                return
            cleanup.run_together(scopes, self._host.log_cleanup, on_start)

    def _tell_slow(self, now):
        for load in list(self._loads):
            if load.is_told or now < load.began + _SLOW_SECONDS:
                continue
            load.is_told = True
            frame = sys._current_frames().get(load.thread)
            stack = "\n" + errors.format_stack(frame).rstrip("\n") if frame is not None else ""
            self._host.log("warning", "script-reload-slow",
                           "%s: its load has been running for %.0f s: it hangs, or is slow; requests get what "
                           "was loaded before%s" % (_names(load.keys), now - load.began, stack))

    def _look_at_files(self):
        units = dict(self._store.current.units)
        settled, changing = self._look.changed(self._known_states(units))
        busy = {key for load in self._loads for key in load.keys}
        if not settled or (busy and settled.keys() & self._watched):
            return
        for keys in _components(units):
            paths = {key[0] for key in keys} | self._watched | self._failed_files(keys)
            changed = {path: state for path, state in settled.items() if path in paths}
            if changed and not busy & keys and not changing & paths:
                self._act(units, keys, changed)

    def _known_states(self, units):
        """path -> the state that has been dealt with, of all files that count."""
        known = {unit.path: unit.state for unit in units.values()}
        for load in self._failures:
            known = {**load.files, **known}
        found = files.find(self._settings.watch)
        if self._watched is None:  # the first look
            self._watched = found
            if found:
                self._known.update(self._get_states(found - known.keys()))
        self._watched |= found
        for path in self._watched:
            known.setdefault(path, None)
        self._known = {path: state for path, state in self._known.items() if path in known}
        return {**known, **self._known}

    def _failed_files(self, keys):
        return {path for load in self._failures if load.keys & keys for path in load.files}

    def _act(self, units, keys, changed):
        """Some files that units of keys, a component, depend on have changed."""
        self._known.update(changed)
        for path in sorted(path for path, state in changed.items() if state is None):
            keys = keys - self._forget_gone(keys, path)
        if any(state is not None for state in changed.values()) and keys:
            states = {key[0]: self._known.get(key[0], units[key].state) for key in keys}
            self._start(_dependents(units, changed.keys() | self._outdated(units, keys), keys), _why(changed), states)

    def _outdated(self, units, keys):
        """The paths of units that a load that failed was to replace: their files are not what has been loaded."""
        return {key[0] for key in keys if self._known.get(key[0]) not in (None, units[key].state)}

    def _forget_gone(self, keys, path):
        """Returns the keys of what is not served any more, as its file has gone."""
        forgotten = {key for key in keys if key[0] == path and key[1] is not None and key[1][0] == "script_root"}
        for key in forgotten:
            self._store.forget(key)
        self._host.log("warning", "script-gone", "%s has gone: %s" % (
            path, "its requests get 404" if forgotten else "what was loaded from it goes on serving"))
        return forgotten

    def _start(self, keys, why, states):
        load = _Load(frozenset(keys), why, self._clock())
        self._loads.append(load)
        self._host.start_thread(lambda: self._run(load, states))

    def _run(self, load, states):
        """The thread of a load."""
        import threading

        load.thread = threading.get_ident()
        try:
            self._try(load, states)
        finally:
            self._loads.remove(load)
            self._host.wake()

    def _try(self, load, states):
        store = self._store
        before = store.current
        generation = store.begin_build(load.keys, states)
        failure = None
        try:
            store.build(generation, [unit for key, unit in before.units.items() if key in load.keys])
        except BaseException as error:
            failure = error
        self._host.end_load(failure)
        if failure is None:
            self._succeed(load, generation, states)
        elif isinstance(failure, generations.Changing):
            self._abandon(generation)
            self._take_back(states)
            self._host.log("debug", "script-being-written",
                           "%s is still being written: it is loaded once that has ended" % failure)
        elif isinstance(failure, cleanup.TooLate):
            self._abandon(generation)  # the process has ended meanwhile
        else:
            self._fail(load, generation, failure, before.number)

    def _succeed(self, load, generation, states):
        before = self._store.publish(generation, load.keys)
        if before is None:
            self._abandon(generation)
            self._take_back(states)
            return
        self._failures[:] = [failure for failure in self._failures if not failure.keys & load.keys]
        for key in load.keys:
            self._known.pop(key[0], None)
        self._host.note(load.keys, None)
        self._host.log("info", "script-reloaded", "%s: loaded anew as generation %d in %.3f s, because %s" % (
            _names(load.keys), generation.number, self._clock() - load.began, load.why))

    def _fail(self, load, generation, error, before):
        watch = loader.Watch()
        watch.note(error)
        load.files = {**watch.state(), **{unit.path: unit.state for unit in generation.attempted}}
        self._failures[:] = [failure for failure in self._failures if not failure.keys & load.keys] + [load]
        self._host.note(load.keys, error)
        self._host.log("error", "script-reload-failed",
                       "%s can't be loaded anew, though %s: generation %d goes on serving; it is tried again "
                       "when a file of it changes\n%s" % (
                           _names(load.keys), load.why, before, self._host.format_exception(error)))
        self._abandon(generation)

    def _abandon(self, generation):
        """The thread of a load. Its cleanups are left to the main thread, unless that runs no more of them."""
        self._cleanups.append(self._store.abandon(generation))
        if self._is_finished:
            self._run_abandoned()

    def _take_back(self, states):
        """What has changed is to be found again."""
        for path in states:
            self._known.pop(path, None)


def _components(units):
    """The sets of the keys of units that depend on each other, directly or not."""
    neighbours = {key: set() for key in units}
    for key, unit in units.items():
        for other in (*unit.bound, *unit.imports):
            if other in neighbours:
                neighbours[key].add(other)
                neighbours[other].add(key)
    # What two scripts are loaded from is one file.
    by_path = {}
    for key in units:
        first = by_path.setdefault(key[0], key)
        neighbours[first].add(key)
        neighbours[key].add(first)
    components = []
    left = set(units)
    while left:
        component, waiting = set(), [left.pop()]
        while waiting:
            key = waiting.pop()
            component.add(key)
            waiting.extend(neighbours[key] - component)
        left -= component
        components.append(component)
    return components


def _dependents(units, paths, keys):
    """Those of keys whose files are among paths, and what depends on them; all, if a file is no unit's own."""
    affected = {key for key in keys if key[0] in paths}
    if not affected or paths - {key[0] for key in affected}:
        return set(keys)
    while True:
        more = {key for key in keys - affected
                if affected & {*units[key].bound, *units[key].imports}}
        if not more:
            return affected
        affected |= more


def _names(keys):
    scripts = {key[0] for key in keys if key[1] is not None}
    paths = sorted({key[0] for key in keys}, key=lambda path: (path not in scripts, path))
    return "script %s%s" % (paths[0], " and %d more" % (len(paths) - 1) if paths[1:] else "")


def _why(changed):
    paths = sorted(changed)
    more = " and %d more" % (len(paths) - 1) if paths[1:] else ""
    return "%s%s %s" % (paths[0], more, "have changed" if paths[1:] else "has changed")
