"""A library that is preloaded into the hosts under test, and the memory that it shares with the test."""
import ctypes
import mmap
import os
import subprocess

from torment import HERE, temporary_folder


def preload(source, structure, variable, *flags):
    """Compiles a C file of this folder. Returns the structure that the library and the test share, all 0, and the variables
    that a host must be started with; `variable` names the file to map."""
    folder = temporary_folder()
    library, path = os.path.join(folder, "library.so"), os.path.join(folder, "shared")
    subprocess.run(["cc", "-std=gnu11", "-O1", "-g", "-fPIC", "-shared", *flags, "-o", library, os.path.join(HERE, source),
                    "-ldl"], check=True)
    with open(path, "w+b") as file:
        os.chmod(path, 0o666)  # workers that become another user map it as well
        file.truncate(-(-ctypes.sizeof(structure) // mmap.PAGESIZE) * mmap.PAGESIZE)
        shared = structure.from_buffer(mmap.mmap(file.fileno(), 0))
    return shared, {"LD_PRELOAD": library, variable: path}
