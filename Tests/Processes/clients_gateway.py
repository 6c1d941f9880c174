"""Cases of clients_python.py: etcd3gw over the JSON gateway."""
import base64
import concurrent.futures
import json
import threading

import etcd3gw
import etcd3gw.exceptions

from clients import Cases, Events, host_and_port, prefix, raised, same, wait_for

case = Cases()


class Gateway:
    def __init__(self, endpoints):
        self.endpoints = endpoints
        self.clients = [self.another(endpoint) for endpoint in endpoints]
        self.first = self.clients[0]

    def another(self, endpoint):
        host, port = host_and_port(endpoint)
        return etcd3gw.client(host, port, timeout=10)

    def post(self, path, client=None, **body):
        client = client or self.first
        return client.post(client.get_url(path), json=body)

    def revision(self):
        return int(self.post("/kv/range", key=coded("x"))["header"]["revision"])


def coded(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def uncoded(text):
    return base64.b64decode(text).decode()


def seen(event):
    """What an etcd3gw event says, as a tuple. A zero is left out of JSON: so a put has no type."""
    assert isinstance(event, dict), f"{event!r} instead of an event"
    pair = event["kv"]
    return event.get("type", "PUT").lower(), pair["key"].decode(), pair.get("value", b"").decode(), int(pair["mod_revision"])


@case
def put_get(at):
    """create, put, get with metadata, replace, delete"""
    keys = prefix("gw")
    key = keys + "k"
    same(at.first.get(key), [])
    same([at.first.create(key, "1"), at.first.create(key, "2")], [True, False])
    same([at.first.replace(key, "2", "3"), at.first.replace(key, "1", "3")], [False, True])
    for client in at.clients:
        (value, about), = client.get(key, metadata=True)
        same((value, about["key"], about["version"]), (b"3", key.encode(), "2"))
        same(int(about["mod_revision"]), int(about["create_revision"]) + 1)
    everything = bytes(range(256))
    at.first.put(key.encode() + everything, everything * 100)
    same(at.first.get(key.encode() + everything), [everything * 100])
    at.first.put(key, "")
    same(at.first.get(key), [b""])
    same([at.first.delete(key), at.first.delete(key)], [True, False])
    same(at.first.delete_prefix(keys), True)


@case
def ranges(at):
    """prefix, order, limit, revision, keys and count only, bounds on revisions"""
    keys = prefix("gwranges")
    first = at.revision() + 1
    for name, value in (("a", "3"), ("b", "1"), ("c", "3"), ("a", "5"), ("c", "2"), ("a", "4")):
        at.first.put(keys + name, value)
    end = keys[:-1] + "0"

    def read(**options):
        return "".join(about["key"].decode()[-1] for _, about in at.first.get(keys, True, range_end=end, **options))
    for target, order in (("key", "abc"), ("version", "bca"), ("create", "abc"), ("mod", "bca"), ("value", "bca")):
        same((read(sort_order="ascend", sort_target=target), read(sort_order="descend", sort_target=target)),
             (order, order[::-1]), target)
    same((read(), read(limit=2), read(revision=first + 1), read(serializable=True)), ("abc", "ab", "ab", "abc"))
    same([value for value, _ in at.first.get(keys, True, range_end=end, keys_only=True)], [b"", b"", b""])
    same(at.first.get(keys, range_end=end, count_only=True), [])
    same((read(min_mod_revision=first + 2), read(max_mod_revision=first + 4), read(min_create_revision=first + 1),
          read(max_create_revision=first + 1)), ("ac", "bc", "bc", "ab"))
    same(len(at.first.get_prefix(keys)), 3)
    assert len(at.first.get_all()) >= 3


@case
def transaction(at):
    """a transaction of all kinds of requests, as JSON"""
    keys = prefix("gwtxn")
    key, old = coded(keys + "k"), coded(keys + "old")
    at.first.put(keys + "old", "1")
    before = at.revision()
    # Field names in either case.
    answer = at.first.transaction({
        "compare": [{"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": 0}],
        "success": [{"request_put": {"key": key, "value": coded("2")}}, {"request_range": {"key": key}},
                    {"requestTxn": {"success": [{"requestDeleteRange": {"key": old, "prevKv": True}}]}}]})
    same((answer["succeeded"], int(answer["header"]["revision"])), (True, before + 1))
    put, found, inner = answer["responses"]
    same((int(put["response_put"]["header"]["revision"]), found["response_range"]["count"]), (before + 1, "1"))
    deleted = inner["response_txn"]["responses"][0]["response_delete_range"]
    same((deleted["deleted"], uncoded(deleted["prev_kvs"][0]["value"])), ("1", "1"))
    same((at.first.get(keys + "old"), at.first.get(keys + "k")), ([], [b"2"]))


@case
def refused(at):
    """errors have a status, a code and etcd's words"""
    for path, body, status, code, message in (
            ("/kv/put", {"value": coded("v")}, 400, 3, "etcdserver: key is not provided"),
            ("/kv/put", {"key": coded("k"), "lease": 1234}, 404, 5, "etcdserver: requested lease not found"),
            ("/lease/revoke", {"ID": 1234}, 404, 5, "etcdserver: requested lease not found"),
            ("/kv/compaction", {"revision": 1 << 40}, 400, 11, "etcdserver: mvcc: required revision is a future revision")):
        answer = at.first.session.post(at.first.get_url(path), json=body, timeout=10)
        same((answer.status_code, answer.json()["code"], answer.json()["message"]), (status, code, message), path)
        # What this client makes of it.
        error = raised(etcd3gw.exceptions.Etcd3Exception, at.first.post, at.first.get_url(path), json=body)
        assert message in error.detail_text, error.detail_text


@case
def lease(at):
    """grant, ttl, keys, refresh, revoke, with the older routes under /kv too"""
    key = prefix("gwlease") + "k"
    lease = at.first.lease(60)
    at.first.put(key, "v", lease=lease)
    same((at.first.get(key, True)[0][1]["lease"], lease.keys()), (str(lease.id), [key.encode()]))
    assert 50 <= lease.ttl() <= 60, lease.ttl()
    same(lease.refresh(), 60)
    listed = [int(row["ID"]) for row in at.post("/lease/leases")["leases"]]
    assert lease.id in listed and lease.id in [int(row["ID"]) for row in at.post("/kv/lease/leases")["leases"]]
    same(lease.revoke(), True)
    same((at.first.get(key), lease.ttl(), lease.refresh(), lease.keys()), ([], -1, -1, []))
    other = at.first.lease(60)
    same("TTL" in at.post("/lease/timetolive", ID=str(other.id)), True)
    at.post("/lease/revoke", ID=str(other.id))


@case
def lock(at):
    """etcd3gw's lock"""
    name = prefix("gwlock")
    one, two = at.first.lock(name, ttl=20), at.clients[-1].lock(name, ttl=20)
    same((one.acquire(), two.acquire(), one.is_acquired(), two.is_acquired()), (True, False, True, False))
    same((one.refresh(), two.release(), one.release(), two.acquire()), (20, False, True, True))
    two.release()
    with at.first.lock(name, ttl=20) as third:
        same(third.is_acquired(), True)
    same(third.is_acquired(), False)


@case
def watch(at):
    """a watch of one key, of a prefix with history, with filters and previous pairs; each event as it happens"""
    keys = prefix("gwwatch")
    revision = at.revision() + 1
    at.first.put(keys + "a", "1")
    at.first.put(keys + "b", "1")
    for client in at.clients:
        # This client reads each chunk of the answer as one message.
        iterator, cancel = client.watch_prefix(keys, start_revision=revision)
        past = Events(iterator)
        same([seen(event) for event in past.take(2)],
             [("put", keys + "a", "1", revision), ("put", keys + "b", "1", revision + 1)])
        iterator, stop = client.watch(keys + "a", prev_kv=True)
        events = Events(iterator)
        for n in range(3):
            # Each must arrive before the next is made: what is written is also flushed.
            at.first.put(keys + "a", f"{n}")
            event = events.next()
            same(seen(event)[:3], ("put", keys + "a", f"{n}"))
            assert "value" in event["prev_kv"], event
            same(seen(past.next())[2], f"{n}")
        at.first.delete(keys + "a")
        same([seen(events.next())[0], seen(past.next())[0]], ["delete", "delete"])
        stop()
        cancel()
        same((events.next(), past.next()), (None, None))
        keys, revision = prefix("gwwatch"), at.revision() + 1
        at.first.put(keys + "a", "1")
        at.first.put(keys + "b", "1")


@case
def watch_once(at):
    """watch_once and its time limit; filters"""
    keys = prefix("gwonce")
    raised(etcd3gw.exceptions.WatchTimedOut, at.first.watch_once, keys + "a", 0.2)
    threading.Timer(0.2, at.clients[-1].put, (keys + "a", "v")).start()
    same(seen(at.first.watch_once(keys + "a", 10))[:3], ("put", keys + "a", "v"))
    revision = at.revision()
    at.first.delete(keys + "a")
    same(seen(at.first.watch_once(keys + "a", 10, start_revision=revision, filters=["NOPUT"]))[0], "delete")
    same(seen(at.first.watch_once(keys + "a", 10, start_revision=revision, filters=["NODELETE"]))[0], "put")


@case
def watch_stream(at):
    """the raw stream: created, events, and why a compacted one is cancelled, each in a chunk"""
    key = prefix("gwstream") + "k"
    first = at.revision() + 1
    at.first.put(key, "1")
    at.first.put(key, "2")
    at.post("/kv/compaction", revision=first + 1)
    for start, wanted in ((first, "compacted"), (first + 1, "events")):
        answer = at.first.session.post(at.first.get_url("/watch"), stream=True, timeout=10,
                                       json={"create_request": {"key": coded(key), "start_revision": start}})
        chunks = (json.loads(chunk)["result"] for chunk in answer.iter_content(chunk_size=None))
        created = next(chunks)
        same((created["created"], "events" in created), (True, False))
        after = next(chunks)
        if wanted == "compacted":
            same((after["canceled"], int(after["compact_revision"])), (True, first + 1))
        else:
            same(uncoded(after["events"][0]["kv"]["value"]), "2")
        answer.close()


@case
def lock_service(at):
    """v3lock through the gateway: the key is the name and the lease; again is the same; the next waits"""
    name = prefix("gwv3lock") + "name"
    one, two = at.first.lease(20), at.first.lease(20)
    key = at.post("/lock/lock", name=coded(name), lease=one.id)["key"]
    same(uncoded(key), f"{name}/{one.id:x}")
    same(at.post("/lock/lock", name=coded(name), lease=one.id)["key"], key)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(at.post, "/lock/lock", at.clients[-1], name=coded(name), lease=str(two.id))
        wait_for("two keys", lambda: len(at.first.get_prefix(name)) == 2)
        same(waiter.done(), False)
        at.post("/lock/unlock", key=key)
        same(uncoded(waiter.result(10)["key"]), f"{name}/{two.id:x}")
    two.revoke()
    one.revoke()
    same(at.first.get_prefix(name), [])


@case
def election(at):
    """v3election through the gateway: campaign, leader, proclaim, observe, resign"""
    name = prefix("gwelection") + "name"
    one, two = at.first.lease(20), at.first.lease(20)
    answer = at.first.session.post(at.first.get_url("/election/leader"), json={"name": coded(name)}, timeout=10)
    assert answer.status_code >= 400 and answer.json()["message"] == "election: no leader", answer.text
    leader = at.post("/election/campaign", name=coded(name), lease=one.id, value=coded("one"))["leader"]
    same((uncoded(leader["key"]), uncoded(leader["name"]), int(leader["lease"])), (f"{name}/{one.id:x}", name, one.id))
    stream = at.first.session.post(at.first.get_url("/election/observe"), json={"name": coded(name)}, stream=True, timeout=10)
    observed = Events(uncoded(json.loads(chunk)["result"]["kv"]["value"])
                      for chunk in stream.iter_content(chunk_size=None))
    same(observed.next(), "one")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        campaign = pool.submit(at.post, "/election/campaign", at.clients[-1], name=coded(name), lease=two.id,
                               value=coded("two"))
        wait_for("two candidates", lambda: len(at.first.get_prefix(name)) == 2)
        at.post("/election/proclaim", leader=leader, value=coded("one again"))
        same(observed.next(), "one again")
        pair = at.post("/election/leader", name=coded(name))["kv"]
        same((uncoded(pair["value"]), pair["create_revision"]), ("one again", leader["rev"]))
        same(campaign.done(), False)
        at.post("/election/resign", leader=leader)
        after = campaign.result(10)["leader"]
    same(observed.next(), "two")
    assert int(after["rev"]) > int(leader["rev"]), (leader, after)
    answer = at.first.session.post(at.first.get_url("/election/proclaim"), json={"leader": leader, "value": ""}, timeout=10)
    assert answer.status_code >= 400, "who resigned can still proclaim"
    at.post("/election/resign", leader=after)
    same(at.first.get_prefix(name), [])
    one.revoke()
    two.revoke()


@case
def members_and_status(at):
    """members and status, with their leader"""
    members = at.first.members()
    same(len(members), len(at.clients))
    statuses = [client.status() for client in at.clients]
    same(len({status["leader"] for status in statuses}), 1)
    assert statuses[0]["leader"] in {member["ID"] for member in members}
    for status in statuses:
        assert status["version"].startswith("3.") and int(status["dbSize"]) > 0 and int(status["raftTerm"]) > 0, status
    for path in ("/maintenance/alarm", "/maintenance/hash", "/maintenance/defragment"):
        same(type(at.post(path, **({"action": "GET"} if path.endswith("alarm") else {}))), dict, path)
