import hashlib
import os

import harness
from application import application, load, page
from harness import case, instance, run, scratch


def expected_digest(number):
    text = "".join(f"{number} {block} " * 1000 for block in range(100))
    return number, hashlib.sha256(text.encode()).hexdigest()


@application("python3.11", "8 threads, asyncio with 30 connections, sqlite3 with 20,000 rows, "
             "subprocess with pipes and signals, multiprocessing, http.server under 500 requests", tier="essential")
def check(python):
    with python.http() as server:
        assert page(server, "/threads") == str([expected_digest(n) for n in range(8)])
        assert page(server, "/asyncio") == "436"
        assert page(server, "/sqlite3") == "(20000, 199990000, 'number 9999')"
        assert page(server, "/subprocess") == "('THROUGH TR\\n', ['3', '2', '1'], 7, -15, 0)"
        assert page(server, "/multiprocessing") == str(sum(n * n for n in range(200)))
        load(server, requests=500)


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
