import Bytes
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Sockets
import Synchronization
import Testing

@testable import HTTPServer
import Logging

/// Answers the calls under "/now", "/later" and "/no" without a task; any other, and those under "/left", are left to one.
private final class Unary: UnaryService {
    func takes(_ path: String) -> Bool { ["/now", "/later", "/no", "/left"].contains(path) }

    func answer(_ request: HTTPRequest, _ reply: @escaping Reply) -> Bool {
        let response = HTTPResponse(status: .ok, body: request.body)
        switch request.path {
        case "/now": reply { response }
        case "/later": Thread.detachNewThread { reply { response } }
        default: return false
        }
        return true
    }

    func answer(_ call: UnaryCall) -> Bool {
        switch call.path {
        case "/now": call.answer(call.message)
        case "/later": Thread.detachNewThread { call.onLoop { call.answer(call.message) } }
        case "/no": call.fail(GRPCStatus(code: 9, message: "no"))
        default: return false
        }
        return true
    }
}

/// Answers what the tests ask, and counts the tasks that ended by cancellation.
private final class Service: HTTPService {
    let cancelled = Atomic<Int>(0)
    let sent = Atomic<Int>(0)

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        switch request.path {
        case "/two":
            return HTTPResponse(
                status: .ok,
                stream: { writer in
                    try? await writer.write(Array("first".utf8))
                    try? await Task.sleep(for: .milliseconds(50))
                    try? await writer.write(Array("second".utf8))
                })
        case "/quiet":
            return HTTPResponse(
                status: .ok,
                stream: { writer in
                    try? await writer.write(Array("begun".utf8))
                    await self.untilCancelled()
                })
        case "/endless":
            return HTTPResponse(
                status: .ok,
                stream: { writer in
                    let piece = [UInt8](repeating: 1, count: 10_000)
                    while (try? await writer.write(piece)) != nil { self.sent.add(piece.count, ordering: .relaxed) }
                    self.cancelled.add(1, ordering: .relaxed)
                })
        default:
            let host = request.headers.first(name: "host") ?? ""
            return HTTPResponse(
                status: .ok, body: Array("\(request.method) \(request.path) \(host) ".utf8) + request.body)
        }
    }

    func refusal(_ status: HTTPResponseStatus, _ reason: String) -> HTTPResponse {
        HTTPResponse(status: status, body: Array(reason.utf8))
    }

    func respond(to call: GRPCCall) async -> GRPCStatus {
        do {
            switch call.path {
            case "/echo", "/now", "/later", "/left":
                while let message = try await call.receive() { try await call.send(message) }
            case "/deaf": await untilCancelled()
            case "/off":
                // Far from the connection's thread.
                await Task.detached {
                    while let message = try? await call.receive() { try? await call.send(message) }
                    self.cancelled.add(1, ordering: .relaxed)
                }.value
            case "/endless":
                while true {
                    try await call.send([UInt8](repeating: 1, count: 10_000))
                    sent.add(10_000, ordering: .relaxed)
                }
            default: return GRPCStatus(code: 12, message: "nothing at \(call.path)")
            }
        } catch {
            cancelled.add(1, ordering: .relaxed)
        }
        return .ok
    }

    func unaryService(on turn: LoopTurn) -> (any UnaryService)? { Unary() }

    private func untilCancelled() async {
        try? await Task.sleep(for: .seconds(30))
        if Task.isCancelled { cancelled.add(1, ordering: .relaxed) }
    }
}

@Suite(.serialized) final class ListenerTests {
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let service = Service()
    private var listeners: [HTTPListener] = []

    deinit {
        for listener in listeners { listener.shutDown() }
        group.shutdownGracefully { _ in }
    }

