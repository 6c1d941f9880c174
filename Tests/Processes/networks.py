"""Members that move, go and come, have dead addresses, or have a log that nobody reads: the fabric goes on.

    networks.py WEFT [--only NAME]
"""
import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from harness import Fabric, Refused, Report, Unanswered, attempt, b64, free_port


def big_txn(member, key, timeout=5):
    """A txn that keeps the member busy while it is applied."""
    put = [{"request_put": {"key": b64(f"{key}/{n}"), "value": b64("x" * 1000)}} for n in range(128)]
    return member.connection(timeout).call("/v3/kv/txn", {"success": put})


def put(member, key="k", value="v", timeout=5):
    return member.connection(timeout).call("/v3/kv/put", {"key": b64(key), "value": b64(value)})


def count(member, key="k"):
    asked = {"key": b64(key), "serializable": True}
    return int(member.connection(5).call("/v3/kv/range", asked).get("count", 0))


def said(member):
    return member.log()[member.log_start:]


def lead(weft, fabric, member):
    """Moves the lead to the member."""
    def leads():
        leader = fabric.leader()
        if leader is not member:
            subprocess.run([weft, "move-leader", member.name, "--endpoints", leader.client_url], capture_output=True,
                           timeout=20)
        return leader is member

    attempt(20, leads, f"{member.name} leads")


def within(seconds, holds):
    end = time.time() + seconds
    while time.time() < end:
        with contextlib.suppress(Unanswered, Refused):
            if holds():
                return True
        time.sleep(0.1)
    return False


def alive(member):
    assert member.process.poll() is None, f"{member.name} ended with {member.process.returncode}: {said(member)[-500:]}"
    return True


# D3: nobody reads the log.

class Pipe:
    """A FIFO as a daemon's standard error. It is small, and nobody reads it until `drain`."""

    def __init__(self, fabric):
        self.path = os.path.join(fabric.directory, "stderr")
        os.mkfifo(self.path)
        os.chmod(fabric.directory, 0o755)
        os.chmod(self.path, 0o666)
        self.end = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self.end, 1031, 4096)  # F_SETPIPE_SZ
        self.prefix = ["sh", "-c", f'exec 2>"{self.path}"; exec "$@"', "sh"]

    def fill(self):
        try:
            while True:
                os.write(self.end, b"." * 64)
        except BlockingIOError:
            pass
        try:
            while True:
                os.write(self.end, b".")
        except BlockingIOError:
            pass

    def drain(self, seconds):
        """What comes out of it in so many seconds."""
        got, end = b"", time.time() + seconds
        while time.time() < end:
            try:
                got += os.read(self.end, 65536)
            except BlockingIOError:
                time.sleep(0.05)
        return got.decode(errors="replace")

    def close(self):
        if self.end is not None:
            os.close(self.end)
            self.end = None


@contextlib.contextmanager
def _unread_leader(weft):
    with Fabric(weft, 3) as fabric:
        leader = fabric.members[0]
        pipe = Pipe(fabric)
        try:
            leader.stop()
            leader.prefix = pipe.prefix + leader.prefix
            leader.start()
            leader.wait_healthy()
            lead(weft, fabric, leader)
            yield fabric, leader, pipe
        finally:
            pipe.close()


def _serves(member, seconds):
    """Puts are answered at it for so long."""
    end = time.time() + seconds
    while time.time() < end:
        attempt(10, lambda: put(member), "a put at the leader")
        assert member.process.poll() is None, f"it ended with {member.process.returncode}"
        time.sleep(0.1)


