internal import Storage

/// Which start of the machine this is.
enum MachineBoot {
    /// The first half of the system's number for it, which is made by chance; nil where there is none.
    static let id: UInt64? = {
        guard let text = try? File("/proc/sys/kernel/random/boot_id", .read).read(at: 0, count: 64) else { return nil }
        let digits = String(decoding: text, as: UTF8.self).filter(\.isHexDigit)
        return UInt64(digits.prefix(16), radix: 16)
    }()
}
