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

    /// Has the free pages of `kv.db` given back to the file system, bit by bit.
    package func defragment() { core.checkpoints.post(.defragment) }

    // MARK: - Admission

    /// Part of the quota from which on puts are slowed down.
    private static let slowShare = 0.9
    private static let delayMillisecondsMax = 200.0

    /// Refuses what would only be refused by all, and slows down who fills the last of the quota.
    func admit(_ command: Command) async throws(ServerError) {
        if let refusal = command.refusal(under: alarms) { throw .refused(refusal) }
        guard command.addsKeys else { return }
        let share = Double(storedBytes) / Double(quotaBytes)
        guard share <= 1 else { throw .refused(.noSpace) }
        guard share > Self.slowShare else { return }
        let delay = Self.delayMillisecondsMax * (share - Self.slowShare) / (1 - Self.slowShare)
        try? await Task.sleep(for: .milliseconds(delay))
    }
}
