"""Writers, watchers and contenders for locks at once, while a callback disturbs the servers; then a judgement.

Used by watches.py. Writers write through all endpoints. One watcher records everything; from what it saw, checked against
what the writers were told, follows what every other watcher must have seen, event by event.
"""
import collections
import queue
import random
import re
import secrets
import signal
import threading
import time
import types

import grpc

import etcd_rpc as rpc
from clients import wait_for

# After these a request may or may not have taken effect.
UNANSWERED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
              grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED}

Hold = collections.namedtuple("Hold", "begin end token who")


class Seen(collections.namedtuple("Seen", "revision type key value create version previous")):
    def __repr__(self):
        what = "put" if self.type == rpc.PUT else "delete"
        before = self.previous and (self.previous[0][:20], *self.previous[1:])
        return (f"{what} {self.key.decode()} = {self.value[:20]} at {self.revision}, created at {self.create}, "
                f"version {self.version}, before {before}")


def seen(event):
    pair = event.kv
    before = None
    if event.HasField("prev_kv"):
        before = (event.prev_kv.value, event.prev_kv.create_revision, event.prev_kv.mod_revision, event.prev_kv.version)
    return Seen(pair.mod_revision, event.type, pair.key, pair.value, pair.create_revision, pair.version, before)


class Op:
    """One write. Its actions are puts with a value, deletions of a key, and deletions of a range."""

    def __init__(self, actions):
        self.actions, self.revision, self.effective, self.used = actions, None, None, False

    def events(self, state):
        """What it does to `state`, in order."""
        for kind, key, argument in self.actions:
            if kind == "put":
                yield rpc.PUT, key, argument
            elif kind == "delete" and key in state:
                yield rpc.DELETE, key, b""
            elif kind == "range":
                for other in sorted(state):
                    if key <= other < argument:
                        yield rpc.DELETE, other, b""

    def __repr__(self):
        return f"{self.actions} ({'unanswered' if self.revision is None else self.revision})"


class Writer(threading.Thread):
    def __init__(self, storm, number):
        super().__init__(daemon=True)
        self.storm, self.number, self.count = storm, number, 0
        self.dice, self.ops = random.Random(f"{storm.seed} writer {number}"), []

    def run(self):
        connection = self.storm.connect(self.dice)
        while not self.storm.writers_stop.is_set():
            begin, op = time.monotonic(), self.choose()
            self.ops.append(op)
            try:
                self.perform(connection, op)
            except grpc.RpcError as error:
                if error.code() not in UNANSWERED:
                    self.storm.fault(f"a write was refused: {error.code().name}: {error.details()}")
                    return
                connection.close()
                connection = self.storm.connect(self.dice)
            self.storm.writers_stop.wait(max(0.0, begin + self.storm.pause - time.monotonic()))
        connection.close()

    def choose(self):
        key, roll = self.dice.choice(self.storm.keys), self.dice.random()
        if roll < 0.5:
            return Op([self.put(key)])
        if roll < 0.65:
            return Op([("delete", key, None)])
        if roll < 0.69:
            return Op([("range", *sorted(self.dice.sample(self.storm.keys, 2)))])
        keys = self.dice.sample(self.storm.keys, self.dice.randint(2, 8))
        return Op([self.put(key) if self.dice.random() < 0.7 else ("delete", key, None) for key in keys])

    def put(self, key):
        # Every value is written once in the whole run.
        self.count += 1
        return "put", key, b"%d.%d" % (self.number, self.count) + b"." * self.dice.choice((0, 0, 0, 40, 3000))

    def perform(self, connection, op):
        kind, key, argument = op.actions[0]
        if len(op.actions) > 1:
            operations = [rpc.put(k, a) if kind == "put" else rpc.delete(k) for kind, k, a in op.actions]
            answer = connection.Txn(self.storm.patience_of_writers, success=operations)
            effective = any(r.HasField("response_put") or r.response_delete_range.deleted for r in answer.responses)
        elif kind == "put":
            answer, effective = connection.Put(self.storm.patience_of_writers, key=key, value=argument), True
        else:
            answer = connection.DeleteRange(self.storm.patience_of_writers, key=key, range_end=argument or b"")
            effective = answer.deleted > 0
        op.effective, op.revision = effective, answer.header.revision


