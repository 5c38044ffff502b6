"""Databases on storage that lasts: PostgreSQL's processes on a disk and on a volume."""
import glob
import os
import random
import signal
import subprocess
import time

from disk_images import (KILLS, check_disk, make_disk, mounted_on_linux, qemu_of,
                         replay_with_e2fsck)
from harness import case, figure, need, scratch
from postgres_server import PROGRAMS, Postgres

SCALE = figure("ARIL_TEST_PGBENCH_SCALE", 1, 5)
SECONDS = figure("ARIL_TEST_PGBENCH_SECONDS", 6, 30)


def works_through_everything(postgres):
    """initdb, load, crash of a backend, clean stop, and everything is there after another start."""
    postgres.initialize()
    with postgres.server() as server:
        postgres.client("pg_isready")
        postgres.client("pgbench", "-q", "-i", "-s", SCALE)
        output = postgres.client("pgbench", "-c", "8", "-T", SECONDS)
        assert "number of failed transactions: 0 " in output, output
        print(output)
        count = postgres.ask("select count(*) from pgbench_history")
        assert int(count) > SECONDS, count
        # One backend sleeps; another has it killed.
        with postgres.start_client("psql", "-c", "select pg_sleep(100)", stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL) as sleeper:
            victim = ""
            while not victim:
                assert sleeper.poll() is None, "the victim ended by itself"
                victim = postgres.ask("select pid from pg_stat_activity"
                                      " where query like 'select pg_sleep%'")
            with postgres.start_client("psql", "-c", "copy (select 1) to program "
                                       f"'kill -KILL {victim}'", stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL) as killer:
                assert sleeper.wait(60) != 0
                killer.wait(60)
        postgres.wait_until_ready(server)
        assert postgres.ask("select count(*) from pgbench_history") == count
        assert server.stop(signal.SIGTERM, timeout=60) == 0
    with postgres.server() as server:
        assert postgres.ask("select count(*) from pgbench_history") == count
        sums = postgres.sums()
        assert len(sums) == 4 and len(set(sums)) == 1, sums
        output = postgres.client("pgbench", "-c", "8", "-t", "5")
        assert "number of failed transactions: 0 " in output, output
        assert server.stop(signal.SIGTERM, timeout=60) == 0


@case(timeout=900, packages=["postgresql-15"])
def postgresql_on_a_disk():
    with scratch() as directory:
        disk = make_disk(os.path.join(directory, "data.img"), "1G")
        works_through_everything(Postgres("--disk", f"{disk}:/data"))
        check_disk(disk)


@case(timeout=900, packages=["postgresql-15"])
def postgresql_on_a_volume():
    with scratch() as directory:
        shared = os.path.join(directory, "shared")
        os.mkdir(shared)
        works_through_everything(Postgres("--volume", f"{shared}:/data"))
        assert os.path.exists(os.path.join(shared, "pg", "PG_VERSION"))


def count_on_linux(disk, directory):
    """What Linux's own PostgreSQL finds when Linux mounts a copy of the disk; None where it may
    not."""
    with mounted_on_linux(disk, directory) as place:
        if place is None:
            return None
        result = subprocess.run(
            [os.path.join(PROGRAMS, "postgres"), "--single", "-D", place + "/pg", "postgres"],
            input=b"select 'count=' || count(*) from pgbench_history;\n", user="postgres",
            group="postgres", extra_groups=[], cwd="/", stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=120)
        output = result.stdout.decode()
        assert result.returncode == 0 and "count=" in output, output + result.stderr.decode()
        return int(output.split("count=")[1].split('"')[0])


@case(timeout=1800, packages=["postgresql-15"])
def postgresql_keeps_what_it_committed():
    """The machine is killed in the middle of pgbench: every commit that a client has seen is there."""
    need("e2fsck")
    clients = 8
    with scratch() as directory:
        os.chmod(directory, 0o755)
        disk = make_disk(os.path.join(directory, "data.img"), "1G")
        postgres = Postgres("--disk", f"{disk}:/data")
        postgres.initialize()
        with postgres.server() as server:
            postgres.client("pgbench", "-q", "-i", "-s", "1")
            assert server.stop(signal.SIGTERM, timeout=60) == 0
        expected, promised = range(1), 0
        for turn in range(1, KILLS + 1):
            with postgres.server() as server:
                found = int(postgres.ask("select count(*) from pgbench_history"))
                assert found in expected, f"kill {turn - 1}: {found} of {expected} transactions"
                sums = postgres.sums()
                assert len(set(sums)) == 1, sums
                # One line for each transaction that a client has seen committed.
                with postgres.start_client(
                        "pgbench", "-n", "-c", clients, "-T", "60", "-l", "--log-prefix",
                        f"{directory}/log{turn}", stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL) as load:
                    try:
                        time.sleep(random.uniform(1, figure("ARIL_TEST_KILL_AFTER", 4, 8)))
                        os.kill(qemu_of(server.process), signal.SIGKILL)
                        server.process.wait(60)
                        load.wait(60)
                    finally:
                        load.kill()
            acknowledged = 0
            for log in glob.glob(f"{directory}/log{turn}*"):
                with open(log, encoding="ascii") as lines:
                    acknowledged += sum(1 for _ in lines)
            promised += acknowledged
            # The last commit of each client may be there unseen.
            expected = range(found + acknowledged, found + acknowledged + clients + 1)
            replay_with_e2fsck(disk, directory)
            if turn == KILLS or turn % 5 == 0:
                count = count_on_linux(disk, directory)
                assert count is None or count in expected, f"on Linux {count}, not {expected}"
        with postgres.server() as server:
            found = int(postgres.ask("select count(*) from pgbench_history"))
            assert found in expected, f"{found} of {expected} transactions"
            assert server.stop(signal.SIGTERM, timeout=60) == 0
        check_disk(disk)
        assert count_on_linux(disk, directory) in (found, None)
        print(f"{promised} commits promised over {KILLS} kills, {found} there")
