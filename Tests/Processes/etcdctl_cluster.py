"""Cases of clients_etcdctl.py: leases, locks, elections, and what is done to a cluster and its members."""
import hashlib
import json
import os
import signal
import tempfile
import time

from clients import Cases, same, wait_for
from etcdctl import bare, matches
from harness import free_port

case = Cases()


# Leases

@case
def lease(ctl):
    """grant, put under it, timetolive --keys, list, revoke: its keys go in one revision"""
    prefix, lease = ctl.prefix("lease"), ctl.grant(40)
    before = ctl.put(prefix + "a", "1", "--lease", lease)
    ctl("put", prefix + "b", "1", "--lease", lease)
    printed = ctl("lease", "timetolive", lease)
    left = int(matches(rf"lease {lease} granted with TTL\(40s\), remaining\((\d+)s\)\n", printed)[1])
    assert 30 <= left <= 40, printed
    printed = ctl("lease", "timetolive", lease, "--keys")
    found = matches(rf"lease {lease} granted with TTL\(40s\), remaining\(\d+s\), attached keys\(\[(.*)\]\)\n", printed)
    same(sorted(found[1].split(" ")), [prefix + "a", prefix + "b"])
    answer = ctl.json("lease", "timetolive", lease, "--keys")
    same((answer["id"], answer["granted-ttl"], sorted(map(bare, answer["keys"]))),
         (int(lease, 16), 40, [prefix + "a", prefix + "b"]))
    for endpoint in ctl.endpoints:
        listed = ctl("lease", "list", at=[endpoint]).splitlines()
        assert listed[0] == f"found {len(listed) - 1} leases" and lease in listed, listed
    assert {"id": int(lease, 16)} in ctl.json("lease", "list")["leases"]
    same(ctl("lease", "revoke", lease), f"lease {lease} revoked\n")
    same(ctl("get", prefix, "--prefix"), "")
    same(ctl.revision(), before + 2)
    same(ctl("lease", "timetolive", lease), f"lease {lease} already expired\n")
    assert lease not in ctl("lease", "list")
    ctl.refused("etcdserver: requested lease not found", "lease", "revoke", lease)


@case
def lease_expires(ctl):
    """a lease that nobody renews ends, and its keys with it; granting takes no revision"""
    prefix, before = ctl.prefix("expires"), ctl.revision()
    answer = ctl.json("lease", "grant", "1")
    seconds, lease = answer["TTL"], f"{answer['ID']:x}"
    # No shorter than 1.5 elections; the least differs with the server's flags.
    assert 1 <= seconds <= 10 and answer["revision"] == before, answer
    ctl("put", prefix + "a", "1", "--lease", lease)
    ctl("put", prefix + "b", "1", "--lease", lease)
    granted = time.monotonic()
    with ctl.running("watch", prefix, "--prefix", "-w", "json", "--rev", str(before + 3)) as watch:
        events = json.loads(watch.line(seconds + 8))["Events"]
        assert time.monotonic() - granted > seconds - 1, "too early"
        same([(bare(e["kv"]["key"]), e["type"], e["kv"]["mod_revision"]) for e in events],
             [(prefix + "a", 1, before + 3), (prefix + "b", 1, before + 3)])
    same(ctl("get", prefix, "--prefix"), "")
    same(ctl("lease", "timetolive", lease), f"lease {int(lease, 16):016x} already expired\n")


@case
def lease_keep_alive(ctl):
    """keep-alive --once, and keep-alive that runs until the lease is revoked"""
    lease = ctl.grant(4)
    same(ctl("lease", "keep-alive", "--once", lease), f"lease {lease} keepalived with TTL(4)\n")
    same(ctl.json("lease", "keep-alive", "--once", lease)["TTL"], 4)
    key = ctl.prefix("keepalive") + "k"
    ctl("put", key, "v", "--lease", lease)
    with ctl.running("lease", "keep-alive", lease) as keeper:
        begin = time.monotonic()
        # It renews at a third of the time to live.
        for _ in range(3):
            keeper.expect(f"lease {lease} keepalived with TTL(4)")
        assert time.monotonic() - begin > 2, "renewed too often"
        same(ctl("get", key, "--print-value-only"), "v\n")
        ctl("lease", "revoke", lease)
        line = keeper.line()
        while line == f"lease {lease} keepalived with TTL(4)":
            line = keeper.line()
        same(line, f"lease {lease} expired or revoked.")
    ctl.refused("etcdserver: requested lease not found", "lease", "keep-alive", "--once", lease, status=2)


