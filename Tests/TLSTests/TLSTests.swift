import Logging
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import TLS

/// Two ends of a connection whose bytes a test carries from one to the other.
private final class Pair {
    final class Sink: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var received: [UInt8] = []
        var error: (any Error)?

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += Array(Self.unwrapInboundIn(data).readableBytesView)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { self.error = error }
    }

    let client = EmbeddedChannel()
    let server = EmbeddedChannel()
    let atClient = Sink()
    let atServer = Sink()

    init(
        _ serverSide: TLSSettings, _ clientSide: TLSSettings, to name: String = "localhost",
        protocols: [String] = ["h2"],
        _ handshakes: TLSHandshakes = TLSHandshakes()
    ) throws {
        try server.pipeline.syncOperations.addHandlers([
            TLSHandler(from: try TLSContext(serverSide, .server), handshakes), atServer,
        ])
        try client.pipeline.syncOperations.addHandlers([
            TLSHandler(to: name, try TLSContext(clientSide, .client), protocols: protocols), atClient,
        ])
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: 1)
        server.connect(to: address, promise: nil)
        client.connect(to: address, promise: nil)
        carry()
    }

    /// Until neither has anything to say.
    /// - Parameter pieces: so many bytes at a time.
    func carry(pieces: Int = .max) {
        var isMoving = true
        while isMoving {
            isMoving = false
            for (from, to) in [(client, server), (server, client)] {
                while let bytes = try? from.readOutbound(as: ByteBuffer.self) {
                    isMoving = true
                    var rest = bytes
                    while rest.readableBytes > 0, to.isActive {
                        let piece = rest.readSlice(length: min(pieces, rest.readableBytes))
                        if let piece { _ = try? to.writeInbound(piece) }
                    }
                }
                from.embeddedEventLoop.run()
            }
        }
    }

    func say(_ bytes: [UInt8], from channel: EmbeddedChannel) {
        channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
    }

    /// If what the client says arrives.
    var works: Bool {
        say(Array("hello".utf8), from: client)
        carry()
        return atServer.received == Array("hello".utf8)
    }
}

@Suite struct TLSTests {
    private func certificates() throws -> Certificates {
        let made = try Certificates()
        try made.makeCA("ca")
        try made.makeLeaf("server", by: "ca")
        return made
    }

    @Test("What one side says the other reads, in both directions, whatever pieces the network makes of it")
    func bytes() throws {
        let files = try certificates()
        for pieces in [1, 7, 4096, Int.max] {
            let pair = try Pair(files.server(), files.client(trusting: "ca"))
            let question = (0..<70_000).map { UInt8(truncatingIfNeeded: $0) }
            pair.say(question, from: pair.client)
            pair.say(Array("answer".utf8), from: pair.server)
            pair.carry(pieces: pieces)
            #expect(pair.atServer.received == question && pair.atClient.received == Array("answer".utf8))
            pair.client.close(promise: nil)
            pair.carry()
            #expect(!pair.server.isActive)
        }
    }

    @Test("An empty write is done when those before it are, and a large one in the end")
    func promises() throws {
        let files = try certificates()
        let pair = try Pair(files.server(), files.client(trusting: "ca"))
        var done: [String] = []
        for (name, bytes) in [("large", 300_000), ("empty", 0)] {
            let promise = pair.server.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenSuccess { done.append(name) }
            pair.server.write(ByteBuffer(repeating: 7, count: bytes), promise: promise)
        }
        #expect(done.isEmpty)
        pair.server.flush()
        #expect(done == ["large", "empty"])
        pair.carry()
        #expect(pair.atClient.received.count == 300_000)
    }

    @Test("A server is believed only with a certificate of the CA that is for its name")
    func servers() throws {
        let files = try certificates()
        try files.makeCA("other")
        #expect(try Pair(files.server(), files.client(trusting: "ca"), to: "127.0.0.1").works)
        #expect(try !Pair(files.server(), files.client(trusting: "ca"), to: "example.org").works)
        #expect(try !Pair(files.server(), files.client(trusting: "ca"), to: "127.0.0.2").works)
        let stranger = try Pair(files.server(), files.client(trusting: "other"))
        #expect(!stranger.works && !stranger.client.isActive)
        var anybody = TLSSettings()
        anybody.trustsAnybody = true
        #expect(try Pair(files.server(), anybody, to: "example.org").works)
    }

