internal import Bytes

/// Time: what followers promise and leaders build on, and how both follow the measured round trips.
extension Raft {
    // MARK: - Leases (D 6.4.1)

    /// A follower that heard its leader elects nobody for half of what the settings say, and for all of it where round trips are
    /// long, by its own clock; also after a restart, when it does not know whom it heard. Only a leader that hands over may
    /// ask for less. Answers the milliseconds.
    mutating func promise() -> UInt32 {
        let isSlow = electionTicks > settings.electionTicks
        let ticks = isSlow ? settings.electionTicks : (settings.electionTicks + 1) / 2
        let milliseconds = min(ticks * settings.tickMilliseconds, Settings.promiseMillisecondsMax)
        promisedUntil = max(promisedUntil, now + UInt64(milliseconds) * 1_000_000)
        return UInt32(milliseconds)
    }

    /// There is nobody to have promised anything to, nor will there be because an entry is cut off.
    private var isSurelyAlone: Bool {
        configuration.voters == [id] && !configuration.isJoint && configurationIndex <= commit
    }

    var isBoundByPromise: Bool {
        now < promisedUntil && !isSurelyAlone
    }

    /// What a promise is worth by the leader's clock, which may run slow while the follower's runs fast.
    func leaseNanoseconds(ofPromise milliseconds: UInt32) -> UInt64 {
        let share = (1 - Settings.clockDriftMax) / (1 + Settings.clockDriftMax)
        return UInt64(Double(milliseconds) * 1_000_000 * share)
    }

    /// If nobody else can have been elected by now.
    var hasLease: Bool { now < leaseUntil }

    /// Until when, by its own clock, a leader knows that nobody else is elected: the promises of a quorum, counted from when the
    /// heartbeats they answer were sent. 0 if it knows no such time. Without the only voter nobody is elected: it says so for an
    /// election timeout at a time, so that one that hangs is noticed.
    package var leaseUntil: UInt64 {
        guard let current = leadership, hasCommittedInTerm else { return 0 }
        if isSurelyAlone { return now + UInt64(electionMilliseconds) * 1_000_000 }
        guard configuration.policy.readsByLease else { return 0 }
        guard current.transferTarget == nil && !current.hasGivenUpLeases || makes(.leasesOutliveHandover) else {
            return 0
        }
        return configuration.reachedByQuorum { voter in
            voter == id ? .max : current.progress(of: voter)?.boundUntil ?? 0
        }
    }

    // MARK: - Adaptive timing

    /// A heartbeat and its answer fit into an election timeout so many times.
    private static var roundTripsPerElection: UInt64 { 3 }
    static func electionTicksMax(_ settings: Settings) -> Int {
        max(settings.electionTicks, 8000 / max(settings.tickMilliseconds, 1))
    }

    var electionMilliseconds: UInt32 { UInt32(electionTicks * settings.tickMilliseconds) }

    /// The leader's part: no quorum that answers may be taken for dead between two answers.
    mutating func adaptElectionTicks() {
        guard let current = leadership else { return }
        // The quorum that answers fastest counts: one member that stood still for a while slows nobody down.
        let slowness =
            UInt64.max
            - configuration.reachedByQuorum { voter in
                .max - (voter == id ? 0 : current.progress(of: voter)?.roundTrip.bound ?? 0)
            }
        let tick = UInt64(settings.tickMilliseconds) * 1_000_000
        let needed = Int((Self.roundTripsPerElection * slowness + tick - 1) / tick)
        let wanted = min(max(settings.electionTicks, needed), Self.electionTicksMax(settings))
        // Up at once, down by and by.
        electionTicks = wanted >= electionTicks ? wanted : max(wanted, electionTicks * 3 / 4)
    }

    /// A follower's part: what the leader says.
    mutating func adopt(electionMilliseconds: UInt32) {
        guard electionMilliseconds > 0, settings.tickMilliseconds > 0 else { return }
        let ticks = Int(electionMilliseconds) / settings.tickMilliseconds
        let bounded = min(max(ticks, settings.electionTicks), Self.electionTicksMax(settings))
        guard bounded != electionTicks else { return }
        electionTicks = bounded
        let elapsed = electionElapsed
        resetElectionTimer()
        electionElapsed = elapsed
    }
}
