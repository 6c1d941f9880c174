#!/usr/bin/env python3
"""Replays the recorded conversations with etcd about keys, watches, leases and locks against a single member, the leader of three, and a follower, in
clear text and by TLS. Those about users are in auth.py.

    conversations.py WEFT

The recordings and their replayer lie beside the project, in ../shared/etcd-golden.
"""
import os
import sys

from harness import Report
from recordings import KEYS_AND_LEASES, replay_everywhere


def main():
    report = Report()
    report.run("all places were asked", replay_everywhere, report, os.path.abspath(sys.argv[1]), KEYS_AND_LEASES)
    report.finish()


if __name__ == "__main__":
    main()
