"""Runs a program as systemd would for a unit, without systemd: as a user of its own, with what the unit leaves it.

    restricted.py UNIT UID ROOT VISIBLE WRITABLE PROGRAM ARGUMENT...     as root, in a mount namespace of its own

ROOT: an empty folder, in which the system appears as the service sees it: read-only, with a /tmp and a /dev of its own,
without others' processes. VISIBLE: a folder that the service may see, also below /tmp. WRITABLE: one in it that it may
write. What setpriv, mounts and libseccomp can do is done, as the unit says: its user, ProtectSystem, PrivateTmp,
PrivateDevices, ProtectProc, CapabilityBoundingSet, NoNewPrivileges, UMask, SystemCallFilter, RestrictAddressFamilies,
RestrictNamespaces, RestrictSUIDSGID and LockPersonality.
"""
import ctypes
import os
import re
import subprocess
import sys

ALLOW, ERRNO = 0x7fff0000, 0x00050000
EQUAL, MASKED_EQUAL = 4, 7  # libseccomp's comparisons
NAMESPACES = 0x7e020080  # the flags of clone() that make them
SUID_SGID = 0o6000
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
MODE_ARGUMENT = {"chmod": 1, "fchmod": 1, "fchmodat": 2}


def settings_of(text):
    """The last value of each directive."""
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.M))


def system_calls(name):
    """Those of a set of systemd's, with the sets in it."""
    shown = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True).stdout
    for word in re.findall(r"^ +([@\w-]+)$", shown, re.M):
        yield from system_calls(word) if word.startswith("@") else [word]


class Compared(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("how", ctypes.c_int), ("first", ctypes.c_uint64), ("second", ctypes.c_uint64)]


class Filter:
    """What is not allowed fails with EPERM."""

    def __init__(self):
        self.library = ctypes.CDLL("libseccomp.so.2")
        self.library.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.library.seccomp_init(ERRNO | 1))

    def add(self, name, *compared, action=ALLOW):
        number = self.library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # else it is another machine's
            array = (Compared * len(compared))(*compared)
            assert self.library.seccomp_rule_add_array(self.context, action, number, len(compared), array) == 0, name

    def load(self):
        assert self.library.seccomp_load(self.context) == 0


def restrict_calls(unit):
    assert unit["RestrictNamespaces"] == unit["RestrictSUIDSGID"] == unit["LockPersonality"] == "yes"
    calls = set(system_calls(unit["SystemCallFilter"])) - {"personality", "unshare", "setns"}
    allowed = Filter()
    for name in sorted(calls - {"clone", "clone3", "socket", *MODE_ARGUMENT}):
        allowed.add(name)
    for family in unit["RestrictAddressFamilies"].split():
        allowed.add("socket", Compared(0, EQUAL, FAMILIES[family]))
    allowed.add("clone", Compared(0, MASKED_EQUAL, NAMESPACES, 0))
    allowed.add("clone3", action=ERRNO | 38)  # its flags can't be seen; with ENOSYS the C library takes clone
    for name, argument in MODE_ARGUMENT.items():
        allowed.add(name, Compared(argument, MASKED_EQUAL, SUID_SGID, 0))
    allowed.load()


def mount(*words):
    subprocess.run(["mount", *words], check=True, stdin=subprocess.DEVNULL)


def mount_points_below(folder):
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4].encode().decode("unicode_escape") for line in file]
    return [point for point in points if point == folder or point.startswith(folder + "/")]


def make_root(unit, root, visible, writable):
    assert unit["ProtectSystem"] == "strict" and unit["PrivateTmp"] == unit["PrivateDevices"] == "yes"
    mount("--rbind", "/", root)
    devices, temporary = root + "/dev", [root + "/tmp", root + "/var/tmp"]
    for folder in temporary:
        mount("-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", folder)
    os.makedirs(root + visible, exist_ok=True)
    mount("--bind", visible, root + visible)
    for point in mount_points_below(root):
        if point not in temporary and not re.match(re.escape(root) + "/(dev|proc|sys)(/|$)", point):
            mount("-o", "remount,bind,ro", point)
    mount("--bind", writable, root + writable)
    mount("-o", "remount,bind,rw", root + writable)
    mount("-t", "proc", "-o", "hidepid=" + {"invisible": "2"}[unit["ProtectProc"]], "proc", root + "/proc")
    mount("-t", "tmpfs", "-o", "mode=755,nosuid", "tmpfs", devices)
    for name in ("null", "zero", "full", "random", "urandom"):
        with open(os.path.join(devices, name), "w"):
            pass
        mount("--bind", "/dev/" + name, os.path.join(devices, name))


def main(unit_path, uid, root, visible, writable, *command):
    with open(unit_path) as file:
        unit = settings_of(file.read())
    assert os.readlink("/proc/self/ns/mnt") != os.readlink("/proc/%d/ns/mnt" % os.getppid()), "no namespace of its own"
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == "" and unit["NoNewPrivileges"] == "yes"
    make_root(unit, root, visible, writable)
    os.chroot(root)
    os.chdir("/")
    os.umask(int(unit["UMask"], 8))
    restrict_calls(unit)
    os.execvp("setpriv", ["setpriv", "--reuid=" + uid, "--regid=" + uid, "--clear-groups", "--no-new-privs",
                          "--bounding-set=-all", "--inh-caps=-all", *command])


if __name__ == "__main__":
    main(*sys.argv[1:])
