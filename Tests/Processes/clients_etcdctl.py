#!/usr/bin/env python3
"""Every command of etcdctl but those of auth, with the unmodified etcdctl 3.4 (Debian) and 3.5.1.

    clients_etcdctl.py WHERE [--only NAME] [--etcdctl 3.4|3.5.1]

WHERE is as in clients.py. Each case has keys of its own, and leaves nothing but them behind. Revisions are computed from
the one a case begins at, so nobody else may write meanwhile.
"""
import base64
import hashlib
import json
import os
import re
import secrets
import signal
import subprocess
import tempfile
import time

from clients import Cases, Running, arguments, etcdctl, servers, wait_for
from harness import Report, free_port

case = Cases()
COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE = "etcdserver: mvcc: required revision is a future revision"


def same(found, wanted, of=""):
    assert found == wanted, f"{of} {found!r}, not {wanted!r}"


def matches(pattern, text):
    found = re.fullmatch(pattern, text)
    assert found, f"{text!r} is not of the form {pattern!r}"
    return found


class Etcdctl:
    """One version of the client, pointed at all endpoints unless told otherwise."""

    def __init__(self, version, endpoints):
        self.version, self.endpoints = version, endpoints
        self.binary = etcdctl(version)
        self.newer = version != "3.4"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        self.environment["ETCDCTL_API"] = "3"

    def prefix(self, name):
        return f"etcdctl/{self.version}/{name}/{secrets.token_hex(4)}/"

    def words(self, words, at):
        return [self.binary, "--endpoints", ",".join(at or self.endpoints), *words]

    def all_output(self, *words, status=0, text=None, at=None, seconds=20):
        """What it writes to its two outputs; it must end with `status`."""
        run = subprocess.run(self.words(words, at), input=text if isinstance(text, bytes) else (text or "").encode(),
                             capture_output=True, env=self.environment, timeout=seconds)
        said, complained = run.stdout.decode(errors="backslashreplace"), run.stderr.decode(errors="backslashreplace")
        assert status in (None, run.returncode), \
            f"etcdctl {' '.join(map(str, words))}: ended with {run.returncode}, not {status}: {said}{complained}"
        return said, complained

    def __call__(self, *words, **options):
        return self.all_output(*words, **options)[0]

    def refused(self, why, *words, status=1, **options):
        """It fails, and the last line of its complaints has `why`."""
        complained = self.all_output(*words, status=status, **options)[1]
        assert why in (complained.strip().split("\n") or [""])[-1], f"etcdctl {' '.join(map(str, words))}: {complained}"

    def json(self, *words, **options):
        return json.loads(self(*words, "-w", "json", **options))

    def running(self, *words, text=None, at=None):
        return Running(self.words(words, at), self.environment, text)

    def put(self, key, value, *flags):
        """The revision it made."""
        return self.json("put", key, value, *flags)["header"]["revision"]

    def revision(self):
        return self.json("get", "no such key")["header"]["revision"]

    def grant(self, seconds):
        return matches(r"lease ([0-9a-f]{16}) granted with TTL\(\d+s\)\n", self("lease", "grant", str(seconds)))[1]

    def filled(self, name, *names):
        """A prefix with keys under it, each with its own name as the value, and the revision of the last."""
        prefix, revision = self.prefix(name), 0
        for n in names:
            revision = self.put(prefix + n, n)
        return prefix, revision


def bare(data):
    return base64.b64decode(data).decode()


def keys(answer):
    return [bare(pair["key"]) for pair in answer.get("kvs", [])]


# Keys and values

@case
def put_and_get(ctl):
    """what is put is got, the newest value, through every endpoint"""
    key = ctl.prefix("put") + "a//b"
    same(ctl("get", key), "")
    same(ctl("put", key, "one"), "OK\n")
    same(ctl("put", key, "two words"), "OK\n")
    for endpoint in ctl.endpoints:
        same(ctl("get", key, at=[endpoint]), f"{key}\ntwo words\n")
    same(ctl("get", key.replace("//", "/")), "")


@case
def put_from_standard_input(ctl):
    """a value of any bytes comes through standard input and goes out as it was"""
    key, value = ctl.prefix("stdin") + "k", bytes(range(256)) * 16
    ctl("put", key, text=value)
    pair = ctl.json("get", key)["kvs"][0]
    same(base64.b64decode(pair["value"]), value)
    ctl("put", key, "")
    assert "value" not in ctl.json("get", key)["kvs"][0]


@case
def put_prev_kv(ctl):
    """--prev-kv shows the pair that was there"""
    key = ctl.prefix("prev") + "k"
    same(ctl("put", key, "1", "--prev-kv"), "OK\n")
    same(ctl("put", key, "2", "--prev-kv"), f"OK\n{key}\n1\n")
    answer = ctl.json("put", key, "3", "--prev-kv")
    same(bare(answer["prev_kv"]["value"]), "2")
    same(answer["prev_kv"]["mod_revision"], answer["header"]["revision"] - 1)
    same(answer["prev_kv"]["version"], 2)


@case
def put_ignore(ctl):
    """--ignore-value and --ignore-lease keep what they name"""
    key, lease = ctl.prefix("ignore") + "k", ctl.grant(60)
    ctl.refused("etcdserver: key not found", "put", key, "--ignore-value")
    ctl.refused("etcdserver: key not found", "put", key, "v", "--ignore-lease")
    ctl.refused("etcdserver: requested lease not found", "put", key, "v", "--lease", "7fffffff12345678")
    ctl("put", key, "v", "--lease", lease)
    ctl("put", key, "w", "--ignore-lease")
    pair = ctl.json("get", key)["kvs"][0]
    same((bare(pair["value"]), pair["lease"]), ("w", int(lease, 16)))
    # A put without the lease takes the key off it.
    ctl("put", key, "--ignore-value")
    pair = ctl.json("get", key)["kvs"][0]
    same((bare(pair["value"]), pair.get("lease", 0)), ("w", 0))
    ctl("lease", "revoke", lease)
    same(ctl("get", key, "--print-value-only"), "w\n")


