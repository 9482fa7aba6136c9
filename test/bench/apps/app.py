"""The WSGI application that every server in the benchmark serves."""
import time

PLAIN = ("Content-Type", "text/plain")
HELLO = b"Hello, world\n"
MEBIBYTE = b"x" * (1 << 20)
CHUNK = b"y" * 8192


def answer(start_response, body):
    start_response("200 OK", [PLAIN, ("Content-Length", str(len(body)))])
    return [body]


def hello(environ, start_response):
    return answer(start_response, HELLO)


def body(environ, start_response):
    return answer(start_response, MEBIBYTE)


def chunks(environ, start_response):
    start_response("200 OK", [PLAIN])
    return (CHUNK for _ in range(128))


def upload(environ, start_response):
    """How much was sent, and its end."""
    read, left = environ["wsgi.input"].read, int(environ["CONTENT_LENGTH"])
    size, part = 0, b""
    while left > 0:
        part = read(min(left, 65536))
        if not part:
            break
        size += len(part)
        left -= len(part)
    return answer(start_response, b"%d bytes, %s\n" % (size, part[-16:]))


def compute(environ, start_response):
    total = 0
    for number in range(24000):  # about a millisecond
        total += number * number & 7
    return answer(start_response, b"%d\n" % total)


def sleep(environ, start_response):
    time.sleep(0.01)
    return answer(start_response, HELLO)


ROUTES = {"/hello": hello, "/body": body, "/chunks": chunks, "/upload": upload, "/compute": compute,
          "/sleep": sleep}


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)
