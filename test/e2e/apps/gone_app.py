"""A handler that goes on until nobody waits for it any more."""
import time


def handler(req):
    """/silent, or /streaming: with some of the response leaving again and again."""
    if req.path_info == "/ready":
        req.write("ready")
        return None
    if req.path_info == "/read":
        req.read()
    if req.path_info == "/streaming":
        req.content_type = "application/octet-stream"
        req.write(b"begun")
        req.flush()
    req.log("begun %s, gone: %s" % (req.query, req.is_client_gone))
    end = time.monotonic() + 60
    while not req.is_client_gone and time.monotonic() < end:
        if req.path_info == "/streaming":
            try:
                req.write(b"more" * 1000)
                req.flush()
            except BrokenPipeError:  # the sooner of both
                break
        time.sleep(0.02)
    req.log("%s %s" % ("gone" if req.is_client_gone else "waited in vain", req.query))
    req.write("the end")
    return None
