#!/usr/bin/env python3
"""Compares weft with etcd 3.5.1: three members of each in turn on this machine, the same load from `weft bench`.

    bench_compare.py WEFT [--rounds N] [--seconds N] [--only PART,PART] [--json FILE]

Each round starts both stores anew, the one and then the other first, so that both meet the same machine. Both sync each
write on a majority before they acknowledge it. A table of medians, the spread of the middle half, and ratios is printed.
"""
import argparse
import json
import time

from bench import (endpoints, forget_peak, load, on_disk, resident, resident_peak, seconds_until_served, shown, spread, store)
from harness import Unanswered, b64

MILLION = 1_000_000


class Row:
    """A figure. `aim` is the ratio to etcd, at least when more is better, at most when less is; or an absolute limit."""

    def __init__(self, name, what, unit, aim=None, less=False, limit=None):
        self.name, self.what, self.unit, self.aim, self.less, self.limit = name, what, unit, aim, less, limit


ROWS = [
    Row("put-1", "put, 1 client, 256 B", "/s", 1.5),
    Row("put-leader", "put, 1,000 clients on 100 connections, to the leader", "/s", 2.5),
    Row("put-leader-p99", "its p99", "ms", 1.0, less=True),
    Row("put-all", "put, 100 clients over all members, 100,000 random keys", "/s", 2.5),
    Row("range", "linearizable range, 1,000 clients, all members", "/s", 2),
    Row("range-serializable", "serializable range, the same", "/s", 2),
    Row("json-put", "JSON put, 50 connections", "/s", 5),
    Row("json-range", "JSON range, 50 connections", "/s", 5),
    Row("lease", "lease grant and attach, while leases of 2 s end", "/s", 3),
    Row("lease-end", "until the last key of theirs is gone, after it is due", "s", 1 / 3, less=True),
    Row("lock-refresh", "Portworx's lock refresh, 200 locks", "/s"),
    Row("watch", "events to 1,000 watchers of one key", "/s", 2),
    Row("watch-p99", "put to event, 1,000 watchers, 100 puts/s: p99", "ms", less=True),
    Row("failover", "leader killed: longest time without an acknowledged put", "ms", 0.6, less=True),
    Row("memory", "1,000,000 keys of 256 B: resident", "MB", less=True, limit=200),
    Row("disk", "on disk", "MB", less=True, limit=450),
    Row("ready", "kill -9, until it answers from its state", "s", less=True, limit=1),
    Row("limit-now", "prefix range, limit 500, over 1,000,000 keys, with the count of all", "/s", 10),
    Row("limit-past", "the same, a minute and 10,000 puts ago", "/s", 10),
    Row("limit-thousand", "the same over 1,000 keys", "/s"),
    Row("whole", "all 1,000,000 keys in one range: memory added", "MB", less=True, limit=64),
    Row("whole-time", "its time", "s", less=True),
]


def puts(weft, target, seconds):
    common = ["--seconds", seconds]
    yield "put-1", load(weft, target, "put", "--to", "leader", "--keys", 10_000, *common)["perSecond"]
    many = load(weft, target, "put", "--to", "leader", "--clients", 1000, "--connections", 100, *common)
    yield "put-leader", many["perSecond"]
    yield "put-leader-p99", many["latencyMilliseconds"]["p99"]
    yield "put-all", load(weft, target, "put", "--clients", 100, "--connections", 99, "--keys", 100_000, *common)["perSecond"]


def ranges(weft, target, seconds):
    common = ["--clients", 1000, "--connections", 100, "--seconds", seconds]
    yield "range", load(weft, target, "range", "--fill", *common)["perSecond"]
    yield "range-serializable", load(weft, target, "range", "--serializable", *common)["perSecond"]


def gateway(weft, target, seconds):
    common = ["--protocol", "json", "--clients", 50, "--connections", 50, "--seconds", seconds]
    yield "json-put", load(weft, target, "put", *common)["perSecond"]
    yield "json-range", load(weft, target, "range", *common)["perSecond"]


def leases(weft, target, seconds, fabric):
    prefix = "leased/"
    # Etcd grants nothing below ceil(1.5 election timeouts).
    report = load(weft, target, "lease", "--ttl", 2, "--clients", 100, "--connections", 12, "--prefix", prefix, "--seconds", seconds)
    ended = time.monotonic()
    yield "lease", report["perSecond"]
    member = fabric.members[0].connection(60)
    while int(member.call("/v3/kv/range", {"key": b64(prefix), "range_end": b64("leased0"), "count_only": True}).get("count", 0)):
        time.sleep(0.05)
    yield "lease-end", max(time.monotonic() - ended - 2, 0.001)
    yield "lock-refresh", load(weft, target, "lock-refresh", "--clients", 200, "--connections", 12, "--seconds", seconds)["perSecond"]


def watches(weft, target, seconds):
    common = ["watch", "--keys", 1, "--watchers", 1000, "--watch-connections", 30, "--seconds", seconds]
    yield "watch", load(weft, target, *common, "--clients", 10)["eventsPerSecond"]
    yield "watch-p99", load(weft, target, *common, "--clients", 10, "--rate", 100)["eventMilliseconds"]["p99"]


