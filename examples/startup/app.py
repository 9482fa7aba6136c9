"""Counts visits in a database that can be down: then visitors see a page, not an error."""
import html
import math

import fcgihost

import store

PAGE = "<!doctype html>\n<html lang=\"en\">\n<title>{title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n</html>\n"


def application(environ, start_response):
    try:
        with store.pool.get().lease() as database:
            visits = database.ask("hit")
            servers = database.ask("who")
    except fcgihost.ResourceUnavailable as error:
        return unavailable(start_response, error.retry_after)
    except OSError:  # it was there when the process started, and has gone
        return unavailable(start_response, 1)
    return answer(start_response, "200 OK", [], "Visit %s" % visits, "Signed on: %s" % servers)


def unavailable(start_response, seconds):
    seconds = max(math.ceil(seconds), 1)
    return answer(start_response, "503 Service Unavailable", [("Retry-After", str(seconds))],
                  "Back in a moment", "The shop is being tidied up. Please try again in %d s." % seconds)


def answer(start_response, status, headers, title, text):
    body = PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
    start_response(status, [("Content-Type", "text/html; charset=utf-8"),
                            ("Content-Length", str(len(body))), *headers])
    return [body]
