import base64
import json
import urllib.request

from application import application


@application("etcd-server", "200 puts, ranges, deletes, a lease that ends under a watch, over its JSON gateway")
def check(etcd):
    with etcd.serve(2379, probe=b"GET /health HTTP/1.0\r\n\r\n") as server:
        def call(path, **body):
            for key in ("key", "value", "range_end"):
                if key in body:
                    body[key] = base64.b64encode(body[key].encode()).decode()
            request = urllib.request.Request(f"http://{server.address}:{server.port}/v3/{path}",
                                             json.dumps(body).encode())
            return json.load(urllib.request.urlopen(request, timeout=60))

        for n in range(200):
            call("kv/put", key=f"number/{n:03}", value=f"value {n}")
        found = call("kv/range", key="number/", range_end="number0")
        values = [base64.b64decode(pair["value"]).decode() for pair in found["kvs"]]
        assert values == [f"value {n}" for n in range(200)]
        call("kv/deleterange", key="number/000", range_end="number/100")
        assert call("kv/range", key="number/", range_end="number0")["count"] == "100"
        lease = call("lease/grant", TTL=1)
        call("kv/put", key="leased", value="x", lease=lease["ID"])
        watch = json.dumps({"create_request": {
            "key": base64.b64encode(b"leased").decode(), "start_revision": "0"}}).encode()
        request = urllib.request.Request(f"http://{server.address}:{server.port}/v3/watch", watch)
        with urllib.request.urlopen(request, timeout=60) as stream:
            assert json.loads(stream.readline())["result"]["created"]
            event = json.loads(stream.readline())["result"]["events"][0]
            assert event["type"] == "DELETE", event
        assert "kvs" not in call("kv/range", key="leased")
