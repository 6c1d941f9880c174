"""What the benchmarks share: stores to put load on, `weft bench` as the load, and what a process holds."""
import json
import os
import statistics
import subprocess
import time

from clients import EtcdFabric
from harness import Fabric, Unanswered, b64

# Etcd gets room, and both the same timings: its own defaults.
ETCD_FLAGS = ["--quota-backend-bytes", "8589934592", "--log-level", "error"]
WEFT_FLAGS = ["--quota-backend-bytes", "8589934592"]


def store(kind, weft, count=3):
    """Members of "weft" or "etcd", not started yet."""
    return Fabric(weft, count, WEFT_FLAGS) if kind == "weft" else EtcdFabric(count, ETCD_FLAGS)


def endpoints(fabric):
    return ",".join(member.client_url for member in fabric.members)


def load(weft, target, *arguments, timeout=600):
    """Runs `weft bench` and returns its report."""
    run = subprocess.run([weft, "bench", *map(str, arguments), "--endpoints", target, "-o", "json"],
                         capture_output=True, text=True, timeout=timeout)
    if run.returncode:
        raise SystemExit(f"weft bench {' '.join(map(str, arguments))}: {run.stdout}{run.stderr}")
    report = json.loads(run.stdout)
    if report["failed"]:
        print(f"  ! {report['failed']} failed: {report['failures']}", flush=True)
    return report


def status_of(member, field):
    with open(f"/proc/{member.process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field + ":")) / 1024


def resident(member):
    """MB of memory that the process holds now."""
    return status_of(member, "VmRSS")


def resident_peak(member):
    return status_of(member, "VmHWM")


def forget_peak(member):
    with open(f"/proc/{member.process.pid}/clear_refs", "w") as file:
        file.write("5")


def on_disk(member):
    """MB in the member's directory; what is reserved beyond a file's end counts."""
    return sum(os.lstat(os.path.join(folder, name)).st_blocks * 512
               for folder, _, names in os.walk(member.data) for name in names) / 1e6


def processor_seconds(member):
    with open(f"/proc/{member.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def seconds_until_served(member, key):
    """Kills it with -9, starts it again, and waits until it answers from its own state, and until it is healthy."""
    member.kill()
    begin = time.perf_counter()
    member.start()
    while True:
        try:
            member.connection(5).call("/v3/kv/range", {"key": b64(key), "serializable": True})
            break
        except Unanswered:
            time.sleep(0.005)
    served = time.perf_counter() - begin
    member.wait_healthy()
    return served, time.perf_counter() - begin


def spread(values):
    """Median, and how far the middle half of the values is apart, in percent of it."""
    median = statistics.median(values)
    if len(values) < 2 or median == 0:
        return median, 0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return median, 100 * (high - low) / median


def shown(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
