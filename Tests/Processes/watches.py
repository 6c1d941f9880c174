#!/usr/bin/env python3
"""What watches and locks promise, over gRPC, message by message, and then under load.

    watches.py WHERE [--seconds 10] [--strikes-seconds 15] [--seed N] [--only NAME]

WHERE is as in clients.py. With servers of its own (`etcd`, or a weft) it also kills and pauses them, takes their quorum, and cuts members off from one another.

Another script has the load and its judgement with
    import watches                                  # starts the script again under a Python that has grpcio
    watches.run(endpoints, seconds, disturb)        # a Report; `disturb(stop)` as in storm.py, e.g. storm.strikes(fabric)
"""
import os
import queue
import random
import secrets
import signal
import threading
import time

import clients

clients.use_python_clients()

import grpc

import etcd_rpc as rpc
import namespaces
import storm
from clients import Cases, arguments, same, servers, wait_for
from etcd_rpc import DELETE, NODELETE, NOPUT, PUT
from harness import Report

case, lock_case, fabric_case = Cases(), Cases(), Cases()
COMPACTED = "etcdserver: mvcc: required revision has been compacted"
# A least election timeout, so that an outage is short; it is also what the least time to live of a lease follows from.
FLAGS = ["--heartbeat-interval", "30", "--election-timeout", "300"]


def run(endpoints, seconds, disturb=None, seed=None, report=None):
    """Writers, watchers and contenders for locks for so long, `disturb` beside them, then the judgement of all they saw."""
    report = report or Report()
    play = storm.Storm(endpoints, seed)
    print(f"      seed {play.seed}", flush=True)
    play.play(seconds, disturb)
    play.judge(report)
    return report


class At:
    """Connections to all endpoints; the first is meant when none is named."""

    def __init__(self, endpoints, progress_seconds=None):
        self.endpoints, self.progress_seconds = endpoints, progress_seconds
        self.connections = [rpc.Connection(endpoint) for endpoint in endpoints]
        self.first, self.last = self.connections[0], self.connections[-1]

    def prefix(self, name):
        return f"watches/{name}/{secrets.token_hex(4)}/".encode()

    def put(self, key, value=b"v", at=None, **fields):
        """The revision it made."""
        return (at or self.first).Put(key=key, value=value, **fields).header.revision

    def txn(self, *operations):
        return self.first.Txn(success=operations).header.revision

    def revision(self):
        return self.first.Range(key=b"no such key").header.revision

    def watching(self, **fields):
        """A stream with one watch, which is created."""
        stream = Watching(fields.pop("connection", self.first))
        stream.create(**fields)
        return stream

    def keys(self, prefix):
        return [pair.key for pair in self.first.Range(key=prefix, range_end=rpc.end_of(prefix)).kvs]


class Watching:
    """A stream of watches, answer by answer."""

    def __init__(self, connection, metadata=()):
        self.requests, self.answers = queue.Queue(), queue.Queue()
        self.call = connection.watch(iter(self.requests.get, None), metadata=metadata)
        threading.Thread(target=self.pump, daemon=True).start()

    def pump(self):
        try:
            for answer in self.call:
                self.answers.put(answer)
        except grpc.RpcError as error:
            self.answers.put(error)

    def ask(self, **fields):
        self.requests.put(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(**fields)))

    def create(self, **fields):
        """The answer that says that it is created."""
        self.ask(**fields)
        answer = self.next()
        assert answer.created and not answer.canceled and not answer.events, f"{answer}"
        self.id = answer.watch_id
        return answer

    def cancel(self, id):
        self.requests.put(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=id)))

    def ask_progress(self):
        self.requests.put(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))

    def next(self, seconds=10):
        try:
            return self.answers.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no answer within {seconds} s") from None

    def events(self, count, seconds=10):
        """So many events, over however many answers."""
        found = []
        while len(found) < count:
            answer = self.next(seconds)
            assert not isinstance(answer, Exception), f"{answer!r} after {len(found)} of {count} events"
            assert answer.events and not answer.canceled, f"{answer} after {len(found)} of {count} events"
            found += answer.events
        same(len(found), count)
        return found

    def silent(self, seconds=0.2):
        try:
            answer = self.answers.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"an answer that should not be: {answer}")

    def close(self):
        self.call.cancel()


