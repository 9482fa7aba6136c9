"""A FastCGI client with every freedom that a hostile or clumsy web server would take."""
import struct

import message

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR, DATA = range(1, 9)
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)
NAME = "fastcgi"


def record(kind, content=b"", request_id=1, padding=0, version=1):
    header = struct.pack(">BBHHBx", version, kind, request_id, len(content), padding)
    return header + content + b"\xff" * padding


def begin(request_id=1, role=RESPONDER, keep=True):
    return record(BEGIN_REQUEST, struct.pack(">HB5x", role, 1 if keep else 0), request_id)


def abort(request_id=1):
    return record(ABORT_REQUEST, b"", request_id)


def length(number, long=False):
    return struct.pack(">I", number | 0x80000000) if number > 127 or long else bytes([number])


def pairs(parameters, long=False):
    """Name-value pairs on the wire; long: four-byte lengths even for short ones."""
    return b"".join(length(len(name), long) + length(len(value), long) + name + value
                    for name, value in ((message.as_bytes(name), message.as_bytes(value))
                                        for name, value in parameters))


def stream(kind, content, request_id=1, chunk=65535, padding=0, end=True):
    """A stream in records of at most chunk bytes, and its end."""
    parts = [record(kind, content[at:at + chunk], request_id, padding)
             for at in range(0, len(content), chunk)]
    if end:
        parts.append(record(kind, b"", request_id))
    return b"".join(parts)


def head(parameters, request_id=1, role=RESPONDER, keep=True, chunk=65535, padding=0):
    parameter_stream = stream(PARAMS, pairs(parameters), request_id, chunk, padding)
    return begin(request_id, role, keep) + parameter_stream


def request_bytes(method="GET", path="/", body=b"", headers=(), extra=None, keep=True, request_id=1,
                  chunk=65535, padding=0, script_name="", head_chunk=None):
    """head_chunk: the size of the PARAMS records, if they differ from those of STDIN."""
    parameters = message.parameters(method, path, body, headers, extra, script_name)
    return head(parameters, request_id, RESPONDER, keep, head_chunk or chunk, padding) + \
        stream(STDIN, body, request_id, chunk, padding)


class Connection(message.Connection):
    def read_record(self):
        """(type, request id, content), or None at the end of the connection."""
        header = self.receive_exactly(8)
        if len(header) < 8:
            return None
        version, kind, request_id, size, padding = struct.unpack(">BBHHBx", header)
        assert version == 1, "a record of version %d: %r" % (version, header)
        content = self.receive_exactly(size)
        self.receive_exactly(padding)
        return (kind, request_id, content) if len(content) == size else None

    def read_raw(self, request_id=1):
        """Everything up to END_REQUEST or the end of the connection:
        (stdout, stderr, end), end being (appStatus, protocolStatus) or None."""
        out, err = [], []
        while True:
            found = self.read_record()
            if found is None:
                return b"".join(out), b"".join(err), None
            kind, number, content = found
            assert number == request_id, "a record of type %d for request %d" % (kind, number)
            if kind == STDOUT:
                out.append(content)
            elif kind == STDERR:
                err.append(content)
            elif kind == END_REQUEST:
                return b"".join(out), b"".join(err), struct.unpack(">IB3x", content)
            else:
                raise AssertionError("a record of type %d from the host" % kind)

    def read_response(self, request_id=1):
        out, err, end = self.read_raw(request_id)
        if not out:
            raise AssertionError("no response; END_REQUEST: %r, stderr: %r" % (end, err))
        app_status, protocol_status = end or (None, None)
        return message.parse_cgi(out, ended=end is not None, stderr=err, app_status=app_status,
                                 protocol_status=protocol_status)

    def exchange(self, *args, **kwargs):
        self.send(request_bytes(*args, **kwargs))
        return self.read_response(kwargs.get("request_id", 1))

    def read_values(self):
        """The answer to FCGI_GET_VALUES as a dict."""
        kind, request_id, content = self.read_record()
        assert (kind, request_id) == (GET_VALUES_RESULT, 0), (kind, request_id)
        return dict(split_pairs(content))


def split_pairs(content):
    position = 0

    def take_length():
        nonlocal position
        if content[position] < 128:
            position += 1
            return content[position - 1]
        position += 4
        return struct.unpack(">I", content[position - 4:position])[0] & 0x7fffffff

    while position < len(content):
        name_size, value_size = take_length(), take_length()
        name = content[position:position + name_size]
        value = content[position + name_size:position + name_size + value_size]
        position += name_size + value_size
        assert position <= len(content), "a pair longer than its record: %r" % content
        yield name.decode(), value.decode()


def exchange(address, method="GET", path="/", body=b"", headers=(), extra=None, keep=False,
             **kwargs):
    """One request on a connection of its own."""
    with Connection(address) as connection:
        response = connection.exchange(method, path, body, headers, extra, keep=keep, **kwargs)
        if not keep:
            assert connection.is_closed_by_peer(), "bytes after END_REQUEST"
        return response
