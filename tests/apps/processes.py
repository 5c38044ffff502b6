#!/usr/bin/env python3
"""Programs that are made of processes: shells, scripts, nginx with workers."""
import os
import re
import signal
import subprocess
import time

import harness
from harness import aril, case, get, instance, need, run, scratch

PROBE = b"HEAD / HTTP/1.0\r\n\r\n"


def files(*names):
    """--file options for the host files that exist."""
    options = []
    for name in names:
        if os.path.exists(name.split(":")[0]):
            options += ["--file", name]
    return options


def shell(script, *options, status=0, program="/bin/bash", timeout=100):
    return run(aril(*options, program, "--", "-c", script), status=status, timeout=timeout)


@case(timeout=60, everywhere=True)
def a_shell_loop_with_a_pipeline():
    output = shell("for i in 1 2 3; do echo $i | sed s/^/line/ ; done; exit 7",
                   *files("/bin/sed"), status=7, program="/bin/sh")
    assert output == "line1\nline2\nline3\n", output


@case(timeout=100, everywhere=True)
def bash_pipelines_subshells_traps_and_jobs():
    script = r"""
set -m
echo $(printf 'c\nb\na\n' | sort | tr '\n' ' ')
(cd /tmp; x=1; exit 9); echo "subshell $?"
trap 'echo trapped' USR1; kill -USR1 $$
sleep 60 & kill -TERM $!; wait $!; echo "terminated $?"
sleep 60 & kill -STOP %%; while [[ $(jobs %%) != *Stopped* ]]; do sleep 0.05; done; echo stopped
p=$!; kill -KILL %%; while [[ $(jobs %% 2>&1) == *Stopped* ]]; do sleep 0.05; done
wait $p; echo "killed $?"
diff <(echo same) <(echo same) && echo same
cat <<< "$(coproc { read line; echo "co $line"; }; echo in >&"${COPROC[1]}"; cat <&"${COPROC[0]}")"
exec 3< <(seq 100000); wc -l <&3
trap 'echo bye' EXIT
"""
    output = shell(script, *files("/usr/bin/sort", "/usr/bin/tr", "/usr/bin/sleep", "/usr/bin/diff",
                                  "/usr/bin/cat", "/usr/bin/seq", "/usr/bin/wc"))
    assert output.splitlines() == ["a b c", "subshell 9", "trapped", "terminated 143", "stopped",
                                   "killed 137", "same", "co in", "100000", "bye"], output


FORK_BY_NUMBER = r"""
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int count, char** arguments) {
  (void)arguments;
  volatile long number = SYS_clone + count;  /* fork, which nobody sees in the program */
  long pid = syscall(number);
  if (pid == 0) _exit(7);
  int error = errno, status = 0;
  if (pid > 0) waitpid((pid_t)pid, &status, 0);
  printf("%s %d\n", pid > 0 ? "forked" : "refused", pid > 0 ? WEXITSTATUS(status) : error);
  return 0;
}
"""


@case(timeout=100)
def an_image_without_processes_is_smaller_and_says_so():
    with scratch() as directory:
        program = os.path.join(directory, "fork")
        with open(program + ".c", "w", encoding="utf-8") as file:
            file.write(FORK_BY_NUMBER)
        run(["gcc", "-O1", "-static", "-o", program, program + ".c"])
        parts = ["--component", "linux_process", "--component", "linux_multiprocess"]
        sizes = {}
        for name, options in {"without": parts[:2], "with": parts}.items():
            image = os.path.join(directory, name)
            run([harness.ARIL, "build", "-o", image, *options, program])
            sizes[name] = os.path.getsize(image)
        assert sizes["without"] < sizes["with"], sizes
        output = run(aril("--profile", "default", *parts, program))
        assert output == "forked 7\n", output
        for options, hint in (([], "linux_process"), (parts[:2], "linux_multiprocess")):
            result = subprocess.run(aril("--profile", "default", *options, program),
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, timeout=60, check=False)
            assert result.stdout == b"refused 38\n", result
            assert b"--component " + hint.encode() in result.stderr, result


