"""The process, the request that a thread serves, waiting, and forking."""

import os
import time
from _thread import RLock, _local as Local  # threading, which exports them, is slow to import
from _weakref import ref

from fcgihost import cleanup, errors

try:
    import _fcgihost as _host
except ImportError:
    _host = None  # outside the host

_STARTED = time.time()
_PID = os.getpid()
SLICE = 1.0  # seconds: how often a wait of the package lets an exception through that was raised in its thread

_local = Local()         # .request, outside the host
_reset_in_child = set()  # references

_stopping = None         # the Event, once it has been asked for
_is_stopping = False     # what it is then
_mutex = RLock()         # guards both


class Process:
    """The process that this code runs in. All attributes are read only."""

    def __repr__(self):
        return "<fcgihost process %d: %s, %d requests>" % (self.pid, self.state, self.requests)

    @property
    def pid(self):
        """Its process id."""
        return os.getpid()

    @property
    def started(self):
        """When it started: seconds since 1970, as time.time()."""
        return _facts()[0]

    @property
    def requests(self):
        """How many requests it has begun to serve."""
        return _facts()[1]

    @property
    def generation(self):
        """The number of its code's generation: it grows when code is loaded anew."""
        return _facts()[2]

    @property
    def state(self):
        """"starting", "serving", "draining", "cleaning"; outside the host, and in a forked child, "outside"."""
        return _facts()[3]

    @property
    def stopping(self):
        """True once it has begun to stop."""
        return _has_begun_to_end() or self.state in ("draining", "cleaning")


process = Process()


class CurrentRequest:
    """The request that is being served, for code that has no access to it otherwise."""

    prev = None  # a handler's Request has the one that was redirected to it

    def __init__(self, environ, scope=None):
        """scope: the cleanups of the request that this one belongs to; None: it has its own."""
        self.environ = environ
        self._scope = scope or cleanup.Scope("request %s %s" % (self.method, self.uri))
        self._headers_in = None  # made when they are asked for
        self._hold = None   # outside the host: what held() returns
        self._inner = None  # the handler.Request that serves it just now, or did last

    def __repr__(self):
        return "<fcgihost request %s %s>" % (self.method, self.uri.partition("?")[0])  # it gets into logs

    @property
    def method(self):
        """"GET" and the like."""
        return self.environ.get("REQUEST_METHOD", "")

    @property
    def uri(self):
        """The path and the query as the client sent them; if that is unknown, put together from their parts."""
        return self.environ.get("REQUEST_URI") or _join_uri(self.environ)

    @property
    def script_name(self):
        """The path down to the application, decoded: "" or "/app"."""
        return decode(self.environ.get("SCRIPT_NAME", ""))

    @property
    def path_info(self):
        """The path below the application, decoded: "/a/b"."""
        return decode(self.environ.get("PATH_INFO", ""))

    @property
    def query(self):
        """What follows the "?", as the client sent it."""
        return self.environ.get("QUERY_STRING", "")

    @property
    def headers_in(self):
        """The headers that the client sent: headers_in["User-Agent"]. One that came several times has commas."""
        if self._headers_in is None:
            from fcgihost import headers  # slow to import, and a WSGI application seldom needs it
            self._headers_in = headers.of_environ(self.environ)
        return self._headers_in

    @property
    def is_client_gone(self):
        """Is it known that the client has left? Some web servers don't tell."""
        return is_client_gone()

    def log(self, text):
        """Writes a line to the log."""
        self.environ["wsgi.errors"].write(text if text.endswith("\n") else text + "\n")

    def register_cleanup(self, func, /, *args, **kwargs):
        """Calls func(*args, **kwargs) after the response has been sent; returns func, so that it can be a decorator.

        Raises TypeError if func can't be called, RuntimeError once the request's cleanups have run.
        """
        return self._scope.register(func, *args, **kwargs)


def request():
    """The request that this thread is serving: environ, method, uri, register_cleanup() and so on; or None.

    In a handler it is the fcgihost.Request that the handler was given. In a WSGI application it has what that has for
    reading, but for the body, which is in environ.
    """
    served = outermost_request()
    return served and (served._inner or served)


def outermost_request():
    """The request that the web server sent, whatever serves it by now; None if this thread serves none."""
    if os.getpid() == _PID and _has("current_request"):
        served = _host.current_request(CurrentRequest)
        if served is not None:
            return served
    return getattr(_local, "request", None)


def request_id():
    """What the log calls the request that this thread is serving; None if it serves none."""
    if _has("request_id"):
        return _host.request_id()
    served = getattr(_local, "request", None)
    return served and served.environ.get("fcgihost.request_id")


def held():
    """The generations.Hold of the request that this thread serves; None: it has none, or there is no request."""
    if _has("held"):
        return _host.held()
    served = getattr(_local, "request", None)
    return served and served._hold


def keep(hold):
    """Lets the request that this thread serves keep a generations.Hold to its end. No effect without a request."""
    if _has("keep"):
        _host.keep(hold)
        return
    served = getattr(_local, "request", None)
    if served is not None:
        served._hold = hold


def begin_request(environ):
    """Outside the host: lets this thread serve a request until end_request(). For tests; returns the request."""
    _local.request = CurrentRequest(environ)
    return _local.request


def enter_request(environ):
    """The request that this thread is serving, and False; if it serves none, a new one outside the host, and True."""
    served = outermost_request()
    return (served, False) if served is not None else (begin_request(environ), True)


