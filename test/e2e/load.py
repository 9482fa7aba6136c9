"""Clients that ask at the same time for as long as a test needs, check every answer, and count: what is lost, garbled or
answered by the wrong one is a failure."""
import collections
import http.client
import threading

import fastcgi
import message
from process import deadline, wait_until

ENOUGH_FAILURES = 50  # then the clients stop: everything fails


def body_of(number):
    """Mostly short; some are larger than what a host keeps in memory, or a web server passes on at once."""
    size = number * 7919 % (150000 if number % 16 == 1 else 3000)
    return (b"%08d" % number) * (size // 8 + 1)


class Client:
    """What has at most one connection at a time: kept, or a new one for each request."""

    def __init__(self, kept):
        self.kept, self.connection = kept, None

    def connect(self):
        raise NotImplementedError

    def ask(self, method, path, body):
        if self.connection is None:
            self.connection = self.connect()
        response, is_last = self.exchange(method, path, body)
        if not self.kept or is_last:
            self.close()
        return response

    def exchange(self, method, path, body):
        """The response, and whether the connection ends with it."""
        raise NotImplementedError

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Direct(Client):
    """A FastCGI client's connections to the host: kept, or a new one for each request."""

    def __init__(self, address, kept):
        super().__init__(kept)
        self.address = address

    def connect(self):
        return fastcgi.Connection(self.address)

    def exchange(self, method, path, body):
        response = self.connection.exchange(method, path, body, keep=self.kept)
        if not response.ended:
            raise AssertionError("the response was cut short")
        return response, False


class Http(Client):
    """A client of a web server that is in front of the host."""

    def __init__(self, port, kept, prefix=""):
        super().__init__(kept)
        self.port, self.prefix = port, prefix

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=deadline(60))

    def exchange(self, method, path, body):
        headers = {} if self.kept else {"Connection": "close"}
        self.connection.request(method, self.prefix + path, body if method == "POST" else None, headers)
        found = self.connection.getresponse()
        return message.Response(found.status, found.getheaders(), found.read(), found.reason), found.will_close


class Failure:
    def __init__(self, client, number, method, reason):
        self.client, self.number, self.method, self.reason = client, number, method, reason

    def __repr__(self):
        return "%s %d of client %d: %s" % (self.method, self.number, self.client, self.reason)


class Load:
    """make_client: called once by each client's thread. requests: then they stop by themselves; None: at the end of
    the `with` block. GETs and POSTs in turns."""

    def __init__(self, make_client, requests=None, clients=8):
        self.make_client, self.requests = make_client, requests
        self.lock, self.asked, self.is_stopped = threading.Lock(), 0, False
        self.answers = 0
        self.by_pid, self.by_version = collections.Counter(), collections.Counter()
        self.failures = []
        self.threads = [threading.Thread(target=self.run_client, args=(number,)) for number in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *unused):
        self.is_stopped = self.is_stopped or self.requests is None or kind is not None
        for thread in self.threads:
            thread.join()

    def run(self):
        with self:
            pass
        return self

    def take(self):
        with self.lock:
            is_over = self.is_stopped or len(self.failures) >= ENOUGH_FAILURES or \
                (self.requests is not None and self.asked >= self.requests)
            if is_over:
                return None
            self.asked += 1
            return self.asked

    def run_client(self, which):
        client = self.make_client()
        while True:
            number = self.take()
            if number is None:
                break
            method = "POST" if number % 2 else "GET"
            try:
                self.ask(client, method, number)
            except (OSError, ValueError, AssertionError, http.client.HTTPException) as error:
                client.close()
                with self.lock:
                    self.failures.append(Failure(which, number, method, "%s: %s" % (type(error).__name__, error)))
        client.close()

    def ask(self, client, method, number):
        body = body_of(number) if method == "POST" else b""
        response = client.ask(method, "/echo?token=%d" % number, body)
        if response.status != 200:
            raise AssertionError("%d %s" % (response.status, response.text[:80]))
        head, _, rest = response.body.partition(b"\n")
        token, pid, version = head.decode("latin-1").split(" ", 2)
        if (token, rest) != (str(number), body):
            raise AssertionError("another one's answer: %r, %d bytes instead of %d" % (head, len(rest), len(body)))
        with self.lock:
            self.answers += 1
            self.by_pid[int(pid)] += 1
            self.by_version[version] += 1

    def wait(self, more=100, seconds=60):
        """Until so many more have been answered."""
        wanted = self.answers + more
        wait_until(lambda: self.answers >= wanted or self.is_failing(), "%d more answers" % more, seconds)
        assert not self.is_failing(), self.failures[:10]

    def wait_for_pid(self, pid, more=1, seconds=60):
        """Until this process has answered so many more."""
        wanted = self.by_pid[pid] + more
        wait_until(lambda: self.by_pid[pid] >= wanted or self.is_failing(), "an answer by %d" % pid, seconds)
        assert not self.is_failing(), self.failures[:10]

    def is_failing(self):
        return len(self.failures) >= ENOUGH_FAILURES
