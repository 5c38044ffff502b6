#!/usr/bin/env python3
"""Redis, memcached and SQLite."""
import socket
import threading

import harness
from harness import aril, case, example, instance, need, run


@case(timeout=180, everywhere=True)
def redis_keeps_its_data_under_load():
    need("redis-server", "redis-cli", "redis-benchmark")
    port = harness.free_port()
    with instance("--port", f"{port}:6379", example("redis.aril")) as redis:
        redis.wait_for(port, probe=b"PING\r\n")

        def cli(*words):
            return run(["redis-cli", "-p", port, *words]).strip()

        assert cli("SET", "greeting", "hello from aril") == "OK"
        for number in range(20):
            cli("RPUSH", "list", number)
        benchmark = run(["redis-benchmark", "-p", port, "-n", "20000", "-c", "20", "-P", "16", "-q",
                         "-t", "set,get,incr,lpush"], timeout=120)
        assert benchmark.count("requests per second") >= 4, benchmark
        assert cli("GET", "greeting") == "hello from aril"
        assert cli("LRANGE", "list", "0", "-1").split() == [str(n) for n in range(20)]
        assert int(cli("GET", "counter:__rand_int__")) == 20000
        redis.process.terminate()
        assert redis.process.wait(30) == 0


def memcached_client(port, identity, rounds, errors):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        stream = connection.makefile("rwb")
        for number in range(rounds):
            value = f"{identity}-{number}".encode() * (1 + number % 50)
            stream.write(b"set k%d-%d 0 0 %d\r\n%b\r\n" % (identity, number, len(value), value))
            stream.flush()
            if stream.readline() != b"STORED\r\n":
                errors.append("not stored")
            stream.write(b"get k%d-%d\r\n" % (identity, number))
            stream.flush()
            header = stream.readline().split()
            if len(header) != 4:
                errors.append(f"no value: {header}")
                return
            body = stream.read(int(header[3]) + 2)
            if body[:-2] != value or stream.readline() != b"END\r\n":
                errors.append("wrong value")


@case(timeout=120, everywhere=True)
def memcached_serves_concurrent_clients():
    need("memcached")
    port = harness.free_port()
    with instance("--port", f"{port}:11211", example("memcached.aril")) as memcached:
        memcached.wait_for(port, probe=b"version\r\n")
        errors = []
        clients = [threading.Thread(target=memcached_client, args=(port, number, 100, errors))
                   for number in range(16)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert not errors, errors[:5]
        memcached.process.terminate()
        assert memcached.process.wait(30) in (0, 143)


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


@case(timeout=180, everywhere=True)
def sqlite_creates_indexes_and_queries():
    need("sqlite3")
    expected = run(["sqlite3", ":memory:"], text=SQL)
    output = run(aril(example("sqlite.aril")), timeout=170, text=SQL)
    assert output == expected, f"{output}\nnot\n{expected}"


harness.main()
