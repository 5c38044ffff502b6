import os
import subprocess
import time

from application import application
from harness import run

PROGRAMS = "/usr/lib/postgresql/15/bin"


@application("postgresql-15", "initdb inside, pgbench with 8 clients for 20 s, tables, indexes and "
             "transactions by psql, a clean stop", timeout=900)
def check(postgresql):
    with postgresql.serve(5432, probe=None) as server:
        environment = {**os.environ, "PGHOST": server.address, "PGPORT": str(server.port),
                       "PGUSER": "postgres", "PGDATABASE": "postgres"}

        def client(name, *arguments, timeout=300):
            return run([os.path.join(PROGRAMS, name), *arguments], env=environment, timeout=timeout)

        deadline = time.monotonic() + 300
        while subprocess.run([os.path.join(PROGRAMS, "psql"), "-c", "select 1"], env=environment,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             timeout=60).returncode != 0:
            assert server.process.poll() is None and time.monotonic() < deadline, "not ready"
            time.sleep(0.1)
        server.answered()
        client("psql", "-c", "create table numbers as select n, n * n as square, md5(n::text) as text"
               " from generate_series(1, 20000) n", "-c", "create index on numbers(text)")
        found = client("psql", "-At", "-c", "select n from numbers where text = md5('12345')")
        assert found == "12345\n", found
        client("pgbench", "-q", "-i", "-s", "2")
        output = client("pgbench", "-c", "8", "-T", "20")
        assert "number of failed transactions: 0 " in output, output
        sums = client("psql", "-At", "-c", "select sum(abalance) from pgbench_accounts union all"
                      " select sum(tbalance) from pgbench_tellers union all"
                      " select sum(delta) from pgbench_history").split()
        assert len(sums) == 3 and len(set(sums)) == 1, sums
        server.process.terminate()
        assert server.process.wait(60) == 0
