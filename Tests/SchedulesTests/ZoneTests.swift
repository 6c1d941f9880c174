import Testing

@testable import Schedules

@Suite struct ZoneTests {
    /// A zone file, as RFC 9636 has it, with these 64-bit times.
    static func file(first: Int32 = 0, _ changes: [(at: Int64, offset: Int32)] = [], rule: String = "") -> [UInt8] {
        func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value.bigEndian, Array.init) }
        func header(times: Int, types: Int) -> [UInt8] {
            Array("TZif2".utf8) + [UInt8](repeating: 0, count: 15)
                + [0, 0, 0, times, types, 4].flatMap { bytes(UInt32($0)) }
        }
        func types(_ offsets: [Int32]) -> [UInt8] { offsets.flatMap { bytes($0) + [0, 0] } + Array("ABC\0".utf8) }
        let whole = header(times: changes.count, types: changes.count + 1)
        let kinds = changes.indices.map { UInt8($0 + 1) }
        return header(times: 0, types: 1) + types([0]) + whole + changes.flatMap { bytes($0.at) } + kinds
            + types([first] + changes.map(\.offset)) + Array("\n\(rule)\n".utf8)
    }

    static let berlin = try? Zone(
        file: file(first: 3208, [(-2_422_054_408, 3600)], rule: "CET-1CEST,M3.5.0,M10.5.0/3"))

    static func seconds(_ year: Int, _ month: Int, _ day: Int, _ hour: Int = 0, _ minute: Int = 0) -> Int64 {
        Int64(CivilDate(year: year, month: month, day: day).days) * 86_400 + Int64(hour * 3600 + minute * 60)
    }

    @Test func datesAreTheirDays() {
        for days in stride(from: -800_000, through: 800_000, by: 37) {
            let date = CivilDate(days: days)
            #expect(date.days == days)
            #expect((1...date.daysInMonth).contains(date.day))
        }
        #expect(CivilDate(days: 0) == CivilDate(year: 1970, month: 1, day: 1))
        #expect(CivilDate(year: 1970, month: 1, day: 1).weekday == .thursday)
        #expect(CivilDate(year: 2024, month: 2, day: 29).weekday == .thursday)
        #expect(CivilDate(year: 1900, month: 2, day: 1).daysInMonth == 28)
        #expect(CivilDate(year: 2000, month: 2, day: 1).daysInMonth == 29)
        #expect(CivilDate(year: 1969, month: 12, day: 28).weekday == .sunday)
    }

    @Test func offsetsFollowRecordsThenTheRule() throws {
        let zone = try #require(Self.berlin)
        #expect(zone.offset(at: Self.seconds(1890, 1, 1)) == 3208)
        #expect(zone.offset(at: Self.seconds(1894, 1, 1)) == 3600)
        #expect(zone.offset(at: Self.seconds(2026, 3, 29, 0, 59)) == 3600)
        #expect(zone.offset(at: Self.seconds(2026, 3, 29, 1)) == 7200)
        #expect(zone.offset(at: Self.seconds(2026, 10, 25, 0, 59)) == 7200)
        #expect(zone.offset(at: Self.seconds(2026, 10, 25, 1)) == 3600)
        #expect(zone.offset(at: Self.seconds(2399, 7, 1)) == 7200)
    }

    @Test("A time that is left out is the first moment after it; one that comes twice is the first")
    func instantsOfLocalTimes() throws {
        let zone = try #require(Self.berlin)
        #expect(zone.instant(ofLocal: Self.seconds(2026, 3, 29, 2, 30)) == Self.seconds(2026, 3, 29, 1))
        #expect(zone.instant(ofLocal: Self.seconds(2026, 3, 29, 3)) == Self.seconds(2026, 3, 29, 1))
        #expect(zone.instant(ofLocal: Self.seconds(2026, 10, 25, 2, 30)) == Self.seconds(2026, 10, 25, 0, 30))
        #expect(zone.instant(ofLocal: Self.seconds(2026, 10, 25, 3)) == Self.seconds(2026, 10, 25, 2))
        #expect(zone.instant(ofLocal: Self.seconds(2026, 7, 1, 12)) == Self.seconds(2026, 7, 1, 10))
    }

    @Test("A zone that leaves out a whole day goes on with the next")
    func skipsADay() throws {
        // As Samoa did at the end of 2011: from 10 hours behind UTC to 14 ahead.
        let zone = try Zone(
            file: Self.file(first: -36_000, [(Self.seconds(2011, 12, 30, 10), 50_400)], rule: "<+14>-14"))
        #expect(zone.instant(ofLocal: Self.seconds(2011, 12, 30, 12)) == Self.seconds(2011, 12, 30, 10))
        #expect(zone.instant(ofLocal: Self.seconds(2011, 12, 31, 12)) == Self.seconds(2011, 12, 30, 22))
    }

    @Test(
        "Rules of all forms are understood",
        arguments: [
            // Summer in the south, where the year begins with it.
            ("AEST-10AEDT,M10.1.0,M4.1.0/3", 2026, 1, 1, 11 * 3600),
            ("AEST-10AEDT,M10.1.0,M4.1.0/3", 2026, 7, 1, 10 * 3600),
            // Winter time as the exception.
            ("IST-1GMT0,M10.5.0,M3.5.0/1", 2026, 1, 1, 0), ("IST-1GMT0,M10.5.0,M3.5.0/1", 2026, 7, 1, 3600),
            // Hours outside of the day.
            ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, 7, 1, -3600),
            ("IST-2IDT,M3.4.4/26,M10.5.0", 2026, 7, 1, 3 * 3600),
            ("<+0330>-3:30", 2026, 7, 1, 12_600), ("EST5EDT4:30,J60,J300/12", 2024, 6, 1, -16_200),
            ("ABC3DEF,59/0,299", 2024, 2, 29, -2 * 3600), ("UTC0", 2026, 7, 1, 0),
        ])
    func understandsRules(_ rule: String, _ year: Int, _ month: Int, _ day: Int, _ offset: Int) throws {
        let zone = try Zone(file: Self.file([(0, 0)], rule: rule))
        // A rule that never changes adds nothing to what the file recorded last.
        #expect(zone.offset(at: Self.seconds(year, month, day, 12)) == (rule.contains(",") ? offset : 0))
        if !rule.contains(",") { #expect(try ZoneRule(rule).standard == offset) }
    }

    @Test func leapDaysMoveOnlyTheDaysThatCountThem() throws {
        let (julian, ofYear) = (try ZoneRule("AAA0BBB,J60/0,J365/0"), try ZoneRule("AAA0BBB,59/0,364/0"))
        for (year, leap) in [(2023, Int64(0)), (2024, 1)] {
            #expect(julian.changes(in: year).first?.at == Self.seconds(year, 3, 1))
            #expect(ofYear.changes(in: year).first?.at == Self.seconds(year, 3, 1) - leap * 86_400)
        }
    }

    @Test(
        "Bad rules are refused",
        arguments: [
            "A1", "ABC", "ABC25", "ABC1DEF,", "ABC1DEF,M13.1.0,M4.1.0", "ABC1DEF,M3.6.0,M4.1.0", "ABC1DEF,J0,J1",
            "ABC1DEF,366,1", "ABC1DEF,M3.1.0/168,M4.1.0", "ABC1DEF,M3.1.0,M4.1.0 ", "<ABC1", "ABC1DEF,M3.1.0,M4.1.7",
            "ABC1:60",
        ])
    func refusesRules(_ rule: String) {
        #expect(throws: ZoneError.self) { try ZoneRule(rule) }
    }

    @Test("Any bytes are read or refused, and never trap")
    func survivesDamage() {
        let good = Self.file(first: 3208, [(-2_422_054_408, 3600), (0, 7200)], rule: "CET-1CEST,M3.5.0,M10.5.0/3")
        for length in good.indices { #expect(throws: ZoneError.self) { try Zone(file: Array(good[..<length])) } }
        for place in good.indices {
            for value: UInt8 in [0, 1, 0x7f, 0x80, 0xff] {
                var bad = good
                bad[place] = value
                guard let zone = try? Zone(file: bad) else { continue }
                _ = zone.offset(at: 1_800_000_000)
                _ = zone.instant(ofLocal: 1_800_000_000)
            }
        }
    }

    @Test func namesLeadToNoOtherFiles() {
        for name in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
            #expect(Zone.isName(name))
        }
        for name in [
            "", "/etc/passwd", "../x", "Europe/", "a//b", "Europe/Ber lin", "Zür", String(repeating: "a", count: 65),
        ] {
            #expect(!Zone.isName(name))
        }
    }
}
