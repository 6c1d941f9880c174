"""What an etcd client sees otherwise here than with etcd: leaders, leases, history, quota.

    etcd_ways.py WEFT [--only NAME]
"""
import http.client
import json
import threading
import time

from etcd_scene import QUICK, json_refusal, refusal, wait_for
from harness import Fabric, b64
from wire import (HASLEADER, KV, LEASE, MIB, WATCH, Ended, Wire, delete_request, main, one, operation, parse, pb,
                  put_request,
                  range_request, txn_request, watch_create)

NO_LEADER = (14, "etcdserver: no leader")
checks = []


def check(function):
    checks.append(function)
    return function


# D5

def without_quorum(weft, look):
    """Runs `look(member, wire, streams)` at a member that has lost its quorum, with streams that were opened before."""
    with Fabric(weft, 3, QUICK) as fabric:
        last = fabric.follower()
        wire = Wire(last.client_port)
        lease = one(wire.call(LEASE + "LeaseGrant", pb((1, 600))), 2)
        keeping = wire.open(LEASE + "LeaseKeepAlive", HASLEADER)
        keeping.send(pb((1, lease)))
        keeping.next()
        observing = wire.open("/v3electionpb.Election/Observe", HASLEADER)
        observing.send(pb((1, "nobody")), end=True)
        watching = wire.open(WATCH, HASLEADER)
        watching.send(watch_create(b"k"))
        watching.next()
        plain = wire.open(LEASE + "LeaseKeepAlive")
        plain.send(pb((1, lease)))
        plain.next()
        for member in fabric.members:
            if member is not last:
                member.kill()
        look(last, wire, {"watch": watching, "keep-alive": keeping, "observe": observing, "plain keep-alive": plain})


def stream_end(stream, seconds):
    try:
        return stream.ended(seconds)
    except TimeoutError:
        return "it does not end"


@check
def streams_that_require_a_leader_end_without_one(report, weft):
    def look(member, wire, streams):
        for name in ("watch", "keep-alive", "observe"):
            end = stream_end(streams[name], 12)
            report.check(f"an open {name} stream with hasleader ends when the leader is lost", end == NO_LEADER, end)
        report.check("a stream without hasleader stays", not streams["plain keep-alive"].is_over)
    without_quorum(weft, look)


@check
def streams_that_require_a_leader_do_not_begin_without_one(report, weft):
    def look(member, wire, streams):
        stream_end(streams["watch"], 12)
        for name, path, message in [("watch", WATCH, watch_create(b"k")),
                                    ("keep-alive", LEASE + "LeaseKeepAlive", pb((1, 1))),
                                    ("observe", "/v3electionpb.Election/Observe", pb((1, "nobody"))),
                                    ("snapshot", "/etcdserverpb.Maintenance/Snapshot", b"")]:
            stream = wire.open(path, HASLEADER)
            stream.send(message)
            end = stream_end(stream, 6)
            report.check(f"a new {name} stream with hasleader is refused long after the leader is lost",
                         end == NO_LEADER, end)
    without_quorum(weft, look)


@check
def unary_calls_that_require_a_leader_fail_at_once_without_one(report, weft):
    calls = [("a put", KV + "Put", put_request(b"k", b"v")), ("a range", KV + "Range", range_request(b"k")),
             ("a serializable range", KV + "Range", range_request(b"k", serializable=True)),
             ("a serializable range of many", KV + "Range", range_request(b"k", b"l", serializable=True)),
             ("a deletion", KV + "DeleteRange", delete_request(b"k")),
             ("a txn", KV + "Txn", txn_request((), [operation("put", put_request(b"k", b"v"))])),
             ("a grant", LEASE + "LeaseGrant", pb((1, 60))), ("a lease's time", LEASE + "LeaseTimeToLive", pb((1, 1))),
             ("a member list", "/etcdserverpb.Cluster/MemberList", b""),
             ("a status", "/etcdserverpb.Maintenance/Status", b""),
             ("a lock", "/v3lockpb.Lock/Lock", pb((1, "name")))]

    def look(member, wire, streams):
        stream_end(streams["watch"], 12)
        for name, path, message in calls:
            try:
                end = refusal(wire, path, message, HASLEADER, 2)
            except TimeoutError:
                end = "no answer for 2 s"
            report.check(f"{name} with hasleader fails at once without a leader", end == NO_LEADER, end)
        status, body, _ = member.connection().request(
            "POST", "/v3/kv/range", json.dumps({"key": b64("k"), "serializable": True}).encode(),
            {"Grpc-Metadata-hasleader": "true"})
        report.check("so does a range at the gateway", status == 503 and b"no leader" in body, (status, body[:100]))
    without_quorum(weft, look)


