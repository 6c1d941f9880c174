"""Strangers in numbers at the peer port: they may not use up memory, descriptors or the log. Run by strangers.py."""
import os
import re
import resource
import ssl
import threading
import time

import peer_wire as wire
from peer_scene import Scene, alive, has, put, takes_writes, until

# --- C5: memory


def resident(member):
    with open(f"/proc/{member.process.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) // 1024


def fill_half_frames(scene, to, with_hello):
    """Sixty connections, each with most of a frame of 32 MiB; answers the most memory the member had meanwhile."""
    size, piece = 32 << 20, b"\x00" * (1 << 20)
    peers, most = [], 0
    try:
        for _ in range(60):
            try:
                peer = scene.peer(to.peer_port, timeout=3)
                peers.append(peer)
                if with_hello:
                    peer.send(scene.hello(to))
                    peer.read()
                peer.send(wire.half_frame(size))
                for _ in range(20):
                    peer.send(piece)
            except OSError:
                pass
            alive([to])
            most = max(most, resident(to))
        return most
    finally:
        for peer in peers:
            peer.close()


def half_frames_hold_no_memory(weft, with_hello):
    with Scene(weft) as scene:
        before = resident(scene.leader)
        most = fill_half_frames(scene, scene.leader, with_hello)
        assert most <= before + 64, f"{before} MiB before, {most} MiB while 60 frames were half sent"
        takes_writes(scene.rest, "after")
        scene.come_back()
        takes_writes(scene.fabric.members, "after/2")


def strangers_hold_no_memory_before_hello(weft):
    half_frames_hold_no_memory(weft, False)


def strangers_hold_no_memory_after_hello(weft):
    half_frames_hold_no_memory(weft, True)


def still_open(peer):
    """If the other end has not closed it."""
    peer.socket.settimeout(0)
    try:
        while True:
            if not peer.socket.recv(65536):
                return False
    except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def one_peer_has_few_connections(weft):
    with Scene(weft) as scene:
        peers = []
        try:
            for _ in range(200):
                try:
                    peers.append(scene.peer(scene.leader.peer_port, scene.hello(scene.leader)))
                except OSError:
                    pass
            time.sleep(1)
            held = sum(still_open(peer) for peer in peers)
            assert held <= 4, f"one peer holds {held} of 200 connections"
            # Nor do they keep the member out that they were opened for.
            scene.come_back()
            other = next(member for member in scene.rest if member is not scene.leader)
            other.kill()
            takes_writes([scene.leader, scene.away], "after")
        finally:
            for peer in peers:
                peer.close()


# --- C6: descriptors


class Crowd:
    """Keeps so many connections to a port open, and says something first on each; a context manager."""

    def __init__(self, scene, port, count, first):
        self.scene, self.port, self.count, self.first = scene, port, count, first
        self.peers, self.opened, self.ended = [], 0, False
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _work(self):
        while not self.ended:
            gone = [peer for peer in self.peers if not still_open(peer)]
            for peer in gone:
                peer.close()
                self.peers.remove(peer)
            for _ in range(min(self.count - len(self.peers), 300)):
                if self.ended:
                    return
                try:
                    peer = self.scene.peer(self.port, timeout=1)
                    self.peers.append(peer)
                    self.opened += 1
                    peer.send(self.first(self.opened))
                except OSError:
                    break
            time.sleep(0.05)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.thread.join(20)
        for peer in self.peers:
            peer.close()


def connections_use_up_no_descriptors(weft):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit = 1024
    with Scene(weft) as scene:
        members = scene.fabric.members
        scene.come_back()
        for member in members:
            member.stop()
            member.prefix = ["prlimit", f"--nofile={limit}:{limit}"]
        for member in members:
            member.start()
        for member in members:
            member.wait_healthy()
        leader = scene.fabric.leader()
        scene.away = next(member for member in members if member is not leader)
        # Most pass for a member, the others say nothing.
        with Crowd(scene, leader.peer_port, 2 * limit, lambda n: scene.hello(leader) if n % 8 else b"") as crowd:
            until("there is a crowd", lambda: crowd.opened >= limit, 15)
            time.sleep(1)
            for number in range(8):
                alive(members)
                put(leader, f"crowd/{number}", timeout=10)
                assert has(leader, f"crowd/{number}", False, 10)
                # Whatever the member opens for its own use, too.
                status, _, _ = leader.connection(10).request("GET", "/metrics")
                assert status == 200
                time.sleep(0.5)
            assert scene.fabric.leader() is leader, "the lead went elsewhere"
        other = scene.away
        other.stop()
        other.start()
        other.wait_healthy()
        third = next(member for member in members if member not in (leader, other))
        third.kill()
        takes_writes([leader, other], "after")


# --- D12: what is said of strangers


def visits(scene, to):
    """What strangers send: nothing, noise, the beginning of other protocols, introductions of nobody."""
    noise = os.urandom(200)
    unknown = wire.hello(scene.cluster, 4711, scene.ids[to.name])
    elsewhere = wire.hello(1, scene.ids[scene.away.name], scene.ids[to.name])
    mistaken = wire.hello(scene.cluster, scene.ids[scene.away.name], 4711)
    wrong_sum = bytearray(scene.hello(to))
    wrong_sum[5] ^= 1
    return {"nothing": b"", "noise": noise, "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "TLS": b"\x16\x03\x01\x02\x00\x01", "a member that is none": unknown,
            "another fabric": elsewhere, "another addressee": mistaken,
            "a wrong checksum": bytes(wrong_sum), "a message without introduction": wire.messages(),
            "half a frame": wire.half_frame(20) + b"\x00"}


def strangers_make_few_lines_with_their_address(weft):
    with Scene(weft) as scene:
        to, faults, said = scene.leader, [], 0
        for place, (what, data) in enumerate(visits(scene, to).items()):
            begin = len(to.log())
            for _ in range(50):
                try:
                    with scene.peer(to.peer_port, data, timeout=5, source=f"127.0.77.{place + 1}") as peer:
                        if what not in ("nothing", "half a frame"):
                            peer.socket.settimeout(0.2)
                            peer.read()
                except OSError:
                    pass
            time.sleep(0.3)
            lines = [line for line in to.log()[begin:].splitlines() if "no connection to member" not in line]
            said += len(lines)
            if len(lines) > 5:
                faults.append(f"{what}: {len(lines)} lines")
            if lines and not any("127.0.77." in line for line in lines):
                faults.append(f"{what}: without the address, {lines[0][-100:]!r}")
        assert not faults, "; ".join(faults)
        assert said, "nothing is said of any stranger"


CHECKS = [
    strangers_hold_no_memory_before_hello, strangers_hold_no_memory_after_hello, one_peer_has_few_connections,
    connections_use_up_no_descriptors, strangers_make_few_lines_with_their_address,
]
