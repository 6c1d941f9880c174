internal import Bytes

/// Commands about other regions as bytes.
extension FabricCommand.Action {
    func encodeAboutRegions(into writer: inout ByteWriter) {
        func write(_ kind: UInt8, _ name: String) {
            writer.byte(kind)
            writer.string(name)
        }
        switch self {
        case .putPolicy(let name, let terms):
            write(19, name)
            terms.encode(into: &writer)
        case .removePolicy(let name): write(20, name)
        case .putPair(let name, let terms):
            write(21, name)
            terms.encode(into: &writer)
        case .setPair(let name, let isSuspended, let fabric):
            write(22, name)
            writer.bool(isSuspended)
            writer.fixed(fabric)
        case .removePair(let name): write(23, name)
        case .notePair(let told):
            writer.byte(24)
            told.encode(into: &writer)
        case .putApplication(let name, let terms):
            write(25, name)
            terms.encode(into: &writer)
        case .removeApplication(let name): write(26, name)
        default: preconditionFailure("\(self) is about this fabric alone")
        }
    }

    static func aboutRegions(_ kind: UInt8, _ reader: inout ByteReader) throws(DecodingFault) -> Self {
        switch kind {
        case 19:
            let name = try reader.string()
            return .putPolicy(name, try PolicyTerms(from: &reader))
        case 20: return .removePolicy(try reader.string())
        case 21:
            let name = try reader.string()
            return .putPair(name, try PairTerms(from: &reader))
        case 22:
            let name = try reader.string()
            let isSuspended = try reader.bool()
            return .setPair(name, isSuspended: isSuspended, of: try reader.fixed())
        case 23: return .removePair(try reader.string())
        case 24: return .notePair(try PairNote(from: &reader))
        case 25:
            let name = try reader.string()
            return .putApplication(name, try ApplicationTerms(from: &reader))
        case 26: return .removeApplication(try reader.string())
        default: throw .invalid("fabric command \(kind)")
        }
    }
}
