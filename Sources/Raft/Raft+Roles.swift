internal import Bytes

/// Changes of role, and time.
extension Raft {
    mutating func becomeFollower(term newTerm: Term, leader newLeader: NodeID?) {
        precondition(newTerm >= term, "term cannot go back from \(term) to \(newTerm)")
        if newTerm > term {
            termBound.noteTaken(newTerm, from: term)
            term = newTerm
            vote = nil
        }
        stepDown()
        role = .follower
        leader = newLeader
        wasSpared = false
        if newLeader != nil { isNeeded = false }
        resetElectionTimer()
    }

    mutating func becomePreCandidate() {
        role = .preCandidate
        votes = []
        leader = nil
        resetElectionTimer()
    }

    mutating func becomeCandidate() {
        precondition(role != .leader, "a leader cannot become a candidate")
        term += 1
        vote = id
        role = .candidate
        votes = []
        leader = nil
        resetElectionTimer()
    }

    mutating func becomeLeader() {
        precondition(role == .candidate, "only a candidate can become leader, not a \(role)")
        role = .leader
        leader = id
        electionElapsed = 0
        heartbeatElapsed = 0
        leadership = Leadership(firstIndex: log.lastIndex + 1)
        let inherited = log.entries(from: commit + 1, through: log.lastIndex, costMax: .max) ?? []
        leadership?.uncommittedBytes = inherited.reduce(0) { $0 + $1.payload.count }
        syncProgress()
        // An entry of the own term, so that those of earlier terms commit with it (P 5.4.2, 8).
        append([Entry(index: log.lastIndex + 1, term: term, proposal: Proposal(id: 0, kind: .empty, payload: []))])
    }

    /// Leaves a leadership, if there is one; reads that waited for its confirmation have none.
    private mutating func stepDown() {
        guard let ended = leadership else { return }
        leadership = nil
        for round in ended.rounds {
            ready.readsDropped += round.requests.filter { $0.from == id }.map(\.id)
        }
        ready.readsDropped += ended.unnumberedReads.filter { $0.from == id }.map(\.id)
    }

    /// Without word from a leader, a follower campaigns after the election timeout when it is its turn; after an election that came to
    /// nothing everybody does so after a random time (P 5.2).
    mutating func resetElectionTimer() {
        electionElapsed = 0
        heartbeatElapsed = 0
        let ticks = UInt64(max(electionTicks, 1))
        electionTimeoutTicks = Int(ticks) + (isInTurn ? 0 : Int(random.next() % ticks))
        neededTicks = .max
    }

    /// Members may not agree on whose turn it is, for they may have heard different leaders last: turns are for the first election.
    private var isInTurn: Bool { role == .follower && term == ledTerm }

    /// The leader's process seems to be gone: there may be an election as soon as what was promised to it is over, by the
    /// clocks of all. Whether the leader is gone indeed does not matter: if it speaks again, it is followed again.
    mutating func noteRefused(_ peer: NodeID) {
        guard role == .follower, leader == peer, installing == nil, settings.tickMilliseconds > 0 else { return }
        leader = nil
        let tick = UInt64(settings.tickMilliseconds) * 1_000_000
        let bound = Int((promisedUntil - min(promisedUntil, now) + tick - 1) / tick)
        electionTimeoutTicks = min(electionTimeoutTicks, electionElapsed + bound + 1)
    }

    /// A voter was asked for its vote by somebody who lacks entries that are here, when there might have been an election anyway. If
    /// the others do not suffice to that one, nobody can be elected without what is here: it does not wait until all others have tried.
    private mutating func noteNeeded(by candidate: NodeID) {
        isNeeded = true
        guard isInTurn, electionElapsed + 1 >= electionTimeoutTicks else { return }
        let wait = turn(without: [lastLeader, candidate]) * (electionTicks / 8 + 1)
        neededTicks = min(neededTicks, electionElapsed + max(wait, 1))
    }

    /// A follower lets those go first who had better lead, for as long as it takes them to ask and to be heard, so that no two ask
    /// for each other's votes at once. The last ones of a large configuration go together.
    private var isElectionDue: Bool {
        guard electionElapsed >= electionTimeoutTicks else { return false }
        guard isInTurn, electionElapsed < neededTicks else { return true }
        let wait = turn(without: [lastLeader]) * max(electionTicks / 4 + 1, 3)
        return electionElapsed >= electionTimeoutTicks + min(wait, 2 * electionTicks)
    }

    /// How many go before this member. Those where the last leader was go last: what took it may have taken its site. Else it is
    /// those with state before witnesses, and those of a higher priority before others.
    private func turn(without absent: [NodeID?]) -> Int {
        let site = lastLeader.flatMap { configuration[$0]?.domain } ?? ""
        func place(_ member: Member) -> (Int, Int, Int, NodeID) {
            let isNear = !site.isEmpty && member.domain == site
            return (isNear ? 1 : 0, member.isWitness ? 1 : 0, -Int(member.priority), member.id)
        }
        let everybody = configuration.everybody
        guard let own = everybody.first(where: { $0.id == id }).map(place) else { return everybody.count }
        return everybody.count { $0.isVoting && !absent.contains($0.id) && place($0) < own }
    }

    mutating func tick() {
        electionElapsed += 1
        tickLoss()
        termBound.tick(electionTicks: electionTicks)
        if role == .leader {
            tickLeader()
        } else if mayCampaign, installing == nil, isElectionDue, !isBoundByPromise {
            campaign(transfer: false)
        } else if role == .preCandidate, electionElapsed % max(electionTicks / 8, 1) == 0 {
            rehearse()
        } else if !mayCampaign, electionElapsed >= 2 * electionTicks {
            // Without a vote it can do nothing about a silent leader but stop to believe in it.
            leader = nil
        }
    }

