"""Fabrics whose members have a network namespace each, so that they can be cut off from one another. Needs root and `ip`.

Clients are in the namespace of the test and reach every member all the time.
"""
import os
import secrets
import subprocess

from harness import Fabric


def _ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.returncode == 0


def available():
    """If this process may make namespaces."""
    name = f"wt{secrets.token_hex(3)}"
    if os.geteuid() != 0 or not _ip("netns", "add", name, check=False):
        return False
    _ip("netns", "del", name)
    return True


class IsolatedFabric(Fabric):
    """Members on a bridge of their own. `cut` drops what two of them send each other, as a network does: without a word."""

    def __init__(self, weft, count=3, flags=()):
        self.mark = secrets.token_hex(3)
        self.subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
        self.cuts = set()
        super().__init__(weft, count, flags)

    def add(self, name):
        member = super().add(name)
        member.host = f"{self.subnet}.{len(self.members)}"
        member.namespace = f"wt{self.mark}-{len(self.members)}"
        member.prefix = ["ip", "netns", "exec", member.namespace]
        return member

    def __enter__(self):
        bridge = f"wt{self.mark}"
        try:
            _ip("link", "add", bridge, "type", "bridge")
            _ip("addr", "add", f"{self.subnet}.254/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
            for number, member in enumerate(self.members):
                wire = f"wt{self.mark}{number}"
                _ip("netns", "add", member.namespace)
                _ip("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", member.namespace)
                _ip("link", "set", wire, "master", bridge, "up")
                for words in (["addr", "add", f"{member.host}/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                              ["link", "set", "lo", "up"]):
                    _ip("-n", member.namespace, *words)
            return super().__enter__()
        except BaseException:
            self.remove_network()
            raise

    def __exit__(self, *what):
        super().__exit__(*what)
        self.remove_network()

    def remove_network(self):
        for member in self.members:
            _ip("netns", "del", member.namespace, check=False)
        _ip("link", "del", f"wt{self.mark}", check=False)

    def cut(self, one, other):
        """Nothing goes between the two any more, either way."""
        for here, there in ((one, other), (other, one)):
            if (here, there) not in self.cuts:
                _ip("-n", here.namespace, "route", "add", "blackhole", f"{there.host}/32")
                self.cuts.add((here, there))

    def isolate(self, member):
        for other in self.members:
            if other is not member:
                self.cut(member, other)

    def heal(self):
        for here, there in self.cuts:
            _ip("-n", here.namespace, "route", "del", "blackhole", f"{there.host}/32")
        self.cuts = set()
