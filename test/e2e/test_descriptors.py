"""Applications that close descriptors: the standard ones, and those of the host."""
import contextlib
import os

import pytest

import fastcgi
from host import APPS, Host, write_file

CLOSING = '''
import os
import socket
import fcgihost

pairs = []

def close(first, last):
    os.closerange(first, last)
    if last > 3:
        pairs.extend(socket.socketpair() for _ in range(30))  # they get the host's numbers
    open(os.environ["FOLDER"] + "/closed", "a").close()

@fcgihost.register_cleanup
def clean_up():
    open(os.environ["FOLDER"] + "/cleaned", "a").close()

def application(environ, start_response):
    if environ["PATH_INFO"] == "/close":
        fcgihost.request().register_cleanup(close, *map(int, environ["QUERY_STRING"].split("-")))
    if environ["PATH_INFO"] == "/print":
        for number in range(3):
            try:
                os.write(number, b"printed")
            except OSError:
                pass
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
'''
TOLD = r"error: the application has closed the host's descriptors, with os.closerange\(\) say"


@pytest.fixture
def start(folder):
    write_file(folder / "closing.py", CLOSING)

    def start_host(**settings):
        settings = {"python": {"path": [APPS, str(folder)]}, "application": {"mount": "/"}, **settings}
        return Host("closing:application", settings, environ={"FOLDER": str(folder)}, probe=not settings.get("server"))
    return start_host


def close(host, first, last):
    assert fastcgi.exchange(host.address, "GET", "/close?%d-%d" % (first, last)).status == 200


@pytest.mark.parametrize("destination, first", [("stderr", 3), ("host.log", 3), ("host.log", 0)])
def test_a_host_whose_descriptors_are_closed_says_so_cleans_up_and_exits_with_1(start, folder, destination, first):
    host = start(log={"destination": destination})
    host.expected_status = 1
    close(host, first, 10000)
    host.log.wait(TOLD)
    assert host.wait_exit() == 1
    assert (folder / "cleaned").exists()


def test_a_manager_replaces_such_a_worker(start):
    host = start(server={"processes": 1, "manager": "yes"})
    pid = host.exchange("GET", "/").text
    close(host, 3, 10000)
    host.log.wait(TOLD)
    host.log.wait(r"error: worker %s exited with code 1" % pid)
    assert host.exchange("GET", "/").text != pid


@pytest.mark.parametrize("where", ["host.sock", "status"])
def test_what_is_printed_reaches_no_client_though_the_standard_streams_are_closed(start, where):
    host = start(status={"listen": "unix:status"})
    close(host, 0, 3)
    with contextlib.ExitStack() as stack:
        path = os.path.join(host.folder, where)
        silent = [stack.enter_context(fastcgi.Connection(path)) for _ in range(4)]
        for _ in range(4):
            host.exchange("GET", "/print")
        for connection in silent:
            connection.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.socket.recv(1)


def test_closed_standard_streams_harm_nobody(start):
    host = start(log={"destination": "host.log"})
    close(host, 0, 3)
    assert serves_pid(host)
    assert host.log.read().count("has closed") == 0


def serves_pid(host):
    return all(fastcgi.exchange(host.address, "GET", "/").text == str(host.pid) for _ in range(20))
