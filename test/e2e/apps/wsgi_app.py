"""The application of the tests: a route for each thing that an application may do or do wrong.

Routes that keep WSGI's rules run inside wsgiref.validate; those that break them, or need the
server's own objects, do not."""
import gc
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from wsgiref.validate import validator

VALID, RAW = {}, {}
TEXT = [("Content-Type", "text/plain; charset=utf-8")]
state = {"closed": 0, "last": None, "input": None, "environ": None}
local = threading.local()


def route(path, table=VALID):
    def add(function):
        table[path] = function
        return function
    return add


def raw(path):
    return route(path, RAW)


def query(environ, name, default=""):
    return dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", ""),
                                       keep_blank_values=True)).get(name, default)


def answer(start_response, text, status="200 OK", headers=()):
    body = text if isinstance(text, bytes) else text.encode("utf-8")
    start_response(status, TEXT + [("Content-Length", str(len(body)))] + list(headers))
    return [body]


def answer_json(start_response, value):
    body = json.dumps(value, sort_keys=True).encode("ascii")
    start_response("200 OK", [("Content-Type", "application/json"),
                              ("Content-Length", str(len(body)))])
    return [body]


def chunks_of(stream, size=65536):
    while True:
        data = stream.read(size)
        if not data:
            return
        yield data


def pattern(total, chunk=65536):
    """total bytes that anybody can make again."""
    block = bytes(range(256)) * (chunk // 256)
    for at in range(0, total, chunk):
        yield block[:min(chunk, total - at)]


class Closing:
    """An iterable that counts its close()."""

    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)

    def close(self):
        state["closed"] += 1


# -------------------------------------------------------------------------------
# What is sent to the application


@route("/ready")
def ready(environ, start_response):
    return answer(start_response, "ready")


@route("/environ")
def show_environ(environ, start_response):
    """Strings as they are, everything else by its repr or its value."""
    shown = {name: value if isinstance(value, (str, bool, int, tuple)) else repr(value)
             for name, value in environ.items()}
    return answer_json(start_response, shown)


@route("/os-environ")
def os_environ(environ, start_response):
    return answer_json(start_response, dict(os.environ))


@route("/sys")
def show_sys(environ, start_response):
    import fcgihost
    return answer_json(start_response, {
        "path": sys.path, "prefix": sys.prefix, "executable": sys.executable,
        "version": list(sys.version_info[:3]),
        "argv": sys.argv, "fcgihost": fcgihost.__file__, "pid": os.getpid(),
        "switch_interval": sys.getswitchinterval(), "dont_write_bytecode": sys.dont_write_bytecode,
        "folder": os.getcwd(), "thread": threading.current_thread() is threading.main_thread()})


@route("/echo")
def echo(environ, start_response):
    digest, size = hashlib.sha256(), 0
    for data in chunks_of(environ["wsgi.input"]):
        digest.update(data)
        size += len(data)
    return answer_json(start_response, {"sha256": digest.hexdigest(), "size": size,
                                        "token": query(environ, "token")})


@route("/echo-body")
def echo_body(environ, start_response):
    return answer(start_response, b"".join(chunks_of(environ["wsgi.input"])))


@route("/ignore")
def ignore(environ, start_response):
    return answer(start_response, "ignored " + query(environ, "token"))


@route("/read-some")
def read_some(environ, start_response):
    environ["wsgi.input"].read(int(query(environ, "size", "10")))
    return answer(start_response, "read some " + query(environ, "token"))


@raw("/read-by")
def read_by(environ, start_response):
    """Reads the body by the calls that ?calls= lists (read, read:N, readline, readline:N,
    readlines, readlines:N, iterate), and shows what each gave."""
    stream, results = environ["wsgi.input"], []
    for call in query(environ, "calls").split(","):
        name, _, size = call.partition(":")
        sizes = [int(size)] if size else []
        if name == "iterate":
            result = list(stream)
        else:
            result = getattr(stream, name)(*sizes)
        results.append([part.decode("latin-1") for part in result] if isinstance(result, list)
                       else result.decode("latin-1"))
    return answer_json(start_response, results)


