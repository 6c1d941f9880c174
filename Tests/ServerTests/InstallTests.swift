import Foundation
import MVCC
import Raft
import Replication
import Storage
import Testing

@testable import Server

@Suite struct InstallTests {
    private static let key = Array("k".utf8)
    private static var request: RangeRequest {
        var request = RangeRequest(range: KeyRange(start: key, end: .single))
        request.serializable = true
        return request
    }

    private func put(_ value: UInt8, _ member: RunningMember) async throws {
        _ = try await member.propose(.put(PutRequest(key: Self.key, value: [value])))
        member.core.mail.apply.post(.freeze)
        let directory = member.core.directory
        while try StateReader(path: directory.statePath, cacheBytes: 64 << 10).meta().revision < member.revision {
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    @Test("Between the new file and its state the old state is read, on loops and by reader threads, without waiting")
    func readsDuringAnInstall() async throws {
        let fabric = try RunningFabric()
        let (member, core) = (fabric.member, fabric.member.core)
        try await put(1, member)
        let image = try SnapshotImage(
            of: core.directory, core.marks, appliedIndex: core.view.appliedIndex, isForWitness: false)
        try SnapshotImage.receive(image.path, is: image.header.mark, of: member.clusterID)
        try await put(2, member)
        let onLoop = member.makePointReader()
        let opened = Rendezvous<Void>()
        core.mail.checkpoint.post(.replaceState(by: image.path) { opened.fulfil(()) })
        opened.wait()
        // The apply lane publishes nothing of it: this is how long the moment lasts.
        #expect(try onLoop.ranges([Self.request])[0].get().0.pairs.first?.value == [2])
        for _ in 0..<2 * core.serverSettings.readerThreads {
            #expect(try await member.range(Self.request).0.pairs.first?.value == [2])
        }
        fabric.stop()
    }
}
