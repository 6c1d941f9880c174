"""What a request costs, in numbers that do not depend on how fast the machine is: allocations, waits of threads (hops from one to
another) and syncs per request of one client, at the leader and at a follower.

What members do whether they are asked or not (heartbeats, chores) takes as much more as the requests take longer, so it is
measured over a stretch without requests and taken off. The rest is compared with Tests/Benchmarks/costs.json; `--write` notes
the costs of now. Also shows that a majority synced each acknowledged put. A member that is behind syncs several at once, the
slowest of three any number, and it need not be the same one all the time: so the three together must have synced at least twice
as often as puts were acknowledged one after another.
"""
import argparse
import json
import os
import subprocess
import time

import counting
from bench import WEFT_FLAGS, endpoints, load
from harness import Fabric, Report

KEPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Benchmarks", "costs.json")
REQUESTS = 2000
BY_LEASE = "range, linearizable, by lease"
KINDS = {
    "put": ["put", "--to", "leader"],
    "range, linearizable": ["range", "--to", "leader"],
    "range, serializable": ["range", "--to", "leader", "--serializable"],
    "range, linearizable, at a follower": ["range", "--to", "followers"],
    "put, JSON": ["put", "--to", "leader", "--protocol", "json"],
    # The last one: from then on the leader does not ask the others.
    BY_LEASE: ["range", "--to", "leader"],
}
# What a checkpoint costs stands among the requests.
SLACK, MOST = 3.0, 1.3
IDLE_SECONDS = 5


def spent(fabric, work):
    """What each member counts while `work` runs, the seconds that it took, and what it answered."""
    before, start = [counting.counts(member) for member in fabric.members], time.monotonic()
    answer = work()
    seconds, after = time.monotonic() - start, [counting.counts(member) for member in fabric.members]
    return [{what: late[what] - early[what] for what in late} for early, late in zip(before, after)], seconds, answer


def measure(weft, fabric, arguments):
    leader, follower = fabric.leader(), fabric.follower()
    common = ["--keys", 100, "--connections", 1, "--clients", 1, "--seconds", 120]
    load(weft, endpoints(fabric), *arguments, *common, "--total", 200)
    busy, seconds, report = spent(fabric, lambda: load(weft, endpoints(fabric), *arguments, *common, "--total", REQUESTS))
    idle, idle_seconds, _ = spent(fabric, lambda: time.sleep(IDLE_SECONDS))
    done = report["completed"]
    per = {}
    for role, member in (("leader", leader), ("follower", follower)):
        place = fabric.members.index(member)
        per[role] = {what: round((count - idle[place][what] * seconds / idle_seconds) / done, 2)
                     for what, count in busy[place].items()}
    return per, done, [member["syncs"] for member in busy]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--write", action="store_true", help="note the costs of now")
    options = parser.parse_args()
    report = Report()
    found = {}
    with counting.prepare(Fabric(options.weft, 3, WEFT_FLAGS)) as fabric:
        fabric.leader()
        load(options.weft, endpoints(fabric), "put", "--keys", 100, "--total", 1000, "--distribution", "sequential")
        for kind, arguments in KINDS.items():
            if kind == BY_LEASE:
                subprocess.run([options.weft, "lease-reads", "on", "--endpoints", endpoints(fabric)], check=True)
            found[kind], done, syncs = measure(options.weft, fabric, arguments)
            print(f"      {kind}: {found[kind]}", flush=True)
            if kind.startswith("put"):
                report.check(f"{kind}: {done} acknowledged one after another, synced {syncs} times", sum(syncs) >= 2 * done)
    if options.write:
        with open(KEPT, "w") as file:
            json.dump(found, file, indent=1)
            file.write("\n")
    with open(KEPT) as file:
        kept = json.load(file)
    for kind, roles in kept.items():
        for role, costs in roles.items():
            for what, known in costs.items():
                now = found[kind][role][what]
                report.check(f"{kind}, {role}: {now} {what}, of {known}", now <= known * MOST + SLACK)
    report.finish()


main()
