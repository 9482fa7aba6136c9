"""Internal redirects: from a URI to what serves it in this process, and its response to the client."""

import io
from urllib.parse import quote, unquote_to_bytes

from fcgihost import headers, runtime

MAX_REDIRECTS = 10

_ASCII = "".join(map(chr, range(0x21, 0x7f)))
_BODY_NAMES = ("CONTENT_LENGTH", "CONTENT_TYPE")
_FILE_NAMES = ("SCRIPT_FILENAME", "PATH_TRANSLATED", "fcgihost.data")

_resolver = _rest_resolver = None


class InternalRedirect(Exception):
    """Raised anywhere in a handler, it does what request.internal_redirect(uri, method) does.

        raise fcgihost.InternalRedirect("/login?back=/cart")
    """

    def __init__(self, uri, method=None):
        super().__init__(uri, method)
        self.uri = uri
        self.method = method

    def __str__(self):
        return str(self.uri)


class Relay:
    """A start_response that passes on to another one, and then the body too."""

    def __init__(self, start_response):
        self._start_response = start_response
        self.write = None  # once the response was started

    def __call__(self, status, items, exc_info=None):
        passed = (status, items) if exc_info is None else (status, items, exc_info)
        self.write = self._start_response(*passed)
        return self.write

    def take(self, result):
        """Sends what a WSGI application returned. A list is not sent but returned: its length is known."""
        if type(result) in (list, tuple):
            self._check_started()
            return list(result)
        try:
            for chunk in result:
                self._check_started()
                if chunk:
                    self.write(chunk)
                if runtime.is_response_over(not chunk):
                    break
            self._check_started()
        finally:
            if hasattr(result, "close"):
                result.close()
        return []

    def _check_started(self):
        if self.write is None:
            raise RuntimeError("the target of the redirect returned its body without calling start_response")


def set_resolver(resolver, rest=None):
    """From now on resolver(path) says what serves a path in this process; path is decoded.

    It returns (WSGI callable or adapted handler, script_name, path_info), or None, as set_resolver(None) does for all
    paths: then a handler serves what is below its own SCRIPT_NAME. What is not, rest(path) is asked for in the same
    way; without it, or with None from it, it is 404.
    """
    global _resolver, _rest_resolver
    _resolver = runtime.check_callable("a resolver", resolver)
    _rest_resolver = runtime.check_callable("a resolver", rest)


def resolve(request, uri, method):
    """The WSGI callable that serves uri, and the environ for it. Raises as internal_redirect() does."""
    path, _, query = check_uri(uri).partition("?")
    _check_depth(request, uri)
    path = normalise(unquote_to_bytes(path).decode("utf-8", "surrogateescape"))
    if "\0" in path:
        raise ValueError("internal redirect to %s: it has a NUL" % shown(uri))
    found = (_resolver and _resolver(path)) or _below(request, path) or (_rest_resolver and _rest_resolver(path))
    target, script_name, path_info = found or (_not_found, "", path)
    environ = dict(request.environ)
    environ.update(
        REQUEST_URI=quote(uri.partition("#")[0], safe=_ASCII), SCRIPT_NAME=encode(script_name),
        PATH_INFO=encode(path_info), QUERY_STRING=quote(query, safe=_ASCII), REDIRECT_STATUS=str(request.status),
        REDIRECT_URL=environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
        REDIRECT_QUERY_STRING=environ.get("QUERY_STRING", ""), REDIRECT_REQUEST_METHOD=request.method)
    for name in _FILE_NAMES:
        environ.pop(name, None)
    if "DOCUMENT_URI" in environ:
        environ["DOCUMENT_URI"] = encode(path)
    _set_method(environ, request.method, method)
    return target, environ


def shown(uri):
    """uri for a message: without its query, which may hold what is secret."""
    return ascii(uri.partition("?")[0])


def check_uri(uri):
    """uri without its fragment, if it is a path on this server. Raises TypeError or ValueError."""
    if not isinstance(uri, str):
        raise TypeError("the URI of an internal redirect must be str, not %s" % type(uri).__name__)
    if not uri.startswith("/"):
        raise ValueError("internal redirect to %s: it has to be a path on this server, \"/path?query\"; to send the "
                         "client elsewhere set status and headers_out[\"Location\"]" % shown(uri))
    if any(c < "\x20" or c == "\x7f" for c in uri):
        raise ValueError("internal redirect to %s: it has a control character" % shown(uri))
    return uri.partition("#")[0]


def normalise(path):
    """A path that begins with "/", its slashes merged and its dots resolved, as the host does with clients' paths."""
    parts = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    is_folder = path.endswith(("/", "/.", "/.."))
    return "/" + "/".join(parts) + ("/" if is_folder and parts else "")


def encode(text):
    """A str of WSGI's."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _check_depth(request, uri):
    chain = [uri]
    while request is not None:
        chain.append(request.uri)
        request = request.prev
    if len(chain) > MAX_REDIRECTS + 1:
        raise RuntimeError("more than %d internal redirects, is this a loop? %s" % (
            MAX_REDIRECTS, " -> ".join(shown(link)[1:-1] for link in reversed(chain))))


def _below(request, path):
    """The same handler, below the same SCRIPT_NAME, or None."""
    script_name = request.script_name
    if path != script_name and not path.startswith(script_name + "/"):
        return None
    return request._handler, script_name, path[len(script_name):]


def _set_method(environ, before, method):
    is_body_kept = method is not None and method not in ("GET", "HEAD")
    if method is None:
        method = "HEAD" if before == "HEAD" else "GET"
    environ["REQUEST_METHOD"] = headers.check_token("a method", method)
    if not is_body_kept:
        environ["wsgi.input"] = io.BytesIO()
        for name in _BODY_NAMES:
            environ.pop(name, None)


def _not_found(environ, start_response):
    body = b"404 Not Found\n"
    start_response("404 Not Found", [
        ("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