    private func listen(_ change: (inout HTTPLimits) -> Void = { _ in }) throws -> (HTTPListener, WireClient) {
        var limits = HTTPLimits()
        change(&limits)
        let port = HTTPListener.makePort(limits, Logger(label: "test"))
        try port.bind(host: "127.0.0.1", port: 0, group: group)
        let listener = try HTTPListener(at: [port], service: service, limits: limits)
        listeners.append(listener)
        return (listener, WireClient(port: try #require(listener.port)))
    }

    private func http2(
        streamWindow: UInt32? = nil, _ change: (inout HTTPLimits) -> Void = { _ in }
    ) throws -> (HTTPListener, WireClient) {
        let (listener, client) = try listen(change)
        client.startHTTP2(streamWindow: streamWindow)
        return (listener, client)
    }

    /// Waits at most five seconds.
    private func becomes(_ condition: () -> Bool) async throws -> Bool {
        for _ in 0..<500 {
            if condition() { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    private func cancellations(_ count: Int) async throws -> Bool {
        try await becomes { service.cancelled.load(ordering: .relaxed) == count }
    }

    private func echoes(_ client: WireClient, stream: Int32) -> Bool {
        client.send(WireClient.head(stream, "/echo") + WireClient.message(stream, [7, 7], end: true))
        let answer = client.answer(stream)
        return answer?.data == [0, 0, 0, 0, 2, 7, 7] && answer?.fields["grpc-status"] == "0"
    }

    // MARK: - Both protocols

    @Test func onePortSpeaksBoth() throws {
        let (listener, first) = try listen()
        first.send("POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi")
        #expect(first.text(until: "hi").hasSuffix("POST /a h hi"))
        let second = WireClient(port: try #require(listener.port))
        second.startHTTP2()
        second.send(WireClient.head(1, "/b", grpc: false) + WireClient.frame(0, 1, 1, Array("hi".utf8)))
        let answer = second.answer(1)
        #expect(answer?.fields[":status"] == "200")
        #expect(answer?.data == Array("POST /b here hi".utf8))
    }

    @Test("Where others hold all the memory, small requests are taken and large ones refused")
    func memoryOfOthers() throws {
        let budget = MemoryBudget(bytesMax: 1 << 20)
        budget.note(1 << 20)
        let (_, client) = try listen { $0.budget = budget }
        client.send("POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi")
        #expect(client.text(until: "hi").hasPrefix("HTTP/1.1 200"))
        let large = String(repeating: "x", count: MemoryBudget.smallBytes + 1)
        client.send("POST /b HTTP/1.1\r\nhost: h\r\ncontent-length: \(large.count)\r\n\r\n" + large)
        #expect(client.text(until: "memory").contains("HTTP/1.1 429"))
    }

    @Test func thePrefaceMayComeByteByByte() throws {
        let (_, client) = try listen()
        for byte in WireClient.preface + WireClient.frame(4, 0, 0) { client.send([byte]) }
        #expect(echoes(client, stream: 1))
    }

    @Test func aStreamedAnswerIsSentChunkByChunkAndTheConnectionGoesOn() throws {
        let (_, client) = try listen()
        for _ in 0..<2 {
            client.send("GET /two HTTP/1.1\r\nhost: h\r\n\r\n")
            let text = client.text(until: "0\r\n\r\n")
            #expect(text.contains("transfer-encoding: chunked"))
            #expect(text.hasSuffix("\r\n\r\n5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"))
        }
    }

    @Test func aLostClientCancelsAStreamThatIsQuiet() async throws {
        let (listener, first) = try listen()
        first.send("GET /quiet HTTP/1.1\r\nhost: h\r\n\r\n")
        #expect(first.text(until: "begun").contains("begun"))
        first.close()
        #expect(try await cancellations(1))
        let second = WireClient(port: try #require(listener.port))
        second.startHTTP2()
        second.send(WireClient.head(1, "/quiet", method: "GET", grpc: false, end: true))
        #expect(second.frame { $0.type == 0 }?.payload == Array("begun".utf8))
        second.close()
        #expect(try await cancellations(2))
    }

    @Test(arguments: [false, true]) func aWriterWaitsForASlowClient(_ isHTTP2: Bool) async throws {
        let (listener, _) = try listen()
        let client = WireClient(port: try #require(listener.port), receiveBuffer: 4_096)
        if isHTTP2 {
            client.startHTTP2()
            client.send(WireClient.head(1, "/endless", method: "GET", grpc: false, end: true))
        } else {
            client.send("GET /endless HTTP/1.1\r\nhost: h\r\n\r\n")
        }
        #expect(try await becomes { service.sent.load(ordering: .relaxed) > 200_000 })
        // The kernel's buffers take some, which may take a while.
        var sent = 0
        repeat {
            sent = service.sent.load(ordering: .relaxed)
            try await Task.sleep(for: .milliseconds(300))
        } while service.sent.load(ordering: .relaxed) != sent && sent < 8 << 20
        #expect(sent < 8 << 20)
        client.close()
        #expect(try await cancellations(1))
    }

    // MARK: - Calls

    @Test func aUnaryCallIsAnswered() throws {
        let (_, client) = try http2()
        for call in 0..<100 { #expect(echoes(client, stream: Int32(2 * call + 1))) }
    }

    @Test(arguments: ["/now", "/later", "/left"]) func callsAreAnsweredWithoutATask(_ path: String) throws {
        let (_, client) = try http2()
        var bytes: [UInt8] = []
        for call in 0..<100 {
            let message = WireClient.message(Int32(2 * call + 1), [UInt8(call)], end: true)
            bytes += WireClient.head(Int32(2 * call + 1), path) + message
        }
        client.send(bytes)
        // They may come in any order.
        var answers: [Int32: [UInt8]] = [:]
        while answers.count < 100, let frame = client.frame(where: { $0.type == 0 }) {
            answers[frame.stream, default: []] += frame.payload
        }
        for call in 0..<100 { #expect(answers[Int32(2 * call + 1)] == [0, 0, 0, 0, 1, UInt8(call)]) }
    }

    @Test(arguments: ["/now", "/later"]) func requestsAreAnsweredWithoutATask(_ path: String) throws {
        let (_, client) = try listen()
        // Sent ahead, they are answered one after the other.
        let texts = (0..<50).map { "POST \(path) HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\n\($0 + 100)" }
        client.send(texts.joined())
        let answers = client.text(until: "\r\n\r\n149").components(separatedBy: "\r\n\r\n")
        #expect(answers.dropFirst().map { $0.prefix(3) } == (100..<150).map { "\($0)" })
    }

    @Test func aCallWithoutATaskIsRefused() throws {
        let (_, client) = try http2()
        client.send(WireClient.head(1, "/no") + WireClient.message(1, [1], end: true))
        let answer = client.answer(1)
        #expect(answer?.fields["grpc-status"] == "9")
        #expect(answer?.data == [])
    }

    @Test(arguments: ["/now", "/later", "/left"]) func aRequestLargerThanTheWindowComesIn(_ path: String) throws {
        let (_, client) = try http2 { $0.bodyBytesMax = 4 << 20 }
        client.send(WireClient.head(1, path))
        let pieces = 200
        client.send(
            WireClient.frame(0, 0, 1, [0] + WireClient.bigEndian(UInt32(pieces * 16_000), 4)))
        var room = 1 << 20
        for piece in 0..<pieces {
            while room < 16_384, let update = client.frame(where: { $0.type == 8 && $0.stream == 1 }) {
                room += update.payload.reduce(0) { $0 << 8 | Int($1) }
            }
            try #require(room >= 16_384)
            room -= 16_000
            let isLast: UInt8 = piece == pieces - 1 ? 1 : 0
            client.send(WireClient.frame(0, isLast, 1, [UInt8](repeating: 7, count: 16_000)))
        }
        // The window of this client is 65,535 bytes: what comes of the answer before it is given more is enough.
        #expect(client.frame(where: { $0.type == 0 })?.payload.prefix(5) == [0, 0, 48, 212, 0])
    }

    @Test(arguments: ["/now", "/later", "/left"]) func whatMayGoOnHasATask(_ path: String) throws {
        let (_, client) = try http2()
        // No END_STREAM yet, an END_STREAM of its own, and none of anything.
        client.send(WireClient.head(1, path) + WireClient.message(1, [1]))
        #expect(client.frame { $0.type == 0 }?.payload == [0, 0, 0, 0, 1, 1])
        client.send(WireClient.message(1, [2]))
        #expect(client.frame { $0.type == 0 }?.payload == [0, 0, 0, 0, 1, 2])
        client.send(WireClient.frame(0, 1, 1))
        #expect(client.answer(1)?.fields["grpc-status"] == "0")
        client.send(WireClient.head(3, path) + WireClient.frame(0, 1, 3))
        #expect(client.answer(3)?.data == [])
        client.send(WireClient.head(5, path, [("grpc-timeout", "50m")]))
        #expect(client.answer(5)?.fields["grpc-status"] == "4")
        #expect(echoes(client, stream: 7))
    }

    @Test(arguments: ["/echo", "/off"]) func messagesGoBothWaysWhileTheCallIsOpen(_ path: String) throws {
        let (_, client) = try http2()
        client.send(WireClient.head(1, path))
        for byte in 0..<UInt8(50) {
            client.send(WireClient.message(1, [byte]))
            #expect(client.frame { $0.type == 0 }?.payload == [0, 0, 0, 0, 1, byte])
        }
        client.send(WireClient.frame(0, 1, 1))
        #expect(client.answer(1)?.fields["grpc-status"] == "0")
    }

    @Test func theDeadlineEndsTheCallAndItsTask() async throws {
        let (_, client) = try http2()
        client.send(
            WireClient.head(1, "/deaf", [("grpc-timeout", "50m")])
                + WireClient.head(3, "/echo", [("grpc-timeout", "60m")]))
        for stream in [Int32(1), 3] {
            let fields = client.answer(stream)?.fields
            #expect(fields?["grpc-status"] == "4")
            #expect(fields?["grpc-message"] == "context deadline exceeded")
        }
        #expect(try await cancellations(2))
        #expect(echoes(client, stream: 5))
    }

    @Test func resetAndLossCancelCalls() async throws {
        let (_, client) = try http2(streamWindow: 1_000)
        for stream in [Int32(1), 3, 5, 7] {
            client.send(WireClient.head(stream, ["/deaf", "/echo", "/off", "/endless"][Int(stream / 2)]))
        }
        client.send(WireClient.frame(3, 0, 1, [0, 0, 0, 8]) + WireClient.frame(3, 0, 3, [0, 0, 0, 8]))
        #expect(try await cancellations(2))
        #expect(echoes(client, stream: 9))
        client.close()
        #expect(try await cancellations(4))
    }

    @Test func aHandlerThatDoesNotReceiveStopsOnlyItsStream() throws {
        let (_, client) = try http2()
        client.send(WireClient.head(1, "/deaf"))
        let message = WireClient.message(1, [UInt8](repeating: 1, count: 16_379))
        for _ in 0..<64 { client.send(message) }
        for call in 1..<20 { #expect(echoes(client, stream: Int32(2 * call + 1))) }
        // One byte more than the window is a mistake of the client.
        client.send(WireClient.frame(0, 0, 1, [0]))
        #expect(client.frame { $0.type == 3 || $0.type == 7 } != nil)
    }

    @Test func aClientThatDoesNotTakeAStreamStopsOnlyThat() async throws {
        let (_, client) = try http2(streamWindow: 1_000)
        client.send(WireClient.head(1, "/endless"))
        #expect(try await becomes { service.sent.load(ordering: .relaxed) >= 256 << 10 })
        for call in 1..<20 { #expect(echoes(client, stream: Int32(2 * call + 1))) }
        #expect(service.sent.load(ordering: .relaxed) < 300_000)
        client.send(WireClient.frame(8, 0, 1, WireClient.bigEndian(60_000, 4)))
        #expect(client.frame { $0.type == 0 && $0.stream == 1 && $0.payload.count > 1_000 } != nil)
        client.send(WireClient.frame(3, 0, 1, [0, 0, 0, 8]))
        #expect(try await cancellations(1))
    }

    @Test func errorsOfTheClientAreNamed() throws {
        let (_, client) = try http2 { $0.bodyBytesMax = 100 }
        let cases: [([UInt8], String)] = [
            (WireClient.head(1, "/echo") + WireClient.message(1, [UInt8](repeating: 0, count: 101)), "8"),
            (WireClient.head(3, "/echo", [("grpc-encoding", "snappy")]), "12"),
            (WireClient.head(5, "/echo", [("grpc-timeout", "soon")]), "13"),
            (WireClient.head(7, "/echo") + WireClient.frame(0, 1, 7, [0, 0, 0, 0, 9, 1]), "13"),
            (WireClient.head(9, "/nothing", end: true), "12"),
        ]
        for (index, sample) in cases.enumerated() {
            client.send(sample.0)
            #expect(client.answer(Int32(2 * index + 1))?.fields["grpc-status"] == sample.1)
        }
        client.send(
            WireClient.head(11, "/a", grpc: false) + WireClient.frame(0, 1, 11, [UInt8](repeating: 0, count: 101)))
        #expect(client.answer(11)?.fields[":status"] == "413")
        #expect(echoes(client, stream: 13))
    }

    // MARK: - Hostile clients

    @Test func pingsAreAnsweredHoweverMany() throws {
        let (_, client) = try http2()
        let pings = Array(repeating: WireClient.frame(6, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8]), count: 1_000).flatMap(\.self)
        for _ in 0..<10 {
            client.send(pings)
            for _ in 0..<1_000 { #expect(client.frame { $0.type == 6 }?.flags == 1) }
        }
        #expect(echoes(client, stream: 1))
    }

    @Test func aClientThatOnlyResetsIsShownOut() throws {
        let (_, client) = try http2 {
            $0.resetsMax = 100
            $0.resetsPerSecond = 1
        }
        for call in 0..<200 {
            let stream = Int32(2 * call + 1)
            client.send(WireClient.head(stream, "/deaf") + WireClient.frame(3, 0, stream, [0, 0, 0, 8]))
        }
        #expect(client.frame { $0.type == 7 } != nil)
        while client.frame() != nil {}
    }

    @Test func moreStreamsThanAllowedAreRefused() throws {
        let (_, client) = try http2 { $0.streamsMax = 10 }
        for call in 0..<11 { client.send(WireClient.head(Int32(2 * call + 1), "/deaf")) }
        #expect(client.frame { $0.type == 3 || $0.type == 7 } != nil)
    }

    @Test func noBytesTrap() throws {
        let (listener, _) = try listen()
        var random = SystemRandomNumberGenerator()
        for round in 0..<200 {
            let client = WireClient(port: try #require(listener.port))
            if round % 4 > 0 { client.startHTTP2() }
            for _ in 0..<20 {
                let payload = (0..<Int.random(in: 0..<60, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                let flags = UInt8.random(in: 0...63, using: &random)
                let stream = Int32.random(in: 0..<6, using: &random)
                switch round % 4 {
                case 1: client.send(payload)
                case 2: client.send(WireClient.head(stream, "/echo") + WireClient.frame(0, flags, stream, payload))
                default: client.send(WireClient.frame(UInt8.random(in: 0..<11, using: &random), flags, stream, payload))
                }
            }
            client.close()
        }
        let client = WireClient(port: try #require(listener.port))
        client.startHTTP2()
        #expect(echoes(client, stream: 1))
    }

    @Test func aConnectionWithoutRequestsIsClosed() throws {
        let (_, client) = try http2 {
            $0.headerTimeout = .milliseconds(100)
            $0.idleTimeout = .milliseconds(200)
        }
        #expect(echoes(client, stream: 1))
        #expect(client.frame { $0.type == 7 } != nil)
        #expect(client.frame() == nil)
    }

    // MARK: - Shutting down

    @Test func shuttingDownLetsCallsEnd() async throws {
        let (listener, busy) = try http2()
        let port = try #require(listener.port)
        let idle = WireClient(port: port)
        idle.startHTTP2()
        #expect(echoes(idle, stream: 1))
        let old = WireClient(port: port)
        old.send("GET /a HTTP/1.1\r\nhost: h\r\n\r\n")
        #expect(old.text(until: "GET /a h ").contains("200 OK"))
        busy.send(WireClient.head(1, "/echo") + WireClient.message(1, [1]))
        #expect(busy.frame { $0.type == 0 }?.payload == [0, 0, 0, 0, 1, 1])
        listener.shutDown()
        #expect(idle.frame { $0.type == 7 } != nil)
        #expect(idle.frame() == nil)
        #expect(old.text() == "")
        #expect(busy.frame { $0.type == 7 } != nil)
        busy.send(WireClient.message(1, [2], end: true))
        #expect(busy.answer(1)?.data == [0, 0, 0, 0, 1, 2])
        #expect(busy.frame() == nil)
        #expect(try await becomes { listener.connectionCount == 0 })
    }
}
