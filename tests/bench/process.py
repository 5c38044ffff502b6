"""./dev bench process [--only NAME]: the same programs natively and with --platform process, alternately.

Natively they run in a network namespace behind a veth pair, as processes behind a tap; the server has
one CPU and the client another. Times of starting count from `exec`; `aril run` has the program's image
in its cache, but for the line that says so. Prints medians and their ratio; a ratio above 1 is in
Aril's favour.
"""
import contextlib
import ctypes
import os
import re
import resource
import select
import signal
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("ARIL_BUILD", os.path.join(ROOT, "build"))
ARIL = os.path.join(BUILD, "bin", "aril")
STARTS, HELLOS, STATEMENTS = 9, 40, 5  # of which the median counts
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
# Runs a program some times and prints how many milliseconds each took, from exec to its end: the parent is
# small, so that no more is measured than that.
TIMED = """#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
int main(int count, char** words) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  sched_setaffinity(0, sizeof one, &one);
  volatile double* start = malloc(sizeof *start);
  for (int run = 0, runs = atoi(words[1]); run < runs; run++) {
    pid_t child = vfork();
    if (child == 0) {
      *start = now();
      execv(words[2], words + 2);
      _exit(127);
    }
    int status;
    waitpid(child, &status, 0);
    if (status != 0) return 1;
    fprintf(stderr, "%f\\n", now() - *start);
  }
}
"""
# Asks until there is an answer; says when that was. A connection is tried every millisecond and the
# earlier ones stay open: the SYN of one that came too early is lost (in a tap that nobody has opened yet,
# or with the neighbour that Linux forgets when the tap's carrier comes), and sent again after a second.
PROBE = """import select, socket, sys, time
print("ready", flush=True)
end = time.monotonic() + 20
poll, tries, next_try = select.poll(), {}, 0
def forget(number):
  poll.unregister(number)
  tries.pop(number).close()
def answers(number):
  try:
    if tries[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0: return forget(number)
    tries[number].setblocking(True)
    tries[number].settimeout(5)
    tries[number].sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    return tries[number].recv(1)
  except OSError: forget(number)
def wait():
  global next_try
  while time.monotonic() < end:
    if time.monotonic() >= next_try:
      next_try = time.monotonic() + 0.001
      s = socket.socket()
      s.setblocking(False)
      s.connect_ex((sys.argv[1], int(sys.argv[2])))
      tries[s.fileno()] = s
      poll.register(s, select.POLLOUT)
      if len(tries) > 500: forget(next(iter(tries)))
    for number, _ in poll.poll(max(0, next_try - time.monotonic()) * 1e3):
      if answers(number): return
wait()
print(time.monotonic())
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
    """How a side runs [program, files, argument...]."""
    path, files, *arguments = program
    if side == "native":
        return [path, *arguments]
    words = ["--net", f"tap:tap,ip={ARIL_ADDRESS}/24"] if network else ["--net", "none"]
    for file in files:
        words += ["--file", file]
    return [ARIL, "run", "--platform", "process", "--memory", "512M", *words, path, "--", *arguments]


def client(*command):
    return run("ip", "netns", "exec", CLIENT, "taskset", "-c", "1", *command)


class Started:
    """A process of one side, on the server's CPU; `at` is when it called exec."""

    def __init__(self, side, program, network=True, **streams):
        namespace = os.open(f"/run/netns/{SERVER if side == 'native' else CLIENT}", os.O_RDONLY)
        reader, writer = os.pipe()

        def enter():
            if ctypes.CDLL(None).setns(namespace, 0) != 0:
                raise OSError("setns")
            os.sched_setaffinity(0, {0})
            os.write(writer, repr(time.monotonic()).encode())

        self.process = subprocess.Popen(
            command_of(side, program, network), preexec_fn=enter,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
               "stderr": subprocess.DEVNULL, **streams})
        self.at = float(os.read(reader, 64))
        for descriptor in (namespace, reader, writer):
            os.close(descriptor)

    def finish(self):
        """Waits for its end; (seconds since exec, stdout)."""
        output = self.process.stdout.read().decode() if self.process.stdout else ""
        # Popen.wait with a time limit polls, in steps of up to 50 ms.
        pidfd = os.pidfd_open(self.process.pid)
        select.select([pidfd], [], [], 120)
        seconds = time.monotonic() - self.at
        os.close(pidfd)
        status = self.process.wait(1)
        if self.process.stdout:
            self.process.stdout.close()
        if status != 0:
            raise RuntimeError(f"ended with status {status}")
        return seconds, output


@contextlib.contextmanager
def serving(side, program, port, startup=None):
    address = NATIVE_ADDRESS if side == "native" else ARIL_ADDRESS
    probe = subprocess.Popen(["ip", "netns", "exec", CLIENT, "taskset", "-c", "1", "python3", "-c",
                              PROBE, address, str(port)], stdout=subprocess.PIPE)
    probe.stdout.readline()
    started = Started(side, program)
    process = started.process
    try:
        answered = float(probe.stdout.readline())
        if startup is not None:
            startup.append((answered - started.at) * 1e3)
        yield address, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        probe.stdout.close()
        probe.wait(30)


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return float(re.search(r"VmRSS:\s+(\d+)", file.read())[1])


