/// Known ways to get this wrong, for showing that the simulator finds them. They exist only in builds with the flag
/// WEFT_MISTAKES (`scripts/sim`, for `--planted`); elsewhere `makes` is false for every one of them.
package enum Mistake: String, CaseIterable, Sendable {
    // Elections
    case votesBeforeSync, forgetsVotes, asksForVotesBeforeOwnIsSaved, votesForShorterLogs, countsVotesTwice
    // Replication
    case acknowledgesBeforeSync, commitsOlderTermsByCounting, ignoresPreviousTerm, commitsBeyondWhatIsShared
    case believesOldAcknowledgements, appliesBeforeSync
    // Membership
    case countsLearners, changesBeforeOwnTermIsCommitted, changesTwiceAtOnce, keepsCutConfigurations
    case keepsConfigurationAtSnapshot, needsOneMajorityOfTwo, leavesJointEarly, commitsInOneDomain
    case promotesBehindWitnesses
    // Reads
    case readsWithoutAsking, readsBeforeOwnTermIsCommitted, joinsReadsThatAreAsked
    case leasesOutliveHandover, countsLeasesFromAnswers, forgetsPromisesAtRestart, readsByStoppedClocks
    case keepsGateOpenWithoutLease, opensGateAtApplied
    // Requests
    case doesRequestsTwice, believesLateRefusals, proposesAgainAfterSnapshots, proposesAgainInSameTerm
    // Disk
    case neverSyncsLog, ignoresMark, leavesMarkTooHigh, trustsUnsyncedLog, neverSyncsDirectories
    case keepsDisagreeingLog, cutsLogBeforeCheckpoint, votesWithLostLog
    case goesOnAfterFailedSync
    // State
    case writesStateInTwoParts, prunesTooMuch, forgetsFrozenChanges, sendsDamagedImages, recoversWithoutLog
    case opensWhatLiesThere, raisesPastMembers
    // Rights
    case writesWithoutRights, believesOldRights, forgetsBranchNotTaken
    // Lanes
    case missesWhatEndsIt, endsBeforeAllIsWritten, readsHistoryBeforeItIsWritten, resumesWatchesOneLate
    case readsBeforeTheyAreApplied, installsOverALog, staysBehind
    case leavesWhatWaits
    // Lies
    case believesAnyEpoch, confirmsAnyRound, takesAnyConfiguration, commitsWhatLiarsSay

    /// What is done wrong.
    package var summary: String {
        switch self {
        case .votesBeforeSync: "answers RequestVote before the vote is on disk"
        case .forgetsVotes: "saves the term without the vote"
        case .asksForVotesBeforeOwnIsSaved: "a candidate asks for votes before its own is on disk"
        case .votesForShorterLogs: "votes for candidates whose log is behind"
        case .countsVotesTwice: "counts the same vote as often as it arrives"
        case .acknowledgesBeforeSync: "acknowledges entries before they are on disk"
        case .commitsOlderTermsByCounting: "commits entries of older terms by counting (P figure 8)"
        case .ignoresPreviousTerm: "takes entries without comparing the term before them"
        case .commitsBeyondWhatIsShared: "heartbeats carry the commit index to those whose logs may differ"
        case .believesOldAcknowledgements: "what was on its way to the disk counts though it was cut off since"
        case .appliesBeforeSync: "applies committed entries that are not on the own disk"
        case .countsLearners: "learners count in quorums"
        case .changesBeforeOwnTermIsCommitted: "changes the membership before an entry of the term is committed (2015)"
        case .changesTwiceAtOnce: "begins a change of the membership while another is not committed"
        case .keepsCutConfigurations: "keeps a configuration whose entry was cut off"
        case .keepsConfigurationAtSnapshot: "keeps its configuration when a snapshot brings another"
        case .needsOneMajorityOfTwo: "between two sets of voters needs the majority of the new one only"
        case .leavesJointEarly: "drops the old set of voters before both have agreed to it"
        case .commitsInOneDomain: "commits what only one domain has, where two are asked for"
        case .writesWithoutRights: "rights are looked at where something is asked for, and not where it is applied"
        case .believesOldRights: "an author's rights count as of when they asked"
        case .forgetsBranchNotTaken: "of a txn only one branch needs rights"
        case .promotesBehindWitnesses: "a newcomer takes a voter's place before it has what a witness cut off"
        case .readsWithoutAsking: "a leader answers reads without asking if it still leads"
        case .readsBeforeOwnTermIsCommitted: "a new leader answers reads by a commit index that may be old"
        case .joinsReadsThatAreAsked: "a read takes the answer to a question that was asked before it"
        case .leasesOutliveHandover: "a leader that told another to campaign still trusts its lease"
        case .countsLeasesFromAnswers: "a lease runs from when the answer came, not from when the heartbeat left"
        case .forgetsPromisesAtRestart: "after a restart a follower is not bound by what it promised its leader"
        case .readsByStoppedClocks: "reads are answered by leases where clocks stand still"
        case .keepsGateOpenWithoutLease: "other threads answer reads by a lease that consensus has given up"
        case .opensGateAtApplied: "other threads answer reads of what is applied, though more is committed"
        case .doesRequestsTwice: "a request that the network delivers twice is done twice"
        case .believesLateRefusals: "a late refusal of an earlier attempt has a request proposed once more"
        case .proposesAgainAfterSnapshots: "proposes again what a snapshot may hold"
        case .proposesAgainInSameTerm: "proposes again what the same leader may still commit"
        case .neverSyncsLog: "the log is never synced"
        case .ignoresMark: "a log that ends before the durable mark is taken for whole"
        case .leavesMarkTooHigh: "cuts the log's tail without lowering the mark first"
        case .trustsUnsyncedLog: "builds on what an earlier process wrote and never synced"
        case .neverSyncsDirectories: "names are never synced"
        case .keepsDisagreeingLog: "keeps a log that ends before the installed state"
        case .cutsLogBeforeCheckpoint: "cuts the log past what the state has on disk"
        case .votesWithLostLog: "a member that lost its log votes before it has it back"
        case .goesOnAfterFailedSync: "a sync that fails while the disk is full is tried again"
        case .writesStateInTwoParts: "writes the applied index before the changes, in a transaction of its own"
        case .prunesTooMuch: "compaction removes the newest revision it must keep"
        case .forgetsFrozenChanges: "frees changes from memory before they are in the file"
        case .recoversWithoutLog: "recovers what the survivor's state has, and leaves out what only its log has"
        case .raisesPastMembers: "the fabric's version rises though a member runs a release that does not know it"
        case .believesAnyEpoch: "takes a log's epoch for lost though later answers disprove it"
        case .confirmsAnyRound: "a round of heartbeats that was never sent confirms reads"
        case .takesAnyConfiguration: "takes up a configuration that cannot follow the one before it"
        case .commitsWhatLiarsSay: "commits its whole log when a heartbeat speaks of more than that"
        case .endsBeforeAllIsWritten: "a stop writes what was set aside, and not what was applied since"
        case .resumesWatchesOneLate: "a watch that found no room goes on behind the change that it was to hear of"
        case .readsBeforeTheyAreApplied: "reads go on before the state has what was committed when they were asked"
        case .installsOverALog: "an image takes the place of a file whose write-ahead log is still there"
        case .staysBehind: "a member that had too much to apply is handed nothing any more when that is done"
        case .leavesWhatWaits: "what waits for memory to be applied is left there when there is some"
        case .missesWhatEndsIt: "a lane that is told to end no longer looks at what it waits for"
        case .readsHistoryBeforeItIsWritten:
            "a watch that skipped changes looks for them in a file that has them not yet"
        case .opensWhatLiesThere: "a reader opens the file that a snapshot just put in place of its own"
        case .sendsDamagedImages: "sends and takes images without looking at their rows"
        }
    }

    #if WEFT_MISTAKES
        /// The one that is made. Set before anything runs.
        nonisolated(unsafe) package static var made: Mistake?
    #endif
}

/// If this build makes a mistake; never, but in the simulator's test of itself.
@inline(__always)
package func makes(_ mistake: Mistake) -> Bool {
    #if WEFT_MISTAKES
        return Mistake.made == mistake
    #else
        return false
    #endif
}
