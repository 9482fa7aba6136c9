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
_PREFIX = re.compile("(?:REDIRECT_)*")
_SEPARATORS = re.compile("""([\\s&;?,"'#])""")
# None of them may look at the same text again and again: a client chooses it, 64 KB of it.
_LOOK = re.compile(
    r"(?P<user>(?<=://)[^/?#@\s]+(?=@))"                                 # https://user:password@host/
    r"|(?P<jwt>(?<![\w.-])eyJ[\w-]+\.[\w-]+\.[\w-]*)"
    r"|(?P<scheme>\b(?:basic|bearer|digest|negotiate|token) +)\S+", re.IGNORECASE)
_DEPTH = 4  # of URLs within values of URLs


def is_secret(name):
    """Is the value of a parameter, header, variable or cookie of that name secret?"""
    plain = unquote_plus(name)
    plain = plain[_PREFIX.match(plain).end():]
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
    pieces = _SEPARATORS.split(_LOOK.sub(_mask_look, text))  # every second one is a separator
    is_quoted = False
    for i in range(0, len(pieces), 2):
        if is_quoted:  # name="value"
            pieces[i] = HIDDEN if pieces[i] else ""
            is_quoted = pieces[i + 1:i + 2] != ['"']
            continue
        pieces[i] = _mask_pair(pieces[i], depth)
        is_quoted = (pieces[i].endswith("=") and pieces[i + 1:i + 2] == ['"'] and
                     is_secret(pieces[i][:-1].rpartition("=")[2]))
    return "".join(pieces)


def _mask_pair(text, depth):
    """name=value, name=name=value or any other text without separators."""
    *names, value = text.split("=")
    if not names:
        return text
    for i, name in enumerate(names):
        if name and is_secret(name) and (value or i + 1 < len(names)):
            return "=".join([*names[:i + 1], HIDDEN])
    return "=".join([*names, HIDDEN if _has_encoded_secret(value, depth) else value])


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
