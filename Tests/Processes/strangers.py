"""Strangers at the peer port: whoever reaches it, or takes a dead member's address, may not end, mark, stop, fill or
mislead the members.

    strangers.py WEFT [--only NAME]
"""
import json
import os
import subprocess
import sys
import time

import peer_hostile as hostile
import peer_rights as rights
import peer_wire as wire
import strangers_crowds
from harness import Fabric, Refused, Unanswered, as_service, attempt, reachable, run_checks
from peer_scene import Scene, agree, alive, has, set_aside, takes_writes, until

FAR = 2**40
LAST_TERM = 2**62 - 1


# --- C1: who answers at a dead member's address


def recovers(weft, member):
    """`weft recover` makes a fabric of what this member has; it starts, with everything."""
    member.stop()
    command = as_service([reachable(os.path.abspath(weft)), "recover", "--data-dir", member.data, "--yes"])
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert run.returncode == 0, f"recover of {member.name}: {run.returncode} {run.stdout}{run.stderr}"
    member.restart()
    member.wait_healthy()
    assert has(member, "before/19"), "a key is lost"


def lied_to(scene, reason, answers_each=8):
    """The members hear this of whoever answers at the absent one's address, again and again."""
    with scene.impostor(wire.refused(reason)) as impostor:
        def often():
            alive(scene.rest, f", told {impostor.answered} times")
            return impostor.answered >= answers_each * len(scene.rest)

        until("the members have asked often enough", often, 25)
        # What they make of the last answer, they have made by then.
        time.sleep(0.5)
        alive(scene.rest, f", told {impostor.answered} times")


def stranger_cannot_end_members_by_saying_removed(weft):
    with Scene(weft) as scene:
        lied_to(scene, wire.REMOVED)
        takes_writes(scene.rest, "after")
        for member in scene.rest:
            member.stop()
            member.start()
        for member in scene.rest:
            member.wait_healthy()
        recovers(weft, scene.leader)


def stranger_cannot_end_one_of_two_members(weft):
    with Scene(weft, 2) as scene:
        lied_to(scene, wire.REMOVED)
        scene.come_back()
        takes_writes(scene.fabric.members, "after")
        agree(scene.fabric.members)
        scene.away.kill()
        recovers(weft, scene.leader)


def stranger_cannot_end_members_by_saying_forgotten(weft):
    with Scene(weft) as scene:
        lied_to(scene, wire.FORGOTTEN)
        takes_writes(scene.rest, "after")
        scene.come_back()
        agree(scene.fabric.members)


def other_refusals_end_nobody(weft):
    with Scene(weft) as scene:
        for reason in (wire.WRONG_CLUSTER, wire.WRONG_MEMBER, wire.UNKNOWN):
            lied_to(scene, reason, 2)
        takes_writes(scene.rest, "after")
        scene.come_back()
        agree(scene.fabric.members)


def stranger_cannot_end_a_new_founder(weft):
    """A founder that starts first hears from a stranger at another's address that it took part before."""
    fabric = Fabric(weft, 3)
    first, second, third = fabric.members
    try:
        for reason in (wire.FORGOTTEN, wire.REMOVED):
            with wire.Impostor(second.peer_port, wire.refused(reason)) as impostor:
                if not first.process:
                    first.start()
                begun = impostor.answered

                def often():
                    alive([first], f", told {impostor.answered} times (refusal {reason})")
                    return impostor.answered >= begun + 8

                until("it has asked often enough", often, 25)
                time.sleep(0.5)
                alive([first], f", told {impostor.answered} times (refusal {reason})")
        second.start()
        third.start()
        for member in fabric.members:
            member.wait_healthy()
        takes_writes(fabric.members, "founded")
    finally:
        fabric.__exit__(*sys.exc_info())


# --- C2: commands that nobody proposes


def look_around(members):
    """Everything that shows what the forged commands may have left is answered."""
    posts = ("/v3/cluster/member/list", "/v3/lease/leases", "/v3/maintenance/status", "/v3/maintenance/hashkv", "/v3/auth/status", "/v3/auth/user/list",
             "/v3/auth/role/list")
    gets = ["/metrics", "/livez", "/readyz", "/v1/ca", "/v1/ca/certificates", "/v1/tokens"] + ["/v1/fabric/" + path for path in (
        "nodes", "nodes/s1", "domains", "domains/domain-s1", "domains/domain-s1/preflight", "volumes", "volumes/v3",
        "volumes/w0", "events", "status")]
    for member in members:
        for method, path in [("POST", path) for path in posts] + [("GET", path) for path in gets]:
            try:
                status, body, _ = member.connection().request(method, path, b"{}" if method == "POST" else b"")
            except Unanswered as error:
                time.sleep(0.5)
                alive([member], f" by {path}")
                raise AssertionError(f"{path} of {member.name}: {error}")
            assert status < 500, f"{path} of {member.name}: {status} {body[:300]}"
        for lease in (7_001, 7_002, 7_200, hostile.GREATEST, hostile.LEAST):
            body = b'{"ID": "%d", "keys": true}' % lease
            assert member.connection().request("POST", "/v3/lease/timetolive", body)[0] < 500, lease
        for path, body in (("user/get", b'{"name": "stranger"}'), ("role/get", b'{"role": "stranger"}'),
                           ("authenticate", b'{"name": "stranger", "password": "x"}'), ("authenticate", b'{"name": "stranger/1", "password": "x"}')):
            status, said, _ = member.connection().request("POST", f"/v3/auth/{path}", body)
            assert status < 500, f"{path} {body}: {status} {said[:300]}"