@case
def put_too_large(ctl):
    """a request above the limit is refused, one below it is not"""
    key = ctl.prefix("large") + "k"
    ctl("put", key, text="v" * (1_500_000))
    ctl.refused("etcdserver: request is too large", "put", key, text="v" * (1_600_000))
    same(len(ctl("get", key, "--print-value-only")), 1_500_001)
    ctl("del", key)


@case
def put_empty_key(ctl):
    """a key must be given"""
    ctl.refused("etcdserver: key is not provided", "put", "", "v")


@case
def get_ranges(ctl):
    """one key, a range, a prefix, all from a key on; --limit"""
    prefix, _ = ctl.filled("ranges", "a", "a/b", "b", "c")
    same(ctl("get", prefix + "a"), f"{prefix}a\na\n")
    same(ctl("get", prefix + "a", prefix + "b", "--print-value-only"), "a\na/b\n")
    same(ctl("get", prefix + "a", prefix + "a", "--print-value-only"), "")
    same(ctl("get", prefix + "a", "--prefix", "--print-value-only"), "a\na/b\n")
    same(ctl("get", prefix, "--prefix", "--print-value-only"), "a\na/b\nb\nc\n")
    answer = ctl.json("get", prefix, "--prefix", "--limit", "2")
    same((keys(answer), answer["more"], answer["count"]), ([prefix + "a", prefix + "a/b"], True, 4))
    assert "more" not in ctl.json("get", prefix, "--prefix", "--limit", "4")
    # Everything there is.
    assert set(keys(ctl.json("get", "", "--prefix", "--keys-only"))) >= {prefix + n for n in ("a", "a/b", "b", "c")}


@case
def get_from_key(ctl):
    """--from-key goes to the end of all keys, and has byte order"""
    prefix = b"\xff\xff" + ctl.prefix("from").encode()
    for n in (b"a", b"\xf0", b"b"):
        ctl("put", prefix + n, "v")
    answer = ctl.json("get", "--from-key", prefix + b"a\x01")
    same([base64.b64decode(pair["key"]) for pair in answer["kvs"]], [prefix + b"b", prefix + b"\xf0"])
    same(ctl("del", "--from-key", prefix), "3\n")
    assert ctl.json("get", "--from-key", "").get("count", 0) > 0


@case
def get_sorted(ctl):
    """--order and --sort-by, with all five targets"""
    prefix = ctl.prefix("sort")
    # By value: b a c; by creation: a b c; by modification: a c b; by version: a(1) c(2) b(3).
    for name, value in (("a", "2"), ("b", "9"), ("c", "8"), ("b", "7"), ("c", "3"), ("b", "1")):
        ctl("put", prefix + name, value)
    for target, order in (("KEY", "abc"), ("VALUE", "bac"), ("CREATE", "abc"), ("MODIFY", "acb"), ("VERSION", "acb")):
        for direction in ("ASCEND", "DESCEND"):
            answer = ctl.json("get", prefix, "--prefix", "--sort-by", target, "--order", direction)
            found = "".join(key[-1] for key in keys(answer))
            same(found, order if direction == "ASCEND" else order[::-1], f"{target} {direction}")
    answer = ctl.json("get", prefix, "--prefix", "--sort-by", "VALUE", "--order", "DESCEND", "--limit", "1")
    same((keys(answer), answer["more"], answer["count"]), ([prefix + "c"], True, 3))
    # A target without an order is ascending.
    same([key[-1] for key in keys(ctl.json("get", prefix, "--prefix", "--sort-by", "VALUE"))], ["b", "a", "c"])


@case
def get_less(ctl):
    """--keys-only, --print-value-only, --count-only, --hex"""
    prefix, _ = ctl.filled("less", "a", "b")
    same(ctl("get", prefix, "--prefix", "--keys-only"), f"{prefix}a\n\n{prefix}b\n\n")
    same(ctl("get", prefix, "--prefix", "--print-value-only"), "a\nb\n")
    assert "value" not in ctl.json("get", prefix, "--prefix", "--keys-only")["kvs"][0]
    same(ctl("get", prefix + "a", "--hex"), "".join(f"\\x{byte:02x}" for byte in f"{prefix}a".encode()) + "\n\\x61\n")
    if ctl.newer:
        printed = ctl("get", prefix, "--prefix", "--count-only", "-w", "fields")
        assert printed.endswith('"More" : false\n"Count" : 2\n') and '"Key"' not in printed, printed


@case
def get_outputs(ctl):
    """-w json, fields and protobuf show a pair's revisions, version and lease"""
    key, lease = ctl.prefix("outputs") + "k", ctl.grant(60)
    created = ctl.put(key, "v", "--lease", lease)
    modified = ctl.put(key, "v2", "--lease", lease)
    answer = ctl.json("get", key)
    same(answer["kvs"], [{"key": base64.b64encode(key.encode()).decode(), "create_revision": created, "version": 2,
                          "mod_revision": modified, "value": base64.b64encode(b"v2").decode(), "lease": int(lease, 16)}])
    header = answer["header"]
    same((modified, created, answer["count"]), (created + 1, header["revision"] - 1, 1))
    assert header["cluster_id"] > 0 and header["member_id"] > 0 and header["raft_term"] > 0, header
    fields = dict(line.split(" : ") for line in ctl("get", key, "-w", "fields").splitlines())
    same([fields[f'"{name}"'] for name in ("Key", "CreateRevision", "ModRevision", "Version", "Value", "Lease", "Count")],
         [f'"{key}"', str(created), str(modified), "2", '"v2"', str(int(lease, 16)), "1"])
    assert key in ctl("get", key, "-w", "protobuf")
    ctl("lease", "revoke", lease)


