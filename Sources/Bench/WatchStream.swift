internal import Bytes
internal import Client
internal import NIOCore

/// A connection with one stream of watches that notes when what was put comes back as an event. Only on its event loop.
final class WatchStream: @unchecked Sendable {
    private static let watch = GRPCMethod("/etcdserverpb.Watch/Watch")
    /// Creations under way at once.
    private static let windowMax = 1_000

    private let connection: GRPCConnection
    private let loop: any EventLoop
    private let keys: [[UInt8]]
    private var stream: GRPCStream?
    private var asked = 0
    private var created = 0
    private let ready: EventLoopPromise<Void>
    /// Where events are noted, once the run has begun.
    var loadLoop: LoadLoop?

    /// - Parameter keys: one watch each.
    init(_ connection: GRPCConnection, keys: [[UInt8]], loop: any EventLoop) {
        self.connection = connection
        self.keys = keys
        self.loop = loop
        ready = loop.makePromise()
    }

    /// Creates the watches; done when the server has them all.
    func open() -> EventLoopFuture<Void> {
        stream = connection.open(Self.watch) { [self] in
            received($0)
        } onEnd: { [self] failure in
            ready.fail(failure ?? GRPCFailure(code: 14, message: "the watch ended"))
        }
        askMore()
        return ready.futureResult
    }

    private func askMore() {
        guard let stream else { return }
        while asked < keys.count, asked - created < Self.windowMax {
            var message = ProtoWriter()
            message.field(1) { $0.field(1, keys[asked]) }
            asked += 1
            connection.send(message.bytes, on: stream)
        }
    }

    /// WatchResponse: created 3, events 11.
    private func received(_ message: UnsafeRawBufferPointer) {
        let now = NIODeadline.now().uptimeNanoseconds
        var reader = ProtoReader(message)
        while let (field, value) = reader.next() {
            switch (field, value) {
            case (3, .number(1)):
                created += 1
                if created == keys.count { ready.succeed() } else { askMore() }
            case (4, .number(1)): ready.fail(GRPCFailure(code: 10, message: "a watch was cancelled"))
            case (11, .bytes(let event)):
                if let put = Stamp.time(ofEvent: event) { loadLoop?.recordEvent(put: put, now: now) }
            default: break
            }
        }
    }
}

/// The time of a put, at the beginning of its value: how long an event took is seen when it comes.
enum Stamp {
    private static let digits = 16

    static func write(_ time: UInt64, into value: inout [UInt8]) {
        guard value.count >= digits else { return }
        for place in 0..<digits {
            let digit = UInt8(truncatingIfNeeded: time >> UInt64(4 * (digits - 1 - place))) & 15
            value[place] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
        }
    }

    /// Event: kv 2; KeyValue: value 5.
    static func time(ofEvent event: UnsafeRawBufferPointer) -> UInt64? {
        guard let pair = ProtoReader.bytes(2, in: event), let value = ProtoReader.bytes(5, in: pair),
            value.count >= digits
        else { return nil }
        var time: UInt64 = 0
        for digit in value[..<digits] {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): time = time << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): time = time << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return time
    }
}

/// Puts that say when.
final class StampedPutClient: LoadClient {
    override func once(_ done: @escaping (CallFailure?) -> Void) {
        var stamped = value
        Stamp.write(NIODeadline.now().uptimeNanoseconds, into: &stamped)
        ask(.put(key: keys.key(&dice), value: stamped, lease: 0), done)
    }
}
