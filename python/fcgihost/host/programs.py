"""What an [application] section names, loaded: a callable for each of FastCGI's roles that it serves."""

import os
import sys

from fcgihost.host import loader, startup
from fcgihost.errors import ResourceUnavailable


class Script:
    """What a script file defines, in whatever generation."""

    def __init__(self, key):
        self.key = key  # of its generations.Unit

    def application(self, generation):
        """The WSGI callable of that generation."""
        return generation.units[self.key].application


def callables(programs, generation):
    """What a section's task results in, as callables of that generation."""
    responder = programs[0]
    if isinstance(responder, Script):
        return (responder.application(generation), *programs[1:])
    return programs


def is_among(programs, keys):
    """Does a section, that has generations, serve any of these generations.Units?"""
    if isinstance(programs[0], Script):
        return programs[0].key in keys
    return any(key[1] == programs[0].role for key in keys)


def has_generations(settings):
    """Does the section serve scripts? Then its requests keep the generation with which they begin."""
    return bool(settings["script"] or settings["script_root"])


def make_task(settings, retry_delay, is_whole=False):
    """The startup.Task that loads a section; its result is a tuple: the responder, the authorizer, the filter.

    settings: the section's keys. retry_delay: seconds, for the files of a script_root. What the section does not
    have is None; an authorizer alone also answers ordinary requests, as nginx's auth_request sends them. is_whole: what
    would be imported at the first request is imported now.
    """
    named = [settings[key] for key in ("script", "handler", "script_root", "wsgi", "authorizer", "filter")
             if settings[key]]
    return startup.Task("application " + named[0], lambda watch: _load(settings, retry_delay, watch, is_whole),
                        loader.Watch())


def _load(settings, retry_delay, watch, is_whole):
    authorizer = filter_ = None
    responder = _load_responder(settings, retry_delay, watch)
    if is_whole:
        try:
            _load_views()
        except BaseException as error:
            watch.note(error)
            raise
    if settings["authorizer"]:
        authorizer = _adapt("adapt_authorizer", settings["authorizer"], watch)
    if settings["filter"]:
        filter_ = _adapt("adapt_filter", settings["filter"], watch)
    return authorizer if responder is None else responder, authorizer, filter_


def _load_responder(settings, retry_delay, watch):
    if settings["script"]:
        return Script(loader.load_script(settings["script"], settings["callable"], watch).key)
    if settings["wsgi"]:
        return loader.load_module(settings["wsgi"], watch)
    if settings["handler"]:
        return _adapt("adapt", settings["handler"], watch)
    if settings["script_root"]:
        return _open_script_root(settings, retry_delay)
    return None


def _load_views():
    """Django imports the views at the first request. A mistake in them would then reach clients, as no process that is
    to take this one's place would have found it."""
    urls, conf = sys.modules.get("django.urls"), sys.modules.get("django.conf")
    if urls is not None and conf is not None and conf.settings.configured and hasattr(conf.settings, "ROOT_URLCONF"):
        urls.get_resolver().url_patterns


def _adapt(kind, target, watch):
    from fcgihost import handler  # not for those who have none

    return getattr(handler, kind)(loader.load_module(target, watch))


def _open_script_root(settings, retry_delay):
    from fcgihost.host import scripts

    path = settings["script_root"]
    if not os.path.isdir(path):
        raise NotADirectoryError("script_root %s is not a folder" % path)
    return scripts.ScriptRoot(path, settings["callable"], retry_delay, settings["extensions"].split())


def route_redirects(sections, tasks):
    """Lets internal redirects reach what the other sections serve, or will once they are loaded."""
    if len(sections) < 2:
        return
    served = list(zip(sections, tasks))
    by_mount = sorted((item for item in served if item[0]["mount"] is not None and _has_any(item[0], _ANSWERING)),
                      key=lambda item: -len(item[0]["mount"]))
    # An authorizer without a mount answers no request but those in its role.
    rest = [item for item in served if item[0]["mount"] is None and _has_any(item[0], _RESPONDERS)]

    def resolve(path):
        for settings, task in by_mount:
            mount = settings["mount"]
            if path == mount or path.startswith(mount + "/"):
                return _target(settings, task, mount, path[len(mount):])
        return None

    def resolve_rest(path):
        """The section without a mount takes what no other takes; where a web server has it, nobody can know here."""
        return _target(*rest[0], "", path) if rest else None

    from fcgihost import redirect

    redirect.set_resolver(resolve, resolve_rest)


_RESPONDERS = ("script", "wsgi", "handler", "script_root")
_ANSWERING = (*_RESPONDERS, "authorizer")


def _has_any(settings, keys):
    return any(settings[key] for key in keys)


def _target(settings, task, mount, path):
    """What serves the path below the mount, as redirect.set_resolver wants it."""
    if task.result is None:
        raise ResourceUnavailable("%s has not been loaded yet" % task.what)
    responder = task.result[0]
    if isinstance(responder, Script):
        from fcgihost import generations

        responder = responder.application(generations.store().enter())
    if not settings["script_root"]:
        return responder, mount, path
    script, name, path_info = responder.find(path)
    return script, mount + name, path_info
