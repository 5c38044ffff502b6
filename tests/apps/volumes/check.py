"""Volumes: what the guest does with them, and what the host sees of it."""
import os
import subprocess
import time

from harness import ARIL, aril, case, need, run, scratch

HERE = os.path.dirname(os.path.abspath(__file__))


def compile_program(name, directory):
    need("gcc")
    binary = os.path.join(directory, name)
    run(["gcc", "-O1", "-pthread", "-o", binary, os.path.join(HERE, name + ".c")])
    return binary


def fresh(directory, name):
    path = os.path.join(directory, name)
    os.mkdir(path)
    with open(os.path.join(path, "host.txt"), "w", encoding="utf-8") as file:
        file.write("from the host\n")
    os.symlink("host.txt", os.path.join(path, "host-link"))
    return path


def tree(top):
    """Names, contents and modes of all that is in a directory."""
    found = {}
    for folder, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    content = file.read()
            else:
                content = None
            found[os.path.relpath(path, top)] = (oct(status.st_mode), content)
    return found


@case(timeout=120, everywhere=True)
def volume_is_as_a_directory_of_linux():
    with scratch() as directory:
        program = compile_program("work", directory)
        native, shared = fresh(directory, "native"), fresh(directory, "shared")
        expected = run([program, native])
        output = run(aril("--volume", f"{shared}:/data/here", program, "--", "/data/here"))
        assert output == expected, difference(expected, output)
        if os.geteuid() == 0:
            assert tree(shared) == tree(native), "the directories differ"


def difference(expected, output):
    lines = [f"Linux: {one}\nAril:  {two}" for one, two in
             zip(expected.splitlines(), output.splitlines()) if one != two]
    return "\n".join(lines[:10]) or "one is longer"


@case(timeout=60)
def guest_sees_what_the_host_changes():
    need("busybox")
    with scratch() as directory:
        shared = fresh(directory, "shared")
        script = ("cat host.txt; echo ready > to-host; while [ ! -e go ]; do sleep 0.1; done; "
                  "cat host.txt; ls; [ -e gone ] || echo none")
        with open(os.path.join(shared, "gone"), "w", encoding="utf-8") as file:
            file.write("x")
        machine = subprocess.Popen(
            aril("--volume", f"{shared}:/data", "--cwd", "/data", "/bin/busybox", "--", "sh", "-c",
                 script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 30
            while not os.path.exists(os.path.join(shared, "to-host")):
                assert time.monotonic() < deadline, "the guest's file does not appear"
                time.sleep(0.05)
            with open(os.path.join(shared, "new"), "w", encoding="utf-8") as file:
                file.write("changed on the host\n")
            os.rename(os.path.join(shared, "new"), os.path.join(shared, "host.txt"))
            os.unlink(os.path.join(shared, "gone"))
            with open(os.path.join(shared, "go"), "w", encoding="utf-8"):
                pass
            output = machine.communicate(timeout=30)[0].decode()
        finally:
            machine.kill()
            machine.wait()
        assert output == ("from the host\nchanged on the host\ngo\nhost-link\nhost.txt\nto-host\n"
                          "none\n"), output


@case(timeout=60)
def read_only_volume_and_bad_volumes():
    need("busybox")
    with scratch() as directory:
        shared = fresh(directory, "shared")
        script = "cat host.txt; echo x > new || echo refused; rm host.txt || echo kept"
        output = run(aril("--volume", f"{shared}:/data:ro", "--cwd", "/data", "/bin/busybox", "--",
                          "sh", "-c", script))
        assert output.splitlines() == ["from the host", "refused", "kept"], output
        assert sorted(os.listdir(shared)) == ["host-link", "host.txt"]

        for volumes, word in [(["/no/such:/x"], "no such directory"), ([shared], "not a volume"),
                              ([f"{shared}:x"], "absolute"), ([f"{shared}:/"], "root"),
                              ([f"{shared}/host.txt:/x"], "not a directory"),
                              ([f"{shared}:/x", f"{directory}:/x"], "two volumes at /x")]:
            options = [word for volume in volumes for word in ("--volume", volume)]
            result = subprocess.run([ARIL, "run", *options, "/bin/true"], timeout=30,
                                    stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            assert result.returncode == 125, volumes
            assert word in result.stderr.decode(), result.stderr
