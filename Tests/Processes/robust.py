#!/usr/bin/env python3
"""What clients see of members that are killed, paused and cut off, all at once: nothing that was shown is ever un-seen.

    robust.py WEFT [--runs 100] [--seed N] [--seconds 3]

Each run is a fabric of its own, in trouble for three seconds. Writers write through all members. Watchers at each member
watch from now, from the past and from revisions to come, and ask for progress; readers do serializable reads there all the
time. Checked for each member's address, across its restarts: no answer is at an older revision than one before it, and no
key has an older one; each serializable read is the state at its revision. Of each watch: nothing comes from before its
start, everything comes in order and once, progress never goes back, and nothing comes after progress that spoke of it.
In the end no acknowledged write is lost, and all members have the same data.

A seed gives the same faults, but not at the same moments of the members. WEFT_KEEP=1 keeps the directory of a run that
fails.
"""
import argparse
import collections
import os
import random
import threading
import time
import types

import clients

clients.use_python_clients()

import etcd_rpc as rpc
import namespaces
import storm
from harness import Connection, Fabric, Refused, Report, Unanswered, attempt, b64, unb64
from trouble import Trouble

# Small limits, so that cutting the log, checkpoints and snapshots happen in so short a run.
FLAGS = ["--heartbeat-interval", "30", "--election-timeout", "300", "--snapshot-count", "100",
         "--snapshot-catchup-entries", "50", "--checkpoint-interval", "200", "--watch-progress-notify-interval", "1s"]

# gRPC's codes of a member that cannot answer now: DEADLINE_EXCEEDED and UNAVAILABLE.
UNAVAILABLE = {4, 14}


class Floors:
    """The newest revision that each member has answered with. What it answers later must not be older."""

    def __init__(self):
        self.lock, self.revisions = threading.Lock(), collections.Counter()

    def note(self, endpoint, revision):
        with self.lock:
            self.revisions[endpoint] = max(self.revisions[endpoint], revision)

    def __getitem__(self, endpoint):
        """To be taken before a request is sent."""
        with self.lock:
            return self.revisions[endpoint]

    def highest(self):
        with self.lock:
            return max(self.revisions.values())

    def check(self, floor, revision, what):
        assert revision >= floor, f"{what} is at revision {revision}, but the member had answered with {floor} before"


class NotingConnection(rpc.Connection):
    """A connection that checks and notes the revision of each answer."""

    def __init__(self, endpoint, floors):
        super().__init__(endpoint)
        self.floors = floors

    def __getattr__(self, name):
        call = super().__getattr__(name)

        def noting(timeout=8, **fields):
            floor = self.floors[self.endpoint]
            answer = call(timeout, **fields)
            self.floors.check(floor, answer.header.revision, f"the answer to a {name} at {self.endpoint}")
            self.floors.note(self.endpoint, answer.header.revision)
            return answer
        return noting


class Watch(storm.Watch):
    """A watch whose progress is checked, too. It goes on where it was on the next stream."""

    def request(self):
        request = super().request()
        self.asked = request.create_request.start_revision
        # No progress may be before this.
        self.lowest = self.asked
        return request

    def created(self, header):
        super().created(header)
        if not self.asked:
            self.lowest = header.revision

    def progress(self, revision):
        assert revision >= self.lowest, f"progress at {revision} of a watch from {self.asked or f'after {self.lowest}'}"
        assert revision >= self.promised, f"progress at {revision} after progress at {self.promised}"
        assert not self.events or revision >= self.events[-1].revision, f"progress at {revision} after {self.events[-1]}"
        super().progress(revision)


class ShortWatch(Watch):
    """A watch on one stream only: it must have everything up to the last event or progress that came."""

    def wants(self, event):
        return event.revision <= self.last and super().wants(event)


class Dice(random.Random):
    """Dice of a thread that keeps to one member."""

    def __init__(self, seed, endpoint):
        super().__init__(seed)
        self.endpoint = endpoint


