/// Writes JSON into a buffer, leaving out what the gateway leaves out: fields with their zero value.
package struct JSONWriter {
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false

    package init() { bytes.reserveCapacity(256) }

    package mutating func object(_ fields: (inout JSONWriter) -> Void) {
        open(UInt8(ascii: "{"))
        fields(&self)
        close(UInt8(ascii: "}"))
    }

    package mutating func array<T>(_ items: [T], _ item: (inout JSONWriter, T) -> Void) {
        open(UInt8(ascii: "["))
        for value in items { item(&self, value) }
        close(UInt8(ascii: "]"))
    }

    private mutating func open(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        bytes.append(bracket)
        needsComma = true
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    /// The name of the field whose value is written next.
    package mutating func name(_ name: StaticString) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    package mutating func name(_ name: String) {
        string(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    /// A value that is JSON already.
    package mutating func raw(_ json: [UInt8]) {
        separate()
        bytes += json
    }

    package mutating func string(_ value: String) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\""): bytes += [UInt8(ascii: "\\"), byte]
            case UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0x0a: bytes += Array("\\n".utf8)
            case 0x0d: bytes += Array("\\r".utf8)
            case 0x09: bytes += Array("\\t".utf8)
            case 0..<0x20: bytes += Array("\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8)
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    package mutating func number(_ value: some BinaryInteger) {
        separate()
        bytes.append(contentsOf: String(value).utf8)
    }

    package mutating func bool(_ value: Bool) {
        separate()
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    package mutating func base64(_ value: [UInt8]) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        Base64.encode(value, into: &bytes)
        bytes.append(UInt8(ascii: "\""))
    }

    // MARK: - Fields of the gateway: left out when zero, 64-bit integers in quotes

    package mutating func field(_ name: StaticString, _ value: some BinaryInteger) {
        guard value != 0 else { return }
        self.name(name)
        string(String(value))
    }

    package mutating func field(_ name: StaticString, _ value: [UInt8]) {
        guard !value.isEmpty else { return }
        self.name(name)
        base64(value)
    }

    package mutating func field(_ name: StaticString, _ value: Bool) {
        guard value else { return }
        self.name(name)
        bool(true)
    }

    package mutating func field(_ name: StaticString, _ value: String) {
        guard !value.isEmpty else { return }
        self.name(name)
        string(value)
    }

    package mutating func field<T>(_ name: StaticString, _ items: [T], _ item: (inout JSONWriter, T) -> Void) {
        guard !items.isEmpty else { return }
        self.name(name)
        array(items, item)
    }
}
