#!/usr/bin/env python3
"""--disk: ext4 on a disk that lasts. QEMU is killed in the middle of it; Linux's own tools look at the
disk afterwards."""
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import threading
import time

from disk_images import (KILLS, check_disk, make_disk, mounted_on_linux, qemu_of,
                         replay_with_e2fsck)
from harness import ARIL, aril, case, need, run, scratch


def compile_program(directory, name):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "disks", f"{name}.c")
    program = os.path.join(directory, name)
    run(["gcc", "-O1", "-Wall", "-o", program, source])
    return program


class Lines:
    """What a machine prints, line by line, while it runs."""

    def __init__(self, *arguments, text=None):
        self.process = subprocess.Popen(aril(*arguments), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.errors = []
        self.error_reader = threading.Thread(
            target=lambda: self.errors.extend(self.process.stderr.read().decode().splitlines()))
        self.error_reader.start()
        self.writer = threading.Thread(target=self._write, args=(text or "",))
        self.writer.start()

    def _write(self, text):
        with contextlib.suppress(OSError):
            self.process.stdin.write(text.encode())
            self.process.stdin.close()

    def _read(self):
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.lines.append(line.decode().strip())

    def wait_for(self, count, timeout=60):
        deadline = time.monotonic() + timeout
        while len(self.lines) < count:
            assert self.process.poll() is None and time.monotonic() < deadline, (
                self.process.poll(), self.lines[-5:], self.errors[-20:])
            time.sleep(0.01)

    def kill_machine(self):
        os.kill(qemu_of(self.process), signal.SIGKILL)
        return self.end()

    def end(self, timeout=60):
        status = self.process.wait(timeout)
        for thread in (self.reader, self.error_reader, self.writer):
            thread.join()
        return status


def compare_log_on_linux(disk, directory, promised):
    with mounted_on_linux(disk, directory) as place:
        if place is not None:
            with open(os.path.join(place, "log"), "rb") as log:
                for number in range(promised):
                    assert log.readline().startswith(b"%08d " % number), f"record {number}"


@case(timeout=600)
def disk_keeps_what_fsync_promised():
    with scratch() as directory:
        program = compile_program(directory, "records")
        disk = make_disk(os.path.join(directory, "data.img"))
        promised = 0
        for turn in range(KILLS):
            machine = Lines("--disk", f"{disk}:/data", program)
            try:
                machine.wait_for(2)
                time.sleep(random.uniform(0.3, 2.5))
            finally:
                machine.kill_machine()
            found = int(machine.lines[0].removeprefix("found "))
            assert found >= promised, f"{promised} records were promised, {found} are there"
            acknowledged = [int(line) for line in machine.lines[1:]]
            assert acknowledged == list(range(found, found + len(acknowledged))), machine.lines[-3:]
            promised = found + len(acknowledged)
            replay_with_e2fsck(disk, directory)
            if turn % 5 == 0:
                compare_log_on_linux(disk, directory, promised)
        # The last time it ends by itself: a clean disk.
        machine = Lines("--disk", f"{disk}:/data", program, "--", promised + 100)
        assert machine.end() == 0, machine.errors
        assert int(machine.lines[0].removeprefix("found ")) >= promised
        check_disk(disk)
        compare_log_on_linux(disk, directory, promised + 100)
        log = subprocess.run(["debugfs", "-R", "cat /log", disk], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL).stdout
        assert log.count(b"\n") == promised + 100
        print(f"{promised} records promised over {KILLS} kills")


@case(timeout=600)
def disk_keeps_sqlites_transactions():
    need("sqlite3")
    with scratch() as directory:
        disk = make_disk(os.path.join(directory, "data.img"), "64M", "-b", "4096")
        promised = 0
        for turn in range(KILLS):
            mode = ["delete", "wal", "truncate"][turn % 3]
            text = (f"pragma journal_mode = {mode};\npragma synchronous = extra;\n"
                    "create table if not exists t(n integer primary key, text);\n"
                    "create index if not exists by_text on t(text);\n"
                    "pragma integrity_check;\nselect coalesce(max(n), 0) from t;\n")
            start = promised + 1000 * (turn + 1)
            # More than the fastest machine takes before it is killed.
            for n in range(start, start + 50_000):
                text += f"insert into t values({n}, '{hashlib.sha1(str(n).encode()).hexdigest()}');\n"
                text += f"select 'done {n}';\n"
            machine = Lines("--disk", f"{disk}:/data", "sqlite3", "--", "/data/base", text=text)
            try:
                machine.wait_for(4)
                time.sleep(random.uniform(0.3, 2.5))
            finally:
                machine.kill_machine()
            lines = [line for line in machine.lines if line != "2"]
            assert lines[1] == "ok", lines[:4]
            assert int(lines[2]) >= promised, f"{promised} was promised, {lines[2]} is there"
            done = [int(line.split()[1]) for line in lines[3:]]
            if done:
                promised = done[-1]
            replay_with_e2fsck(disk, directory)
        output = run(aril("--disk", f"{disk}:/data", "sqlite3", "--", "/data/base"), timeout=120,
                     text="pragma integrity_check; select max(n) from t;")
        assert output.split()[0] == "ok" and int(output.split()[1]) >= promised, output
        check_disk(disk)


@case(timeout=900)
def disk_takes_a_tree_of_files():
    """What tar unpacks in the machine is what debugfs finds on the disk."""
    need("tar")
    with scratch() as directory:
        tree = os.path.join(directory, "tree")
        os.makedirs(tree)
        # Some thousands of files of all sizes, deep and wide, links among them.
        source = random.Random(1)
        for number in range(3000):
            folder = os.path.join(tree, f"d{number % 7}", f"wide{number % 3}" if number % 2 else "x")
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, f"file-with-a-name-{number}"), "wb") as file:
                file.write(source.randbytes(int(source.paretovariate(0.6) * 100) % 200_000))
            if number % 100 == 0:
                os.symlink(f"file-with-a-name-{number}", os.path.join(folder, f"link-{number}"))
        archive = os.path.join(directory, "tree.tar")
        run(["tar", "-cf", archive, "-C", tree, "."])
        disk = make_disk(os.path.join(directory, "data.img"), "512M")
        run(aril("--memory", "256M", "--disk-root", "on", "--file", f"{archive}:/tree.tar",
                 "--disk", f"{disk}:/data", "tar", "--", "-xf", "/tree.tar", "-C", "/data"),
            timeout=400)
        check_disk(disk)
        output = os.path.join(directory, "out")
        os.makedirs(output)
        run(["debugfs", "-R", f"rdump / {output}", disk], timeout=200)
        os.rmdir(os.path.join(output, "lost+found"))
        run(["diff", "-r", "--no-dereference", tree, output], timeout=200)


