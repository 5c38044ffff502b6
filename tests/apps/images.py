#!/usr/bin/env python3
"""Images that are linked for one program: what is in them, how large they are, and that they run."""
import json
import os
import subprocess

from example_images import EXAMPLES, build_examples, build_image, inspect
from harness import ARIL, ROOT, case, free_port, get, instance, need, run, scratch

# Ceilings in bytes: what was measured, and some room.
HELLO_LIMIT, DNS_LIMIT, WEB_LIMIT = 93_000, 163_840, 185_000
# For the address of example.test, over TCP.
DNS_QUERY = (b"\x00\x1e\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
             b"\x07example\x04test\x00\x00\x01\x00\x01")


def compile_static(directory, text):
    need("musl-gcc")
    source, program = os.path.join(directory, "program.c"), os.path.join(directory, "program")
    with open(source, "w", encoding="ascii") as file:
        file.write(text)
    run(["musl-gcc", "-static", "-O2", "-s", "-o", program, source])
    return program


@case(timeout=120)
def a_tiny_hello_runs():
    with scratch() as directory:
        program = compile_static(
            directory, '#include <stdio.h>\nint main(void) { puts("hello, world"); return 3; }\n')
        image = build_image(directory, "--profile", "tiny", program)
        assert os.path.getsize(image) < HELLO_LIMIT, f"{os.path.getsize(image)} bytes"
        output = run([ARIL, "run", "--net", "none", "--memory", "1M", image], status=3)
        assert output == "hello, world\n", output
        seen = inspect(image)
        assert seen["packed"] and "writev" in seen["system_calls"]
        names = {part["name"] for part in seen["parts"]}
        assert not {"net_tcp", "fs_ext4", "linux_multiprocess"} & names, names
        graph = run([ARIL, "inspect", "--graph", image])
        assert graph.startswith("digraph") and "linux_loader" in graph


@case(timeout=120)
def a_tiny_hello_runs_from_a_disk():
    with scratch() as directory:
        program = compile_static(
            directory, '#include <stdio.h>\nint main(void) { puts("hello, world"); return 3; }\n')
        image = build_image(directory, "--profile", "tiny", "--disk-root", "on", program)
        assert inspect(image)["packed"]
        output = run([ARIL, "run", "--net", "none", image], status=3)
        assert output == "hello, world\n", output


@case(timeout=120)
def the_default_profile_and_a_named_component():
    with scratch() as directory:
        program = compile_static(directory, """#include <stdio.h>
#include <sys/utsname.h>
int main(void) { struct utsname u; uname(&u); puts(u.sysname); return 0; }
""")
        plain = inspect(build_image(directory, program))
        image = build_image(directory, "--component", "linux_multiprocess", program)
        more = inspect(image)
        assert "uname" in plain["system_calls"] and "pidfd_open" not in plain["system_calls"]
        assert "pidfd_open" in more["system_calls"] and more["size"] > plain["size"], (
            f"{plain['size']} and {more['size']} bytes")
        assert run([ARIL, "run", "--net", "none", image]) == "Linux\n"
        # fork needs a component that no system call of its own brings along.
        program = compile_static(directory, """#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
  int status = 0;
  if (fork() == 0) _exit(5);
  wait(&status);
  printf("%d\\n", WEXITSTATUS(status));
  return 0;
}
""")
        assert run([ARIL, "run", "--net", "none", build_image(directory, program)]) == "5\n"
        error = subprocess.run([ARIL, "build", "-o", image, "--component", "nonsense", program],
                               stderr=subprocess.PIPE, timeout=60).stderr.decode()
        assert "nonsense" in error and "aril components" in error, error


