"""The recorded conversations with etcd, which lie beside the project in ../shared/etcd-golden: replayed against every kind of member, in clear text and
by TLS."""
import concurrent.futures
import os
import subprocess
import sys

from harness import Fabric, free_port
from tls import Authority

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))), "shared", "etcd-golden")
# By whom each is replayed, and how many steps it has.
KEYS_AND_LEASES = ("golden.py", "etcd-3.6.json", 188)
USERS = ("golden_auth.py", "auth.json", 458)
USERS_WITH_WEB_TOKENS = ("golden_auth.py", "auth.json", 40)
PLACES = ["a single member", "the leader of three", "a follower of three"]


class TwoWays(Fabric):
    """Its members serve clients in clear text and, at `secure_url`, by TLS."""

    def __init__(self, weft, count, authority, *flags):
        super().__init__(weft, count, ["--cert-file", authority.path("server.pem"), "--key-file", authority.path("server.key"), *flags])
        for member in self.members:
            member.secure_url = f"https://127.0.0.1:{free_port()}"
            member.arguments = lambda member=member, plain=member.arguments: self.both(member, plain())

    @staticmethod
    def both(member, words):
        words[words.index("--listen-client-urls") + 1] = f"{member.client_url},{member.secure_url}"
        return words


def replay(url, recording, *words, **environment):
    """Whether every step came out as recorded; the replayer's last line; and all that it printed."""
    replayer, file, steps = recording
    done = subprocess.run([sys.executable, os.path.join(GOLDEN, replayer), "check", url, os.path.join(GOLDEN, file), *words],
                          capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
    last = (done.stdout.strip().splitlines() or [done.stderr])[-1]
    return done.returncode == 0 and last == f"{steps} passed, 0 failed", last, done.stdout + done.stderr


def replay_at(weft, place, recording, authority, flags, words):
    with TwoWays(weft, 1 if "single" in place else 3, authority, *flags) as fabric:
        member = fabric.follower() if "follower" in place else fabric.leader()
        return [(f"{place}, in clear text", *replay(member.client_url, recording, *words)),
                (f"{place}, by TLS", *replay(member.secure_url, recording, *words, GOLDEN_CACERT=authority.path("ca.pem")))]


def replay_everywhere(report, weft, recording, flags=(), words=()):
    """The places at once: most of the time a recording waits."""
    if not os.path.isdir(GOLDEN):
        print("skipped: the recorded conversations are not here")
        return report.check("the recordings are beside the project", not os.environ.get("CI"), GOLDEN)
    with Authority() as authority, concurrent.futures.ThreadPoolExecutor() as workers:
        authority.leaf("server")
        for found in workers.map(lambda place: replay_at(weft, place, recording, authority, flags, words), PLACES):
            for where, is_as_recorded, last, said in found:
                report.check(f"{where}: {last}", is_as_recorded, said)
