#!/usr/bin/env python3
"""./dev bench NAME: measures Aril beside a Linux guest in the same QEMU, alternately, and prints
medians, spread and ratios. Never a timed test: it fails only when something does not answer.

  boot     QEMU's start to hello's output, and to the first HTTP 200 of servers (boot.py)
  http     nginx requests/s, with keep-alive (wrk) and without (ab), over a tap
  net      nginx, redis and iperf3 over a tap: rates, latencies, CPU time for each request
  goodput  8 MB from nginx over a path of 1 % loss and 50 ms, RUNS of them on both sides at once
  memory   the smallest --memory with which programs work, and what twice that costs (memory.py)
  redis    SET and GET, alone and pipelined
  size     image sizes
  sqlite   the shell's time for large statements and for small transactions
  syscall  nanoseconds of a getpid
  all      boot, size, memory, syscall, http, redis and sqlite
  process  --platform process beside the same programs run natively (process.py)
  compare A.json B.json   what got slower or larger from A to B, with exit status 1 if anything did

Results go to build/bench/NAME.json, with a picture of them in NAME.svg.
"""
import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

import boot
import goodput
import linux_guest
import memory
import network
import process

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build")
ARIL = os.path.join(BUILD, "bin", "aril")
SCRATCH = os.path.join(BUILD, "bench")
GUEST = "10.77.0.2"
NGINX_FOLDERS = ["/usr/sbin/nginx", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"]
NGINX_CONFIGURATION = """daemon off;
master_process off;
error_log stderr crit;
pid /run/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  server { listen 80; root /srv; }
  server { listen 81; root /srv; sendfile off; tcp_nopush off; }
}
"""


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def namespace(part="only"):
    """A network namespace with a tap: the guest's only peer. Gone afterwards."""
    name = f"aril-bench-{part}-{os.getpid()}"
    run = lambda *command: subprocess.run(command, check=True)
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "tuntap", "add", "tap0", "mode", "tap")
        run("ip", "-n", name, "addr", "add", "10.77.0.1/24", "dev", "tap0")
        run("ip", "-n", name, "link", "set", "tap0", "up")
        # While a machine boots, nobody answers ARP; do not wait a second to ask again.
        run("ip", "netns", "exec", name, "sh", "-c",
            "echo 20 >/proc/sys/net/ipv4/neigh/tap0/retrans_time_ms")
        yield name
    finally:
        run("ip", "netns", "del", name)


def inside(name, cpu, command):
    return ["ip", "netns", "exec", name, "taskset", "-c", str(cpu), *command]


@contextlib.contextmanager
def running(command, **options):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def first_output(command, expected):
    """Seconds from exec to the line `expected` on stdout."""
    start = time.monotonic()
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            if expected in line:
                return time.monotonic() - start
    raise SystemExit(f"no '{expected.decode()}' from: {' '.join(command)}")


def first_response(command, url, prefix=(), limit=60):
    """Seconds from exec to the first HTTP 200."""
    start = time.monotonic()
    with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while time.monotonic() - start < limit and process.poll() is None:
            if prefix:
                # A SYN that came too early is lost, and would be sent again after a second.
                done = subprocess.run([*prefix, "curl", "-sf", "--connect-timeout", "0.03", "-m", "1",
                                       "-o", "/dev/null", url], check=False).returncode == 0
            else:
                try:
                    done = urllib.request.urlopen(url, timeout=1).status == 200
                except (urllib.error.URLError, OSError):
                    done = False
            if done:
                return time.monotonic() - start
            time.sleep(0.002)
    raise SystemExit(f"no answer from: {' '.join(command)}")


def prepare():
    os.makedirs(f"{SCRATCH}/srv", exist_ok=True)
    with open(f"{SCRATCH}/srv/index.html", "w", encoding="utf-8") as page:
        page.write("x" * 1024)
    with open(f"{SCRATCH}/srv/large", "wb") as body:
        body.write(bytes(1 << 20))
    with open(f"{SCRATCH}/nginx.conf", "w", encoding="utf-8") as configuration:
        configuration.write(NGINX_CONFIGURATION)
    with open(f"{SCRATCH}/hello.c", "w", encoding="utf-8") as source:
        source.write('#include <stdio.h>\nint main(void) { puts("hello, world"); return 0; }\n')
    subprocess.run(["musl-gcc", "-static", "-O2", "-o", f"{SCRATCH}/hello", f"{SCRATCH}/hello.c"],
                   check=True)
    with open(f"{SCRATCH}/getpid.c", "w", encoding="utf-8") as source:
        source.write("""#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}
int main(void) {
  for (int i = 0; i < 100000; i++) getppid();
  double start = now();
  for (int i = 0; i < 2000000; i++) getppid();
  printf("nanoseconds %.1f\\n", (now() - start) / 2e6);
  return 0;
}
""")
    subprocess.run(["musl-gcc", "-static", "-O2", "-o", f"{SCRATCH}/getpid",
                    f"{SCRATCH}/getpid.c"], check=True)


