"""Watches in great numbers: gRPC over HTTP/2 with just enough of it to begin streams and count answers. Standard library only."""
import socket
import struct

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
END_HEADERS, ACK = 4, 1


def _frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(name, value):
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


_HEADERS = b"".join(_literal(*field) for field in [
    (":method", "POST"), (":scheme", "http"), (":path", "/etcdserverpb.Watch/Watch"), (":authority", "localhost"),
    ("content-type", "application/grpc"), ("te", "trailers")])


def _create(key, is_prefix=False):
    """A WatchRequest that creates a watch of one key, or of all that begin with it, in gRPC's frame."""
    create = b"\x0a" + bytes([len(key)]) + key
    if is_prefix:
        create += b"\x12" + bytes([len(key)]) + key[:-1] + bytes([key[-1] + 1])
    request = b"\x0a" + bytes([len(create)]) + create
    return b"\0" + struct.pack(">I", len(request)) + request


class Watches:
    """A connection with watches on it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0)
                            + _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))
        self.buffer = b""
        self.next_stream = 1
        self.data = {}

    def streams(self, keys):
        """Begins a stream with one watch for each key, and waits until all are made."""
        wanted = []
        for start in range(0, len(keys), 100):
            frames = b""
            for key in keys[start:start + 100]:
                frames += _frame(HEADERS, END_HEADERS, self.next_stream, _HEADERS)
                frames += _frame(DATA, 0, self.next_stream, _create(key))
                wanted.append(self.next_stream)
                self.next_stream += 2
            self.socket.sendall(frames)
            self.answers(len(keys[start:start + 100]))

    def one_stream(self, keys, are_prefixes=False):
        """Begins one stream with a watch for each key or prefix, and waits until all are made."""
        self.socket.sendall(_frame(HEADERS, END_HEADERS, self.next_stream, _HEADERS))
        for start in range(0, len(keys), 100):
            part = keys[start:start + 100]
            self.socket.sendall(b"".join(_frame(DATA, 0, self.next_stream, _create(key, are_prefixes)) for key in part))
            self.answers(len(part))
            # What was taken may come again.
            self.socket.sendall(_frame(WINDOW_UPDATE, 0, self.next_stream, struct.pack(">I", 1 << 16)))
        self.next_stream += 2

    def answers(self, count):
        """Reads until so many messages have come."""
        while count > 0:
            kind, flags, stream, payload = self.read()
            if kind == DATA:
                data = self.data.pop(stream, b"") + payload
                while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5], "big"):
                    data = data[5 + int.from_bytes(data[1:5], "big"):]
                    count -= 1
                if data:
                    self.data[stream] = data
            elif kind == PING and not flags & ACK:
                self.socket.sendall(_frame(PING, ACK, 0, payload))
            elif kind == SETTINGS and not flags & ACK:
                self.socket.sendall(_frame(SETTINGS, ACK, 0))

    def read(self):
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            piece = self.socket.recv(1 << 16)
            assert piece, "the connection was closed"
            self.buffer += piece
        length = int.from_bytes(self.buffer[:3], "big")
        frame, self.buffer = self.buffer[:9 + length], self.buffer[9 + length:]
        return frame[3], frame[4], int.from_bytes(frame[5:9], "big"), frame[9:]

    def close(self):
        self.socket.close()