@case
def get_revisions(ctl):
    """--rev reads the past, also of keys deleted since; the future is refused"""
    prefix = ctl.prefix("rev")
    first = ctl.put(prefix + "a", "1")
    ctl("put", prefix + "b", "1")
    ctl("put", prefix + "a", "2")
    ctl("del", prefix, "--prefix")
    read = [ctl("get", prefix, "--prefix", "--print-value-only", "--rev", str(first + n)) for n in range(4)]
    same(read, ["1\n", "1\n1\n", "2\n1\n", ""])
    same(ctl("get", prefix, "--prefix", "--rev", str(first - 1)), "")
    ctl.refused(FUTURE, "get", prefix, "--rev", str(first + 1000))


@case
def get_serializable(ctl):
    """--consistency=s is answered by the member asked, from what it has applied"""
    key = ctl.prefix("serializable") + "k"
    for n, endpoint in enumerate(ctl.endpoints):
        ctl("put", key, str(n), at=[endpoint])
        same(ctl("get", key, "--consistency=s", "--print-value-only", at=[endpoint]), f"{n}\n")


@case
def delete(ctl):
    """one key, a range, a prefix; how many, and which with --prev-kv"""
    prefix, _ = ctl.filled("del", "a", "b", "b/c", "d", "e")
    same(ctl("del", prefix + "nothing"), "0\n")
    same(ctl("del", prefix + "a", "--prev-kv"), f"1\n{prefix}a\na\n")
    same(ctl("del", prefix + "b", prefix + "d", "--prev-kv"), f"2\n{prefix}b\nb\n{prefix}b/c\nb/c\n")
    before = ctl.revision()
    answer = ctl.json("del", prefix, "--prefix", "--prev-kv")
    same((answer["deleted"], answer["header"]["revision"]), (2, before + 1))
    same([bare(pair["value"]) for pair in answer["prev_kvs"]], ["d", "e"])
    # Nothing deleted is no revision.
    same(ctl.json("del", prefix, "--prefix")["header"]["revision"], before + 1)


@case
def version_restarts(ctl):
    """a key's version begins anew after its deletion"""
    key = ctl.prefix("version") + "k"
    ctl("put", key, "1")
    ctl("put", key, "2")
    ctl("del", key)
    revision = ctl.put(key, "3")
    pair = ctl.json("get", key)["kvs"][0]
    same((pair["version"], pair["create_revision"], pair["mod_revision"]), (1, revision, revision))


# Transactions

@case
def txn(ctl):
    """compares of every kind choose between success and failure"""
    prefix, _ = ctl.filled("txn", "yes", "no")
    key = prefix + "k"
    created = ctl.put(key, "1")
    modified = ctl.put(key, "one")
    for compare, holds in (
            ('value("{k}") = "one"', True), ('val("{k}") > "onf"', False), ('value("{k}") != "two"', True),
            ('version("{k}") = "2"', True), ('ver("{k}") < "2"', False), ('ver("{k}") != "2"', False),
            ('create("{k}") = "{c}"', True), ('c("{k}") < "{c}"', False), ('c("{k}") > "1"', True),
            ('mod("{k}") = "{m}"', True), ('m("{k}") > "{c}"', True), ('mod("{k}") < "{m}"', False),
            ('create("{k}none") = "0"', True), ('mod("{k}none") > "0"', False), ('version("{k}none") = "0"', True),
            # A key that is not there has no value, not an empty one.
            ('value("{k}none") = ""', False), ('value("{k}none") != "x"', False)):
        compare = compare.format(k=key, c=created, m=modified)
        printed = ctl("txn", text=f"{compare}\n\nget {prefix}yes\n\nget {prefix}no\n\n")
        same(printed, f"SUCCESS\n\n{prefix}yes\nyes\n" if holds else f"FAILURE\n\n{prefix}no\nno\n", compare)


@case
def txn_many(ctl):
    """several requests take one revision, and each sees those before it"""
    prefix, before = ctl.filled("many", "x", "y")
    text = (f'mod("{prefix}x") = "{before - 1}"\nvalue("{prefix}y") = "y"\n\n'
            f"put {prefix}a 1\nput {prefix}b 2\nget {prefix}a\ndel {prefix}x --prev-kv\nget {prefix} --prefix\n\n\n")
    printed = ctl("txn", text=text)
    same(printed, f"SUCCESS\n\nOK\n\nOK\n\n{prefix}a\n1\n\n1\n{prefix}x\nx\n\n"
         + f"{prefix}a\n1\n{prefix}b\n2\n{prefix}y\ny\n")
    answer = ctl.json("get", prefix, "--prefix")
    same([(key[-1], pair["mod_revision"]) for key, pair in zip(keys(answer), answer["kvs"])],
         [("a", before + 1), ("b", before + 1), ("y", before)])
    same(answer["header"]["revision"], before + 1)


@case
def txn_read_only(ctl):
    """a transaction that changes nothing takes no revision"""
    prefix, before = ctl.filled("readonly", "a")
    ctl("txn", text=f"\nget {prefix}a\ndel {prefix}none\n\n\n")
    same(ctl.revision(), before)


@case
def txn_refused(ctl):
    """a key twice and a lease that is not there fail the whole transaction"""
    prefix = ctl.prefix("refused")
    before = ctl.revision()
    ctl.refused("etcdserver: duplicate key given in txn request", "txn", text=f"\nput {prefix}a 1\nput {prefix}a 2\n\n\n")
    ctl.refused("etcdserver: duplicate key given in txn request", "txn",
                text=f"\nput {prefix}a 1\ndel {prefix} --prefix\n\n\n")
    ctl.refused("etcdserver: requested lease not found", "txn",
                text=f"\nput {prefix}a 1\nput {prefix}b 2 --lease=7fffffff12345678\n\n\n")
    ctl.refused("etcdserver: too many operations in txn request", "txn",
                text="\n" + "".join(f"put {prefix}{n} 1\n" for n in range(129)) + "\n\n")
    same(ctl.revision(), before)
    same(ctl("get", prefix, "--prefix"), "")
    ctl("txn", text="\n" + "".join(f"put {prefix}{n} 1\n" for n in range(128)) + "\n\n")
    same(ctl.revision(), before + 1)


