from application import application, load, page


@application("apache2-bin", "event workers in 2 processes under 1,000 requests, a CGI script in sh",
             packages=["apache2-bin"])
def check(apache):
    with apache.http() as server:
        with open(apache.path("index.html"), encoding="utf-8") as file:
            text = file.read()
        assert page(server) == text
        assert page(server, "/cgi/hello?works") == "query WORKS\n"
        load(server, requests=1000)
        server.process.terminate()
        assert server.process.wait(30) in (0, 143)
