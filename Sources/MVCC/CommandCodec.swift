internal import Access
package import Bytes
internal import Fabric

/// Commands as bytes: what log entries hold.
extension Command {
    /// A decoded txn may not nest deeper.
    package static let depthMax = 16
    /// What a command begins with, in this release. Those that are not among them come from a later one.
    package static let kinds: ClosedRange<UInt8> = 1...16
    /// Attributes of members, which those without a state take up, too.
    package static let publishKinds: Set<UInt8> = [5, 14]
    package static let raiseVersionKind: UInt8 = 15
    package static let accessKind: UInt8 = 16

    package func encode(into writer: inout ByteWriter) {
        switch self {
        case .put(let put):
            writer.byte(1)
            put.encode(into: &writer)
        case .deleteRange(let request):
            writer.byte(2)
            request.encode(into: &writer)
        case .txn(let txn):
            writer.byte(3)
            txn.encode(into: &writer)
        case .compact(let revision):
            writer.byte(4)
            writer.signed(revision)
        case .publish(let memberID, let attributes):
            writer.byte(attributes.release == nil ? 5 : 14)
            writer.fixed(memberID)
            attributes.encode(into: &writer)
            attributes.release?.encode(into: &writer)
        case .leaseGrant(let id, let ttl):
            writer.byte(6)
            writer.signed(id)
            writer.signed(ttl)
        case .leaseRenew(let id):
            writer.byte(7)
            writer.signed(id)
        case .leaseRevoke(let id):
            writer.byte(8)
            writer.signed(id)
        case .leaseExpire(let term, let marks):
            writer.byte(9)
            writer.varint(term)
            Self.encode(marks, &writer)
        case .leaseAge(let marks):
            writer.byte(10)
            Self.encode(marks, &writer)
        case .raiseAlarm(let alarm):
            writer.byte(11)
            alarm.encode(into: &writer)
        case .lowerAlarm(let kind, let memberID):
            writer.byte(12)
            Alarm(memberID: memberID, kind: kind).encode(into: &writer)
        case .fabric(let command):
            writer.byte(13)
            command.encode(into: &writer)
        case .raiseVersion(let version):
            writer.byte(Self.raiseVersionKind)
            writer.varint(version)
        case .access(let change, let trace):
            writer.byte(Self.accessKind)
            change.encode(into: &writer)
            trace.encode(into: &writer)
        }
    }

    private static func encode(_ marks: [Lease.Mark], _ writer: inout ByteWriter) {
        writer.varint(UInt64(marks.count))
        for mark in marks {
            for number in [mark.id, mark.generation, mark.remaining] { writer.signed(number) }
        }
    }

    private static func marks(_ reader: inout ByteReader) throws(DecodingFault) -> [Lease.Mark] {
        var marks: [Lease.Mark] = []
        for _ in 0..<(try reader.count(itemBytesMin: 3)) {
            let id = try reader.signed()
            marks.append(Lease.Mark(id: id, generation: try reader.signed(), remaining: try reader.signed()))
        }
        return marks
    }

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        switch try reader.byte() {
        case 1: self = .put(try PutRequest(from: &reader))
        case 2: self = .deleteRange(try DeleteRangeRequest(from: &reader))
        case 3: self = .txn(try TxnRequest(from: &reader, depth: 0))
        case 4: self = .compact(revision: try reader.signed())
        case 5:
            let memberID: UInt64 = try reader.fixed()
            self = .publish(memberID: memberID, try MemberAttributes(from: &reader))
        case 6:
            let id = try reader.signed()
            self = .leaseGrant(id: id, ttl: try reader.signed())
        case 7: self = .leaseRenew(try reader.signed())
        case 8: self = .leaseRevoke(try reader.signed())
        case 9:
            let term = try reader.varint()
            self = .leaseExpire(term: term, try Self.marks(&reader))
        case 10: self = .leaseAge(try Self.marks(&reader))
        case 11: self = .raiseAlarm(try Alarm(from: &reader))
        case 12:
            let alarm = try Alarm(from: &reader)
            self = .lowerAlarm(alarm.kind, memberID: alarm.memberID)
        case 13: self = .fabric(try FabricCommand(from: &reader))
        case 14:
            let memberID: UInt64 = try reader.fixed()
            var attributes = try MemberAttributes(from: &reader)
            attributes.release = try MemberAttributes.Release(from: &reader)
            self = .publish(memberID: memberID, attributes)
        case Self.raiseVersionKind: self = .raiseVersion(try reader.varint())
        case Self.accessKind:
            let change = try AccessChange(from: &reader)
            self = .access(change, try Trace(from: &reader))
        case let kind: throw .invalid("command \(kind)")
        }
        try reader.expectEnd()
    }
}

