#!/usr/bin/env python3
"""Fabrics with a CA of their own: locked from the first minute, joined by token, and what strangers try.

    own_ca.py WEFT [--only NAME]
"""
import http.client
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

import clients

clients.use_python_clients()

import grpc

import peer_wire
from harness import attempt, b64, free_port
from own_fabric import OwnFabric, SecureMember, Stranger, ask, context

checks = []


def check(function):
    checks.append(function)
    return function


KEY = {"key": b64("k")}
OPEN = [("GET", "/version"), ("GET", "/health"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/v1/ca"), ("POST", "/v3/auth/status")]
LOCKED = [("GET", "/"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/v1/kv/k"), ("GET", "/v1/kv/k?prefix"), ("PUT", "/v1/kv/k"), ("DELETE", "/v1/kv/k"), ("GET", "/v1/kv/k?watch"), ("GET", "/v1/snapshot"),
          ("GET", "/v1/members"), ("GET", "/v1/fabric/nodes"), ("GET", "/v1/fabric/events"), ("GET", "/v1/tokens"), ("GET", "/v1/ca/certificates"),
          ("POST", "/v3/kv/range"), ("POST", "/v3/kv/put"), ("POST", "/v3/kv/txn"), ("POST", "/v3/lease/grant"), ("POST", "/v3/cluster/member/list"),
          ("POST", "/v3/maintenance/status"), ("POST", "/v3/auth/enable"), ("POST", "/v3/maintenance/hash")]


@check
def it_is_locked_from_the_first_minute(report, weft):
    """Who shows nothing gets what newcomers need; who shows a certificate gets what its role says, whatever it calls itself."""
    with OwnFabric(weft) as fabric:
        member = fabric.members[0]
        for method, path in OPEN:
            status, said = member.ask(method, path, {} if method == "POST" else None)
            report.check(f"{method} {path} as nobody", status == 200, f"{status} {said}")
        for method, path in LOCKED:
            status, said = member.ask(method, path, KEY)
            report.check(f"{method} {path} as nobody", status == 401 and "answers known callers only" in str(said), f"{status} {said}")
        # A token of nobody's counts for nothing, as while users do not count.
        out = fabric.client("root", "weft:observer")
        reads = {"observer": out, "client": fabric.client("c"), "node": fabric.client("n", "weft:node:n"),
                 "operator": fabric.client("o", "weft:operator"), "root": fabric.client("r", "root")}
        may = {"/v3/kv/range": {"client", "root"}, "/v1/fabric/nodes": set(reads), "/v1/snapshot": {"root"}, "/v1/ca/certificates": set(reads)}
        for path in ("/", "/metrics", "/openapi.json"):
            report.check(f"{path} as observer", member.ask("GET", path, None, context(out))[0] == 200)
        for path, allowed in may.items():
            for role, directory in reads.items():
                method = "POST" if path.startswith("/v3") else "GET"
                status, said = member.ask(method, path, KEY if method == "POST" else None, context(directory))
                report.check(f"{path} as {role}", status == (200 if role in allowed else 403), f"{status} {str(said)[:200]}")
        for role, status in (("client", 403), ("observer", 403), ("node", 403), ("operator", 200), ("root", 200)):
            found = member.ask("PUT", "/v1/fabric/domains/east", {}, context(reads[role]))[0]
            report.check(f"a domain put by {role}", found in (status, 201 if status == 200 else 403), found)
        node = {"domain": "east", "capacityBytes": 1}
        for name, wanted in (("n", 201), ("other", 403)):
            found = member.ask("PUT", f"/v1/fabric/nodes/{name}", node, context(reads["node"]))[0]
            report.check(f"node {name} registered by node n", found == wanted, found)
        # gRPC has no other door.
        with open(os.path.join(out, "ca.pem"), "rb") as ca:
            channel = grpc.secure_channel(f"127.0.0.1:{member.client_port}", grpc.ssl_channel_credentials(ca.read()))
        call = channel.unary_unary("/etcdserverpb.KV/Range", lambda m: m, lambda m: m)
        try:
            call(b"\x0a\x01k", timeout=5)
            report.check("gRPC as nobody", False, "it was answered")
        except grpc.RpcError as error:
            report.check("gRPC as nobody", error.code() == grpc.StatusCode.UNAUTHENTICATED, error.details())
        channel.close()
        with open(os.path.join(member.data, "audit.log")) as log:
            report.check("denials are written down", "no certificate" in log.read() or log.tell() > 0)


@check
def it_is_open_where_that_is_written(report, weft):
    with OwnFabric(weft, ["--client-cert-auth", "false"]) as fabric:
        status, said = fabric.members[0].ask("PUT", "/v1/kv/k", "v")
        report.check("a put by nobody", status == 201, f"{status} {said}")


@check
def founders_together_bring_certificates(report, weft):
    """Each would make a CA of its own; they say so, and begin nothing."""
    fabric = OwnFabric(weft, count=2)
    try:
        first = fabric.founders[0]
        first.start()
        report.check("it ends as one that was asked wrongly", first.process.wait(20) == 2, first.log())
        report.check("and says what to do", "let the others join by token" in first.log(), first.log())
        report.check("nothing is begun", not os.path.exists(first.data + "/identity") and not os.path.exists(first.tls("ca.key")))
    finally:
        fabric.__exit__(None, None, None)


@check
def machines_join_by_token(report, weft):
    """A voter and a witness; keys survive the founder. The commands at a member's socket reach all members."""
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]
        second = fabric.join("m2", "--domain", "east")
        witness = fabric.join("m3", "--role", "witness")
        report.check("the token says where it is", "east" in str(second.local("GET", "/v1/members")), second.local("GET", "/v1/members"))
        noted = attempt(20, lambda: (n := fabric.noted()) and all("until" in n.get(m, {}) for m in ("m1", "m2", "m3")) and n)
        report.check("all say which certificate they have", len({n["authority"] for n in noted.values()}) == 1, noted)
        report.check("a witness has no key of the CA", not os.path.exists(witness.tls("ca.key")) and os.path.exists(second.tls("ca.key")))
        for member in (first, second):
            said = fabric.run("check", "--endpoints", member.endpoint)
            report.check(f"check at {member.name}", "ok   all 3 members answer" in said, said)
        metrics = second.local("GET", "/metrics")[1]
        ends = [float(line.split()[1]) for line in metrics.splitlines() if line.startswith(("weft_member_certificate_expiry", "weft_ca_expiry"))]
        days = sorted((end - time.time()) / 86400 for end in ends)
        report.check("metrics say when they end", len(days) == 2 and 89 < days[0] < 91 and days[1] > 3600, days)
        report.check("files are private", all(os.stat(second.tls(n)).st_mode & 0o77 == 0 for n in os.listdir(second.tls(""))))
        client = fabric.client("c")
        assert first.ask("PUT", "/v1/kv/k", "v", context(client))[0] == 201
        first.kill()
        status, said = attempt(20, lambda: (a := second.ask("GET", "/v1/kv/k", None, context(client)))[0] == 200 and a)
        report.check("the key is there without the founder", said == "v", said)
        # Each begins again at other ports: its certificate is for a member, not for an address.
        for member in (first, second):
            member.kill()
            member.client_port, member.peer_port = free_port(), free_port()
            member.restart()
            member.wait_healthy()
            status, said = attempt(20, lambda: (a := member.ask("GET", "/v1/kv/k", None, context(client)))[0] == 200 and a)
            report.check(f"{member.name} answers where it moved", said == "v", said)


@check
def tokens_end(report, weft):
    """A token lets in what it says, as often as it says, and as long; the secret is nowhere in the fabric's files."""
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]

        def enrol(token, name, *words):
            out = os.path.join(fabric.directory, name)
            return fabric.run("enrol", first.client_url, "--token", token, "--name", name, "--out", out, *words, check=False)

        def refused(what, done, *words):
            report.check(what, done.returncode != 0 and all(word in done.stderr for word in words), f"{done.returncode} {done.stderr}")

        good = fabric.token("--role", "weft:client")
        report.check("a token enrols", enrol(good, "a").returncode == 0)
        refused("it is spent", enrol(good, "b"), "unknown, spent, revoked or past its time")
        two = fabric.token("--role", "weft:client", "--uses", "2")
        report.check("two uses are two", [enrol(two, n).returncode for n in ("c", "d", "e")][:2] == [0, 0])
        refused("and no third", enrol(two, "f"), "spent")
        short = fabric.token("--role", "weft:client", "--ttl", "1s")
        time.sleep(1.2)
        refused("one past its time", enrol(short, "g"), "past its time")
        revoked = fabric.token("--role", "weft:client")
        fabric.run("token", "revoke", revoked.split(".")[2], "--endpoints", first.endpoint)
        refused("one that was revoked", enrol(revoked, "h"), "revoked")
        other = fabric.token("--role", "weft:client")
        wrong = other[:-4] + ("aaaa" if not other.endswith("aaaa") else "bbbb")
        refused("a wrong secret", enrol(wrong, "i"), "unknown")
        report.check("which used nothing up", enrol(other, "j").returncode == 0)
        voter = fabric.token()
        refused("a member's token for a client", enrol(voter, "k"), "weft join")
        late = fabric.add("m2")
        joined = fabric.run("join", first.client_url, "--token", fabric.token("--role", "weft:client"), *late.arguments(), check=False)
        refused("a client's token for a member", joined, "weft enrol")
        report.check("a join that was refused leaves nothing but its key", os.listdir(late.tls("")) == ["joining.key"], os.listdir(late.tls("")))
        refused("no token at all", enrol("weft1.a.b.c", "l"), "no join token")
        refused("in clear text", fabric.run("enrol", "http://127.0.0.1:1", "--token", voter, "--out", fabric.directory + "/z", check=False), "https://")
        for token in (good, voter, wrong):
            secret = token.split(".")[3].encode()
            for folder, _, names in os.walk(first.data):
                for name in names:
                    with open(os.path.join(folder, name), "rb") as file:
                        report.check(f"{name} holds no secret", secret not in file.read())
        with open(os.path.join(first.data, "audit.log")) as log:
            denials = [json.loads(line) for line in log]
        report.check("what was refused is written down", any("join token" in d["user"] for d in denials), denials[:3])
        events = fabric.run("events", "--endpoints", first.endpoint)
        report.check("what was used, too", f"join token {good.split('.')[2]} used" in events, events)
        report.check("a use can be asked for again with its key", same_key_comes_again(fabric))


def same_key_comes_again(fabric):
    first = fabric.members[0]
    csr = subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=n"],
                         check=True, capture_output=True, text=True, timeout=30).stdout
    body = {"token": fabric.token("--role", "weft:observer"), "request": csr, "name": "n"}
    answers = [first.ask("POST", "/v1/ca/enrol", body) for _ in range(2)]
    return [a[0] for a in answers] == [200, 200] and answers[0][1]["id"] == answers[1][1]["id"]