class Watch:
    """One watch over its whole life, through many streams."""

    def __init__(self, storm, key, end=b"", start=0, **options):
        self.storm, self.key, self.end, self.start, self.options = storm, key, end, start, options
        self.filters, self.prev_kv = options.get("filters", []), options.get("prev_kv", False)
        self.events, self.fragments = [], []
        # Every event up to `last` is here; the first is not before `begun`.
        self.last = start - 1 if start else None
        self.begun = start or None
        self.promised = 0
        self.cancelling = False

    def request(self):
        """The request that goes on after what is here. What came of an answer that was cut off comes again."""
        self.fragments, self.cancelling, self.promised = [], False, 0
        return rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
            key=self.key, range_end=self.end, start_revision=0 if self.last is None else self.last + 1, **self.options))

    def created(self, header):
        if self.last is None:
            # With no start given, it begins after the revision that the answer tells.
            self.last, self.begun = header.revision, header.revision + 1

    def progress(self, revision):
        """All up to this revision has come."""
        if self.storm.strict:
            self.last = max(self.last, revision)
        self.promised = max(self.promised, revision)

    def take(self, response):
        if response.fragment:
            assert self.options.get("fragment"), "a fragment, not asked for"
            self.fragments += response.events
            return
        events = [seen(event) for event in [*self.fragments, *response.events]]
        self.fragments = []
        revision = events[0].revision
        if revision <= self.promised:
            self.storm.broken_promises += 1
        assert revision > self.last, f"revision {revision} after {self.last}: repeated, or not all in one answer"
        for one, two in zip(events, events[1:]):
            assert one.revision <= two.revision, f"{one} before {two}"
        self.last = events[-1].revision
        assert response.header.revision >= self.last, f"the header is at {response.header.revision}, an event at {self.last}"
        self.events += events

    def wants(self, event):
        if event.revision < self.begun or (rpc.NOPUT if event.type == rpc.PUT else rpc.NODELETE) in self.filters:
            return False
        return self.key <= event.key < self.end if self.end else event.key == self.key

    def difference(self, truth):
        """How what came differs from what should have; None when it does not."""
        wanted = [event if self.prev_kv else event._replace(previous=None) for event in truth if self.wants(event)]
        for n, (one, two) in enumerate(zip(self.events, wanted)):
            if not self.storm.strict and one == two._replace(previous=None):
                continue
            if one != two:
                return f"event {n} of {len(wanted)} is {one}, not {two}"
        if len(self.events) != len(wanted):
            rest = (self.events + wanted)[min(len(self.events), len(wanted))]
            return f"{len(self.events)} events, not {len(wanted)}; it lacks or has too much from revision {rest.revision} on"
        return None


