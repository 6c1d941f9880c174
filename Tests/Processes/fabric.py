#!/usr/bin/env python3
"""Domains, nodes and volumes over the public API of real members.

    fabric.py WEFT
"""
import http.client
import json
import os
import subprocess
import sys

from harness import Fabric, Report, b64
from nodes import API, Nodes, wait_for

TERA = 10**12


def spec(domain, ttl=3, **more):
    return {"domain": domain, "capacityBytes": TERA, "ttlSeconds": ttl, **more}


def user_revision(member):
    return member.connection().call("/v3/kv/range", {"key": b64("x")})["header"]["revision"]


class World:
    def __init__(self, binary, fabric):
        self.binary, self.fabric = binary, fabric
        self.apis = [API(member) for member in fabric.members]
        self.api = self.apis[0]

    def command(self, *arguments, code=0):
        at = ["--endpoints", ",".join(m.client_url for m in self.fabric.members)]
        run = subprocess.run([self.binary, *arguments, *at], capture_output=True, text=True, timeout=30,
                             stdin=subprocess.DEVNULL)
        assert run.returncode == code, f"{arguments}: {run.returncode} {run.stdout} {run.stderr}"
        return run.stdout + run.stderr

    # Each is one check; they build on one another.

    def resources(self):
        before = user_revision(self.fabric.members[0])
        status, node, headers = self.api.ask("PUT", "nodes/e1", spec("east", zone="a"))
        assert status == 201 and node["state"] == "Online" and node["labels"] == {"zone": "a"}, node
        assert headers["etag"] == f'"{node["revision"]}"'
        assert self.api.ask("PUT", "nodes/e1", spec("east", zone="a"))[0] == 200
        assert self.api.must("PUT", "nodes/w1", spec("west"))["domain"] == "west"
        status, volume, headers = self.api.ask("POST", "volumes", {"name": "v1", "sizeBytes": 10**9, "replication": 2})
        assert status == 201 and headers["location"] == f"/v1/fabric/volumes/{volume['id']}"
        assert [r["node"] for r in volume["replicas"]] == ["e1", "w1"] and volume["state"] == "Up", volume
        for api in self.apis:
            assert api.must("GET", "volumes/v1") == api.must("GET", f"volumes/{volume['id']}") == volume
            domains = api.must("GET", "domains")["items"]
            assert [(d["name"], d["state"], d["sync"]) for d in domains] == [
                ("east", "Active", "InSync"), ("west", "Active", "InSync")], domains
        assert user_revision(self.fabric.members[0]) == before, "a user's revision moved"
        leases = self.fabric.members[0].connection().call("/v3/lease/leases", {})
        assert not leases.get("leases"), leases

    def conditions(self):
        node = self.api.must("GET", "nodes/e1")
        tag = f'"{node["revision"]}"'
        # What a node has allocated changes without its record: it is shown as it is.
        status, _, headers = self.api.ask("GET", "nodes/e1", headers={"If-None-Match": tag})
        assert status == 200 and headers["etag"] == tag
        changed = {"labels": {"zone": "b"}}
        status, _, _ = self.api.ask("PUT", "domains/east", changed, {"If-Match": '"99999"'})
        assert status == 412, status
        domain = self.api.must("GET", "domains/east")
        again = self.api.must("PUT", "domains/east", changed, {"If-Match": f'"{domain["revision"]}"'})
        assert again["labels"] == {"zone": "b"}
        assert self.api.ask("PUT", "domains/east", {}, {"If-None-Match": "*"})[0] == 412
        report = {"state": "Stale", "generation": 1}
        assert self.api.ask("PUT", "volumes/v1/replicas/e1", report, {"If-Match": '"99999"'})[0] == 412

    def refusals(self):
        for method, path, body, wanted in [
            ("PUT", "nodes/a b", spec("east"), 400), ("PUT", "nodes/x", {"domian": "east"}, 400),
            ("PUT", "nodes/x", {"domain": "east", "capacityBytes": "much"}, 400), ("PUT", "nodes/x", [], 400),
            ("POST", "volumes", {"name": "v1", "sizeBytes": 1}, 409), ("POST", "volumes", {"name": "v2"}, 400),
            ("POST", "volumes", {"name": "v2", "sizeBytes": 10 * TERA}, 507),
            ("POST", "volumes", {"name": "v2", "sizeBytes": 1, "replication": 9}, 400),
            ("GET", "volumes/nothing", None, 404), ("GET", "nothing", None, 404), ("DELETE", "nodes/e1", None, 409),
            ("DELETE", "domains/east", None, 409), ("POST", "volumes/v1", {}, 405), ("PATCH", "nodes/e1", {}, 405),
            ("POST", "nodes/e1/dance", None, 404), ("POST", "nodes/e9/heartbeat", None, 404),
            ("PUT", "nodes/x", {"domain": "east", "labels": {f"l{n}": "" for n in range(1000)}}, 400),
            ("PUT", "nodes/x", {"domain": "east", "pools": [{"name": f"p{n}", "capacityBytes": 2**60} for n in range(9)]}, 400),
            ("PUT", "nodes/x", {"domain": "east", "capacityBytes": 2**63 - 1}, 400),
            ("POST", "volumes", {"name": "v2", "sizeBytes": 2**63 - 1}, 400), ("PATCH", "volumes/v1", {"sizeBytes": 2**60}, 507),
            ("PATCH", "volumes/v1", {"sizeBytes": -2**63}, 400), ("GET", "volumes/vol-99999999999999999999", None, 404),
            ("PUT", "volumes/v1/replicas/e1", {"state": "Current", "generation": 2**63 - 1}, 409),
            ("POST", "volumes/v1/detach", {"token": 2**63 - 1}, 200), ("GET", "volumes?watch&revision=9223372036854775807", None, 410),
            ("GET", "events?after=9223372036854775807", None, 200), ("GET", "volumes?after=9223372036854775807", None, 200),
            ("GET", "volumes?limit=few", None, 400), ("GET", "volumes?watch=maybe", None, 400),
        ]:
            status, answer, _ = self.api.ask(method, path.replace(" ", "%20"), body)
            assert status == wanted and (status < 300 or answer["message"]), f"{method} {path}: {status} {answer}"
        status, answer, _ = self.api.ask("POST", "volumes", headers={"Content-Length": "0"})
        assert status == 400, answer

    def attachment(self):
        first = self.api.must("POST", "volumes/v1/attach", {"node": "e1"})["attachment"]
        assert self.api.ask("POST", "volumes/v1/attach", {"node": "w1"})[0] == 409
        second = self.apis[-1].must("POST", "volumes/v1/attach", {"node": "w1", "force": True})["attachment"]
        assert second["token"] > first["token"] and second["node"] == "w1"
        assert self.api.ask("POST", "volumes/v1/detach", {"token": first["token"]})[0] == 409
        assert "attachment" not in self.api.must("POST", "volumes/v1/detach", {"token": second["token"]})

    def watch(self):
        volume = self.api.must("GET", "volumes/v1")
        member = self.fabric.follower()
        http_connection = http.client.HTTPConnection(member.host, member.client_port, timeout=10)
        http_connection.request("GET", f"/v1/fabric/volumes/v1?watch&revision={volume['revision']}")
        answer = http_connection.getresponse()
        assert answer.status == 200 and answer.getheader("content-type") == "text/event-stream"
        changed = self.api.must("PATCH", "volumes/v1", {"labels": {"app": "shop"}})
        seen = {}
        while "data" not in seen:
            line = answer.fp.readline().decode().strip()
            if ": " in line and not line.startswith(":"):
                name, value = line.split(": ", 1)
                seen[name] = value
        http_connection.close()
        assert seen["event"] == "put" and int(seen["id"]) == changed["revision"], seen
        assert json.loads(seen["data"])["labels"] == {"app": "shop"}
        assert self.api.ask("GET", "volumes?watch&revision=99999999")[0] == 410
        # A member that is a moment behind knows soon what another has told.
        for turn in range(200):
            revision = self.api.must("PATCH", "volumes/v1", {"labels": {"turn": str(turn)}})["revision"]
            http_connection = http.client.HTTPConnection(member.host, member.client_port, timeout=10)
            http_connection.request("GET", f"/v1/fabric/volumes/v1?watch&revision={revision}")
            assert (status := http_connection.getresponse().status) == 200, f"{status} at the revision of the last change"
            http_connection.close()

    def domains(self):
        with Nodes(self.fabric.members, {"e1": spec("east", zone="a"), "w1": spec("west")}) as nodes:
            epoch = self.api.must("GET", "domains/west")["epoch"]
            west = self.api.must("POST", "domains/west/deactivate", {"by": "me", "reason": "a drill"})
            assert west["state"] == "Inactive" and west["epoch"] == epoch + 1, west
            assert west["lastChange"]["by"] == "me" and west["lastChange"]["reason"] == "a drill"
            assert self.api.must("GET", "volumes/v1")["state"] == "Degraded"
            assert self.api.ask("POST", "domains/east/deactivate", {})[0] == 409, "the last one"
            self.api.must("POST", "domains/west/activate", {})
            wait_for("the volume is up again", lambda: self.api.must("GET", "volumes/v1")["state"] == "Up")
            assert self.api.must("GET", "domains/west")["sync"] == "InSync"
            # A node that is not heard of any more.
            nodes.silent.add("w1")
            wait_for("the node is offline", lambda: self.api.must("GET", "nodes/w1")["state"] == "Offline")
            assert self.api.must("GET", "volumes/v1")["state"] == "Degraded"
            nodes.silent.clear()
            wait_for("the volume is up again", lambda: self.api.must("GET", "volumes/v1")["state"] == "Up")
            assert not nodes.trouble, nodes.trouble
        what = [e["what"] for e in self.api.must("GET", "events")["items"]]
        assert any(w.startswith("deactivated, epoch") for w in what) and "replica current on w1" in what, what

    def other_tools(self):
        assert self.api.must("GET", "/v1/clusterdomains") == {"cluster_domain_names": ["east", "west"]}
        assert self.api.must("POST", "/v1/clusterdomains/deactivate/west") == {}
        assert self.api.must("GET", "/v1/clusterdomains/inspect/west") == {"cluster_domain_name": "west", "is_active": False}
        assert self.api.must("POST", "/v1/clusterdomains/activate/west") == {}
        assert self.api.must("GET", "/v1/clusterdomains/inspect/west")["is_active"] is True
        assert self.api.ask("GET", "/v1/clusterdomains/inspect/south")[0] == 404

    def commands(self):
        assert "Active" in self.command("domain", "list")
        self.command("domain", "create", "south", "--label", "region=eu")
        assert "the condition does not hold" in self.command("domain", "create", "south", code=1)
        self.command("node", "register", "s1", "--domain", "south", "--capacity", "2TiB", "--label", "rack=7", "--ttl", "60")
        assert "2 TiB" in self.command("node", "list", "--domain", "south")
        made = self.command("volume", "create", "logs", "--size", "3G", "--replication", "1", "--label", "app=x")
        assert "state       Up" in made and "app=x" in made, made
        token = self.command("volume", "attach", "logs", "s1").split()[-1]
        assert f"attached    s1, token {token}" in self.command("volume", "show", "logs")
        self.command("volume", "detach", "logs", "--token", token)
        self.command("volume", "resize", "logs", "4GiB")
        assert "resized to 4294967296 bytes" in self.command("volume", "explain", "logs")
        assert "Pass --yes" in self.command("domain", "deactivate", "south", code=2)
        assert "if south vanished now" in self.command("domain", "preflight", "south")
        self.command("domain", "deactivate", "south", "--yes", "--reason", "a drill")
        listed = json.loads(self.command("domain", "list", "-o", "json"))
        assert {d["name"]: d["state"] for d in listed["items"]}["south"] == "Inactive"
        assert "a drill" in self.command("events", "--last", "3")
        self.command("domain", "activate", "south")
        self.command("node", "cordon", "s1")
        assert "Cordoned" in self.command("node", "list")
        self.command("node", "uncordon", "s1")
        self.command("node", "maintenance", "s1", "on")
        assert "InMaintenance" in self.command("node", "list")
        self.command("node", "maintenance", "s1", "off")
        self.command("volume", "delete", "logs")
        self.command("node", "remove", "s1")
        self.command("domain", "remove", "south")
        assert "there is no volume" in self.command("volume", "show", "logs", code=3)

    def restart(self):
        """Killed all at once, all members come back with what was said last."""
        def known(api):
            # States move by themselves: nodes are not heard of.
            volume = api.must("GET", "volumes/v1")
            return volume["id"], volume["sizeBytes"], volume["labels"], volume["fencingToken"], volume["createdAt"]

        before = known(self.api)
        events = len(self.api.must("GET", "events")["items"])
        for member in self.fabric.members:
            member.kill()
        for member in self.fabric.members:
            member.start()
        for member in self.fabric.members:
            member.wait_healthy()
        for api in self.apis:
            api.close()
            assert known(api) == before
            assert len(api.must("GET", "events")["items"]) >= events

    def newcomer(self):
        """One that gets the state as a snapshot has the records."""
        newcomer = self.fabric.add("m9")
        newcomer.join(self.fabric.leader())
        newcomer.wait_healthy()
        assert API(newcomer).must("GET", "volumes/v1")["name"] == "v1"


