package import MVCC
package import Replication
internal import Synchronization

/// Alarms and the quota.
extension RunningMember {
    /// As of what is applied here.
    package var alarms: [Alarm] { core.view.alarms }

    /// Bytes of keys, values and history stored here.
    package var storedBytes: Int64 { core.storedBytes.load(ordering: .relaxed) }
    package var quotaBytes: Int64 { core.serverSettings.replication.quotaBytes }

    /// Answers the alarm; nil when one was to be lowered that is not raised.
    package func change(_ command: AlarmChange) async throws(ServerError) -> (Alarm?, Applied) {
        let applied =
            switch command {
            case .raise(let alarm): try await propose(.raiseAlarm(alarm))
            case .lower(let kind, let memberID): try await propose(.lowerAlarm(kind, memberID: memberID))
            }
        guard case .alarm(let alarm) = applied.result else { preconditionFailure("an alarm without its result") }
        return (alarm, applied)
    }

    package enum AlarmChange: Sendable {
        case raise(Alarm)
        case lower(Alarm.Kind, memberID: UInt64)
    }

    private static let defragmentSecondsMax: UInt64 = 30

    /// Has what was compacted removed and the free pages of `kv.db` given back to the file system, bit by bit. Returns when that
    /// is done and counted, or takes long: it goes on then.
    package func defragment() async {
        let limit = monotonicNanoseconds() + Self.defragmentSecondsMax * 1_000_000_000
        await withCheckedContinuation { continuation in
            // Behind what the checkpoint lane measured.
            let behind = { @Sendable [core] in
                let read = PendingRead(deadline: limit) { _ in continuation.resume() }
                if !core.mail.apply.post(.reads([read], at: 0)) { continuation.resume() }
            }
            if !core.mail.checkpoint.post(.defragment(until: limit, behind)) { behind() }
        }
        // With room again the member lowers its alarm by itself, at its next tick.
        for _ in 0..<Self.ticksMax where isAlarmOver { try? await Task.sleep(for: .milliseconds(20)) }
    }

    private static let ticksMax = 100

    private var isAlarmOver: Bool {
        alarms.contains { $0.memberID == id && $0.kind == .noSpace && $0.isAutomatic }
            && Double(storedBytes) < QuotaKeeper.enough * Double(quotaBytes)
    }

    // MARK: - Admission

    /// Part of the quota from which on puts are slowed down.
    private static let slowShare = 0.9
    private static let delayMillisecondsMax = 200.0
    /// Beyond the quota, for txns that replace small values: Kubernetes' compaction begins with such a one, and without it the
    /// quota could never be met again.
    private static let keptBack: Int64 = 1 << 20

    /// Refuses what would only be refused by all, and says by how many milliseconds to slow down who fills the last of the
    /// quota.
    func admit(_ command: Command) throws(ServerError) -> Double {
        let admission = core.admission
        guard !admission.isStopping else { throw .stopping }
        guard !admission.isWitness || command.isPublish else { throw .witness }
        // Who has room takes what makes some; the others may be in good health.
        guard !admission.isDiskFull || !command.addsKeys else { throw .noSpace }
        // Changes come faster than they can be written to `kv.db`.
        guard !admission.isBehind, !core.mail.apply.isFull else { throw .tooManyRequests }
        if command.mayReplaceSmallValues, storedBytes <= quotaBytes + Self.keptBack { return 0 }
        if let refusal = command.refusal(under: admission.alarms) { throw .refused(refusal) }
        guard command.addsKeys else { return 0 }
        let share = Double(storedBytes) / Double(quotaBytes)
        guard share <= 1 else { throw .refused(.noSpace) }
        guard share > Self.slowShare else { return 0 }
        return Self.delayMillisecondsMax * (share - Self.slowShare) / (1 - Self.slowShare)
    }
}
