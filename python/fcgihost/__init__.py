"""fcgihost: what the host offers to the Python code that it runs."""

from fcgihost.cleanup import register_cleanup, unregister_cleanup
from fcgihost.errors import ResourceUnavailable
from fcgihost.lock import lock
from fcgihost.pool import Pool
from fcgihost.resource import resource
from fcgihost.runtime import process, request, restart, shutdown, stopping

__version__ = "0.1.0"

__all__ = [
    "InternalRedirect",
    "Pool",
    "Request",
    "ResourceUnavailable",
    "__version__",
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


def __getattr__(name):
    if name in ("InternalRedirect", "Request"):
        from fcgihost import handler  # slow to import, and only handlers need it

        return getattr(handler, name)
    raise AttributeError("module 'fcgihost' has no attribute %r" % name)
