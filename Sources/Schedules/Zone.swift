/// When clocks on the wall change, and by how much. Seconds since 1970, UTC, unless a name says local.
package struct Zone: Equatable, Sendable {
    struct Change: Equatable {
        /// From then on.
        let at: Int64
        /// Seconds east of UTC.
        let offset: Int
    }

    static let offsetSecondsMax = 26 * 3600

    /// Before the first change.
    let first: Int
    let changes: [Change]
    /// After the last one; nil where nothing changes any more.
    let rule: ZoneRule?

    /// If a zone can have this name, as `Europe/Berlin` or `Etc/GMT+5`: it may name a file below the folder of zones, and no other.
    package static func isName(_ name: String) -> Bool {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        let marks = Array("_+-".utf8)
        return name.utf8.count <= 64
            && parts.allSatisfy { part in
                !part.isEmpty
                    && part.utf8.allSatisfy {
                        (48...57).contains($0) || (97...122).contains($0 | 32) || marks.contains($0)
                    }
            }
    }

    package static let utc = Zone(first: 0, changes: [], rule: nil)

    /// Seconds east of UTC.
    package func offset(at seconds: Int64) -> Int { stretches(from: seconds, to: seconds).last?.offset ?? first }

    /// When a clock on the wall shows a time: the first time that it does, where it does so twice; the first moment after it,
    /// where it is left out.
    /// - Parameter local: seconds since 1970 as if the clock showed UTC.
    package func instant(ofLocal local: Int64) -> Int64 {
        let reach = Int64(Self.offsetSecondsMax)
        let found = stretches(from: local - reach, to: local + reach)
        for (index, stretch) in found.enumerated() {
            let instant = max(stretch.at, local - Int64(stretch.offset))
            if index + 1 == found.count || instant < found[index + 1].at { return instant }
        }
        return local - Int64(first)
    }

    package func date(at seconds: Int64) -> CivilDate {
        CivilDate(days: Int(seconds + Int64(offset(at: seconds))).flooredQuotient(86_400))
    }

    /// The times of one offset each that cover this span, in order; the first begins before it.
    private func stretches(from start: Int64, to end: Int64) -> [Change] {
        var found = [Change(at: .min, offset: first)]
        func take(_ change: Change) {
            guard change.at <= end else { return }
            if change.at <= start { found = [change] } else { found.append(change) }
        }
        // The last one at or before the start, and all within.
        var (low, high) = (0, changes.count)
        while low < high {
            let middle = (low + high) / 2
            if changes[middle].at <= start { low = middle + 1 } else { high = middle }
        }
        for change in changes[max(0, low - 1)...] {
            if change.at > end { break }
            take(change)
        }
        guard let rule, end > changes.last?.at ?? .min else { return found }
        // A year more on each side: local years begin earlier or later, and the last change may lie in the year before.
        let years = CivilDate(days: Int(start / 86_400)).year - 2...CivilDate(days: Int(end / 86_400)).year + 1
        for change in years.flatMap(rule.changes).sorted(by: { $0.at < $1.at })
        where change.at > changes.last?.at ?? .min {
            take(change)
        }
        return found
    }
}
