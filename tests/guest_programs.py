"""Guest programs of tests/linux: compiled, run on Linux, and run in the machine.

The first lines of a source may say how:
    // variants: static-musl static dynamic     default: dynamic
    // flags: -fno-omit-frame-pointer           for the compiler
    // arguments: one two
    // input: text that is given on stdin
    // options: --memory 64M                    for aril run
    // environment: NAME=VALUE
    // status: 139                              expected status, when Linux's is another one
    // report: pattern                          must be found in aril's stderr (virtual machines)
    // configurations: microvm,1
"""
import os
import re
import shlex
import subprocess
import tempfile

from leftovers import Leftovers

WARNINGS = ["-Wall", "-Wno-unused-result"]
COMPILERS = {
    ("c", "static-musl"): ["musl-gcc", "-static", "-O1", "-g"],
    ("c", "static"): ["gcc", "-static", "-O1", "-g"],
    ("c", "dynamic"): ["gcc", "-O1", "-g"],
    ("cpp", "static"): ["clang++-19", "-std=c++23", "-static", "-O1", "-g", "-pthread"],
    ("cpp", "dynamic"): ["clang++-19", "-std=c++23", "-O1", "-g", "-pthread"],
}
TIMEOUT = 120


class Program:
    def __init__(self, source, variant, build):
        stem, extension = os.path.splitext(os.path.basename(source))
        self.source = source
        self.language = extension[1:]
        self.variant = variant
        self.name = stem if variant == "dynamic" else f"{stem}-{variant}"
        self.binary = os.path.join(build, "tests", "linux", self.name)
        self.settings = read_settings(source)

    def compile(self):
        """Compiles when the source, or a header beside it, is newer than the binary."""
        folder = os.path.dirname(self.source)
        inputs = [self.source] + [os.path.join(folder, name) for name in os.listdir(folder)
                                  if name.endswith((".hpp", ".h"))]
        newest = max(os.path.getmtime(path) for path in inputs)
        if os.path.exists(self.binary) and os.path.getmtime(self.binary) >= newest:
            return
        os.makedirs(os.path.dirname(self.binary), exist_ok=True)
        command = [*COMPILERS[self.language, self.variant], *WARNINGS,
                   *shlex.split(self.settings.get("flags", "")), "-o", self.binary, self.source]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if result.returncode != 0:
            raise RuntimeError(f"does not compile: {result.stdout.decode(errors='replace')}")


def read_settings(source):
    settings = {}
    with open(source, encoding="utf-8") as file:
        for _, line in zip(range(12), file):
            match = re.match(r"// (variants|flags|arguments|input|options|environment|status|report|"
                             r"configurations): (.*)", line)
            if match:
                settings[match[1]] = match[2].strip()
    return settings


def discover(folder, build):
    for file in sorted(os.listdir(folder)):
        if not file.endswith((".c", ".cpp")):
            continue
        source = os.path.join(folder, file)
        for variant in read_settings(source).get("variants", "dynamic").split():
            yield Program(source, variant, build)


def execute(command, environment, text, directory, name):
    leftovers = Leftovers(name)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, cwd=directory, start_new_session=True,
                               env={**environment, **leftovers.environment()})
    try:
        output, error = process.communicate(text, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        output, error = process.communicate()
        leftovers.remove()
        return None, output, error + f"\ntook more than {TIMEOUT} s".encode()
    left = leftovers.remove()
    if left:
        return None, output, error + f"\nleft behind: {', '.join(left)}".encode()
    # As a shell reports it.
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return status, output, error


def describe(where, status, output, error):
    return (f"{where}: status {status}\n{output.decode(errors='replace')[-3000:]}"
            f"{error.decode(errors='replace')[-3000:]}")


def difference(on_linux, in_machine):
    """The first lines that differ."""
    linux, machine = on_linux.splitlines(), in_machine.splitlines()
    lines = []
    for index in range(max(len(linux), len(machine))):
        left = linux[index] if index < len(linux) else b"(nothing)"
        right = machine[index] if index < len(machine) else b"(nothing)"
        if left != right:
            lines.append(f"Linux: {left.decode(errors='replace')}")
            lines.append(f"Aril:  {right.decode(errors='replace')}")
    return "\n".join(lines[:20])


def platform_options(machine):
    """For a machine type, "process", or "frozen" (an image that is frozen first)."""
    return ["--platform", "process"] if machine == "process" else ["--machine", machine]


def run_command(program, machine, cpus, content, arguments, directory):
    """How aril runs it, with `content` for what is in the image."""
    aril = os.path.join(os.environ["ARIL_BUILD"], "bin", "aril")
    options = shlex.split(program.settings.get("options", ""))
    if machine != "frozen":
        return [aril, "run", *platform_options(machine), "--cpus", str(cpus), *content, *options,
                program.binary, "--", *arguments]
    image = os.path.join(directory, "image")
    memory = [word for before, word in zip(options, options[1:]) if before == "--memory"]
    built = execute([aril, "build", "--frozen", "--profile", "full", "-o", image, *content,
                     *(["--memory", *memory] if memory else []), program.binary, "--", *arguments],
                    dict(os.environ), b"", None, program.name)
    if built[0] != 0:
        raise RuntimeError(describe("aril build --frozen", *built))
    return [aril, "run", "--cpus", str(cpus), *options, image]


def run(program, machine, cpus, name):
    """Returns (status, text, checks): the comparison, and the number of properties that held."""
    only = program.settings.get("configurations")
    usual = "microvm" if machine == "frozen" else machine
    if only and f"{usual},{cpus}" not in only.split():
        return "skipped", "not meant for this configuration", 0
    program.compile()
    arguments = shlex.split(program.settings.get("arguments", ""))
    variables = shlex.split(program.settings.get("environment", ""))
    text = (program.settings.get("input", "") + "\n").encode() if "input" in program.settings else b""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                   "HOME": "/root", **dict(variable.split("=", 1) for variable in variables)}
    with tempfile.TemporaryDirectory(prefix="aril-linux-") as directory:
        linux = execute([program.binary, *arguments], environment, text, directory, name)
    expected = int(program.settings.get("status", linux[0] if linux[0] is not None else -1))
    if linux[0] is None or (linux[0] != expected) or (
            "status" not in program.settings and linux[0] != 0):
        return "failed", describe("on Linux", *linux), 0

    content = ["--cwd", "/tmp"]
    for variable in variables:
        content += ["--env", variable]
    with tempfile.TemporaryDirectory(prefix="aril-frozen-") as directory:
        command = run_command(program, machine, cpus, content, arguments, directory)
        guest = execute(command, dict(os.environ), text, None, name)
    if guest[0] != linux[0]:
        return "failed", describe(f"status {linux[0]} on Linux; in the machine", *guest), 0
    if guest[1] != linux[1]:
        return "failed", difference(linux[1], guest[1]) + "\n" + guest[2].decode(errors="replace"), 0
    # As a process there is no aril beside the program that could name functions and lines.
    report = program.settings.get("report") if machine != "process" else None
    if report and not re.search(report.encode(), guest[2], re.DOTALL):
        return "failed", f"no '{report}' in what aril reported:\n{guest[2].decode(errors='replace')}", 0
    # check.hpp prints a line for each property; a program without it is one check.
    checks = sum(line.startswith(b"ok ") for line in guest[1].splitlines())
    return "passed", "", max(checks, 1)
