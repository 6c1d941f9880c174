#!/usr/bin/env python3
"""Users, roles and tokens: what etcd answers, on every kind of member and over TLS, and what nobody may do without a right.

    auth.py WEFT [--only NAME]
"""
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time

import clients
from harness import Fabric, b64, give_to_service
from tls import Authority, Secure, run

checks = []
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))), "shared", "etcd-golden")
STEPS, STEPS_JWT = 458, 40


def check(function):
    checks.append(function)
    return function


def replay(report, what, url, steps, *words, **environment):
    if not os.path.isdir(GOLDEN):
        return report.check("the recordings are beside the project", not os.environ.get("CI"), GOLDEN)
    run = subprocess.run(
        [sys.executable, os.path.join(GOLDEN, "golden_auth.py"), "check", url, os.path.join(GOLDEN, "auth.json"), *words],
        capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
    last = (run.stdout.strip().splitlines() or [run.stderr])[-1]
    report.check(f"{what}: {last}", run.returncode == 0 and f"{steps} passed, 0 failed" in run.stdout, run.stdout + run.stderr)


@check
def every_member_answers_as_etcd(report, weft):
    for count, place in ((1, "a single member"), (3, "the leader of three"), (3, "a follower of three")):
        with Fabric(weft, count, ["--bcrypt-cost", "4"]) as fabric:
            member = fabric.follower() if "follower" in place else fabric.leader()
            replay(report, place, member.client_url, STEPS)


@check
def so_it_does_over_tls(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        with Secure(weft, authority, "--bcrypt-cost", "4") as secure:
            replay(report, "over TLS", secure.url, STEPS, GOLDEN_CACERT=authority.path("ca.pem"))


@check
def web_tokens_are_taken_as_etcd_takes_them(report, weft):
    with tempfile.TemporaryDirectory() as directory:
        key = os.path.join(directory, "key")
        with open(key, "w") as file:
            file.write("a shared secret")
        os.chmod(directory, 0o755)
        give_to_service(directory)
        flags = ["--bcrypt-cost", "4", "--auth-token", f"jwt,sign-method=HS256,priv-key={key},ttl=5m"]
        for count, place in ((1, "a single member"), (3, "a follower of three")):
            with Fabric(weft, count, flags) as fabric:
                member = fabric.follower() if count > 1 else fabric.leader()
                replay(report, place, member.client_url, STEPS_JWT, "--jwt", key)


@check
def a_certificate_names_a_user(report, weft):
    with Authority() as authority, Authority("stranger") as stranger:
        for name in ("server", "alice", "bob"):
            authority.leaf(name)
        stranger.leaf("alice")
        with Secure(weft, authority, "--bcrypt-cost", "4", "--trusted-ca-file", authority.path("ca.pem")) as secure:
            plain = ["--endpoints", secure.member.client_url]

            def by(name, *words, status=0, at=authority):
                return run(weft, *words, "--endpoints", secure.url, "--cacert", authority.path("ca.pem"), "--cert",
                           at.path(f"{name}.pem"), "--key", at.path(f"{name}.key"), status=status)

            run(weft, "put", "a", "1", *plain)
            run(weft, "user", "add", "alice", "--no-password", *plain)
            run(weft, "role", "add", "r", *plain)
            run(weft, "role", "grant-permission", "r", "read", "a", *plain)
            run(weft, "user", "grant-role", "alice", "r", *plain)
            password = run(weft, "auth", "init", *plain).split()[0]
            report.check("the command reads by it", by("alice", "get", "a") == "1\n")
            said = by("alice", "put", "a", "2", status=1)
            report.check("and may no more than its user", "permission denied" in said, said)
            said = by("bob", "get", "a", status=1)
            report.check("a name that is no user's may nothing", "permission denied" in said, said)
            by("alice", "get", "a", at=stranger, status=4)
            said = by("alice", "put", "a", "2", "--user", f"root:{password}")
            report.check("a token goes before it", said.startswith("OK"), said)
            ctl = [clients.etcdctl("3.5.1"), "--endpoints", secure.url, "--cacert", authority.path("ca.pem"), "--cert",
                   authority.path("alice.pem"), "--key", authority.path("alice.key")]
            report.check("etcdctl reads by it", run(*ctl, "get", "a") == "a\n2\n")
            context = authority.context("alice")
            link = http.client.HTTPSConnection("127.0.0.1", secure.port, timeout=15, context=context)
            link.request("POST", "/v3/kv/range", json.dumps({"key": b64("a")}))
            answer = link.getresponse()
            text = answer.read().decode()
            report.check("etcd's gateway takes nobody by it", answer.status == 400 and text.startswith("CommonName of client"), text)
            link.request("GET", "/v1/kv/a")
            answer = link.getresponse()
            report.check("weft's own paths do", (answer.status, answer.read()) == (200, b"2"))
            said = run("curl", "-s", f"{secure.member.client_url}/v1/kv/a")
            report.check("at the plain port it is nobody", "user name is empty" in said, said)


@check
def an_unused_token_ends(report, weft):
    with Fabric(weft, 1, ["--bcrypt-cost", "4", "--auth-token-ttl", "3"]) as fabric:
        fabric.leader()
        at = ["--endpoints", fabric.members[0].client_url]
        password = run(weft, "auth", "init", *at).split()[0]
        root = {"name": "root", "password": password}
        first = fabric.members[0].connection().call("/v3/auth/authenticate", root)["token"]
        used = fabric.members[0].connection().call("/v3/auth/authenticate", root)["token"]

        def listed(token):
            return "users" in run("curl", "-s", "-H", f"Authorization: {token}", "-d", "{}", f"{at[1]}/v3/auth/user/list")

        lives = []
        for _ in range(5):
            time.sleep(1)
            lives.append(listed(used))
        report.check("one that is used lives on", all(lives), lives)
        report.check("one that is not does not", not listed(first))


if __name__ == "__main__":
    from wire import main
    main(checks, "auth.py")