def shape(events):
    return [(event.kv.mod_revision, event.type, event.kv.key, event.kv.value) for event in events]


# One promise after the other

@case
def created(at):
    """the first answer says created, tells who answers and the revision after which the watch begins"""
    key = at.prefix("created") + b"k"
    for connection in at.connections:
        revision = at.put(key, at=connection)
        status = connection.Status().header
        stream = Watching(connection)
        answer = stream.create(key=key)
        same((answer.header.cluster_id, answer.header.member_id), (status.cluster_id, status.member_id))
        assert answer.header.revision == revision and answer.header.raft_term > 0, f"{answer}"
        same((answer.watch_id, answer.compact_revision, answer.cancel_reason, answer.fragment), (0, 0, "", False))
        revision = at.put(key, b"2")
        answer = stream.next()
        same((shape(answer.events), answer.watch_id, answer.created), ([(revision, PUT, key, b"2")], 0, False))
        same((answer.header.revision, answer.header.member_id), (revision, status.member_id))
        stream.close()


@case
def ranges(at):
    """one key, a range, a prefix, from a key on, everything"""
    prefix = at.prefix("ranges")
    streams = {name: at.watching(key=key, range_end=end) for name, key, end in (
        ("b", prefix + b"b", b""), ("b c", prefix + b"b", prefix + b"d"), ("a b bb c d", prefix, rpc.end_of(prefix)),
        ("b bb c d z", prefix + b"b", b"\0"), ("a b bb c d z", b"\0", b"\0"))}
    last = b"\xff" + prefix + b"z"
    for name in (b"a", b"b", b"bb", b"c", b"d"):
        at.put(prefix + name)
    at.put(last)
    for names, stream in streams.items():
        wanted = [name.encode() for name in (names.split() if names != "b c" else ["b", "bb", "c"])]
        found = stream.events(len(wanted))
        same([event.kv.key for event in found], [last if name == b"z" else prefix + name for name in wanted])
    for stream in streams.values():
        stream.silent(0.05)
        stream.close()


@case
def refused(at):
    """a range with nothing in it and an id twice are created and cancelled at once, and the stream lives on"""
    prefix = at.prefix("refused")
    stream = at.watching(key=prefix + b"a", watch_id=7)
    for fields, reason in (({"key": prefix + b"b", "range_end": prefix + b"a"}, "mvcc: watcher range is empty"),
                           ({"key": prefix + b"b", "range_end": prefix + b"b"}, "mvcc: watcher range is empty"),
                           ({"key": prefix + b"b", "watch_id": 7}, "mvcc: duplicate watch ID provided on the WatchStream")):
        stream.ask(**fields)
        answer = stream.next()
        same((answer.created, answer.canceled, answer.watch_id, answer.cancel_reason), (True, True, -1, reason))
    # A request with nothing in it is passed over.
    stream.requests.put(rpc.WatchRequest())
    at.put(prefix + b"b")
    revision = at.put(prefix + b"a")
    same(shape(stream.events(1)), [(revision, PUT, prefix + b"a", b"v")])
    stream.close()


@case
def ids(at):
    """chosen ids are kept, others are made up beside them, an id is free again after its watch"""
    prefix = at.prefix("ids")
    stream = at.watching(key=prefix + b"a", watch_id=1)
    given = {1: prefix + b"a"}
    for n in range(5):
        given[stream.create(key=prefix + b"%d" % n).watch_id] = prefix + b"%d" % n
    given[stream.create(key=prefix + b"z", watch_id=1 << 62).watch_id] = prefix + b"z"
    same(len(given), 7)
    assert 1 << 62 in given
    for id, key in given.items():
        at.put(key)
        answer = stream.next()
        same((answer.watch_id, answer.events[0].kv.key), (id, key))
    stream.cancel(1)
    answer = stream.next()
    same((answer.watch_id, answer.canceled, answer.created, answer.compact_revision), (1, True, False, 0))
    same(stream.create(key=prefix + b"b", watch_id=1).watch_id, 1)
    at.put(prefix + b"a")
    at.put(prefix + b"b")
    same(stream.events(1)[0].kv.key, prefix + b"b")
    stream.silent(0.05)
    stream.close()