@case
def lease_limits(ctl):
    """a time to live above the most is refused"""
    ctl.refused("too large lease TTL", "lease", "grant", "9000000001")


# Locks and elections

@case
def lock_command(ctl):
    """a command runs under the lock and learns the key and the revision; its status comes back; the key is gone after"""
    name = ctl.prefix("lock") + "name"
    printed = ctl("lock", name, "--", "sh", "-c", "echo $ETCD_LOCK_KEY $ETCD_LOCK_REV")
    found = matches(rf"{name}/[0-9a-f]+ (\d+)\n", printed)
    same(int(found[1]), ctl.revision() - 1)
    same(ctl("get", name, "--prefix"), "")
    ctl("lock", name, "--", "sh", "-c", "exit 3", status=3 if ctl.newer else 1)


@case
def lock_contended(ctl):
    """one holder at a time; the next gets it on release; revisions, the fencing tokens, grow"""
    name = ctl.prefix("contended") + "name"
    tokens = []

    def token(key):
        pair = ctl.json("get", key)["kvs"][0]
        assert pair["lease"] and key == f"{name}/{pair['lease']:x}", (key, pair)
        return pair["create_revision"]
    with ctl.running("lock", name, "--ttl", "20") as first:
        tokens.append(token(first.line()))
        with ctl.running("lock", name, "--ttl", "20") as second, ctl.running("lock", name, "--ttl", "20") as third:
            wait_for("three keys", lambda: ctl.json("get", name + "/", "--prefix").get("count") == 3)
            second.silent(0.2)
            third.silent(0.1)
            first.signal()
            first.wait()
            holder = wait_for("the next holder", lambda: next((r for r in (second, third) if not r.lines.empty()), None))
            other = third if holder is second else second
            tokens.append(token(holder.line()))
            other.silent(0.2)
            holder.signal()
            holder.wait()
            tokens.append(token(other.line()))
            other.signal()
            other.wait()
    same(tokens, sorted(set(tokens)))
    wait_for("no key is left", lambda: ctl("get", name, "--prefix") == "")


@case
def lock_holder_dies(ctl):
    """a holder that is killed keeps the lock until its lease ends; a waiter that is killed is passed over"""
    name = ctl.prefix("dies") + "name"
    with ctl.running("lock", name, "--ttl", "3") as first:
        key = first.line()
        with ctl.running("lock", name, "--ttl", "3") as waiter, ctl.running("lock", name, "--ttl", "20") as last:
            wait_for("three keys", lambda: ctl.json("get", name + "/", "--prefix").get("count") == 3)
            first.signal(signal.SIGKILL)
            waiter.signal(signal.SIGKILL)
            killed = time.monotonic()
            next_key = last.line(15)
            assert next_key != key and time.monotonic() - killed > 0.9, "it took the lock from a lease that lives"
            same(ctl("get", key), "")
            last.signal()
            last.wait()
    wait_for("no key is left", lambda: ctl("get", name, "--prefix") == "", 15)


@case
def elect(ctl):
    """a candidate wins, a second waits for its end, and an observer sees both"""
    name = ctl.prefix("elect") + "name"
    with ctl.running("elect", "-l", name) as observer, ctl.running("elect", name, "first") as first:
        key = first.line()
        matches(rf"{name}/[0-9a-f]+", key)
        first.expect("first")
        observer.expect(key, "first")
        with ctl.running("elect", name, "second") as second:
            wait_for("two candidates", lambda: ctl.json("get", name + "/", "--prefix").get("count") == 2)
            second.silent(0.2)
            first.signal()
            first.wait()
            after = second.line()
            assert after != key, after
            second.expect("second")
            observer.expect(after, "second")
            second.signal()
            second.wait()
    wait_for("no key is left", lambda: ctl("get", name, "--prefix") == "")


