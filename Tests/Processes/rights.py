#!/usr/bin/env python3
"""Who may do what: every RPC and route, each asked for by everybody, as rights.json says. APITests see to it that none is left out.

    rights.py WEFT [--only NAME]
"""
import http.client
import json
import os
import subprocess
import tempfile

import clients

clients.use_python_clients()

import grpc

from etcd_rpc import Connection
from harness import Fabric, b64, give_to_service
from own_fabric import LocalConnection

checks = []
MAY = {
    "anybody": {"nobody", "wrong", "expired", "limited", "reader", "writer", "node", "observer", "operator", "root"},
    # Without a token, too; but a bad token is refused.
    "truthful": {"nobody", "limited", "reader", "writer", "node", "observer", "operator", "root"},
    "caller": {"limited", "reader", "writer", "node", "observer", "operator", "root"},
    "read": {"reader", "root"}, "write": {"writer", "root"}, "readwrite": {"root"},
    "observe": {"node", "observer", "operator", "root"}, "act": {"node", "operator", "root"},
    "operate": {"operator", "root"}, "root": {"root"}, "all keys": {"root"},
}
# Root of the member's machine, by its socket.
for everybody in MAY.values():
    everybody.add("local")
# A certificate of the fabric's own CA names its owner; here there is none. own_ca.py has one.
MAY["certified"] = set()
# And members of a paired fabric are none of these.
MAY["paired"] = set()
MAY["known"] = MAY["anybody"]
MAY["machine"] = {"local"}
LOCAL = object()
REFUSALS = {"nobody": "user name is empty", "wrong": "invalid auth token", "expired": "invalid auth token"}
BROKEN = ["request timed out", "etcdserver: no leader", "stopping", "panic", "Socket closed", "Deadline Exceeded", "too many requests"]
USERS = ["limited", "reader", "writer", "node", "observer", "operator", "root"]


def check(function):
    checks.append(function)
    return function


def message(fields):
    """A protobuf message of texts, numbers and messages by field number."""
    def varint(number):
        out = b""
        while number > 127:
            out, number = out + bytes([number & 127 | 128]), number >> 7
        return out + bytes([number])
    out = b""
    for field, value in fields.items():
        if isinstance(value, int):
            out += varint(int(field) << 3) + varint(value)
        else:
            part = message(value) if isinstance(value, dict) else value.encode()
            out += varint(int(field) << 3 | 2) + varint(len(part)) + part
    return out


