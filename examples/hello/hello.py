"""The smallest application: plain WSGI.

    build/fcgihost --call / examples/hello/hello.py
"""


def application(environ, start_response):
    body = b"Hello from Python.\n"
    start_response("200 OK", [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
    ])
    return [body]