# The cluster

@case
def endpoint_health(ctl):
    """every endpoint is well, those given and those of --cluster"""
    for flags in ([], ["--cluster"]):
        said = "".join(ctl.all_output("endpoint", "health", *flags)).strip().splitlines()
        same(len(said), len(ctl.endpoints))
        for line in said:
            matches(r"\S+ is healthy: successfully committed proposal: took = \S+", line)
        rows = ctl.json("endpoint", "health", *flags)
        assert len(rows) == len(ctl.endpoints) and all(row["health"] is True for row in rows), rows
    dead = f"127.0.0.1:{free_port()}"
    said = "".join(ctl.all_output("endpoint", "health", "--command-timeout=1s", at=[ctl.endpoints[0], dead], status=1))
    assert f"{dead} is unhealthy" in said and f"{ctl.endpoints[0]} is healthy" in said, said


@case
def endpoint_status(ctl):
    """one row an endpoint, one leader that all agree on"""
    for flags in ([], ["--cluster"]):
        rows = ctl.json("endpoint", "status", *flags)
        same(len(rows), len(ctl.endpoints))
        status = [row["Status"] for row in rows]
        same(len({s["header"]["cluster_id"] for s in status}), 1)
        same(len({s["leader"] for s in status}), 1)
        same(sum(s["leader"] == s["header"]["member_id"] for s in status), 1)
        for s in status:
            assert s["version"].startswith("3.") and s["dbSize"] > 0 and s["dbSizeInUse"] > 0, s
            assert s["raftIndex"] >= s["raftAppliedIndex"] > 0 and s["raftTerm"] > 0 and not s.get("isLearner"), s
            assert s["dbSizeInUse"] <= s["dbSize"], s
    same(len(ctl("endpoint", "status").splitlines()), len(ctl.endpoints))
    assert "| RAFT TERM |" in ctl("endpoint", "status", "-w", "table")
    same(ctl("endpoint", "status", "-w", "fields").count('"RaftAppliedIndex" :'), len(ctl.endpoints))


@case
def endpoint_hashkv(ctl):
    """all members have the same hash of the same revision, and it changes with the data"""
    prefix, _ = ctl.filled("hash", "a")

    def hashes(revision):
        # A member that has not applied the revision yet says that it is in the future.
        rows = None
        while rows is None:
            printed = ctl("endpoint", "hashkv", "--cluster", "--rev", str(revision), "-w", "json", status=None)
            rows = json.loads(printed) if printed.strip() else None
            assert time.monotonic() < end, "no answer"
            if rows and len(rows) < len(ctl.endpoints):
                rows = None
        same(len(rows), len(ctl.endpoints))
        same(len({row["HashKV"].get("compact_revision", 0) for row in rows}), 1)
        found = {row["HashKV"]["hash"] for row in rows}
        same(len(found), 1, f"the hashes differ: {rows}")
        return found.pop()
    end = time.monotonic() + 10
    first = hashes(ctl.revision())
    later = ctl.put(prefix + "a", "changed")
    assert hashes(later) != first, "another value, the same hash"
    same(hashes(later - 1), first)
    for line in ctl("endpoint", "hashkv", "--cluster").splitlines():
        matches(r"\S+, \d+", line)