class Stream(threading.Thread):
    """Watches on one stream, opened again, somewhere, whenever it ends."""

    def __init__(self, storm, name, watches, cut=0.0, ask=False, slow=0.0, churn=False, leader=False, after=0.0):
        super().__init__(daemon=True)
        self.storm, self.title, self.watches = storm, name, watches
        # Seconds between cuts; progress requests; seconds to sleep after an answer; cancelling and creating anew.
        self.cut, self.ask, self.slow, self.churn, self.after = cut, ask, slow, churn, after
        self.metadata = [("hasleader", "true")] if leader else []
        self.dice = random.Random(f"{storm.seed} stream {name}")
        self.connections = self.answers = self.progress = self.cancelled = 0
        self.call, self.requests, self.cut_at = None, None, 0.0

    def run(self):
        self.storm.watchers_stop.wait(self.after)
        while not self.storm.watchers_stop.is_set():
            connection = self.storm.connect(self.dice)
            try:
                self.follow(connection)
            except grpc.RpcError as error:
                if error.code() not in UNANSWERED:
                    self.storm.fault(f"stream {self.title}: {error.code().name}: {error.details()}")
                    return
            except Exception as error:
                self.storm.fault(f"stream {self.title} to {connection.endpoint}: {type(error).__name__}: {error}")
                return
            finally:
                self.call = None
                connection.close()
            self.storm.watchers_stop.wait(0.03)

    def follow(self, connection):
        self.connections += 1
        self.requests, self.ids = queue.Queue(), {}
        self.awaited = collections.deque(self.watches)
        for watch in self.watches:
            self.requests.put(watch.request())
        self.cut_at = time.monotonic() + self.dice.expovariate(1 / self.cut) if self.cut else float("inf")
        self.call = connection.watch(iter(self.requests.get, None), metadata=self.metadata)
        try:
            for response in self.call:
                self.answers += 1
                self.take(response)
                if self.slow and not self.storm.writers_stop.is_set():
                    time.sleep(self.slow)
        finally:
            self.requests.put(None)

    def take(self, response):
        header = response.header
        assert header.cluster_id == self.storm.cluster and header.member_id, f"a header without its ids: {header}"
        if response.created:
            watch = self.awaited.popleft()
            chosen = watch.options.get("watch_id", 0)
            assert not response.canceled and not response.events, f"{response}"
            assert response.watch_id not in self.ids and response.watch_id >= 0, f"watch id {response.watch_id} again"
            assert not chosen or response.watch_id == chosen, f"watch id {response.watch_id}, not {chosen}"
            self.ids[response.watch_id] = watch
            watch.created(header)
        elif response.watch_id == -1:
            # The answer to a progress request speaks for all watches of the stream.
            assert self.ask and not response.events, f"{response}"
            self.progress += 1
            for watch in self.ids.values():
                watch.progress(header.revision)
        else:
            watch = self.ids.get(response.watch_id)
            assert watch, f"an answer for watch {response.watch_id}, which is not: {response}"
            if response.canceled:
                assert watch.cancelling, f"cancelled by the server: {response}"
                self.cancelled += 1
                del self.ids[response.watch_id]
                self.awaited.append(watch)
                self.requests.put(watch.request())
            elif response.events:
                watch.take(response)
            else:
                assert watch.options.get("progress_notify"), f"progress, not asked for: {response}"
                self.progress += 1
                watch.progress(header.revision)

    def tick(self):
        """Called every now and then from another thread."""
        call, requests = self.call, self.requests
        if call is None or self.storm.writers_stop.is_set() and not self.storm.watchers_stop.is_set():
            return
        if time.monotonic() > self.cut_at or self.storm.watchers_stop.is_set():
            call.cancel()
        elif self.ask and self.dice.random() < 0.3:
            requests.put(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
        elif self.churn and self.dice.random() < 0.1:
            for id, watch in list(self.ids.items()):
                if not watch.cancelling:
                    watch.cancelling = True
                    requests.put(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=id)))


class Lease:
    """A lease and who keeps it alive. It lives for sure until `until`."""

    def __init__(self, connection, seconds):
        sent = time.monotonic()
        answer = connection.LeaseGrant(TTL=seconds)
        self.id, self.until, self.connection = answer.ID, sent + answer.TTL, connection
        self.stopped = threading.Event()
        threading.Thread(target=self.keep, daemon=True).start()

    def keep(self):
        while not self.stopped.wait(0.4):
            sent = time.monotonic()
            try:
                seconds = self.connection.keep_alive(self.id)
            except (grpc.RpcError, ValueError):
                continue
            if not seconds:
                return
            if not self.stopped.is_set():
                self.until = sent + seconds

    def abandon(self):
        """Nobody renews it any more; the end it was last promised."""
        self.stopped.set()
        return self.until


