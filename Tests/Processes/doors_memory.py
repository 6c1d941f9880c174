"""The member's memory: whatever clients ask, send or do not read, it stays within its budget and others get answers.

    doors_memory.py WEFT [--only NAME]
"""
import json
import socket
import struct
import time
import zlib

from harness import Fabric, b64
from wire import (END_HEADERS, HEADERS, KV, MIB, WATCH, Ended, Wire, forget_peak, frame, literal, main, memory,
                  operation, pb, put_request, range_request, txn_request, watch_create)

BUDGET, SPARE = 128 * MIB, 256 * MIB
# Changes that wait for kv.db, once for it and once for those who watch; and what such a member needs beside.
CHANGES = 2 * 128 * MIB + 128 * MIB
VALUE = 1_400_000
# Puts the value that is there again, and asks for it.
PREVIOUS = pb((1, b"large"), (4, 1), (5, 1))
checks = []


def check(function):
    checks.append(function)
    return function


def others_get_answers(port, seconds=10):
    """A put and a range of a client at another address; it may be told to come again."""
    end, said = time.time() + seconds, None
    while time.time() < end:
        try:
            wire = Wire(port, "127.0.0.9", timeout=5)
            wire.call(KV + "Put", put_request(b"other", b"v"), timeout=8)
            wire.call(KV + "Range", range_request(b"other"), timeout=8)
            wire.close()
            return None
        except (OSError, Ended, TimeoutError) as error:
            said = f"{type(error).__name__}: {error}"
        time.sleep(0.2)
    return said


def within_budget(report, weft, what, attack, prepare=lambda member: None, flags=(), spare=SPARE):
    """Runs `attack(member)`, which returns what must stay open, and looks at the peak of the daemon's memory.
    `spare` is what it may take beside its budget."""
    with Fabric(weft, 1, [*flags, "--memory-budget", str(BUDGET)]) as fabric:
        member = fabric.members[0]
        prepare(member)
        forget_peak(member)
        held, refused = [], None
        try:
            held = attack(member)
        except (Ended, TimeoutError, OSError) as error:
            refused = error
        # Until it grows no more.
        peak, since = 0, time.time()
        begin = since
        while time.time() - since < 1 and time.time() - begin < 10 and member.process.poll() is None:
            now = memory(member)[1]
            if now > peak + MIB:
                peak, since = now, time.time()
            time.sleep(0.1)
        report.check("the daemon runs", member.process.poll() is None, member.process.poll())
        said = others_get_answers(member.client_port)
        report.check(f"others get answers beside {what}", said is None, said)
        now, peak = memory(member)
        report.check(f"memory stays within the budget and {spare // MIB} MiB with {what}", peak < BUDGET + spare,
                     f"peak {peak // MIB} MiB, now {now // MIB} MiB; {refused or ''}")
        for each in held or []:
            each.close()


def one_large_value(member):
    Wire(member.client_port).call(KV + "Put", put_request(b"large", b"v" * VALUE))


def large_values(member, count=60):
    wire = Wire(member.client_port)
    for n in range(count):
        wire.call(KV + "Put", put_request(b"many/%03d" % n, b"v" * VALUE))


def many_wires(member, count, **options):
    return [Wire(member.client_port, **options) for _ in range(count)]


@check
def reads_that_were_prepared_and_end_together_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 2)
        for wire in wires:
            for _ in range(250):
                wire.open(KV + "Range").send(range_request(b"large"))
        time.sleep(0.5)
        for wire in wires:
            wire.write(b"".join(frame(0, 1, number) for number in wire.streams))
        return wires
    within_budget(report, weft, "500 reads of a large value on two connections", attack, one_large_value)


@check
def reads_that_nobody_takes_stay_within_the_budget(report, weft):
    def attack(member):
        # The windows of their streams are closed: nothing of an answer can leave.
        wires = many_wires(member, 2, window=0, connection_window=0)
        for wire in wires:
            for _ in range(250):
                wire.open(KV + "Range").send(range_request(b"large"), end=True)
        return wires
    within_budget(report, weft, "500 answers whose windows are closed", attack, one_large_value)