def leader_serves_when_nobody_reads_its_log(report, weft):
    """journald is stuck: the pipe is full. Then a follower dies, which the leader has to say."""
    with _unread_leader(weft) as (fabric, leader, pipe):
        pipe.fill()
        fabric.members[2].kill()
        _serves(leader, 8)
        # Connections of clients that send rubbish are a reason to log, too.
        for port in (leader.client_port, leader.peer_port):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", port), timeout=3) as s:
                    s.sendall(b"\xff" * 64)
        _serves(leader, 2)
        fabric.members[2].start()
        fabric.members[2].wait_healthy(15)
        assert fabric.leader() is leader, "it lost the lead"
        metrics = leader.connection(5).request("GET", "/metrics")[1].decode()
        later = pipe.drain(6)
        counted = re.search(r"(?m)^\w*log\w*(drop|lost)\w* ([1-9]\d*)", metrics) or re.search(
            r"[1-9]\d* .*(line|message).*(drop|lost)|(drop|lost).*[1-9]\d* .*(line|message)", later)
        # Few lines wait until somebody reads again; what is dropped of many is counted.
        assert counted or "no connection to member" in later, f"lines are gone: {later.strip('.')[-300:]!r}"


def leader_serves_when_its_logs_reader_is_gone(report, weft):
    """journald restarts: writes to the log fail with EPIPE."""
    with _unread_leader(weft) as (fabric, leader, pipe):
        pipe.close()
        fabric.members[2].kill()
        _serves(leader, 4)
        fabric.members[2].start()
        fabric.members[2].wait_healthy(15)


def member_starts_and_stops_when_nobody_reads_its_log(report, weft):
    with Fabric(weft, 1) as fabric:
        member = fabric.members[0]
        pipe = Pipe(fabric)
        try:
            member.stop()
            pipe.fill()
            member.prefix = pipe.prefix + member.prefix
            member.start()
            attempt(10, member.healthy, "it serves")
            put(member)
            member.process.send_signal(signal.SIGTERM)
            try:
                assert member.process.wait(15) == 0
            except subprocess.TimeoutExpired:
                raise AssertionError("it does not stop within 15 s")
        finally:
            member.kill()
            pipe.close()


# D4, D6: addresses.

def member_at_another_address_is_not_left_out_silently(report, weft):
    """It takes part again, or its log and the others' say why it does not."""
    with Fabric(weft, 3) as fabric:
        moved = fabric.follower()
        moved.stop()
        moved.peer_port = free_port()
        moved.restart()
        others = [m for m in fabric.members if m is not moved]
        put(others[0])
        if not within(15, lambda: moved.healthy() and count(moved)):
            assert re.search(rf"warning.*{moved.peer_port}", said(moved)), (
                f"it stays out, and its log says only: {said(moved)[-500:]}")


def member_at_another_address_takes_part_after_the_others_restarts(report, weft):
    """All members move, one after the other, as when a network is renumbered."""
    with Fabric(weft, 3) as fabric:
        for number, moved in enumerate(fabric.members):
            moved.stop()
            moved.peer_port = free_port()
            moved.restart()
            other = next(m for m in fabric.members if m is not moved)
            attempt(8, lambda: put(other, f"k{number}"), "the others write")
            if not within(8, lambda: moved.healthy() and count(moved, f"k{number}")):
                assert re.search(rf"warning.*{moved.peer_port}", said(moved)), f"{moved.name} stays out silently"
                return


def _two_urls(weft, dead_url):
    with Fabric(weft, 0) as fabric:
        members = [fabric.add(f"m{n}") for n in (1, 2, 3)]
        founders = ",".join([f"m2={dead_url}"] + [f"{m.name}={m.peer_url}" for m in members])
        for member in members:
            urls = [dead_url, member.peer_url] if member is members[1] else [member.peer_url]
            member.spawn(["serve", *member.arguments(), "--initial-advertise-peer-urls", ",".join(urls),
                          "--initial-cluster", founders])
        attempt(20, lambda: alive(members[1]) and members[1].healthy(), "m2, whose first URL is dead, gets well")
        put(members[0])
        attempt(10, lambda: count(members[1]), "m2 has what the others write")


def member_whose_first_url_is_refused_starts(report, weft):
    _two_urls(weft, f"http://127.0.0.1:{free_port()}")


