"""What `--platform process` promises: eleven host calls and no more, attacks that harm the attacker
alone, many instances beside each other, and an end with a status whatever is taken away.
docs/security.md says it in words; tools/tender/policy_test.cpp asks the filter itself."""
import contextlib
import fcntl
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import termios
import time

import harness
from harness import ARIL, FULL, aril, case, need, run, scratch

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hostile.c")
LISTED = {"preadv2", "pwritev2", "ppoll", "mmap", "munmap", "madvise", "fdatasync",
          "rt_sigreturn", "timer_settime", "tgkill", "exit_group"}
KERNEL_END = 0x7380_0000_0000
# Linux since 6.14 asks no filter about the two calls of its own trampolines for tracing, and refuses
# them to whoever is not in one; older versions of strace have no names for them.
PAST_ANY_FILTER = {"uretprobe", "uprobe", "syscall_0x14f", "syscall_0x150"}
REFUSED = 255  # the kernel's own reports end an instance with this
WHERE = [harness.PROCESS]


def platform(**options):
    """Registers a test of this platform alone."""
    return case(configurations=WHERE, **options)


def build(name):
    return os.path.join(os.path.dirname(os.path.dirname(harness.ARIL)), name)


@contextlib.contextmanager
def hostile():
    """The attacker's program."""
    with scratch() as directory:
        program = os.path.join(directory, "hostile")
        run(["gcc", "-O1", "-static", "-o", program, SOURCE])
        yield program


