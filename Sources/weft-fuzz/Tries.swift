internal import JSON
internal import Raft
#if canImport(Glibc)
    internal import Glibc
#endif

/// Inputs made from known ones, without a fuzzer: the same seed makes the same inputs.
struct Tries {
    private var random: SplitMix64
    private let known: [[UInt8]]

    /// - Parameter known: at least one input.
    init(seed: UInt64, known: [[UInt8]]) {
        random = SplitMix64(seed: seed)
        self.known = known
    }

    /// Inputs that a fuzzer found to reach something of their own: one a line, in base64.
    static func known(in path: String) -> [[UInt8]] {
        String(decoding: contents(of: path), as: UTF8.self).split(separator: "\n").map { line in
            guard let input = Base64.decode(String(line)) else {
                print("\(path) has a line that is no base64: \(line)")
                exit(2)
            }
            return input
        }
    }

    /// Not by `File`: the disk is a simulated one here. Ends the process when there is no such file.
    static func contents(of path: String) -> [UInt8] {
        guard let file = fopen(path, "r") else {
            print("\(path) cannot be read: \(String(cString: strerror(errno)))")
            exit(2)
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
        return bytes
    }

    private mutating func below(_ limit: Int) -> Int { Int(random.next() % UInt64(max(limit, 1))) }

    private mutating func anyBytes(atMost most: Int) -> [UInt8] {
        (0..<below(most) + 1).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// The next input: a known one with a few changes.
    mutating func next() -> [UInt8] {
        var bytes = known[below(known.count)]
        for _ in 0..<below(6) + 1 { change(&bytes) }
        return bytes
    }

    private mutating func change(_ bytes: inout [UInt8]) {
        let place = below(bytes.count)
        let rest = bytes.count - place
        switch below(8) {
        case 0 where rest > 0: bytes[place] ^= 1 << UInt8(below(8))
        case 1 where rest > 0: bytes[place] = UInt8([0, 1, 0x7f, 0x80, 0xff][below(5)])
        case 2: bytes.insert(contentsOf: anyBytes(atMost: 16), at: place)
        case 3: bytes.append(contentsOf: anyBytes(atMost: 300))
        case 4 where rest > 0: bytes.removeSubrange(place..<place + below(min(rest, 16)) + 1)
        case 5: bytes.removeLast(rest)
        case 6: bytes.replaceSubrange(place..., with: known[below(known.count)].dropFirst(place))
        default: bytes.insert(contentsOf: bytes.suffix(below(min(rest, 64)) + 1).prefix(64), at: place)
        }
    }
}
