"""Where the time of a request goes: processor time per request by thread, at the leader and at a follower, and, with --perf,
the functions it is spent in. What follows the kind of load is given to `weft bench`.

  scripts/bench profile put --clients 1000 --connections 100 --to leader
  scripts/bench profile --perf range --fill --clients 1000 --connections 100
"""
import argparse
import os
import subprocess
import tempfile

from bench import endpoints, load, store


def by_thread(pid):
    """Seconds of user and system time by the name of the thread; threads of one name are added up."""
    found = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/stat") as file:
                text = file.read()
        except OSError:
            continue
        name, fields = text[text.index("(") + 1:text.rindex(")")], text.rsplit(")", 1)[1].split()
        name = "event loops" if name.startswith("NIO") else name
        user, system = found.get(name, (0, 0))
        tick = os.sysconf("SC_CLK_TCK")
        found[name] = (user + int(fields[11]) / tick, system + int(fields[12]) / tick)
    return found


def show(role, before, after, requests):
    print(f"\n{role}: µs per request, user and system")
    spent = {name: (after[name][0] - before.get(name, (0, 0))[0], after[name][1] - before.get(name, (0, 0))[1]) for name in after}
    for name, (user, system) in sorted(spent.items(), key=lambda item: -sum(item[1])):
        if user + system > 0.01:
            print(f"  {name:18} {user / requests * 1e6:7.1f} {system / requests * 1e6:7.1f}")
    user, system = (sum(part) for part in zip(*spent.values()))
    print(f"  {'together':18} {user / requests * 1e6:7.1f} {system / requests * 1e6:7.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("--perf", action="store_true", help="name the functions, too; needs perf and the right to use it")
    parser.add_argument("--store", choices=["weft", "etcd"], default="weft")
    parser.add_argument("--seconds", type=float, default=6)
    options, work = parser.parse_known_args()
    work = work or ["put", "--clients", "1000", "--connections", "100", "--to", "leader"]
    with store(options.store, options.weft) as fabric, tempfile.TemporaryDirectory() as folder:
        leader, follower = fabric.leader(), fabric.follower()
        members = (("leader", leader), ("follower", follower))
        if "--fill" in work:
            load(options.weft, endpoints(fabric), *work, "--seconds", 1)
            work = [word for word in work if word != "--fill"]
        before = [by_thread(member.process.pid) for _, member in members]
        data = os.path.join(folder, "perf.data")
        record = None
        if options.perf:
            record = subprocess.Popen(["perf", "record", "-F", "999", "-g", "-o", data, "-p", str(leader.process.pid), "--",
                                       "sleep", str(options.seconds)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        report = load(options.weft, endpoints(fabric), *work, "--seconds", options.seconds, "--warm-up", 0)
        after = [by_thread(member.process.pid) for _, member in members]
        print(f"{report['completed']} requests, {report['perSecond']:,.0f}/s")
        for (role, _), was, now in zip(members, before, after):
            show(role, was, now, report["completed"])
        if record:
            record.wait()
            subprocess.run(["perf", "report", "-i", data, "--no-children", "-g", "none", "--sort", "comm,symbol",
                            "--percent-limit", "0.5", "--stdio"], stderr=subprocess.DEVNULL)


main()
