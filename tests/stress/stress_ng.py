#!/usr/bin/env python3
"""Runs Debian's stress-ng in the machine, one stressor after the other, each in a machine of its
own, and writes what became of each.

  python3 tests/stress/stress_ng.py [--seconds 10] [--cpus 2] [--output results.txt] [NAME ...]

Without names: all stressors of the classes cpu, memory, os, pipe, scheduler and vm, but for those
in skipped.txt. A stressor passes when stress-ng ends by itself with status 0 (passed), 3 (it has
found out that it cannot run here, as on a Linux without that feature) or 4 (it has not implemented
itself for this machine). Anything else, a panic or a hang fails.
"""
import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLASSES = ("cpu", "memory", "os", "pipe", "scheduler", "vm")
SKIPPED_LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "skipped.txt")


def read_skipped():
    """{name: reason}: lines "NAME  REASON"."""
    result = {}
    with open(SKIPPED_LIST, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if line and not line.startswith("#"):
                name, reason = line.split(None, 1)
                result[name] = reason
    return result


def all_stressors(program):
    names = set()
    for group in CLASSES:
        listing = subprocess.run([program, "--class", f"{group}?"], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, check=False).stdout.decode()
        match = re.search(r"stressors: (.*)", listing)
        names.update(match[1].split() if match else [])
    return sorted(names)


def run_one(aril, program, name, arguments):
    command = [aril, "run", "--machine", arguments.machine, "--cpus", str(arguments.cpus),
               "--memory", arguments.memory, "--cwd", "/tmp", program, "--",
               f"--{name}", "1", "--timeout", f"{arguments.seconds}s", "--verify", "--oomable",
               "--temp-path", "/tmp", *arguments.options]
    limit = arguments.seconds * 3 + arguments.patience
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit)
        text = output.decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return "hung", time.monotonic() - start, output.decode(errors="replace")
    seconds = time.monotonic() - start
    if re.search(r"panic|assertion", text):
        return "crashed", seconds, text
    outcome = {0: "passed", 3: "declined", 4: "declined"}.get(process.returncode)
    return outcome or f"failed ({process.returncode})", seconds, text


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--program", default="/usr/bin/stress-ng")
    parser.add_argument("--machine", default="microvm")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", default="512M")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1, help="machines beside each other")
    parser.add_argument("--patience", type=int, default=60, help="further seconds before it hangs")
    parser.add_argument("--output", help="also write the list of results to this file")
    parser.add_argument("--options", nargs="*", default=[], help="further words for stress-ng")
    arguments = parser.parse_args()
    aril = os.path.join(arguments.build, "bin", "aril")
    skipped = read_skipped()
    names = arguments.names or [n for n in all_stressors(arguments.program) if n not in skipped]
    counts, lines, failures = {}, [], []
    pool = concurrent.futures.ThreadPoolExecutor(arguments.jobs)
    running = [(name, pool.submit(run_one, aril, arguments.program, name, arguments))
               for name in names]
    for name, future in running:
        outcome, seconds, text = future.result()
        kind = outcome.split()[0]
        counts[kind] = counts.get(kind, 0) + 1
        line = f"{name:16} {outcome:12} {seconds:6.1f} s"
        lines.append(line)
        print(line, flush=True)
        if kind not in ("passed", "declined"):
            failures.append("\n    ".join([line, *text.strip().splitlines()[-12:]]))
        if arguments.output:
            with open(arguments.output, "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
    # Last, where whoever shows only the end of this shows them.
    print(*failures, sep="\n")
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    return 0 if set(counts) <= {"passed", "declined"} else 1


if __name__ == "__main__":
    sys.exit(main())
