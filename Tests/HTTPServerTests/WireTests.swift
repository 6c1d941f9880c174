import NIOCore
import Testing

@testable import HTTPServer

private func framed(_ message: [UInt8], flag: UInt8 = 0) -> [UInt8] {
    [flag] + (0..<4).map { UInt8(truncatingIfNeeded: message.count >> (24 - 8 * $0)) } + message
}

@Suite struct GRPCInboxTests {
    private func inbox(_ encoding: String? = nil, max: Int = 100) throws -> GRPCInbox {
        try GRPCInbox(encoding: encoding, messageBytesMax: max)
    }

    @Test(arguments: 1...12) func messagesComeWholeInWhateverPieces(_ size: Int) throws {
        let messages: [[UInt8]] = [[1, 2, 3], [], [4], Array(repeating: 5, count: 100), [6, 7]]
        let wire = messages.flatMap { framed($0) }
        var inbox = try inbox()
        var received: [[UInt8]] = []
        for start in stride(from: 0, to: wire.count, by: size) {
            wire[start..<min(start + size, wire.count)].withUnsafeBytes { inbox.append($0) }
            while let message = try inbox.next() { received.append(message) }
        }
        #expect(received == messages)
        #expect(inbox.count == 0)
    }

    @Test func aMessageOverTheLimitIsRefusedByItsPrefix() throws {
        var inbox = try inbox(max: 100)
        ([0, 0, 0, 0, 101] as [UInt8]).withUnsafeBytes { inbox.append($0) }
        #expect(throws: GRPCStatus(code: 8, message: "grpc: received message larger than max (101 vs. 100)")) {
            try inbox.hasMessage()
        }
    }

    @Test(arguments: [(UInt8(2), "gzip"), (1, "identity"), (255, "identity")])
    func flagsThatMeanNothingAreRefused(_ sample: (flag: UInt8, encoding: String)) throws {
        var inbox = try inbox(sample.encoding)
        framed([1], flag: sample.flag).withUnsafeBytes { inbox.append($0) }
        #expect(throws: GRPCStatus.self) { try inbox.next() }
    }

    @Test func anUnknownEncodingIsRefused() {
        let status = GRPCStatus(
            code: 12, message: "grpc: Decompressor is not installed for grpc-encoding \"snappy\"")
        #expect(throws: status) { try inbox("snappy") }
    }

    /// "hello" and 100,000 zeros, by Python's gzip.
    @Test func gzipIsUndoneWithinTheLimit() throws {
        let hello: [UInt8] = [
            31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 203, 72, 205, 201, 201, 7, 0, 134, 166, 16, 54, 5, 0, 0, 0,
        ]
        #expect(try gunzip(hello, bytesMax: 5) == Array("hello".utf8))
        #expect(throws: GRPCStatus.self) { try gunzip(hello, bytesMax: 4) }
        for count in 0..<hello.count {
            #expect(throws: GRPCStatus.self) { try gunzip(Array(hello.prefix(count)), bytesMax: 5) }
        }
        #expect(throws: GRPCStatus.self) { try gunzip(hello + [0], bytesMax: 5) }
        var inbox = try inbox("gzip")
        (framed(hello, flag: 1) + framed([9])).withUnsafeBytes { inbox.append($0) }
        #expect(try inbox.next() == Array("hello".utf8))
        #expect(try inbox.next() == [9])
    }
}

@Suite struct ByteQueueTests {
    @Test(arguments: [1, 7, 100, 16_384, 1_000_000]) func bytesLeaveAsTheyCame(_ step: Int) {
        var queue = ByteQueue()
        var expected: [UInt8] = []
        var received: [UInt8] = []
        for round in 0..<60 {
            let bytes = [UInt8](repeating: UInt8(round), count: [0, 1, 300, 17_000, 5_000][round % 5])
            if round % 2 == 0 {
                queue.append(bytes)
                expected += bytes
            } else {
                queue.append(message: bytes)
                expected += framed(bytes)
            }
            if round % 3 == 0 { received += take(step, from: &queue) }
            #expect(queue.count == expected.count - received.count)
        }
        while !queue.isEmpty { received += take(step, from: &queue) }
        #expect(received == expected)
    }

