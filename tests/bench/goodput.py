"""./dev bench goodput: what congestion control and loss recovery make of a bad path. Both machines run
at once, each behind a relay of its own, so that both have as much of the processor."""
import contextlib
import os
import re
import subprocess
import sys
import threading

import linux_guest
from network import machine, wait_until

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "network"))

from link_relay import relay

SIZE = 8 << 20
PATH = ["loss=0.01", "delay=25"]  # milliseconds, each way
LIMIT = 300


def megabits_per_second(inside, address):
    output = subprocess.run(
        [*inside, "curl", "-sf", "-o", os.devnull, "-m", str(LIMIT), "-w", "%{size_download} %{time_total}",
         f"http://{address}/eight"], check=True, stdout=subprocess.PIPE, text=True).stdout
    size, seconds = output.split()
    if int(size) != SIZE:
        raise SystemExit(f"bench: {size} bytes in place of {SIZE}")
    return SIZE * 8 / float(seconds) / 1e6


def answers(inside, address):
    return subprocess.run([*inside, "curl", "-sf", "-o", os.devnull, "-m", "2", f"http://{address}/"],
                          check=False).returncode == 0


def bench_goodput(bench, runs, results):
    """`bench`: the module that has the tables, the namespace and nginx's files."""
    table = bench.Table("goodput, 1 % loss and 50 ms there and back (higher is better)")
    served = f"{bench.SCRATCH}/srv/eight"
    with contextlib.ExitStack() as files:
        files.callback(os.unlink, served)  # the other benchmarks' images hold the folder too
        with open(served, "wb") as file:
            file.write(bytes(SIZE))
        measure_both(bench, runs, table)
    table.report(results)


def measure_both(bench, runs, table):
    commands = {
        "aril": bench.aril_nginx("--machine", "q35", "--memory", "256M", "--net",
                                 f"tap:tap0,ip={bench.GUEST}/24"),
        # CUBIC is what Debian's kernel has by default.
        "linux": linux_guest.qemu(bench.BUILD, bench.linux_nginx(), tap="tap0",
                                  address=f"{bench.GUEST}/24"),
    }
    host = re.sub(r"\d+$", "1", bench.GUEST) + "/24"
    with contextlib.ExitStack() as stack:
        sides, machines = {}, {}
        for name, command in commands.items():
            sides[name] = ["ip", "netns", "exec", stack.enter_context(bench.namespace(name))]
            folder = f"{bench.SCRATCH}/relay-{name}"
            os.makedirs(folder, exist_ok=True)
            # Not the same seed: a figure is of many losses, and no side shall have the luckier ones.
            seed = 1 + list(commands).index(name)
            stack.enter_context(relay(sides[name], folder, "tap0", host, *PATH, f"seed={seed}"))
            machines[name] = stack.enter_context(machine(bench, [*sides[name], *command]))
        for name, inside in sides.items():
            wait_until(lambda inside=inside: answers(inside, bench.GUEST), *machines[name])

        def measure(name):
            for _ in range(runs):
                table.add("Mbit/s", name, megabits_per_second(sides[name], bench.GUEST))

        threads = [threading.Thread(target=measure, args=(name,)) for name in sides]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