class Eavesdropper(http.server.BaseHTTPRequestHandler):
    """Answers for the CA with what it was given, and remembers all that it is told."""
    answer, heard = b"", []

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def do_POST(self):
        self.heard.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_error(500)

    def log_message(self, *_):
        pass


@check
def a_man_in_the_middle_hears_nothing(report, weft):
    """Whoever answers in a member's place does not hear the secret: neither with a CA of its own, nor with the true one's certificate."""
    with OwnFabric(weft) as fabric, Stranger() as stranger:
        first = fabric.members[0]
        true = first.local("GET", "/v1/ca")[1]
        own = stranger.sign("ca", f"weft://{true['fabric']}/member/1")
        with open(own) as file:
            own_certificate = file.read().split("-----BEGIN PRIVATE")[0]
        client = fabric.client("c")
        shown = {"one of its own": own, "a client's of the fabric": None}
        answers = {"its own CA": {"fabric": true["fabric"], "authorities": [{"certificate": own_certificate}]}, "the true CA": true, "no CA": {}}
        for which, pem in shown.items():
            for what, answer in answers.items():
                server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Eavesdropper)
                Eavesdropper.answer, Eavesdropper.heard = json.dumps(answer).encode(), []
                tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                tls.load_cert_chain(*([pem] if pem else [client + "/client.pem", client + "/client.key"]))
                server.socket = tls.wrap_socket(server.socket, server_side=True)
                threading.Thread(target=server.serve_forever, daemon=True).start()
                try:
                    url = f"https://127.0.0.1:{server.server_address[1]}"
                    late = fabric.add("m2")
                    for words in (["enrol", url, "--out", fabric.directory + "/victim"], ["join", url, *late.arguments()]):
                        done = fabric.run(*words, "--token", fabric.token("--role", "weft:client"), check=False)
                        report.check(f"{words[0]} at {what} with {which}", done.returncode != 0 and not Eavesdropper.heard, f"{done.stderr} {Eavesdropper.heard}")
                    fabric.members.remove(late)
                    shutil.rmtree(fabric.directory + "/victim", ignore_errors=True)
                    shutil.rmtree(late.data, ignore_errors=True)
                finally:
                    server.shutdown()
                    server.server_close()


