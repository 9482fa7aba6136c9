"""An authorizer: says who may pass, and tells the web server their name and group.

    build/fcgihost -c examples/authorizer/fcgihost.ini --call /gate --header 'Authorization: Basic YWRhOmxvdmVsYWNl'
"""
import base64
import binascii
import hashlib
import hmac

SALT = b"fcgihost example"
USERS = {  # name: (group, hash of the password); ada's is "lovelace"
    "ada": ("staff", "1f4b2e1263ae2afbed76f74d17c442e231fb45e4ab6d74a6002fbe9414223ad9"),
}


def allow(req):
    """True, False or an HTTP status; 200 lets pass."""
    name, password = credentials(req)
    group = check(name, password)
    if group is None:
        req.headers_out["WWW-Authenticate"] = 'Basic realm="fcgihost"'
        return False  # 401, as there is a challenge; otherwise it were 403
    req.variables["REMOTE_USER"] = name
    req.variables["GROUP"] = group
    return True


def credentials(req):
    """The name and the password, from the web server if it has taken them apart, else from the header."""
    if "REMOTE_PASSWD" in req.environ:
        return [req.environ.get(key, "").encode("latin-1").decode("utf-8", "replace")  # WSGI's strings carry bytes
                for key in ("REMOTE_USER", "REMOTE_PASSWD")]
    scheme, _, text = req.headers_in.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password


def check(name, password):
    """The user's group, or None."""
    group, known = USERS.get(name, (None, ""))
    given = hashlib.pbkdf2_hmac("sha256", password.encode(), SALT, 20000).hex()
    return group if hmac.compare_digest(given, known) else None


def page(environ, start_response):
    """What is protected: it finds what the authorizer has said."""
    text = "hello %s of %s\n" % (environ.get("REMOTE_USER", "?"), environ.get("GROUP", "?"))
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode("latin-1")]  # WSGI's strings carry bytes
