"""A page that Flask makes of two template files' worth: one extends the other, a loop includes a macro."""
from flask import Flask, render_template, request
from jinja2 import DictLoader

application = Flask(__name__)
application.jinja_loader = DictLoader({
    "base.html": "<!doctype html><title>{% block title %}{% endblock %}</title>"
                 "<nav>{% for name in menu %}<a href=\"/{{ name }}\">{{ name }}</a>{% endfor %}</nav>"
                 "<main>{% block main %}{% endblock %}</main>",
    "page.html": "{% extends 'base.html' %}{% macro row(number, name) %}"
                 "<tr><td>{{ number }}</td><td>{{ name|title }}</td></tr>{% endmacro %}"
                 "{% block title %}{{ title }}{% endblock %}{% block main %}<table>"
                 "{% for number, name in items %}{{ row(number, name) }}{% endfor %}</table>{% endblock %}",
})


@application.get("/page")
def page():
    items = [(number, "item <%d>" % number) for number in range(50)]
    return render_template("page.html", title=request.args.get("title", "Items & more"), items=items,
                           menu=["home", "shop", "help"])
