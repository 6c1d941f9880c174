#!/usr/bin/env python3
"""Kills members with -9 at random moments under load, and checks what clients saw.

    kills.py WEFT [--rounds 200] [--seed N] [--seconds-max S]

Each round: clients write, read, compare-and-swap and delete through all members; one member, sometimes two, are killed
and started again, or one, often the leader, is paused for longer than an election takes; then every key is read through every member. After each round the history of the round is checked
for lost acknowledged writes and for linearizability (history.py).
"""
import argparse
import random
import signal
import threading
import time

import history
from harness import Fabric, Refused, Report, Unanswered, b64, unb64

# Codes after which a write is known not to have happened would be few; after these it is unknown.
UNKNOWN = {4, 13, 14}


class Client(threading.Thread):
    def __init__(self, members, keys, seed, stop):
        super().__init__(daemon=True)
        self.members, self.keys, self.random, self.stop_event = members, keys, random.Random(seed), stop
        self.history, self.number, self.seed = [], 0, seed
        self.error = None

    def run(self):
        try:
            connection = self.random.choice(self.members).connection()
            while not self.stop_event.is_set():
                if self.random.random() < 0.05:
                    connection.close()
                    connection = self.random.choice(self.members).connection()
                try:
                    self.operate(connection)
                except Unanswered:
                    connection = self.random.choice(self.members).connection()
                    time.sleep(0.01)
        except Exception as error:
            self.error = error

    def operate(self, connection):
        key = self.random.choice(self.keys)
        self.number += 1
        value = f"{self.seed}.{self.number}"
        dice = self.random.random()
        if dice < 0.45:
            self.put(connection, key, value)
        elif dice < 0.75:
            read(connection, key, self.history)
        elif dice < 0.93:
            self.cas(connection, key, value)
        else:
            self.delete(connection, key)

    def note(self, op, connection, path, body):
        self.history.append(op)
        try:
            answer = connection.call(path, body)
        except Refused as refusal:
            if refusal.code in UNKNOWN:
                return None
            self.history.remove(op)
            raise
        op.end = time.monotonic()
        op.revision = int(answer["header"]["revision"])
        return answer

    def put(self, connection, key, value):
        self.note(history.Op("put", key, value, time.monotonic()), connection, "/v3/kv/put",
                  {"key": b64(key), "value": b64(value)})

    def delete(self, connection, key):
        op = history.Op("delete", key, None, time.monotonic())
        answer = self.note(op, connection, "/v3/kv/deleterange", {"key": b64(key)})
        if answer:
            op.seen = int(answer.get("deleted", 0)) > 0

    def cas(self, connection, key, value):
        expected = read(connection, key, self.history)
        if expected is None:
            return
        compare = {"key": b64(key), "target": "VALUE", "result": "EQUAL", "value": b64(expected)}
        if expected == "":
            compare = {"key": b64(key), "target": "VERSION", "result": "EQUAL", "version": 0}
        op = history.Op("cas", key, value, time.monotonic(), expected or None)
        answer = self.note(op, connection, "/v3/kv/txn", {
            "compare": [compare], "success": [{"request_put": {"key": b64(key), "value": b64(value)}}],
            "failure": [{"request_range": {"key": b64(key)}}]})
        if answer:
            op.succeeded = answer.get("succeeded", False)
            if not op.succeeded:
                found(op, answer["responses"][0]["response_range"])


def found(op, answer):
    pair = (answer.get("kvs") or [None])[0]
    op.seen = unb64(pair.get("value", "")).decode() if pair else None
    op.seen_revision = int(pair["mod_revision"]) if pair else None


def read(connection, key, operations):
    """The key's value, "" when it is absent, None when the read failed."""
    op = history.Op("get", key, None, time.monotonic())
    try:
        answer = connection.call("/v3/kv/range", {"key": b64(key)})
    except Refused:
        return None
    op.end = time.monotonic()
    op.revision = int(answer["header"]["revision"])
    found(op, answer)
    operations.append(op)
    return op.seen or ""


def settle(fabric):
    for member in fabric.members:
        if member.process is None:
            member.start()
    for member in fabric.members:
        member.wait_healthy(60)


def pause(member, seconds):
    """The member stands still, and then goes on as if no time had passed: what it believed must not be served."""
    member.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    member.process.send_signal(signal.SIGCONT)


def play(fabric, number, dice):
    keys = [f"round/{number}/{n}" for n in range(12)]
    stop = threading.Event()
    clients = [Client(fabric.members, keys, dice.randrange(1 << 40), stop) for _ in range(8)]
    for client in clients:
        client.start()
    time.sleep(dice.uniform(0.05, 0.6))
    victims = dice.sample(fabric.members, 2 if dice.random() < 0.2 else 1)
    if dice.random() < 0.4:
        victims[0] = fabric.leader()
    if dice.random() < 0.25:
        pause(victims[0], dice.uniform(0.1, 1.5))
    else:
        for victim in set(victims):
            victim.kill()
            time.sleep(dice.uniform(0, 0.05))
    time.sleep(dice.uniform(0, 0.5))
    settle(fabric)
    time.sleep(dice.uniform(0, 0.2))
    stop.set()
    for client in clients:
        client.join(30)
        if client.error:
            raise client.error
    operations = [op for client in clients for op in client.history]
    for member in fabric.members:
        connection = member.connection()
        for key in keys:
            if read(connection, key, operations) is None:
                raise AssertionError(f"{member.name} is well, but {key} cannot be read")
    return operations


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weft")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--seconds-max", type=float, default=3600)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}")
    history.self_test()
    dice = random.Random(seed)
    report = Report()
    begin = time.time()
    total = unanswered = 0
    # Small limits, so that cutting the log, checkpoints and snapshots happen all the time.
    flags = ["--heartbeat-interval", "30", "--election-timeout", "300", "--snapshot-count", "100",
             "--snapshot-catchup-entries", "50", "--checkpoint-interval", "200"]
    last = {}
    with Fabric(options.weft, 3, flags) as fabric:
        for number in range(options.rounds):
            if time.time() - begin > options.seconds_max:
                report.check(f"{options.rounds} rounds in {options.seconds_max:.0f} s", False, f"only {number}")
                break
            operations = play(fabric, number, dice)
            problem = history.check(operations)
            total += len(operations)
            unanswered += sum(op.end is None for op in operations)
            if problem:
                report.check(f"round {number}", False, problem)
                break
            # The reads at a round's end saw what must stay.
            last.update({op.key: op.seen for op in operations[-12:]})
            report.passed += 1
            if number % 10 == 9:
                print(f"{number + 1} rounds, {total} operations, {unanswered} of them unanswered, nothing lost", flush=True)
        snapshots = sum(member.log().count("receiving a snapshot") for member in fabric.members)
        print(f"members caught up through {snapshots} snapshots")
        report.run("what all rounds left is there in the end, on every member", still_there, fabric, last)
    report.finish()


def still_there(fabric, wanted):
    for member in fabric.members:
        connection = member.connection()
        for key, value in wanted.items():
            operations = []
            read(connection, key, operations)
            assert operations and operations[0].seen == value, f"{member.name}: {key} is {operations}, not {value}"


if __name__ == "__main__":
    main()
