#!/usr/bin/env python3
"""Compares two builds of weft at fixed rates: three members of each in turn on this machine, the same load from the first one's `weft bench`.

    bench_rates.py WEFT --beside BINARY [--rounds N] [--seconds N] [--only LOAD,LOAD] [--other=FLAGS] [--json FILE]

At a rate that both carry latency and processor time compare; throughput does not. Medians of the rounds are printed, and ratios.
"""
import argparse
import json
import statistics

from bench import WEFT_FLAGS, endpoints, load, processor_seconds
from harness import Fabric

LOADS = {
    "put-1": ["put", "--to", "leader"],
    "put": ["put", "--clients", 100, "--connections", 30, "--rate", 1000, "--keys", 100_000],
    "range": ["range", "--fill", "--clients", 100, "--connections", 30, "--rate", 5000],
    "txn": ["txn", "--clients", 50, "--connections", 30, "--rate", 500],
    "json-put": ["put", "--protocol", "json", "--clients", 50, "--connections", 50, "--rate", 500],
    "json-range": ["range", "--protocol", "json", "--fill", "--clients", 50, "--connections", 50, "--rate", 2000],
    "watch": ["watch", "--keys", 1, "--watchers", 1000, "--watch-connections", 30, "--clients", 10, "--rate", 100],
}
FIGURES = ["p50 ms", "p99 ms", "processor s"]


def measure(binary, needs_root, flags, tool, words, seconds):
    with Fabric(binary, 3, [*WEFT_FLAGS, *flags], needs_root) as fabric:
        fabric.leader()
        before = sum(processor_seconds(member) for member in fabric.members)
        report = load(tool, endpoints(fabric), *words, "--seconds", seconds)
        spent = sum(processor_seconds(member) for member in fabric.members) - before
        times = report.get("eventMilliseconds") or report["latencyMilliseconds"]
        return times["p50"], times["p99"], spent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--beside", required=True, help="the other build")
    parser.add_argument("--as-root", action="store_true", help="the other build serves only as root, as 0.1.0 does")
    parser.add_argument("--other", default="", metavar="FLAGS",
                        help="serve the other build with these; 0.1.0 answers reads by leases unless --other=\"--lease-reads false\"")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", help=f"of {', '.join(LOADS)}")
    parser.add_argument("--json", help="write what was found to this file")
    options = parser.parse_args()
    loads = options.only.split(",") if options.only else list(LOADS)
    unknown = [name for name in loads if name not in LOADS]
    if unknown:
        parser.error(f"no such load: {', '.join(unknown)}; there are {', '.join(LOADS)}")
    binaries = {"this": (options.weft, False, []), "other": (options.beside, options.as_root, options.other.split())}
    found = {}
    for number in range(options.rounds):
        builds = ["this", "other"] if number % 2 == 0 else ["other", "this"]
        for build in builds:
            print(f"round {number + 1} of {options.rounds}, {build}", flush=True)
            for name in loads:
                result = measure(*binaries[build], options.weft, LOADS[name], options.seconds)
                found.setdefault(name, {}).setdefault(build, []).append(result)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rounds": options.rounds, "seconds": options.seconds, "found": found}, file, indent=1)
    table(found)


def table(found):
    print("\n| load | figure | this | other | ratio |\n|---|---|---|---|---|")
    for name, builds in found.items():
        for place, figure in enumerate(FIGURES):
            this, other = [statistics.median(row[place] for row in builds[build]) for build in ("this", "other")]
            print(f"| {name} | {figure} | {this:.2f} | {other:.2f} | {this / max(other, 1e-9):.2f} |")


main()
