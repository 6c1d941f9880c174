#!/usr/bin/env python3
"""No lease ends before its time, whatever clocks and members do; and each ends that nobody renews.

    lease_clocks.py WEFT [--rounds 6] [--seed N] [--seconds 20]

Each round is a fabric of its own, in trouble for 20 seconds: members are killed with -9 and paused, their wall clocks
jump by hours, and all clocks of each run up to 5 % fast or slow (clocks.c). Holders grant leases with a key each, through
all members; some they keep alive, some they let run out. Watches, linearizable reads and questions for the time left, at
each member, note when a lease is over. The time of a lease counts from when its last acknowledged renewal was sent, by the
clock of this test.

A last round has members whose clocks run twice as fast, and must find leases that end early: it tests the test.
"""
import argparse
import collections
import contextlib
import mmap
import os
import queue
import random
import secrets
import struct
import subprocess
import sys
import tempfile
import threading
import time

import clients

clients.use_python_clients()

import grpc

import etcd_rpc as rpc
from harness import Connection, Fabric, Refused, Report, Unanswered, b64, unb64
from storm import UNANSWERED
from trouble import Trouble

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clocks.c")
# A short election timeout, so that an outage is short, and leases of a second may be had.
FLAGS = ["--heartbeat-interval", "30", "--election-timeout", "300", "--snapshot-count", "300",
         "--snapshot-catchup-entries", "150", "--checkpoint-interval", "200"]
DRIFT_MAX = 0.05
# How long a lease may outlast its time once all members are well. Nothing is measured by it but that it ends at all.
PATIENCE_SECONDS = 30
# The clock of this test is read before a request is sent and after an answer came: no tolerance is needed but for rounding.
ROUNDING = 0.001
# gRPC's codes of a member that cannot answer now: DEADLINE_EXCEEDED and UNAVAILABLE.
UNAVAILABLE = {4, 14}


# The clocks of members

class Clocks:
    """Clocks for the members of a fabric, which must not have started yet."""

    def __init__(self, fabric, rates, seed):
        self.dice, self.rates, self.jumps, self.count = random.Random(f"{seed} clocks"), rates, [], 0
        library = os.path.join(fabric.directory, "clocks.so")
        build(library)
        for member, rate in zip(fabric.members, rates, strict=True):
            path = os.path.join(fabric.directory, f"{member.name}.jump")
            self.jumps.append(jump_file(path))
            member.environment = {"LD_PRELOAD": library, "WEFT_CLOCK_RATE": f"{rate:.6f}", "WEFT_CLOCK_JUMP": path}

    def jump_until(self, stop):
        """Wall clocks jump, hours forwards and backwards, again and again."""
        while not stop.wait(self.dice.uniform(0.05, 0.5)):
            hours = self.dice.choice((0, self.dice.uniform(-6, 6), self.dice.uniform(-6, 6), self.dice.uniform(-0.01, 0.01)))
            set_jump(self.dice.choice(self.jumps), hours * 3600)
            self.count += 1

    def close(self):
        for jump in self.jumps:
            jump.close()


def build(library):
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE], check=True)
    os.chmod(library, 0o755)


def jump_file(path):
    """Maps a new file from which a member takes how far its wall clock is ahead."""
    with open(path, "w+b") as file:
        os.chmod(path, 0o644)
        file.write(bytes(8))
        file.flush()
        return mmap.mmap(file.fileno(), 8)


def set_jump(jump, seconds):
    jump[:] = struct.pack("<q", int(seconds * 1000))


# What clients do

class Lease:
    """What this test knows of a lease. `renewals` has, of the grant and each renewal that was acknowledged, when it was sent."""

    def __init__(self, id, ttl, key, sent):
        self.id, self.ttl, self.key, self.renewals = id, ttl, key, [sent]
        # When it was first known to be over, and from what; if its key was put.
        self.over = self.by = None
        self.has_key = False

    def note_over(self, when, by):
        if self.over is None or when < self.over:
            self.over, self.by = when, by

    def problem(self):
        """How it broke its promise, if it did: it must last its time from when each renewal was sent."""
        for sent in self.renewals if self.over is not None else ():
            if self.over < sent:
                return f"{self}: was renewed {sent - self.over:.3f} s after it was over"
            if self.over - sent < self.ttl - ROUNDING:
                return f"{self}: was over {self.over - sent:.3f} s after a renewal was sent, of {self.ttl} s"
        return None

    @property
    def lasted(self):
        """The share of its time that it lasted after the last renewal."""
        return (self.over - self.renewals[-1]) / self.ttl

    def __repr__(self):
        return f"lease {self.id:x} ({len(self.renewals) - 1} renewals, over by {self.by})"


