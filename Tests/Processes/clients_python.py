#!/usr/bin/env python3
"""Two unmodified Python clients: etcd3 over gRPC, and etcd3gw over the JSON gateway.

    clients_python.py WHERE [--only NAME]

WHERE is as in clients.py. Each case has keys of its own. Revisions are computed from the one a case begins at, so nobody
else may write meanwhile. One case is left out for `etcd`, which fails it: pings on a connection with no call open.
"""
import concurrent.futures
import hashlib
import io
import queue
import secrets
import threading
import time

import clients

if __name__ == "__main__":
    clients.use_python_clients(PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")

import etcd3
import etcd3.exceptions
import grpc

import clients_gateway
from clients import Cases, Events, arguments, host_and_port, prefix, raised, same, servers, wait_for
from harness import Report, free_port

rpc = Cases()


class Rpc:
    """etcd3 clients, one for each endpoint; the first is meant when none is named."""

    def __init__(self, endpoints):
        self.endpoints = endpoints
        self.clients = [self.another(endpoint) for endpoint in endpoints]
        self.first = self.clients[0]

    def another(self, endpoint=None, **options):
        host, port = host_and_port(endpoint or self.endpoints[0])
        return etcd3.client(host, port, timeout=options.pop("timeout", 10), **options)

    def close(self):
        for client in self.clients:
            client.close()


def shape(event):
    """What an etcd3 event says, as a tuple: put or delete, key, value, revision."""
    assert not isinstance(event, (Exception, type(None))), f"{event!r} instead of an event"
    kind = "put" if isinstance(event, etcd3.events.PutEvent) else "delete"
    return kind, event.key.decode(), event.value.decode(), event.mod_revision


@rpc
def put_get(at):
    """put, get, prev_kv, metadata, bytes of every kind"""
    key = prefix("put") + "k"
    same(at.first.get(key), (None, None))
    first = at.first.put(key, "one").header.revision
    answer = at.first.put(key, b"\x00\xff", prev_kv=True)
    same((answer.prev_kv.value, answer.prev_kv.mod_revision, answer.header.revision), (b"one", first, first + 1))
    for client in at.clients:
        value, about = client.get(key)
        same((value, about.key, about.create_revision, about.mod_revision, about.version, about.lease_id),
             (b"\x00\xff", key.encode(), first, first + 1, 2, 0))
        assert about.response_header.revision == first + 1 and about.response_header.raft_term > 0
    everything = bytes(range(256))
    at.first.put(key.encode() + everything, everything * 100)
    same(at.first.get(key.encode() + everything)[0], everything * 100)
    at.first.put(key, "")
    same(at.first.get(key)[0], b"")
    same(at.first.get(key, serializable=True)[0], b"")


@rpc
def ranges(at):
    """get_prefix, get_range, get_all, their orders, keys_only"""
    keys = prefix("ranges")
    for name, value in (("a", "3"), ("b", "1"), ("c", "3"), ("a", "5"), ("c", "2"), ("a", "4")):
        at.first.put(keys + name, value)

    def read(**options):
        return "".join(about.key.decode()[-1] for _, about in at.first.get_prefix(keys, **options))
    same((read(), read(sort_order="descend")), ("abc", "cba"))
    same([read(sort_order="ascend", sort_target=target) for target in ("key", "version", "create", "mod", "value")],
         ["abc", "bca", "abc", "bca", "bca"])
    same([value for value, _ in at.first.get_prefix(keys, keys_only=True)], [b"", b"", b""])
    same([value for value, _ in at.first.get_range(keys + "a", keys + "c")], [b"4", b"1"])
    everything = [about.key for _, about in at.first.get_all()]
    assert everything == sorted(everything) and (keys + "c").encode() in everything
    same(at.first.get_prefix_response(keys).count, 3)


@rpc
def delete(at):
    """delete, its previous pair, delete_prefix, replace, put_if_not_exists"""
    keys = prefix("delete")
    same(at.first.delete(keys + "a"), False)
    at.first.put(keys + "a", "1")
    answer = at.first.delete(keys + "a", prev_kv=True, return_response=True)
    same((answer.deleted, answer.prev_kvs[0].value), (1, b"1"))
    same([at.first.put_if_not_exists(keys + "b", "1"), at.first.put_if_not_exists(keys + "b", "2")], [True, False])
    same([at.first.replace(keys + "b", "2", "3"), at.first.replace(keys + "b", "1", "3")], [False, True])
    at.first.put(keys + "c", "1")
    same(at.first.delete_prefix(keys).deleted, 2)
    same(list(at.first.get_prefix(keys)), [])


@rpc
def transaction(at):
    """every compare, ranges of compares, nested transactions, all kinds of answers"""
    t, keys = at.first.transactions, prefix("txn")
    created = at.first.put(keys + "a", "1").header.revision
    at.first.put(keys + "a", "2")
    a, none = keys + "a", keys + "none"
    for compare, holds in (
            (t.value(a) == "2", True), (t.value(a) != "2", False), (t.value(a) < "3", True), (t.value(a) > "2", False),
            (t.version(a) == 2, True), (t.version(a) > 2, False), (t.create(a) == created, True),
            (t.create(a) < created, False), (t.mod(a) == created + 1, True), (t.mod(a) != created + 1, False),
            (t.version(none) == 0, True), (t.create(none) > 0, False), (t.value(none) == "", False),
            # Of a range, every key must hold; of none, any does.
            (t.mod(keys, range_end=keys + "\xff") == created + 1, True),
            (t.mod(keys, range_end=keys + "\xff") > created + 1, False)):
        same(at.first.transaction([compare], [t.get(a)], [])[0], holds, str(compare))
    done, answers = at.first.transaction(
        [t.version(a) > 0, t.value(a) == "2"],
        [t.put(keys + "b", "1", prev_kv=True), t.get(keys + "a"), t.delete(a, prev_kv=True),
         # The compares inside see what was before the whole transaction, the requests what it has done so far.
         t.txn([t.version(a) == 2], [t.put(keys + "c", "nested"), t.get(keys + "b"), t.get(a)], [t.put(keys + "d", "not")])],
        [t.put(keys + "e", "not")])
    same(done, True)
    same(answers[0].response_put.prev_kv.key, b"")
    same(answers[1][0][0], b"2")
    same((answers[2].response_delete_range.deleted, answers[2].response_delete_range.prev_kvs[0].value), (1, b"2"))
    inner = answers[3].response_txn
    same((inner.succeeded, [answer.WhichOneof("response") for answer in inner.responses]),
         (True, ["response_put", "response_range", "response_range"]))
    same((inner.responses[1].response_range.kvs[0].value, inner.responses[2].response_range.count), (b"1", 0))
    pairs = [(about.key.decode()[-1], value, about.mod_revision) for value, about in at.first.get_prefix(keys)]
    same(pairs, [("b", b"1", created + 2), ("c", b"nested", created + 2)])
    same(at.first.transaction([t.version(a) > 0], [], [t.get(keys + "b"), t.get(keys + "none")])[1][1], [])


@rpc
def refused(at):
    """errors have etcd's codes and words"""
    keys, t = prefix("refused"), at.first.transactions
    error = raised(grpc.RpcError, at.first.put, "", "v")
    same((error.code().name, error.details()), ("INVALID_ARGUMENT", "etcdserver: key is not provided"))
    error = raised(grpc.RpcError, at.first.put, keys + "k", "v", lease=1234)
    same((error.code().name, error.details()), ("NOT_FOUND", "etcdserver: requested lease not found"))
    error = raised(grpc.RpcError, at.first.transaction, [], [t.put(keys, "1"), t.put(keys, "2")], [])
    same((error.code().name, error.details()), ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request"))
    error = raised(grpc.RpcError, at.first.put, keys + "k", "v" * 1_600_000)
    same((error.code().name, error.details()), ("INVALID_ARGUMENT", "etcdserver: request is too large"))
    error = raised(grpc.RpcError, at.first.put, keys + "k", "v" * 5_000_000)
    same(error.code().name, "RESOURCE_EXHAUSTED")
    error = raised(grpc.RpcError, at.first.compact, 1 << 40)
    same((error.code().name, error.details()), ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"))
    error = raised(grpc.RpcError, at.first.revoke_lease, 1234)
    same((error.code().name, error.details()), ("NOT_FOUND", "etcdserver: requested lease not found"))
    error = raised(grpc.RpcError, at.first.remove_member, 1234)
    same((error.code().name, error.details()), ("NOT_FOUND", "etcdserver: member not found"))
    for service in ("etcdserverpb.KV/Nothing", "no.such.Service/Nothing"):
        call = at.first.channel.unary_unary(f"/{service}")
        same(raised(grpc.RpcError, call, b"", timeout=5).code().name, "UNIMPLEMENTED", service)
    same(raised(grpc.RpcError, at.first.channel.unary_unary("/etcdserverpb.KV/Range"), b"\xff\xff\xff", timeout=5).code().name,
         "INTERNAL", "a message that is none:")
    # The connection lives on after all that.
    at.first.put(keys + "k", "v")


@rpc
def many_at_once(at):
    """64 requests in flight on one connection, each with its own answer"""
    keys = prefix("many")
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda n: at.first.put(f"{keys}{n:04}", str(n) * 100).header.revision, range(600)))
        same(len(set(answers)), 600)
        values = list(pool.map(lambda n: at.clients[n % len(at.clients)].get(f"{keys}{n:04}")[0], range(600)))
    same(values, [b"%d" % n * 100 for n in range(600)])
    at.first.delete_prefix(keys)


@rpc
def large_answers(at):
    """a range of 24 MB comes whole"""
    keys, value = prefix("large"), b"v" * 1_200_000
    big = at.another(grpc_options=[("grpc.max_receive_message_length", 64 << 20)])
    for n in range(20):
        big.put(f"{keys}{n:02}", value)
    same([len(value) for value, _ in big.get_prefix(keys)], [1_200_000] * 20)
    big.close()
    at.first.delete_prefix(keys)


@rpc
def lease(at):
    """grant with an id, refresh, keys, remaining time, revoke"""
    keys = prefix("lease")
    lease = at.first.lease(60, secrets.randbits(62))
    error = raised(etcd3.exceptions.PreconditionFailedError, at.first.lease, 60, lease.id)
    assert error, "a lease id twice"
    at.first.put(keys + "a", "1", lease=lease)
    at.first.put(keys + "b", "1", lease=lease.id)
    same((lease.ttl, lease.granted_ttl, sorted(lease.keys)), (60, 60, [f"{keys}a".encode(), f"{keys}b".encode()]))
    assert 50 <= lease.remaining_ttl <= 60, lease.remaining_ttl
    same(at.first.get(keys + "a")[1].lease_id, lease.id)
    for client in at.clients:
        same([(answer.ID, answer.TTL) for answer in client.refresh_lease(lease.id)], [(lease.id, 60)])
    before = at.first.get(keys + "a")[1].response_header.revision
    lease.revoke()
    same(list(at.first.get_prefix(keys)), [])
    same(at.first.get(keys)[1], None)
    same(at.first.put(keys, "v").header.revision, before + 2)
    # After its end: no time is left, and a refresh is answered with none.
    same((lease.remaining_ttl, lease.granted_ttl, [answer.TTL for answer in lease.refresh()]), (-1, 0, [0]))
    assert at.first.lease(60).id != at.first.lease(60).id


@rpc
def lease_expires(at):
    """refreshed it lives, left alone it ends with its keys"""
    key = prefix("expires") + "k"
    lease = at.first.lease(2)
    at.first.put(key, "v", lease=lease)
    for _ in range(4):
        time.sleep(0.7)
        lease.refresh()
    same(at.first.get(key)[0], b"v")
    refreshed = time.monotonic()
    wait_for("the key's end", lambda: at.first.get(key)[0] is None, lease.ttl + 8)
    assert time.monotonic() - refreshed > lease.ttl - 1.1, "it ended too early"


@rpc
def lease_moves(at):
    """a key that was put anew without its lease, or with another, outlives the first lease"""
    keys, one, two = prefix("moves"), at.first.lease(60), at.first.lease(60)
    for name in "abc":
        at.first.put(keys + name, "1", lease=one)
    at.first.put(keys + "b", "2")
    at.first.put(keys + "c", "2", lease=two)
    same(list(one.keys), [f"{keys}a".encode()])
    one.revoke()
    same([about.key.decode()[-1] for _, about in at.first.get_prefix(keys)], ["b", "c"])
    two.revoke()
    same([about.key.decode()[-1] for _, about in at.first.get_prefix(keys)], ["b"])


@rpc
def keep_alive_stream(at):
    """many refreshes of several leases over one stream, answered in order"""
    leases = [at.first.lease(30 + n) for n in range(5)]
    ids = [leases[n % 5].id for n in range(50)]
    requests = iter([etcd3.etcdrpc.LeaseKeepAliveRequest(ID=id) for id in ids])
    answers = list(at.first.leasestub.LeaseKeepAlive(requests, 10))
    same([(answer.ID, answer.TTL) for answer in answers], [(ids[n], 30 + n % 5) for n in range(50)])
    for lease in leases:
        lease.revoke()


@rpc
def watch_key(at):
    """a watch of one key: puts and deletes in order, and nothing else; cancel ends it"""
    keys = prefix("watch")
    iterator, cancel = at.first.watch(keys + "k")
    events = Events(iterator)
    revision = at.clients[-1].put(keys + "k", "1").header.revision
    at.first.put(keys + "kk", "not this")
    at.first.put(keys + "k", "2")
    at.first.delete(keys + "k")
    same([shape(event) for event in events.take(3)],
         [("put", keys + "k", "1", revision), ("put", keys + "k", "2", revision + 2), ("delete", keys + "k", "", revision + 3)])
    cancel()
    same(events.next(), None)
    at.first.put(keys + "k", "3")
    same(events.queue.empty(), True)


@rpc
def watch_prefix_with_history(at):
    """start_revision in the past, with previous pairs, going over into what comes"""
    keys = prefix("history")
    revision = at.first.put(keys + "a", "1").header.revision
    at.first.put(keys + "b", "1")
    at.first.put(keys + "a", "2")
    for client in at.clients:
        iterator, cancel = client.watch_prefix(keys, start_revision=revision + 1, prev_kv=True)
        events = Events(iterator)
        event = events.next()
        same((shape(event), event.prev_key), (("put", keys + "b", "1", revision + 1), b""))
        event = events.next()
        same((shape(event), event.prev_value, event.prev_mod_revision),
             (("put", keys + "a", "2", revision + 2), b"1", revision))
        new = client.delete(keys + "a", return_response=True).header.revision
        event = events.next()
        same((shape(event), event.prev_value, event.create_revision), (("delete", keys + "a", "", new), b"2", 0))
        client.put(keys + "a", "2")
        events.next()
        cancel()
        same(events.next(), None)
        # As it was, for the next client.
        revision, keys = renewed(at.first)


def renewed(client):
    keys = prefix("history")
    revision = client.put(keys + "a", "1").header.revision
    client.put(keys + "b", "1")
    client.put(keys + "a", "2")
    return revision, keys


@rpc
def watch_transaction(at):
    """a transaction's events come in one response, in the order of its requests"""
    keys, t = prefix("watchtxn"), at.first.transactions
    iterator, cancel = at.first.watch_prefix_response(keys)
    responses = Events(iterator)
    at.first.transaction([], [t.put(keys + "c", "1"), t.put(keys + "a", "1"), t.put(keys + "b", "1"), t.get(keys + "a")], [])
    at.first.transaction([], [t.delete(keys, range_end=keys + "\x7f"), t.put(keys[:-1], "outside")], [])
    response = responses.next()
    same([(event.key.decode()[-1], event.mod_revision) for event in response.events],
         [(name, response.header.revision) for name in "cab"])
    same([shape(event)[:2] for event in responses.next().events], [("delete", keys + name) for name in "abc"])
    cancel()


@rpc
def watch_many(at):
    """100 watches on one stream, each with its own events; watch_once and its time limit"""
    keys, seen = prefix("watchmany"), queue.Queue()
    ids = [at.first.add_watch_callback(f"{keys}{n}", lambda response, n=n: seen.put((n, response))) for n in range(100)]
    same(len(set(ids)), 100)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: at.clients[n % len(at.clients)].put(f"{keys}{n}", str(n)), range(100)))
    found = {}
    for _ in range(100):
        n, response = seen.get(timeout=10)
        same([(event.key.decode(), event.value.decode()) for event in response.events], [(f"{keys}{n}", str(n))])
        found[n] = True
    same(len(found), 100)
    for watch_id in ids:
        at.first.cancel_watch(watch_id)
    raised(etcd3.exceptions.WatchTimedOut, at.first.watch_once, keys + "none", 0.2)
    threading.Timer(0.2, at.clients[-1].put, (keys + "once", "v")).start()
    same(at.first.watch_once(keys + "once", 10).value, b"v")
    threading.Timer(0.2, at.clients[-1].put, (keys + "once", "v")).start()
    same(at.first.watch_prefix_once(keys, 10).value, b"v")