@case
def txn_interactive(ctl):
    """txn -i asks for the three parts"""
    key = ctl.prefix("interactive") + "k"
    printed = ctl("txn", "-i", text=f'create("{key}") = "0"\n\nput {key} "a value"\n\n\n')
    same(printed, "compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\nSUCCESS\n\nOK\n")
    same(ctl("get", key, "--print-value-only"), "a value\n")


# Compaction

@case
def compaction(ctl):
    """what is older than the compacted revision is gone, what lives at it stays; twice and too far are refused"""
    key = ctl.prefix("compaction") + "k"
    first = ctl.put(key, "1")
    ctl("put", key, "2")
    ctl("put", key, "3")
    same(ctl("compaction", str(first + 1)), f"compacted revision {first + 1}\n")
    ctl.refused(COMPACTED, "get", key, "--rev", str(first))
    same(ctl("get", key, "--rev", str(first + 1), "--print-value-only"), "2\n")
    same(ctl("get", key, "--print-value-only"), "3\n")
    ctl.refused(COMPACTED, "compaction", str(first + 1))
    ctl.refused(COMPACTED, "compaction", str(first))
    ctl.refused(FUTURE, "compaction", str(first + 1000))
    same(ctl("compaction", "--physical", str(first + 2)), f"compacted revision {first + 2}\n")
    for endpoint in ctl.endpoints:
        ctl.refused(COMPACTED, "get", key, "--rev", str(first + 1), at=[endpoint])
    same(ctl("get", key, "--rev", str(first + 2), "--print-value-only"), "3\n")


# Watches

@case
def watch_from_now(ctl):
    """a watch with no revision sees what comes after it began, in order"""
    prefix = ctl.prefix("watch")
    with ctl.running("watch", prefix + "k") as watch:
        number = 0

        def begun():
            nonlocal number
            number += 1
            ctl("put", prefix + "k", str(number))
            return not watch.lines.empty()
        wait_for("the watch sees a put", begun)
        ctl("put", prefix + "other", "x")
        ctl("put", prefix + "k", "last")
        ctl("del", prefix + "k")
        watch.expect("PUT", prefix + "k")
        first = int(watch.line())
        for n in range(first + 1, number + 1):
            watch.expect("PUT", prefix + "k", str(n))
        watch.expect("PUT", prefix + "k", "last", "DELETE", prefix + "k", "")
        watch.silent(0.1)


@case
def watch_from_revision(ctl):
    """--rev: first the past, then what comes; --prefix; --prev-kv"""
    prefix, last = ctl.filled("watchrev", "a", "b", "a")
    with ctl.running("watch", prefix, "--prefix", "--rev", str(last - 1), "--prev-kv") as watch:
        watch.expect("PUT", prefix + "b", "b", "PUT", prefix + "a", "a", prefix + "a", "a")
        ctl("put", prefix + "a", "3")
        watch.expect("PUT", prefix + "a", "a", prefix + "a", "3")
        ctl("del", prefix, "--prefix")
        watch.expect("DELETE", prefix + "a", "3", prefix + "a", "", "DELETE", prefix + "b", "b", prefix + "b", "")


@case
def watch_outputs(ctl):
    """-w json shows revisions; the range form; a txn's events come in one answer; a start that is still to come"""
    prefix = ctl.prefix("watchjson")
    revision = ctl.revision()
    with ctl.running("watch", "-w", "json", "--rev", str(revision + 2), prefix + "a", prefix + "c") as watch:
        ctl("put", prefix + "a", "too early")
        ctl("txn", text=f"\nput {prefix}a 1\nput {prefix}b 2\nput {prefix}c 3\n\n\n")
        ctl("del", prefix + "a")
        answer = json.loads(watch.line())
        # The deletion is in the same answer when the watch began after it.
        events = answer["Events"] + (json.loads(watch.line())["Events"] if len(answer["Events"]) == 2 else [])
        same([(bare(e["kv"]["key"]), e.get("type", 0), e["kv"]["mod_revision"], e["kv"].get("create_revision"),
               e["kv"].get("version")) for e in events],
             [(prefix + "a", 0, revision + 2, revision + 1, 2), (prefix + "b", 0, revision + 2, revision + 2, 1),
              (prefix + "a", 1, revision + 3, None, None)])
        assert answer["Header"]["revision"] >= revision + 2 and not answer["Created"], answer
    with ctl.running("watch", "-w", "fields", "--rev", str(revision + 2), prefix + "b") as watch:
        lines = [watch.line() for _ in range(11)]
        assert '"Type" : PUT' in lines and f'"ModRevision" : {revision + 2}' in lines, lines


@case
def watch_command(ctl):
    """a command runs for each event, and learns of it from its environment"""
    prefix, last = ctl.filled("watchexec", "a")
    ctl("del", prefix + "a")
    script = 'echo "ran $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"'
    with ctl.running("watch", "--prefix", prefix, "--rev", str(last), "--", "sh", "-c", script) as watch:
        # An answer is printed whole, then the command runs for each of its events.
        lines = [watch.line() for _ in range(8)]
    same([line for line in lines if not line.startswith("ran ")], ["PUT", prefix + "a", "a", "DELETE", prefix + "a", ""])
    ran = [matches(r'ran (\d+) "(\w+)" "(.*)" "(.*)"', line) for line in lines if line.startswith("ran ")]
    same([run.groups()[1:] for run in ran], [("PUT", prefix + "a", "a"), ("DELETE", prefix + "a", "")])
    # The revision is that of the answer's header, not the event's.
    assert all(int(run[1]) >= last for run in ran), lines


