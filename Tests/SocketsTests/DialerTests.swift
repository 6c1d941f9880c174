import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Sockets
import Testing

@Suite struct DialerTests {
    private static let group = MultiThreadedEventLoopGroup.singleton

    private func connect(to targets: [(host: String, port: Int)]) async throws -> any Channel {
        let loop = Self.group.next()
        return try await Dialer().connect(ClientBootstrap(group: loop), to: targets, on: loop) { _, _ in }.get()
    }

    /// A listener that takes everybody.
    private func listener(
        _ limits: Doorman.Limits = Doorman.Limits(guestsMax: 100, guestsPerAddressMax: 100),
        _ configure: @escaping @Sendable (any Channel, Doorman.Guest, Port.Entrance) -> Void = { _, _, _ in }
    ) throws -> (port: Port, number: Int) {
        let port = Port("test", limits, Logger(label: "test"))
        try port.bind(host: "127.0.0.1", port: 0, group: Self.group)
        try port.open(configure)
        return (port, port.localAddress?.port ?? 0)
    }

    /// A port that nobody listens at.
    private func freePort() async throws -> Int {
        let listener = try await ServerBootstrap(group: Self.group).bind(host: "127.0.0.1", port: 0).get()
        let number = listener.localAddress?.port ?? 0
        try await listener.close()
        return number
    }

    @Test("The first address that answers is taken, whatever those before it do")
    func second() async throws {
        let (port, good) = try listener()
        defer { port.close() }
        let connected = try await connect(to: [
            ("127.0.0.1", try await freePort()), ("name.that.does.not.exist.invalid", 1), ("127.0.0.1", good),
        ])
        #expect(connected.remoteAddress?.port == good)
        try await connected.close()
    }

    @Test("When all refuse, that is said of each")
    func refused() async throws {
        let ports = [try await freePort(), try await freePort()]
        do {
            _ = try await connect(to: ports.map { ("127.0.0.1", $0) })
            Issue.record("connected to nobody")
        } catch let failure as DialFailure {
            #expect(failure.isRefusal)
            for port in ports { #expect(failure.description.contains("127.0.0.1:\(port)"), "\(failure)") }
        }
    }

    @Test("A name without an address is named, and is no refusal")
    func unknownName() async throws {
        do {
            _ = try await connect(to: [("name.that.does.not.exist.invalid", 1)])
            Issue.record("connected to nobody")
        } catch let failure as DialFailure {
            #expect(!failure.isRefusal)
            #expect(failure.description.contains("name.that.does.not.exist.invalid"))
        }
    }

    @Test("Without addresses it fails at once")
    func nowhere() async throws {
        await #expect(throws: DialFailure.self) { try await connect(to: []) }
    }

    @Test("When a port is full, the connection that has been idle longest goes, and never one that serves")
    func longestIdleGoes() async throws {
        let guests = NIOLockedValueBox<[Doorman.Guest]>([])
        let (port, here) = try listener(Doorman.Limits(guestsMax: 3, guestsPerAddressMax: 3)) { _, guest, _ in
            guests.withLockedValue { $0.append(guest) }
        }
        defer { port.close() }
        var clients: [any Channel] = []
        for _ in 0..<3 {
            clients.append(try await connect(to: [("127.0.0.1", here)]))
            while guests.withLockedValue({ $0.count }) < clients.count { try await Task.sleep(for: .milliseconds(1)) }
        }
        // The oldest serves somebody; so the second has been idle longest.
        guests.withLockedValue { $0[0].setIdle(false) }
        clients.append(try await connect(to: [("127.0.0.1", here)]))
        try await clients[1].closeFuture.get()
        #expect(clients[0].isActive)
        guests.withLockedValue { for guest in $0 { guest.setIdle(false) } }
        while port.doorman.count < 3 { try await Task.sleep(for: .milliseconds(1)) }
        // Nobody is idle: the newcomer is turned away.
        let last = try await connect(to: [("127.0.0.1", here)])
        try await last.closeFuture.get()
        #expect(port.doorman.count == 3)
        for client in clients { client.close(promise: nil) }
    }
}