# E1

def watches_meanwhile(member, seconds, until=lambda: False):
    """Opens watches with hasleader without pause: how many were made, and what refused ones were told."""
    made, refused, begin, wire = 0, {}, time.time(), None
    waiting = []
    while time.time() - begin < seconds and not until():
        try:
            if wire is None or wire.is_closed or wire.next_stream > 20000:
                wire = Wire(member.client_port, timeout=1)
            stream = wire.open(WATCH, HASLEADER)
            stream.send(watch_create(b"k"))
            try:
                stream.next(0.05)
                made += 1
                wire.write(b"\0\0\4\3\0" + stream.number.to_bytes(4, "big") + b"\0\0\0\10")
            except TimeoutError:
                waiting.append(stream)
        except (OSError, Ended) as error:
            if isinstance(error, Ended) and error.code is not None:
                refused[error.code, error.text] = refused.get((error.code, error.text), 0) + 1
            else:
                wire = None
            time.sleep(0.002)
    for stream in waiting:
        try:
            stream.next(6)
            made += 1
        except (Ended, TimeoutError, OSError) as error:
            refused[str(error)] = refused.get(str(error), 0) + 1
    return made, refused


@check
def watches_that_require_a_leader_begin_during_an_election(report, weft):
    with Fabric(weft, 3) as fabric:
        follower = fabric.follower()
        leader = fabric.leader()
        watches_meanwhile(follower, 0.2)
        leader.kill()
        made, refused = watches_meanwhile(follower, 2.5)
        report.check("no watch with hasleader is refused in the seconds after a leader was killed",
                     made and not refused,
                     f"{made} made; refused: {refused}")


@check
def watches_that_require_a_leader_begin_while_a_fabric_starts(report, weft):
    with Fabric(weft, 3) as fabric:
        for member in fabric.members:
            member.kill()
        first = fabric.members[0]
        first.restart()

        def others():
            fabric.members[1].restart()
            fabric.members[2].restart()
        timer = threading.Timer(0.7, others)
        timer.start()
        made, refused = watches_meanwhile(first, 2.5)
        timer.join()
        report.check("no watch with hasleader is refused while a fabric starts", made and not refused,
                     f"{made} made; refused: {refused}")


# E2

def events(wire, count, message, timeout=10):
    """The first events of a new watch, as (key, value, previous value or None)."""
    stream = wire.open(WATCH)
    stream.send(message)
    found = []
    while len(found) < count:
        for event in parse(stream.next(timeout)).get(11, []):
            event = parse(event)
            pair = parse(one(event, 2))
            previous = parse(one(event, 3, b"")) if 3 in event else None
            found.append((one(pair, 1, b""), one(pair, 5, b""), None if previous is None else one(previous, 5, b"")))
    return found


