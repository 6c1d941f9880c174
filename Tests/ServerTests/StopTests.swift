import MVCC
import Replication
import Storage
import Testing

@testable import Server

@Suite struct StopTests {
    @Test("What writes the rest may come in one batch with the order to end", arguments: 0..<8)
    func stopsDuringACheckpoint(_ round: Int) async throws {
        let fabric = try RunningFabric()
        for number in 0..<20 {
            _ = try await fabric.member.propose(.put(PutRequest(key: [1, UInt8(number)], value: [UInt8(round)])))
            fabric.member.core.mail.apply.post(.freeze)
        }
        fabric.stop(quickly: false)
    }

    @Test("A stop ends that comes before what it waits for, in one batch")
    func stopsInOneBatch() async throws {
        let fabric = try RunningFabric()
        let apply = fabric.member.core.mail.apply
        _ = try await fabric.member.propose(.put(PutRequest(key: [1], value: [1])))
        let (mayGoOn, ended) = (Mailbox<Void>(), Mailbox<Void>())
        // The lane sets a checkpoint on its way, and stands still until that has been written.
        apply.post(.freeze)
        apply.post(.reads([PendingRead(deadline: .max) { _ in _ = mayGoOn.takeOne() }], at: 0))
        apply.post(.stop(flush: true) { ended.post(()) })
        try await Task.sleep(for: .milliseconds(300))
        mayGoOn.post(())
        #expect(!ended.take(until: monotonicNanoseconds() + 20_000_000_000).isEmpty)
        fabric.stop()
    }

    @Test("A defragmentation of an idle member ends")
    func defragmentsIdly() async throws {
        let fabric = try RunningFabric()
        let core = fabric.member.core
        let reader = try StateReader(path: core.directory.statePath, cacheBytes: 64 << 10)
        core.mail.apply.post(.freeze)
        // Until nothing is left that another checkpoint would write.
        while try reader.meta().appliedIndex < core.view.appliedIndex { try await Task.sleep(for: .milliseconds(5)) }
        try await Task.sleep(for: .milliseconds(100))
        let ended = Mailbox<Void>()
        core.mail.checkpoint.post(.defragment(until: .max) { ended.post(()) })
        #expect(!ended.take(until: monotonicNanoseconds() + 20_000_000_000).isEmpty)
        fabric.stop()
    }

    @Test("What comes with the order to stop, behind it, is refused")
    func stopsBeforeTheRest() async throws {
        let fabric = try RunningFabric()
        let core = fabric.member.core
        let refused = Mailbox<Void>()
        let stream = WatchStream(requiresLeader: false)
        var (watches, images) = (
            WatchLane(shell: core, revision: 1, compactRevision: 0, progressNanoseconds: 1), SnapshotLane(shell: core)
        )
        let request = WatchRequest(range: KeyRange(prefix: []))
        #expect(try !watches.handle([.stop, .create(request, stream, revision: 1)]))
        #expect(throws: WatchEnd.stopping) { try stream.take() }
        #expect(try !images.handle([.stop, .backup("nowhere") { _ in refused.post(()) }]))
        #expect(refused.takeOne() != nil)
        fabric.stop()
    }

    @Test("Whoever asks of a member that has ended is told so")
    func asksTooLate() async throws {
        let fabric = try RunningFabric()
        let core = fabric.member.core
        // A leader that is stopped within its lease would still be right, but nothing may come after the end.
        for _ in 0..<2000 where !core.isCurrent { try await Task.sleep(for: .milliseconds(5)) }
        #expect(core.isCurrent)
        fabric.stop(quickly: true)
        let late = Mailbox<ServerError?>()
        RunningMember.whenCurrent(core, .max) { late.post($0) }
        #expect(late.takeOne() == .stopping)
        #expect(!core.readers.submit(.short) { _, _ in })
        #expect(!core.mail.apply.post(.freeze))
    }
}
