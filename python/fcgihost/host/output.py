"""What is printed: sys.stdout and sys.stderr, bounded where a request prints."""

import io
import sys

import _fcgihost


class _File(io.FileIO):
    """A standard descriptor. What a request's own thread writes to it counts as what the request logs, and is dropped
    as that is; what other threads write does not: nobody knows whose it is."""

    def write(self, data, *, _admit=_fcgihost.admit_output, _write=io.FileIO.write):
        # Bound early: this is called once more when the interpreter takes the modules apart.
        kept = _admit(data)
        if kept is None:
            return _write(self, data)
        with memoryview(data) as view, view.cast("B") as all_bytes:
            rest = bytes(all_bytes[:kept])
            if rest and not rest.endswith(b"\n"):
                rest += b"\n"  # what another request prints next has a line of its own
            while rest:
                rest = rest[_write(self, rest) or len(rest):]
            return all_bytes.nbytes


def _bind(stream):
    """The same stream, as the interpreter makes it, on a _File. Each line reaches the log when it is printed, in one
    piece, whatever characters it has."""
    file = _File(stream.fileno(), "wb", closefd=False)
    file.name = stream.name
    is_unbuffered = isinstance(stream.buffer, io.RawIOBase)
    bound = io.TextIOWrapper(
        file if is_unbuffered else io.BufferedWriter(file), encoding=stream.encoding, errors="backslashreplace",
        newline="\n", line_buffering=True, write_through=stream.write_through)
    bound.mode = "w"
    return bound


def set_up():
    """Main thread, once, before any code of the application runs."""
    for name in "stdout", "stderr":
        bound = _bind(getattr(sys, name))
        setattr(sys, name, bound)
        setattr(sys, "__%s__" % name, bound)
