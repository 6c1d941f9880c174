import Bytes
import Foundation
import SQLite
import Testing

@testable import MVCC

/// Another file takes the place of `kv.db` while it is read.
@Suite struct ReplacementTests {
    private let folder = NSTemporaryDirectory() + "weft-replacement-\(UUID().uuidString)"
    private static let key = Array("k".utf8)

    private func put(_ value: UInt8, in rig: Rig) throws {
        _ = try rig.apply(.put(PutRequest(key: Self.key, value: [value]))).get()
        try rig.checkpoint()
    }

    private func value(_ slot: ReaderSlot, _ view: View) throws -> UInt8? {
        let found = slot.read({ view }) { view, reader in
            view.points([RangeRequest(range: KeyRange(start: Self.key, end: .single))], reader)[0]
        }
        do throws(ReadFailure) {
            return try found.get().pairs.first?.value.first
        } catch {
            guard case .disk(let error) = error else { throw error }
            throw error
        }
    }

    /// A file with another value, ready to be put in place.
    private func makeImage(_ value: UInt8, at path: String) throws {
        do {
            let rig = try Rig(path: folder + "/other.db")
            try put(value, in: rig)
            try rig.reader.copy(to: path)
        }
        _ = try inspectImage(at: path)
        try prepareImage(at: path)
    }

    @Test("Readers keep to the file of their state, open no other, and leave the new one's log alone")
    func readersKeepTheirs() throws {
        let files = FileManager.default
        try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? files.removeItem(atPath: folder) }
        let (path, image) = (folder + "/kv.db", folder + "/image.db")
        let marks = FileMarks()
        func slot() -> ReaderSlot { ReaderSlot(path: path, marks: marks, cacheBytes: 64 << 10) }
        let (reading, late) = (slot(), slot())
        try makeImage(2, at: image)

        var writer: StateWriter? = try StateWriter(path: path, initial: StateMeta(clusterID: 1))
        var old: KeyValueStore? = try KeyValueStore(reader: marks.reader(path, cacheBytes: 64 << 10), marks: marks)
        var command = ByteWriter()
        Command.put(PutRequest(key: Self.key, value: [1])).encode(into: &command)
        _ = try old?.apply(ByteReader(command.bytes), index: 1, term: 1).get()
        try writer?.write(try #require(old?.freeze()))
        old?.dropFrozen()
        let oldView = try #require(old?.view())
        #expect(try value(reading, oldView) == 1)

        #expect(try writer?.checkpoint() == true)
        writer = nil
        writer = try marks.replacing(wait: {}) {
            for suffix in ["-wal", "-shm"] { try? files.removeItem(atPath: path + suffix) }
            try PageSums.forget(path)
            for suffix in ["", PageSums.suffix] {
                #expect(rename(image + suffix, path + suffix) == 0)
            }
            return try StateWriter(path: path, initial: nil, isChecked: true)
        }
        #expect(PageSums.state(path) == .loaded)
        // The new file's state is not published yet.
        #expect(try value(reading, oldView) == 1)
        let refused = try #require(throws: SQLiteError.self) { try value(late, oldView) }
        #expect(refused.isBusy)

        let new = try KeyValueStore(reader: marks.reader(path, cacheBytes: 64 << 10), marks: marks)
        for slot in [reading, late] { #expect(try value(slot, new.view()) == 2) }
        // What is in the new log only outlives the old file's last connection.
        command = ByteWriter()
        Command.put(PutRequest(key: Self.key, value: [3])).encode(into: &command)
        _ = try new.apply(ByteReader(command.bytes), index: 2, term: 1).get()
        try writer?.write(try #require(new.freeze()))
        new.dropFrozen()
        #expect(marks.isOldOpen)
        reading.closeOld(before: new.view())
        #expect(marks.isOldOpen)
        old = nil
        #expect(!marks.isOldOpen)
        let log = try #require(try files.attributesOfItem(atPath: path + "-wal")[.size] as? Int)
        #expect(log > 0)
        #expect(try value(slot(), new.view()) == 3)
    }
}
