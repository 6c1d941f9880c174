#!/usr/bin/env python3
"""Who may do what by a certificate of the fabric's own CA, while users do not count: every RPC and route, each asked for with every role, as
rights.json says.

    rights_own.py WEFT [--only NAME]
"""
import http.client
import os

import clients

clients.use_python_clients()

import grpc

from own_fabric import LocalConnection, OwnFabric, context
from rights import answer_of, answer_over_http, judge, rows, Scene

checks = []
ROLES = {"client": "weft:client", "observer": "weft:observer", "operator": "weft:operator", "node": "weft:node:e1", "root": "root"}
CALLERS = ["stranger", "revoked", *ROLES, "local"]
KEYS, EVERYBODY, LISTED = {"client", "root", "local"}, set(CALLERS), {*ROLES, "local"}
MAY = {
    "anybody": EVERYBODY, "truthful": EVERYBODY, "known": LISTED, "caller": LISTED, "read": KEYS, "write": KEYS, "readwrite": KEYS, "all keys": KEYS,
    "observe": LISTED, "act": {"node", "operator", "root", "local"}, "operate": {"operator", "root", "local"}, "root": {"root", "local"},
    # It is too early to renew, which is no refusal.
    "certified": set(ROLES), "machine": {"local"}, "paired": set(),
}
NOBODY = "answers known callers only"
REFUSALS = {"stranger": NOBODY, "revoked": NOBODY}


def check(function):
    checks.append(function)
    return function


class OwnScene(Scene):
    """A fabric of one member, and a certificate for each role; their names are their tokens."""

    def __init__(self, fabric):
        self.fabric, self.member = fabric, fabric.members[0]
        self.tokens = {caller: caller for caller in CALLERS}
        self.directories = {name: fabric.client(name, role) for name, role in {**ROLES, "revoked": "root"}.items()}
        listed = self.member.local("GET", "/v1/ca/certificates")[1]["clients"]
        assert self.member.local("DELETE", "/v1/ca/certificates/" + next(c["id"] for c in listed if c["name"] == "revoked"))[0] == 200
        self.names = self.wishes()
        for key in ("m", "lease-key"):
            self.ask("PUT", f"/v1/kv/{key}", "v", "local")
        self.names["$lease"] = self.lease("local")
        self.names["$lock"] = int(self.post("/v3/lease/grant", {"TTL": 600}, "local")["ID"])

    def link(self, caller):
        if caller == "local":
            return LocalConnection(self.member.socket, 5)
        directory = self.directories.get(caller, self.directories["client"])
        return http.client.HTTPSConnection("127.0.0.1", self.member.client_port, timeout=5, context=context(directory, caller in self.directories))

    def channel(self, caller):
        if caller == "local":
            return grpc.insecure_channel(f"unix:{self.member.socket}")
        directory = self.directories.get(caller, self.directories["client"])
        ca, certificate, key = (open(os.path.join(directory, name), "rb").read() for name in ("ca.pem", "client.pem", "client.key"))
        own = (key, certificate) if caller in self.directories else (None, None)
        return grpc.secure_channel(f"127.0.0.1:{self.member.client_port}", grpc.ssl_channel_credentials(ca, *own))

    def restore(self):
        """After something that took effect: users do not count, and the lease has its key again."""
        if self.post("/v3/auth/status", {}, "local").get("enabled"):
            self.post("/v3/auth/disable", {}, "local")
        self.names["$lease"] = self.lease("local")


def walk(report, weft, name, ask):
    with OwnFabric(weft, ["--bcrypt-cost", "4"]) as fabric:
        scene = OwnScene(fabric)
        for path, row in rows(name).items():
            judge(report, scene, path, row, lambda body, caller, path=path: ask(scene, path, body, caller), CALLERS, MAY, REFUSALS)


@check
def every_rpc_asks_for_its_right(report, weft):
    channels = {}

    def ask_over_grpc(scene, path, body, caller):
        channel = channels[caller] = channels.get(caller) or scene.channel(caller)
        return answer_of(channel, path, body)
    walk(report, weft, "grpc", ask_over_grpc)
    for channel in channels.values():
        channel.close()


def over_http(scene, method, path, body, caller):
    return answer_over_http(lambda: scene.ask(method, path, body, caller), {401: NOBODY, 403: "permission denied"})


@check
def every_path_of_the_gateway_asks_for_its_right(report, weft):
    walk(report, weft, "gateway", lambda scene, path, body, caller: over_http(scene, "POST", path, body, caller))


@check
def every_path_of_weft_asks_for_its_right(report, weft):
    def ask_for(scene, name, body, caller):
        method, path = name.split(" ")
        return over_http(scene, method, scene.at_home(path), body, caller)
    walk(report, weft, "plain", ask_for)


if __name__ == "__main__":
    from wire import main
    main(checks, "rights_own.py")
