#if canImport(Glibc)
    internal import Glibc
#endif
internal import NIOCore
internal import NIOPosix
internal import Sockets
internal import TLS

extension Dialer {
    /// Connects to an endpoint with the options of `bootstrap`; `configure` as for the other targets of a dialer.
    func connect(
        _ bootstrap: ClientBootstrap, to endpoint: Endpoint, timeout: TimeAmount, on loop: any EventLoop,
        configure: @escaping @Sendable (any Channel) throws -> Void
    ) -> EventLoopFuture<any Channel> {
        guard endpoint.isLocal else {
            return connect(bootstrap, to: [(endpoint.host, endpoint.port)], timeout: timeout, on: loop) { channel, _ in
                try configure(channel)
            }
        }
        return bootstrap.channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try configure(channel) }
        }.connect(unixDomainSocketPath: endpoint.host).flatMapErrorThrowing { error in
            throw (error as? IOError).map { HTTPClient.Failure(description: String(cString: strerror($0.errnoCode))) }
                ?? error
        }
    }
}

extension Channel {
    /// Has a connection to a secure endpoint encrypted; before other handlers are added.
    func encrypt(to endpoint: Endpoint, _ tls: TLSContext?, protocols: [String]) throws {
        guard endpoint.isSecure else { return }
        guard let tls else { throw TLSError("\(endpoint) is reached by TLS: --cacert says whom to believe") }
        try pipeline.syncOperations.addHandler(TLSHandler(to: endpoint.host, tls, protocols: protocols))
    }
}

/// Where a member's clients connect.
package struct Endpoint: Equatable, Sendable, CustomStringConvertible {
    /// The path of the socket of one that is local.
    package var host: String
    package var port: Int
    /// By TLS.
    package var isSecure: Bool
    /// Of this machine: a member's socket in the file system.
    package private(set) var isLocal = false

    /// If nobody on the way can read what is said.
    var isPrivate: Bool { isSecure || isLocal || isLoopback(host) }

    /// The socket at a path.
    package init(path: String) {
        self.init(host: path, port: 0)
        isLocal = true
    }

    package init(host: String, port: Int, isSecure: Bool = false) {
        self.host = host
        self.port = port
        self.isSecure = isSecure
    }

    /// `https://host:port`, `http://host:port`, `host:port` or `host`; nil for anything else.
    package init?(_ text: String) {
        var rest = text[...]
        isSecure = rest.hasPrefix("https://")
        for scheme in ["http://", "https://"] where rest.hasPrefix(scheme) {
            rest = rest.dropFirst(scheme.count)
            break
        }
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        guard !rest.isEmpty, !rest.contains("/") else { return nil }
        if rest.hasPrefix("[") {
            guard let close = rest.firstIndex(of: "]") else { return nil }
            host = String(rest[rest.index(after: rest.startIndex)..<close])
            let after = rest[rest.index(after: close)...]
            guard let found = after.isEmpty ? 2379 : after.hasPrefix(":") ? Int(after.dropFirst()) : nil else {
                return nil
            }
            port = found
        } else {
            let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count <= 2, !parts[0].isEmpty else { return nil }
            host = String(parts[0])
            guard let found = parts.count == 2 ? Int(parts[1]) : 2379 else { return nil }
            port = found
        }
        guard (1...65_535).contains(port) else { return nil }
    }

    package var authority: String {
        isLocal ? "localhost" : host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
    package var description: String { isLocal ? "unix://\(host)" : "\(isSecure ? "https" : "http")://\(authority)" }
}
