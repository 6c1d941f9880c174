/// The kinds of fault that a run can have; each seed draws which.
package enum Fault: String, CaseIterable, Sendable {
    // Network
    case loss, delay, reorder, duplicate, replay
    case oneWayPartition = "one-way-partition"
    case partition, reset, corrupt, truncate
    case lie
    // Disk
    case powerCut = "power-cut"
    case torn
    case readError = "read-error"
    case bitFlip = "bit-flip"
    case misdirectedWrite = "misdirected-write"
    case lostWrite = "lost-write"
    case lostTail = "lost-tail"
    case stall
    case noSpace = "no-space"
    case syncFailure = "sync-failure"
    // Clock
    case drift, freeze
    // Process
    case crash, stop
    case quickRestart = "quick-restart"
    case pause, wipe
    // Control
    case membership, transfer, compaction
    case busySnapshots = "busy-snapshots"
    case rivalChanges = "rival-changes"
    case newVoter = "new-voter"
    case overtaking
    case recovery, overload, upgrade

    package var layer: String {
        switch self {
        case .loss, .delay, .reorder, .duplicate, .replay, .oneWayPartition, .partition, .reset, .corrupt, .truncate,
            .lie:
            "network"
        case .powerCut, .torn, .readError, .bitFlip, .misdirectedWrite, .lostWrite, .lostTail, .stall, .noSpace,
            .syncFailure:
            "disk"
        case .drift, .freeze: "clock"
        case .crash, .stop, .quickRestart, .pause, .wipe: "process"
        case .membership, .transfer, .compaction, .busySnapshots, .rivalChanges, .newVoter, .overtaking, .recovery,
            .overload, .upgrade:
            "control"
        }
    }

    package var summary: String {
        switch self {
        case .loss: "messages of a directed link are lost"
        case .delay: "messages take up to 500 ms, some many seconds"
        case .reorder: "messages overtake each other"
        case .duplicate: "messages arrive twice"
        case .replay: "messages arrive once more, up to a minute later"
        case .oneWayPartition: "nothing arrives over some directed links"
        case .partition: "the members fall into groups that do not reach each other"
        case .reset: "connections break: what is under way is lost, what was not sent comes back"
        case .corrupt: "bytes of frames change under way"
        case .truncate: "frames are cut off under way"
        case .lie: "somebody sends messages in members' names that none of them would send"
        case .powerCut:
            "a machine loses power: any subset of its unsynced 512 B or 4 KiB blocks and a tail of its unsynced directory changes is lost"
        case .torn: "a process dies, or power fails, in the middle of a write, a sync, a truncation or a rename"
        case .readError: "a read of the disk fails"
        case .bitFlip: "a bit of a file changes"
        case .misdirectedWrite: "a write goes to another place of its file"
        case .lostWrite: "a write is reported done and is not: the page stays stale"
        case .lostTail: "the end of a log is damaged while those who have it, too, are out of reach and others lag"
        case .stall: "the disk does nothing for up to 10 s"
        case .noSpace: "the disk is full for a while, from any write on"
        case .syncFailure: "a sync fails once, and the next succeeds with pages lost"
        case .drift: "clocks run up to 5 % fast or slow"
        case .freeze: "a clock stands still for a while; it never goes back"
        case .crash: "a process is killed"
        case .stop: "a process is told to stop, and ends in order"
        case .quickRestart:
            "a process is killed and back at once, while another hears no leader and the leader is cut off"
        case .pause: "a process stands still for up to 60 s"
        case .wipe: "a machine loses its disk and comes back as a new member"
        case .membership: "members and learners are added, promoted, removed and replaced under load"
        case .transfer: "the lead is handed over"
        case .compaction: "old revisions are compacted away"
        case .rivalChanges: "two leaders each remove a voter and find half of the others, or one is to remove two"
        case .newVoter: "a newcomer gets its vote beside a witness, hears nothing more, and the leader is lost"
        case .overtaking: "a leader tells the others of an entry that is about to be replaced, and is cut off"
        case .recovery: "all members are lost but one, and the fabric goes on from that one's disk"
        case .overload: "a member is asked for more than it can apply and write, and is slow at it"
        case .upgrade: "members of two releases make up the fabric; some go back, and the version rises in the end"
        case .busySnapshots: "logs are cut so early that snapshots are sent all the time"
        }
    }

    /// If it takes away what a member was promised to keep: only fewer than half of the voters may suffer it at a time.
    var isDamage: Bool {
        switch self {
        case .bitFlip, .misdirectedWrite, .lostWrite, .lostTail, .wipe: true
        default: false
        }
    }
}
