"""A page that Flask makes of a template."""
from flask import Flask

application = Flask(__name__)
PAGE = application.jinja_env.from_string(
    "<!doctype html><title>{{ title }}</title><ul>"
    "{% for number, name in items %}<li>{{ number }}: {{ name }}</li>{% endfor %}</ul>")


@application.get("/page")
def page():
    items = [(number, "item <%d>" % number) for number in range(20)]
    return PAGE.render(title="Items & more", items=items)
