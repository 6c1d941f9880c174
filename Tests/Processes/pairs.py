#!/usr/bin/env python3
"""Two fabrics, each with a CA of its own, that are paired: by a token, and what strangers and partners try.

    pairs.py WEFT [--only NAME]
"""
import json
import time

from harness import attempt
from own_fabric import OwnFabric, Stranger, ask, context
import http.client
import ssl

checks = []


def check(function):
    checks.append(function)
    return function


def pair(fabric, *words, check=True):
    return fabric.run("pair", *words, "--endpoints", fabric.members[0].endpoint, check=check)


def listed(fabric, name, member=0):
    status, said = fabric.members[member].local("GET", f"/v1/fabric/pairs/{name}")
    return said if status == 200 else None


def state(fabric, name):
    found = listed(fabric, name)
    return found and found["state"]


def events(fabric):
    return [e["what"] for e in fabric.members[0].local("GET", "/v1/fabric/events")[1]["items"] if e["kind"] == "pair"]


def paired(west, east):
    """East has shown west's token; both are ready."""
    token = pair(west, "token")
    pair(east, "add", "west", "--as", "east", "--token", token)
    for fabric, name in ((east, "west"), (west, "east")):
        attempt(20, lambda: state(fabric, name) == "Ready", f"{name} is not ready")
    return token


def as_member(own, other, path, body):
    """Asks a member of `other` with the certificate of a member of `own`, as root of that machine could."""
    found = ssl._create_unverified_context()
    found.load_cert_chain(own.tls("member.pem"), own.tls("member.pem"))
    return ask(http.client.HTTPSConnection(other.host, other.client_port, timeout=10, context=found), "POST", path, body)


@check
def two_fabrics_pair_by_a_token(report, weft):
    """One line travels by hand; both sides see each other, and the token is good once."""
    with OwnFabric(weft) as west, OwnFabric(weft) as east:
        token = paired(west, east)
        for fabric, other, name in ((east, west, "west"), (west, east, "east")):
            found = listed(fabric, name)
            report.check(f"{name} is the other fabric", found["fabric"] == f"{other.members[0].fabric_id:x}", found)
            report.check(f"{name} is reached at its URLs", found["endpoints"] == [other.members[0].client_url], found)
            report.check(f"{name}: contact, clock, release", abs(found["clockSkewMillis"]) < 2000 and found["release"] and found["lastContactAt"], found)
        text = pair(east, "list")
        report.check("the list has it", "west" in text and "Ready" in text, text)
        done = pair(east, "add", "again", "--token", pair(west, "token"), check=False)
        report.check("a pair has one name", done.returncode != 0 and "already, as" in done.stderr, done.stderr)
        done = pair(east, "add", "west", "--as", "east", "--token", token)
        report.check("who lost the answer asks again", "paired with fabric" in done, done)
        done = pair(east, "add", "west", "--as", "other", "--token", token, check=False)
        report.check("for nothing else", done.returncode != 0 and "spent" in done.stderr, done.stderr)
        attempt(20, lambda: state(east, "west") == "Ready", "it is not ready again")
        with OwnFabric(weft) as third:
            done = pair(third, "add", "west", "--token", token, check=False)
            report.check("a token is good once", done.returncode != 0 and "refuses" in done.stderr, done.stderr)
            report.check("nothing is left of it", listed(third, "west") is None)
        done = pair(west, "add", "self", "--token", pair(west, "token"), check=False)
        report.check("nobody pairs with itself", done.returncode != 0 and "with itself" in done.stderr, done.stderr)
        done = pair(east, "verify", "west")
        report.check("verify", "is ready" in done, done)
        # The keys of the other move its revision.
        before = listed(east, "west")["remoteRevision"]
        west.members[0].local("POST", "/v3/kv/put", {"key": "aw==", "value": "dg=="})
        attempt(15, lambda: listed(east, "west")["remoteRevision"] > before, "the other's revision does not come")
        report.check("both tell of it once", [w.split(" ")[0] for w in events(west)] == ["paired", "ready"] and events(east)[-1] == "ready", f"{events(east)} {events(west)}")