def aril_nginx(*options):
    return [ARIL, "run", "--file", f"{SCRATCH}/nginx.conf:/etc/nginx/nginx.conf",
            "--file", f"{SCRATCH}/srv:/srv", "--file", "/etc/nginx/mime.types",
            "--file", "/var/lib/nginx", "--file", "/var/log/nginx", *options, "/usr/sbin/nginx"]


def linux_nginx():
    return linux_guest.initramfs(
        BUILD, "nginx", "/usr/sbin/nginx",
        [*NGINX_FOLDERS, (f"{SCRATCH}/nginx.conf", "/etc/nginx/nginx.conf"),
         (f"{SCRATCH}/srv", "/srv"), "/etc/nginx/mime.types", "/var/lib/nginx", "/var/log/nginx"])


class Table:
    """Medians of what each side measured, and their ratio."""

    def __init__(self, title):
        self.title = title
        self.samples = {}

    def add(self, row, side, value):
        self.samples.setdefault(row, {}).setdefault(side, []).append(value)
        say(f"  {row}: {side} {value:.1f}")

    def report(self, results):
        print(f"\n{self.title}")
        print(f"{'':38} {'aril':>14} {'linux guest':>14} {'ratio':>7}")
        for row, sides in self.samples.items():
            medians = {side: statistics.median(values) for side, values in sides.items()}
            spread = {side: max(values) - min(values) for side, values in sides.items()}
            ratio = medians["aril"] / medians["linux"] if medians.get("linux") else None
            cells = [f"{medians[side]:.1f} ±{spread[side] / 2:.1f}" if side in medians else "-"
                     for side in ("aril", "linux")]
            print(f"{row:38} {cells[0]:>14} {cells[1]:>14} {f'{ratio:.2f}' if ratio else '-':>7}")
            results[f"{self.title}: {row}"] = {"median": medians, "spread": spread, "ratio": ratio}


def load(name, command, pattern):
    output = subprocess.run(inside(name, 1, command), check=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True).stdout
    match = re.search(pattern, output)
    if not match or re.search(r"Failed requests:\s+[1-9]|Socket errors", output):
        raise SystemExit(f"{' '.join(command)} failed:\n{output}")
    return float(match.group(1))


def bench_http(runs, results):
    table = Table("nginx (requests/s; higher is better)")
    archive = linux_nginx()
    with namespace() as name:
        sides = {
            "aril": inside(name, 0, aril_nginx("--machine", "q35", "--net", f"tap:tap0,ip={GUEST}/24",
                                               "--memory", "256M")),
            "linux": inside(name, 0, linux_guest.qemu(BUILD, archive, tap="tap0",
                                                      address=f"{GUEST}/24")),
        }
        for _ in range(runs):
            for side, command in sides.items():
                with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
                    for _ in range(600):
                        if subprocess.run(["ip", "netns", "exec", name, "curl", "-sf", "-m", "1", "-o",
                                           "/dev/null", f"http://{GUEST}/"], check=False).returncode == 0:
                            break
                        time.sleep(0.1)
                    wrk = lambda connections, url: load(
                        name, ["wrk", "-t1", f"-c{connections}", "-d5s", f"http://{GUEST}{url}"],
                        r"Requests/sec:\s+([\d.]+)")
                    ab = lambda url: load(
                        name, ["ab", "-q", "-n", "10000", "-c", "30", f"http://{GUEST}{url}"],
                        r"Requests per second:\s+([\d.]+)")
                    table.add("keep-alive, 1 KiB, 30 connections", side, wrk(30, "/"))
                    table.add("  sendfile, tcp_nopush off", side, wrk(30, ":81/"))
                    table.add("keep-alive, 1 MiB, 8 connections", side, wrk(8, "/large"))
                    table.add("  sendfile, tcp_nopush off, 1 MiB", side, wrk(8, ":81/large"))
                    table.add("one request a connection, 1 KiB", side, ab("/"))
                    table.add("  sendfile, tcp_nopush off, one request", side, ab(":81/"))
    table.report(results)


