"""fcgihost.LogHandler: what Python's logging has to say, in the host's log."""

import logging
import sys

from fcgihost import runtime

try:
    import _fcgihost as _host
except ImportError:
    _host = None  # outside the host


class LogHandler(logging.Handler):
    """Hands each record of logging to the host's log: one message, with the record's level, its thread, and the request
    that the thread serves.

        logging.basicConfig(handlers=[fcgihost.LogHandler()], level=logging.INFO)

    [log] level filters as well. Formatters may use %(request_id)s, which is "-" without a request; a record that has a
    request_id of its own (extra={"request_id": …}) keeps it. Without a formatter it is "logger: message", and a
    traceback. Outside the host it writes to sys.stderr.
    """

    def __init__(self, level=logging.NOTSET):
        super().__init__(level)
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def handle(self, record):
        """As logging.Handler.handle. The thread that calls it is the request's."""
        if not hasattr(record, "request_id"):
            record.request_id = runtime.request_id() or "-"
        return super().handle(record)

    def emit(self, record):
        try:
            text = _printable(self.format(record))
            if _host is None:
                sys.stderr.write("%s: %s\n" % (record.levelname.lower(), text))
            else:
                _host.log(_host_level(record.levelno), "application-log", text, _own_id(record), _thread(record))
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)


def _host_level(level):
    for least, host_level in ((logging.ERROR, _host.LOG_ERROR), (logging.WARNING, _host.LOG_WARNING),
                              (logging.INFO, _host.LOG_INFO)):
        if level >= least:
            return host_level
    return _host.LOG_DEBUG


def _own_id(record):
    identifier = _printable(str(record.request_id)).replace("\0", "")
    return None if identifier == "-" else identifier


def _thread(record):
    """None: a thread of the host, which threading has no better name for than its own."""
    name = record.threadName or ""
    return None if name.startswith("Dummy-") else _printable(name).replace("\0", "")


def _printable(text):
    return text.encode("utf-8", "backslashreplace").decode()
