internal import MVCC

/// Watches how much this member stores: raises its alarm when that is too much, and lowers it when there is room again.
package struct QuotaKeeper {
    private static let retryNanoseconds: UInt64 = 2_000_000_000
    /// Room is made in good part before puts are let in again.
    package static let enough = 0.9

    private let memberID: UInt64
    private let quotaBytes: Int64
    private var quietUntil: UInt64 = 0
    private var wasRaised = false

    init(memberID: UInt64, quotaBytes: Int64) {
        self.memberID = memberID
        self.quotaBytes = quotaBytes
    }

    /// What to propose now.
    mutating func tick(now: UInt64, bytes: Int64, alarms: [Alarm]) -> Command? {
        let own = alarms.first { $0.memberID == memberID && $0.kind == .noSpace }
        // What was proposed has come about: the next need not wait.
        if (own != nil) != wasRaised { quietUntil = 0 }
        wasRaised = own != nil
        let isOver = bytes > quotaBytes && own == nil
        let isUnder = own?.isAutomatic == true && Double(bytes) < Self.enough * Double(quotaBytes)
        guard now >= quietUntil, isOver || isUnder else { return nil }
        quietUntil = now + Self.retryNanoseconds
        return isOver
            ? .raiseAlarm(Alarm(memberID: memberID, kind: .noSpace, isAutomatic: true))
            : .lowerAlarm(.noSpace, memberID: memberID)
    }
}
