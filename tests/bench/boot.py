"""./dev bench boot: milliseconds from QEMU's start to what a user sees.

QEMU is started here with the command that `aril run --dry-run` prints and sockets in place of aril's
own, so that nothing but QEMU and the guest is in the figure. What QEMU needs by itself is measured with
the same command and a kernel that writes one byte and ends; on the machine type microvm the figures
are also given beyond that.
"""
import contextlib
import json
import os
import select
import shlex
import socket
import struct
import subprocess
import sys
import time

GUEST_HARDWARE = "52:54:00:12:34:56"  # QEMU's first
LIMIT = 60
REQUEST = b"GET / HTTP/1.1\r\nHost: guest\r\n\r\n"


def exit_kernel(path):
    """Writes an ELF file for PVH [xen/docs/misc/pvh.pandoc]: one byte to COM1, and a triple fault."""
    address, entry_note = 0x100000, 18
    code = (b"\x66\xba\xf8\x03"  # mov $0x3f8, %dx
            b"\xb0!\xee"  # mov $'!', %al; out %al, (%dx)
            b"\x0f\x01\x1d" + struct.pack("<I", address + 32) +  # lidt of zeroes
            b"\xcc")  # int3
    code = code.ljust(48, b"\0")
    note = struct.pack("<III4sI", 4, 4, entry_note, b"Xen\0", address)
    headers = 64 + 2 * 56
    elf = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, address, 64, 0, 0, 64, 56,
                      2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 7, headers, address, address, len(code), 4096, 1)
    notes = struct.pack("<IIQQQQQQ", 4, 4, headers + len(code), 0, 0, len(note), len(note), 4)
    with open(path, "wb") as file:
        file.write(elf + load + notes + code + note)


def machine_command(words):
    """What `aril run` would start."""
    line = subprocess.run([*words[:2], "--dry-run", *words[2:]], check=True, stdout=subprocess.PIPE,
                          text=True).stdout
    return shlex.split(line)


@contextlib.contextmanager
def qemu(command):
    """Starts it with sockets as aril gives it: yields when it was started, and our ends by name."""
    sockets, descriptors = {}, []
    shifted = list(command)
    for index, word in enumerate(command):
        parts = dict(part.partition("=")[::2] for part in word.split(","))
        if word.startswith("socket,") and "fd" in parts:
            ours, theirs = socket.socketpair()
            sockets[parts["id"]] = ours
            descriptors.append(theirs)
            shifted[index] = f"socket,id={parts['id']},fd={theirs.fileno()}"
    start = time.monotonic()
    process = subprocess.Popen(shifted, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL,
                               pass_fds=[theirs.fileno() for theirs in descriptors])
    try:
        for theirs in descriptors:
            theirs.close()
        yield start, sockets
    finally:
        process.kill()
        process.wait()
        for ours in sockets.values():
            ours.close()


def first_bytes(command, name):
    """Seconds until something comes through the socket `name`."""
    with qemu(command) as (start, sockets):
        sockets[name].settimeout(LIMIT)
        if not sockets[name].recv(1):
            raise SystemExit("bench: the machine ended without a word")
        return time.monotonic() - start


def first_response(start, address, port=80):
    """Seconds from `start` to the first HTTP 200. A SYN that comes too early is lost and sent again
    after a second only, so another connection is tried every millisecond."""
    waiting = select.poll()
    tries = {}
    while time.monotonic() - start < LIMIT:
        if len(tries) > 60:
            oldest = next(iter(tries))
            waiting.unregister(oldest)
            tries.pop(oldest).close()
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((address, port))
        tries[client.fileno()] = client
        waiting.register(client.fileno(), select.POLLOUT)
        for descriptor, event in waiting.poll(1):
            if event & (select.POLLERR | select.POLLHUP):
                waiting.unregister(descriptor)
                tries.pop(descriptor).close()
                continue
            connected = tries[descriptor]
            connected.settimeout(LIMIT)
            connected.sendall(REQUEST)
            answer = connected.recv(64)
            seconds = time.monotonic() - start
            for one in tries.values():
                one.close()
            if b" 200 " not in answer:
                raise SystemExit(f"bench: {answer}")
            return seconds
    raise SystemExit("bench: no answer")


def measure(kind, command, address):
    if kind == "http":
        with qemu(command) as (start, _):
            return first_response(start, address)
    return first_bytes(command, kind)


