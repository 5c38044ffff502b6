"""Sockets as tools and this host's Linux see them: ss, ip monitor, TCP fast open, captures."""
import os
import re
import subprocess

from harness import GUEST, GUEST_IPV6, ONCE, PROCESS, ROOT, aril, case, namespace, need, run, scratch

HOST = "10.88.0.1"


@case(timeout=120)
def net_fast_open():
    """TCP fast open with this host's Linux, as its server and as its client: the first connection
    brings the cookie, the others have data in their SYN."""
    need("g++")
    expected = ["syn data 0", "syn data 1", "syn data 1"]
    script = os.path.join(ROOT, "tests", "network", "fast_open.py")
    with scratch() as directory, namespace() as (inside, network):
        run([*inside, "sysctl", "-q", "-w", "net.ipv4.tcp_fastopen=3"])
        program = os.path.join(directory, "fast_open")
        run(["g++", "-std=c++20", "-O2", "-static", "-o", program,
             os.path.join(ROOT, "tests", "network", "fast_open.cpp")])
        for server, client in (
                ([*inside, *aril("--net", network, program, "--", "serve")],
                 [*inside, "python3", script, "ask", GUEST]),
                ([*inside, "python3", script, "serve"],
                 [*inside, *aril("--net", network, program, "--", "ask", HOST)])):
            with subprocess.Popen(server, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  text=True) as process:
                try:
                    assert process.stdout.readline() == "ready\n", "the server does not start"
                    asked = run(client, timeout=50).split("\n")
                    assert [line for line in asked if line] == expected, asked
                    served = process.communicate(timeout=20)[0].split("\n")
                    assert [line for line in served if line] == expected, served
                    assert process.returncode == 0
                finally:
                    process.kill()


ASK = """
import os, socket, sys
for address in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(10)
    for size in 20, 1473, 9000, 65000:
        data = os.urandom(size)
        sock.sendto(data, (address, 7000))
        assert sock.recv(65536) == data, (address, size)
"""


@case(timeout=90, configurations=[*ONCE, PROCESS])
def net_long_datagrams():
    """UDP of up to 64 KiB both ways, over IPv4 and IPv6; those of the machine leave whole, and the
    tap would cut them."""
    need("g++")
    with scratch() as directory, namespace() as (inside, network):
        program = os.path.join(directory, "datagram_echo")
        run(["g++", "-std=c++20", "-O2", "-static", "-o", program,
             os.path.join(ROOT, "tests", "network", "datagram_echo.cpp")])
        machine = [*inside, *aril("--net", network, program, "--", "8")]
        with subprocess.Popen(machine, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              text=True) as process:
            try:
                assert process.stdout.readline() == "ready\n", "the server does not start"
                run([*inside, "python3", "-c", ASK, GUEST, GUEST_IPV6], timeout=60)
                assert process.wait(20) == 0
            finally:
                process.kill()
        joined = run([*inside, "nstat", "-asz", "IpReasmReqds", "Ip6ReasmReqds"])
        assert re.findall(r"Reqds +(\d+)", joined) == ["0", "0"], joined


@case(timeout=60, configurations=[*ONCE, PROCESS])
def net_sockets():
    """ss inside: who listens, with the program's name; the summary; a filter."""
    need("ss", "dash", "busybox")
    script = ("busybox nc -l -p 81 & busybox sleep 0.3; ss -tlnp; echo ==; ss -s; echo ==; "
              "ss -Htan state listening '( sport = :82 )'; echo ==; ss -Htlne; kill $!")
    output = run(aril("--net", "user", "--file", "/bin/busybox:/bin/busybox", "--file",
                      "/usr/bin/ss:/usr/bin/ss", "/bin/dash", "--", "-c", script))
    listeners, summary, others, details = output.split("==\n")
    assert re.search(r'LISTEN +0 +1 +\*:81 .*users:\(\("busybox",pid=\d+,fd=3\)\)', listeners), output
    assert re.search(r"^TCP: +1 ", summary, re.M) and re.search(r"^INET\s+1\s", summary, re.M), output
    assert not others, output
    assert re.search(r"ino:\d+ ", details), output


@case(timeout=60)
def net_monitor():
    """ip monitor inside: addresses and routes that come and go."""
    need("ip", "dash", "busybox")
    # Until the monitor has begun to listen, nobody hears of it.
    script = ("ip monitor address route >/tmp/told & for i in $(busybox seq 100); do "
              "ip addr add 10.9.9.9/32 dev lo; ip route add 192.0.2.0/24 dev lo; "
              "ip addr del 10.9.9.9/32 dev lo; ip route del 192.0.2.0/24 dev lo; "
              "busybox sleep 0.1; busybox grep -q 'Deleted 192' /tmp/told && break; done; "
              "kill $!; busybox cat /tmp/told")
    output = run(aril("--net", "none", "--file", "/bin/busybox:/bin/busybox", "--file",
                      "/usr/bin/ip:/usr/bin/ip", "/bin/dash", "--", "-c", script))
    for line in (r"1: lo +inet 10\.9\.9\.9/32", r"192\.0\.2\.0/24 dev lo",
                 r"Deleted 1: lo +inet 10\.9\.9\.9/32"):
        assert re.search(line, output), output


@case(timeout=60)
def net_capture_of_tap():
    """--pcap of a tap, whose frames have no offloads then."""
    need("tcpdump", "dash", "ping")
    with scratch() as directory, namespace() as (inside, network):
        capture = os.path.join(directory, "frames.pcap")
        with subprocess.Popen([*inside, *aril("--pcap", capture, "--net", network, "/bin/dash", "--",
                                              "-c", "echo ready; read line")],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as machine:
            assert machine.stdout.readline() == "ready\n"
            run([*inside, "ping", "-c", "1", "-W", "5", GUEST])
            machine.communicate("end\n", timeout=30)
        output = run(["tcpdump", "-n", "-r", capture, "icmp"])
        assert f"{HOST} > {GUEST}: ICMP echo request" in output, output[-2000:]
