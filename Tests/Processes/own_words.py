#!/usr/bin/env python3
"""What a fabric with its own CA says of clocks, ends of certificates and clear text, and what its commands do with keys, logins and wrong words.

    own_words.py WEFT [--only NAME]
"""
import json
import os
import subprocess
import tempfile
import threading
import time

from harness import Fabric, Member, as_service, attempt, free_port, give_to_service, reachable
from own_fabric import Clock, OwnFabric, SecureMember, context
from tls import Authority

checks = []


def check(function):
    checks.append(function)
    return function


def weft_says(weft, *words, environment=()):
    return subprocess.run(as_service([reachable(os.path.abspath(weft)), *words], environment), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


@check
def clocks_that_differ_are_shown(report, weft):
    """`status` says by how much each clock is ahead of the leader's, also a witness's, and `check` warns of it."""
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]
        fabric.join("m2")
        late = fabric.add("tie")
        clock = Clock(fabric)
        late.environment = clock.environment
        late.join(first, "--token", fabric.token("--role", "witness"))
        attempt(30, lambda: fabric.roles().get("tie") == "witness", "it does not vote")
        clock.set(0.001)
        rows = {row["name"]: row for row in json.loads(fabric.run("status", "-o", "json", "--endpoints", first.endpoint))}
        report.check("those that agree", abs(rows["m2"]["clockSkewMilliseconds"]) < 5_000, rows["m2"])
        report.check("the one that does not", 80_000 < rows["tie"]["clockSkewMilliseconds"] < 92_000, rows["tie"])
        said = fabric.run("check", "--endpoints", first.endpoint)
        report.check("check warns", "the clock of tie differs by +8" in said and "warn weaknesses are known" in said, said)


@check
def ends_of_certificates_are_told(report, weft):
    """Of those that operators brought, and of clients that do not renew; a CA that is gone is named as such."""
    fabric = OwnFabric(weft)
    clock = Clock(fabric)
    for member in fabric.members:
        member.environment = clock.environment
    with fabric:
        first = fabric.members[0]
        fabric.client("brief", "weft:observer", "--ttl", "120s")
        clock.set(105 / 86_400)
        said = attempt(20, lambda: (s := fabric.run("status", "--endpoints", first.endpoint)) and "were not renewed: brief" in s and s)
        report.check("status warns of a client that does not renew", "brief" in said, said)
        fabric.client("gone", "weft:client")
        idle = fabric.run("ca", "rotate", "--finish", "--endpoints", first.endpoint, check=False)
        report.check("nothing is to finish", "no new CA is being taken into use" in idle.stderr, idle.stderr)
        fabric.run("ca", "rotate", "--endpoints", first.endpoint)
        attempt(30, lambda: fabric.run("ca", "rotate", "--finish", "--force", "--endpoints", first.endpoint, check=False).returncode == 0)
        shown = fabric.run("ca", "show", "--endpoints", first.endpoint)
        report.check("a certificate whose CA is gone", any("gone" in line and "no more: its CA is gone" in line for line in shown.splitlines()), shown)
    with Authority() as authority, Fabric(weft, 0) as fabric:
        authority.leaf_between("m", -1, 3)
        member = Brought(fabric, "m1", authority)
        fabric.members.append(member)
        fabric.founders = [member]
        member.start()
        local = ["--endpoints", f"unix://{member.socket}"]
        attempt(20, lambda: weft_says(weft, "get", "k", *local).returncode in (0, 3))
        said = weft_says(weft, "status", *local, "--cacert", authority.path("ca.pem")).stdout
        report.check("a brought certificate that ends soon", "m1's own certificate" in said, said)
        figures = subprocess.run(["curl", "-s", "--unix-socket", member.socket, "http://x/metrics"], capture_output=True, text=True, timeout=10).stdout
        end = next((float(line.split()[1]) for line in figures.splitlines() if line.startswith("weft_member_certificate_expiry")), 0)
        report.check("metrics say when", 2 < (end - time.time()) / 86_400 < 4, end)


class Brought(SecureMember):
    """One whose certificate for clients is another CA's; its peers are in clear text, on loopback."""

    def __init__(self, fabric, name, authority):
        super().__init__(fabric, name)
        self.peer_scheme, self.authority = "http", authority

    def arguments(self):
        return [*super().arguments(), "--cert-file", self.authority.path("m.pem"), "--key-file", self.authority.path("m.key")]


class Wide(Member):
    """One that listens on all addresses in clear text, and says that it is at loopback."""

    def arguments(self):
        return ["--name", self.name, "--data-dir", self.data, "--found", "--listen-client-urls", f"http://0.0.0.0:{self.client_port}",
                "--advertise-client-urls", self.client_url, "--listen-peer-urls", self.peer_url]


