import hashlib

from application import application, load, page


@application("ruby3.1", "a thread for each of 1,000 connections, queues, fibers, garbage collection, fork",
             packages=["ruby", "ruby3.1"])
def check(ruby):
    with ruby.http() as server:
        assert page(server, "/threads") == str(sum(range(1600)))
        assert page(server, "/garbage") == "1000 true"
        assert page(server, "/fibers") == "500500"
        assert page(server, "/json") == "500500 " + hashlib.sha256(b"aril").hexdigest()
        assert page(server, "/processes") == "from the child 3 HELLO false"
        load(server, requests=1000)
