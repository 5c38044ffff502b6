#!/usr/bin/env python3
"""Runs the tests: ./dev test [FILTER].

  unit/NAME            host unit tests, under the sanitizers (ctest knows them)
  linux/NAME@CONFIG    guest programs: the same binary runs on Linux first, then in the machine;
                       output and status must be the same
  apps/NAME@CONFIG     unmodified programs from Debian, driven by real clients; without --all the
                       essential ones, on one machine type

--table runs applications on every machine type, finds the smallest memory, and writes
docs/applications.md (application_table.py). Tests run beside each other as far as there are CPUs for
them. A test that leaves a process or a network device behind has failed. The last line is "N passed,
N failed"; the exit status is 0 only when none failed.
"""
import argparse
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import guest_programs
from leftovers import Leftovers

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
APPS = os.path.join(ROOT, "tests", "apps")
sys.path.append(APPS)

import application_table
import harness

SKIPPED = 77
# (machine, CPUs)
GUEST_CONFIGURATIONS = [("microvm", 1), ("q35", 2), ("process", 1), ("frozen", 1)]


class Outcome:
    def __init__(self, status, text="", checks=0):
        self.status = status  # "passed", "failed" or "skipped"
        self.text = text
        self.checks = checks


def run_process(command, test, timeout, environment=None, cwd=None):
    """Runs a command in a session of its own. Returns its Outcome; ends whatever it leaves."""
    leftovers = Leftovers(test)
    variables = {**os.environ, **(environment or {}), **leftovers.environment()}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, env=variables, cwd=cwd,
                               start_new_session=True)
    try:
        output, _ = process.communicate(timeout=timeout)
        text = output.decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        leftovers.remove()
        return Outcome("failed", output.decode(errors="replace") + f"\ntook more than {timeout} s")
    left = leftovers.remove()
    if process.returncode == SKIPPED:
        return Outcome("skipped", text.strip().splitlines()[-1] if text.strip() else "")
    if process.returncode != 0:
        return Outcome("failed", f"{text}\nexit status {process.returncode}")
    if left:
        return Outcome("failed", f"{text}\nleft behind: {', '.join(left)}")
    return Outcome("passed", text)


class UnitTest:
    cpus = 1

    def __init__(self, name, command, directory):
        self.name = self.subject = f"unit/{name}"
        self.command = command
        self.directory = directory

    def run(self):
        return run_process(self.command, self.name, 300, cwd=self.directory)


class AppTest:
    def __init__(self, path, case, machine, cpus):
        self.name = f"apps/{case.name}@{machine},{cpus}"
        self.subject = path  # its folder below build/ is one
        self.path = path
        self.case = case
        self.machine = machine
        self.cpus = cpus
        self.measured = {}

    def run(self, memory="", **environment):
        with tempfile.TemporaryDirectory(prefix="aril-apps-") as directory:
            record = os.path.join(directory, "record.json")
            environment |= {"ARIL_TEST_MACHINE": self.machine, "ARIL_TEST_CPUS": str(self.cpus),
                            "ARIL_TEST_MEMORY": memory, "ARIL_TEST_RECORD": record}
            command = [sys.executable, os.path.join(APPS, "harness.py"), self.path, self.case.name]
            outcome = run_process(command, self.name, self.case.timeout, environment)
            if os.path.exists(record):
                with open(record, encoding="utf-8") as file:
                    self.measured = json.load(file)
            return outcome


class GuestTest:
    def __init__(self, program, machine, cpus):
        self.name = f"linux/{program.name}@{machine},{cpus}"
        self.subject = program.source  # on Linux its runs share this host's names
        self.program = program
        self.machine = machine
        self.cpus = cpus

    def run(self):
        return Outcome(*guest_programs.run(self.program, self.machine, self.cpus, self.name))


def unit_tests(build):
    listing = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"],
                             stdout=subprocess.PIPE, check=True).stdout
    for test in json.loads(listing)["tests"]:
        if "command" in test:
            yield UnitTest(test["name"], test["command"], build)


def guest_tests(build):
    for program in guest_programs.discover(os.path.join(ROOT, "tests", "linux"), build):
        for machine, cpus in GUEST_CONFIGURATIONS:
            yield GuestTest(program, machine, cpus)


