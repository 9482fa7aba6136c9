"""Handlers: functions that get a Request, for FastCGI's three roles, made into WSGI callables."""

import functools
import os
import re
import stat
import threading
from http import HTTPStatus

from fcgihost import headers, redirect, runtime
from fcgihost.redirect import InternalRedirect

BUFFER_BYTES = 64 * 1024   # written data is kept until there is this much, flush() is called, or the handler ends
DEFAULT_TYPE = "text/plain; charset=utf-8"

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)


class Request(runtime.CurrentRequest):
    """What a handler is given: the request to read, the response to write.

    method, uri, script_name, path_info and query say what was asked for: uri and query as the client sent them,
    script_name and path_info decoded; bytes that are not UTF-8 are escaped as by os.fsdecode. environ is WSGI's.
    headers_in and headers_out are fcgihost.headers.Headers. prev is the Request that was redirected to this one
    (internal_redirect), or None.

    What is written is sent once there are 64 KiB of it, at flush(), or when the handler returns; a short response so
    gets a Content-Length. Headers, content_type and status must be set before the first write.
    Only one thread may use a Request at a time. Once the handler has returned, its attributes can still be read;
    methods that read or write raise RuntimeError.
    """

    def __init__(self, environ, start_response, scope=None, prev=None):
        super().__init__(environ, scope)
        self.prev = prev
        self.headers_out = headers.Headers()
        self._start_response = start_response
        self._write = None             # start_response's, once the head has been given to it
        self._status = 200
        self._parts = []               # bytes and _File: written, but not sent yet
        self._buffered_bytes = 0
        self._is_begun = False         # something was written, or flushed
        self._is_redirected = False    # internal_redirect() has made the response
        self._is_over = False
        self._handler = None           # the _Handler that serves it; None: no handler does, or not yet
        self._thread = threading.get_ident()

    @property
    def content_type(self):
        """The response's Content-Type. Its charset is the one in which str is written; without one that is UTF-8."""
        return self.headers_out.get("Content-Type", DEFAULT_TYPE)

    @content_type.setter
    def content_type(self, value):
        self.headers_out["Content-Type"] = value

    @property
    def status(self):
        """The response's HTTP status, a number: 200 unless it is set, or the handler returns another one."""
        return self._status

    @status.setter
    def status(self, value):
        self._check_usable("status")
        if self._is_begun:
            raise RuntimeError("status comes too late: the response has begun")
        self._status = _check_status(value)

    @property
    def is_client_gone(self):
        """Is it known that the client has left? Some web servers don't tell."""
        return self._is_over or super().is_client_gone

    def read(self, size=-1):
        """Up to size bytes of the body, all of it if size is negative; b"" at its end."""
        self._check_alive("read()")
        return self.environ["wsgi.input"].read(size)

    def readline(self, size=-1):
        """The body's next line with its newline, up to size bytes of it; b"" at its end."""
        self._check_alive("readline()")
        return self.environ["wsgi.input"].readline(size)

    def __iter__(self):
        """The lines of the body."""
        return iter(self.readline, b"")

    def write(self, data):
        """Adds bytes to the response's body, or str, encoded in the charset of content_type.

        In the host, write() and flush() raise BrokenPipeError once nothing more can be sent: after HEAD, with 204 and
        304, when Content-Length has been reached, or when the client has left.
        """
        self._check_usable("write()")
        if isinstance(data, str):
            data = data.encode(_charset(self.content_type), "surrogateescape")
        elif not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError("write() takes bytes or str, not %s" % type(data).__name__)
        data = bytes(data)
        if data:
            self._begin()
            self._parts.append(data)
            self._buffered_bytes += len(data)
            if self._buffered_bytes >= BUFFER_BYTES:
                self._send()

    def flush(self):
        """Sends what was written, and the head even if nothing was."""
        self._check_usable("flush()")
        self._begin()
        self._send()

    def send_file(self, path):
        """Adds a file's content to the response's body; it is read block by block while it is sent.

        If nothing was written yet and content_type not set, it is guessed from the path. Raises OSError if the file
        can't be opened, ValueError if it is not a regular file.
        """
        self._check_usable("send_file()")
        file = _File(path)
        if not self._is_begun and "Content-Type" not in self.headers_out:
            self.content_type = _guess_type(path)
        self._begin()
        self._parts.append(file)

    def log(self, text):
        """Writes a line to the log."""
        self._check_alive("log()")
        super().log(text)

    def internal_redirect(self, uri, method=None):
        """Lets the handler or application that serves uri, "/path?query", make the response; returns when it has.

        It runs in this process and thread, and is given a new Request whose prev is this one. That is a GET (a HEAD if
        this is one) without a body; with another method, it has that method and what has not been read of this body.
        Afterwards nothing can be written here. Raises RuntimeError if something was written before, or after more than
        10 redirects in a row; ValueError if uri is not a path on this server; else what the target raises.
        """
        self._check_usable("internal_redirect()")
        if self._is_begun:
            raise RuntimeError("internal_redirect(%s) comes too late: the response has begun" % redirect.shown(uri))
        outermost = runtime.outermost_request()
        if outermost is None or self._thread != threading.get_ident():
            raise RuntimeError("internal_redirect(): only the thread that serves the request can do that")
        target, environ = redirect.resolve(self, uri, method)
        relay = redirect.Relay(self._start_response)
        request = outermost._inner = Request(environ, relay, self._scope, self)
        try:
            self._parts = relay.take(target(environ, relay))
        finally:
            # If the target failed before its response began, the handler may make one of its own.
            self._is_redirected = relay.write is not None
            request._is_over = True
            outermost._inner = self
            if self._is_redirected:
                self.headers_out.freeze("it comes too late: internal_redirect() has made the response")

    def _check_alive(self, what):
        if self._is_over:
            raise RuntimeError("%s comes too late: %r is over" % (what, self))

    def _check_usable(self, what):
        self._check_alive(what)
        if self._is_redirected:
            raise RuntimeError("%s comes too late: internal_redirect() has made the response" % what)

    def _begin(self):
        if not self._is_begun:
            self._is_begun = True
            self.headers_out.freeze("it comes too late: the response has begun")

    def _start(self, body_bytes):
        """Passes the head to start_response. body_bytes: the length of the body, None if it is not known."""
        items = self.headers_out.items()
        names = {name.lower() for name, _ in items}
        if self._status in (204, 304):
            items = [item for item in items if item[0].lower() not in ("content-type", "content-length")]
        else:
            if "content-type" not in names:
                items.append(("Content-Type", DEFAULT_TYPE))
            if body_bytes is not None and "content-length" not in names and (body_bytes or self.method != "HEAD"):
                items.append(("Content-Length", str(body_bytes)))
        self._write = self._start_response("%d %s" % (self._status, _reason(self._status)), items)

    def _has_body(self):
        return self.method != "HEAD" and self._status not in (204, 304)

    def _take_parts(self):
        parts, self._parts, self._buffered_bytes = self._parts, [], 0
        if self._has_body():
            return parts
        _close_files(parts)
        return []

    def _send(self):
        if self._write is None:
            self._start(None)
        parts = self._take_parts()
        try:
            for block in _body(parts):
                self._write(block)
        finally:
            _close_files(parts)

    def _finish(self, returned):
        """After the handler has returned: what the WSGI callable returns."""
        if self._is_redirected:
            return self._parts
        if returned is not None:
            self._take_status(returned)
        if self._status >= 400 and not self._is_begun:
            self.content_type = DEFAULT_TYPE
            self.write("%d %s\n" % (self._status, _reason(self._status)))
        if self._write is None:
            self._start(sum(len(part) for part in self._parts))
        return _body(self._take_parts())

    def _take_status(self, returned):
        status = _check_status(returned, "a handler must return None or an HTTP status")
        if self._write is not None and status != self._status:
            raise RuntimeError("the handler returned %d, but the response has begun to leave with %d" % (
                status, self._status))
        self._status = status

    def _discard(self):
        _close_files(self._parts)
        self._parts = []


