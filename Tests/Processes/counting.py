"""Members that count what they allocate and sync, and whose disks can be made to hang: see counting.c."""
import contextlib
import os
import struct
import subprocess

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "counting.c")


def prepare(fabric):
    """To be called before the fabric's members start."""
    library = os.path.join(fabric.directory, "counting.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE], check=True)
    for member in fabric.members:
        member.environment = {"LD_PRELOAD": library, "WEFT_COUNTS": _path(member, "counts"),
                              "WEFT_STALL": _path(member, "stall")}
    return fabric


def _path(member, what):
    return os.path.join(member.fabric.directory, f"{member.name}.{what}")


def counts(member):
    """Allocations and syncs since its start, and how often its threads waited for something: each time, one woke another."""
    with open(_path(member, "counts"), "rb") as file:
        allocations, syncs = struct.unpack("<QQ", file.read(16))
    return {"allocations": allocations, "syncs": syncs, "waits": _waits(member.process.pid)}


def _waits(pid):
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/status") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return total


@contextlib.contextmanager
def stalled(member):
    """While this lasts nothing that the member writes gets to its disk."""
    with open(_path(member, "stall"), "w"):
        pass
    try:
        yield
    finally:
        os.remove(_path(member, "stall"))
