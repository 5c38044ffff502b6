"""What the application tests share.

A test is a function: with @application (application.py) one row of docs/applications.md, with @case
anything else. `harness.py FILE NAME` runs one, with exit status 0 (passed), 1 (failed) or 77
(skipped). The machine comes from the environment: ARIL_TEST_MACHINE, ARIL_TEST_CPUS, and
ARIL_TEST_MEMORY, which is laid over the manifest's. What is measured on the way goes as JSON to the
file ARIL_TEST_RECORD. With ARIL_TEST_START_ONLY a test ends at the first answer; with ARIL_TEST_FULL
(--all) those that go on for some time do so for the time that was promised.
"""
import contextlib
import dataclasses
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path += [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "network")]

from leftovers import name_prefix

ARIL = os.path.join(os.environ.get("ARIL_BUILD", os.path.join(ROOT, "build")), "bin", "aril")
MACHINE = os.environ.get("ARIL_TEST_MACHINE", "microvm")
CPUS = os.environ.get("ARIL_TEST_CPUS", "1")
MEMORY = os.environ.get("ARIL_TEST_MEMORY", "")
FULL = "ARIL_TEST_FULL" in os.environ
PROCESS = ("process", 1)  # --platform process
ONCE = [("microvm", 1)]
EVERYWHERE = [("microvm", 1), ("q35", 2), ("microvm", 2), ("q35", 1)]


class Skip(Exception):
    """The test cannot run here; says why."""


@dataclasses.dataclass
class Case:
    """A test, and how the runner shall run it."""
    name: str
    function: object
    timeout: int
    configurations: list
    packages: list = dataclasses.field(default_factory=list)
    tier: str = "essential"  # "extended" runs with --all only
    row: object = None  # the application's row of the table


# Applications run in a network namespace of their own, that has no name and goes with them.
TAP_READY = "ARIL_TEST_NAMESPACE"
TAP = "aril-tap0"
GUEST = "10.88.0.2"
GUEST_IPV6 = "fd00:88::2"
TAP_NETWORK = f"tap:{TAP},ip={GUEST}/24,gateway=10.88.0.1,ip6={GUEST_IPV6}/64"

_cases = []


def case(timeout=120, everywhere=False, tier="essential", configurations=None, packages=()):
    """Registers a test. `everywhere`: on every machine type, with one and with two CPUs.
    `packages`: what ./dev installs for it."""
    def register(function):
        where = configurations or (EVERYWHERE if everywhere else ONCE)
        add_case(Case(function.__name__, function, timeout, where, list(packages), tier))
        return function
    return register


def add_case(new):
    _cases.append(new)


def load(path):
    """The cases of a file."""
    # Files import `harness`; when it was started as a program, that is this module.
    sys.modules.setdefault("harness", sys.modules[__name__])
    _cases.clear()
    specification = importlib.util.spec_from_file_location("application_test", path)
    specification.loader.exec_module(importlib.util.module_from_spec(specification))
    return list(_cases)


def record(**values):
    """Keeps what was measured; the first value of a name counts."""
    path = os.environ.get("ARIL_TEST_RECORD")
    if not path:
        return
    known = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**values, **known}, file)


def main():
    path, name = sys.argv[1:]
    (found,) = [case for case in load(path) if case.name == name]
    if found.row and can_make_taps() and not on_a_tap():
        os.environ[TAP_READY] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    try:
        if on_a_tap():
            make_tap()
        found.function()
    except Skip as reason:
        print(reason)
        sys.exit(77)


def example(name):
    return os.path.join(ROOT, "examples", name)


def figure(variable, short, full):
    """How often or how long: the variable's value, or one for every run, or one for all of it."""
    return int(os.environ.get(variable, full if FULL else short))


def need(*programs):
    for program in programs:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise Skip(f"{program} is not installed")


def free_port():
    """A port that is free now, outside of the range that outgoing connections take."""
    for _ in range(100):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def aril(*arguments):
    """An `aril run` on the machine under test."""
    memory = ["--memory", MEMORY] if MEMORY else []
    platform = ["--platform", "process"] if MACHINE == "process" else ["--machine", MACHINE]
    return [ARIL, "run", *platform, "--cpus", CPUS, *memory, *map(str, arguments)]