@check
def listeners_in_clear_text_are_told(report, weft):
    with Fabric(weft, 0) as fabric:
        member = Wide(fabric, "m1")
        fabric.members.append(member)
        member.spawn(["serve", *member.arguments()])
        member.wait_healthy()
        # It serves before it has told the fabric its name and where it listens.
        attempt(10, lambda: "m1" in weft_says(weft, "status", "--endpoints", member.client_url).stdout, "it has no name")
        for command in ("status", "check"):
            said = weft_says(weft, command, "--endpoints", member.client_url).stdout
            report.check(f"{command} tells", f"m1 listens in clear text at http://0.0.0.0:{member.client_port}" in said, said)


@check
def a_learner_gets_the_names_it_comes_to_have(report, weft):
    """It signs nothing itself: others give it a certificate for its new names, without a restart of theirs."""
    with OwnFabric(weft) as fabric:
        learner = fabric.add("l")
        learner.join(fabric.members[0], "--token", fabric.token("--role", "learner"))
        attempt(30, lambda: fabric.roles().get("l") == "learner")
        learner.kill()
        learner.spawn(["serve", *learner.arguments(), "--tls-san", "lb.example"])
        names = ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", learner.tls("member.pem")]
        said = attempt(60, lambda: (s := subprocess.run(names, capture_output=True, text=True, timeout=10).stdout) and "lb.example" in s and s)
        report.check("it is for the new name", "DNS:lb.example" in said, said)


@check
def a_member_stays_with_its_fabric(report, weft):
    """Another fabric's token changes nothing at a machine that is a member, and is not used up; nor is one for another member."""
    with OwnFabric(weft) as fabric, OwnFabric(weft) as other:
        fabric.join("m2")
        tie = fabric.join("tie", "--role", "witness")
        tie.kill()
        before = open(tie.tls("ca.pem")).read()
        token = other.token("--role", "witness")
        tie.join(other.members[0], "--token", token)
        report.check("it is refused", tie.process.wait(20) == 1 and "nothing was changed" in tie.log(), tie.log()[-600:])
        report.check("what it believes stays", open(tie.tls("ca.pem")).read() == before)
        report.check("the token stays good", other.members[0].local("GET", "/v1/tokens")[1]["tokens"][0]["usesLeft"] == "1")
        report.check("the other fabric has no new member", len(other.roles()) == 1, other.roles())
        wrong = fabric.token("--role", "learner")
        tie.join(fabric.members[0], "--token", wrong)
        ended = tie.process.wait(20)
        report.check("nor does it become another one", ended == 1 and "this machine is member tie already" in tie.log(), f"{ended} {tie.log()[-250:]}")
        tie.spawn(["serve", *tie.arguments()])
        attempt(30, lambda: fabric.run("check", "--endpoints", fabric.members[0].endpoint, check=False).returncode == 0, "it does not come back")


@check
def members_that_move_at_once_find_each_other(report, weft):
    """Neither knows where the other is now; the third, which stayed, hears of both, and tells."""
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]
        second = fabric.join("m2")
        fabric.join("tie", "--role", "witness")
        first.local("PUT", "/v1/kv/k", "v")
        for member in (first, second):
            member.kill()
            member.client_port, member.peer_port = free_port(), free_port()
        for member in (first, second):
            member.restart()
        for member in (first, second):
            member.wait_healthy()
            report.check(f"{member.name} answers", attempt(20, lambda member=member: member.local("GET", "/v1/kv/k")[1]) == "v")
        urls = attempt(20, lambda: (u := str(second.local("GET", "/v1/members"))) and all(str(m.peer_port) in u for m in (first, second)) and u)
        report.check("the fabric knows where they are", bool(urls))


@check
def a_refused_machine_leaves_nothing(report, weft):
    with OwnFabric(weft) as fabric:
        late = fabric.add("late")
        token = fabric.token("--role", "learner")
        late.join(fabric.members[0], "--token", token[:-1] + ("a" if token[-1] != "a" else "b"))
        report.check("it is refused", late.process.wait(20) == 1, late.log())
        left = [os.path.join(folder, name) for folder, _, names in os.walk(late.data) for name in names if name != "lock"]
        report.check("nothing stays but the key of its next try", left == [late.tls("joining.key")], left)
        late.join(fabric.members[0])
        report.check("without a token it is told of tokens", late.process.wait(20) == 4 and "weft token create" in late.log(), late.log()[-600:])


