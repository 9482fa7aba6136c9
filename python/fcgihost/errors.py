"""What the package raises of its own, and where exceptions go that nobody is there to catch."""

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


def _print(what, exception):
    import traceback  # ten times as slow to import as this package

    lines = traceback.format_exception(type(exception), exception, exception.__traceback__)
    sys.stderr.write("fcgihost: %s failed\n%s" % (what, "".join(lines)))


_reporter = None