@case
def member_list(ctl):
    """all members with names, addresses and roles, in every output"""
    rows = [line.split(", ") for line in ctl("member", "list").splitlines()]
    same(len(rows), len(ctl.endpoints))
    for row in rows:
        matches(r"[0-9a-f]{1,16}", row[0])
        same((row[1], row[5]), ("started", "false"))
        assert row[2] and "://" in row[3] and "://" in row[4], row
    same({url for row in rows for url in row[4].split(",")} >= {e.rstrip("/") for e in ctl.endpoints}, True,
         f"{rows} have not {ctl.endpoints}")
    answer = ctl.json("member", "list")
    same(sorted(f"{m['ID']:x}" for m in answer["members"]), sorted(row[0] for row in rows))
    assert "| STATUS" in ctl("member", "list", "-w", "table")
    same(ctl("member", "list", "-w", "fields").count('"IsLearner" : false'), len(rows))
    for endpoint in ctl.endpoints:
        same(sorted(ctl("member", "list", at=[endpoint]).splitlines()), sorted(ctl("member", "list").splitlines()))


def member_rows(ctl):
    return {row[0]: row for row in (line.split(", ") for line in ctl("member", "list").splitlines())}


def remove_unstarted(ctl):
    for name, row in member_rows(ctl).items():
        if row[1] == "unstarted":
            ctl("member", "remove", name)


def added(ctl, name, url, *flags):
    printed = ctl("member", "add", name, f"--peer-urls={url}", *flags)
    lines = printed.splitlines()
    new = matches(r"Member +([0-9a-f]+) added to cluster +([0-9a-f]+)", lines[0])[1]
    settings = dict(line.split("=", 1) for line in lines if line.startswith("ETCD_"))
    same(settings["ETCD_NAME"], f'"{name}"')
    same(settings["ETCD_INITIAL_CLUSTER_STATE"], '"existing"')
    same(settings["ETCD_INITIAL_ADVERTISE_PEER_URLS"], f'"{url}"')
    assert f"{name}={url}" in settings["ETCD_INITIAL_CLUSTER"], settings
    return new


@case
def member_learner(ctl):
    """add --learner, update, a promotion that comes too early, remove"""
    before = ctl("member", "list")
    url, other = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    try:
        new = added(ctl, "learner", url, "--learner")
        same(member_rows(ctl)[new], [new, "unstarted", "", url, "", "true"])
        # etcd makes the new member's id from its addresses and the second of the clock, and compares the ids first.
        ctl.refused("already exist", "member", "add", "again", "--learner", f"--peer-urls={url}")
        matches(rf"Member +{new} updated in cluster +[0-9a-f]+\n", ctl("member", "update", new, f"--peer-urls={other}"))
        same(member_rows(ctl)[new][3], other)
        ctl.refused("etcdserver: can only promote a learner member which is in sync with leader", "member", "promote", new)
        matches(rf"Member +{new} removed from cluster +[0-9a-f]+\n", ctl("member", "remove", new))
        ctl.refused("etcdserver: member not found", "member", "remove", new, status=1)
        same(ctl("put", ctl.prefix("learner") + "k", "v"), "OK\n")
    finally:
        remove_unstarted(ctl)
    same(sorted(ctl("member", "list").splitlines()), sorted(before.splitlines()))


@case
def member_voter(ctl):
    """add without --learner, and remove; requests go on meanwhile"""
    url = f"http://127.0.0.1:{free_port()}"
    if len(ctl.endpoints) < 3:
        # A voter that never starts would take its quorum from a smaller cluster.
        return
    before = ctl("member", "list")
    try:
        new = added(ctl, "voter", url)
        same(member_rows(ctl)[new][1:5], ["unstarted", "", url, ""])
        same(ctl("put", ctl.prefix("voter") + "k", "v"), "OK\n")
        ctl("member", "remove", new)
    finally:
        remove_unstarted(ctl)
    same(sorted(ctl("member", "list").splitlines()), sorted(before.splitlines()))


@case
def member_unknown(ctl):
    """a member that is not there cannot be removed, updated or promoted; a voter cannot be promoted"""
    for words in (["remove", "1234"], ["update", "1234", "--peer-urls=http://127.0.0.1:1"], ["promote", "1234"]):
        ctl.refused("etcdserver: member not found", "member", *words)
    voter = next(iter(member_rows(ctl)))
    ctl.refused("etcdserver: can only promote a learner member", "member", "promote", voter)


@case
def alarms(ctl):
    """no alarm is raised, and disarming is answered all the same"""
    same(ctl("alarm", "list"), "")
    same(ctl("alarm", "disarm"), "")


