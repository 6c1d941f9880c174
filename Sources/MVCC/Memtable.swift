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

    /// A change where it lies; good as long as the table is.
    struct Row {
        fileprivate let address: UInt
        var change: Change { Memtable.change(address, withValue: true) }
        var sequence: Int64 { header(address).pointee.sequence }
        var modRevision: Int64 { header(address).pointee.modRevision }
        var createRevision: Int64 { header(address).pointee.createRevision }
        var version: Int64 { header(address).pointee.version }
        var lease: Int64 { header(address).pointee.lease }
        var sums: RowSum { header(address).pointee.sums }
        var key: UnsafeRawBufferPointer { keyBytes(address) }
        var value: UnsafeRawBufferPointer { valueBytes(address) }
    }

    /// A change in memory: this, then its links, one to the change made after it, its key and its value.
    private struct Header {
        let sequence: Int64
        let modRevision: Int64
        let createRevision: Int64
        let version: Int64
        let lease: Int64
        let sums: RowSum
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
    private var newest: UInt = 0
    /// Where the writer looked last, and how many changes there were then.
    private var splice = (key: [UInt8](), before: [12 of UInt](repeating: 0), count: -1)
    private var dice: UInt64 = 0x9e37_79b9_7f4a_7c15
    package private(set) var count = 0
    /// About what it takes in memory.
    package private(set) var bytes = 0

    package init() {
        head = .allocate(capacity: Self.heightMax + 1)
        for level in 0...Self.heightMax { (head + level).initialize(to: Atomic(0)) }
    }

    deinit {
        head.deallocate()
        for block in blocks { block.deallocate() }
    }

    package var isEmpty: Bool { count == 0 }

    // MARK: - Writing

    /// Adds a change; its revision is the newest of its key. A second change of a key in one revision (a txn may put a key
    /// and then delete it) comes after the first and hides it: between them nobody can look.
    func insert(_ change: Change, _ sums: RowSum) {
        let key = change.pair.key
        if splice.count != count || splice.key != key { look(for: key) }
        let height = nextHeight()
        let node = make(change, sums, height: height)
        for level in 0..<height {
            let link = Self.links(splice.before[level], head) + level
            (Self.links(node, head) + level).pointee.store(link.pointee.load(ordering: .relaxed), ordering: .relaxed)
            // What the change holds is there for whoever finds it.
            link.pointee.store(node, ordering: .releasing)
        }
        chain(newest).pointee.store(node, ordering: .releasing)
        newest = node
        count += 1
        bytes += key.count + change.pair.value.count + 160
    }

    /// The newest change of `key`, for the writer: a change of it that is inserted next need not look for its place again.
    func newest(_ key: [UInt8], withValue: Bool) -> Change? {
        look(for: key)
        let found = splice.before[0]
        return found != 0 && Self.compare(found, key) == 0 ? Self.change(found, withValue: withValue) : nil
    }

    /// Finds the place after all changes of `key`.
    private func look(for key: [UInt8]) {
        var at: UInt = 0
        for level in stride(from: Self.heightMax - 1, through: 0, by: -1) {
            at = Self.last(from: at, level, head) { Self.compare($0, key) <= 0 }
            splice.before[level] = at
        }
        splice.key = key
        splice.count = count
    }

    private func nextHeight() -> Int {
        dice ^= dice << 13
        dice ^= dice >> 7
        dice ^= dice << 17
        // A quarter of each level reaches the next.
        return min(1 + (dice | 1 << 22).trailingZeroBitCount / 2, Self.heightMax)
    }

    private func make(_ change: Change, _ sums: RowSum, height: Int) -> UInt {
        let pair = change.pair
        let links = MemoryLayout<Header>.size
        let bytes = links + 8 * (height + 1) + pair.key.count + pair.value.count
        let memory = allocate((bytes + 7) & ~7)
        memory.initializeMemory(
            as: Header.self,
            to: Header(
                sequence: change.sequence, modRevision: pair.modRevision, createRevision: pair.createRevision,
                version: pair.version, lease: pair.lease, sums: sums, keyCount: UInt32(pair.key.count),
                valueCount: UInt32(pair.value.count), height: height))
        let tower = (memory + links).assumingMemoryBound(to: Atomic<UInt>.self)
        for level in 0...height { (tower + level).initialize(to: Atomic(0)) }
        let text = memory + links + 8 * (height + 1)
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

    /// The link to the change made after `node`, or to the first.
    private func chain(_ node: UInt) -> UnsafeMutablePointer<Atomic<UInt>> {
        node == 0 ? head + Self.heightMax : Self.links(node, head) + Self.header(node).pointee.height
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
    private static func compare(_ node: UInt, _ key: [UInt8]) -> Int { key.withUnsafeBytes { compare(node, $0) } }

    @inline(__always)
    private static func compare(_ node: UInt, _ key: UnsafeRawBufferPointer) -> Int {
        let own = Int(header(node).pointee.keyCount)
        guard let start = key.baseAddress, own > 0 else { return own - key.count }
        let difference = memcmp(self.key(node), start, min(own, key.count))
        return difference != 0 ? Int(difference) : own - key.count
    }

    private static func key(_ node: UInt) -> UnsafeRawPointer {
        let header = header(node)
        return UnsafeRawPointer(header) + MemoryLayout<Header>.size + 8 * (header.pointee.height + 1)
    }

    private static func keyBytes(_ node: UInt) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: key(node), count: Int(header(node).pointee.keyCount))
    }

    private static func valueBytes(_ node: UInt) -> UnsafeRawBufferPointer {
        let header = header(node)
        return UnsafeRawBufferPointer(
            start: key(node) + Int(header.pointee.keyCount), count: Int(header.pointee.valueCount))
    }

    private static func change(_ node: UInt, withValue: Bool) -> Change {
        let header = header(node)
        return Change(
            pair: KeyValue(
                key: Array(keyBytes(node)), createRevision: header.pointee.createRevision,
                modRevision: header.pointee.modRevision, version: header.pointee.version,
                lease: header.pointee.lease, value: withValue ? Array(valueBytes(node)) : []),
            sequence: header.pointee.sequence)
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
        cursor.isEnd ? nil : Self.change(cursor.address, withValue: true)
    }

    func key(at cursor: Cursor) -> [UInt8] { Array(Self.keyBytes(cursor.address)) }

    func isOf(_ key: [UInt8], _ cursor: Cursor) -> Bool { !cursor.isEnd && Self.compare(cursor.address, key) == 0 }

    private func isOf(_ key: UnsafeRawBufferPointer, _ cursor: Cursor) -> Bool {
        Self.compare(cursor.address, key) == 0
    }

    func modRevision(at cursor: Cursor) -> Int64 { Self.header(cursor.address).pointee.modRevision }

    /// The newest change of `key` not after `revision`.
    func latest(_ key: [UInt8], notAfter revision: Int64) -> Change? {
        let found = Cursor(address: lastNotAfter(key, revision, .max))
        return isOf(key, found) ? change(at: found) : nil
    }

    /// Calls `body` with each change, in order.
    func forEach<E: Error>(_ body: (Row) throws(E) -> Void) throws(E) {
        var cursor = lowerBound([], .min)
        while !cursor.isEnd {
            if !isHidden(cursor) { try body(Row(address: cursor.address)) }
            cursor = next(cursor)
        }
    }

    /// Calls `body` with each change, in the order they were made.
    func forEachBySequence<E: Error>(_ body: (Row) throws(E) -> Void) throws(E) {
        var node = chain(0).pointee.load(ordering: .acquiring)
        while node != 0 {
            if !isHidden(Cursor(address: node)) { try body(Row(address: node)) }
            node = chain(node).pointee.load(ordering: .acquiring)
        }
    }

    private func isHidden(_ cursor: Cursor) -> Bool {
        let next = next(cursor)
        return !next.isEnd && modRevision(at: next) == modRevision(at: cursor)
            && isOf(Self.keyBytes(cursor.address), next)
    }
}
