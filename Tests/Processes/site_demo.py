"""Shows a site's loss and return: two sites with two members each, a tie-breaker, six storage nodes. Ends with 1 if anything is not as
it should be.

    site_demo.py WEFT
"""
import subprocess
import sys
import time

from harness import Fabric
from metro_checks import Writer, check_kept
from nodes import API, Nodes, wait_for

TERA = 10**12


class Sites(Fabric):
    """On loopback, without distances: `scripts/metro` has those."""
    witness = "third"

    def __init__(self, weft):
        super().__init__(weft, 0)
        for name, site in (("e1", "east"), ("e2", "east"), ("w1", "west"), ("w2", "west"), ("tie", "third")):
            member = self.add(name)
            member.site, member.environment = site, {"WEFT_DOMAIN": site}
        self.founders = self.members[:4]

    def at(self, site):
        return [member for member in self.members if member.site == site]


def say(text):
    print(f"\n\033[1m-- {text}\033[0m", flush=True)


def show(fabric, *arguments):
    print("$ weft " + " ".join(arguments), flush=True)
    endpoints = ",".join(m.client_url for m in fabric.members[:4] if m.process)
    subprocess.run([fabric.weft, *arguments, "--endpoints", endpoints], check=True, timeout=30)


def main():
    with Sites(sys.argv[1]) as fabric:
        tie = fabric.members[4]
        tie.join(fabric.leader(), "--witness")
        tie.wait_started("is a witness")
        specs = {f"{site}-{n}": {"domain": site, "capacityBytes": 2 * TERA, "ttlSeconds": 3, "zone": f"{site}-{n}"}
                 for site in ("east", "west") for n in (1, 2, 3)}
        api = API(*fabric.at("west"))
        with Nodes(fabric.at("west"), specs) as nodes:
            for number in range(40):
                api.must("POST", "volumes", {"name": f"pvc-{number}", "sizeBytes": 50 * 10**9, "replication": 2})
            api.must("POST", "volumes/pvc-0/attach", {"node": "east-1"})
            wait_for("all members said where they are", lambda: not api.must("GET", "status")["warnings"])
            show(fabric, "domain", "list")
            show(fabric, "volume", "explain", "pvc-0")
            show(fabric, "domain", "preflight", "east")
            leader = fabric.leader()
            if leader.site != "east":
                target = fabric.at("east")[0].status()["header"]["member_id"]
                leader.connection().call("/v3/maintenance/transfer-leadership", {"targetID": target})
            writer = Writer(fabric.at("west"), "demo")
            writer.start()
            time.sleep(2)
            say("The east is gone: both its members, the leader among them, and its storage nodes")
            begin = time.monotonic()
            for member in fabric.at("east"):
                member.kill()
            nodes.silent |= {name for name in specs if name.startswith("east")}
            wait_for("writes go on", lambda: len(writer.times) and writer.times[-1] > begin + 2)
            print(f"the west goes on after {writer.longest_pause(begin, time.monotonic()):.2f} s, {len(writer.acknowledged)} writes acknowledged")
            show(fabric, "domain", "deactivate", "east", "--yes", "--reason", "the site burns")
            volumes = api.must("GET", "volumes")["items"]
            assert all(v["state"] != "Down" for v in volumes)
            token = api.must("POST", "volumes/pvc-0/attach", {"node": "west-1"})["attachment"]["token"]
            print(f"pvc-0 is attached in the west with token {token}: whoever held it in the east is fenced off")
            show(fabric, "domain", "list")
            say("The east comes back: its members catch up by themselves, its replicas are resynced before they count")
            for member in fabric.at("east"):
                member.restart()
            for member in fabric.at("east"):
                member.wait_healthy()
            nodes.silent.clear()
            show(fabric, "domain", "activate", "east", "--reason", "it is rebuilt")
            wait_for("all volumes are up", lambda: all(v["state"] == "Up" for v in api.must("GET", "volumes")["items"]), 60)
            wait_for("the east is in sync", lambda: api.must("GET", "domains/east")["sync"] == "InSync", 60)
            writer.stop()
            show(fabric, "domain", "list")
            show(fabric, "events", "--last", "4")
            wait_for("all have everything", lambda: len({m.status()["raftAppliedIndex"] for m in fabric.members[:4]}) == 1)
            check_kept(fabric, writer.acknowledged)
            print(f"all {len(writer.acknowledged)} acknowledged writes are at all four members; {nodes.resynced} replicas were resynced")


main()
