import Testing

@testable import Schedules

@Suite struct RecurrenceTests {
    private func time(_ text: String) throws -> TimeOfDay { try #require(TimeOfDay(text)) }

    private func dues(_ recurrence: Recurrence, after start: Int64, _ count: Int, in zone: Zone) -> [Int64] {
        var (found, last): ([Int64], Int64) = ([], start * 1000)
        for _ in 0..<count {
            last = recurrence.next(after: last, in: zone)
            found.append(last / 1000)
        }
        return found
    }

    @Test func timesAreReadAsPeopleWriteThem() {
        #expect(TimeOfDay("23:05")?.minutes == 23 * 60 + 5)
        #expect(TimeOfDay("9:05")?.text == "09:05")
        #expect(TimeOfDay("12:04PM")?.minutes == 12 * 60 + 4)
        #expect(TimeOfDay("12:04am")?.minutes == 4)
        #expect(TimeOfDay("11:59pm")?.minutes == 23 * 60 + 59)
        for bad in ["24:00", "1:60", "13:00PM", "0:00AM", "1:5", "12", "", "12:00:00", "-1:00", "１:00"] {
            #expect(TimeOfDay(bad) == nil)
        }
        #expect(Weekday("Sunday") == .sunday)
        #expect(Weekday("fri") == .friday)
        #expect(Weekday("x") == nil)
    }

    @Test("An interval is counted from its anchor, and does not drift")
    func intervals() {
        let every = Recurrence.interval(minutes: 15, anchor: 7_000)
        #expect(every.next(after: 7_000, in: .utc) == 907_000)
        #expect(every.next(after: 906_999, in: .utc) == 907_000)
        #expect(every.next(after: -900_000, in: .utc) == -893_000)
        #expect(every.dues(after: 7_000, through: 906_999, in: .utc) == nil)
        let found = every.dues(after: 7_000, through: 7_000 + 366 * 86_400_000, in: .utc)
        #expect(found?.count == Int64(366 * 96))
        #expect(found?.newest == Int64(7_000 + 366 * 86_400_000))
    }

    @Test("The nights when clocks change have one run each")
    func changingClocks() throws {
        let zone = try #require(ZoneTests.berlin)
        let daily = Recurrence.daily(try time("02:30"))
        let spring = dues(daily, after: ZoneTests.seconds(2026, 3, 28), 3, in: zone)
        #expect(
            spring == [
                ZoneTests.seconds(2026, 3, 28, 1, 30), ZoneTests.seconds(2026, 3, 29, 1),
                ZoneTests.seconds(2026, 3, 30, 0, 30),
            ])
        let autumn = dues(daily, after: ZoneTests.seconds(2026, 10, 24), 3, in: zone)
        #expect(
            autumn == [
                ZoneTests.seconds(2026, 10, 24, 0, 30), ZoneTests.seconds(2026, 10, 25, 0, 30),
                ZoneTests.seconds(2026, 10, 26, 1, 30),
            ])
    }

    @Test("Day 31 is the last day of a shorter month, or skips it")
    func shortMonths() throws {
        func days(_ day: Recurrence.MonthDay?) throws -> [String] {
            dues(.monthly(try #require(day), try time("00:00")), after: ZoneTests.seconds(2028, 1, 1), 4, in: .utc).map
            { seconds in
                let date = CivilDate(days: Int(seconds / 86_400))
                return "\(date.month)-\(date.day)"
            }
        }
        #expect(try days(.init(day: 31)) == ["1-31", "2-29", "3-31", "4-30"])
        #expect(try days(.init(day: 31, skipsShortMonths: true)) == ["1-31", "3-31", "5-31", "7-31"])
        #expect(try days(.init(day: 29)) == ["1-29", "2-29", "3-29", "4-29"])
    }

    @Test func weeks() throws {
        let weekly = Recurrence.weekly(.monday, try time("08:00"))
        let found = dues(weekly, after: ZoneTests.seconds(2026, 11, 29), 2, in: .utc)
        #expect(found == [ZoneTests.seconds(2026, 11, 30, 8), ZoneTests.seconds(2026, 12, 7, 8)])
    }

    @Test("What comes due rises strictly, and is found the same from any moment before it")
    func risesStrictly() throws {
        let zone = try #require(ZoneTests.berlin)
        let all: [Recurrence] = [
            .interval(minutes: 7, anchor: 5), .daily(try time("02:00")), .weekly(.sunday, try time("02:59")),
            .monthly(try #require(.init(day: 29)), try time("02:15")),
        ]
        for recurrence in all {
            var last = ZoneTests.seconds(2026, 1, 1) * 1000
            for _ in 0..<400 {
                let next = recurrence.next(after: last, in: zone)
                #expect(next > last)
                #expect(recurrence.next(after: (last + next) / 2, in: zone) == next)
                #expect(recurrence.next(after: next - 1, in: zone) == next)
                last = next
            }
        }
    }
}