@case
def cancel(at):
    """after cancelled nothing comes; the other watches go on; an id that is not is passed over"""
    prefix = at.prefix("cancel")
    stream = at.watching(key=prefix + b"a", watch_id=5)
    stream.create(key=prefix + b"a", watch_id=6)
    stream.cancel(99)
    stream.cancel(5)
    answer = stream.next()
    same((answer.watch_id, answer.canceled), (5, True))
    at.put(prefix + b"a")
    answer = stream.next()
    same((answer.watch_id, len(answer.events)), (6, 1))
    stream.cancel(5)
    stream.silent()
    stream.close()


@case
def history(at):
    """from every revision on, at every endpoint: all that came after, then what comes, nothing twice"""
    prefix = at.prefix("history")
    first = at.put(prefix + b"a", b"0")
    for n in range(1, 20):
        at.put(prefix + b"ab"[n % 2:n % 2 + 1], b"%d" % n)
    at.first.DeleteRange(key=prefix, range_end=rpc.end_of(prefix))
    connections = [(start, at.connections[start % len(at.connections)]) for start in range(first, first + 22)]
    streams = [at.watching(key=prefix, range_end=rpc.end_of(prefix), start_revision=start, connection=connection)
               for start, connection in connections]
    at.put(prefix + b"c", b"live")
    all_events = shape(streams[0].events(23))
    same([event[3] for event in all_events], [b"%d" % n for n in range(20)] + [b"", b"", b"live"])
    for (start, _), stream in list(zip(connections, streams))[1:]:
        wanted = [event for event in all_events if event[0] >= start]
        same(shape(stream.events(len(wanted))), wanted)
    for stream in streams:
        stream.silent(0.02)
        stream.close()


@case
def future(at):
    """a start that is still to come waits for it"""
    key = at.prefix("future") + b"k"
    revision = at.revision()
    streams = [at.watching(key=key, start_revision=revision + n, connection=at.connections[n % len(at.connections)])
               for n in range(2, 8)]
    for n in range(1, 9):
        same(at.put(key, b"%d" % n), revision + n)
    for n, stream in enumerate(streams, 2):
        same([event.kv.value for event in stream.events(9 - n)], [b"%d" % v for v in range(n, 9)])
        stream.silent(0.02)
        stream.close()


@case
def transactions(at):
    """what a transaction did comes in one answer, in the order of its requests; a change of nothing does not come"""
    prefix = at.prefix("txn")
    streams = [at.watching(key=prefix, range_end=rpc.end_of(prefix), connection=c) for c in at.connections]
    names = [b"%03d" % (n * 37 % 128) for n in range(128)]
    one = at.txn(*(rpc.put(prefix + name, b"1") for name in names))
    at.txn(rpc.delete(prefix + b"none"), rpc.RequestOp(request_range=rpc.RangeRequest(key=prefix + b"000")))
    two = at.txn(rpc.delete(prefix + b"0", range_end=prefix + b"1"), rpc.put(prefix + b"127", b"2"))
    three = at.put(prefix + b"000", b"3")
    for stream in streams:
        same(shape(stream.next().events), [(one, PUT, prefix + name, b"1") for name in names])
        same(shape(stream.next().events), [(two, DELETE, prefix + b"%03d" % n, b"") for n in range(100)]
             + [(two, PUT, prefix + b"127", b"2")])
        same(shape(stream.next().events), [(three, PUT, prefix + b"000", b"3")])
        stream.close()
    # From history too.
    stream = at.watching(key=prefix, range_end=rpc.end_of(prefix), start_revision=one)
    sizes = {}
    while three not in sizes:
        for event_revision, count in counted(stream.next()).items():
            assert event_revision not in sizes, f"revision {event_revision} came in two answers"
            sizes[event_revision] = count
    same(sizes, {one: 128, two: 101, three: 1})
    stream.close()


def counted(answer):
    counts = {}
    for event in answer.events:
        counts[event.kv.mod_revision] = counts.get(event.kv.mod_revision, 0) + 1
    return counts