    @Test("A client without a certificate, with another CA's, a revoked one or one for another name is let in nowhere")
    func clients() throws {
        let files = try certificates()
        try files.makeCA("other")
        try files.makeLeaf("good", by: "ca", names: "DNS:node.example")
        try files.makeLeaf("gone", by: "ca")
        try files.makeLeaf("foreign", by: "other")
        try files.revoke(["gone"], by: "ca")
        var door = files.server(clientCA: "ca")
        door.crlFile = files.path("ca.crl")
        #expect(try Pair(door, files.client(trusting: "ca", as: "good")).works)
        for name in [nil, "gone", "foreign"] as [String?] {
            let pair = try Pair(door, files.client(trusting: "ca", as: name))
            #expect(!pair.works && pair.atServer.received.isEmpty && !pair.server.isActive, "\(name ?? "none")")
        }
        door.allowedHostname = "node.example"
        #expect(try Pair(door, files.client(trusting: "ca", as: "good")).works)
        // What a subject calls itself is no name, nor is a name that merely begins like it.
        try files.makeLeaf("named", by: "ca", names: "email:nobody@example.org")
        door.allowedHostname = "named"
        #expect(try !Pair(door, files.client(trusting: "ca", as: "named")).works)
        try files.makeLeaf("partial", by: "ca", names: "DNS:no*.example")
        door.allowedHostname = "node.example"
        #expect(try !Pair(door, files.client(trusting: "ca", as: "partial")).works)
        try files.makeLeaf("addressed", by: "ca", names: "IP:10.0.0.9")
        door.allowedHostname = "10.0.0.9"
        #expect(try Pair(door, files.client(trusting: "ca", as: "addressed")).works)
        door.allowedHostname = "elsewhere.example"
        #expect(try !Pair(door, files.client(trusting: "ca", as: "good")).works)
    }

