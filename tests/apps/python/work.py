"""A web server whose pages each make Python work."""
import asyncio
import hashlib
import http.server
import multiprocessing
import queue
import sqlite3
import subprocess
import threading


def threads():
    """Eight threads hash; a queue carries the results."""
    results = queue.Queue()

    def hash_blocks(number):
        digest = hashlib.sha256()
        for block in range(100):
            digest.update(f"{number} {block} ".encode() * 1000)
        results.put((number, digest.hexdigest()))

    workers = [threading.Thread(target=hash_blocks, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sorted(results.get() for _ in workers)


async def echo_clients():
    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def client(port, number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for line in range(20):
            writer.write(f"client {number} line {line}\n".encode())
            assert await reader.readline() == f"CLIENT {number} LINE {line}\n".encode()
        writer.close()
        return number

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    done = await asyncio.gather(*[client(port, number) for number in range(30)])
    await asyncio.sleep(0.01)
    return sum(done) + await asyncio.to_thread(lambda: 1)


def database():
    connection = sqlite3.connect("/tmp/work.db")
    with connection:
        connection.execute("drop table if exists numbers")
        connection.execute("create table numbers(n integer primary key, text)")
        connection.executemany("insert into numbers values(?, ?)",
                               ((n, f"number {n}") for n in range(20000)))
    row = connection.execute("select count(*), sum(n), max(text) from numbers").fetchone()
    connection.close()
    return row


def subprocesses():
    """Pipes, a shell, a status, a signal and a timeout."""
    upper = subprocess.run(["tr", "a-z", "A-Z"], input="through tr\n", capture_output=True, text=True)
    shell = subprocess.run("for i in 1 2 3; do echo $i; done | sort -r; exit 7", shell=True,
                           stdout=subprocess.PIPE, text=True)
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        sleeper.wait(0.05)
    except subprocess.TimeoutExpired:
        sleeper.terminate()
    many = [subprocess.Popen(["true"]) for _ in range(20)]
    return (upper.stdout, shell.stdout.split(), shell.returncode, sleeper.wait(),
            sum(process.wait() for process in many))


def square(number):
    return number * number


def processes():
    """Forked workers, queues between them."""
    with multiprocessing.get_context("fork").Pool(3) as pool:
        return sum(pool.map(square, range(200)))


PAGES = {
    "/": lambda: "hello from python",
    "/threads": threads,
    "/asyncio": lambda: asyncio.run(echo_clients()),
    "/sqlite3": database,
    "/subprocess": subprocesses,
    "/multiprocessing": processes,
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(PAGES[self.path]()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 100


if __name__ == "__main__":
    Server(("0.0.0.0", 8000), Handler).serve_forever()
