"""What Python's client does with a password, by TLS: auth_python.py PORT CA. Prints "all well"."""
import sys

import clients

clients.use_python_clients(PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")

import etcd3
import grpc

port, ca = int(sys.argv[1]), sys.argv[2]


def client(**login):
    return etcd3.client(host="localhost", port=port, ca_cert=ca, timeout=10, **login)


alice = client(user="alice", password="pw")
alice.put("k/1", "x")
assert alice.get("k/1")[0] == b"x"
assert [value for value, _ in alice.get_prefix("k/")] == [b"x"]
events, cancel = alice.watch("k/2")
alice.put("k/2", "y")
assert next(events).value == b"y"
cancel()
done, _ = alice.transaction(compare=[alice.transactions.version("k/1") > 0], success=[alice.transactions.put("k/1", "z")], failure=[])
assert done and alice.get("k/1")[0] == b"z"
with alice.lock("k/lock", ttl=10):
    pass
for refused in (lambda: alice.put("other", "x"), lambda: client().get("k/1")):
    try:
        refused()
    except (grpc.RpcError, etcd3.exceptions.Etcd3Exception):
        continue
    raise AssertionError("it was not refused")
try:
    client(user="alice", password="wrong")
except (grpc.RpcError, etcd3.exceptions.Etcd3Exception):
    print("all well")
