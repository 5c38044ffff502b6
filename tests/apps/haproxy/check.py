import http.server
import threading

import harness
from application import application, load, page


class HostServer:
    """A small web server on this side; leave the `with` and it is gone."""

    def __init__(self, address, port):
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

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 100

        self.server = Server((address, port), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@application("haproxy", "in front of a web server of the host, 1,000 requests", tier="essential",
             timeout=120)
def check(haproxy):
    host = "10.88.0.1" if harness.on_a_tap() else "10.0.2.2"
    with HostServer("10.88.0.1" if harness.on_a_tap() else "127.0.0.1", 0) as backend:
        with open(harness.example("haproxy.cfg"), encoding="utf-8") as file:
            haproxy.write("haproxy.cfg", file.read().replace("10.0.2.2:8001", f"{host}:{backend.port}"))
        with haproxy.http(8080) as proxy:
            for number in range(50):
                assert page(proxy, f"/{number}") == f"host says /{number}"
            load(proxy, requests=1000)
            proxy.process.terminate()
            assert proxy.process.wait(30) in (0, 143)
