"""What systemd does for a service: it holds the socket, starts the program for it, and hears its messages."""
import os
import select
import socket
import sys

from host import PROGRAM, Host, merged, write_file

# Between fork and exec: the sockets become descriptors 3, 4 and so on; LISTEN_PID is the process itself.
ACTIVATE = """
import fcntl, os, sys
numbers = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1].split(",") if number]
for target, number in enumerate(numbers, 3):
    os.dup2(number, target)
    os.close(number)
if numbers:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(numbers)))
if os.environ.get("WATCHDOG_USEC"):
    os.environ.update(WATCHDOG_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


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