@case(timeout=60)
def a_damaged_description_is_refused():
    with scratch() as directory:
        image = build_image(directory, "/bin/true")
        with open(image + ".json", encoding="utf-8") as file:
            good = json.load(file)
        damaged = ["", "{", "[]", "{}", "3"]
        damaged += [json.dumps({**good, key: wrong}) for key in good for wrong in (3.5, [{}], {"x": {}})]
        damaged += [json.dumps({name: good[name] for name in good if name != key}) for key in good]
        for text in damaged:
            with open(image + ".json", "w", encoding="utf-8") as file:
                file.write(text)
            for words in ([], ["--json"], ["--graph"]):
                result = subprocess.run([ARIL, "inspect", *words, image], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, timeout=30)
                assert result.returncode == 125 and b"is not what aril build writes" in result.stderr, (
                    text[:200], words, result)


@case(timeout=120)
def static_programs_enter_the_kernel_by_jumps():
    with scratch() as directory:
        program = compile_static(directory, """#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
static volatile int ticks, waits;
static int ends[2];
static void tick(int number) {
  (void)number;
  ++ticks;
  if (waits && --waits == 0) write(ends[1], "x", 1);
}
int main(void) {
  struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
  struct itimerval often = {{0, 1000}, {0, 1000}};
  pid_t own = getpid(), parent = getppid();
  char text[8] = "";
  if (pipe(ends) || sigaction(SIGALRM, &action, 0) || setitimer(ITIMER_REAL, &often, 0)) return 1;
  for (int i = 0; i < 100000 || ticks < 200; ++i) {
    if (getpid() != own || getppid() != parent) return 2;
    if (write(-1, "", 1) != -1 || errno != EBADF) return 3;
    if (i % 10000 != 0) continue;
    waits = 8; /* Interrupted so often, and each time made again. */
    if (read(ends[0], text, 1) != 1 || strcmp(text, "x")) return 4;
  }
  puts("all as before");
  return 0;
}
""")
        assert run([program]) == "all as before\n"
        for profile in ("tiny", "default"):
            image = build_image(directory, "--profile", profile, program)
            (counts,) = inspect(image)["rewritten"].values()
            assert counts["jumps"] >= counts["instructions"] / 2, counts
            assert run([ARIL, "run", "--net", "none", image]) == "all as before\n"


