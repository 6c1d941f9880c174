"""A fabric with a member that is away, for tests in which somebody else says that it is that one. Standard library."""
import glob
import re
import sys
import time

import peer_wire as wire
from harness import Fabric, Refused, Unanswered, b64

def put(member, key, value="x", timeout=12):
    member.connection(timeout).call("/v3/kv/put", {"key": b64(key), "value": b64(value)})


def has(member, key, serializable=True, timeout=12):
    answer = member.connection(timeout).call("/v3/kv/range", {"key": b64(key), "serializable": serializable})
    return answer.get("count") == "1"


def until(what, holds, seconds=20):
    """Waits until it holds; what a member refuses or leaves unanswered meanwhile does not count."""
    end = time.time() + seconds
    while True:
        last = ""
        try:
            if holds():
                return
        except (Unanswered, Refused, OSError) as error:
            last = f" ({error})"
        assert time.time() < end, f"within {seconds} s it did not come about that {what}{last}"
        time.sleep(0.1)


def alive(members, why=""):
    for member in members:
        code = member.process.poll()
        assert code is None, f"{member.name} ended with {code}{why}: {last_words(member)}"


def last_words(member):
    """What the log of this run says of its end, without the registers and images of a trap."""
    said = member.log()[member.log_start:]
    trapped = re.search(r"(Fatal error|\*\*\* Program crashed|Crash|Thread \d+ .*crashed)", said)
    return said[trapped.start():][:600] if trapped else said[-600:]


def takes_writes(members, key):
    """One of them leads and takes a change, and all have it."""
    def written():
        alive(members)
        put(members[0], key, timeout=4)
        return True

    until("a change is taken", written, 30)
    for member in members:
        until(f"{member.name} has it", lambda: has(member, key))


def agree(members, seconds=20):
    """All have applied the same entries and have the same state."""
    def state(member):
        applied = member.status()["raftAppliedIndex"]
        return applied, member.connection().call("/v3/maintenance/hash", {})["hash"]

    def same():
        alive(members)
        return len({state(member) for member in members}) == 1

    until("all members have the same state", same, seconds)


def restart_all(members):
    for member in members:
        member.kill()
    for member in members:
        member.start()
    for member in members:
        member.wait_healthy()


class Scene:
    """A fabric of which one follower, `away`, is down, so that somebody else can say that it is that one."""

    def __init__(self, weft, count=3):
        self.fabric = self.make_fabric(weft, count)
        self.open = []

    @staticmethod
    def make_fabric(weft, count):
        return Fabric(weft, count)

    def peer(self, port, first=b"", **more):
        """A connection to a peer port."""
        return wire.Peer(port, first, **more)

    def impostor(self, answer):
        """A listener at the absent member's address that gives every caller this answer."""
        return wire.Impostor(self.away.peer_port, answer)

    def __enter__(self):
        self.fabric.__enter__()
        try:
            self.prepare()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def prepare(self):
        members = self.fabric.members
        self.leader = self.fabric.leader()
        listed = {}

        def all_named():
            answer = self.leader.connection().call("/v3/cluster/member/list", {})
            self.cluster = int(answer["header"]["cluster_id"])
            listed.update({each.get("name"): int(each["ID"]) for each in answer["members"]})
            return all(member.name in listed for member in members)

        until("all members are known by name", all_named)
        self.ids = listed
        for number in range(20):
            put(self.leader, f"before/{number}")
        agree(members)
        self.away = next(member for member in members if member is not self.leader)
        self.rest = [member for member in members if member is not self.away]
        self.away.kill()

    def __exit__(self, *error):
        for peer in self.open:
            peer.close()
        return self.fabric.__exit__(*error)

    def hello(self, to, **more):
        return wire.hello(self.cluster, self.ids[self.away.name], self.ids[to.name], **more)

    def call(self, to, **more):
        """A connection on which the stranger passes for the member that is away."""
        peer = self.peer(to.peer_port, self.hello(to, **more))
        self.open.append(peer)
        answer = peer.read()
        assert answer and wire.is_welcome(answer), f"{to.name} does not welcome a member: {answer}"
        return peer

    def say(self, to, term, *bodies, peer=None):
        """Each body in a frame of its own; a connection that is closed for one is opened again for the next."""
        for body in bodies:
            data = wire.messages(wire.message(self.ids[self.away.name], self.ids[to.name], term, body))
            try:
                peer = peer or self.call(to)
                peer.send(data)
            except OSError:
                if to.process.poll() is not None:
                    return peer
                peer = self.call(to)
                peer.send(data)
        return peer

    def log_end(self):
        """Index and term of the last entry, when nothing is under way."""
        seen = []

        def quiet():
            states = [member.status() for member in self.rest]
            seen.append({(int(s["raftIndex"]), int(s["raftAppliedIndex"]), int(s["raftTerm"])) for s in states})
            return len(seen) > 3 and len(seen[-1]) == 1 and seen[-1] == seen[-2] == seen[-3]

        until("the members are quiet", quiet)
        index, _, term = seen[-1].pop()
        return index, term

    def come_back(self):
        self.away.start()
        self.away.wait_healthy()

    def still_whole(self, key):
        """The fabric goes on with all that was written before, with the member that was away, and after a restart."""
        members = self.fabric.members
        takes_writes(self.rest, key)
        self.come_back()
        takes_writes(members, key + "/2")
        agree(members)
        restart_all(members)
        takes_writes(members, key + "/3")
        agree(members)
        for member in members:
            assert all(has(member, f"before/{number}") for number in range(20)), f"{member.name} lost keys"
            assert not set_aside(member), f"{member.name} set its log aside: {set_aside(member)}"


def set_aside(member):
    return glob.glob(member.data + "/**/*.damaged*", recursive=True)