def say_hello(member, pem, sender, receiver=None, fabric=None):
    """What a member's peer port answers to a hello over TLS: a payload, or None where it closes."""
    tls = ssl._create_unverified_context()
    if pem:
        tls.load_cert_chain(pem)
    try:
        with socket.create_connection(("127.0.0.1", member.peer_port), timeout=10) as plain, tls.wrap_socket(plain) as link:
            link.sendall(peer_wire.hello(fabric or member.fabric_id, sender, receiver or member.id))
            data = link.recv(4096)
            return data[8:] if data else None
    except OSError:
        return None


@check
def nobody_poses_as_a_member(report, weft):
    """At the peer port counts a certificate of this fabric's CA for just the member that speaks."""
    with OwnFabric(weft) as fabric, OwnFabric(weft) as others, Stranger() as stranger:
        first = fabric.members[0]
        second = fabric.join("m2")
        fabric.join("m3")
        second_id, fabric_id = second.id, first.fabric_id
        second_pem = second.tls("member.pem")
        second.kill()
        report.check("m2's certificate speaks as m2", peer_wire.is_welcome(say_hello(first, second_pem, second_id) or b""))
        client = fabric.client("c", "root")
        joined = os.path.join(fabric.directory, "joined.pem")
        with open(joined, "w") as out:
            for name in ("client.pem", "client.key"):
                with open(os.path.join(client, name)) as file:
                    out.write(file.read())
        tries = {
            "no certificate": None, "a client's certificate": joined,
            "another fabric's member": others.members[0].tls("member.pem"),
            "one that it signed itself": stranger.sign("self", f"weft://{fabric_id:x}/member/{second_id:x}"),
            "one by another fabric's CA": stranger.sign("forged", f"weft://{fabric_id:x}/member/{second_id:x}", others.members[0].tls("ca.key")),
            "one with two names": stranger.sign("two", f"weft://{fabric_id:x}/member/{second_id:x},URI:weft://{fabric_id:x}/member/7", first.tls("ca.key")),
        }
        for what, pem in tries.items():
            found = say_hello(first, pem, second_id)
            report.check(what, found is None, found)
        for what, sender, hello in (("as m1 itself", first.id, {}), ("as nobody known", 7, {}), ("of another fabric", second_id, {"fabric": 5})):
            found = say_hello(first, second_pem, sender, **hello)
            report.check(f"m2's certificate speaks {what}", not peer_wire.is_welcome(found or b""), found)
        # Taken out of the fabric, its certificate is worth nothing.
        fabric.run("member", "remove", "m2", "--endpoints", first.endpoint)
        found = say_hello(first, second_pem, second_id)
        report.check("m2's certificate after its removal", not peer_wire.is_welcome(found or b""), found)
        events = fabric.run("events", "--endpoints", first.endpoint)
        report.check("who took it out is written down", any("members: remove m2" in line and "root@local" in line for line in events.splitlines()), events)
        said = fabric.run("status", "--endpoints", first.endpoint)
        report.check("status warns of the key that m2 still has", "still has the key of the fabric's CA" in said, said)