@check
def txns_of_many_reads_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 4, window=0, connection_window=0)
        reads = txn_request((), [operation("range", range_request(b"large"))] * 128)
        for wire in wires:
            for _ in range(2):
                wire.open(KV + "Txn").send(reads, end=True)
        return wires
    within_budget(report, weft, "8 txns of 128 reads of a large value", attack, one_large_value)


def plain_links(member, requests):
    """A connection for each request, whose answers nobody reads."""
    links = []
    for request in requests:
        link = socket.socket()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.settimeout(5)
        link.connect(("127.0.0.1", member.client_port))
        link.sendall(request)
        links.append(link)
    return links


def post(path, body):
    body = json.dumps(body).encode()
    return b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


@check
def json_ranges_that_nobody_reads_stay_within_the_budget(report, weft):
    everything = post("/v3/kv/range", {"key": b64("many/"), "range_end": b64("many0")})
    within_budget(report, weft, "8 JSON ranges of 84 MB that nobody reads",
                  lambda member: plain_links(member, [everything] * 8),
                  large_values)


@check
def plain_lists_that_nobody_reads_stay_within_the_budget(report, weft):
    everything = b"GET /v1/kv/many/?prefix HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    within_budget(report, weft, "8 plain lists of 84 MB that nobody reads",
                  lambda member: plain_links(member, [everything] * 8),
                  large_values)


@check
def plain_values_that_nobody_reads_stay_within_the_budget(report, weft):
    one = b"GET /v1/kv/large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    within_budget(report, weft, "500 plain values that nobody reads", lambda member: plain_links(member, [one] * 500),
                  one_large_value)


@check
def sorted_ranges_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 8, window=0, connection_window=0)
        for wire in wires:
            # By value, descending.
            wire.open(KV + "Range").send(pb((1, b"many/"), (2, b"many0"), (5, 2), (6, 4)), end=True)
        return wires
    within_budget(report, weft, "8 sorted ranges of 84 MB", attack, large_values)


@check
def half_sent_messages_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 12)
        for wire in wires:
            for _ in range(40):
                wire.open(KV + "Put").raw(b"\0" + struct.pack(">I", VALUE + 100) + b"x" * VALUE, timeout=3)
                if wire.is_closed:
                    break
        return wires
    within_budget(report, weft, "480 messages of gRPC that lack their end", attack)


@check
def half_sent_bodies_stay_within_the_budget(report, weft):
    head = b"PUT /v1/kv/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3000000\r\n\r\n"

    def attack(member):
        links = []
        for _ in range(250):
            link = socket.create_connection(("127.0.0.1", member.client_port), timeout=2)
            links.append(link)
            try:
                link.sendall(head + b"x" * 2_900_000)
            except OSError:
                pass
        return links
    within_budget(report, weft, "250 bodies of HTTP/1.1 that lack their end", attack)


@check
def compressed_messages_stay_within_the_budget(report, weft):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(b"\0" * 2_900_000) + packer.flush()

    def attack(member):
        wires = many_wires(member, 4)
        for wire in wires:
            for _ in range(150):
                stream = wire.open(WATCH, [("grpc-encoding", "gzip")])
                # Many small messages that are large when they are unpacked, and then one without its end.
                stream.raw((b"\1" + struct.pack(">I", len(packed)) + packed) * 3, timeout=2)
        return wires
    within_budget(report, weft, "compressed messages", attack)


@check
def watches_of_large_keys_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 4)
        for n, wire in enumerate(wires):
            stream = wire.open(WATCH)
            for m in range(100):
                stream.send(watch_create(b"%d-%d" % (n, m) + b"k" * VALUE))
                if wire.is_closed or stream.is_over:
                    break
        return wires
    within_budget(report, weft, "400 watches of keys of 1.4 MB", attack)


