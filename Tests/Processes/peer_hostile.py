"""Commands that no member would propose: with the greatest and least numbers, cut short, of kinds that do not exist. Those about users and
certificates are in peer_rights.py."""
import peer_rights
from peer_wire import (alarm, blob, compact, compare, delete_range, fabric_command, fixed64, flag, key_range, lease_age,
                       lease_expire, lease_grant, lease_renew, lease_revoke, publish, put, range_request, several,
                       signed, text, txn, varint, _put, _txn)

GREATEST, LEAST = 2**63 - 1, -2**63
NUMBERS = [GREATEST, LEAST, GREATEST - 1, LEAST + 1, 2**62, 2**33, -1, 0]
COUNTS = [2**64 - 1, 2**63, 2**32, 0]
# From here on leases belong to nodes.
NODE_LEASES = 0x7fff_0000_0000_0000


def grants():
    """Leases whose time cannot be reckoned with."""
    yield lease_grant(7_001, GREATEST)
    yield lease_grant(7_002, LEAST)
    for place, ttl in enumerate(NUMBERS + [9_000_000_001, 2**40, -2**40]):
        yield lease_grant(7_100 + place, ttl)
    for lease in NUMBERS + [NODE_LEASES, NODE_LEASES - 1, NODE_LEASES + 1]:
        yield lease_grant(lease, 60)
        yield lease_grant(lease, GREATEST)


def leases():
    """What becomes of leases that are there, and of those that are not."""
    for lease in [7_001, 7_002, 7_200, *NUMBERS, NODE_LEASES + 1]:
        yield lease_renew(lease)
    yield lease_grant(7_200, 60)
    yield lease_grant(7_201, 60)
    for remaining in NUMBERS:
        yield lease_age([(7_200, 1, remaining)])
        yield lease_age([(7_201, 1, -remaining), (lease_id(remaining), remaining, remaining)])
    for generation in NUMBERS:
        yield lease_age([(7_200, generation, LEAST), (7_001, generation, GREATEST), (LEAST, generation, LEAST)])
        yield lease_expire(generation & 2**64 - 1, [(7_001, generation, generation), (GREATEST, generation, 0)])
    for lease in [7_002, *NUMBERS, NODE_LEASES, NODE_LEASES + 1]:
        yield lease_revoke(lease)


def lease_id(number):
    return number & 2**63 - 1


def keys():
    """Puts, deletes, txns and compactions."""
    for number in NUMBERS:
        yield put(b"stranger/a", b"x", number)
        yield compact(number)
        yield txn(success=[b"\x00" + range_request(b"", b"", number, number, number, number, number, number)],
                  failure=[b"\x01" + _put(b"stranger/f", b"", number, 4)])
        for target in (0, 1, 2, 4):
            for relation in range(4):
                yield txn([compare(b"stranger/", b"", relation, target, number)],
                          [b"\x01" + _put(b"stranger/t", b"x")], [b"\x02" + key_range(b"stranger/t") + flag(True)])
        for order in range(3):
            yield txn(success=[b"\x00" + range_request(b"a", b"z", number, -number, 0, number, number, 0, order=order,
                                                       target=order + 2, flags=order)])
    for flags in range(8):
        yield put(b"stranger/flags", b"v", 0, flags)
        yield put(b"stranger/none", b"", GREATEST, flags)
    yield put(b"", b"")
    yield put(b"\xff" * 100_000, b"x" * 100_000)
    for start, end in ((b"", b""), (b"z", b"a"), (b"stranger/", None), (b"\xff", b""), (b"", None), (b"b", b"b")):
        yield delete_range(b"stranger/" + start, end, True)
        yield delete_range(b"\xff" + start, end)
    inner = _txn(success=[b"\x01" + _put(b"stranger/n", b"x")])
    for depth in range(40):
        inner = _txn(success=[b"\x03" + inner, b"\x01" + _put(b"stranger/n", b"%d" % depth)])
        if depth % 4 == 2:
            yield b"\x03" + inner
    yield txn(success=[b"\x02" + key_range(b"stranger/twice", b"") + flag(True)] * 200)


def trace(at):
    return {"at": at, "by": "stranger", "reason": "x" * 10}


LABELS = several([text("zone") + text("z")])


def node(name, domain, capacity, ttl, pools=1):
    offered = [text(f"p{n}") + signed(capacity) + several([]) for n in range(pools)]
    return b"\x05" + text(name) + text(domain) + LABELS + several(offered) + several([text("a:1")]) + signed(ttl)


def volume(name, size, replication):
    return b"\x09" + text(name) + signed(size) + signed(replication) + LABELS


def by_id(number):
    return b"\x00" + signed(number)


def by_name(name):
    return b"\x01" + text(name)