class Contender(threading.Thread):
    """Takes one of the locks over and over, and gives it back, dies with it, or goes away while it waits."""

    def __init__(self, storm, number):
        super().__init__(daemon=True)
        self.storm, self.number = storm, number
        self.dice = random.Random(f"{storm.seed} contender {number}")
        self.holds, self.gave_up, self.waited = collections.defaultdict(list), 0, 0.0

    def run(self):
        while not self.storm.contenders_stop.is_set():
            connection, lease = self.storm.connect(self.dice), None
            try:
                lease = Lease(connection, 2)
                while not self.storm.contenders_stop.is_set() and self.contend(connection, lease):
                    pass
            except grpc.RpcError as error:
                words = error.details() or ""
                # The lease may have ended while its keeper got no answers.
                if error.code() not in UNANSWERED and "lease not found" not in words:
                    self.storm.fault(f"a lock was refused: {error.code().name}: {words}")
                    return
            except AssertionError as error:
                self.storm.fault(f"lock: {error}")
                return
            finally:
                if lease:
                    lease.abandon()
                connection.close()

    def contend(self, connection, lease):
        """One round; false when it leaves the lease behind."""
        name = self.dice.choice(self.storm.locks)
        begin = time.monotonic()
        call = connection.start("Lock", name=name, lease=lease.id)
        if self.dice.random() < 0.1:
            # A waiter that goes away.
            time.sleep(self.dice.uniform(0, 0.05))
            call.cancel()
            self.gave_up += 1
            # It may have got the lock at the same moment.
            connection.LeaseRevoke(ID=lease.id)
            return False
        while True:
            try:
                key = call.result(0.5).key
                break
            except grpc.FutureTimeoutError:
                if time.monotonic() > self.storm.patience:
                    call.cancel()
                    raise AssertionError("it waits, and nobody gives way") from None
        granted = time.monotonic()
        self.waited = max(self.waited, granted - begin)
        expected = name + b"/%x" % lease.id
        assert key == expected, f"the key is {key}, not {expected}"
        pairs = connection.Range(key=key).kvs
        if lease.until < time.monotonic():
            return False
        assert pairs, f"{key} is not there, though its lease lives"
        token = pairs[0].create_revision
        self.guarded_write(connection, name, key, token)
        time.sleep(self.dice.choice((0, 0.005, 0.03)))
        dies = self.dice.random() < 0.06
        end = lease.abandon() if dies else min(lease.until, time.monotonic())
        self.holds[name].append(Hold(granted, end, token, self.number))
        if not dies:
            connection.Unlock(key=key)
        return not dies

    def guarded_write(self, connection, name, key, token):
        """What the fencing token is for: a write that fails when the lock is another's by now."""
        still_mine = rpc.Compare(result=rpc.EQUAL, target=rpc.CREATE, key=key, create_revision=token)
        connection.Txn(compare=[still_mine], success=[rpc.put(self.storm.guarded(name), b"%d" % token)])


def with_previous(events):
    """The events with the pair before each where it is missing."""
    pairs = {}
    for event in events:
        yield event if event.previous else event._replace(previous=pairs.get(event.key))
        pairs[event.key] = (event.value, event.create, event.revision, event.version) if event.type == rpc.PUT else None


def together(holds):
    """Who held a lock while the holder before, in time, was sure to have it."""
    holds = sorted(holds)
    return [(one, two) for one, two in zip(holds, holds[1:]) if two.begin < one.end]


