"""A large storage cluster: 200 nodes in two domains and 10,000 volumes; a cold start of all nodes at once, and the loss of a domain
while others write.

  scripts/bench nodes [--nodes 200] [--volumes 10000]
"""
import argparse
import concurrent.futures
import json
import threading
import time

from bench import endpoints, load, store
from nodes import API, wait_for

TERA = 10**12


def percentile(times, share):
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def timed(calls, workers):
    """Each call on one of so many threads, with a connection of its own; seconds of each, and of all."""
    local = threading.local()

    def one(call):
        begin = time.monotonic()
        call(local)
        return time.monotonic() - begin

    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        times = list(pool.map(one, calls))
    return times, time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--volumes", type=int, default=10_000)
    options = parser.parse_args()
    with store("weft", options.weft) as fabric:
        leader = fabric.leader()

        def api(local):
            if not hasattr(local, "api"):
                local.api = API(leader, timeout=60)
            return local.api

        def register(number):
            domain = "east" if number % 2 else "west"
            spec = {"domain": domain, "capacityBytes": 100 * TERA, "zone": f"z{number % 10}", "ttlSeconds": 600}
            return lambda local: api(local).must("PUT", f"nodes/n{number}", spec)

        def create(number):
            return lambda local: api(local).must("POST", "volumes", {"name": f"v{number}", "sizeBytes": 10**9, "replication": 2})

        times, whole = timed([register(n) for n in range(options.nodes)], options.nodes)
        print(f"cold start: {options.nodes} nodes register at once: {whole:.2f} s, p99 {percentile(times, 0.99) * 1000:.0f} ms")
        times, whole = timed([create(n) for n in range(options.volumes)], 16)
        print(f"{options.volumes} volumes are made by 16 clients: {whole:.1f} s, p99 {percentile(times, 0.99) * 1000:.0f} ms")
        times, whole = timed([register(n) for n in range(options.nodes)], options.nodes)
        print(f"all nodes again, as after a power cut: {whole:.2f} s, p99 {percentile(times, 0.99) * 1000:.0f} ms")
        beats = [lambda local, n=n: api(local).must("POST", f"nodes/n{n}/heartbeat") for n in range(options.nodes)]
        times, whole = timed(beats, 16)
        print(f"a heartbeat of each: {whole:.2f} s, p99 {percentile(times, 0.99) * 1000:.0f} ms")
        main_api = API(leader, timeout=60)

        def puts():
            report = load(options.weft, endpoints(fabric), "put", "--rate", 500, "--clients", 50, "--connections", 10, "--seconds", 12)
            return report["latencyMilliseconds"]["p99"], report["longestPauseMilliseconds"]

        print("puts at 500/s, quiet: p99 %.1f ms, longest pause %.0f ms" % puts())
        found = {}

        def lose():
            time.sleep(3)
            begin = time.monotonic()
            main_api.must("POST", "domains/west/deactivate", {"reason": "measured"})
            found["deactivated"] = time.monotonic() - begin
            wait_for("all is planned", lambda: main_api.must("GET", "status")["volumes"]["resyncing"] + busy() >= options.volumes * 0.9, 120)
            found["planned"] = time.monotonic() - begin

        def busy():
            # So many at a time are resynced on a node; the others wait for their turn.
            nodes = main_api.must("GET", "nodes?domain=east")["items"]
            return options.volumes if all(n["resyncing"] >= 16 for n in nodes) else 0

        thread = threading.Thread(target=lose)
        thread.start()
        p99, pause = puts()
        thread.join()
        print(f"a domain with {options.volumes} replicas is deactivated: answered in {found['deactivated'] * 1000:.0f} ms, replicas planned elsewhere as "
              f"far as nodes take them at once after {found['planned']:.1f} s; puts beside it: p99 {p99:.1f} ms, longest pause {pause:.0f} ms")
        resident = [int(open(f"/proc/{m.process.pid}/statm").read().split()[1]) * 4096 // 10**6 for m in fabric.members]
        print(f"resident: {resident} MB")


main()
