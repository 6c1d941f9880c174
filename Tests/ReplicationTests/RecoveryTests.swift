import Foundation
import Logging
import MVCC
import Raft
import SQLite
import Storage
import Testing

@testable import Replication

@Suite struct RecoveryTests {
    private let folder = NSTemporaryDirectory() + "weft-recovery-\(UUID().uuidString)"
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    init() throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    private func member(_ id: NodeID) -> Member { Member(id: id, role: .voter, peerURLs: ["http://m\(id)"]) }

    /// Member 1 of three with a log that it has not applied yet.
    private func makeSurvivor(_ proposals: [Proposal]) throws -> (DataDirectory, Identity) {
        let identity = Identity(clusterID: 1, memberID: 1, name: "survivor")
        let directory = try DataDirectory(folder + "/old")
        let disk = try MemberDisk(
            directory, identity: identity, founding: Configuration([1, 2, 3].map(member)), mayRepair: false,
            logger: logger)
        try directory.finishFirstStart(identity)
        let first = MemberDisk.foundingIndex + 1
        let entries = proposals.enumerated().map { Entry(index: first + Index($0), term: 2, proposal: $1) }
        try disk.log.append(
            Ready.Append(firstIndex: first, entries: entries), hardState: HardState(term: 2, commit: first))
        return (directory, identity)
    }

    private func command(_ command: Command) -> Proposal {
        Proposal(id: 1, kind: .command, payload: CommandEnvelope.encode(command, requestID: 1))
    }

