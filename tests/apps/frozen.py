#!/usr/bin/env python3
"""Frozen images (docs/frozen.md). The guest programs run as such too: linux/NAME@frozen."""
import email.utils
import os
import re
import subprocess
import time
import urllib.request

from example_images import build_image, inspect
from harness import ARIL, case, free_port, instance, need, run, scratch

# What must be new with each start, and what goes on: the canary of a static program, random bytes,
# both clocks.
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
static unsigned long guard(void) { unsigned long value; __asm__("mov %%fs:0x28, %0" : "=r"(value)); return value; }
int main(int count, char** words) {
  unsigned long bytes[2];
  struct timespec wall, running;
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return 1;
  clock_gettime(CLOCK_REALTIME, &wall);
  clock_gettime(CLOCK_MONOTONIC, &running);
  printf("random %lx%lx auxv %lx canary %lx\n", bytes[0], bytes[1], *(unsigned long*)getauxval(AT_RANDOM), guard());
  printf("wall %ld running %ld.%03ld\n", (long)wall.tv_sec, (long)running.tv_sec, running.tv_nsec / 1000000);
  printf("words %d %s %s\n", count, words[1], getenv("NAME"));
  return 3;
}
"""


# How far a warm image's program has come before it asks for random bytes.
WARM_PROGRAM = r"""
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
int main(void) {
  char line[100] = "";
  unsigned long bytes = 0;
  long before = time(NULL);
  FILE* file = fopen("/etc/passwd", "r");
  if (file == NULL || fgets(line, sizeof line, file) == NULL) return 1;
  fclose(file);
  mkdir("/tmp/mine", 0700);
  int without = getrandom(&bytes, sizeof bytes, GRND_NONBLOCK) == -1 && errno == EAGAIN;
  long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  int with = getrandom(&bytes, sizeof bytes, 0) == sizeof bytes;
  struct stat status;
  printf("%d %d %lx cpus %ld directory %d age %ld\n", without, with, bytes, cpus,
         stat("/tmp/mine", &status) == 0, (long)time(NULL) - before);
  return 3;
}
"""


def compile_c(directory, text, *words):
    source, program = os.path.join(directory, "program.c"), os.path.join(directory, "program")
    with open(source, "w", encoding="ascii") as file:
        file.write(text)
    run([*words, "-O1", "-o", program, source])
    return program


def run_image(image, *options, status=0):
    """What the program wrote, and why it was not thawed (None when it was)."""
    result = subprocess.run([ARIL, "run", "-v", "--net", "none", *options, image],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    error = result.stderr.decode()
    assert result.returncode == status, (result.returncode, error)
    cold = re.search(r"^cold another (.*) than when the image was frozen$", error, re.MULTILINE)
    return result.stdout.decode(), cold and cold[1]


def fails(*words):
    """What a command that fails with aril's own status says."""
    result = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=150)
    assert result.returncode == 125, (words, result)
    return result.stderr.decode()


@case(timeout=180)
def each_start_of_a_frozen_image_is_one_of_its_own():
    need("musl-gcc")
    with scratch() as directory:
        for compiler in (["musl-gcc", "-static"], ["gcc", "-static"], ["gcc"]):
            program = compile_c(directory, PROGRAM, *compiler)
            image = os.path.join(directory, "image")
            run([ARIL, "build", "--frozen", "-o", image, "--env", "NAME=value", program, "--", "word"])
            first, cold = run_image(image, status=3)
            assert cold is None, cold
            second, cold = run_image(image, "--cpus", "2", status=3)
            assert cold is None, cold
            one, two = (dict(zip(*[iter(text.split())] * 2)) for text in (first, second))
            fresh = {"random", "auxv"} | ({"canary"} if "-static" in compiler else set())
            assert all(one[name] != two[name] for name in fresh), (compiler, first, second)
            assert abs(int(two["wall"]) - time.time()) < 5, second
            assert 0 < float(two["running"]) < 30, second
            assert second.splitlines()[2] == "words 2 word value", second


@case(timeout=180)
def a_frozen_image_starts_cold_where_it_must():
    need("musl-gcc")
    with scratch() as directory:
        program = compile_c(directory, PROGRAM, "musl-gcc", "-static")
        image = os.path.join(directory, "image")
        run([ARIL, "build", "--frozen", "--memory", "32M", "-o", image, program, "--", "word"])
        # With the memory that it was frozen with, unless told otherwise.
        assert run_image(image, status=3)[1] is None
        seen = inspect(image)
        assert seen["frozen_memory"] == 32 << 20 and any(
            part["name"] == "memory of the frozen machine" for part in seen["parts"])
        for options, reason, words in ((["--memory", "64M"], "memory", "2 word (null)"),
                                       (["--env", "NAME=other"], "command line", "2 word other"),
                                       (["--strace"], "command line", "2 word (null)")):
            output, cold = run_image(image, *options, status=3)
            assert cold == reason and f"words {words}" in output, (options, cold, output)
        assert "32.0 MiB" in fails(ARIL, "run", "--net", "none", "--memory", "16M", image)


