"""What the application tests share.

A test file lists its cases with @case and ends with main(): `FILE list` names them, `FILE run NAME`
runs one, with exit status 0 (passed), 1 (failed) or 77 (skipped). The machine comes from the
environment: ARIL_TEST_MACHINE, ARIL_TEST_CPUS.
"""
import contextlib
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
ARIL = os.path.join(os.environ.get("ARIL_BUILD", os.path.join(ROOT, "build")), "bin", "aril")
MACHINE = os.environ.get("ARIL_TEST_MACHINE", "microvm")
CPUS = os.environ.get("ARIL_TEST_CPUS", "1")
_cases = {}


class Skip(Exception):
    """The test cannot run here; says why."""


def case(timeout=120, everywhere=False):
    """Registers a test. `everywhere`: on every machine type, with one and with two CPUs."""
    def register(function):
        _cases[function.__name__] = (function, timeout, everywhere)
        return function
    return register


def main():
    if sys.argv[1:] == ["list"]:
        for name, (_, timeout, everywhere) in _cases.items():
            print(name, timeout, "everywhere" if everywhere else "once")
        return
    try:
        _cases[sys.argv[2]][0]()
    except Skip as reason:
        print(reason)
        sys.exit(77)


def example(name):
    return os.path.join(ROOT, "examples", name)


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
    return [ARIL, "run", "--machine", MACHINE, "--cpus", CPUS, *map(str, arguments)]


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

    def wait_for(self, port, address="127.0.0.1", probe=b"", timeout=60):
        """Until something behind the port answers. QEMU accepts connections to a forwarded port
        before the guest listens, so a plain connection proves nothing: `probe` is sent, or, without
        one, the connection must stay open for a moment."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"ended with status {self.process.returncode}"
            try:
                with socket.create_connection((address, port), timeout=2) as connection:
                    connection.settimeout(2 if probe else 0.3)
                    if probe:
                        connection.sendall(probe)
                        if connection.recv(1):
                            return
                    else:
                        try:
                            if connection.recv(1):
                                return
                        except socket.timeout:
                            return
            except OSError:
                pass
            time.sleep(0.05)
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
    with tempfile.TemporaryDirectory(prefix="aril-apps-") as directory:
        yield directory


@contextlib.contextmanager
def namespace():
    """A network namespace with a tap device that aril can use: the guest is 10.88.0.2/24, this
    side 10.88.0.1. Yields the command prefix that runs something inside, and the tap's name."""
    need("ip")
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        raise Skip("making a tap device needs root and /dev/net/tun")
    name = f"aril-t{os.getpid()}"
    tap = "aril-tap0"

    def ip(*arguments):
        run(["ip", *arguments])

    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "tuntap", "add", "dev", tap, "mode", "tap")
        ip("-n", name, "addr", "add", "10.88.0.1/24", "dev", tap)
        ip("-n", name, "link", "set", tap, "up")
        yield ["ip", "netns", "exec", name], f"tap:{tap},ip=10.88.0.2/24,gateway=10.88.0.1"
    finally:
        ip("netns", "del", name)
