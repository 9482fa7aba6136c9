"""The application of the tests: a route for each thing that an application may do or do wrong.

Routes that keep WSGI's rules run inside wsgiref.validate; those that break them, or need the
server's own objects, do not."""
import gc
import hashlib
import io
import os
import sys
import threading
import time
from wsgiref.validate import validator

import _fcgihost

import process_routes  # noqa: F401 (it adds its routes)
from bad_starts import BAD_STARTS
from routes import (RAW, TEXT, VALID, Closing, answer, answer_json, chunks_of, local, pattern,
                    query, raw, route, state)

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


@raw("/wrapped")
def wrapped(environ, start_response):
    """Reads the body through what Python wraps around files; ?by= says which and how."""
    stream, by = environ["wsgi.input"], query(environ, "by")
    if by == "buffered":
        result = io.BufferedReader(stream).read()
    elif by == "buffered-lines":
        result = b"".join(io.BufferedReader(stream, 7).readlines())
    elif by == "text":
        result = io.TextIOWrapper(stream, "utf-8", newline="").read().encode("utf-8")
    elif by == "text-lines":
        result = "".join(io.TextIOWrapper(io.BufferedReader(stream), "utf-8", newline="")).encode("utf-8")
    elif by == "collected":  # which closes what it wraps
        first = io.TextIOWrapper(stream, "latin-1", newline="").read(1)
        gc.collect()
        result = first.encode("latin-1") + stream.read()
    elif by == "readinto":
        pieces, room = [], bytearray(5)
        while n := stream.readinto(room):
            pieces.append(bytes(room[:n]))
        result = b"".join(pieces)
    elif by == "read1":
        result = b"".join(iter(lambda: stream.read1(5), b"")) + stream.read1() + stream.readall()
    facts = [stream.readable(), stream.writable(), stream.seekable(), stream.isatty(), stream.closed,
             stream.flush(), stream.close()]
    state["wrapped"] = io.BufferedReader(stream), io.TextIOWrapper(stream), stream
    return answer(start_response, result if facts == [True] + [False] * 4 + [None] * 2 else repr(facts))


@raw("/use-wrapped")
def use_wrapped(environ, start_response):
    """What each use of the kept objects raises."""
    buffered, text, stream = state.pop("wrapped")
    names = [str(stream.closed)]
    for call in (buffered.read, lambda: text.read(), lambda: stream.readinto(bytearray(1)), stream.read1,
                 stream.readall, stream.readable):
        try:
            names.append(repr(call()))
        except Exception as problem:
            names.append(type(problem).__name__)
    return answer_json(start_response, names)


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


@raw("/threads-together")
def threads_together(environ, start_response):
    """Threads that read, write, and write to wsgi.errors, and this one asks for the peer."""
    write, sums = start_response("200 OK", TEXT), {"read": 0, "raised": []}
    stream, log = environ["wsgi.input"], environ["wsgi.errors"]
    size = int(query(environ, "size", "1"))

    def read():
        for data in chunks_of(stream, 1000):
            sums["read"] += len(data)

    def answer_on():
        for _ in range(200):
            write(b"written " * size)

    def log_on():
        for number in range(200):
            log.write("line %d\n" % number)

    def catch(function):
        try:
            function()
        except OSError as error:
            sums["raised"].append(type(error).__name__)
    threads = [threading.Thread(target=catch, args=(function,)) for function in (read, answer_on, log_on)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        _fcgihost.is_client_gone()
        log.write("the worker's own\n")
        time.sleep(0.001)
    state["last"] = "read %d" % sums["read"]
    return [state["last"].encode()]


@raw("/read-on")
def read_on(environ, start_response):
    """A thread reads on while this one returns, and its request ends."""
    stream = environ["wsgi.input"]

    def read():
        try:
            while stream.read(100):
                pass
        except (OSError, ValueError):
            pass
    threading.Thread(target=read).start()
    return answer(start_response, "returned")


@route("/download")
def download(environ, start_response):
    size = int(query(environ, "size", str(20 * 1024 * 1024)))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return pattern(size, int(query(environ, "chunk", "65536")))


def compute():
    end = time.monotonic() + 0.01
    while time.monotonic() < end:
        pass


@raw("/long")
def long(environ, start_response):
    """Takes long, and all of it with the GIL."""
    compute()
    start_response("200 OK", [])
    return [b"computed"]


@raw("/long_head")
def long_head(environ, start_response):
    """More than a socket takes, all of it in the head."""
    compute()
    start_response("200 OK", [("X-Long", "x" * (4 << 20))])
    return [b"computed"]


@raw("/big")
def big(environ, start_response):
    body = b"".join(pattern(int(query(environ, "size", str(5 * 1024 * 1024)))))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [body]


@route("/answer-first")
def answer_first(environ, start_response):
    """5 MiB, and only then reads the body; its digest comes last."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    yield from pattern(5 << 20)
    digest = hashlib.sha256()
    for data in chunks_of(environ["wsgi.input"]):
        digest.update(data)
    yield digest.hexdigest().encode()


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
    return answer(start_response, "see there", query(environ, "code", "302") + " Chosen",
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


@route("/endless")
def endless(environ, start_response):
    """More than anybody waits for; the log has its begin, and whether it was closed in its middle."""
    token, log = query(environ, "token"), environ["wsgi.errors"]

    def parts():
        log.write("endless %s begins\n" % token)
        try:
            yield from pattern(2000 << 20)
        except GeneratorExit:
            log.write("endless %s is closed\n" % token)
            raise
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return parts()


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


@route("/flood")
def flood(environ, start_response):
    """So many lines of so many bytes, in wsgi.errors or what "to" names."""
    stream = getattr(sys, query(environ, "to", ""), environ["wsgi.errors"])
    line = "x" * int(query(environ, "size")) + "\n"
    for _ in range(int(query(environ, "lines"))):
        stream.write(line)
    return answer(start_response, "flooded")


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