def records():
    """Domains, nodes and volumes."""
    for at in (GREATEST, LEAST, 0):
        for name, capacity in (("s1", 2**60), ("s2", 2**59), ("s3", 0)):
            yield fabric_command(node(name, f"domain-{name}", capacity, 60), **trace(at))
        yield fabric_command(volume(f"v{at & 3}", 2**60, 1), **trace(at))
        yield fabric_command(volume(f"w{at & 3}", 2**59, 3), **trace(at))
        yield fabric_command(b"\x0c" + by_name(f"w{at & 3}") + text("s1") + flag(True), **trace(at))
        yield fabric_command(b"\x03" + text("domain-s1") + flag(True), **trace(at))
        yield fabric_command(b"\x02" + text("domain-s1"), **trace(at))
        yield fabric_command(b"\x06" + text("s2") + b"\x01\x01", **trace(at))
        yield fabric_command(b"\x06" + text("s2") + b"\x00\x00", **trace(at))
    for number in NUMBERS:
        for other in (GREATEST, LEAST, 1):
            yield fabric_command(node("s4", "domain-s4", number, other), **trace(number))
            yield fabric_command(node("s5", "domain-s4", number, 60, pools=9), **trace(other))
            yield fabric_command(volume("v9", number, other), **trace(number))
        yield fabric_command(volume("v8", 1, 1), expected=number, **trace(number))
        for reference in (by_id(number), by_name("w3"), by_id(1)):
            yield fabric_command(b"\x0a" + reference + b"\x01" + signed(number) + b"\x01" + signed(number) + b"\x00",
                                 **trace(number))
            yield fabric_command(b"\x0d" + reference + signed(number), **trace(number))
            for state in range(3):
                yield fabric_command(b"\x0e" + reference + text("s1") + bytes([state]) + signed(number), **trace(0))
            yield fabric_command(b"\x0c" + reference + text("s2") + flag(False), expected=number, **trace(number))
        yield fabric_command(b"\x0f" + several([signed(number), signed(1)]), **trace(number))
        yield fabric_command(b"\x10" + signed(number), **trace(number))
        yield fabric_command(b"\x0b" + by_id(number), **trace(number))
        marks = several([signed(number) + signed(number)])
        yield fabric_command(b"\x08" + varint(number & 2**64 - 1) + marks, **trace(0))
    yield fabric_command(b"\x11", **trace(GREATEST))
    yield fabric_command(b"\x01" + text("domain-w") + b"\x01\x00", **trace(LEAST))
    yield fabric_command(b"\x01" + text("x" * 5000) + b"\xff\x00", **trace(0))
    yield fabric_command(b"\x04" + text("domain-s4"), **trace(0))
    yield fabric_command(b"\x07" + text("s4"), **trace(0))


def alarms():
    """Alarms of members that are not there, each ended at once so that the others are carried out."""
    for member in (0, 1, 2**64 - 1, 2**63):
        for kind in (1, 2):
            yield alarm(member, kind)
            yield alarm(member, kind, False)
        yield alarm(member, 3)
        yield alarm(member, 0, False)


def members(member):
    """Attributes of members that are not there, and of the pretended one, that no list can show."""
    for other in (0, 1, 2**64 - 1):
        yield publish(other, "nobody", ["http://127.0.0.1:1"])
    yield publish(member, "m\u0000\u2028" * 50, ["", "http://[", "x" * 5000])
    yield b"\x05" + fixed64(member) + blob(b"\xff\xfe") + varint(0)


def unreadable():
    """What is no command."""
    for kind in [0, *range(14, 40), 127, 128, 254, 255]:
        yield bytes([kind])
        yield bytes([kind]) + b"\x00" * 40
        yield bytes([kind]) + b"\xff" * 40
    whole = [put(b"stranger/cut", b"value", 5, 1), delete_range(b"stranger/cut", b"z", True), compact(GREATEST),
             txn([compare(b"a", b"", 0, 0, LEAST)], [b"\x01" + _put(b"stranger/cut", b"")]), publish(1, "n", ["u"]),
             lease_grant(GREATEST, GREATEST), lease_expire(1, [(1, 2, 3)]), lease_age([(1, 2, 3)]), alarm(1, 1),
             fabric_command(node("s6", "d", GREATEST, GREATEST)), fabric_command(volume("v", GREATEST, LEAST))]
    for each in whole:
        for length in {1, 2, 3, len(each) // 2, len(each) - 2, len(each) - 1}:
            yield each[:length]
        yield each + b"\x00"
    for count in COUNTS[:3]:
        yield b"\x01" + varint(count) + b"key"
        yield b"\x03" + varint(count) + b"\x00" * 30
        yield b"\x0a" + varint(count) + b"\x00" * 30
        yield b"\x0d" + signed(0) + varint(count) + b"\x00" * 30


def raises():
    """The fabric's version, raised to what no member's release knows."""
    for version in (3, 99, 2**32, 2**63, 2**64 - 1):
        yield b"\x0f" + varint(version)


def is_looked_at(body):
    """If members carry it out or refuse it. One of a kind that they do not know they leave aside, and whatever comes in the same message."""
    is_by_user, place = body[:1] == b"\x11", 0
    if is_by_user or body[:1] == b"\x12":
        length, place = number(body, 1)
        place += length
        if is_by_user:
            _, place = number(body, place)
    return place < len(body) and 1 <= body[place] <= 16


def number(data, place):
    """A varint, and where it ends; what is cut short ends beyond the end."""
    value, shift = 0, 0
    while place < len(data):
        value |= (data[place] & 0x7f) << shift
        place, shift = place + 1, shift + 7
        if data[place - 1] < 0x80:
            return value, place
    return 0, len(data) + 1


FAMILIES = {"grants of leases": grants, "leases": leases, "keys": keys, "records": records, "alarms": alarms,
            "raises of the version": raises, **peer_rights.FAMILIES, "what is no command": unreadable}
