import os

import harness
from application import application, load, page


@application("erlang-base", "a process for each of 2,000 connections, messages round a ring of 1,000 processes, "
             "linked crashes, 1,000 timers")
def check(erlang):
    os.makedirs(erlang.path("ebin"), exist_ok=True)
    erlang.compile("ebin/work.beam", "erlc", "-o", "ebin", "work.erl")
    with erlang.http() as server:
        assert page(server, "/schedulers") == harness.CPUS
        assert page(server, "/ring") == str(sum(range(201)))
        assert page(server, "/links") == "{100,5050}"
        assert page(server, "/map") == f"20000 {sum(n * n for n in range(20001))}"
        assert page(server, "/timers") == "500500"
        load(server, requests=2000)
