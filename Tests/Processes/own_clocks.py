#!/usr/bin/env python3
"""Certificates over time, where the fabric has a CA of its own: renewal, rotation, long sleep, wrong clocks, new beginnings.

    own_clocks.py WEFT [--only NAME]
"""
import os
import shutil
import subprocess
import threading
import time

from harness import attempt
from own_fabric import Clock, OwnFabric, ask, context

checks = []


def check(function):
    checks.append(function)
    return function


def serial(path):
    return subprocess.run(["openssl", "x509", "-in", path, "-noout", "-serial"], check=True, capture_output=True, text=True, timeout=30).stdout


def copy(client, name):
    """The certificate of a client, as it is now, in a directory of its own."""
    shutil.copytree(client, client + name)
    return client + name


@check
def the_ca_rotates_without_a_gap(report, weft):
    """Writes go on while three members and a client go over to a new CA; one was off meanwhile. Then the old one counts no more."""
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]
        second = fabric.join("m2")
        third = fabric.join("m3")
        witness = fabric.join("tie", "--role", "witness")
        client, idle = fabric.client("c"), fabric.client("idle")
        stop, failures, done = threading.Event(), [], [0]

        def write():
            while not stop.is_set():
                status, said = second.ask("PUT", "/v1/kv/k", f"{done[0]}", context(client))
                done[0] += 1
                if status not in (200, 201):
                    failures.append((status, said))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            third.kill()
            before = {m.name: serial(m.tls("member.pem")) for m in (first, second, third, witness)}
            fabric.run("ca", "rotate", "--endpoints", first.endpoint)
            again = fabric.run("ca", "rotate", "--endpoints", first.endpoint, check=False)
            report.check("one at a time", again.returncode != 0 and "--finish" in again.stderr, again.stderr)
            early = fabric.run("ca", "rotate", "--finish", "--endpoints", first.endpoint, check=False)
            report.check("not to be ended too early", early.returncode != 0 and "these members have" in early.stderr, early.stderr)
            status = fabric.run("status", "--endpoints", first.endpoint, check=False)
            report.check("status says that two are believed", "two CAs are believed" in status.stdout + status.stderr, status.stdout)
            attempt(60, lambda: all(serial(m.tls("member.pem")) != before[m.name] for m in (first, second, witness)), "they do not go over")
            report.check("the other has the new key", second_key(first) == second_key(second))
            # Whoever believes the old CA alone goes on believing them, and the other way round.
            for member in (first, second):
                report.check(f"an old client at {member.name}", member.ask("GET", "/v1/kv/k", None, context(idle))[0] == 200)
            third.restart()
            third.wait_healthy()
            attempt(60, lambda: serial(third.tls("member.pem")) != before["m3"], "m3 does not go over")
            left = attempt(60, lambda: (e := fabric.run("ca", "rotate", "--finish", "--endpoints", second.endpoint, check=False))
                           and "these clients have" in e.stderr and e.stderr)
            report.check("clients that are left are named", "idle" in left and "c (" in left, left)
            fabric.run("ca", "renew", "--force", "--dir", client, "--endpoints", second.client_url)
            fabric.run("ca", "rotate", "--finish", "--force", "--endpoints", second.endpoint)
            attempt(10, lambda: not answers(first, idle), "the old certificate still counts")
            time.sleep(3)
        finally:
            stop.set()
            writer.join()
        report.check("no write was refused", not failures and done[0] > 20, f"{done[0]} writes, {failures[:3]}")
        said = fabric.run("check", "--endpoints", third.endpoint)
        report.check("check is content", "ok   all 4 members answer" in said and "CA" not in said, said)
        late = fabric.join("m5")
        report.check("machines still join", late.healthy())
        for member in fabric.members:
            member.kill()
        for member in fabric.members:
            member.restart()
        for member in (first, second, third, late):
            member.wait_healthy()
        report.check("and all come back", attempt(20, lambda: first.ask("GET", "/v1/kv/k", None, context(client))[0] == 200))


