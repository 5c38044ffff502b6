import time

import harness
from application import application
from harness import run


@application("bind9", "dig over UDP and TCP, 200 queries, a zone transfer", packages=["bind9", "bind9-dnsutils"])
def check(bind):
    harness.need("dig")
    with bind.serve("53/udp", 53, probe=None) as server:
        def dig(*words, port=server.ports[0]):
            return run(["dig", f"@{server.address}", "-p", port, "+time=5", "+tries=3", *words])

        deadline = time.monotonic() + 60
        while "NOERROR" not in run(["sh", "-c", f"dig @{server.address} -p {server.port} "
                                    "+time=1 +tries=1 www.aril.test || true"]):
            assert time.monotonic() < deadline, "named does not answer"
            time.sleep(0.05)
        server.answered()
        assert dig("+short", "www.aril.test", "AAAA") == "2001:db8::80\n"
        assert dig("+short", "aril.test", "MX") == "10 mail.aril.test.\n"
        assert "status: NXDOMAIN" in dig("no.aril.test")
        assert "status: REFUSED" in dig("example.org")
        bind.write("queries", "".join(f"host{n}.aril.test A\n" for n in range(1, 201)))
        answers = dig("+short", "-f", bind.path("queries"))
        assert answers.split() == [f"192.0.2.{n}" for n in range(1, 201)], answers
        assert dig("+tcp", "+short", "www.aril.test", port=server.ports[1]) == "192.0.2.80\n"
        transfer = dig("+tcp", "aril.test", "AXFR", port=server.ports[1])
        assert transfer.count("192.0.2.") == 202, transfer
        server.process.terminate()
        assert server.process.wait(30) == 0