def no_forged_proposal_traps(weft, families=None):
    with Scene(weft) as scene:
        for name in families or hostile.FAMILIES:
            term = attempt(20, lambda: int(scene.leader.status()["raftTerm"]))
            peer = None
            for body in hostile.FAMILIES[name]():
                proposal = wire.proposal(wire.command(body))
                peer = scene.say(scene.leader, term, wire.propose([proposal]), peer=peer)
            carried_out(scene, f"marker/{name}", name, peer)
        term = attempt(20, lambda: int(scene.leader.status()["raftTerm"]))
        peer = None
        for payload in (b"", b"\x01", b"\x00" * 7, b"\x00" * 8):
            for kind in (wire.COMMAND, wire.CONFIGURATION, wire.EMPTY):
                peer = scene.say(scene.leader, term, wire.propose([wire.proposal(payload, kind)]), peer=peer)
        odd = hostile.members(scene.ids[scene.away.name])
        own = [wire.propose([wire.proposal(wire.command(body))]) for body in odd]
        peer = scene.say(scene.leader, term, *own, peer=peer)
        carried_out(scene, "marker/kinds", "other kinds of entries, and odd attributes", peer)
        # Leases are looked at by the clock, and anew by each new leader.
        time.sleep(1.5)
        alive(scene.rest)
        look_around(scene.rest)
        scene.still_whole("after")
        look_around(scene.fabric.members)
        recovers(weft, scene.leader)


def carried_out(scene, key, what, peer):
    """A forged put after them has been carried out, so the others were, or were refused."""
    def done():
        alive(scene.rest, f" by {what}")
        try:
            return all(has(member, key) for member in scene.rest)
        except Refused:
            # Among the commands some have users count for a while.
            return False

    command = wire.proposal(wire.command(wire.put(key.encode(), b"x")))
    term = attempt(20, lambda: int(scene.leader.status()["raftTerm"])) if scene.leader.process.poll() is None else 0
    scene.say(scene.leader, term, wire.propose([command]), peer=peer)
    until(f"what came after {what} is carried out", done, 10)


def pretended_leader(scene, bodies, marker="marker/led"):
    """Has both members follow the absent one in a new term, and commit a marker and then these entries."""
    def led():
        alive(scene.rest)
        index, term = scene.log_end()
        first = wire.entry(index + 1, term + 1, wire.command(wire.put(marker.encode(), b"x")))
        for member in scene.rest:
            scene.say(member, term + 1, wire.append(index, term, [first], index + 1))
        end = time.time() + 2
        while time.time() < end:
            if all(has(member, marker) for member in scene.rest):
                lead(scene, index + 1, term + 1, bodies)
                return True
        return False

    until("the members follow the stranger", led)


def lead(scene, index, term, bodies, portion=60_000):
    """Has the members take these entries after the one at an index. A portion at a time: whoever says nothing for a second leads no more."""
    peers = {}
    while bodies:
        entries, size = [], 0
        while bodies and size < portion:
            (payload, kind), *bodies = bodies
            entries.append(wire.entry(index + 1 + len(entries), term, payload, kind))
            size += len(payload)
        for member in scene.rest:
            peers[member.name] = scene.say(member, term, wire.append(index, term, entries, index + len(entries)), peer=peers.get(member.name))
        index += len(entries)