class KeepAlive:
    """A stream that renews leases, one request at a time."""

    def __init__(self, connection):
        self.requests, self.answers = queue.Queue(), queue.Queue()
        self.call = connection.keep(iter(self.requests.get, None))
        threading.Thread(target=self.pump, daemon=True).start()

    def pump(self):
        with contextlib.suppress(grpc.RpcError):
            for answer in self.call:
                self.answers.put(answer)
        self.answers.put(None)

    def renew(self, id, seconds):
        """The seconds of the answer, 0 when there is no such lease; None without an answer. Nothing may follow that."""
        self.requests.put(rpc.LeaseKeepAliveRequest(ID=id))
        with contextlib.suppress(queue.Empty):
            if answer := self.answers.get(timeout=seconds):
                assert answer.ID == id, f"an answer for lease {answer.ID:x}, not {id:x}"
                return answer.TTL
        return None

    def close(self):
        self.requests.put(None)
        self.call.cancel()


class Holder(threading.Thread):
    """Has one lease after the other: keeps it alive for a while, and then lets it run out."""

    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.number = load, number
        self.dice = random.Random(f"{load.seed} holder {number}")
        self.connection = self.keep = None

    def run(self):
        try:
            while not self.load.holders_stop.is_set():
                self.move()
                if lease := self.grant():
                    self.put_key(lease)
                    self.keep_alive(lease)
        except Exception as error:
            self.load.fault(f"holder {self.number}: {type(error).__name__}: {error}")
        finally:
            self.leave()

    def leave(self):
        if self.keep:
            self.keep.close()
        if self.connection:
            self.connection.close()

    def move(self):
        """To a member, maybe another one."""
        self.leave()
        self.connection, self.keep = rpc.Connection(self.dice.choice(self.load.members).client_url), None

    def grant(self):
        ttl, sent = self.dice.choice(self.load.ttls), time.monotonic()
        try:
            answer = self.connection.LeaseGrant(1, TTL=ttl)
        except grpc.RpcError as error:
            return self.unanswered(error, "a grant")
        assert answer.TTL == ttl and answer.ID not in self.load.leases, f"{answer}"
        lease = Lease(answer.ID, ttl, self.load.prefix + b"%x" % answer.ID, sent)
        self.load.leases[lease.id] = lease
        return lease

    def unanswered(self, error, what):
        assert error.code() in UNANSWERED, f"{what} was refused: {error.code().name}: {error.details()}"
        self.load.holders_stop.wait(0.05)

    def put_key(self, lease):
        while not lease.has_key and lease.over is None and not self.load.holders_stop.is_set():
            try:
                self.connection.Put(1, key=lease.key, value=b"v", lease=lease.id)
                lease.has_key = True
            except grpc.RpcError as error:
                if "lease not found" in (error.details() or ""):
                    return lease.note_over(time.monotonic(), "a put")
                self.unanswered(error, "a put")
                self.move()

    def keep_alive(self, lease):
        """Renews it some times; now and then too late."""
        for _ in range(self.dice.choice((0, 0, 1, 3, 8, 15))):
            self.load.holders_stop.wait(lease.ttl * self.dice.choice((0.1, 0.2, 0.3, 0.5, 0.9, 1.0)))
            while lease.over is None and not self.load.holders_stop.is_set() and not self.renewed(lease):
                self.load.holders_stop.wait(0.05)
                self.move()

    def renewed(self, lease):
        """If an answer came; that the lease is gone is one, too."""
        sent = time.monotonic()
        seconds = self.renew(lease)
        if seconds:
            assert seconds == lease.ttl, f"{lease} was renewed for {seconds} s, not {lease.ttl}"
            lease.renewals.append(sent)
        elif seconds == 0:
            lease.note_over(time.monotonic(), "a renewal")
        return seconds is not None

    def renew(self, lease):
        self.keep = self.keep or KeepAlive(self.connection)
        return self.keep.renew(lease.id, 1)


# What tells that a lease is over