def bench_boot(bench, runs, results):
    """`bench`: the module that has the tables, the namespace and the programs."""
    table = bench.Table("start (milliseconds from QEMU's start; lower is better)")
    alone = f"{bench.SCRATCH}/exit.elf"
    exit_kernel(alone)
    web = f"{bench.SCRATCH}/web-default.image"
    examples = os.path.join(bench.ROOT, "examples")
    subprocess.run(["ninja", "-C", bench.BUILD, "examples"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([bench.ARIL, "build", "--profile", "default", "-o", web, f"{examples}/web.aril"],
                   check=True)
    hello = f"{bench.SCRATCH}/hello-default.image"
    subprocess.run([bench.ARIL, "build", "-o", hello, f"{bench.SCRATCH}/hello"], check=True)
    frozen = {}
    for name, words in (("hello", [f"{bench.SCRATCH}/hello"]),
                        ("web", ["--profile", "default", f"{examples}/web.aril"]),
                        ("nginx", bench.aril_nginx()[2:])):
        frozen[name] = f"{bench.SCRATCH}/{name}-frozen.image"
        # A server is resumed where it has read its configuration.
        subprocess.run([bench.ARIL, "build", "--frozen" if name == "hello" else "--warm", "--accel",
                        "tcg", "-o", frozen[name], *words], check=True)
    tap = ["--net", f"tap:tap0,ip={bench.GUEST}/24"]
    run = [bench.ARIL, "run"]
    linux = bench.linux_guest
    hello_archive = linux.initramfs(bench.BUILD, "hello", "/bin/hello",
                                    [(f"{bench.SCRATCH}/hello", "/bin/hello")])
    nginx_archive = bench.linux_nginx()
    with bench.namespace() as name:
        subprocess.run(["ip", "-n", name, "neigh", "add", bench.GUEST, "lladdr", GUEST_HARDWARE, "nud",
                        "permanent", "dev", "tap0"], check=True)

        def sample(kind, command):
            helper = ["ip", "netns", "exec", name, sys.executable, os.path.abspath(__file__), kind,
                      bench.GUEST]
            output = subprocess.run(helper, input=json.dumps(command), check=True, text=True,
                                    stdout=subprocess.PIPE).stdout
            return 1000 * float(output)

        def with_kernel(command, kernel):
            return [kernel if before == "-kernel" else word
                    for before, word in zip(["", *command], command)]

        quiet = machine_command([*run, "--net", "none", hello])
        served = machine_command([*run, *tap, web])
        nginx = {machine: machine_command(bench.aril_nginx("--machine", machine, *tap))
                 for machine in ("microvm", "q35")}
        q35 = machine_command([*run, "--machine", "q35", "--net", "none", hello])
        thawed = {"hello": machine_command([*run, "--net", "none", frozen["hello"]]),
                  **{name: machine_command([*run, *tap, frozen[name]]) for name in ("web", "nginx")}}
        for _ in range(runs):
            own = sample("control", with_kernel(quiet, alone))
            table.add("QEMU alone, microvm", "aril", own)
            table.add("hello's output, microvm, beyond QEMU alone", "aril",
                      sample("stdio", quiet) - own)
            table.add("hello's output, frozen, microvm, beyond QEMU alone", "aril",
                      sample("stdio", thawed["hello"]) - own)
            own = sample("control", with_kernel(served, alone))
            table.add("QEMU alone, microvm with a tap", "aril", own)
            table.add("web server's first response, beyond QEMU alone", "aril",
                      sample("http", served) - own)
            table.add("web server's first response, warm, beyond QEMU alone", "aril",
                      sample("http", thawed["web"]) - own)
            table.add("nginx's first response, microvm", "aril", sample("http", nginx["microvm"]))
            table.add("nginx's first response, warm, microvm", "aril",
                      sample("http", thawed["nginx"]))
            table.add("hello's output, q35", "aril", sample("stdio", q35))
            table.add("hello's output, q35", "linux", 1000 * bench.first_output(
                linux.qemu(bench.BUILD, hello_archive), b"hello, world"))
            table.add("nginx's first response, q35", "aril", sample("http", nginx["q35"]))
            guest = [*linux.qemu(bench.BUILD, nginx_archive, tap="tap0",
                                 address=f"{bench.GUEST}/24")]
            table.add("nginx's first response, q35", "linux", sample("http", guest))
    table.report(results)


if __name__ == "__main__":
    print(measure(sys.argv[1], json.load(sys.stdin), sys.argv[2]))
