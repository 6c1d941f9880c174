internal import Access
internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// etcd's Maintenance service.
enum Maintenance {
    struct Status: Operation {
        static var right: Right<Self> { .caller }

        struct Report: Sendable {
            var databaseBytes: Int64
            var databaseBytesInUse: Int64
            var quotaBytes: Int64
            var leader: NodeID
            var term: Term
            var commit: Index
            var applied: Index
            var errors: [String]
            var isLearner: Bool
        }

        func run(at desk: Desk) async throws(APIError) -> Answered<Report> {
            let member = desk.member
            let (sizes, status) = (member.databaseSizes, member.status)
            return desk.answered(
                Report(
                    databaseBytes: sizes.total, databaseBytesInUse: sizes.inUse, quotaBytes: member.quotaBytes,
                    leader: status.leader ?? 0, term: status.term, commit: status.commit,
                    applied: member.appliedIndex, errors: Self.errors(of: member),
                    isLearner: !status.configuration.isVoter(member.id)))
        }

        private static func errors(of member: RunningMember) -> [String] {
            member.alarms.map { "memberID:\($0.memberID) alarm:\($0.kind.name) " }
                + (member.status.leader == nil ? ["etcdserver: no leader"] : [])
                + (member.isDiskFull ? ["weft: no space is left on this member's disk"] : [])
        }
    }

    /// Lists alarms, raises or lowers one.
    struct Alarms: Operation {
        static var right: Right<Self> {
            Right(hearing: .always) { asked, claim throws(AccessRefusal) in
                if asked.action == 0 { try claim.expectCaller() } else { try claim.expect(.operate) }
            }
        }

        /// etcd's number: get, activate, deactivate.
        var action: Int
        var memberID: UInt64
        /// Nil lists all, and changes nothing.
        var kind: Alarm.Kind?

        func run(at desk: Desk) async throws(APIError) -> Answered<[Alarm]> {
            desk.answered(try await alarms(desk))
        }

        private func alarms(_ desk: Desk) async throws(APIError) -> [Alarm] {
            switch (action, kind) {
            case (0, _):
                try await desk.ask { member throws(ServerError) in try await member.confirmCurrentDespiteAlarms() }
                return desk.member.alarms.filter { kind == nil || $0.kind == kind }
            case (1, let kind?): return try await change(.raise(Alarm(memberID: memberID, kind: kind)), desk)
            case (2, let kind?): return try await change(.lower(kind, memberID: memberID), desk)
            default: return []
            }
        }

        private func change(_ change: RunningMember.AlarmChange, _ desk: Desk) async throws(APIError) -> [Alarm] {
            try await desk.ask { member throws(ServerError) in try await member.change(change).0.map { [$0] } ?? [] }
        }
    }

    /// Its answer has no header.
    struct Defragment: Operation {
        static var right: Right<Self> { .operate }

        func run(at desk: Desk) async throws(APIError) { await desk.member.defragment() }
    }

    /// Runs over all that was ever changed.
    struct Hash: Operation {
        static var right: Right<Self> { .root }
        var tellsWhatIs: Bool { true }

        func run(at desk: Desk) async throws(APIError) -> Answered<UInt32> {
            desk.answered(UInt32(truncatingIfNeeded: desk.member.stateHash))
        }
    }

    struct HashKV: Operation {
        static var right: Right<Self> { .root }
        var tellsWhatIs: Bool { true }

        /// 0 is the latest.
        var revision: Int64

        func run(at desk: Desk) async throws(APIError) -> Answered<HistoryHash> {
            desk.answered(try await desk.ask { member throws(ServerError) in try await member.hashKV(at: revision) })
        }
    }

    struct MoveLeader: Operation {
        static var right: Right<Self> { .operate }

        var target: NodeID

        func run(at desk: Desk) async throws(APIError) -> Answered<Void> {
            try await desk.ask { member throws(ServerError) in try await member.transferLead(to: target) }
            return desk.answered(())
        }
    }

    /// There is no earlier version to go back to.
    struct Downgrade: Operation {
        static var right: Right<Self> { .root }

        /// etcd's number: validate, enable, cancel.
        var action: Int
        var version: String

        func run(at desk: Desk) async throws(APIError) -> Answered<Void> {
            if action == 2 { throw APIError(.failedPrecondition, "etcdserver: no inflight downgrade job") }
            let isVersion = version.split(separator: ".", omittingEmptySubsequences: false).count >= 2
            throw APIError(
                .invalidArgument,
                isVersion
                    ? "etcdserver: invalid downgrade target version"
                    : "etcdserver: wrong downgrade target version format")
        }
    }

    /// A backup, to be sent piece by piece.
    struct BackUp: Operation {
        static var right: Right<Self> { .root }
        var tellsWhatIs: Bool { true }

        func run(at desk: Desk) async throws(APIError) -> BackupPieces {
            let backup = try await desk.ask { member throws(ServerError) in try await member.backUp() }
            return BackupPieces(desk: desk, backup: backup)
        }
    }
}

struct BackupPieces: Sendable {
    fileprivate let desk: Desk
    fileprivate let backup: BackupStream

    /// Of the whole.
    var bytes: Int { backup.bytes }
    /// The store's revision.
    var revision: Int64 { desk.member.revision }

    /// The next piece, and how many bytes are left after it; nil at the end. Cut short, a backup lacks its digest and is none.
    func next() async throws(APIError) -> (piece: [UInt8], left: Int)? {
        try desk.expectRootStill()
        return try await desk.ask { _ throws(ServerError) in try await backup.next() }
    }
}

extension Alarm.Kind {
    /// By etcd's number.
    static let names = ["NONE", "NOSPACE", "CORRUPT"]
    var name: String { Self.names[Int(rawValue)] }
}
