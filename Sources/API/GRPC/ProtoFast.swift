internal import Bytes
internal import MVCC

// The hot path's messages by hand: rpc.proto and kv.proto tell the numbers. What these do not understand is left to the
// generated code, which also knows how to complain.

extension PutRequest {
    /// Nil when it is none that is understood here.
    init?(proto bytes: [UInt8]) {
        self.init(key: [], value: [])
        let isUnderstood = bytes.withUnsafeBytes { bytes in
            var reader = ProtoReader(bytes)
            while let (field, value) = reader.next() {
                switch (field, value) {
                case (1, .bytes(let bytes)): key = Array(bytes)
                case (2, .bytes(let bytes)): self.value = Array(bytes)
                case (3, .number(let number)): lease = Int64(bitPattern: number)
                case (4, .number(let number)): wantsPrevious = number != 0
                case (5, .number(let number)): ignoresValue = number != 0
                case (6, .number(let number)): ignoresLease = number != 0
                default: return false
                }
            }
            return reader.isAtEnd
        }
        if !isUnderstood { return nil }
    }
}

extension RangeRequest {
    /// Nil when it is none that is understood here.
    init?(proto bytes: [UInt8]) {
        self.init(range: KeyRange(start: [], end: .single))
        var key: [UInt8] = []
        var end: [UInt8] = []
        let isUnderstood = bytes.withUnsafeBytes { bytes in
            var reader = ProtoReader(bytes)
            while let (field, value) = reader.next() {
                switch (field, value) {
                case (1, .bytes(let bytes)): key = Array(bytes)
                case (2, .bytes(let bytes)): end = Array(bytes)
                case (3, .number(let number)): limit = Int64(bitPattern: number)
                case (4, .number(let number)): revision = Int64(bitPattern: number)
                case (7, .number(let number)): serializable = number != 0
                case (8, .number(let number)): keysOnly = number != 0
                case (9, .number(let number)): countOnly = number != 0
                default: return false
                }
            }
            return reader.isAtEnd
        }
        if !isUnderstood { return nil }
        range = KeyRange(key: key, rangeEnd: end)
    }
}

extension ResponseHeader {
    /// etcdserverpb.ResponseHeader
    var proto: [UInt8] {
        var header = ProtoWriter(reserving: 40)
        header.field(1, Int64(bitPattern: clusterID))
        header.field(2, Int64(bitPattern: memberID))
        header.field(3, revision)
        header.field(4, Int64(bitPattern: term))
        return header.bytes
    }
}

extension ProtoWriter {
    /// An mvccpb.KeyValue as a field, made in an array of its size: one that grows takes twice what it holds.
    mutating func field(_ number: UInt64, _ pair: KeyValue) {
        field(number, reserving: pair.protoSize) { $0.fields(of: pair) }
    }

    /// mvccpb.KeyValue
    mutating func fields(of pair: KeyValue) {
        field(1, pair.key)
        field(2, pair.createRevision)
        field(3, pair.modRevision)
        field(4, pair.version)
        field(5, pair.value)
        field(6, pair.lease)
    }
}

extension KeyValue {
    /// Bytes of its mvccpb.KeyValue.
    var protoSize: Int { protoSize(valueCount: value.count) }

    /// The same, with a value of another length.
    func protoSize(valueCount: Int) -> Int {
        func bytes(_ count: Int) -> Int { count == 0 ? 0 : 1 + ProtoWriter.size(ofVarint: UInt64(count)) + count }
        func number(_ value: Int64) -> Int {
            value == 0 ? 0 : 1 + ProtoWriter.size(ofVarint: UInt64(bitPattern: value))
        }
        return bytes(key.count) + number(createRevision) + number(modRevision) + number(version) + bytes(valueCount)
            + number(lease)
    }
}

extension RangeResult {
    /// etcdserverpb.RangeResponse
    func proto(header: [UInt8]) -> [UInt8] {
        let bytes = pairs.reduce(64) { $0 + $1.key.count + $1.value.count + 64 }
        var answer = ProtoWriter(reserving: bytes)
        answer.field(1, header)
        for pair in pairs { answer.field(2, pair) }
        answer.field(3, more)
        answer.field(4, count)
        return answer.bytes
    }
}
