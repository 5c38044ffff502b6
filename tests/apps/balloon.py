#!/usr/bin/env python3
"""Free memory goes back to the host."""
import os
import subprocess
import time

from harness import aril, case, need, run, scratch

MEGABYTES = 512
PROGRAM = """#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void) {
  size_t size = %d << 20;
  for (int round = 0; round < 2; round++) {
    char *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    memset(memory, 1, size);
    puts("full"); fflush(stdout);
    getchar();
    munmap(memory, size);
    puts("free"); fflush(stdout);
    getchar();
  }
  return 0;
}
""" % MEGABYTES


def resident(process):
    """MiB that the machine of an `aril run` has of this host."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        children = file.read().split()
    for child in children:
        with open(f"/proc/{child}/status", encoding="ascii") as file:
            status = dict(line.split(":", 1) for line in file)
        if status["Name"].strip().startswith("qemu"):
            return int(status["VmRSS"].split()[0]) / 1024
    raise AssertionError("where is QEMU?")


@case(timeout=180, configurations=[("microvm", 1), ("q35", 2)])
def freed_memory_goes_back_to_the_host():
    need("musl-gcc")
    with scratch() as directory:
        source, program = os.path.join(directory, "program.c"), os.path.join(directory, "program")
        with open(source, "w", encoding="ascii") as file:
            file.write(PROGRAM)
        run(["musl-gcc", "-static", "-O2", "-o", program, source])
        process = subprocess.Popen(aril("--net", "none", "--memory", "768M", program),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            for _ in range(2):  # what was given back can be used again
                assert process.stdout.readline() == b"full\n"
                full = resident(process)
                assert full > MEGABYTES, f"{full:.0f} MiB are too few to hold {MEGABYTES}"
                process.stdin.write(b"\n")
                process.stdin.flush()
                assert process.stdout.readline() == b"free\n"
                wanted = full - 0.9 * MEGABYTES
                deadline = time.monotonic() + 5
                while (left := resident(process)) > wanted and time.monotonic() < deadline:
                    time.sleep(0.1)
                assert left <= wanted, f"{full:.0f} MiB, and {left:.0f} MiB after 5 seconds"
                process.stdin.write(b"\n")
                process.stdin.flush()
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(20)
