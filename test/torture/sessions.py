"""Hostile sessions beside well-formed ones, over FastCGI and SCGI on one socket: no answer is mixed, leaked or lost."""
import re
import socket
import time

import fastcgi
from torment import Found, Request, Torment, TormentedHost, drop, process, reset, send_in_pieces, tokens

TOKEN = re.compile(rb"[WH]\d{1,6}-[0-9a-f]{12}")


def flip(random, data):
    for _ in range(random.choice([1, 1, 2, 8, 100])):
        data[random.randrange(len(data))] = random.randrange(256)


def cut_out(random, data):
    start = random.randrange(len(data))
    del data[start:start + random.choice([1, 8, 100, 10000])]


def put_in(random, data):
    at = random.randrange(len(data) + 1)
    data[at:at] = random.choice([random.randbytes(random.randrange(1, 40)), b"\0" * 8, b"\xff" * 16])


def repeat(random, data):
    start = random.randrange(len(data))
    piece = data[start:start + random.randrange(1, 300)]
    data[start:start] = piece * random.choice([1, 2, 50])


def truncate(random, data):
    del data[random.randrange(len(data)):]


def stray_record(random, data):
    """A record of any type, for any request, that lies about its length or does not."""
    content = random.randbytes(random.choice([0, 1, 8, 100]))
    record = bytearray(fastcgi.record(random.randrange(0, 14), content, random.choice([0, 1, 2, 65535]),
                                      random.choice([0, 7, 255]), random.choice([1, 1, 1, 0, 2])))
    if random.random() < 0.3:
        record[4:6] = random.randbytes(2)
    at = random.choice([0, 16 if len(data) > 16 else 0, len(data)])
    data[at:at] = record


def lie_about_the_length(random, data):
    at = bytes(data).find(b"CONTENT_LENGTH")
    for i in range(max(at, 0) + 14, min(max(at, 0) + 20, len(data))):
        data[i] = random.choice(b"0123456789-+ \0x")


MUTATIONS = [flip, cut_out, put_in, repeat, truncate, stray_record, lie_about_the_length]


class Sessions(Torment):
    name = "sessions"

    def run(self, until):
        listen = ["127.0.0.1:%d" % process.free_port()] if self.random.random() < 0.5 else None
        settings = {"server": {"threads": 4}, "limits": {"io_timeout": "2s"}}
        host = TormentedHost(settings, listen=listen)
        try:
            self.in_threads([lambda random: self.be_good(host, random, until)] * 3 +
                            [lambda random: self.be_hostile(host, random, until)] * 5)
            if not host.is_running():
                raise Found("the host ended:\n" + host.log.read()[-3000:])
            for complaint in host.check_descriptors() + host.complaints():
                self.note(complaint)
        finally:
            for complaint in host.stop():
                self.note(complaint)
            host.clean_up()

    def be_good(self, host, random, until):
        connection = None
        while True:
            request = Request(random)
            if connection is None or request.is_scgi:
                drop(connection)
                connection, uses = request.connect(host.address), 0
            try:
                send_in_pieces(connection, request.bytes, random)
                request.check(connection.read_response())
                uses += 1
            except (OSError, ValueError, AssertionError, Found) as error:
                self.count(lost=1)
                self.note("a well-formed request beside hostile ones (%s, %d bytes of body, number %d of its connection): "
                          "%s: %s" % (request.path, len(request.body), uses + 1, type(error).__name__, error))
                connection = drop(connection)
            self.count(requests=1)
            if request.is_scgi or not request.is_kept or until():
                connection = drop(connection)
            if until():
                return

    def be_hostile(self, host, random, until):
        while True:
            request = Request(random, "H")
            data = bytearray(request.bytes)
            for _ in range(random.choice([1, 1, 1, 2, 5])):
                if data:
                    random.choice(MUTATIONS)(random, data)
            self.count(inputs=1)
            self.check_leak(request, self.attack(host, random, request, bytes(data)))
            if until():
                return

    def attack(self, host, random, request, data):
        """Everything that the host answered."""
        with request.connect(host.address) as connection:
            try:
                send_in_pieces(connection, data, random)
                way = random.choice(["half-close", "close", "reset", "stall", "listen"])
                if way == "half-close":
                    connection.half_close()
                    return connection.receive_all()
                if way == "reset":
                    reset(connection)
                elif way == "stall":
                    time.sleep(random.random() * 0.05)
                elif way == "listen":
                    connection.socket.settimeout(0.05)
                    return connection.receive_all()
            except socket.timeout:
                pass  # it may wait for more: io_timeout ends that
            except OSError:
                pass  # the host may close at any moment
            return b""

    def check_leak(self, request, answer):
        for token in TOKEN.findall(answer):
            if token in tokens and token != request.token.encode():
                self.note("the answer to hostile bytes has another request's token: %r" % token)
