from application import application, load, page


@application("nodejs", "http under 1,000 requests, 4 worker threads, child processes, files and gzip, garbage "
             "collection, WebAssembly", tier="essential")
def check(node):
    with node.http() as server:
        assert page(server, "/workers") == "2262,4203,6057,7837"
        assert page(server, "/children") == "THROUGH TR 0 null 3 10"
        assert page(server, "/files") == "true"
        assert page(server, "/garbage") == "object 399999"
        assert page(server, "/webassembly") == "42"
        load(server, requests=1000, clients=50)
        server.process.terminate()
        assert server.process.wait(30) == 0
