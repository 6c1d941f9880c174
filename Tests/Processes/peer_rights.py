"""Commands about users, roles and certificates that no member would propose. A part of peer_hostile.py."""
from peer_wire import blob, compact, delete_range, flag, lease_expire, lease_grant, put, several, signed, text, txn, varint, _put

GREATEST, LEAST = 2**63 - 1, -2**63
# The last four are the greatest and the least that count as a time, and their neighbours.
TIMES = [GREATEST, LEAST, GREATEST - 1, LEAST + 1, 2**62, 2**33, -1, 0, 2**53, -2**53, 2**53 + 1, -2**53 - 1]
REVISIONS = [2**64 - 1, 2**63, 2**63 - 1, 1, 0]
LONG = b"n" * 100_000
NAMES = [b"", b"\xff\x00\xfe", b"stranger"]
WRONG_ROLES = ["", "voters", "member:", "member:0x1", "member:-1", "member:01", "member:" + "f" * 17, "weft:node:", "user:", "ROOT", "weft:operator "]
RIGHT_ROLES = ["voter", "learner", "witness", "member:1", "weft:client", "weft:operator", "weft:observer", "weft:node:e1", "root"]


def access(change, at=0):
    """A change, and what is written down of it: when, by whom and why."""
    return b"\x10" + change + signed(at) + text("stranger") + text("x")


def by_user(name, revision, body):
    return b"\x11" + blob(name) + varint(revision) + body


def by_certificate(name, body):
    return b"\x12" + blob(name) + body


def change(kind, *names):
    return bytes([kind]) + b"".join(blob(name) for name in names)


def permission(kind, key, end):
    return signed(kind) + blob(key) + blob(end)


# --- Users and roles


def rights():
    """Every change of users and roles. At the end users do not count, as before."""
    for name in NAMES:
        yield access(change(3, name, b"no hash"))
        yield access(change(3, name + b"/1", b"$2b$31$" + name[:60]))
        yield access(change(4, name + b"/2"))
        yield access(change(6, name, b""))
        yield access(change(6, name + b"/2", b"$2b$04$"))
        yield access(change(9, name))
        for role in (name, b"root", b"weft:operator", b"weft:node:", b"weft:client"):
            yield access(change(7, role, name))
            yield access(change(7, role, name + b"/2"))
        yield access(change(8, b"root", name))
        yield access(change(8, b"none", name))
        yield access(change(5, name + b"/1"))
        yield access(change(15, name))
    yield access(change(3, LONG, b"no hash"))
    yield access(change(9, LONG))
    yield access(change(7, LONG, LONG))
    yield access(change(6, b"stranger", LONG))
    yield access(change(15, LONG))
    for number in TIMES:
        yield access(change(11, b"stranger") + permission(number, b"a%d" % (number & 0xff), b"z"))
        yield access(change(11, b"none") + permission(number, b"a", b"z"))
        yield access(change(9, b"role/%d" % number), number)
    for key, end in ((b"", b""), (b"", b"\x00"), (b"z", b"a"), (b"a", b"a"), (b"\xff", b""), (LONG, b""), (b"a", LONG), (b"\x00", b"\x00")):
        yield access(change(11, b"stranger") + permission(2, key, end))
        yield access(change(12, b"stranger", key, end))
        yield access(change(12, b"none", key, end))
    for revision in REVISIONS:
        for time in TIMES:
            yield access(change(13, b"stranger", b"\x00" * 32) + varint(revision) + signed(time))
            yield access(change(16) + enrolment(b"login/%d" % (time & 15), "user:stranger", time, time) + varint(revision) + signed(time), time)
    for user, digest in ((b"", b""), (b"none", b"x"), (LONG, LONG)):
        yield access(change(13, user, digest) + varint(1) + signed(0))
    for role in ("root", "user:" + "u" * 5000, "weft:client"):
        yield access(change(16) + enrolment(b"login", role, 60, 2**50) + varint(1) + signed(0))
    yield access(change(8, b"weft:operator", b"stranger"))
    yield access(change(10, b"stranger"))
    yield access(change(10, b"none"))
    yield access(change(5, b"none"))
    yield from while_users_count()
    yield from shortened(access(change(3, b"cut", b"hash"), 5), access(change(11, b"cut") + permission(2, b"a", b"z")),
                         access(change(13, b"cut", b"d") + varint(9) + signed(9)), by_user(b"cut", 9, put(b"stranger/cut", b"")),
                         by_certificate(b"cut", put(b"stranger/cut", b"")))
    for kind in (0, *range(17, 40), 127, 128, 255):
        yield access(bytes([kind]) + b"\x01a" * 4)


