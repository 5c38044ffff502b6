"""./dev bench net: what the network costs. Every row beside a Linux guest that runs at the same
time: requests, transfers and datagrams per second, latencies, QEMU's CPU time for each request."""
import contextlib
import functools
import json
import os
import re
import subprocess
import tempfile
import time

import linux_guest

SECONDS = 4
CLOCK = os.sysconf("SC_CLK_TCK")
REDIS = ["redis-server", "--save", "", "--protected-mode", "no", "--bind", "0.0.0.0"]


def qemu_of(process):
    """The machine's process: this one, or a child of aril's."""
    with open(f"/proc/{process.pid}/comm", encoding="ascii") as file:
        if file.read().startswith("qemu"):
            return process.pid
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        children = file.read().split()
    for child in children:
        with open(f"/proc/{child}/comm", encoding="ascii") as file:
            if file.read().startswith("qemu"):
                return int(child)
    raise SystemExit("bench: where is QEMU?")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK


@contextlib.contextmanager
def machine(bench, command):
    """Runs it; yields its process and the file of what it has written."""
    with tempfile.TemporaryFile() as said, bench.running(command, stdout=said,
                                                         stderr=subprocess.STDOUT) as process:
        yield process, said


def wait_until(check, process, said, limit=180):
    deadline = time.monotonic() + limit
    while not check():
        status = process.poll()
        if status is not None or time.monotonic() > deadline:
            said.seek(0)
            what = "does not answer" if status is None else f"ended with status {status}"
            raise SystemExit(f"bench: the machine {what}; it wrote:\n" +
                             said.read()[-4000:].decode(errors="replace"))
        time.sleep(0.1)