class Storm:
    def __init__(self, endpoints, seed=None, pause=0.025):
        self.endpoints, self.pause = endpoints, pause
        self.seed = random.randrange(1 << 32) if seed is None else seed
        self.base = b"storm/" + secrets.token_hex(4).encode() + b"/"
        self.prefix, self.end = self.base + b"w/", rpc.end_of(self.base + b"w/")
        self.keys = [self.prefix + b"k%02d" % n for n in range(16)]
        self.locks = [self.base + b"locks/one", self.base + b"locks/two"]
        self.writers_stop, self.watchers_stop, self.contenders_stop = (threading.Event() for _ in range(3))
        self.faults, self.faults_lock, self.broken_promises = [], threading.Lock(), 0
        # When a lock must have come; how long a write may take before its writer goes elsewhere.
        self.patience, self.patience_of_writers = float("inf"), 8
        connection = rpc.Connection(endpoints[0])
        status = connection.Status()
        self.first = connection.Put(key=self.prefix + b"begin", value=b"0.0").header.revision
        connection.close()
        self.cluster = status.header.cluster_id
        # Before 3.5.8, etcd answered a progress request before it had sent the events that the answer speaks of. It also
        # sends an event without the pair before it when it comes as its watch is just created.
        self.strict = tuple(map(int, re.findall(r"\d+", status.version)[:3])) >= (3, 5, 8)
        self.writers = [Writer(self, n + 1) for n in range(4)]
        self.contenders = [Contender(self, n + 1) for n in range(5)]
        self.streams = list(self.make_streams())
        self.recorder = self.streams[0].watches[0]

    def make_streams(self):
        def everything(**options):
            return Watch(self, self.prefix, self.end, **options)
        k = self.keys
        yield Stream(self, "recorder", [everything(start=self.first, prev_kv=True)])
        yield Stream(self, "from now, often cut", [everything()], cut=0.7)
        yield Stream(self, "filters, chosen ids, fragments", [
            everything(start=self.first, filters=[rpc.NOPUT], watch_id=100, prev_kv=True),
            everything(start=self.first, filters=[rpc.NODELETE], watch_id=7, fragment=True),
            Watch(self, k[0], start=self.first, watch_id=1 << 40, prev_kv=True)], cut=2)
        yield Stream(self, "fragments and progress", [everything(fragment=True, progress_notify=True, prev_kv=True),
                                                      Watch(self, k[1])], cut=1.5, ask=True)
        yield Stream(self, "a start to come", [Watch(self, k[4], k[9], start=self.first + 150, prev_kv=True)], cut=3)
        yield Stream(self, "a watch for each key", [Watch(self, key, start=self.first) for key in k], cut=4, ask=True)
        yield Stream(self, "slow reader", [everything(start=self.first, prev_kv=True)], slow=0.04)
        yield Stream(self, "cancelled and created anew", [everything(), Watch(self, k[2], k[5], prev_kv=True)], churn=True)
        yield Stream(self, "needs a leader", [everything(start=self.first)], leader=True)
        yield Stream(self, "late, from history", [everything(start=self.first, prev_kv=True)], after=3, cut=2)

    def connect(self, dice):
        return rpc.Connection(dice.choice(self.endpoints))

    def guarded(self, name):
        return self.base + b"guarded/" + name.rsplit(b"/", 1)[-1]

    def fault(self, text):
        with self.faults_lock:
            self.faults.append(text)

    def play(self, seconds, disturb=None):
        """`disturb(stop)` runs in a thread of its own; when `stop` is set it must return, with all members running."""
        self.disturbed = disturb is not None
        threads = [*self.streams, *self.writers, *self.contenders]
        for thread in threads:
            thread.start()
        stop, disturbing = threading.Event(), None
        if disturb:
            self.patience_of_writers = 1

            def disturb_and_tell():
                try:
                    disturb(stop)
                except Exception as error:
                    self.fault(f"the disturbance itself: {type(error).__name__}: {error}")
            disturbing = threading.Thread(target=disturb_and_tell, daemon=True)
            disturbing.start()
        self.tick_until(time.monotonic() + seconds)
        stop.set()
        while disturbing and disturbing.is_alive():
            self.tick_until(time.monotonic() + 0.1)
        if disturb:
            self.tick_until(time.monotonic() + 2)
        self.patience = time.monotonic() + 20
        self.contenders_stop.set()
        self.writers_stop.set()
        for thread in [*self.writers, *self.contenders]:
            thread.join(40)
            if thread.is_alive():
                self.fault(f"{type(thread).__name__} {thread.number} does not end")
        self.last = self.eventually("Put", key=self.prefix + b"end", value=b"0.1").header.revision
        self.catch_up()
        self.watchers_stop.set()
        for _ in range(50):
            for stream in self.streams:
                stream.tick()
            if not any(stream.is_alive() for stream in self.streams):
                break
            time.sleep(0.02)

    def tick_until(self, end):
        while time.monotonic() < end:
            for stream in self.streams:
                stream.tick()
            time.sleep(0.05)

    def eventually(self, method, **fields):
        """The answer of any endpoint that gives one."""
        end, n = time.monotonic() + 20, 0
        while True:
            n += 1
            connection = rpc.Connection(self.endpoints[n % len(self.endpoints)])
            try:
                return getattr(connection, method)(**fields)
            except grpc.RpcError as error:
                if time.monotonic() > end:
                    raise AssertionError(f"{method}: {error.code().name}: {error.details()}") from None
                time.sleep(0.1)
            finally:
                connection.close()

    def catch_up(self):
        """Waits until every watch has what the recorder has, or too long."""
        end = time.monotonic() + 15
        while time.monotonic() < end and not self.faults and self.recorder.last < self.last:
            time.sleep(0.02)
        watches = [watch for stream in self.streams for watch in stream.watches]
        for watch in watches:
            wanted = max((event.revision for event in self.recorder.events if watch.begun and watch.wants(event)), default=0)
            while time.monotonic() < end and not self.faults and (watch.begun is None or watch.last < wanted):
                time.sleep(0.02)
        # What comes now is too much.
        time.sleep(0.2)

    # What it must have been

    def judge(self, report):
        report.check("nothing went wrong on the way", not self.faults, "; ".join(self.faults[:5]))
        ops = [op for writer in self.writers for op in writer.ops]
        answered = sum(op.revision is not None for op in ops)
        report.check("writes go on", answered > (50 if self.disturbed else 0.9 * len(ops)),
                     f"{answered} of {len(ops)} were answered")
        report.run(f"{answered} of {len(ops)} writes were answered, and each is in the record at its revision, whole, once",
                   self.check_record, ops)
        for stream in self.streams:
            events = sum(len(watch.events) for watch in stream.watches)
            about = f"{events} events, {stream.answers} answers, {stream.connections} connections"
            if stream.progress:
                about += f", {stream.progress} of progress"
            if stream.cancelled:
                about += f", cancelled {stream.cancelled} times"
            wrong = [watch.difference(self.recorder.events) for watch in stream.watches if watch.begun]
            wrong = [text for text in wrong if text] + ["a watch never began" for w in stream.watches if not w.begun]
            report.check(f"watch {stream.title}: {about}: all, in order, once", not wrong, "; ".join(wrong[:3]))
        if self.strict:
            report.check("no event came after a progress answer that spoke of it", not self.broken_promises,
                         f"{self.broken_promises} did")
        elif self.broken_promises:
            print(f"      {self.broken_promises} events came after a progress answer that spoke of them (fixed in etcd 3.5.8)")
        report.run("a watch from any revision, on any member, gets the rest", self.check_resuming)
        report.run("every member ends with what the record ends with", self.check_state)
        self.judge_locks(report)

    def check_record(self, ops):
        if not self.strict:
            self.recorder.events = list(with_previous(self.recorder.events))
        state, by_value, by_revision = {}, {}, {}
        self.end_state = state
        for op in [Op([("put", self.prefix + b"begin", b"0.0")]), *ops, Op([("put", self.prefix + b"end", b"0.1")])]:
            for kind, _, value in op.actions:
                if kind == "put":
                    by_value[value] = op
            if op.revision is not None and op.effective:
                assert op.revision not in by_revision, f"{op} and {by_revision[op.revision]} have one revision"
                by_revision[op.revision] = op
        unanswered = [op for op in ops if op.revision is None]
        groups = {}
        for event in self.recorder.events:
            groups.setdefault(event.revision, []).append(event)
        for revision, events in groups.items():
            done = [(event.type, event.key, event.value) for event in events]
            op = next((by_value.get(event.value) for event in events if event.type == rpc.PUT), by_revision.get(revision))
            if op is None:
                op = next((o for o in unanswered if not o.used and list(o.events(state)) == done), None)
            assert op, f"nobody wrote {events}"
            assert not op.used, f"{op} came twice, the second time at {revision}"
            assert op.revision in (None, revision), f"{op} came at {revision}"
            assert list(op.events(state)) == done, f"{op} came as {events}"
            op.used = True
            for event in events:
                self.check_event(event, state)
        lost = [op for op in by_revision.values() if not op.used]
        assert not lost, f"{len(lost)} acknowledged writes never came, as {lost[0]}"

    @staticmethod
    def check_event(event, state):
        before = state.get(event.key)
        assert event.previous == before, f"{event}: before it was {before}"
        if event.type == rpc.PUT:
            create, version = (before[1], before[3] + 1) if before else (event.revision, 1)
            assert (event.create, event.version) == (create, version), f"{event}: created at {create}, version {version}"
            state[event.key] = (event.value, create, event.revision, version)
        else:
            assert (event.create, event.version, event.value) == (0, 0, b""), f"{event}"
            del state[event.key]

    def check_resuming(self):
        dice = random.Random(f"{self.seed} resuming")
        for n in range(12):
            start = dice.randint(self.first, self.last)
            watch = Watch(self, self.prefix, self.end, start=start, prev_kv=True)
            connection = rpc.Connection(self.endpoints[n % len(self.endpoints)])
            call = connection.watch(iter([watch.request()]), timeout=10)
            while watch.last < self.last:
                response = next(call)
                if response.events:
                    watch.take(response)
            call.cancel()
            connection.close()
            difference = watch.difference(self.recorder.events)
            assert not difference, f"from {start}, at {connection.endpoint}: {difference}"

    def check_state(self):
        for endpoint in self.endpoints:
            connection = rpc.Connection(endpoint)
            pairs = connection.Range(key=self.prefix, range_end=self.end).kvs
            connection.close()
            found = {p.key: (p.value, p.create_revision, p.mod_revision, p.version) for p in pairs}
            wrong = [key for key in {*found, *self.end_state} if found.get(key) != self.end_state.get(key)]
            assert not wrong, f"{endpoint}: {wrong}, the first is {found.get(wrong[0])}, not {self.end_state.get(wrong[0])}"

    def judge_locks(self, report):
        for name in self.locks:
            title = name.rsplit(b"/", 1)[-1].decode()
            holds = sorted(hold for contender in self.contenders for hold in contender.holds[name])
            report.check(f"lock {title} was held {len(holds)} times, never by two", len(holds) > 1 and not together(holds),
                         f"{together(holds)[:2]}")
            tokens = [hold.token for hold in holds]
            report.check(f"lock {title}: fencing tokens grow", tokens == sorted(set(tokens)), f"{tokens}")
        report.run("a guarded value is only ever written under a newer token", self.check_guarded)
        print(f"      the longest wait for a lock was {max(c.waited for c in self.contenders):.1f} s, "
              f"{sum(c.gave_up for c in self.contenders)} waiters went away")
        report.run("no key of a lock is left when its leases are over", self.check_no_keys)

    def check_guarded(self):
        for name in self.locks:
            watch = Watch(self, self.guarded(name), start=self.first)
            connection = rpc.Connection(self.endpoints[0])
            last = connection.Put(key=watch.key, value=b"%d" % (1 << 62)).header.revision
            call = connection.watch(iter([watch.request()]), timeout=10)
            while watch.last < last:
                response = next(call)
                if response.events:
                    watch.take(response)
            call.cancel()
            connection.close()
            tokens = [int(event.value) for event in watch.events]
            assert len(tokens) > 2 and tokens == sorted(set(tokens)), f"{name}: {tokens}"

    def check_no_keys(self):
        def left():
            return [pair.key for pair in self.eventually("Range", key=self.base + b"locks/",
                                                         range_end=rpc.end_of(self.base + b"locks/")).kvs]
        wait_for(lambda: f"nothing under locks/; there is {left()}", lambda: not left(), 15)


