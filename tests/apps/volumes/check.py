"""Volumes: what the guest does with them, and what the host sees of it."""
import os
import shutil
import signal
import subprocess
import time

from harness import ARIL, EVERYWHERE, ONCE, PROCESS, Skip, aril, case, need, run, scratch

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


@case(timeout=120, configurations=[*EVERYWHERE, PROCESS])
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


@case(timeout=60, configurations=[*ONCE, PROCESS])
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
            wait_until(lambda: os.path.exists(os.path.join(shared, "to-host")),
                       "the guest's file does not appear")
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


@case(timeout=60, configurations=[*ONCE, PROCESS])
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


@case(timeout=120, configurations=[*ONCE, PROCESS])
def an_ordinary_user_has_volumes_and_disks():
    """Without any right of root's: the guest's owners, modes and types are kept beside the files."""
    need("busybox", "setpriv", "mkfs.ext4")
    with scratch() as directory:
        shared, home = os.path.join(directory, "shared"), os.path.join(directory, "home")
        os.mkdir(shared)
        os.mkdir(home)
        try:
            os.setxattr(shared, "user.aril.probe", b"1")
        except OSError as error:
            raise Skip("no extended attributes here") from error
        prefix, user = [], os.geteuid()
        if user == 0:
            prefix, user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], 65534
            for path in (directory, shared, home):
                os.chown(path, user, user)
        # The checkout may be where this user cannot look.
        build = os.path.dirname(os.path.dirname(ARIL))
        program = os.path.join(directory, "build", "bin", "aril")
        for name in ("bin/aril", "lib/aril/kernel.elf", "lib/aril/process-kernel.elf"):
            os.makedirs(os.path.dirname(os.path.join(directory, "build", name)), exist_ok=True)
            shutil.copy(os.path.join(build, name), os.path.join(directory, "build", name))

        def guest(script):
            return run([*prefix, program, *aril()[1:], "--volume", f"{shared}:/data", "--disk",
                        f"{directory}/disk.img:/disk:size=32M", "--cwd", "/data", "/bin/busybox",
                        "--", "sh", "-ec", script], env={**os.environ, "HOME": home})

        look = "stat -c '%n %F %a %u:%g' *; cat dir/moved; readlink link; cat /disk/kept"
        first = guest("echo text > file; chmod 640 file; chown 1000:100 file; mkdir dir; "
                      "mv file dir/moved; mkfifo -m 600 fifo; ln -s dir/moved link; touch empty; "
                      f"echo on the disk > /disk/kept; sync; {look}")
        assert first == ("dir directory 755 0:0\nempty regular empty file 644 0:0\nfifo fifo 600 0:0\n"
                         "link symbolic link 777 0:0\ntext\ndir/moved\non the disk\n"), first
        assert guest(look + "; stat -c '%a %u:%g' dir/moved; rm -r *; ls") == (
            first + "640 1000:100\n")
        assert os.listdir(shared) == [] and os.stat(f"{directory}/disk.img").st_uid == user


def wait_until(condition, complaint):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.02)


def children_of(process):
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


@case(timeout=60, configurations=[PROCESS])
def a_volumes_server_is_confined_and_ends_with_its_instance():
    with scratch() as directory:
        instance = subprocess.Popen(
            aril("--volume", f"{directory}:/data", "/bin/busybox", "--", "sh", "-c",
                 "echo ready > /data/ready; read line"), stdin=subprocess.PIPE)
        try:
            wait_until(lambda: os.path.exists(f"{directory}/ready"), "no file of the guest's")
            server, = children_of(instance)
            with open(f"/proc/{server}/status", encoding="ascii") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1"), status
            if os.geteuid() == 0:
                # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID
                assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0b11111, status
                assert os.path.samefile(f"/proc/{server}/root", directory)
            # Its socket, the directory, the descriptors' names, and a fid or two.
            assert len(os.listdir(f"/proc/{server}/fd")) < 15
        finally:
            instance.kill()
            assert instance.wait(10) == -signal.SIGKILL
        wait_until(lambda: not os.path.exists(f"/proc/{server}"), "the server does not end")


@case(timeout=60, configurations=[*ONCE, PROCESS])
def closed_streams_are_empty_ones():
    """What `aril` opens must not be taken for a stream that whoever started it has closed."""
    need("mkfs.ext4")
    with scratch() as directory:
        shared = fresh(directory, "shared")
        options = ["--volume", f"{shared}:/data", "--disk", f"{directory}/disk.img:/disk:size=32M"]
        for closed in ("0<&-", "0<&- 2>&-"):
            output = run(["sh", "-c", f'exec "$@" {closed}', "sh",
                          *aril(*options, "/bin/cat", "--", "-", "/data/host.txt")])
            assert output == "from the host\n", output


@case(timeout=120)
def many_volumes():
    """As many as fit, and a clear word about the first that does not."""
    need("busybox")
    with scratch() as directory:
        options = []
        for number in range(23):
            path = os.path.join(directory, str(number))
            os.mkdir(path)
            with open(os.path.join(path, "number"), "w", encoding="ascii") as file:
                file.write(f"{number}\n")
            options += ["--volume", f"{path}:/data/{number}"]
        script = "cd /data; cat $(ls | sort -n | sed s,$,/number,) | tail -n 1; ls | wc -l"
        output = run([ARIL, "run", "--machine", "q35", *options, "/bin/busybox", "--", "sh", "-c",
                      script])
        assert output.split() == ["22", "23"], output
        result = subprocess.run([ARIL, "run", *options, "/bin/true"], stdin=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, timeout=30)
        text = result.stderr.decode()
        assert result.returncode == 125 and "the volume at /data/4: no place" in text, text
        assert "--machine q35" in text, text