class Watcher(threading.Thread):
    """A watch at one member of the deletions of all keys; it goes on where it was when its stream ends."""

    def __init__(self, load, member):
        super().__init__(daemon=True)
        self.load, self.member, self.next, self.call = load, member, load.first, None

    def run(self):
        while not self.load.observers_stop.wait(0.05):
            connection = rpc.Connection(self.member.client_url)
            try:
                self.follow(connection)
            except grpc.RpcError as error:
                if error.code() not in UNANSWERED:
                    return self.load.fault(f"watch at {self.member.name}: {error.code().name}: {error.details()}")
            except Exception as error:
                return self.load.fault(f"watch at {self.member.name}: {type(error).__name__}: {error}")
            finally:
                connection.close()

    def follow(self, connection):
        request = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
            key=self.load.prefix, range_end=rpc.end_of(self.load.prefix), filters=[rpc.NOPUT], start_revision=self.next))
        requests = queue.Queue()
        requests.put(request)
        # A member that stands still for long is left; the watch begins again where it was.
        self.call = connection.watch(iter(requests.get, None), timeout=20)
        try:
            for answer in self.call:
                now = time.monotonic()
                for event in answer.events:
                    self.load.note_gone(event.kv.key, now, f"a watch at {self.member.name}")
                    self.next = event.kv.mod_revision + 1
        finally:
            requests.put(None)

    def stop(self):
        if call := self.call:
            call.cancel()


class Asker(threading.Thread):
    """Linearizable reads of all keys at one member, and questions for the time left of a lease."""

    def __init__(self, load, member):
        super().__init__(daemon=True)
        self.load, self.member = load, member
        self.dice, self.count = random.Random(f"{load.seed} asker {member.name}"), 0

    def run(self):
        connection = Connection(self.member.client_port, 2, self.member.host)
        while not self.load.observers_stop.wait(0.05):
            try:
                self.read(connection)
                self.ask(connection)
                self.count += 1
            except Unanswered:
                continue
            except Refused as refusal:
                if refusal.code not in UNAVAILABLE:
                    return self.load.fault(f"asker at {self.member.name}: {refusal}")
            except Exception as error:
                return self.load.fault(f"asker at {self.member.name}: {type(error).__name__}: {error}")
        connection.close()

    def read(self, connection):
        # Only keys whose put was acknowledged before the read is sent must be in its answer.
        alive = [lease for lease in self.load.open_leases() if lease.has_key]
        answer = connection.call("/v3/kv/range", {
            "key": b64(self.load.prefix), "range_end": b64(rpc.end_of(self.load.prefix)), "keys_only": True})
        now, there = time.monotonic(), {unb64(pair["key"]) for pair in answer.get("kvs", [])}
        for lease in alive:
            if lease.key not in there:
                lease.note_over(now, f"a read at {self.member.name}")

    def ask(self, connection):
        if alive := self.load.open_leases():
            lease = self.dice.choice(alive)
            answer = connection.call("/v3/lease/timetolive", {"ID": lease.id})
            if int(answer.get("TTL", 0)) < 0:
                lease.note_over(time.monotonic(), f"a question at {self.member.name}")


class Load:
    """The clients of one round."""

    def __init__(self, members, seed, ttls, holders=24):
        self.members, self.seed, self.ttls = members, seed, ttls
        self.prefix = b"leases/" + secrets.token_hex(4).encode() + b"/"
        self.holders_stop, self.observers_stop = threading.Event(), threading.Event()
        self.leases, self.faults = {}, []
        connection = rpc.Connection(members[0].client_url)
        self.first = connection.Put(key=b"begin", value=b"v").header.revision + 1
        connection.close()
        self.holders = [Holder(self, number) for number in range(holders)]
        self.watchers = [Watcher(self, member) for member in members]
        self.askers = [Asker(self, member) for member in members]

    def fault(self, text):
        self.faults.append(text)

    def open_leases(self):
        return [lease for lease in list(self.leases.values()) if lease.over is None]

    def note_gone(self, key, when, by):
        lease = self.leases.get(int(key[len(self.prefix):], 16))
        assert lease, f"a key of a lease that nobody was granted: {key}"
        lease.note_over(when, by)

    def play(self, seconds, *disturbances):
        """Runs clients, and each of `disturbances` in a thread beside them; then waits until all leases are over."""
        threads = [*self.holders, *self.watchers, *self.askers]
        stop = threading.Event()
        disturbing = [threading.Thread(target=self.disturb, args=(one, stop), daemon=True) for one in disturbances]
        for thread in [*threads, *disturbing]:
            thread.start()
        stop.wait(seconds)
        stop.set()
        for thread in disturbing:
            thread.join()
        self.holders_stop.set()
        for holder in self.holders:
            holder.join(20)
            if holder.is_alive():
                self.fault(f"holder {holder.number} does not end")
        end = time.monotonic() + max(self.ttls) * (1 + 2 * DRIFT_MAX) + PATIENCE_SECONDS
        while self.open_leases() and time.monotonic() < end:
            time.sleep(0.05)
        # The one that tells first may not be the one that tells now.
        time.sleep(0.2)
        self.observers_stop.set()
        for watcher in self.watchers:
            watcher.stop()
        for thread in [*self.watchers, *self.askers]:
            thread.join(5)

    def disturb(self, disturbance, stop):
        try:
            disturbance(stop)
        except Exception as error:
            self.fault(f"the disturbance itself: {type(error).__name__}: {error}")

    def early(self):
        return [text for text in (lease.problem() for lease in list(self.leases.values())) if text]


