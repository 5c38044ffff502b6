#!/usr/bin/env python3
"""The programs of examples/ in images of their own, driven by real clients."""
import contextlib
import os
import socket
import subprocess
import sys

from example_images import EXAMPLES, build_examples, build_image, inspect
from harness import (ARIL, Skip, can_make_taps, case, free_port, instance, need, run, scratch)
from leftovers import name_prefix

CACHE_LIMIT, ROUTER_LIMIT = 260_000, 250_000


@case(timeout=180)
def the_cache_caches():
    build_examples()
    with scratch() as directory:
        image = build_image(directory, f"{EXAMPLES}/cache.aril")
        assert os.path.getsize(image) < CACHE_LIMIT, f"{os.path.getsize(image)} bytes"
        inspect(image)
        port = free_port()
        with instance("--memory", "16M", "--port", f"{port}:11211", image) as server:
            server.wait_for(port, probe=b"version\r\n")
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                stream = connection.makefile("rwb")

                def ask(text, *answers):
                    stream.write(text.encode())
                    stream.flush()
                    for answer in answers:
                        line = stream.readline().decode()
                        assert line == answer + "\r\n", f"{text!r}: {line!r}, not {answer!r}"

                ask("set a 7 0 3\r\nabc\r\n", "STORED")
                ask("get a b\r\n", "VALUE a 7 3", "abc", "END")
                ask("append a 0 0 2\r\nde\r\n", "STORED")
                ask("get a\r\n", "VALUE a 7 5", "abcde", "END")
                ask("add a 0 0 1\r\nx\r\n", "NOT_STORED")
                ask("replace b 0 0 1\r\nx\r\n", "NOT_STORED")
                ask("set n 0 0 2\r\n41\r\n", "STORED")
                ask("incr n 1\r\n", "42")
                ask("decr n 50\r\n", "0")
                ask("incr a 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value")
                ask("set q 0 0 1 noreply\r\nq\r\nget q\r\n", "VALUE q 0 1", "q", "END")
                ask("delete q\r\n", "DELETED")
                ask("delete q\r\n", "NOT_FOUND")
                ask("set old 0 -1 1\r\nx\r\nget old\r\n", "STORED", "END")
                ask("set bad 0 0 1\r\nxyz\r\n", "CLIENT_ERROR bad data chunk", "ERROR")
                ask("nonsense\r\n", "ERROR")
                stream.write(b"gets a\r\n")
                stream.flush()
                unique = stream.readline().split()[4].decode()
                ask("", "abcde", "END")
                ask(f"cas a 0 0 1 {unique}\r\n1\r\n", "STORED")
                ask(f"cas a 0 0 1 {unique}\r\n2\r\n", "EXISTS")
                # More than fits: what is oldest goes. Pipelined, so that it does not take long.
                value = "v" * 50000
                count = 300
                stream.write("".join(f"set k{i} 0 0 {len(value)} noreply\r\n{value}\r\n"
                                     for i in range(count)).encode())
                ask(f"get k{count - 1}\r\n", f"VALUE k{count - 1} 0 {len(value)}", value, "END")
                ask("get k0\r\n", "END")
                ask("flush_all\r\n", "OK")
                ask(f"get k{count - 1}\r\n", "END")


@contextlib.contextmanager
def two_links():
    """A client and a server, each in a namespace of its own, and one between them where two taps wait
    for a router. Yields the three namespaces' command prefixes."""
    if not can_make_taps():
        raise Skip("making a tap device needs root, iproute2 and /dev/net/tun")
    names = [f"{name_prefix()}-{os.getpid()}{letter}" for letter in "crs"]
    client, router, server = names
    made = []
    try:
        for name in names:
            run(["ip", "netns", "add", name])
            made.append(name)
            run(["ip", "-n", name, "link", "set", "lo", "up"])
        for number, (peer, address) in enumerate(((client, "10.1.0.2/24"), (server, "10.2.0.2/24"))):
            run(["ip", "-n", router, "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0",
                 "netns", peer])
            run(["ip", "-n", router, "tuntap", "add", f"tap{number}", "mode", "tap"])
            run(["ip", "-n", router, "link", "add", f"br{number}", "type", "bridge"])
            for port in (f"v{number}", f"tap{number}"):
                run(["ip", "-n", router, "link", "set", port, "master", f"br{number}", "up"])
            run(["ip", "-n", router, "link", "set", f"br{number}", "up"])
            run(["ip", "-n", peer, "addr", "add", address, "dev", "eth0"])
            run(["ip", "-n", peer, "link", "set", "eth0", "up"])
        run(["ip", "-n", client, "route", "add", "default", "via", "10.1.0.1"])
        yield [["ip", "netns", "exec", name] for name in names]
    finally:
        for name in made:
            run(["ip", "netns", "del", name])


