"""Finds what a test has left behind, without touching anything that is not the test's."""
import os
import signal
import subprocess
import time
import uuid

VARIABLE = "ARIL_TEST_ID"


def network_prefix():
    """What the names of the devices and namespaces that this test makes start with."""
    return f"aril-{os.environ.get(VARIABLE, 'test')[:6]}"


class Leftovers:
    """Marks what belongs to one test: its processes by a variable in their environment, its network
    devices and namespaces by their names. Other tests may run beside it."""

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
        left += [f"network device or namespace {name}"
                 for name in _network_names(f"aril-{self.identity[:6]}")]
        return left


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