@check
def certificates_are_taken_back(report, weft):
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]
        second = fabric.join("m2")
        client = fabric.client("c")
        found = subprocess.run(["openssl", "x509", "-in", client + "/client.pem", "-noout", "-ext", "subjectAltName,extendedKeyUsage,basicConstraints"],
                               check=True, capture_output=True, text=True, timeout=30).stdout
        report.check("a client's certificate is for calling alone", "Client" in found and "Server" not in found and "CA:TRUE" not in found, found)
        assert second.ask("PUT", "/v1/kv/k", "v", context(client))[0] == 201
        renewed = fabric.run("ca", "renew", "--dir", client, "--endpoints", first.client_url)
        report.check("a young one is not renewed", "nothing to do" in renewed, renewed)
        early = fabric.run("ca", "renew", "--force", "--dir", client, "--endpoints", second.client_url, check=False)
        report.check("nor where it insists", early.returncode != 0 and "nothing to renew" in early.stderr, early.stderr)
        brief = fabric.client("brief", "weft:observer", "--ttl", "60s")
        time.sleep(21)
        fabric.run("ca", "renew", "--dir", brief, "--endpoints", second.client_url)
        listed = {c["name"]: c for c in first.local("GET", "/v1/ca/certificates")[1]["clients"]}
        left = time.mktime(time.strptime(listed["brief"]["until"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - time.time()
        report.check("what is renewed is good for as long as before", len(listed) == 2 and 50 < left < 62, f"{left} {listed}")
        report.check("and counts", first.ask("GET", "/v1/fabric/nodes", None, context(brief))[0] == 200)
        # A connection that is open when the certificate is taken back is worth nothing more, and its watch ends.
        link = http.client.HTTPSConnection("127.0.0.1", second.client_port, timeout=10, context=context(client))
        link.request("GET", "/v1/kv/k?watch")
        stream = link.getresponse()
        used = fabric.token("--role", "weft:client", "--uses", "3")
        again = os.path.join(fabric.directory, "again")
        fabric.run("enrol", first.client_url, "--token", used, "--name", "again", "--out", again)
        for name in ("client.pem", "ca.pem"):
            os.unlink(os.path.join(again, name))
        fabric.run("enrol", first.client_url, "--token", used, "--name", "again", "--out", again)
        fabric.run("ca", "revoke", listed["c"]["id"], "--endpoints", first.endpoint)
        listed = {c["name"]: c for c in first.local("GET", "/v1/ca/certificates")[1]["clients"]}
        fabric.run("ca", "revoke", listed["again"]["id"], "--endpoints", first.endpoint)
        for name in ("client.pem", "ca.pem"):
            os.unlink(os.path.join(again, name))
        back = fabric.run("enrol", first.client_url, "--token", used, "--name", "again", "--out", again, check=False)
        report.check("a key that was taken back does not come again by its token", back.returncode != 0 and "was revoked" in back.stderr, back.stderr)
        first.local("PUT", "/v1/kv/k", "secret")
        said = stream.read()
        report.check("a watch that is open hears nothing more", b"c2VjcmV0" not in said and b"secret" not in said, said)
        link.close()
        for member in (first, second):
            attempt(5, lambda: member.ask("GET", "/v1/kv/k", None, context(client))[0] == 401, "it still counts")
        report.check("nor can it be renewed", fabric.run("ca", "renew", "--force", "--dir", client, "--endpoints", second.client_url, check=False).returncode != 0)


@check
def a_machine_that_joins_lets_nobody_in(report, weft):
    """Until it has the fabric's state it knows nobody; what it is asked meanwhile is not passed on to those who would."""
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]
        # Enough that it takes a moment.
        for number in range(40):
            first.local("PUT", f"/v1/kv/large/{number}", "x" * 500_000)
        late = fabric.join("m2", wait=False)
        tried, answered = 0, []
        end = time.time() + 15
        while time.time() < end and (fabric.roles().get("m2") != "voter" or not tried):
            for path, body in (("/v3/kv/put", {**KEY, "value": b64("stranger")}), ("/v3/lease/grant", {"TTL": 60})):
                try:
                    status, said = late.ask("POST", path, body)
                except OSError:
                    continue
                tried += 1
                if status == 200:
                    answered.append((path, said))
        report.check("strangers were refused all along", tried and not answered, f"{tried} {answered[:3]}")
        report.check("and wrote nothing", first.local("GET", "/v1/kv/k")[0] == 404)


@check
def certificates_of_the_fabric_are_strictly_kept(report, weft):
    """A member that lets anybody in signs for nobody all the same; an operator makes no tokens for keys or for members that hold data."""
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]
        open_one = fabric.add("m2")
        open_one.join(first, "--token", fabric.token(), "--client-cert-auth", "false")
        open_one.wait_healthy()
        report.check("it lets anybody write", open_one.ask("PUT", "/v1/kv/k", "v")[0] in (200, 201))
        csr = subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=n"],
                             check=True, capture_output=True, text=True, timeout=30).stdout
        for path, body in (("/v1/tokens", {"role": "voter"}), ("/v1/ca/certificates", {"request": csr, "name": "n", "role": "root"}), ("/v1/ca/rotate", {}),
                           ("/v1/ca/machine", {"request": csr}), ("/v1/ca/renew", {"request": csr}), ("/v3/auth/user/add", {"name": "root", "password": "pw"}),
                           ("/v3/auth/role/add", {"name": "r"}), ("/v3/auth/user/grant", {"user": "root", "role": "root"}), ("/v3/auth/enable", {})):
            status, said = open_one.ask("POST", path, body)
            report.check(f"{path} by a stranger there", status in (401, 403), f"{status} {said}")
        operator = fabric.client("o", "weft:operator")
        for role, wanted in (("witness", 403), ("weft:node:e1", 201), ("weft:observer", 201), ("voter", 403), ("learner", 403), ("weft:client", 403),
                             ("weft:operator", 403), ("root", 403), (f"member:{first.id:x}", 403)):
            status, said = first.ask("POST", "/v1/tokens", {"role": role}, context(operator))
            report.check(f"a token for {role} by an operator", status == wanted, f"{status} {said}")
        for domain in ("a b", "../x", "d" * 129):
            status, said = first.ask("POST", "/v1/tokens", {"role": "weft:observer", "domain": domain}, context(operator))
            report.check(f"a token for the domain {domain[:9]}", status == 400 and "not a name for a domain" in str(said), f"{status} {str(said)[:200]}")
        # Nor does an operator lead the log elsewhere, in clear text.
        with socket.create_server(("127.0.0.1", 0)) as ear:
            port = ear.getsockname()[1]
            first.ask("POST", "/v1/members", {"peerURLs": [f"http://127.0.0.1:{port}"], "role": "learner"}, context(operator))
            ear.settimeout(3)
            try:
                heard = ear.accept()[0].recv(100)
            except TimeoutError:
                heard = b""
            report.check("nobody is called in clear text", heard == b"", heard)
        # What asks for a pass phrase is refused, and asks nobody.
        asking = "-----BEGIN CERTIFICATE REQUEST-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
        token = "weft1." + "a" * 52 + "." + "a" * 8 + "." + "a" * 32
        for _ in range(8):
            status, said = first.ask("POST", "/v1/ca/enrol", {"token": token, "request": asking, "name": "n"})
            report.check("a request with a pass phrase", status == 400, f"{status} {said}")
        report.check("and all goes on", first.ask("GET", "/health")[0] == 200)