@case(timeout=120)
def what_was_left_out_is_named():
    with scratch() as directory:
        # The number comes out of memory: no analysis sees it.
        program = compile_static(directory, """#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
volatile long number = SYS_eventfd2;
int main(void) { printf("%ld\\n", syscall(number, 0, 0)); return 0; }
""")
        image = build_image(directory, "--profile", "tiny", program)
        result = subprocess.run([ARIL, "run", "--net", "none", image], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        report = result.stderr.decode()
        assert result.stdout == b"-1\n", result.stdout
        assert "(290) is not in this image" in report and "linux_event" in report, report
        # Recorded, it is there.
        record = os.path.join(directory, "calls")
        run([ARIL, "run", "--net", "none", "--record", record, program])
        with open(record, encoding="ascii") as file:
            calls = file.read().split()
        assert "eventfd2" in calls and "exit_group" in calls, calls
        manifest = os.path.join(directory, "program.aril")
        with open(manifest, "w", encoding="ascii") as file:
            file.write(f'program = "{program}"\nprofile = "tiny"\nsystem_calls = {json.dumps(calls)}\n')
        image = build_image(directory, manifest)
        assert run([ARIL, "run", "--net", "none", image]) == "3\n"


@case(timeout=120)
def functions_for_uses_are_there_and_others_not():
    with scratch() as directory:
        # Every use of base/image_use.hpp that an ordinary program can make.
        program = compile_static(directory, """#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/xattr.h>
#include <unistd.h>
#define CHECK(x) do { if (!(x)) { printf("%s: %s\\n", #x, strerror(errno)); return 1; } } while (0)
static int numbered(int fd, int level, int name, int value) {
  int now = -1;
  socklen_t size = sizeof now;
  return setsockopt(fd, level, name, &value, sizeof value) == 0 &&
         getsockopt(fd, level, name, &now, &size) == 0 && now == value;
}
int main(int argc, char** argv) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(listener, (struct sockaddr*)&address, size) == 0 && listen(listener, 1) == 0);
  CHECK(getsockname(listener, (struct sockaddr*)&address, &size) == 0);
  CHECK(numbered(client, IPPROTO_TCP, TCP_NODELAY, 1) && numbered(client, IPPROTO_IP, IP_TTL, 9));
  CHECK(connect(client, (struct sockaddr*)&address, size) == 0);
  int server = accept(listener, 0, 0), file = open(argv[0], O_RDONLY), waiting = 0;
  CHECK(server >= 0 && file >= 0 && sendfile(client, file, 0, 100) == 100);
  char text[200];
  CHECK(recv(server, text, 1, 0) == 1 && ioctl(server, FIONREAD, &waiting) == 0 && waiting == 99);
  struct flock lock = {.l_type = F_RDLCK};
  CHECK(fcntl(file, F_SETLK, &lock) == 0);
  CHECK(fgetxattr(file, "user.none", text, sizeof text) == -1 && errno == ENODATA);
  int udp = socket(AF_INET, SOCK_DGRAM, 0);
  struct ip_mreqn group = {{htonl(0xefff0001)}, {htonl(INADDR_LOOPBACK)}, 0};
  CHECK(setsockopt(udp, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) == 0);
  CHECK(numbered(udp, IPPROTO_IP, IP_RECVERR, 1) && recv(udp, text, 1, MSG_ERRQUEUE) == -1);
  CHECK(errno == EAGAIN && connect(udp, (struct sockaddr*)&address, size) == 0);
  puts("all there");
  return 0;
}
""")
        assert run([program]) == "all there\n"
        image = build_image(directory, "--profile", "tiny", program)
        assert run([ARIL, "run", "--net", "none", image]) == "all there\n"
        # The analysis sees neither of the calls whose number comes out of memory, but another of
        # each: what these would have needed is not there, and that is an error like any other.
        program = compile_static(directory, """#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
volatile long numbers[] = {SYS_setsockopt, SYS_fcntl, SYS_recvfrom};
int main(void) {
  int yes = 1, tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
  struct flock lock = {.l_type = F_RDLCK};
  if (setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes)) return 1;
  if (recv(udp, &yes, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN) return 2;
  if (syscall(numbers[0], tcp, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != -1) return 3;
  if (errno != ENOPROTOOPT) return 4;
  if (syscall(numbers[0], udp, IPPROTO_IP, IP_TTL, &yes, sizeof yes) != -1) return 5;
  if (errno != ENOPROTOOPT) return 6;
  if (syscall(numbers[1], 0, F_SETLK, &lock) != -1 || errno != ENOSYS) return 7;
  if (syscall(numbers[2], udp, &yes, 1, MSG_ERRQUEUE, 0, 0) != -1 || errno != EAGAIN) return 8;
  puts("refused");
  return 0;
}
""")
        image = build_image(directory, "--profile", "tiny", program)
        assert run([ARIL, "run", "--net", "none", image]) == "refused\n"


@case(timeout=120)
def a_tiny_dynamic_program_knows_users():
    """Debian's nginx and memcached change to a user by its name."""
    with scratch() as directory:
        image = build_image(directory, "--profile", "tiny", "/usr/bin/id")
        words = ["-un", "www-data"]
        assert run([ARIL, "run", "--net", "none", image, "--", *words]) == run(["id", *words])


@case(timeout=60)
def components_are_listed():
    listed = {one["name"]: one for one in json.loads(run([ARIL, "components", "--json"]))}
    sockets = listed["linux_sockets"]
    assert "socket" in sockets["system_calls"] and "net_socket" in sockets["depends"]
    assert sockets["size"] > 1000 and "300.network" in listed["platform_common"]["boot_parts"]


@case(timeout=180)
def the_dns_server_answers():
    build_examples()
    need("dig")
    with scratch() as directory:
        image = build_image(directory, f"{EXAMPLES}/dns.aril")
        assert os.path.getsize(image) < DNS_LIMIT, f"{os.path.getsize(image)} bytes"
        # Its sockets are streams and datagrams: what is below them is not there.
        parts = inspect(image)["boot_parts"]
        assert "512.inet" in parts and not {"514.packet", "515.raw"} & set(parts), parts
        large = os.path.join(directory, "large.zone")
        with open(large, "w", encoding="ascii") as file:
            file.write("; too large\n" * 30000)
        # On Linux: a zone that does not fit is refused, not cut.
        run([os.path.join(ROOT, "build", "examples", "dns"), large], status=1)
        wrong = os.path.join(directory, "wrong.zone")
        for line in ("@ 1h A 192.0.2.1", "@ MX 70000 mail", "@ SOA ns root 1 2 3 4 x"):
            with open(wrong, "w", encoding="ascii") as file:
                file.write(f"$ORIGIN example.test.\n{line}\n")
            refused = subprocess.run([os.path.join(ROOT, "build", "examples", "dns"), wrong],
                                     stderr=subprocess.PIPE, timeout=30)
            assert refused.returncode == 1 and refused.stderr.endswith(b": line 2\n"), (line, refused)
        port = free_port()
        with instance("--memory", "2M", "--port", f"{port}:53", "--port", f"{port}:53/udp",
                      image) as server:
            server.wait_for(port, probe=DNS_QUERY)

            def dig(*words):
                return run(["dig", "+time=5", "+tries=3", "-p", port, "@127.0.0.1", *words])

            assert dig("+short", "www.example.test", "A") == "192.0.2.80\n"
            assert dig("+short", "+tcp", "WWW.example.test", "AAAA") == "2001:db8::80\n"
            assert dig("+short", "ftp.example.test", "A") == "www.example.test.\n192.0.2.80\n"
            assert dig("+short", "any.wild.example.test", "A") == "192.0.2.99\n"
            assert dig("+short", "text.example.test", "TXT") == '"hello, world" "second"\n'
            missing = dig("nothing.example.test", "A")
            assert "NXDOMAIN" in missing and "SOA" in missing, missing
            assert "NOERROR" in dig("www.example.test", "MX")
            assert "REFUSED" in dig("example.org", "A")
            assert "NOTIMP" in dig("+opcode=STATUS", "example.test")


@case(timeout=180)
def the_web_server_serves():
    build_examples()
    need("curl", "wrk")
    with scratch() as directory:
        image = build_image(directory, f"{EXAMPLES}/web.aril")
        assert os.path.getsize(image) < WEB_LIMIT, f"{os.path.getsize(image)} bytes"
        inspect(image)
        port = free_port()
        with instance("--memory", "3M", "--port", f"{port}:80", image) as server:
            server.wait_for(port, probe=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            url = f"http://127.0.0.1:{port}"
            with open(f"{EXAMPLES}/web/site/index.html", "rb") as file:
                page = file.read()
            assert get(f"{url}/") == page

            def status(*words):
                return run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n",
                            "--path-as-is", *words]).split("\n")[:-1]

            headers = run(["curl", "-sI", f"{url}/"])
            tag = next(line.split(": ")[1] for line in headers.splitlines() if "ETag" in line)
            date = next(line.split(": ")[1] for line in headers.splitlines() if "Modified" in line)
            assert status("-H", f"If-None-Match: {tag}", f"{url}/") == ["304 1"]
            assert status("-H", f"If-Modified-Since: {date}", f"{url}/") == ["304 1"]
            assert status("-H", 'If-None-Match: "other"', f"{url}/") == ["200 1"]
            # One connection for both.
            assert status(f"{url}/", "-o", "/dev/null", f"{url}/nothing") == ["200 1", "404 0"]
            assert status(f"{url}/../etc/passwd", f"{url}/%2e%2e/x") == ["404 1", "404 0"]
            assert status("-X", "POST", f"{url}/") == ["405 1"]
            assert run(["curl", "-s", "-r", "2-5", f"{url}/"]).encode() == page[2:6]
            assert run(["curl", "-s", "-r", "-5", f"{url}/"]).encode() == page[-5:]
            assert status("-r", "9999-", f"{url}/") == ["416 1"]
            report = run(["wrk", "-t1", "-c10", "-d2s", f"{url}/"])
            assert "Requests/sec" in report and "Socket errors" not in report, report
            assert "Non-2xx" not in report, report
