"""docs/applications.md: runs the applications, measures them, writes the table.

What was measured is kept in build/applications.json, so that one application can be measured
again. The table is written when every application has been measured in this build directory.
"""
import bisect
import json
import os
import re
import subprocess

import harness
from application import version_of

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIZES = [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]  # MiB
HEADER = """# Programs that run

Unmodified programs of Debian {debian}, or built there with Debian's compilers, each doing real work for
a real client. Written by `./dev test apps --table`, which runs `tests/apps/NAME/check.py` in the machine
of `tests/apps/NAME/NAME.aril` on each machine type; do not edit.

*Memory* is the smallest machine that passes the check (microvm, 1 CPU; of 8, 12, 16, 24, 32, 48, ...
MiB); images of up to half of it are held in it too. *First answer* is the time from `aril run` (QEMU's
start included, the image built before) to the program's first answer or output: the least of five
starts, on the machine that wrote this file ({host}).

| program | Debian package | what was done with it | machines, CPUs | memory | first answer |
|---|---|---|---|---|---|
"""


def measure(tests):
    """Runs one application on its machines; returns its row."""
    case = tests[0].case
    row = {**case.row, "version": version_of(case.row["package"]), "machines": []}
    for test in tests:
        outcome = test.run()
        print(f"{outcome.status} {test.name}", flush=True)
        if outcome.status == "failed":
            print("    " + "\n    ".join(outcome.text.strip().splitlines()[-20:]), flush=True)
        row["machines"].append({"machine": test.machine, "cpus": test.cpus,
                                "result": outcome.status})
    if row["machines"][0]["result"] == "passed":
        row["memory"] = smallest_memory(tests[0])
        row["first_answer"] = first_answer(tests[0])
    return row


def first_answer(test):
    """The least time of five starts to the first answer, in seconds."""
    times = []
    for _ in range(5):
        if test.run(ARIL_TEST_START_ONLY="1").status == "passed":
            times.append(test.measured.get("first_answer"))
    return min((time for time in times if time is not None), default=None)


def smallest_memory(test):
    """The least of SIZES (MiB) with which the test passes."""
    def passes(size):
        passed = test.run(f"{size}M").status == "passed"
        print(f"  {test.name} {'passes' if passed else 'fails'} with {size} MiB", flush=True)
        return passed

    found = bisect.bisect_left(SIZES, True, key=passes)
    return SIZES[found] if found < len(SIZES) else None


def table_line(row):
    machines = ", ".join(
        f"{run['machine']} {run['cpus']}" + ("" if run["result"] == "passed"
                                              else f" **{run['result']}**")
        for run in row["machines"])
    memory = f"{row['memory']} MiB" if row.get("memory") else "–"
    first = f"{row['first_answer'] * 1000:.0f} ms" if row.get("first_answer") else "–"
    package = f"{row['package']} {row['version']}"
    return f"| {row['name']} | {package} | {row['does']} | {machines} | {memory} | {first} |"


def host():
    """What the figures were measured on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    command = subprocess.run([harness.ARIL, "run", "--dry-run", "/bin/true"],
                             stdout=subprocess.PIPE).stdout.decode()
    accelerator = "KVM" if "-accel kvm" in command else "TCG"
    return (f"{os.cpu_count()} × {model.group(1) if model else 'CPU'}, {accelerator}, "
            f"load average {os.getloadavg()[2]:.0f}")


def main(tests, every_test, build):
    """Measures the applications of `tests`; writes the table if all of `every_test` are known."""
    path = os.path.join(build, "applications.json")
    rows = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            rows = json.load(file)
    names = list(dict.fromkeys(test.case.name for test in tests))
    for name in names:
        rows[name] = measure([test for test in tests if test.case.name == name])
        with open(path, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
    known = list(dict.fromkeys(test.case.name for test in every_test))
    unknown = [name for name in known if name not in rows]
    if unknown:
        print(f"docs/applications.md is not written: not measured here: {' '.join(unknown)}")
    else:
        with open("/etc/debian_version", encoding="utf-8") as file:
            debian = file.read().strip()
        with open(os.path.join(ROOT, "tests", "apps", "remarks.md"), encoding="utf-8") as file:
            remarks = file.read()
        with open(os.path.join(ROOT, "docs", "applications.md"), "w", encoding="utf-8") as file:
            file.write(HEADER.format(debian=debian, host=host()))
            file.write("".join(table_line(rows[name]) + "\n" for name in known) + "\n" + remarks)
        print("docs/applications.md is written")
    failed = [name for name in names
              if any(run["result"] == "failed" for run in rows[name]["machines"])]
    for name in failed:
        print(f"failed apps/{name}")
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0