def member_whose_first_url_is_silent_starts(report, weft):
    """Something listens there, takes the connection, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        _two_urls(weft, f"http://127.0.0.1:{silent.getsockname()[1]}")


def member_whose_first_url_has_no_address_starts(report, weft):
    # A label that is too long for DNS fails on this machine: nobody is asked.
    _two_urls(weft, f"http://{'x' * 64}.test:{free_port()}")


def newcomer_whose_first_url_is_dead_joins(report, weft):
    with Fabric(weft, 1) as fabric:
        late = fabric.add("m2")
        late.join(fabric.members[0], "--initial-advertise-peer-urls",
                  f"http://127.0.0.1:{free_port()},{late.peer_url}", "--join-timeout", "15")
        attempt(20, lambda: alive(late) and late.healthy(), "it joins")


# D11, F2: members that go and come.

def leader_that_is_removed_at_itself_answers_so(report, weft):
    """Under load. What was done is never answered as an error."""
    wrong = []
    for round in range(8):
        with Fabric(weft, 5) as fabric:
            stopping = threading.Event()

            def load(number):
                while not stopping.is_set():
                    member = fabric.members[number % len(fabric.members)]
                    try:
                        big_txn(member, f"load/{number}", 2)
                    except (Unanswered, Refused):
                        time.sleep(0.01)

            threads = [threading.Thread(target=load, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            try:
                while len(fabric.members) > 2:
                    leader = fabric.leader()
                    own = leader.status()["header"]["member_id"]
                    try:
                        leader.connection(10).call("/v3/cluster/member/remove", {"ID": own})
                    except Refused as error:
                        # "Not enough started members" and "unhealthy cluster" are refusals: nothing was done.
                        if "stopped" not in error.message:
                            continue
                        wrong.append(f"round {round}: {error}")
                    except Unanswered as error:
                        wrong.append(f"round {round}: no answer, {error}")
                    assert leader.process.wait(20) == 6, said(leader)[-600:]
                    leader.process = None
                    fabric.members.remove(leader)
            finally:
                stopping.set()
                for thread in threads:
                    thread.join()
    assert not wrong, f"{len(wrong)} of 24: {wrong[0]}"


def member_that_missed_a_join_has_a_leader(report, weft):
    """m4 joined and leads while m3 was down: m3 has never heard of it."""
    with Fabric(weft, 3) as fabric:
        away = fabric.members[2]
        attempt(10, lambda: put(fabric.members[0]), "a put")
        away.stop()
        late = fabric.add("m4")
        late.join(fabric.leader())
        late.wait_healthy()
        attempt(20, lambda: not late.status().get("isLearner"), "m4 has its vote")
        lead(weft, fabric, late)
        away.start()
        attempt(30, lambda: int(away.status().get("leader", 0)) and away.healthy(), "m3 has a leader")
        assert fabric.leader() is late, "the lead moved meanwhile: this shows nothing"
        put(late, "after")
        attempt(10, lambda: count(away, "after"), "m3 has what m4 writes")


CHECKS = [leader_serves_when_nobody_reads_its_log, leader_serves_when_its_logs_reader_is_gone,
          member_starts_and_stops_when_nobody_reads_its_log, member_at_another_address_is_not_left_out_silently,
          member_at_another_address_takes_part_after_the_others_restarts, member_whose_first_url_is_refused_starts,
          member_whose_first_url_is_silent_starts, member_whose_first_url_has_no_address_starts,
          newcomer_whose_first_url_is_dead_joins, leader_that_is_removed_at_itself_answers_so,
          member_that_missed_a_join_has_a_leader]


def run(checks, report):
    weft = os.path.abspath(sys.argv[1])
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else None
    for check in checks:
        if only in (None, check.__name__):
            report.run(check.__name__.replace("_", " "), check, report, weft)
    report.finish()


if __name__ == "__main__":
    run(CHECKS, Report())