class Scene:
    """A fabric of one member where everybody has just the rights of their name."""

    def __init__(self, member, local):
        self.member, self.local = member, local
        self.url = member.client_url.split("://")[1]
        self.tokens = {"nobody": None, "wrong": "AAAAAAAAAAAAAAAA.1", "local": LOCAL}
        self.names = self.wishes()
        for key, prefix in (("m", None), ("lease-key", None)):
            self.ask("PUT", f"/v1/kv/{key}", "v")
        self.names["$lease"] = self.lease()
        self.names["$lock"] = int(self.post("/v3/lease/grant", {"TTL": 600})["ID"])
        for user in USERS:
            self.post("/v3/auth/user/add", {"name": user, "password": "pw"})
        for role, kind in (("read", "READ"), ("write", "WRITE")):
            self.post("/v3/auth/role/add", {"name": role})
            self.post("/v3/auth/role/grant", {"name": role, "perm": {"permType": kind, "key": b64("m")}})
        for user, role in (("reader", "read"), ("writer", "write"), ("root", "root"), ("operator", "weft:operator"),
                           ("observer", "weft:observer"), ("node", "weft:node:e1")):
            self.post("/v3/auth/user/grant", {"user": user, "role": role})
        self.enable()
        # A password that is set again, be it to the same, ends all tokens of its user.
        self.tokens["expired"] = self.log_in("limited")
        self.post("/v3/auth/user/changepw", {"name": "limited", "password": "pw"}, self.tokens["root"])
        self.log_in_all()

    @staticmethod
    def wishes():
        csr = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=n"]
        authority = [*csr, "-x509", "-addext", "basicConstraints=critical,CA:TRUE"]
        token = "weft1." + "a" * 52 + "." + "a" * 8 + "." + "a" * 32
        return {
            "$request": subprocess.run(csr, check=True, capture_output=True, text=True, timeout=30).stdout,
            "$token": token,
            # Nobody answers there.
            "$pairing": token + "@https://127.0.0.1:1",
            "$authority": subprocess.run(authority, check=True, capture_output=True, text=True, timeout=30).stdout,
        }

    # What rows without a right of their own mean by these words. A domain with nodes cannot be removed.
    WILD = {"/domains/{name}": "/domains/spare", "/clusterdomains/inspect/{name}": "/clusterdomains/inspect/spare",
            "activate/{name}": "activate/spare", "/nodes/{name}": "/nodes/e1", "/volumes/{name}": "/volumes/v", "/schedule-policies/{name}": "/schedule-policies/nightly",
            "/pairs/{name}": "/pairs/far", "/applications/{name}": "/applications/shop", "{node}": "e1", "{id}": "7"}

    def at_home(self, path):
        """A path of a row as it is asked for, once all that it is about is there."""
        for wild, name in self.WILD.items():
            path = path.replace(wild, name)
        if "domains" in path or "/nodes/" in path or "/volumes" in path:
            self.furnish("/volumes" in path)
        return path

    def furnish(self, with_volumes):
        """Two nodes, volumes that are attached to them, and a domain that nothing is in."""
        def make(method, path, body=None):
            status, text = self.ask(method, path, body, self.tokens["root"])
            assert status < 300, f"{method} {path}: {status} {text}"
            return json.loads(text)
        for domain in ("spare", "east"):
            make("PUT", f"/v1/fabric/domains/{domain}", {})
        for node in ("e1", "e2"):
            make("PUT", f"/v1/fabric/nodes/{node}", {"domain": "east", "capacityBytes": 1 << 30, "ttlSeconds": 600})
            for verb in ("uncordon", "exit-maintenance"):
                make("POST", f"/v1/fabric/nodes/{node}/{verb}")
        if not with_volumes:
            return
        self.ask("DELETE", "/v1/fabric/volumes/new", None, self.tokens["root"])
        for name, node in (("v", "e1"), ("w", "e2")):
            status, text = self.ask("GET", f"/v1/fabric/volumes/{name}", None, self.tokens["root"])
            volume = json.loads(text) if status == 200 else None
            if volume and (volume["state"] != "Up" or volume["replicas"][0]["node"] != "e1"):
                self.ask("POST", f"/v1/fabric/volumes/{name}/detach", {}, self.tokens["root"])
                make("DELETE", f"/v1/fabric/volumes/{name}")
                volume = None
            if not volume:
                volume = make("POST", "/v1/fabric/volumes", {"name": name, "sizeBytes": 1, "replication": 2})
            if not volume.get("attachment") or volume["attachment"]["node"] != node:
                make("POST", f"/v1/fabric/volumes/{name}/attach", {"node": node, "force": True})
            if name == "v":
                self.names["$generation"] = next(r["generation"] for r in volume["replicas"] if r["node"] == "e1")

    def lease(self, token=None):
        """One whose only key is m."""
        made = int(self.post("/v3/lease/grant", {"TTL": 600}, token)["ID"])
        self.post("/v3/kv/put", {"key": b64("m"), "value": b64("v"), "lease": made}, token)
        return made

    def link(self, token):
        return LocalConnection(self.local, 5) if token is LOCAL else http.client.HTTPConnection(self.url, timeout=5)

    def ask(self, method, path, body=None, token=None):
        link = self.link(token)
        try:
            text = None if body is None else body if isinstance(body, str) else json.dumps(body)
            link.request(method, path, text, {"Authorization": token} if isinstance(token, str) else {})
            answer = link.getresponse()
            streams = answer.getheader("content-length") is None
            return answer.status, (answer.read1(65536) if streams and answer.status == 200 else answer.read()).decode("utf-8", "replace")
        finally:
            link.close()

    def post(self, path, body, token=None):
        status, text = self.ask("POST", path, body, token)
        assert status == 200, f"{path}: {status} {text}"
        return json.loads(text)

    def log_in(self, user):
        return self.post("/v3/auth/authenticate", {"name": user, "password": "pw"})["token"]

    def enable(self):
        self.post("/v3/auth/enable", {})
        self.log_in_all()

    def log_in_all(self):
        for user in USERS:
            self.tokens[user] = self.log_in(user)

    def fill(self, value):
        if isinstance(value, dict):
            return {name: self.fill(each) for name, each in value.items()}
        return self.names.get(value, value) if isinstance(value, str) else value

    def restore(self):
        """After something that took effect: users count, and the lease has its key again."""
        if not self.post("/v3/auth/status", {}).get("enabled"):
            self.enable()
        self.names["$lease"] = self.lease(self.tokens["root"])


