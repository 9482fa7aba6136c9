"""Edit this file, or greeting.py, and reload the page: the log says what the host did."""
import fcgihost

import visits

greeting = fcgihost.import_module("greeting")   # a part of this script's generation

fcgihost.register_cleanup(print, "app.py: nobody uses this generation any more")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    text = "%s (visit %d, generation %d)\n" % (greeting.TEXT, visits.count(), fcgihost.process.generation)
    return [text.encode()]
