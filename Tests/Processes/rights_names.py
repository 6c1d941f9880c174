#!/usr/bin/env python3
"""Who may do what while users count, by a certificate: by its common name where the operator has a CA, and by its role where the fabric has one of its
own. Every RPC and route is asked for by everybody, as rights.json says.

    rights_names.py WEFT [--only NAME]
"""
import http.client
import json
import os

import clients

clients.use_python_clients()

import grpc

from own_fabric import OwnFabric
from rights import MAY, REFUSALS, USERS, Scene, answer_of, answer_over_http, ask_over_http, judge, rows
from rights_own import ROLES, OwnScene
from tls import Authority, Secure

checks = []


def check(function):
    checks.append(function)
    return function


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def may(*others):
    """Whom rights.py lets do what, and besides those who may do as much as somebody there."""
    found = {right: set(everybody) for right, everybody in MAY.items()}
    for callers, like in others:
        for everybody in found.values():
            if like in everybody:
                everybody.update(callers)
    return found


# --- By the common name of a certificate of the operator's CA


# A name that is no user's, and none. Whoever has a name may what everybody may who has logged in, as in etcd.
NAMED = [*USERS, "unknown", "nameless"]
MAY_BY_NAME = {**may((["unknown"], "limited"), (["nameless"], "nobody")), "password": set()}


class NamedScene(Scene):
    """It is prepared by tokens at the plain port. In the matrix a caller shows a certificate alone, at the secure one."""

    def __init__(self, secure, authority, local):
        self.secure, self.authority = secure, authority
        super().__init__(secure.member, local)
        self.tokens.update({"unknown": "unknown", "nameless": "nameless"})

    def caller(self, token):
        return next(name for name, each in self.tokens.items() if each == token)

    def ask_as(self, caller, method, path, body, headers=()):
        link = http.client.HTTPSConnection("127.0.0.1", self.secure.port, timeout=5, context=self.authority.context(caller))
        return self.answer(link, method, path, body, headers)

    @staticmethod
    def answer(link, method, path, body, headers=()):
        try:
            link.request(method, path, None if body is None else body if isinstance(body, str) else json.dumps(body), dict(headers))
            answer = link.getresponse()
            streams = answer.getheader("content-length") is None
            return answer.status, (answer.read1(65536) if streams and answer.status == 200 else answer.read()).decode("utf-8", "replace")
        finally:
            link.close()


