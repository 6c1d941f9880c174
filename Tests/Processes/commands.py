#!/usr/bin/env python3
"""The weft command as people and scripts use it: watches, leases, locks, elections, txns, checks; and watching with curl.

    commands.py WEFT
"""
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

from harness import Fabric, Report, b64
from nodes import API


class Command:
    """A running command; its lines come in a list."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    def wait_lines(self, count, seconds=20):
        end = time.time() + seconds
        while len(self.lines) < count:
            assert self.process.poll() is None or len(self.lines) >= count, \
                f"ended with {self.process.returncode}: {self.lines} {self.process.stderr.read().decode()}"
            assert time.time() < end, f"{self.lines} after {seconds} s"
            time.sleep(0.02)
        return self.lines

    def end(self, number=signal.SIGINT, seconds=20):
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        self.reader.join(5)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class World:
    def __init__(self, binary, fabric):
        self.binary, self.fabric = binary, fabric
        self.at = ["--endpoints", ",".join(m.client_url for m in fabric.members)]

    def run(self, *arguments, status=0, text=None):
        words = list(arguments)
        place = words.index("--") if "--" in words else len(words)
        words[place:place] = self.at
        done = subprocess.run([self.binary, *words], input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, f"weft {' '.join(words)}: {done.returncode}, not {status}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *arguments):
        words = list(arguments)
        place = words.index("--") if "--" in words else len(words)
        words[place:place] = self.at
        return Command(self.binary, *words)

    def put(self, key, value):
        return int(self.fabric.leader().connection().call("/v3/kv/put", {"key": b64(key), "value": b64(value)})["header"]["revision"])


def until(what, holds, seconds=20):
    end = time.time() + seconds
    while not holds():
        assert time.time() < end, f"not after {seconds} s: {what}"
        time.sleep(0.05)


def watches(world):
    """Lines of three, or of JSON; begun in the past; a command for each."""
    first = world.put("w/a", "1")
    world.put("w/b", "2")
    world.run("del", "w/a")
    with world.start("watch", "--prefix", "w/", "--revision", str(first)) as watch:
        assert watch.wait_lines(9)[:9] == ["PUT", "w/a", "1", "PUT", "w/b", "2", "DELETE", "w/a", ""], watch.lines
    with world.start("watch", "w/b", "-o", "json", "--revision", str(first)) as watch:
        change = json.loads(watch.wait_lines(1)[0])
        assert (change["type"], change["key"], change["value"], change["revision"]) == ("put", "w/b", "2", first + 1), change
    command = 'echo "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY=$ETCD_WATCH_VALUE @$ETCD_WATCH_REVISION"'
    with world.start("watch", "--prefix", "w/", "--revision", str(first), "--", "sh", "-c", command) as watch:
        wanted = [f"PUT w/a=1 @{first}", f"PUT w/b=2 @{first + 1}", f"DELETE w/a= @{first + 2}"]
        assert watch.wait_lines(3)[:3] == wanted, watch.lines


def watch_waits(world):
    """Nothing happens for longer than answers are waited for, and then something does."""
    with world.start("watch", "quiet", "--timeout", "1") as watch:
        time.sleep(3.2)
        world.put("quiet", "no more")
        assert watch.wait_lines(3) == ["PUT", "quiet", "no more"], watch.lines
        assert watch.end(signal.SIGTERM) != 0
        assert watch.process.stderr.read() == b"", "it was cut off"


def watch_goes_on(world):
    """The member that is asked dies: the next is asked, and nothing is left out or said twice."""
    asked = world.fabric.members[0]
    first = world.put("g/0", "0")
    with world.start("watch", "--prefix", "g/", "-o", "json", "--revision", str(first)) as watch:
        watch.wait_lines(1)
        for n in range(1, 200):
            if n == 100:
                asked.kill()
            other = world.fabric.members[1].connection()
            until("a write is taken", lambda: is_put(other, f"g/{n}"))
        revisions = [json.loads(line)["revision"] for line in watch.wait_lines(200)]
        assert revisions == sorted(set(revisions)), revisions
        keys = [json.loads(line)["key"] for line in watch.lines]
        assert set(keys) == {f"g/{n}" for n in range(200)}, len(set(keys))
    asked.start()
    asked.wait_healthy()


def is_put(connection, key):
    try:
        connection.call("/v3/kv/put", {"key": b64(key), "value": b64("v")})
        return True
    except Exception:
        return False


def leases(world):
    said = world.run("lease", "grant", "100")
    assert said.startswith("lease ") and said.endswith(" granted with TTL(100s)\n"), said
    lease = said.split()[1]
    assert lease in world.run("lease", "list").split()
    assert world.run("lease", "keep-alive", lease, "--once") == f"lease {lease} keepalived with TTL(100)\n"
    world.fabric.leader().connection().call("/v3/kv/put", {"key": b64("leased"), "lease": str(int(lease, 16))})
    lines = world.run("lease", "timetolive", lease, "--keys").splitlines()
    assert lines[0].startswith(f"lease {lease} granted with TTL(100s), remaining(") and lines[1] == "leased", lines
    assert world.run("lease", "revoke", lease) == f"lease {lease} revoked\n"
    world.run("get", "leased", status=3)
    world.run("lease", "timetolive", lease, status=3)
    world.run("lease", "keep-alive", lease, "--once", status=3)
    world.run("lease", "revoke", "xyz", status=2)


def locks(world):
    """One after the other; the command's exit code; the lock is free as soon as the holder ends, however it does."""
    with tempfile.NamedTemporaryFile("r") as log:
        command = f'echo "in $ETCD_LOCK_REV" >> {log.name}; sleep 0.3; echo out >> {log.name}; exit 7'
        running = [world.start("lock", "one", "--", "sh", "-c", command) for _ in range(4)]
        for each in running:
            assert each.process.wait(30) == 7, each.process.stderr.read()
        lines = log.read().splitlines()
    assert [line.split()[0] for line in lines] == ["in", "out"] * 4, lines
    tokens = [int(line.split()[1]) for line in lines[::2]]
    assert tokens == sorted(set(tokens)) and tokens[0] > 0, tokens
    with world.start("lock", "two") as holder:
        assert holder.wait_lines(1)[0].startswith("two/")
        with world.start("lock", "two") as waiter:
            time.sleep(0.5)
            assert not waiter.lines
            assert holder.end(signal.SIGTERM) == 0
            waiter.wait_lines(1)
            assert waiter.end() == 0
    assert world.run("get", "--prefix", "two/", "--keys-only") == ""
    with world.start("lock", "three", "--ttl", "2", "--", "sleep", "100") as lost:
        until("it is held", lambda: world.run("get", "--prefix", "three/", "--keys-only") != "")
        lease = world.run("get", "--prefix", "three/", "--keys-only").strip().split("/")[1]
        world.run("lease", "revoke", lease)
        assert lost.process.wait(20) == 3, "the command went on without the lock"
        assert b"expired or was revoked" in lost.process.stderr.read()


