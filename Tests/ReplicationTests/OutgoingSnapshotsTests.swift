import Foundation
import Logging
import MVCC
import Raft
import Storage
import Testing

@testable import Replication

@Suite struct OutgoingSnapshotsTests {
    private static let voter = Member(id: 2, role: .voter, peerURLs: ["http://a"], priority: 100)
    private static let witness = Member(id: 9, role: .joiningWitness, peerURLs: ["http://b"], priority: 100)

    @Test("Whoever is leaving gets no image: only the configuration tells that it is a witness (seed 5000180)")
    func leavingWitness() throws {
        let folder = NSTemporaryDirectory() + "weft-images-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let directory = try DataDirectory(folder)
        let whole = Configuration([Self.voter, Self.witness])
        let disk = try MemberDisk(
            directory, identity: Identity(clusterID: 1, memberID: 2, name: "m"), founding: whole, mayRepair: false,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        var outgoing = OutgoingSnapshots()
        func image(in configuration: Configuration) throws -> SnapshotImage? {
            try outgoing.begin(
                for: 9, in: configuration, of: directory, disk.marks, appliedIndex: disk.store.meta.appliedIndex,
                firstIndex: 1)
        }
        #expect(try image(in: whole)?.path.isEmpty == false)
        try outgoing.end(for: 9)
        #expect(try image(in: Configuration([Self.voter])) == nil)
        var keeper = Self.witness
        keeper.role = .joining
        #expect(try image(in: Configuration([Self.voter, keeper])) == nil)
    }
}
