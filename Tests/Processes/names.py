"""Name servers that never answer: the look-up of one name delays no other host.

    names.py WEFT [--only NAME]

Needs root. Each machine has its own hosts and resolv.conf in /etc/netns/NAMESPACE, which are taken away again.
"""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time

import namespaces
from harness import Report, attempt
from namespaces import IsolatedFabric
from networks import alive, count, lead, put, run, said, within

SILENT = """
import socket, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 53))
tcp = socket.create_server(("127.0.0.1", 53))
print("bound", flush=True)
time.sleep(900)
"""


class NamedFabric(IsolatedFabric):
    """Members that reach each other by name. Each machine has a name server, which never answers, and a hosts file."""

    def __init__(self, weft, count=3, flags=()):
        super().__init__(weft, 0, flags)
        self.servers = []
        for number in range(count):
            self.add(f"m{number + 1}")

    def name(self, member):
        return f"{member.name}.far.test"

    def named_url(self, member):
        return f"http://{self.name(member)}:{member.peer_port}"

    def hosts(self, member, unknown=()):
        """Writes the machine's hosts file. A name that is not in it is asked of the silent server."""
        with open(f"/etc/netns/{member.namespace}/hosts", "w") as file:
            file.write("127.0.0.1 localhost\n")
            for other in self.members:
                if other not in unknown:
                    file.write(f"{other.host} {self.name(other)}\n")

    def forget(self, lost, seen_by=None):
        """From now on this member's name hangs for the others."""
        for member in seen_by or self.members:
            if member is not lost:
                self.hosts(member, [lost])

    def start(self, member, *extra):
        founders = ",".join(f"{m.name}={self.named_url(m)}" for m in self.members if m not in self.late)
        member.spawn(["serve", "--name", member.name, "--data-dir", member.data, "--listen-client-urls",
                      member.client_url, "--listen-peer-urls", member.peer_url, "--initial-advertise-peer-urls",
                      self.named_url(member), "--initial-cluster", founders, *self.flags, *extra])

    late = ()

    def __enter__(self):
        for member in self.members:
            os.makedirs(f"/etc/netns/{member.namespace}")
            with open(f"/etc/netns/{member.namespace}/resolv.conf", "w") as file:
                file.write("nameserver 127.0.0.1\n")
            self.hosts(member)
        super().__enter__()
        try:
            for member in self.members:
                server = subprocess.Popen(member.prefix + [sys.executable, "-c", SILENT], stdout=subprocess.PIPE)
                self.servers.append(server)
                assert server.stdout.readline() == b"bound\n"
            founders = [m for m in self.members if m not in self.late]
            for member in founders:
                self.start(member)
            for member in founders:
                member.wait_healthy()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *what):
        super().__exit__(*what)
        for server in self.servers:
            server.kill()
            server.wait()
            server.stdout.close()
        self.servers = []
        for member in self.members:
            shutil.rmtree(f"/etc/netns/{member.namespace}", ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir("/etc/netns")


def named_failed_lookup(member, name):
    """If a line of its log says that this name's look-up failed."""
    return any(name in line and re.search(r"look.?up|look up|resolv|DNS|name server|name resolution", line, re.I)
               for line in said(member).splitlines())


def survivors_write_while_the_dead_leaders_name_hangs(report, weft):
    """The leader's site takes its name server with it."""
    with NamedFabric(weft) as fabric:
        leader = fabric.leader()
        fabric.forget(leader)
        leader.kill()
        one, other = (m for m in fabric.members if m is not leader)
        attempt(10, lambda: put(one), "a put at a survivor")
        attempt(10, lambda: count(other), "the other has it")


def members_connect_while_another_peers_name_hangs(report, weft):
    """One machine is gone together with its name; the two others lose their connections, here by a restart of one."""
    with NamedFabric(weft) as fabric:
        leader = fabric.leader()
        one, other = (m for m in fabric.members if m is not leader)
        fabric.forget(leader)
        leader.kill()
        time.sleep(3)
        other.kill()
        fabric.start(other)
        attempt(10, lambda: put(one), "a put at a survivor")
        attempt(10, lambda: count(other), "the other has it")


def look_up_that_failed_is_named_in_the_log(report, weft):
    """A connection that failed says why: it is the name server, and this is the name."""
    with NamedFabric(weft) as fabric:
        leader = fabric.leader()
        one = next(m for m in fabric.members if m is not leader)
        name = fabric.name(leader)
        fabric.forget(leader)
        leader.kill()
        assert within(28, lambda: named_failed_lookup(one, name)), "its lines on the name: " + "; ".join(
            line for line in said(one).splitlines() if name in line)[-300:]


def all_start_while_one_peers_name_hangs(report, weft):
    """Power returns to all machines but one."""
    with NamedFabric(weft) as fabric:
        put(fabric.members[0])
        lost = fabric.members[2]
        fabric.forget(lost)
        for member in fabric.members:
            member.kill()
        for member in fabric.members[:2]:
            fabric.start(member)
        attempt(10, lambda: put(fabric.members[0]), "a put")


def snapshot_is_sent_while_another_peers_name_hangs(report, weft):
    """m3 was away for long and comes back; m4 is gone together with its name."""
    with NamedFabric(weft, 4, ["--snapshot-count", "50", "--snapshot-catchup-entries", "10"]) as fabric:
        back, lost = fabric.members[2:]
        lead(weft, fabric, fabric.members[0])
        back.stop()
        for n in range(400):
            put(fabric.members[0], f"away/{n}")
        fabric.forget(lost)
        lost.kill()
        time.sleep(3)
        fabric.start(back)
        attempt(15, lambda: count(back, "away/399"), "the snapshot arrives")
        assert "receiving a snapshot" in said(back), said(back)[-800:]


@contextlib.contextmanager
def _with_newcomer(weft, founders=3):
    fabric = NamedFabric(weft, founders + 1)
    fabric.late = (fabric.members[-1],)
    with fabric:
        yield fabric, fabric.members[-1]


def join_goes_on_while_a_members_name_hangs(report, weft):
    """A newcomer cannot look up one member of three, whichever it is; the fabric can."""
    for number in range(3):
        with _with_newcomer(weft) as (fabric, late):
            lost = fabric.members[number]
            lead(weft, fabric, fabric.members[(number + 1) % 3])
            fabric.hosts(late, [lost])
            late.join(fabric.members[(number + 1) % 3])
            attempt(20, lambda: alive(late) and late.healthy(), f"the join, while {lost.name}'s name hangs")
            attempt(10, lambda: not late.status().get("isLearner"), "it has its vote")


def command_goes_on_while_an_endpoints_name_hangs(report, weft):
    """The member that answers is asked, wherever in the list of endpoints the silent name stands."""
    with _with_newcomer(weft, 1) as (fabric, machine):
        good = fabric.members[0]
        put(good)
        for number, endpoints in enumerate((f"http://gone.far.test:2379,{good.client_url}",
                                            f"{good.client_url},http://gone.far.test:2379",
                                            f"http://a.far.test:1,http://b.far.test:1,{good.client_url}")):
            for command in (["get", "k"], ["put", "k", "w"], ["status"]):
                began = time.time()
                try:
                    run = subprocess.run(machine.prefix + [weft, *command, "--endpoints", endpoints],
                                         capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
                    result = f"exit {run.returncode} after {time.time() - began:.1f} s: {run.stdout}{run.stderr}"
                    done = run.returncode == 0 and time.time() - began < 8
                except subprocess.TimeoutExpired:
                    done, result = False, "no end in 20 s"
                report.check(f"weft {command[0]} with silent endpoints, order {number}", done, result.strip()[-300:])


CHECKS = [survivors_write_while_the_dead_leaders_name_hangs, members_connect_while_another_peers_name_hangs,
          look_up_that_failed_is_named_in_the_log, all_start_while_one_peers_name_hangs,
          snapshot_is_sent_while_another_peers_name_hangs, join_goes_on_while_a_members_name_hangs,
          command_goes_on_while_an_endpoints_name_hangs]


if __name__ == "__main__":
    if not namespaces.available():
        print("skipped: names that hang (needs root and network namespaces)")
        CHECKS = []
    run(CHECKS, Report())
