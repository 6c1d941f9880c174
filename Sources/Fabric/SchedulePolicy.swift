package import Schedules
internal import Bytes

/// When migrations run, and what becomes of runs that meet, are late or fail.
package struct PolicyTerms: Equatable, Sendable {
    /// What a run does that comes due while the one before is under way.
    package enum Overlap: UInt8, CaseIterable, Sendable {
        case skip = 0
        /// One waits; further ones are skipped.
        case queueOne = 1
    }

    package var recurrence: Recurrence
    /// IANA's name. Members' tables may differ: whoever leads works out what comes due.
    package var timeZone = "UTC"
    /// Restore points that are kept: the newest of them. Nil for what the kind of recurrence suggests.
    package var retain: Int64?
    package var overlap = Overlap.skip
    /// A run that is late by more is missed.
    package var catchUpSeconds: Int64 = 3600
    /// Runs begin later by up to so much, so that those of many schedules do not begin together.
    package var jitterSeconds: Int64 = 0
    /// After a run that failed its schedule waits for somebody to resume it.
    package var pausesOnFailure = false

    package init(_ recurrence: Recurrence) { self.recurrence = recurrence }

    func encode(into writer: inout ByteWriter) {
        recurrence.encode(into: &writer)
        writer.string(timeZone)
        writer.bool(retain != nil)
        if let retain { writer.signed(retain) }
        writer.byte(overlap.rawValue)
        writer.signed(catchUpSeconds)
        writer.signed(jitterSeconds)
        writer.bool(pausesOnFailure)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        recurrence = try Recurrence(from: &reader)
        timeZone = try reader.string()
        retain = try reader.bool() ? try reader.signed() : nil
        overlap = try reader.value("overlap of a policy")
        catchUpSeconds = try reader.signed()
        jitterSeconds = try reader.signed()
        pausesOnFailure = try reader.bool()
    }
}

/// Terms under a name, for any number of schedules.
package struct SchedulePolicy: Equatable, Sendable {
    package let name: String
    package internal(set) var terms: PolicyTerms
    package internal(set) var mark = RecordMark()

    package var retain: Int64 { terms.retain ?? terms.recurrence.retainUsual }
}

extension SchedulePolicy: Record {
    static let kind = RecordKind.policy
    var id: String { name }
    var key: [UInt8] { Array(name.utf8) }

    func encode(into writer: inout ByteWriter) {
        writer.string(name)
        terms.encode(into: &writer)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        name = try reader.string()
        terms = try PolicyTerms(from: &reader)
    }
}

extension Recurrence {
    fileprivate func encode(into writer: inout ByteWriter) {
        func write(_ kind: UInt8, _ numbers: Int64...) {
            writer.byte(kind)
            for number in numbers { writer.signed(number) }
        }
        switch self {
        case .interval(let minutes, let anchor): write(0, minutes, anchor)
        case .daily(let time): write(1, Int64(time.minutes))
        case .weekly(let day, let time): write(2, Int64(day.rawValue), Int64(time.minutes))
        case .monthly(let day, let time):
            write(3, Int64(day.day), day.skipsShortMonths ? 1 : 0, Int64(time.minutes))
        }
    }

    /// - Throws: also for what never comes due, or is too far away to be reckoned with.
    fileprivate init(from reader: inout ByteReader) throws(DecodingFault) {
        func time() throws(DecodingFault) -> TimeOfDay {
            guard let time = TimeOfDay(minutes: Int(clamping: try reader.signed())) else {
                throw .invalid("time of day")
            }
            return time
        }
        switch try reader.byte() {
        case 0:
            let (minutes, anchor) = (try reader.signed(), try reader.time())
            guard (1...Self.minutesMax).contains(minutes) else { throw .invalid("interval") }
            self = .interval(minutes: minutes, anchor: anchor)
        case 1: self = .daily(try time())
        case 2:
            let number = try reader.signed()
            guard let raw = UInt8(exactly: number), let day = Weekday(rawValue: raw) else { throw .invalid("weekday") }
            self = .weekly(day, try time())
        case 3:
            let (number, skips) = (Int(clamping: try reader.signed()), try reader.signed())
            guard (0...1).contains(skips), let day = MonthDay(day: number, skipsShortMonths: skips == 1) else {
                throw .invalid("day of a month")
            }
            self = .monthly(day, try time())
        case let kind: throw .invalid("recurrence \(kind)")
        }
    }

    /// How many restore points a policy keeps unless it says so: Stork's numbers.
    var retainUsual: Int64 {
        switch self {
        case .interval: 10
        case .daily: 30
        case .weekly: 7
        case .monthly: 12
        }
    }
}