class Stream(storm.Stream):
    """Watches at one member; opened again there whenever the stream ends. `make` makes new watches for each stream."""

    def __init__(self, play, name, endpoint, watches=(), make=None, **options):
        super().__init__(play, f"{name} at {endpoint}", list(watches), **options)
        self.dice = Dice(f"{play.seed} stream {self.title}", endpoint)
        self.make, self.all = make, list(watches)

    def follow(self, connection):
        if self.make:
            self.watches = self.make(self.dice)
            self.all += self.watches
        self.floor = self.storm.floors[connection.endpoint]
        super().follow(connection)

    def take(self, response):
        endpoint, revision = self.dice.endpoint, response.header.revision
        if response.created:
            self.storm.floors.check(self.floor, revision, f"a new watch at {endpoint}")
        super().take(response)
        self.storm.floors.note(endpoint, revision)


class Reader(threading.Thread):
    """Serializable reads at one member, of all keys or of one, again and again."""

    def __init__(self, play, member, number):
        super().__init__(daemon=True)
        self.storm, self.member = play, member
        self.dice = random.Random(f"{play.seed} reader {member.name} {number}")
        self.count, self.modified, self.states = 0, {}, {}

    def run(self):
        connection = Connection(self.member.client_port, 1, self.member.host)
        while not self.storm.watchers_stop.wait(0.004):
            try:
                self.read(connection)
            except Unanswered:
                continue
            except Refused as refusal:
                # A member that does not know yet what it had answered says so.
                if refusal.code not in UNAVAILABLE:
                    self.storm.fault(f"serializable read at {self.member.name}: {refusal}")
                    return
            except Exception as error:
                self.storm.fault(f"serializable read at {self.member.name}: {type(error).__name__}: {error}")
                return
        connection.close()

    def read(self, connection):
        one = self.dice.choice(self.storm.keys) if self.dice.random() < 0.5 else None
        key, end = (one, b"") if one else (self.storm.prefix, self.storm.end)
        floor = self.storm.floors[self.member.client_url]
        answer = connection.call("/v3/kv/range", {"key": b64(key), "range_end": b64(end), "serializable": True,
                                                  "keys_only": True})
        self.take(one, floor, int(answer["header"]["revision"]),
                  {unb64(pair["key"]): int(pair["mod_revision"]) for pair in answer.get("kvs", [])})

    def take(self, one, floor, revision, found):
        self.storm.floors.check(floor, revision, "it")
        for key, modified in found.items():
            before = self.modified.get(key, 0)
            assert before <= modified <= revision, f"{key} of {modified} in an answer at {revision}, after one of {before}"
            self.modified[key] = modified
        earlier = self.states.setdefault((revision, one), found)
        assert earlier == found, f"two answers at revision {revision}: {earlier} and {found}"
        self.storm.floors.note(self.member.client_url, revision)
        self.count += 1

    def difference(self, truth):
        """The first answer that is not the state at its revision, as text."""
        state, place = {}, 0
        for (revision, one), found in sorted(self.states.items(), key=lambda item: item[0][0]):
            while place < len(truth) and truth[place].revision <= revision:
                event = truth[place]
                place += 1
                state.pop(event.key, None)
                if event.type == rpc.PUT:
                    state[event.key] = event.revision
            wanted = state if one is None else {key: state[key] for key in [one] if key in state}
            if wanted != found:
                return f"{self.member.name} answered {found} at revision {revision}, where the record has {wanted}"
        return None


