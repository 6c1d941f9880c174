import Foundation
import Logging
import MVCC
import Raft
import SQLite
import Storage
import Testing

@testable import Replication

@Suite struct MemberDiskTests {
    private let folder = NSTemporaryDirectory() + "weft-disk-\(UUID().uuidString)"
    private let identity = Identity(clusterID: 1, memberID: 2, name: "m")

    private func open(mayRepair: Bool) throws -> MemberDisk {
        let directory = try DataDirectory(folder)
        let disk = try MemberDisk(
            directory, identity: identity,
            founding: Configuration([Member(id: 2, role: .voter, peerURLs: ["http://a"], priority: 100)]),
            mayRepair: mayRepair, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try directory.write(identity)
        return disk
    }

    @Test("Tables that do not fit their statements are damage, whatever wrote them (seed 41001161)")
    func misfit() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        _ = try open(mayRepair: false)
        // As a flip would in an image that came without checksums of its pages.
        let connection = try Connection(path: folder + "/kv.db", access: .readWrite)
        try connection.execute("ALTER TABLE start RENAME TO begun")
        _ = try connection.checkpoint(emptying: true)
        try FileManager.default.removeItem(atPath: folder + "/kv.db-sums")
        #expect(throws: StorageError.self) { try open(mayRepair: false) }
        #expect(try open(mayRepair: true).wasRepaired)
    }
}
