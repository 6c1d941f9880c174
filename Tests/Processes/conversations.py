#!/usr/bin/env python3
"""Replays the recorded conversations with etcd against a single member, the leader of three, and a follower.

    conversations.py WEFT

The recordings and their replayer lie beside the project, in ../shared/etcd-golden.
"""
import os
import subprocess
import sys

from harness import Fabric, Report

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
    file = os.path.join(golden, "etcd-3.6.json")
    for count, place in ((1, "a single member"), (3, "the leader of three"), (3, "a follower of three")):
        with Fabric(weft, count) as fabric:
            leader, follower = fabric.leader(), fabric.follower() if count > 1 else None
            member = follower if "follower" in place else leader
            run = subprocess.run([sys.executable, os.path.join(golden, "golden.py"), "check", member.client_url, file],
                                 capture_output=True, text=True, timeout=300)
            report.check(f"all steps on {place}: {run.stdout.strip().splitlines()[-1]}",
                         run.returncode == 0 and "188 passed, 0 failed" in run.stdout, run.stdout + run.stderr)
    report.finish()


if __name__ == "__main__":
    main()
