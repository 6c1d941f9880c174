internal import Bytes
internal import Raft

/// How a member introduces itself to another that it calls.
struct PeerHello: Equatable, Sendable {
    /// What the connection is for.
    enum Purpose: UInt8, Sendable {
        case messages = 1
        case snapshot = 2
        /// By TLS alone: the caller's certificate, and the CA's key.
        case certificates = 3
    }

    /// Versions of a fabric that the caller's release can be part of: see `FabricVersion`.
    var versions: ClosedRange<UInt64>
    var clusterID: UInt64
    var from: NodeID
    var to: NodeID
    /// The caller began with nothing, and nobody has confirmed that this is right.
    var isUnconfirmed: Bool
    var purpose: Purpose
    /// Where the newest configuration that names the caller stands in its log.
    var configurationIndex: Index = 0
    /// Where the caller is reached now, whatever the configuration says.
    var peerURLs: [String] = []

    private static let urlsMax = 4
    private static let urlBytesMax = 200

    func encode(into writer: inout ByteWriter) {
        writer.varint(versions.lowerBound)
        writer.varint(versions.upperBound)
        for id in [clusterID, from, to] { writer.fixed(id) }
        writer.bool(isUnconfirmed)
        writer.byte(purpose.rawValue)
        writer.varint(configurationIndex)
        let urls = peerURLs.filter { $0.utf8.count <= Self.urlBytesMax }.prefix(Self.urlsMax)
        writer.varint(UInt64(urls.count))
        for url in urls { writer.string(url) }
    }
}

extension PeerHello {
    init(from reader: inout ByteReader) throws(DecodingFault) {
        let (lowest, highest) = (try reader.varint(), try reader.varint())
        guard lowest <= highest else { throw .invalid("versions \(lowest) to \(highest)") }
        let clusterID: UInt64 = try reader.fixed()
        let from: NodeID = try reader.fixed()
        let to: NodeID = try reader.fixed()
        let isUnconfirmed = try reader.bool()
        guard let purpose = Purpose(rawValue: try reader.byte()) else { throw .invalid("purpose") }
        self.init(
            versions: lowest...highest, clusterID: clusterID, from: from, to: to, isUnconfirmed: isUnconfirmed,
            purpose: purpose)
        guard !reader.isAtEnd else { return }
        configurationIndex = try reader.varint()
        let count = try reader.count()
        guard count <= Self.urlsMax else { throw .invalid("\(count) peer URLs") }
        for _ in 0..<count {
            let url = try reader.string()
            guard url.utf8.count <= Self.urlBytesMax else { throw .invalid("peer URL") }
            peerURLs.append(url)
        }
    }
}