@case
def watch_interactive(ctl):
    """watch -i: several watches on one stream, and `progress`"""
    prefix, last = ctl.filled("watchmany", "a", "b")
    text = f"watch {prefix}a --rev={last - 1}\nwatch {prefix}b --rev={last}\n"
    with ctl.running("watch", "-i", text=text) as watch:
        seen = [watch.line() for _ in range(6)]
        same(sorted((seen[0:3], seen[3:6])), [["PUT", prefix + "a", "a"], ["PUT", prefix + "b", "b"]])
        ctl("txn", text=f"\nput {prefix}a 2\nput {prefix}b 2\n\n\n")
        seen = [watch.line() for _ in range(6)]
        same(sorted((seen[0:3], seen[3:6])), [["PUT", prefix + "a", "2"], ["PUT", prefix + "b", "2"]])
        watch.write("progress\n")
        line = watch.line()
        assert int(matches(r"progress notify: (\d+)", line)[1]) >= last + 1, line


@case
def watch_progress_notify(ctl):
    """--progress-notify is taken, and harms nothing"""
    if not ctl.newer:
        return
    key = ctl.prefix("notify") + "k"
    revision = ctl.put(key, "v")
    with ctl.running("watch", key, "--rev", str(revision), "--progress-notify") as watch:
        watch.expect("PUT", key, "v")


@case
def watch_compacted(ctl):
    """a watch from before the compacted revision is cancelled with etcd's words"""
    key = ctl.prefix("watchcompacted") + "k"
    revision = ctl.put(key, "1")
    ctl("put", key, "2")
    ctl("compaction", str(revision + 1))
    said, complained = ctl.all_output("watch", key, "--rev", str(revision), status=None)
    assert f"watch was canceled ({COMPACTED})" in said + complained, said + complained
    assert "Error: watch is canceled by the server" in said + complained, said + complained
    with ctl.running("watch", key, "--rev", str(revision + 1)) as watch:
        watch.expect("PUT", key, "2")


@case
def watch_everything(ctl):
    """an empty key with --prefix watches all keys"""
    key = ctl.prefix("all") + "k"
    revision = ctl.revision()
    with ctl.running("watch", "", "--prefix", "--rev", str(revision + 1)) as watch:
        ctl("put", key, "v")
        watch.expect("PUT", key, "v")


# Leases

@case
def lease(ctl):
    """grant, put under it, timetolive --keys, list, revoke: its keys go in one revision"""
    prefix, lease = ctl.prefix("lease"), ctl.grant(40)
    before = ctl.put(prefix + "a", "1", "--lease", lease)
    ctl("put", prefix + "b", "1", "--lease", lease)
    printed = ctl("lease", "timetolive", lease)
    left = int(matches(rf"lease {lease} granted with TTL\(40s\), remaining\((\d+)s\)\n", printed)[1])
    assert 30 <= left <= 40, printed
    printed = ctl("lease", "timetolive", lease, "--keys")
    found = matches(rf"lease {lease} granted with TTL\(40s\), remaining\(\d+s\), attached keys\(\[(.*)\]\)\n", printed)
    same(sorted(found[1].split(" ")), [prefix + "a", prefix + "b"])
    answer = ctl.json("lease", "timetolive", lease, "--keys")
    same((answer["id"], answer["granted-ttl"], sorted(map(bare, answer["keys"]))),
         (int(lease, 16), 40, [prefix + "a", prefix + "b"]))
    for endpoint in ctl.endpoints:
        listed = ctl("lease", "list", at=[endpoint]).splitlines()
        assert listed[0] == f"found {len(listed) - 1} leases" and lease in listed, listed
    assert {"id": int(lease, 16)} in ctl.json("lease", "list")["leases"]
    same(ctl("lease", "revoke", lease), f"lease {lease} revoked\n")
    same(ctl("get", prefix, "--prefix"), "")
    same(ctl.revision(), before + 2)
    same(ctl("lease", "timetolive", lease), f"lease {lease} already expired\n")
    assert lease not in ctl("lease", "list")
    ctl.refused("etcdserver: requested lease not found", "lease", "revoke", lease)


@case
def lease_expires(ctl):
    """a lease that nobody renews ends, and its keys with it; granting takes no revision"""
    prefix, before = ctl.prefix("expires"), ctl.revision()
    answer = ctl.json("lease", "grant", "1")
    seconds, lease = answer["TTL"], f"{answer['ID']:x}"
    # No shorter than 1.5 elections; the least differs with the server's flags.
    assert 1 <= seconds <= 10 and answer["revision"] == before, answer
    ctl("put", prefix + "a", "1", "--lease", lease)
    ctl("put", prefix + "b", "1", "--lease", lease)
    granted = time.monotonic()
    with ctl.running("watch", prefix, "--prefix", "-w", "json", "--rev", str(before + 3)) as watch:
        events = json.loads(watch.line(seconds + 8))["Events"]
        assert time.monotonic() - granted > seconds - 1, "too early"
        same([(bare(e["kv"]["key"]), e["type"], e["kv"]["mod_revision"]) for e in events],
             [(prefix + "a", 1, before + 3), (prefix + "b", 1, before + 3)])
    same(ctl("get", prefix, "--prefix"), "")
    same(ctl("lease", "timetolive", lease), f"lease {int(lease, 16):016x} already expired\n")


