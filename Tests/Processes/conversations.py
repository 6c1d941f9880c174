#!/usr/bin/env python3
"""Replays the recorded conversations with etcd against a single member and against a follower of three.

    conversations.py WEFT

The recordings and their replayer lie beside the project, in ../shared/etcd-golden.
"""
import json
import os
import subprocess
import sys

from harness import Fabric, Report

WHOLE = ["put-get", "range", "delete-range", "txn", "gateway"]
# All but its watch, which comes with the Watch service.
PARTLY = {"compact": 15}


def main():
    weft = sys.argv[1]
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    golden = os.path.join(os.path.dirname(root), "shared", "etcd-golden")
    report = Report()
    if not os.path.isdir(golden):
        if os.environ.get("CI"):
            report.check("the recordings are beside the project", False, golden)
        print("skipped: the recorded conversations are not here")
        report.finish()
    scenarios = {s["name"]: s for s in json.load(open(os.path.join(golden, "etcd-3.6.json")))}
    for count, place in ((1, "a single member"), (3, "a follower of three")):
        with Fabric(weft, count) as fabric:
            member = fabric.follower() if count > 1 else fabric.members[0]
            file = os.path.join(fabric.directory, "scenarios.json")
            json.dump([scenarios[name] for name in WHOLE]
                      + [dict(scenarios[name], steps=scenarios[name]["steps"][:steps]) for name, steps in PARTLY.items()],
                      open(file, "w"))
            steps = sum(len(scenarios[name]["steps"]) for name in WHOLE) + sum(PARTLY.values())
            run = subprocess.run([sys.executable, os.path.join(golden, "golden.py"), "check", member.client_url, file],
                                 capture_output=True, text=True, timeout=300)
            report.check(f"all {steps} steps on {place}",
                         run.returncode == 0 and f"{steps} passed, 0 failed" in run.stdout, run.stdout + run.stderr)
    report.finish()


if __name__ == "__main__":
    main()
