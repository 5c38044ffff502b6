import hashlib

from application import application, load, page


@application("php8.2-cli", "built-in server under 1,000 requests, arrays, temporary files, regular "
             "expressions, generators, proc_open", packages=["php-cli", "php8.2-cli"])
def check(php):
    with php.http() as server:
        numbers = sorted(n * 7919 % 50021 for n in range(50000))
        digest = hashlib.md5(",".join(map(str, numbers)).encode()).hexdigest()
        assert page(server, "/sorted") == f"50000 {numbers[100]} {digest}"
        assert page(server, "/files") == "1000"
        assert page(server, "/words") == '{"sum":12502500}'
        assert page(server, "/generated") == str(sum(n * n for n in range(1, 1001)))
        assert page(server, "/processes") == "THROUGH TR 0 2 5"
        load(server, requests=1000, clients=8)