def strikes(fabric, seed=None, pause_seconds_max=2.0, pauses=True):
    """A disturbance for the members of a fabric: one after the other is killed with -9 and started again, or paused."""
    dice = random.Random(seed)

    def strike(stop):
        kills = paused = 0
        while not stop.is_set():
            member = fabric.leader() if dice.random() < 0.5 else dice.choice(fabric.members)
            if pauses and dice.random() < 0.3:
                member.process.send_signal(signal.SIGSTOP)
                try:
                    time.sleep(dice.uniform(0.2, pause_seconds_max))
                finally:
                    member.process.send_signal(signal.SIGCONT)
                paused += 1
            else:
                member.kill()
                time.sleep(dice.uniform(0, 0.6))
                member.start()
                kills += 1
            for other in fabric.members:
                other.wait_healthy()
            stop.wait(dice.uniform(0.3, 1.2))
        print(f"      members were killed {kills} times and paused {paused} times")
    return strike


def partitions(fabric, seed=None, seconds_max=4.0):
    """A disturbance for members in namespaces: one is cut off from all others, or from one, and comes back."""
    dice = random.Random(seed)

    def strike(stop):
        alone = pairs = 0
        while not stop.is_set():
            member = fabric.leader() if dice.random() < 0.6 else dice.choice(fabric.members)
            if dice.random() < 0.7:
                fabric.isolate(member)
                alone += 1
            else:
                fabric.cut(member, dice.choice([other for other in fabric.members if other is not member]))
                pairs += 1
            stop.wait(dice.uniform(0.5, seconds_max))
            fabric.heal()
            for other in fabric.members:
                other.wait_healthy()
            stop.wait(dice.uniform(0.3, 1.2))
        print(f"      members were cut off {alone} times, and from one other {pairs} times")
    return strike


