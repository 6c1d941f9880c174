internal import Certificates
internal import NIOCore
internal import Raft
internal import NIOPosix
internal import Sockets
package import TLS

/// How members speak TLS with each other, at addresses that say https.
package struct PeerTLS: Sendable {
    /// As those who are called.
    package let server: TLSSource
    /// As those who call.
    let client: TLSSource
    /// How a certificate says whose it is.
    package enum Identity: Sendable {
        /// Not at all: any of the CA may speak as any member.
        case none
        /// As in etcd: a caller comes from an address that its certificate is for, who is called has one for its URL's host.
        case addresses
        /// By the fabric and the id of a member: the CA is the fabric's own.
        case members
    }

    let identity: Identity
    /// If members are called in clear text, too, where their addresses say so.
    let takesClearText: Bool
    let handshakes = TLSHandshakes()

    package init(server: TLSSource, client: TLSSource, identity: Identity, takesClearText: Bool = true) {
        self.server = server
        self.client = client
        self.identity = identity
        self.takesClearText = takesClearText
    }
}

/// Connects to peers, by TLS where their addresses say so.
struct PeerDialer: Sendable {
    let names: Dialer
    let tls: PeerTLS?
    let clusterID: UInt64

    /// - Parameter configure: as `Dialer`'s; gets the address that answered.
    func connect(
        _ bootstrap: ClientBootstrap, to peer: NodeID, at addresses: [PeerAddress], on loop: any EventLoop,
        configure: @escaping @Sendable (any Channel, PeerAddress) throws -> Void
    ) -> EventLoopFuture<any Channel> {
        names.connect(bootstrap, to: addresses.map { ($0.host, $0.port) }, on: loop) { channel, target in
            let address = addresses[target]
            // Those who hear of the connection's end are there before hands are shaken.
            try configure(channel, address)
            guard address.isSecure || tls?.takesClearText ?? true else {
                throw TLSError("\(address) is in clear text, and this member itself takes TLS only")
            }
            if address.isSecure {
                try channel.pipeline.syncOperations.addHandler(makeHandler(peer, address), position: .first)
            }
        }
    }

    private func makeHandler(_ peer: NodeID, _ address: PeerAddress) throws(TLSError) -> TLSHandler {
        guard let tls else {
            throw TLSError("\(address) needs TLS: --peer-cert-file and --peer-trusted-ca-file")
        }
        let expected: Expected =
            switch tls.identity {
            case .none, .addresses: .host(address.host)
            case .members: .member(.member(fabric: clusterID, id: peer))
            }
        return try TLSHandler(expecting: expected, tls.client.current)
    }
}

/// Looks if a caller may speak as the member that it says to be, as far as certificates tell.
struct CallerCheck: Sendable {
    let names: NameLookups
    let identity: PeerTLS.Identity

    /// - Returns: fails with the reason when the certificate is not one of a member that comes from there.
    func check(_ certificate: PeerCertificate?, from address: String, on loop: any EventLoop) -> EventLoopFuture<Void> {
        switch identity {
        case .none: return loop.makeSucceededVoidFuture()
        case .addresses: return checkAddress(of: certificate, from: address, on: loop)
        case .members:
            if case .member? = certificate?.fabricName { return loop.makeSucceededVoidFuture() }
            return loop.makeFailedFuture(TLSError("its certificate is no member's"))
        }
    }

    /// If a caller with this certificate may introduce itself so.
    func allows(_ certificate: PeerCertificate?, _ hello: PeerHello) -> Bool {
        identity != .members || proves(certificate, hello)
    }

    /// If a certificate shows that the caller is the member that it says to be.
    func proves(_ certificate: PeerCertificate?, _ hello: PeerHello) -> Bool {
        identity == .members && certificate?.fabricName == .member(fabric: hello.clusterID, id: hello.from)
    }

    /// etcd's check of the addresses and names of peers' certificates.
    private func checkAddress(
        of certificate: PeerCertificate?, from address: String, on loop: any EventLoop
    ) -> EventLoopFuture<Void> {
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
