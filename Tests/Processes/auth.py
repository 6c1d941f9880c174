#!/usr/bin/env python3
"""Users, roles and tokens: what etcd answers, on every kind of member and over TLS, and what nobody may do without a right.

    auth.py WEFT [--only NAME]
"""
import http.client
import json
import os
import sys
import tempfile
import time

import clients
from harness import Fabric, b64, give_to_service
from recordings import USERS, USERS_WITH_WEB_TOKENS, replay_everywhere
from tls import Authority, Secure, run

checks = []


def check(function):
    checks.append(function)
    return function


@check
def every_member_answers_as_etcd(report, weft):
    replay_everywhere(report, weft, USERS, ["--bcrypt-cost", "4"])


@check
def web_tokens_are_taken_as_etcd_takes_them(report, weft):
    with tempfile.TemporaryDirectory() as directory:
        key = os.path.join(directory, "key")
        with open(key, "w") as file:
            file.write("a shared secret")
        os.chmod(directory, 0o755)
        give_to_service(directory)
        flags = ["--bcrypt-cost", "4", "--auth-token", f"jwt,sign-method=HS256,priv-key={key},ttl=5m"]
        replay_everywhere(report, weft, USERS_WITH_WEB_TOKENS, flags, ["--jwt", key])


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
def who_did_what_and_what_was_denied_is_written_down(report, weft):
    with Fabric(weft, 1, ["--bcrypt-cost", "4"]) as fabric:
        member = fabric.leader()
        at = ["--endpoints", member.client_url]
        run(weft, "user", "add", "alice", *at, text="a-secret-password\n")
        password = run(weft, "auth", "init", *at).split()[0]
        root = ["--user", f"root:{password}", *at]
        run(weft, "role", "add", "r", *root)
        run(weft, "role", "grant-permission", "r", "read", "k/", "--prefix", *root)
        run(weft, "user", "grant-role", "alice", "r", *root)
        run(weft, "user", "grant-role", "alice", "r", *root)
        run("curl", "-sf", "-X", "PUT", "-H", f"Authorization: {token(member, 'root', password)}", "-H", "weft-user: mallory",
            "-d", "{}", f"{at[1]}/v1/fabric/domains/east")
        events = json.loads(run(weft, "events", "-o", "json", *root))
        said = [(event["by"], event["what"]) for event in events]
        for what in ("role r added", "role r may read keys from \"k/\" to \"k0\"", "user alice has role r"):
            report.check(what, said.count(("root@127.0.0.1", what)) == 1, said)
        report.check("users counted before anybody was asked who they are", ("", "user alice added") in said, said)
        report.check("who says to be another is known", all(by != "mallory" for by, _ in said) and
                     any(event["name"] == "east" and event["by"] == "root@127.0.0.1" for event in events), events)
        report.check("no password is among it", "secret" not in json.dumps(events))
        for _ in range(50):
            run("curl", "-s", f"{at[1]}/v1/kv/k")
        run(weft, "put", "k/1", "x", "--user", "alice:a-secret-password", *at, status=1)
        run(weft, "get", "k/1", "--user", "alice:another-password", *at, status=1)
        lines = []
        deadline = time.time() + 25
        while time.time() < deadline and {"KV.Put", "Auth.Authenticate", "KV.Range"} - {line["what"] for line in lines}:
            time.sleep(0.5)
            path = os.path.join(member.data, "audit.log")
            if os.path.exists(path):
                with open(path) as file:
                    lines = [json.loads(line) for line in file]
        report.check("a user's denied write", any(
            (line["user"], line["what"], line["address"]) == ("alice", "KV.Put", "127.0.0.1") for line in lines), lines)
        report.check("a wrong password", any(
            (line["user"], line["what"]) == ("alice", "Auth.Authenticate") and "authentication failed" in line["reason"] for line in lines), lines)
        reads = [line for line in lines if line["what"] == "KV.Range"]
        report.check("fifty of nobody in a line or two", len(reads) <= 3 and sum(line["count"] for line in reads) == 50, reads)
        report.check("and no password", "password" not in open(path).read().replace("invalid user ID or password", ""))
        report.check("for nobody else's eyes", os.stat(path).st_mode & 0o077 == 0)


def token(member, name, password):
    return member.connection().call("/v3/auth/authenticate", {"name": name, "password": password})["token"]


