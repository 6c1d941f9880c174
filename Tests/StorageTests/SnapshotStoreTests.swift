import Foundation
import Raft
import Testing

@testable import Storage

@Suite struct SnapshotStoreTests {
    private let folder = NSTemporaryDirectory() + "weft-snapshots-\(UUID().uuidString)"
    private var store: SnapshotStore { SnapshotStore(directory: folder) }

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    /// An image of some bytes, and what its sender says of it.
    private func image(_ index: Index, bytes: Int) throws -> (header: SnapshotStore.Header, content: [UInt8]) {
        let content = (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ Int(index)) }
        let path = "\(folder)/source-\(index)"
        try Data(content).write(to: URL(fileURLWithPath: path))
        let size = try SnapshotStore.measure(path)
        let mark = SnapshotMark(index: index, term: 3, configuration: Configuration())
        return (SnapshotStore.Header(mark: mark, bytes: size.bytes, checksum: size.checksum), content)
    }

    private func receive(_ header: SnapshotStore.Header, _ content: [UInt8], from start: Int = 0) throws {
        for offset in stride(from: start, to: content.count, by: SnapshotStore.chunkBytes) {
            let end = min(offset + SnapshotStore.chunkBytes, content.count)
            try store.write(Array(content[offset..<end]), at: offset, of: header)
        }
    }

    @Test func anImageThatWaitsToBeInstalledSurvivesTheNextOnesArrival() throws {
        let first = try image(10, bytes: 700_000)
        try receive(first.header, first.content)
        let path = try store.finish(first.header)
        let second = try image(20, bytes: 10)
        #expect(try store.received(second.header) == 0)
        #expect([UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) == first.content)
        try store.removeLeftovers()
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func aTransferGoesOnAtTheLastWholeChunk() throws {
        let sent = try image(10, bytes: 700_000)
        try receive(sent.header, Array(sent.content[..<(SnapshotStore.chunkBytes + 5)]))
        #expect(try store.received(sent.header) == SnapshotStore.chunkBytes)
        try receive(sent.header, sent.content, from: SnapshotStore.chunkBytes)
        #expect(throws: Never.self) { try store.finish(sent.header) }
    }

    @Test func aDamagedImageIsThrownAway() throws {
        var sent = try image(10, bytes: 300_000)
        sent.content[150_000] ^= 1
        try receive(sent.header, sent.content)
        #expect(throws: StorageError.self) { try store.finish(sent.header) }
        #expect(try store.received(sent.header) == 0)
    }
}
