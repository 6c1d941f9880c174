internal import Bytes
internal import Raft
internal import Storage

/// What goes over a connection between members, each in a frame of its own.
enum PeerFrame: Sendable {
    /// What the connection is for.
    enum Purpose: UInt8, Sendable {
        case messages = 1
        case snapshot = 2
    }

    /// The first frame of the member that connected.
    case hello(clusterID: UInt64, from: NodeID, to: NodeID, isUnconfirmed: Bool, Purpose)
    /// The answer to it: welcome, or why not.
    case welcome
    case refused(PeerRefusal)
    case messages([Message])
    case snapshotHeader(SnapshotStore.Header)
    /// The receiver has this many bytes of the image.
    case snapshotHave(Int)
    case snapshotChunk(offset: Int, bytes: [UInt8])
    /// The receiver has the whole image, or gave up.
    case snapshotDone(Bool)

    static let protocolVersion: UInt8 = 2
    /// Longest frame accepted.
    static let bytesMax = 32 << 20

    func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 256)
        switch self {
        case .hello(let clusterID, let from, let to, let isUnconfirmed, let purpose):
            writer.byte(1)
            writer.byte(Self.protocolVersion)
            for id in [clusterID, from, to] { writer.fixed(id) }
            writer.bool(isUnconfirmed)
            writer.byte(purpose.rawValue)
        case .welcome: writer.byte(2)
        case .refused(let refusal):
            writer.byte(3)
            writer.byte(refusal.rawValue)
        case .messages(let messages):
            writer.byte(4)
            writer.varint(UInt64(messages.count))
            for message in messages { MessageCodec.encode(message, into: &writer) }
        case .snapshotHeader(let header):
            writer.byte(5)
            writer.varint(header.mark.index)
            writer.varint(header.mark.term)
            writer.varint(UInt64(header.bytes))
            writer.fixed(header.checksum)
            header.mark.configuration.encode(into: &writer)
        case .snapshotHave(let offset):
            writer.byte(6)
            writer.varint(UInt64(offset))
        case .snapshotChunk(let offset, let bytes):
            writer.byte(7)
            writer.varint(UInt64(offset))
            writer.lengthPrefixed(bytes)
        case .snapshotDone(let succeeded):
            writer.byte(8)
            writer.bool(succeeded)
        }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(DecodingFault) {
        var reader = ByteReader(bytes)
        switch try reader.byte() {
        case 1:
            guard try reader.byte() == Self.protocolVersion else { throw .invalid("protocol version") }
            let clusterID: UInt64 = try reader.fixed()
            let from: NodeID = try reader.fixed()
            let to: NodeID = try reader.fixed()
            let isUnconfirmed = try reader.bool()
            guard let purpose = Purpose(rawValue: try reader.byte()) else { throw .invalid("purpose") }
            self = .hello(clusterID: clusterID, from: from, to: to, isUnconfirmed: isUnconfirmed, purpose)
        case 2: self = .welcome
        case 3:
            guard let refusal = PeerRefusal(rawValue: try reader.byte()) else { throw .invalid("refusal") }
            self = .refused(refusal)
        case 4:
            var messages: [Message] = []
            for _ in 0..<(try reader.count(itemBytesMin: 18)) { messages.append(try MessageCodec.decode(&reader)) }
            self = .messages(messages)
        case 5:
            let index = try reader.varint()
            let term = try reader.varint()
            guard index < 1 << 62, term < 1 << 62 else { throw .invalid("snapshot mark") }
            let size = try Self.size(&reader)
            let checksum: UInt32 = try reader.fixed()
            let mark = SnapshotMark(index: index, term: term, configuration: try Configuration(from: &reader))
            self = .snapshotHeader(SnapshotStore.Header(mark: mark, bytes: size, checksum: checksum))
        case 6: self = .snapshotHave(try Self.size(&reader))
        case 7: self = .snapshotChunk(offset: try Self.size(&reader), bytes: try reader.lengthPrefixed())
        case 8: self = .snapshotDone(try reader.bool())
        case let kind: throw .invalid("frame kind \(kind)")
        }
        try reader.expectEnd()
    }

    private static func size(_ reader: inout ByteReader) throws(DecodingFault) -> Int {
        let value = try reader.varint()
        guard value < 1 << 48 else { throw .invalid("size") }
        return Int(value)
    }
}

/// Why a member does not talk to another.
package enum PeerRefusal: UInt8, Sendable, CustomStringConvertible {
    case wrongCluster = 1
    case wrongMember = 2
    /// The member was taken out of the fabric.
    case removed = 3
    /// Not a member, as far as the other knows yet.
    case unknown = 4
    /// The member begins with nothing, but took part before: its disk is lost.
    case forgotten = 5

    package var description: String {
        switch self {
        case .wrongCluster: "it belongs to another fabric (the cluster ids differ)"
        case .wrongMember: "another member answers at its address"
        case .removed: "this member was removed from the fabric"
        case .forgotten: "this member took part before, but begins with nothing: its data is lost"
        case .unknown: "it does not know of this member yet"
        }
    }
}
