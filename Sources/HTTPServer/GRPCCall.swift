package import NIOCore
package import NIOHTTP1

/// How a gRPC call ended.
package struct GRPCStatus: Error, Sendable, Equatable {
    package var code: Int
    package var message: String

    package init(code: Int, message: String) {
        self.code = code
        self.message = message
    }

    package static let ok = GRPCStatus(code: 0, message: "")
}

/// Messages that are sent together, each with gRPC's prefix.
package struct GRPCMessages: Sendable {
    private(set) var bytes: [UInt8] = []

    package init() {}

    package var count: Int { bytes.count }

    /// Begins a message of `count` bytes, which the caller appends next: not compressed, then the length, most significant
    /// byte first.
    package mutating func begin(count: Int) {
        let length = UInt32(clamping: count)
        bytes.append(0)
        for shift in [UInt32(24), 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: length >> shift)) }
    }

    package mutating func add(_ message: [UInt8]) {
        begin(count: message.count)
        append(message)
    }

    package mutating func append(_ part: [UInt8]) { bytes += part }
}

/// One gRPC call, unary or streaming: the same for all four kinds. May be used from any executor; on the task's own, no
/// thread is changed.
package final class GRPCCall: Sendable {
    /// "/etcdserverpb.KV/Put"
    package let path: String
    /// The request's headers with lower-case names; values of names ending in -bin as they came, in base64.
    package let headers: HTTPHeaders
    package let deadline: NIODeadline?
    private let stream: HTTP2Stream
    package var client: HTTPClientIdentity { stream.connection.client }

    init(path: String, headers: HTTPHeaders, deadline: NIODeadline?, stream: HTTP2Stream) {
        self.path = path
        self.headers = headers
        self.deadline = deadline
        self.stream = stream
    }

    /// The next message, decompressed; nil once the client has sent all. One task at a time. Throws when the client
    /// cancelled or is gone, what it sent cannot be read, the deadline passed, or the task is cancelled.
    package func receive() async throws(CancellationError) -> [UInt8]? {
        if stream.isOnLoop { return try await stream.receive() }
        return try await withTaskExecutorPreference(stream.executor) { () async throws(CancellationError) in
            try await self.stream.receive()
        }
    }

    /// Has a task that waits for this call look if it is cancelled.
    package func wake() {
        let stream = stream
        stream.connection.loop.execute { stream.changed.fire() }
    }

    /// The next message if it is here already; nil also on another executor than the call's.
    package func receiveNow() -> [UInt8]? { stream.isOnLoop ? stream.receiveNow() : nil }

    /// Sends messages; waits like `send(_:)`.
    package func send(_ messages: GRPCMessages) async throws(CancellationError) {
        if stream.isOnLoop { return try await stream.send(messages) }
        try await withTaskExecutorPreference(stream.executor) { () async throws(CancellationError) in
            try await self.stream.send(messages)
        }
    }

    /// Sends a message; waits while the client does not take what was sent before. Throws when the client cancelled or
    /// is gone, the deadline passed, or the task is cancelled.
    package func send(_ message: [UInt8]) async throws(CancellationError) {
        if stream.isOnLoop { return try await stream.send(message: message) }
        try await withTaskExecutorPreference(stream.executor) { () async throws(CancellationError) in
            try await self.stream.send(message: message)
        }
    }

    /// Waits until there is room for something large, and sends nothing. Throws like `send`.
    package func awaitRoom() async throws(CancellationError) {
        if stream.isOnLoop { return try await stream.awaitRoom(isForMuch: true) }
        try await withTaskExecutorPreference(stream.executor) { () async throws(CancellationError) in
            try await self.stream.awaitRoom(isForMuch: true)
        }
    }
}
