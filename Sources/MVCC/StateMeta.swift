package import Bytes

/// What the state knows of itself; stored in the same transaction as the data it describes.
package struct StateMeta: Equatable, Sendable {
    package var clusterID: UInt64
    package var appliedIndex: UInt64 = 0
    package var appliedTerm: UInt64 = 0
    /// etcd's counter; a fresh store is at 1.
    package var revision: Int64 = 1
    /// Revisions below this one cannot be read any more.
    package var compactRevision: Int64 = 0
    /// How far compaction has removed rows.
    package var prunedRevision: Int64 = 0
    /// The `Memtable.Change.sequence` given out last.
    package var lastSequence: Int64 = 0
    /// Runs over every change, so that members at the same applied index can be compared.
    package var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    /// Live keys.
    package var keyCount: Int64 = 0
    /// The membership as of `appliedIndex`, opaque here.
    package var configuration: [UInt8] = []
    /// By ascending member id.
    package var attributes: [(id: UInt64, attributes: MemberAttributes)] = []
    /// Ids that were members once and may never be again, ascending.
    package var removedMembers: [UInt64] = []

    /// By ascending member id.
    package var alarms: [Alarm] = []

    /// Of the formats in use: see `FabricVersion`.
    package var version = FabricVersion.first

    package init(clusterID: UInt64) {
        self.clusterID = clusterID
    }

    package static func == (a: StateMeta, b: StateMeta) -> Bool {
        a.encoded() == b.encoded()
    }

    package func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: 256)
        // Format 2 has alarms at its end; without any, earlier releases can read it. Format 3 has versions after them.
        let hasVersions = version != FabricVersion.first || attributes.contains { $0.attributes.release != nil }
        writer.byte(hasVersions ? 3 : alarms.isEmpty ? 1 : 2)
        writer.fixed(clusterID)
        writer.varint(appliedIndex)
        writer.varint(appliedTerm)
        for number in [revision, compactRevision, prunedRevision, lastSequence, keyCount] { writer.signed(number) }
        writer.fixed(hash)
        writer.lengthPrefixed(configuration)
        writer.varint(UInt64(attributes.count))
        for member in attributes {
            writer.fixed(member.id)
            member.attributes.encode(into: &writer)
        }
        writer.varint(UInt64(removedMembers.count))
        for id in removedMembers { writer.fixed(id) }
        guard hasVersions || !alarms.isEmpty else { return writer.bytes }
        writer.varint(UInt64(alarms.count))
        for alarm in alarms { alarm.encode(into: &writer) }
        guard hasVersions else { return writer.bytes }
        writer.varint(version)
        for member in attributes {
            writer.bool(member.attributes.release != nil)
            member.attributes.release?.encode(into: &writer)
        }
        return writer.bytes
    }

    package init(decoding bytes: [UInt8]) throws(DecodingFault) {
        var reader = ByteReader(bytes)
        let format = try reader.byte()
        guard (1...3).contains(format) else { throw .invalid("state format \(format)") }
        clusterID = try reader.fixed()
        appliedIndex = try reader.varint()
        appliedTerm = try reader.varint()
        revision = try reader.signed()
        compactRevision = try reader.signed()
        prunedRevision = try reader.signed()
        lastSequence = try reader.signed()
        keyCount = try reader.signed()
        hash = try reader.fixed()
        configuration = try reader.lengthPrefixed()
        for _ in 0..<(try reader.count(itemBytesMin: 10)) {
            attributes.append((try reader.fixed(), try MemberAttributes(from: &reader)))
        }
        for _ in 0..<(try reader.count(itemBytesMin: 8)) { removedMembers.append(try reader.fixed()) }
        if format >= 2 {
            for _ in 0..<(try reader.count(itemBytesMin: 10)) { alarms.append(try Alarm(from: &reader)) }
        }
        if format >= 3 {
            version = try reader.varint()
            for place in attributes.indices where try reader.bool() {
                attributes[place].attributes.release = try MemberAttributes.Release(from: &reader)
            }
        }
        try reader.expectEnd()
    }

    mutating func noteChange(_ sums: RowSum) { mix(sums.row) }

    /// Takes what was changed into the running hash.
    mutating func mix(_ sum: UInt32) {
        hash = (hash ^ UInt64(sum)) &* 0x0000_0100_0000_01b3
    }
}

/// Checksums of rows: SQLite's pages carry none.
struct RowSum: Equatable, Sendable {
    /// Of a revision's row.
    let row: UInt32
    /// Of its index row: everything but the value.
    let index: UInt32

    init(_ pair: KeyValue, sequence: Int64) {
        var sum = CRC32C()
        Self.add(pair, sequence, to: &sum)
        index = sum.value
        sum.add(pair.value)
        row = sum.value
    }

    static func of(_ change: Memtable.Change) -> UInt32 { RowSum(change.pair, sequence: change.sequence).row }

    static func ofIndex(_ pair: KeyValue, sequence: Int64) -> UInt32 {
        var sum = CRC32C()
        add(pair, sequence, to: &sum)
        return sum.value
    }

    /// The numbers as varints, the key after its length.
    private static func add(_ pair: KeyValue, _ sequence: Int64, to sum: inout CRC32C) {
        withUnsafeTemporaryAllocation(byteCount: 60, alignment: 1) { buffer in
            var place = 0
            func varint(_ value: UInt64) {
                var rest = value
                while rest >= 0x80 {
                    buffer[place] = UInt8(truncatingIfNeeded: rest) | 0x80
                    place += 1
                    rest >>= 7
                }
                buffer[place] = UInt8(rest)
                place += 1
            }
            varint(UInt64(bitPattern: sequence))
            varint(UInt64(bitPattern: pair.createRevision))
            varint(UInt64(bitPattern: pair.modRevision))
            varint(UInt64(bitPattern: pair.version))
            varint(UInt64(bitPattern: pair.lease))
            varint(UInt64(pair.key.count))
            sum.add(UnsafeRawBufferPointer(rebasing: buffer[..<place]))
        }
        sum.add(pair.key)
    }
}
