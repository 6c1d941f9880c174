"""What weft costs as it grows: with its keys, its watchers, the size of values, and its members.

Results are kept as JSON, and drawn: `--keep` writes them to Tests/Benchmarks, from where the README shows them.
"""
import argparse
import json
import os
import time

from bench import endpoints, load, on_disk, resident, seconds_until_served, shown, store

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
