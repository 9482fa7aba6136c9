"""fcgihost: what the host offers to the Python code that it runs.

Applications import from this package; fcgihost.host is the host's own. What the host imports for every application
does without modules that are slow to import.
"""

import sys

from fcgihost.cleanup import register_cleanup, unregister_cleanup
from fcgihost.errors import ClientGone, RequestTimeout, ResourceUnavailable
from fcgihost.runtime import process, request, restart, shutdown

__version__ = "0.1.0"

__all__ = [
    "ClientGone",
    "InternalRedirect",
    "LogHandler",
    "Pool",
    "Request",
    "RequestTimeout",
    "ResourceUnavailable",
    "__version__",
    "import_module",
    "lock",
    "process",
    "register_cleanup",
    "request",
    "resource",
    "restart",
    "shutdown",
    "stopping",
    "unregister_cleanup",
]


# Imported when they are asked for: those that no application uses, as often none does, would be a tenth of the time
# from the host's start to its first response. No module has the name of what it defines: while it is imported, another
# thread would find the module in that place.
_MODULES = {"InternalRedirect": "handler", "LogHandler": "logs", "Pool": "pool", "Request": "handler",
            "import_module": "generations", "lock": "locks", "resource": "resources", "stopping": "runtime"}


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError("module 'fcgihost' has no attribute %r" % name)
    module = "fcgihost." + _MODULES[name]
    __import__(module)
    return globals().setdefault(name, getattr(sys.modules[module], name))


def __dir__():
    return sorted({*globals(), *__all__})