class AuthorizerRequest(Request):
    """What an authorizer is given. variables: names and values (str) for the request that follows, if it is allowed.

    The web server makes them variables of that request, or (nginx, auth_request) has them as
    $upstream_http_variable_name. Nothing leaves before the authorizer has returned.
    """

    def __init__(self, *args):
        super().__init__(*args)
        self.variables = _Variables()

    def internal_redirect(self, uri, method=None):
        """Raises RuntimeError: another handler's answer is not a verdict."""
        raise RuntimeError("internal_redirect(): an authorizer has to decide itself")

    def _send(self):
        pass

    def _finish(self, verdict):
        self._status = self._judge(verdict)
        if self._status != 200:
            return super()._finish(None)
        self._discard()
        items = self.headers_out.items() + self.variables.headers()
        if self.environ.get("FCGI_ROLE") == "AUTHORIZER":
            # A front passes everything but the variables on to the client, where it would describe another body.
            self._start_response("200 OK", items)
            return _Body([])  # not a list, for whose length the host would add a header
        names = {name.lower() for name, _ in items}
        for name, value in (("Content-Type", DEFAULT_TYPE), ("Content-Length", "0")):
            if name.lower() not in names:
                items.append((name, value))
        self._start_response("200 OK", items)
        return []

    def _judge(self, verdict):
        if verdict is True:
            return 200
        if verdict is False:
            return 401 if "WWW-Authenticate" in self.headers_out else 403
        if verdict is None:
            return self._status if self._status >= 300 else 403
        status = _check_status(verdict, "an authorizer must return true, false or an HTTP status")
        if 200 < status < 300:
            raise ValueError("status %d is not a decision: 200 allows, 401, 403 and the like refuse" % status)
        return status


