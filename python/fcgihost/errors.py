"""The package's own exceptions, how exceptions are formatted, and where those go that nobody can catch.

The traceback module is imported only when needed: with all that it imports it would take a sixth of the time from start
to first response, and 1.1 MB.
"""

import sys


class ResourceUnavailable(Exception):
    """Something that the application needs is unavailable now, but may be available later.

    A request that raises it is answered with 503 and Retry-After. Applications may raise it too:

        raise fcgihost.ResourceUnavailable("the search index is being rebuilt", retry_after=30)

    retry_after: seconds after which the client may try again (float). name: what is unavailable (str), or None.
    """

    def __init__(self, message="", *, retry_after=1.0, name=None):
        super().__init__(message)
        self.retry_after = float(retry_after)
        self.name = name


class RequestTimeout(BaseException):
    """Raised in a request that has taken longer than [limits] request_time; the host answers 504.

    It may be raised between any two instructions of the application's own code, once for each request; `with` and
    `finally` work as usual. Code that catches it should raise it again: if the request goes on for 5 s more, the
    process is replaced.
    """

    def __str__(self):
        return super().__str__() or "the request has taken longer than [limits] request_time"


class ClientGone(BaseException):
    """Raised in a request whose client has left, with [limits] client_gone = interrupt. Nothing is answered.

    It is raised in the same way as RequestTimeout.
    """

    def __str__(self):
        return super().__str__() or "the client of the request has left"


class ScriptError(Exception):
    """A script can't serve the request.

    status: the HTTP status of the response, 403, 404 or 500. The message, for the log only, names the file, the reason
    and what to do. __cause__: what loading the script raised, unless that has been logged before.
    """

    def __init__(self, status, message):
        super().__init__(status, message)
        self.status = status

    def __str__(self):
        return self.args[1]


def report(what, exception):
    """Reports an exception that nobody could catch if it were raised. Never raises.

    what: where it was raised, "close of pool shop.connect". It goes to the reporter (report_to), else to sys.stderr.
    """
    try:
        (_reporter or _print)(what, exception)
    except Exception:
        pass  # there is nowhere else to report it


def report_to(reporter):
    """From now on report() calls reporter(what, exception); None: prints to sys.stderr."""
    global _reporter
    _reporter = reporter


def format_exception(exception, start):
    """As traceback.format_exception, but the exception's own traceback begins at start."""
    try:
        import traceback  # this and what it imports itself as it formats takes a descriptor, and none may be free
        return "".join(traceback.format_exception(type(exception), exception, start))
    except Exception:
        return "Traceback (most recent call last):\n%s%s\n" % (
            _format_frames(_frames_of(start)), describe(exception))


def format_stack(frame):
    """As traceback.format_stack: the frame and its callers, outermost first."""
    try:
        import traceback
        return "".join(traceback.format_stack(frame))
    except Exception:
        return _format_frames(reversed(list(_callers_of(frame))))


def _frames_of(traceback):
    while traceback:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def _callers_of(frame):
    while frame:
        yield frame, frame.f_lineno
        frame = frame.f_back


def _format_frames(frames):
    return "".join('  File "%s", line %s, in %s\n' % (frame.f_code.co_filename, line, frame.f_code.co_name)
                   for frame, line in frames)


def describe(exception):
    try:
        return "%s: %s" % (type(exception).__name__, exception)
    except Exception:
        return type(exception).__name__


def _print(what, exception):
    sys.stderr.write("fcgihost: %s failed\n%s" % (what, format_exception(exception, exception.__traceback__)))


_reporter = None