@check
def watchers_that_do_not_read_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 20, window=0, connection_window=0)
        for wire in wires:
            for _ in range(20):
                # With history, and with the values before.
                wire.open(WATCH).send(watch_create(b"many/", b"many0", start=1, prev=True))
        links = plain_links(member,
                            [b"GET /v1/kv/many/?prefix&watch&revision=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"] * 100
                            + [post("/v3/watch", {"create_request": {"key": b64("many/"), "range_end": b64("many0"),
                                                                     "start_revision": "1"}})] * 100)
        return wires + links

    def prepare(member):
        large_values(member)
        large_values(member, 20)
    within_budget(report, weft, "600 watchers of large values that do not read", attack, prepare)


@check
def watchers_that_do_not_read_keep_no_others_from_large_events(report, weft):
    with Fabric(weft, 1, ["--memory-budget", str(BUDGET)]) as fabric:
        member = fabric.members[0]
        slow = many_wires(member, 20, window=0, connection_window=0)
        for n in range(200):
            slow[n % 20].open(WATCH).send(watch_create(b"many/", b"many0"))
        watching, writing = Wire(member.client_port), Wire(member.client_port)
        stream = watching.open(WATCH)
        stream.send(watch_create(b"many/", b"many0"))
        stream.next(25)
        longest, told = 0.0, 0
        for n in range(4):
            writing.call(KV + "Put", put_request(b"many/%d" % n, b"v" * 250_000), timeout=25)
            begin = time.time()
            try:
                stream.next(25)
                told += 1
            except (Ended, TimeoutError):
                pass
            longest = max(longest, time.time() - begin)
        report.check("a watcher that reads is told beside 200 that do not", told == 4 and longest < 3,
                     f"of {told} events, the last after {longest:.1f} s")
        for wire in slow:
            wire.close()


@check
def previous_values_that_nobody_takes_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 2, window=0, connection_window=0)
        for wire in wires:
            for _ in range(250):
                wire.open(KV + "Put").send(PREVIOUS, end=True)
        return wires
    within_budget(report, weft, "500 puts that ask for a large previous value", attack, one_large_value,
                  spare=CHANGES)


@check
def small_puts_that_write_a_large_value_again_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 4)
        for wire in wires:
            for _ in range(1000):
                wire.open(KV + "Put").send(pb((1, b"large"), (5, 1)), end=True)
        return wires
    within_budget(report, weft, "4,000 puts that write a large value again", attack, one_large_value, spare=CHANGES)


@check
def small_txns_that_write_a_large_value_again_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 4)
        writes = txn_request((), [operation("put", pb((1, b"many/%03d" % n), (5, 1))) for n in range(60)])
        for wire in wires:
            for _ in range(50):
                wire.open(KV + "Txn").send(writes, end=True)
        return wires
    # One more of them may come on top.
    within_budget(report, weft, "200 txns that write 60 large values again", attack, large_values,
                  spare=CHANGES + 2 * 60 * VALUE)


@check
def previous_values_of_txns_that_nobody_takes_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 2, window=0, connection_window=0)
        writes = txn_request((), [operation("put", PREVIOUS)])
        for wire in wires:
            for _ in range(250):
                wire.open(KV + "Txn").send(writes, end=True)
        return wires
    within_budget(report, weft, "500 txns that ask for a large previous value", attack, one_large_value,
                  spare=CHANGES)


@check
def ranges_in_txns_that_write_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 4, window=0, connection_window=0)
        writes = txn_request((), [operation("put", put_request(b"one", b"v")),
                                  operation("range", pb((1, b"many/"), (2, b"many0")))])
        for wire in wires:
            for _ in range(20):
                wire.open(KV + "Txn").send(writes, end=True)
        return wires
    within_budget(report, weft, "80 txns that write little and read 84 MB", attack, large_values, spare=CHANGES)


