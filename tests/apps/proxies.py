#!/usr/bin/env python3
"""HAProxy in front of a server of this host, and Python's web server."""
import hashlib
import http.server
import os
import threading

import harness
from harness import case, example, get, instance, need, run, scratch


class HostServer:
    """A small web server on this host."""

    def __enter__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = f"host says {self.path}".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self.server.server_port

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@case(timeout=120, everywhere=True)
def haproxy_forwards_to_a_host_server():
    need("haproxy")
    with HostServer() as backend, scratch() as directory:
        with open(example("haproxy.cfg"), encoding="utf-8") as file:
            text = file.read().replace("10.0.2.2:8001", f"10.0.2.2:{backend}")
        path = os.path.join(directory, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        port = harness.free_port()
        with instance("--port", f"{port}:8080", "--memory", "192M", "--file",
                      f"{path}:/etc/haproxy/haproxy.cfg", "/usr/sbin/haproxy", "--", "-db", "-f",
                      "/etc/haproxy/haproxy.cfg") as proxy:
            proxy.wait_for(port, probe=b"GET /probe HTTP/1.0\r\n\r\n")
            for number in range(50):
                assert get(f"http://127.0.0.1:{port}/{number}") == f"host says /{number}".encode()
            proxy.process.terminate()
            assert proxy.process.wait(30) in (0, 143)


@case(timeout=180, everywhere=True)
def python_lists_its_root():
    port = harness.free_port()
    with instance("--port", f"{port}:8000", example("python-http.aril")) as server:
        server.wait_for(port, probe=b"HEAD / HTTP/1.0\r\n\r\n", timeout=120)
        listing = get(f"http://127.0.0.1:{port}/").decode()
        assert 'href="etc/"' in listing and 'href="usr/"' in listing, listing
        assert b"root:" in get(f"http://127.0.0.1:{port}/etc/passwd")


RECEIVER = """
import hashlib, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
        while left:
            block = self.rfile.read(min(left, 1 << 18))
            if not block:
                break
            digest.update(block)
            left -= len(block)
        body = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


@case(timeout=900)
def python_receives_a_gibibyte():
    with scratch() as directory:
        script = os.path.join(directory, "receiver.py")
        with open(script, "w", encoding="utf-8") as file:
            file.write(RECEIVER)
        path = os.path.join(directory, "large")
        digest = hashlib.sha256()
        with open(path, "wb") as file:
            for _ in range(1024):
                block = os.urandom(1 << 20)
                digest.update(block)
                file.write(block)
        port = harness.free_port()
        with instance("--port", f"{port}:8000", "--memory", "256M", "--file", "/usr/lib/python3.11",
                      "--file", f"{script}:/receiver.py", "/usr/bin/python3", "--",
                      "/receiver.py") as server:
            server.wait_for(port, probe=b"GET / HTTP/1.0\r\n\r\n", timeout=120)
            answer = run(["curl", "-sf", "-H", "Expect:", "-T", path, f"http://127.0.0.1:{port}/"],
                         timeout=800)
            assert answer == digest.hexdigest(), "the content differs"


harness.main()