@rpc
def compact(at):
    """reads and watches of what was compacted fail with the compacted revision"""
    key = prefix("compact") + "k"
    revision = at.first.put(key, "1").header.revision
    at.first.put(key, "2")
    at.first.compact(revision + 1, physical=True)
    error = raised(grpc.RpcError, at.first.compact, revision + 1)
    same((error.code().name, error.details()), ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"))
    for client in at.clients:
        client.get(key)
        iterator, _ = client.watch(key, start_revision=revision)
        error = Events(iterator).next()
        assert isinstance(error, etcd3.exceptions.RevisionCompactedError), error
        same(error.compacted_revision, revision + 1)
        iterator, cancel = client.watch(key, start_revision=revision + 1)
        same(shape(Events(iterator).next())[2], "2")
        cancel()


@rpc
def lock(at):
    """etcd3's lock: one holder, time limits, refresh, release"""
    name = prefix("lock")
    one, two = at.first.lock(name, ttl=20), at.clients[-1].lock(name, ttl=20)
    same((one.acquire(timeout=5), one.is_acquired(), two.is_acquired()), (True, True, False))
    same(two.acquire(timeout=1), False)
    same([answer.TTL for answer in one.refresh()], [20])
    threading.Timer(0.5, one.release).start()
    same((two.acquire(timeout=10), two.is_acquired(), one.release()), (True, True, False))
    same(two.release(), True)
    with at.first.lock(name, ttl=20) as third:
        same(third.is_acquired(), True)
    same(third.is_acquired(), False)


@rpc
def lock_counts(at):
    """a counter that is raised without a compare, but under a lock, loses nothing"""
    name, key, rounds = prefix("lockcounts"), prefix("lockcounts") + "counter", 8
    at.first.put(key, "0")

    def count(client):
        lock = client.lock(name, ttl=20)
        for _ in range(rounds):
            # The client now and then waits for a release that it missed, with etcd too: then it tries again.
            assert any(lock.acquire(timeout=2) for _ in range(15)), "no lock within 30 s"
            value = int(client.get(key)[0])
            client.put(key, str(value + 1))
            assert lock.release(), "it lost the lock"
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(count, at.clients[:3]))
    same(int(at.first.get(key)[0]), rounds * len(at.clients[:3]))


