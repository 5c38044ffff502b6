"""Puts relay.cpp, a link with seeded loss, delay and worse, between a tap and this host."""
import contextlib
import os
import subprocess

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "relay.cpp")


@contextlib.contextmanager
def relay(inside, directory, tap, address, *settings):
    """`inside`: the words that enter the namespace of `tap`, whose `address` (with its prefix length)
    goes to the relay's far end. The binary is made in `directory`. `settings`: relay.cpp's words."""
    def run(*command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    binary = os.path.join(directory, "relay")
    run("g++", "-std=c++20", "-O2", "-o", binary, SOURCE)
    run(*inside, "ip", "addr", "flush", "dev", tap)
    # Frames on the tap are the relay's: the host must not answer them there as well.
    run(*inside, "sysctl", "-q", "-w", f"net.ipv4.conf.{tap}.arp_ignore=8")
    if os.path.exists("/proc/net/if_inet6"):
        run(*inside, "sysctl", "-q", "-w", f"net.ipv6.conf.{tap}.disable_ipv6=1")
    process = subprocess.Popen([*inside, binary, tap, "far", *settings], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    try:
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the relay does not start")
        run(*inside, "ip", "addr", "add", address, "dev", "far")
        run(*inside, "ip", "link", "set", "far", "up")
        yield
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
