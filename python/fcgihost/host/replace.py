"""[reload] mode = process: the process is replaced when a source file that it has loaded changes.

A trial process (fcgihost --check) loads everything first: the imports, the applications, and all modules of the
application's that this process has imported since, as Django does with views at the first request. Only if that works
the manager is asked to replace all workers; without a manager the process executes its program anew, and hands its
connections over.
"""

import glob
import os
import sys
import time

from fcgihost import generations
from fcgihost.host import files, loader

_PACKAGE = os.path.dirname(generations.__file__)
_SLOW_SECONDS = 30.0


def record_imports():
    """From now on notes what source files are when Python imports them, or when they are read as scripts. Returns path ->
    state.

    A file that changes right after its import, before anybody has looked at it, has changed.
    """
    source_loader = sys.modules["_frozen_importlib_external"].SourceFileLoader
    states, path_stats = {}, source_loader.path_stats

    def noting_path_stats(self, path):
        states.update(files.states([path]))
        return path_stats(self, path)
    source_loader.path_stats = noting_path_stats
    generations.states_read = states
    return states


class Replacer:
    """Looks at the files of all modules. host: log(level, event, text), claim(mark) -> False if another worker tries the same
    change, start_check(names) -> process id, reap(process id) -> exit code or None, kill(process id), note_failure(text),
    for the status, and reload(mark, why): replaces the process, or all workers.

    All methods: main thread.
    """

    def __init__(self, host, settings, get_states=files.states, clock=time.monotonic, modules=None,
                 imported=()):
        """settings: reload.Settings. modules: name -> module; None: those that are imported. imported: path -> state of
        a file when it was imported, as record_imports() returns it."""
        self._host = host
        self._settings = settings
        self._get_states = get_states
        self._look = files.Look(get_states)
        self._clock = clock
        self._next = clock()      # the first look says what the files are now
        self._modules = sys.modules if modules is None else modules
        self._imported = imported
        self._known = None        # path -> the state that has been dealt with
        self._globs = settings.watch
        self._matched = set()     # what they have found
        self._is_wide = False     # they include what lies beside the modules
        self._trial = None        # process id
        self._trial_began = 0.0
        self._is_told = False     # that it is slow
        self._why = self._mark = ""
        self._is_over = False

    def tend(self):
        """Does what is due. Returns the seconds until something will be, or None."""
        if self._is_over:
            return None
        now = self._clock()
        if self._trial is not None:
            self._look_at_trial(now)
        if now >= self._next and not self._is_over:
            self._next = now + self._settings.interval
            self._look_at_files()
        return None if self._is_over else max(self._next - self._clock(), 0.0)

    def stop(self):
        """The process stops: ends the trial."""
        self._is_over = True
        self._end_trial()

    def _module_files(self):
        paths = set()
        for module in list(self._modules.values()):
            file = getattr(module, "__dict__", {}).get("__file__")
            if isinstance(file, str) and os.path.isabs(file) and not file.endswith((".so", ".pyc")):
                paths.add(file)
        return paths

    def _own_modules(self):
        """What the trial has to import besides: names, and the paths of what import_module() and scripts are."""
        names = []
        for name, module in list(self._modules.items()):
            file = getattr(module, "__dict__", {}).get("__file__")
            if not isinstance(file, str) or not file.endswith((".py", ".wsgi")) or not os.path.isfile(file) or \
                    generations.is_installed(file) or os.path.dirname(file).startswith(_PACKAGE):
                continue
            if name.startswith("fcgihost.loaded."):
                names.append(file)
            elif not name.startswith("__"):
                names.append(name)
        return names

    def _look_at_files(self):
        loaded, matched = self._module_files(), files.find(self._globs)
        if self._known is None:
            self._matched = matched
            self._known = {}
            self._note_loaded(loaded | matched)
            return
        # What a glob finds for the first time was not there before.
        self._note_loaded(loaded - self._known.keys() - (matched - self._matched))
        for path in matched - self._matched:
            self._known.setdefault(path, None)
        self._matched |= matched
        settled, changing = self._look.changed(self._known)
        if settled and not changing:
            self._known.update(settled)
            self._act(settled)

    def _note_loaded(self, paths):
        self._known.update({path: self._imported[path] if path in self._imported else state
                            for path, state in self._get_states(paths).items()})

    def _act(self, changed):
        paths = sorted(changed)
        self._why = "%s%s changed" % (paths[0], " and %d more have" % (len(paths) - 1) if paths[1:] else " has")
        self._widen()
        self._mark = "%08x" % loader.checksum(repr(sorted(changed.items())).encode("utf-8", "surrogateescape"))
        files.forget_stale_bytecode(changed)
        self._end_trial()
        if not self._host.claim(self._mark):
            return
        try:
            self._trial = self._host.start_check(self._own_modules())
        except OSError as error:
            self._host.log("error", "reload-trial-not-started",
                           "[reload] %s, but no process could be started to try it: %s" % (self._why, error))
            return
        self._trial_began, self._is_told = self._clock(), False
        self._host.log("info", "reload-trial-begins",
                       "[reload] %s: process %d tries whether it can be loaded" % (self._why, self._trial))

    def _widen(self):
        """If the changed code can't be loaded, that may be for a file that this process has not loaded, or for one that
        is not there yet."""
        if self._is_wide:
            return
        self._is_wide = True
        folders = {os.path.dirname(path) for path in self._module_files() if not generations.is_installed(path)}
        self._globs = [*self._globs, *(os.path.join(glob.escape(folder), *below) for folder in folders
                                       for below in (("*.py",), ("*", "*.py")))]
        self._matched = files.find(self._globs)
        self._known.update(self._get_states(self._matched - self._known.keys()))

    def _look_at_trial(self, now):
        code = self._host.reap(self._trial)
        if code is None:
            if not self._is_told and now >= self._trial_began + _SLOW_SECONDS:
                self._is_told = True
                self._host.log("warning", "reload-trial-slow",
                               "[reload] process %d has tried to load the changed code for %.0f s: it hangs, or "
                               "is slow; this one goes on serving" % (self._trial, now - self._trial_began))
            return
        self._trial = None
        if code != 0:
            self._host.note_failure("%s, but can't be loaded: the log says why" % self._why)
            self._host.log("error", "reload-trial-failed",
                           "[reload] %s, but can't be loaded (exit code %d): this process goes on serving what it "
                           "has; it is tried again when a file changes" % (self._why, code))
            return
        if self._get_states(self._known) != self._known:
            return  # what was tried is no longer what is there: that is tried first
        self._host.log("info", "reload-trial-done",
                       "[reload] %s, and could be loaded in %.1f s" % (self._why, now - self._trial_began))
        self._host.reload(self._mark, self._why)

    def _end_trial(self):
        trial, self._trial = self._trial, None
        if trial is not None:
            self._host.kill(trial)
