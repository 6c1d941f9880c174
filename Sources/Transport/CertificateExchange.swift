internal import Bytes
internal import Certificates
internal import NIOCore
internal import NIOPosix
package import Raft

/// What a member asks another for whose fabric has a CA of its own.
package struct CertificateWish: Equatable, Sendable {
    /// PKCS #10, PEM; empty when it only wants to know which CAs are believed.
    package var request: [UInt8]
    package var name: String
    /// By which it is reached.
    package var hosts: [String]
    /// It signs for others, and has not the newest CA's key.
    package var wantsAuthority: Bool

    package init(request: [UInt8] = [], name: String, hosts: [String], wantsAuthority: Bool = false) {
        self.request = request
        self.name = name
        self.hosts = hosts
        self.wantsAuthority = wantsAuthority
    }
}

/// Who asks: a member, by a certificate that was found to be good.
package struct CertificateHolder: Sendable {
    package var id: NodeID
    /// DER.
    package var certificate: [UInt8]
}

/// The answer, PEM.
package struct CertificateAnswer: Equatable, Sendable {
    /// Empty unless it was asked for.
    package var certificate: [UInt8]
    /// All CAs that are believed, the newest first.
    package var authorities: [UInt8]
    /// The CA with its key; empty unless it was asked for by one that signs.
    package var authority: [UInt8]

    package init(certificate: [UInt8], authorities: [UInt8], authority: [UInt8]) {
        self.certificate = certificate
        self.authorities = authorities
        self.authority = authority
    }
}

extension CertificateWish {

    func encode(into writer: inout ByteWriter) {
        writer.lengthPrefixed(request)
        writer.string(name)
        let hosts = hosts.prefix(CertificateNames.hostsMax)
        writer.varint(UInt64(hosts.count))
        for host in hosts { writer.string(host) }
        writer.bool(wantsAuthority)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let request = try reader.lengthPrefixed()
        let name = try reader.string()
        var hosts: [String] = []
        let count = try reader.count()
        guard count <= CertificateNames.hostsMax else { throw .invalid("\(count) hosts") }
        for _ in 0..<count { hosts.append(try reader.string()) }
        self.init(request: request, name: name, hosts: hosts, wantsAuthority: try reader.bool())
    }
}

extension CertificateAnswer {
    func encode(into writer: inout ByteWriter) {
        for part in [certificate, authorities, authority] { writer.lengthPrefixed(part) }
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let certificate = try reader.lengthPrefixed()
        let authorities = try reader.lengthPrefixed()
        self.init(certificate: certificate, authorities: authorities, authority: try reader.lengthPrefixed())
    }
}

/// Asks one peer, over a connection of its own. What is answered is a secret: it goes by TLS between two members that know each other.
/// On its connection's event loop.
final class CertificateAsker: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = PeerFrame

    private static let patience = TimeAmount.seconds(5)

    private let wish: CertificateWish
    private let reader: FrameReader
    private let answer: EventLoopPromise<CertificateAnswer?>

    private init(_ wish: CertificateWish, _ reader: FrameReader, _ answer: EventLoopPromise<CertificateAnswer?>) {
        self.wish = wish
        self.reader = reader
        self.answer = answer
    }

    /// Nil when the peer does not answer, or is not reached by TLS.
    static func ask(
        _ peer: NodeID, for wish: CertificateWish, _ directory: PeerDirectory, _ dialer: PeerDialer,
        _ budget: MemoryBudget, on loop: any EventLoop
    ) async -> CertificateAnswer? {
        let addresses = directory.addresses(of: peer).filter(\.isSecure)
        guard !addresses.isEmpty else { return nil }
        let answer = loop.makePromise(of: CertificateAnswer?.self)
        dialer.connect(ClientBootstrap(group: loop), to: peer, at: addresses, on: loop) { channel, _ in
            let reader = FrameReader(budget: budget)
            try channel.pipeline.syncOperations.addHandlers([reader, CertificateAsker(wish, reader, answer)])
        }.whenComplete { result in
            guard case .success(let channel) = result else { return answer.succeed(nil) }
            channel.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
            let hello = PeerFrame.hello(directory.hello(to: peer, for: .certificates))
            channel.writeAndFlush(FrameReader.bytes(of: hello), promise: nil)
        }
        return try? await answer.futureResult.get()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .welcome:
            reader.bytesMax = PeerFrame.certificateBytesMax
            context.writeAndFlush(
                NIOAny(FrameReader.bytes(of: .certificateWish(wish))), promise: nil)
        case .certificates(let found):
            answer.succeed(found)
            context.close(promise: nil)
        default: context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) { answer.succeed(nil) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