@case
def lease_keep_alive(ctl):
    """keep-alive --once, and keep-alive that runs until the lease is revoked"""
    lease = ctl.grant(4)
    same(ctl("lease", "keep-alive", "--once", lease), f"lease {lease} keepalived with TTL(4)\n")
    same(ctl.json("lease", "keep-alive", "--once", lease)["TTL"], 4)
    key = ctl.prefix("keepalive") + "k"
    ctl("put", key, "v", "--lease", lease)
    with ctl.running("lease", "keep-alive", lease) as keeper:
        begin = time.monotonic()
        # It renews at a third of the time to live.
        for _ in range(3):
            keeper.expect(f"lease {lease} keepalived with TTL(4)")
        assert time.monotonic() - begin > 2, "renewed too often"
        same(ctl("get", key, "--print-value-only"), "v\n")
        ctl("lease", "revoke", lease)
        line = keeper.line()
        while line == f"lease {lease} keepalived with TTL(4)":
            line = keeper.line()
        same(line, f"lease {lease} expired or revoked.")
    ctl.refused("etcdserver: requested lease not found", "lease", "keep-alive", "--once", lease, status=2)


@case
def lease_limits(ctl):
    """a time to live above the most is refused"""
    ctl.refused("too large lease TTL", "lease", "grant", "9000000001")


# Locks and elections

@case
def lock_command(ctl):
    """a command runs under the lock and learns the key and the revision; its status comes back; the key is gone after"""
    name = ctl.prefix("lock") + "name"
    printed = ctl("lock", name, "--", "sh", "-c", "echo $ETCD_LOCK_KEY $ETCD_LOCK_REV")
    found = matches(rf"{name}/[0-9a-f]+ (\d+)\n", printed)
    same(int(found[1]), ctl.revision() - 1)
    same(ctl("get", name, "--prefix"), "")
    ctl("lock", name, "--", "sh", "-c", "exit 3", status=3 if ctl.newer else 1)


@case
def lock_contended(ctl):
    """one holder at a time; the next gets it on release; revisions, the fencing tokens, grow"""
    name = ctl.prefix("contended") + "name"
    tokens = []

    def token(key):
        pair = ctl.json("get", key)["kvs"][0]
        assert pair["lease"] and key == f"{name}/{pair['lease']:x}", (key, pair)
        return pair["create_revision"]
    with ctl.running("lock", name, "--ttl", "20") as first:
        tokens.append(token(first.line()))
        with ctl.running("lock", name, "--ttl", "20") as second, ctl.running("lock", name, "--ttl", "20") as third:
            wait_for("three keys", lambda: ctl.json("get", name + "/", "--prefix").get("count") == 3)
            second.silent(0.2)
            third.silent(0.1)
            first.signal()
            first.wait()
            holder = wait_for("the next holder", lambda: next((r for r in (second, third) if not r.lines.empty()), None))
            other = third if holder is second else second
            tokens.append(token(holder.line()))
            other.silent(0.2)
            holder.signal()
            holder.wait()
            tokens.append(token(other.line()))
            other.signal()
            other.wait()
    same(tokens, sorted(set(tokens)))
    wait_for("no key is left", lambda: ctl("get", name, "--prefix") == "")


@case
def lock_holder_dies(ctl):
    """a holder that is killed keeps the lock until its lease ends; a waiter that is killed is passed over"""
    name = ctl.prefix("dies") + "name"
    with ctl.running("lock", name, "--ttl", "3") as first:
        key = first.line()
        with ctl.running("lock", name, "--ttl", "3") as waiter, ctl.running("lock", name, "--ttl", "20") as last:
            wait_for("three keys", lambda: ctl.json("get", name + "/", "--prefix").get("count") == 3)
            first.signal(signal.SIGKILL)
            waiter.signal(signal.SIGKILL)
            killed = time.monotonic()
            next_key = last.line(15)
            assert next_key != key and time.monotonic() - killed > 0.9, "it took the lock from a lease that lives"
            same(ctl("get", key), "")
            last.signal()
            last.wait()
    wait_for("no key is left", lambda: ctl("get", name, "--prefix") == "", 15)


@case
def elect(ctl):
    """a candidate wins, a second waits for its end, and an observer sees both"""
    name = ctl.prefix("elect") + "name"
    with ctl.running("elect", "-l", name) as observer, ctl.running("elect", name, "first") as first:
        key = first.line()
        matches(rf"{name}/[0-9a-f]+", key)
        first.expect("first")
        observer.expect(key, "first")
        with ctl.running("elect", name, "second") as second:
            wait_for("two candidates", lambda: ctl.json("get", name + "/", "--prefix").get("count") == 2)
            second.silent(0.2)
            first.signal()
            first.wait()
            after = second.line()
            assert after != key, after
            second.expect("second")
            observer.expect(after, "second")
            second.signal()
            second.wait()
    wait_for("no key is left", lambda: ctl("get", name, "--prefix") == "")


# The cluster

@case
def endpoint_health(ctl):
    """every endpoint is well, those given and those of --cluster"""
    for flags in ([], ["--cluster"]):
        said = "".join(ctl.all_output("endpoint", "health", *flags)).strip().splitlines()
        same(len(said), len(ctl.endpoints))
        for line in said:
            matches(r"\S+ is healthy: successfully committed proposal: took = \S+", line)
        rows = ctl.json("endpoint", "health", *flags)
        assert len(rows) == len(ctl.endpoints) and all(row["health"] is True for row in rows), rows
    dead = f"127.0.0.1:{free_port()}"
    said = "".join(ctl.all_output("endpoint", "health", "--command-timeout=1s", at=[ctl.endpoints[0], dead], status=1))
    assert f"{dead} is unhealthy" in said and f"{ctl.endpoints[0]} is healthy" in said, said


