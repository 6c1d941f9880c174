internal import NIOCore
internal import NIOPosix
internal import Sockets
package import TLS

/// How members speak TLS with each other, at addresses that say https.
package struct PeerTLS: Sendable {
    /// As those who are called.
    let server: TLSSource
    /// As those who call.
    let client: TLSSource
    /// If a caller must come from an address that its certificate is for, as in etcd.
    let checksAddresses: Bool
    let handshakes = TLSHandshakes()

    package init(server: TLSSource, client: TLSSource, checksAddresses: Bool) {
        self.server = server
        self.client = client
        self.checksAddresses = checksAddresses
    }
}

/// Connects to peers, by TLS where their addresses say so.
struct PeerDialer: Sendable {
    let names: Dialer
    let tls: PeerTLS?

    /// - Parameter configure: as `Dialer`'s; gets the address that answered.
    func connect(
        _ bootstrap: ClientBootstrap, to addresses: [PeerAddress], on loop: any EventLoop,
        configure: @escaping @Sendable (any Channel, PeerAddress) throws -> Void
    ) -> EventLoopFuture<any Channel> {
        names.connect(bootstrap, to: addresses.map { ($0.host, $0.port) }, on: loop) { channel, target in
            let address = addresses[target]
            // Those who hear of the connection's end are there before hands are shaken.
            try configure(channel, address)
            if address.isSecure {
                guard let tls else {
                    throw TLSError("\(address) needs TLS: --peer-cert-file and --peer-trusted-ca-file")
                }
                try channel.pipeline.syncOperations.addHandler(
                    TLSHandler(to: address.host, tls.client.current), position: .first)
            }
        }
    }
}

/// Looks if a caller comes from where its certificate is for: etcd's check of the addresses and names of peers' certificates.
struct CallerAddress: Sendable {
    let names: NameLookups

    /// - Returns: fails with the reason when it does not.
    func check(_ certificate: PeerCertificate?, from address: String, on loop: any EventLoop) -> EventLoopFuture<Void> {
        guard let certificate, !(certificate.addresses.isEmpty && certificate.names.isEmpty) else {
            return loop.makeSucceededVoidFuture()
        }
        if certificate.addresses.contains(address) { return loop.makeSucceededVoidFuture() }
        let reason = TLSError(
            "its certificate is for \((certificate.addresses + certificate.names).joined(separator: ", "))")
        let found = certificate.names.filter { !$0.hasPrefix("*") }.map { names.addresses(of: $0, on: loop) }
        guard !found.isEmpty else { return loop.makeFailedFuture(reason) }
        return EventLoopFuture.whenAllComplete(found, on: loop).flatMapThrowing { results in
            let addresses = results.flatMap { (try? $0.get()) ?? [] }.compactMap(\.ipAddress)
            if !addresses.contains(address) { throw reason }
        }
    }
}
