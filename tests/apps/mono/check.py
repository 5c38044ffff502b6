from application import application, load, page


@application("mono-runtime", "a thread for each of 500 connections, tasks, async, parallel loops, garbage "
             "collection, null references by SIGSEGV",
             packages=["mono-runtime", "mono-mcs", "libmono-system-core4.0-cil"])
def check(mono):
    mono.compile("Work.exe", "mcs", "-out:Work.exe", "-r:System.Core", "Work.cs")
    with mono.http() as server:
        assert page(server, "/tasks") == str(sum(500500 * n for n in range(100)))
        assert page(server, "/async") == str(sum(range(200)))
        assert page(server, "/garbage") == "500 True"
        assert page(server, "/nulls") == "100"
        load(server, requests=500)