def end_request(ended=None, log=None, on_start=None):
    """Runs the cleanups of a request that is over, on this thread; ended: None is what begin_request() made.

    log, on_start: as Scope.run; log None: as errors.report does. Returns how many ran.
    """
    if ended is None:
        ended = leave_request()
    if ended is None:
        return 0
    try:
        return ended._scope.run(log or _report_cleanup, on_start)
    finally:
        ended._inner = ended._hold = None


def leave_request():
    """Outside the host: this thread serves no request any more. Returns the one that it did; its cleanups don't run."""
    left = getattr(_local, "request", None)
    _local.request = None
    return left


def is_client_gone():
    """Is it known that the client of this thread's request has left? Always False outside the host."""
    return os.getpid() == _PID and _has("is_client_gone") and bool(_host.is_client_gone())


def is_response_over(is_silent):
    """Can nothing more be sent of this thread's response? Always False outside the host.

    is_silent: nothing has been sent just now, of which the web server's end would be known.
    """
    return os.getpid() == _PID and _has("is_response_over") and bool(_host.is_response_over(is_silent))


def check_interrupt():
    """Called by code of the package between two waits: raises RequestTimeout or ClientGone if one is due.

    Code of the package is interrupted nowhere else, so that nothing is left half done.
    """
    if _has("check_interrupt"):
        _host.check_interrupt()


def sent_parameters():
    """What the web server sent for the request that this thread serves, name -> value, before the host corrected it.

    None outside the host.
    """
    if os.getpid() == _PID and _has("sent_parameters"):
        return dict(_host.sent_parameters())
    return None


def restart():
    """Asks for a fresh process to take this one's place; returns at once. Raises RuntimeError outside the host."""
    _ask("restart")


def shutdown():
    """Asks the process to stop, as SIGTERM does; returns at once. Raises RuntimeError outside the host."""
    _ask("shutdown")


def set_stopping():
    """Says that the process begins to end. Not to be called by what interrupts a thread: it takes a lock."""
    global _is_stopping
    with _mutex:
        _is_stopping = True
        event = _stopping
    if event is not None:
        event.set()


def __getattr__(name):
    """stopping: an Event, set when the process begins to end, for background threads to wait on."""
    if name != "stopping":
        raise AttributeError("module 'fcgihost.runtime' has no attribute %r" % name)
    import threading

    global _stopping
    with _mutex:
        if _stopping is None:
            _stopping = threading.Event()
            if _is_stopping:
                _stopping.set()
        return _stopping


def set_lock_folders(places):
    """Where the folder of this host's locks may be, the same for all its processes: what folders.candidates() returned.
    None: a folder of the user's."""
    global lock_folders
    lock_folders = places


def wait(lock, timeout=None):
    """Acquires lock, waiting timeout seconds at most, for ever if None. Returns whether it has it.

    An exception that is raised in this thread meanwhile gets through within a second.
    """
    if timeout is None:
        while not lock.acquire(timeout=SLICE):
            check_interrupt()
        return True
    deadline = time.monotonic() + timeout
    while True:
        remaining = max(deadline - time.monotonic(), 0)
        if lock.acquire(timeout=min(remaining, SLICE)):
            return True
        if remaining <= SLICE:
            return False
        check_interrupt()


def check_seconds(what, value, is_optional=False):
    """value, if it is a number of seconds that isn't negative; None is one too if is_optional.

    Raises TypeError or ValueError, which name what.
    """
    if value is None and is_optional:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("%s must be a number of seconds, not %r" % (what, value))
    if not value >= 0:
        raise ValueError("%s must be a number of seconds, at least 0, not %r" % (what, value))
    return value


def check_callable(what, value, is_optional=True):
    """value, if it can be called, or None if is_optional. Raises TypeError, which names what."""
    if callable(value) or (value is None and is_optional):
        return value
    raise TypeError("%s must be callable, not %s" % (what, type(value).__name__))


def reset_in_child(thing):
    """Has thing._after_fork() called in each forked child, first of all."""
    _reset_in_child.add(ref(thing, _reset_in_child.discard))


def _has_begun_to_end():
    return _stopping.is_set() if _stopping is not None else _is_stopping


def _has(function):
    return _host is not None and hasattr(_host, function)


def _facts():
    if _has("process_facts") and os.getpid() == _PID:
        return _host.process_facts()
    return _STARTED, 0, 0, "outside"


def _ask(what):
    if not _has(what):
        raise RuntimeError("fcgihost.%s() needs the host: this process is not run by fcgihost" % what)
    if os.getpid() != _PID:
        raise RuntimeError("fcgihost.%s() is for the host's own process, and this is a forked child of it" % what)
    getattr(_host, what)()


def decode(text):
    """Text, from a str of WSGI's, where each character stands for a byte."""
    return text.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _join_uri(environ):
    from urllib.parse import quote  # slow to import, and rarely needed

    path = quote(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""), encoding="latin-1", errors="replace")
    query = environ.get("QUERY_STRING", "")
    return path + ("?" + query if query else "")


def _report_cleanup(name, exception):
    errors.report("cleanup " + name, exception)


def _after_fork():
    global _mutex
    _mutex = RLock()  # it, and the Event's, may have been held by a thread that the child hasn't got
    if _stopping is not None:
        is_set = _stopping.is_set()
        _stopping.__init__()
        if is_set:
            _stopping.set()
    for reference in list(_reset_in_child):
        thing = reference()
        if thing is not None:
            thing._after_fork()


lock_folders = None
os.register_at_fork(after_in_child=_after_fork)
