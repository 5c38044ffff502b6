import harness
from application import application, load, page


@application("golang-1.19-go", "net/http under 1,500 requests, 200 goroutines in a chain and 200 beside "
             "each other, garbage collection, preemption by signal, nil pointers, os/exec",
             packages=["golang-go", "golang-1.19-go"])
def check(go):
    go.compile("server", "env", "CGO_ENABLED=0", f"HOME={go.folder}", "go", "build", "-o", "server",
               "server.go", timeout=600)
    with go.http() as server:
        assert page(server, "/cpus") == harness.CPUS
        assert page(server, "/primes") == "1223"
        assert page(server, "/parallel").isdigit()
        assert page(server, "/garbage") == "true 20000"
        assert page(server, "/preempted") == "preempted"
        assert "nil pointer" in page(server, "/nil")
        assert page(server, "/processes") == "THROUGH TR <nil> exit status 3"
        load(server, requests=1500, clients=50)