@check
def a_revocation_wins(report, weft):
    """Whoever comes again with the same token while root takes the certificate back is refused in the end, however the requests meet."""
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]
        for round in range(4):
            token, out = fabric.token("--role", "weft:client", "--uses", "2"), os.path.join(fabric.directory, f"c{round}")
            fabric.run("enrol", first.client_url, "--token", token, "--name", f"c{round}", "--out", out)
            csr = subprocess.run(["openssl", "req", "-new", "-key", os.path.join(out, "client.key"), "-subj", "/CN=n"], check=True, capture_output=True, text=True,
                                 timeout=30).stdout
            listed = next(c for c in first.local("GET", "/v1/ca/certificates")[1].get("clients", []) if c["name"] == f"c{round}")
            stop = threading.Event()

            def insist():
                while not stop.is_set():
                    first.ask("POST", "/v1/ca/enrol", {"token": token, "request": csr, "name": f"c{round}"})
            threads = [threading.Thread(target=insist) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.05)
            status, said = first.local("DELETE", "/v1/ca/certificates/" + listed["id"])
            time.sleep(0.1)
            stop.set()
            for thread in threads:
                thread.join()
            left = [c for c in first.local("GET", "/v1/ca/certificates")[1].get("clients", []) if c["name"] == f"c{round}"]
            report.check("it is taken back for good", status == 200 and not left, f"{status} {said} {left}")
            report.check("and counts no more", first.ask("PUT", "/v1/kv/k", "v", context(out))[0] == 401)


