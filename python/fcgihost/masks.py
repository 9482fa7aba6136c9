"""What is secret in a request's parameters, by its name or by its look: it is not to be shown."""

import re
from urllib.parse import unquote_plus

HIDDEN = "(hidden)"

# In a name without its separators; and as whole words of it, as they are parts of harmless ones.
_PARTS = ("authorization", "authentication", "authkey", "cookie", "passw", "passphrase", "pwd", "secret", "token", "apikey",
          "accesskey", "appkey", "private", "credential", "signature", "session", "csrf", "xsrf", "jwt", "bearer", "saml",
          "nonce")
_WORDS = {"auth", "code", "hmac", "key", "otp", "pass", "pin", "psk", "pw", "sid", "sig", "sign", "state", "ticket"}
_HARMLESS = {"AUTH_TYPE"}
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PAIR = re.compile(r"""(?P<name>[^\s=&;?,"'#]+)=(?P<value>"[^"]*"|[^\s&;,"'#]*)""")
_LOOK = re.compile(
    r"(?P<user>(?<=://)[^/?#@\s]+(?=@))"                                 # https://user:password@host/
    r"|(?P<jwt>\beyJ[\w-]+\.[\w-]+\.[\w-]*)"
    r"|(?P<scheme>\b(?:basic|bearer|digest|negotiate|token) +)\S+", re.IGNORECASE)
_DEPTH = 4  # of URLs within values of URLs


def is_secret(name):
    """Is the value of a parameter, header, variable or cookie of that name secret?"""
    plain = unquote_plus(name)
    while plain.startswith("REDIRECT_"):
        plain = plain[len("REDIRECT_"):]
    if plain in _HARMLESS:
        return False
    words = [word.lower() for word in _WORD.findall(plain)]
    joined = "".join(words)
    return any(part in joined for part in _PARTS) or not _WORDS.isdisjoint(words)


def mask(name, value):
    """value, without what is secret in it: all of it, or passwords and tokens in a query, a URL, a list of pairs."""
    if not value:
        return value
    if is_secret(name):
        scheme = value.partition(" ")[0] + " " if name.endswith("AUTHORIZATION") and " " in value else ""
        return scheme + HIDDEN
    return _mask_text(value, _DEPTH)


def _mask_text(text, depth):
    return _PAIR.sub(lambda match: _mask_pair(match, depth), _LOOK.sub(_mask_look, text))


def _mask_pair(match, depth):
    name, value = match.group("name"), match.group("value")
    is_hidden = value and (is_secret(name) or _has_encoded_secret(value, depth))
    return "%s=%s" % (name, HIDDEN) if is_hidden else match.group()


def _has_encoded_secret(value, depth):
    """Also true if it is encoded so many times that it can't be told."""
    for left in reversed(range(depth)):
        plain = unquote_plus(value)
        if plain == value:
            return False
        if _mask_text(plain, left) != plain:
            return True
        value = plain
    return unquote_plus(value) != value


def _mask_look(match):
    return (match.group("scheme") or "") + HIDDEN
