#!/usr/bin/env python3
"""Instructions that no program should contain, and random ones. The application runs in ring 0: it can
switch off interrupts, take the CPU's tables away, write over the kernel. The run must then end with
Linux's signal or a report, never hang, never end without a word (docs/failures.md)."""
import os
import random
import re
import subprocess
import time

import harness
from harness import aril, case, figure, need, scratch

HERE = os.path.dirname(os.path.abspath(__file__))
SIGSEGV = 128 + 11
PANIC = 255

# What each sequence must come to, where that is certain; None: any end that says why.
EXPECTED = {
    "cli_halt": SIGSEGV, "cli_loop": SIGSEGV, "popf_loop": SIGSEGV, "cli_fault": SIGSEGV,
    "cli_calls": 0, "halt": 0,
    "int_2": 0, "int_8": SIGSEGV, "int_13": SIGSEGV, "int_14": SIGSEGV, "int_18": PANIC,
    "int_32": None, "int_240": None,
    "no_idt": PANIC, "no_idt_quiet": PANIC, "no_gdt": None, "no_page_table": PANIC, "no_paging": PANIC,
    "wrong_entry": None, "wrong_gs": 0, "swap_gs": 0,
    "nested_task": 0, "bad_return": SIGSEGV, "no_stack": SIGSEGV, "wild_stack": None,
    "kernel_stack": None, "jump_into_kernel": None, "jump_nowhere": None,
    "reset_ports": None, "handled": 0, "in_a_child": 0,
}
# Found by standing still for half a minute.
SLOW = {"high_priority": 0, "overwrite_kernel": PANIC, "apic_off": PANIC, "no_efer": PANIC, "no_gs_instructions": PANIC}


def compile_hostile(directory):
    program = os.path.join(directory, "hostile")
    harness.run(["gcc", "-O1", "-g", "-static", "-w", "-o", program, os.path.join(HERE, "hostile.c")])
    return program


def attempt(program, *arguments, timeout, success="went on", options=()):
    """(status, output, error). Its end in time is the point."""
    result = subprocess.run(aril(*options, program, "--", *arguments), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                            check=False)
    output, error = (text.decode(errors="replace") for text in (result.stdout, result.stderr))
    if result.returncode == 0:
        assert success in output, (arguments, output, error)
    else:
        assert result.returncode > 128, (arguments, result)
        assert re.search(r"SIG[A-Z]+ in thread|panic|the machine ", error), (arguments, result)
    return result.returncode, output, error


def check_sequences(sequences, timeout):
    wrong = []
    with scratch() as directory:
        program = compile_hostile(directory)
        for name, expected in sequences.items():
            start = time.monotonic()
            status, output, error = attempt(program, name, timeout=timeout)
            print(f"{name:20} {status:3} {time.monotonic() - start:5.1f} s  {error.splitlines()[:1]}",
                  flush=True)
            if expected is not None and status != expected:
                wrong.append((name, status, expected, output, error))
    assert not wrong, wrong


@case(timeout=500, configurations=[("microvm", 1), ("q35", 2)] if harness.FULL else harness.ONCE)
def hostile_instructions_end_with_a_signal_or_a_report():
    check_sequences({**EXPECTED, **(SLOW if harness.FULL else {})}, 120)


@case(timeout=200, packages=["stress-ng"])
def stress_ng_s_own_hostile_instructions_end_with_a_report():
    need("stress-ng")
    for stressor in ("opcode", "priv-instr"):
        status, *_ = attempt("/usr/bin/stress-ng", f"--{stressor}", "1", "--timeout", "5s", timeout=90,
                             success="", options=["--memory", "256M", "--cwd", "/tmp"])
        print(f"{stressor}: {status}")


@case(timeout=1500 if harness.FULL else 300)
def random_instructions_end_with_a_signal_or_a_report():
    """Pages of random bytes, each executed by a child of its own, until enough have been."""
    wanted = figure("ARIL_TEST_RANDOM_PAGES", 100, 2000)
    limit = time.monotonic() + (1200 if harness.FULL else 150)
    seed = int(os.environ.get("ARIL_TEST_SEED", random.randrange(1 << 32)))
    print(f"ARIL_TEST_SEED={seed}")
    executed, ends = 0, {}
    with scratch() as directory:
        program = compile_hostile(directory)
        while executed < wanted and time.monotonic() < limit:
            status, output, error = attempt(program, "random", str(seed + executed),
                                            str(wanted - executed), timeout=300)
            # The numbers of those that were begun; the last may have ended the machine.
            begun = len(re.findall(r"^\d+$", output, re.MULTILINE))
            assert begun > 0, (status, output, error)
            executed += begun
            ends[status] = ends.get(status, 0) + 1
            if status != 0:
                print(f"page {seed + executed - 1}: {status}: {error.splitlines()[-1:]}", flush=True)
    print(f"{executed} pages, ends of the machine by status: {ends}")
    assert executed >= wanted // 4, "too slow"