@rpc
def members_and_status(at):
    """members, and the status of each with the leader that all agree on"""
    members = list(at.first.members)
    same(len(members), len(at.clients))
    assert all(member.name and member.peer_urls and member.client_urls for member in members), [str(m) for m in members]
    statuses = [client.status() for client in at.clients]
    same(len({status.leader.id for status in statuses}), 1)
    assert statuses[0].leader.id in {member.id for member in members}
    for status in statuses:
        assert status.version.startswith("3.") and status.db_size > 0 and status.raft_index > 0 and status.raft_term > 0
    same([list(member.active_alarms) for member in members], [[] for _ in members])


@rpc
def member_changes(at):
    """a member is added, updated and removed"""
    if len(at.endpoints) < 3:
        return
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    before = sorted(member.id for member in at.first.members)
    new = at.first.add_member(urls[:1])
    try:
        same((new.name, list(new.peer_urls), list(new.client_urls)), ("", urls[:1], []))
        new.update(urls[1:])
        same([list(member.peer_urls) for member in at.first.members if member.id == new.id], [urls[1:]])
    finally:
        new.remove()
    same(sorted(member.id for member in at.first.members), before)


@rpc
def snapshot(at):
    """a snapshot of every member, with its SHA-256 at the end"""
    at.first.put(prefix("snapshot") + "k", b"v" * 500_000)
    for client in at.clients:
        file = io.BytesIO()
        client.snapshot(file)
        data = file.getvalue()
        assert len(data) > 500_000, f"{len(data)} bytes, less than what is stored"
        same(data[-32:], hashlib.sha256(data[:-32]).digest())


