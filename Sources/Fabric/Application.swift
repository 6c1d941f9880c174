internal import Bytes

/// What of an application goes to another region together, or is here because it came from one.
package struct ApplicationTerms: Equatable, Sendable {
    /// All keys of users that begin so.
    package var prefixes: [[UInt8]]
    /// Names.
    package var volumes: [String]
    /// How old the newest restore point of the other region may be, in seconds; 0 for no such wish.
    package var rpoSeconds: Int64

    package init(prefixes: [[UInt8]] = [], volumes: [String] = [], rpoSeconds: Int64 = 0) {
        self.prefixes = prefixes
        self.volumes = volumes
        self.rpoSeconds = rpoSeconds
    }

    func encode(into writer: inout ByteWriter) {
        writer.list(prefixes)
        writer.strings(volumes)
        writer.signed(rpoSeconds)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        prefixes = try reader.list()
        volumes = try reader.strings()
        rpoSeconds = try reader.signed()
    }
}

/// Volumes and keys that belong together.
package struct Application: Equatable, Sendable {
    package let name: String
    package internal(set) var terms: ApplicationTerms
    /// Rises each time that it changes hands: a lower one fences its holder off.
    package internal(set) var epoch: Int64
    package internal(set) var mark = RecordMark()
}

extension Application: Record {
    static let kind = RecordKind.application
    var id: String { name }
    var key: [UInt8] { Array(name.utf8) }

    func encode(into writer: inout ByteWriter) {
        writer.string(name)
        terms.encode(into: &writer)
        writer.signed(epoch)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        name = try reader.string()
        terms = try ApplicationTerms(from: &reader)
        epoch = try reader.signed()
    }
}
