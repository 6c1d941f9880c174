"""What members say to each other on the peer port, as bytes, for tests that pretend to be one. Standard library."""
import itertools
import random
import socket
import struct
import threading

# --- Numbers and bytes


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value):
    return varint(value & (1 << 64) - 1)


def fixed64(value):
    return struct.pack("<Q", value & (1 << 64) - 1)


def fixed32(value):
    return struct.pack("<I", value)


def blob(value):
    return varint(len(value)) + value


def text(value):
    return blob(value.encode())


def flag(value):
    return b"\x01" if value else b"\x00"


def several(items):
    return varint(len(items)) + b"".join(items)


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data):
    value = 0xffffffff
    for byte in data:
        value = _CRC[(value ^ byte) & 0xff] ^ value >> 8
    return value ^ 0xffffffff


# --- Frames


def frame(payload):
    return struct.pack(">II", len(payload), crc32c(payload)) + payload


def half_frame(length):
    """The beginning of a frame that announces `length` bytes, of whatever checksum."""
    return struct.pack(">II", length, 0)


MESSAGES, SNAPSHOT = 1, 2


def hello(cluster, sender, receiver, purpose=MESSAGES, unconfirmed=False, versions=(1, 2), index=0, urls=()):
    """The first frame on a connection: who calls whom, of which fabric, for what; where the newest configuration that names the
    caller stands, and where it is reached."""
    head = b"\x09" + varint(versions[0]) + varint(versions[1])
    ids = fixed64(cluster) + fixed64(sender) + fixed64(receiver)
    return frame(head + ids + flag(unconfirmed) + bytes([purpose]) + varint(index) + several([text(url) for url in urls]))


def welcome():
    return frame(b"\x0a" + varint(2))


def is_welcome(payload):
    return payload[:1] == b"\x0a"


WRONG_CLUSTER, WRONG_MEMBER, REMOVED, UNKNOWN, FORGOTTEN = 1, 2, 3, 4, 5


def refused(reason):
    return frame(bytes([3, reason]))


def messages(*encoded):
    return frame(b"\x04" + several(encoded))


def snapshot_header(index, term, size, configuration=b"\x00\x00\x00", checksum=0):
    return frame(b"\x05" + varint(index) + varint(term) + varint(size) + fixed32(checksum) + configuration)


# --- Messages


def message(sender, receiver, term, body):
    return fixed64(sender) + fixed64(receiver) + varint(term) + body


def _body(kind, *numbers):
    return bytes([kind]) + b"".join(varint(number) for number in numbers)


def pre_vote(last_index, last_term):
    return _body(1, last_index, last_term)


def pre_vote_reply(granted):
    return _body(2, int(granted))


def vote(last_index, last_term, transfer=False):
    return _body(3, last_index, last_term, int(transfer))


def vote_reply(granted):
    return _body(4, int(granted))


def append(previous_index, previous_term, entries, commit, log_epoch=0):
    return _body(5, previous_index, previous_term, commit, log_epoch) + several(entries)


def matched(index, log_epoch=0):
    return _body(6, log_epoch, index)


def conflict(rejected, hint, hint_term, log_epoch=0):
    return _body(7, log_epoch, rejected, hint, hint_term)


def stale_term(log_epoch=0):
    return _body(8, log_epoch)


def heartbeat(commit, commit_term=0, round_number=1, log_epoch=0, election_milliseconds=1000, stored=0, asks=False):
    return _body(9, commit, commit_term, round_number, log_epoch, election_milliseconds, stored, int(asks))


def heartbeat_reply(round_number=1, log_epoch=0, is_recovering=False, promise=0):
    return _body(10, round_number, log_epoch, int(is_recovering), promise)


def timeout_now():
    return _body(11)


_stamps = itertools.count(1)
_start = random.getrandbits(62)


def propose(proposals):
    """Each call is another request of the same start of the sender."""
    return b"\x0c" + fixed64(_start) + varint(next(_stamps)) + several(proposals)


def read_index(ids):
    return b"\x10" + several([fixed64(each) for each in ids])