def while_users_count():
    """Without root they cannot; then with it, on behalf of everybody, and until root says that they do not count."""
    yield access(change(1))
    yield access(change(4, b"root"))
    yield access(change(1))
    yield access(change(7, b"root", b"root"))
    yield access(change(1))
    yield access(change(2))
    commands = [put(b"stranger/a", b"x", GREATEST), delete_range(b"stranger/", b"stranger0"), compact(GREATEST),
                txn(success=[b"\x01" + _put(b"stranger/t", b"x")]), lease_grant(7_400, GREATEST), lease_expire(1, [(1, 2, 3)]),
                access(change(5, b"root")), access(change(8, b"root", b"root")),
                access(change(10, b"root")), access(trust(3, token(b"t", "root", 2**50, 1), 0)), access(change(15, b"x"))]
    for name in (b"", b"none", b"stranger", b"stranger/2"):
        for revision in REVISIONS:
            yield by_user(name, revision, commands[0])
        for command in commands:
            yield by_user(name, 2**64 - 1, command)
            yield by_certificate(name, command)
    yield by_user(LONG, 1, commands[0])
    yield by_certificate(LONG, commands[0])
    for command in commands[:6]:
        yield by_user(b"root", 1, command)
        yield by_user(b"root", 2**64 - 1, command)
    yield by_user(b"root", 1, by_user(b"root", 1, commands[0]))
    for revision in REVISIONS:
        yield by_user(b"root", revision, access(change(5, b"root")))
    for revision in REVISIONS:
        yield by_user(b"root", revision, access(change(2)))


# --- Certificates


def trust(kind, *parts):
    """The parts: names, records that are encoded already, and times."""
    return b"\x0e" + bytes([kind]) + b"".join(signed(part) if isinstance(part, int) else part for part in parts)


def names(*several_names):
    return b"".join(blob(name) for name in several_names)


def token(name, role, until, uses_max, uses=0, returning=(), domain=b"", replaces=b""):
    return (names(name, b"digest", role.encode(), domain, replaces) + signed(until) + varint(uses_max) + varint(uses)
            + several([blob(key) for key in returning]))


def enrolment(name, role, life, until, key=b"key"):
    return names(name, b"title", role.encode(), key, b"authority") + signed(life) + signed(until)


