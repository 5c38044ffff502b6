"""The guest programs of tests/linux that are about files, with /tmp on a disk and on a volume: what
they print must be what they print on Linux."""
import os
import shlex
import subprocess

import harness
from disk_images import check_disk, make_disk
from harness import EVERYWHERE, FULL, ONCE, PROCESS, ROOT, aril, case, run, scratch

import guest_programs

PROGRAMS = ["directories", "exec", "files", "inotify", "io_uring", "limits", "locks", "memory",
            "multiprocess", "names", "proc_files", "sockets", "storage", "transfer"]

# What 9P has no message for, as on Linux's own 9p, and what QEMU's server refuses: attributes that
# are not "user.".
NOT_ON_VOLUMES = {
    "directories": ["renameat2_exchanges"],
    "files": ["tmpfile_has_no_name_until_linked", "fallocate_extends_and_punches"],
    "io_uring": ["fsync_and_fallocate"],
    "names": ["attributes_are_kept", "attributes_are_listed", "renames_exchange"],
    "storage": ["holes_and_data_are_told_apart", "a_punched_hole_is_found",
                "a_store_through_a_mapping_makes_data_of_a_hole"],
}


def compare_with_linux(options_for, differing):
    """Runs each program on Linux and with `options_for(directory)` in a machine. The properties in
    `differing` must fail there: the list stays true."""
    build = os.environ.get("ARIL_BUILD", os.path.join(ROOT, "build"))
    wrong = []
    for program in guest_programs.discover(os.path.join(ROOT, "tests", "linux"), build):
        if program.name not in PROGRAMS:
            continue
        program.compile()
        with scratch() as directory:
            expected = run([program.binary], cwd=directory).splitlines()
            excused = differing.get(program.name, [])
            options, finish = options_for(directory)
            result = subprocess.run(
                aril("--cwd", "/tmp", *shlex.split(program.settings.get("options", "")), *options,
                     program.binary), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, timeout=150)
            found = result.stdout.decode().splitlines()
            for line in expected:
                name = line.removeprefix("ok ")
                if (line in found) == (name in excused):
                    said = [other for other in found if f" {name}:" in other]
                    wrong.append(f"{program.name}: {said or line}")
            if len(found) != len(expected):
                wrong.append(f"{program.name}: {len(found)} lines, not {len(expected)}\n"
                             f"{result.stderr.decode()[-1000:]}")
            finish()
    assert not wrong, "\n".join(wrong)


def on_a_disk(directory):
    disk = make_disk(os.path.join(directory, "data.img"), "256M")
    run(["debugfs", "-w", "-R", "set_inode_field <2> mode 041777", disk])
    return ["--disk", f"{disk}:/tmp"], lambda: check_disk(disk)


def on_a_volume(directory):
    shared = os.path.join(directory, "shared")
    os.mkdir(shared)
    os.chmod(shared, 0o1777)
    return ["--volume", f"{shared}:/tmp"], lambda: None


@case(timeout=600, configurations=[*(EVERYWHERE[:2] if FULL else [("q35", 2)]), PROCESS])
def programs_on_a_disk_are_as_on_linux():
    compare_with_linux(on_a_disk, {})


@case(timeout=600, configurations=[*(EVERYWHERE[:2] if FULL else ONCE), PROCESS])
def programs_on_a_volume_are_as_on_linux():
    if os.geteuid() != 0:
        raise harness.Skip("owners can be set by root only")
    compare_with_linux(on_a_volume, NOT_ON_VOLUMES)
