"""Stands where the application goes."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"fcgihost serves /srv/app/app.py: put your application there\n"]