@raw("/cut")
def cut(environ, start_response):
    """Reads the whole body and remembers how that ended."""
    state["last"] = "reading"
    read = 0
    try:
        for data in chunks_of(environ["wsgi.input"], 1024):
            read += len(data)
        state["last"] = "whole %d" % read
    except OSError as error:
        state["last"] = "OSError"
        state["error"] = repr(error)
    return answer(start_response, state["last"])


@route("/last")
def last(environ, start_response):
    """What /cut saw; ?reset=1 forgets it."""
    seen = str(state["last"])
    if query(environ, "reset"):
        state["last"] = None
    return answer(start_response, seen)


@route("/threads")
def threads(environ, start_response):
    """How many requests this thread has served here: a thread keeps its threading.local."""
    local.served = getattr(local, "served", 0) + 1
    return answer_json(start_response, {"served": local.served, "thread": threading.get_ident(),
                                        "multithread": environ["wsgi.multithread"]})


# -------------------------------------------------------------------------------
# What the application answers


@route("/download")
def download(environ, start_response):
    size = int(query(environ, "size", str(20 * 1024 * 1024)))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return pattern(size, int(query(environ, "chunk", "65536")))


@raw("/big")
def big(environ, start_response):
    body = b"".join(pattern(int(query(environ, "size", str(5 * 1024 * 1024)))))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [body]


@raw("/empty-list")
def empty_list(environ, start_response):
    start_response("200 OK", TEXT)
    return []


@route("/empty-chunks")
def empty_chunks(environ, start_response):
    """An empty string must not end the response or send the headers away too early."""
    start_response("200 OK", TEXT)
    return iter([b"", b"a", b"", b"b", b""])


@route("/status")
def status(environ, start_response):
    code = query(environ, "code", "200")
    if code in ("204", "304"):
        start_response(code + " Chosen", [("X-Empty", "yes")])
        return []
    return answer(start_response, "status " + code, code + " Chosen")


@route("/redirect")
def redirect(environ, start_response):
    return answer(start_response, "see there", "302 Found",
                  [("Location", query(environ, "to", "/there"))])


@route("/headers")
def headers(environ, start_response):
    return answer(start_response, "headers", headers=[
        ("Set-Cookie", "one=1; Path=/"), ("Set-Cookie", "two=2; Path=/"), ("X-Latin", "caf\xe9"),
        ("X-Empty", "")])


@route("/head")
def head(environ, start_response):
    """Sends a body even to HEAD, as careless applications do."""
    return answer(start_response, "a body of 22 bytes, ok")


@raw("/partial")
def partial(environ, start_response):
    start_response("200 OK", TEXT + [("Content-Length", "100")])
    return [b"only this"]


@raw("/excess")
def excess(environ, start_response):
    start_response("200 OK", TEXT + [("Content-Length", "5")])
    return iter([b"123", b"45678", b"9"]) if query(environ, "chunks") else [b"123456789"]


