import random
import subprocess
import time

import harness
from application import application
from disk_images import check_disk, make_disk
from harness import ONCE, PROCESS, aril, case

SQL = """
create table numbers(id integer primary key, square integer, name text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
  insert into numbers select i, i * i, printf('row %06d', i) from n;
create index by_name on numbers(name);
create index by_square on numbers(square);
select count(*), sum(square), min(name), max(name) from numbers;
select id from numbers where name = 'row 054321';
select count(*) from numbers where square between 1000000 and 4000000;
delete from numbers where id % 2 = 0;
select count(*) from numbers;
pragma integrity_check;
"""


def transactions(count):
    """Mixed transactions on a file with a write-ahead log; every third is rolled back."""
    yield "pragma journal_mode = wal; create table accounts(id integer primary key, balance integer);"
    yield "insert into accounts select value, 1000 from generate_series(0, 99);"
    yield "create table journal(n integer primary key, source, target, amount);"
    for n in range(count):
        source, target, amount = n % 100, n * 37 % 100, n % 50
        yield f"""begin;
update accounts set balance = balance - {amount} where id = {source};
update accounts set balance = balance + {amount} where id = {target};
insert into journal values({n}, {source}, {target}, {amount});
{'rollback' if n % 3 == 0 else 'commit'};"""
        if n % 50 == 0:
            yield f"delete from journal where n < {n - 100}; pragma wal_checkpoint;"
    yield "select sum(balance), min(balance), max(balance) from accounts;"
    yield "select count(*), sum(amount) from journal; pragma integrity_check;"


@application("sqlite3", "100,000 rows with two indexes, 1,000 mixed transactions on a file with a write-ahead "
             "log; its output is Linux's", tier="essential", manifest=harness.example("sqlite.aril"))
def check(sqlite):
    sqlite.same_as_linux("sqlite3", ":memory:", text=SQL)
    with harness.scratch() as directory:
        sqlite.same_as_linux("sqlite3", f"{directory}/database",
                             text="\n".join(transactions(1000)))


@case(timeout=600, configurations=[*ONCE, PROCESS])
def sqlite_transacts_on_a_disk():
    """Transfers between accounts on a file, in random order; the shell is asked for the sum between
    them and must always find the same."""
    with harness.scratch() as directory:
        disk = make_disk(f"{directory}/data.img")
        with subprocess.Popen(aril("--disk", f"{disk}:/data", harness.example("sqlite.aril")),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
            rounds = transfer(shell, harness.figure("ARIL_TEST_SQLITE_SECONDS", 15, 300))
        check_disk(disk)
        print(f"{rounds * 20} transactions")


def transfer(shell, seconds):
    def ask(text):
        shell.stdin.write(text + "\nselect sum(balance) from accounts;\n")
        shell.stdin.flush()
        return shell.stdout.readline()

    shell.stdin.write(".open /data/accounts\npragma synchronous = full;\n")
    ask("create table accounts(id integer primary key, balance integer, note text);"
        "insert into accounts select value, 1000, '' from generate_series(0, 999);")
    randomly = random.Random(1)
    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        statements = []
        for _ in range(20):
            source, target, amount = (randomly.randrange(1000) for _ in range(3))
            note = "x" * randomly.randrange(500)
            statements.append(
                f"begin; update accounts set balance = balance - {amount} where id = {source};"
                f"update accounts set balance = balance + {amount}, note = '{note}'"
                f" where id = {target}; {randomly.choice(['commit', 'commit', 'rollback'])};")
        assert ask("\n".join(statements)) == "1000000\n", f"round {rounds}"
        rounds += 1
        if rounds % 100 == 0:
            assert ask("vacuum; reindex;") == "1000000\n"
    shell.stdin.write("pragma integrity_check;\n")
    shell.stdin.close()
    assert shell.stdout.read() == "ok\n"
    assert shell.wait(30) == 0 and rounds > 5, rounds
    return rounds
