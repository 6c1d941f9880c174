#!/usr/bin/env python3
"""The metadata of a storage cluster that is stretched over two Kubernetes clusters, for the demo and for tests.

    fabric.py make                                write fabric.jsonl anew: the same bytes each time
    fabric.py load ENDPOINT[,ENDPOINT...]         store it through the API, over all endpoints
    fabric.py write ENDPOINTS SECONDS RECORD      attach and detach volumes for a while; note each acknowledged write
    fabric.py verify ENDPOINTS [RECORD]           read everything back from every endpoint; exit 1 if anything is missing

fabric.jsonl has a line {"key", "value"} per key: 2 Kubernetes clusters (one storage cluster, a domain each), 24 storage
nodes, 300 volumes of 1.5 to 4 KB, the node list that all nodes watch, and a few snapshots and schedules, under keys as
such systems lay them out.
"""
import http.client
import json
import os
import random
import ssl
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.join(HERE, "fabric.jsonl")
ROOT = "pwx/metro-prod/"
DOMAINS = ["us-east-1a", "us-east-1b"]
APPS = ["postgres", "cassandra", "kafka", "elasticsearch", "mysql", "mongodb", "redis", "minio", "jenkins", "gitlab"]


def identifier(dice, digits=18):
    return str(dice.randrange(10 ** (digits - 1), 10 ** digits))


def uuid(dice):
    text = f"{dice.getrandbits(128):032x}"
    return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])


def nodes(dice):
    for n in range(24):
        domain = DOMAINS[n % 2]
        yield {
            "id": uuid(dice), "schedulerNodeName": f"worker-{n // 2:02d}.{domain}.k8s.internal", "hostname": f"worker-{n // 2:02d}",
            "clusterDomain": domain, "mgmtIp": f"10.{20 + n % 2}.0.{10 + n // 2}", "dataIp": f"10.{30 + n % 2}.0.{10 + n // 2}",
            "status": "STATUS_OK", "version": "3.1.0", "cpu": 16, "memTotalBytes": 64 << 30,
            "labels": {"topology.kubernetes.io/region": "us-east-1", "topology.kubernetes.io/zone": domain, "rack": f"r{n // 8}"},
            "pools": [{"id": p, "uuid": uuid(dice), "medium": ["STORAGE_MEDIUM_SSD", "STORAGE_MEDIUM_NVME"][p], "raidLevel": "raid0",
                       "totalBytes": 4 << 40, "usedBytes": dice.randrange(1 << 40), "ioPriority": "HIGH",
                       "drives": [{"path": f"/dev/disk/by-id/drive-{identifier(dice, 12)}", "sizeBytes": 1 << 40, "online": True}
                                  for _ in range(4)]} for p in range(2)],
        }


def volume(dice, number, all_nodes):
    app = APPS[number % len(APPS)]
    first, second = dice.choice(all_nodes[::2]), dice.choice(all_nodes[1::2])
    size = dice.choice([1, 5, 10, 20, 50, 100, 500]) << 30
    claim = f"data-{app}-{number // len(APPS)}"
    made = {
        "id": identifier(dice), "source": {"parent": "", "seed": ""}, "readonly": False,
        "locator": {"name": f"pvc-{uuid(dice)}", "volumeLabels": {
            "app": app, "namespace": f"{app}-{number % 3}", "pvc": claim, "storageclass": "px-metro-repl2", "tier": dice.choice(["gold", "silver"]),
            "openstorage.io/auth-owner": "platform", "team": f"team-{number % 7}"}},
        "ctime": f"2026-{1 + number % 9:02d}-{1 + number % 28:02d}T08:{number % 60:02d}:00Z",
        "spec": {"sizeBytes": size, "format": "FS_TYPE_EXT4", "haLevel": 2, "cos": "HIGH", "ioProfile": "DB_REMOTE", "dedupe": False,
                 "snapshotInterval": 0, "shared": False, "sharedv4": number % 9 == 0, "scale": 0, "queueDepth": 128, "nodiscard": False,
                 "ioStrategy": {"asyncIo": False, "earlyAck": False, "directIo": False}, "exportSpec": {"exportProtocol": "PXD"},
                 "storagePolicy": "metro", "replicaSet": {"nodes": [first["id"], second["id"]]}},
        "usage": dice.randrange(size), "state": "VOLUME_STATE_ATTACHED", "status": "VOLUME_STATUS_UP", "attachedOn": first["id"],
        "devicePath": f"/dev/pxd/pxd{identifier(dice)}", "secureDevicePath": "", "attachPath": [f"/var/lib/kubelet/pods/{uuid(dice)}/volumes/{claim}"],
        "replicaSets": [{"nodes": [node["id"]], "poolUuids": [node["pools"][dice.randrange(2)]["uuid"]], "domain": node["clusterDomain"],
                         "state": "CLEAN", "runtimeState": {"ReplNodePools": "0,0", "RuntimeState": "clean", "ReadSet": "[0]"},
                         "chunks": [{"offset": c << 30, "length": 1 << 30, "generation": dice.randrange(1 << 20)}
                                    for c in range(dice.randrange(1, 16))]} for node in (first, second)],
        "attachInfo": {"fencingToken": dice.randrange(1 << 30), "by": "csi", "pod": f"{app}-{number}"},
        "error": "", "fsResizeRequired": False,
        "sharedv4ServiceSpec": None, "fpConfig": {"status": "FASTPATH_INACTIVE", "promote": False, "setupOn": 0},
        "mountOptions": {"options": {"discard": "", "noatime": ""}},
    }
    return made


