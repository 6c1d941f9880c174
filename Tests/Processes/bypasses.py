#!/usr/bin/env python3
"""Ways past the locks that others were opened by, one check each. The rest of them are elsewhere:

    a user's name taken from the gateway's own certificate (CVE-2018-16886)   auth.py, a_certificate_names_a_user
    modes of directories with keys (CVE-2020-15113)                           service.py
    a damaged log that ends a member (CVE-2020-15106)                         damage.py
    TimeToLive that tells keys (CVE-2023-32082), nested txns (CVE-2026-33343), previous values and leases of puts in txns,
    a watch from a key on that is judged as one key (GHSA-xg4h-6gfc-h4m8)      auth.py, the recordings; MVCCTests/AuthorTests
    MemberList, Alarm, leases and compaction without a token (CVE-2026-33413) rights.py, rights_own.py, rights_names.py
    handshakes without an end (CVE-2026-73500)                                tls.py, who_does_not_shake_hands_keeps_nobody_out

    bypasses.py WEFT [--only NAME]
"""
import http.client
import json
import os
import signal
import subprocess
import threading
import time

import clients

clients.use_python_clients()

import grpc

from harness import Fabric, b64, free_port, give_to_service
from peer_scene import until
from tls import Authority, Secure, run

checks = []
SECRETS = {"alice": "a-password-nobody-logs", "bob": "another-that-nobody-logs"}


def check(function):
    checks.append(function)
    return function


def lock(weft, member):
    """Has users count; answers root's password."""
    at = ["--endpoints", member.client_url]
    for name, password in SECRETS.items():
        run(weft, "user", "add", name, *at, text=f"{password}\n")
    return run(weft, "auth", "init", *at).split()[0]


def ask(member, method="POST", path="/v3/kv/range", headers=None, body=None):
    link = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=15)
    try:
        link.request(method, path, json.dumps({"key": b64("k")}) if body is None else body, headers or {})
        answer = link.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        link.close()


@check
def pages_of_others_cannot_ask(report, weft):
    """CVE-2018-1098, CVE-2018-1099: a form on another page, and a name that leads to this address."""
    with Fabric(weft, 1) as fabric:
        member = fabric.leader()
        put = json.dumps({"key": b64("k"), "value": b64("v")})
        status, text = ask(member, path="/v3/kv/put", body=put, headers={"Origin": "http://evil.example", "Content-Type": "text/plain"})
        report.check("a form of another page", status == 403, text)
        status, text = ask(member, path="/v3/kv/put", body=put, headers={
            "Origin": "http://evil.example:80", "Host": "evil.example:80", "Content-Type": "application/json"})
        report.check("a page whose name was bent to here", status == 421, f"{status} {text}")
        report.check("nothing was written", "kvs" not in ask(member)[1])


@check
def a_member_left_behind_opens_no_watch(report, weft):
    """A watch is judged once: where a right that was taken is not known yet it would tell of everything that comes."""
    with Fabric(weft, 3) as fabric:
        late = fabric.follower()
        others = [member for member in fabric.members if member is not late]
        root = lock(weft, others[0])
        at = ["--endpoints", others[0].client_url, "--user", f"root:{root}"]
        run(weft, "role", "add", "readers", *at)
        run(weft, "role", "grant-permission", "readers", "read", "k", *at)
        run(weft, "user", "grant-role", "alice", "readers", *at)
        token = json.loads(ask(late, path="/v3/auth/authenticate", body=json.dumps(
            {"name": "alice", "password": SECRETS["alice"]}))[1])["token"]
        headers = {"Authorization": token}
        report.check("with the right there is a watch", "created" in watch_briefly(late, headers))
        for path in ("/v3/watch", "/v1/kv/k?watch"):
            run(weft, "user", "grant-role", "alice", "readers", *at)
            report.check("alice reads", ask(late, headers=headers)[0] == 200)
            late.process.send_signal(signal.SIGSTOP)
            run(weft, "user", "revoke-role", "alice", "readers", *at)
            for member in others:
                member.process.send_signal(signal.SIGSTOP)
            late.process.send_signal(signal.SIGCONT)
            said = []
            watcher = threading.Thread(target=lambda: said.append(watch_briefly(late, headers, path, 25, "denied")))
            watcher.start()
            time.sleep(1)
            for member in others:
                member.process.send_signal(signal.SIGCONT)
            until("a put is taken", lambda: subprocess.run([weft, "put", "k", "secret", *at], capture_output=True).returncode == 0)
            watcher.join()
            report.check(f"{path} tells nothing", b64("secret") not in said[0] and "secret" not in said[0]
                         and "denied" in said[0], said[0])


