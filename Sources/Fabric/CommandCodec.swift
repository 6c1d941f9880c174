package import Bytes

/// Commands as bytes: what log entries hold.
extension FabricCommand {
    package func encode(into writer: inout ByteWriter) {
        trace.encode(into: &writer)
        writer.bool(expected != nil)
        if let expected { writer.signed(expected) }
        action.encode(into: &writer)
    }

    package init(from reader: inout ByteReader) throws(DecodingFault) {
        let trace = try Trace(from: &reader)
        let expected = try reader.bool() ? try reader.signed() : nil
        self.init(try Action(from: &reader), trace, expected: expected)
    }
}

extension FabricCommand.Action {
    fileprivate func encode(into writer: inout ByteWriter) {
        func write(_ kind: UInt8, _ name: String) {
            writer.byte(kind)
            writer.string(name)
        }
        switch self {
        case .putDomain(let spec):
            writer.byte(1)
            spec.encode(into: &writer)
        case .activate(let name): write(2, name)
        case .deactivate(let name, let force):
            write(3, name)
            writer.bool(force)
        case .removeDomain(let name): write(4, name)
        case .putNode(let spec):
            writer.byte(5)
            spec.encode(into: &writer)
        case .setNode(let name, let isCordoned, let isInMaintenance):
            write(6, name)
            writer.optional(isCordoned)
            writer.optional(isInMaintenance)
        case .removeNode(let name): write(7, name)
        case .expireNodes(let term, let marks):
            writer.byte(8)
            writer.varint(term)
            writer.varint(UInt64(marks.count))
            for mark in marks {
                writer.signed(mark.id)
                writer.signed(mark.generation)
            }
        case .createVolume(let spec):
            writer.byte(9)
            spec.encode(into: &writer)
        case .updateVolume(let volume, let change):
            writer.byte(10)
            volume.encode(into: &writer)
            change.encode(into: &writer)
        case .deleteVolume(let volume):
            writer.byte(11)
            volume.encode(into: &writer)
        case .attach(let volume, let node, let force):
            writer.byte(12)
            volume.encode(into: &writer)
            writer.string(node)
            writer.bool(force)
        case .detach(let volume, let token):
            writer.byte(13)
            volume.encode(into: &writer)
            writer.signed(token)
        case .report(let volume, let node, let state, let generation):
            writer.byte(14)
            volume.encode(into: &writer)
            writer.string(node)
            writer.byte(state.rawValue)
            writer.signed(generation)
        case .replan(let ids):
            writer.byte(15)
            writer.varint(UInt64(ids.count))
            for id in ids { writer.signed(id) }
        case .revokeLease(let id):
            writer.byte(16)
            writer.signed(id)
        case .recover: writer.byte(17)
        case .exchangeLeases: writer.byte(18)
        default: encodeAboutRegions(into: &writer)
        }
    }

    fileprivate init(from reader: inout ByteReader) throws(DecodingFault) {
        switch try reader.byte() {
        case 1: self = .putDomain(try DomainSpec(from: &reader))
        case 2: self = .activate(try reader.string())
        case 3:
            let name = try reader.string()
            self = .deactivate(name, force: try reader.bool())
        case 4: self = .removeDomain(try reader.string())
        case 5: self = .putNode(try NodeSpec(from: &reader))
        case 6:
            let name = try reader.string()
            let isCordoned = try reader.optionalBool()
            self = .setNode(name, isCordoned: isCordoned, isInMaintenance: try reader.optionalBool())
        case 7: self = .removeNode(try reader.string())
        case 8:
            let term = try reader.varint()
            var marks: [LeaseMark] = []
            for _ in 0..<(try reader.count(itemBytesMin: 2)) {
                let id = try reader.signed()
                marks.append(LeaseMark(id: id, generation: try reader.signed()))
            }
            self = .expireNodes(term: term, marks)
        case 9: self = .createVolume(try VolumeSpec(from: &reader))
        case 10:
            let volume = try VolumeReference(from: &reader)
            self = .updateVolume(volume, try VolumeChange(from: &reader))
        case 11: self = .deleteVolume(try VolumeReference(from: &reader))
        case 12:
            let volume = try VolumeReference(from: &reader)
            let node = try reader.string()
            self = .attach(volume, node: node, force: try reader.bool())
        case 13:
            let volume = try VolumeReference(from: &reader)
            self = .detach(volume, token: try reader.signed())
        case 14:
            let volume = try VolumeReference(from: &reader)
            let node = try reader.string()
            let state: VolumeReplica.State = try reader.value("state of a replica")
            self = .report(volume, node: node, state, generation: try reader.signed())
        case 15:
            var ids: [Int64] = []
            for _ in 0..<(try reader.count()) { ids.append(try reader.signed()) }
            self = .replan(ids)
        case 16: self = .revokeLease(try reader.signed())
        case 17: self = .recover
        case 18: self = .exchangeLeases
        case let kind: self = try Self.aboutRegions(kind, &reader)
        }
    }
}

