#!/usr/bin/env python3
"""stress-ng: a few stressors of each class on every run; all of them with ARIL_STRESS=all, which takes
three quarters of an hour (or tests/stress/stress_ng.py by hand)."""
import os
import shutil
import subprocess
import sys

from harness import Skip, case

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SUBSET = ["cpu", "matrix", "vm", "brk", "mremap", "pipe", "splice", "futex", "signal", "timer",
          "sem", "fork", "vfork", "switch", "yield", "epoll", "eventfd", "dentry", "rename", "seccomp",
          "rseq", "membarrier", "tee", "hrtimers", "open", "pty", "mq"]


ALL = os.environ.get("ARIL_STRESS") == "all"


@case(timeout=7200 if ALL else 600)
def stressors_leave_the_machine_alive():
    if shutil.which("stress-ng") is None:
        raise Skip("stress-ng is not installed")
    build = os.environ.get("ARIL_BUILD", os.path.join(ROOT, "build"))
    result = subprocess.run(
        [sys.executable, os.path.join(ROOT, "tests", "stress", "stress_ng.py"), "--build", build,
         "--seconds", "10" if ALL else "2", "--memory", "256M",
         "--machine", os.environ.get("ARIL_TEST_MACHINE", "microvm"),
         "--cpus", os.environ.get("ARIL_TEST_CPUS", "1"), *([] if ALL else SUBSET)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    print(result.stdout.decode(errors="replace"))
    assert result.returncode == 0, "a stressor failed"
