/// A date of the proleptic Gregorian calendar.
package struct CivilDate: Equatable, Comparable, Sendable {
    package let year: Int
    /// 1 to 12.
    package let month: Int
    /// 1 to 31.
    package let day: Int

    package init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// - Parameter days: since 1970-01-01.
    package init(days: Int) {
        // Years begin in March here, so that a leap day is the last of its year; an era has 400 of them.
        let shifted = days + 719_468
        let era = shifted.flooredQuotient(146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Days since 1970-01-01.
    package var days: Int {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = shiftedYear.flooredQuotient(400)
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    package var weekday: Weekday {
        let index = (days + 4) - (days + 4).flooredQuotient(7) * 7
        return Weekday.allCases[index]
    }

    package var isLeapYear: Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    package var daysInMonth: Int {
        switch month {
        case 2: isLeapYear ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    package static func < (a: CivilDate, b: CivilDate) -> Bool { (a.year, a.month, a.day) < (b.year, b.month, b.day) }
}

package enum Weekday: UInt8, CaseIterable, Sendable {
    case sunday, monday, tuesday, wednesday, thursday, friday, saturday

    /// `monday`, `Monday` or `mon`.
    package init?(_ text: String) {
        let wanted = text.lowercased()
        let found = Self.allCases.first { wanted == "\($0)" || wanted == "\($0)".prefix(3) }
        guard let found else { return nil }
        self = found
    }
}

/// A time on a clock on the wall, in minutes since midnight.
package struct TimeOfDay: Equatable, Sendable {
    package let minutes: Int

    package init?(minutes: Int) {
        guard (0..<24 * 60).contains(minutes) else { return nil }
        self.minutes = minutes
    }

    /// `23:05`, or `11:05PM` as Stork writes it.
    package init?(_ text: String) {
        let upper = text.uppercased()
        let half = ["AM", "PM"].first { upper.hasSuffix($0) }
        let digits = half == nil ? upper[...] : upper.dropLast(2)
        let parts = digits.split(separator: ":", omittingEmptySubsequences: false)
        func number(_ part: Substring) -> Int? {
            (1...2).contains(part.utf8.count) && part.utf8.allSatisfy({ (48...57).contains($0) }) ? Int(part) : nil
        }
        guard parts.count == 2, parts[1].utf8.count == 2, var hour = number(parts[0]), let minute = number(parts[1]),
            minute < 60
        else { return nil }
        if let half {
            guard (1...12).contains(hour) else { return nil }
            hour = hour % 12 + (half == "PM" ? 12 : 0)
        }
        self.init(minutes: hour * 60 + minute)
    }

    package var text: String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(two(minutes / 60)):\(two(minutes % 60))"
    }
}

extension Int {
    func flooredQuotient(_ divisor: Int) -> Int { self >= 0 ? self / divisor : (self - divisor + 1) / divisor }
}