def elections(world):
    with world.start("elect", "e", "--listen") as listener, world.start("elect", "e", "first") as first:
        assert first.wait_lines(2)[1] == "first"
        with world.start("elect", "e", "second") as second:
            assert listener.wait_lines(2)[1] == "first"
            assert not second.lines
            assert first.end() == 0
            assert second.wait_lines(2)[1] == "second"
            assert listener.wait_lines(4)[3] == "second"
            assert second.end() == 0


def txns(world):
    text = 'mod("t/a") = "0"\n\nput t/a "one two"\nget t/a\n\nget t/a\n\n'
    assert world.run("txn", text=text) == "SUCCESS\n\nOK\n\nt/a\none two\n"
    assert world.run("txn", text=text) == "FAILURE\n\nt/a\none two\n"
    text = 'value("t/a") = "one two"\nversion("t/a") < "2"\n\ndel --prefix t/\n\n\n'
    assert world.run("txn", text=text) == "SUCCESS\n\n1\n"
    for bad in ('mod("a") ~ "0"\n\n\n', 'mod("a") = "x"\n\n\n', "\nput a\n\n", "\nfly a\n\n", '\nput "a b\n\n', "\n\n\n\nput a b\n"):
        world.run("txn", text=bad, status=2)


def upkeep(world):
    assert world.run("alarm", "list") == "" and world.run("alarm", "disarm") == ""
    said = world.run("check")
    assert said.count("ok  ") == 5 and "FAIL" not in said, said
    said = world.run("defrag")
    assert said.startswith("under way at ") and all(m.name in said for m in world.fabric.members), said
    connection = world.fabric.members[0].connection()
    own = world.fabric.members[0].status()["header"]["member_id"]
    connection.call("/v3/maintenance/alarm", {"action": "ACTIVATE", "memberID": own, "alarm": "NOSPACE"})
    listed = f"memberID:{int(own):x} alarm:NOSPACE\n"
    assert world.run("alarm", "list") == listed
    assert "FAIL no alarm" in world.run("check", status=1)
    assert world.run("alarm", "disarm") == listed and world.run("alarm", "list") == ""
    for command in ("watch", "lease", "lock", "elect", "txn", "snapshot", "alarm", "defrag", "check",
                    "lease-reads"):
        said = subprocess.run([world.binary, command, "--help"], capture_output=True, text=True).stdout
        assert "xample" in said or "SUBCOMMANDS" in said, said