def app_tests(every, only=None):
    """`every`: the extended ones too, and all configurations. `only`: all on this one."""
    paths = [os.path.join(APPS, name) for name in os.listdir(APPS)]
    paths = [os.path.join(path, "check.py") if os.path.isdir(path) else path for path in paths]
    for path in sorted(paths):
        if not path.endswith(".py") or not os.path.exists(path):
            continue
        for case in harness.load(path):
            if case.tier != "essential" and not every:
                continue
            configurations = case.configurations
            if case.row and not every:
                configurations = [configuration for configuration in configurations
                                  if configuration in (configurations[0], harness.PROCESS)]
            for machine, cpus in [only] if only else configurations:
                yield AppTest(path, case, machine, cpus)


def run_timed(test):
    start = time.monotonic()
    try:
        outcome = test.run()
    except Exception as error:  # a broken test must not keep the others from running
        outcome = Outcome("failed", f"{type(error).__name__}: {error}")
    return test, outcome, time.monotonic() - start


def run_all(tests, jobs):
    """Runs the tests on `jobs` CPUs, those of small machines first: a test takes as many CPUs as its
    machine has, and two of the same subject never run at once. Yields (test, outcome, seconds) as
    they end."""
    waiting, running = sorted(tests, key=lambda test: test.cpus), {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            free = jobs - sum(min(test.cpus, jobs) for test in running.values())
            busy = {test.subject for test in running.values()}
            for test in list(waiting):
                if free == 0:
                    break
                needed = min(test.cpus, jobs)
                if test.subject in busy:
                    continue
                if needed > free:
                    break  # or the small ones would keep it waiting for ever
                waiting.remove(test)
                running[pool.submit(run_timed, test)] = test
                busy.add(test.subject)
                free -= needed
            done, _ = concurrent.futures.wait(running,
                                              return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                del running[future]
                yield future.result()


def configuration(text):
    machine, cpus = text.split(",")
    return machine, int(cpus)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("filter", nargs="?", default="", help="regular expression on test names")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 4), metavar="N",
                        help="CPUs to use (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the names of the tests only")
    parser.add_argument("--all", action="store_true",
                        help="every application, on every machine type")
    parser.add_argument("--on", metavar="MACHINE,CPUS", type=configuration,
                        help="the applications on this one instead of where they are known to run, "
                        "as process,1 or q35,2")
    parser.add_argument("--table", action="store_true",
                        help="measure the applications and write docs/applications.md")
    parser.add_argument("--packages", action="store_true",
                        help="print the Debian packages that the tests' applications need")
    arguments = parser.parse_args()
    os.environ["ARIL_BUILD"] = build = os.path.abspath(arguments.build)

    def matching(tests):
        return [test for test in tests if re.search(arguments.filter, test.name)]

    every = arguments.all or arguments.table
    if arguments.all:
        harness.FULL = True
        os.environ["ARIL_TEST_FULL"] = "1"  # for the tests' own processes
    if arguments.packages:
        print("\n".join(sorted({package for test in matching(app_tests(every))
                                for package in test.case.packages})))
        return 0
    if arguments.table:
        every_row = [test for test in app_tests(every) if test.case.row]
        return application_table.main(matching(every_row), every_row, build)
    tests = matching([*unit_tests(build), *guest_tests(build), *app_tests(every, arguments.on)])
    if arguments.list:
        print("\n".join(test.name for test in tests))
        return 0
    failed, skipped, passed = [], [], 0
    checks = {}  # by guest program: the same ones count once
    for number, (test, outcome, seconds) in enumerate(run_all(tests, arguments.jobs), 1):
        print(f"[{number}/{len(tests)}] {outcome.status} {test.name} ({seconds:.1f} s)", flush=True)
        if outcome.status == "passed":
            passed += 1
            if isinstance(test, GuestTest):
                checks[test.program.source] = outcome.checks
        elif outcome.status == "skipped":
            skipped.append(f"{test.name}: {outcome.text}")
        else:
            failed.append(test.name)
            print("    " + "\n    ".join(outcome.text.strip().splitlines()[-60:]), flush=True)
    for name in skipped:
        print(f"skipped {name}")
    for name in failed:
        print(f"failed {name}")
    if checks:
        print(f"{sum(checks.values())} checks of Linux semantics in {len(checks)} guest programs")
    print(f"{passed} passed, {len(failed)} failed", flush=True)
    return 1 if failed or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
