#!/usr/bin/env python3
"""Gives real daemons what they should not get: each must answer with a clear error, lose nothing, and stay up.

    bad_input.py WEFT
"""
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time

from harness import SERVICE_ID, Fabric, Refused, Report, Unanswered, b64, free_port, unb64


def raw(port, data, seconds=3, pieces=0):
    """What comes back for raw bytes; with `pieces` they are sent slowly, that many seconds apart."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
        try:
            if pieces:
                for byte in data:
                    s.sendall(bytes([byte]))
                    time.sleep(pieces)
            else:
                s.sendall(data)
        except OSError:
            pass
        answer = b""
        try:
            while chunk := s.recv(65536):
                answer += chunk
        except OSError:
            pass
        return answer


def expect_error(answer, status, text=""):
    got, body = answer[0], answer[1].decode()
    assert got == status, f"status {got}, not {status}: {body}"
    message = json.loads(body)["message"]
    assert text in message, message


def ended(member, text, seconds=20):
    """The member refused to go on, in words, and did not crash."""
    code = member.process.wait(seconds)
    member.process = None
    said = member.log()[member.log_start:]
    assert 1 <= code <= 5, f"it ended with {code}: {said[-1500:]}"
    assert text in said, f"its log does not say {text!r}:\n{said[-1500:]}"


def gateway(member):
    c = member.connection()
    expect_error(c.request("POST", "/v3/kv/put", b"{not json"), 400, "syntax error")
    expect_error(c.request("POST", "/v3/kv/put", b'{"key":"***"}'), 400, "bytes field key")
    expect_error(c.request("POST", "/v3/kv/put", b"[]"), 400)
    expect_error(c.request("POST", "/v3/kv/put", b'{"key":"\xff\xfe"}'), 400, "UTF-8")
    expect_error(c.request("POST", "/v3/kv/range", b"[" * 100_000), 400, "deep")
    nested = '{"request_txn":{"success":[' * 40 + "]}}" * 40
    expect_error(c.request("POST", "/v3/kv/txn", ('{"success":[' + nested + "]}").encode()), 400)
    expect_error(c.request("POST", "/v3/kv/put", json.dumps({"key": b64("k"), "value": b64("x" * 1_600_000)}).encode()),
                 400, "request is too large")
    expect_error(c.request("POST", "/v3/maintenance/downgrade", b"{}"), 400, "downgrade target version")
    expect_error(c.request("POST", "/v3/lease/grant", b'{"TTL":"x"}'), 400, "TTL")
    expect_error(c.request("POST", "/v3/watch", b'{"create_request":'), 400, "syntax")


def framing(member):
    port = member.client_port
    huge = raw(port, b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
    assert huge.startswith(b"HTTP/1.1 413"), huge[:100]
    chunked = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + (
        b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 80
    assert raw(port, chunked).startswith(b"HTTP/1.1 413")
    headers = raw(port, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 20_000 + b"\r\n\r\n")
    assert headers.startswith(b"HTTP/1.1 431"), headers[:100]
    both = raw(port, b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert both.startswith(b"HTTP/1.1 400"), both[:100]
    assert raw(port, b"\x16\x03\x01\x02\x00garbage\r\n\r\n").startswith(b"HTTP/1.1 400")
    endless = raw(port, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300_000)
    assert not endless or endless.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")), endless[:100]
    two = raw(port, b"GET /version HTTP/1.1\r\nHost: x\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert two.count(b"HTTP/1.1 200") == 2, two


def slow_headers(member):
    begin = time.time()
    answer = raw(member.client_port, b"GET / HTTP/1.1\r\nHost:", seconds=30)
    assert answer.startswith(b"HTTP/1.1 408"), answer[:100]
    assert 5 < time.time() - begin < 20, time.time() - begin


def plain(member):
    c = member.connection()
    value = b'{"size": 1}'
    status, body, headers = c.request("PUT", "/v1/kv/volumes/v1", value)
    assert status == 201, (status, body)
    status, body, headers = c.request("GET", "/v1/kv/volumes/v1")
    assert (status, body) == (200, value) and headers["etag"] == f'"{headers["weft-revision"]}"', headers
    tag = headers["etag"]
    assert c.request("GET", "/v1/kv/volumes/v1", headers={"If-None-Match": tag})[0] == 304
    expect_error(c.request("PUT", "/v1/kv/volumes/v1", b"x", {"If-None-Match": "*"}), 412, "revision")
    expect_error(c.request("PUT", "/v1/kv/volumes/v1", b"x", {"If-Match": '"1"'}), 412)
    expect_error(c.request("PUT", "/v1/kv/volumes/v1", b"x", {"If-Match": "nonsense"}), 400, "ETag")
    assert c.request("PUT", "/v1/kv/volumes/v1", b"two", {"If-Match": tag})[0] == 200
    old = headers["weft-revision"]
    assert c.request("GET", f"/v1/kv/volumes/v1?revision={old}")[1] == value
    expect_error(c.request("GET", "/v1/kv/volumes/v1?revision=999999"), 400, "future")
    expect_error(c.request("GET", "/v1/kv/volumes/v1?perfix"), 400, "unknown query field")
    expect_error(c.request("GET", "/v1/kv/nothing"), 404, "nothing")
    expect_error(c.request("PUT", "/v1/kv/big", b"x" * 2_000_000), 413)
    for key, path in {b"a//b": "a//b", b"a/../b": "a/../b", b" /?#%": "%20/%3F%23%25", b"\xff\x00": "%ff%00", b"/": "/"}.items():
        assert c.request("PUT", "/v1/kv/" + path, key)[0] == 201, path
        found = c.call("/v3/kv/range", {"key": b64(key)})
        assert unb64(found["kvs"][0]["value"]) == key, path
    listed = json.loads(c.request("GET", "/v1/kv/?prefix")[1])
    assert listed["count"] == 6 and any(i.get("keyBase64") == b64(b"\xff\x00") for i in listed["items"]), listed
    page = json.loads(c.request("GET", "/v1/kv/?keys&limit=2")[1])
    assert page["more"] and "value" not in page["items"][0], page
    assert c.request("DELETE", "/v1/kv/a//b")[0] == 200
    expect_error(c.request("DELETE", "/v1/kv/a//b"), 404)
    expect_error(c.request("PATCH", "/v1/kv/x", b""), 405)


def peer_port(fabric):
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64, b"\xff" * 4096, os.urandom(100_000)):
        raw(fabric.members[0].peer_port, data, seconds=1)
    assert all(m.healthy() for m in fabric.members)


def other_fabric(weft, fabric):
    """A member that was founded with another token, at an address of this fabric."""
    with Fabric(weft, 1, ["--initial-cluster-token", "another"]) as other:
        stranger = other.add("m3")
        stranger.client_port, stranger.peer_port = free_port(), free_port()
        victim = fabric.members[2]
        victim.stop()
        stranger.peer_port = victim.peer_port
        founders = ",".join(f"{m.name}={m.peer_url}" for m in fabric.founders)
        stranger.spawn(["serve", *stranger.arguments(), "--initial-cluster", founders])
        time.sleep(3)
        assert "another fabric" in stranger.log(), stranger.log()
        assert not stranger.healthy()
        stranger.stop()
    victim.start()
    victim.wait_healthy()


def other_members_data(fabric):
    one, two = fabric.members[0], fabric.members[1]
    one.stop()
    two.stop()
    own = one.data
    one.data = two.data
    one.start()
    ended(one, 'holds the data of member "m2"')
    one.data = own
    one.start()
    two.start()
    one.wait_healthy()
    two.wait_healthy()


def refused_starts(weft):
    with Fabric(weft, 1) as single:
        member = single.members[0]
        second = single.add("m1")
        second.data, second.client_port, second.peer_port = member.data, member.client_port, member.peer_port
        second.start()
        ended(second, "is in use by another weft process")
        member.stop()
        config = os.path.join(single.directory, "config.yaml")
        with open(config, "w") as file:
            file.write("name: m1\n# a comment\nheart-beat: 5\n")
        member.start("--config-file", config)
        ended(member, 'line 3: unknown key "heart-beat"')
        member.start("--election-timeout", "100")
        ended(member, "--heartbeat-interval")
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        member.start("--config-file", os.path.join(root, "config", "weft.example.yaml"))
        member.wait_healthy()


def known(fabric, member):
    end = time.time() + 20
    for other in fabric.members:
        while member.name not in [
                m.get("name") for m in other.connection().call("/v3/cluster/member/list", {})["members"]]:
            assert time.time() < end, f"{other.name} never heard {member.name}'s name"
            time.sleep(0.05)


def lost_disk(weft):
    """A founder that comes back with an empty disk forgot its votes: it must not take part as if it were new."""
    with Fabric(weft, 3) as fabric:
        member = fabric.follower()
        fabric.leader().connection().call("/v3/kv/put", {"key": b64("before"), "value": b64("x")})
        # The others know that it took part once it has told them its name.
        known(fabric, member)
        member.kill()
        shutil.rmtree(member.data)
        member.start()
        ended(member, "holds nothing of it")
        member.start()
        ended(member, "holds nothing of it")
        other = next(m for m in fabric.members if m.process)
        subprocess.run([weft, "member", "remove", member.name, "--endpoints", other.client_url], check=True, timeout=60)
        shutil.rmtree(member.data)
        member.join(other)
        member.wait_healthy()
        assert member.connection().call("/v3/kv/range", {"key": b64("before"), "serializable": True})["count"] == "1"
    with Fabric(weft, 1) as single:
        member = single.members[0]
        member.stop()
        shutil.rmtree(member.data)
        member.start("--initial-cluster-state", "existing")
        ended(member, "weft join")


def full_disk(weft):
    """A member whose disk fills up refuses writes, keeps what it acknowledged, and goes on when there is space."""
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        member.stop()
        disk = os.path.join(fabric.directory, "disk")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=24m,mode=700,uid={SERVICE_ID}", "tmpfs", disk], check=True)
        try:
            member.data = os.path.join(disk, "data")
            member.start()
            member.wait_healthy()
            acknowledged, refused = fill(member)
            assert refused, "the disk never filled up"
            assert member.process.poll() is None, "it ended"
            answer = member.connection().request("GET", "/health")
            assert answer[0] == 503 and b"SPACE" in answer[1], answer
            subprocess.run(["mount", "-o", "remount,size=96m", disk], check=True)
            member.wait_healthy()
            member.connection().call("/v3/kv/put", {"key": b64("after"), "value": b64("x")})
            member.kill()
            member.start()
            member.wait_healthy()
            for key, value in acknowledged.items():
                found = member.connection().call("/v3/kv/range", {"key": b64(key)})
                assert found.get("kvs") and unb64(found["kvs"][0]["value"]).decode() == value, f"{key} is lost"
            member.stop()
        finally:
            member.kill()
            subprocess.run(["umount", "-l", disk])


def fill(member):
    acknowledged = {}
    for n in range(2000):
        value = f"{n}." + "x" * 60_000
        try:
            member.connection(10).call("/v3/kv/put", {"key": b64(f"fill/{n}"), "value": b64(value)})
            acknowledged[f"fill/{n}"] = value
        except Refused as refusal:
            if refusal.code == 8:
                return acknowledged, refusal
        except Unanswered:
            pass
    return acknowledged, None


def joins(weft, fabric):
    """Joins that cannot succeed say why and leave nothing behind; one that is killed goes on."""
    def count():
        return len(fabric.members[0].connection().call("/v3/cluster/member/list", {"linearizable": True})["members"])

    before = count()
    late = fabric.add("m9")
    late.spawn(["join", f"http://127.0.0.1:{free_port()}", *late.arguments()])
    ended(late, "cannot connect")
    late.name = "m1"
    late.join(fabric.members[0])
    ended(late, "has a member named m1 already")
    late.name = "m9"
    blocked = late.peer_port
    late.spawn(["join", fabric.members[0].client_url, *late.arguments()[:-2], "--join-timeout", "3",
                *fabric.flags, "--initial-advertise-peer-urls", f"http://127.0.0.1:{free_port()}"])
    ended(late, "did not reach this machine", 60)
    assert count() == before, "half a member stays"
    late.join(fabric.members[0])
    time.sleep(random.uniform(0.05, 0.6))
    late.kill()
    late.join(fabric.members[1])
    late.wait_healthy()
    end = time.time() + 20
    while late.status().get("isLearner") and time.time() < end:
        time.sleep(0.1)
    assert not late.status().get("isLearner"), late.log()
    assert count() == before + 1 and blocked
    late.stop()
    # What the join found out or was told holds for later starts.
    late.spawn(["serve", "--name", "m9", "--data-dir", late.data, *fabric.flags])
    late.wait_healthy()
    left = subprocess.run([weft, "leave", "--endpoints", late.client_url], capture_output=True, text=True, timeout=60)
    assert left.returncode == 0, left.stderr
    assert late.process.wait(20) == 6, "who left ends, and says that it was removed"
    late.process = None
    late.spawn(["serve", "--name", "m9", "--data-dir", late.data])
    ended(late, "was removed from its fabric")
    assert count() == before
    fabric.members.remove(late)


def main():
    weft = sys.argv[1]
    report = Report()
    with Fabric(weft, 1) as single:
        member = single.members[0]
        report.run("plain keys and values", plain, member)
        report.run("malformed requests of the gateway", gateway, member)
        report.run("malformed HTTP", framing, member)
        report.run("slow headers", slow_headers, member)
        report.check("the member is still well", member.healthy())
    report.run("starts that are refused", refused_starts, weft)
    with Fabric(weft, 3) as fabric:
        report.run("noise on the peer port", peer_port, fabric)
        report.run("a member of another fabric", other_fabric, weft, fabric)
        report.run("another member's data directory", other_members_data, fabric)
        report.run("joins that fail, and one that is interrupted", joins, weft, fabric)
        report.check("all members are well", all(m.healthy() for m in fabric.members))
    report.run("a founder that lost its disk", lost_disk, weft)
    if os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0:
        report.run("a full disk", full_disk, weft)
    else:
        print("skipped: a full disk (needs root, to mount a small one)")
    report.finish()


if __name__ == "__main__":
    main()
