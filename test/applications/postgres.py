"""A PostgreSQL of a test's own: in its folder, as an unprivileged user, on a Unix socket alone, with a password."""
import glob
import os
import shutil
import subprocess

import process
from fronts import unavailable
from host import write_file
from process import wait_until

PASSWORD = "only for a test"
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]


def binaries():
    """The folder of the newest that is installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[-2]))
    return found[-1] if found else unavailable("PostgreSQL is not installed: make test-applications installs it")


class Postgres:
    def __init__(self, folder):
        self.folder, self.popen = os.path.join(folder, "postgres"), None
        self.data = os.path.join(self.folder, "data")
        os.mkdir(self.folder)
        shutil.chown(self.folder, "nobody", "nogroup")
        password = write_file(os.path.join(self.folder, "password"), PASSWORD)
        self.run("initdb", "-D", self.data, "-U", "site", "-A", "scram-sha-256", "--pwfile=" + password, "-E", "UTF8",
                 "--no-sync", "--no-locale")

    def run(self, program, *arguments):
        done = subprocess.run([*AS_NOBODY, os.path.join(binaries(), program), *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder,
                              timeout=process.deadline(60))
        assert done.returncode == 0, done.stdout.decode("utf-8", "replace")

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.popen = process.start(
                [*AS_NOBODY, os.path.join(binaries(), "postgres"), "-D", self.data, "-k", self.folder, "-c",
                 "listen_addresses=", "-c", "fsync=off"], stdout=log, stderr=log, cwd=self.folder)
        wait_until(self.is_ready, "PostgreSQL")

    def is_ready(self):
        assert self.popen.poll() is None, "PostgreSQL ended: its log is in " + self.folder
        return subprocess.run([os.path.join(binaries(), "pg_isready"), "-q", "-h", self.folder]).returncode == 0

    def stop(self):
        """Who is connected is cut off."""
        if self.popen:
            assert process.stop(self.popen, process.signal.SIGINT) == 0
            self.popen = None
