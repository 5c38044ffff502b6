"""./dev bench process: the same programs natively and with --platform process, alternately.

Natively they run in a network namespace behind a veth pair, as processes behind a tap; the server has
one CPU and the client another. Prints medians and their ratio; a ratio above 1 is in Aril's favour.
"""
import contextlib
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("ARIL_BUILD", os.path.join(ROOT, "build"))
ARIL = os.path.join(BUILD, "bin", "aril")
CLIENT, SERVER = f"aril-bc{os.getpid()}", f"aril-bs{os.getpid()}"
NATIVE_ADDRESS, ARIL_ADDRESS = "10.78.1.2", "10.78.2.2"
NGINX = """daemon off; master_process off; error_log stderr crit; pid {scratch}/pid;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; keepalive_requests 1000000;
  client_body_temp_path {scratch}/b; proxy_temp_path {scratch}/p; fastcgi_temp_path {scratch}/f;
  uwsgi_temp_path {scratch}/u; scgi_temp_path {scratch}/s;
  server {{ listen 80; root {scratch}/www; }} }}
"""
GETPID = """#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int main(void) {
  struct timespec a, b;
  for (int i = 0; i < 1000; i++) getppid();
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (int i = 0; i < 1000000; i++) getppid();
  clock_gettime(CLOCK_MONOTONIC, &b);
  printf("%f\\n", ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / 1000000);
}
"""
SQL = """create table t(a integer primary key, b text);
insert into t select value, hex(randomblob(32)) from generate_series(1, 300000);
select count(*), sum(length(b)) from t where b like '%AB%';
"""


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          timeout=120, **options).stdout.decode()


@contextlib.contextmanager
def networks():
    try:
        for name in (CLIENT, SERVER):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", CLIENT, "link", "add", "veth", "type", "veth", "peer", "name", "veth",
            "netns", SERVER)
        run("ip", "-n", CLIENT, "tuntap", "add", "dev", "tap", "mode", "tap")
        for name, device, address in ((CLIENT, "veth", "10.78.1.1"), (SERVER, "veth", NATIVE_ADDRESS),
                                      (CLIENT, "tap", "10.78.2.1")):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", device)
            run("ip", "-n", name, "link", "set", device, "up")
        yield
    finally:
        for name in (CLIENT, SERVER):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)


def command_of(side, program, network=True):
    """How a side runs [program, files, argument...], on the server's CPU."""
    path, files, *arguments = program
    if side == "native":
        return ["ip", "netns", "exec", SERVER, "taskset", "-c", "0", path, *arguments]
    words = ["--net", f"tap:tap,ip={ARIL_ADDRESS}/24"] if network else ["--net", "none"]
    for file in files:
        words += ["--file", file]
    return ["ip", "netns", "exec", CLIENT, "taskset", "-c", "0", ARIL, "run", "--platform", "process",
            "--memory", "512M", *words, path, "--", *arguments]


def client(*command):
    return run("ip", "netns", "exec", CLIENT, "taskset", "-c", "1", *command)


@contextlib.contextmanager
def serving(side, program, port, startup=None):
    address = NATIVE_ADDRESS if side == "native" else ARIL_ADDRESS
    start = time.monotonic()
    process = subprocess.Popen(command_of(side, program), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        probe = ("import socket,time\nfor i in range(5000):\n try:\n"
                 f"  s=socket.create_connection(('{address}',{port}),0.05); break\n"
                 " except OSError: time.sleep(0.001)\n"
                 "s.settimeout(5); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); s.recv(1)\n"
                 "print(time.monotonic())")
        answered = float(client("python3", "-c", probe))
        if startup is not None:
            startup.append((answered - start) * 1e3)
        yield address, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return float(re.search(r"VmRSS:\s+(\d+)", file.read())[1])


def number(pattern, text):
    return float(re.search(pattern, text)[1])


def measure(side, scratch, results):
    def add(name, value):
        results.setdefault(name, {}).setdefault(side, []).append(value)

    startup = []
    nginx = ["/usr/sbin/nginx", [scratch, "/etc/passwd", "/etc/group"], "-c", f"{scratch}/nginx.conf"]
    with serving(side, nginx, 80, startup) as (address, pid):
        add("nginx, start to first response (ms)", startup[0])
        add("nginx, idle, resident (KiB)", resident_kib(pid))
        url = f"http://{address}/index.html"
        add("nginx, keep-alive (requests/s)", number(
            r"Requests/sec:\s+([\d.]+)", client("wrk", "-t1", "-c30", "-d5s", url)))
        add("nginx, a connection each (requests/s)", number(
            r"Requests per second:\s+([\d.]+)", client("ab", "-q", "-n5000", "-c30", url)))
    redis = ["/usr/bin/redis-server", [], "--save", "", "--protected-mode", "no", "--bind", "0.0.0.0"]
    with serving(side, redis, 6379) as (address, _):
        text = client("redis-benchmark", "-h", address, "-q", "--csv", "-P", "16", "-n", "300000",
                      "-t", "set,get")
        add("redis SET, pipeline 16 (requests/s)", number(r'"SET","([\d.]+)"', text))
        add("redis GET, pipeline 16 (requests/s)", number(r'"GET","([\d.]+)"', text))
    sqlite = command_of(side, ["/usr/bin/sqlite3", [], ":memory:", SQL], network=False)
    start = time.monotonic()
    run(*sqlite)
    add("sqlite, insert and select (s)", time.monotonic() - start)
    start = time.monotonic()
    run(*command_of(side, [f"{scratch}/hello", []], network=False))
    add("hello, whole run (ms)", (time.monotonic() - start) * 1e3)
    add("system call (ns)", float(run(*command_of(side, [f"{scratch}/getpid", []], network=False))))


def main(runs):
    results = {}
    with tempfile.TemporaryDirectory(prefix="aril-bench-", dir="/tmp") as scratch, networks():
        os.mkdir(f"{scratch}/www")
        with open(f"{scratch}/www/index.html", "w", encoding="ascii") as file:
            file.write("x" * 612)
        with open(f"{scratch}/nginx.conf", "w", encoding="ascii") as file:
            file.write(NGINX.format(scratch=scratch))
        os.chmod(scratch, 0o755)
        for name, text in (("getpid", GETPID), ("hello", "int puts(const char*); int main(){puts(\"hello\");}")):
            run("gcc", "-O1", "-w", "-static", "-o", f"{scratch}/{name}", "-xc", "-", input=text.encode())
        for _ in range(runs):
            for side in ("native", "aril"):
                measure(side, scratch, results)
    print(f"{'':42}{'native':>12}{'aril':>12}{'ratio':>8}")
    for name, sides in results.items():
        native, aril = (statistics.median(sides[side]) for side in ("native", "aril"))
        ratio = aril / native if "requests/s" in name else native / aril
        print(f"{name:42}{native:12.1f}{aril:12.1f}{ratio:8.2f}")
    return results