extension KeyRange {
    func encode(into writer: inout ByteWriter) {
        writer.lengthPrefixed(start)
        switch end {
        case .single: writer.byte(0)
        case .before(let end):
            writer.byte(1)
            writer.lengthPrefixed(end)
        case .unbounded: writer.byte(2)
        }
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let start = try reader.lengthPrefixed()
        switch try reader.byte() {
        case 0: self.init(start: start, end: .single)
        case 1: self.init(start: start, end: .before(try reader.lengthPrefixed()))
        case 2: self.init(start: start, end: .unbounded)
        default: throw .invalid("range end")
        }
    }
}

extension PutRequest {
    func encode(into writer: inout ByteWriter) {
        writer.lengthPrefixed(key)
        writer.lengthPrefixed(value)
        writer.signed(lease)
        writer.byte((wantsPrevious ? 1 : 0) | (ignoresValue ? 2 : 0) | (ignoresLease ? 4 : 0))
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        self.init(key: try reader.lengthPrefixed(), value: try reader.lengthPrefixed())
        lease = try reader.signed()
        let flags = try reader.byte()
        guard flags < 8 else { throw .invalid("put flags") }
        wantsPrevious = flags & 1 != 0
        ignoresValue = flags & 2 != 0
        ignoresLease = flags & 4 != 0
    }
}

extension DeleteRangeRequest {
    func encode(into writer: inout ByteWriter) {
        range.encode(into: &writer)
        writer.bool(wantsPrevious)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        self.init(range: try KeyRange(from: &reader))
        wantsPrevious = try reader.bool()
    }
}

extension RangeRequest {
    func encode(into writer: inout ByteWriter) {
        range.encode(into: &writer)
        for number in [limit, revision, minModRevision, maxModRevision, minCreateRevision, maxCreateRevision] {
            writer.signed(number)
        }
        writer.byte(sortOrder.rawValue)
        writer.byte(sortTarget.rawValue)
        writer.byte((serializable ? 1 : 0) | (keysOnly ? 2 : 0) | (countOnly ? 4 : 0))
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        self.init(range: try KeyRange(from: &reader))
        limit = try reader.signed()
        revision = try reader.signed()
        minModRevision = try reader.signed()
        maxModRevision = try reader.signed()
        minCreateRevision = try reader.signed()
        maxCreateRevision = try reader.signed()
        guard let order = SortOrder(rawValue: try reader.byte()), let target = SortTarget(rawValue: try reader.byte())
        else { throw .invalid("sort") }
        sortOrder = order
        sortTarget = target
        let flags = try reader.byte()
        guard flags < 8 else { throw .invalid("range flags") }
        serializable = flags & 1 != 0
        keysOnly = flags & 2 != 0
        countOnly = flags & 4 != 0
    }
}

extension Compare {
    func encode(into writer: inout ByteWriter) {
        range.encode(into: &writer)
        writer.byte(relation.rawValue)
        switch operand {
        case .version(let number): Self.encode(0, number, &writer)
        case .create(let number): Self.encode(1, number, &writer)
        case .mod(let number): Self.encode(2, number, &writer)
        case .value(let bytes):
            writer.byte(3)
            writer.lengthPrefixed(bytes)
        case .lease(let number): Self.encode(4, number, &writer)
        }
    }

