import hashlib

from application import application, load, page


@application("perl", "select server under 1,000 requests, 4 interpreter threads, regular expressions, files, "
             "alarm, fork and backticks", packages=["perl"])
def check(perl):
    with perl.http() as server:
        assert page(server, "/threads") == ",".join(str(12502500 * n) for n in range(1, 5))
        text = " ".join(f"word{n * 7 % 100}" for n in range(1, 20001))
        assert page(server, "/text") == f"100 200 {hashlib.sha256(text.encode()).hexdigest()}"
        assert page(server, "/files") == str(sum(10 * n for n in range(1, 51)))
        assert page(server, "/alarm") == "alarm"
        assert page(server, "/processes") == "from the child 3 4 4"
        load(server, requests=1000)