    private func take(_ count: Int, from queue: inout ByteQueue) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { memory, filled in
            filled = queue.take(into: UnsafeMutableRawBufferPointer(memory))
        }
    }
}

@Suite struct GRPCWireTests {
    @Test(arguments: [
        ("1H", TimeAmount.hours(1)), ("2M", .minutes(2)), ("3S", .seconds(3)), ("100m", .milliseconds(100)),
        ("5u", .microseconds(5)), ("99999999n", .nanoseconds(99_999_999)), ("99999999H", .hours(1_000_000)),
        ("0S", .seconds(0)), ("", nil), ("S", nil), ("1", nil), ("1s", nil), ("-1S", nil), ("123456789S", nil),
        ("1.5S", nil), ("１S", nil),
    ]) func timeouts(_ sample: (text: String, time: TimeAmount?)) {
        #expect(GRPCWire.timeout(sample.text) == sample.time)
    }

    @Test(arguments: [
        ("plain text, 100", "plain text, 100"), ("100%", "100%25"), ("a\nb", "a%0Ab"), ("ä", "%C3%A4"), ("", ""),
    ]) func messagesArePercentEncoded(_ sample: (text: String, wire: String)) {
        #expect(GRPCWire.percentEncoded(sample.text) == sample.wire)
    }

    @Test(arguments: [
        ("application/grpc", true), ("application/grpc+proto", true), ("application/grpc;charset=utf-8", true),
        ("application/grpc-web", false), ("application/json", false), ("", false),
    ]) func contentTypes(_ sample: (text: String, isGRPC: Bool)) {
        #expect(GRPCWire.isGRPC(contentType: sample.text) == sample.isGRPC)
    }
}

@Suite struct HTTP2WatchTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func later(_ seconds: Int64) -> NIODeadline { start + .seconds(seconds) }

    private func expect(
        _ watch: inout HTTP2Watch, at time: NIODeadline, hasStreams: Bool, _ expected: HTTP2Watch.Verdict
    ) {
        let verdict = watch.look(at: time, hasStreams: hasStreams)
        #expect(verdict == expected)
    }

    @Test func aClientWithoutSettingsIsClosed() {
        var watch = HTTP2Watch(HTTPLimits(), now: start)
        #expect(watch.nextLook == later(10))
        expect(&watch, at: later(10), hasStreams: false, .close)
    }

    @Test func anIdleConnectionIsTold() {
        var watch = HTTP2Watch(HTTPLimits(), now: start)
        watch.heardSettings()
        watch.heard(at: later(5))
        expect(&watch, at: later(10), hasStreams: false, .nothing)
        #expect(watch.nextLook == later(305))
        expect(&watch, at: later(305), hasStreams: false, .goAway)
    }

    @Test func aSilentClientWithStreamsHasToAnswerAPing() {
        var watch = HTTP2Watch(HTTPLimits(), now: start)
        watch.heardSettings()
        expect(&watch, at: later(10), hasStreams: true, .nothing)
        expect(&watch, at: later(300), hasStreams: true, .ping)
        #expect(watch.nextLook == later(320))
        expect(&watch, at: later(319), hasStreams: true, .nothing)
        var answering = watch
        answering.heard(at: later(319))
        expect(&answering, at: later(320), hasStreams: true, .nothing)
        expect(&watch, at: later(320), hasStreams: true, .close)
    }

    @Test func aClientThatTakesNothingIsClosed() {
        var watch = HTTP2Watch(HTTPLimits(), now: start)
        watch.heardSettings()
        watch.isWritable(false, at: later(1))
        #expect(watch.nextLook == later(10))
        watch.heard(at: later(20))
        expect(&watch, at: later(20), hasStreams: true, .nothing)
        #expect(watch.nextLook == later(27))
        expect(&watch, at: later(27), hasStreams: true, .close)
    }

    @Test func resetsAreBoundedPerSecond() {
        var limits = HTTPLimits()
        limits.resetsMax = 10
        limits.resetsPerSecond = 2
        var allowance = HTTP2ResetAllowance(limits, now: start)
        let times = Array(repeating: start, count: 11) + Array(repeating: later(3), count: 7)
        let spent = times.map { allowance.spend(at: $0) }
        #expect(
            spent == Array(repeating: true, count: 10) + [false] + Array(repeating: true, count: 5) + [false, false])
    }
}
