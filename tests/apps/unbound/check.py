import time

import harness
from application import application
from harness import run


@application("unbound", "dig over UDP and TCP: addresses, mail exchanger, text, a name that is not there; "
             "300 queries", packages=["unbound", "bind9-dnsutils"], timeout=120)
def check(unbound):
    harness.need("dig")
    with unbound.serve("53/udp", 53, probe=None) as server:
        def dig(*words, port=server.ports[0]):
            return run(["dig", f"@{server.address}", "-p", port, "+time=5", "+tries=3", *words])

        deadline = time.monotonic() + 60
        while "status: NOERROR" not in run(["sh", "-c", f"dig @{server.address} -p {server.port} "
                                            "+time=1 +tries=1 www.aril.test || true"]):
            assert time.monotonic() < deadline, "unbound does not answer"
            time.sleep(0.05)
        server.answered()
        assert dig("+short", "www.aril.test", "A") == "192.0.2.80\n"
        assert dig("+short", "www.aril.test", "AAAA") == "2001:db8::80\n"
        assert dig("+short", "aril.test", "MX") == "10 mail.aril.test.\n"
        assert dig("+short", "text.aril.test", "TXT") == '"the coat of a seed"\n'
        assert "status: NXDOMAIN" in dig("no.aril.test")
        over_tcp = dig("+tcp", "+short", "www.aril.test", port=server.ports[1])
        assert over_tcp == "192.0.2.80\n"
        unbound.write("queries", "www.aril.test A\n" * 300)
        answers = dig("+short", "-f", unbound.path("queries"))
        assert answers == "192.0.2.80\n" * 300, answers[-300:]
        server.process.terminate()
        assert server.process.wait(30) == 0
