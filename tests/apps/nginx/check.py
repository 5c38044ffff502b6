"""Debian's nginx."""
import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import harness
from application import application, load, page
from harness import ONCE, PROCESS, Skip, case, example, get, instance, need, run, scratch

PROBE = b"HEAD / HTTP/1.0\r\n\r\n"
CONFIGURATION = """daemon off;
master_process off;
error_log stderr warn;
pid /run/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  sendfile {sendfile};
  tcp_nopush {sendfile};
  keepalive_requests 1000000;
  server {{ listen 80; root /srv; {server} }}
}}
"""


def welcome():
    """The page that Debian's configuration shows first, on a host where Apache may be too."""
    for name in ("index.html", "index.nginx-debian.html"):
        path = os.path.join("/var/www/html", name)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                return file.read()
    raise Skip("nginx's welcome page is not on this host")


def configure(directory, sendfile="on", server=""):
    """Files of a small site; returns aril's options for it."""
    path = os.path.join(directory, "nginx.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(CONFIGURATION.format(sendfile=sendfile, server=server))
    page = os.path.join(directory, "index.html")
    index = os.path.join(directory, "index.html")
    with open(index, "w", encoding="utf-8") as file:
        file.write("<p>aril</p>\n".ljust(612, " "))
    return ["--file", f"{path}:/etc/nginx/nginx.conf", "--file", f"{index}:/srv/index.html"], index


def serve(options, extra=(), **keywords):
    return instance(*options, *extra, "/usr/sbin/nginx", "--", "-c", "/etc/nginx/nginx.conf",
                    **keywords)


@application("nginx", "its own page, 3,000 requests by ab, a clean stop", packages=["nginx"],
             tier="essential", manifest=example("nginx.aril"))
def check(nginx):
    with nginx.http(80) as server:
        assert page(server) == welcome()
        load(server, requests=3000, clients=50)
        assert server.stop(signal.SIGTERM) == 0


@case(timeout=90, everywhere=True)
def nginx_serves_its_page():
    port = harness.free_port()
    with instance("--port", f"{port}:80", example("nginx.aril")) as nginx:
        nginx.wait_for(port, probe=PROBE)
        assert get(f"http://127.0.0.1:{port}/").decode() == welcome()
        status = nginx.stop(signal.SIGINT)
        assert status == 0, f"status {status} after SIGINT"


@case(timeout=90)
def nginx_serves_its_page_in_little_memory():
    """Its files alone would fill most of it: they stay on a disk."""
    port = harness.free_port()
    with instance("--memory", "12M", "--port", f"{port}:80", example("nginx.aril")) as nginx:
        nginx.wait_for(port, probe=PROBE)
        for _ in range(20):
            assert get(f"http://127.0.0.1:{port}/").decode() == welcome()
        assert nginx.stop(signal.SIGTERM) == 0


@case(timeout=120, configurations=[*ONCE, PROCESS])
def nginx_serves_its_page_over_ipv6():
    need("curl")
    if not os.path.exists("/proc/net/if_inet6"):
        raise harness.Skip("this host has no IPv6")
    with harness.namespace() as (inside, network):
        command = [*inside, *harness.aril("--net", network, example("nginx.aril"))]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            url = f"http://[{harness.GUEST_IPV6}]/"
            text = run([*inside, "curl", "-sfg", "--retry", "60", "--retry-delay", "1",
                        "--retry-all-errors", "-m", "90", url], timeout=100)
            with open("/var/www/html/index.nginx-debian.html", encoding="utf-8") as file:
                assert text == file.read()
            # Debian's site listens for each family by a socket of its own.
            assert run([*inside, "curl", "-sf", f"http://{harness.GUEST}/"]) == text
            if shutil.which("ping"):
                ping = run([*inside, "ping", "-6", "-c", "3", "-i", "0.2", harness.GUEST_IPV6])
                assert " 0% packet loss" in ping, ping
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@case(timeout=240, configurations=[*ONCE, PROCESS])
def nginx_starts_twenty_times():
    port = harness.free_port()
    for number in range(20):
        with instance("--port", f"{port}:80", example("nginx.aril")) as nginx:
            nginx.wait_for(port, probe=PROBE)
            assert b"nginx" in get(f"http://127.0.0.1:{port}/"), f"start {number}"
            status = nginx.stop(signal.SIGTERM)
            assert status == 0, f"start {number}: status {status} after SIGTERM"


@case(timeout=600)
def nginx_sends_a_gibibyte():
    with scratch() as directory:
        options, _ = configure(directory)
        path = os.path.join(directory, "large")
        digest = hashlib.sha256()
        with open(path, "wb") as file:
            for _ in range(1024):
                block = os.urandom(1 << 20)
                digest.update(block)
                file.write(block)
        port = harness.free_port()
        extra = ["--file", f"{path}:/srv/large", "--port", f"{port}:80", "--memory", "128M"]
        with serve(options, extra) as nginx:
            nginx.wait_for(port, probe=PROBE, timeout=120)
            received = hashlib.sha256()
            curl = subprocess.Popen(["curl", "-sf", f"http://127.0.0.1:{port}/large"],
                                    stdout=subprocess.PIPE)
            while block := curl.stdout.read(1 << 20):
                received.update(block)
            assert curl.wait() == 0, "curl failed"
            assert received.digest() == digest.digest(), "the content differs"


@case(timeout=300, configurations=[*ONCE, PROCESS])
def nginx_under_ab_without_keep_alive():
    need("ab")
    with scratch() as directory, harness.namespace() as (inside, network):
        options, _ = configure(directory)
        command = [*inside, *harness.aril(*options, "--net", network, "/usr/sbin/nginx")]
        with started(command, inside):
            text = run([*inside, "ab", "-n", "100000", "-c", "50", "http://10.88.0.2/index.html"],
                       timeout=280)
            assert re.search(r"Complete requests:\s+100000\b", text), text
            assert re.search(r"Failed requests:\s+0\b", text), text


@case(timeout=120)
def nginx_under_wrk_with_keep_alive():
    need("wrk")
    with scratch() as directory, harness.namespace() as (inside, network):
        options, _ = configure(directory)
        command = [*inside, *harness.aril(*options, "--net", network, "/usr/sbin/nginx")]
        with started(command, inside):
            wrk = [*inside, "wrk", "-t", "1", "-c", "200", "-d", "30", "http://10.88.0.2/index.html"]
            text = run(wrk, timeout=60)
            assert "Socket errors" not in text and "Non-2xx" not in text, text


class started:
    """An instance inside of a namespace, once it answers."""

    def __init__(self, command, inside):
        self.command = command
        self.inside = inside

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"ended with status {self.process.returncode}"
            answer = subprocess.run([*self.inside, "curl", "-sf", "-m", "2", "-o", "/dev/null",
                                     "http://10.88.0.2/index.html"])
            if answer.returncode == 0:
                return self
            time.sleep(0.1)
        raise AssertionError("nginx does not answer over the tap")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@case(timeout=120)
def nginx_answers_many_clients_at_once():
    with scratch() as directory:
        options, index = configure(directory)
        with open(index, "rb") as file:
            expected = file.read()
        port = harness.free_port()
        with serve(options, ["--port", f"{port}:80"]) as nginx:
            nginx.wait_for(port, probe=PROBE)
            wrong = []

            def client():
                for _ in range(20):
                    if get(f"http://127.0.0.1:{port}/index.html") != expected:
                        wrong.append(1)

            threads = [threading.Thread(target=client) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not wrong, f"{len(wrong)} wrong answers"
