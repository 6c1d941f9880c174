internal import Bytes
internal import Fabric

/// Something that a member cannot go on with, told to all: etcd's alarms.
package struct Alarm: Equatable, Sendable {
    package enum Kind: UInt8, CaseIterable, Sendable {
        /// Puts are refused.
        case noSpace = 1
        /// Everything is.
        case corrupt = 2
    }

    package let memberID: UInt64
    package let kind: Kind
    /// Raised by the member itself, which lowers it when the reason is gone.
    package let isAutomatic: Bool

    package init(memberID: UInt64, kind: Kind, isAutomatic: Bool = false) {
        self.memberID = memberID
        self.kind = kind
        self.isAutomatic = isAutomatic
    }
}

extension Alarm {
    func encode(into writer: inout ByteWriter) {
        writer.fixed(memberID)
        writer.byte(kind.rawValue)
        writer.bool(isAutomatic)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        let memberID: UInt64 = try reader.fixed()
        guard let kind = Kind(rawValue: try reader.byte()) else { throw .invalid("alarm") }
        self.init(memberID: memberID, kind: kind, isAutomatic: try reader.bool())
    }
}

extension StateMeta {
    /// Several times what members can have; an operator may raise alarms for members that are none.
    private static let alarmsMax = 128

    /// Answers the alarm that is raised now; nil when its member was removed meanwhile.
    mutating func raise(_ alarm: Alarm) -> Alarm? {
        guard !removedMembers.contains(alarm.memberID) else { return nil }
        if let known = alarms.first(where: { $0.memberID == alarm.memberID && $0.kind == alarm.kind }) { return known }
        guard alarms.count < Self.alarmsMax else { return nil }
        alarms.append(alarm)
        alarms.sort { ($0.memberID, $0.kind.rawValue) < ($1.memberID, $1.kind.rawValue) }
        return alarm
    }

    /// Answers the alarm that was raised, if it was.
    mutating func lower(_ kind: Alarm.Kind, of memberID: UInt64) -> Alarm? {
        let place = alarms.firstIndex { $0.memberID == memberID && $0.kind == kind }
        return place.map { alarms.remove(at: $0) }
    }
}

extension Array where Element == Alarm {
    package func contains(_ kind: Alarm.Kind) -> Bool { contains { $0.kind == kind } }
}

extension Command {
    /// Why it is refused while these alarms are raised. Who can make room always may.
    package func refusal(under alarms: [Alarm]) -> MVCCError? {
        guard !alarms.isEmpty else { return nil }
        switch self {
        // Whoever may lower an alarm must be able to log in.
        case .leaseExpire, .leaseAge, .publish, .raiseAlarm, .lowerAlarm, .raiseVersion, .access: return nil
        case .put, .fabric, .txn, .deleteRange, .compact, .leaseGrant, .leaseRenew, .leaseRevoke:
            if alarms.contains(.corrupt) { return .corrupt }
            return addsKeys && alarms.contains(.noSpace) ? .noSpace : nil
        }
    }

    /// If it may be a txn that replaces a small value by one that is no larger: whether it is, the state tells.
    package var mayReplaceSmallValues: Bool {
        guard case .txn(let txn) = self, !txn.compares.isEmpty else { return false }
        return txn.success.count + txn.failure.count <= 8
            && txn.hasOperation { if case .put = $0 { true } else { false } }
            && !txn.hasOperation { operation in
                switch operation {
                case .range(let range): range.range.end != .single
                case .put(let put): put.value.count > Self.smallBytes || put.lease != 0 || put.wantsPrevious
                case .deleteRange, .txn: true
                }
            }
    }

    static let smallBytes = 128

    /// How many values it reads at most, to answer them or to write them again.
    package var valuesRead: Int {
        switch self {
        case .put(let put): put.readsValue ? 1 : 0
        case .deleteRange(let request): request.valuesRead
        case .txn(let txn): max(txn.success.valuesRead, txn.failure.valuesRead)
        default: 0
        }
    }

    /// If it may leave more behind than there was.
    package var addsKeys: Bool {
        switch self {
        case .put: true
        case .txn(let txn): txn.addsKeys
        // Nodes come back, and volumes move to where there is room.
        case .fabric(let command): command.makesVolume
        default: false
        }
    }
}

extension [TxnRequest.Operation] {
    fileprivate var valuesRead: Int {
        reduce(0) { count, operation in
            switch operation {
            case .range(let range): count + range.valuesRead
            case .put(let put): count + (put.readsValue ? 1 : 0)
            case .deleteRange(let request): count + request.valuesRead
            case .txn(let inner): count + Swift.max(inner.success.valuesRead, inner.failure.valuesRead)
            }
        }
    }
}

extension KeyRange {
    /// How many pairs it can have, as far as that matters.
    fileprivate var countMax: Int { end == .single ? 1 : 1 << 20 }
}

extension RangeRequest {
    /// Keys alone may be many, too.
    fileprivate var valuesRead: Int {
        if countOnly || keysOnly && range.end == .single { return 0 }
        return limit > 0 ? min(Int(clamping: limit), range.countMax) : range.countMax
    }
}

extension DeleteRangeRequest {
    fileprivate var valuesRead: Int { wantsPrevious ? range.countMax : 0 }
}

extension PutRequest {
    fileprivate var readsValue: Bool { wantsPrevious || ignoresValue }
}

extension TxnRequest {
    fileprivate var addsKeys: Bool {
        hasOperation { operation in
            switch operation {
            case .put: true
            case .range, .deleteRange: false
            case .txn(let inner): inner.addsKeys
            }
        }
    }
}
