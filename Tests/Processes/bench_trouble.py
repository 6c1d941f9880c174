"""Latency of puts while things go wrong, beside that of a quiet time: puts come at a fixed rate, and what waits counts.

Over a million keys: a follower gets the whole state, history is compacted, all keys are read in one range, a follower's disk
hangs, the leader's does, a follower is killed. The aim is a p99 of at most twice the quiet one; a leader whose disk hangs has
to be replaced first. `installing` is of the follower's own clients: the longest that one of them waits while it takes up the whole
state; the aim is 50 ms.
"""
import argparse
import json
import os
import signal
import threading
import time

import counting
from bench import WEFT_FLAGS, load, shown
from harness import Fabric, attempt, b64

KEYS = 1_000_000


class Trouble:
    def __init__(self, weft, fabric, options):
        self.weft, self.fabric, self.options = weft, fabric, options
        self.leader = fabric.leader()
        self.follower = next(m for m in fabric.members if m is not self.leader)
        self.keys = ["--prefix", "million/", "--keys", options.keys]

    def puts(self):
        """Reported in milliseconds; to those that stay."""
        report = load(self.weft, self.leader.client_url, "put", *self.keys, "--rate", self.options.rate, "--clients", 200,
                      "--connections", 20, "--seconds", self.options.seconds)
        return {**report["latencyMilliseconds"], "pause": report["longestPauseMilliseconds"]}

    def during(self, work):
        """The puts while `work` goes on; it begins a second after them."""
        thread = threading.Timer(2, work)
        thread.start()
        found = self.puts()
        thread.join()
        return found

    def quiet(self):
        """The middle one of three: the first may still feel the filling."""
        return sorted((self.puts() for _ in range(3)), key=lambda found: found["p99"])[1]

    def snapshot(self):
        self.follower.kill()
        # More than the log keeps for one that is not there.
        load(self.weft, self.leader.client_url, "put", *self.keys, "--total", 150_000, "--clients", 500, "--connections", 20,
             "--seconds", 120)
        time.sleep(8)
        before = self.leader.log().count("snapshot")
        found = self.during(self.follower.start)
        self.follower.wait_healthy(120)
        found["snapshots"] = self.leader.log().count("snapshot") - before
        return found

    def installing(self):
        """Reads at the follower while it takes up the whole state, and what needs no state at all."""
        self.follower.process.send_signal(signal.SIGSTOP)
        load(self.weft, self.leader.client_url, "put", *self.keys, "--total", 150_000, "--clients", 500, "--connections", 20,
             "--seconds", 120)
        waits, ended = [], threading.Event()

        def ask(method, path, body):
            connection = self.follower.connection()
            while not ended.is_set():
                begun = time.monotonic()
                connection.request(method, path, body)
                waits.append(1000 * (time.monotonic() - begun))
                time.sleep(0.001)

        read = json.dumps({"key": b64("million/00000001"), "serializable": True}).encode()
        threads = [threading.Thread(target=ask, args=question)
                   for question in (("GET", "/version", b""), ("POST", "/v3/kv/range", read))]
        self.follower.process.send_signal(signal.SIGCONT)
        # Connections that stood still are done with first.
        time.sleep(1)
        for thread in threads:
            thread.start()
        attempt(120, lambda: "receiving a snapshot" in self.follower.log(), "it gets a snapshot")
        last = self.leader.status()["header"]["revision"]
        attempt(120, lambda: int(self.follower.status()["header"]["revision"]) >= int(last), "it has caught up")
        time.sleep(1)
        ended.set()
        for thread in threads:
            thread.join()
        waits.sort()
        return {"p50": waits[len(waits) // 2], "p99": waits[len(waits) * 99 // 100], "pause": waits[-1]}

    def compaction(self):
        member = self.leader.connection()
        revision = int(member.call("/v3/kv/range", {"key": "AA=="})["header"]["revision"])
        return self.during(lambda: member.call("/v3/kv/compaction", {"revision": revision, "physical": True}))

    def whole_range(self):
        # At a follower and at the leader, one after the other.
        def read():
            for member in (self.follower, self.leader):
                load(self.weft, member.client_url, "range", "--all", *self.keys, "--total", 1, "--timeout", 120)
        return self.during(read)

    def follower_stall(self):
        return self.during(lambda: self.hang(self.follower))

    def leader_stall(self):
        found = self.during(lambda: self.hang(self.leader))
        self.leader = self.fabric.leader()
        self.follower = next(m for m in self.fabric.members if m is not self.leader)
        return found

    def follower_killed(self):
        found = self.during(self.follower.kill)
        self.follower.start()
        self.follower.wait_healthy(120)
        return found

    @staticmethod
    def hang(member):
        with counting.stalled(member):
            time.sleep(10)


STEPS = ["quiet", "snapshot", "installing", "compaction", "whole_range", "follower_stall", "follower_killed"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--only", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--rate", type=int, default=1000, help="puts per second")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--json")
    options = parser.parse_args()
    found = {}
    with counting.prepare(Fabric(options.weft, 3, WEFT_FLAGS)) as fabric:
        trouble = Trouble(options.weft, fabric, options)
        load(options.weft, trouble.leader.client_url, "range", "--fill", *trouble.keys, "--serializable", "--seconds", 1,
             timeout=1200)
        time.sleep(10)
        os.sync()
        print("| while | p50 ms | p99 ms | times quiet | longest pause ms |\n|---|---|---|---|---|", flush=True)
        for step in options.only.split(",") if options.only else STEPS:
            found[step] = now = getattr(trouble, step)()
            ratio = now["p99"] / found.get("quiet", now)["p99"]
            print(f"| {step.replace('_', ' ')} | {shown(now['p50'])} | {shown(now['p99'])} | {ratio:.1f} | "
                  f"{shown(now['pause'])} |", flush=True)
            time.sleep(5)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rate": options.rate, "keys": options.keys, "found": found}, file, indent=1)


main()
