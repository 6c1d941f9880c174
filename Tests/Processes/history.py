"""Checks histories of clients: that what was acknowledged is there, and that reads and writes are linearizable.

Two checks that know nothing of each other. `check_revisions` is near-linear: it trusts no revision, but uses those in
the answers to say which order the store claims, and verifies that this order explains every answer and agrees with real
time. `check_keys` is the search of Wing, Gong and Lowe (with memory), key by key, and ignores revisions altogether.
"""
import bisect
import collections


class Op:
    """One operation of one client. `kind` is put, delete, cas or get.

    `value` is what was written, None for a delete; `expected` what a cas wanted to find (None: nothing). When the
    operation was answered: `end`, `revision`, and for get and cas what they saw. Unanswered ones have `end` None.
    """
    __slots__ = ("kind", "key", "value", "expected", "begin", "end", "revision", "seen", "seen_revision", "succeeded")

    def __init__(self, kind, key, value, begin, expected=None):
        self.kind, self.key, self.value, self.expected, self.begin = kind, key, value, expected, begin
        self.end = self.revision = self.seen = self.seen_revision = self.succeeded = None

    @property
    def wrote(self):
        return self.end is not None and (self.kind in ("put", "delete") or self.kind == "cas" and self.succeeded)

    def __repr__(self):
        return (f"{self.kind}({self.key}, {self.value}) [{self.begin:.4f}, {self.end and round(self.end, 4)}] "
                f"revision {self.revision} saw {self.seen} at {self.seen_revision}")


def check_revisions(history):
    """The first contradiction as text, or None."""
    answered = [op for op in history if op.end is not None]
    writes = {}
    for op in answered:
        # A delete that found nothing has no revision of its own: it is a read.
        if op.wrote and not (op.kind == "delete" and op.seen is False):
            if op.revision in writes and writes[op.revision] is not op:
                return f"two writes have revision {op.revision}: {writes[op.revision]} and {op}"
            writes[op.revision] = op
    problem = _attribute(history, answered, writes) or _real_time(answered, writes)
    return problem or _contents(answered, writes)


def _attribute(history, answered, writes):
    """Finds which unanswered writes took effect: their values are unique, so whoever read one saw its revision."""
    lost = {(op.key, op.value): op for op in history if op.end is None and op.kind in ("put", "cas")}
    for op in answered:
        if op.seen_revision is None or op.seen is None:
            continue
        known = writes.get(op.seen_revision)
        if known is None:
            known = lost.get((op.key, op.seen))
            if known is None:
                return f"{op} saw a value that nobody wrote"
            writes[op.seen_revision] = known
        if (known.key, known.value) != (op.key, op.seen):
            return f"{op} saw revision {op.seen_revision}, which is {known}"
        if known.begin > op.end:
            return f"{op} saw the future: {known}"
    return None


def _real_time(answered, writes):
    """What began after another ended must not be before it in the store's order."""
    own = {id(op) for op in writes.values()}
    ends = sorted(answered, key=lambda op: op.end)
    place, newest, newest_op = 0, 0, None
    for op in sorted(answered, key=lambda op: op.begin):
        while place < len(ends) and ends[place].end < op.begin:
            if ends[place].revision > newest:
                newest, newest_op = ends[place].revision, ends[place]
            place += 1
        if op.revision < newest or op.revision == newest and id(op) in own:
            return f"{op} began after {newest_op} had ended, but is not after it"
    return None


def _contents(answered, writes):
    """Every answer shows what the newest write before it left."""
    by_key = collections.defaultdict(list)
    for revision, op in sorted(writes.items()):
        by_key[op.key].append((revision, op))
    for op in answered:
        if op.kind not in ("get", "cas"):
            continue
        # A cas that succeeded saw the state just before its own revision.
        limit = op.revision - 1 if op.wrote else op.revision
        changes = by_key[op.key]
        place = bisect.bisect_right(changes, limit, key=lambda change: change[0])
        newest = changes[place - 1] if place else (0, None)
        value = newest[1].value if newest[1] else None
        if op.kind == "cas" and op.succeeded:
            # An unanswered delete may have come between; only a value that was never there is a contradiction.
            if value != op.expected and op.expected is not None:
                return f"{op} expected {op.expected}, but the newest write before it is {newest[1]}"
        elif op.seen is not None and op.seen_revision < newest[0]:
            return f"{op} saw an old value: {newest[1]} had revision {newest[0]}"
        elif op.seen is None and op.kind == "get" and value is not None and not _may_be_deleted(answered, op):
            return f"{op} saw nothing, but {newest[1]} had revision {newest[0]}: it is lost"
    return None


