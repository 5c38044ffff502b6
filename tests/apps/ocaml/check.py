from application import application, load, page


@application("ocaml-nox", "a thread for each of 1,000 connections, balanced trees, garbage collection and "
             "compaction, a stack overflow caught", packages=["ocaml-nox"])
def check(ocaml):
    ocaml.compile("server", "ocamlopt", "-I", "+threads", "unix.cmxa",
                  "threads.cmxa", "-o", "server", "server.ml")
    with ocaml.http() as server:
        assert page(server, "/trees") == f"50000 {sum(range(50001))}"
        assert page(server, "/threads") == str(sum(range(8)) * 500500)
        assert page(server, "/garbage") == "true"
        load(server, requests=1000)
