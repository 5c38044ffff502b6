"""Applications: one folder each, one row each of docs/applications.md.

    tests/apps/NAME/NAME.aril   what the image holds and the machine that it needs
    tests/apps/NAME/check.py    what a client does with it: a function with @application
    tests/apps/NAME/...         sources of the program, when we bring it

The function gets an Application. Its folder is copied to build/apps/NAME (or ARIL_TEST_APPS/NAME), where
programs are compiled and which the paths of the manifest are relative to.
"""
import contextlib
import os
import re
import shutil
import subprocess
import threading

import harness
from harness import Case, Instance, Skip, aril, run

CONFIGURATIONS = [("microvm", 1), ("q35", 2), ("pc", 1), harness.PROCESS]


def application(package, does, packages=None, tier="extended", timeout=300, manifest=None,
                configurations=None):
    """Registers a folder's check.

    package   the Debian package whose version stands in the table
    does      what is done with it, a phrase for the table
    packages  what ./dev installs for it (default: the package)
    tier      "essential": in every run, on one machine and as a process; "extended": with --all, on
              all of them
    manifest  default: NAME.aril in the folder
    """
    def register(function):
        folder = os.path.dirname(os.path.abspath(function.__code__.co_filename))
        name = os.path.basename(folder)
        packages_needed = packages if packages is not None else [package]
        row = {"name": name, "package": package, "does": does}

        def check():
            missing = [name for name in packages_needed if not version_of(name)]
            if missing:
                raise Skip(f"not installed: {' '.join(missing)}")
            function(Application(name, folder, manifest))

        harness.add_case(Case(name, check, timeout, configurations or CONFIGURATIONS,
                              packages_needed, tier, row))
        return function
    return register


def version_of(package):
    """The version of an installed Debian package, or ""."""
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package]
    result = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    status, _, version = result.stdout.decode().partition(" ")
    return version if status == "installed" else ""


class Application:
    """The program under test."""

    def __init__(self, name, folder, manifest):
        build = os.environ.get("ARIL_BUILD", os.path.join(harness.ROOT, "build"))
        self.source = folder
        self.folder = os.path.join(os.environ.get("ARIL_TEST_APPS", f"{build}/apps"), name)
        shutil.copytree(folder, self.folder, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("check.py", "__pycache__"))
        self.manifest = manifest or os.path.join(self.folder, f"{name}.aril")

    def path(self, name):
        return os.path.join(self.folder, name)

    def compile(self, product, *command, timeout=300):
        """Runs a compiler in the folder unless its product is newer than all sources."""
        newest = max(entry.stat().st_mtime for entry in os.scandir(self.source))
        product = self.path(product)
        if not os.path.exists(product) or os.path.getmtime(product) < newest:
            run(command, timeout=timeout, cwd=self.folder)
            os.utime(product)

    def write(self, name, text):
        """Makes a file in the folder."""
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    @contextlib.contextmanager
    def serve(self, *ports, probe=b"", timeout=120, options=(), arguments=()):
        """Boots the program; waits until the first port ("53/udp" is one too) answers the probe.
        Yields an Instance with `address` and `ports`, on a tap where we may make one, else
        forwarded."""
        options = list(options)
        address, reached = harness.GUEST, [int(str(port).partition("/")[0]) for port in ports]
        if harness.on_a_tap():
            options += ["--net", harness.TAP_NETWORK]
        else:
            address, reached = "127.0.0.1", [harness.free_port() for _ in ports]
            for host, guest in zip(reached, ports):
                options += ["--port", f"{host}:{guest}"]
        words = ["--", *arguments] if arguments else []
        process = subprocess.Popen(aril(*options, self.manifest, *words),
                                   stdin=subprocess.DEVNULL)
        server = Instance(process)
        server.address, server.ports, server.port = address, reached, reached[0]
        try:
            if probe is not None:
                server.wait_for(server.port, address, probe=probe, timeout=timeout)
            yield server
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def http(self, port=8000, **options):
        """Like serve(), for a web server."""
        return self.serve(port, probe=b"GET / HTTP/1.0\r\n\r\n", **options)

    def output(self, *arguments, options=(), text="", status=0, timeout=120):
        """Runs the program to its end; returns what it wrote."""
        words = ["--", *arguments] if arguments else []
        process = subprocess.Popen(aril(*options, self.manifest, *words), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        program = Instance(process)
        killer = threading.Timer(timeout, process.kill)
        killer.start()
        try:
            threading.Thread(target=_feed, args=(process.stdin, text.encode())).start()
            first = process.stdout.read(1)
            program.answered()
            output = (first + process.stdout.read()).decode(errors="replace")
            actual = process.wait()
        finally:
            killer.cancel()
            process.kill()
        assert actual == status, f"status {actual}, not {status}\n{output[-3000:]}"
        return output

    def same_as_linux(self, *command, text="", status=0, **options):
        """What the program writes on Linux, started by `command`, it must write in the machine."""
        expected = run(command, text=text, status=status, cwd=self.folder)
        output = self.output(text=text, status=status, **options)
        assert output == expected, f"{output[-3000:]}\nnot\n{expected[-3000:]}"


def _feed(stream, data):
    try:
        stream.write(data)
        stream.close()
    except BrokenPipeError:
        pass


def load(server, path="/", requests=2000, clients=20, timeout=200):
    """ab's requests, none of which may fail."""
    harness.need("ab")
    if server.address == "127.0.0.1":
        clients = 2  # QEMU's forwarding listens with a backlog of one
    text = run(["ab", "-q", "-s", "60", "-n", requests, "-c", clients,
                f"http://{server.address}:{server.port}{path}"], timeout=timeout)
    assert re.search(rf"Complete requests:\s+{requests}\b", text), text
    assert re.search(r"Failed requests:\s+0\b", text) and "Non-2xx" not in text, text


def page(server, path="/"):
    return harness.get(f"http://{server.address}:{server.port}{path}", timeout=120).decode()