class Robust(storm.Storm):
    """The load of one run, and what it must have been."""

    def __init__(self, members, seed):
        self.floors, self.members = Floors(), members
        super().__init__([member.client_url for member in members], seed, pause=0.03)
        assert self.strict, "the server calls itself an etcd from before progress could be trusted"
        self.contenders, self.locks = [], []
        self.floors.note(self.endpoints[0], self.first)
        self.readers = [Reader(self, member, number) for member in members for number in range(2)]

    def connect(self, dice):
        return NotingConnection(getattr(dice, "endpoint", None) or dice.choice(self.endpoints), self.floors)

    def make_streams(self):
        everything = {"key": self.prefix, "end": self.end}
        yield storm.Stream(self, "recorder", [Watch(self, start=self.first, prev_kv=True, **everything)])
        for endpoint in self.endpoints:
            yield Stream(self, "kept", endpoint, [Watch(self, progress_notify=True, **everything),
                                                  Watch(self, start=self.first, **everything)], cut=1.5, ask=True)
            yield Stream(self, "from now and from the past", endpoint, cut=0.4, ask=True, make=lambda dice: [
                ShortWatch(self, progress_notify=True, **everything),
                ShortWatch(self, start=dice.randint(self.first, self.floors.highest()), prev_kv=True, **everything)])
            yield Stream(self, "from a revision to come", endpoint, cut=0.8, ask=True, make=lambda dice: [
                ShortWatch(self, start=self.floors.highest() + dice.randint(1, 60), progress_notify=True, **everything)])

    def play(self, seconds, disturb=None):
        for reader in self.readers:
            reader.start()
        super().play(seconds, disturb)
        for reader in self.readers:
            reader.join(10)

    def watches(self):
        """Those that began, each with the name of its stream."""
        for stream in self.streams:
            for watch in getattr(stream, "all", stream.watches):
                if watch.begun:
                    yield stream.title, watch

    def judge(self):
        """All that went wrong, as texts."""
        problems = list(self.faults)
        for check in (self.check_writes, self.check_watches, self.check_reads, self.check_resuming, self.check_state,
                      self.check_hashes):
            try:
                check()
            except Exception as error:
                problems.append(f"{check.__name__}: {type(error).__name__}: {error}")
        return problems

    def check_writes(self):
        self.check_record([op for writer in self.writers for op in writer.ops])

    def check_watches(self):
        assert not self.broken_promises, f"{self.broken_promises} events came after progress that spoke of them"
        for title, watch in self.watches():
            difference = watch.difference(self.recorder.events)
            assert not difference, f"{title}, from {watch.start or 'now'}, begun at {watch.begun}: {difference}"
        silent = [stream.title for stream in self.streams if not any(w.begun for w in getattr(stream, "all", stream.watches))]
        assert not silent, f"no watch ever began: {silent}"

    def check_reads(self):
        for reader in self.readers:
            difference = reader.difference(self.recorder.events)
            assert not difference, difference
            assert reader.count, f"{reader.member.name} never answered a serializable read"

    def check_hashes(self):
        def hashes():
            answers = [member.connection().call("/v3/maintenance/hashkv", {"revision": self.last}) for member in self.members]
            return [answer["hash"] for answer in answers]
        found = attempt(20, hashes)
        assert len(set(found)) == 1, f"at revision {self.last} the members' hashes are {found}"


def run(weft, seed, seconds, totals):
    """One fabric, from its founding to the judgement."""
    cuts = namespaces.available()
    with (namespaces.IsolatedFabric if cuts else Fabric)(weft, 3, FLAGS) as fabric:
        play, trouble = Robust(fabric.members, seed), Trouble(fabric, seed, cuts)
        play.play(seconds, trouble)
        problems = play.judge()
        totals.update(trouble.counts)
        watches = [watch for _, watch in play.watches()]
        totals.update({
            "writes": sum(op.revision is not None for writer in play.writers for op in writer.ops),
            "serializable reads": sum(reader.count for reader in play.readers), "watches": len(watches),
            "events": sum(len(watch.events) for watch in watches),
            "progress": sum(stream.progress for stream in play.streams),
            "snapshots": sum(member.log().count("receiving a snapshot") for member in fabric.members)})
        assert not problems, f"{len(problems)} problems; {'; '.join(problems[:5])}"


def figures(totals):
    names = ("writes", "serializable reads", "watches", "events", "progress",
             "kills", "pauses", "cuts", "snapshots")
    return ", ".join(f"{totals[name]:,} {name}" for name in names)


