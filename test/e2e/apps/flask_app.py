"""A Flask application with what depends on the server: addresses, forms, uploads, sessions."""
import hashlib

from flask import Flask, abort, jsonify, redirect, request, session, url_for

application = Flask(__name__)
application.secret_key = "of no value"


@application.route("/")
def home():
    return "home"


@application.route("/address")
def address():
    return jsonify(relative=url_for("item", name="caf\u00e9 1"),
                   external=url_for("item", name="x", _external=True),
                   root=request.script_root, path=request.path, url=request.url)


@application.route("/item/<path:name>")
def item(name):
    return "item " + name


@application.route("/old")
def old():
    return redirect(url_for("item", name="new"))


@application.route("/folder/")
def folder():
    return "folder"


@application.route("/form", methods=["POST"])
def form():
    return jsonify({name: request.form.getlist(name) for name in request.form})


@application.route("/upload", methods=["POST"])
def upload():
    sent = request.files["file"]
    data = sent.read()
    return jsonify(name=sent.filename, size=len(data), sha256=hashlib.sha256(data).hexdigest(),
                   note=request.form["note"])


@application.route("/count")
def count():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


@application.route("/forbidden")
def forbidden():
    abort(403)


@application.route("/raise")
def fail():
    raise LookupError("announced failure in Flask")
