#!/usr/bin/env python3
"""Backups: fetched while others write, checked, refused when damaged, and restored as one member and as three.

    backup.py WEFT
"""
import hashlib
import json
import os
import subprocess
import sys
import threading

from harness import Fabric, Member, Refused, Report, b64, unb64
from nodes import API


def weft(binary, *arguments, status=0):
    run = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=120)
    assert run.returncode == status, f"weft {' '.join(arguments)}: {run.returncode}, not {status}: {run.stdout}{run.stderr}"
    return run.stdout + run.stderr


def contents(connection):
    answer = connection.call("/v3/kv/range", {"key": b64("\0"), "range_end": b64("\0")})
    return {kv["key"]: (kv["value"], kv["mod_revision"], kv["version"]) for kv in answer.get("kvs", [])}, answer["header"]


class Writer(threading.Thread):
    """Writes pairs of keys in one txn each, until it is stopped: a backup has both or none."""

    def __init__(self, member):
        super().__init__(daemon=True)
        self.connection, self.running, self.count = member.connection(), True, 0

    def run(self):
        while self.running:
            self.count += 1
            put = [{"request_put": {"key": b64(f"{side}/{self.count % 50}"), "value": b64(str(self.count))}} for side in "ab"]
            self.connection.call("/v3/kv/txn", {"success": put})


def saves(binary, fabric, path):
    """What was acknowledged before it was asked for is in it; what comes meanwhile whole or not at all."""
    connection = fabric.follower().connection()
    connection.call("/v3/kv/put", {"key": b64("before"), "value": b64("it")})
    lease = connection.call("/v3/lease/grant", {"TTL": 3600, "ID": 77})["ID"]
    connection.call("/v3/kv/put", {"key": b64("leased"), "value": b64("x"), "lease": lease})
    api = API(fabric.leader())
    api.must("PUT", "nodes/n1", {"domain": "east", "capacityBytes": 10**12, "ttlSeconds": 3600})
    api.must("POST", "volumes", {"name": "v1", "sizeBytes": 10**9, "replication": 1})
    api.must("POST", "volumes/v1/attach", {"node": "n1"})
    writer = Writer(fabric.leader())
    writer.start()
    asked = fabric.follower()
    asked.connection().call("/v3/kv/range", {"key": b64("before")})
    said = weft(binary, "snapshot", "save", path, "--endpoints", asked.client_url)
    writer.running = False
    writer.join()
    assert "SHA-256" in said and not os.path.exists(path + ".part"), said
    image = open(path, "rb").read()
    assert len(image) % 512 == 32 and hashlib.sha256(image[:-32]).digest() == image[-32:]
    status = json.loads(weft(binary, "snapshot", "status", path, "-o", "json"))
    assert status["totalKey"] > 2 and status["totalSize"] == len(image), status
    assert sorted(os.listdir(os.path.dirname(path))) == [os.path.basename(path)], "something was left beside it"
    assert not [n for n in os.listdir(os.path.join(asked.data, "snapshots"))], "something was left at the member"


def is_checked(binary, path):
    """A backup with a changed bit, cut short or without its end is refused, and leaves nothing behind."""
    image = open(path, "rb").read()
    bad = path + "-bad"
    for damaged in (image[:5000] + bytes([image[5000] ^ 4]) + image[5001:], image[:-512], image[:-32], b""):
        with open(bad, "wb") as file:
            file.write(damaged)
        said = weft(binary, "snapshot", "status", bad, status=1)
        assert "cannot be used" in said, said
        weft(binary, "snapshot", "restore", bad, "--data-dir", path + "-dir", "--name", "x", status=1)
        assert not os.path.exists(path + "-dir")
    os.remove(bad)


