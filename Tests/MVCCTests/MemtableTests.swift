import Foundation
import Synchronization
import Testing

@testable import MVCC

@Suite struct MemtableTests {
    /// Up to where the table is complete.
    private final class Published: Sendable {
        let revision = Atomic<Int>(0)
    }

    private static let keys = 97
    private static let changes = 40_000

    private static func key(_ number: Int) -> [UInt8] { Array("k/\(number)".utf8) }

    /// Change `number` is of key `number % keys`, at revision `number`.
    private static func fill(_ table: Memtable, published: Published) {
        for number in 1...changes {
            let pair = KeyValue(
                key: key(number % keys), modRevision: Int64(number), version: 1,
                value: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: number % 50))
            table.insert(
                Memtable.Change(pair: pair, sequence: Int64(number)), RowSum(pair, sequence: Int64(number)))
            published.revision.store(number, ordering: .releasing)
        }
    }

    @Test func readersFindWhatWasThereWhileItIsWritten() async throws {
        let table = Memtable()
        let published = Published()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { Self.fill(table, published: published) }
            for reader in 1...2 {
                group.addTask {
                    var step = reader
                    while published.revision.load(ordering: .acquiring) < Self.changes {
                        let revision = published.revision.load(ordering: .acquiring)
                        step = step &* 31 &+ 7
                        let number = Int(UInt(bitPattern: step) % UInt(Self.keys))
                        let expected = revision - ((revision - number) % Self.keys + Self.keys) % Self.keys
                        let found = table.latest(Self.key(number), notAfter: Int64(revision))
                        if expected <= 0 {
                            #expect(found == nil)
                        } else {
                            #expect(found?.pair.modRevision == Int64(expected))
                            #expect(found?.pair.value.count == expected % 50)
                            #expect(found?.pair.value.allSatisfy { $0 == UInt8(truncatingIfNeeded: expected) } ?? false)
                        }
                    }
                }
            }
        }
        #expect(table.count == Self.changes)
    }

    @Test func changesComeInOrderOfKeyAndRevision() {
        let table = Memtable()
        Self.fill(table, published: Published())
        var all: [Memtable.Change] = []
        table.forEach { all.append($0.change) }
        #expect(all.count == Self.changes)
        let isAscending = zip(all, all.dropFirst()).allSatisfy { a, b in
            a.pair.key == b.pair.key ? a.pair.modRevision < b.pair.modRevision : precedes(a.pair.key, b.pair.key)
        }
        #expect(isAscending)
        var made: [Int64] = []
        table.forEachBySequence { row in
            #expect(row.sums == RowSum(row.change.pair, sequence: row.sequence))
            made.append(row.sequence)
        }
        #expect(made == Array(1...Int64(Self.changes)))
    }
}