class Side:
    """One machine, and its clients beside it in the same namespace."""

    def __init__(self, bench, name, guest):
        self.bench = bench
        self.namespace = name
        self.guest = guest

    def client(self, *command, check=True):
        return subprocess.run(self.bench.inside(self.namespace, 1, list(command)), check=check,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout

    def opens(self, port):
        probe = ["python3", "-c", "import socket, sys; socket.create_connection((sys.argv[1], "
                 "int(sys.argv[2])), timeout=1)", self.guest, str(port)]
        return subprocess.run(self.bench.inside(self.namespace, 1, probe), check=False,
                              stderr=subprocess.DEVNULL).returncode == 0


# The measure_ functions are generators, which stop after each measurement for the other side's.

def measure_nginx(side, process, add):
    pid = qemu_of(process)

    def wrk(row, connections, path):
        before = cpu_seconds(pid)
        output = side.client("wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency",
                             f"http://{side.guest}{path}")
        spent = cpu_seconds(pid) - before
        requests = int(re.search(r"(\d+) requests in", output)[1])
        add(f"nginx {row}: requests/s", float(re.search(r"Requests/sec: +([\d.]+)", output)[1]))
        add(f"nginx {row}: requests per CPU second", requests / spent)
        for part in ("50%", "99%"):
            value, unit = re.search(rf" {part} +([\d.]+)(us|ms|s)", output).groups()
            milliseconds = float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
            # As a rate, so that higher is better here too.
            add(f"nginx {row}: 1/latency, p{part[:2]} (1/s)", 1000 / milliseconds)

    # What QEMU translates first would count against the faster side: it takes the same time on both.
    side.client("wrk", "-t1", "-c30", "-d1s", f"http://{side.guest}/")
    yield
    wrk("keep-alive, 1 KiB", 30, "/")
    yield
    wrk("keep-alive, 1 MiB", 8, "/large")
    yield
    before = cpu_seconds(pid)
    output = side.client("ab", "-q", "-n", "8000", "-c", "30", f"http://{side.guest}/")
    if not re.search(r"Failed requests: +0\n", output):
        raise SystemExit(output)
    add("nginx one request a connection: requests/s",
        float(re.search(r"Requests per second: +([\d.]+)", output)[1]))
    add("nginx one request a connection: requests per CPU second",
        8000 / (cpu_seconds(pid) - before))


def measure_redis(side, process, add):
    pid = qemu_of(process)
    for pipeline, count in ((1, 30000), (16, 200000)):
        def client(commands, requests):
            return side.client("redis-benchmark", "-h", side.guest, "-t", commands, "-n",
                               str(requests), "-P", str(pipeline), "-c", "30", "--csv")
        client("set,get", count // 6)  # as above
        for command in ("set", "get"):
            yield
            before = cpu_seconds(pid)
            output = client(command, count)
            row = f"redis {command.upper()}, pipeline {pipeline}"
            add(f"{row}: requests/s", float(re.findall(r'"[A-Z]+","([\d.]+)"', output)[-1]))
            add(f"{row}: requests per CPU second", count / (cpu_seconds(pid) - before))


def measure_iperf(side, _, add):
    def run(row, value, *words):
        # The server does not listen while it cleans up after the last client.
        for _ in range(50):
            output = json.loads(side.client("iperf3", "-c", side.guest, "-t", str(SECONDS), "-J",
                                            *words, check=False))
            if "error" not in output:
                break
            time.sleep(0.2)
        else:
            raise SystemExit(f"bench: iperf3: {output['error']}")
        add(row, value(output["end"]))

    def received(end):
        return end["sum_received"]["bits_per_second"] / 1e6

    def arrived(end):
        total = end["sum"]
        return (total["packets"] - total["lost_packets"]) / total["seconds"]
    run("iperf3 TCP to the machine: Mbit/s", received)
    yield
    run("iperf3 TCP from the machine: Mbit/s", received, "-R")
    yield
    run("iperf3 UDP to the machine, 100 bytes: packets/s", arrived, "-u", "-l", "100", "-b", "40M")
    yield
    run("iperf3 UDP from the machine, 100 bytes: packets/s", arrived, "-u", "-l", "100", "-b",
        "40M", "-R")


def bench_redis(bench, runs, results):
    bench_programs(bench, runs, results, "redis (higher is better)", ["redis"])


def bench_net(bench, runs, results):
    bench_programs(bench, runs, results, "network (higher is better)", ["nginx", "redis", "iperf3"])


def bench_programs(bench, runs, results, title, names):
    """`bench`: the module that has the tables, the namespace and nginx's files."""
    programs = {
        "nginx": (80, measure_nginx, bench.aril_nginx(), bench.linux_nginx),
        "redis": (6379, measure_redis, ["/usr/bin/redis-server", "--", *REDIS[1:]],
                  lambda: linux_guest.initramfs(bench.BUILD, "redis",
                                                "/usr/bin/" + " ".join(word or "''" for word in REDIS),
                                                ["/usr/bin/redis-server"])),
        "iperf3": (5201, measure_iperf, ["/usr/bin/iperf3", "--", "-s"],
                   lambda: linux_guest.initramfs(bench.BUILD, "iperf3", "/usr/bin/iperf3 -s",
                                                 ["/usr/bin/iperf3"])),
    }
    table = bench.Table(title)
    with contextlib.ExitStack() as stack:
        # A namespace for each side, so that both run beside each other and every measurement of one
        # follows that of the other within seconds: how fast this host is changes with the minutes.
        sides = {kind: Side(bench, stack.enter_context(bench.namespace(kind)), bench.GUEST)
                 for kind in ("aril", "linux")}
        for port, measure, words, make_archive in (programs[name] for name in names):
            if words[0] != bench.ARIL:
                words = [bench.ARIL, "run", *words]
            options = ["--machine", "q35", "--memory", "256M", "--net",
                       f"tap:tap0,ip={bench.GUEST}/24"]
            commands = {
                "aril": [*words[:2], *options, *words[2:]],
                "linux": linux_guest.qemu(bench.BUILD, make_archive(), tap="tap0",
                                          address=f"{bench.GUEST}/24"),
            }
            for _ in range(runs):
                with contextlib.ExitStack() as machines:
                    take_turns([started(machines, bench, side, commands[kind], port, measure,
                                        functools.partial(add, table, kind))
                                for kind, side in sides.items()])
    table.report(results)


def add(table, kind, row, value):
    table.add(row, kind, value)


def started(machines, bench, side, command, port, measure, add_value):
    """The measurements of a machine that is running now."""
    process, said = machines.enter_context(machine(bench, bench.inside(side.namespace, 0, command)))
    wait_until(lambda: side.opens(port), process, said)
    return measure(side, process, add_value)


def take_turns(measurements):
    while measurements:
        measurements = [one for one in measurements if next(one, "end") != "end"]
