"""Flask: a form that answers with a redirect, and an upload.

    build/fcgihost --call / examples/flask/app.py
"""
import hashlib

from flask import Flask, redirect, render_template_string, request, url_for

application = Flask(__name__)

PAGE = """<!doctype html>
<html lang="en">
<title>Flask</title>
<h1>{% if name %}Hello, {{ name }}.{% else %}Hello.{% endif %}</h1>
<form method="post" action="{{ url_for('greet') }}">
  <label>Your name <input name="name" required></label>
  <button>Greet</button>
</form>
<form method="post" action="{{ url_for('upload') }}" enctype="multipart/form-data">
  <label>A file <input name="file" type="file" required></label>
  <button>Upload</button>
</form>
{% if file %}
<dl>
  <dt>name <dd>{{ file.name }}
  <dt>size <dd>{{ file.size }}
  <dt>sha256 <dd>{{ file.sha256 }}
</dl>
{% endif %}
</html>
"""


@application.get("/")
def index():
    return render_template_string(PAGE, name=request.args.get("name"))


@application.post("/greet")
def greet():
    return redirect(url_for("index", name=request.form["name"]), 303)


@application.post("/upload")
def upload():
    file = request.files["file"]
    digest, size = hashlib.sha256(), 0
    while chunk := file.stream.read(65536):
        digest.update(chunk)
        size += len(chunk)
    return render_template_string(
        PAGE, file={"name": file.filename, "size": size, "sha256": digest.hexdigest()})
