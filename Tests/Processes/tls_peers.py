#!/usr/bin/env python3
"""TLS between members: who is let in, renewal without a restart, and the way from clear text.

    tls_peers.py WEFT [--only NAME]
"""
import socket
import ssl
import time

from harness import Fabric, b64, free_port
from peer_scene import agree, takes_writes, until
from tls import Authority

checks = []


def check(function):
    checks.append(function)
    return function


def flags(authority, name):
    return ["--peer-cert-file", authority.path(f"{name}.pem"), "--peer-key-file", authority.path(f"{name}.key"),
            "--peer-trusted-ca-file", authority.path("ca.pem")]


def secured(weft, authority, count=3, names="IP:127.0.0.1", more=()):
    """A fabric whose members have a certificate each, of the name of the member."""
    fabric = Fabric(weft, count, more)
    for member in fabric.members:
        secure(member, authority, names)
    return fabric


def secure(member, authority, names="IP:127.0.0.1"):
    authority.leaf(member.name, names)
    member.peer_scheme = "https"
    plain = type(member).arguments
    member.arguments = lambda: [*plain(member), *flags(authority, member.name)]


def put_all(member, count, size):
    for number in range(count):
        member.connection().call("/v3/kv/put", {"key": b64(f"large/{number}"), "value": b64("x" * size)})


@check
def members_talk_by_tls_and_others_join(report, weft):
    with Authority() as authority, secured(weft, authority) as fabric:
        takes_writes(fabric.members, "first")
        leader = fabric.leader()
        put_all(leader, 30, 100_000)
        newcomer = fabric.add("m4")
        secure(newcomer, authority)
        newcomer.join(leader)
        newcomer.wait_healthy()
        until("the newcomer votes", lambda: [member.get("isLearner", False) for member in leader.connection().call(
            "/v3/cluster/member/list", {})["members"] if member.get("name") == "m4"] == [False], 60)
        fabric.members.sort(key=lambda member: member.name)
        takes_writes(fabric.members, "second")
        report.check("who was killed comes back", True)
        follower = fabric.follower()
        follower.kill()
        put_all(fabric.leader(), 5, 1000)
        follower.restart()
        follower.wait_healthy()
        agree(fabric.members, 60)
        with socket.create_connection(("127.0.0.1", leader.peer_port), 5) as link:
            link.sendall(b"\x00" * 64)
            link.settimeout(15)
            said = link.recv(4096)
            # A TLS alert, or nothing.
            report.check("clear text gets nothing at the peer port", said == b"" or said[0] == 0x15, said[:50])


def refuses(port, context):
    """If the other end ends the connection before anything is said."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as link:
            with context.wrap_socket(link, server_hostname="127.0.0.1") as secure_link:
                secure_link.settimeout(5)
                return secure_link.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True
    except TimeoutError:
        return False


@check
def strangers_are_refused(report, weft):
    with Authority() as authority, Authority("stranger") as stranger, secured(weft, authority) as fabric:
        for of in (authority, stranger):
            of.leaf("caller")
        port = fabric.members[0].peer_port
        report.check("without a certificate", refuses(port, authority.context()))
        context = authority.context()
        context.load_cert_chain(stranger.path("caller.pem"), stranger.path("caller.key"))
        report.check("with one of another CA", refuses(port, context))
        authority.leaf("elsewhere", "IP:10.9.9.9")
        said = secure_hello(authority, "elsewhere", port)
        report.check("with one that is for another address", said == b"", said)
        until("the log says so", lambda: "10.9.9.9" in fabric.members[0].log())
        authority.leaf_between("past", -40, -1, "IP:127.0.0.1")
        said = secure_hello(authority, "past", port)
        report.check("with one past its time", said == b"", said)
        until("the log says so, too", lambda: "expired" in fabric.members[0].log())
        report.check("and a good one is heard", secure_hello(authority, "caller", port, wait=1.5) is None)
        takes_writes(fabric.members, "still")


def secure_hello(authority, name, port, wait=8):
    """What a caller hears that says something that is no greeting's end; None when the connection stays open so long."""
    with socket.create_connection(("127.0.0.1", port), 5) as link:
        with authority.context(name).wrap_socket(link, server_hostname="127.0.0.1") as secure_link:
            secure_link.settimeout(wait)
            try:
                return secure_link.recv(1)
            except TimeoutError:
                return None
            except (ssl.SSLError, ConnectionError):
                return b""


