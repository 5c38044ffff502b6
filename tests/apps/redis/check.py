import harness
from application import application
from harness import need, run


@application("redis-server", "redis-benchmark with pipelines; lists and counters keep their values",
             packages=["redis-server", "redis-tools"], tier="essential", timeout=180,
             manifest=harness.example("redis.aril"))
def check(program):
    need("redis-cli", "redis-benchmark")
    with program.serve(6379, probe=b"PING\r\n") as redis:
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
        redis.process.terminate()
        assert redis.process.wait(30) == 0
