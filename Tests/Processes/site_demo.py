"""Shows a site's loss and return: two sites with two members each, a tie-breaker, six storage nodes. Ends with 1 if anything is not as
it should be.

    site_demo.py WEFT
"""
import os
import subprocess
import sys
import time

from metro_checks import Writer, check_kept
from nodes import API, Nodes, wait_for
from own_fabric import OwnFabric

TERA = 10**12


class Sites(OwnFabric):
    """On loopback, without distances: `scripts/metro` has those. The first member founds, the others join by token."""
    witness = "third"

    def __init__(self, weft):
        super().__init__(weft, count=0)
        self.founders = [self.place("e1", "east")]

    def place(self, name, site):
        member = self.add(name)
        member.site, member.environment = site, {"WEFT_DOMAIN": site}
        return member

    def join_all(self):
        for name, site in (("e2", "east"), ("w1", "west"), ("w2", "west")):
            self.place(name, site).join(self.members[0], "--token", self.token())
            wait_for(f"{name} votes", lambda name=name: self.roles().get(name) == "voter")
        tie = self.place("tie", "third")
        tie.join(self.members[0], "--token", self.token("--role", "witness"))
        wait_for("the tie-breaker votes", lambda: self.roles().get("tie") == "witness")

    def at(self, site):
        return [member for member in self.members if member.site == site]


def say(text):
    print(f"\n\033[1m-- {text}\033[0m", flush=True)


def show(fabric, *arguments):
    print("$ weft " + " ".join(arguments), flush=True)
    endpoints = ",".join(m.client_url for m in fabric.members[:4] if m.process)
    subprocess.run([fabric.weft, *arguments, "--endpoints", endpoints], check=True, timeout=30, env={**os.environ, **fabric.certificate})


def main():
    with Sites(sys.argv[1]) as fabric:
        fabric.join_all()
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