@check
def a_watch_from_before_there_were_users_ends(report, weft):
    with Fabric(weft, 1) as fabric:
        member, said = fabric.leader(), []
        watchers = [threading.Thread(target=lambda path=path: said.append(watch_briefly(member, {}, path, 25, "has changed")))
                    for path in ("/v3/watch", "/v1/kv/k?watch")]
        for watcher in watchers:
            watcher.start()
        time.sleep(1)
        run(weft, "put", "k", "known", "--endpoints", member.client_url)
        run(weft, "put", "k", "secret", "--endpoints", member.client_url, "--user", f"root:{lock(weft, member)}")
        for watcher in watchers:
            watcher.join()
        for each in said:
            report.check("it told of what came before", "known" in each or b64("known") in each, each)
            report.check("and ends", "secret" not in each and b64("secret") not in each and "has changed" in each, each)


def watch_briefly(member, headers, path="/v3/watch", seconds=2, last="secret"):
    """What a watch of k says in so many seconds, or until it has told of the secret or said its last."""
    link = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=seconds)
    said = b""
    try:
        if path == "/v3/watch":
            link.request("POST", path, json.dumps({"create_request": {"key": b64("k")}}), headers)
        else:
            link.request("GET", path, headers=headers)
        answer = link.getresponse()
        end = time.time() + seconds
        while time.time() < end and (more := answer.read1(65536)):
            said += more
            if any(word.encode() in said for word in (last, "secret", b64("secret"))):
                break
    except TimeoutError:
        pass
    finally:
        link.close()
    return said.decode("utf-8", "replace")


@check
def passwords_and_tokens_are_in_no_log(report, weft):
    """CVE-2021-28235, and tokens in logs (2025)."""
    with Fabric(weft, 3, ["--bcrypt-cost", "4", "--log-level", "debug"]) as fabric:
        member = fabric.leader()
        root = lock(weft, member)
        tokens = []
        for name, password in {**SECRETS, "root": root}.items():
            tokens.append(json.loads(ask(member, path="/v3/auth/authenticate", body=json.dumps({"name": name, "password": password}))[1])["token"])
        ask(member, path="/v3/auth/authenticate", body=json.dumps({"name": "alice", "password": SECRETS["bob"]}))
        for token in tokens:
            ask(member, headers={"Authorization": token})
        ask(member, headers={"Authorization": "a-token-that-is-none"})
        secrets = [*SECRETS.values(), root, "a-token-that-is-none", *(token.split(".")[0] for token in tokens)]
        for each in fabric.members:
            log = each.log()
            report.check(f"{each.name}'s log has none", not [secret for secret in secrets if secret in log])
            report.check("and its directory has none", not [secret for secret in secrets if in_files(each.data, secret)])


def in_files(directory, text):
    for folder, _, names in os.walk(directory):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                if text.encode() in file.read():
                    return name
    return None


