"""HTTP/2, gRPC and protobuf by hand for tests of the client port, and what /proc says of a daemon. Standard
library, and libnghttp2 (which weft needs itself) to read header fields."""
import argparse
import ctypes
import os
import socket
import struct
import time

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MIB = 1 << 20


# protobuf

def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def pb(*fields):
    """A message of (number, value) pairs; a value is an int, text or bytes (also of a message), or a list of these."""
    out = b""
    for number, value in fields:
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int):
                out += varint(number << 3) + varint(one)
            else:
                one = one.encode() if isinstance(one, str) else one
                out += varint(number << 3 | 2) + varint(len(one)) + one
    return out


def parse(data):
    """The fields of a message: a list of values by number; integers are signed 64-bit."""
    fields, place = {}, 0

    def number():
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value
    while place < len(data):
        tag = number()
        if tag & 7 == 0:
            value = number()
            value -= 1 << 64 if value >= 1 << 63 else 0
        else:
            assert tag & 7 == 2, f"wire type {tag & 7}"
            count = number()
            value = data[place:place + count]
            place += count
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def one(fields, number, otherwise=0):
    return fields.get(number, [otherwise])[-1]


# HPACK

class _NV(ctypes.Structure):
    _fields_ = [("name", ctypes.POINTER(ctypes.c_uint8)), ("value", ctypes.POINTER(ctypes.c_uint8)),
                ("namelen", ctypes.c_size_t), ("valuelen", ctypes.c_size_t), ("flags", ctypes.c_uint8)]


class Inflater:
    _library = None

    def __init__(self):
        if Inflater._library is None:
            library = ctypes.CDLL("libnghttp2.so.14")
            library.nghttp2_hd_inflate_hd2.restype = ctypes.c_ssize_t
            Inflater._library = library
        self.handle = ctypes.c_void_p()
        assert Inflater._library.nghttp2_hd_inflate_new(ctypes.byref(self.handle)) == 0

    def fields(self, block):
        library, found, place = Inflater._library, {}, 0
        while True:
            pair, flags, rest = _NV(), ctypes.c_int(0), block[place:]
            used = library.nghttp2_hd_inflate_hd2(self.handle, ctypes.byref(pair), ctypes.byref(flags), rest,
                                                  ctypes.c_size_t(len(rest)), 1)
            assert used >= 0, f"header block: {used}"
            place += used
            if flags.value & 2:
                name = ctypes.string_at(pair.name, pair.namelen).decode()
                found[name] = ctypes.string_at(pair.value, pair.valuelen).decode(errors="replace")
            if flags.value & 1 or (used == 0 and not flags.value & 2):
                library.nghttp2_hd_inflate_end_headers(self.handle)
                return found

    def __del__(self):
        if self.handle:
            Inflater._library.nghttp2_hd_inflate_del(self.handle)


def literal(name, value):
    value = value.encode() if isinstance(value, str) else value

    def length(count):
        return bytes([count]) if count < 127 else b"\x7f" + varint(count - 127)
    return b"\0" + length(len(name)) + name.encode() + length(len(value)) + value


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Ended(Exception):
    """The stream is over; of gRPC with `code` and `text`, a connection's end has code None."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


class Stream:
    def __init__(self, wire, number):
        self.wire, self.number = wire, number
        self.head, self.trailers, self.body, self.messages = {}, None, bytearray(), []
        self.is_over, self.reset, self.window = False, None, wire.initial_window

    def send(self, message=None, end=False):
        data = b"" if message is None else b"\0" + struct.pack(">I", len(message)) + message
        self.raw(data, end)

    def raw(self, data, end=False, timeout=20):
        """DATA as the windows let it through."""
        place, until = 0, time.time() + timeout
        while place < len(data) or (end and place == len(data)):
            room = min(len(data) - place, 16384, self.window, self.wire.window)
            if room <= 0 and place < len(data):
                if self.is_over or time.time() > until or not self.wire.pump(0.2) and self.wire.is_closed:
                    return False
                continue
            last = end and place + room == len(data)
            self.wire.write(frame(DATA, END_STREAM if last else 0, self.number, data[place:place + room]))
            place += room
            self.window -= room
            self.wire.window -= room
            if last:
                break
        return True

    def status(self):
        """gRPC's code and text, when it is over."""
        fields = self.trailers if self.trailers is not None else self.head
        if "grpc-status" in fields:
            return int(fields["grpc-status"]), fields.get("grpc-message", "")
        return None, f"reset {self.reset}" if self.reset is not None else f"{fields}"

    def next(self, timeout=10):
        """The next message; raises Ended, or TimeoutError."""
        self.wire.until(lambda: self.messages or self.is_over, timeout)
        if self.messages:
            return self.messages.pop(0)
        raise Ended(*self.status())

    def ended(self, timeout=10):
        """Waits for its end: code and text."""
        self.wire.until(lambda: self.is_over, timeout)
        return self.status()