def no_forged_append_traps(weft):
    with Scene(weft) as scene:
        bodies = [body for name in hostile.FAMILIES for body in hostile.FAMILIES[name]()] + [b"", *hostile.members(scene.ids[scene.away.name])]
        taken = [(wire.command(body), wire.COMMAND) for body in bodies if hostile.is_looked_at(body)]
        taken += [(b"anything", wire.EMPTY), (wire.command(wire.put(b"marker/last", b"x")), wire.COMMAND)]

        def all_carried_out():
            # Where this test is too slow the members elect another leader halfway, and it begins again.
            pretended_leader(scene, taken, f"marker/led/{time.time()}")
            end = time.time() + 3
            while time.time() < end:
                alive(scene.rest)
                if all(has(member, "marker/last") for member in scene.rest):
                    return True
                time.sleep(0.1)
            return False

        until("all are carried out", all_carried_out, 60)
        others = [(wire.command(body), wire.COMMAND) for body in bodies if not hostile.is_looked_at(body)]
        others += [(payload, wire.COMMAND) for payload in (b"\x01", b"\x00" * 7, b"\x00" * 8)]
        pretended_leader(scene, [*others, (wire.command(wire.put(b"marker/none", b"x")), wire.COMMAND)], "marker/led/2")
        time.sleep(1.5)
        alive(scene.rest)
        takes_writes(scene.rest, "between")
        assert not any(has(member, "marker/none") for member in scene.rest), "members carry out what they do not know"
        look_around(scene.rest)
        scene.still_whole("after")
        recovers(weft, scene.leader)


def forged_passwords_let_nobody_in(weft):
    """What is no hash of bcrypt's, or what it answers where it cannot make one, is nobody's password, and ends no member that compares it."""
    with Scene(weft) as scene:
        hashes = [b"", b"*", b"*0", b"*1", b"x", b"xx", b"no hash", b"\x00", b"$1$a$", b"$2b$", b"$2b$04$", b"$2b$04$" + b"." * 10, b"$2b$99$" + b"." * 53,
                  b"$2b$04$" + b"." * 53, b"$2b$04$" + b"\xff" * 53, b"$2b$04$" + b"\x00" * 53, b"$6$rounds=1000$a$b", b"h" * 100_000]
        changes = [rights.change(3, b"user%d" % number, each) for number, each in enumerate(hashes)]
        changes += [rights.change(4, b"root"), rights.change(7, b"root", b"root"), rights.change(1)]
        term, peer = int(scene.leader.status()["raftTerm"]), None
        for change in changes:
            peer = scene.say(scene.leader, term, wire.propose([wire.proposal(wire.command(rights.access(change)))]), peer=peer)

        def log_in(member, name, password):
            status, said, _ = member.connection().request("POST", "/v3/auth/authenticate", json.dumps({"name": name, "password": password}).encode())
            alive([member], f" by the password {password!r} of {name}")
            return status, said.decode()

        for member in scene.rest:
            until("users count", lambda: "not enabled" not in log_in(member, "nobody", "")[1])
            for number, each in enumerate(hashes):
                for password in ("", "x", each[:70].decode("latin-1")):
                    status, said = log_in(member, f"user{number}", password)
                    refused = status == 400 and "authentication failed" in said or status == 429
                    assert refused, f"{member.name} answers {status} {said} to user{number}, whose hash is {each[:70]}, with {password!r}"
        scene.say(scene.leader, term, wire.propose([wire.proposal(wire.command(rights.by_user(b"root", 1, rights.access(rights.change(2)))))]), peer=peer)
        scene.still_whole("after")


def forged_lease_times_outlive_the_leader(weft):
    """Whoever leads next reckons with what was said of the leases before, and gives them more time. Several rounds, for
    a lease must not have been looked at yet when the lead changes."""
    with Scene(weft) as scene:
        for number in range(4):
            first = 7_300 + 100 * number
            ages = list(enumerate(hostile.NUMBERS))
            bodies = [wire.lease_grant(first + place, 60) for place, _ in ages]
            bodies += [wire.lease_age([(first + place, 1, remaining)]) for place, remaining in ages]
            pretended_leader(scene, [(wire.command(body), wire.COMMAND) for body in bodies], f"marker/{number}")
            time.sleep(0.1)
            _, term = scene.log_end()
            scene.say(scene.rest[0], term, wire.timeout_now())
            takes_writes(scene.rest, f"after/{number}")
            time.sleep(1.2)
            alive(scene.rest)
        look_around(scene.rest)
        scene.still_whole("after")


def publish_speaks_for_its_sender_only(weft):
    with Scene(weft) as scene:
        before = attributes(scene.leader)
        term = int(scene.leader.status()["raftTerm"])
        forged = [wire.publish(scene.ids[member.name], "evil", ["http://127.0.0.66:1"]) for member in scene.rest]
        forged += [wire.publish(12345, "evil", ["http://127.0.0.66:2"])]
        peer = scene.say(scene.leader, term, *[wire.propose([wire.proposal(wire.command(body))]) for body in forged],
                         wire.propose([wire.proposal(wire.command(body)) for body in forged]))
        carried_out(scene, "marker/published", "forged attributes", peer)
        for member in scene.rest:
            assert attributes(member) == before, f"{member.name}: {attributes(member)}, before {before}"
        scene.come_back()
        assert attributes(scene.away) == before, attributes(scene.away)


