/// Base32 (RFC 4648, section 6) in lower case and without padding: what people read out and type.
enum Base32 {
    private static let letters = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        var (waiting, count) = (UInt32(0), 0)
        for byte in bytes {
            waiting = waiting << 8 | UInt32(byte)
            count += 8
            while count >= 5 {
                count -= 5
                text.append(letters[Int(waiting >> UInt32(count)) & 31])
            }
            waiting &= 1 << UInt32(count) - 1
        }
        if count > 0 { text.append(letters[Int(waiting << UInt32(5 - count)) & 31]) }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil for anything that `encode` does not write.
    static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var bytes: [UInt8] = []
        var (waiting, count) = (UInt32(0), 0)
        for letter in text.utf8 {
            guard let value = letters.firstIndex(of: letter) else { return nil }
            waiting = waiting << 5 | UInt32(value)
            count += 5
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: waiting >> UInt32(count)))
            waiting &= 1 << UInt32(count) - 1
        }
        return encode(bytes) == text ? bytes : nil
    }
}
