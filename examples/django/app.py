"""Django in a single file: a form with its CSRF token, a redirect, and no database.

    build/fcgihost --call / examples/django/app.py
"""
import secrets

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template import engines
from django.urls import path, reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

PAGE = """<!doctype html>
<html lang="en">
<title>Django</title>
<h1>{% if name %}Hello, {{ name }}.{% else %}Hello.{% endif %}</h1>
<form method="post" action="{% url 'greet' %}">
  {% csrf_token %}
  <label>Your name <input name="name" required></label>
  <button>Greet</button>
</form>
</html>
"""


@require_GET
def index(request):
    page = engines["django"].from_string(PAGE)
    return HttpResponse(page.render({"name": request.GET.get("name")}, request))


@require_POST
def greet(request):
    name = request.POST.get("name", "")
    return redirect(reverse("index") + "?" + urlencode({"name": name}))


urlpatterns = (
    path("", index, name="index"),
    path("greet", greet, name="greet"),
)

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1", "[::1]"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    ROOT_URLCONF=urlpatterns,  # a script file has no module name to give here
    SECRET_KEY=secrets.token_urlsafe(),  # a site with sessions keeps one for ever
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
application = get_wsgi_application()