@check
def every_path_asks_for_the_certificate(report, weft):
    """CVE-2020-15136, GHSA-3wh4-j44w-pg92: checks that only some paths, or one of several ports, had."""
    with Authority() as authority:
        for name in ("server", "client"):
            authority.leaf(name)
        crl = authority.revoke()
        with Secure(weft, authority, "--trusted-ca-file", authority.path("ca.pem"), "--client-crl-file", crl) as secure:
            before = secure.member.arguments
            second = free_port()

            def arguments():
                words = before()
                place = words.index("--listen-client-urls") + 1
                words[place] += f",https://127.0.0.1:{second}"
                return words

            secure.member.arguments = arguments
            secure.member.stop()
            secure.member.restart()
            secure.member.wait_healthy()
            for port in (secure.port, second):
                secure.port = port
                report.check("who shows one is answered", secure.ask(authority.context("client"))[0] == 200)
                for path in ("/version", "/health", "/metrics", "/v3/kv/range", "/v1/kv/k", "/openapi.json", "/nothing"):
                    try:
                        answer = secure.ask(authority.context(), path)
                    except OSError:
                        continue
                    report.check(f"{path} without one", False, answer)
            authority.revoke("client")
            for port in (secure.port, second):
                secure.port = port
                report.check(f"taken back at port {port}", secure.refuses(authority.context("client")))


@check
def no_web_token_ends_a_member(report, weft):
    """Claims that are not there (it ended etcd 3.5.1), and CVE-2025-30204: a parser's memory."""
    with Fabric(weft, 0) as fabric:
        key = os.path.join(fabric.directory, "key")
        with open(key, "w") as file:
            file.write("secret")
        give_to_service(fabric.directory)
        member = fabric.add("m1")
        fabric.founders.append(member)
        member.start("--bcrypt-cost", "4", "--auth-token", f"jwt,sign-method=HS256,priv-key={key}")
        member.wait_healthy()
        root = lock(weft, member)
        good = json.loads(ask(member, path="/v3/auth/authenticate", body=json.dumps({"name": "root", "password": root}))[1])["token"]
        head, body, signature = good.split(".")
        for what, token in {"no claims": f"{head}.e30.{signature}", "not signed": f"{head}.{body}.", "another algorithm": f"eyJhbGciOiJub25lIn0.{body}.",
                            "no parts": "." * 8000, "one part": "e30", "no base64": "*.*.*", "empty": ""}.items():
            status, text = ask(member, headers={"Authorization": token})
            report.check(what, status == 401, f"{status} {text[:200]}")
        try:
            status, _ = ask(member, headers={"Authorization": "." * 1_000_000})
        except OSError:
            # The connection was closed before all of it was sent.
            status = 431
        report.check("a million parts", status in (400, 401, 431), status)
        report.check("the good one counts", ask(member, headers={"Authorization": good})[0] == 200)


@check
def a_path_is_what_is_carried_out(report, weft):
    """CVE-2026-33186: other spellings of a method's path must not go around its rights."""
    with Fabric(weft, 1, ["--bcrypt-cost", "4"]) as fabric:
        member = fabric.leader()
        run(weft, "put", "k", "secret", "--endpoints", member.client_url)
        lock(weft, member)
        channel = grpc.insecure_channel(f"127.0.0.1:{member.client_port}")
        for path in ("//etcdserverpb.KV/Range", "/etcdserverpb.KV/Range/", "/etcdserverpb.KV//Range", "/etcdserverpb.KV/./Range",
                     "/etcdserverpb.KV/range", "/etcdserverpb.KV/%52ange", "etcdserverpb.KV/Range", "/etcdserverpb.KV/Range?x"):
            call = channel.unary_unary(path, request_serializer=lambda m: m, response_deserializer=lambda m: m)
            try:
                said = call(b"\x0a\x01k", 5)
                report.check(f"{path} answers nothing", b"secret" not in said, said)
            except grpc.RpcError as error:
                report.check(f"{path} is refused", error.code() != grpc.StatusCode.OK)
        channel.close()
        for path in ("/v3//kv/range", "//v3/kv/range", "/v3/kv/range/", "/v3/kv/%72ange", "/V3/kv/range", "/v3/./kv/range", "/v1/../v3/kv/range"):
            status, text = ask(member, path=path)
            report.check(f"{path} answers nothing", status != 200 and b64("secret") not in text, f"{status} {text}")
        for path in ("/v1/kv/k", "/v1//kv/k", "/v1/kv//k", "/v1/kv/%6b", "//v1/kv/k", "/v1/kv/k?watch", "/v1/kv/?prefix"):
            for method in ("GET", "HEAD", "OPTIONS"):
                status, text = ask(member, method, path, body="")
                report.check(f"{method} {path} answers nothing", "secret" not in text and b64("secret") not in text, f"{status} {text}")