def bench_syscall(runs, results):
    table = Table("getppid by an unmodified static program (nanoseconds; lower is better)")
    archive = linux_guest.initramfs(BUILD, "getpid", "/bin/getpid",
                                    [(f"{SCRATCH}/getpid", "/bin/getpid")])
    sides = {
        "aril": [ARIL, "run", "--machine", "q35", "--net", "none", f"{SCRATCH}/getpid"],
        "linux": linux_guest.qemu(BUILD, archive),
    }
    for _ in range(runs):
        for side, command in sides.items():
            output = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, timeout=120, check=False).stdout
            table.add("getppid", side, float(re.search(rb"nanoseconds ([\d.]+)", output).group(1)))
    table.report(results)


SQL = """pragma journal_mode = wal;
create table t(a integer primary key, b text, c integer);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
  insert into t select i, hex(i * 7919), i % 1000 from n;
commit;
create index t_c on t(c);
select c, count(*), max(b) from t group by c having c < 5;
select count(*) from t x join t y on x.a = y.c where y.a < 20000;
update t set b = b || 'x' where c < 200;
delete from t where c >= 900;
select count(*), sum(length(b)) from t;
"""


def bench_sqlite(runs, results):
    """The shell's own times: of statements, not of the machine's start."""
    table = Table("sqlite (milliseconds; lower is better)")
    small = "".join(f"insert into t(b, c) values('{number}', 1);\n" for number in range(300))
    with open(f"{SCRATCH}/sql", "w", encoding="utf-8") as script:
        script.write(f".timer on\n{SQL}.print small\n{small}.print end\n")
    archive = linux_guest.initramfs(BUILD, "sqlite", "/usr/bin/sqlite3 /tmp/db </sql",
                                    ["/usr/bin/sqlite3", (f"{SCRATCH}/sql", "/sql")])
    sides = {
        "aril": [ARIL, "run", "--machine", "q35", "--net", "none", "--memory", "256M",
                 "/usr/bin/sqlite3", "--", "/tmp/db"],
        "linux": linux_guest.qemu(BUILD, archive),
    }
    for _ in range(runs):
        for side, command in sides.items():
            with open(f"{SCRATCH}/sql", encoding="utf-8") as script:
                output = subprocess.run(command, stdin=script if side == "aril" else subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=300,
                                        check=False).stdout.decode(errors="replace")
            if "end" not in output:
                raise SystemExit(f"sqlite failed:\n{output[-2000:]}")
            large, _, rest = output.partition("small")
            for row, part in (("large statements", large), ("300 transactions", rest)):
                times = re.findall(r"Run Time: real ([\d.]+)", part)
                table.add(row, side, 1000 * sum(map(float, times)))
    table.report(results)


def bench_size(_, results):
    print("\nimage size (KiB)")
    subprocess.run(["ninja", "-C", BUILD, "examples"], check=True, stdout=subprocess.DEVNULL)
    examples = os.path.join(ROOT, "examples")
    for name, command in (("hello, tiny", ["--profile", "tiny", f"{SCRATCH}/hello"]),
                          ("hello, default", [f"{SCRATCH}/hello"]),
                          ("hello, full", ["--profile", "full", f"{SCRATCH}/hello"]),
                          ("DNS server, tiny", [f"{examples}/dns.aril"]),
                          ("web server, tiny", [f"{examples}/web.aril"]),
                          ("cache, tiny", [f"{examples}/cache.aril"]),
                          ("router, tiny", [f"{examples}/router.aril"]),
                          ("Debian's nginx, tiny", ["--profile", "tiny", *aril_nginx()[2:]]),
                          ("Debian's nginx, default", aril_nginx()[2:])):
        image = f"{SCRATCH}/{name}.image"
        subprocess.run([ARIL, "build", "-o", image, *command], check=True,
                       stdout=subprocess.DEVNULL)
        results[f"size (KiB): {name}"] = value = os.path.getsize(image) / 1024
        print(f"{name:38} {value:>14.0f}")
    files = {os.path.realpath(path) for path in ["/usr/sbin/nginx",
                                                 *linux_guest.libraries("/usr/sbin/nginx")]}
    results["size (KiB): nginx's program and libraries"] = value = sum(
        os.path.getsize(path) for path in files) / 1024
    print(f"{'nginx: the program and its libraries':38} {value:>14.0f}")


def of_module(function):
    return lambda runs, results: function(sys.modules[__name__], runs, results)