@check
def certificates_are_renewed_and_taken_back(report, weft):
    with Authority() as authority:
        crl = authority.revoke()
        with secured(weft, authority, more=["--peer-crl-file", crl]) as fabric:
            takes_writes(fabric.members, "first")
            for member in fabric.members:
                authority.leaf(member.name, "IP:127.0.0.1")
            follower = fabric.follower()
            follower.stop()
            follower.restart()
            follower.wait_healthy()
            takes_writes(fabric.members, "renewed")
            authority.revoke(follower.name)
            follower.stop()
            follower.restart()
            others = [member for member in fabric.members if member is not follower]
            until("the others refuse it", lambda: any("revoked" in member.log()[member.log_start:] for member in others), 30)
            takes_writes(others, "without it")
            report.check("its own port says that it hears nobody", not follower.healthy())
            authority.leaf(follower.name, "IP:127.0.0.1")
            follower.stop()
            follower.restart()
            follower.wait_healthy(60)
            takes_writes(fabric.members, "with another")


@check
def members_are_known_by_more_than_their_ca(report, weft):
    with Authority() as authority:
        for more, lets in ((["--peer-cert-allowed-cn", "m1"], False), (["--peer-cert-allowed-hostname", "members.invalid"], True),
                           (["--peer-cert-allowed-hostname", "others.invalid"], False)):
            fabric = secured(weft, authority, 2, "IP:127.0.0.1,DNS:members.invalid", more)
            try:
                for member in fabric.founders:
                    member.start()
                end = time.time() + (30 if lets else 4)
                while time.time() < end and not (found := all(member.healthy() for member in fabric.members)):
                    time.sleep(0.2)
                report.check(f"{' '.join(more)} lets {'them' if lets else 'nobody'} in", found == lets)
            finally:
                fabric.__exit__(None, None, None)


@check
def a_fabric_goes_from_clear_text_to_tls(report, weft):
    with Authority() as authority, Fabric(weft, 3) as fabric:
        takes_writes(fabric.members, "clear")
        for member in fabric.members:
            authority.leaf(member.name, "IP:127.0.0.1")
            member.secure_port = free_port()
        plain = type(fabric.members[0]).arguments

        def arguments(member, both):
            words = plain(member)
            place = words.index("--listen-peer-urls") + 1
            url = f"https://127.0.0.1:{member.secure_port}"
            words[place] = f"{member.peer_url},{url}" if both else url
            words[words.index("--initial-advertise-peer-urls") + 1] = url
            return [*words, *flags(authority, member.name)]

        for both in (True, False):
            for member in fabric.members:
                member.arguments = lambda member=member, both=both: arguments(member, both)
                member.stop()
                member.restart()
                member.wait_healthy(60)
                until("it takes part", lambda member=member: has_caught_up(fabric, member), 60)
            takes_writes(fabric.members, f"both-{both}")
        known = fabric.leader().connection().call("/v3/cluster/member/list", {})["members"]
        report.check("the fabric knows the new addresses", all(url.startswith("https://") for each in known for url in each["peerURLs"]), known)


def has_caught_up(fabric, member):
    known = fabric.leader().connection().call("/v3/cluster/member/list", {})["members"]
    own = next(each for each in known if each.get("name") == member.name)
    return own["peerURLs"] == [f"https://127.0.0.1:{member.secure_port}"]


if __name__ == "__main__":
    from wire import main
    main(checks, "tls_peers.py")