def lease_reads(world):
    """Off until it is turned on, for all members at once; a member alone cannot be told to."""
    done = subprocess.run([world.binary, "serve", "--lease-reads", "true"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "weft lease-reads" in done.stderr, done
    assert world.run("lease-reads").startswith("off: ")
    for word, is_on in ("on", True), ("off", False):
        assert world.run("lease-reads", word).startswith(word + ": ")
        assert json.loads(world.run("lease-reads", "-o", "json")) == {"on": is_on}
        for member in world.fabric.members:
            until(f"{member.name} knows", lambda: API(member).must("GET", "status")["quorum"]["leaseReads"] == is_on)
        world.put("lease-reads", word)
        assert word in world.run("get", "lease-reads")


class Stream:
    """A watch as curl begins it."""

    def __init__(self, member, path, headers=None):
        self.http = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=20)
        self.http.request("GET", path, headers=headers or {})
        self.answer = self.http.getresponse()

    def event(self):
        """The fields of the next event; comments are passed over."""
        fields = {}
        while True:
            line = self.answer.readline().decode()
            assert line, "the stream ended"
            line = line.rstrip("\n")
            if not line and fields:
                return fields
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value

    def close(self):
        self.http.close()


def server_sent_events(world):
    """Events with their revision as id; a revision of several changes has its id at the last; Last-Event-ID goes on."""
    member = world.fabric.members[1]
    first = world.put("s/a", "1")
    stream = Stream(member, f"/v1/kv/s/?prefix&watch&revision={first}")
    assert stream.answer.status == 200 and stream.answer.getheader("content-type") == "text/event-stream"
    event = stream.event()
    assert event["id"] == str(first) and event["event"] == "put", event
    assert json.loads(event["data"])["value"] == "1"
    puts = [{"request_put": {"key": b64(f"s/{k}"), "value": b64("x")}} for k in "bc"]
    world.fabric.leader().connection().call("/v3/kv/txn", {"success": puts})
    half, whole = stream.event(), stream.event()
    assert "id" not in half and whole["id"] == str(first + 1), (half, whole)
    stream.close()
    stream = Stream(member, "/v1/kv/s/?prefix&watch", {"Last-Event-ID": str(first)})
    assert [json.loads(stream.event()["data"])["key"] for _ in range(2)] == ["s/b", "s/c"]
    stream.close()
    lines = Stream(member, f"/v1/kv/s/a?watch&revision={first}", {"Accept": "application/x-ndjson"})
    assert json.loads(lines.answer.readline())["revision"] == first
    world.run("del", "s/a")
    assert json.loads(lines.answer.readline())["type"] == "delete"
    lines.close()
    world.run("compact", str(first + 1))
    gone = Stream(member, f"/v1/kv/s/a?watch&revision={first}")
    assert gone.answer.status == 410, gone.answer.status
    for bad in ("/v1/kv/?watch", "/v1/kv/a?watch&limit=3", "/v1/kv/a?watch&revision=x"):
        assert Stream(member, bad).answer.status == 400, bad


def main():
    binary = sys.argv[1]
    report = Report()
    with Fabric(binary, 3) as fabric:
        world = World(binary, fabric)
        report.run("watch prints changes and runs commands", watches, world)
        report.run("watch waits for as long as it takes", watch_waits, world)
        report.run("watch goes on at another member", watch_goes_on, world)
        report.run("leases", leases, world)
        report.run("locks around commands", locks, world)
        report.run("elections", elections, world)
        report.run("txns in etcdctl's notation", txns, world)
        report.run("alarms, defrag, check, help", upkeep, world)
        report.run("watching with curl", server_sent_events, world)
        report.run("lease reads, off and on", lease_reads, world)
    report.finish()


if __name__ == "__main__":
    main()