@case
def endpoint_status(ctl):
    """one row an endpoint, one leader that all agree on"""
    for flags in ([], ["--cluster"]):
        rows = ctl.json("endpoint", "status", *flags)
        same(len(rows), len(ctl.endpoints))
        status = [row["Status"] for row in rows]
        same(len({s["header"]["cluster_id"] for s in status}), 1)
        same(len({s["leader"] for s in status}), 1)
        same(sum(s["leader"] == s["header"]["member_id"] for s in status), 1)
        for s in status:
            assert s["version"].startswith("3.") and s["dbSize"] > 0 and s["dbSizeInUse"] > 0, s
            assert s["raftIndex"] >= s["raftAppliedIndex"] > 0 and s["raftTerm"] > 0 and not s.get("isLearner"), s
            assert s["dbSizeInUse"] <= s["dbSize"], s
    same(len(ctl("endpoint", "status").splitlines()), len(ctl.endpoints))
    assert "| RAFT TERM |" in ctl("endpoint", "status", "-w", "table")
    same(ctl("endpoint", "status", "-w", "fields").count('"RaftAppliedIndex" :'), len(ctl.endpoints))


@case
def endpoint_hashkv(ctl):
    """all members have the same hash of the same revision, and it changes with the data"""
    prefix, _ = ctl.filled("hash", "a")

    def hashes(revision):
        # A member that has not applied the revision yet says that it is in the future.
        rows = None
        while rows is None:
            printed = ctl("endpoint", "hashkv", "--cluster", "--rev", str(revision), "-w", "json", status=None)
            rows = json.loads(printed) if printed.strip() else None
            assert time.monotonic() < end, "no answer"
            if rows and len(rows) < len(ctl.endpoints):
                rows = None
        same(len(rows), len(ctl.endpoints))
        same(len({row["HashKV"].get("compact_revision", 0) for row in rows}), 1)
        found = {row["HashKV"]["hash"] for row in rows}
        same(len(found), 1, f"the hashes differ: {rows}")
        return found.pop()
    end = time.monotonic() + 10
    first = hashes(ctl.revision())
    later = ctl.put(prefix + "a", "changed")
    assert hashes(later) != first, "another value, the same hash"
    same(hashes(later - 1), first)
    for line in ctl("endpoint", "hashkv", "--cluster").splitlines():
        matches(r"\S+, \d+", line)


@case
def member_list(ctl):
    """all members with names, addresses and roles, in every output"""
    rows = [line.split(", ") for line in ctl("member", "list").splitlines()]
    same(len(rows), len(ctl.endpoints))
    for row in rows:
        matches(r"[0-9a-f]{1,16}", row[0])
        same((row[1], row[5]), ("started", "false"))
        assert row[2] and "://" in row[3] and "://" in row[4], row
    same({url for row in rows for url in row[4].split(",")} >= {e.rstrip("/") for e in ctl.endpoints}, True,
         f"{rows} have not {ctl.endpoints}")
    answer = ctl.json("member", "list")
    same(sorted(f"{m['ID']:x}" for m in answer["members"]), sorted(row[0] for row in rows))
    assert "| STATUS" in ctl("member", "list", "-w", "table")
    same(ctl("member", "list", "-w", "fields").count('"IsLearner" : false'), len(rows))
    for endpoint in ctl.endpoints:
        same(sorted(ctl("member", "list", at=[endpoint]).splitlines()), sorted(ctl("member", "list").splitlines()))


def member_rows(ctl):
    return {row[0]: row for row in (line.split(", ") for line in ctl("member", "list").splitlines())}


def remove_unstarted(ctl):
    for name, row in member_rows(ctl).items():
        if row[1] == "unstarted":
            ctl("member", "remove", name)


def added(ctl, name, url, *flags):
    printed = ctl("member", "add", name, f"--peer-urls={url}", *flags)
    lines = printed.splitlines()
    new = matches(r"Member +([0-9a-f]+) added to cluster +([0-9a-f]+)", lines[0])[1]
    settings = dict(line.split("=", 1) for line in lines if line.startswith("ETCD_"))
    same(settings["ETCD_NAME"], f'"{name}"')
    same(settings["ETCD_INITIAL_CLUSTER_STATE"], '"existing"')
    same(settings["ETCD_INITIAL_ADVERTISE_PEER_URLS"], f'"{url}"')
    assert f"{name}={url}" in settings["ETCD_INITIAL_CLUSTER"], settings
    return new


@case
def member_learner(ctl):
    """add --learner, update, a promotion that comes too early, remove"""
    before = ctl("member", "list")
    url, other = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    try:
        new = added(ctl, "learner", url, "--learner")
        same(member_rows(ctl)[new], [new, "unstarted", "", url, "", "true"])
        # etcd makes the new member's id from its addresses and the second of the clock, and compares the ids first.
        ctl.refused("already exist", "member", "add", "again", "--learner", f"--peer-urls={url}")
        matches(rf"Member +{new} updated in cluster +[0-9a-f]+\n", ctl("member", "update", new, f"--peer-urls={other}"))
        same(member_rows(ctl)[new][3], other)
        ctl.refused("etcdserver: can only promote a learner member which is in sync with leader", "member", "promote", new)
        matches(rf"Member +{new} removed from cluster +[0-9a-f]+\n", ctl("member", "remove", new))
        ctl.refused("etcdserver: member not found", "member", "remove", new, status=1)
        same(ctl("put", ctl.prefix("learner") + "k", "v"), "OK\n")
    finally:
        remove_unstarted(ctl)
    same(sorted(ctl("member", "list").splitlines()), sorted(before.splitlines()))


@case
def member_voter(ctl):
    """add without --learner, and remove; requests go on meanwhile"""
    url = f"http://127.0.0.1:{free_port()}"
    if len(ctl.endpoints) < 3:
        # A voter that never starts would take its quorum from a smaller cluster.
        return
    before = ctl("member", "list")
    try:
        new = added(ctl, "voter", url)
        same(member_rows(ctl)[new][1:5], ["unstarted", "", url, ""])
        same(ctl("put", ctl.prefix("voter") + "k", "v"), "OK\n")
        ctl("member", "remove", new)
    finally:
        remove_unstarted(ctl)
    same(sorted(ctl("member", "list").splitlines()), sorted(before.splitlines()))


