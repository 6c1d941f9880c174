/// What a zone does from its last recorded change on, as POSIX's TZ writes it: `CET-1CEST,M3.5.0,M10.5.0/3`.
struct ZoneRule: Equatable, Sendable {
    /// A day of each year.
    enum Day: Equatable {
        /// 1 to 365; February 29 is never counted.
        case julian(Int)
        /// 0 to 365.
        case ofYear(Int)
        /// A weekday of the nth week of a month; the fifth is the last.
        case ofMonth(month: Int, week: Int, weekday: Weekday)
    }

    struct Turn: Equatable {
        let day: Day
        /// Of the local clock before it changes; may lie outside of the day.
        let seconds: Int
    }

    struct Summer: Equatable {
        let offset: Int
        let begins: Turn
        let ends: Turn
    }

    /// Seconds east of UTC.
    let standard: Int
    private let summer: Summer?

    init(_ text: String) throws(ZoneError) {
        var reader = RuleReader(text)
        try reader.skipName()
        standard = try reader.offset()
        if reader.isAtEnd {
            summer = nil
            return
        }
        try reader.skipName()
        let offset = reader.next == UInt8(ascii: ",") ? standard + 3600 : try reader.offset()
        try reader.expect(",")
        let begins = try reader.turn()
        try reader.expect(",")
        summer = Summer(offset: offset, begins: begins, ends: try reader.turn())
        guard reader.isAtEnd else { throw reader.fault }
    }

    func changes(in year: Int) -> [Zone.Change] {
        guard let summer else { return [] }
        return [
            Zone.Change(at: instant(of: summer.begins, in: year, before: standard), offset: summer.offset),
            Zone.Change(at: instant(of: summer.ends, in: year, before: summer.offset), offset: standard),
        ]
    }

    private func instant(of turn: Turn, in year: Int, before offset: Int) -> Int64 {
        Int64(turn.day.days(in: year) * 86_400 + turn.seconds - offset)
    }
}

extension ZoneRule.Day {
    /// Days since 1970-01-01.
    fileprivate func days(in year: Int) -> Int {
        let first = CivilDate(year: year, month: 1, day: 1)
        switch self {
        case .julian(let day): return first.days + day - 1 + (first.isLeapYear && day >= 60 ? 1 : 0)
        case .ofYear(let day): return first.days + day
        case .ofMonth(let month, let week, let weekday):
            let start = CivilDate(year: year, month: month, day: 1)
            let ahead = (Int(weekday.rawValue) - Int(start.weekday.rawValue) + 7) % 7
            var day = 1 + ahead + 7 * (week - 1)
            while day > start.daysInMonth { day -= 7 }
            return start.days + day - 1
        }
    }
}

/// Reads a rule, a byte at a time.
private struct RuleReader {
    private let text: String
    private let bytes: [UInt8]
    private var place = 0

    init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    var isAtEnd: Bool { place == bytes.count }
    var next: UInt8? { isAtEnd ? nil : bytes[place] }
    var fault: ZoneError { ZoneError("the zone file's rule \"\(text.prefix(64))\" is none that POSIX knows") }

    private mutating func takes(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        place += 1
        return true
    }

    mutating func expect(_ character: Unicode.Scalar) throws(ZoneError) {
        guard takes(character) else { throw fault }
    }

    /// `CET` or `<+0330>`.
    mutating func skipName() throws(ZoneError) {
        let start = place
        if takes("<") {
            while let next, next != UInt8(ascii: ">") { place += 1 }
            return try expect(">")
        }
        while let next, (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(next & 0xdf) { place += 1 }
        guard place - start >= 3 else { throw fault }
    }

    private mutating func number(_ range: ClosedRange<Int>) throws(ZoneError) -> Int {
        var (value, digits) = (0, 0)
        while let next, (48...57).contains(next), digits < 4 {
            value = value * 10 + Int(next - 48)
            (place, digits) = (place + 1, digits + 1)
        }
        guard digits > 0, range.contains(value) else { throw fault }
        return value
    }

    /// `[+-]h[h[h]][:mm[:ss]]`, in seconds.
    private mutating func time(hoursMax: Int) throws(ZoneError) -> Int {
        let sign = takes("-") ? -1 : 1
        if sign == 1 { _ = takes("+") }
        var seconds = 3600 * (try number(0...hoursMax))
        if takes(":") {
            seconds += 60 * (try number(0...59))
            if takes(":") { seconds += try number(0...59) }
        }
        return sign * seconds
    }

    /// West of UTC in the text, east of it in the answer.
    mutating func offset() throws(ZoneError) -> Int { -(try time(hoursMax: 24)) }

    mutating func turn() throws(ZoneError) -> ZoneRule.Turn {
        let day: ZoneRule.Day
        if takes("J") {
            day = .julian(try number(1...365))
        } else if takes("M") {
            let month = try number(1...12)
            try expect(".")
            let week = try number(1...5)
            try expect(".")
            day = .ofMonth(month: month, week: week, weekday: Weekday.allCases[try number(0...6)])
        } else {
            day = .ofYear(try number(0...365))
        }
        return ZoneRule.Turn(day: day, seconds: takes("/") ? try time(hoursMax: 167) : 2 * 3600)
    }
}
