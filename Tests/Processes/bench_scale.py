"""What weft costs as it grows: with its keys, its watchers, watched prefixes, volumes, scans, the size of values, and its
members.

Results are kept as JSON, and drawn: `--keep` writes them to Tests/Benchmarks, from where the README shows them.
"""
import argparse
import concurrent.futures
import json
import os
import statistics
import threading
import time

from bench import endpoints, load, on_disk, resident, seconds_until_served, shown, store
from http2_watches import Watches
from nodes import API

KEPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Benchmarks")


def keys(weft, sizes):
    """Members are filled further and further; each time the same load."""
    with store("weft", weft) as fabric:
        for size in sizes:
            leader, member = fabric.leader(), fabric.follower()
            space = ["--prefix", "scale/", "--keys", size]
            load(weft, leader.client_url, "range", "--fill", *space, "--serializable", "--seconds", 1, timeout=3600)
            time.sleep(12)
            many = [*space, "--clients", 1000, "--connections", 100, "--seconds", 6]
            found = {"puts per second": load(weft, endpoints(fabric), "put", "--to", "leader", *many)["perSecond"],
                     "ranges per second": load(weft, endpoints(fabric), "range", *many)["perSecond"]}
            time.sleep(12)
            listing = load(weft, member.client_url, "range", "--all", "--limit", 500, "--seconds", 4, *space)
            found["lists of 500 per second"] = listing["perSecond"]
            found["resident MB"] = resident(member)
            found["MB on disk"] = on_disk(member)
            found["seconds until ready after kill -9"] = seconds_until_served(member, "scale/0000000001")[0]
            yield size, found


def watchers(weft, counts):
    """A key each; 200 puts per second."""
    for count in counts:
        with store("weft", weft) as fabric:
            fabric.leader()
            report = load(weft, endpoints(fabric), "watch", "--keys", count, "--watchers", count, "--watch-connections", 30,
                          "--clients", 20, "--rate", 200, "--seconds", 6)
            yield count, {"put to event, p50 ms": report["eventMilliseconds"]["p50"],
                          "put to event, p99 ms": report["eventMilliseconds"]["p99"],
                          "resident MB": resident(fabric.members[0])}


def prefixes(weft, counts):
    """So many watches of prefixes that nothing is put under, and one of a key that is put 200 times per second."""
    for count in counts:
        with store("weft", weft) as fabric:
            leader = fabric.leader()
            watches = [Watches(leader.client_port) for _ in range(20)]
            for number, connection in enumerate(watches):
                connection.one_stream([f"node/{n:06d}/".encode() for n in range(number, count, 20)], are_prefixes=True)
            report = load(weft, leader.client_url, "watch", "--keys", 1, "--watchers", 1, "--watch-connections", 1,
                          "--clients", 20, "--rate", 200, "--seconds", 6)
            yield count, {"put to event, p50 ms": report["eventMilliseconds"]["p50"],
                          "put to event, p99 ms": report["eventMilliseconds"]["p99"],
                          "resident MB": resident(leader)}
            for connection in watches:
                connection.close()