@check
def nobody_gets_the_name_of_another_member(report, weft):
    """However it is spelled."""
    with OwnFabric(weft, ["--advertise-client-urls", "https://m1.example:2379,https://[2001:db8::1]:2379"]) as fabric:
        first = fabric.members[0]
        csr = subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=n"],
                             check=True, capture_output=True, text=True, timeout=30).stdout
        hosts = ["m1.example", "M1.example", "m1.EXAMPLE.", "2001:DB8:0::1", "2001:db8::1", "own.example"]
        attempt(10, lambda: "m1.example" in str(first.local("GET", "/v1/members")))
        ask = {"token": fabric.token("--role", "learner"), "request": csr, "name": "n", "peerURLs": ["https://127.0.0.1:1"], "hosts": hosts}
        status, said = first.ask("POST", "/v1/ca/join", ask)
        shown = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=said.get("certificate", ""), capture_output=True, text=True, timeout=10)
        report.check("it is for its own name alone", status == 200 and "own.example" in shown.stdout and "m1" not in shown.stdout.lower() and
                     "2001" not in shown.stdout, f"{status} {said} {shown.stdout}")
        events = [e for e in first.local("GET", "/v1/fabric/events")[1]["items"] if e["what"].startswith("add ")]
        report.check("who let it in is written down", len(events) == 1 and events[0]["by"].startswith("join token "), events)
        ask["hosts"] = [f"h{n}.example" for n in range(65)]
        status, said = first.ask("POST", "/v1/ca/join", ask)
        report.check("a member has no more than 64 names", status == 400, f"{status} {str(said)[:200]}")


