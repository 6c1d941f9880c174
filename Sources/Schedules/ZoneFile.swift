/// Why a time zone cannot be used.
package struct ZoneError: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// A compiled time zone, as zone files hold it (TZif, RFC 9636; version 2 or later).
extension Zone {
    /// Zone files are a few KiB long.
    package static let fileBytesMax = 256 << 10

    package init(file bytes: [UInt8]) throws(ZoneError) {
        guard bytes.count <= Self.fileBytesMax else { throw ZoneError("the file is too long for a time zone") }
        let old = try TZifHeader(bytes, at: 0)
        guard old.version >= UInt8(ascii: "2") else {
            throw ZoneError("the zone file is of version 1, without 64-bit times")
        }
        // The first block has 32-bit times, for readers of the first version.
        let header = try TZifHeader(bytes, at: TZifHeader.bytes + old.blockBytes(timeBytes: 4))
        var place = header.end
        guard header.types > 0, bytes.count - place >= header.blockBytes(timeBytes: 8) else {
            throw ZoneError.truncated
        }
        var times: [Int64] = []
        for index in 0..<header.times { times.append(Int64(bitPattern: bytes.bigEndian(at: place + 8 * index, 8))) }
        place += 8 * header.times
        let kinds = bytes[place..<place + header.times].map(Int.init)
        place += header.times
        let offsets = (0..<header.types).map { type in
            Int(Int32(truncatingIfNeeded: bytes.bigEndian(at: place + 6 * type, 4)))
        }
        let limit = Self.offsetSecondsMax
        guard zip(times, times.dropFirst()).allSatisfy(<), kinds.allSatisfy({ $0 < header.types }),
            offsets.allSatisfy({ (-limit...limit).contains($0) })
        else { throw ZoneError("the zone file holds times out of order, or offsets that no zone has") }
        let footer = bytes[(header.end + header.blockBytes(timeBytes: 8))...]
        guard footer.first == UInt8(ascii: "\n"), let end = footer.dropFirst().firstIndex(of: UInt8(ascii: "\n")) else {
            throw ZoneError.truncated
        }
        let text = String(decoding: footer.dropFirst()[..<end], as: UTF8.self)
        self.init(
            first: offsets[0], changes: zip(times, kinds).map { Change(at: $0, offset: offsets[$1]) },
            rule: text.isEmpty ? nil : try ZoneRule(text))
    }
}

private struct TZifHeader {
    static let bytes = 44

    let version: UInt8
    let times: Int
    let types: Int
    let end: Int
    private let otherBytes: Int
    private let leaps: Int

    init(_ bytes: [UInt8], at start: Int) throws(ZoneError) {
        guard bytes.count - start >= Self.bytes else { throw ZoneError.truncated }
        guard bytes[start..<start + 4].elementsEqual("TZif".utf8) else { throw ZoneError("it is no zone file (TZif)") }
        version = bytes[start + 4]
        var counts: [Int] = []
        for index in 0..<6 {
            let count = Int(bytes.bigEndian(at: start + 20 + 4 * index, 4))
            // No count of a file that fits can be more than its bytes; the sums below then stay far from overflow.
            guard count <= bytes.count else { throw ZoneError.truncated }
            counts.append(count)
        }
        (times, types, leaps) = (counts[3], counts[4], counts[2])
        otherBytes = counts[0] + counts[1] + counts[5]
        end = start + Self.bytes
        guard blockBytes(timeBytes: 4) <= bytes.count else { throw ZoneError.truncated }
    }

    func blockBytes(timeBytes: Int) -> Int {
        times * (timeBytes + 1) + types * 6 + leaps * (timeBytes + 4) + otherBytes
    }
}

extension ZoneError {
    fileprivate static let truncated = ZoneError("the zone file ends early")
}

extension [UInt8] {
    fileprivate func bigEndian(at start: Int, _ width: Int) -> UInt64 {
        self[start..<start + width].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
