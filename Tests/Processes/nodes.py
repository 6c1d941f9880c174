"""Storage nodes as a fabric sees them, over its public API: they register, are heard of, attach and resync. Standard library only."""
import json
import threading
import time

from harness import Unanswered


class API:
    """`/v1/fabric` of one member, or of whichever answers."""

    def __init__(self, *members, timeout=12):
        self.connections = [member.connection(timeout) for member in members]

    def ask(self, method, path, body=None, headers=None, tries=1):
        """Status, answer and headers; of a connection that breaks the next member's."""
        error = None
        for attempt in range(max(tries, len(self.connections))):
            connection = self.connections[attempt % len(self.connections)]
            try:
                status, data, found = connection.request(
                    method, path if path.startswith("/v1/") else "/v1/fabric/" + path,
                    b"" if body is None else json.dumps(body).encode(), headers)
                return status, json.loads(data) if data else None, found
            except Unanswered as failure:
                error = failure
        raise error

    def must(self, method, path, body=None, headers=None):
        status, answer, _ = self.ask(method, path, body, headers)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return answer

    def close(self):
        for connection in self.connections:
            connection.close()


class Nodes:
    """Simulated storage nodes: each is heard of in time and, when told to resync a replica, does after a while."""

    def __init__(self, members, specs, resync_seconds=0.2, heartbeat_seconds=1.0):
        """`specs`: what to register, by the node's name."""
        self.members, self.specs = members, dict(specs)
        self.resync_seconds, self.heartbeat_seconds = resync_seconds, heartbeat_seconds
        # Those that are dead for now.
        self.silent = set()
        self.resynced = 0
        self.trouble = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.beat, daemon=True), threading.Thread(target=self.resync, daemon=True)]

    def __enter__(self):
        api = API(*self.members)
        for name, spec in self.specs.items():
            api.must("PUT", f"nodes/{name}", spec)
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)

    def beat(self):
        api = API(*self.members)
        while not self.stopped.wait(self.heartbeat_seconds):
            for name, spec in list(self.specs.items()):
                if name in self.silent or self.stopped.is_set():
                    continue
                try:
                    status, _, _ = api.ask("POST", f"nodes/{name}/heartbeat")
                    if status == 409:
                        api.ask("PUT", f"nodes/{name}", spec)
                except Unanswered as error:
                    self.trouble.append(str(error))

    def resync(self):
        """Copies, which here takes no more than time."""
        api = API(*self.members)
        while not self.stopped.wait(self.resync_seconds):
            try:
                after = 0
                while after is not None:
                    _, page, _ = api.ask("GET", f"volumes?limit=1000&after={after}")
                    self.finish(api, page["items"])
                    after = page.get("next")
            except (Unanswered, KeyError) as error:
                self.trouble.append(str(error))

    def finish(self, api, volumes):
        for volume in volumes:
            for replica in volume["replicas"]:
                if replica["state"] != "Resyncing" or replica["node"] in self.silent or self.stopped.is_set():
                    continue
                status, _, _ = api.ask("PUT", f"volumes/{volume['id']}/replicas/{replica['node']}",
                                       {"state": "Current", "generation": replica["generation"]})
                self.resynced += status == 200


def wait_for(what, holds, seconds=30):
    end = time.time() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.time() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)
