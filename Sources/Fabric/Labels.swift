internal import Bytes

/// What somebody calls something, by name; ascending, so that equal labels are equal bytes.
package struct Labels: Equatable, Sendable {
    package static let countMax = FabricLimits.labelsMax
    package private(set) var entries: [(name: String, value: String)] = []

    package init(_ entries: some Sequence<(String, String)> = []) {
        for (name, value) in entries { self[name] = value }
    }

    package subscript(_ name: String) -> String? {
        get { entries.first { $0.name == name }?.value }
        set {
            entries.removeAll { $0.name == name }
            guard let newValue else { return }
            let place = entries.firstIndex { $0.name > name } ?? entries.endIndex
            entries.insert((name, newValue), at: place)
        }
    }

    package var isEmpty: Bool { entries.isEmpty }

    package static func == (a: Labels, b: Labels) -> Bool {
        a.entries.count == b.entries.count && zip(a.entries, b.entries).allSatisfy { $0 == $1 }
    }

    func encode(into writer: inout ByteWriter) {
        writer.varint(UInt64(entries.count))
        for (name, value) in entries {
            writer.string(name)
            writer.string(value)
        }
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        for _ in 0..<(try reader.count(itemBytesMin: 2)) {
            let name = try reader.string()
            entries.append((name, try reader.string()))
        }
    }
}
