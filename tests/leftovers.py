"""Finds what a test has left behind, without touching anything that is not the test's."""
import os
import signal
import subprocess
import time
import uuid

VARIABLE = "ARIL_TEST_ID"


class Leftovers:
    """Marks the processes of one test by a variable in their environment."""

    def __init__(self, name):
        self.name = name
        self.identity = uuid.uuid4().hex
        self.devices = _network_names()

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
                 for name in _network_names() - self.devices]
        return left


def _network_names():
    """Devices and namespaces that the tests make: they all start with this."""
    names = set()
    for command in (["ip", "-o", "link"], ["ip", "netns", "list"]):
        try:
            text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  check=False).stdout.decode()
        except OSError:
            continue
        for word in text.replace(":", " ").split():
            if word.startswith("aril-t"):
                names.add(word)
    return names