def restores_one(binary, path, flags):
    """One member begins with it, two more join, and revisions go on far above."""
    fabric = Fabric(binary, 1, flags)
    with_data = fabric.members[0]
    said = weft(binary, "snapshot", "restore", path, "--data-dir", with_data.data, "--name", with_data.name,
                "--initial-advertise-peer-urls", with_data.peer_url)
    assert "restored" in said, said
    weft(binary, "snapshot", "restore", path, "--data-dir", with_data.data, "--name", with_data.name, status=5)
    before = int(json.loads(weft(binary, "snapshot", "status", path, "-o", "json"))["revision"])
    with fabric:
        connection = with_data.connection()
        found, header = contents(connection)
        assert int(header["revision"]) == before + 1_000_000_000, header
        assert unb64(found[b64("before")][0]) == b"it"
        assert {k for k in found if unb64(k).startswith(b"a/")} and all(
            found[b64("a/" + unb64(k).decode()[2:])][0] == found[k][0] for k in found if unb64(k).startswith(b"b/"))
        assert connection.call("/v3/lease/timetolive", {"ID": 77, "keys": True})["keys"] == [b64("leased")]
        try:
            connection.call("/v3/kv/range", {"key": b64("before"), "revision": str(before)})
            raise AssertionError("a revision of before the backup is readable")
        except Refused as error:
            assert "compacted" in error.message, error
        put = connection.call("/v3/kv/put", {"key": b64("after"), "value": b64("it")})
        assert int(put["header"]["revision"]) == before + 1_000_000_001
        # Others may have had higher tokens after the backup.
        volume = API(with_data).must("GET", "volumes/v1")
        assert "attachment" not in volume and volume["fencingToken"] > 1_000_000, volume
        for n in (2, 3):
            newcomer = fabric.add(f"m{n}")
            newcomer.join(with_data)
            newcomer.wait_healthy(60)
        expected = contents(connection)[0]
        assert contents(newcomer.connection())[0] == expected


def restores_three(binary, path, flags):
    """Three founders filled from one backup are one fabric; one that was filled otherwise is none of them."""
    fabric = Fabric(binary, 3, flags)
    founders = ",".join(f"{m.name}={m.peer_url}" for m in fabric.founders)
    for member in fabric.founders:
        weft(binary, "snapshot", "restore", path, "--data-dir", member.data, "--name", member.name, "--initial-cluster",
             founders, "--initial-advertise-peer-urls", member.peer_url, "--bump-revision", "7")
    with fabric:
        found = [contents(member.connection())[0] for member in fabric.members]
        assert found[0] == found[1] == found[2] and unb64(found[0][b64("before")][0]) == b"it"
        revision = fabric.leader().connection().call("/v3/kv/put", {"key": b64("more"), "value": b64("x")})["header"]["revision"]
        for member in fabric.members:
            contents(member.connection())
        hashes = {member.connection().call("/v3/maintenance/hashkv", {"revision": revision})["hash"] for member in fabric.members}
        assert len(hashes) == 1, hashes
        volumes = [API(member).must("GET", "volumes/v1?serializable") for member in fabric.members]
        assert volumes[0] == volumes[1] == volumes[2], volumes
        stranger = fabric.members[2]
        stranger.kill()
        weft(binary, "snapshot", "restore", path, "--data-dir", stranger.data + "-other", "--name", stranger.name,
             "--initial-cluster", founders, "--initial-advertise-peer-urls", stranger.peer_url)
        stranger.data += "-other"
        stranger.start()
        fabric.leader().connection().call("/v3/kv/put", {"key": b64("others"), "value": b64("go on")})
        try:
            stranger.wait_healthy(4)
            raise AssertionError("a member of other contents was taken in")
        except AssertionError as error:
            assert "does not get well" in str(error) or "ended with" in str(error), error


def main():
    binary = sys.argv[1]
    report = Report()
    flags = ["--checkpoint-interval", "200"]
    with Fabric(binary, 3, flags) as fabric:
        path = os.path.join(fabric.directory, "backups", "b.db")
        os.mkdir(os.path.dirname(path))
        report.run("a backup is fetched while others write", saves, binary, fabric, path)
        report.run("a damaged backup is refused", is_checked, binary, path)
        report.run("one member begins with it, and others join", restores_one, binary, path, flags)
        report.run("three founders begin with it", restores_three, binary, path, flags)
    report.finish()


if __name__ == "__main__":
    main()