@case(timeout=120)
def disks_are_checked_before_the_start():
    def refused(disk, *words):
        result = subprocess.run([ARIL, "run", "--disk", disk, "/bin/true"], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        text = result.stderr.decode()
        assert result.returncode == 125, f"{disk}: status {result.returncode}\n{text}"
        for word in words:
            assert word in text, f"{disk}: no '{word}' in: {text}"

    with scratch() as directory:
        disk = os.path.join(directory, "data.img")
        refused(f"{disk}:/data", "no such disk", "size=1G", "mkfs.ext4")
        refused(f"{disk}:data", "not an absolute path")
        refused(f"{disk}:/", "cannot be mounted at /")
        refused(f"{disk}:/data:rw", "'rw' is not a setting")
        refused(f"{directory}:/data", "is a directory")
        with open(disk, "wb") as file:
            file.truncate(1 << 20)
        refused(f"{disk}:/data", "holds no ext4")
        os.unlink(disk)
        # Made on demand, and kept from then on.
        words = ["--disk", f"{disk}:/some/place:size=32M", "/bin/sh", "--", "-c"]
        run(aril(*words, "echo hello > /some/place/file"))
        assert run(aril(*words, "read x < /some/place/file && echo $x")) == "hello\n"
        check_disk(disk)
        words[1] = f"{disk}:/some/place:ro"
        assert run(aril(*words, "read x < /some/place/file && echo $x; "
                                "(echo y > /some/place/file) 2>/dev/null || echo no")) == "hello\nno\n"
        machine = subprocess.Popen(aril("--disk", f"{disk}:/data", "/bin/cat"),
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            qemu_of(machine)
            refused(f"{disk}:/data", "in use")
        finally:
            machine.stdin.close()
            machine.wait(30)
        check_disk(disk)
