#!/usr/bin/env python3
"""What strangers.py tries in clear text, here said by somebody who has the certificate of a member that is away, in a fabric with a CA of its own: the
members may not end, lose anything or disagree for it either. And certificates of members past their time.

    own_peers.py WEFT [--only NAME]
"""
import os
import ssl
import subprocess

import peer_wire as wire
import strangers
import strangers_crowds
from harness import Connection, run_checks
from own_fabric import LocalConnection, OwnFabric, SecureMember
from peer_rights import access, names, trust
from peer_scene import Scene, agree, alive, restart_all, takes_writes, until
from tls import sign_between


class LocalLink(Connection):
    """Requests by the socket of a member's machine, over one connection while it holds."""

    def __init__(self, path, timeout):
        super().__init__(0, timeout)
        self.path = path

    def request(self, method, path, body=b"", headers=None):
        self.http = self.http or LocalConnection(self.path, self.timeout)
        return super().request(method, path, body, headers)


class OwnMember(SecureMember):
    def connection(self, timeout=12):
        return LocalLink(self.socket, timeout)

    def start(self, *extra):
        """Also as what it became by joining."""
        if os.path.exists(self.data):
            return self.restart()
        super().start(*extra)


class OwnPeers(OwnFabric):
    def add(self, name):
        member = OwnMember(self, name)
        self.members.append(member)
        return member


class SecurePeer(wire.Peer):
    """By TLS, with a certificate."""

    def __init__(self, context, port, first=b"", timeout=5, source=None):
        super().__init__(port, timeout=timeout, source=source)
        try:
            self.socket = context.wrap_socket(self.socket)
            if first:
                self.send(first)
        except OSError:
            self.close()
            raise


class SecureImpostor(wire.Impostor):
    """Answers by TLS, with a certificate."""

    def __init__(self, pem, port, answer):
        super().__init__(port, answer)
        self.called = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)

    def _serve(self, connection):
        self.called += 1
        connection.settimeout(5)
        try:
            secure = self.context.wrap_socket(connection, server_side=True)
        except OSError:
            return connection.close()
        self.open.append(secure)
        super()._serve(secure)


class OwnScene(Scene):
    """Somebody has all the files of the member that is away."""

    def __init__(self, weft, count=3):
        super().__init__(weft, count)
        self.count, self.contexts = count, {}

    @staticmethod
    def make_fabric(weft, count):
        return OwnPeers(weft)

    def prepare(self):
        for number in range(2, self.count + 1):
            self.fabric.join(f"m{number}")
        super().prepare()

    def peer(self, port, first=b"", **more):
        return SecurePeer(self.context(), port, first, **more)

    def impostor(self, answer, pem=None):
        return SecureImpostor(pem or self.away.tls("member.pem"), self.away.peer_port, answer)

    def context(self, pem=None):
        pem = pem or self.away.tls("member.pem")
        if pem not in self.contexts:
            self.contexts[pem] = context = ssl._create_unverified_context()
            context.load_cert_chain(pem)
        return self.contexts[pem]

    def greet(self, to, pem, source=None):
        """What a member answers to the absent one's hello, said with this certificate: a payload, or None where it closes."""
        try:
            with SecurePeer(self.context(pem), to.peer_port, self.hello(to), source=source) as peer:
                return peer.read()
        except TimeoutError:
            raise
        except OSError:
            return None


# --- Certificates that somebody makes who has the key of the fabric's CA


def certify(scene, name, begin, end):
    """A certificate for the absent member's own key and name, by the fabric's CA, that is good from one day until another, both counted from now."""
    member, folder = scene.away, os.path.join(scene.fabric.directory, name)
    own, made, key = member.tls("member.pem"), os.path.join(folder, "made.pem"), os.path.join(folder, "key.pem")
    os.mkdir(folder)

    def openssl(*words):
        return subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, text=True, timeout=30).stdout

    openssl("pkey", "-in", own, "-out", key)
    openssl("req", "-new", "-key", key, "-subj", f"/CN={member.name}", "-out", "made.csr")
    named = openssl("x509", "-in", own, "-noout", "-ext", "subjectAltName").strip().splitlines()[-1].strip().replace("IP Address", "IP")
    extensions = f"basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName={named}\n"
    sign_between(folder, member.tls("ca.key"), member.tls("ca.key"), "made", extensions, begin, end)
    with open(made, "a") as out, open(key) as file:
        out.write(file.read())
    return made