def second_key(member):
    with open(member.tls("ca.key")) as file:
        return file.read()


def answers(member, client):
    try:
        return member.ask("GET", "/v1/kv/k", None, context(client))[0] == 200
    except OSError:
        return False


@check
def a_rotation_is_given_up(report, weft):
    """The one that made the new CA dies before anybody has its key."""
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]
        second, third = fabric.join("m2"), fabric.join("m3")
        nothing = fabric.run("ca", "rotate", "--abandon", "--endpoints", first.endpoint, check=False)
        report.check("there is nothing to give up", nothing.returncode != 0 and "no new CA" in nothing.stderr, nothing.stderr)
        before = fabric.noted()["m2"]["authority"]
        fabric.run("ca", "rotate", "--endpoints", first.endpoint)
        attempt(60, lambda: all(n.get("authority") not in ("", before) for n in fabric.noted().values()), "they do not go over")
        late = fabric.run("ca", "rotate", "--abandon", "--endpoints", first.endpoint, check=False)
        report.check("nor what members sign with", late.returncode != 0 and "members have certificates of this CA" in late.stderr, late.stderr)
        fabric.run("ca", "rotate", "--finish", "--endpoints", third.endpoint)
        for _ in range(5):
            own, fourth = fabric.noted()["m2"]["authority"], fabric.join(f"m{len(fabric.members) + 1}")
            fabric.run("ca", "rotate", "--endpoints", fourth.endpoint)
            fourth.kill()
            fabric.run("member", "remove", fourth.name, "--endpoints", first.endpoint)
            if all(n["authority"] == own for n in fabric.noted().values()):
                break
            # The others were faster.
            attempt(60, lambda: fabric.run("ca", "rotate", "--finish", "--endpoints", first.endpoint, check=False).returncode == 0)
        else:
            raise AssertionError("the new key always came through")
        fabric.run("ca", "rotate", "--abandon", "--endpoints", first.endpoint)
        said = fabric.run("ca", "show", "-o", "json", "--endpoints", second.endpoint)
        report.check("the old CA is the only one", said.count('"certificate"') == 1 and own in said, said)
        for member in (first, second, third):
            member.kill()
            member.restart()
        for member in (first, second, third):
            member.wait_healthy()
        report.check("members serve on", attempt(20, lambda: first.local("PUT", "/v1/kv/k", "v")[0] in (200, 201)))


@check
def certificates_renew_themselves(report, weft):
    """After two thirds of their life all members have new certificates, witnesses too, and serve on; nothing is started again."""
    with OwnFabric(weft) as fabric:
        clock = Clock(fabric)
        first = fabric.members[0]
        first.kill()
        first.environment = clock.environment
        first.restart()
        first.wait_healthy()
        members = [first]
        for name, words in (("m2", ()), ("tie", ("--role", "witness"))):
            member = fabric.add(name)
            member.environment = clock.environment
            member.join(first, "--token", fabric.token(*words))
            attempt(30, lambda: fabric.roles().get(name) in ("voter", "witness"))
            members.append(member)
        before = [serial(m.tls("member.pem")) for m in members]
        starts = [m.process.pid for m in members]
        clock.set(61)
        attempt(90, lambda: all(serial(m.tls("member.pem")) != b for m, b in zip(members, before)), "they are not renewed")
        report.check("nothing was started again", [m.process.pid for m in members] == starts and all(m.process.poll() is None for m in members))
        # By now the first ones would be past their time.
        clock.set(95)
        second = members[1]
        second.kill()
        second.restart()
        second.wait_healthy()
        report.check("members believe each other still", attempt(20, lambda: second.local("PUT", "/v1/kv/k", "v")[0] in (200, 201)))
        said = fabric.run("ca", "show", "--endpoints", first.endpoint)
        report.check("ca show has three members", said.count(" member ") == 3, said)


