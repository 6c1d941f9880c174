package import NIOCore
package import NIOPosix
#if canImport(Glibc)
    internal import Glibc
#endif

/// Why no connection could be made.
package struct DialFailure: Error, CustomStringConvertible, Sendable {
    package let description: String
    /// Each address says that nobody listens there.
    package let isRefusal: Bool

    init(_ description: String, isRefusal: Bool = false) {
        self.description = description
        self.isRefusal = isRefusal
    }
}

/// Connects to the first address of several that answers. A name that nobody resolves, or an address that swallows what is sent
/// to it, delays no other. Thread-safe.
package final class Dialer: Sendable {
    /// An address is tried so long; the next one begins after the head start of the one before (RFC 8305).
    private static let headStart = TimeAmount.milliseconds(250)

    package let names = NameLookups()

    package init() {}

    /// If the look-up of a name has not ended.
    package func isLookingUp(_ host: String) -> Bool { names.isAsking(host) }

    /// Connects with the options of `bootstrap`. It must not have a channel initializer: `configure` gets the connection that is
    /// kept, on its loop, before anything is read from it, and which of the targets it is to.
    /// - Parameter targets: in order of preference.
    package func connect(
        _ bootstrap: ClientBootstrap, to targets: [(host: String, port: Int)], timeout: TimeAmount = .seconds(2),
        on loop: any EventLoop, configure: @escaping @Sendable (any Channel, _ target: Int) throws -> Void
    ) -> EventLoopFuture<any Channel> {
        let promise = loop.makePromise(of: Connected.self)
        let race = Race(bootstrap.connectTimeout(timeout), promise, on: loop, isOver: targets.isEmpty)
        loop.execute {
            for (number, target) in targets.enumerated() {
                race.expect()
                self.names.addresses(of: target.host, on: loop).whenComplete {
                    race.found($0, port: target.port, target: number)
                }
            }
        }
        return promise.futureResult.flatMapThrowing { channel, target in
            do {
                try configure(channel, target)
            } catch {
                channel.close(promise: nil)
                throw error
            }
            return channel
        }
    }

    private typealias Connected = (channel: any Channel, target: Int)

    /// What one connection attempt consists of. Made anywhere, then only on its loop.
    private final class Race: @unchecked Sendable {
        private let bootstrap: ClientBootstrap
        private let promise: EventLoopPromise<Connected>
        private let loop: any EventLoop
        private var lookups = 0
        private var waiting: [(address: SocketAddress, target: Int)] = []
        private var running = 0
        private var failures: [(reason: String, isRefusal: Bool)] = []
        private var isOver: Bool
        private var nextStart: Scheduled<Void>?

        init(
            _ bootstrap: ClientBootstrap, _ promise: EventLoopPromise<Connected>, on loop: any EventLoop, isOver: Bool
        ) {
            self.bootstrap = bootstrap
            self.promise = promise
            self.loop = loop
            self.isOver = isOver
            if isOver { promise.fail(DialFailure("there is no address to connect to")) }
        }

        func expect() { lookups += 1 }

        func found(_ result: Result<[SocketAddress], any Error>, port: Int, target: Int) {
            lookups -= 1
            switch result {
            case .failure(let error): failures.append(("\(error)", false))
            case .success(let addresses):
                waiting += addresses.map { address in
                    var address = address
                    address.port = port
                    return (address, target)
                }
            }
            if running == 0 { startNext() }
        }

        private func startNext() {
            nextStart?.cancel()
            nextStart = nil
            guard !isOver else { return }
            guard !waiting.isEmpty else { return failIfOver() }
            let (address, target) = waiting.removeFirst()
            running += 1
            bootstrap.connect(to: address).hop(to: loop).whenComplete { self.ended($0, at: address, target) }
            nextStart = loop.scheduleTask(in: Dialer.headStart) { self.startNext() }
        }

        private func ended(_ result: Result<any Channel, any Error>, at address: SocketAddress, _ target: Int) {
            running -= 1
            switch result {
            case .success(let channel):
                if isOver { return channel.close(promise: nil) }
                isOver = true
                nextStart?.cancel()
                promise.succeed((channel, target))
            case .failure(let error):
                failures.append((Self.text(error, at: address), (error as? IOError)?.errnoCode == ECONNREFUSED))
                startNext()
            }
        }

        private func failIfOver() {
            guard running == 0, lookups == 0 else { return }
            isOver = true
            promise.fail(
                DialFailure(
                    failures.map(\.reason).joined(separator: "; "),
                    isRefusal: failures.allSatisfy(\.isRefusal)))
        }

        private static func text(_ error: any Error, at address: SocketAddress) -> String {
            let place = "\(address.ipAddress.map { $0.contains(":") ? "[\($0)]" : $0 } ?? "?"):\(address.port ?? 0)"
            if let error = error as? IOError { return "\(place): \(String(cString: strerror(error.errnoCode)))" }
            if case ChannelError.connectTimeout? = error as? ChannelError { return "\(place): no answer" }
            return "\(place): \(error)"
        }
    }
}