def _may_be_deleted(answered, op):
    return op.key in _may_be_deleted.unanswered


_may_be_deleted.unanswered = set()


def check(history):
    _may_be_deleted.unanswered = {op.key for op in history if op.kind == "delete" and op.end is None}
    return check_revisions(history) or check_keys(history)


def check_keys(history):
    by_key = collections.defaultdict(list)
    for op in history:
        by_key[op.key].append(op)
    for key, operations in by_key.items():
        if not linearizable(operations):
            lines = "\n  ".join(repr(op) for op in sorted(operations, key=lambda op: op.begin))
            return f"no order explains what clients of {key} saw:\n  {lines}"
    return None


def _step(state, op):
    """The state after `op` when its answer fits `state`; (False, _) when it does not."""
    if op.kind == "get":
        return state == op.seen, state
    if op.kind == "put":
        return True, op.value
    if op.kind == "delete":
        fits = op.end is None or op.seen is None or op.seen == (state is not None)
        return fits, None
    if op.end is None:
        return True, op.value if state == op.expected else state
    if op.succeeded:
        return state == op.expected, op.value
    return state != op.expected and (op.seen is None or state == op.seen), state


def linearizable(operations, start=None):
    """If some order of the operations, in agreement with real time, explains every answer. Unanswered operations may
    take effect at any time after they began, or never."""
    operations = sorted((op for op in operations if op.end is not None or op.kind != "get"), key=lambda op: op.begin)
    count = len(operations)
    required = sum(1 << n for n, op in enumerate(operations) if op.end is not None)
    seen = set()
    stack = [(0, start)]
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        horizon = min((operations[n].end for n in range(count)
                       if not done >> n & 1 and operations[n].end is not None), default=float("inf"))
        for n in range(count):
            if done >> n & 1:
                continue
            op = operations[n]
            if op.begin > horizon:
                break
            fits, after = _step(state, op)
            if fits:
                stack.append((done | 1 << n, after))
    return False


def self_test():
    """The checkers find what they must, and accept what they must."""
    def op(kind, value, begin, end, revision, seen=None, seen_revision=None, expected=None, succeeded=None):
        made = Op(kind, "k", value, begin, expected)
        made.end, made.revision, made.seen, made.seen_revision, made.succeeded = end, revision, seen, seen_revision, succeeded
        return made

    good = [op("put", "a", 0, 1, 2), op("get", None, 2, 3, 2, "a", 2), op("put", "b", 2.5, 4, 3),
            op("get", None, 3.5, 5, 3, "b", 3), op("cas", "c", 6, 7, 4, expected="b", succeeded=True),
            op("put", "d", 8, None, None), op("get", None, 9, 10, 5, "d", 5)]
    assert check(good) is None, check(good)
    lost = [op("put", "a", 0, 1, 2), op("get", None, 2, 3, 2)]
    stale = [op("put", "a", 0, 1, 2), op("put", "b", 2, 3, 3), op("get", None, 4, 5, 2, "a", 2)]
    unseen = [op("put", "a", 0, 1, 2), op("put", "b", 2, 3, 3), op("get", None, 4, 5, 3, "b", 3),
              op("get", None, 6, 7, 3, "a", 2)]
    made_up = [op("get", None, 0, 1, 2, "x", 2)]
    twice = [op("cas", "a", 0, 1, 2, succeeded=True), op("cas", "b", 2, 3, 3, succeeded=True)]
    same = [op("put", "a", 0, 1, 2), op("put", "b", 0, 1, 2)]
    for bad in (lost, stale, unseen, made_up, twice):
        assert not linearizable(bad), bad
    for bad in (lost, stale, unseen, made_up, same):
        _may_be_deleted.unanswered = set()
        assert check_revisions(bad), bad


if __name__ == "__main__":
    self_test()
    print("1 passed, 0 failed")