    @Test("The alarm of a member that is removed in the log refuses no put that follows in it (found by the simulator)")
    func removalInTheLog() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let removal = ConfigurationEntry(requestID: 2, configuration: Configuration([1, 2].map(member)))
        let (source, identity) = try makeSurvivor([
            command(.raiseAlarm(Alarm(memberID: 3, kind: .noSpace))),
            Proposal(id: 2, kind: .configuration, payload: removal.encoded()),
            command(.put(PutRequest(key: Array("k".utf8), value: Array("v".utf8)))),
        ])
        let findings = try Recovery.inspect(source, identity, logger: logger)
        #expect(findings.lastIndex == MemberDisk.foundingIndex + 3)
        let rebuilt = try Recovery.rebuild(
            from: source, findings, as: Identity(clusterID: 2, memberID: 4, name: "survivor"),
            founding: Configuration([member(4)]), into: try DataDirectory(folder + "/new"), at: 0, by: "me",
            revisionBump: 100, logger: logger)
        #expect(rebuilt.keys == 1)
        #expect(rebuilt.revision == 102)
    }

    @Test("What this release does not know is not left out of what is recovered", arguments: [true, false])
    func unknownInTheLog(isCommand: Bool) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let later = FabricVersion.supported.upperBound + 1
        let release = MemberAttributes.Release(name: "later", versions: 1...later)
        let said = [1, 2, 3].map {
            command(.publish(memberID: $0, MemberAttributes(name: "m", clientURLs: [], release: release)))
        }
        let unknown = Proposal(id: 1, kind: .command, payload: [UInt8](repeating: 0, count: 8) + [250])
        let (source, identity) = try makeSurvivor(
            isCommand ? [unknown] : said + [command(.raiseVersion(later))])
        let findings = try Recovery.inspect(source, identity, logger: logger)
        let error = #expect(throws: StorageError.self) {
            try Recovery.rebuild(
                from: source, findings, as: Identity(clusterID: 2, memberID: 4, name: "survivor"),
                founding: Configuration([member(4)]), into: try DataDirectory(folder + "/new"), at: 0, by: "me",
                revisionBump: 100, logger: logger)
        }
        #expect(error.map { "\($0)" }?.contains("does not know") == true)
    }

    @Test("A version that the members refused, or were past, is none when they are recovered", arguments: [0, .max])
    func refusedVersionInTheLog(version: UInt64) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (source, identity) = try makeSurvivor([
            command(.raiseVersion(version)), command(.put(PutRequest(key: [1], value: [1]))),
        ])
        let findings = try Recovery.inspect(source, identity, logger: logger)
        let fresh = Identity(clusterID: 2, memberID: 4, name: "survivor")
        let target = try DataDirectory(folder + "/new")
        let rebuilt = try Recovery.rebuild(
            from: source, findings, as: fresh, founding: Configuration([member(4)]), into: target, at: 0, by: "me",
            revisionBump: 100, logger: logger)
        #expect(rebuilt.keys == 1)
        let disk = try MemberDisk(target, identity: fresh, founding: nil, mayRepair: false, logger: logger)
        #expect(disk.store.meta.version == FabricVersion.supported.upperBound)
    }

    @Test(
        "What can be read of a log that was set aside is recovered, up to what is damaged in it", arguments: [5, 6, 99])
    func logThatWasSetAside(harmed: Int) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (source, identity) = try makeSurvivor(
            (0..<6).map { command(.put(PutRequest(key: [UInt8($0)], value: [1]))) })
        do {
            let connection = try Connection(path: source.logPath, access: .readWrite)
            try connection.execute("UPDATE entry SET payload=x'00' WHERE idx=\(harmed)")
        }
        // Whatever was wrong with it, the member that has others begins a new one.
        try source.note(.damaged(path: source.logPath, reason: "a test says so"))
        _ = try MemberDisk(source, identity: identity, founding: nil, mayRepair: true, logger: logger)
        for _ in 0..<2 {
            let findings = try Recovery.inspect(source, identity, logger: logger)
            let kept = harmed == 99 ? 6 : harmed - 2
            #expect(findings.lacksLog && findings.mayLackWrites)
            #expect(findings.salvaged == kept)
            #expect(findings.lastIndex == MemberDisk.foundingIndex + Index(kept))
            try? FileManager.default.removeItem(atPath: folder + "/new")
            let rebuilt = try Recovery.rebuild(
                from: source, findings, as: Identity(clusterID: 2, memberID: 4, name: "survivor"),
                founding: Configuration([member(4)]), into: try DataDirectory(folder + "/new"), at: 0, by: "me",
                revisionBump: 100, logger: logger)
            #expect(rebuilt.keys == Int64(kept))
        }
    }

    @Test(
        "A log that is damaged while it is made good takes nothing from the one before it",
        arguments: [(2, true), (9, true), (9, false)])
    func logThatWasSetAsideTwice(later: Int, isWhole: Bool) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let proposals = (0..<9).map { command(.put(PutRequest(key: [UInt8($0)], value: [1]))) }
        let (source, identity) = try makeSurvivor(Array(proposals.prefix(6)))
        let open = { try MemberDisk(source, identity: identity, founding: nil, mayRepair: true, logger: logger) }
        try source.note(.damaged(path: source.logPath, reason: "a test says so"))
        do {
            let disk = try open()
            let first = MemberDisk.foundingIndex + 1
            let entries = proposals.prefix(later).enumerated().map {
                Entry(index: first + Index($0), term: 2, proposal: $1)
            }
            try disk.log.append(
                Ready.Append(firstIndex: first, entries: entries), hardState: HardState(term: 2, commit: first))
        }
        try source.note(.damaged(path: source.logPath, reason: "a test says so again"))
        if !isWhole {
            // As a crash leaves it between the two renames: the write-ahead log still has its first name.
            try FileManager.default.moveItem(atPath: source.logPath, toPath: source.logPath + ".damaged-again")
            try Data().write(to: URL(fileURLWithPath: source.logPath + "-wal"))
        }
        _ = try open()
        #expect(FileManager.default.fileExists(atPath: source.logPath + "-wal.damaged-again") || isWhole)
        #expect(try Recovery.inspect(source, identity, logger: logger).salvaged == max(6, later))
        // A crash while the new log is made, and one after that: neither takes the place of one that has something.
        for text in [nil, "half-made"] {
            if let text { try Data(text.utf8).write(to: URL(fileURLWithPath: source.logPath)) }
            try source.note(.damaged(path: source.logPath, reason: "a crash came before that was forgotten"))
            _ = try open()
            #expect(try Recovery.inspect(source, identity, logger: logger).salvaged == max(6, later))
        }
    }

    @Test("A log that was made good lends nothing to the next one that is set aside")
    func leftOver() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (source, identity) = try makeSurvivor([command(.put(PutRequest(key: [1], value: [1])))])
        do {
            let connection = try Connection(path: source.logPath, access: .readWrite)
            try connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        }
        try? FileManager.default.removeItem(atPath: source.logPath + "-wal")
        // A crash cut short the removal of another.
        let other = folder + "/other.db"
        try withExtendedLifetime(LogStore(path: other, markPath: folder + "/other.mark", isNew: true)) { _ in
            for suffix in ["", "-wal"] {
                try FileManager.default.copyItem(atPath: other + suffix, toPath: source.logPath + suffix + ".damaged")
            }
        }
        try source.note(.damaged(path: source.logPath, reason: "a test says so"))
        _ = try MemberDisk(source, identity: identity, founding: nil, mayRepair: true, logger: logger)
        #expect(try Recovery.inspect(source, identity, logger: logger).salvaged == 1)
    }

    @Test("A log that was set aside and cannot be copied is not passed over in silence")
    func noRoomForACopy() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (source, identity) = try makeSurvivor([command(.put(PutRequest(key: [1], value: [1])))])
        try source.note(.damaged(path: source.logPath, reason: "a test says so"))
        _ = try MemberDisk(source, identity: identity, founding: nil, mayRepair: true, logger: logger)
        let inTheWay = source.logPath + ".salvage"
        try FileManager.default.createDirectory(atPath: inTheWay, withIntermediateDirectories: true)
        let error = #expect(throws: StorageError.self) { try Recovery.inspect(source, identity, logger: logger) }
        #expect(error?.description.contains(inTheWay) == true)
        try FileManager.default.removeItem(atPath: inTheWay)
        #expect(try Recovery.inspect(source, identity, logger: logger).salvaged == 1)
    }
}
