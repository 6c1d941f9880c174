internal import Bytes

/// What the core knows of the log: the terms of all of it, and the entries of its recent end.
///
/// Older entries are on disk only; the core asks for them through `Ready.logReads`. Entries that are not durable or not
/// applied yet are always held here.
package struct Log: Sendable {
    /// Entries from `firstIndex` on share `term`, up to the next run.
    package struct TermRun: Equatable, Sendable {
        package var firstIndex: Index
        package var term: Term

        package init(firstIndex: Index, term: Term) {
            self.firstIndex = firstIndex
            self.term = term
        }
    }

    /// The log begins after this index; what came before lives in a snapshot.
    package private(set) var baseIndex: Index
    package private(set) var baseTerm: Term
    package private(set) var lastIndex: Index
    /// The last index that this member has on disk.
    package private(set) var durableIndex: Index
    private var runs: [TermRun]
    private var recent = Queue<Entry>()
    private var recentFirst: Index
    /// What the entries in memory take.
    private(set) var recentBytes = 0
    /// Appends on their way to the disk: their sequence and the last of their entries that is still part of the log.
    private var appending = Queue<(sequence: UInt64, lastIndex: Index)>()

    /// - Parameters:
    ///   - runs: the terms of the entries after `baseIndex`, ascending.
    ///   - tail: the entries from some index to the end; at least those not applied yet.
    package init(baseIndex: Index, baseTerm: Term, runs: [TermRun], lastIndex: Index, tail: [Entry]) {
        self.baseIndex = baseIndex
        self.baseTerm = baseTerm
        self.lastIndex = lastIndex
        self.durableIndex = lastIndex
        self.runs = runs
        recentFirst = lastIndex + 1 - Index(tail.count)
        for entry in tail {
            precondition(entry.index == recentFirst + Index(recent.count), "a gap before entry \(entry.index)")
            recent.append(entry)
            recentBytes += entry.cost
        }
    }

    var lastTerm: Term { runs.last?.term ?? baseTerm }

    /// The term of the entry at `index`; nil before the log's beginning and after its end.
    package func term(at index: Index) -> Term? {
        if index == baseIndex { return baseTerm }
        guard index > baseIndex, index <= lastIndex else { return nil }
        // Runs are few: one per change of leader.
        return runs.last { $0.firstIndex <= index }?.term
    }

    /// If a log ending in (`index`, `term`) is at least as up to date as this one (P 5.4.1).
    func isUpToDate(lastIndex index: Index, lastTerm term: Term) -> Bool {
        term > lastTerm || (term == lastTerm && index >= lastIndex)
    }

    /// Adds entries that follow the last one.
    mutating func append(_ entries: [Entry]) {
        for entry in entries {
            precondition(entry.index == lastIndex + 1, "entry \(entry.index) cannot follow \(lastIndex)")
            precondition(entry.term >= lastTerm, "term \(entry.term) cannot follow \(lastTerm)")
            if runs.isEmpty || entry.term != lastTerm {
                runs.append(TermRun(firstIndex: entry.index, term: entry.term))
            }
            recent.append(entry)
            recentBytes += entry.cost
            lastIndex = entry.index
        }
    }

    /// Removes the entries from `index` on. What of them is on its way to the disk no longer counts as durable when it
    /// arrives there: an acknowledgement speaks of the log as it was.
    mutating func truncate(from index: Index) {
        precondition(index > baseIndex, "cannot truncate at \(index), the log begins after \(baseIndex)")
        guard index <= lastIndex else { return }
        let removed = Int(lastIndex - index) + 1
        let held = Swift.min(removed, recent.count)
        for entry in recent.suffix(held) { recentBytes -= entry.cost }
        recent.removeLast(held)
        lastIndex = index - 1
        recentFirst = Swift.min(recentFirst, index)
        while let run = runs.last, run.firstIndex >= index { runs.removeLast() }
        durableIndex = Swift.min(durableIndex, lastIndex)
        for place in appending.indices where !makes(.believesOldAcknowledgements) {
            appending[place].lastIndex = Swift.min(appending[place].lastIndex, lastIndex)
        }
    }

    /// Notes that everything up to now is handed to the disk as append `sequence`.
    mutating func noteAppending(sequence: UInt64) {
        appending.append((sequence, lastIndex))
    }

    /// Append `sequence`, and all before it, are on disk.
    mutating func noteAppended(sequence: UInt64) {
        while let first = appending.first, first.sequence <= sequence {
            durableIndex = Swift.max(durableIndex, Swift.min(first.lastIndex, lastIndex))
            appending.removeFirst()
        }
    }

    /// The entries from `index` up to `last`, as many as `costMax` allows but at least one; nil when they are only on disk.
    func entries(from index: Index, through last: Index, costMax: Int) -> [Entry]? {
        guard index >= recentFirst else { return nil }
        guard index <= last else { return [] }
        var found: [Entry] = []
        var cost = 0
        var place = Int(index - recentFirst)
        while place < recent.count {
            let entry = recent[place]
            cost += entry.cost
            if entry.index > last || (cost > costMax && !found.isEmpty) { break }
            found.append(entry)
            place += 1
        }
        return found
    }

    /// Forgets entries before `index` that the disk has, until no more than `costMax` is held.
    mutating func evict(before index: Index, costMax: Int) {
        let bound = Swift.min(index, durableIndex + 1)
        while recentBytes > costMax, recentFirst < bound, let first = recent.first {
            recentBytes -= first.cost
            recent.removeFirst()
            recentFirst += 1
        }
    }

    /// Drops everything up to and with `index`, which must be durable.
    mutating func compact(to index: Index) {
        guard index > baseIndex else { return }
        precondition(index <= durableIndex, "cannot compact to \(index), durable is \(durableIndex)")
        guard let term = term(at: index) else { preconditionFailure("no term at \(index)") }
        baseIndex = index
        baseTerm = term
        while recentFirst <= index, let first = recent.first {
            recentBytes -= first.cost
            recent.removeFirst()
            recentFirst += 1
        }
        while runs.count > 1, runs[1].firstIndex <= index + 1 { runs.removeFirst() }
        if let first = runs.first {
            if index == lastIndex {
                runs.removeAll()
            } else {
                runs[0].firstIndex = Swift.max(first.firstIndex, index + 1)
            }
        }
    }

    /// Begins anew after a snapshot.
    mutating func reset(index: Index, term: Term) {
        self = Log(baseIndex: index, baseTerm: term, runs: [], lastIndex: index, tail: [])
    }

    /// The last index not after `index` whose term is not above `term`: the place to try next after a conflict.
    func lastIndex(notAfter index: Index, termAtMost term: Term) -> (index: Index, term: Term) {
        var candidate = Swift.min(index, lastIndex)
        for run in runs.reversed() where run.firstIndex <= candidate {
            if run.term <= term { return (candidate, run.term) }
            candidate = run.firstIndex - 1
        }
        return (Swift.min(candidate, baseIndex), baseTerm)
    }
}
