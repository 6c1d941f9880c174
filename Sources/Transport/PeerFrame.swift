internal import Bytes
internal import Raft
internal import Storage

/// What goes over a connection between members, each in a frame of its own.
enum PeerFrame: Sendable {
    /// The first frame of the member that connected.
    case hello(PeerHello)
    /// The answer to it: welcome, the fabric's version, and where the others are; or why not.
    case welcome(version: UInt64, others: [PeerHint])
    case refused(PeerRefusal)
    case messages([Message])
    case snapshotHeader(SnapshotStore.Header)
    /// The receiver has this many bytes of the image.
    case snapshotHave(Int)
    case snapshotChunk(offset: Int, bytes: [UInt8])
    /// The receiver has the whole image, or gave up.
    case snapshotDone(Bool)
    case certificateWish(CertificateWish)
    case certificates(CertificateAnswer)

    /// Longest frame accepted: from strangers and as answers, of an image's parts, of messages.
    static let greetingBytesMax = 1 << 10
    static let chunkBytesMax = 1 << 20
    static let bytesMax = 32 << 20
    static let certificateBytesMax = 128 << 10

    func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 256)
        switch self {
        case .hello(let hello):
            writer.byte(9)
            hello.encode(into: &writer)
        case .welcome(let version, let others):
            writer.byte(10)
            writer.varint(version)
            Self.encode(others, into: &writer)
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
        case .certificateWish(let wish):
            writer.byte(11)
            wish.encode(into: &writer)
        case .certificates(let answer):
            writer.byte(12)
            answer.encode(into: &writer)
        }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(DecodingFault) {
        var reader = ByteReader(bytes)
        switch try reader.byte() {
        case 1: throw .invalid("a hello of release 0.1.0; all members start on the same release")
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
        case 9:
            self = .hello(try PeerHello(from: &reader))
            // A later release may say more.
            return
        case 10:
            let version = try reader.varint()
            var others: [PeerHint] = []
            while !reader.isAtEnd {
                let id: NodeID = try reader.fixed()
                others.append(PeerHint(id: id, url: try reader.string()))
            }
            self = .welcome(version: version, others: others)
        case 11: self = .certificateWish(try CertificateWish(from: &reader))
        case 12: self = .certificates(try CertificateAnswer(from: &reader))
        case let kind: throw .invalid("frame kind \(kind)")
        }
        try reader.expectEnd()
    }

    /// As many as fit into a greeting.
    private static func encode(_ others: [PeerHint], into writer: inout ByteWriter) {
        for other in others {
            var next = ByteWriter(reserving: 64)
            next.fixed(other.id)
            next.string(other.url)
            guard writer.bytes.count + next.bytes.count < greetingBytesMax - frameHeadBytes else { return }
            writer.raw(next.bytes)
        }
    }

    /// What surrounds a frame.
    private static let frameHeadBytes = 64

    private static func size(_ reader: inout ByteReader) throws(DecodingFault) -> Int {
        let value = try reader.varint()
        guard value < 1 << 48 else { throw .invalid("size") }
        return Int(value)
    }
}

/// Why a member does not talk to another.
package enum PeerRefusal: UInt8, Error, Sendable, CustomStringConvertible {
    case wrongCluster = 1
    case wrongMember = 2
    /// The member was taken out of the fabric.
    case removed = 3
    /// Not a member, as far as the other knows yet.
    case unknown = 4
    /// The member begins with nothing, but took part before: its disk is lost.
    case forgotten = 5
    /// The fabric's version is above what the member's release reads.
    case oldRelease = 6
    /// The fabric's version is below what the member's release reads.
    case newRelease = 7

    package var description: String {
        switch self {
        case .wrongCluster: "it belongs to another fabric (the cluster ids differ)"
        case .wrongMember: "another member answers at its address"
        case .removed: "it says that this member was removed from the fabric"
        case .unknown: "it does not know of this member yet"
        case .forgotten: "it says that this member took part before, but begins with nothing: its data is lost"
        case .oldRelease: "this release of weft is too old for the fabric: install the one that the other members run"
        case .newRelease: "this release of weft cannot read the fabric's version: upgrade by way of an earlier release"
        }
    }
}
