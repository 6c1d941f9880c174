import Foundation
import Raft
import SQLite
import Testing

@testable import Storage

@Suite struct LogStoreTests {
    private let folder = NSTemporaryDirectory() + "weft-log-\(UUID().uuidString)"
    private var log: String { folder + "/log.db" }
    private var mark: String { folder + "/durable.mark" }

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    private func open(new: Bool = false) throws -> LogStore {
        try LogStore(path: log, markPath: mark, isNew: new)
    }

    private func entry(_ index: Index, _ term: Term, _ text: String = "x") -> Entry {
        Entry(index: index, term: term, proposal: Proposal(id: 0, kind: .command, payload: Array(text.utf8)))
    }

    private func append(_ store: LogStore, _ entries: [Entry], term: Term, vote: NodeID? = 3) throws {
        try store.append(
            Ready.Append(firstIndex: entries[0].index, entries: entries),
            hardState: HardState(term: term, vote: vote, commit: 0))
    }

    @Test func whatWasAppendedIsThereAfterwards() throws {
        let entries = (1...20).map { entry(Index($0), $0 < 8 ? 1 : 4, "entry \($0)") }
        do { try append(open(new: true), entries, term: 4) }
        let store = try open()
        #expect(store.loaded().lastIndex == 20)
        #expect(store.loaded().hardState == HardState(term: 4, vote: 3, commit: 0))
        #expect(store.loaded().runs == [Log.TermRun(firstIndex: 1, term: 1), Log.TermRun(firstIndex: 8, term: 4)])
        #expect(try store.entries(from: 1, through: 20, costMax: .max) == entries)
        #expect(try store.entries(from: 5, through: 20, costMax: 1) == [entries[4]])
    }

    @Test func aShorterTailReplacesALongerOneAndIsNoDamage() throws {
        do {
            let store = try open(new: true)
            try append(store, (1...9).map { entry(Index($0), 1) }, term: 1)
            try append(store, [entry(4, 2, "other")], term: 2)
        }
        let store = try open()
        #expect(store.loaded().lastIndex == 4)
        #expect(store.loaded().runs == [Log.TermRun(firstIndex: 1, term: 1), Log.TermRun(firstIndex: 4, term: 2)])
    }

    @Test func compactionGoesInSlicesAndKeepsTheRest() throws {
        do {
            let store = try open(new: true)
            try append(store, (1...50).map { entry(Index($0), $0 <= 30 ? 1 : 2) }, term: 2)
            var slices = 1
            while try store.compact(to: 40, rowsMax: 7) { slices += 1 }
            #expect(slices == 6)
        }
        let store = try open()
        #expect(store.loaded().baseIndex == 40)
        #expect(store.loaded().baseTerm == 2)
        #expect(try store.entries(from: 41, through: 50, costMax: .max).count == 10)
        try store.reset(index: 100, term: 5)
        #expect(store.loaded().lastIndex == 100)
        #expect(try open2().loaded().baseIndex == 100)
    }

    /// Another opening of the same files; the exclusive lock of the first is gone with it.
    private func open2() throws -> LogStore {
        let copy = folder + "/copy"
        try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
        for name in ["log.db", "log.db-wal", "durable.mark"] {
            try? FileManager.default.copyItem(atPath: "\(folder)/\(name)", toPath: "\(copy)/\(name)")
        }
        return try LogStore(path: copy + "/log.db", markPath: copy + "/durable.mark", isNew: false)
    }

    @Test("One flipped bit anywhere in the write-ahead log is found: SQLite alone drops what follows it in silence")
    func flippedBitsInTheWriteAheadLog() throws {
        let store = try open(new: true)
        for n in 1...40 { try append(store, [entry(Index(n), 1, String(repeating: "x", count: 300))], term: 1) }
        let wal = [UInt8](try Data(contentsOf: URL(fileURLWithPath: log + "-wal")))
        var harmless = 0
        for place in stride(from: 40, to: wal.count, by: max(1, wal.count / 60)) {
            let copy = "\(folder)/flip-\(place)"
            try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
            for name in ["log.db", "durable.mark"] {
                try FileManager.default.copyItem(atPath: "\(folder)/\(name)", toPath: "\(copy)/\(name)")
            }
            var damaged = wal
            damaged[place] ^= 4
            try Data(damaged).write(to: URL(fileURLWithPath: copy + "/log.db-wal"))
            do throws(StorageError) {
                let opened = try LogStore(path: copy + "/log.db", markPath: copy + "/durable.mark", isNew: false)
                // Not found is allowed only where nothing is lost.
                #expect(try opened.entries(from: 1, through: 40, costMax: .max).count == 40)
                harmless += 1
            } catch {
                guard case .damaged = error else { throw error }
            }
        }
        #expect(harmless < 10)
    }