def members_refuse_a_certificate_past_its_time(weft):
    """It is the absent member's own key and name, and signed by the fabric's CA: only the time differs from one that is welcome."""
    with OwnScene(weft) as scene:
        good = certify(scene, "good", -1, 1)
        for to in scene.rest:
            assert wire.is_welcome(scene.greet(to, good) or b""), f"{to.name} does not take a good one: {to.log()[-1000:]}"
        # Each from elsewhere: what is said of an address again and again is written down once.
        tries = [("past", -40, -1, "expired"), ("just", -40, -60 / 86_400, "expired"), ("early", 2, 20, "not yet valid")]
        for number, (name, begin, end, word) in enumerate(tries):
            pem, source = certify(scene, name, begin, end), f"127.0.78.{number + 1}"
            for to in scene.rest:
                answer = scene.greet(to, pem, source)
                assert answer is None, f"{to.name} answers one {name}: {answer}"
                until(f"the log of {to.name} says of one {name}: {word}, and who came", lambda: any(
                    word in line and source in line for line in to.log().splitlines()), 5)
        takes_writes(scene.rest, "after")
        scene.come_back()
        agree(scene.fabric.members)


def members_do_not_believe_a_certificate_past_its_time(weft):
    """Who answers at a dead member's address with its old certificate hears nothing; with one that is good it does."""
    with OwnScene(weft) as scene:
        past, good = certify(scene, "past", -40, -1), certify(scene, "good", -1, 1)
        with scene.impostor(wire.refused(wire.REMOVED), past) as impostor:
            until("the members call", lambda: impostor.called >= 8, 25)
            assert impostor.answered == 0, f"{impostor.answered} of {impostor.called} said who they are"
            until("the log says why", lambda: any("expired" in member.log() for member in scene.rest), 5)
        with scene.impostor(wire.refused(wire.WRONG_CLUSTER), good) as impostor:
            until("the members say who they are to a good one", lambda: impostor.answered > 0, 25)
        alive(scene.rest)
        takes_writes(scene.rest, "after")


# --- Commands about the fabric's own CA and its members


def forged_words_about_the_fabrics_ca_trap_nobody(weft):
    """Each member is said to have other keys and CAs, and to be gone; a CA that is none is the newest; then the true one is taken away."""
    with OwnScene(weft) as scene:
        true = bytes.fromhex(scene.leader.local("GET", "/v1/ca")[1]["authorities"][0]["id"])
        members = [b"%x" % number for number in scene.ids.values()]
        changes = []
        for member in members:
            changes += [trust(8, names(member, b"other", b"key"), 0), trust(8, names(member, true, b"key"), 2**53), trust(11, names(member, b"new", b"key")),
                        trust(12, names(member, b"none")), trust(9, names(member))]
        changes.append(trust(1, names(b"other", b"no certificate"), wire.varint(1)))
        for member in members:
            changes += [trust(12, names(member, b"other")), trust(8, names(member, b"other", b"key"), 0)]
        changes.append(trust(2, names(true), wire.several([wire.blob(member) for member in members])))
        term, peer = int(scene.leader.status()["raftTerm"]), None
        for change in changes:
            peer = scene.say(scene.leader, term, wire.propose([wire.proposal(wire.command(access(change)))]), peer=peer)
        strangers.carried_out(scene, "marker/certificates", "what is said of certificates", peer)
        strangers.look_around(scene.rest)
        restart_all(scene.rest)
        takes_writes(scene.rest, "after")
        scene.come_back()
        takes_writes(scene.fabric.members, "after/2")
        agree(scene.fabric.members)
        strangers.recovers(weft, scene.leader)


strangers.Scene = strangers_crowds.Scene = OwnScene
# A fabric with a CA of its own has one founder; and at the socket of its machine root needs no password.
ELSEWHERE = {strangers.stranger_cannot_end_a_new_founder, strangers.forged_passwords_let_nobody_in}
CHECKS = [members_refuse_a_certificate_past_its_time, members_do_not_believe_a_certificate_past_its_time,
          forged_words_about_the_fabrics_ca_trap_nobody, *(each for each in strangers.CHECKS if each not in ELSEWHERE)]


if __name__ == "__main__":
    run_checks(CHECKS)