class Wire:
    """An HTTP/2 connection. Single-threaded: it reads only while somebody waits."""

    def __init__(self, port, source=None, host="127.0.0.1", window=1 << 30, connection_window=1 << 30, timeout=10):
        self.socket = socket.create_connection((host, port), timeout, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.streams, self.next_stream = bytearray(), {}, 1
        self.inflater, self.block, self.window, self.initial_window = Inflater(), None, 65535, 65535
        self.is_closed, self.goaway, self.pongs, self.has_settings = False, None, 0, False
        self.write(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, min(window, (1 << 31) - 1)))
                   + (frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", connection_window)) if connection_window else b""))

    def write(self, data):
        try:
            self.socket.settimeout(20)
            self.socket.sendall(data)
        except OSError:
            self.is_closed = True

    def open(self, path, headers=(), end=False, method="POST", content_type="application/grpc", authority="localhost"):
        fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)]
        if content_type:
            fields += [("content-type", content_type), ("te", "trailers")]
        block = b"".join(literal(*field) for field in [*fields, *headers])
        stream = Stream(self, self.next_stream)
        self.streams[stream.number] = stream
        self.next_stream += 2
        self.write(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream.number, block))
        return stream

    def call(self, path, message=b"", headers=(), timeout=10):
        """A unary call: its answer as fields; raises Ended when it fails."""
        stream = self.open(path, headers)
        stream.send(message, end=True)
        code, text = stream.ended(timeout)
        if code != 0:
            raise Ended(code, text)
        return parse(bytes(stream.messages[0]))

    def request(self, method, path, body=b"", headers=(), timeout=10, authority="localhost"):
        """A plain request: status, body, headers."""
        stream = self.open(path, headers, end=not body, method=method, content_type=None, authority=authority)
        if body:
            stream.raw(body, end=True)
        self.until(lambda: stream.is_over, timeout)
        return int(stream.head.get(":status", 0)), bytes(stream.body), stream.head

    def until(self, holds, timeout=10):
        end = time.time() + timeout
        while not holds():
            left = end - time.time()
            if left <= 0:
                raise TimeoutError("no answer in time")
            self.pump(min(left, 0.5))

    def pump(self, timeout=0.1):
        """Reads what is there, waiting for it that long; false when nothing came."""
        if self.is_closed:
            for stream in self.streams.values():
                stream.is_over = True
            raise Ended(None, "the connection was closed")
        try:
            self.socket.settimeout(max(timeout, 0.001))
            piece = self.socket.recv(1 << 18)
        except TimeoutError:
            return False
        except OSError:
            piece = b""
        if not piece:
            self.is_closed = True
            for stream in self.streams.values():
                stream.is_over = True
            return True
        self.buffer += piece
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags, number = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big") & 0x7fffffff
            payload = bytes(self.buffer[9:9 + length])
            del self.buffer[:9 + length]
            self._take(kind, flags, number, payload)
        return True

    def _take(self, kind, flags, number, payload):
        stream = self.streams.get(number)
        if kind == DATA and stream:
            stream.body += payload
            if stream.head.get("content-type", "").startswith("application/grpc"):
                while len(stream.body) >= 5 and len(stream.body) >= 5 + int.from_bytes(stream.body[1:5], "big"):
                    end = 5 + int.from_bytes(stream.body[1:5], "big")
                    stream.messages.append(bytes(stream.body[5:end]))
                    del stream.body[:end]
        elif kind in (HEADERS, CONTINUATION):
            self.block = (self.block or b"") + payload
            if flags & END_HEADERS:
                fields, self.block = self.inflater.fields(self.block), None
                if stream and not stream.head:
                    stream.head = fields
                elif stream:
                    stream.trailers = fields
        elif kind == SETTINGS and not flags & ACK:
            for place in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[place:place + 6])
                if name == 4:
                    for open_stream in self.streams.values():
                        open_stream.window += value - self.initial_window
                    self.initial_window = value
            self.has_settings = True
            self.write(frame(SETTINGS, ACK, 0))
        elif kind == PING:
            if flags & ACK:
                self.pongs += 1
            else:
                self.write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            count = int.from_bytes(payload, "big")
            if number == 0:
                self.window += count
            elif stream:
                stream.window += count
        elif kind == RST_STREAM and stream:
            stream.reset, stream.is_over = int.from_bytes(payload, "big"), True
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        if kind in (DATA, HEADERS) and flags & END_STREAM and stream:
            stream.is_over = True

    def close(self):
        self.socket.close()


