/// Bytes that wait to be sent, in order. Small pieces are gathered; large ones are kept as they came.
struct ByteQueue {
    private static let gatheredBytesMax = 16 << 10

    private var chunks: [[UInt8]] = []
    /// The first chunk not wholly taken, and what was taken of it.
    private var first = 0
    private var taken = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func append(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        count += bytes.count
        if let last = chunks.indices.last, chunks[last].count + bytes.count <= Self.gatheredBytesMax {
            chunks[last] += bytes
        } else {
            chunks.append(bytes)
        }
    }

    /// Appends a gRPC message with its prefix: not compressed, then the length in four bytes, most significant first.
    mutating func append(message: [UInt8]) {
        let length = UInt32(clamping: message.count)
        let prefix: [5 of UInt8] = [
            0, UInt8(truncatingIfNeeded: length >> 24), UInt8(truncatingIfNeeded: length >> 16),
            UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length),
        ]
        let whole = message.count + prefix.count
        let gathers = whole <= Self.gatheredBytesMax
        if chunks.isEmpty || !gathers || chunks[chunks.count - 1].count + whole > Self.gatheredBytesMax {
            chunks.append([])
            chunks[chunks.count - 1].reserveCapacity(gathers ? whole : prefix.count)
        }
        let last = chunks.count - 1
        for index in prefix.indices { chunks[last].append(prefix[index]) }
        if gathers { chunks[last] += message } else { chunks.append(message) }
        count += whole
    }

    /// Moves as much as fits into `target`, and says how much that was.
    mutating func take(into target: UnsafeMutableRawBufferPointer) -> Int {
        var filled = 0
        while filled < target.count, first < chunks.count {
            let size = min(chunks[first].count - taken, target.count - filled)
            chunks[first].withUnsafeBytes { chunk in
                let room = UnsafeMutableRawBufferPointer(rebasing: target[filled..<filled + size])
                room.copyMemory(from: UnsafeRawBufferPointer(rebasing: chunk[taken..<taken + size]))
            }
            filled += size
            taken += size
            if taken == chunks[first].count { drop() }
        }
        count -= filled
        return filled
    }

    private mutating func drop() {
        chunks[first] = []
        first += 1
        taken = 0
        if first == chunks.count {
            chunks.removeAll(keepingCapacity: chunks.capacity <= 64)
            first = 0
        } else if first >= 64, first > chunks.count / 2 {
            chunks.removeFirst(first)
            first = 0
        }
    }

    mutating func removeAll() {
        self = ByteQueue()
    }
}
