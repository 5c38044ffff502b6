from application import application, load, page


@application("rustc", "a thread for each of 2,000 connections, channels, a shared map, files, a panic caught")
def check(rust):
    rust.compile("server", "rustc", "-O", "--edition", "2021", "-o", "server", "server.rs", timeout=600)
    with rust.http() as server:
        assert page(server, "/threads") == str(sum(range(8000)))
        assert page(server, "/map") == "100 16000"
        assert page(server, "/files") == str(sum(n * 100 for n in range(50)))
        assert page(server, "/panic") == "42"
        load(server, requests=2000)
