"""What the package raises of its own, how exceptions are shown, and where they go if nobody is there to catch them.

The traceback module is imported when it is needed: with all that it imports it would take a sixth of the time from the
host's start to its first response, and 1.1 MB.
"""

import sys


class ResourceUnavailable(Exception):
    """Something that the application needs can't be had now, but may be later.

    The host answers a request that ends with it with 503 and Retry-After. Applications may raise it too:

        raise fcgihost.ResourceUnavailable("the search index is being rebuilt", retry_after=30)

    retry_after: seconds (float) after which trying again makes sense. name: what is unavailable (str), or None.
    """

    def __init__(self, message="", *, retry_after=1.0, name=None):
        super().__init__(message)
        self.retry_after = float(retry_after)
        self.name = name


class ScriptError(Exception):
    """A script can't serve the request.

    status: the HTTP status that says so, 403, 404 or 500. The message, which is for the log alone, names the file, the
    reason and what to do. __cause__ is what loading it raised, if that was not told before.
    """

    def __init__(self, status, message):
        super().__init__(status, message)
        self.status = status

    def __str__(self):
        return self.args[1]


def report(what, exception):
    """Tells of an exception that can't be raised, because nobody would catch it. Never raises.

    what: whose it is, "close of pool shop.connect". It goes where report_to said, else to sys.stderr.
    """
    try:
        (_reporter or _print)(what, exception)
    except Exception:
        pass  # a report that fails has nowhere to go


def report_to(reporter):
    """From now on report() calls reporter(what, exception); None: prints to sys.stderr again."""
    global _reporter
    _reporter = reporter


def format_exception(exception, start):
    """The exception as the traceback module shows it, its own frames from start (a traceback) on."""
    try:
        import traceback
    except Exception:  # the process is out of descriptors, say
        return "Traceback (most recent call last):\n%s%s\n" % (
            _format_frames(_frames_of(start)), _describe(exception))
    return "".join(traceback.format_exception(type(exception), exception, start))


def format_stack(frame):
    """What calls frame, and it, as the traceback module shows it."""
    try:
        import traceback
    except Exception:
        return _format_frames(reversed(list(_callers_of(frame))))
    return "".join(traceback.format_stack(frame))


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


def _describe(exception):
    try:
        return "%s: %s" % (type(exception).__name__, exception)
    except Exception:
        return type(exception).__name__


def _print(what, exception):
    sys.stderr.write("fcgihost: %s failed\n%s" % (what, format_exception(exception, exception.__traceback__)))


_reporter = None
