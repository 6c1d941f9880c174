#!/usr/bin/env python3
"""How daemons start, stop, catch up and are asked, as systemd and operators do it.

    lifecycle.py WEFT
"""
import json
import os
import signal
import socket
import subprocess
import sys
import time

from harness import Fabric, Report, Unanswered, attempt, b64


def weft(binary, *arguments, status=0, text=None):
    """What the command prints; it must end with `status`."""
    run = subprocess.run([binary, *arguments], input=text, capture_output=True, text=True, timeout=60)
    assert run.returncode == status, f"weft {' '.join(arguments)}: {run.returncode}, not {status}: {run.stdout}{run.stderr}"
    return run.stdout


def announces_itself(binary):
    """Type=notify: READY once it serves, STOPPING at SIGTERM; ends with 0."""
    with Fabric(binary, 1) as fabric:
        member = fabric.members[0]
        member.stop()
        path = os.path.join(fabric.directory, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            os.chmod(path, 0o777)
            notify.settimeout(20)
            os.environ["NOTIFY_SOCKET"] = path
            try:
                member.start()
            finally:
                del os.environ["NOTIFY_SOCKET"]
            assert notify.recv(1000).startswith(b"READY=1")
            assert member.connection().request("GET", "/version")[0] == 200, "it is ready, but serves nobody"
            member.process.send_signal(signal.SIGTERM)
            assert notify.recv(1000).startswith(b"STOPPING=1")
            assert member.process.wait(20) == 0


def hands_over(fabric):
    """A leader that is stopped has handed over by the time it has ended."""
    terms = []
    # A machine that stands still for longer than an election takes has one more: not three times in a row.
    while len(terms) < 3:
        leader = fabric.leader()
        term = int(leader.status()["raftTerm"])
        assert leader.stop() == 0, leader.log()[-500:]
        terms.append(int(fabric.leader().status()["raftTerm"]) - term)
        leader.start()
        leader.wait_healthy()
        # One election and no more: nobody had to time out first, or to try twice.
        if terms[-1] == 1:
            return
    raise AssertionError(f"the term rose by {terms}")


def two_signals(fabric):
    """The second signal ends it at once; nothing that was acknowledged is lost."""
    member = fabric.follower()
    member.connection().call("/v3/kv/put", {"key": b64("two"), "value": b64("signals")})
    member.process.send_signal(signal.SIGTERM)
    member.process.send_signal(signal.SIGTERM)
    assert member.process.wait(10) == 0
    member.process = None
    member.start()
    member.wait_healthy()
    assert member.connection().call("/v3/kv/range", {"key": b64("two"), "serializable": True})["count"] == "1"


def leaves_a_line(fabric):
    """A trap is found in the log: by its signal and thread."""
    member = fabric.follower()
    member.process.send_signal(signal.SIGILL)
    assert member.process.wait(10) == -signal.SIGILL
    member.process = None
    assert "ends by signal 4 in thread weft" in member.log(), member.log()[-500:]
    member.start()
    member.wait_healthy()


def catches_up(fabric):
    """Who was away for longer than the log reaches back gets a snapshot, and then has everything."""
    away = fabric.follower()
    away.stop()
    writer = fabric.leader().connection()
    # Much more than --snapshot-count, over several checkpoints, so that the log is cut.
    written, end = 0, time.time() + 3
    while written < 1500 or time.time() < end:
        writer.call("/v3/kv/put", {"key": b64(f"away/{written % 100}"), "value": b64(str(written))})
        written += 1
    away.start()
    away.wait_healthy(60)
    assert "receiving a snapshot" in away.log(), away.log()[-1000:]
    local = away.connection().call("/v3/kv/range", {"key": b64("away/"), "range_end": b64("away0")})
    assert local["count"] == "100" and local["kvs"][0]["value"] == b64(str((written - 1) // 100 * 100)), local


def first_answer(member, path, body, seconds=30):
    """The first answer to a request that is asked again and again, as it is while the member starts."""
    end = time.time() + seconds
    while True:
        try:
            status, answer, _ = member.connection(12).request("POST", path, json.dumps(body).encode())
            if status == 200:
                return json.loads(answer)
        except Unanswered:
            pass
        assert time.time() < end, member.log()[-1000:]


def forgets_nothing(binary, count):
    """A killed member, once it is back, answers from nothing older than before, though `kv.db` has none of it."""
    everything = {"key": b64("k"), "range_end": b64("l"), "serializable": True, "keys_only": True}
    with Fabric(binary, count, ["--checkpoint-interval", "60000"]) as fabric:
        member = fabric.members[0]
        for n in range(5):
            writer = fabric.leader().connection()
            for m in range(200):
                written = writer.call("/v3/kv/put", {"key": b64(f"k{m}"), "value": b64(str(n))})
            revision = int(written["header"]["revision"])
            served = 0
            while served < revision:
                served = int(first_answer(member, "/v3/kv/range", everything)["header"]["revision"])
            member.kill()
            member.start()
            answer = first_answer(member, "/v3/kv/range", everything)
            assert int(answer["header"]["revision"]) >= served and answer["count"] == "200", (served, answer["header"])
            member.wait_healthy()


def alone_after_a_kill(fabric):
    """Without a leader it does not know if it has what it answered from: it says so, and what it answers is not older."""
    asked = {"key": b64("alone"), "serializable": True}
    member = fabric.follower()
    fabric.leader().connection().call("/v3/kv/put", {"key": b64("alone"), "value": b64("x")})
    while first_answer(member, "/v3/kv/range", asked).get("count") != "1":
        pass
    others = [other for other in fabric.members if other is not member]
    for each in fabric.members:
        each.kill()
    member.start()
    member.wait_started("refuses serializable reads")
    status, answer, _ = member.connection().request("POST", "/v3/kv/range", json.dumps(asked).encode())
    assert status == 503 and b"waits for a leader" in answer, (status, answer)
    assert member.connection().request("GET", "/version")[0] == 200
    for other in others:
        other.start()
    assert first_answer(member, "/v3/kv/range", asked)["count"] == "1"


def commands(binary, fabric):
    at = ["--endpoints", fabric.members[0].client_url]
    assert weft(binary, "put", "cli/a", "one", *at).startswith("OK, revision ")
    weft(binary, "put", "cli/b", *at, text="from standard input")
    assert weft(binary, "get", "cli/b", *at) == "from standard input\n"
    assert weft(binary, "get", "--prefix", "cli/", *at) == "cli/a\none\ncli/b\nfrom standard input\n"
    assert json.loads(weft(binary, "get", "cli/a", "-o", "json", *at))["count"] == "1"
    weft(binary, "get", "cli/nothing", *at, status=3)
    assert weft(binary, "del", "--prefix", "cli/", *at) == "2\n"
    weft(binary, "del", "cli/a", *at, status=3)
    revision = json.loads(weft(binary, "get", "--prefix", "", "--limit", "1", "-o", "json", *at))["header"]["revision"]
    weft(binary, "compact", revision, *at)
    weft(binary, "compact", revision, *at, status=1)
    weft(binary, "get", "x", "--endpoints", "http://127.0.0.1:1", status=4)
    weft(binary, "get", "x", "--endpoints", "ftp://x", status=2)

    def rows_with_a_leader():
        rows = json.loads(weft(binary, "status", "-o", "json", *at))
        return rows if [row["role"] for row in rows].count("leader") == 1 and len(rows) == 3 else None

    rows = attempt(10, rows_with_a_leader, "one of three members leads")
    assert len(json.loads(weft(binary, "member", "list", "-o", "json", *at))["members"]) == 3
    target = next(row["name"] for row in rows if row["role"] == "follower")
    weft(binary, "move-leader", target, *at)
    assert fabric.leader().name == target
    weft(binary, "member", "remove", "nobody", *at, status=3)
    for shell in ("bash", "zsh", "fish"):
        assert "weft" in weft(binary, "--generate-completion-script", shell)
    for command in ("serve", "join", "leave", "get", "put", "del", "compact", "status", "move-leader", "version"):
        assert "weft" in weft(binary, command, "--help")


def metrics(fabric):
    text = fabric.members[0].connection().request("GET", "/metrics")[1].decode()
    for name in ("etcd_server_has_leader 1", "etcd_disk_wal_fsync_duration_seconds_bucket", "etcd_mvcc_db_total_size_in_bytes",
                 "etcd_server_proposals_applied_total", "process_resident_memory_bytes"):
        assert name in text, name
    for line in text.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) >= 0, line


def main():
    binary = sys.argv[1]
    report = Report()
    report.run("it tells systemd when it is ready and when it stops", announces_itself, binary)
    for count in (1, 3):
        report.run(f"a killed member of {count} answers from nothing older", forgets_nothing, binary, count)
    with Fabric(binary, 3, ["--snapshot-count", "200", "--snapshot-catchup-entries", "100", "--checkpoint-interval", "200"]) as fabric:
        report.run("every command does what its help says", commands, binary, fabric)
        report.run("a stopped leader hands over", hands_over, fabric)
        report.run("a second signal is quicker", two_signals, fabric)
        report.run("a trap leaves a line in the log", leaves_a_line, fabric)
        report.run("metrics are Prometheus text under etcd's names", metrics, fabric)
        report.run("a killed member without a leader refuses what may be old", alone_after_a_kill, fabric)
        report.run("a member that was away long gets a snapshot", catches_up, fabric)
    report.finish()


if __name__ == "__main__":
    main()
