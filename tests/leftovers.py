"""Finds what a test has left behind, without touching anything that is not the test's."""
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

VARIABLE = "ARIL_TEST_ID"


def name_prefix():
    """What the names of the devices, namespaces and directories that this test makes start with."""
    return f"aril-{os.environ.get(VARIABLE, 'test')[:6]}"


class Leftovers:
    """Marks what belongs to one test: its processes by a variable in their environment, its network
    devices, namespaces, mounts, loop devices and directories by their names. Other tests may run beside
    it."""

    def __init__(self, name):
        self.name = name
        self.identity = uuid.uuid4().hex

    def environment(self):
        return {VARIABLE: self.identity}

    def _processes(self):
        mark = f"{VARIABLE}={self.identity}".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if mark not in file.read().split(b"\0"):
                        continue
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    yield int(entry), file.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue

    def remove(self):
        """Ends the test's processes. Returns a description of everything that was still there."""
        for _ in range(20):  # a machine that is being ended takes a moment
            if not any(True for _ in self._processes()):
                break
            time.sleep(0.05)
        left = []
        for pid, command in self._processes():
            left.append(f"process {pid} ({command[:80].strip()})")
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        prefix = f"aril-{self.identity[:6]}"
        left += [f"network device or namespace {name}" for name in _network_names(prefix)]
        for place in _mounts(prefix):
            left.append(f"mount at {place}")
            subprocess.run(["umount", "--lazy", place], stderr=subprocess.DEVNULL, check=False)
        left += [f"loop device {device}" for device in _loop_devices(prefix)]
        for path in glob.glob(os.path.join(tempfile.gettempdir(), f"{prefix}*")):
            left.append(f"directory {path}")
            if not _mounts(prefix):
                shutil.rmtree(path, ignore_errors=True)
        return left


def _mounts(prefix):
    """Where something whose place or source has this name is mounted, the innermost first."""
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        lines = [line.split() for line in file]
    return [place for source, place, *_ in reversed(lines) if prefix in place or prefix in source]


def _loop_devices(prefix):
    """Devices over a file with this name; detached when nothing uses them."""
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            with open(path, encoding="utf-8") as file:
                if prefix not in file.read():
                    continue
        except OSError:
            continue
        device = f"/dev/{path.split('/')[3]}"
        subprocess.run(["losetup", "--detach", device], stderr=subprocess.DEVNULL, check=False)
        yield device


def _network_names(prefix):
    names = set()
    for command in (["ip", "-o", "link"], ["ip", "netns", "list"]):
        try:
            text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  check=False).stdout.decode()
        except OSError:
            continue
        for word in text.replace(":", " ").split():
            if word.startswith(prefix):
                names.add(word)
    return names
