"""The same page as Flask's, by Django."""
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.template import engines
from django.urls import path


def page(request):
    items = [(number, "item <%d>" % number) for number in range(20)]
    return HttpResponse(PAGE.render({"title": "Items & more", "items": items}, request))


settings.configure(
    ALLOWED_HOSTS=["localhost"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=(path("page", page),),
    SECRET_KEY="of no use here",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
application = get_wsgi_application()
PAGE = engines["django"].from_string(
    "<!doctype html><title>{{ title }}</title><ul>"
    "{% for number, name in items %}<li>{{ number }}: {{ name }}</li>{% endfor %}</ul>")
