#!/usr/bin/env python3
"""Every command of etcdctl but those of auth, with the unmodified etcdctl 3.4 (Debian) and 3.5.1.

    clients_etcdctl.py WHERE [--only NAME] [--etcdctl 3.4|3.5.1]

WHERE is as in clients.py. Each case has keys of its own, and leaves nothing but them behind. Revisions are computed from
the one a case begins at, so nobody else may write meanwhile.
"""
import base64
import json

import etcdctl_cluster
from clients import Cases, arguments, same, servers, wait_for
from etcdctl import COMPACTED, FUTURE, Etcdctl, bare, keys, matches
from harness import Report

case = Cases()


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


def main():
    parser = arguments(__doc__)
    parser.add_argument("--etcdctl", choices=["3.4", "3.5.1"], help="only this one")
    options = parser.parse_args()
    report = Report()
    with servers(options.where) as (endpoints, _):
        for number in [options.etcdctl] if options.etcdctl else ["3.4", "3.5.1"]:
            for cases in (case, etcdctl_cluster.case):
                cases.run(report, options.only, f"etcdctl {number}", Etcdctl(number, endpoints))
    report.finish()


if __name__ == "__main__":
    main()
