"""Holds threads, or the GIL, until a FIFO is written to; tells in which order requests began."""
import ctypes
import os
import threading

begun = []
held = [0]
lock = threading.Lock()


def hold(fifo, with_gil):
    with lock:
        held[0] += 1
    fd = os.open(fifo, os.O_RDWR)
    try:
        if with_gil:
            ctypes.PyDLL(None).read(fd, ctypes.create_string_buffer(1), ctypes.c_size_t(1))
        else:
            os.read(fd, 1)
    finally:
        os.close(fd)


def application(environ, start_response):
    path, body = environ["PATH_INFO"], b"served"
    if path == "/hold" or path == "/wedge":
        hold(environ["QUERY_STRING"], path == "/wedge")
    elif path == "/begun":
        body = b"\n".join(begun)
    elif path != "/ready":
        begun.append(path.encode())
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
