internal import CCrypt

/// bcrypt, as users' passwords are kept: libcrypt's, whose hashes etcd reads, and the other way round. One takes 0.05 s and more, so
/// none is computed on a thread that others wait for.
package enum PasswordHash {
    /// Powers of two of rounds; etcd's `--bcrypt-cost`.
    package static let costs = 4...31
    package static let usualCost = 10
    /// bcrypt looks at no more.
    package static let passwordBytesMax = 72
    private static let saltBytes: Int32 = 16

    package enum Refusal: Error, Equatable, Sendable {
        case tooLong
        /// libcrypt reads a password up to there.
        case zeroByte
    }

    package static func check(_ password: [UInt8]) throws(Refusal) {
        if password.count > passwordBytesMax { throw .tooLong }
        if password.contains(0) { throw .zeroByte }
    }

    /// - Parameter password: one that `check` lets through.
    /// - Returns: nil when this machine's libcrypt knows no bcrypt.
    package static func make(_ password: [UInt8], cost: Int) -> [UInt8]? {
        let random = (0..<saltBytes).map { _ in CChar(truncatingIfNeeded: UInt8.random(in: .min ... .max)) }
        var setting = [CChar](repeating: 0, count: Int(CRYPT_GENSALT_OUTPUT_SIZE))
        guard crypt_gensalt_rn("$2b$", UInt(cost), random, saltBytes, &setting, Int32(setting.count)) != nil else {
            return nil
        }
        return crypt(password, setting)
    }

    /// As etcd compares: only the first 72 bytes count.
    package static func matches(_ password: [UInt8], _ hash: [UInt8]) -> Bool {
        // Computed in any case, so that the time tells nothing.
        let found = crypt(Array(password.prefix(passwordBytesMax)), hash.map { CChar(bitPattern: $0) } + [0])
        return !password.contains(0) && found.map { areEqual($0, hash) } ?? false
    }

    /// One that fits no password, and takes as long to compare.
    package static func ofNobody(cost: Int) -> [UInt8] {
        let text = "\(cost)"
        let salt = "CwTycUXWue0Thq9StjUM0u"
        return Array("$2b$\(text.count < 2 ? "0" : "")\(text)$\(salt)\(String(repeating: "0", count: 31))".utf8)
    }

    /// Of hashes that clients make themselves: one of 31 takes a day to compare.
    private static let costOfOthersMax = 16

    /// If it may be a hash of bcrypt's: "$2b$10$", then 22 characters of salt and 31 of the sum.
    package static func isWellFormed(_ hash: [UInt8]) -> Bool {
        let parts = hash.split(separator: UInt8(ascii: "$"), omittingEmptySubsequences: false)
        guard hash.count == 60, parts.count == 4, parts[0].isEmpty,
            ["2a", "2b", "2y"].contains(String(decoding: parts[1], as: UTF8.self)), parts[2].count == 2,
            let cost = Int(String(decoding: parts[2], as: UTF8.self)),
            (costs.lowerBound...costOfOthersMax).contains(cost)
        else { return false }
        return parts[3].allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "."), UInt8(ascii: "/"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"):
                true
            default: false
            }
        }
    }

    private static func crypt(_ password: [UInt8], _ setting: [CChar]) -> [UInt8]? {
        let size = MemoryLayout<crypt_data>.size
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: MemoryLayout<crypt_data>.alignment)
        defer {
            // It holds what follows from the password.
            memory.initializeMemory(as: UInt8.self, repeating: 0, count: size)
            memory.deallocate()
        }
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: size)
        let phrase = password.map { CChar(bitPattern: $0) } + [0]
        guard let text = crypt_rn(phrase, setting, memory, Int32(size)) else { return nil }
        return Array(String(cString: text).utf8)
    }

    /// Takes the same time wherever they differ.
    private static func areEqual(_ one: [UInt8], _ other: [UInt8]) -> Bool {
        one.count == other.count && zip(one, other).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