@check
def keys_of_leases_that_nobody_takes_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 4, window=0, connection_window=0)
        for wire in wires:
            for _ in range(20):
                wire.open("/etcdserverpb.Lease/LeaseTimeToLive").send(pb((1, 77), (2, 1)), end=True)
        return wires

    def prepare(member):
        wire = Wire(member.client_port)
        wire.call("/etcdserverpb.Lease/LeaseGrant", pb((1, 3600), (2, 77)))
        for n in range(60):
            wire.call(KV + "Put", pb((1, b"%02d" % n + b"k" * VALUE), (2, b"v"), (3, 77)))
    within_budget(report, weft, "80 times the keys of a lease of 84 MB", attack, prepare, spare=CHANGES)


@check
def deleted_values_that_nobody_takes_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 2, window=0, connection_window=0)
        for n in range(400):
            deletion = pb((1, b"many/%03d" % n), (3, 1))
            if n % 2:
                wires[0].open(KV + "DeleteRange").send(deletion, end=True)
            else:
                wires[1].open(KV + "Txn").send(txn_request((), [operation("delete", deletion)]), end=True)
        return wires
    within_budget(report, weft, "400 deletions that ask for large values", attack,
                  lambda member: large_values(member, 400))


@check
def previous_values_in_json_that_nobody_takes_stay_within_the_budget(report, weft):
    put = post("/v3/kv/put", {"key": b64("large"), "ignore_value": True, "prev_kv": True})
    within_budget(report, weft, "300 JSON puts that ask for a large previous value",
                  lambda member: plain_links(member, [put] * 300), one_large_value, spare=CHANGES)


@check
def headers_of_many_streams_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 3)
        start = b"".join(literal(*field) for field in [
            (":method", "POST"), (":scheme", "http"), (":path", WATCH), (":authority", "a"),
            ("content-type", "application/grpc"),
            ("te", "trailers")])
        for wire in wires:
            # Put into the table of headers once, and meant by one byte after that.
            wire.write(frame(HEADERS, END_HEADERS, 1, start + b"\x40" + literal("x", b"y" * 3900)[1:]))
            for first in range(3, 28_000, 400):
                wire.write(b"".join(frame(HEADERS, END_HEADERS, number,
                                          start + b"\xbe" * 3) for number in range(first, first + 400, 2)))
                if wire.is_closed:
                    break
        return wires
    within_budget(report, weft, "42,000 streams with 12 KB of headers each", attack)


@check
def pipelined_requests_stay_within_the_budget(report, weft):
    one = b"GET /v1/kv/large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    within_budget(report, weft, "200 connections that send 100 requests ahead",
                  lambda member: plain_links(member, [one * 100] * 200), one_large_value)


@check
def snapshots_that_nobody_reads_stay_within_the_budget(report, weft):
    def attack(member):
        wires = many_wires(member, 10, window=0, connection_window=0)
        for wire in wires:
            wire.open("/etcdserverpb.Maintenance/Snapshot").send(b"", end=True)
        return wires + plain_links(member, [b"GET /v1/snapshot HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"] * 10
                                   + [post("/v3/maintenance/snapshot", {})] * 10)
    within_budget(report, weft, "30 snapshots that nobody reads", attack, large_values)


def messages_that_are_begun_must_end(report, weft):
    """A begun message has 60 s. This takes longer than the other checks, and runs only by name."""
    def attack(member):
        wires = many_wires(member, 1)
        wires[0].open(KV + "Put").raw(b"\0" + struct.pack(">I", 1000) + b"x" * 500)
        begin = time.time()
        stream = next(iter(wires[0].streams.values()))
        while time.time() - begin < 75 and not stream.is_over and not wires[0].is_closed:
            wires[0].pump(0.5)
        report.check("a message of gRPC that was begun is given up after 60 s", stream.is_over or wires[0].is_closed,
                     f"still open after {time.time() - begin:.0f} s")
        return wires
    within_budget(report, weft, "a message that was begun", attack)


if __name__ == "__main__":
    main(checks, "doors_memory.py", [messages_that_are_begun_must_end])
