"""Disks of the tests, looked at with Linux's own tools."""
import contextlib
import os
import subprocess
import time

from harness import figure, need, run, scratch

# How often the machine is killed.
KILLS = figure("ARIL_TEST_KILLS", 2, 20)


def make_disk(path, size="64M", *options):
    need("mkfs.ext4", "e2fsck", "debugfs")
    run(["mkfs.ext4", "-q", "-F", *options, path, size])
    return path


def check_disk(path):
    """e2fsck finds nothing to complain about."""
    run(["e2fsck", "-fn", path], timeout=120)


def replay_with_e2fsck(path, directory):
    """On a copy of a disk as the kill left it: e2fsck replays the journal, and then all is well."""
    copy = os.path.join(directory, "copy.img")
    run(["cp", "--sparse=always", path, copy])
    result = subprocess.run(["e2fsck", "-p", copy], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode in (0, 1), f"e2fsck -p: {result.returncode}\n{result.stdout.decode()}"
    check_disk(copy)
    os.unlink(copy)


@contextlib.contextmanager
def mounted_on_linux(path, directory):
    """Linux mounts a copy of the disk, and replays its journal. Yields where, or None where this
    process may not mount."""
    place, copy = os.path.join(directory, "mounted"), os.path.join(directory, "copy.img")
    run(["cp", "--sparse=always", path, copy])
    os.makedirs(place, exist_ok=True)
    try:
        result = subprocess.run(["mount", "-t", "ext4", "-o", "loop", copy, place],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, timeout=60)
        if result.returncode != 0 and may_mount():
            raise AssertionError(f"Linux does not mount it: {result.stdout.decode()}")
        if result.returncode != 0:
            print(f"not tried on Linux: {result.stdout.decode().strip()}")
            yield None
            return
        try:
            yield place
        finally:
            run(["umount", place])
        check_disk(copy)
    finally:
        os.unlink(copy)


def may_mount():
    """Whether Linux lets this process mount a disk at all."""
    with scratch() as directory:
        disk = make_disk(os.path.join(directory, "probe.img"), "8M")
        result = subprocess.run(["mount", "-t", "ext4", "-o", "loop", disk, directory],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, timeout=60)
        if result.returncode == 0:
            run(["umount", directory])
        return result.returncode == 0


def qemu_of(process):
    """The process id of the QEMU that an aril has started."""
    for _ in range(200):
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
            for pid in children.read().split():
                with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as name:
                    if name.read().startswith("qemu"):
                        return int(pid)
        time.sleep(0.02)
    raise AssertionError("aril has started no QEMU")
