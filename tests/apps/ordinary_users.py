"""`--platform process` for whoever has no rights: the checks of the applications, which as root use a
tap, as an ordinary user through passt."""
import functools
import os
import signal
import subprocess

import harness
from harness import ARIL, need, scratch

# Applications whose own checks an ordinary user runs too, through passt; and their packages.
ORDINARY = {"nginx": ["nginx"], "redis": ["redis-server"], "memcached": ["memcached"],
            "haproxy": ["haproxy"], "sqlite": ["sqlite3"], "python": ["python3"],
            "nodejs": ["nodejs"], "go": ["golang-go"]}


def as_ordinary_user(directory):
    """Words before a command; what it writes goes to `directory`."""
    become = []
    if os.geteuid() == 0:
        os.chmod(directory, 0o777)
        become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                  "--bounding-set", "-all", "--inh-caps", "-all"]
        if subprocess.run([*become, "test", "-x", ARIL], check=False).returncode != 0:
            raise harness.Skip("another user cannot reach this checkout")
    # What was measured is not theirs to keep.
    return [*become, "env", "-u", "ARIL_TEST_RECORD", f"XDG_CACHE_HOME={directory}/cache", f"HOME={directory}",
            f"TMPDIR={directory}", f"ARIL_TEST_APPS={directory}/apps"]


def run_as_ordinary_user(application):
    need("passt", "setpriv")
    folder = os.path.dirname(os.path.abspath(__file__))
    with scratch() as directory:
        command = as_ordinary_user(directory)
        process = subprocess.Popen(
            [*command, "/usr/bin/python3", "-B", f"{folder}/harness.py",
             f"{folder}/{application}/check.py", application],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True)
        try:
            output = process.communicate(timeout=280)[0].decode(errors="replace")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode == 77:
            raise harness.Skip(output.strip())
        assert process.returncode == 0, output[-3000:]


for _name, _packages in ORDINARY.items():
    harness.add_case(harness.Case(
        f"an_ordinary_user_runs_{_name}", functools.partial(run_as_ordinary_user, _name), 300,
        [harness.PROCESS], ["passt", *_packages]))