def attack(program, *words, timeout=20):
    """How an instance of the attacker ends: status, output, what was reported."""
    result = subprocess.run(aril(program, "--", *words), stdin=subprocess.DEVNULL, timeout=timeout,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return (result.returncode, result.stdout.decode(errors="replace"),
            result.stderr.decode(errors="replace"))


def host_calls(log):
    """The calls that the host ran for an instance, by name, from its `strace -f` log: those after the
    filter was installed which did not become SIGSYS."""
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [line.split(maxsplit=1)[-1].strip() for line in file]
    installed = next(i for i, line in enumerate(lines) if line.startswith("seccomp("))
    names = set()
    for line, following in zip(lines[installed + 1:], [*lines[installed + 2:], ""]):
        called = re.match(r"([a-z_0-9]+)\(", line)
        trapped = "--- SIGSYS" in following and "SYS_SECCOMP" in following
        if called and not trapped:
            names.add(called[1])
    return names - PAST_ANY_FILTER


@platform(timeout=120, packages=["strace", "nginx", "apache2-utils"])
def a_loaded_server_makes_only_listed_calls():
    need("strace", "ab", "nginx")
    with harness.namespace() as (inside, network), scratch() as directory:
        log = os.path.join(directory, "calls")
        server = subprocess.Popen(
            [*inside, *aril("--net", network, harness.example("nginx.aril"))],
            stdin=subprocess.DEVNULL)
        try:
            load = [*inside, "ab", "-q", "-s", "30", "-n", "2000", "-c", "20",
                    f"http://{harness.GUEST}/"]
            run([*inside, "curl", "-sf", "-o", "/dev/null", "--retry", "50", "--retry-delay", "0",
                 "--retry-all-errors", "--connect-timeout", "1", f"http://{harness.GUEST}/"])
            run(load)  # every system call of the program's is rewritten by then
            strace = subprocess.Popen(["strace", "-c", "-f", "-o", log, "-p", str(server.pid)],
                                      stderr=subprocess.PIPE)
            assert b"attached" in strace.stderr.readline()
            run(load, timeout=90)
            strace.send_signal(signal.SIGINT)
            strace.wait(20)
            strace.stderr.close()
        finally:
            server.terminate()
            assert server.wait(20) == 0
        with open(log, encoding="utf-8") as file:
            calls = {line.split()[-1] for line in file if re.match(r"\s*[\d.]+\s", line)} - {"total"}
        assert calls and calls <= LISTED, calls


@platform(timeout=90, packages=["strace"])
def every_call_of_the_application_is_the_kernels():
    need("strace")
    with hostile() as program:
        log = program + ".calls"
        for attack_name in ("every-call", "shellcode"):
            output = run(["strace", "-f", "-o", log, *aril(program, "--", attack_name)])
            served = int(re.match(r"served (\d+)", output)[1])
            assert served > 250, output
            calls = host_calls(log)
            assert calls <= LISTED, calls - LISTED


def call_numbers():
    """Every number, or some of them."""
    # Not 335 and 336: PAST_ANY_FILTER.
    numbers = [*range(335), *range(424, 463)]
    return numbers if FULL else sorted(random.sample(numbers, 12))


def refused(program, *words):
    """The instance ends with a report that names the call."""
    status, output, report = attack(program, *map(str, words))
    assert status == REFUSED and not output, f"{words}: {status} {output} {report}"
    found = re.search(r"refuses: (\w+) \((\d+)\)", report)
    assert found and int(found[2]) == int(words[-1]), f"{words}: {report}"


def kernel_symbols():
    lines = run(["nm", build("lib/aril/process-kernel.elf")]).splitlines()
    return {line.split()[2]: int(line.split()[0], 16) for line in lines if line.count(" ") == 2}


def calls_in_kernel_text(symbols):
    """Addresses of the bytes of `syscall` instructions in the kernel's code: in its gate, elsewhere."""
    with open(build("lib/aril/process-kernel.elf"), "rb") as file:
        content = file.read()
    table, = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    gate, stray = [], []
    for index in range(count):
        kind, flags, offset, address, _, length = struct.unpack_from("<IIQQQQ", content,
                                                                     table + index * size)
        if kind != 1 or not flags & 1:
            continue
        for found in re.finditer(rb"\x0f\x05", content[offset:offset + length]):
            at = address + found.start()
            inside = symbols["aril_gate_start"] <= at < symbols["aril_gate_end"]
            (gate if inside else stray).append(at)
    return gate, stray


@platform(timeout=300, packages=["binutils"])
def every_call_of_the_kernels_text_ends_the_instance():
    with hostile() as program:
        symbols = kernel_symbols()
        for number in call_numbers():
            if number not in (15, 231):  # rt_sigreturn takes no argument, and exit_group any
                refused(program, "gate", symbols["aril_host_call"], number)
        # Wherever the bytes of a `syscall` instruction happen to stand in the kernel's code.
        gate, stray = calls_in_kernel_text(symbols)
        assert len(gate) == 3, [hex(at) for at in gate]
        for at in stray if FULL else stray[:3]:
            for number in (0, 1, 2, 9, 57, 59) if FULL else (2,):
                refused(program, "jump", at, number)


@platform(timeout=120)
def attackers_harm_only_themselves():
    killed = 128 + signal.SIGSEGV
    expected = {
        # What is done, how the instance may end, and what it may still say.
        ("unmap-itself",): ({killed}, ""),
        ("unmap-by-gate",): ({0}, "still here: 0\n"),
        ("map-over-kernel",): ({0}, "refused\n"),
        ("map-over-kernel-by-gate",): ({REFUSED}, ""),
        ("unmap-kernel-by-gate",): ({REFUSED}, ""),
        ("write-kernel-text",): ({killed, REFUSED}, ""),
        ("gs-base",): ({killed, REFUSED}, ""),
        ("int80",): ({128 + signal.SIGSYS, -signal.SIGSYS}, ""),
        ("tender", str(KERNEL_END)): ({killed, REFUSED}, ""),
        ("tender", "0x555555555000"): ({killed}, ""),
        ("tender", "0x7fffff000000"): ({killed, REFUSED}, ""),
    }
    with hostile() as program, web_servers(1) as servers:
        (victim,) = servers
        secret = program + ".secret"
        with open(secret, "w", encoding="ascii") as file:
            file.write("untouched")
        gate = str(kernel_symbols()["aril_host_call"])
        for words, (statuses, text) in expected.items():
            if words[0].endswith("-by-gate"):
                words += (gate,)
            status, output, report = attack(program, *words)
            ended = 128 - status if status < 0 else status
            assert ended in statuses or status in statuses, f"{words}: {status} {report}"
            assert output == text, f"{words}: {output}"
            assert victim.answers(), f"after {words}"
        # Scribbling over all of the kernel's memory may end it in any way, or leave it stuck: it is
        # still only a process.
        process = subprocess.Popen(aril(program, "--", "write-kernel-memory"),
                                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        process.kill()
        process.wait(10)
        assert victim.answers()
        with open(secret, encoding="ascii") as file:
            assert file.read() == "untouched"


class WebServer:
    def __init__(self, inside, address, process):
        self.inside, self.address, self.process = inside, address, process

    def answers(self, patience=10):
        text = run([*self.inside, "curl", "-sf", "-m", patience, "--retry", "100", "--retry-delay",
                    "0", "--retry-all-errors", "--connect-timeout", "1",
                    f"http://{self.address}/"], timeout=patience + 20)
        return "<html" in text.lower() or "<!doctype" in text.lower()


@contextlib.contextmanager
def web_servers(count):
    """Instances of examples/web, each on a tap of its own, all on one bridge."""
    if not harness.can_make_taps():
        raise harness.Skip("making a tap device needs root, iproute2 and /dev/net/tun")
    name = f"{harness.name_prefix()}-{os.getpid()}"
    inside = ["ip", "netns", "exec", name]
    lines = ["link add bridge type bridge forward_delay 0", "addr add 10.90.0.1/16 dev bridge",
             "link set lo up", "link set bridge up"]
    for number in range(count):
        lines += [f"tuntap add dev tap{number} mode tap", f"link set tap{number} master bridge",
                  f"link set tap{number} up"]
    run(["ip", "netns", "add", name])
    processes = []
    try:
        run(["ip", "-n", name, "-batch", "-"], text="\n".join(lines) + "\n")
        for number in range(count):
            address = f"10.90.{1 + number // 250}.{1 + number % 250}"
            process = subprocess.Popen(
                [*inside, *aril("--memory", "16M", "--net", f"tap:tap{number},ip={address}/16",
                                harness.example("web.aril"))], stdin=subprocess.DEVNULL)
            processes.append(WebServer(inside, address, process))
        yield processes
    finally:
        for server in processes:
            if server.process.poll() is None:
                server.process.terminate()
        for server in processes:
            try:
                server.process.wait(30)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
        run(["ip", "netns", "del", name])


@platform(timeout=300)
def many_instances_on_one_bridge():
    count = harness.figure("ARIL_TEST_INSTANCES", 20, 200)
    with web_servers(count) as servers:
        for server in servers:
            assert server.answers(60), server.address
        for server in servers:
            server.process.terminate()
        deadline = time.monotonic() + 30
        for server in servers:
            status = server.process.wait(max(deadline - time.monotonic(), 0.1))
            assert status in (0, 128 + signal.SIGTERM), f"{server.address}: status {status}"


@platform(timeout=60)
def a_killed_instance_leaves_nothing():
    with web_servers(1) as (server,):
        assert server.answers()
        server.process.kill()
        assert server.process.wait(10) == -signal.SIGKILL


@platform(timeout=60)
def a_vanished_tap_ends_the_instance():
    with web_servers(1) as (server,):
        assert server.answers()
        run([*server.inside, "ip", "link", "del", "tap0"])
        assert server.process.wait(20) == REFUSED


@platform(timeout=60)
def a_full_disk_is_the_programs_error():
    if os.geteuid() != 0:
        raise harness.Skip("mounting a small file system needs root")
    script = ('mount=$1; shift; mount -t tmpfs -o size=24m tmpfs "$mount" && '
              'truncate -s 64M "$mount/disk" && mkfs.ext4 -q "$mount/disk" && exec "$@"')
    with scratch() as directory:
        # mkfs writes little; then the host has no room for what the program writes.
        command = aril("--disk", f"{directory}/disk:/data", "/bin/dd", "--", "if=/dev/zero",
                       "of=/data/file", "bs=1M", "count=50", "conv=fsync")
        result = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", directory, *command],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=50, check=False)
        text = result.stderr.decode(errors="replace")
        assert result.returncode == 1, f"{result.returncode}: {text}"
        assert "No space left" in text or "Input/output error" in text, text


@platform(timeout=60)
def a_closed_console_does_not_hold_it_up():
    # The reader goes away while the program writes.
    process = subprocess.Popen(aril("/usr/bin/seq", "--", "1", "10000000"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(10)
    process.stdout.close()
    process.wait(30)
    process.stderr.close()
    # All three are closed from the start.
    closing = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    run([*closing, *aril("/bin/true")])
    # A full device.
    with open("/dev/full", "wb") as full:
        result = subprocess.run(aril("/bin/echo", "--", "words"), stdin=subprocess.DEVNULL, stdout=full,
                                stderr=subprocess.PIPE, timeout=20, check=False)
        assert result.returncode == 1 and b"No space left" in result.stderr, result


@platform(timeout=60)
def a_stopped_instance_goes_on():
    process = subprocess.Popen(aril("/bin/cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"one\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"one\n"
    for _ in range(3):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        process.send_signal(signal.SIGCONT)
    process.stdin.write(b"two\n")
    process.stdin.close()
    assert process.stdout.read() == b"two\n"
    process.stdout.close()
    assert process.wait(10) == 0


@platform(timeout=60)
def a_stopped_instance_has_not_used_its_time():
    for seconds in (1.9, 2.5):  # to a little past both limits, and far past them
        process = subprocess.Popen(
            aril("/bin/bash", "--", "-c", "ulimit -St 1; ulimit -Ht 2; echo; while :; do :; done"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)
        process.stdout.close()
        assert process.wait(10) == 128 + signal.SIGXCPU, seconds


class OnTerminal:
    """An instance that somebody sits at."""

    def __init__(self, *words):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execv(ARIL, aril(*words))
        self.seen = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.terminal, text)

    def expect(self, text, patience=20):
        deadline = time.monotonic() + patience
        while text not in self.seen:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.terminal], [], [], left)[0]
            assert ready, f"no '{text}' in {self.seen!r}"
            try:
                self.seen += os.read(self.terminal, 4096).decode(errors="replace")
            except OSError:  # the other side is gone
                assert text in self.seen, f"no '{text}' in {self.seen!r}"
        self.seen = self.seen.partition(text)[2]

    def close(self):
        """Its exit status; kills it first when it still runs."""
        for _ in range(200):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                break
            time.sleep(0.05)
        else:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(status)


@platform(timeout=60)
def a_terminal_is_the_programs():
    script = """stty size; read -s -n 1 key; echo "key <$key>"
trap 'echo interrupted; exit 5' INT; trap 'stty size' WINCH
echo ready; while :; do sleep 0.1; done"""
    programs = ["--file", "/usr/bin/stty", "--file", "/usr/bin/sleep"]
    shell = OnTerminal(*programs, "/bin/bash", "--", "-c", script)
    try:
        before = termios.tcgetattr(shell.terminal)
        shell.expect("24 80" if os.environ.get("ARIL_TEST_SIZE") else " ")
        shell.type(b"x")  # no Return: the program has asked for single keys
        shell.expect("key <x>")
        shell.expect("ready")
        shell.resize(40, 132)
        shell.expect("40 132")
        assert termios.tcgetattr(shell.terminal)[3] & termios.ICANON == 0, "not raw"
        shell.type(b"\x03")
        shell.expect("interrupted")
        # Kept open, so that the terminal can still be asked.
        deadline = time.monotonic() + 10
        while termios.tcgetattr(shell.terminal) != before and time.monotonic() < deadline:
            time.sleep(0.02)
        assert termios.tcgetattr(shell.terminal) == before, "the terminal is left changed"
    finally:
        status = shell.close()
    assert status == 5, status


CRASH = r"""void inner(volatile int* at) { *at = 1; }
int main(void) { inner((int*)8); return 0; }
"""


@platform(timeout=60)
def a_crash_report_has_functions_and_lines():
    with scratch() as directory:
        program = os.path.join(directory, "crash")
        run(["gcc", "-O0", "-g", "-o", program, "-xc", "-"], text=CRASH)
        crash = OnTerminal(program)
        try:
            crash.expect("SIGSEGV")
            crash.expect("inner")
            crash.expect("main")
        finally:
            status = crash.close()
        assert status == 128 + signal.SIGSEGV, status
        status, _, report = attack(program)
        assert status == 128 + signal.SIGSEGV and "SIGSEGV" in report, report
        assert f"{program}+0x" in report, report
        named = run([ARIL, "symbolize"], text=report)
        assert "inner+0x" in named and "main+0x" in named, named
        assert named.splitlines()[0] == report.splitlines()[0], named
