"""Kills with -9, pauses and partitions, at random and over one another: what robust.py and lease_clocks.py do to a fabric."""
import collections
import random
import signal
import time

from harness import Connection, Refused, Unanswered


class Trouble:
    """A disturbance as in storm.py. Up to two members are down or paused at a time; a partition comes on top of that.

    `cuts` says if the fabric's members are in namespaces, so that they can be cut off from one another."""

    def __init__(self, fabric, seed, cuts=False, down_seconds_max=0.7, pause_seconds_max=1.2, cut_seconds_max=1.5,
                 rest_seconds_max=0.4, leader_share=0.5):
        self.fabric, self.dice, self.cuts = fabric, random.Random(f"{seed} trouble"), cuts
        self.down_seconds_max, self.pause_seconds_max = down_seconds_max, pause_seconds_max
        self.cut_seconds_max, self.rest_seconds_max = cut_seconds_max, rest_seconds_max
        self.leader_share = leader_share
        self.counts = collections.Counter()
        # When each fault ends, and how; the members that are down or paused; if there is a partition.
        self.ends, self.struck, self.is_cut = [], [], False

    def __call__(self, stop):
        try:
            while not stop.is_set():
                self.end_faults(time.monotonic())
                if len(self.struck) < self.dice.choice((1, 1, 1, 2)):
                    self.strike()
                if self.cuts and not self.is_cut and self.dice.random() < 0.25:
                    self.cut()
                stop.wait(self.dice.uniform(0.05, self.rest_seconds_max))
        finally:
            self.end_faults(float("inf"))
        for member in self.fabric.members:
            member.wait_healthy(60)

    def end_faults(self, now):
        for fault in [fault for fault in self.ends if fault[0] <= now]:
            self.ends.remove(fault)
            fault[1]()

    def until(self, seconds_max, end):
        self.ends.append((time.monotonic() + self.dice.uniform(0, seconds_max), end))

    def strike(self):
        member = self.choose([m for m in self.fabric.members if m not in self.struck])
        assert member.process.poll() is None, f"{member.name} ended by itself:\n{member.log()[-3000:]}"
        self.struck.append(member)
        if self.dice.random() < 0.45:
            self.counts["pauses"] += 1
            member.process.send_signal(signal.SIGSTOP)
            self.until(self.pause_seconds_max, lambda: self.resume(member))
        else:
            self.counts["kills"] += 1
            member.kill()
            self.until(self.down_seconds_max, lambda: self.restart(member))

    def resume(self, member):
        member.process.send_signal(signal.SIGCONT)
        self.struck.remove(member)

    def restart(self, member):
        member.start()
        self.struck.remove(member)

    def cut(self):
        self.counts["cuts"] += 1
        self.is_cut = True
        member = self.choose(self.fabric.members)
        if self.dice.random() < 0.7:
            self.fabric.isolate(member)
        else:
            self.fabric.cut(member, self.dice.choice([other for other in self.fabric.members if other is not member]))
        self.until(self.cut_seconds_max, self.heal)

    def heal(self):
        self.fabric.heal()
        self.is_cut = False

    def choose(self, members):
        """The leader, as often as was asked for; else any of the members."""
        leader = self.leader() if self.dice.random() < self.leader_share else None
        return leader if leader in members else self.dice.choice(members)

    def leader(self):
        """The member that takes itself for the leader; None when none of those that run does."""
        for member in self.fabric.members:
            if member in self.struck:
                continue
            try:
                status = Connection(member.client_port, 1, member.host).call("/v3/maintenance/status", {})
            except (Unanswered, Refused):
                continue
            if status.get("leader") == status["header"]["member_id"]:
                return member
        return None