@raw("/no-length")
def no_length(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one object"]


@route("/write")
def write(environ, start_response):
    send = start_response("200 OK", TEXT)
    send(b"written, ")
    send(b"")
    send(b"written again, ")
    return [b"returned"]


@raw("/write-wrong")
def write_wrong(environ, start_response):
    send = start_response("200 OK", TEXT)
    try:
        send("text")
        name = "nothing"
    except Exception as error:
        name = type(error).__name__
    return [name.encode()]


@raw("/keep-write")
def keep_write(environ, start_response):
    state["write"] = start_response("200 OK", TEXT)
    state["start_response"] = start_response
    return [b"kept"]


@raw("/use-write")
def use_write(environ, start_response):
    """write() and start_response() of an earlier request must not reach this one's connection."""
    names = []
    for call in (lambda: state["write"](b"FORGED"),
                 lambda: state["start_response"]("200 OK", [("X-Forged", "1")])):
        try:
            call()
            names.append("nothing")
        except Exception as error:
            names.append(type(error).__name__)
    return answer_json(start_response, names)


@route("/late-start")
def late_start(environ, start_response):
    start_response("202 Late", TEXT + [("X-Late", "yes")])
    yield b"started late"


@raw("/no-start")
def no_start(environ, start_response):
    return [b"start_response was never called"]


@raw("/no-start-empty")
def no_start_empty(environ, start_response):
    return []


@raw("/return-none")
def return_none(environ, start_response):
    start_response("200 OK", TEXT)


@raw("/return-text")
def return_text(environ, start_response):
    start_response("200 OK", TEXT)
    return ["text, not bytes"]


@route("/error")
def error(environ, start_response):
    raise ValueError("announced failure " + query(environ, "token"))


@route("/error-later")
def error_later(environ, start_response):
    """Fails when some of the body has left."""
    start_response("200 OK", TEXT)
    yield b"x" * int(query(environ, "size", "100"))
    raise ValueError("announced failure " + query(environ, "token"))


@route("/system-exit")
def system_exit(environ, start_response):
    sys.exit("announced exit")


@route("/exc-info")
def exc_info(environ, start_response):
    """Changes its mind before anything was sent."""
    start_response("200 OK", TEXT + [("X-First", "yes")])
    try:
        raise KeyError("changed my mind")
    except KeyError:
        start_response("503 Second Thoughts", TEXT + [("X-Second", "yes")], sys.exc_info())
    return [b"second thoughts"]


@raw("/exc-info-late")
def exc_info_late(environ, start_response):
    """Changes its mind too late: start_response must raise the very exception."""
    start_response("200 OK", TEXT)
    yield b"first,"
    try:
        raise KeyError("too late")
    except KeyError as problem:
        try:
            start_response("500 Too Late", TEXT, sys.exc_info())
            yield b"accepted"
        except Exception as raised:
            yield b" same" if raised is problem else b" " + repr(raised).encode()


@raw("/start-twice")
def start_twice(environ, start_response):
    start_response("200 OK", TEXT)
    try:
        start_response("404 Not Found", TEXT)
        return [b"nothing"]
    except Exception as problem:
        return [type(problem).__name__.encode()]


BAD_STARTS = {
    "status-integer": (200, TEXT),
    "status-bytes": (b"200 OK", TEXT),
    "status-none": (None, TEXT),
    "status-empty": ("", TEXT),
    "status-two-digits": ("20 OK", TEXT),
    "status-letters": ("abc Fine", TEXT),
    "status-below-100": ("099 Low", TEXT),
    "status-1xx": ("100 Continue", TEXT),
    "status-newline": ("200 OK\r\nX-Forged: 1", TEXT),
    "status-lone-newline": ("200 OK\n", TEXT),
    "status-nul": ("200 O\0K", TEXT),
    "status-beyond-latin-1": ("200 \u2603", TEXT),
    "headers-tuple": ("200 OK", tuple(TEXT)),
    "headers-none": ("200 OK", None),
    "header-list": ("200 OK", [["X-A", "1"]]),
    "header-of-three": ("200 OK", [("X-A", "1", "2")]),
    "header-string": ("200 OK", ["X-A: 1"]),
    "name-bytes": ("200 OK", [(b"X-A", "1")]),
    "name-empty": ("200 OK", [("", "1")]),
    "name-space": ("200 OK", [("X A", "1")]),
    "name-space-at-end": ("200 OK", [("X-A ", "1")]),
    "name-colon": ("200 OK", [("X-A:", "1")]),
    "name-newline": ("200 OK", [("X-A\r\nX-Forged", "1")]),
    "name-nul": ("200 OK", [("X\0A", "1")]),
    "name-beyond-ascii": ("200 OK", [("X-\xe9", "1")]),
    "name-status": ("200 OK", [("Status", "404 Not Found")]),
    "value-bytes": ("200 OK", [("X-A", b"1")]),
    "value-integer": ("200 OK", [("X-A", 1)]),
    "value-newline": ("200 OK", [("X-A", "1\r\nX-Forged: 1")]),
    "value-folded": ("200 OK", [("X-A", "1\r\n 2")]),
    "value-lone-newline": ("200 OK", [("X-A", "1\n")]),
    "value-lone-return": ("200 OK", [("X-A", "1\r2")]),
    "value-nul": ("200 OK", [("X-A", "1\x002")]),
    "value-control": ("200 OK", [("X-A", "1\x012")]),
    "value-delete": ("200 OK", [("X-A", "1\x7f2")]),
    "value-beyond-latin-1": ("200 OK", [("X-A", "\u2603")]),
    "length-word": ("200 OK", [("Content-Length", "many")]),
    "length-negative": ("200 OK", [("Content-Length", "-1")]),
    "length-fraction": ("200 OK", [("Content-Length", "1.5")]),
    "length-empty": ("200 OK", [("Content-Length", "")]),
    "length-sign": ("200 OK", [("Content-Length", "+5")]),
    "length-huge": ("200 OK", [("Content-Length", "9" * 40)]),
    "hop-by-hop": ("200 OK", [("Connection", "close")]),
}


@raw("/bad-header")
def bad_header(environ, start_response):
    """Which of three exceptions a bad start raises; a good one must still be possible then."""
    bad_status, bad_headers = BAD_STARTS[query(environ, "kind")]
    try:
        start_response(bad_status, bad_headers)
    except (TypeError, ValueError, RuntimeError) as problem:
        name = [kind.__name__ for kind in (TypeError, ValueError, RuntimeError)
                if isinstance(problem, kind)][0]
        return answer_json(start_response, [name, str(problem)])
    return [b"accepted"]


@route("/close")
def close(environ, start_response):
    """?how=normal, error (while iterating), endless (until the client has gone)."""
    how = query(environ, "how", "normal")

    def parts():
        yield b"first"
        if how == "error":
            raise ValueError("announced failure in iteration")
        while how == "endless":
            yield b"y" * 65536
    start_response("200 OK", TEXT)
    return Closing(parts())


@route("/close-unstarted")
def close_unstarted(environ, start_response):
    """HEAD and 304 have no body, and close() is still called."""
    start_response("304 Not Modified", [])
    return Closing([])


@raw("/close-error")
def close_error(environ, start_response):
    class Broken(Closing):
        def close(self):
            super().close()
            raise ValueError("announced failure in close")
    start_response("200 OK", TEXT)
    return Broken([b"whole"])


@route("/closed")
def closed(environ, start_response):
    return answer(start_response, str(state["closed"]))


@route("/errors")
def errors(environ, start_response):
    stream = environ["wsgi.errors"]
    text = query(environ, "text", "a line for the log")
    stream.write(text + "\n")
    stream.writelines(["several ", "pieces of " + text + "\n"])
    stream.flush()
    return answer(start_response, "logged")


@raw("/print-errors")
def print_errors(environ, start_response):
    print("printed", query(environ, "text"), "caf\xe9 \u2603", file=environ["wsgi.errors"])
    print("to stdout", query(environ, "text"))
    print("to stderr", query(environ, "text"), file=sys.stderr)
    return answer(start_response, "printed")


@raw("/file")
def file(environ, start_response):
    """wsgi.file_wrapper over a real file; ?closed=1 tells whether the last one was closed."""
    if query(environ, "closed"):
        return answer(start_response, str(state["file"].closed))
    opened = state["file"] = open(query(environ, "path"), "rb")
    opened.seek(int(query(environ, "seek", "0")))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](opened, 8192)