@check
def users_count_beside_certificates(report, weft):
    """Once users count, keys are theirs; a certificate of root acts as root; a name that a client chose is nobody's."""
    with OwnFabric(weft, ["--bcrypt-cost", "4"]) as fabric:
        first = fabric.members[0]
        client, root = fabric.client("root"), fabric.client("r", "root")
        link = http.client.HTTPSConnection("127.0.0.1", first.client_port, timeout=10, context=context(client))
        link.request("GET", "/v1/kv/k?watch")
        stream = link.getresponse()
        for path, body in (("user/add", {"name": "root", "password": "pw"}), ("user/grant", {"user": "root", "role": "root"}), ("enable", {})):
            status, said = first.local("POST", f"/v3/auth/{path}", body)
            assert status == 200, said
        for what, who, wanted in (("a client's", client, 403), ("root's", root, 200)):
            status, said = first.ask("POST", "/v3/kv/put", {**KEY, "value": b64("v")}, context(who))
            report.check(f"a put by {what} certificate", status == wanted, f"{status} {said}")
        status, said = first.ask("POST", "/v3/kv/range", KEY)
        report.check("as nobody", status == 400 and "user name is empty" in str(said), f"{status} {said}")
        first.local("PUT", "/v1/kv/k", "secret")
        said = stream.read()
        report.check("a watch that began before hears nothing of it", b"c2VjcmV0" not in said and b"secret" not in said, said)
        link.close()
        token = first.ask("POST", "/v3/auth/authenticate", {"name": "root", "password": "pw"})[1]["token"]
        link = http.client.HTTPSConnection("127.0.0.1", first.client_port, timeout=10, context=context(client))
        link.request("POST", "/v3/kv/range", json.dumps(KEY), {"Authorization": token})
        report.check("a token beats the certificate", link.getresponse().status == 200)
        link.close()
        said = fabric.run("check", "--endpoints", first.endpoint)
        report.check("the socket still opens everything", "ok   all 1 members answer" in said, said)


@check
def people_log_in(report, weft):
    """By token or password; commands go on without URLs. What is kept is private, is no password, and ends with it."""
    with OwnFabric(weft, ["--bcrypt-cost", "4"]) as fabric:
        first = fabric.members[0]
        second = fabric.join("m2")
        home = os.path.join(fabric.directory, "home")
        environment = {"WEFT_CONFIG_DIR": home}

        def run(*words, check=True):
            return fabric.run(*words, check=check, environment=environment)

        said = run("login", first.client_url, "--token", fabric.token("--role", "weft:client"))
        report.check("a login by token", "logged in" in said, said)
        report.check("a put without a URL", run("put", "k", "v").startswith("OK"))
        kept = {os.path.join(folder, name): os.stat(os.path.join(folder, name)).st_mode & 0o777 for folder, _, names in os.walk(home) for name in names}
        report.check("what is kept is private", kept and set(kept.values()) == {0o600}, kept)
        first.kill()
        attempt(20, lambda: run("get", "k", check=False).returncode == 4 or True)
        first.restart()
        first.wait_healthy()
        with open(os.path.join(home, "contexts/default/client.endpoints")) as file:
            report.check("it knows the other members, too", second.client_url in file.read())
        nothing = run("get", "k", "--context", "other", check=False)
        report.check("one that is not there", nothing.returncode == 3 and "no login called other" in nothing.stderr, nothing.stderr)
        for path, body in (("user/add", {"name": "root", "password": "pw"}), ("user/grant", {"user": "root", "role": "root"}), ("user/add", {"name": "al", "password": "secret"}),
                           ("role/add", {"name": "r"}), ("role/grant", {"name": "r", "perm": {"permType": "READ", "key": b64("k")}}), ("user/grant", {"user": "al", "role": "r"}), ("enable", {})):
            status, told = first.local("POST", f"/v3/auth/{path}", body)
            assert status == 200, told
        ca = os.path.join(home, "contexts/default/ca.pem")
        wrong = run("login", first.client_url, "--user", "al", "--password", "wrong", "--cacert", ca, "--context", "al", check=False)
        report.check("a wrong password", wrong.returncode == 1 and "authentication failed" in wrong.stderr, wrong.stderr)
        run("login", first.client_url, "--user", "al", "--password", "secret", "--cacert", ca, "--context", "al")
        report.check("it is the one that is used", [line.split()[1] for line in run("context").splitlines() if line.startswith("*")] == ["al"], run("context"))
        report.check("the user reads", run("get", "k").endswith("v"))
        denied = run("put", "k", "w", check=False)
        report.check("and no more than that", denied.returncode == 1 and "permission denied" in denied.stderr, denied.stderr)
        kept = b"".join(open(os.path.join(folder, name), "rb").read() for folder, _, names in os.walk(home) for name in names)
        report.check("no password is kept", b"secret" not in kept)
        renewed = fabric.run("ca", "renew", "--force", "--dir", os.path.join(home, "contexts/al"), "--endpoints", first.client_url, check=False)
        report.check("a login is not renewed without a password", renewed.returncode == 1 and "permission denied" in renewed.stderr, renewed.stderr)
        assert first.local("POST", "/v3/auth/user/changepw", {"name": "al", "password": "secret"})[0] == 200
        ended = run("get", "k", check=False)
        report.check("it ends with the password", ended.returncode == 1 and "user name is empty" in ended.stderr, f"{ended.stdout} {ended.stderr}")
        run("context", "use", "default")
        run("context", "remove", "al")
        report.check("logins are removed", "al" not in run("context"), run("context"))


