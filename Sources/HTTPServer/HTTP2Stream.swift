internal import NIOCore
internal import NIOHTTP1

/// One request and its answer on an HTTP/2 connection. All only on the connection's event loop.
final class HTTP2Stream: @unchecked Sendable {
    enum Kind {
        /// The request's head is not here yet, or was refused.
        case none
        case grpc(GRPCInbox)
        /// Any other request, whose body is gathered.
        case plain([UInt8])
    }

    enum Ending {
        case trailers(GRPCStatus)
        case body
    }

    let id: Int32
    let connection: HTTP2Connection
    /// Fires when a message came, when there is room to send, and when nothing more can be done here.
    let changed: LoopSignal

    // The request.
    var method = ""
    var path = ""
    var authority: String?
    var contentType = ""
    var timeout: String?
    var encoding: String?
    var headers = HTTPHeaders()
    var headerBytes = 0
    /// Of them, what the connection counts.
    var headerBytesHeld = 0
    var isGRPC = false
    /// Of another page, which may read the answer.
    var origin: String?
    var kind = Kind.none
    /// Its request may be one that is answered without a task, and is not here yet.
    var awaitsRequest = false
    /// A message that was taken and then left to the task.
    var returned: [UInt8]?
    /// The client has sent all.
    var isReceived = false
    /// Of the stream's window, what has not been given back.
    var windowHeld = 0

    // The answer.
    var outbox = ByteQueue()
    var isHeadSent = false
    /// nghttp2 asked for more when there was none.
    var isStarved = false
    /// Some writer waits for room.
    var isRoomAwaited = false
    /// The answer is complete but for what waits in the outbox.
    var ending: Ending?
    /// Closed, by either side or with the connection.
    var isClosed = false
    var task: Task<Void, Never>?
    /// When patience ends: with the client's body, with the call, or with a client that does not take the answer.
    var deadline: NIODeadline?
    /// When its body began to come.
    var bodySince = NIODeadline.now()

    init(id: Int32, connection: HTTP2Connection) {
        self.id = id
        self.connection = connection
        changed = LoopSignal(connection.loop)
    }

    var isOnLoop: Bool { connection.loop.inEventLoop }
    var executor: EventLoopExecutor { connection.executor }

    /// Nothing more is read from or written to the stream by the service.
    var isOver: Bool { isClosed || ending != nil }

    /// Bytes of messages or of a body that wait to be used.
    var inboundCount: Int {
        switch kind {
        case .none: 0
        case .grpc(let inbox): inbox.count
        case .plain(let body): body.count
        }
    }

    func receive() async throws(CancellationError) -> [UInt8]? {
        connection.loop.preconditionInEventLoop()
        while true {
            if isOver || Task.isCancelled { throw CancellationError() }
            if let message = returned.take() ?? connection.nextMessage(self) { return message }
            if isOver { continue }
            if isReceived { return nil }
            await changed.wait()
        }
    }

    func receiveNow() -> [UInt8]? {
        isOver || Task.isCancelled ? nil : returned.take() ?? connection.nextMessage(self)
    }

    func send(message: [UInt8]) async throws(CancellationError) {
        try await awaitRoom()
        connection.send(self, message: message)
    }

    func send(_ messages: GRPCMessages) async throws(CancellationError) {
        try await awaitRoom()
        connection.send(self, messages)
    }

    func write(_ bytes: [UInt8]) async throws(CancellationError) {
        try await awaitRoom()
        connection.write(self, bytes)
    }

    func awaitRoom(isForMuch: Bool = false) async throws(CancellationError) {
        connection.loop.preconditionInEventLoop()
        while true {
            if isOver || Task.isCancelled { throw CancellationError() }
            if connection.hasRoom(self, isForMuch: isForMuch) { return }
            isRoomAwaited = true
            await changed.wait()
        }
    }
}

/// Where a streamed answer over HTTP/2 goes.
struct HTTP2BodyWriter: HTTPBodyWriter {
    let stream: HTTP2Stream

    func write(_ bytes: [UInt8]) async throws(CancellationError) {
        if stream.isOnLoop { return try await stream.write(bytes) }
        try await withTaskExecutorPreference(stream.executor) { () async throws(CancellationError) in
            try await stream.write(bytes)
        }
    }

    func awaitRoom() async throws(CancellationError) {
        if stream.isOnLoop { return try await stream.awaitRoom(isForMuch: true) }
        try await withTaskExecutorPreference(stream.executor) { () async throws(CancellationError) in
            try await stream.awaitRoom(isForMuch: true)
        }
    }
}