@raw("/file-like")
def file_like(environ, start_response):
    """wsgi.file_wrapper over an object that has no descriptor and no close()."""
    class Reader:
        parts = [b"from ", b"an object", b""]

        def read(self, size):
            return self.parts.pop(0) if len(self.parts) > 1 else b""
    reader = Reader()
    reader.parts = list(Reader.parts)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](reader)


# -------------------------------------------------------------------------------
# What outlives a request, takes time, or makes processes


@raw("/keep-input")
def keep_input(environ, start_response):
    state["input"], state["environ"] = environ["wsgi.input"], environ
    state["errors"] = environ["wsgi.errors"]
    return answer(start_response, "kept")


@raw("/use-input")
def use_input(environ, start_response):
    """What each use of the kept objects raises."""
    kept, names = state["input"], []
    for call in (lambda: kept.read(), lambda: kept.read(1), lambda: kept.readline(),
                 lambda: kept.readlines(),
                 lambda: next(iter(kept))):
        try:
            names.append("nothing: %r" % (call(),))
        except StopIteration:
            names.append("nothing: StopIteration")
        except Exception as problem:
            names.append(type(problem).__name__)
    return answer_json(start_response, names)


@raw("/use-errors")
def use_errors(environ, start_response):
    """wsgi.errors of an earlier request, from a thread of its own: must not crash."""
    def write_late():
        try:
            state["errors"].write("written late\n")
            state["errors"].flush()
            state["last"] = "written"
        except Exception as problem:
            state["last"] = type(problem).__name__
    thread = threading.Thread(target=write_late)
    thread.start()
    thread.join()
    return answer(start_response, str(state["last"]))