@case
def key_facts(at):
    """events carry create revision, version and lease; a deletion only key and revision"""
    key = at.prefix("facts") + b"k"
    lease = at.first.LeaseGrant(TTL=60).ID
    stream = at.watching(key=key)
    first = at.put(key, b"1", lease=lease)
    at.put(key, b"2")
    at.first.DeleteRange(key=key)
    at.put(key, b"3")
    found = [(e.kv.create_revision - first, e.kv.mod_revision - first, e.kv.version, e.kv.lease) for e in stream.events(4)]
    same(found, [(0, 0, 1, lease), (0, 1, 2, 0), (-first, 2, 0, 0), (3, 3, 1, 0)])
    at.first.LeaseRevoke(ID=lease)
    stream.silent(0.1)
    stream.close()


@case
def prev_kv(at):
    """the pair before each event, of changes to come and of history; none without being asked"""
    key = at.prefix("prev") + b"k"
    first = at.put(key, b"1")
    at.put(key, b"2")
    streams = [at.watching(key=key, prev_kv=True, start_revision=first, connection=c) for c in at.connections]
    streams.append(at.watching(key=key, start_revision=first))
    at.txn(rpc.delete(key))
    at.put(key, b"3")
    wanted = [None, (b"1", first, first, 1), (b"2", first, first + 1, 2), None]
    for stream in streams:
        found = [(e.prev_kv.value, e.prev_kv.create_revision, e.prev_kv.mod_revision, e.prev_kv.version)
                 if e.HasField("prev_kv") else None for e in stream.events(4)]
        same(found, wanted if stream is not streams[-1] else [None] * 4)
        stream.close()


@case
def filters(at):
    """NOPUT, NODELETE, both"""
    prefix = at.prefix("filters")
    start = at.revision() + 1
    streams = [at.watching(key=prefix, range_end=rpc.end_of(prefix), filters=f, start_revision=start)
               for f in ([NOPUT], [NODELETE], [NOPUT, NODELETE])]
    at.put(prefix + b"a")
    at.txn(rpc.delete(prefix + b"a"), rpc.put(prefix + b"b", b"v"))
    same([(e.type, e.kv.key) for e in streams[0].events(1)], [(DELETE, prefix + b"a")])
    same([(e.type, e.kv.key) for e in streams[1].events(2)], [(PUT, prefix + b"a"), (PUT, prefix + b"b")])
    for stream in streams:
        stream.silent(0.1)
        stream.close()


@case
def fragment(at):
    """answers above the limit of a request come in fragments where that was asked for, else whole"""
    prefix = at.prefix("fragment")
    value = b"v" * 450_000
    first = at.txn(*(rpc.put(prefix + b"%d" % n, value) for n in range(3)))
    second = at.txn(*(rpc.put(prefix + b"%d" % n, value + b"2") for n in range(3)))
    wanted = [(first, prefix + b"%d" % n) for n in range(3)] + [(second, prefix + b"%d" % n) for n in range(3)]
    for fragments in (True, False):
        stream = at.watching(key=prefix, range_end=rpc.end_of(prefix), start_revision=first, prev_kv=True, fragment=fragments)
        found, answers = [], []
        while len(found) < 6:
            answer = stream.next()
            answers.append(answer)
            found += answer.events
        same([(event.kv.mod_revision, event.kv.key) for event in found], wanted)
        same([len(event.prev_kv.value) for event in found], [0, 0, 0, 450_000, 450_000, 450_000])
        flags = [answer.fragment for answer in answers]
        if fragments:
            # With what was before, the second transaction is 2.7 MB.
            assert True in flags and flags[-1] is False, flags
            sizes = [answer.ByteSize() for answer in answers]
            assert max(sizes) < 2_200_000, f"fragments of {sizes} bytes"
        else:
            assert True not in flags, flags
            same(sorted(revision for answer in answers for revision in counted(answer)), [first, second])
        stream.silent(0.05)
        stream.close()
    at.first.DeleteRange(key=prefix, range_end=rpc.end_of(prefix))


@case
def progress_request(at):
    """a progress request is answered for the whole stream, with a revision whose events have all come"""
    prefix = at.prefix("progress")
    for connection in at.connections:
        stream = Watching(connection)
        for n in range(3):
            stream.create(key=prefix + b"%d" % n)
        revision = at.put(prefix + b"1", at=connection)
        stream.events(1)
        at.put(b"elsewhere" + prefix, at=connection)

        def answered():
            # An answer may be left out while a watch still catches up.
            stream.ask_progress()
            answer = stream.next()
            same((answer.watch_id, len(answer.events), answer.created, answer.canceled), (-1, 0, False, False))
            return answer.header.revision >= revision + 1
        wait_for("progress to the last revision", answered)
        stream.close()