@case
def member_unknown(ctl):
    """a member that is not there cannot be removed, updated or promoted; a voter cannot be promoted"""
    for words in (["remove", "1234"], ["update", "1234", "--peer-urls=http://127.0.0.1:1"], ["promote", "1234"]):
        ctl.refused("etcdserver: member not found", "member", *words)
    voter = next(iter(member_rows(ctl)))
    ctl.refused("etcdserver: can only promote a learner member", "member", "promote", voter)


@case
def alarms(ctl):
    """no alarm is raised, and disarming is answered all the same"""
    same(ctl("alarm", "list"), "")
    same(ctl("alarm", "disarm"), "")


@case
def defrag(ctl):
    """every endpoint answers, and keeps its data"""
    prefix, _ = ctl.filled("defrag", "a")
    same(ctl("defrag"), "".join(f"Finished defragmenting etcd member[{endpoint}]\n" for endpoint in ctl.endpoints))
    same(ctl("defrag", "--cluster").count("Finished defragmenting etcd member["), len(ctl.endpoints))
    same(ctl("get", prefix, "--prefix"), f"{prefix}a\na\n")


@case
def snapshot_save(ctl):
    """a snapshot of each member, whole, with the checksum that etcdctl wants at its end"""
    with tempfile.TemporaryDirectory(prefix="weft-test-") as directory:
        for endpoint in ctl.endpoints:
            path = os.path.join(directory, "snapshot.db")
            same(ctl("snapshot", "save", path, at=[endpoint]), f"Snapshot saved at {path}\n")
            with open(path, "rb") as file:
                data = file.read()
            same(len(data) % 512, 32, "its length is not blocks of 512 bytes and a SHA-256:")
            same(data[-32:], hashlib.sha256(data[:-32]).digest(), "its end is not the SHA-256 of the rest:")
            os.remove(path)


@case
def snapshot_status(ctl):
    """etcdctl reads the snapshot it saved: its revision, keys and size"""
    prefix, revision = ctl.filled("snapshot", "a", "b")
    with tempfile.TemporaryDirectory(prefix="weft-test-") as directory:
        path = os.path.join(directory, "snapshot.db")
        # Of a member that has applied this revision.
        ctl("get", prefix, "--prefix", at=[ctl.endpoints[0]])
        ctl("snapshot", "save", path, at=[ctl.endpoints[0]])
        matches(r"[0-9a-f]{1,8}, \d+, \d+, \d+(\.\d+)? [kMG]?B\n", ctl("snapshot", "status", path))
        status = ctl.json("snapshot", "status", path)
        same(status["revision"], revision)
        assert status["totalKey"] >= 2 and status["totalSize"] > 0, status
        assert "TOTAL KEYS" in ctl("snapshot", "status", path, "-w", "table")


@case
def move_leader(ctl):
    """the leader hands over to the member named; another than a voter is refused"""
    if len(ctl.endpoints) < 2:
        return
    rows = ctl.json("endpoint", "status", "--cluster")
    leader = rows[0]["Status"]["leader"]
    target = next(row["Status"]["header"]["member_id"] for row in rows if row["Status"]["header"]["member_id"] != leader)
    same(ctl("move-leader", f"{target:x}"), f"Leadership transferred from {leader:x} to {target:x}\n")
    wait_for("all follow the new leader", lambda: {row["Status"]["leader"] for row in
                                                  ctl.json("endpoint", "status", "--cluster")} == {target})
    ctl.refused("etcdserver: bad leader transferee", "move-leader", "1234")
    follower = next(row["Endpoint"] for row in rows if row["Status"]["header"]["member_id"] != target)
    said = "".join(ctl.all_output("move-leader", f"{leader:x}", at=[follower], status=None))
    assert "no leader endpoint given" in said, said


@case
def make_mirror(ctl):
    """all keys are copied, then every change of them"""
    prefix, copies = ctl.filled("mirror", *"abc")[0], ctl.prefix("copies")
    destination = ctl.endpoints[0].split("://")[-1]

    def copied(*pairs):
        wanted = "".join(f"{copies}{key}\n{value}\n" for key, value in pairs)
        wait_for(lambda: f"{wanted!r}; there is {ctl('get', copies, '--prefix')!r}",
                 lambda: ctl("get", copies, "--prefix") == wanted)
    with ctl.running("make-mirror", "--prefix", prefix, "--dest-prefix", copies, destination):
        copied(("a", "a"), ("b", "b"), ("c", "c"))
        ctl("put", prefix + "a", "2")
        ctl("txn", text=f"\nput {prefix}d 1\nput {prefix}e 1\ndel {prefix}b\n\n\n")
        copied(("a", "2"), ("c", "c"), ("d", "1"), ("e", "1"))


@case
def version(ctl):
    """the client tells its own version"""
    same(ctl("version").split("\n")[1], f"API version: {ctl.version[:3]}")


@case
def one_endpoint_is_dead(ctl):
    """the client goes on with the others"""
    key, dead = ctl.prefix("dead") + "k", f"http://127.0.0.1:{free_port()}"
    for order in ([dead, *ctl.endpoints], [*ctl.endpoints, dead]):
        same(ctl("put", key, "v", at=order), "OK\n")
        same(ctl("get", key, "--print-value-only", at=order), "v\n")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--etcdctl", choices=["3.4", "3.5.1"], help="only this one")
    options = parser.parse_args()
    report = Report()
    with servers(options.where) as (endpoints, _):
        for number in [options.etcdctl] if options.etcdctl else ["3.4", "3.5.1"]:
            case.run(report, options.only, f"etcdctl {number}", Etcdctl(number, endpoints))
    report.finish()


if __name__ == "__main__":
    main()
