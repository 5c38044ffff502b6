#!/usr/bin/env python3
"""What `aril` says and returns: programs that end in every way, and bad input."""
import os
import signal
import socket
import subprocess
import time

import harness
from harness import ARIL, EVERYWHERE, ONCE, PROCESS, Skip, aril, case, run, scratch


def refused(arguments, status, *words, environment=None, command="run"):
    """The command ends with `status` and one clear line that has all the words."""
    result = subprocess.run([ARIL, command, *map(str, arguments)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                            env={**os.environ, **(environment or {})})
    text = result.stderr.decode(errors="replace")
    lines = [line for line in text.splitlines() if not line.startswith("aril: hint:")]
    assert result.returncode == status, f"{arguments}: status {result.returncode}\n{text}"
    assert len(lines) == 1, f"{arguments}: not one line:\n{text}"
    for word in words:
        assert word in lines[0], f"{arguments}: no '{word}' in: {lines[0]}"


@case(timeout=60)
def bad_programs_are_refused():
    with scratch() as directory:
        def file(name, content):
            path = os.path.join(directory, name)
            with open(path, "wb") as stream:
                stream.write(content)
            os.chmod(path, 0o755)
            return path

        with open("/bin/true", "rb") as stream:
            true = stream.read()
        refused(["/no/such/program"], 127, "/no/such/program", "no such program")
        refused(["no-such-program-in-path"], 127, "no-such-program-in-path")
        refused([file("script", b"#!/no/such/interpreter\necho\n")], 126, "script",
                "/no/such/interpreter")
        refused([file("text", b"hello\n")], 126, "not an ELF")
        refused([file("empty", b"")], 126, "empty")
        refused([directory], 125, "directory")
        refused([file("arm", true[:18] + b"\xb7\x00" + true[20:])], 126, "AArch64")
        refused([file("x86", true[:4] + b"\x01" + true[5:18] + b"\x03\x00" + true[20:])], 126,
                "32-bit")
        for size in (5, 40, 63, 100, 500, len(true) // 2):
            refused([file("short", true[:size])], 126, "truncated")
        hostile = bytearray(true)
        hostile[32:40] = b"\xff" * 8
        refused([file("hostile", bytes(hostile))], 126, "hostile")


@case(timeout=60)
def bad_options_are_refused():
    refused(["--memory", "lots", "/bin/true"], 125, "--memory", "lots")
    refused(["--memory", "64K", "/bin/true"], 125, "too little")
    refused(["--cpus", "0", "/bin/true"], 125, "--cpus")
    refused(["--port", "80", "/bin/true"], 125, "--port", "80")
    refused(["--net", "wifi", "/bin/true"], 125, "--net", "wifi")
    refused(["--machine", "vax", "/bin/true"], 125, "vax")
    refused(["--accel", "warp", "/bin/true"], 125, "warp")
    refused(["--file", "/no/such/file", "/bin/true"], 127, "/no/such/file")
    refused(["--nonsense", "/bin/true"], 2, "--nonsense")
    refused([], 2, "required")
    refused(["/bin/true"], 125, "kernel", environment={"ARIL_KERNEL": "/no/kernel"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(["--port", f"{port}:80", "/bin/true"], 125, str(port), "taken")


@case(timeout=60)
def missing_tools_are_named():
    if os.geteuid() != 0:
        raise Skip("hiding QEMU takes root")
    # In a mount namespace of its own, where an empty file lies over QEMU.
    for tool, package in (("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
                          ("/usr/bin/mkfs.erofs", "erofs-utils")):
        with scratch() as cache:
            command = f"mount --bind /dev/null {tool} && exec {ARIL} run /bin/true"
            result = subprocess.run(["unshare", "-m", "sh", "-c", command], timeout=60,
                                    stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                    env={**os.environ, "XDG_CACHE_HOME": cache})
            text = result.stderr.decode()
            assert result.returncode == 125 and f"apt-get install {package}" in text, text


@case(timeout=60)
def bad_manifests_and_images_are_refused():
    with scratch() as directory:
        def manifest(text):
            path = os.path.join(directory, "x.aril")
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
            return path

        refused([manifest('program = "/bin/true"\n\nmemroy = "64M"\n')], 125, "x.aril:3", "memroy")
        refused([manifest('program = "/bin/true"\nmemory = []\n')], 125, "x.aril:2", "memory")
        refused([manifest("program = \n")], 125, "x.aril:1")
        refused([manifest("cpus = 1\n")], 125, "program")
        refused([manifest('program = "/bin/true"\nfiles = ["/no/such"]\n')], 127, "/no/such")
        refused([os.path.join(directory, "none.aril")], 125, "none.aril")

        image = os.path.join(directory, "image")
        run([ARIL, "build", "-o", image, "/bin/true"])
        with open(image, "rb") as stream:
            content = stream.read()
        truncated = os.path.join(directory, "truncated")
        with open(truncated, "wb") as stream:
            stream.write(content[:len(content) // 2])
        os.chmod(truncated, 0o755)
        refused([truncated], 126, "truncated")
        refused([truncated], 126, "truncated", command="inspect")
        refused(["/bin/true"], 125, "not an Aril", command="inspect")


@case(timeout=60)
def a_missing_library_is_named():
    with scratch() as directory:
        library = os.path.join(directory, "libgone.so.7")
        program = os.path.join(directory, "program")
        run(["gcc", "-shared", "-Wl,-soname,libgone.so.7", "-o", library, "-x", "c", "-"],
            text="int gone(void) { return 0; }")
        run(["gcc", "-o", program, "-x", "c", "-", "-x", "none", library],
            text="int gone(void); int main(void) { return gone(); }")
        os.remove(library)
        refused([program], 126, "libgone.so.7", program)


@case(timeout=60)
def a_library_that_the_program_loads_by_its_path_is_not_missed():
    with scratch() as directory:
        plugins = os.path.join(directory, "plugins")
        os.mkdir(plugins)
        core = os.path.join(plugins, "libcore.so")
        run(["gcc", "-shared", "-Wl,-soname,libcore.so", "-o", core, "-x", "c", "-"],
            text="int core(void) { return 0; }")
        run(["gcc", "-shared", "-o", os.path.join(plugins, "libuser.so"), "-x", "c", "-", "-x",
             "none", core], text="int core(void); int user(void) { return core(); }")

        def warnings():
            text = subprocess.run(aril("--verbose", "--file", plugins, "/bin/true"), timeout=60,
                                  stdin=subprocess.DEVNULL, stderr=subprocess.PIPE).stderr.decode()
            return [line for line in text.splitlines() if line.startswith("aril: warning")]

        assert not warnings()
        os.remove(core)
        assert len(warnings()) == 1 and "libcore.so" in warnings()[0]


@case(timeout=60)
def build_and_inspect_an_image():
    with scratch() as directory:
        image = os.path.join(directory, "image")
        run([ARIL, "build", "-o", image, "/bin/echo", "--env", "A=b c", "--", "from", "the image"])
        text = run([ARIL, "inspect", image])
        assert "program  /bin/echo" in text and "/etc/passwd" in text, text
        again = os.path.join(directory, "again")
        run([ARIL, "build", "-o", again, "/bin/echo", "--env", "A=b c", "--", "from", "the image"])
        with open(image, "rb") as first, open(again, "rb") as second:
            assert first.read() == second.read(), "two builds of the same differ"
        assert run(aril(image)) == "from the image\n"
        assert run(aril(image, "--", "other", "words")) == "other words\n"
        on_disk = os.path.join(directory, "disk")
        run([ARIL, "build", "--disk-root", "on", "-o", on_disk, "/bin/echo", "--", "from", "disk"])
        assert os.path.exists(on_disk + ".root")
        assert run(aril(on_disk)) == "from disk\n"


@case(timeout=60, configurations=[*EVERYWHERE, PROCESS])
def streams_status_and_environment():
    assert run(aril("/bin/echo", "--", "a b", "c")) == "a b c\n"
    run(aril("/bin/false"), status=1)
    assert run(aril("/bin/cat"), text="one\ntwo") == "one\ntwo"
    assert run(aril("/usr/bin/wc", "--", "-c"), text="x" * 1000000).split()[0] == "1000000"
    assert run(aril("--env", "GREETING=hi there", "/usr/bin/printenv", "--", "GREETING")) == "hi there\n"
    assert run(aril("--cwd", "/etc", "/bin/pwd")) == "/etc\n"
    result = subprocess.run(aril("/bin/ls", "--", "/nowhere"), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    assert result.returncode == 2 and b"/nowhere" in result.stderr and not result.stdout, result


@case(timeout=60, configurations=[*ONCE, PROCESS])
def large_output_is_complete():
    output = run(aril("/usr/bin/seq", "--", "1", "200000"))
    assert output.split() == [str(number) for number in range(1, 200001)]


@case(timeout=60, configurations=[*ONCE, PROCESS])
def strace_names_calls_and_arguments():
    result = subprocess.run(aril("--strace", "/bin/cat", "--", "/etc/hostname"),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, timeout=30)
    text = result.stderr.decode(errors="replace")
    assert result.returncode == 0 and result.stdout == b"aril\n", text
    assert 'openat(AT_FDCWD, "/etc/hostname"' in text and "exit_group(0)" in text, text


@case(timeout=60, configurations=[*EVERYWHERE, PROCESS])
def signals_reach_the_program():
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        process = subprocess.Popen(aril("/bin/sleep", "--", "60"), stdin=subprocess.DEVNULL)
        try:
            time.sleep(3)
            process.send_signal(number)
            assert process.wait(20) == status, f"signal {number}: status {process.returncode}"
        finally:
            process.kill()
            process.wait()


@case(timeout=60)
def nothing_is_left_when_aril_is_killed():
    process = subprocess.Popen(aril("/bin/sleep", "--", "60"), stdin=subprocess.DEVNULL)
    time.sleep(2)
    process.kill()
    process.wait()
    # The test runner looks for what is left.


@case(timeout=60)
def gdb_command_is_printed():
    process = subprocess.Popen(aril("--gdb", "/bin/true"), stdin=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    try:
        line = process.stderr.readline() + process.stderr.readline()
        assert b"target remote" in line and b"add-symbol-file /bin/true" in line, line
    finally:
        process.terminate()
        process.kill()
        process.wait()


@case(timeout=60)
def help_names_every_command():
    text = run([ARIL, "help"])
    for command in ("run", "build", "inspect", "completion", "version"):
        assert command in text, command
    for shell in ("bash", "zsh", "fish"):
        assert "aril" in run([ARIL, "completion", shell])
    assert run([ARIL, "version"]).startswith("aril ")
