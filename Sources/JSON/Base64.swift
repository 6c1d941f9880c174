/// Base64 (RFC 4648): writes the standard alphabet with padding, reads that and the URL-safe one, padded or not.
package enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 0xff, count: 256)
        for (value, byte) in alphabet.enumerated() { values[Int(byte)] = UInt8(value) }
        values[Int(UInt8(ascii: "-"))] = 62
        values[Int(UInt8(ascii: "_"))] = 63
        return values
    }()

    /// Room for what commonly follows.
    private static let textAfter = 256

    package static func encode(_ source: [UInt8], into text: inout [UInt8]) {
        // Once and for all of a large value; but at least twice what there is: room for exactly this much, asked for value by value,
        // would copy all before each time.
        let end = text.count + (source.count + 2) / 3 * 4 + textAfter
        if end > text.capacity { text.reserveCapacity(max(2 * text.capacity, end)) }
        var place = 0
        while place + 2 < source.count {
            let word = Int(source[place]) << 16 | Int(source[place + 1]) << 8 | Int(source[place + 2])
            for shift in [18, 12, 6, 0] { text.append(alphabet[word >> shift & 63]) }
            place += 3
        }
        let rest = source.count - place
        if rest > 0 {
            let word = Int(source[place]) << 16 | (rest > 1 ? Int(source[place + 1]) << 8 : 0)
            text.append(alphabet[word >> 18 & 63])
            text.append(alphabet[word >> 12 & 63])
            text.append(rest > 1 ? alphabet[word >> 6 & 63] : UInt8(ascii: "="))
            text.append(UInt8(ascii: "="))
        }
    }

    package static func encode(_ source: [UInt8]) -> String {
        var text: [UInt8] = []
        encode(source, into: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil when `text` is not base64.
    package static func decode(_ text: String) -> [UInt8]? {
        var source = ArraySlice(Array(text.utf8))
        var padding = 0
        while source.last == UInt8(ascii: "="), padding < 2 {
            source.removeLast()
            padding += 1
        }
        guard source.count % 4 != 1, padding == 0 || (source.count + padding) % 4 == 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(source.count * 3 / 4)
        var word: UInt32 = 0
        var bits = 0
        for byte in source {
            let value = values[Int(byte)]
            guard value != 0xff else { return nil }
            word = word << 6 | UInt32(value)
            bits += 6
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt32(bits)))
            }
        }
        return bytes
    }
}