BENCHES = {"boot": of_module(boot.bench_boot), "size": bench_size,
           "memory": of_module(memory.bench_memory), "syscall": bench_syscall, "http": bench_http,
           "redis": of_module(network.bench_redis), "sqlite": bench_sqlite,
           "net": of_module(network.bench_net), "goodput": of_module(goodput.bench_goodput)}
# What is in net is in the others too, and goodput means something only after many runs.
ALL = [name for name in BENCHES if name not in ("net", "goodput")]


def value_of(result):
    """The number that is compared: a median of Aril's, or the figure itself."""
    if isinstance(result, dict):
        return result["median"].get("aril"), result["spread"].get("aril", 0)
    return result, 0


def higher_is_better(name):
    return "higher is better" in name


def compare(old_path, new_path, out=print):
    """Lists what changed by more than a tenth and by more than the runs differ among themselves.
    Returns how many got worse."""
    loaded = []
    for path in (old_path, new_path):
        with open(path, encoding="utf-8") as file:
            loaded.append(json.load(file))
    old, new = loaded
    worse = 0
    for name in old:
        if name not in new:
            out(f"gone     {name}")
            continue
        (before, spread_before), (after, spread_after) = value_of(old[name]), value_of(new[name])
        if not before or after is None:
            continue
        noise = max(spread_before, spread_after) / 2
        if abs(after - before) <= max(abs(before) / 10, noise):
            continue
        better = (after > before) == higher_is_better(name)
        worse += not better
        out(f"{'better' if better else 'WORSE':8} {name}: {before:.1f} -> {after:.1f} "
            f"({100 * (after - before) / before:+.0f} %)")
    for name in new:
        if name not in old:
            out(f"new      {name}")
    if not worse:
        out("nothing got worse")
    return worse


def picture(results, path):
    """Bars, one pair for each row: Aril and the Linux guest, relative to the larger of the two."""
    rows = []
    for name, result in results.items():
        if isinstance(result, dict):
            rows.append((name, result["median"].get("aril"), result["median"].get("linux")))
        else:
            rows.append((name, result, None))
    escape = lambda text: text.replace("&", "&amp;").replace("<", "&lt;")
    height, width, bar = 44, 900, 380
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height * len(rows) + 30}" '
             'font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>',
             '<text x="10" y="18" fill="#1f6f8b">Aril</text>'
             '<text x="50" y="18" fill="#999">Linux guest</text>']
    for index, (name, own, linux) in enumerate(rows):
        top = 30 + index * height
        lines.append(f'<text x="10" y="{top + 14}">{escape(name[:74])}</text>')
        largest = max(value for value in (own, linux, 1e-9) if value is not None)
        for line, (value, color) in enumerate(((own, "#1f6f8b"), (linux, "#bbb"))):
            if value is None:
                continue
            y = top + 4 + line * 17
            lines.append(f'<rect x="440" y="{y}" width="{bar * value / largest:.1f}" height="14" '
                         f'fill="{color}"/><text x="{446 + bar * value / largest:.1f}" '
                         f'y="{y + 12}">{value:.1f}</text>')
    lines.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def main():
    if sys.argv[1:2] == ["compare"]:
        if len(sys.argv) != 4:
            raise SystemExit("usage: ./dev bench compare A.json B.json")
        sys.exit(1 if compare(*sys.argv[2:]) else 0)
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*BENCHES, "all", "process"])
    parser.add_argument("--runs", type=int, default=3, help="repetitions of each side (default 3)")
    parser.add_argument("--only", action="append", choices=process.MEASUREMENTS,
                        help="process: some of its measurements")
    options = parser.parse_args()
    if options.name == "process":
        process.main(options.runs, options.only)
        return
    for tool in ("qemu-system-x86_64", "wrk", "ab", "musl-gcc", "cpio", "busybox", "iperf3", "ip", "curl"):
        if not shutil.which(tool):
            raise SystemExit(f"bench: {tool} is missing; ./dev bench installs it")
    prepare()
    results = {}
    for name in ALL if options.name == "all" else [options.name]:
        say(f"{name}:")
        start = time.monotonic()
        BENCHES[name](options.runs, results)
        say(f"{name}: {time.monotonic() - start:.0f} s")
    path = f"{SCRATCH}/{options.name}.json"
    with open(path, "w", encoding="utf-8") as out:
        json.dump(results, out, indent=2)
    drawn = f"{SCRATCH}/{options.name}.svg"
    picture(results, drawn)
    say(f"\nwritten: {os.path.relpath(path)} {os.path.relpath(drawn)}")


if __name__ == "__main__":
    main()
