package import Bytes
package import Certificates
package import NIOCore
package import NIOHTTP1
internal import Sockets

/// A request, whole.
package struct HTTPRequest: Sendable {
    package var method: HTTPMethod
    /// As the client sent it: nothing decoded, nothing normalised.
    package var path: Substring
    /// What followed the first question mark; empty without one.
    package var query: Substring
    package var headers: HTTPHeaders
    package var body: [UInt8]
    package var client = HTTPClientIdentity()

    package init(
        method: HTTPMethod, target: String, headers: HTTPHeaders, body: [UInt8],
        client: HTTPClientIdentity = HTTPClientIdentity()
    ) {
        self.client = client
        self.method = method
        self.headers = headers
        self.body = body
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = parts[0]
        query = parts.count > 1 ? parts[1] : ""
    }

    /// The query's fields in order, decoded; a field without an equals sign has no value.
    package var queryFields: [(name: String, value: [UInt8]?)] {
        query.split(separator: "&").map { field in
            let parts = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = parts.count > 1 ? percentDecoded(parts[1], plusIsSpace: true) : nil
            return (String(decoding: percentDecoded(parts[0], plusIsSpace: true), as: UTF8.self), value)
        }
    }
}

/// The bytes that percent-encoded text stands for; a percent sign without two digits stands for itself.
package func percentDecoded(_ text: Substring, plusIsSpace: Bool = false) -> [UInt8] {
    var bytes: [UInt8] = []
    let source = Array(text.utf8)
    bytes.reserveCapacity(source.count)
    var place = 0
    while place < source.count {
        let byte = source[place]
        if byte == UInt8(ascii: "%"), place + 2 < source.count, let high = hexDigit(source[place + 1]),
            let low = hexDigit(source[place + 2])
        {
            bytes.append(high << 4 | low)
            place += 3
        } else {
            bytes.append(plusIsSpace && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
            place += 1
        }
    }
    return bytes
}

private func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}

/// An answer. With `stream` set, `body` is empty and the closure writes the body; the answer ends when it returns.
package struct HTTPResponse: Sendable {
    package var status: HTTPResponseStatus
    package var headers: HTTPHeaders
    package var body: [UInt8]
    /// Runs in a task that is cancelled when the client is gone.
    package var stream: (@Sendable (any HTTPBodyWriter) async -> Void)?

    package init(
        status: HTTPResponseStatus, headers: HTTPHeaders = [:], body: [UInt8] = [],
        stream: (@Sendable (any HTTPBodyWriter) async -> Void)? = nil
    ) {
        self.status = status
        self.headers = headers
        self.body = body
        self.stream = stream
    }
}

/// Where a streamed answer goes.
package protocol HTTPBodyWriter: Sendable {
    /// Sends a chunk at once, as one chunk of HTTP/1.1 or as DATA of HTTP/2. Waits while the client does not take what
    /// was sent before. Throws when the client is gone or the task is cancelled. May be called from any executor.
    func write(_ bytes: [UInt8]) async throws(CancellationError)
    /// Waits until there is room for something large, and sends nothing. Throws like `write`.
    func awaitRoom() async throws(CancellationError)
}

/// What a listener opens on.
package protocol HTTPService: Sendable {
    func respond(to request: HTTPRequest) async -> HTTPResponse
    /// The answer to what the listener itself refused.
    func refusal(_ status: HTTPResponseStatus, _ reason: String) -> HTTPResponse
    /// Answers a gRPC call; what it returns becomes the trailers. Runs in a task that is cancelled when the client is
    /// gone or the deadline has passed.
    func respond(to call: GRPCCall) async -> GRPCStatus
    /// Who answers calls on an event loop without a task; nil when nobody does.
    func unaryService(on turn: LoopTurn) -> (any UnaryService)?
}

extension HTTPService {
    package func unaryService(on turn: LoopTurn) -> (any UnaryService)? { nil }

    /// A service without gRPC.
    package func respond(to call: GRPCCall) async -> GRPCStatus {
        GRPCStatus(code: 12, message: "unknown service \(call.path)")
    }
}

/// What a listener puts up with.
package struct HTTPLimits: Sendable {
    package var headerBytesMax = 16 << 10
    package var bodyBytesMax = 3 << 20
    package var headerTimeout = TimeAmount.seconds(10)
    /// Idle time between requests of a connection.
    package var idleTimeout = TimeAmount.seconds(300)
    /// Bodies must come, and answers be taken, at least this fast, after a grace of `headerTimeout`.
    package var bytesPerSecondMin = 16 << 10
    package var connectionsMax = 10_000
    /// Of them, from one address.
    package var connectionsPerAddressMax = 2_500
    package var callers = CallerRules()
    /// For what was received and what waits to be sent, of all connections together.
    package var budget = MemoryBudget.unlimited

    // HTTP/2.

    /// Open streams of a connection, and calls under way for it whether their streams are still open or not.
    package var streamsMax = 16_384
    /// What may wait to be sent on one stream before its writer waits.
    package var streamBytesMax = 256 << 10
    /// What may wait on all streams of a connection: to be sent, and apart from that to be received by the calls.
    package var connectionBytesMax = 64 << 20
    /// What a client may send ahead on a stream, and on a connection.
    package var streamWindow = 1 << 20
    package var connectionWindow = 8 << 20
    /// Streams that may be reset before their answer, at once and per second after that.
    package var resetsMax = 16_384
    package var resetsPerSecond = 1_000
    /// How long a silent client with open streams has to answer a PING.
    package var pingTimeout = TimeAmount.seconds(20)

    package init() {}

    /// The same for connections that come so.
    func at(_ entrance: Port.Entrance) -> HTTPLimits {
        var limits = self
        limits.callers.entrance = entrance
        return limits
    }
}

/// Who is at the other end of a connection, as far as the connection tells.
package struct HTTPClientIdentity: Equatable, Sendable {
    /// Without a port; empty when it is not known.
    package var address = ""
    /// Of a certificate that was asked for and found to be good.
    package var commonName: String?
    /// Of a certificate that the fabric's own CA made.
    package var fabricName: FabricName?
    /// The CA of another fabric, paired with this one, by which the caller is a member of that.
    package var foreignIssuer: ForeignIssuer?
    /// Until when that certificate is good, which may be over before the connection is: seconds since 1970.
    package var certificateUntil: Int64 = .max
    /// It came by the socket in the file system, whose permissions say who may.
    package var isLocal = false
    /// It came by TLS, or by that socket: nobody on the way can read what is said.
    package var isPrivate = false

    package init() {}
}