class FilterRequest(Request):
    """What a filter is given. data: the file that the web server sends, to read as a body is read."""

    @property
    def data(self):
        """The file: read(), readline(), iteration. Raises RuntimeError if the web server sent none."""
        try:
            return self.environ["fcgihost.data"]
        except KeyError:
            raise RuntimeError(
                "there is no file to filter: the web server did not ask for the role of a filter") from None

    @property
    def data_length(self):
        """How many bytes the file has, or None if the web server did not say."""
        return _number(self.environ.get("FCGI_DATA_LENGTH"))

    @property
    def data_last_modified(self):
        """When the file was changed last: seconds since 1970, or None if the web server did not say."""
        return _number(self.environ.get("FCGI_DATA_LAST_MOD"))


class _Variables(dict):
    """Names and values, checked: they are sent as headers."""

    def __setitem__(self, name, value):
        headers.check_token("a variable's name", name)
        headers.check("Variable-" + name, value)
        super().__setitem__(name, value)

    def headers(self):
        for name, value in self.items():  # checks those set by update() as well
            self[name] = value
        return [("Variable-" + name, value) for name, value in self.items()]


class _Handler:
    """A function that takes a Request, as a WSGI callable."""

    def __init__(self, function, request_type):
        functools.update_wrapper(self, runtime.check_callable("a handler", function, is_optional=False))
        self._function = function
        self._request_type = request_type

    def __repr__(self):
        return "<fcgihost handler %r>" % self._function

    def __call__(self, environ, start_response):
        outermost, is_own = runtime.enter_request(environ)
        try:
            body = self._serve(outermost, environ, start_response)
        except BaseException:
            if is_own:
                runtime.end_request(outermost)
            raise
        finally:
            if is_own:
                runtime.leave_request()
        return _Closing(body, outermost) if is_own else body

    def _serve(self, outermost, environ, start_response):
        outer = outermost._inner
        request = self._make_request(outermost, environ, start_response)
        request._handler = self
        outermost._inner = request
        try:
            try:
                returned, target = self._function(request), None
            except InternalRedirect as raised:
                returned, target = None, raised
            if target is not None:
                request.internal_redirect(target.uri, target.method)
            return request._finish(returned)
        except BaseException:
            request._discard()
            raise
        finally:
            request._is_over = True
            if outer is not None:
                outermost._inner = outer

    def _make_request(self, outermost, environ, start_response):
        """The one that internal_redirect() has made for this handler, or a new one."""
        made = outermost._inner
        if made is None or made._handler is not None:
            return self._request_type(environ, start_response, outermost._scope)
        if type(made) is not self._request_type:
            return self._request_type(environ, start_response, outermost._scope, made.prev)
        made.environ, made._start_response = environ, start_response  # a middleware may have changed them
        return made


