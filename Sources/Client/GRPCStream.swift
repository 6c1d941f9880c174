/// How a gRPC call ended that did not end well.
package struct GRPCFailure: Error, CustomStringConvertible, Sendable {
    /// A status code of gRPC; 14 (unavailable) when the connection was lost.
    package var code: Int
    package var message: String

    package init(code: Int, message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message.isEmpty ? "gRPC status \(code)" : message }
}

/// One gRPC call. Only on its connection's event loop.
package final class GRPCStream {
    private static let prefixBytes = 5

    var id: Int32 = 0
    private var outbox: [UInt8] = []
    private var supplied = 0
    private var isEnded = false

    /// What came of a message that is not here whole.
    private var inbox: [UInt8] = []
    /// Bytes of the message under way still to come, when they are not kept.
    private var skipping = 0
    private var status: Int?
    private var message = ""
    private let keepsMessages: Bool
    private let onMessage: (UnsafeRawBufferPointer) -> Void
    private let onEnd: (GRPCFailure?) -> Void

    /// - Parameters:
    ///   - keepsMessages: if not, `onMessage` is told of large messages without their bytes.
    ///   - onMessage: gets each message whole, for as long as it runs.
    ///   - onEnd: called once.
    init(
        keepsMessages: Bool, onMessage: @escaping (UnsafeRawBufferPointer) -> Void,
        onEnd: @escaping (GRPCFailure?) -> Void
    ) {
        self.keepsMessages = keepsMessages
        self.onMessage = onMessage
        self.onEnd = onEnd
    }

    // MARK: - Out

    func append(_ message: [UInt8], isLast: Bool) {
        if supplied == outbox.count {
            outbox.removeAll(keepingCapacity: true)
            supplied = 0
        }
        let count = UInt32(clamping: message.count)
        outbox.reserveCapacity(outbox.count + Self.prefixBytes + message.count)
        outbox.append(0)
        for shift in 0..<4 { outbox.append(UInt8(truncatingIfNeeded: count >> (24 - 8 * shift))) }
        outbox += message
        isEnded = isLast
    }

    func end() { isEnded = true }

    func supply(into target: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(outbox.count - supplied, target.count)
        outbox.withUnsafeBytes { source in
            UnsafeMutableRawBufferPointer(rebasing: target[..<count])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[supplied..<supplied + count]))
        }
        supplied += count
        return count
    }

    var isAllSupplied: Bool { isEnded && supplied == outbox.count }

    // MARK: - In

    func received(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        if skipping > 0 {
            let skipped = min(skipping, rest.count)
            skipping -= skipped
            rest = UnsafeRawBufferPointer(rebasing: rest[skipped...])
            if skipping > 0 { return }
            onMessage(UnsafeRawBufferPointer(start: nil, count: 0))
        }
        if inbox.isEmpty {
            let used = pass(rest)
            if used < rest.count { inbox += rest[used...] }
        } else {
            inbox += rest
            let waiting = inbox
            let used = waiting.withUnsafeBytes(pass)
            if used > 0 { inbox = Array(waiting[used...]) }
        }
        beginSkipping()
    }

    /// Passes on all messages that are whole, and says how many bytes that were.
    private func pass(_ bytes: UnsafeRawBufferPointer) -> Int {
        var place = 0
        while let count = Self.messageBytes(bytes, at: place), bytes.count - place - Self.prefixBytes >= count {
            place += Self.prefixBytes
            onMessage(UnsafeRawBufferPointer(rebasing: bytes[place..<place + count]))
            place += count
        }
        return place
    }

    private func beginSkipping() {
        guard !keepsMessages, !inbox.isEmpty else { return }
        let here = inbox.withUnsafeBytes { Self.messageBytes($0, at: 0) }
        guard let here else { return }
        skipping = here + Self.prefixBytes - inbox.count
        inbox = []
    }

    private static func messageBytes(_ bytes: UnsafeRawBufferPointer, at place: Int) -> Int? {
        guard bytes.count - place >= prefixBytes else { return nil }
        return bytes[place + 1..<place + prefixBytes].reduce(0) { $0 << 8 | Int($1) }
    }

    func received(trailer name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>) {
        if name.elementsEqual("grpc-status".utf8) {
            status = Int(String(decoding: value, as: UTF8.self))
        } else if name.elementsEqual("grpc-message".utf8) {
            message = String(decoding: value, as: UTF8.self)
        }
    }

    func closed(code: UInt32) {
        if status == 0, code == 0 { return onEnd(nil) }
        let reason = code == 0 ? "the call ended without a status" : "the stream was reset with code \(code)"
        onEnd(GRPCFailure(code: status ?? 14, message: status == nil ? reason : message))
    }

    func lost() {
        onEnd(GRPCFailure(code: 14, message: "the connection was lost"))
    }
}
