internal import NIOCore

/// The small texts of gRPC's headers and trailers (gRPC over HTTP/2, "Requests" and "Responses").
enum GRPCWire {
    /// Whether a request with this content-type is a gRPC call; grpc-web is not.
    static func isGRPC(contentType: String) -> Bool {
        let name = "application/grpc"
        guard contentType.hasPrefix(name) else { return false }
        switch contentType.utf8.dropFirst(name.utf8.count).first {
        case nil, UInt8(ascii: "+"), UInt8(ascii: ";"): return true
        default: return false
        }
    }

    /// The time that a grpc-timeout asks for; nil when it is not one.
    static func timeout(_ text: String) -> TimeAmount? {
        guard let unit = text.utf8.last, (2...9).contains(text.utf8.count) else { return nil }
        var value: Int64 = 0
        for digit in text.utf8.dropLast() {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + Int64(digit - UInt8(ascii: "0"))
        }
        switch unit {
        // Eight digits of hours are more nanoseconds than there are.
        case UInt8(ascii: "H"): return .hours(min(value, 1_000_000))
        case UInt8(ascii: "M"): return .minutes(value)
        case UInt8(ascii: "S"): return .seconds(value)
        case UInt8(ascii: "m"): return .milliseconds(value)
        case UInt8(ascii: "u"): return .microseconds(value)
        case UInt8(ascii: "n"): return .nanoseconds(value)
        default: return nil
        }
    }

    /// A grpc-message: printable ASCII but the percent sign stands for itself.
    static func percentEncoded(_ message: String) -> String {
        let isPlain = { (byte: UInt8) in (0x20...0x7e).contains(byte) && byte != UInt8(ascii: "%") }
        if message.utf8.allSatisfy(isPlain) { return message }
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in message.utf8 {
            if isPlain(byte) {
                bytes.append(byte)
            } else {
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
