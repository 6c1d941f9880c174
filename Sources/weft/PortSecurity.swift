internal import Certificates
internal import Client
internal import Logging
internal import Server
internal import Storage
internal import TLS
internal import Transport
#if canImport(Glibc)
    internal import Glibc
#endif

/// How a member's ports speak TLS: with certificates that its operators brought, or with those of the fabric's own CA.
struct PortSecurity {
    /// Nil where no address is secure.
    var clients: TLSSource?
    var peers: PeerTLS?
    /// Nil where the fabric's own CA has no part in it.
    var certificates: MemberCertificates?

    /// What operators brought.
    /// - Throws: when it cannot be used as it is.
    init(_ settings: ServeSettings, _ logger: Logger) throws(TLSError) {
        if settings.listenClient.contains(where: \.isSecure), !settings.usesOwnAuthorityForClients {
            clients = try TLSSource(settings.clientTLS, .server, logger)
        }
        peers = try settings.peers.make(settings.clientTLS, logger)
    }

    /// Adds what the fabric's own CA makes, once it is known whose the directory is.
    /// - Parameter joins: if the member was told of a fabric, and its certificate is in the directory.
    mutating func useOwnAuthority(
        _ settings: ServeSettings, _ directory: DataDirectory, _ identity: Identity, joins: Bool, _ logger: Logger
    ) throws {
        guard settings.usesOwnAuthority else { return }
        guard !directory.isFresh() || joins || settings.server.founders.count == 1 else {
            throw Problem(
                .usage,
                """
                founders that begin together at https:// addresses need certificates of your own (--peer-cert-file, --cert-file). Or found \
                with one of them (--found), and let the others join by token: then the fabric makes its own
                """)
        }
        let isAlone = try settings.server.founders.count == 1 && directory.hints()?.isEmpty ?? true
        let found = try MemberCertificates(
            in: directory, of: identity, hosts: settings.ownHosts, founds: isAlone && !joins,
            now: Int64(time(nil)), logger)
        certificates = found
        do throws(TLSError) {
            if settings.usesOwnAuthorityForClients {
                var clientTLS = settings.clientTLS.with(found)
                clientTLS.letsStrangersIn = !settings.demandsCertificates
                clientTLS.foreignCAFile = found.foreignPath
                clients = try TLSSource(clientTLS, .server, logger)
            }
            if settings.usesOwnAuthorityForPeers {
                // What is asked of clients' certificates is not asked of members'.
                let peerTLS = TLSSettings(versionsOf: settings.clientTLS).with(found)
                peers = PeerTLS(
                    server: try TLSSource(peerTLS, .server, logger), client: try TLSSource(peerTLS, .client, logger),
                    identity: .members, takesClearText: settings.listenPeer.contains { !$0.isSecure })
            }
        } catch {
            throw Problem(.unusable, error.description)
        }
    }
}

extension TLSSettings {
    /// The same rules, with a member's certificate and the CAs of its fabric.
    fileprivate func with(_ certificates: MemberCertificates) -> TLSSettings {
        var settings = self
        settings.certificateFile = certificates.memberPath
        settings.keyFile = certificates.memberPath
        settings.trustedCAFile = certificates.trustPath
        settings.trust = .fabric
        return settings
    }
}

extension ServeSettings {
    var usesOwnAuthorityForClients: Bool {
        listenClient.contains(where: \.isSecure) && clientTLS.certificateFile == nil
    }

    var usesOwnAuthorityForPeers: Bool { listenPeer.contains(where: \.isSecure) && !peers.hasCertificate }

    /// If a port speaks TLS and nobody said with which certificate.
    var usesOwnAuthority: Bool { usesOwnAuthorityForClients || usesOwnAuthorityForPeers }

    /// Names and addresses by which this member is reached, as far as they are known here.
    var ownHosts: [String] {
        let advertised = (server.advertisedClientURLs + server.advertisedPeerURLs).compactMap(Endpoint.init)
        let places = (advertised + listenClient + listenPeer).map(\.host).filter { !["0.0.0.0", "::"].contains($0) }
        return places + tlsNames + [ownHostName()].compactMap(\.self) + ["localhost", "127.0.0.1", "::1"]
    }
}
