"""A Django application in one file, with a form and addresses made by reverse()."""
import hashlib

import django
from django.conf import settings

settings.configure(
    DEBUG=False, SECRET_KEY="of no value", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"], DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    LOGGING_CONFIG=None)
django.setup()

from django import forms  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.shortcuts import redirect  # noqa: E402
from django.urls import path, reverse  # noqa: E402


class Greeting(forms.Form):
    name = forms.CharField(max_length=20)
    times = forms.IntegerField(min_value=1, max_value=3)


def home(request):
    return HttpResponse("home")


def address(request):
    return JsonResponse({"relative": reverse("item", args=["caf\u00e9"]), "path": request.path,
                         "external": request.build_absolute_uri(),
                         "root": request.META["SCRIPT_NAME"]})


def item(request, name):
    return HttpResponse("item " + name)


def old(request):
    return redirect("item", name="new")


def folder(request):
    return HttpResponse("folder")


def greet(request):
    form = Greeting(request.POST)
    if not form.is_valid():
        return JsonResponse(form.errors.get_json_data(), status=400)
    words = ["hello " + form.cleaned_data["name"]] * form.cleaned_data["times"]
    return HttpResponse(" ".join(words))


def upload(request):
    sent = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in sent.chunks():
        digest.update(chunk)
    return JsonResponse({"name": sent.name, "size": sent.size, "sha256": digest.hexdigest()})


def stream(request):
    return StreamingHttpResponse(b"%d," % number for number in range(1000))


urlpatterns = [
    path("", home), path("address", address), path("item/<str:name>", item, name="item"),
    path("old", old), path("folder/", folder),
    path("greet", greet), path("upload", upload), path("stream", stream),
]
application = get_wsgi_application()