@check
def a_long_sleep_and_wrong_clocks(report, weft):
    """All were off for 100 days: members that hold data come back by themselves. A clock in 1970 is called that, and heals."""
    with OwnFabric(weft) as fabric:
        clock = Clock(fabric)
        first = fabric.members[0]
        second = fabric.join("m2")
        witness = fabric.join("tie", "--role", "witness")
        client = fabric.client("c")
        assert first.ask("PUT", "/v1/kv/k", "v", context(client))[0] == 201
        for member in fabric.members:
            member.kill()
            member.environment = clock.environment
        clock.set(100)
        for member in fabric.members:
            member.restart()
        for member in (first, second):
            member.wait_healthy()
        status, said = attempt(20, lambda: (a := second.local("GET", "/v1/kv/k"))[0] == 200 and a)
        report.check("after 100 days the key is there", said == "v", said)
        witness.wait_started("this member's certificate was good until")
        report.check("a witness says what to do", "weft token create --member tie" in witness.log(), witness.log()[-500:])
        witness.kill()
        witness.join(first, "--token", fabric.run("token", "create", "--member", "tie", "--endpoints", first.endpoint))
        witness.wait_started("following")
        attempt(20, lambda: (n := fabric.noted().get("tie")) and n["until"][:4] == "2027" and n["until"] > fabric.noted()["m1"]["until"][:10])
        # The client's is past its time, too: what the machine says is what curl says.
        report.check("an old client is refused", not answers(first, client))
        for member in fabric.members:
            member.kill()
        clock.set(-365 * 50)
        first.restart()
        second.restart()
        first.wait_started("before the fabric's CA was made")
        report.check("in 1970 it says so", "until it is set right" in first.log())
        clock.set(101)
        for member in (first, second):
            member.wait_healthy(60)
        status, said = attempt(20, lambda: (a := first.local("GET", "/v1/kv/k"))[0] == 200 and a)
        report.check("once it is right all is well, without a start", said == "v", said)


@check
def new_beginnings(report, weft):
    """A fabric that goes on from one disk, and one from a backup, have members with new certificates; those of before are nobody's."""
    with OwnFabric(weft) as fabric:
        first = fabric.members[0]
        fabric.join("m2")
        client = fabric.client("c")
        assert first.ask("PUT", "/v1/kv/k", "v", context(client))[0] == 201
        former = first.local("GET", "/v1/ca")[1]
        backup = os.path.join(fabric.directory, "backup.db")
        fabric.run("snapshot", "save", backup, "--endpoints", first.endpoint)
        for member in fabric.members:
            member.kill()
        fabric.run("recover", "--data-dir", first.data, "--yes")
        first.restart()
        first.wait_healthy()
        status, said = first.local("GET", "/v1/kv/k")
        report.check("the recovered fabric has the key", said == "v", said)
        now = attempt(10, lambda: (c := first.local("GET", "/v1/ca")[1]) and c.get("authorities") and c["authorities"][0]["id"] != former["authorities"][0]["id"] and c)
        report.check("and another CA", len(now["authorities"]) == 1 and now["fabric"] != former["fabric"], now)
        report.check("which does not know the client of before", not answers(first, client))
        other = fabric.join("m4")
        report.check("machines join it", other.healthy())
        for member in fabric.members:
            member.kill()
        restored = fabric.add("r1")
        fabric.run("snapshot", "restore", backup, "--name", "r1", "--data-dir", restored.data, "--initial-cluster", f"r1={restored.peer_url}",
                   "--initial-advertise-peer-urls", restored.peer_url)
        restored.start_alone()
        restored.wait_healthy()
        status, said = restored.local("GET", "/v1/kv/k")
        report.check("the restored fabric has the key", said == "v", said)
        attempt(10, lambda: len(restored.local("GET", "/v1/ca")[1].get("authorities", [])) == 1)
        report.check("nobody of before is let in", not answers(restored, client))


if __name__ == "__main__":
    from wire import main
    main(checks, "own_clocks.py")
