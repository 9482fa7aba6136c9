"""Well-formed requests from several threads, beside whatever happens to their host: every answer is checked."""
import random
import threading
import time

from torment import Found, Request, process


class Asking:
    """For as long as the with block lasts. may_fail(request, began, answer): does what the host documents for the fault
    of the moment explain this answer (a response, or the exception instead of one) to what was sent at began?"""

    def __init__(self, torment, host, clients=3, may_fail=None, seconds=60):
        self.torment, self.host, self.seconds = torment, host, seconds
        self.may_fail = may_fail or (lambda request, began, answer: False)
        self.is_over, self.answers, self.excused = False, 0, 0
        self.threads = [threading.Thread(target=self.run, args=(torment.random.random(),)) for _ in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        for thread in self.threads:
            thread.join()

    def run(self, seed):
        chance, kept = random.Random(seed), None
        while not self.is_over:
            kept = self.ask(chance, kept)
        if kept is not None:
            kept.close()

    def ask(self, chance, kept):
        """One request, on the kept connection if it can be; the connection, if that is kept."""
        request, began, connection = Request(chance), time.monotonic(), None
        self.torment.count(requests=1)
        try:
            if kept is not None and not request.is_scgi:
                connection, kept = kept, None
            else:
                connection = request.connect(self.host.address)
            connection.socket.settimeout(process.deadline(self.seconds))
            connection.send(request.bytes)
            response = connection.read_response()
            if not self.is_excused(request, began, response):
                request.check(response)
            if not request.is_scgi and request.is_kept and response.ended and kept is None:
                connection, kept = None, connection
        except (OSError, ValueError, AssertionError, Found) as error:
            if not self.is_excused(request, began, error):
                self.lose(request, error)
        finally:
            if connection is not None:
                connection.close()
        return kept

    def is_excused(self, request, began, answer):
        is_excused = self.may_fail(request, began, answer)
        with self.torment.lock:
            self.answers += not isinstance(answer, Exception)
            self.excused += is_excused
        return is_excused

    def lose(self, request, error):
        self.torment.count(lost=1)
        self.torment.note("%s (%d bytes of body, %s): %s: %s; the log:\n%s" % (
            request.path, len(request.body), "SCGI" if request.is_scgi else "FastCGI", type(error).__name__, error,
            self.host.log.read()[-2000:]))
        time.sleep(0.1)  # a host that has ended fills no memory with this

    def wait(self, more=20, seconds=60):
        """Until so many more have been answered."""
        wanted = self.answers + more
        process.wait_until(lambda: self.answers >= wanted, "%d more answers; the log:\n%s" % (
            more, self.host.log.read()[-2000:]), seconds)


def cpu_seconds(pid):
    """What the process has used so far."""
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