SERVER = """
import socket, threading
def serve(port):
    listener = socket.create_server(("", port))
    while True:
        connection, peer = listener.accept()
        with connection:
            connection.sendall(peer[0].encode() + b"\\n" + bytes(1 << 20))
for port in (80, 25):
    threading.Thread(target=serve, args=(port,), daemon=True).start()
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("", 5000))
print("ready", flush=True)
while True:
    data, peer = echo.recvfrom(2000)
    echo.sendto(peer[0].encode(), peer)
"""
FETCH = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as connection:
    data = b""
    while part := connection.recv(65536):
        data += part
peer, _, rest = data.partition(b"\\n")
assert rest == bytes(1 << 20), len(rest)
print(peer.decode())
"""
DATAGRAM = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(2)
    client.connect((sys.argv[1], int(sys.argv[2])))
    if len(sys.argv) > 3:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(sys.argv[3]))
        client.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    for attempt in range(5):  # the first ones may wait for ARP
        try:
            client.send(b"x")
            print(client.recv(100).decode())
            break
        except socket.timeout:
            continue
        except OSError as error:
            print(error.strerror)
            break
"""
PING = """
import os, socket, struct, sys
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as client:
    client.settimeout(2)
    for number in range(5):
        message = struct.pack("!BBHHH", 8, 0, 0, 4711, number)
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        client.sendto(message, (sys.argv[1], 0))
        try:
            answer = client.recv(200)[20:]
        except socket.timeout:
            continue
        kind, _, _, identifier, _ = struct.unpack("!BBHHH", answer[:8])
        if kind == 0:
            print(identifier)
            break
"""


@case(timeout=180)
def the_router_translates_and_filters():
    build_examples()
    with scratch() as directory, two_links() as (client, router, server), contextlib.ExitStack() as stack:
        image = build_image(directory, f"{EXAMPLES}/router.aril")
        assert os.path.getsize(image) < ROUTER_LIMIT, f"{os.path.getsize(image)} bytes"
        inspect(image)
        python = lambda where, text, *words: run([*where, sys.executable, "-c", text, *words]).strip()

        def start(command):
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

            def end():
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            stack.callback(end)
            return process

        for where in (client, server):
            assert start([*where, sys.executable, "-c", SERVER]).stdout.readline() == b"ready\n"
        machine = start([*router, ARIL, "run", "--net", "tap:tap0,raw", "--net", "tap:tap1,raw", image])
        assert machine.stdout.readline() == b"router: eth0 inside, eth1 outside\n"
        # The server sees the router; answers and errors find back.
        assert python(client, PING, "10.2.0.2") == "4711"
        assert python(client, PING, "10.1.0.1") == "4711"
        assert python(client, DATAGRAM, "10.2.0.2", "5000") == "10.2.0.1"
        assert python(client, DATAGRAM, "10.2.0.2", "5001") == "Connection refused"
        assert python(client, DATAGRAM, "10.2.0.2", "5000", "1") == "No route to host"
        assert python(client, FETCH, "10.2.0.2", "80") == "10.2.0.1"
        # From outside: the forwarded port, and nothing else.
        assert python(server, FETCH, "10.2.0.1", "8080") == "10.2.0.2"
        assert python(server, DATAGRAM, "10.2.0.1", "5000") == ""
        # What the rules forbid.
        refused = subprocess.run([*client, sys.executable, "-c", FETCH, "10.2.0.2", "25"],
                                 stderr=subprocess.PIPE, timeout=60)
        assert refused.returncode != 0 and b"No route to host" in refused.stderr, refused.stderr
        assert machine.poll() is None
