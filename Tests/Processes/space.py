#!/usr/bin/env python3
"""Too much stored: the quota, its alarm, and what makes room again; compaction that nobody asks for.

    space.py WEFT
"""
import sys
import time

from harness import Fabric, Refused, Report, b64

QUOTA = 4 << 20
VALUE = "v" * 20_000


def until(what, holds, seconds=20):
    end = time.time() + seconds
    while not holds():
        assert time.time() < end, f"not after {seconds} s: {what}"
        time.sleep(0.1)


def alarms(connection):
    return connection.call("/v3/maintenance/alarm", {}).get("alarms", [])


def put(connection, key, value=VALUE):
    return connection.call("/v3/kv/put", {"key": b64(key), "value": b64(value)})


def fills_up(fabric):
    """Puts are refused in etcd's words once the quota is used up, everywhere, and the alarm says at which members."""
    writer = fabric.leader().connection()
    refused = None
    for n in range(1000):
        try:
            put(writer, f"k{n}")
        except Refused as error:
            refused = error
            break
    assert refused is not None and refused.message == "etcdserver: mvcc: database space exceeded", refused
    assert refused.code == 8 and n > 100, (refused.code, n)
    until("all members raised it", lambda: len(alarms(writer)) == 3)
    assert {a["alarm"] for a in alarms(writer)} == {"NOSPACE"}
    for member in fabric.members:
        try:
            put(member.connection(), "more", "")
            raise AssertionError(f"{member.name} still takes puts")
        except Refused as error:
            assert error.message == "etcdserver: mvcc: database space exceeded", error
    assert any("NOSPACE" in e for e in fabric.members[0].status()["errors"]), fabric.members[0].status()


def goes_on(fabric):
    """Leases, reads, deletions and compaction go on; with room the alarm ends by itself."""
    writer = fabric.follower().connection()
    lease = writer.call("/v3/lease/grant", {"TTL": 100})["ID"]
    writer.call("/v3/lease/keepalive", {"ID": lease})
    writer.call("/v3/lease/revoke", {"ID": lease})
    assert writer.call("/v3/kv/range", {"key": b64("k0")})["count"] == "1"
    only_deletes = {"success": [{"request_delete_range": {"key": b64("k0")}}]}
    assert writer.call("/v3/kv/txn", only_deletes)["succeeded"]
    revision = writer.call("/v3/kv/deleterange", {"key": b64("k"), "range_end": b64("l")})["header"]["revision"]
    writer.call("/v3/kv/compaction", {"revision": revision})
    until("the alarm ends", lambda: not alarms(writer))
    put(writer, "again")


def shrinks(fabric):
    """What was freed is given back to the file system when that is asked for."""
    member = fabric.members[0]
    before = int(member.status()["dbSize"])
    member.connection().call("/v3/maintenance/defragment", {})
    until("the file is smaller", lambda: int(member.status()["dbSize"]) < before / 2)


def is_raised_by_hand(fabric):
    """An operator's alarm stays until an operator lowers it."""
    connection = fabric.leader().connection()
    own = fabric.members[0].status()["header"]["member_id"]
    raised = connection.call("/v3/maintenance/alarm", {"action": "ACTIVATE", "memberID": own, "alarm": "CORRUPT"})
    assert raised["alarms"] == [{"memberID": own, "alarm": "CORRUPT"}], raised
    for path, body in (("/v3/kv/put", {"key": b64("a")}), ("/v3/kv/range", {"key": b64("a")})):
        try:
            connection.call(path, body)
            raise AssertionError(f"{path} is answered")
        except Refused as error:
            assert error.message == "etcdserver: corrupt cluster" and error.code == 15, error
    time.sleep(1)
    assert len(alarms(connection)) == 1
    connection.call("/v3/maintenance/alarm", {"action": "DEACTIVATE", "memberID": own, "alarm": "CORRUPT"})
    put(connection, "a")


def compacts(binary):
    """With --auto-compaction-retention history goes by itself; what is there stays."""
    with Fabric(binary, 1, ["--auto-compaction-mode", "periodic", "--auto-compaction-retention", "2s"]) as fabric:
        connection = fabric.leader().connection()
        first = int(put(connection, "k", "old")["header"]["revision"])
        put(connection, "k", "new")

        def is_gone():
            try:
                connection.call("/v3/kv/range", {"key": b64("k"), "revision": str(first)})
                return False
            except Refused as error:
                assert error.message == "etcdserver: mvcc: required revision has been compacted", error
                return True

        assert not is_gone()
        until("it is compacted", is_gone)
        assert connection.call("/v3/kv/range", {"key": b64("k")})["kvs"][0]["value"] == b64("new")


def main():
    binary = sys.argv[1]
    report = Report()
    with Fabric(binary, 3, ["--quota-backend-bytes", str(QUOTA), "--checkpoint-interval", "200"]) as fabric:
        report.run("a full quota refuses puts at all members, and says so", fills_up, fabric)
        report.run("what makes room goes on, and the alarm ends by itself", goes_on, fabric)
        report.run("defragment gives free pages back", shrinks, fabric)
        report.run("an alarm that was raised by hand stays", is_raised_by_hand, fabric)
    report.run("history is compacted by itself", compacts, binary)
    report.finish()


if __name__ == "__main__":
    main()
