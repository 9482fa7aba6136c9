"""A page as sites have it, by Django: its usual middleware, a session in a signed cookie, templates that extend and
include others."""
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.shortcuts import render
from django.urls import path

TEMPLATES = {
    "base.html": "<!doctype html><title>{% block title %}{% endblock %}</title><nav>{% for name in menu %}"
                 "<a href=\"/{{ name|urlencode }}\">{{ name }}</a>{% endfor %}</nav>"
                 "{% block main %}{% endblock %}",
    "row.html": "<tr><td>{{ number }}</td><td>{{ name|title }}</td></tr>",
    "page.html": "{% extends 'base.html' %}{% block title %}{{ title }}{% endblock %}{% block main %}<table>"
                 "{% for number, name in items %}{% include 'row.html' %}{% endfor %}</table>"
                 "<p>{{ request.COOKIES|length }} cookies{% if visits == 1 %}, welcome{% endif %}{% endblock %}",
}


def page(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return render(request, "page.html", {
        "title": "Items & more", "menu": ["home", "shop", "help"], "visits": request.session["visits"],
        "items": [(number, "item <%d>" % number) for number in range(50)]})


MIDDLEWARE = ["security.SecurityMiddleware", "common.CommonMiddleware", "csrf.CsrfViewMiddleware",
              "clickjacking.XFrameOptionsMiddleware"]
settings.configure(
    ALLOWED_HOSTS=["localhost"],
    INSTALLED_APPS=["django.contrib.sessions", "django.contrib.messages"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware"] +
               ["django.middleware." + name for name in MIDDLEWARE],
    MESSAGE_STORAGE="django.contrib.messages.storage.cookie.CookieStorage",
    ROOT_URLCONF=(path("page", page),),
    SECRET_KEY="of no use here",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {"loaders": [("django.template.loaders.cached.Loader",
                                         [("django.template.loaders.locmem.Loader", TEMPLATES)])],
                            "context_processors": ["django.template.context_processors.request",
                                                   "django.contrib.messages.context_processors.messages"]}}],
)
application = get_wsgi_application()
