#!/usr/bin/env python3
"""The worst day: most members are lost, and the fabric is rebuilt from one that is left.

    recover.py WEFT
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import time

from harness import Fabric, Refused, Report, Unanswered, as_service, b64, free_port, give_to_service, reachable
from nodes import API, wait_for


def recover(weft, member, *more):
    return subprocess.run([weft, "recover", "--data-dir", member.data, *more], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)


def put(member, key, value="x"):
    return int(member.connection().call("/v3/kv/put", {"key": b64(key), "value": b64(value)})["header"]["revision"])


def keys(member, serializable=False):
    answer = member.connection().call("/v3/kv/range", {"key": b64("k"), "range_end": b64("l"), "keys_only": True,
                                                       "serializable": serializable})
    return {kv["key"] for kv in answer.get("kvs", [])}, int(answer["header"]["revision"])


def check(weft, report):
    with Fabric(weft, 3, ["--checkpoint-interval", "3600000"]) as fabric:
        survivor, other, third = fabric.leader(), None, None
        other, third = [m for m in fabric.members if m is not survivor]
        api = API(survivor)
        for node, domain in (("e1", "east"), ("w1", "west")):
            api.must("PUT", f"nodes/{node}", {"domain": domain, "capacityBytes": 10**12, "ttlSeconds": 60})
        api.must("POST", "volumes", {"name": "v1", "sizeBytes": 10**9, "replication": 2})
        token = api.must("POST", "volumes/v1/attach", {"node": "w1"})["attachment"]["token"]
        last = [put(survivor, f"k{n}") for n in range(500)][-1]
        # This one goes on without the third, which then knows less.
        third.kill()
        last = [put(survivor, f"k{n}") for n in range(500, 800)][-1]
        run = recover(weft, survivor, "--yes")
        report.check("a running member is not recovered", run.returncode != 0 and "in use" in run.stderr, run.stderr)
        before = survivor.status()["header"]["cluster_id"]
        survivor.kill()
        other.kill()
        run = recover(weft, survivor)
        report.check("without consent nothing happens", run.returncode == 2 and "MAY BE LOST" in run.stderr and "--yes" in run.stderr
                     and not glob.glob(survivor.data + ".[br]*"), f"{run.returncode} {run.stderr}")
        shutil.copytree(survivor.data, survivor.data + "-copy")
        run = recover(weft, survivor, "--yes", "-o", "json")
        report.check("it is rebuilt, and what was before is kept", run.returncode == 0 and os.path.isdir(json.loads(run.stdout)["kept"]),
                     run.stdout + run.stderr)
        survivor.restart()
        survivor.wait_healthy()
        held, revision = keys(survivor)
        report.check("everything acknowledged is there", held == {b64(f"k{n}") for n in range(800)}, len(held))
        report.check("revisions went up", revision > last + 10**8, f"{last} {revision}")
        report.check("it is another fabric", survivor.status()["header"]["cluster_id"] != before)
        report.run("the records went on, fenced", records, survivor, token)
        report.run("the old members are refused", refused, other, survivor)
        report.run("a new machine joins, with everything", joins, fabric, survivor)
        report.run("what was before does not start again", kept, weft, json.loads(run.stdout)["kept"])
        third.kill()
        run = recover(weft, third, "--yes")
        third.restart()
        third.wait_healthy()
        held, _ = keys(third)
        report.check("one that lacks the newest has all up to where it was", run.returncode == 0 and "MAY BE LOST" in run.stderr
                     and held >= {b64(f"k{n}") for n in range(500)}, f"{run.stderr} {len(held)}")
    report.run("one of a single member loses nothing, and a witness has nothing to give", others, weft)


def records(member, token):
    api = API(member)
    volume = api.must("GET", "volumes/v1")
    assert "attachment" not in volume and volume["fencingToken"] > token + 1000, volume
    again = api.must("POST", "volumes/v1/attach", {"node": "e1"})["attachment"]["token"]
    assert again > volume["fencingToken"]
    assert api.must("GET", "domains/east")["epoch"] > 1000
    assert api.must("POST", "volumes", {"name": "v2", "sizeBytes": 1, "replication": 1})["id"] != "vol-2"


def refused(old, survivor):
    old.start()
    old.wait_started("another fabric")
    # Three times as long as an election takes.
    time.sleep(3)
    assert not old.healthy(), "an old member serves"
    survivor.wait_healthy()
    old.kill()


def joins(fabric, survivor):
    newcomer = fabric.add("m9")
    newcomer.join(survivor)
    newcomer.wait_healthy()
    wait_for("it has all keys", lambda: len(keys(newcomer, True)[0]) == 800)


def kept(weft, path):
    give_to_service(path)
    command = [reachable(os.path.abspath(weft)), "serve", "--data-dir", path, "--name", os.path.basename(path).split(".")[0],
               "--listen-client-urls", f"http://127.0.0.1:{free_port()}", "--listen-peer-urls", f"http://127.0.0.1:{free_port()}"]
    run = subprocess.run(as_service(command), capture_output=True, text=True, timeout=20)
    assert run.returncode != 0 and "removed" in run.stderr + run.stdout, run.stderr + run.stdout


def others(weft):
    with Fabric(weft, 1) as fabric:
        first = fabric.members[0]
        witness = fabric.add("t1")
        witness.join(first, "--witness")
        witness.wait_started("is a witness")
        put(first, "k1")
        witness.kill()
        run = recover(weft, witness, "--yes")
        assert run.returncode != 0 and "witness" in run.stderr, run.stderr
        assert recover(weft, fabric.add("nobody"), "--yes").returncode == 3
        first.kill()
        run = recover(weft, first, "--yes")
        assert run.returncode == 0 and "nothing that was acknowledged is lost" in run.stderr, run.stderr
        first.restart()
        first.wait_healthy()
        assert keys(first)[0] == {b64("k1")}
        put(first, "k2")


def main():
    report = Report()
    check(sys.argv[1], report)
    report.finish()


if __name__ == "__main__":
    main()