@case
def progress_notify(at):
    """watches that asked for it are told of progress now and then, and only they"""
    key = at.prefix("notify") + b"k"
    stream = at.watching(key=key, progress_notify=True, watch_id=3)
    other = at.watching(key=key)
    revision = at.put(key)
    stream.events(1)
    other.events(1)
    if at.progress_seconds:
        # With nothing to tell, of both how it is and of what was written elsewhere.
        for n in (1, 2):
            answer = stream.next(3 * at.progress_seconds + 3)
            same((answer.watch_id, len(answer.events), answer.created), (3, 0, False))
            assert answer.header.revision >= revision, f"{answer}"
            revision = at.put(b"elsewhere" + key)
    other.silent(0.1)
    stream.close()
    other.close()


@case
def compacted(at):
    """a start below the compacted revision is cancelled with that revision; at it, all is there"""
    key = at.prefix("compacted") + b"k"
    first = at.put(key, b"1")
    for n in (2, 3, 4):
        at.put(key, b"%d" % n)
    at.first.Compact(revision=first + 2)
    for connection in at.connections:
        wait_for("the revision", lambda: connection.Range(key=key).kvs[0].value == b"4")
        for start in (1, first, first + 1):
            stream = Watching(connection)
            stream.ask(key=key, start_revision=start, watch_id=4)
            answer = stream.next()
            # Some servers say both in one answer.
            if not answer.canceled:
                same((answer.created, answer.watch_id), (True, 4))
                answer = stream.next()
            same((answer.canceled, answer.compact_revision, len(answer.events)), (True, first + 2, 0))
            assert answer.watch_id in (4, -1) and answer.cancel_reason in ("", COMPACTED), f"{answer}"
            # The stream lives on, and goes on from there.
            stream.create(key=key, start_revision=answer.compact_revision)
            same([event.kv.value for event in stream.events(2)], [b"3", b"4"])
            stream.close()


@case
def compaction_goes_on(at):
    """watches that keep up are not hurt by compactions"""
    prefix = at.prefix("compaction")
    streams = [at.watching(key=prefix, range_end=rpc.end_of(prefix), prev_kv=n > 0, connection=c)
               for n, c in enumerate(at.connections)]
    for n in range(60):
        revision = at.put(prefix + b"k", b"%d" % n)
        if n % 10 == 9:
            for stream in streams:
                same([event.kv.value for event in stream.events(10)], [b"%d" % v for v in range(n - 9, n + 1)])
            at.first.Compact(revision=revision, physical=n % 20 == 9)
    for stream in streams:
        stream.silent(0.02)
        stream.close()


@case
def stalled_reader(at):
    """a reader that stalls for 8 MB gets all, or is told where to go on after a compaction; others never wait for it"""
    prefix = at.prefix("stalled")
    stalled = rpc.Connection(at.endpoints[0])
    start = at.revision() + 1
    request = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
        key=prefix, range_end=rpc.end_of(prefix), start_revision=start))
    call = stalled.watch(iter([request]))
    assert next(call).created
    reader = at.watching(key=prefix, range_end=rpc.end_of(prefix))
    for n in range(400):
        last = at.put(prefix + b"k", b"%d " % n + b"v" * 20_000)
        if n % 100 == 99:
            reader.events(100, 5)
    at.first.Compact(revision=last)
    expected, ended = start, None
    while expected <= last and not ended:
        answer = next(call)
        if answer.canceled:
            same((answer.compact_revision, len(answer.events)), (last, 0))
            ended = answer
        for event in answer.events:
            same(event.kv.mod_revision, expected)
            expected += 1
    call.cancel()
    if ended:
        again = at.watching(key=prefix, range_end=rpc.end_of(prefix), start_revision=ended.compact_revision)
        same(again.events(1)[0].kv.mod_revision, last)
        again.close()
    print(f"      it got {expected - start} of 400 events{', then was cancelled' if ended else ''}")
    reader.close()
    stalled.close()