def failover(weft, target, seconds, fabric):
    import threading
    leader = fabric.leader()
    timer = threading.Timer(3, leader.kill)
    timer.start()
    others = ",".join(m.client_url for m in fabric.members if m is not leader)
    report = load(weft, others, "put", "--clients", 20, "--connections", 10, "--seconds", 8)
    timer.join()
    leader.start()
    leader.wait_healthy()
    yield "failover", report["longestPauseMilliseconds"]


def million(weft, target, seconds, fabric):
    leader = fabric.leader()
    load(weft, leader.client_url, "range", "--fill", "--keys", MILLION, "--prefix", "million/", "--serializable", "--seconds", 1,
         timeout=1200)
    time.sleep(10)
    member = next(m for m in fabric.members if m is not leader)
    yield "memory", resident(member)
    yield "disk", on_disk(member)
    served, _ = seconds_until_served(member, "million/0000000007")
    yield "ready", served
    yield from limited(weft, member, seconds)
    forget_peak(member)
    before = resident(member)
    report = load(weft, member.client_url, "range", "--all", "--serializable", "--keys", MILLION, "--prefix", "million/",
                  "--total", 1, "--seconds", 120)
    yield "whole", resident_peak(member) - before
    yield "whole-time", report["latencyMilliseconds"]["max"] / 1000


def limited(weft, member, seconds):
    """Ranges that return 500 keys and the count of all."""
    common = ["range", "--all", "--limit", 500, "--seconds", seconds]
    yield "limit-now", load(weft, member.client_url, *common, "--keys", MILLION, "--prefix", "million/")["perSecond"]
    revision = member.connection().call("/v3/kv/range", {"key": b64("million/0000000007")})["header"]["revision"]
    load(weft, member.client_url, "put", "--keys", 2 * MILLION, "--prefix", "million/", "--total", 10_000, "--clients", 50)
    time.sleep(60)
    yield "limit-past", load(weft, member.client_url, *common, "--revision", revision, "--prefix", "million/")["perSecond"]
    yield "limit-thousand", load(weft, member.client_url, *common, "--fill", "--keys", 1000, "--prefix", "thousand/")["perSecond"]


PARTS = {
    "puts": lambda weft, target, seconds, fabric: puts(weft, target, seconds),
    "ranges": lambda weft, target, seconds, fabric: ranges(weft, target, seconds),
    "gateway": lambda weft, target, seconds, fabric: gateway(weft, target, seconds),
    "leases": leases,
    "watches": lambda weft, target, seconds, fabric: watches(weft, target, seconds),
    "failover": failover,
    "million": million,
}


def measure(kind, weft, parts, seconds, found):
    for part in parts:
        with store(kind, weft) as fabric:
            fabric.leader()
            for name, value in PARTS[part](weft, endpoints(fabric), seconds, fabric):
                found.setdefault(name, {}).setdefault(kind, []).append(value)
                print(f"  {kind:4} {name:20} {shown(value)}", flush=True)


def verdict(row, weft, etcd):
    ratio = weft / etcd if etcd else float("inf")
    if row.limit is not None:
        return f"{ratio:.2f} ×", f"≤ {row.limit} {row.unit}", weft <= row.limit
    if row.aim is None:
        return f"{ratio:.2f} ×", "", None
    sign = "≤" if row.less else "≥"
    return f"{ratio:.2f} ×", f"{sign} {row.aim:.3g} ×", ratio <= row.aim if row.less else ratio >= row.aim


def table(found):
    print("\n| work | weft | etcd 3.5.1 | ratio | aim | |\n|---|---|---|---|---|---|")
    for row in ROWS:
        values = found.get(row.name, {})
        if "weft" not in values or "etcd" not in values:
            continue
        (weft, weft_spread), (etcd, etcd_spread) = spread(values["weft"]), spread(values["etcd"])
        ratio, aim, reached = verdict(row, weft, etcd)
        mark = "" if reached is None else "reached" if reached else "**missed**"
        print(f"| {row.what} | {shown(weft)} {row.unit} (±{weft_spread / 2:.0f} %) | "
              f"{shown(etcd)} {row.unit} (±{etcd_spread / 2:.0f} %) | {ratio} | {aim} | {mark} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--stores", default="weft,etcd")
    parser.add_argument("--json")
    options = parser.parse_args()
    parts = options.only.split(",") if options.only else list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    found = {}
    for number in range(options.rounds):
        kinds = options.stores.split(",")
        for kind in kinds if number % 2 == 0 else reversed(kinds):
            print(f"round {number + 1} of {options.rounds}, {kind}", flush=True)
            measure(kind, options.weft, parts, options.seconds, found)
        if options.json:
            with open(options.json, "w") as file:
                json.dump({"rounds": number + 1, "seconds": options.seconds, "found": found}, file, indent=1)
    table(found)


main()
