"""One end of TCP fast open on this host's Linux, for tests/apps/network_sockets.py: `serve` or `ask ADDRESS`."""
import socket
import struct
import sys

PORT, CONNECTIONS = 77, 3
SYN_DATA = 32  # TCPI_OPT_SYN_DATA
MSG_FASTOPEN = 0x20000000


def has_syn_data(connection):
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return bool(struct.unpack_from("8B", info)[5] & SYN_DATA)


def serve():
    with socket.create_server(("", PORT)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
        print("ready", flush=True)
        for _ in range(CONNECTIONS):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"answer to " + connection.recv(100))
                print("syn data", int(has_syn_data(connection)), flush=True)


def ask(address):
    for _ in range(CONNECTIONS):
        with socket.socket() as connection:
            connection.sendto(b"question", MSG_FASTOPEN, (address, PORT))
            answer = b""
            while part := connection.recv(100):
                answer += part
            assert answer == b"answer to question", answer
            print("syn data", int(has_syn_data(connection)), flush=True)


serve() if sys.argv[1] == "serve" else ask(sys.argv[2])
