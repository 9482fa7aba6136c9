"""HTTP headers as a table: names in any case, several values for a name, nothing that can't be sent."""

import re
from collections.abc import MutableMapping

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NUMBER = re.compile(r"[0-9]{1,18}")
_SERVERS = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers", "trailer",
    "transfer-encoding", "upgrade"))


class Headers(MutableMapping):
    """Names and values, in the order in which they came; both are str.

    table["Name"] is the first value of that name; get_all() returns all of them; setting it replaces them, add() adds
    one. items() has every pair. What can't be sent raises ValueError when it is set, or TypeError if it is not a str.
    RuntimeError: the table can't be changed any more.
    """

    def __init__(self, items=()):
        self._items = []
        self._frozen = None  # why nothing can be changed any more
        for name, value in items:
            self.add(name, value)

    def __repr__(self):
        return "<fcgihost headers: %s>" % ", ".join(name for name, _ in self._items)  # values may be secrets

    def add(self, name, value):
        """Adds a header, whether there is one of that name or not: Set-Cookie, for example."""
        self._check_open(name)
        check(name, value)
        if name.lower() == "content-length" and name in self:
            raise ValueError("header Content-Length: there is one already")
        self._items.append((name, value))

    def get_all(self, name):
        """The values of that name, in the order in which they came."""
        wanted = name.lower()
        return [value for known, value in self._items if known.lower() == wanted]

    def items(self):
        """All (name, value), also of names that come several times."""
        return list(self._items)

    def freeze(self, why):
        """From now on changes raise RuntimeError, which says why."""
        self._frozen = why

    def __getitem__(self, name):
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return values[0]

    def __setitem__(self, name, value):
        self._check_open(name)
        check(name, value)
        wanted = name.lower()
        places = [i for i, (known, _) in enumerate(self._items) if known.lower() == wanted]
        if not places:
            self._items.append((name, value))
            return
        self._items[places[0]] = name, value
        for i in reversed(places[1:]):
            del self._items[i]

    def __delitem__(self, name):
        self._check_open(name)
        if name not in self:
            raise KeyError(name)
        wanted = name.lower()
        self._items[:] = [item for item in self._items if item[0].lower() != wanted]

    def __contains__(self, name):
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self):
        return iter({name.lower(): name for name, _ in self._items}.values())

    def __len__(self):
        return len({name.lower() for name, _ in self._items})

    def _check_open(self, name):
        if self._frozen is not None:
            raise RuntimeError("header %s: %s" % (name, self._frozen))


def of_environ(environ):
    """The headers that the client sent, as a table that can't be changed."""
    headers = Headers()
    for name, value in environ.items():
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            words = name[5:] if name.startswith("HTTP_") else name
            headers._items.append(("-".join(word.capitalize() for word in words.split("_")), value))
    headers.freeze("this is what the client sent")
    return headers


def check(name, value):
    """Raises TypeError or ValueError if an application can't send that header."""
    for what, text in (("name", name), ("value", value)):
        if not isinstance(text, str):
            raise TypeError("a header's %s must be str, not %s" % (what, type(text).__name__))
    if not _TOKEN.fullmatch(name):
        raise ValueError("header %s: a name is made of letters, digits and !#$%%&'*+-.^_`|~" % ascii(name))
    if name.lower() in _SERVERS:
        raise ValueError("header %s belongs to the web server, an application must not set it" % name)
    if name.lower() == "status":
        raise ValueError("header Status: set the request's status instead")
    if _CONTROL.search(value):
        raise ValueError("header %s: control character in its value" % name)
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("header %s: character beyond Latin-1 in its value" % name) from None
    if name.lower() == "content-length" and not _NUMBER.fullmatch(value):
        raise ValueError("header Content-Length: %s is not a number" % ascii(value))


def check_token(what, text):
    """text, if it can stand for a method or a part of a header's name. Raises TypeError or ValueError."""
    if not isinstance(text, str):
        raise TypeError("%s is a str, not %s" % (what, type(text).__name__))
    if not _TOKEN.fullmatch(text):
        raise ValueError("%s is made of letters, digits and !#$%%&'*+-.^_`|~, not %s" % (what, ascii(text)))
    return text