@check
def previous_values_from_before_a_compaction_are_never_given(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        wire.call(KV + "Put", put_request(b"a", b"1"))
        wire.call(KV + "Put", put_request(b"d", b"1"))
        at = one(parse(one(wire.call(KV + "Put", put_request(b"a", b"2")), 1)), 3)
        wire.call(KV + "Compact", pb((1, at)))
        for turn in ("right after the compaction", "later", "after a restart"):
            found = events(wire, 1, watch_create(b"a", start=at, prev=True))
            report.check(f"a watch from the compacted revision has no previous value {turn}",
                         found == [(b"a", b"2", None)], found)
            answer = gateway_event(member, {"key": b64("a"), "start_revision": str(at), "prev_kv": True})
            report.check(f"nor has one at the gateway {turn}", "prev_kv" not in answer, answer)
            if turn == "later":
                member.stop()
                member.restart()
                member.wait_healthy()
                wire = Wire(member.client_port)
            else:
                time.sleep(1)
        wire.call(KV + "Put", put_request(b"a", b"3"))
        wire.call(KV + "DeleteRange", delete_request(b"a"))
        found = events(wire, 3, watch_create(b"a", start=at, prev=True))
        report.check("the next changes have theirs",
                     found == [(b"a", b"2", None), (b"a", b"3", b"2"), (b"a", b"", b"3")], found)
        at = one(parse(one(wire.call(KV + "DeleteRange", delete_request(b"d")), 1)), 3)
        wire.call(KV + "Compact", pb((1, at)))
        wire.call(KV + "Put", put_request(b"d", b"9"))
        found = events(wire, 1, watch_create(b"d", start=at, prev=True))
        report.check("a deletion at the compacted revision has none",
                     found[0] in [(b"d", b"", None), (b"d", b"9", None)], found)


def gateway_event(member, create):
    """The first event of a watch at the gateway."""
    # A connection of its own, because the answer does not end.
    link = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=10)
    link.request("POST", "/v3/watch", json.dumps({"create_request": create}))
    answer = link.getresponse()
    try:
        while True:
            line = json.loads(answer.readline())
            if line["result"].get("events"):
                return line["result"]["events"][0]
    finally:
        link.close()


# D7

