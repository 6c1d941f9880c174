import Bytes
import Schedules
import Testing

@testable import Fabric

@Suite("Schedule policies")
struct PolicyTests {
    private var fabric = FabricState()

    private mutating func apply(
        _ action: FabricCommand.Action, at time: Int64 = 1_000, expected: Int64? = nil
    ) -> Result<FabricAnswer, FabricRefusal> {
        defer { _ = fabric.takeChanges() }
        return fabric.apply(FabricCommand(action, Trace(at: time, by: "test"), expected: expected))
    }

    private func put(
        _ recurrence: Recurrence, _ name: String = "p", _ change: (inout PolicyTerms) -> Void = { _ in }
    ) -> FabricCommand.Action {
        var terms = PolicyTerms(recurrence)
        change(&terms)
        return .putPolicy(name, terms)
    }

    private func time(_ text: String) throws -> TimeOfDay { try #require(TimeOfDay(text)) }

    @Test("An interval counts from when it was made, and keeps its rhythm while its length stays")
    mutating func anchors() throws {
        _ = apply(put(.interval(minutes: 15, anchor: 0)), at: 7_000)
        #expect(fabric.policy("p")?.terms.recurrence == .interval(minutes: 15, anchor: 7_000))
        _ = apply(put(.interval(minutes: 15, anchor: 0)) { $0.retain = 3 }, at: 9_000)
        #expect(fabric.policy("p")?.terms.recurrence == .interval(minutes: 15, anchor: 7_000))
        #expect(fabric.policy("p")?.retain == 3)
        _ = apply(put(.interval(minutes: 30, anchor: 0)), at: 11_000)
        #expect(fabric.policy("p")?.terms.recurrence == .interval(minutes: 30, anchor: 11_000))
        #expect(fabric.policy("p")?.retain == 10, "what is not said is as usual")
    }

    @Test("The same again changes nothing; conditions hold; what is removed is gone")
    mutating func life() throws {
        let daily = put(.daily(try time("23:05")))
        guard case .success(let made) = apply(daily, expected: 0) else {
            Issue.record("it was refused")
            return
        }
        #expect(made.isNew)
        let revision = fabric.revision
        _ = apply(daily, at: 2_000)
        #expect(fabric.revision == revision)
        #expect(apply(daily, expected: 0) == .failure(.changed(.policy, "p", revision: revision)))
        #expect(apply(.removePolicy("q")) == .failure(.notFound(.policy, "q")))
        #expect(
            apply(.removePolicy("p"), expected: revision + 9) == .failure(.changed(.policy, "p", revision: revision)))
        #expect(fabric.policy("p") != nil)
        _ = apply(.removePolicy("p"), expected: revision)
        #expect(fabric.policy("p") == nil)
        #expect(fabric.events().map(\.what) == ["created", "removed"])
    }

    @Test("What cannot be is refused whole")
    mutating func limits() throws {
        let daily = Recurrence.daily(try time("23:05"))
        let bad: [FabricCommand.Action] = [
            put(daily, "-"), put(daily) { $0.timeZone = "../etc/passwd" }, put(daily) { $0.retain = 0 },
            put(daily) { $0.retain = 1001 }, put(daily) { $0.catchUpSeconds = -1 },
            put(daily) { $0.jitterSeconds = 86_401 },
        ]
        for action in bad {
            guard case .failure(.invalid) = apply(action) else {
                Issue.record("\(action) was not refused")
                continue
            }
        }
        #expect(fabric.isEmpty)
    }

    @Test("Commands and records are read as they were written, and nothing that never comes due is")
    mutating func codec() throws {
        let recurrences: [Recurrence] = [
            .interval(minutes: 1, anchor: -5), .daily(try time("00:00")), .weekly(.saturday, try time("23:59")),
            .monthly(try #require(.init(day: 31, skipsShortMonths: true)), try time("12:00")),
        ]
        for (number, recurrence) in recurrences.enumerated() {
            let (name, put) = (
                "p\(number)",
                put(recurrence, "p\(number)") { terms in
                    terms.overlap = .queueOne
                    terms.pausesOnFailure = true
                    terms.retain = number == 0 ? nil : Int64(number)
                }
            )
            for action in [put, .removePolicy(name)] {
                let command = FabricCommand(action, Trace(at: 1, by: "x"), expected: 3)
                var writer = ByteWriter()
                command.encode(into: &writer)
                var reader = ByteReader(writer.bytes)
                #expect(try FabricCommand(from: &reader) == command)
                for length in writer.bytes.indices {
                    var cut = ByteReader(Array(writer.bytes[..<length]))
                    #expect(throws: DecodingFault.self) { try FabricCommand(from: &cut) }
                }
            }
            var read = FabricState()
            _ = fabric.apply(FabricCommand(put, Trace(at: 1, by: "x")))
            for change in fabric.takeChanges() {
                if let body = change.body { try read.load(change.kind, body) }
            }
            #expect(read.policy(name) == fabric.policy(name))
        }
        let bad: [Recurrence] = [
            .interval(minutes: 0, anchor: 0), .interval(minutes: .max, anchor: 0), .interval(minutes: 1, anchor: .min),
        ]
        for recurrence in bad {
            var writer = ByteWriter()
            FabricCommand(put(recurrence), Trace(at: 1, by: "x")).encode(into: &writer)
            var reader = ByteReader(writer.bytes)
            #expect(throws: DecodingFault.self) { try FabricCommand(from: &reader) }
        }
    }
}