@case(timeout=180)
def what_cannot_be_frozen_is_said():
    need("musl-gcc")
    with scratch() as directory:
        image = os.path.join(directory, "image")
        build = [ARIL, "build", "--frozen", "-o", image]
        assert "profile tiny" in fails(*build, "--profile", "tiny", "/bin/true")
        assert "--disk-root off" in fails(*build, "--disk-root", "on", "/bin/true")
        assert "--memory 2G" in fails(*build, "--memory", "3G", "/bin/true")
        # It ends before it asks anything of the machine.
        program = compile_c(directory, "int main(void) { __builtin_trap(); }\n", "gcc")
        assert "could not be frozen" in fails(*build, program)
        assert not os.path.exists(image)


@case(timeout=240)
def a_frozen_server_and_a_frozen_shell():
    need("redis-server", "redis-cli", "bash")
    with scratch() as directory:
        image = build_image(directory, "--frozen", "/usr/bin/redis-server", "--", "--save", "",
                            "--protected-mode", "no", "--bind", "0.0.0.0", "--dir", "/tmp")
        port = free_port()
        with instance("--port", f"{port}:6379", image) as redis:
            redis.wait_for(port, probe=b"PING\r\n")
            for number in range(100):
                assert run(["redis-cli", "-p", port, "INCR", "count"]).strip() == str(number + 1)
        script = os.path.join(directory, "script.sh")
        with open(script, "w", encoding="ascii") as file:
            file.write('for i in 1 2 3; do (echo "child $i"; exit $i); echo "status $?"; done\n')
        os.chmod(script, 0o755)
        image = build_image(directory, "--frozen", "--profile", "full", "--file", script + ":/script.sh",
                            "/bin/bash", "--", "/script.sh")
        output, cold = run_image(image)
        assert cold is None and output.split("\n")[:-1] == [
            line for i in (1, 2, 3) for line in (f"child {i}", f"status {i}")], (cold, output)


@case(timeout=180)
def a_warm_image_has_been_initialised():
    need("musl-gcc", "/usr/sbin/nginx")
    with scratch() as directory:
        program = compile_c(directory, WARM_PROGRAM, "musl-gcc", "-static")
        image = build_image(directory, "--warm", program)
        time.sleep(3)
        first, cold = run_image(image, status=3)
        second = run_image(image, status=3)[0]
        words = first.split()
        assert cold is None and words[:2] == ["1", "1"] and words[2] != second.split()[2], (first, second)
        assert words[3:7] == ["cpus", "1", "directory", "1"] and 3 <= int(words[8]) < 60, first
        # It has been told that there is one CPU.
        output, cold = run_image(image, "--cpus", "2", status=3)
        assert cold == "number of CPUs" and "0 1 " in output and "cpus 2" in output, (cold, output)

        # What it writes goes out with each start, whatever the number of the descriptor.
        program = compile_c(directory, """#include <fcntl.h>
#include <unistd.h>
int main(void) {
  int log = open("/log", O_WRONLY | O_APPEND);
  int written = (int)write(log, "logged\\n", 7);
  return written == 7 && write(fcntl(1, F_DUPFD, 20), "copied\\n", 7) == 7 ? 0 : 1;
}
""", "musl-gcc", "-static")
        manifest = os.path.join(directory, "log.aril")
        with open(manifest, "w", encoding="ascii") as file:
            file.write(f'program = "{program}"\nfeatures = ["warm"]\n[links]\n"/log" = "/dev/stdout"\n')
        image = build_image(directory, manifest)
        for _ in range(2):
            assert run_image(image) == ("logged\ncopied\n", None)

        configuration = os.path.join(directory, "nginx.conf")
        with open(configuration, "w", encoding="ascii") as file:
            file.write("daemon off; master_process off; events {}\n"
                       "http { access_log off; server { listen 80; return 200 warm; } }\n")
        image = build_image(directory, "--warm", "--file", configuration + ":/etc/nginx/nginx.conf",
                            "--file", "/var/lib/nginx", "--file", "/var/log/nginx", "/usr/sbin/nginx")
        port = free_port()
        with instance("--port", f"{port}:80", image) as nginx:
            nginx.wait_for(port, probe=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                assert answer.read() == b"warm"
                age = time.time() - email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
                assert abs(age) < 5, answer.headers["Date"]
