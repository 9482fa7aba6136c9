"""An SCGI client with every freedom that a hostile or clumsy web server would take."""
import message

NAME = "scgi"


def head(parameters):
    """The netstring of headers: CONTENT_LENGTH first, and SCGI, as the specification wants it."""
    parameters = dict(parameters)
    content_length = parameters.pop("CONTENT_LENGTH", "0") or "0"
    ordered = [("CONTENT_LENGTH", content_length), ("SCGI", "1")] + list(parameters.items())
    content = b"".join(message.as_bytes(name) + b"\0" + message.as_bytes(value) + b"\0"
                       for name, value in ordered)
    return b"%d:%s," % (len(content), content)


def request_bytes(method="GET", path="/", body=b"", headers=(), extra=None, script_name=""):
    return head(message.parameters(method, path, body, headers, extra, script_name)) + body


class Connection(message.Connection):
    def read_response(self):
        """The connection's end is the response's end: SCGI has no other."""
        raw = self.receive_all()
        if not raw:
            raise AssertionError("no response")
        return message.parse_cgi(raw)

    def exchange(self, *args, **kwargs):
        self.send(request_bytes(*args, **kwargs))
        return self.read_response()


def exchange(address, method="GET", path="/", body=b"", headers=(), extra=None, **kwargs):
    """One request on a connection of its own."""
    with Connection(address) as connection:
        return connection.exchange(method, path, body, headers, extra, **kwargs)
