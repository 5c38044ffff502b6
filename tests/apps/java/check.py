from application import application, load, page


@application("openjdk-17-jre-headless", "http server under 800 requests that make garbage, 8 threads, "
             "600 MB of garbage in a heap of 128, null pointers by SIGSEGV, "
             "processes",
             packages=["openjdk-17-jdk-headless"], timeout=600)
def check(java):
    java.compile("classes/Work.class", "javac", "-d", "classes", "Work.java")
    with java.http() as server:
        assert page(server, "/threads") == "400000 400000"
        assert page(server, "/garbage") == "2000 10000"
        assert page(server, "/nulls") == "200"
        assert page(server, "/processes") == "THROUGH TR 0 3"
        load(server, "/load", requests=800)
        server.process.terminate()
        assert server.process.wait(30) == 143
