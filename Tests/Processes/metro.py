"""A rig: a fabric over several sites on one machine, with round trips and faults between them.

Each site is a network namespace; `router.c` carries packets between them and takes its time. Needs root, `ip` and /dev/net/tun.
"""
import os
import secrets
import subprocess
import tempfile

from harness import Fabric
from namespaces import _ip, available as namespaces_available

HERE = os.path.dirname(os.path.abspath(__file__))
# Members per site; the last is the tie-breaker's.
SITES = {"east": 2, "west": 2, "third": 1}


def available():
    return namespaces_available() and os.access("/dev/net/tun", os.R_OK | os.W_OK)


class Router:
    """The network between the sites; site 0 is the namespace of this process, at no distance from any."""

    def __init__(self, spaces):
        self.program = os.path.join(tempfile.gettempdir(), f"weft-router-{secrets.token_hex(4)}")
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", self.program, os.path.join(HERE, "router.c")], check=True)
        self.process = subprocess.Popen([self.program, "-", *spaces], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.expect()

    def expect(self):
        answer = self.process.stdout.readline().decode().strip()
        assert answer == "ok", f"router: {answer}"

    def tell(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()
        self.expect()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)
        os.unlink(self.program)


class Metro(Fabric):
    """Members at sites. Those of the last site join as witnesses once the others are a fabric."""

    def __init__(self, weft, sites=SITES, flags=(), rtt=2.0, witness="third"):
        self.sites, self.witness = dict(sites), witness
        self.mark = secrets.token_hex(3)
        self.names = list(self.sites)
        self.slowness = {}
        super().__init__(weft, 0, flags)
        for site, count in self.sites.items():
            for number in range(count):
                self.place(site, f"{site[0]}{number + 1}")
        self.founders = [m for m in self.members if m.site != witness]
        self.rtts = {(a, b): rtt for a in self.names for b in self.names if a != b}

    def place(self, site, name):
        member = self.add(name)
        member.site, member.host = site, f"10.77.{self.number(site)}.{len([m for m in self.members if m.host.startswith(f'10.77.{self.number(site)}.')]) + 1}"
        member.prefix = ["ip", "netns", "exec", self.space(site)]
        member.environment = {"WEFT_DOMAIN": site}
        return member

    def number(self, site):
        return self.names.index(site) + 1

    def space(self, site):
        return f"wm{self.mark}-{site}"

    def at(self, site):
        return [member for member in self.members if member.site == site]

    def __enter__(self):
        try:
            for site in self.names:
                _ip("netns", "add", self.space(site))
                _ip("-n", self.space(site), "link", "set", "lo", "up")
            self.router = Router([self.space(site) for site in self.names])
            self.lay("sites", 0, [])
            for site in self.names:
                self.lay("site", self.number(site), ["-n", self.space(site)])
            self.set_rtts()
            super().__enter__()
            self.join_witnesses()
            return self
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def lay(self, device, number, where):
        for host in range(1, 10):
            _ip(*where, "addr", "add", f"10.77.{number}.{host}/32", "dev", device)
        _ip(*where, "link", "set", device, "mtu", "1500", "up")
        _ip(*where, "route", "add", "10.77.0.0/16", "dev", device)

    def __exit__(self, *what):
        super().__exit__(*what)
        if getattr(self, "router", None):
            self.router.stop()
            self.router = None
        for site in self.names:
            _ip("netns", "del", self.space(site), check=False)

    def join_witnesses(self):
        for member in self.members:
            if member.site == self.witness:
                member.join(self.leader(), "--witness")
                member.wait_started("is a witness")

    # Distances and faults; a site is named, round trips are in milliseconds.

    def set_rtts(self, rtts=None):
        self.rtts.update(rtts or {})
        for (a, b), rtt in self.rtts.items():
            slow = max(self.slowness.get(a, 0), self.slowness.get(b, 0))
            self.router.tell("delay", self.number(a), self.number(b), int(max(rtt, slow) * 500))

    def set_rtt(self, rtt):
        """The same between all sites."""
        self.set_rtts({pair: rtt for pair in self.rtts})

    def slow(self, site, rtt):
        self.slowness[site] = rtt
        self.set_rtts()

    def cut(self, site, both=True):
        """Nothing goes between the site and the others any more."""
        for other in self.names:
            if other != site:
                self.router.tell("cut", self.number(site), self.number(other))
                if both:
                    self.router.tell("cut", self.number(other), self.number(site))

    def heal(self):
        self.slowness = {}
        self.set_rtts()
        for a in self.names:
            for b in self.names:
                if a != b:
                    self.router.tell("join", self.number(a), self.number(b))

    def kill_site(self, site):
        for member in self.at(site):
            member.kill()

    def start_site(self, site):
        for member in self.at(site):
            member.restart()