def volumes(weft, counts):
    """Further and further volumes; each time 200 of them are resized, one after another."""
    with store("weft", weft) as fabric:
        api, made = API(fabric.leader(), timeout=60), 0
        for site in ("east", "west"):
            api.must("PUT", f"nodes/{site}", {"domain": site, "capacityBytes": 10**18, "ttlSeconds": 86400})
        for count in counts:
            local = threading.local()

            def create(number):
                if not hasattr(local, "api"):
                    local.api = API(fabric.leader(), timeout=60)
                local.api.must("POST", "volumes", {"name": f"v{number}", "sizeBytes": 10**9, "replication": 2})

            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                for _ in pool.map(create, range(made, count)):
                    pass
            made = count
            times = []
            for number in range(0, count, count // 200):
                begin = time.monotonic()
                api.must("PATCH", f"volumes/v{number}", {"sizeBytes": 2 * 10**9})
                times.append(1000 * (time.monotonic() - begin))
            yield count, {"change of a volume, p50 ms": statistics.median(times),
                          "resident MB": resident(fabric.leader())}


def scans(weft, counts):
    """So many clients that list 20,000 keys over and over; how long a probe of readiness takes meanwhile."""
    with store("weft", weft) as fabric, concurrent.futures.ThreadPoolExecutor(1) as pool:
        leader = fabric.leader()
        space = ["--prefix", "scale/", "--keys", 20_000]
        load(weft, leader.client_url, "range", "--fill", *space, "--serializable", "--seconds", 1, timeout=3600)
        for count in counts:
            listing = pool.submit(load, weft, leader.client_url, "range", "--all", "--keys-only", "--serializable", *space,
                                  "--clients", count, "--connections", count, "--seconds", 6)
            time.sleep(2)
            connection, times = leader.connection(), []
            while not listing.done():
                begin = time.monotonic()
                status, text, _ = connection.request("GET", "/readyz")
                assert status == 200, text
                times.append(1000 * (time.monotonic() - begin))
                time.sleep(0.02)
            times.sort()
            yield count, {"lists per second": listing.result()["perSecond"], "readiness, p50 ms": statistics.median(times),
                          "readiness, p99 ms": times[int(len(times) * 0.99)]}


def values(weft, sizes):
    with store("weft", weft) as fabric:
        fabric.leader()
        for size in sizes:
            report = load(weft, endpoints(fabric), "put", "--to", "leader", "--clients", 200, "--connections", 50,
                          "--value-size", size, "--keys", max(100, min(10_000, (64 << 20) // size)), "--seconds", 6)
            yield size, {"puts per second": report["perSecond"], "MB per second": report["perSecond"] * size / 1e6,
                         "p99 ms": report["latencyMilliseconds"]["p99"]}
            time.sleep(6)


def members(weft, counts):
    for count in counts:
        with store("weft", weft, count) as fabric:
            fabric.leader()
            one = load(weft, endpoints(fabric), "put", "--to", "leader", "--seconds", 5)
            many = load(weft, endpoints(fabric), "put", "--to", "leader", "--clients", 1000, "--connections", 100, "--seconds", 6)
            ranges = load(weft, endpoints(fabric), "range", "--clients", 1000, "--connections", 100, "--seconds", 5)
            yield count, {"puts per second, 1 client": one["perSecond"], "puts per second, 1,000 clients": many["perSecond"],
                          "ranges per second, 1,000 clients": ranges["perSecond"]}


PARTS = {
    "keys": (keys, [10_000, 100_000, 1_000_000, 5_000_000]),
    "watchers": (watchers, [10, 100, 1_000, 10_000, 100_000]),
    "prefixes": (prefixes, [20, 200, 2_000, 20_000]),
    "volumes": (volumes, [1_000, 10_000, 100_000]),
    "scans": (scans, [1, 4, 12]),
    "values": (values, [16, 256, 4_096, 65_536, 1_000_000]),
    "members": (members, [1, 3, 5]),
}


def draw(part, found):
    """Each figure by itself, as bars under one another: orders of magnitude lie between them."""
    sizes = list(found)
    figures = list(next(iter(found.values())))
    width, row, gap = 720, 20, 34
    height = sum(len(sizes) * row + gap for _ in figures) + 10
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    y = 20
    for figure in figures:
        most = max(found[size][figure] for size in sizes) or 1
        lines.append(f'<text x="10" y="{y}" font-weight="bold">{figure}</text>')
        for size in sizes:
            value = found[size][figure]
            lines.append(f'<text x="140" y="{y + row}" text-anchor="end">{int(size):,} {part}</text>')
            lines.append(f'<rect x="150" y="{y + row - 11}" width="{max(1, 460 * value / most):.0f}" height="13" fill="#4a7ebb"/>')
            lines.append(f'<text x="{156 + max(1, 460 * value / most):.0f}" y="{y + row}">{shown(value)}</text>')
            y += row
        y += gap
    return "\n".join([*lines, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--only", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--most", type=int, help="leave out larger sizes")
    parser.add_argument("--keep", action="store_true", help="write the results and their charts to Tests/Benchmarks")
    options = parser.parse_args()
    for part in options.only.split(",") if options.only else PARTS:
        measure, sizes = PARTS[part]
        found = {}
        for size, figures in measure(options.weft, [size for size in sizes if size <= (options.most or size)]):
            found[str(size)] = figures
            print(f"{size:,} {part}: " + ", ".join(f"{name} {shown(value)}" for name, value in figures.items()), flush=True)
        if options.keep:
            with open(os.path.join(KEPT, f"scale-{part}.json"), "w") as file:
                json.dump(found, file, indent=1)
                file.write("\n")
            with open(os.path.join(KEPT, f"scale-{part}.svg"), "w") as file:
                file.write(draw(part, found))


main()
