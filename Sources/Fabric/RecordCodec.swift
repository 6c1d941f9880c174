package import Bytes

/// Something the fabric keeps, as bytes: what `kv.db` holds and what runs into the state's hash.
protocol Record: Ordered, Equatable where Order == ID {
    static var kind: RecordKind { get }
    /// Unique in its kind, and its order.
    associatedtype ID: Comparable & Sendable
    var id: ID { get }
    /// Encoded `id`.
    var key: [UInt8] { get }
    var mark: RecordMark { get set }
    func encode(into writer: inout ByteWriter)
    init(from reader: inout ByteReader) throws(DecodingFault)
}

extension Record {
    var order: ID { id }

    /// First a byte for the format, so that a later version can tell what it reads.
    func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 256)
        writer.byte(1)
        writer.signed(mark.createRevision)
        writer.signed(mark.modRevision)
        writer.signed(mark.createdAt)
        encode(into: &writer)
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(DecodingFault) {
        var reader = ByteReader(bytes)
        guard try reader.byte() == 1 else { throw .invalid("format of a record") }
        var mark = RecordMark()
        mark.createRevision = try reader.signed()
        mark.modRevision = try reader.signed()
        mark.createdAt = try reader.signed()
        try self.init(from: &reader)
        self.mark = mark
        try reader.expectEnd()
    }
}

extension ByteReader {
    mutating func value<T: RawRepresentable>(_ what: String, _ type: T.Type = T.self) throws(DecodingFault) -> T
    where T.RawValue == UInt8 {
        guard let value = T(rawValue: try byte()) else { throw .invalid(what) }
        return value
    }
}

extension Trace {
    package func encode(into writer: inout ByteWriter) {
        writer.signed(at)
        writer.string(by)
        writer.string(reason)
    }

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        let at = try reader.signed()
        let by = try reader.string()
        self.init(at: at, by: by, reason: try reader.string())
    }
}

extension Domain: Record {
    static let kind = RecordKind.domain
    var id: String { name }
    var key: [UInt8] { Array(name.utf8) }

    func encode(into writer: inout ByteWriter) {
        writer.string(name)
        writer.byte(kind.rawValue)
        writer.bool(isActive)
        writer.signed(epoch)
        labels.encode(into: &writer)
        lastChange.encode(into: &writer)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        name = try reader.string()
        kind = try reader.value("kind of a domain")
        isActive = try reader.bool()
        epoch = try reader.signed()
        labels = try Labels(from: &reader)
        lastChange = try Trace(from: &reader)
    }
}

extension Pool {
    func encode(into writer: inout ByteWriter) {
        writer.string(name)
        writer.signed(capacityBytes)
        labels.encode(into: &writer)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.string()
        let capacity = try reader.signed()
        self.init(name: name, capacityBytes: capacity, labels: try Labels(from: &reader))
    }
}

extension Node: Record {
    static let kind = RecordKind.node
    var id: String { name }
    var key: [UInt8] { Array(name.utf8) }

    func encode(into writer: inout ByteWriter) {
        writer.string(name)
        writer.string(domain)
        labels.encode(into: &writer)
        writer.varint(UInt64(pools.count))
        for pool in pools { pool.encode(into: &writer) }
        writer.strings(addresses)
        for number in [ttl, lease, changedAt] { writer.signed(number) }
        writer.bool(isCordoned)
        writer.bool(isInMaintenance)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        name = try reader.string()
        domain = try reader.string()
        labels = try Labels(from: &reader)
        pools = []
        for _ in 0..<(try reader.count(itemBytesMin: 3)) { pools.append(try Pool(from: &reader)) }
        addresses = try reader.strings()
        ttl = try reader.signed()
        lease = try reader.signed()
        changedAt = try reader.signed()
        isCordoned = try reader.bool()
        isInMaintenance = try reader.bool()
    }
}

extension VolumeReplica {
    func encode(into writer: inout ByteWriter) {
        writer.string(node)
        writer.string(pool)
        writer.byte(state.rawValue)
        writer.signed(generation)
        writer.signed(since)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        node = try reader.string()
        pool = try reader.string()
        state = try reader.value("state of a replica")
        generation = try reader.signed()
        since = try reader.signed()
    }
}

extension Volume: Record {
    static let kind = RecordKind.volume
    var key: [UInt8] {
        var writer = ByteWriter()
        writer.signed(id)
        return writer.bytes
    }

    func encode(into writer: inout ByteWriter) {
        writer.signed(id)
        writer.string(name)
        writer.signed(sizeBytes)
        writer.byte(UInt8(replication))
        labels.encode(into: &writer)
        writer.byte(state.rawValue)
        writer.varint(UInt64(replicas.count))
        for replica in replicas { replica.encode(into: &writer) }
        writer.signed(lastToken)
        writer.bool(attachment != nil)
        guard let attachment else { return }
        writer.string(attachment.node)
        writer.signed(attachment.token)
        writer.signed(attachment.at)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        id = try reader.signed()
        name = try reader.string()
        sizeBytes = try reader.signed()
        replication = Int(try reader.byte())
        labels = try Labels(from: &reader)
        state = try reader.value("state of a volume")
        for _ in 0..<(try reader.count(itemBytesMin: 5)) { replicas.append(try VolumeReplica(from: &reader)) }
        lastToken = try reader.signed()
        guard try reader.bool() else { return }
        let node = try reader.string()
        let token = try reader.signed()
        attachment = Attachment(node: node, token: token, at: try reader.signed())
    }
}

extension AuditEvent: Record {
    static let kind = RecordKind.event
    var id: Int64 { number }
    var key: [UInt8] {
        var writer = ByteWriter()
        writer.signed(number)
        return writer.bytes
    }

    func encode(into writer: inout ByteWriter) {
        writer.signed(number)
        trace.encode(into: &writer)
        writer.byte(kind.rawValue)
        writer.string(name)
        writer.string(what)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        number = try reader.signed()
        trace = try Trace(from: &reader)
        kind = try reader.value("kind of a record")
        name = try reader.string()
        what = try reader.string()
    }
}

/// Counters of the fabric.
struct FabricMeta: Record {
    static let kind = RecordKind.meta
    var id: Int64 { 0 }
    var key: [UInt8] { [] }
    var mark = RecordMark()
    /// Counts changes, apart from users' revisions.
    var revision: Int64 = 0
    /// Given out last.
    var lastVolume: Int64 = 0
    var lastLease: Int64 = 0
    var lastEvent: Int64 = 0

    init() {}

    func encode(into writer: inout ByteWriter) {
        for number in [revision, lastVolume, lastLease, lastEvent] { writer.signed(number) }
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        revision = try reader.signed()
        lastVolume = try reader.signed()
        lastLease = try reader.signed()
        lastEvent = try reader.signed()
    }
}