    @Test("A flipped bit in the name of a column is damage")
    func damagedSchema() throws {
        do { try append(open(new: true), [entry(1, 1)], term: 1) }
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: log)))
        let name = Array("term INTEGER".utf8)
        guard let place = bytes.indices.first(where: { bytes[$0...].starts(with: name) }) else {
            Issue.record("there is no such column")
            return
        }
        bytes[place] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: log))
        let error = #expect(throws: StorageError.self) { try open() }
        if case .damaged? = error {} else { Issue.record("it is \(String(describing: error))") }
    }

    @Test("A tail that was replaced by another as long and then lost is missed")
    func lostReplacement() throws {
        do {
            let store = try open(new: true)
            try append(store, (1...10).map { entry(Index($0), 1) }, term: 1)
            try store.append(nil, hardState: HardState(term: 2, vote: 2, commit: 0))
        }
        let before = [UInt8](try Data(contentsOf: URL(fileURLWithPath: log)))
        do {
            let store = try open()
            try store.append(
                Ready.Append(firstIndex: 6, entries: (6...8).map { entry(Index($0), 2) }),
                hardState: HardState(term: 2, vote: 2, commit: 0))
            try store.syncMark()
        }
        #expect(throws: Never.self) { try open() }
        // The database as it was, with the vote: only the terms of the entries tell.
        try Data(before).write(to: URL(fileURLWithPath: log))
        try? FileManager.default.removeItem(atPath: log + "-wal")
        let known = try DurableMark(path: mark, mayCreate: false).value
        #expect(known.lastIndex == 8 && known.lastTerm == 2)
        #expect(throws: StorageError.self) { try open() }
    }

    @Test func aDamagedPayloadIsAnErrorAndNotServed() throws {
        do { try append(open(new: true), [entry(1, 1, "precious")], term: 1) }
        do {
            let other = try Connection(path: log, access: .readWrite)
            try other.execute("UPDATE entry SET payload=CAST('prEcious' AS BLOB)")
        }
        #expect(throws: StorageError.self) { try open() }
    }

    @Test func aTornMarkLeavesTheOtherSlot() throws {
        do {
            let store = try open(new: true)
            for n in 1...4 { try append(store, [entry(Index(n), 1)], term: 1) }
        }
        for slot in 0..<2 {
            var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: mark)))
            let intact = bytes
            for place in 0..<52 { bytes[slot * 4096 + place] = 0xee }
            try Data(bytes).write(to: URL(fileURLWithPath: mark))
            #expect(try DurableMark(path: mark, mayCreate: false).value.lastIndex >= 3)
            for place in 0..<52 { bytes[(1 - slot) * 4096 + place] = 0xee }
            try Data(bytes).write(to: URL(fileURLWithPath: mark))
            #expect(throws: StorageError.self) { try DurableMark(path: mark, mayCreate: false) }
            try Data(intact).write(to: URL(fileURLWithPath: mark))
        }
    }

    @Test func directoriesHaveOneOwnerAndOneUser() throws {
        let path = folder + "/data"
        let directory = try DataDirectory(path)
        #expect(throws: StorageError.self) { try DataDirectory(path) }
        #expect(try directory.identity() == nil)
        let identity = Identity(clusterID: 7, memberID: 9, name: "m1")
        try directory.beginFirstStart()
        try directory.finishFirstStart(identity)
        #expect(try directory.identity() == identity)
        var text = try String(contentsOfFile: path + "/identity", encoding: .utf8)
        text = text.replacingOccurrences(of: "member 9", with: "member 8")
        try text.write(toFile: path + "/identity", atomically: true, encoding: .utf8)
        #expect(throws: StorageError.self) { try directory.identity() }
    }

    @Test func aDirectoryThatLostItsIdentityIsNotEmptied() throws {
        let path = folder + "/lost"
        let directory = try DataDirectory(path)
        try directory.beginFirstStart()
        try directory.finishFirstStart(Identity(clusterID: 7, memberID: 9, name: "m1"))
        _ = FileManager.default.createFile(atPath: directory.logPath, contents: Data([1]))
        try FileManager.default.removeItem(atPath: path + "/identity")
        #expect(throws: StorageError.self) { try directory.identity() }
        #expect(FileManager.default.fileExists(atPath: directory.logPath))
    }

    @Test(
        "Only a write that found no space may be tried again: a sync that failed may have lost what was written before")
    func fullDisks() {
        for code in [ENOSPC, EDQUOT] {
            #expect(StorageError.system(operation: "write", path: "log.db-wal", errno: code).isFull)
            #expect(!StorageError.system(operation: "sync", path: "durable.mark", errno: code).isFull)
        }
        #expect(!StorageError.system(operation: "write", path: "log.db-wal", errno: EIO).isFull)
    }
}