def self_test():
    """The judges notice what they are there for."""
    storm.self_test()
    play = types.SimpleNamespace(strict=True, broken_promises=0, floors=Floors(), seed=1)
    truth = [storm.Seen(at, kind, key, b"", 0, 0, None) for at, kind, key in (
        (5, rpc.PUT, b"b"), (6, rpc.PUT, b"c"), (7, rpc.DELETE, b"b"), (9, rpc.PUT, b"c"))]

    def event(index):
        return rpc.Event(type=truth[index].type, kv=rpc.KeyValue(key=truth[index].key, mod_revision=truth[index].revision))

    def watch(kind, start, *steps, created=4):
        """Steps are revisions of progress, and lists of events."""
        one = kind(play, b"a", b"z", start=start)
        one.request()
        one.created(rpc.ResponseHeader(revision=created))
        for step in steps:
            if isinstance(step, int):
                one.progress(step)
            else:
                one.take(rpc.WatchResponse(header=rpc.ResponseHeader(revision=9), events=[event(n) for n in step]))
        return one

    def noticed(function, *arguments, **named):
        try:
            function(*arguments, **named)
        except AssertionError:
            return True
        return False
    for good in (watch(Watch, 5, [0, 1], [2], 7, 8, [3], 9), watch(ShortWatch, 0, 4, [0], 5, [1]),
                 watch(ShortWatch, 7, [2], 8), watch(ShortWatch, 20), watch(ShortWatch, 0, [3], created=8)):
        assert good.difference(truth) is None, good.difference(truth)
    for bad in (watch(ShortWatch, 5, [0], [2]), watch(ShortWatch, 5, 6), watch(ShortWatch, 5, [0], 9),
                watch(Watch, 5, [0, 1, 2]), watch(ShortWatch, 0, [3], created=4)):
        assert bad.difference(truth), bad.events
    assert noticed(watch, Watch, 7, [1]), "an event from before the start"
    assert noticed(watch, Watch, 0, [0], created=5), "old history as a new event"
    assert noticed(watch, Watch, 8, 6), "progress from before the start"
    assert noticed(watch, Watch, 0, 3, created=5), "progress from before now"
    assert noticed(watch, Watch, 5, 7, 6), "progress that goes back"
    assert noticed(watch, Watch, 5, [0, 1, 2], 6), "progress before what came"
    assert noticed(watch, Watch, 5, 6, [1]), "an event after progress that spoke of it"

    def reader(*answers, floor=0):
        one = Reader(play, types.SimpleNamespace(name="m1", client_url="u"), 1)
        for revision, found in answers:
            one.take(None, floor, revision, found)
        return one
    assert reader((5, {b"b": 5}), (6, {b"b": 5, b"c": 6}), (8, {b"c": 6}), (9, {b"c": 9})).difference(truth) is None
    for bad in (reader((6, {b"b": 5})), reader((8, {b"b": 5, b"c": 6})), reader((6, {})), reader((9, {b"c": 6}))):
        assert bad.difference(truth), bad.states
    assert noticed(reader, (5, {b"b": 5}), floor=6), "an answer older than one before"
    assert noticed(reader, (9, {b"c": 9}), (9, {b"c": 6})), "a key that goes back"
    assert noticed(reader, (5, {b"c": 6})), "a key newer than its answer"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weft")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="of the first run; each run after it has the next one")
    parser.add_argument("--seconds", type=float, default=3, help="of trouble in each run")
    options = parser.parse_args()
    self_test()
    first = random.randrange(1 << 31) if options.seed is None else options.seed
    print(f"seed {first}{'' if namespaces.available() else '; this machine has no namespaces, so no member is cut off'}")
    report, totals = Report(), collections.Counter()
    for number in range(options.runs):
        begin, seed = time.monotonic(), first + number
        try:
            run(os.path.abspath(options.weft), seed, options.seconds, totals)
            report.passed += 1
        except Exception as error:
            report.check(f"the run of seed {seed}", False, f"{type(error).__name__}: {error}")
        totals["seconds"] += time.monotonic() - begin
        if number % 10 == 9:
            print(f"{number + 1} runs, {totals['seconds'] / (number + 1):.1f} s each: {figures(totals)}", flush=True)
    print(f"{options.runs} runs: {figures(totals)}")
    report.finish()


if __name__ == "__main__":
    main()