def self_test():
    """The judges notice what they are there for."""
    def answer(*events, revision=99, fragment=False):
        return rpc.WatchResponse(header=rpc.ResponseHeader(revision=revision), fragment=fragment, events=[
            rpc.Event(type=kind, kv=rpc.KeyValue(key=key, mod_revision=at, value=b"v")) for at, kind, key in events])

    def watch(*answers, progress=None, **options):
        one = Watch(types.SimpleNamespace(strict=True, broken_promises=0), b"a", b"z", start=5, **options)
        for response in answers:
            one.take(response)
            if progress:
                one.progress(progress)
        return one

    def noticed(function, *arguments, **named):
        try:
            function(*arguments, **named)
        except AssertionError:
            return True
        return False
    a, b, c = (5, rpc.PUT, b"b"), (5, rpc.PUT, b"c"), (7, rpc.DELETE, b"b")
    truth = watch(answer(a, b), answer(c)).events
    assert watch(answer(a, b, c)).difference(truth) is None
    assert watch(answer(a, fragment=True), answer(b), answer(c), fragment=True).difference(truth) is None
    assert watch(answer(c), filters=[rpc.NOPUT]).difference(truth) is None
    for wrong in (watch(), watch(answer(a, b)), watch(answer(a), answer(c)), watch(answer(b, a), answer(c)),
                  watch(answer(a, b, c), answer((8, rpc.PUT, b"b"))), watch(answer(a, b, c), filters=[rpc.NODELETE])):
        assert wrong.difference(truth), wrong.events
    assert noticed(watch, answer(a), answer(b)), "a transaction in two answers"
    assert noticed(watch, answer(a, b), answer(a, b)), "an answer twice"
    assert noticed(watch, answer(c, a)), "out of order"
    assert noticed(watch, answer(a, fragment=True)), "a fragment, not asked for"
    assert noticed(watch, answer(a, b, revision=4)), "a header before its events"
    assert noticed(watch, answer(a, b), answer(c), progress=7), "an event after progress beyond it"
    event = Seen(9, rpc.PUT, b"k", b"2", 8, 2, (b"1", 8, 8, 1))
    before = {b"k": (b"1", 8, 8, 1)}
    Storm.check_event(event, dict(before))
    for wrong in (event._replace(previous=None), event._replace(version=1), event._replace(create=9)):
        assert noticed(Storm.check_event, wrong, dict(before)), wrong
    assert together([Hold(1, 3, 1, 1), Hold(2, 4, 2, 2)]) and not together([Hold(3, 4, 2, 2), Hold(1, 3, 1, 1)])