def share_kib(pid):
    """What the process alone uses, and its part of what others use too."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return float(re.search(r"Pss:\s+(\d+)", file.read())[1])


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def number(pattern, text):
    return float(re.search(pattern, text)[1])


def measure_nginx(side, scratch, add):
    startup = []
    nginx = ["/usr/sbin/nginx", [scratch, "/etc/passwd", "/etc/group"], "-c", f"{scratch}/nginx.conf"]
    if side == "aril":
        with serving(side, nginx, 80, startup):
            add("nginx, first response, image not built yet (ms)", startup.pop())
    for _ in range(STARTS):
        with serving(side, nginx, 80, startup):
            pass
    with serving(side, nginx, 80) as (address, pid):
        add("nginx, start to first response (ms)", statistics.median(startup))
        time.sleep(0.5)
        add("nginx, idle, resident (KiB)", resident_kib(pid))
        add("nginx, idle, its share (KiB)", share_kib(pid))
        before = cpu_seconds(pid)
        time.sleep(2)
        add("nginx, idle, CPU (%)", (cpu_seconds(pid) - before) / 2 * 100)
        url = f"http://{address}/index.html"
        add("nginx, keep-alive (requests/s)", number(
            r"Requests/sec:\s+([\d.]+)", client("wrk", "-t1", "-c30", "-d5s", url)))
        add("nginx, a connection each (requests/s)", number(
            r"Requests per second:\s+([\d.]+)", client("ab", "-q", "-n5000", "-c30", url)))


def measure_web(side, _, add):
    web = [f"{BUILD}/examples/web", [f"{ROOT}/examples/web/site:/srv"]]
    if side == "native":
        web += [f"{ROOT}/examples/web/site"]
    startup = []
    for _ in range(STARTS):
        with serving(side, web, 80, startup):
            pass
    add("examples/web, start to first response (ms)", statistics.median(startup[1:]))
    with serving(side, web, 80) as (_, pid):
        time.sleep(0.5)
        add("examples/web, idle, resident (KiB)", resident_kib(pid))
        add("examples/web, idle, its share (KiB)", share_kib(pid))


def measure_redis(side, _, add):
    redis = ["/usr/bin/redis-server", [], "--save", "", "--protected-mode", "no", "--bind", "0.0.0.0"]
    with serving(side, redis, 6379) as (address, _):
        text = client("redis-benchmark", "-h", address, "-q", "--csv", "-P", "16", "-n", "1000000",
                      "-t", "set,get")
        add("redis SET, pipeline 16 (requests/s)", number(r'"SET","([\d.]+)"', text))
        add("redis GET, pipeline 16 (requests/s)", number(r'"GET","([\d.]+)"', text))


def measure_sqlite(side, _, add):
    sqlite = ["/usr/bin/sqlite3", [], ":memory:", SQL]
    for round_number in range(1 + STATEMENTS):  # the first builds the image
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, _ = Started(side, sqlite, network=False).finish()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if round_number == 0:
            continue
        add("sqlite, insert and select (ms)", seconds * 1e3)
        add("sqlite, insert and select, CPU time (ms)", 1e3 * (
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))


def measure_hello(side, scratch, add):
    timed = subprocess.run([f"{scratch}/timed", str(1 + HELLOS),
                            *command_of(side, [f"{scratch}/hello", []], network=False)],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120)
    hello = [float(word) for word in timed.stderr.split()[1:]]  # the first builds the image
    add("hello, whole run (ms)", statistics.median(hello))
    add("hello, whole run, the least (ms)", min(hello))


def measure_getpid(side, scratch, add):
    _, text = Started(side, [f"{scratch}/getpid", []], network=False,
                      stdout=subprocess.PIPE).finish()
    add("system call (ns)", float(text))


MEASUREMENTS = {"web": measure_web, "nginx": measure_nginx, "redis": measure_redis,
                "sqlite": measure_sqlite, "hello": measure_hello, "getpid": measure_getpid}


def main(runs, only=None):
    results = {}
    with tempfile.TemporaryDirectory(prefix="aril-bench-", dir="/tmp") as scratch, networks():
        os.mkdir(f"{scratch}/www")
        with open(f"{scratch}/www/index.html", "w", encoding="ascii") as file:
            file.write("x" * 612)
        with open(f"{scratch}/nginx.conf", "w", encoding="ascii") as file:
            file.write(NGINX.format(scratch=scratch))
        os.chmod(scratch, 0o755)
        for name, text in (("getpid", GETPID), ("timed", TIMED), ("hello", "int puts(const char*); int main(){puts(\"hello\");}")):
            run("gcc", "-O1", "-w", "-static", "-o", f"{scratch}/{name}", "-xc", "-", input=text.encode())
        for name, side in ((name, side) for _ in range(runs) for name in only or MEASUREMENTS
                           for side in ("native", "aril")):
            MEASUREMENTS[name](side, scratch, lambda row, value, side=side: results.setdefault(
                row, {}).setdefault(side, []).append(value))
    print(f"{'':50}{'native':>12}{'aril':>12}{'ratio':>8}")
    for name, sides in results.items():
        native, aril = (statistics.median(sides.get(side, [float("nan")]))
                        for side in ("native", "aril"))
        ratio = aril / native if "requests/s" in name else native / max(aril, 1e-9)
        print(f"{name:50}{native:12.1f}{aril:12.1f}{ratio:8.2f}")
    return results