def conversations(fabric, report):
    """The recorded conversations with etcd, on a fabric that has nodes and volumes."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    golden = os.path.join(os.path.dirname(root), "shared", "etcd-golden")
    if not os.path.isdir(golden) and not os.environ.get("CI"):
        return print("skipped: the recorded conversations are not here")
    specs = {f"{domain[0]}{n}": spec(domain) for domain in ("east", "west") for n in (1, 2)}
    with Nodes(fabric.members, specs) as nodes:
        api = API(*fabric.members)
        for number in range(50):
            api.must("POST", "volumes", {"name": f"v{number}", "sizeBytes": 10**9, "replication": 2})
        run = subprocess.run([sys.executable, os.path.join(golden, "golden.py"), "check", fabric.leader().client_url,
                              os.path.join(golden, "etcd-3.6.json")], capture_output=True, text=True, timeout=300)
        report.check(f"recorded conversations beside 4 nodes and 50 volumes: {run.stdout.strip().splitlines()[-1]}",
                     run.returncode == 0 and "188 passed, 0 failed" in run.stdout, run.stdout + run.stderr)
        assert not nodes.trouble, nodes.trouble


def main():
    weft = sys.argv[1]
    report = Report()
    with Fabric(weft, 3) as fabric:
        world = World(weft, fabric)
        for check in (world.resources, world.conditions, world.refusals, world.attachment, world.watch, world.domains,
                      world.other_tools, world.commands, world.restart, world.newcomer):
            report.run(check.__name__.replace("_", " "), check)
    with Fabric(weft, 3) as fabric:
        conversations(fabric, report)
    report.finish()


if __name__ == "__main__":
    main()