@rpc
def alarms(at):
    """an alarm that a client raises is listed, stops writes while it stands, and goes when it is disarmed"""
    key = prefix("alarm") + "k"
    at.first.put(key, "v")
    member = next(iter(at.first.members)).id
    same([(alarm.alarm_type, alarm.member_id) for alarm in at.first.create_alarm(member)], [(1, member)])
    try:
        standing = [(alarm.alarm_type, alarm.member_id) for alarm in at.clients[-1].list_alarms(member)]
        # A server may clear an alarm that has no cause.
        if standing:
            same(standing, [(1, member)])
            error = raised(grpc.RpcError, at.first.put, key, "w")
            same((error.code().name, error.details()), ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded"))
            same(at.first.get(key)[0], b"v")
            same(at.first.delete(key), True)
    finally:
        at.first.disarm_alarm(member)
    same([list(client.list_alarms()) for client in at.clients], [[] for _ in at.clients])
    at.first.put(key, "x")


@rpc
def maintenance(at):
    """defragment and hash are answered"""
    key = prefix("maintenance") + "k"
    at.first.put(key, "v")
    for client in at.clients:
        client.defragment()
        same(client.get(key)[0], b"v")
        assert client.hash() >= 0


@rpc
def closing(at):
    """a client that goes away with watches and calls open leaves its server well"""
    for _ in range(20):
        client = at.another()
        client.watch_prefix(prefix("closing"))
        future = client.channel.unary_unary("/etcdserverpb.KV/Range").future(b"\x0a\x01a")
        client.close()
        future.cancel()
    at.first.put(prefix("closing"), "v")


class Idle:
    """A connection with nothing to do that asks with HTTP/2 pings if its server is there, as etcd's clients do."""

    def __init__(self, at, watching):
        self.states, self.begin = [], time.monotonic()
        self.client = at.another(grpc_options=[
            ("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0),
            ("grpc.use_local_subchannel_pool", 1)])
        self.client.get("x")
        if watching:
            self.client.watch_prefix(prefix("idle"))
        self.client.channel.subscribe(self.states.append)

    def check(self, seconds):
        time.sleep(max(0, self.begin + seconds - time.monotonic()))
        same({state.name for state in self.states}, {"READY"})
        self.client.get("x")
        same({state.name for state in self.states}, {"READY"})


def forget_closed_channels(about):
    """etcd3 goes on watching over a client that was closed."""
    if "Channel closed" not in str(about.exc_value):
        threading.__excepthook__(about)


def main():
    options = arguments(__doc__).parse_args()
    threading.excepthook = forget_closed_channels
    report = Report()
    with servers(options.where) as (endpoints, _):
        at = Rpc(endpoints)
        idle = {"a watch": Idle(at, True)} if options.only in "idle" else {}
        # etcd itself ends such a connection, with `too_many_pings`.
        if idle and options.where != "etcd":
            idle["no call"] = Idle(at, False)
        rpc.run(report, options.only, "etcd3", at)
        at.close()
        clients_gateway.case.run(report, options.only, "etcd3gw", clients_gateway.Gateway(endpoints))
        for what, connection in idle.items():
            # Long enough for the third ping, the one too many where pings are not welcome.
            report.run(f"etcd3 idle: a ping every 10 s with {what} open is not answered with GOAWAY", connection.check, 34)
    report.finish()


if __name__ == "__main__":
    main()
