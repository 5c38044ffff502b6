#!/usr/bin/env python3
"""What a program of `--platform process` is to whoever started it: streams, statuses, signals, and what
is refused. tests/apps/process_platform has what the platform keeps it from."""
import os
import signal
import subprocess

from harness import ARIL, PROCESS, aril, case, run, scratch


FORK = r"""#include <errno.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
  int pid = fork();
  if (pid == 0) _exit(0);
  printf("%s %d\n", pid < 0 ? "refused" : "forked", pid < 0 ? errno : 0);
  return 0;
}
"""


@case(timeout=60, configurations=[PROCESS])
def fork_wants_one_cpu():
    with scratch() as directory:
        program = os.path.join(directory, "fork")
        run(["gcc", "-O1", "-static", "-o", program, "-xc", "-"], text=FORK)
        for cpus, output in ((1, "forked 0\n"), (2, "refused 38\n")):
            result = subprocess.run(
                [ARIL, "run", "--platform", "process", "--cpus", str(cpus), program],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                timeout=30, check=False)
            assert result.stdout.decode() == output, result
            assert ("--cpus 1" in result.stderr.decode()) == (cpus == 2), result


@case(timeout=60, configurations=[PROCESS])
def streams_statuses_and_signals():
    assert run(aril("/bin/cat"), text="one\ntwo") == "one\ntwo"
    assert run(aril("/usr/bin/wc", "--", "-c"), text="x" * 300000).split()[0] == "300000"
    run(aril("/bin/false"), status=1)
    run(aril("/bin/bash", "--", "-c", "kill -TERM $$"), status=128 + signal.SIGTERM)
    result = subprocess.run(aril("/bin/ls", "--", "/nowhere"), stdin=subprocess.DEVNULL, timeout=30,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 2 and b"/nowhere" in result.stderr and not result.stdout, result
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
        script = f"trap 'echo caught; exit 9' {number.name[3:]}; echo ready; while :; do :; done"
        shell = subprocess.Popen(aril("/bin/bash", "--", "-c", script), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE)
        assert shell.stdout.readline() == b"ready\n"
        shell.send_signal(number)
        assert shell.stdout.read() == b"caught\n"
        shell.stdout.close()
        assert shell.wait(10) == 9
    for words, reason in ((["--gdb"], b"--gdb is for virtual machines"),
                          (["--kernel", "/bin/true"], b"is not a kernel for --platform process")):
        refused_run = subprocess.run(aril(*words, "/bin/true"), stdin=subprocess.DEVNULL, timeout=30,
                                     stderr=subprocess.PIPE, check=False)
        assert refused_run.returncode == 125 and reason in refused_run.stderr, refused_run