def run(command, timeout=60, status=0, text=None, **options):
    """Runs a command to its end; fails unless it ends with `status`. Returns its stdout."""
    result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            input=text.encode() if text is not None else b"", timeout=timeout,
                            **options)
    output = result.stdout.decode(errors="replace")
    assert result.returncode == status, (
        f"{' '.join(map(str, command))}: status {result.returncode}, not {status}\n"
        f"{output[-2000:]}{result.stderr.decode(errors='replace')[-2000:]}")
    return output


class Instance:
    """A program that is running in a machine."""

    def __init__(self, process):
        self.process = process
        self.started = time.monotonic()

    def answered(self):
        """To be called at the program's first answer."""
        record(first_answer=time.monotonic() - self.started)
        if "ARIL_TEST_START_ONLY" in os.environ:
            sys.exit(0)

    def wait_for(self, port, address="127.0.0.1", probe=b"", timeout=60):
        """Until something behind the port answers. QEMU accepts connections to a forwarded port
        before the guest listens, so a plain connection proves nothing: `probe` is sent, or, without
        one, the connection must stay open for a moment."""
        deadline = time.monotonic() + timeout
        patience = 0.05  # grows: a lost SYN is sent again after a second only
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"ended with status {self.process.returncode}"
            patience = min(patience * 1.2, 2)
            try:
                with socket.create_connection((address, port), timeout=patience) as connection:
                    connection.settimeout(2 if probe else 0.3)
                    if probe:
                        connection.sendall(probe)
                        if connection.recv(1):
                            return self.answered()
                    else:
                        try:
                            if connection.recv(1):
                                return self.answered()
                        except socket.timeout:
                            return self.answered()
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"nothing answers on port {port} after {timeout} s")

    def stop(self, signal_number=signal.SIGINT, timeout=30):
        """Sends a signal; returns the exit status."""
        self.process.send_signal(signal_number)
        return self.process.wait(timeout)


@contextlib.contextmanager
def instance(*arguments, **options):
    """Starts `aril run`; kills it in the end if the test has not stopped it."""
    process = subprocess.Popen(aril(*arguments), stdin=subprocess.DEVNULL, **options)
    try:
        yield Instance(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def get(url, timeout=30):
    with urllib.request.urlopen(url, timeout=timeout) as response:
        return response.read()


@contextlib.contextmanager
def scratch():
    with tempfile.TemporaryDirectory(prefix=f"{name_prefix()}-") as directory:
        yield directory


def on_a_tap():
    """Whether this is an application's test in its own namespace, with TAP made."""
    return TAP_READY in os.environ


def can_make_taps():
    return os.geteuid() == 0 and os.path.exists("/dev/net/tun") and shutil.which("ip") is not None


def make_tap(*namespace, modes=()):
    """Makes a tap device for GUEST, in this network namespace or the one that `-n NAME` names.
    `modes`: more words for `ip tuntap`, as "multi_queue"."""
    for words in (["link", "set", "lo", "up"], ["tuntap", "add", "dev", TAP, "mode", "tap", *modes],
                  ["addr", "add", "10.88.0.1/24", "dev", TAP], ["link", "set", TAP, "up"]):
        run(["ip", *namespace, *words])
    # While the machine boots, nobody answers ARP; do not wait a second to ask again.
    if not namespace:
        with open(f"/proc/sys/net/ipv4/neigh/{TAP}/retrans_time_ms", "w", encoding="ascii") as file:
            file.write("20")
    if os.path.exists("/proc/net/if_inet6"):
        run(["ip", *namespace, "addr", "add", "fd00:88::1/64", "dev", TAP, "nodad"])


@contextlib.contextmanager
def namespace(modes=()):
    """A network namespace with a tap device (`modes` as for make_tap) that aril can use: the guest is
    10.88.0.2/24 and fd00:88::2/64, this side 10.88.0.1 and, where this host has IPv6, fd00:88::1.
    Yields the command prefix that runs something inside, and aril's --net."""
    if not can_make_taps():
        raise Skip("making a tap device needs root, iproute2 and /dev/net/tun")
    name = f"{name_prefix()}-{os.getpid()}"
    run(["ip", "netns", "add", name])
    try:
        make_tap("-n", name, modes=modes)
        yield ["ip", "netns", "exec", name], TAP_NETWORK
    finally:
        run(["ip", "netns", "del", name])


if __name__ == "__main__":
    main()