@check
def one_direction_is_enough(report, weft):
    """West, which reaches nobody, hears of east when that comes; and notices when it comes no more."""
    with OwnFabric(weft) as west, OwnFabric(weft) as east:
        pair(east, "add", "west", "--as", "east", "--token", pair(west, "token"))
        attempt(20, lambda: state(west, "east") == "Ready" and state(east, "west") == "Ready", "not ready")
        east.members[0].kill()
        attempt(60, lambda: state(west, "east") == "Unreachable", f"west does not notice: {listed(west, 'east')}")
        found = listed(west, "east")
        report.check("it says why, and since when", "cannot connect" in found["reason"] and found["lastContactAt"], found)
        east.members[0].restart()
        attempt(30, lambda: state(west, "east") == "Ready", "it does not come back")
        report.check("and what happened", [w.split(":")[0] for w in events(west)][-2:] == ["unreachable", "ready"], events(west))


@check
def either_side_ends_it(report, weft):
    """Suspend, resume and remove, and what the other side sees of them."""
    with OwnFabric(weft) as west, OwnFabric(weft) as east:
        token = paired(west, east)
        pair(west, "suspend", "east")
        report.check("suspended", state(west, "east") == "Suspended")
        attempt(20, lambda: state(east, "west") == "Degraded", "the other side does not notice")
        report.check("the other side says why", "suspended the pair" in listed(east, "west")["reason"], listed(east, "west"))
        done = pair(east, "verify", "west", check=False)
        report.check("verify says so, too", done.returncode != 0 and "suspended the pair" in done.stderr, done.stderr)
        done = pair(west, "verify", "east", check=False)
        report.check("verify of a suspended one", done.returncode != 0 and "weft pair resume east" in done.stderr, done.stderr)
        pair(west, "resume", "east")
        attempt(20, lambda: state(east, "west") == "Ready" and state(west, "east") == "Ready", "it does not go on")
        pair(west, "remove", "east")
        attempt(20, lambda: state(east, "west") == "Degraded", f"the other side does not notice: {listed(east, 'west')}")
        found = listed(east, "west")
        report.check("the other side says what to think of it", "removed there" in found["reason"] or "denied" in found["reason"], found)
        try:
            status, said = as_member(east.members[0], west.members[0], "/v1/pairing/contact", {})
        except ssl.SSLError as error:
            status, said = "refused", str(error)
        report.check("it is believed no more", status == "refused", f"{status} {said}")
        done = pair(east, "add", "west2", "--as", "east", "--token", token, check=False)
        report.check("nor by the token of before", done.returncode != 0 and listed(west, "east") is None, done.stderr)
        # And anew.
        pair(east, "remove", "west")
        paired(west, east)
        for verb in ("show", "verify", "suspend", "resume", "remove"):
            done = pair(east, verb, "none", check=False)
            report.check(f"{verb} of none", done.returncode == 3 and "there is no pair \"none\"" in done.stderr, f"{done.returncode} {done.stderr}")