@route("/sleep")
def sleep(environ, start_response):
    ms = float(query(environ, "ms", "0"))
    marker = query(environ, "marker")
    if marker:  # tells the test that the request is in flight
        with open(marker, "w") as started:
            started.write("started")
    until = query(environ, "until")
    if until:  # sleeps until the test makes this file
        end = time.monotonic() + 300
        while not os.path.exists(until) and time.monotonic() < end:
            time.sleep(0.01)
    time.sleep(ms / 1000)
    return answer(start_response, "slept " + query(environ, "token"))


@raw("/fork")
def fork(environ, start_response):
    """?how=exit (sys.exit), _exit, raise, return (the child answers as if it were the parent)."""
    how = query(environ, "how", "_exit")
    pid = os.fork()
    if pid == 0:
        if how == "exit":
            sys.exit(7)
        if how == "raise":
            raise ValueError("announced failure in the child")
        if how == "return":
            return answer(start_response, "the child answered")
        os._exit(7)
    _, ended = os.waitpid(pid, 0)
    return answer(start_response, "child ended with %d" % os.waitstatus_to_exitcode(ended))


@raw("/fork-and-leave")
def fork_and_leave(environ, start_response):
    """A child that goes on sleeping; answers its pid."""
    pid = os.fork()
    if pid == 0:
        time.sleep(300)
        os._exit(0)
    state["child"] = pid
    return answer(start_response, str(pid))


@raw("/collect-child")
def collect_child(environ, start_response):
    _, ended = os.waitpid(state["child"], 0)
    return answer(start_response, str(os.waitstatus_to_exitcode(ended)))


@route("/subprocess")
def run_subprocess(environ, start_response):
    done = subprocess.run(["/bin/sh", "-c",
                           "echo from a child; ls -l /proc/self/fd | grep -c socket:; "
                           "grep SigBlk /proc/self/status"],
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return answer(start_response, done.stdout)


@raw("/subprocess-and-leave")
def subprocess_and_leave(environ, start_response):
    state["subprocess"] = subprocess.Popen(["/bin/sleep", "300"], stdin=subprocess.DEVNULL)
    return answer(start_response, str(state["subprocess"].pid))


@raw("/collect-subprocess")
def collect_subprocess(environ, start_response):
    return answer(start_response, str(state["subprocess"].wait()))


@route("/blocks")
def blocks(environ, start_response):
    """How many blocks of memory Python's objects have."""
    gc.collect()
    return answer(start_response, str(sys.getallocatedblocks()))


@route("/atexit")
def register_atexit(environ, start_response):
    import atexit
    path = query(environ, "path")

    def note():
        with open(path, "a") as file:
            file.write("atexit in %s\n" % os.getpid())
    atexit.register(note)
    return answer(start_response, str(os.getpid()))


@raw("/kill-self")
def kill_self(environ, start_response):
    os.kill(os.getpid(), int(query(environ, "signal", "15")))
    return answer(start_response, "sent")


# -------------------------------------------------------------------------------


def not_found(environ, start_response):
    return answer(start_response, "no route " + environ.get("PATH_INFO", ""), "404 Not Found")


def dispatch(environ, start_response):
    return VALID.get(environ.get("PATH_INFO", ""), not_found)(environ, start_response)


validated = validator(dispatch)


def application(environ, start_response):
    chosen = RAW.get(environ.get("PATH_INFO", ""))
    # The environ page answers below any path, so that tests can look at what a path becomes.
    if environ.get("QUERY_STRING", "").startswith("show-environ"):
        return validator(show_environ)(environ, start_response)
    return (chosen or validated)(environ, start_response)


def tolerant(environ, start_response):
    """Answers whatever it is asked, and takes a body that is cut short."""
    read = 0
    try:
        for data in chunks_of(environ["wsgi.input"]):
            read += len(data)
    except OSError:
        pass
    return answer(start_response, "read %d" % read)
