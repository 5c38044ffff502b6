"""Debian's PostgreSQL 15 as a server that a test starts, asks, kills and starts again."""
import contextlib
import os
import subprocess
import time

import harness
from harness import Skip, aril, instance, run

PROGRAMS = "/usr/lib/postgresql/15/bin"
FILES = ["/usr/lib/postgresql/15", "/usr/share/postgresql/15", "/usr/share/zoneinfo", "/bin/sh"]
DATA = "/data/pg"


class Postgres:
    """A database whose files are in the guest's /data. `storage` are the options that mount that."""

    def __init__(self, *storage):
        if not os.path.exists(os.path.join(PROGRAMS, "postgres")):
            raise Skip("postgresql-15 is not installed")
        self.port = harness.free_port()
        self.storage = storage
        # PostgreSQL refuses to run as root.
        self.options = ["--memory", "512M", "--user", "postgres", "--env",
                        f"PATH={PROGRAMS}:/usr/bin:/bin", "--env", f"PGDATA={DATA}",
                        *[word for name in FILES for word in ("--file", name)], *storage]
        self.environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port),
                            "PGUSER": "postgres", "PGDATABASE": "postgres",
                            "PGCONNECT_TIMEOUT": "20"}

    def initialize(self):
        """initdb, in machines of its own."""
        run(aril(*self.storage, "/bin/chown", "--", "postgres", "/data"))
        run(aril(*self.options, os.path.join(PROGRAMS, "initdb"), "--", "-A", "trust", "-U",
                 "postgres"), timeout=200)
        run(aril(*self.options, "/bin/sh", "--", "-c",
                 f"echo 'host all all 0.0.0.0/0 trust' >> {DATA}/pg_hba.conf"))

    @contextlib.contextmanager
    def server(self):
        """The machine's process 1 is the server. Yields the Instance when it takes queries."""
        with instance("--port", f"{self.port}:5432", *self.options,
                      os.path.join(PROGRAMS, "postgres"), "--", "-c", "listen_addresses=*", "-c",
                      "unix_socket_directories=/tmp", stderr=subprocess.DEVNULL) as server:
            self.wait_until_ready(server)
            yield server

    def wait_until_ready(self, server, timeout=120):
        deadline = time.monotonic() + timeout
        while subprocess.run([os.path.join(PROGRAMS, "psql"), "-c", "select 1"],
                             env=self.environment, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, timeout=60).returncode != 0:
            assert server.process.poll() is None, f"ended with status {server.process.returncode}"
            assert time.monotonic() < deadline, "the server does not come up"
            time.sleep(0.2)

    def client(self, name, *arguments, status=0, timeout=400):
        return run([os.path.join(PROGRAMS, name), *arguments], env=self.environment, status=status,
                   timeout=timeout)

    def start_client(self, name, *arguments, **options):
        return subprocess.Popen([os.path.join(PROGRAMS, name), *map(str, arguments)],
                                env=self.environment, **options)

    def ask(self, query):
        return self.client("psql", "-At", "-c", query).strip()

    def sums(self):
        """pgbench's invariant: three times the same number."""
        return self.ask("select sum(abalance) from pgbench_accounts union all"
                        " select sum(tbalance) from pgbench_tellers union all"
                        " select sum(bbalance) from pgbench_branches union all"
                        " select coalesce(sum(delta), 0) from pgbench_history").split()