@check
def a_partner_may_greet_and_nothing_else(report, weft):
    """The other fabric's members, with their own certificates, at every kind of door; and its CA, which names whomever it likes."""
    with OwnFabric(weft) as west, OwnFabric(weft) as east, Stranger() as stranger:
        paired(west, east)
        member, partner = west.members[0], east.members[0]
        for path, body in (("/v3/kv/range", {"key": "aw=="}), ("/v3/kv/put", {"key": "aw==", "value": "dg=="}), ("/v3/kv/txn", {}), ("/v3/cluster/member/list", {}), ("/v3/maintenance/status", {}),
                           ("/v3/lease/grant", {"TTL": 5}), ("/v1/tokens", {"role": "voter"}), ("/v1/fabric/pair-tokens", {}), ("/v1/fabric/pairs/east/suspend", {}), ("/v1/ca/rotate", {}), ("/v1/ca/init", {})):
            status, said = as_member(partner, member, path, body)
            report.check(f"{path} as a partner", status in (401, 403), f"{status} {said}")
        # What its CA could sign: members and clients of west, and members of anybody.
        own = f"{member.fabric_id:x}"
        for name, uri in (("member", f"weft://{own}/member/{member.id:x}"), ("machine", f"weft://{own}/machine/{member.id:x}"), ("client", f"weft://{east.members[0].fabric_id:x}/client/7"),
                          ("third", "weft://77/member/7"), ("listed", f"weft://{own}/client/" + [c["id"] for c in member.local("GET", "/v1/ca/certificates")[1].get("clients", [{"id": "7"}])][0])):
            pem = stranger.sign(name, uri, ca=partner.tls("ca.key"))
            found = ssl._create_unverified_context()
            found.load_cert_chain(pem, pem)
            try:
                status, said = ask(http.client.HTTPSConnection(member.host, member.client_port, timeout=10, context=found), "POST", "/v3/kv/range", {"key": "aw=="})
            except (ssl.SSLError, OSError) as error:
                status, said = "refused", str(error)
            report.check(f"its CA says {name}", status == "refused", f"{status} {said}")
        # Greetings that nobody could use.
        greeting = {"fabric": f"{partner.fabric_id:x}", "endpoints": [partner.client_url], "authorities": open(partner.tls("ca.pem")).read()}
        for bad in ({"unixMilliseconds": -(1 << 63)}, {"unixMilliseconds": (1 << 63) - 1}, {"fabric": "0"}, {"fabric": own}, {"fabric": 7}, {"authorities": ""}, {"authorities": greeting["authorities"] * 40},
                    {"endpoints": ["http://a:1"]}, {"endpoints": ["https://a:1"] * 100}, {"believed": ["!"] * 100}, {"release": "r" * 5000}, {"revision": "x", "version": -1 << 63}, {"unknown": 1}):
            status, said = as_member(partner, member, "/v1/pairing/contact", {**greeting, **bad})
            report.check(f"a greeting with {str(bad)[:60]}", status in (200, 400, 403), f"{status} {said}")
        report.check("the member is well", member.healthy())
        # A CA that none of the partner's vouches for: a member that was taken out could say so.
        stranger.sign("evil", "weft://77/member/7")
        evil = open(stranger.path("evil.crt")).read()
        as_member(partner, member, "/v1/pairing/contact", {**greeting, "authorities": greeting["authorities"] + evil})
        time.sleep(5)
        believed = open(member.tls("pairs.pem")).read()
        report.check("a partner's member makes nobody a CA", believed.count("BEGIN CERTIFICATE") == 1, believed)
        # And it does not take a partner's word for whose CA that is.
        as_member(partner, member, "/v1/pairing/contact", {**greeting, "authorities": open(member.tls("ca.pem")).read()})
        time.sleep(4)
        status, said = member.ask("GET", "/v1/members", None, context(west.root))
        report.check("a partner that shows west's own CA locks nobody out", status == 200, f"{status} {said}")


@check
def new_authorities_travel(report, weft):
    """Each fabric goes over to a new CA while they are paired, and none loses the other."""
    with OwnFabric(weft) as west, OwnFabric(weft) as east:
        paired(west, east)
        for fabric, other, name in ((west, east, "east"), (east, west, "west")):
            endpoint = fabric.members[0].endpoint
            fabric.run("ca", "rotate", "--endpoints", endpoint)
            attempt(40, lambda: fabric.run("ca", "rotate", "--finish", "--endpoints", endpoint, check=False).returncode == 0, "the rotation does not end")
            begun = time.time()
            attempt(30, lambda: pair(fabric, "verify", name, check=False).returncode == 0, "the other is lost")
            report.check(f"{name} stays", time.time() - begun < 15)
        for fabric, name in ((west, "east"), (east, "west")):
            attempt(20, lambda: state(fabric, name) == "Ready", f"{name}: {listed(fabric, name)}")
        report.check("nobody was without the other", not [w for w in events(west) + events(east) if "degraded" in w or "unreachable" in w], f"{events(west)} {events(east)}")


@check
def a_recovered_fabric_pulls_from_nobody(report, weft):
    """Its pairs are suspended, and it is another than the one that was paired."""
    with OwnFabric(weft) as west, OwnFabric(weft) as east:
        paired(west, east)
        first = west.members[0]
        text = first.ask("GET", "/metrics", None, context(west.root))[1]
        report.check("metrics have it", 'weft_pair_ready{pair="east"} 1' in text and 'weft_pair_clock_skew_seconds{pair="east"}' in text)
        first.kill()
        west.run("recover", "--data-dir", first.data, "--yes")
        first.spawn(["serve", *first.arguments()])
        first.wait_healthy()
        report.check("it is suspended", state(west, "east") == "Suspended", listed(west, "east"))
        done = pair(west, "resume", "east", check=False)
        report.check("and is not resumed", done.returncode != 0 and "pair them anew" in done.stderr, done.stderr)
        attempt(60, lambda: state(east, "west") in ("Degraded", "Unreachable"), f"east does not notice: {listed(east, 'west')}")
        warnings = first.local("GET", "/v1/fabric/status")[1]["warnings"]
        report.check("status says so", any("restored or recovered" in w for w in warnings), warnings)
        pair(west, "remove", "east")
        pair(east, "remove", "west")
        paired(west, east)


if __name__ == "__main__":
    from wire import main
    main(checks, "pairs.py")
