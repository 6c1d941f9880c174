#!/usr/bin/env python3
"""Flips a bit in kv.db of a member that runs. Whether a client reads it or nobody does, the member finds it, lets others lead, and
gets everything back from them, in the same process; a member alone says what is left to do.

    damage_live.py WEFT [--only NAME]
"""
import json
import os
import time

from damage import flip_within
from harness import Fabric, Refused, Unanswered, attempt, b64, run_checks
from peer_scene import agree

KEYS = 300
FAST = ["--checkpoint-interval", "200", "--snapshot-count", "100", "--snapshot-catchup-entries", "50"]


def fill(member):
    for number in range(KEYS):
        member.connection().call("/v3/kv/put", {"key": b64(f"k/{number:04}"), "value": b64(f"value-{number:04}-" + "x" * 2000)})


def harm(member, number):
    """Once the file has it; and once neither memory nor a page cache hides that."""
    text = f"value-{number:04}-".encode()

    def is_there():
        with open(os.path.join(member.data, "kv.db"), "rb") as file:
            return text in file.read()

    attempt(30, is_there, "kv.db has what was written")
    flip_within(os.path.join(member.data, "kv.db"), text)


def read(member, key, serializable=True):
    return member.connection().call("/v3/kv/range", {"key": b64(key), "serializable": serializable})


def set_aside(member):
    """By what it said: the file goes away once the others have sent everything, which may take less than a look at it."""
    return "It is set aside" in member.log()[member.log_start:]


def heals(fabric, member, pid):
    attempt(60, lambda: set_aside(member), "what was damaged is set aside")
    attempt(60, lambda: "everything that was lost is here again" in member.log()[member.log_start:], "everything is here again")
    member.wait_healthy(60)
    assert member.process.pid == pid and member.process.poll() is None, "it did not start anew in its own process"
    agree(fabric.members)
    assert int(member.connection().call("/v3/kv/range", {"key": b64("k/"), "range_end": b64("k0"), "count_only": True})["count"]) == KEYS


def found_by_nobody_who_asks(weft):
    """A leader whose clients ask for other keys finds it by itself."""
    with Fabric(weft, 3, FAST + ["--scrub-interval", "1s"]) as fabric:
        leader = fabric.leader()
        fill(leader)
        harm(leader, 123)
        heals(fabric, leader, leader.process.pid)
        assert "is damaged" in leader.log(), leader.log()[-2000:]
        leader.stop()


def found_by_a_reader(weft):
    """Clients hear that they should ask another member, and nothing of what lies below; the others go on."""
    with Fabric(weft, 3, FAST + ["--scrub-interval", "0"]) as fabric:
        leader = fabric.leader()
        fill(leader)
        harm(leader, 123)
        pid = leader.process.pid
        seen = []
        end = time.time() + 60
        while not set_aside(leader):
            assert time.time() < end, f"nothing was found: {leader.log()[-2000:]}"
            try:
                value = read(leader, "k/0123")["kvs"][0]["value"]
                assert value == b64("value-0123-" + "x" * 2000), "a damaged value was answered"
            except Refused as refusal:
                assert refusal.status == 503, refusal
                seen.append(str(refusal))
            except Unanswered:
                pass
            others = [member for member in fabric.members if member is not leader]
            assert read(others[0], "k/0123")["count"] == "1"
        assert any("damaged" in text for text in seen) and not any("SQL" in text for text in seen), seen
        heals(fabric, leader, pid)
        # The directory is this process's still, and it stops as it should.
        leader.stop()
        leader.start()
        leader.wait_healthy()


def found_alone(weft):
    """There is nobody to get it from: what is whole is answered, what is not is refused, and it is not ready."""
    with Fabric(weft, 1, FAST + ["--scrub-interval", "1s"]) as fabric:
        member = fabric.members[0]
        fill(member)
        harm(member, 123)

        def is_unready():
            status, text, _ = member.connection().request("GET", "/readyz")
            return status == 503 and b"damaged" in text

        attempt(30, is_unready, "it is not ready")
        # A probe must not kill it for that: it answers what is whole.
        assert member.connection().request("GET", "/livez")[0] == 200
        status, text, _ = member.connection().request("GET", "/health")
        assert status == 503 and json.loads(text)["health"] == "false", text
        assert read(member, "k/0007", serializable=False)["count"] == "1"
        try:
            read(member, "k/0123")
            raise AssertionError("a damaged value was answered")
        except Refused as refusal:
            assert refusal.status == 503 and "SQL" not in str(refusal), refusal
        assert not set_aside(member) and "weft snapshot restore" in member.log()


def found_where_it_is_needed(weft):
    """One of two stays and answers: without it nothing could be written. With a third there it is repaired."""
    with Fabric(weft, 2, FAST + ["--scrub-interval", "1s"]) as fabric:
        leader = fabric.leader()
        fill(leader)
        other = next(member for member in fabric.members if member is not leader)
        attempt(30, lambda: read(other, f"k/{KEYS - 1:04}").get("kvs"), "the other one has everything")
        harm(other, 123)
        attempt(30, lambda: "is damaged" in other.log(), "it is found")
        time.sleep(2)
        assert not set_aside(other) and read(other, "k/0007", serializable=False)["count"] == "1"
        pid = other.process.pid
        new = fabric.add("m9")
        new.join(leader)
        new.wait_healthy(60)
        heals(fabric, other, pid)


CHECKS = [found_by_nobody_who_asks, found_by_a_reader, found_alone, found_where_it_is_needed]


if __name__ == "__main__":
    run_checks(CHECKS)
