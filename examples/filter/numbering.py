"""A filter: the web server sends a file, the client gets it with its lines numbered.

`?from=10` starts at line 10. The file is read line by line: it may be larger than memory.
"""
from email.utils import formatdate
from urllib.parse import parse_qs


def number(req):
    first = parse_qs(req.query).get("from", ["1"])[0]
    if not first.isdecimal():
        req.write(f"from={first} is no number of a line\n")
        return 400
    req.content_type = "text/plain; charset=utf-8"
    if req.data_last_modified is not None:
        req.headers_out["Last-Modified"] = formatdate(req.data_last_modified, usegmt=True)
    for count, line in enumerate(iter(req.data.readline, b""), 1):
        if count >= int(first):
            req.write(b"%6d  %s" % (count, line))