    private static func encode(_ target: UInt8, _ number: Int64, _ writer: inout ByteWriter) {
        writer.byte(target)
        writer.signed(number)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let range = try KeyRange(from: &reader)
        guard let relation = Relation(rawValue: try reader.byte()) else { throw .invalid("compare") }
        let operand: Operand
        switch try reader.byte() {
        case 0: operand = .version(try reader.signed())
        case 1: operand = .create(try reader.signed())
        case 2: operand = .mod(try reader.signed())
        case 3: operand = .value(try reader.lengthPrefixed())
        case 4: operand = .lease(try reader.signed())
        default: throw .invalid("compare target")
        }
        self.init(range: range, relation: relation, operand: operand)
    }
}

extension TxnRequest {
    func encode(into writer: inout ByteWriter) {
        writer.varint(UInt64(compares.count))
        for compare in compares { compare.encode(into: &writer) }
        for branch in [success, failure] {
            writer.varint(UInt64(branch.count))
            for operation in branch { operation.encode(into: &writer) }
        }
    }

    init(from reader: inout ByteReader, depth: Int) throws(DecodingFault) {
        guard depth < Command.depthMax else { throw .invalid("txn nested too deeply") }
        self.init()
        for _ in 0..<(try reader.count()) { compares.append(try Compare(from: &reader)) }
        for _ in 0..<(try reader.count()) { success.append(try Operation(from: &reader, depth: depth)) }
        for _ in 0..<(try reader.count()) { failure.append(try Operation(from: &reader, depth: depth)) }
    }
}

extension TxnRequest.Operation {
    func encode(into writer: inout ByteWriter) {
        switch self {
        case .range(let request):
            writer.byte(0)
            request.encode(into: &writer)
        case .put(let request):
            writer.byte(1)
            request.encode(into: &writer)
        case .deleteRange(let request):
            writer.byte(2)
            request.encode(into: &writer)
        case .txn(let request):
            writer.byte(3)
            request.encode(into: &writer)
        }
    }

    init(from reader: inout ByteReader, depth: Int) throws(DecodingFault) {
        switch try reader.byte() {
        case 0: self = .range(try RangeRequest(from: &reader))
        case 1: self = .put(try PutRequest(from: &reader))
        case 2: self = .deleteRange(try DeleteRangeRequest(from: &reader))
        case 3: self = .txn(try TxnRequest(from: &reader, depth: depth + 1))
        default: throw .invalid("txn operation")
        }
    }
}

extension MemberAttributes {
    func encode(into writer: inout ByteWriter) {
        writer.string(name)
        writer.varint(UInt64(clientURLs.count))
        for url in clientURLs { writer.string(url) }
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        self.init(name: try reader.string(), clientURLs: [])
        for _ in 0..<(try reader.count()) { clientURLs.append(try reader.string()) }
    }
}

extension MemberAttributes.Release {
    func encode(into writer: inout ByteWriter) {
        writer.string(name)
        writer.varint(versions.lowerBound)
        writer.varint(versions.upperBound)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.string()
        let (lowest, highest) = (try reader.varint(), try reader.varint())
        guard lowest <= highest else { throw .invalid("versions \(lowest) to \(highest)") }
        self.init(name: name, versions: lowest...highest)
    }
}

extension MemberAttributes {
    /// More would only fill memory and every member's status.
    static let urlsMax = 16
    static let textBytesMax = 1024

    /// If all members may keep it.
    var isBounded: Bool {
        let texts = [name, release?.name ?? ""] + clientURLs
        return clientURLs.count <= Self.urlsMax && texts.allSatisfy { $0.utf8.count <= Self.textBytesMax }
    }
}
