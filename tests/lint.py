#!/usr/bin/env python3
"""Runs clang-tidy with the checks of .clang-tidy over the product's sources (tests and fuzzers have
their own judges), and nothing twice: a result is kept under BUILD/lint as long as the file, everything that
it includes and the checks stay as they are."""
import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def compilations(build):
    """One command for each source: the first variant that is not a sanitized one."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    chosen = {}
    for command in commands:
        source = os.path.normpath(os.path.join(command["directory"], command["file"]))
        if not source.startswith(ROOT + "/") or not source.endswith(".cpp"):
            continue
        if source.startswith(build + "/"):  # made by CMake
            continue
        if "/tests/" in source or source.endswith(("_test.cpp", "_fuzz.cpp")):
            continue
        known = chosen.get(source)
        if known is None or is_sanitized(known) and not is_sanitized(command):
            chosen[source] = command
    return chosen


def is_sanitized(command):
    return "-fsanitize=address" in command["command"]


def digest(paths, salt):
    state = hashlib.sha256(salt)
    for path in sorted(set(paths)):
        try:
            with open(path, "rb") as file:
                state.update(path.encode() + b"\0" + file.read())
        except OSError:
            state.update(path.encode() + b" missing")
    return state.hexdigest()


def dependencies(command):
    """The repository's headers that a source includes, from the compiler's own dependency file."""
    words = command["command"].split()
    output = os.path.join(command["directory"], words[words.index("-o") + 1])
    result = subprocess.run(["ninja", "-C", command["directory"], "-t", "deps",
                             os.path.relpath(output, command["directory"])],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for line in result.stdout.decode().splitlines():
        path = os.path.normpath(os.path.join(command["directory"], line.strip()))
        if line.startswith("    ") and path.startswith(ROOT + "/"):
            yield path


def lint(source, command, build, salt):
    key = digest([source, *dependencies(command)], salt)
    marker = os.path.join(build, "lint", os.path.relpath(source, ROOT).replace("/", "_"))
    try:
        with open(marker, encoding="utf-8") as file:
            if file.read() == key:
                return source, 0, ""
    except OSError:
        pass
    result = subprocess.run(["clang-tidy-19", "--quiet", "--warnings-as-errors=*", "-p",
                             os.path.join(build, "lint"), source],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if result.returncode == 0:
        with open(marker, "w", encoding="utf-8") as file:
            file.write(key)
    return source, result.returncode, result.stdout.decode(errors="replace")


def main():
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build"))
    os.makedirs(os.path.join(build, "lint"), exist_ok=True)
    with open(os.path.join(ROOT, ".clang-tidy"), "rb") as file:
        salt = file.read()
    chosen = compilations(build)
    # clang-tidy would look at a source once for each command that compiles it.
    with open(os.path.join(build, "lint", "compile_commands.json"), "w", encoding="utf-8") as file:
        json.dump(list(chosen.values()), file)
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        jobs = [pool.submit(lint, source, command, build, salt)
                for source, command in sorted(chosen.items())]
        for job in concurrent.futures.as_completed(jobs):
            source, status, text = job.result()
            if status != 0:
                failures += 1
                print(f"{os.path.relpath(source, ROOT)}:\n{text}", flush=True)
    print(f"lint: {len(chosen)} sources, {failures} with findings", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