    private mutating func tickLeader() {
        heartbeatElapsed += 1
        if electionElapsed >= electionTicks {
            electionElapsed = 0
            leadership?.endTransfer()
            checkQuorum()
            guard role == .leader else { return }
            adaptElectionTicks()
        }
        countTicks()
        handOver()
        if heartbeatElapsed >= settings.heartbeatTicks {
            heartbeatElapsed = 0
            broadcastHeartbeat()
        }
    }

    /// A leader that hears no majority is none (D 6.2): its clients go elsewhere.
    private mutating func checkQuorum() {
        guard let current = leadership else { return }
        let isHeard = configuration.isQuorum { $0 == id || current.progress(of: $0).map(isActive) == true }
        if !isHeard { becomeFollower(term: term, leader: nil) }
    }

    /// A voter may, and one whose removal is in its log but not known to be committed: with two members its log can be
    /// the longer one, so that the other could never be elected without it (D 4.2.2). So may one that has no vote by its own
    /// log but one by a candidate's that lacks entries it has: nobody else could be elected (seed 81000657).
    private var mayCampaign: Bool {
        if isRecovering || loss != nil, !makes(.votesWithLostLog) { return false }
        if isVoter { return true }
        if isNeeded, configuration[id] != nil { return true }
        return configurationsReplaceable.contains { $0.configuration.isVoter(id) }
    }

    // MARK: - Elections

    /// Begins an election: with a pre-vote, unless the leader handed over (D 9.6, 3.10).
    mutating func campaign(transfer: Bool) {
        guard mayCampaign, installing == nil else { return }
        if transfer {
            becomeCandidate()
            requestVotes(transfer: true)
        } else {
            becomePreCandidate()
            rehearse()
            countVote(from: id, granted: true)
        }
    }

    /// Asks for the votes that it would get. Who heard the leader a moment ago does not answer, and is asked again.
    private mutating func rehearse() {
        for voter in electorate where voter != id && !votes.contains(where: { $0.id == voter }) {
            send(.preVote(lastIndex: log.lastIndex, lastTerm: log.lastTerm), to: voter, term: term + 1)
        }
    }

    private var electorate: [NodeID] {
        configuration.outgoing.isEmpty
            ? configuration.voters : Array(Set(configuration.voters + configuration.outgoing)).sorted()
    }

    private mutating func requestVotes(transfer: Bool) {
        // The own vote is on disk before anybody hears of the candidacy: a candidate that forgot it could lead its term
        // twice. It also counts only then, like everybody else's.
        let isHasty = makes(.asksForVotesBeforeOwnIsSaved)
        for voter in electorate where voter != id {
            if isHasty { send(.vote(lastIndex: log.lastIndex, lastTerm: log.lastTerm, transfer: transfer), to: voter) }
            sendWhenDurable(.vote(lastIndex: log.lastIndex, lastTerm: log.lastTerm, transfer: transfer), to: voter)
        }
        if isHasty { countVote(from: id, granted: true) }
        sendWhenDurable(.voteReply(granted: true), to: id)
    }

    mutating func countVote(from voter: NodeID, granted: Bool) {
        guard installing == nil, configuration.isVoter(voter) else { return }
        guard !votes.contains(where: { $0.id == voter }) || makes(.countsVotesTwice) else { return }
        votes.append((voter, granted))
        let isWrong = makes(.countsVotesTwice) && votes.count(where: \.granted) > configuration.voters.count / 2
        if isWrong || configuration.isQuorum({ voter in votes.contains { $0.id == voter && $0.granted } }) {
            if role == .preCandidate {
                becomeCandidate()
                requestVotes(transfer: false)
            } else {
                becomeLeader()
            }
        } else if !configuration.isQuorum({ voter in !votes.contains { $0.id == voter && !$0.granted } }) {
            becomeFollower(term: term, leader: nil)
        }
    }

    /// Answers RequestVote and its rehearsal (P 5.2, 5.4.1).
    mutating func handleVoteRequest(
        _ message: Message, lastIndex: Index, lastTerm: Term, isRehearsal: Bool, isTransfer: Bool
    ) {
        let isFree = vote == message.from || (vote == nil && leader == nil) || (isRehearsal && message.term > term)
        let isUpToDate = log.isUpToDate(lastIndex: lastIndex, lastTerm: lastTerm) || makes(.votesForShorterLogs)
        // A promise binds also when something else than the candidate brought the term.
        let isBound = isBoundByPromise && !isTransfer && (vote != message.from || isRehearsal)
        let hasWhatWasLost = loss?.isHeld(byLogTo: lastIndex, lastTerm) ?? true
        let mayVote = installing == nil && (!isRecovering && hasWhatWasLost || makes(.votesWithLostLog))
        let granted = isFree && !isBound && mayVote && isUpToDate
        if !isUpToDate { noteNeeded(by: message.from) }
        if isRehearsal {
            // A granted rehearsal answers in the asked term, a refused one in the own, so that a laggard learns it.
            sendWhenDurable(.preVoteReply(granted: granted), to: message.from, term: granted ? message.term : term)
        } else {
            if granted {
                electionElapsed = 0
                vote = message.from
            }
            if makes(.votesBeforeSync) { send(.voteReply(granted: granted), to: message.from) }
            sendWhenDurable(.voteReply(granted: granted), to: message.from)
        }
    }
}