@case
def defrag(ctl):
    """every endpoint answers, and keeps its data"""
    prefix, _ = ctl.filled("defrag", "a")
    same(ctl("defrag"), "".join(f"Finished defragmenting etcd member[{endpoint}]\n" for endpoint in ctl.endpoints))
    same(ctl("defrag", "--cluster").count("Finished defragmenting etcd member["), len(ctl.endpoints))
    same(ctl("get", prefix, "--prefix"), f"{prefix}a\na\n")


@case
def snapshot_save(ctl):
    """a snapshot of each member, whole, with the checksum that etcdctl wants at its end"""
    with tempfile.TemporaryDirectory(prefix="weft-test-") as directory:
        for endpoint in ctl.endpoints:
            path = os.path.join(directory, "snapshot.db")
            same(ctl("snapshot", "save", path, at=[endpoint]), f"Snapshot saved at {path}\n")
            with open(path, "rb") as file:
                data = file.read()
            same(len(data) % 512, 32, "its length is not blocks of 512 bytes and a SHA-256:")
            same(data[-32:], hashlib.sha256(data[:-32]).digest(), "its end is not the SHA-256 of the rest:")
            os.remove(path)


@case
def check_datascale(ctl):
    """etcdctl's own check passes: it writes 10,000 keys and reads how much memory that took"""
    assert "PASS" in ctl("check", "datascale", "--load", "s", at=[ctl.endpoints[0]])


@case
def move_leader(ctl):
    """the leader hands over to the member named; another than a voter is refused"""
    if len(ctl.endpoints) < 2:
        return
    rows = ctl.json("endpoint", "status", "--cluster")
    leader = rows[0]["Status"]["leader"]
    target = next(row["Status"]["header"]["member_id"] for row in rows if row["Status"]["header"]["member_id"] != leader)
    same(ctl("move-leader", f"{target:x}"), f"Leadership transferred from {leader:x} to {target:x}\n")
    wait_for("all follow the new leader", lambda: {row["Status"]["leader"] for row in
                                                  ctl.json("endpoint", "status", "--cluster")} == {target})
    ctl.refused("etcdserver: bad leader transferee", "move-leader", "1234")
    follower = next(row["Endpoint"] for row in rows if row["Status"]["header"]["member_id"] != target)
    said = "".join(ctl.all_output("move-leader", f"{leader:x}", at=[follower], status=None))
    assert "no leader endpoint given" in said, said


@case
def make_mirror(ctl):
    """all keys are copied, then every change of them"""
    prefix, copies = ctl.filled("mirror", *"abc")[0], ctl.prefix("copies")
    destination = ctl.endpoints[0].split("://")[-1]

    def copied(*pairs):
        wanted = "".join(f"{copies}{key}\n{value}\n" for key, value in pairs)
        wait_for(lambda: f"{wanted!r}; there is {ctl('get', copies, '--prefix')!r}",
                 lambda: ctl("get", copies, "--prefix") == wanted)
    with ctl.running("make-mirror", "--prefix", prefix, "--dest-prefix", copies, destination):
        copied(("a", "a"), ("b", "b"), ("c", "c"))
        ctl("put", prefix + "a", "2")
        ctl("txn", text=f"\nput {prefix}d 1\nput {prefix}e 1\ndel {prefix}b\n\n\n")
        copied(("a", "2"), ("c", "c"), ("d", "1"), ("e", "1"))


@case
def version(ctl):
    """the client tells its own version"""
    same(ctl("version").split("\n")[1], f"API version: {ctl.version[:3]}")


@case
def one_endpoint_is_dead(ctl):
    """the client goes on with the others"""
    key, dead = ctl.prefix("dead") + "k", f"http://127.0.0.1:{free_port()}"
    for order in ([dead, *ctl.endpoints], [*ctl.endpoints, dead]):
        same(ctl("put", key, "v", at=order), "OK\n")
        same(ctl("get", key, "--print-value-only", at=order), "v\n")