def draw_rates(dice):
    """Rates for three members: often the extremes, and now and then clocks of which none is fast."""
    kind = dice.random()
    if kind < 0.3:
        return [dice.uniform(1 - DRIFT_MAX, 1) for _ in range(3)]
    if kind < 0.7:
        return dice.sample([1 - DRIFT_MAX, 1, 1 + DRIFT_MAX], 3)
    return [dice.uniform(1 - DRIFT_MAX, 1 + DRIFT_MAX) for _ in range(3)]


def hand_lead_to(member):
    """Lets a member lead; it may lose the lead at any time."""
    id = member.status()["header"]["member_id"]
    with contextlib.suppress(Refused, Unanswered):
        Connection(member.fabric.leader().client_port).call("/v3/maintenance/transfer-leadership", {"targetID": id})


def round_of(weft, seed, seconds, totals):
    """One fabric, from its founding to the judgement.

    In half of the rounds the lead changes all the time. In the others the fastest clock counts for long, as no new leader
    begins to count anew."""
    dice = random.Random(f"{seed} round")
    rates, is_calm = draw_rates(dice), dice.random() < 0.5
    fabric = Fabric(weft, 3, FLAGS)
    with contextlib.closing(Clocks(fabric, rates, seed)) as clocks, fabric:
        load, manner = Load(fabric.members, seed, (2, 3, 5, 10)), {"rest_seconds_max": 1.5}
        if is_calm:
            hand_lead_to(fabric.members[rates.index(max(rates))])
            manner = {"rest_seconds_max": 5, "leader_share": 0.1}
        trouble = Trouble(fabric, seed, **manner)
        load.play(seconds, trouble, clocks.jump_until)
        problems = load.faults + load.early()
        if endless := load.open_leases():
            problems.append(f"{len(endless)} leases do not end, as {endless[0]}")
        over = [lease for lease in load.leases.values() if lease.over is not None]
        totals.update(trouble.counts)
        totals.update({"leases": len(over), "renewals": sum(len(lease.renewals) - 1 for lease in over), "jumps": clocks.count,
                       "answers": sum(asker.count for asker in load.askers)})
        shortest = min((lease.lasted for lease in over), default=0)
        print(f"      seed {seed}, rates {', '.join(f'{rate:.3f}' for rate in rates)}{', calm' * is_calm}: {len(over)} leases, "
              f"the shortest lasted {shortest:.3f} of its time", flush=True)
        assert over, "no lease was granted"
        assert not problems, f"{len(problems)} problems; {'; '.join(problems[:5])}"


def clocks_twice_as_fast(weft, seed):
    """The test of the test: all clocks run twice as fast, and leases that end early are found."""
    fabric = Fabric(weft, 3, FLAGS)
    with contextlib.closing(Clocks(fabric, [2.0] * 3, seed)), fabric:
        load = Load(fabric.members, seed, (10,), holders=6)
        load.play(3)
        early = load.early()
        assert not load.faults, load.faults[:3]
        assert early, f"none of {len(load.leases)} leases was found to end early, though clocks ran twice as fast"
        print(f"      {len(early)} of {len(load.leases)} leases ended early, as they had to: {early[0]}")


# The tests of what judges, and of the clocks

