#!/usr/bin/env python3
"""Measures a real daemon: see scripts/measure.

    measure.py WEFT [put|restart|watches|leases]
"""
import json
import os
import statistics
import sys
import threading
import time

from harness import Fabric, b64
from http2_watches import Watches


def median_ms(values):
    return f"{statistics.median(values) * 1000:.2f} ms (p99 {sorted(values)[int(len(values) * 0.99)] * 1000:.2f})"


def fdatasyncs(directory, count):
    """Bare appends of 256 bytes, each synced, in a file that has its size already as a log has."""
    path = os.path.join(directory, "bare")
    times = []
    with open(path, "wb") as file:
        file.write(bytes(4 << 20))
        file.flush()
        os.fsync(file.fileno())
        for n in range(count):
            begin = time.perf_counter()
            os.pwrite(file.fileno(), os.urandom(256), n * 512)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begin)
    os.remove(path)
    return times


def puts(member, count):
    connection = member.connection()
    times = []
    value = "x" * 256
    for n in range(count):
        body = {"key": b64(f"put/{n % 1000}"), "value": b64(value)}
        begin = time.perf_counter()
        connection.call("/v3/kv/put", body)
        times.append(time.perf_counter() - begin)
    return times


def measure_put(weft):
    with Fabric(weft, 3) as fabric:
        leader = fabric.leader()
        puts(leader, 300)
        bare, times = [], []
        # In turn, so that both meet the same machine.
        for _ in range(5):
            bare += fdatasyncs(fabric.directory, 400)
            times += puts(leader, 400)
        limit = 2 * statistics.median(bare) + 0.001
        print(f"bare fdatasync of 256 bytes: median {median_ms(bare)}")
        print(f"put, three members, one client, 256 bytes: median {median_ms(times)}")
        print(f"twice the first plus 1 ms is {limit * 1000:.2f} ms: {'reached' if statistics.median(times) < limit else 'MISSED'}")


def resident(member):
    with open(f"/proc/{member.process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def fill(member, count):
    value = b64("v" * 256)

    def worker(first):
        connection = member.connection()
        for start in range(first, count, 4 * 100):
            operations = [{"request_put": {"key": b64(f"key/{n:010d}"), "value": value}}
                          for n in range(start, min(start + 100, count))]
            connection.call("/v3/kv/txn", {"success": operations})

    threads = [threading.Thread(target=worker, args=(n * 100,)) for n in range(4)]
    begin = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.time() - begin


def measure_restart(weft, count=1_000_000):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        print(f"{count} keys of 256 bytes stored in {fill(member, count):.0f} s; resident {resident(member):.0f} MB")
        for attempt in range(5):
            fill(member, 50_000)
            member.kill()
            begin = time.perf_counter()
            member.start()
            while True:
                try:
                    connection = member.connection(5)
                    answer = connection.call("/v3/kv/range", {"key": b64("key/0000000007"), "serializable": True})
                    break
                except Exception:
                    time.sleep(0.005)
            served = time.perf_counter() - begin
            member.wait_healthy()
            healthy = time.perf_counter() - begin
            assert answer["count"] == "1"
            print(f"after kill -9: answers from its state in {served:.2f} s, leads and takes writes in {healthy:.2f} s; "
                  f"resident {resident(member):.0f} MB")
        count_all = member.connection(60).call("/v3/kv/range", {"key": b64("key/"), "range_end": b64("key0"), "count_only": True})
        assert count_all["count"] == str(count), count_all
        size = sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(member.data) for name in names)
        print(f"all {count} keys are there; on disk {size / 1e6:.0f} MB")


def processor_seconds(member):
    with open(f"/proc/{member.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_watches(weft):
    """Memory of idle watch streams; the cost of a put beside few watches and beside many."""
    keys = [b"watched/%06d" % n for n in range(100_000)]
    for connections in (1, 100):
        with Fabric(weft, 1) as fabric:
            member = fabric.members[0]
            puts(member, 300)
            before = resident(member)
            held = [Watches(member.client_port) for _ in range(connections)]
            share = 10_000 // connections
            for n, connection in enumerate(held):
                connection.streams(keys[n * share:(n + 1) * share])
            after = resident(member)
            used = processor_seconds(member)
            time.sleep(5)
            print(f"10,000 idle watch streams on {connections} connections: {(after - before) * 1024 / 10_000:.1f} KiB each, "
                  f"resident {before:.0f} MB before, {after:.0f} MB after; {(processor_seconds(member) - used) / 5 * 100:.1f} % "
                  "of a core while idle")
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        times = {}
        puts(member, 300)
        for count in (100, 100_000):
            before = resident(member)
            connection = Watches(member.client_port)
            begin = time.perf_counter()
            connection.one_stream(keys[:count])
            print(f"{count} single-key watches made in {time.perf_counter() - begin:.2f} s on one stream; "
                  f"{(resident(member) - before) * 1024 / count:.2f} KiB each")
            times[count] = [t for _ in range(3) for t in puts(member, 400)]
            connection.close()
            time.sleep(1)
        few, many = (statistics.median(times[count]) for count in (100, 100_000))
        print(f"put beside 100 watches: {median_ms(times[100])}; beside 100,000: {median_ms(times[100_000])}; ratio {many / few:.2f}")


def measure_leases(weft):
    """Granting, renewing and idling in great numbers."""
    with Fabric(weft, 3) as fabric:
        leader = fabric.leader()
        count, workers = 20_000, 8

        def grant(first):
            connection = leader.connection()
            for n in range(first, count, workers):
                connection.call("/v3/lease/grant", {"TTL": 3600, "ID": n + 1})

        threads = [threading.Thread(target=grant, args=(n,)) for n in range(workers)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{count} leases granted in {time.perf_counter() - begin:.1f} s by {workers} Python clients")
        time.sleep(2)
        used = [processor_seconds(member) for member in fabric.members]
        time.sleep(10)
        shares = [(processor_seconds(m) - u) / 10 * 100 for m, u in zip(fabric.members, used)]
        print(f"{count} idle leases: " + ", ".join(f"{share:.1f} %" for share in shares) + " of a core at each member")


def main():
    weft, what = sys.argv[1], sys.argv[2:] or ["put", "restart", "watches", "leases"]
    if "watches" in what:
        measure_watches(weft)
    if "leases" in what:
        measure_leases(weft)
    if "put" in what:
        measure_put(weft)
    if "restart" in what:
        measure_restart(weft)


if __name__ == "__main__":
    main()
