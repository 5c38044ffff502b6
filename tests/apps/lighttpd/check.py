import hashlib
import os

import harness
from application import application, load, page


@application("lighttpd", "2,000 requests, a file of 20 MB, a range of it", timeout=120)
def check(lighttpd):
    text = "<p>" + "aril " * 1000
    lighttpd.write("index.html", text)
    large = os.urandom(20 << 20)
    with open(lighttpd.path("large"), "wb") as file:
        file.write(large)
    with lighttpd.http() as server:
        url = f"http://{server.address}:{server.port}"
        assert page(server) == text
        assert "X-System: aril" in harness.run(["curl", "-sI", f"{url}/"])
        received = harness.get(f"{url}/large")
        assert hashlib.sha256(received).digest() == hashlib.sha256(large).digest()
        part = harness.run(["sh", "-c", f"curl -s -r 1000000-1099999 {url}/large | sha256sum"])
        assert part.split()[0] == hashlib.sha256(large[1000000:1100000]).hexdigest()
        load(server, requests=2000, clients=50)
        server.process.terminate()
        assert server.process.wait(30) in (0, 1)  # 1: connections were open, on Linux too
