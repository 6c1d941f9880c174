/// When something happens again and again.
package enum Recurrence: Equatable, Sendable {
    /// Counted from an anchor, so that it does not drift; milliseconds since 1970.
    case interval(minutes: Int64, anchor: Int64)
    case daily(TimeOfDay)
    case weekly(Weekday, TimeOfDay)
    case monthly(MonthDay, TimeOfDay)

    package struct MonthDay: Equatable, Sendable {
        /// 1 to 31.
        package let day: Int
        /// Leaves out the months that have no such day; else their last day is taken.
        package let skipsShortMonths: Bool

        package init?(day: Int, skipsShortMonths: Bool = false) {
            guard (1...31).contains(day) else { return nil }
            self.day = day
            self.skipsShortMonths = skipsShortMonths
        }
    }

    package static let minutesMax: Int64 = 366 * 1440
    /// Two short months may follow each other nowhere, and a month has 31 days.
    private static let daysAheadMax = 64

    /// The first time after this one; milliseconds since 1970.
    package func next(after milliseconds: Int64, in zone: Zone) -> Int64 {
        if case .interval(let minutes, let anchor) = self {
            precondition((1...Self.minutesMax).contains(minutes), "an interval of \(minutes) minutes")
            let length = minutes * 60_000
            return anchor + ((milliseconds - anchor).flooredQuotient(length) + 1) * length
        }
        let seconds = milliseconds.flooredQuotient(1000)
        // A day earlier: a time that a zone leaves out may come due on the next date.
        let start = zone.date(at: seconds).days - 1
        for days in start...start + Self.daysAheadMax {
            guard let minutes = minutes(on: CivilDate(days: days)) else { continue }
            let due = zone.instant(ofLocal: Int64(days) * 86_400 + Int64(minutes) * 60)
            if due > seconds { return due * 1000 }
        }
        preconditionFailure("nothing comes due in \(Self.daysAheadMax) days: \(self)")
    }

    /// Those after `start`, up to and with `end`: how many, and the newest.
    package func dues(
        after start: Int64, through end: Int64, in zone: Zone
    ) -> (count: Int64, newest: Int64)? {
        var found: (count: Int64, newest: Int64)?
        var due = next(after: start, in: zone)
        guard due <= end else { return nil }
        if case .interval(let minutes, _) = self {
            let more = (end - due) / (minutes * 60_000)
            return (more + 1, due + more * minutes * 60_000)
        }
        while due <= end {
            found = ((found?.count ?? 0) + 1, due)
            due = next(after: due, in: zone)
        }
        return found
    }

    /// The time of day on which it comes due on a date, if it does.
    private func minutes(on date: CivilDate) -> Int? {
        switch self {
        case .interval: return nil
        case .daily(let time): return time.minutes
        case .weekly(let weekday, let time): return date.weekday == weekday ? time.minutes : nil
        case .monthly(let wanted, let time):
            let isLast = date.day == date.daysInMonth && wanted.day > date.day && !wanted.skipsShortMonths
            return date.day == wanted.day || isLast ? time.minutes : nil
        }
    }
}

extension Int64 {
    fileprivate func flooredQuotient(_ divisor: Int64) -> Int64 {
        self >= 0 ? self / divisor : (self - divisor + 1) / divisor
    }
}