@case
def lease_end(at):
    """the keys of a lease that is revoked or expires go in one revision, in one answer, in order"""
    prefix = at.prefix("lease")
    names = [prefix + b"%d" % n for n in (3, 1, 2)]
    for ends_itself in (False, True):
        lease = at.first.LeaseGrant(TTL=1 if ends_itself else 60)
        for name in names:
            revision = at.put(name, lease=lease.ID)
        streams = [at.watching(key=prefix, range_end=rpc.end_of(prefix), prev_kv=True, start_revision=revision + 1,
                               connection=c) for c in at.connections]
        if not ends_itself:
            at.first.LeaseRevoke(ID=lease.ID)
        for stream in streams:
            answer = stream.next(lease.TTL + 8 if ends_itself else 10)
            same(shape(answer.events), [(revision + 1, DELETE, name, b"") for name in sorted(names)])
            same([event.prev_kv.lease for event in answer.events], [lease.ID] * 3)
            stream.close()


@case
def half_closed(at):
    """a client that has no more requests goes on getting events"""
    key = at.prefix("half") + b"k"
    request = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=key))
    call = at.first.watch(iter([request]))
    assert next(call).created
    time.sleep(0.1)
    for n in range(3):
        at.put(key, b"%d" % n)
        same(next(call).events[0].kv.value, b"%d" % n)
    call.cancel()


@case
def many(at):
    """500 watches on one stream, then 100 streams on one connection: each gets each event once"""
    key = at.prefix("many") + b"k"
    stream, found = Watching(at.first), {}
    for _ in range(500):
        stream.ask(key=key)
    for _ in range(500):
        answer = stream.next()
        assert answer.created and answer.watch_id not in found, f"{answer}"
        found[answer.watch_id] = []
    first = at.put(key)
    for _ in range(4):
        at.put(key)
    for _ in range(2500):
        answer = stream.next()
        found[answer.watch_id] += [event.kv.mod_revision for event in answer.events]
        if sum(map(len, found.values())) == 2500:
            break
    same({tuple(revisions) for revisions in found.values()}, {tuple(range(first, first + 5))})
    stream.close()
    # Python reads each stream in a thread of its own.
    streams = [at.watching(key=key) for _ in range(100)]
    revisions = [at.put(key, at=at.last) for _ in range(5)]
    for stream in streams:
        same([event.kv.mod_revision for event in stream.events(5)], revisions)
        stream.close()


# Locks

@lock_case
def lock(at):
    """the key is the name and the lease, its create revision the token; again under the same lease is the same lock"""
    name, lease = at.prefix("lock") + b"name", at.first.LeaseGrant(TTL=20).ID
    answer = at.first.Lock(name=name, lease=lease)
    same(answer.key, name + b"/%x" % lease)
    pair = at.last.Range(key=answer.key).kvs[0]
    same((pair.lease, pair.create_revision, pair.value), (lease, answer.header.revision, b""))
    same(at.last.Lock(name=name, lease=lease).key, answer.key)
    same(at.first.Range(key=answer.key).kvs[0].create_revision, pair.create_revision)
    at.last.Unlock(key=answer.key)
    same(at.keys(name), [])
    again = at.first.Lock(name=name, lease=lease)
    assert at.first.Range(key=again.key).kvs[0].create_revision > pair.create_revision
    # Unlocked is a key that is gone: also when its lease went.
    at.first.LeaseRevoke(ID=lease)
    same(at.keys(name), [])
    at.first.Unlock(key=again.key)


@lock_case
def lock_without_lease(at):
    """with no lease the server makes one; with one that is not there it refuses"""
    name = at.prefix("nolease") + b"name"
    key = at.first.Lock(name=name).key
    pair = at.first.Range(key=key).kvs[0]
    assert pair.lease and key == name + b"/%x" % pair.lease, f"{pair}"
    at.first.LeaseRevoke(ID=pair.lease)
    same(at.keys(name), [])
    try:
        at.first.Lock(name=name, lease=0x7fffffff12345678)
        raise AssertionError("a lock under a lease that is not there")
    except grpc.RpcError as error:
        assert "requested lease not found" in error.details(), error
    same(at.keys(name), [])


