"""The modules of script files: fcgihost.loaded.NAME, where NAME says which file it is and which load of it.

Each load of a file has a name of its own, so that pickle and the like find the classes of every generation. The name of
a load that is gone, or of another process, means what is there instead: the file as it is loaded now; in a child that
multiprocessing has spawned it is loaded then. This is why a pickle outlives a reload.
"""

import sys

__path__ = []  # a package: its modules are found by what follows
_PREFIX = __name__ + "."


def module_name(path, number):
    """The name of the module of the file at path (absolute) in its load of that number."""
    escaped = "".join(c if c.isascii() and c.isalnum() else "_%02x" % byte
                      for c in path for byte in ([0] if c.isascii() and c.isalnum() else _bytes(c)))
    return "%s%s__%d" % (_PREFIX, escaped, number)


def path_of(name):
    """The path that module_name() was given; None if name is not one that it made."""
    escaped, separator, number = name[len(_PREFIX):].rpartition("__")
    if not name.startswith(_PREFIX) or not separator or not (number.isascii() and number.isdigit()):
        return None
    first, *parts = escaped.split("_")
    try:
        data = first.encode("ascii") + b"".join(
            bytes.fromhex(part[:2]) + part[2:].encode("ascii") for part in parts)
    except ValueError:
        return None
    return data.decode(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


def short_name(name):
    """What messages call the module of that name: "shop" for that of /srv/shop.py; other names as they are."""
    path = path_of(name)
    return name if path is None else path.rpartition("/")[2].partition(".")[0]


def _bytes(character):
    return character.encode(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


class _Finder:
    """Finds the names of loads that are gone, for whoever imports by name."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """A spec whose module is the one that the file has now; None if name is no load's."""
        file = path_of(name)
        if file is None:
            return None
        return type(__spec__)(name, _Loader(file), origin=file)


class _Loader:
    def __init__(self, path):
        self._path = path

    def create_module(self, spec):
        """Returns None: Python makes one, which exec_module() replaces."""

    def exec_module(self, module):
        """Puts the file's module in the place of this one."""
        from fcgihost import generations

        name = module.__name__
        sys.modules[name] = generations.alias(self._path, name)


sys.meta_path.append(_Finder)