@check
def keys_and_logins_are_ones_own(report, weft):
    with OwnFabric(weft) as fabric, tempfile.TemporaryDirectory() as folder:
        first = fabric.members[0]
        give_to_service(folder)
        out = os.path.join(folder, "out")
        os.mkdir(out)
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", out + "/client.key"], check=True, timeout=10)
        os.chmod(out + "/client.key", 0o644)
        give_to_service(out)
        laid = fabric.run("ca", "issue", "admin", "--role", "root", "--out", out, "--endpoints", first.endpoint, check=False)
        report.check("a key that others read is not certified", laid.returncode == 1 and "others can read it" in laid.stderr, laid.stderr)
        os.remove(out + "/client.key")
        victim = os.path.join(folder, "victim")
        open(victim, "w").write("mine")
        os.symlink(victim, out + "/client.pem.new")
        fabric.run("ca", "issue", "admin", "--role", "root", "--out", out, "--endpoints", first.endpoint)
        report.check("what was laid beside it is not written through", open(victim).read() == "mine" and not os.path.islink(out + "/client.pem"))
        renewed = fabric.run("ca", "renew", "--force", "--dir", out, check=False)
        report.check("it is renewed where it came from", "nothing to renew" in renewed.stderr, renewed.stderr)
        local = fabric.run("ca", "renew", "--force", "--dir", out, "--endpoints", first.endpoint, check=False)
        report.check("and not at a socket", local.returncode == 2 and "by showing it" in local.stderr, local.stderr)
        home = {"WEFT_CONFIG_DIR": os.path.join(folder, "home"), "WEFT_USER": "somebody"}
        for _ in range(3):
            tokens = [fabric.token("--role", "weft:client") for _ in range(4)]
            ends = []

            def log_in(token):
                ends.append(fabric.run("login", first.client_url, "--token", token, check=False, environment=home))
            threads = [threading.Thread(target=log_in, args=(token,)) for token in tokens]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            report.check("logins at once all succeed", all(e.returncode == 0 for e in ends), [e.stderr for e in ends])
            got = fabric.run("get", "k", check=False, environment={"WEFT_CONFIG_DIR": home["WEFT_CONFIG_DIR"]})
            report.check("and the last one is whole", got.returncode == 3, f"{got.returncode} {got.stderr}")
        listed = json.loads(fabric.run("context", "list", "-o", "json", environment=home))
        report.check("contexts as JSON", listed[0]["name"] == "default" and listed[0]["current"], listed)


@check
def wrong_words_are_named(report, weft):
    """Exit codes and words for what was asked wrongly; etcd's spellings are understood."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        give_to_service(folder)
        ports = ["--listen-client-urls", f"http://127.0.0.1:{free_port()}", "--listen-peer-urls", f"http://127.0.0.1:{free_port()}", "--data-dir", folder + "/d"]
        secure = ["--listen-client-urls", f"https://127.0.0.1:{free_port()}"]
        sections = os.path.join(folder, "etcd.yaml")
        with open(sections, "w") as file:
            file.write("client-transport-security:\n  cert-file: /nowhere/c.pem\n  key-file: /nowhere/k.pem\n  client-cert-auth: true\n"
                       "  trusted-ca-file: /nowhere/ca.pem\npeer-transport-security:\n  auto-tls: false\n")
        os.chmod(sections, 0o644)
        for words, code, text in [
                (["serve", *ports, "--auth-token", "nope"], 2, "nope"),
                (["serve", *ports, *secure, "--cert-file", "/nowhere/c.pem", "--key-file", "/nowhere/k.pem"], 2, "/nowhere/c.pem: No such file"),
                (["serve", *ports, "--auto-tls"], 2, "certificates of its own CA"),
                (["serve", *ports, "--peer-auto-tls=true"], 2, "certificates of its own CA"),
                (["serve", *ports, *secure, "--client-cert-auth", "--cert-file", "/nowhere/c.pem", "--key-file", "/nowhere/k.pem"], 2, "--trusted-ca-file must say"),
                (["serve", *ports, *secure, "--config-file", sections], 2, "/nowhere/c.pem: No such file"),
                (["token", "create", "--uses", "0"], 64, "1 to 1000"), (["token", "create", "--ttl", "1000000h"], 2, "from 1s to 720h"),
                (["token", "create", "--role", "weft:client", "--domain", "east"], 64, "are about members"),
                (["token", "create", "--member", "m2", "--role", "root"], 64, "--member is about a member that is there"),
                (["enrol", "https://127.0.0.1:1", "--token", "-"], 2, "Join token is read from there")]:
            done = weft_says(weft, *words)
            report.check(" ".join(words)[:80], done.returncode == code and text in done.stderr, f"{done.returncode} {done.stderr}")
    with Fabric(weft, 1) as fabric:
        at = ["--endpoints", fabric.leader().client_url]
        for words in (["user", "delete", "nobody"], ["role", "delete", "nobody"], ["user", "get", "nobody"]):
            done = weft_says(weft, *words, *at)
            report.check(" ".join(words), done.returncode == 3, f"{done.returncode} {done.stderr}")


if __name__ == "__main__":
    from wire import main
    main(checks, "own_words.py")