@check
def an_empty_password_is_one_over_the_api_as_in_etcd_and_tries_are_limited(report, weft):
    """CVE-2020-15115: no rules for passwords. What weft promises instead: who has none cannot log in by an empty one, and guesses are limited."""
    with Fabric(weft, 1, ["--bcrypt-cost", "4"]) as fabric:
        member = fabric.leader()

        def post(path, **body):
            status, text = ask(member, path=f"/v3/auth/{path}", body=json.dumps(body))
            return status, json.loads(text)

        for name, options in (("empty", {}), ("none", {"no_password": True})):
            status, said = post("user/add", name=name, password="", options=options)
            report.check(f"user {name} is added", status == 200, said)
        root = lock(weft, member)
        status, said = post("authenticate", name="empty", password="")
        report.check("the empty password lets its user in", status == 200 and said.get("token"), said)
        status, said = post("authenticate", name="none", password="")
        report.check("who has no password has not an empty one", status == 500 and "no password user" in said["message"], f"{status} {said}")
        for name in ("alice", "root", "nobody-of-this-name"):
            status, said = post("authenticate", name=name, password="")
            report.check(f"it does not let {name} in", status == 400 and "authentication failed" in said["message"], f"{status} {said}")
        for name, right in (("empty", ""), ("alice", SECRETS["alice"])):
            # A few are forgiven meanwhile.
            wrong = ["wrong", ""][right != ""]
            answers = []
            while len(answers) < 60 and (not answers or "too many logins" not in answers[-1][1]["message"]):
                answers.append(post("authenticate", name=name, password=wrong))
            report.check(f"guesses at {name}'s are refused after twenty", 20 <= len(answers) < 60 and answers[-1][0] == 429, f"{len(answers)} {answers[-1]}")
            report.check("until then each is a wrong password", all("authentication failed" in said["message"] for _, said in answers[:-1]), answers[:3])
            status, said = post("authenticate", name=name, password=right)
            report.check("then the right one, too", "too many logins" in said.get("message", ""), f"{status} {said}")
        report.check("others log in", post("authenticate", name="root", password=root)[0] == 200)


@check
def the_command_sets_no_empty_password(report, weft):
    with Fabric(weft, 1, ["--bcrypt-cost", "4"]) as fabric:
        member = fabric.leader()
        at = ["--endpoints", member.client_url]
        run(weft, "user", "add", "alice", *at, text="secret\n")
        for what, text in (("an empty line", "\n"), ("nothing", ""), ("an empty line of Windows", "\r\n"), ("a line after an empty one", "\nsecret\n")):
            for words in (("add", "bob"), ("passwd", "alice")):
                done = subprocess.run([weft, "user", *words, *at], input=text, capture_output=True, text=True, timeout=60)
                said = f"{done.returncode} {done.stdout}{done.stderr}"
                report.check(f"user {words[0]} with {what}", done.returncode == 2 and "password" in done.stderr, said)
        report.check("nobody was added", run(weft, "user", "list", *at) == "alice\n", run(weft, "user", "list", *at))
        run(weft, "auth", "init", *at)
        status, said = ask(member, path="/v3/auth/authenticate", body=json.dumps({"name": "alice", "password": "secret"}))
        report.check("the password of before counts", status == 200, said)