def attributes(member):
    listed = member.connection().call("/v3/cluster/member/list", {})["members"]
    return sorted((each["ID"], each.get("name"), each.get("clientURLs"), each.get("peerURLs")) for each in listed)


# --- C3: what a leader says is committed


def heartbeat_with_far_commit_costs_no_log(weft, *beyond):
    with Scene(weft) as scene:
        for step in beyond or (FAR, 1, 1000):
            index, term = scene.log_end()
            for member in scene.rest:
                scene.say(member, term + 1, wire.heartbeat(index + step, stored=index + step))
            # What they make of it, they have made by the time they have a leader again.
            takes_writes(scene.rest, f"beyond/{step}")
            for member in scene.rest:
                assert not set_aside(member), f"{member.name}, told of {step} more, set aside {set_aside(member)}"
        scene.still_whole("after")


def stored_far_away_costs_no_log(weft):
    """All have the log up to there, says the stranger: nothing is cut off for it that somebody lacks."""
    with Scene(weft) as scene:
        index, term = scene.log_end()
        for member in scene.rest:
            scene.say(member, term + 1, wire.heartbeat(index, stored=LAST_TERM))
        scene.still_whole("after")


# --- C4: terms


def every_kind(index, term):
    return [wire.pre_vote(index, term), wire.pre_vote_reply(True), wire.pre_vote_reply(False),
            wire.vote(index, term), wire.vote_reply(True), wire.matched(index), wire.conflict(index, 0, 0),
            wire.stale_term(), wire.heartbeat_reply(), wire.read_index([1]), wire.timeout_now(),
            wire.heartbeat(index, term), wire.append(index, term, [], index), wire.vote(index, term, True)]


def every_kind_is_read(weft):
    """A frame that no member can read would prove nothing here: for such a one the connection is closed."""
    with Scene(weft) as scene:
        index, term = scene.log_end()
        member = scene.rest[0]
        for body in every_kind(index, term):
            assert not scene.say(member, term, body).is_closed(0.3), f"{member.name} does not read {body.hex()}"
        assert scene.say(member, term, b"\xff").is_closed(5)


def far_terms(scene, term):
    """Every kind of message, of this term."""
    bodies = every_kind(*scene.log_end())
    for member in scene.rest:
        scene.say(member, term, *bodies)


def terms_far_away_block_no_election(weft, *terms):
    with Scene(weft) as scene:
        for term in terms or (LAST_TERM, FAR):
            far_terms(scene, term)
            takes_writes(scene.rest, f"term/{term}")
        assert int(scene.leader.status()["raftTerm"]) < 2**33 + 1000, scene.leader.status()["raftTerm"]
        scene.still_whole("after")


def log_epoch_far_away_shuts_nobody_out(weft):
    """The leader hears of a later log of a member's that it does not have: the member's own word counts again."""
    with Scene(weft) as scene:
        index, term = scene.log_end()
        for body in (wire.matched(index, LAST_TERM), wire.heartbeat_reply(2**64 - 1, LAST_TERM, True, 2**32 - 1),
                     wire.conflict(LAST_TERM, LAST_TERM, LAST_TERM, LAST_TERM), wire.matched(LAST_TERM, LAST_TERM)):
            scene.say(scene.leader, term, body)
        takes_writes(scene.rest, "epoch")
        other = next(member for member in scene.rest if member is not scene.leader)
        scene.come_back()
        other.kill()
        # Now nothing is committed without the member that was spoken for.
        takes_writes([scene.leader, scene.away], "epoch/2")
        other.start()
        other.wait_healthy()
        agree(scene.fabric.members)


# --- A neighbour: entries that no leader can have made


def configuration_of_nobody_is_refused(weft):
    """Members that took up a configuration without voters could never elect anybody again."""
    with Scene(weft) as scene:
        nobody = wire.fixed64(0) + b"\x00\x00\x00"
        index, term = scene.log_end()
        for member in scene.rest:
            scene.say(member, term + 1,
                      wire.append(index, term, [wire.entry(index + 1, term + 1, nobody, wire.CONFIGURATION)], index))
        scene.still_whole("after")


CHECKS = [
    stranger_cannot_end_members_by_saying_removed, stranger_cannot_end_one_of_two_members,
    stranger_cannot_end_members_by_saying_forgotten, other_refusals_end_nobody, stranger_cannot_end_a_new_founder,
    no_forged_proposal_traps, no_forged_append_traps, forged_passwords_let_nobody_in, forged_lease_times_outlive_the_leader,
    publish_speaks_for_its_sender_only, heartbeat_with_far_commit_costs_no_log, stored_far_away_costs_no_log,
    every_kind_is_read, terms_far_away_block_no_election, log_epoch_far_away_shuts_nobody_out, configuration_of_nobody_is_refused,
    *strangers_crowds.CHECKS,
]


if __name__ == "__main__":
    run_checks(CHECKS)