class Mover(SecureMember):
    """One that begins in clear text; `stage` says how far it has gone over."""
    stage = "clear"

    def __init__(self, fabric, name):
        super().__init__(fabric, name)
        self.secure_client_port, self.secure_peer_port = free_port(), free_port()
        self.peer_scheme = "http"

    def arguments(self):
        clear = [f"http://127.0.0.1:{self.client_port}", f"http://127.0.0.1:{self.peer_port}"]
        secure = [f"https://127.0.0.1:{self.secure_client_port}", f"https://127.0.0.1:{self.secure_peer_port}"]
        clients, peers = {"clear": (clear[0], clear[1]), "both": (",".join([clear[0], secure[0]]), ",".join([clear[1], secure[1]])),
                          "secure": (secure[0], secure[1]), "locked": (secure[0], secure[1])}[self.stage]
        words = ["--name", self.name, "--data-dir", self.data, "--client-socket", self.socket, "--listen-client-urls", clients,
                 "--advertise-client-urls", clients, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        return words if self.stage in ("clear", "locked") else [*words, "--client-cert-auth", "false"]


@check
def a_fabric_in_clear_text_goes_over(report, weft):
    """docs/security.md's way, member by member, while a client writes; at the end nobody gets in without a certificate."""
    with OwnFabric(weft, count=0) as fabric:
        first, second, third = fabric.members = [Mover(fabric, f"m{n}") for n in (1, 2, 3)]
        fabric.founders = list(fabric.members)
        for member in fabric.members:
            member.start()
        for member in fabric.members:
            member.wait_healthy()
        stop, failures, done = threading.Event(), [], [0]

        def write():
            # Like any client it goes on to the next member when one is down.
            while not stop.is_set():
                for member in fabric.members:
                    try:
                        link = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=10)
                        status, said = ask(link, "PUT", "/v1/kv/k", "v")
                    except (OSError, http.client.HTTPException):
                        continue
                    done[0] += 1
                    # It stops, or has no leader for a moment.
                    if status not in (200, 201, 503):
                        failures.append((status, said))
                    break

        writer = threading.Thread(target=write)
        writer.start()
        try:
            fabric.run("ca", "init", "--endpoints", first.endpoint)
            again = fabric.run("ca", "init", "--endpoints", first.endpoint, check=False)
            report.check("there is one CA", again.returncode != 0 and "already" in again.stderr, again.stderr)
            first.stop()
            first.stage = "both"
            first.restart()
            first.wait_healthy()
            for member in (second, third):
                token = fabric.run("token", "create", "--member", member.name, "--endpoints", first.endpoint)
                member.stop()
                member.stage = "both"
                member.spawn(["join", f"https://127.0.0.1:{first.secure_client_port}", "--token", token, *member.arguments()])
                member.wait_healthy()
            attempt(20, lambda: all("until" in n for n in fabric.noted().values()))
            for member in fabric.members:
                attempt(20, lambda: all("https://" in u for u in peer_urls(first, member.name)[-1:]))
        finally:
            stop.set()
            writer.join()
        report.check("a client in clear text was served all along", not failures and done[0] > 20, f"{done[0]} {failures[:3]}")
        client = fabric.client("c")
        for stage in ("secure", "locked"):
            for member in fabric.members:
                member.stop()
                member.stage = stage
                member.restart()
                member.wait_healthy()
        for member in fabric.members:
            member.client_port = member.secure_client_port
            report.check(f"{member.name} is locked", member.ask("GET", "/v1/kv/k")[0] == 401)
            status, said = attempt(20, lambda: (a := member.ask("GET", "/v1/kv/k", None, context(client)))[0] == 200 and a)
            report.check(f"and opens with a certificate", said == "v", said)
            found = say_hello_plainly(first, member)
            report.check(f"{member.name} takes no peer in clear text", found is None, found)


def peer_urls(member, name):
    return next(m for m in member.local("GET", "/v1/members")[1]["members"] if m.get("name") == name)["peerURLs"]


def say_hello_plainly(first, member):
    try:
        with socket.create_connection(("127.0.0.1", member.peer_port), timeout=5) as link:
            link.sendall(peer_wire.hello(first.fabric_id, first.id, member.id))
            return link.recv(100)[8:] or None
    except OSError:
        return None


if __name__ == "__main__":
    from wire import main
    main(checks, "own_ca.py")