def judge(report, scene, what, row, ask, callers=("nobody", "wrong", "expired", *USERS, "local"), may=MAY, refusals=REFUSALS):
    """Asks in everybody's name. It is done for those who may, or fails with a text of the row, which tells that it was begun."""
    right, body, *failures = row
    failures = failures[0] if failures and isinstance(failures[0], list) else failures
    for caller in callers:
        if right not in ("anybody", "known"):
            scene.at_home(what)
        got, said = ask(scene.fill(body) if body else body, scene.tokens[caller])
        refused = next((text for text in {*REFUSALS.values(), *refusals.values(), "permission denied"} if text in said), None)
        expected = None if caller in may[right] else refusals.get(caller, "permission denied")
        # What goes wrong in another way is no proof that somebody may.
        refused = refused or next((text for text in BROKEN if text in said), None)
        report.check(f"{what} by {caller}", refused == expected, f"expected {expected or 'no refusal'}, got {got} {said[:200]}")
        if not expected and right != "anybody":
            is_done = got in (200, 201, "OK") or any(text in said for text in failures)
            report.check(f"{what} by {caller} is done", is_done, f"got {got} {said[:200]}")
        if expected is None and caller != "limited":
            scene.restore()


def rows(name):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "rights.json")) as file:
        return json.load(file)[name]


def answer_of(channel, path, body, metadata=()):
    """The name of an RPC's status, and what it answers first, as text, or why it does not."""
    streams = {"/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive"}
    requests = iter([message(body)])
    make = channel.stream_stream if path in streams else channel.unary_stream
    raw = dict(request_serializer=lambda m: m, response_deserializer=lambda m: m)
    call = make(path, **raw)(requests if path in streams else next(requests), 3, metadata=metadata)
    try:
        return "OK", next(call).decode("utf-8", "replace")
    except StopIteration:
        return "OK", ""
    except grpc.RpcError as error:
        return error.code().name, error.details()
    finally:
        call.cancel()


def in_scene(weft, body):
    with tempfile.TemporaryDirectory() as directory:
        give_to_service(directory)
        local = os.path.join(directory, "client")
        with Fabric(weft, 1, ["--bcrypt-cost", "4", "--client-socket", local]) as fabric:
            fabric.leader()
            body(Scene(fabric.members[0], local))


@check
def every_rpc_asks_for_its_right(report, weft):
    def walk(scene):
        connection, local = Connection(scene.member.client_url), Connection(f"unix:{scene.local}")
        for path, row in rows("grpc").items():
            def ask(body, token, path=path):
                metadata = [("token", token)] if isinstance(token, str) else []
                return answer_of((local if token is LOCAL else connection).channel, path, body, metadata)
            judge(report, scene, path, row, ask)
        connection.close()
        local.close()
    in_scene(weft, walk)


@check
def every_path_of_the_gateway_asks_for_its_right(report, weft):
    def walk(scene):
        for path, row in rows("gateway").items():
            judge(report, scene, path, row, lambda body, token, path=path: ask_over_http(scene, "POST", path, body, token))
    in_scene(weft, walk)


@check
def every_path_of_weft_asks_for_its_right(report, weft):
    def walk(scene):
        for name, row in rows("plain").items():
            method, path = name.split(" ")
            path = scene.at_home(path)
            judge(report, scene, name, row, lambda body, token, path=path, method=method: ask_over_http(scene, method, path, body, token))
    in_scene(weft, walk)


def ask_over_http(scene, method, path, body, token):
    return answer_over_http(lambda: scene.ask(method, path, body, token))


# What a refusal of HEAD means, which has no body.
UNSAID = {400: "user name is empty", 401: "invalid auth token", 403: "permission denied"}


def answer_over_http(ask, unsaid=UNSAID):
    """What `ask()` was answered, as `judge` takes it: (status, text)."""
    try:
        status, text = ask()
    except TimeoutError:
        # A stream that has nothing to say yet.
        return 200, ""
    return status, text or unsaid.get(status, "")


if __name__ == "__main__":
    from wire import main
    main(checks, "rights.py")
