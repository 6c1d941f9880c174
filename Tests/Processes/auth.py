#!/usr/bin/env python3
"""Users, roles and tokens: what etcd answers, on every kind of member and over TLS, and what nobody may do without a right.

    auth.py WEFT [--only NAME]
"""
import os
import subprocess
import sys
import tempfile

from harness import Fabric, give_to_service
from tls import Authority, Secure

checks = []
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))), "shared", "etcd-golden")
STEPS, STEPS_JWT = 458, 40


def check(function):
    checks.append(function)
    return function


def replay(report, what, url, steps, *words, **environment):
    if not os.path.isdir(GOLDEN):
        return report.check("the recordings are beside the project", not os.environ.get("CI"), GOLDEN)
    run = subprocess.run(
        [sys.executable, os.path.join(GOLDEN, "golden_auth.py"), "check", url, os.path.join(GOLDEN, "auth.json"), *words],
        capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
    last = (run.stdout.strip().splitlines() or [run.stderr])[-1]
    report.check(f"{what}: {last}", run.returncode == 0 and f"{steps} passed, 0 failed" in run.stdout, run.stdout + run.stderr)


@check
def every_member_answers_as_etcd(report, weft):
    for count, place in ((1, "a single member"), (3, "the leader of three"), (3, "a follower of three")):
        with Fabric(weft, count, ["--bcrypt-cost", "4"]) as fabric:
            member = fabric.follower() if "follower" in place else fabric.leader()
            replay(report, place, member.client_url, STEPS)


@check
def so_it_does_over_tls(report, weft):
    with Authority() as authority:
        authority.leaf("server")
        with Secure(weft, authority, "--bcrypt-cost", "4") as secure:
            replay(report, "over TLS", secure.url, STEPS, GOLDEN_CACERT=authority.path("ca.pem"))


@check
def web_tokens_are_taken_as_etcd_takes_them(report, weft):
    with tempfile.TemporaryDirectory() as directory:
        key = os.path.join(directory, "key")
        with open(key, "w") as file:
            file.write("a shared secret")
        os.chmod(directory, 0o755)
        give_to_service(directory)
        flags = ["--bcrypt-cost", "4", "--auth-token", f"jwt,sign-method=HS256,priv-key={key},ttl=5m"]
        for count, place in ((1, "a single member"), (3, "a follower of three")):
            with Fabric(weft, count, flags) as fabric:
                member = fabric.follower() if count > 1 else fabric.leader()
                replay(report, place, member.client_url, STEPS_JWT, "--jwt", key)


if __name__ == "__main__":
    from wire import main
    main(checks, "auth.py")
