"""Several pairs of queues of a network device: one for each CPU, where the tap has several."""
import contextlib
import os
import re
import subprocess

from harness import CPUS, GUEST, ONCE, PROCESS, ROOT, TAP, aril, case, namespace, need, run, scratch

CONNECTIONS, SIZE = 48, 100_000
CLIENT = """
import os, socket, sys, threading
address, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
failures = []
def talk():
    try:
        data = os.urandom(size)
        with socket.create_connection((address, 7000), timeout=60) as connection:
            sender = threading.Thread(target=connection.sendall, args=(data,))
            sender.start()
            back = b""
            while len(back) < size:
                part = connection.recv(65536)
                if not part:
                    break
                back += part
            sender.join()
            if back != data:
                failures.append(f"{len(back)} bytes came back changed")
    except OSError as error:
        failures.append(str(error))
threads = [threading.Thread(target=talk) for _ in range(count)]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit("\\n".join(failures) or 0)
"""


def echo_through(inside, network):
    """Many connections to the machine at once, which sends back what it gets: the frames that each
    pair of queues received and sent, and what aril said."""
    with scratch() as directory:
        program = os.path.join(directory, "many_flows")
        run(["g++", "-std=c++20", "-O2", "-static", "-pthread", "-o", program,
             os.path.join(ROOT, "tests", "network", "many_flows.cpp")])
        command = [*inside, *aril("--net", network, program, "--", CONNECTIONS, SIZE)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as machine:
            try:
                assert machine.stdout.readline() == "ready\n", machine.communicate(timeout=20)[1]
                run([*inside, "python3", "-c", CLIENT, GUEST, CONNECTIONS, SIZE], timeout=90)
                output, errors = machine.communicate(timeout=30)
                assert machine.returncode == 0, (output, errors)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    machine.kill()
    table = re.findall(r"^eth0 (\d+) (\d+) (\d+)$", output, re.M)
    assert [int(queue) for queue, _, _ in table] == list(range(len(table))), output
    return [(int(received), int(sent)) for _, received, sent in table], errors


def plan(inside, network):
    """QEMU's words, that `aril run` would use, and what it says beside them."""
    result = subprocess.run([*inside, *aril("--dry-run", "--net", network, "/bin/true")], check=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    return result.stdout, result.stderr


@case(timeout=180, configurations=[("q35", 2), ("microvm", 2)])
def net_queue_for_each_cpu():
    """A tap with several queues: every CPU's pair carries frames both ways."""
    need("g++")
    with namespace(modes=["multi_queue"]) as (inside, network):
        words, errors = plan(inside, network)
        assert "tap,id=net,fds=7:8 " in words and ",mq=on" in words and not errors, (words, errors)
        pairs, errors = echo_through(inside, network)
        # By the flows' addresses and ports, of which there are enough that each pair gets some.
        assert len(pairs) == 2 and not errors, (pairs, errors)
        for received, sent in pairs:
            assert received > 0 and sent > 0, pairs
        # A user's network has one queue.
        words, errors = plan(inside, "user")
        assert "mq=on" not in words and not errors, (words, errors)


@case(timeout=180, configurations=[("q35", 2), ("microvm", 2)])
def net_one_queue_for_two_cpus():
    """A tap that was made with one queue: it serves, and aril says how to make it with more."""
    need("g++")
    with namespace() as (inside, network):
        words, errors = plan(inside, network)
        assert "tap,id=net,fd=7 " in words and "mq=on" not in words, words
        assert f"ip tuntap add dev {TAP} mode tap multi_queue" in errors, errors
        pairs, errors = echo_through(inside, network)
        assert len(pairs) == 1 and min(pairs[0]) > CONNECTIONS, pairs
        assert f"aril: {TAP} has one queue, which the machine's {CPUS} CPUs share" in errors, errors


@case(timeout=120, configurations=[*ONCE, PROCESS])
def net_several_queues_for_one_cpu():
    """A tap with several queues under a machine with one CPU, and under a process."""
    need("g++")
    with namespace(modes=["multi_queue"]) as (inside, network):
        pairs, errors = echo_through(inside, network)
        assert len(pairs) == 1 and not errors, (pairs, errors)