def by_names(weft, body):
    """Runs it in a scene where everybody has a certificate of their name."""
    with Authority() as authority:
        for name in ("server", *NAMED):
            authority.leaf(name)
        authority.openssl("req", "-new", "-key", "nameless.key", "-subj", "/O=nobody", "-out", "nameless.csr")
        authority.openssl("x509", "-req", "-in", "nameless.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "nameless.pem", "-days", "20")
        local = authority.path("client")
        with Secure(weft, authority, "--bcrypt-cost", "4", "--trusted-ca-file", authority.path("ca.pem"), "--client-cert-auth", "true",
                    "--client-socket", local) as secure:
            body(NamedScene(secure, authority, local))


def of_password(what, row):
    """It is by a password, or its token, that one logs in: no certificate does."""
    return ["password", *row[1:]] if what == "POST /v1/ca/login" else row


def judge_names(report, scene, what, row, ask):
    judge(report, scene, what, of_password(what, row), lambda body, token: ask(scene.caller(token), body), NAMED, MAY_BY_NAME, {"nameless": REFUSALS["nobody"]})


def over_http(scene, caller, method, path, body, headers=()):
    return answer_over_http(lambda: scene.ask_as(caller, method, path, body, headers))


@check
def every_rpc_knows_users_by_their_certificates(report, weft):
    def walk(scene):
        channels = {}
        for name in NAMED:
            credentials = grpc.ssl_channel_credentials(*(read(scene.authority.path(file)) for file in ("ca.pem", f"{name}.key", f"{name}.pem")))
            channels[name] = grpc.secure_channel(f"127.0.0.1:{scene.secure.port}", credentials)
        for path, row in rows("grpc").items():
            judge_names(report, scene, path, row, lambda caller, body, path=path: answer_of(channels[caller], path, body))
        for channel in channels.values():
            channel.close()
    by_names(weft, walk)


@check
def every_path_of_weft_knows_users_by_their_certificates(report, weft):
    def walk(scene):
        for name, row in rows("plain").items():
            method, path = name.split(" ")
            path = scene.at_home(path)
            judge_names(report, scene, name, row, lambda caller, body, method=method, path=path: over_http(scene, caller, method, path, body))
    by_names(weft, walk)


@check
def the_gateway_takes_nobody_by_a_certificate_as_in_etcd(report, weft):
    """Not with a token besides, either; the weft command, which asks there in its caller's name, is known by it. One without a name is nobody's."""
    def walk(scene):
        before = scene.post("/v3/auth/status", {})
        for path, (_, body, *_) in rows("gateway").items():
            for caller in NAMED[:-1]:
                for what, headers in (("", {}), (" with a token", {"Authorization": scene.tokens["root"]})):
                    status, said = scene.ask_as(caller, "POST", path, scene.fill(body), headers)
                    report.check(f"{path} by {caller}{what}", status == 400 and said.startswith("CommonName of client"), f"{status} {said[:200]}")
        report.check("nothing was changed", scene.post("/v3/auth/status", {})["authRevision"] == before["authRevision"])
        command = {"weft-client": "test"}
        for path, row in rows("gateway").items():
            judge_names(report, scene, path, row, lambda caller, body, path=path: over_http(scene, caller, "POST", path, body, command))
    by_names(weft, walk)


# --- By certificates of the fabric's own CA


TOKENS = ["wrong", "expired", *(f"user {name}" for name in USERS)]
# Somebody without anything, and with a certificate that was taken back; each role; a user by a certificate from logging in; one by a token who shows
# root's certificate besides.
COUNTED = ["stranger", "revoked", *ROLES, "logged in", "both", *TOKENS, "local"]
# Keys are the users' now.
MAY_COUNTED = may((["stranger", "revoked"], "nobody"), *(([f"user {name}"], name) for name in USERS), (["logged in", "both"], "reader"),
                  (["client"], "limited"))
for _right, _everybody in MAY_COUNTED.items():
    # These are names of users there, and of certificates here.
    _everybody.difference_update({"nobody", "limited", "reader", "writer"})
MAY_COUNTED["observe"].add("client")
# That the fabric has a CA makes the difference.
MAY_COUNTED["known"] = MAY_COUNTED["caller"]
MAY_COUNTED["password"] = {"both", "local", *(f"user {name}" for name in USERS)}
# It is good for as long as before whoever asks: it proves itself.
MAY_COUNTED["certified"] = {*ROLES, "both"}
REFUSED_COUNTED = {"stranger": REFUSALS["nobody"], "revoked": REFUSALS["nobody"], "wrong": REFUSALS["wrong"], "expired": REFUSALS["expired"]}


class CountedScene(OwnScene):
    """A fabric with its own CA in which users count. Callers are named; the names of users begin with "user"."""

    def __init__(self, fabric):
        super().__init__(fabric)
        self.secrets = {"wrong": "AAAAAAAAAAAAAAAA.1"}
        self.tokens = {caller: caller for caller in COUNTED}
        for name in USERS:
            self.post("/v3/auth/user/add", {"name": name, "password": "pw"}, "local")
        for role, kind in (("read", "READ"), ("write", "WRITE")):
            self.post("/v3/auth/role/add", {"name": role}, "local")
            self.post("/v3/auth/role/grant", {"name": role, "perm": {"permType": kind, "key": "bQ=="}}, "local")
        for user, role in (("reader", "read"), ("writer", "write"), ("root", "root"), ("operator", "weft:operator"), ("observer", "weft:observer"),
                           ("node", "weft:node:e1")):
            self.post("/v3/auth/user/grant", {"user": user, "role": role}, "local")
        self.enable()
        self.secrets["expired"] = self.log_in("limited")
        self.post("/v3/auth/user/changepw", {"name": "limited", "password": "pw"}, "local")
        self.log_in_all()

    def enable(self):
        self.post("/v3/auth/enable", {}, "local")
        self.log_in_all()

    def log_in(self, user):
        return self.post("/v3/auth/authenticate", {"name": user, "password": "pw"}, "stranger")["token"]

    def log_in_all(self):
        for user in USERS:
            self.secrets[f"user {user}"] = self.log_in(user)
        self.secrets["both"] = self.secrets["user reader"]
        self.fabric.run("login", self.member.client_url, "--user", "reader", "--password", "pw", "--cacert", os.path.join(self.directories["client"], "ca.pem"),
                        "--context", "reader", environment={"WEFT_CONFIG_DIR": os.path.join(self.fabric.directory, "home")})
        self.directories |= {"logged in": os.path.join(self.fabric.directory, "home/contexts/reader"), "both": self.directories["root"]}

    def ask(self, method, path, body=None, caller="local"):
        headers = {"Authorization": self.secrets[caller]} if caller in getattr(self, "secrets", {}) else {}
        return NamedScene.answer(self.link(caller), method, path, body, headers)

    def furnish(self, with_volumes):
        """As root of the machine: TLS takes its time."""
        self.tokens["root"] = "local"
        super().furnish(with_volumes)
        self.tokens["root"] = "root"

    def restore(self):
        """After something that took effect: users count, and the lease has its key again."""
        if not self.post("/v3/auth/status", {}, "local").get("enabled"):
            self.enable()
        self.names["$lease"] = self.lease("local")


def where_users_count(report, weft, name, ask):
    with OwnFabric(weft, ["--bcrypt-cost", "4"]) as fabric:
        scene = CountedScene(fabric)
        for path, row in rows(name).items():
            judge(report, scene, path, of_password(path, row), lambda body, caller, path=path: ask(scene, path, body, caller), COUNTED,
                  MAY_COUNTED, REFUSED_COUNTED)


@check
def every_rpc_asks_for_its_right_where_users_count(report, weft):
    channels = {}

    def ask(scene, path, body, caller):
        # A login ends while users do not count, and comes with another certificate.
        if caller not in channels or caller == "logged in":
            channels[caller] = scene.channel(caller)
        return answer_of(channels[caller], path, body, [("token", scene.secrets[caller])] if caller in scene.secrets else [])
    where_users_count(report, weft, "grpc", ask)
    for channel in channels.values():
        channel.close()


@check
def every_path_of_the_gateway_asks_for_its_right_where_users_count(report, weft):
    where_users_count(report, weft, "gateway", lambda scene, path, body, caller: ask_over_http(scene, "POST", path, body, caller))


@check
def every_path_of_weft_asks_for_its_right_where_users_count(report, weft):
    def ask(scene, name, body, caller):
        method, path = name.split(" ")
        return ask_over_http(scene, method, scene.at_home(path), body, caller)
    where_users_count(report, weft, "plain", ask)


if __name__ == "__main__":
    from wire import main
    main(checks, "rights_names.py")