    @Test("Versions, cipher suites and protocols are agreed on as the settings say")
    func agreement() throws {
        let files = try certificates()
        var old = files.client(trusting: "ca")
        old.highestVersion = .tls12
        var new = files.server()
        new.lowestVersion = .tls13
        #expect(try Pair(files.server(), old).works)
        #expect(try !Pair(new, old).works)
        var narrow = files.server()
        narrow.cipherSuites = ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]
        #expect(try Pair(narrow, old).works)
        old.cipherSuites = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
        #expect(try !Pair(narrow, old).works)
        #expect(try Pair(files.server(), files.client(trusting: "ca"), protocols: ["x", "http/1.1"]).works)
        #expect(try !Pair(files.server(), files.client(trusting: "ca"), protocols: ["smtp"]).works)
    }

    @Test("Files that cannot be used are named")
    func files() throws {
        let files = try certificates()
        try files.makeLeaf("other", by: "ca")
        func failure(_ change: (inout TLSSettings) -> Void) -> String {
            var settings = files.server()
            change(&settings)
            do throws(TLSError) { _ = try TLSContext(settings, .server) } catch { return error.description }
            return ""
        }
        #expect(failure { $0.certificateFile = "/nowhere/cert.pem" }.hasPrefix("/nowhere/cert.pem: "))
        #expect(failure { $0.keyFile = files.path("other.key") }.contains("other.key"))
        #expect(failure { $0.keyFile = nil }.contains("--key-file"))
        #expect(failure { $0.trustedCAFile = files.path("server.key") }.contains("server.key"))
        #expect(failure { $0.crlFile = files.path("server.pem") }.contains("no list of revoked"))
        try files.revoke(["other"], by: "ca")
        let list = try files.read("ca.crl")
        try files.write(list + list.replacing("M", with: "N"), to: "two.crl")
        #expect(failure { $0.crlFile = files.path("two.crl") }.contains("list 2 of "))
        try files.write(list + list.prefix(80), to: "cut.crl")
        #expect(failure { $0.crlFile = files.path("cut.crl") }.contains("list 2 of "))
        try files.openssl("pkey", "-in", "server.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
        #expect(failure { $0.keyFile = files.path("locked.key") }.contains("pass phrase"))
        #expect(failure { $0.cipherSuites = ["TLS_AES_128_GCM_SHA256"] }.contains("TLS 1.3"))
        #expect(failure { $0.cipherSuites = ["ROT13"] }.contains("ROT13"))
        #expect(
            failure {
                $0.lowestVersion = .tls13; $0.highestVersion = .tls12
            }.contains("TLS1.3"))
    }

    @Test("A renewed certificate is used at once, and one that cannot be read leaves the old one in use")
    func renewal() throws {
        let files = try certificates()
        let source = try TLSSource(files.server(), .server, Logger(label: "test"))
        let first = source.current
        #expect(source.current === first)
        try files.makeLeaf("server", by: "ca")
        let second = source.current
        #expect(second !== first && source.current === second)
        try files.write("nonsense", to: "server.pem")
        #expect(source.current === second)
        try files.makeLeaf("server", by: "ca")
        #expect(source.current !== second)
    }

    @Test("What could not be read is tried again, also where no file has changed since")
    func renewalTriedAgain() throws {
        let files = try certificates()
        let settings = files.server()
        let time = Mutex(ContinuousClock.now)
        let isOut = Mutex(false)
        let source = try TLSSource(settings, Logger(label: "test"), now: { time.withLock { $0 } }) {
            () throws(TLSError) in
            if isOut.withLock({ $0 }) { throw TLSError("there are no descriptors left") }
            return try TLSContext(settings, .server)
        }
        let first = source.current
        isOut.withLock { $0 = true }
        try files.makeLeaf("server", by: "ca")
        #expect(source.current === first)
        isOut.withLock { $0 = false }
        #expect(source.current === first, "not with each connection")
        time.withLock { $0 += .seconds(10) }
        #expect(source.current !== first)
    }

    @Test("Who floods a port with handshakes makes room for others, and not they for them")
    func flood() throws {
        let handshakes = TLSHandshakes(countMax: 4)
        func call(from address: String) throws -> EmbeddedChannel {
            let channel = EmbeddedChannel()
            channel.connect(to: try SocketAddress(ipAddress: address, port: 1), promise: nil)
            _ = handshakes.begin(channel)
            return channel
        }
        let honest = try call(from: "10.0.0.2")
        let first = try (0..<3).map { _ in try call(from: "10.0.0.3") }
        let other = try call(from: "10.0.0.4")
        #expect(honest.isActive && other.isActive && first.map(\.isActive) == [false, true, true])
        let more = try (0..<20).map { _ in try call(from: "10.0.0.3") }
        #expect(honest.isActive && other.isActive && handshakes.count == 4)
        #expect(more.map(\.isActive).suffix(3) == [false, true, true])
    }

    @Test("A handshake that does not end is ended, and the oldest makes room for new ones")
    func slowHandshakes() throws {
        let files = try certificates()
        let context = try TLSContext(files.server(), .server)
        let handshakes = TLSHandshakes(countMax: 2)
        let channels = try (0..<3).map { _ in
            let channel = EmbeddedChannel()
            try channel.pipeline.syncOperations.addHandler(TLSHandler(from: context, handshakes))
            channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
            return channel
        }
        #expect(channels.map(\.isActive) == [false, true, true] && handshakes.count == 2)
        channels[1].embeddedEventLoop.advanceTime(by: .seconds(11))
        #expect(!channels[1].isActive && handshakes.count == 1)
        #expect(try Pair(files.server(), files.client(trusting: "ca"), handshakes).works && handshakes.count == 1)
    }

    @Test(
        "Bytes that are no TLS end the connection",
        arguments: ["GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{0}\u{5}hello", ""])
    func strangers(_ text: String) throws {
        let files = try certificates()
        let channel = EmbeddedChannel()
        let sink = Pair.Sink()
        try channel.pipeline.syncOperations.addHandlers([
            TLSHandler(from: try TLSContext(files.server(), .server), TLSHandshakes()), sink,
        ])
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        if !text.isEmpty { _ = try? channel.writeInbound(ByteBuffer(string: text)) }
        channel.embeddedEventLoop.run()
        #expect(channel.isActive == text.isEmpty && sink.received.isEmpty && (sink.error != nil) == !text.isEmpty)
        _ = try? channel.finish()
    }
}
