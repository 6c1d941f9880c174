internal import Synchronization
#if canImport(Glibc)
    internal import Glibc
#endif

/// The changes of recent revisions, in order of key and then revision: a skip list (Pugh 1990) that one thread writes while
/// others read.
///
/// Nothing in it ever moves, changes or goes before all of it does, and a change is linked in only when it is complete:
/// readers need no lock. They see changes while these are made; a revision tells them which they may see.
package final class Memtable: @unchecked Sendable {
    /// One revision of one key; a deletion has version 0.
    package struct Change: Equatable, Sendable {
        package var pair: KeyValue
        /// Counts all changes ever made, in order; the row of `kv.db` that it becomes.
        package var sequence: Int64
    }

    /// A change in memory: this, then its links, its key and its value.
    private struct Header {
        let sequence: Int64
        let modRevision: Int64
        let createRevision: Int64
        let version: Int64
        let lease: Int64
        let keyCount: UInt32
        let valueCount: UInt32
        let height: Int
    }

    /// A place in the list: a change, or the end of all.
    struct Cursor: Equatable {
        fileprivate let address: UInt
        var isEnd: Bool { address == 0 }
    }

    private static let heightMax = 12
    private static let blockBytes = 256 << 10

    // Changed by the writer only. Readers follow links, from `head` on, and never look at the rest.
    private let head: UnsafeMutablePointer<Atomic<UInt>>
    private var blocks: [UnsafeMutableRawPointer] = []
    private var free = 0
    private var next: UnsafeMutableRawPointer?
    private var dice: UInt64 = 0x9e37_79b9_7f4a_7c15
    package private(set) var count = 0
    /// About what it takes in memory.
    package private(set) var bytes = 0

    package init() {
        head = .allocate(capacity: Self.heightMax)
        for level in 0..<Self.heightMax { (head + level).initialize(to: Atomic(0)) }
    }

    deinit {
        head.deallocate()
        for block in blocks { block.deallocate() }
    }

    package var isEmpty: Bool { count == 0 }

    // MARK: - Writing

    /// Adds a change; its revision is the newest of its key. A second change of a key in one revision (a txn may put a key
    /// and then delete it) comes after the first and hides it: between them nobody can look.
    func insert(_ change: Change) {
        var before = [12 of UInt](repeating: 0)
        let key = change.pair.key
        var at: UInt = 0
        for level in stride(from: Self.heightMax - 1, through: 0, by: -1) {
            at = Self.last(from: at, level, head) { node in
                !Self.isAfter(node, key, change.pair.modRevision, change.sequence)
            }
            before[level] = at
        }
        let height = nextHeight()
        let node = make(change, height: height)
        for level in 0..<height {
            let link = Self.links(before[level], head) + level
            (Self.links(node, head) + level).pointee.store(link.pointee.load(ordering: .relaxed), ordering: .relaxed)
            // What the change holds is there for whoever finds it.
            link.pointee.store(node, ordering: .releasing)
        }
        count += 1
        bytes += key.count + change.pair.value.count + 160
    }

    private func nextHeight() -> Int {
        dice ^= dice << 13
        dice ^= dice >> 7
        dice ^= dice << 17
        // A quarter of each level reaches the next.
        return min(1 + (dice | 1 << 22).trailingZeroBitCount / 2, Self.heightMax)
    }

    private func make(_ change: Change, height: Int) -> UInt {
        let pair = change.pair
        let links = MemoryLayout<Header>.size
        let bytes = links + 8 * height + pair.key.count + pair.value.count
        let memory = allocate((bytes + 7) & ~7)
        memory.initializeMemory(
            as: Header.self,
            to: Header(
                sequence: change.sequence, modRevision: pair.modRevision, createRevision: pair.createRevision,
                version: pair.version, lease: pair.lease, keyCount: UInt32(pair.key.count),
                valueCount: UInt32(pair.value.count), height: height))
        let tower = (memory + links).assumingMemoryBound(to: Atomic<UInt>.self)
        for level in 0..<height { (tower + level).initialize(to: Atomic(0)) }
        let text = memory + links + 8 * height
        pair.key.withUnsafeBytes { bytes in
            if let start = bytes.baseAddress { text.copyMemory(from: start, byteCount: bytes.count) }
        }
        pair.value.withUnsafeBytes { bytes in
            if let start = bytes.baseAddress { (text + pair.key.count).copyMemory(from: start, byteCount: bytes.count) }
        }
        return UInt(bitPattern: memory)
    }

    private func allocate(_ count: Int) -> UnsafeMutableRawPointer {
        if count > Self.blockBytes / 4 {
            blocks.append(.allocate(byteCount: count, alignment: 8))
            return blocks[blocks.count - 1]
        }
        if count > free {
            // Small tables are usual: the first block is small, too.
            free = blocks.isEmpty ? Self.blockBytes / 16 : Self.blockBytes
            free = max(free, count)
            next = .allocate(byteCount: free, alignment: 8)
            if let next { blocks.append(next) }
        }
        guard let place = next else { preconditionFailure("a block without memory") }
        next = place + count
        free -= count
        return place
    }

    // MARK: - Links

    private static func links(_ node: UInt, _ head: UnsafeMutablePointer<Atomic<UInt>>) -> UnsafeMutablePointer<
        Atomic<UInt>
    > {
        guard let memory = UnsafeMutableRawPointer(bitPattern: node) else { return head }
        return (memory + MemoryLayout<Header>.size).assumingMemoryBound(to: Atomic<UInt>.self)
    }

    private static func header(_ node: UInt) -> UnsafePointer<Header> {
        guard let header = UnsafePointer<Header>(bitPattern: node) else {
            preconditionFailure("the end of a memtable holds no change")
        }
        return header
    }

    /// The last of a level, from `node` on, for which `isBefore` holds.
    @inline(__always)
    private static func last(
        from node: UInt, _ level: Int, _ head: UnsafeMutablePointer<Atomic<UInt>>, while isBefore: (UInt) -> Bool
    ) -> UInt {
        var node = node
        while true {
            let next = (links(node, head) + level).pointee.load(ordering: .acquiring)
            if next == 0 || !isBefore(next) { return node }
            node = next
        }
    }

    /// If a change comes after (`key`, `revision`, `sequence`).
    @inline(__always)
    private static func isAfter(_ node: UInt, _ key: [UInt8], _ revision: Int64, _ sequence: Int64) -> Bool {
        let header = header(node)
        let byKey = compare(node, key)
        if byKey != 0 { return byKey > 0 }
        if header.pointee.modRevision != revision { return header.pointee.modRevision > revision }
        return header.pointee.sequence > sequence
    }

    /// Below 0, 0 or above 0 as a change's key comes before, equals or comes after `key`.
    @inline(__always)
    private static func compare(_ node: UInt, _ key: [UInt8]) -> Int {
        let own = Int(header(node).pointee.keyCount)
        let shared = min(own, key.count)
        let difference = key.withUnsafeBytes { bytes -> Int32 in
            guard shared > 0, let start = bytes.baseAddress else { return 0 }
            return memcmp(self.key(node), start, shared)
        }
        return difference != 0 ? Int(difference) : own - key.count
    }

    private static func key(_ node: UInt) -> UnsafeRawPointer {
        let header = header(node)
        return UnsafeRawPointer(header) + MemoryLayout<Header>.size + 8 * header.pointee.height
    }

    // MARK: - Reading

    /// The first change not before (`key`, `revision`).
    func lowerBound(_ key: [UInt8], _ revision: Int64) -> Cursor {
        let before = lastNotAfter(key, revision, .min)
        return Cursor(address: Self.links(before, head).pointee.load(ordering: .acquiring))
    }

    private func lastNotAfter(_ key: [UInt8], _ revision: Int64, _ sequence: Int64) -> UInt {
        var at: UInt = 0
        for level in stride(from: Self.heightMax - 1, through: 0, by: -1) {
            at = Self.last(from: at, level, head) { !Self.isAfter($0, key, revision, sequence) }
        }
        return at
    }

    func next(_ cursor: Cursor) -> Cursor {
        Cursor(address: Self.links(cursor.address, head).pointee.load(ordering: .acquiring))
    }

    /// Nil at the end.
    func change(at cursor: Cursor) -> Change? {
        guard !cursor.isEnd else { return nil }
        let header = Self.header(cursor.address)
        let key = Self.key(cursor.address)
        let value = UnsafeRawBufferPointer(
            start: key + Int(header.pointee.keyCount), count: Int(header.pointee.valueCount))
        return Change(
            pair: KeyValue(
                key: self.key(at: cursor), createRevision: header.pointee.createRevision,
                modRevision: header.pointee.modRevision, version: header.pointee.version,
                lease: header.pointee.lease, value: Array(value)), sequence: header.pointee.sequence)
    }

    func key(at cursor: Cursor) -> [UInt8] {
        Array(
            UnsafeRawBufferPointer(
                start: Self.key(cursor.address), count: Int(Self.header(cursor.address).pointee.keyCount)))
    }

    func isOf(_ key: [UInt8], _ cursor: Cursor) -> Bool { !cursor.isEnd && Self.compare(cursor.address, key) == 0 }

    func modRevision(at cursor: Cursor) -> Int64 { Self.header(cursor.address).pointee.modRevision }

    /// The newest change of `key` not after `revision`.
    func latest(_ key: [UInt8], notAfter revision: Int64) -> Change? {
        let found = Cursor(address: lastNotAfter(key, revision, .max))
        return isOf(key, found) ? change(at: found) : nil
    }

    /// Calls `body` with each change, in order.
    func forEach<E: Error>(_ body: (Change) throws(E) -> Void) throws(E) {
        var cursor = lowerBound([], .min)
        while let change = change(at: cursor) {
            cursor = next(cursor)
            // One that another hides.
            if isOf(change.pair.key, cursor), modRevision(at: cursor) == change.pair.modRevision { continue }
            try body(change)
        }
    }

    /// All changes in the order they were made.
    func bySequence() -> [Change] {
        var all: [Change] = []
        forEach { all.append($0) }
        return all.sorted { $0.sequence < $1.sequence }
    }
}