def make():
    dice = random.Random(20261122)
    everyone = list(nodes(dice))
    rows = [(f"cluster/domains/{d}", {"name": d, "kind": "data", "state": "ACTIVE", "epoch": 1, "sync": "IN_SYNC", "kubernetes": f"k8s-{d}"})
            for d in DOMAINS]
    rows += [(f"cluster/nodes/{node['id']}", node) for node in everyone]
    rows.append(("cluster/database", {"id": "metro-prod", "status": "STATUS_OK", "size": len(everyone), "nodes": {
        node["id"]: {"status": node["status"], "domain": node["clusterDomain"]} for node in everyone}}))
    for number in range(300):
        made = volume(dice, number, everyone)
        rows.append((f"storage/volumes/{made['id']}", made))
        rows.append((f"storage/names/{made['locator']['name']}", {"id": made["id"]}))
    for number in range(6):
        rows.append((f"schedule/policies/policy-{number}", {"name": f"policy-{number}", "intervalMinutes": 15 << number, "retain": 5}))
    with open(FILE, "w") as file:
        for key, value in rows:
            file.write(json.dumps({"key": ROOT + key, "value": json.dumps(value, separators=(",", ":"))}) + "\n")


def rows():
    with open(FILE) as file:
        return [(row["key"], row["value"]) for row in map(json.loads, file)]


def connect(url):
    """By TLS with the certificate that the weft command would show, where the URL says so."""
    if url.scheme != "https":
        return http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    context = ssl.create_default_context(cafile=os.environ.get("WEFT_CACERT"))
    if "WEFT_CERT" in os.environ:
        context.load_cert_chain(os.environ["WEFT_CERT"], os.environ["WEFT_KEY"])
    return http.client.HTTPSConnection(url.hostname, url.port, timeout=10, context=context)


class Client:
    """Requests to the first endpoint that answers."""

    def __init__(self, endpoints):
        self.endpoints, self.http = list(endpoints), None

    def request(self, method, path, body=None, patience=30):
        end = time.time() + patience
        while True:
            try:
                if self.http is None:
                    url = urllib.parse.urlsplit(self.endpoints[0])
                    self.http = connect(url)
                self.http.request(method, path, body)
                answer = self.http.getresponse()
                data = answer.read()
                if answer.status < 500 and answer.status != 429:
                    return answer.status, data
            except (OSError, http.client.HTTPException):
                pass
            self.http = None
            self.endpoints.append(self.endpoints.pop(0))
            if time.time() > end:
                raise SystemExit(f"no endpoint answers {method} {path}")
            time.sleep(0.05)


def path(key):
    return "/v1/kv/" + urllib.parse.quote(key)


def load(endpoints):
    everything = rows()
    begin = time.time()

    def worker(number):
        client = Client(endpoints[number % len(endpoints):] + endpoints[:number % len(endpoints)])
        for key, value in everything[number::12]:
            status, data = client.request("PUT", path(key), value)
            if status not in (200, 201):
                raise SystemExit(f"{key}: {status} {data!r}")

    run(worker, 12)
    size = sum(len(value) for _, value in everything)
    print(f"stored {len(everything)} keys, {size / 1e6:.1f} MB, in {time.time() - begin:.1f} s over {len(endpoints)} members")


def run(worker, count):
    errors = []

    def guarded(number):
        try:
            worker(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def write(endpoints, seconds, record):
    attachments = [key.replace("/volumes/", "/attachments/") for key, _ in rows() if "/storage/volumes/" in key]
    end, noted, longest = time.time() + seconds, [], [0.0]

    def worker(number):
        client = Client(endpoints[number % len(endpoints):] + endpoints[:number % len(endpoints)])
        # Nobody else writes these: of two who write a key at once nobody could say whose value must be found.
        own = attachments[number::8]
        step = 0
        while time.time() < end:
            key = own[step % len(own)]
            value = json.dumps({"attachedOn": f"node-{number}", "step": step, "fencingToken": number * 1_000_000 + step})
            begin = time.time()
            status, _ = client.request("PUT", path(key), value)
            longest[0] = max(longest[0], time.time() - begin)
            if status in (200, 201):
                noted.append((key, value))
            step += 1

    run(worker, 8)
    # Each key has one writer, so the last acknowledged value is the one to be found.
    with open(record, "w") as file:
        json.dump(dict(noted), file)
    print(f"{len(noted)} writes acknowledged, to {len(dict(noted))} keys; the longest waited {longest[0]:.2f} s")


def verify(endpoints, record=None):
    wanted = dict(rows())
    if record:
        with open(record) as file:
            wanted.update(json.load(file))
    missing = 0
    for endpoint in endpoints:
        client = Client([endpoint])
        for key, value in wanted.items():
            status, data = client.request("GET", path(key))
            if status != 200 or data.decode() != value:
                missing += 1
                print(f"{endpoint}: {key} is {'not there' if status == 404 else 'different'}")
    print(f"{len(wanted)} keys read back from each of {len(endpoints)} members: {missing or 'none'} missing or different")
    return 1 if missing else 0


def main(arguments):
    if arguments[:1] == ["make"]:
        return make()
    if len(arguments) >= 2 and arguments[0] in ("load", "write", "verify"):
        endpoints = arguments[1].split(",")
        if arguments[0] == "load":
            return load(endpoints)
        if arguments[0] == "verify":
            return verify(endpoints, *arguments[2:3])
        if len(arguments) == 4:
            return write(endpoints, float(arguments[2]), arguments[3])
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