extension ByteWriter {
    fileprivate mutating func optional(_ value: Bool?) { byte(value.map { $0 ? 1 : 0 } ?? 2) }

    fileprivate mutating func optional(_ value: Int64?) {
        bool(value != nil)
        if let value { signed(value) }
    }

    fileprivate mutating func optional(_ labels: Labels?) {
        bool(labels != nil)
        labels?.encode(into: &self)
    }
}

extension ByteReader {
    fileprivate mutating func optionalBool() throws(DecodingFault) -> Bool? {
        switch try byte() {
        case 0: false
        case 1: true
        case 2: nil
        default: throw .invalid("optional boolean")
        }
    }

    fileprivate mutating func optionalSigned() throws(DecodingFault) -> Int64? { try bool() ? try signed() : nil }

    fileprivate mutating func optionalLabels() throws(DecodingFault) -> Labels? {
        try bool() ? try Labels(from: &self) : nil
    }
}

extension DomainSpec {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.string(name)
        writer.byte(kind?.rawValue ?? .max)
        writer.optional(labels)
    }

    fileprivate init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.string()
        let kind = try reader.byte()
        guard kind == .max || Domain.Kind(rawValue: kind) != nil else { throw .invalid("kind of a domain") }
        self.init(name: name, kind: Domain.Kind(rawValue: kind), labels: try reader.optionalLabels())
    }
}

extension NodeSpec {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.string(name)
        writer.string(domain)
        labels.encode(into: &writer)
        writer.varint(UInt64(pools.count))
        for pool in pools { pool.encode(into: &writer) }
        writer.strings(addresses)
        writer.signed(ttl)
    }

    fileprivate init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.string()
        let domain = try reader.string()
        self.init(name: name, domain: domain, labels: try Labels(from: &reader))
        for _ in 0..<(try reader.count(itemBytesMin: 3)) { pools.append(try Pool(from: &reader)) }
        addresses = try reader.strings()
        ttl = try reader.signed()
    }
}

extension VolumeSpec {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.string(name)
        writer.signed(sizeBytes)
        writer.signed(Int64(replication))
        labels.encode(into: &writer)
    }

    fileprivate init(from reader: inout ByteReader) throws(DecodingFault) {
        let name = try reader.string()
        let size = try reader.signed()
        let replication = Int(clamping: try reader.signed())
        self.init(name: name, sizeBytes: size, replication: replication, labels: try Labels(from: &reader))
    }
}

extension VolumeChange {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.optional(sizeBytes)
        writer.optional(replication.map(Int64.init))
        writer.optional(labels)
    }

    fileprivate init(from reader: inout ByteReader) throws(DecodingFault) {
        let size = try reader.optionalSigned()
        let replication = try reader.optionalSigned()
        self.init(
            sizeBytes: size, replication: replication.map { Int(clamping: $0) }, labels: try reader.optionalLabels())
    }
}

extension VolumeReference {
    fileprivate func encode(into writer: inout ByteWriter) {
        switch self {
        case .id(let id):
            writer.byte(0)
            writer.signed(id)
        case .name(let name):
            writer.byte(1)
            writer.string(name)
        }
    }

    fileprivate init(from reader: inout ByteReader) throws(DecodingFault) {
        switch try reader.byte() {
        case 0: self = .id(try reader.signed())
        case 1: self = .name(try reader.string())
        default: throw .invalid("reference to a volume")
        }
    }
}
