import time

import harness
from application import application
from harness import need, run


# In memory like the example, but with persistence at hand.
ARGUMENTS = ["--save", "", "--protected-mode", "no", "--bind", "0.0.0.0", "--dir", "/tmp",
             "--enable-debug-command", "yes"]


def await_info(cli, *expected):
    """Until INFO has these lines."""
    deadline = time.monotonic() + 60
    while True:
        info = cli("INFO", "persistence")
        if all(line in info.split() for line in expected):
            return
        assert time.monotonic() < deadline, info
        time.sleep(0.1)


@application("redis-server", "redis-benchmark with pipelines; BGSAVE, AOF rewrite and its reload",
             packages=["redis-server", "redis-tools"], tier="essential", timeout=180,
             manifest=harness.example("redis.aril"))
def check(program):
    need("redis-cli", "redis-benchmark")
    with program.serve(6379, probe=b"PING\r\n", arguments=ARGUMENTS) as redis:
        to_redis = ["-h", redis.address, "-p", redis.port]

        def cli(*words):
            return run(["redis-cli", *to_redis, *words]).strip()

        assert cli("SET", "greeting", "hello from aril") == "OK"
        for number in range(20):
            cli("RPUSH", "list", number)
        benchmark = run(["redis-benchmark", *to_redis, "-n", "20000", "-c", "20", "-P", "16", "-q",
                         "-t", "set,get,incr,lpush"], timeout=120)
        assert benchmark.count("requests per second") >= 4, benchmark
        assert cli("GET", "greeting") == "hello from aril"
        assert cli("LRANGE", "list", "0", "-1").split() == [str(n) for n in range(20)]
        assert int(cli("GET", "counter:__rand_int__")) == 20000
        saved = cli("LASTSAVE")
        time.sleep(1.1)
        assert "started" in cli("BGSAVE")
        await_info(cli, "rdb_bgsave_in_progress:0", "rdb_last_bgsave_status:ok")
        assert cli("LASTSAVE") != saved
        assert cli("CONFIG", "SET", "appendonly", "yes") == "OK"
        await_info(cli, "aof_rewrite_in_progress:0", "aof_last_bgrewrite_status:ok")
        for number in range(100):
            cli("SET", f"key{number}", "x" * number)
        assert "started" in cli("BGREWRITEAOF")
        await_info(cli, "aof_rewrite_in_progress:0", "aof_last_bgrewrite_status:ok")
        digest = cli("DEBUG", "DIGEST")
        cli("DEBUG", "LOADAOF")
        assert cli("DEBUG", "DIGEST") == digest
        assert cli("DBSIZE") == "105"
        redis.process.terminate()
        assert redis.process.wait(30) == 0