def certificates():
    """Every change of whose certificates count. A token that is in order comes first, so that there is something to reckon with."""
    yield access(trust(3, token(b"good", "weft:client", 2**52, 1000), 1_700_000_000_000))
    yield access(trust(3, token(b"second", "weft:client", GREATEST, 1), LEAST))
    for number, time in enumerate(TIMES):
        for other in TIMES:
            yield access(trust(3, token(b"t/%d" % number, "weft:observer", time, 5), other))
            yield access(trust(6, enrolment(b"e/%d" % number, "weft:client", time, other), time))
        yield access(trust(5, names(b"good", b"digest", b"key/%d" % number), time, flag(False)), time)
        yield access(trust(5, names(b"good", b"digest", b"key/%d" % number), time, flag(True), enrolment(b"u/%d" % number, "root", 60, time)))
        yield access(trust(6, enrolment(b"r/%d" % number, "weft:client", 60, 2**50, b"key/r%d" % number), 0))
        yield access(trust(10, names(b"r/%d" % number, b"authority"), time))
        yield access(trust(7, names(b"r/%d" % number), time))
        yield access(trust(6, enrolment(b"r/%d" % number, "weft:client", 60, 2**50, b"key/r%d" % number), time))
        yield access(trust(8, names(b"%x" % number, b"authority", b"key"), time))
        yield access(trust(10, names(b"e/%d" % number, b"authority"), time))
        yield access(trust(7, names(b"e/%d" % number), time))
    for uses in (0, 1, 1000, 1001, 2**63, 2**64 - 1):
        for used in (0, 1, 999, 2**64 - 1):
            yield access(trust(3, token(b"uses/%d/%d" % (uses, used), "weft:client", 2**50, uses, used, [b"key", b"", LONG[:1000]]), 0))
            for key in (b"key", b"other", b""):
                yield access(trust(5, names(b"uses/%d/%d" % (uses, used), b"digest", key), 0, flag(False)))
    for role in WRONG_ROLES + RIGHT_ROLES:
        yield access(trust(3, token(b"role/" + role.encode(), role, 2**50, 1, domain=b"east", replaces=b"zz"), 0))
        yield access(trust(6, enrolment(b"role/" + role.encode(), role, 60, 2**50), 0))
    for name in [*NAMES, LONG]:
        short = name[:100]
        yield access(trust(3, token(name, "voter", 2**50, 1, domain=short, replaces=short), 0))
        yield access(trust(5, names(name, b"digest", short), 0, flag(False)))
        yield access(trust(5, names(short, name, name), 0, flag(False)))
        yield access(trust(6, enrolment(short, "weft:node:" + "e" * max(1, len(name)), 60, 2**50, short), 0))
        yield access(trust(6, enrolment(name, "weft:client", 60, 2**50, short), 0))
        yield access(trust(10, names(name, short), 0))
        yield access(trust(8, names(short, short, name), 0))
        yield access(trust(11, names(short, b"new" + short, name)))
        yield access(trust(11, names(b"7", name, b"key")))
        yield access(trust(12, names(name, b"one")))
        yield access(trust(7, names(name), 0))
        yield access(trust(4, names(name)))
        yield access(trust(9, names(short)))
    yield from authorities()
    yield from shortened(access(trust(1, names(b"cut", b"x"), varint(1))), access(trust(3, token(b"cut", "voter", 2**50, 1, 0, [b"a"]), 0)),
                         access(trust(5, names(b"good", b"digest", b"cut"), 0, flag(True), enrolment(b"cut", "root", 60, 60))),
                         access(trust(7, names(b"cut"), 0)), access(trust(8, names(b"cut", b"a", b"k"), 0)), access(trust(10, names(b"cut", b"a"), 0)))
    for count in (2**64 - 1, 2**63, 2**32):
        yield access(trust(2, names(b"none"), varint(count)))
        yield access(trust(3, token(b"count", "voter", 2**50, 1)[:-1] + varint(count), 0))
    for kind in (0, *range(13, 40), 128, 255):
        yield access(trust(kind, names(b"a", b"b", b"c"), 0))


def authorities():
    """CAs of which nobody has the key, and which are no certificates. One stays: the last cannot be given up."""
    for name, certificate, number in ((b"", b"", 0), (b"one", b"no certificate", 2**64 - 1), (b"two", LONG, 0), (b"three", b"\x30\x82\xff\xff", 1)):
        yield access(trust(1, names(name, certificate), varint(number)))
        yield access(trust(12, names(b"7", name)))
        yield access(trust(8, names(b"7", name, b"key"), 2**50))
        yield access(trust(2, names(name), several([])))
    for leaving in ([], [b"7"], [b""] * 1000, [LONG]):
        yield access(trust(2, names(b"one"), several([blob(each) for each in leaving])))
        yield access(trust(2, names(b"none"), several([blob(each) for each in leaving])))
    for name in (b"two", b"three", b"one", b""):
        yield access(trust(2, names(name), several([blob(b"7")])))


def shortened(*whole):
    """Each cut short in some places, and with a byte too many."""
    for each in whole:
        for length in sorted({1, 2, 3, len(each) // 3, len(each) // 2, len(each) - 20, len(each) - 2, len(each) - 1}):
            yield each[:length]
        yield each + b"\x00"


FAMILIES = {"users and roles": rights, "certificates": certificates}