@case(timeout=60)
def a_script_is_a_program():
    with scratch() as directory:
        os.chmod(directory, 0o755)
        path = os.path.join(directory, "script.sh")
        with open(path, "w", encoding="utf-8") as file:
            file.write('#!/bin/sh -e\necho "$1 from $0"\nexit 4\n')
        os.chmod(path, 0o755)
        assert run(aril(path, "--", "hello"), status=4) == f"hello from {path}\n"
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/usr/bin/env bash\necho $((6 * 7)) $UID\n")
        assert run(aril("--user", "nobody", path)) == "42 65534\n"


@case(timeout=90, packages=["busybox-static"])
def a_whole_directory_as_root():
    need("busybox")
    with scratch() as directory:
        for name in ("bin", "tmp"):
            os.mkdir(os.path.join(directory, name))
        binary = os.path.join(directory, "bin", "busybox")
        subprocess.run(["cp", "/bin/busybox", binary], check=True)
        for applet in ("sh", "ls", "sed", "grep", "sort", "ps", "awk", "find", "xargs", "cat"):
            os.symlink("busybox", os.path.join(directory, "bin", applet))
        output = run(aril("--root", directory, "/bin/sh", "--", "-c",
                          "find /bin -type l | xargs -n 2 echo | sed 's#/bin/##g' | sort | "
                          "awk '{n += NF} END {print n}'; ps | grep -c busybox; exit 3"), status=3)
        assert output.splitlines()[0] == "10", output


@case(timeout=60)
def apt_get_says_its_version():
    need("apt-get")
    output = run(aril(*files("/usr/lib/apt", "/etc/apt", "/var/lib/dpkg/status", "/usr/bin/dpkg",
                             "/usr/share/dpkg"),
                      "/usr/bin/apt-get", "--", "--version"))
    assert output.startswith("apt "), output


CONFIGURATION = """worker_processes 2;
error_log stderr notice;
pid /run/nginx.pid;
events {{ worker_connections 512; }}
http {{ access_log off; server {{ listen 80; location / {{ return 200 "{text} $pid\\n"; }} }} }}
"""


@case(timeout=120, everywhere=True)
def nginx_with_a_master_and_two_workers_reloads():
    need("nginx")
    port = harness.free_port()
    with scratch() as directory:
        path = os.path.join(directory, "nginx.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(text="old"))
        new = CONFIGURATION.format(text="new").replace("$", "\\$").replace('"', '\\"')
        # The master is a child: the shell changes the configuration when it is told to.
        script = (f'mkdir -p /var/log/nginx /var/lib/nginx; nginx -g "daemon off;" & master=$!; '
                  f'trap "kill -QUIT $master" TERM; '
                  f'trap \'printf "%s" "{new}" > /etc/nginx/nginx.conf; kill -HUP $master\' HUP; '
                  # A signal interrupts wait: more than 128 [bash(1)]. The master's own end is less.
                  f'while wait $master; status=$?; [ $status -gt 128 ]; do :; done; '
                  f'exit $status')
        with instance("--port", f"{port}:80", "--file", f"{path}:/etc/nginx/nginx.conf",
                      *files("/usr/sbin/nginx", "/usr/bin/mkdir"), "/bin/bash", "--", "-c", script,
                      stderr=subprocess.DEVNULL) as nginx:
            nginx.wait_for(port, probe=PROBE)
            old = {get(f"http://127.0.0.1:{port}/").decode() for _ in range(20)}
            assert all(re.fullmatch(r"old \d+\n", text) for text in old), old
            nginx.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 40
            while not get(f"http://127.0.0.1:{port}/").startswith(b"new"):
                assert time.monotonic() < deadline, "not reloaded"
                time.sleep(0.2)
            assert nginx.stop(signal.SIGTERM, timeout=40) == 0
