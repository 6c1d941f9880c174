"""What an etcd client sees otherwise here than with etcd, in small things: health, status, hashes, lists, locks.

    etcd_ways_small.py WEFT [--only NAME]
"""
import time

from etcd_scene import json_refusal, refusal, revision
from harness import Fabric, b64
from wire import (KV, LEASE, WATCH, Wire, main, one, operation, parse, pb, put_request,
                  range_request, txn_request, watch_create)

checks = []


def check(function):
    checks.append(function)
    return function


# F6

@check
def a_watch_from_a_negative_revision_is_canceled(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        for turn in ("before", "after"):
            for n in range(5):
                last = one(parse(one(wire.call(KV + "Put", put_request(b"k", b"%d" % n)), 1)), 3)
            if turn == "after":
                wire.call(KV + "Compact", pb((1, last - 1)))
            for start in (-5, -2**63):
                stream = wire.open(WATCH)
                stream.send(watch_create(b"k", start=start))
                answers = []
                try:
                    while not answers or not one(answers[-1], 4):
                        answers.append(parse(stream.next(2)))
                except TimeoutError:
                    pass
                report.check(f"a watch from {start} is canceled {turn} a compaction",
                             answers and one(answers[-1], 4) == 1, answers)
                if turn == "after":
                    compacted = one(answers[-1], 5) if answers else None
                    report.check(f"its end (from {start}) names the compacted revision", compacted == last - 1, answers)


# F7

@check
def health_fails_with_an_alarm(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        connection = member.connection()
        own = member.status()["header"]["member_id"]
        for alarm in ("NOSPACE", "CORRUPT"):
            connection.call("/v3/maintenance/alarm", {"action": "ACTIVATE", "memberID": own, "alarm": alarm})
            status, body, _ = connection.request("GET", "/health")
            report.check(f"/health is 503 with {alarm}", status == 503 and alarm.encode() in body, (status, body))
            for exclude, wanted in [(alarm, 200), ("NOSPACE" if alarm == "CORRUPT" else "CORRUPT", 503)]:
                status, body, _ = connection.request("GET", f"/health?exclude={exclude}")
                report.check(f"/health?exclude={exclude} is {wanted} with {alarm}", status == wanted, (status, body))
            status, body, _ = connection.request("GET", "/readyz")
            wanted = 200 if alarm == "NOSPACE" else 503
            report.check(f"/readyz is {wanted} with {alarm}", status == wanted, (status, body))
            status, body, _ = connection.request("GET", "/livez")
            report.check(f"/livez is 200 with {alarm}", status == 200, (status, body))
            connection.call("/v3/maintenance/alarm", {"action": "DEACTIVATE", "memberID": own, "alarm": alarm})
        report.check("/health is 200 when they are gone", connection.request("GET", "/health")[0] == 200)


@check
def named_health_checks_answer(report, weft):
    with Fabric(weft, 1) as fabric:
        connection = fabric.members[0].connection()
        for path in ["/livez/serializable_read", "/readyz/serializable_read", "/readyz/linearizable_read",
                     "/readyz/data_corruption", "/livez?exclude=serializable_read",
                     "/readyz?exclude=linearizable_read"]:
            status, body, _ = connection.request("GET", path)
            report.check(f"{path} is 200", status == 200 and body.strip().endswith(b"ok"), (status, body[:100]))
        for path in ["/livez/nothing", "/readyz/nothing"]:
            report.check(f"{path} is 404", connection.request("GET", path)[0] == 404)
        for path, names in [("/livez?verbose", [b"serializable_read"]),
                            ("/readyz?verbose", [b"serializable_read", b"linearizable_read", b"data_corruption"])]:
            body = connection.request("GET", path)[1]
            report.check(f"{path} names them", all(b"[+]" + name + b" ok" in body for name in names), body)


# F10

@check
def a_status_tells_the_quota(report, weft):
    for flags, wanted in [([], 2 << 30), (["--quota-backend-bytes", "123456789"], 123456789)]:
        with Fabric(weft, 1, flags) as fabric:
            member = fabric.members[0]
            status = member.status()
            report.check(f"a status at the gateway has dbSizeQuota {wanted}",
                         status.get("dbSizeQuota") == str(wanted), status)
            status = Wire(member.client_port).call("/etcdserverpb.Maintenance/Status")
            report.check(f"and over gRPC {wanted}", one(status, 12) == wanted, status)


@check
def hashes_do_not_change_by_compaction(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)

        def hash_at(at):
            answer = wire.call("/etcdserverpb.Maintenance/HashKV", pb((1, at)))
            return one(answer, 2), one(answer, 3), one(answer, 4)
        fresh = hash_at(0)
        report.check("HashKV of a fabric that was never compacted has compact_revision -1", fresh[1] == -1, fresh)
        answer = member.connection().call("/v3/maintenance/hashkv", {})
        report.check("so has the gateway's", answer.get("compact_revision") == "-1", answer)
        for n in range(300):
            last = one(parse(one(wire.call(KV + "Put", put_request(b"once/%d" % n, b"v")), 1)), 3)
        before = hash_at(last)
        for at in (last - 200, last - 100, last - 1, last):
            wire.call(KV + "Compact", pb((1, at)))
            for turn in ("right after", "some time after"):
                now = hash_at(last)
                report.check(f"keys that were put once have the same hash {turn} a compaction at {at}",
                             now[0] == before[0] and now[1] == at, (before, now))
                time.sleep(0.5)
        for n in range(300):
            last = one(parse(one(wire.call(KV + "Put", put_request(b"often/%d" % (n % 7), b"%d" % n)), 1)), 3)
        wire.call(KV + "Compact", pb((1, last - 100)))
        seen = set()
        for _ in range(30):
            seen.add(hash_at(last))
            time.sleep(0.1)
        report.check("a hash stays the same while compacted rows go", len(seen) == 1, seen)
        member.stop()
        member.restart()
        member.wait_healthy()
        wire = Wire(member.client_port)
        report.check("and after a restart", hash_at(last) in seen, (hash_at(last), seen))


@check
def requests_over_the_limit_are_refused(report, weft):
    limit = 1_572_864
    too_large = (3, "etcdserver: request is too large")
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        for over, wanted in [(-512, (0, "")), (0, too_large), (100, too_large), (1000, too_large), (4000, too_large)]:
            end = refusal(wire, KV + "Put", put_request(b"k", b"x" * (limit + over)))
            report.check(f"a put of 1.5 MiB {over:+} bytes is {'taken' if over < 0 else 'refused'}", end == wanted, end)
            puts = [operation("put", put_request(b"t%d" % n, b"x" * ((limit + over) // 4))) for n in range(4)]
            end = refusal(wire, KV + "Txn", txn_request((), puts))
            report.check(f"so is a txn of {over:+}", end == wanted, end)
            body = {"key": b64("k"), "value": b64(b"x" * (limit + over))}
            end = json_refusal(member, "/v3/kv/put", body)
            report.check(f"so is one at the gateway of {over:+}", end[1:] == wanted, end)
            status = member.connection().request("PUT", "/v1/kv/k", b"x" * (limit + over))[0]
            report.check(f"so is one of /v1 of {over:+}", status == 413 if over >= 0 else status < 300, status)


@check
def leases_are_listed_by_their_end(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        ids = {}
        for lease, ttl in [(5, 500), (1, 900), (9, 100), (3, 700), (7, 300), (2**40, 200), (2, 800)]:
            wire.call(LEASE + "LeaseGrant", pb((1, ttl), (2, lease)))
            ids[ttl] = lease
        wanted = [ids[ttl] for ttl in sorted(ids)]
        found = [one(parse(row), 1) for row in wire.call(LEASE + "LeaseLeases").get(2, [])]
        report.check("leases are listed with that first that ends first", found == wanted, (found, wanted))
        found = [int(row["ID"]) for row in member.connection().call("/v3/lease/leases", {})["leases"]]
        report.check("so are they at the gateway", found == wanted, found)


@check
def users_and_roles_are_listed_while_auth_is_off(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        for method, path in [("UserList", "user/list"), ("RoleList", "role/list"), ("AuthDisable", "disable")]:
            end = refusal(wire, f"/etcdserverpb.Auth/{method}")
            report.check(f"{method} succeeds while auth is off", end == (0, ""), end)
            status, body, _ = member.connection().request("POST", f"/v3/auth/{path}", b"{}")
            report.check(f"so does /v3/auth/{path}", status == 200 and b"header" in body, (status, body[:100]))
        end = refusal(wire, "/etcdserverpb.Auth/AuthEnable")
        report.check("AuthEnable says that there is no root", end == (9, "etcdserver: root user does not exist"), end)
        for method, wanted in [("UserGet", "user"), ("RoleGet", "role")]:
            end = refusal(wire, f"/etcdserverpb.Auth/{method}", pb((1, "nobody")))
            report.check(f"{method} of nobody says so", end == (9, f"etcdserver: {wanted} name not found"), end)


@check
def cpu_seconds_are_a_counter(report, weft):
    with Fabric(weft, 1) as fabric:
        text = fabric.members[0].connection().request("GET", "/metrics")[1].decode()
        types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
        report.check("process_cpu_seconds_total is a counter", types.get("process_cpu_seconds_total") == "counter",
                     types)
        names = {line.split("{")[0].split()[0] for line in text.splitlines() if line and line[0] != "#"}
        told = {name for name in names if name not in types and not name.endswith(("_bucket", "_sum", "_count"))}
        report.check("every metric has a type", not told, sorted(told))


# F11

@check
def ids_of_the_leases_of_nodes_are_refused(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        for lease in (-2**63, -2**63 + 2**32 - 1):
            report.check(f"lease {lease} is refused as one that exists",
                         refusal(wire, LEASE + "LeaseGrant", pb((1, 60), (2, lease))) ==
                         (9, "etcdserver: lease already exists"))
            report.check(f"and over JSON (lease {lease})",
                         json_refusal(member, "/v3/lease/grant", {"TTL": 60, "ID": str(lease)}) ==
                         (400, 9, "etcdserver: lease already exists"))
            report.check(f"no key can have lease {lease}",
                         refusal(wire, KV + "Put", put_request(b"k", b"v", lease)) ==
                         (5, "etcdserver: requested lease not found"))
        report.check("another negative id is as good as with etcd", grant(wire, -1) % 2**64 == 2**64 - 1)
        report.check("a lease without an id gets a positive one",
                     all(0 < grant(wire) < 2**63 for _ in range(50)))
        report.check("a lease of more seconds than fit is refused",
                     refusal(wire, LEASE + "LeaseGrant", pb((1, 9_000_000_001))) ==
                     (11, "etcdserver: too large lease TTL"))


def grant(wire, lease=0):
    return one(wire.call(LEASE + "LeaseGrant", pb((1, 60), (2, lease))), 2)


@check
def a_lock_taken_again_by_its_holder_writes_nothing(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        lease = grant(wire)
        key = one(wire.call("/v3lockpb.Lock/Lock", pb((1, "name"), (2, lease))), 2)
        before = revision(member)
        again = one(wire.call("/v3lockpb.Lock/Lock", pb((1, "name"), (2, lease))), 2)
        report.check("a holder that locks again gets the same key", again == key, (key, again))
        report.check("and writes no revision", revision(member) == before, (before, revision(member)))
        member.connection().call("/v3/lock/lock", {"name": b64("name"), "lease": str(lease)})
        report.check("nor at the gateway", revision(member) == before, (before, revision(member)))
        pair = parse(one(wire.call(KV + "Range", range_request(key)), 2))
        report.check("its key is as it was", one(pair, 2) == one(pair, 3) and one(pair, 4) == 1, pair)


@check
def an_election_entered_again_writes_only_a_new_value(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        lease = grant(wire)

        def campaign(value):
            answer = wire.call("/v3electionpb.Election/Campaign", pb((1, "e"), (2, lease), (3, value)))
            return one(parse(one(answer, 2)), 3)
        first = campaign("a")
        before = revision(member)
        again = campaign("a")
        report.check("a leader that campaigns again with its value writes no revision",
                     revision(member) == before and again == first, (before, revision(member), first, again))
        again = campaign("b")
        report.check("with another value it writes one", revision(member) == before + 1 and again == first,
                     (before, revision(member), first, again))


@check
def errors_of_locks_and_elections_are_unknown(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        wire = Wire(member.client_port)
        missing = "etcdserver: requested lease not found"
        calls = [("Lock with an unknown lease", "Lock/Lock", "lock/lock", {"name": "n", "lease": 12345}, missing),
                 ("Campaign with an unknown lease", "Election/Campaign", "election/campaign",
                  {"name": "n", "lease": 12345}, missing),
                 ("Unlock without a key", "Lock/Unlock", "lock/unlock", {"key": ""}, "etcdserver: key is not provided"),
                 ("Leader of nobody", "Election/Leader", "election/leader", {"name": "n"}, "election: no leader")]
        for name, method, path, body, text in calls:
            fields = [(1, body.get("name", body.get("key", "")))] + ([(2, body["lease"])] if "lease" in body else [])
            end = refusal(wire, f"/v3{method.split('/')[0].lower()}pb.{method}", pb(*fields))
            report.check(f"{name} fails with code 2", end == (2, text), end)
            body = {field: value if field == "lease" else b64(value) for field, value in body.items()}
            end = json_refusal(member, f"/v3/{path}", body)
            report.check(f"and at the gateway with 500, code 2", end == (500, 2, text), end)


if __name__ == "__main__":
    main(checks, "etcd_ways_small.py")