EMPTY, COMMAND, CONFIGURATION = 0, 1, 2


def _sum(kind, payload):
    return fixed32(crc32c(bytes([kind]) + payload))


def entry(index, term, payload, kind=COMMAND):
    return varint(index) + varint(term) + bytes([kind]) + _sum(kind, payload) + blob(payload)


def proposal(payload, kind=COMMAND, request=None):
    request = random.getrandbits(63) if request is None else request
    return fixed64(request) + bytes([kind]) + _sum(kind, payload) + blob(payload)


# --- Commands: what entries hold after the id of the request


def command(body, request=None):
    return fixed64(random.getrandbits(63) if request is None else request) + body


def key_range(start, end=None):
    """One key, or those before `end`; the end b"" is none."""
    if end is None:
        return blob(start) + b"\x00"
    return blob(start) + (b"\x01" + blob(end) if end else b"\x02")


def put(key, value, lease=0, flags=0):
    return b"\x01" + _put(key, value, lease, flags)


def _put(key, value, lease=0, flags=0):
    return blob(key) + blob(value) + signed(lease) + bytes([flags])


def delete_range(start, end=None, previous=False):
    return b"\x02" + key_range(start, end) + flag(previous)


def txn(compares=(), success=(), failure=()):
    return b"\x03" + _txn(compares, success, failure)


def _txn(compares=(), success=(), failure=()):
    return several(compares) + several(success) + several(failure)


def compare(start, end, relation, target, number):
    return key_range(start, end) + bytes([relation, target]) + signed(number)


def range_request(start, end, *numbers, order=0, target=0, flags=0):
    """The numbers: limit, revision, least and greatest mod revision, least and greatest create revision."""
    return key_range(start, end) + b"".join(signed(n) for n in numbers) + bytes([order, target, flags])


def compact(revision):
    return b"\x04" + signed(revision)


def publish(member, name, urls=()):
    return b"\x05" + fixed64(member) + text(name) + several([text(url) for url in urls])


def lease_grant(lease, ttl):
    return b"\x06" + signed(lease) + signed(ttl)


def lease_renew(lease):
    return b"\x07" + signed(lease)


def lease_revoke(lease):
    return b"\x08" + signed(lease)


def lease_expire(term, marks):
    return b"\x09" + varint(term) + _marks(marks)


def lease_age(marks):
    return b"\x0a" + _marks(marks)


def _marks(marks):
    return several([b"".join(signed(number) for number in mark) for mark in marks])


def alarm(member, kind, is_raised=True):
    return (b"\x0b" if is_raised else b"\x0c") + fixed64(member) + bytes([kind, 0])


def fabric_command(action, at=0, by="", reason="", expected=None):
    return (b"\x0d" + signed(at) + text(by) + text(reason)
            + (b"\x00" if expected is None else b"\x01" + signed(expected)) + action)


# --- Connections


class Peer:
    """A connection to a member's peer port."""

    def __init__(self, port, first=b"", timeout=5, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0) if source else None)
        self.received = b""
        if first:
            self.send(first)

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        """The next frame's payload; None at the end of the connection."""
        while True:
            if len(self.received) >= 8:
                length = struct.unpack(">I", self.received[:4])[0]
                if len(self.received) >= 8 + length:
                    payload, self.received = self.received[8:8 + length], self.received[8 + length:]
                    return payload
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not data:
                return None
            self.received += data

    def is_closed(self, seconds):
        """If the other side closes the connection within that time."""
        self.socket.settimeout(seconds)
        try:
            while self.read() is not None:
                pass
            return True
        except TimeoutError:
            return False

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Impostor:
    """A listener at a dead member's address that gives every caller the same answer. A context manager."""

    def __init__(self, port, answer):
        self.port, self.answer = port, answer
        self.answered = 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(64)
        self.open = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection:
                connection.settimeout(20)
                if connection.recv(65536):
                    connection.sendall(self.answer)
                    self.answered += 1
                while connection.recv(65536):
                    pass
        except OSError:
            pass

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
