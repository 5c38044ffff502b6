import harness
from application import application, load, page


@application("caddy", "2,000 requests for a file and 500 through a reverse proxy; gzip, refusals")
def check(caddy):
    with caddy.http() as server:
        with open(caddy.path("index.html"), encoding="utf-8") as file:
            assert page(server) == file.read()
        url = f"http://{server.address}:{server.port}"
        assert harness.run(["curl", "-s", f"{url}/proxy/there"]) == "behind /there"
        assert "403" in harness.run(["curl", "-sI", f"{url}/secret"])
        load(server, requests=2000)
        load(server, "/proxy/x", requests=500)