class _File:
    """A regular file, as long as it was when it was opened."""

    def __init__(self, path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not be waited for
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("%s is not a regular file" % ascii(path))
            self._file = os.fdopen(descriptor, "rb", 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._size = status.st_size

    def __len__(self):
        return self._size

    def __iter__(self):
        left = self._size
        while left > 0:
            block = self._file.read(min(left, BUFFER_BYTES))
            if not block:
                return
            left -= len(block)
            yield block

    def close(self):
        self._file.close()


class _Body:
    """What is left of a response's body, with files in it."""

    def __init__(self, parts):
        self._parts = parts

    def __iter__(self):
        for part in self._parts:
            if isinstance(part, _File):
                yield from part
            else:
                yield part

    def close(self):
        _close_files(self._parts)


class _Closing:
    """A response's body outside the host, where nobody else ends the request."""

    def __init__(self, body, outermost):
        self._body = body
        self._outermost = outermost

    def __iter__(self):
        return iter(self._body)

    def close(self):
        try:
            if isinstance(self._body, _Body):
                self._body.close()
        finally:
            runtime.end_request(self._outermost)


def adapt(function):
    """A WSGI callable that serves requests with function(request). It returns None or an HTTP status."""
    return _Handler(function, Request)


def adapt_authorizer(function):
    """The same for FastCGI's authorizers. function(request) returns whether the request is allowed, or a status.

    True and 200 allow it; False refuses it with 403, with 401 if headers_out has WWW-Authenticate. None, of a function
    that returns nothing, refuses it with what it has set as status, or 403. Served as an ordinary request, as nginx's
    auth_request does, it answers the same.
    """
    return _Handler(function, AuthorizerRequest)


def adapt_filter(function):
    """The same for FastCGI's filters. function(request) reads request.data and writes what the client gets."""
    return _Handler(function, FilterRequest)


set_resolver = redirect.set_resolver


def _check_status(value, what="status is a number"):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("%s, not %s" % (what, type(value).__name__))
    if not 200 <= value <= 999:
        raise ValueError("%d is not an HTTP status that an application can send (200 to 999)" % value)
    return int(value)


def _reason(status):
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


@functools.lru_cache(maxsize=64)
def _charset(content_type):
    """The codec in which str is written."""
    match = _CHARSET.search(content_type)
    name = match.group(1) if match else "utf-8"
    try:
        "".encode(name)
    except LookupError:
        raise ValueError("Python knows no charset %s, which content_type names: write bytes" % ascii(name)) from None
    return name


def _guess_type(path):
    import mimetypes  # slow to import, and reads files

    kind, encoding = mimetypes.guess_type(os.fsdecode(path))
    return kind if kind and not encoding else "application/octet-stream"


def _number(text):
    return int(text) if text and re.fullmatch("[0-9]{1,18}", text) else None


def _body(parts):
    """The parts of a body as a WSGI callable returns them: in one piece if there is no file among them."""
    return _Body(parts) if any(isinstance(part, _File) for part in parts) else [b"".join(parts)]


def _close_files(parts):
    for part in parts:
        if isinstance(part, _File):
            part.close()