def self_test():
    """The judge notices what it is there for."""
    def lease(over, *renewals):
        one = Lease(7, 10, b"k", renewals[0])
        one.renewals += renewals[1:]
        if over is not None:
            one.note_over(over + 1, "a read that comes late")
            one.note_over(over, "a watch")
        return one
    for good in (lease(10, 0), lease(16, 0, 3, 6), lease(None, 0)):
        assert good.problem() is None, good.problem()
    for bad in (lease(9.9, 0), lease(12, 0, 3), lease(5, 0, 6)):
        assert bad.problem(), bad


# What a process under clocks.c sees. Its clocks run half as fast: a wait that does not follow them ends too early.
CHILD = """
import ctypes, os, select, struct, sys, threading, time
c = ctypes.CDLL(None)
def uptime():
    return float(open("/proc/uptime").read().split()[0])
def timer(flags, end):
    file = c.timerfd_create(1, 0)
    spec = struct.pack("<4q", 0, 0, int(end), int(end % 1 * 1e9) + 1)
    assert c.timerfd_settime(file, flags, spec, None) == 0
    os.read(file, 8)
def condition():
    end = time.time() + 0.2
    lock, arrival = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    c.pthread_mutex_lock(lock)
    assert c.pthread_cond_timedwait(arrival, lock, struct.pack("<2q", int(end), int(end % 1 * 1e9) + 1)) == 110
waits = {"event": lambda: threading.Event().wait(0.2), "sleep": lambda: time.sleep(0.2), "usleep": lambda: c.usleep(200_000),
         "select": lambda: select.select([], [], [], 0.2), "poll": lambda: select.poll().poll(200),
         "epoll": lambda: select.epoll().poll(0.2), "timer": lambda: timer(0, 0.2),
         "timer until": lambda: timer(1, time.monotonic() + 0.2), "condition": condition}
for name, wait in waits.items():
    a, begin, b = uptime(), time.monotonic(), uptime()
    wait()
    c1, end, d = uptime(), time.monotonic(), uptime()
    assert end - begin >= 0.199, f"{name} ended after {end - begin} s"
    assert (c1 - b - 0.01) / 2 <= end - begin <= (d - a + 0.01) / 2 + 0.001, f"{name}: {end - begin} s of {d - a} s"
for _ in range(2):
    print(time.time() - time.monotonic(), flush=True)
    sys.stdin.readline()
"""


def clocks_are_those_of_another_machine():
    """A process under clocks.c sees its clocks run at the rate that was set, waits by them, and sees its wall clock jump."""
    with tempfile.TemporaryDirectory(prefix="weft-clocks-") as directory:
        library, path = os.path.join(directory, "clocks.so"), os.path.join(directory, "jump")
        build(library)
        with contextlib.closing(jump_file(path)) as jump:
            set_jump(jump, 2 * 3600)
            child = subprocess.Popen([sys.executable, "-c", CHILD], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     env={**os.environ, "LD_PRELOAD": library, "WEFT_CLOCK_RATE": "0.5",
                                          "WEFT_CLOCK_JUMP": path})
            try:
                before = float(child.stdout.readline() or "nan")
                set_jump(jump, -3 * 3600)
                child.stdin.write("\n")
                child.stdin.flush()
                after = float(child.stdout.readline() or "nan")
                child.stdin.close()
                assert child.wait(20) == 0, "the child failed"
            finally:
                child.kill()
                child.wait()
    assert abs(after - before + 5 * 3600) < 1, f"the wall clock jumped by {after - before} s, not by 5 hours back"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weft")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; each round after it has the next one")
    parser.add_argument("--seconds", type=float, default=20, help="of trouble in each round")
    options = parser.parse_args()
    self_test()
    weft = os.path.abspath(options.weft)
    first = random.randrange(1 << 31) if options.seed is None else options.seed
    print(f"seed {first}")
    report, totals = Report(), collections.Counter()
    report.run("a process under clocks.c has the clocks of another machine", clocks_are_those_of_another_machine)
    for number in range(options.rounds):
        report.run(f"round {number + 1}: no lease ends early, and each ends", round_of, weft, first + number, options.seconds,
                   totals)
    report.run("members whose clocks run twice as fast are found out", clocks_twice_as_fast, weft, first)
    print(f"{options.rounds} rounds: {totals['leases']} leases, {totals['renewals']} renewals, {totals['answers']} reads, "
          f"{totals['kills']} kills, {totals['pauses']} pauses, {totals['jumps']} jumps")
    report.finish()


if __name__ == "__main__":
    main()