@check
def etcdctl_manages_users_and_roles(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        with Secure(weft, authority, "--bcrypt-cost", "4") as secure:
            def ctl(*words, status=0, text=None):
                return run(clients.etcdctl("3.5.1"), "--endpoints", secure.url, "--cacert", authority.path("ca.pem"), *words,
                           status=status, text=text)

            def says(what, found, *wanted):
                report.check(what, all(each in found for each in wanted), found)

            says("a user is added", ctl("user", "add", "root:rootpw"), "User root created")
            says("with a password that is typed", ctl("user", "add", "alice", "--interactive=false", text="alicepw\n"), "User alice created")
            says("and without one", ctl("user", "add", "machine", "--no-password"), "User machine created")
            says("the same again is refused", ctl("user", "add", "alice:x", status=1), "user name already exists")
            ctl("user", "grant-role", "root", "root")
            says("a role is added", ctl("role", "add", "r"), "Role r created")
            ctl("role", "grant-permission", "r", "readwrite", "--prefix=true", "foo/")
            ctl("role", "grant-permission", "r", "read", "bar")
            ctl("role", "grant-permission", "r", "write", "a", "c")
            says("a role is shown", ctl("role", "get", "r"), "foo/", "[foo/, foo0)", "bar", "[a, c)")
            ctl("role", "revoke-permission", "r", "a", "c")
            says("what was revoked is gone", str("[a, c)" not in ctl("role", "get", "r")), "True")
            ctl("user", "grant-role", "alice", "r")
            says("users are listed", ctl("user", "list"), "alice", "machine", "root")
            says("and enabled", ctl("auth", "enable"), "Authentication Enabled")
            says("the status tells", ctl("auth", "status", "--user", "root:rootpw"), "Authentication Status: true", "AuthRevision")
            alice = ["--user", "alice:alicepw"]
            says("a user writes", ctl(*alice, "put", "foo/1", "x"), "OK")
            says("and reads", ctl(*alice, "get", "--prefix", "foo/"), "foo/1", "x")
            says("and no more than that", ctl(*alice, "put", "bar", "x", status=1), "permission denied")
            says("not all keys", ctl(*alice, "get", "--prefix", "", status=1), "permission denied")
            says("a txn, neither", ctl(*alice, "txn", text="\n\nput bar x\n\n", status=1), "permission denied")
            says("nobody's request is refused", ctl("get", "foo/1", status=1), "user name is empty")
            says("a wrong password, too", ctl("--user", "alice:x", "get", "foo/1", status=2), "authentication failed")
            says("one's own roles are shown", ctl(*alice, "user", "get", "alice"), "Roles: r")
            says("others' are not", ctl(*alice, "user", "get", "root", status=1), "permission denied")
            root = ["--user", "root:rootpw"]
            ctl(*root, "user", "passwd", "alice", "--interactive=false", text="newpw\n")
            says("another password counts", ctl("--user", "alice:newpw", "get", "foo/1"), "x")
            says("the old one does not", ctl(*alice, "get", "foo/1", status=2), "authentication failed")
            says("root cannot be deleted", ctl(*root, "user", "delete", "root", status=1), "invalid auth management")
            ctl(*root, "user", "revoke-role", "alice", "r")
            says("without a role nothing is read", ctl("--user", "alice:newpw", "get", "foo/1", status=1), "permission denied")
            says("a snapshot is root's", ctl(*root, "snapshot", "save", authority.path("snap.db")), "saved")
            says("roles are deleted", ctl(*root, "role", "delete", "r"), "Role r deleted")
            says("users are deleted", ctl(*root, "user", "delete", "alice"), "User alice deleted")
            says("and all is off again", ctl(*root, "auth", "disable"), "Authentication Disabled")
            says("then everybody reads", ctl("get", "foo/1"), "x")


@check
def pythons_client_logs_in(report, weft):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "auth_python.py")
    with Authority() as authority:
        authority.leaf("server")
        with Secure(weft, authority, "--bcrypt-cost", "4") as secure:
            at = ["--endpoints", secure.member.client_url]
            run(weft, "user", "add", "alice", *at, text="pw\n")
            run(weft, "role", "add", "r", *at)
            for prefix in ("k/", "/locks/"):
                run(weft, "role", "grant-permission", "r", "readwrite", prefix, "--prefix", *at)
            run(weft, "user", "grant-role", "alice", "r", *at)
            run(weft, "auth", "init", *at)
            said = run(sys.executable, script, str(secure.port), authority.path("ca.pem"))
            report.check("it writes, reads and watches, and is refused", "all well" in said, said)


@check
def an_unused_token_ends(report, weft):
    with Fabric(weft, 1, ["--bcrypt-cost", "4", "--auth-token-ttl", "6"]) as fabric:
        fabric.leader()
        at = ["--endpoints", fabric.members[0].client_url]
        password = run(weft, "auth", "init", *at).split()[0]
        root = {"name": "root", "password": password}
        first = fabric.members[0].connection().call("/v3/auth/authenticate", root)["token"]
        used = fabric.members[0].connection().call("/v3/auth/authenticate", root)["token"]

        def listed(token):
            return "users" in run("curl", "-s", "-H", f"Authorization: {token}", "-d", "{}", f"{at[1]}/v3/auth/user/list")

        lives = []
        for _ in range(8):
            time.sleep(1)
            lives.append(listed(used))
        report.check("one that is used lives on", all(lives), lives)
        report.check("one that is not does not", not listed(first))


if __name__ == "__main__":
    from wire import main
    main(checks, "auth.py")