@check
def leases_of_all_ids_may_be_granted(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        connection = member.connection()
        assert connection.request("PUT", "/v1/fabric/nodes/n1", json.dumps(
            {"domain": "east", "capacityBytes": 10**12, "ttlSeconds": 60}).encode())[0] in (200, 201)
        wire = Wire(member.client_port)
        ids = [0x7fff000000000000, 0x7fff000000000001, 0x7fff123456789abc, 2**63 - 1, 0x7ffeffffffffffff]
        for lease in ids:
            end = refusal(wire, LEASE + "LeaseGrant", pb((1, 600), (2, lease)))
            report.check(f"a lease 0x{lease:x} may be granted over gRPC", end == (0, ""), end)
            end = refusal(wire, KV + "Put", put_request(b"l/%x" % lease, b"v", lease))
            report.check(f"a key can have lease 0x{lease:x}", end == (0, ""), end)
        end = json_refusal(member, "/v3/lease/grant", {"TTL": "600", "ID": str(0x7fff000000000abc)})
        report.check("and one at the gateway", end[0] == 200, end)
        listed = {int(row["ID"]) for row in connection.call("/v3/lease/leases", {}).get("leases", [])}
        report.check("the list has all of them and no other", listed == {*ids, 0x7fff000000000abc},
                     [hex(n) for n in listed])
        end = refusal(wire, LEASE + "LeaseRevoke", pb((1, 0x7fff000000000001)))
        report.check("such a lease can be revoked", end == (0, ""), end)
        node = json.loads(connection.request("GET", "/v1/fabric/nodes/n1")[1])
        report.check("the node is online", node.get("state") == "Online", node)


@check
def leases_of_high_ids_end_and_are_renewed_like_others(report, weft):
    with Fabric(weft, 1, QUICK) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        ended, kept = 0x7fff000000000001, 0x7fff0000000000ff
        for lease in (ended, kept):
            wire.call(LEASE + "LeaseGrant", pb((1, 2), (2, lease)))
            wire.call(KV + "Put", put_request(b"l/%x" % lease, b"v", lease))
        keeping = wire.open(LEASE + "LeaseKeepAlive")

        def is_gone():
            keeping.send(pb((1, kept)))
            answer = parse(keeping.next())
            assert one(answer, 3) == 2, answer
            time.sleep(0.3)
            return one(wire.call(KV + "Range", range_request(b"l/%x" % ended)), 4) == 0
        report.check("a lease of a high id ends, its key with it", wait_for(is_gone, 15))
        report.check("a renewed one stays", one(wire.call(KV + "Range", range_request(b"l/%x" % kept)), 4) == 1)


# E4, F8

def fill(wire, key, size, start=0):
    """Puts until that is refused for want of space, and says how often."""
    for n in range(start, start + 4000):
        end = refusal(wire, KV + "Put", put_request(key(n), b"v" * size))
        if end[0]:
            assert end == (8, "etcdserver: mvcc: database space exceeded"), end
            return n
    raise AssertionError("it never filled up")


def replace(key, value, expected_version):
    """What Kubernetes' compactor does: a txn that puts if the version is the expected one, else reads."""
    compare = pb((1, 0), (2, 0), (3, key), (4, expected_version))
    return txn_request([compare], [operation("put", put_request(key, value))], [operation("range", range_request(key))])


@check
def a_small_value_can_be_replaced_when_the_quota_is_used_up(report, weft):
    with Fabric(weft, 1, ["--quota-backend-bytes", str(4 * MIB)]) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        key = b"compact_rev_key"
        wire.call(KV + "Put", put_request(key, b"1000"))
        filled = fill(wire, lambda n: b"one", 30_000)
        report.check("puts end at the quota, at most one beyond it", (filled - 1) * 30_000 <= 4 * MIB, filled)
        # The member refuses before its alarm is replicated; small txns are for all to refuse.
        connection = member.connection()
        report.check("the alarm is raised",
                     wait_for(lambda: connection.call("/v3/maintenance/alarm", {}).get("alarms"), 15))
        answers = {}
        for version in range(1, 51):
            end = refusal(wire, KV + "Txn", replace(key, b"%d" % (1000 + version), version))
            answers[end] = answers.get(end, 0) + 1
        report.check("the compactor's record is replaced 50 times although the quota is used up",
                     answers == {(0, ""): 50}, answers)
        now = one(parse(one(wire.call(KV + "Range", range_request(key)), 1)), 3)
        for name, message in [("a larger value", replace(key, b"x" * 100, 51)), ("a new key", replace(b"new", b"1", 0)),
                              ("a new key beside it", txn_request((), [operation("put", put_request(key, b"1002")),
                                                                       operation("put", put_request(b"new", b"1"))]))]:
            end = refusal(wire, KV + "Txn", message)
            report.check(f"{name} is refused", end[0] == 8, end)
        end = refusal(wire, KV + "Put", put_request(b"new", b"1"))
        report.check("so is a plain put of a new key", end[0] == 8, end)
        wire.call(KV + "Compact", pb((1, now)))

        def may_put():
            return refusal(wire, KV + "Put", put_request(b"after", b"x" * 1000)) == (0, "")
        report.check("after a compaction the used-up quota ends by itself", wait_for(may_put, 15))


@check
def puts_are_taken_right_after_compact_defrag_and_disarm(report, weft):
    with Fabric(weft, 1, ["--quota-backend-bytes", str(4 * MIB)]) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        fill(wire, lambda n: b"one", 30_000)
        now = one(parse(one(wire.call(KV + "Range", range_request(b"one")), 1)), 3)
        wire.call(KV + "Compact", pb((1, now), (2, 1)))
        wire.call("/etcdserverpb.Maintenance/Defragment")
        wire.call("/etcdserverpb.Maintenance/Alarm", pb((1, 2), (2, 0), (3, 1)))
        begin = time.time()
        first = refusal(wire, KV + "Put", put_request(b"after", b"x"))
        wait_for(lambda: refusal(wire, KV + "Put", put_request(b"after", b"x")) == (0, ""), 15)
        report.check("the first put after compact, defrag and disarm is taken", first == (0, ""),
                     f"{first}; taken after {time.time() - begin:.1f} s")
        alarms = member.connection().call("/v3/maintenance/alarm", {}).get("alarms", [])
        report.check("the alarm stays off", not alarms, alarms)


if __name__ == "__main__":
    main(checks, "etcd_ways.py")