@check
def members_without_users_let_nobody_in(report, weft):
    """A witness has no state, and who joins has none yet: neither knows users, and both pass requests on to the leader."""
    with Fabric(weft, 2, ["--bcrypt-cost", "4"]) as fabric:
        member = fabric.leader()
        early, late = fabric.add("early"), fabric.add("late")
        at = ["--endpoints", member.client_url]
        early.join(member, "--witness")
        early.wait_started("serves clients on")
        until("the witness votes", lambda: any(
            each.get("name") == "early" and each["role"] == "witness" for each in json.loads(ask(member, "GET", "/v1/members", body="")[1])["members"]), 30)
        root = lock(weft, member)
        late.spawn(["join", member.client_url, *late.arguments(), "--witness", "--user", f"root:{root}"])
        late.wait_started("serves clients on")
        token = json.loads(ask(member, path="/v3/auth/authenticate", body=json.dumps({"name": "root", "password": root}))[1])["token"]

        def known():
            return [each["ID"] for each in json.loads(ask(
                member, path="/v3/cluster/member/list", body="{}", headers={"Authorization": token})[1])["members"]]

        ids = known()
        until("the late one has a state", lambda: ask(late, path="/v3/maintenance/status", body="{}")[0] == 400, 30)
        for witness in (early, late):
            until(f"{witness.name} heard of users", lambda: ask(witness, path="/v3/maintenance/status", body="{}")[0] == 400)
            for path, body in [("/v3/cluster/member/remove", {"ID": ids[-1]}), ("/v3/cluster/member/add", {"peerURLs": ["http://127.0.0.1:1"]}),
                               ("/v3/cluster/member/list", {}), ("/v3/maintenance/status", {}), ("/v3/maintenance/hash", {}),
                               ("/v3/maintenance/defragment", {}), ("/v3/maintenance/snapshot", {}), ("/v3/kv/compaction", {"revision": 1}),
                               ("/v3/lease/grant", {"TTL": 60}), ("/v3/auth/user/list", {})]:
                status, text = ask(witness, path=path, body=json.dumps(body))
                report.check(f"{witness.name} refuses {path}", status in (400, 401, 403, 503), f"{status} {text[:200]}")
            for method, path in [("GET", "/v1/members"), ("GET", "/v1/fabric/status"), ("GET", "/v1/snapshot"), ("POST", "/v1/upgrade/finish")]:
                status, text = ask(witness, method, path, body="")
                report.check(f"{witness.name} refuses {method} {path}", status in (400, 401, 403, 503), f"{status} {text[:200]}")
        report.check("nobody was removed or added", known() == ids, known())


@check
def rights_outlive_restarts_snapshots_and_recovery(report, weft):
    """Rights that were gone after a restart, or at a member that got a snapshot (2022)."""
    with Fabric(weft, 3, ["--bcrypt-cost", "4", "--snapshot-count", "20", "--snapshot-catchup-entries", "10"]) as fabric:
        member = fabric.leader()
        run(weft, "put", "k", "secret", "--endpoints", member.client_url)
        root = lock(weft, member)

        def denied(each):
            status, text = ask(each)
            return status == 400 and "user name is empty" in text

        for each in fabric.members:
            report.check(f"{each.name} refuses nobody's request", denied(each))
        for each in fabric.members:
            each.kill()
        for each in fabric.members:
            each.restart()
        for each in fabric.members:
            each.wait_healthy()
            report.check(f"{each.name} does after a restart", denied(each))
        # A newcomer gets a snapshot, since the log does not reach back.
        as_root = ["--user", f"root:{root}", "--endpoints", member.client_url]
        for number in range(60):
            run(weft, "put", f"n/{number}", "x", *as_root)
        newcomer = fabric.add("m4")
        newcomer.spawn(["join", member.client_url, *newcomer.arguments(), "--user", f"root:{root}"])
        newcomer.wait_healthy(60)
        until("the newcomer refuses nobody's request", lambda: denied(newcomer))
        for each in fabric.members:
            each.stop()
        survivor = fabric.members[0]
        run(weft, "recover", "--data-dir", survivor.data, "--yes")
        give_to_service(survivor.data)
        survivor.restart()
        survivor.wait_healthy()
        report.check("a recovered fabric refuses it, too", denied(survivor))
        report.check("and lets root in", run(weft, "get", "k", "--user", f"root:{root}", "--endpoints", survivor.client_url) == "secret\n")


if __name__ == "__main__":
    from wire import main
    main(checks, "bypasses.py")