@lock_case
def lock_queue(at):
    """waiters get it in the order in which they came, through whatever endpoint, each when the one before gave it back"""
    name = at.prefix("queue") + b"name"
    leases, calls, tokens = [], [], []
    for n in range(6):
        leases.append(at.first.LeaseGrant(TTL=30).ID)
        calls.append(at.connections[n % len(at.connections)].start("Lock", name=name, lease=leases[-1]))
        wait_for("its key", lambda: len(at.keys(name)) == n + 1)
    for n, call in enumerate(calls):
        key = call.result(10).key
        time.sleep(0.03)
        same([other.done() for other in calls], [other <= n for other in range(6)])
        tokens.append(at.first.Range(key=key).kvs[0].create_revision)
        if n % 2:
            at.first.LeaseRevoke(ID=leases[n])
        else:
            at.connections[n % len(at.connections)].Unlock(key=key)
    same(tokens, sorted(set(tokens)))
    same(at.keys(name), [])


@lock_case
def lock_waiter_leaves(at):
    """a waiter that goes away leaves no key, though its lease lives; the next in the queue is not held up"""
    name = at.prefix("leaves") + b"name"
    leases = [at.first.LeaseGrant(TTL=30).ID for _ in range(4)]
    holder = at.first.Lock(name=name, lease=leases[0])
    cancelled = at.first.start("Lock", name=name, lease=leases[1])
    wait_for("its key", lambda: len(at.keys(name)) == 2)
    gone = rpc.Connection(at.endpoints[-1])
    # A call that nothing refers to any more would be cancelled.
    call = gone.start("Lock", name=name, lease=leases[2])
    wait_for("its key", lambda: len(at.keys(name)) == 3)
    last = at.last.start("Lock", name=name, lease=leases[3])
    wait_for("its key", lambda: len(at.keys(name)) == 4)
    assert not cancelled.done() and not call.done()
    cancelled.cancel()
    gone.close()
    wait_for(lambda: f"only the holder's and the last waiter's; there are {at.keys(name)}", lambda: len(at.keys(name)) == 2)
    assert not last.done()
    at.first.Unlock(key=holder.key)
    same(last.result(5).key, name + b"/%x" % leases[3])
    at.first.Unlock(key=last.result().key)
    # A deadline is a way to go, too.
    holder = at.first.Lock(name=name, lease=leases[0])
    late = at.last.start("Lock", 0.3, name=name, lease=leases[1])
    wait_for("its end", late.done)
    # Whoever sees it first says it: etcd's words for it are of code UNKNOWN.
    assert late.code().name in ("DEADLINE_EXCEEDED", "UNKNOWN"), late.code()
    wait_for("only the holder's key", lambda: at.keys(name) == [holder.key])
    for lease in leases:
        at.first.LeaseRevoke(ID=lease)


@lock_case
def lock_waiter_loses_lease(at):
    """a waiter whose lease ends never gets the lock"""
    name = at.prefix("loses") + b"name"
    one, two = (at.first.LeaseGrant(TTL=30).ID for _ in range(2))
    holder = at.first.Lock(name=name, lease=one)
    waiter = at.last.start("Lock", name=name, lease=two)
    wait_for("two keys", lambda: len(at.keys(name)) == 2)
    at.first.LeaseRevoke(ID=two)
    time.sleep(0.2)
    assert not waiter.done() or waiter.exception(), "it got the lock while another holds it"
    at.first.Unlock(key=holder.key)
    wait_for("its answer", waiter.done)
    assert waiter.exception(), f"it got {waiter.result().key} under a lease that is over"
    same(at.keys(name), [])
    at.first.LeaseRevoke(ID=one)


@lock_case
def lock_holder_expires(at):
    """a holder that is silent loses the lock when its lease ends, and not before"""
    name = at.prefix("expires") + b"name"
    sent = time.monotonic()
    answer = at.first.LeaseGrant(TTL=1)
    holder, other = at.first.Lock(name=name, lease=answer.ID), at.first.LeaseGrant(TTL=30).ID
    waiter = at.last.start("Lock", name=name, lease=other)
    waiter.result(answer.TTL + 8)
    assert time.monotonic() - sent >= answer.TTL, f"after {time.monotonic() - sent:.2f} s, not {answer.TTL}"
    same(at.keys(name), [waiter.result().key])
    assert at.first.Txn(compare=[rpc.Compare(target=rpc.CREATE, key=holder.key, create_revision=holder.header.revision)],
                        success=[rpc.put(name + b"guarded", b"v")]).succeeded is False
    at.first.LeaseRevoke(ID=other)