# etcd's messages, as far as the tests need them

KV, WATCH, LEASE = "/etcdserverpb.KV/", "/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/"
HASLEADER = (("hasleader", "true"),)


def range_request(key, end=b"", limit=0, serializable=False, count_only=False):
    return pb((1, key), (2, end), (3, limit), (7, int(serializable)), (9, int(count_only)))


def put_request(key, value=b"", lease=0, prev=False):
    return pb((1, key), (2, value), (3, lease), (4, int(prev)))


def delete_request(key, end=b""):
    return pb((1, key), (2, end))


def operation(kind, message):
    return pb(({"range": 1, "put": 2, "delete": 3, "txn": 4}[kind], message))


def txn_request(compares=(), success=(), failure=()):
    return pb((1, list(compares)), (2, list(success)), (3, list(failure)))


def watch_create(key, end=b"", start=0, prev=False):
    return pb((1, pb((1, key), (2, end), (3, start), (6, int(prev)))))


def load(member, count, size=100, prefix=b"load/"):
    """Puts `count` keys of `size` bytes each, 100 in a txn."""
    wire = Wire(member.client_port)
    for start in range(0, count, 100):
        puts = [operation("put", put_request(prefix + b"%08d" % n, b"v" * size))
                for n in range(start, min(start + 100, count))]
        wire.call(KV + "Txn", txn_request((), puts), timeout=30)
    wire.close()


# /proc

def memory(member):
    """VmRSS and VmHWM in bytes."""
    with open(f"/proc/{member.process.pid}/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["VmRSS"].split()[0]) << 10, int(lines["VmHWM"].split()[0]) << 10


def forget_peak(member):
    with open(f"/proc/{member.process.pid}/clear_refs", "w") as file:
        file.write("5")


def cpu(member):
    """CPU seconds that the process has used."""
    total = 0
    folder = f"/proc/{member.process.pid}/task"
    for thread in os.listdir(folder):
        try:
            with open(f"{folder}/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        except OSError:
            pass
    return total / 1e9


def settled_cpu(member, seconds=0.3):
    """The same, when it is idle again."""
    last = cpu(member)
    for _ in range(100):
        time.sleep(seconds)
        now = cpu(member)
        if now - last < 0.05 * seconds:
            return now
        last = now
    return last


def grows_mildly(small, large, negligible=0.25, times=2):
    """Whether the cost at so many times the size, in CPU seconds, is nearer to that of something linear than to its square."""
    return large < negligible or large < times ** 1.6 * small


class Findings:
    """What one check looked at: all must hold."""

    def __init__(self, is_verbose):
        self.is_verbose, self.failures, self.count = is_verbose, [], 0

    def check(self, what, holds, detail=""):
        self.count += 1
        if not holds:
            self.failures.append(f"{what}: {detail}")
        if self.is_verbose:
            print(f"      {'ok  ' if holds else 'FAIL'}  {what}  {'' if holds else str(detail)[:300]}", flush=True)


def main(checks, name, slow=()):
    """Runs the checks of a file: FILE WEFT [--only NAME]. Slow ones run only by name."""
    from harness import Report
    arguments = argparse.ArgumentParser(description=name)
    arguments.add_argument("weft")
    arguments.add_argument("--only", action="append", help="the check of this name; may be repeated")
    arguments.add_argument("--verbose", action="store_true", help="show all that a check looks at")
    given = arguments.parse_args()
    report = Report()
    by_name = {check.__name__: check for check in [*checks, *slow]}
    for check in [by_name[name] for name in given.only] if given.only else checks:
        begin, findings = time.time(), Findings(given.verbose)
        try:
            check(findings, given.weft)
        except Exception as error:
            findings.failures.append(f"{type(error).__name__}: {error}")
        failures, all_of = findings.failures, max(findings.count, len(findings.failures))
        report.check(f"{check.__name__.replace('_', ' ')} ({time.time() - begin:.1f} s)", not failures,
                     f"{len(failures)} of {all_of}: " + "\n        ".join(each[:300] for each in failures[:6]))
    report.finish()
