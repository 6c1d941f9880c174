#!/usr/bin/env python3
"""What a fabric over several sites must show, in the rig of metro.py: two sites of two members and a witness in a third.

    metro_checks.py WEFT [--only rtts,losses,volumes,durability,faults] [--rtts 2,10,100,500] [--quiet-seconds N] [--rounds N] [--seed N] [--untimed]

With --untimed nothing is judged by how long it took, for machines that others use, too. Skipped where namespaces and TUN devices cannot be made.
"""
import argparse
import json
import random
import subprocess
import sys
import threading
import time

import history
from harness import Refused, Report, Unanswered, b64
from kills import Client, read
from metro import Metro, available
from nodes import API, Nodes, wait_for

TERA = 10**12


def bench(metro, member, *arguments):
    """`weft bench` from the member's own site."""
    run = subprocess.run(["ip", "netns", "exec", metro.space(member.site), metro.weft, "bench", *map(str, arguments),
                          "--endpoints", member.client_url, "--output", "json"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout)


def term(metro):
    return int(metro.leader().status()["raftTerm"])


def settle(metro, seconds=60):
    """Until all members answer, and have what is committed."""
    end = time.time() + seconds
    while True:
        try:
            leader = metro.leader(10)
            wanted = int(leader.status()["raftAppliedIndex"])
            others = [m for m in metro.members if m.site != metro.witness]
            if all(int(m.status()["raftAppliedIndex"]) >= wanted for m in others):
                return leader
        except (Unanswered, Refused, AssertionError):
            pass
        assert time.time() < end, "the members do not get well: " + "".join(m.log()[-800:] for m in metro.members)
        time.sleep(0.1)


class Writer(threading.Thread):
    """Writes new keys through members of one site, one after the other, and remembers what was acknowledged and when."""

    def __init__(self, members, name):
        super().__init__(daemon=True)
        self.members, self.name = members, name
        self.acknowledged, self.times, self.stopped = [], [], threading.Event()

    def run(self):
        number, turn = 0, 0
        connection = self.members[0].connection(3)
        while not self.stopped.is_set():
            number += 1
            key = f"{self.name}/{number}"
            try:
                connection.call("/v3/kv/put", {"key": b64(key), "value": b64(str(number))})
                self.acknowledged.append(key)
                self.times.append(time.monotonic())
            except (Unanswered, Refused):
                turn += 1
                connection.close()
                connection = self.members[turn % len(self.members)].connection(3)
                time.sleep(0.02)

    def longest_pause(self, begin, end):
        inside = [begin] + [t for t in self.times if begin <= t <= end] + [end]
        return max(b - a for a, b in zip(inside, inside[1:]))

    def stop(self):
        self.stopped.set()
        self.join(30)


def check_kept(metro, keys):
    """Every data member has every key."""
    for member in metro.members:
        if member.site == metro.witness:
            continue
        names = {key.split("/")[0] for key in keys}
        held = set()
        for name in names:
            answer = member.connection(60).call("/v3/kv/range", {
                "key": b64(name + "/"), "range_end": b64(name + "0"), "keys_only": True, "serializable": True})
            held |= {kv["key"] for kv in answer.get("kvs", [])}
        lost = [key for key in keys if b64(key) not in held]
        assert not lost, f"{member.name} lost {len(lost)} acknowledged writes, such as {lost[:3]}"


# The checks

def round_trips(metro, rtts, quiet_seconds, report):
    """No election without a fault, and what writes and reads cost, at each distance."""
    rates = {}
    for rtt in rtts:
        metro.set_rtt(rtt)
        time.sleep(15)
        leader = settle(metro)
        before = term(metro)
        home = next(m for m in metro.at(leader.site) if m is not leader)
        away = metro.at("west" if leader.site == "east" else "east")[0]
        one = ("--clients", 1, "--connections", 1, "--seconds", 5)
        write = bench(metro, leader, "put", *one)["latencyMilliseconds"]["p50"]
        lease_read = bench(metro, leader, "range", *one)["latencyMilliseconds"]["p50"]
        far_read = bench(metro, away, "range", *one)["latencyMilliseconds"]["p50"]
        print(f"      {rtt} ms: a write at the leader {write} ms, a read there {lease_read} ms, in the other site {far_read} ms")
        report.check(f"{rtt} ms: a write at the leader's site takes 1.2 round trips and 10 ms at most", write <= 1.2 * rtt + 10, write)
        report.check(f"{rtt} ms: a lease read there takes no round trip", lease_read <= min(rtt, 5), lease_read)
        report.check(f"{rtt} ms: a linearizable read elsewhere takes 1.2 round trips at most", far_read <= 1.2 * rtt + 5, far_read)
        if rtt in (2, 100):
            many = ("--connections", 100, "--seconds", 8, "--warm-up", 6)
            for clients in (1000, 4000):
                rates[rtt, clients] = bench(metro, leader, "put", "--clients", clients, *many)["perSecond"]
                print(f"      {rtt} ms: {clients:,} clients at the leader's site: {rates[rtt, clients]:,.0f} puts/s")
        time.sleep(quiet_seconds)
        report.check(f"{rtt} ms: no election in {quiet_seconds} s and under load", term(metro) == before and metro.leader() is leader,
                     f"term {before} before, {term(metro)} after, led by {metro.leader().name} instead of {leader.name}")
    if (2, 1000) in rates and (100, 1000) in rates:
        # Who waits for an answer before asking again asks ten times a second at most.
        bound = min(rates[2, 1000], 1000 / 0.1)
        report.check(f"1,000 clients at 100 ms do 80 % of what they do at 2 ms, or could: {rates[100, 1000] / bound:.2f}",
                     rates[100, 1000] >= 0.8 * bound)
        report.check(f"4,000 clients at 100 ms do 80 % of what they do at 2 ms: {rates[100, 4000] / rates[2, 4000]:.2f}",
                     rates[100, 4000] >= 0.8 * rates[2, 4000])


def losses(metro, rtts, times, untimed, report):
    """The leader's site is killed, or cut off, under load."""
    for number, rtt in enumerate(rtt for rtt in rtts for _ in range(times)):
        window = 12 if rtt < 100 else 25
        limit = window - 2 if untimed else 1.5 if rtt <= 10 else 5.0
        for how in ("killed", "cut off"):
            metro.set_rtt(rtt)
            time.sleep(15)
            leader = settle(metro)
            site = leader.site
            other = "west" if site == "east" else "east"
            writers = [Writer(metro.at(s), f"{s}{number}{how[:3]}") for s in (site, other)]
            for writer in writers:
                writer.start()
            time.sleep(4)
            begin = time.monotonic()
            metro.kill_site(site) if how == "killed" else metro.cut(site)
            time.sleep(window)
            pause = writers[1].longest_pause(begin, time.monotonic())
            report.check(f"{rtt} ms: the leader's site is {how}: writes go on after {pause:.2f} s (at most {limit})", pause <= limit)
            metro.start_site(site) if how == "killed" else metro.heal()
            settle(metro, 90)
            for writer in writers:
                writer.stop()
            settle(metro, 90)
            report.run(f"{rtt} ms: {how}: none of {sum(len(w.acknowledged) for w in writers)} acknowledged writes is lost",
                       check_kept, metro, [key for w in writers for key in w.acknowledged])


def volumes(metro, report):
    """What a site held is resynced before it counts as current."""
    metro.set_rtt(10)
    settle(metro)
    specs = {f"{site[0]}n{n}": {"domain": site, "capacityBytes": TERA, "ttlSeconds": 3} for site in ("east", "west") for n in (1, 2, 3)}
    sites = {site: [name for name in specs if specs[name]["domain"] == site] for site in ("east", "west")}
    api = API(*metro.at("east"))
    with Nodes(metro.at("east"), specs) as nodes:
        made = [api.must("POST", "volumes", {"name": f"v{n}", "sizeBytes": 10**9, "replication": 2})["id"] for n in range(60)]
        before = {v["id"]: {r["node"]: r["generation"] for r in v["replicas"]} for v in api.must("GET", "volumes")["items"]}
        report.check("each of 60 volumes is in both sites", all(
            {specs[n]["domain"] for n in before[v]} == {"east", "west"} for v in made))
        metro.cut("west")
        nodes.silent |= set(sites["west"])
        wait_for("all volumes are degraded", lambda: all(v["state"] == "Degraded" for v in api.must("GET", "volumes")["items"]), 60)
        api.must("POST", "domains/west/deactivate", {"reason": "it is cut off"})
        metro.heal()
        settle(metro)
        west = [n for v in api.must("GET", "volumes")["items"] for n in v["replicas"] if n["node"] in sites["west"]]
        report.check("nothing of the west counts while it is inactive", all(r["state"] != "Current" for r in west))
        api.must("POST", "domains/west/activate", {})
        nodes.silent.clear()
        wait_for("all volumes are up", lambda: all(v["state"] == "Up" for v in api.must("GET", "volumes")["items"]), 90)
        stale = [(v["id"], r["node"]) for v in api.must("GET", "volumes")["items"] for r in v["replicas"]
                 if r["node"] in before[v["id"]] and r["node"] in sites["west"] and r["generation"] <= before[v["id"]][r["node"]]]
        report.check("every replica of the west was resynced before it counted", not stale and nodes.resynced >= 60, f"{stale[:3]} {nodes.resynced}")


def durability(metro, report):
    """Commits in two domains, and domains that go and come while that is asked for, or not."""
    metro.set_rtt(10)
    leader = settle(metro)
    home, away = leader.site, "west" if leader.site == "east" else "east"
    api = API(*metro.at(home))

    def acknowledged():
        try:
            metro.at(home)[0].connection(3).call("/v3/kv/put", {"key": b64("durable"), "value": b64("x")})
            return True
        except (Unanswered, Refused):
            return False

    def goes_on():
        try:
            return wait_for("writes go on", acknowledged)
        except AssertionError:
            return False

    def back(report_as):
        metro.heal()
        settle(metro)
        api.must("POST", f"domains/{away}/activate", {})
        metro.cut(away)
        # Its members have caught up first; then commits wait for it again.
        try:
            wait_for("commits wait for it", lambda: metro.heal() or time.sleep(2) or metro.cut(away) or not acknowledged(), 60)
        finally:
            metro.heal()
        settle(metro)
        report.check(report_as, goes_on())

    api.must("PUT", "durability", {"domains": 2})
    report.check("durability 2: writes are acknowledged while both sites are there", goes_on())
    metro.cut(away)
    report.check("durability 2: none is while one site is cut off", not acknowledged())
    api.must("POST", f"domains/{away}/deactivate", {"reason": "it is cut off"})
    report.check("durability 2: they go on once that site is deactivated", goes_on())
    back("durability 2: a site that is activated counts again")
    # A domain that ended while nothing was asked of it, and a policy that is set meanwhile.
    api.must("PUT", "durability", {"domains": 1})
    api.must("POST", f"domains/{away}/deactivate", {"reason": "a drill"})
    status, answer, _ = api.ask("PUT", "durability", {"domains": 2})
    metro.kill_site(away)
    report.check("a site that was deactivated before is not waited for", goes_on(), f"{status} {answer}")
    metro.start_site(away)
    settle(metro)
    api.must("POST", f"domains/{away}/activate", {})
    api.must("PUT", "durability", {"domains": 2})
    back("and counts again once it is activated")
    api.must("PUT", "durability", {"domains": 1})


FAULTS = ["kill east", "kill west", "cut east", "cut west", "cut third", "kill third", "slow west 500ms", "half cut east"]


def play(metro, fault):
    verb, *rest = fault.split()
    if verb == "kill":
        metro.kill_site(rest[0])
    elif verb == "cut":
        metro.cut(rest[0])
    elif verb == "half":
        metro.cut(rest[1], both=False)
    else:
        metro.slow(rest[0], 500)
    return rest[0] if verb == "kill" else None


def faults(metro, report, rounds, seed):
    """Random faults of whole sites, one after the other, while clients of all kinds go on; their history is checked."""
    dice = random.Random(seed)
    metro.set_rtt(10)
    settle(metro)
    data = [m for m in metro.members if m.site != metro.witness]
    operations = trouble = 0
    for number in range(rounds):
        fault = dice.choice(FAULTS)
        stop = threading.Event()
        keys = [f"r{number}k{n}" for n in range(8)]
        clients = [Client(data, keys, seed * 1000 + number * 10 + n, stop) for n in range(6)]
        for client in clients:
            client.start()
        time.sleep(dice.uniform(0.3, 1.0))
        killed = play(metro, fault)
        time.sleep(dice.uniform(1.0, 5.0))
        if killed:
            metro.start_site(killed)
        metro.heal()
        time.sleep(dice.uniform(0.2, 1.0))
        stop.set()
        for client in clients:
            client.join(60)
        settle(metro, 90)
        found = [op for client in clients for op in client.history]
        connection = data[0].connection()
        for key in keys:
            read(connection, key, found)
        problem = history.check(found) or next((str(c.error) for c in clients if c.error), None)
        operations += len(found)
        if problem:
            trouble += 1
            print(f"FAIL  round {number}, {fault}: {problem}")
    report.check(f"{rounds} random faults of sites, {operations} operations: nothing lost, all linearizable (seed {seed})", not trouble)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--only", default="rtts,losses,volumes,durability,faults")
    parser.add_argument("--rtts", default="2,10,100,500")
    parser.add_argument("--losses", default="10,500", help="round trips at which a site is lost")
    parser.add_argument("--times", type=int, default=1, help="how often it is lost at each")
    parser.add_argument("--untimed", action="store_true")
    parser.add_argument("--quiet-seconds", type=float, default=600)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    report = Report()
    if not available():
        print("skipped: namespaces and TUN devices cannot be made here (root and iproute2 are needed)")
        report.finish()
    only = options.only.split(",")
    with Metro(options.weft) as metro:
        if "rtts" in only:
            round_trips(metro, [float(r) if "." in r else int(r) for r in options.rtts.split(",")], options.quiet_seconds, report)
        if "losses" in only:
            losses(metro, [int(rtt) for rtt in options.losses.split(",")], options.times, options.untimed, report)
        if "volumes" in only:
            volumes(metro, report)
        if "durability" in only:
            durability(metro, report)
        if "faults" in only:
            faults(metro, report, options.rounds, options.seed)
    report.finish()


if __name__ == "__main__":
    main()