# With members to take away

@fabric_case
def lost_quorum(at, fabric):
    """without a quorum, a watch that needs a leader ends; one that does not, waits, and misses nothing"""
    key = at.prefix("quorum") + b"k"
    alive, others = fabric.members[0], fabric.members[1:]
    needing = Watching(at.first, [("hasleader", "true")])
    needing.create(key=key)
    waiting = at.watching(key=key)
    at.put(key, b"1")
    needing.events(1)
    waiting.events(1)
    for member in others:
        member.process.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        error = needing.next(45)
        assert isinstance(error, grpc.RpcError), f"{error}"
        same((error.code().name, error.details()), ("UNAVAILABLE", "etcdserver: no leader"))
        print(f"      it ended after {time.monotonic() - begin:.1f} s")
        # Nor may one begin now.
        refused = Watching(at.first, [("hasleader", "true")])
        refused.ask(key=key)
        error = refused.next()
        assert isinstance(error, grpc.RpcError) and error.details() == "etcdserver: no leader", f"{error}"
        waiting.silent(0.1)
    finally:
        for member in others:
            member.process.send_signal(signal.SIGCONT)
    alive.wait_healthy()
    wait_for("a write", lambda: tried(at, key))
    values = []
    while not values or values[-1] != b"2":
        values += [event.kv.value for event in waiting.events(1)]
    waiting.close()


@fabric_case
def stopped_member(at, fabric):
    """a member that is stopped ends its watches with a status that tells clients to go elsewhere"""
    member = fabric.members[-1]
    connection = rpc.Connection(member.client_url)
    watching = Watching(connection)
    watching.create(key=at.prefix("stopped"))
    code = member.stop()
    error = watching.next()
    assert isinstance(error, grpc.RpcError), f"{error}"
    same((code, error.code().name, error.details()), (0, "UNAVAILABLE", "etcdserver: server stopped"))
    connection.close()
    member.start()
    member.wait_healthy()


def tried(at, key):
    try:
        return at.put(key, b"2")
    except grpc.RpcError:
        return None


def swallowed(fabric):
    """Longer than a connection to a peer is kept that acknowledges nothing."""
    for cut_off in fabric.members:
        fabric.isolate(cut_off)
        time.sleep(8)
        fabric.heal()
        for member in fabric.members:
            member.wait_healthy(15)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="of load with nothing disturbed")
    parser.add_argument("--strikes-seconds", type=float, default=12, help="of load while members are killed and paused")
    parser.add_argument("--partition-seconds", type=float, default=20, help="of load while members are cut off from others")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--progress-seconds", type=float, default=None, help="how often the servers tell of progress")
    options = parser.parse_args()
    flags, every = FLAGS, options.progress_seconds
    if options.where == "etcd":
        flags, every = [*FLAGS, "--experimental-watch-progress-notify-interval", "1s"], 1
    elif every:
        flags = [*FLAGS, "--watch-progress-notify-interval", f"{every:.0f}s"]
    storm.self_test()
    report = Report()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    with servers(options.where, flags) as (endpoints, fabric):
        at = At(endpoints, every)
        case.run(report, options.only, "watch", at)
        lock_case.run(report, options.only, "lock", at)
        if options.only in "load" and options.seconds:
            run(endpoints, options.seconds, None, seed, report)
        if fabric:
            fabric_case.run(report, options.only, "fabric", at, fabric)
            if options.only in "strikes" and options.strikes_seconds:
                run(endpoints, options.strikes_seconds, storm.strikes(fabric, seed), seed, report)
    if os.path.isfile(options.where) and options.only in "partitions" and options.partition_seconds:
        if namespaces.available():
            with namespaces.IsolatedFabric(options.where, 3, flags) as fabric:
                endpoints = [member.client_url for member in fabric.members]
                report.run("a route that swallows everything for a while ends no member", lambda: swallowed(fabric))
                run(endpoints, options.partition_seconds, storm.partitions(fabric, seed), seed, report)
        else:
            print("left out: this machine lets nobody make network namespaces, so no member can be cut off")
    report.finish()


if __name__ == "__main__":
    main()
