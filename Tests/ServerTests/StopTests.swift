import MVCC
import Replication
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

    @Test("Whoever asks of a member that has ended is told so")
    func asksTooLate() async throws {
        let fabric = try RunningFabric()
        let core = fabric.member.core
        fabric.stop(quickly: true)
        let late = Mailbox<ServerError?>()
        RunningMember.whenCurrent(core, .max) { late.post($0) }
        #expect(late.takeOne() == .stopping)
        #expect(!core.readers.submit(.short) { _, _ in })
        #expect(!core.mail.apply.post(.freeze))
    }
}
