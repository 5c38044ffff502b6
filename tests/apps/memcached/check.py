import concurrent.futures
import socket

import harness
from application import application


def client(server, identity, rounds):
    """Sets values and reads them back."""
    with socket.create_connection((server.address, server.port), timeout=30) as connection:
        stream = connection.makefile("rwb")
        for number in range(rounds):
            value = f"{identity}-{number}".encode() * (1 + number % 50)
            stream.write(b"set k%d-%d 0 0 %d\r\n%b\r\n" % (identity, number, len(value), value))
            stream.flush()
            assert stream.readline() == b"STORED\r\n", "not stored"
            stream.write(b"get k%d-%d\r\n" % (identity, number))
            stream.flush()
            header = stream.readline().split()
            assert len(header) == 4, f"no value: {header}"
            body = stream.read(int(header[3]) + 2)
            assert body[:-2] == value and stream.readline() == b"END\r\n", "wrong value"


@application("memcached", "16 clients at once set and get 1,600 values", tier="essential",
             manifest=harness.example("memcached.aril"), timeout=120)
def check(program):
    with program.serve(11211, probe=b"version\r\n") as memcached:
        with concurrent.futures.ThreadPoolExecutor(16) as clients:
            for done in [clients.submit(client, memcached, n, 100) for n in range(16)]:
                done.result()
        memcached.process.terminate()
        assert memcached.process.wait(30) in (0, 143)
