"""What systemd does for a service: it holds the socket, starts the program for it, and hears its messages."""
import os
import select
import socket
import struct
import sys

from host import PROGRAM, Host, merged, write_file
from process import wait_until

# Between fork and exec: the sockets become descriptors 3, 4 and so on; LISTEN_PID is the process itself.
ACTIVATE = """
import fcntl, os, sys
numbers = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1].split(",") if number]
for target, number in enumerate(numbers, 3):
    os.dup2(number, target)
    os.close(number)
if "WATCHDOG_USEC" in os.environ:
    os.environ.setdefault("WATCHDOG_PID", str(os.getpid()))
if numbers:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(numbers)))
os.execv(sys.argv[2], sys.argv[2:])
"""


def listening(folder, name="x.sock"):
    found = socket.socket(socket.AF_UNIX)
    found.bind(os.path.join(str(folder), name))
    found.listen()
    return found


def fill(notify):
    """Sends so much to the socket that nothing more has room; until it is read."""
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.setblocking(False)
    try:
        while True:
            sender.sendto(b"FULL=1", ("\0" + notify.path[1:]) if notify.path[0] == "@" else notify.path)
    except BlockingIOError:
        return sender


class SocketUnit:
    """A socket that stays when the service ends."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.path = os.path.join(self.folder, "unit.sock")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(64)

    def start(self, app, settings=None, **more):
        """The service."""
        number = self.socket.fileno()
        activate = write_file(os.path.join(self.folder, "activate.py"), ACTIVATE)
        host = Host(app, merged(settings, {"server": {"listen": None}}), listen=["unix:" + self.path],
                    pass_fds=[number], program=[sys.executable, activate, str(number), PROGRAM], **more)
        host.socket_files = []
        return host

    def is_wanted(self):
        """Is there a connection for which systemd would start the service?"""
        return bool(select.select([self.socket], [], [], 0)[0])

    def close(self):
        self.socket.close()


class NotifySocket:
    """What the service says, message by message: {"READY": "1", "STATUS": "..."}, and who said it."""

    def __init__(self, folder, is_abstract=False):
        self.path = os.path.join(str(folder), "notify.sock")
        if is_abstract:
            self.path = "@fcgihost-test-%d%s" % (os.getpid(), self.path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(("\0" + self.path[1:]) if is_abstract else self.path)
        self.socket.setblocking(False)
        self.messages, self.senders = [], set()

    def receive(self):
        """All messages so far."""
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return self.messages
            self.senders.update(struct.unpack("3i", item[2])[0] for item in ancillary)
            lines = data.decode().split("\n")
            assert all("=" in line for line in lines), data
            self.messages.append(dict(line.split("=", 1) for line in lines))

    def wait(self, since=0, **wanted):
        """The first message with these values (None: any) from the number since on; its number."""
        def find():
            for number, message in enumerate(self.receive()):
                if number >= since and all(key in message and value in (None, message[key])
                                           for key, value in wanted.items()):
                    return number + 1
            return None
        try:
            return wait_until(find, repr(wanted)) - 1
        except AssertionError as error:
            raise AssertionError("%s; heard: %r" % (error, self.messages)) from None

    def has(self, key, since=0):
        return any(key in message for message in self.receive()[since:])

    def close(self):
        self.socket.close()
