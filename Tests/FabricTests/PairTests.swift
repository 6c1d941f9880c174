import Bytes
import Testing

@testable import Fabric

@Suite("Pairs")
struct PairTests {
    private var fabric = FabricState()
    private static let own: UInt64 = 0xa
    private static let other: UInt64 = 0xb

    private mutating func apply(
        _ action: FabricCommand.Action, at time: Int64 = 1_000, expected: Int64? = nil
    ) -> Result<FabricAnswer, FabricRefusal> {
        defer { _ = fabric.takeChanges() }
        return fabric.apply(FabricCommand(action, Trace(at: time, by: "test"), expected: expected))
    }

    private func terms(_ other: UInt64 = other, own: UInt64 = own, authority: UInt8 = 1) -> PairTerms {
        PairTerms(fabric: other, own: own, endpoints: ["https://west:2379"], authorities: [[authority]])
    }

    private func refusal(_ result: Result<FabricAnswer, FabricRefusal>) -> String {
        switch result {
        case .success: ""
        case .failure(.conflict(let text)), .failure(.invalid(let text)): text
        case .failure(let other): "\(other)"
        }
    }

    private func greeted(at time: Int64, authority: UInt8? = nil) throws -> PairNote {
        var news = PairNews()
        news.at = time
        var note = PairNote(try #require(fabric.pair("west")), .ready, news: news)
        if let authority { note.authorities = [[authority]] }
        return note
    }

    @Test("One fabric is paired once, under one name; the same again changes nothing")
    mutating func making() throws {
        guard case .success(let made) = apply(.putPair("west", terms())) else {
            Issue.record("it was refused")
            return
        }
        #expect(made.isNew)
        let revision = fabric.revision
        _ = apply(.putPair("west", terms()), at: 2_000)
        #expect(fabric.revision == revision)
        #expect(refusal(apply(.putPair("far", terms()))).contains("already, as \"west\""))
        #expect(refusal(apply(.putPair("west", terms(0xc)))).contains("is with fabric b"))
        #expect(refusal(apply(.putPair("self", terms(Self.own)))).contains("with itself"))
        #expect(refusal(apply(.putPair("no name", terms(0xc)))).contains("letters"))
        var empty = terms(0xc)
        empty.authorities = []
        #expect(refusal(apply(.putPair("east", empty))).contains("CAs"))
        #expect(fabric.pair(with: Self.other)?.name == "west")
        #expect(fabric.pair(with: 0xc) == nil)
    }

    @Test("What is heard is noted; only another state, or other CAs, are events")
    mutating func notes() throws {
        _ = apply(.putPair("west", terms()))
        #expect(fabric.pair("west")?.contact == .pending)
        _ = apply(.notePair(try greeted(at: 5_000)))
        _ = apply(.notePair(try greeted(at: 9_000)))
        #expect(fabric.pair("west")?.contact == .ready)
        #expect(fabric.pair("west")?.news.at == 9_000)
        let lost = PairNote(try #require(fabric.pair("west")), .unreachable, reason: "nobody answers")
        _ = apply(.notePair(lost))
        #expect(fabric.pair("west")?.news.at == 9_000, "what was heard before stays")
        _ = apply(.notePair(try greeted(at: 40_000, authority: 2)))
        #expect(fabric.pair("west")?.terms.authorities == [[2]])
        #expect(fabric.pair("west")?.reason.isEmpty == true)
        let wanted = [
            "paired with fabric b", "ready", "unreachable: nobody answers", "ready", "other CAs are believed",
        ]
        #expect(fabric.events().map(\.what) == wanted)
        // Of a pair that was made anew with another fabric, an old word says nothing.
        var stale = lost
        stale.fabric = 0xc
        #expect(apply(.notePair(stale)) == .failure(.notFound(.pair, "west")))
    }

    @Test("An old word does not count for a pair that was made anew")
    mutating func staleNotes() throws {
        _ = apply(.putPair("west", terms()))
        let old = try greeted(at: 5_000, authority: 2)
        _ = apply(.removePair("west"))
        _ = apply(.putPair("west", terms(authority: 3)))
        #expect(apply(.notePair(old)) == .failure(.notFound(.pair, "west")))
        #expect(fabric.pair("west")?.terms.authorities == [[3]])
        // What operators say about the way there stays, whatever the other side says.
        var reached = terms(authority: 3)
        reached.reach = ["https://door:2379"]
        _ = apply(.putPair("west", reached))
        var note = try greeted(at: 6_000)
        note.endpoints = ["https://10.0.0.1:2379"]
        _ = apply(.notePair(note))
        #expect(fabric.pair("west")?.terms.places == ["https://door:2379"])
        #expect(fabric.pair("west")?.terms.endpoints == ["https://10.0.0.1:2379"])
    }

    @Test("A suspended pair hears nothing; one of a fabric that was recovered is suspended, and cannot be resumed")
    mutating func suspending() throws {
        _ = apply(.putPair("west", terms()))
        _ = apply(.setPair("west", isSuspended: true, of: Self.own))
        #expect(refusal(apply(.notePair(try greeted(at: 5_000)))).contains("suspended"))
        _ = apply(.setPair("west", isSuspended: false, of: Self.own), at: 7_000)
        #expect(fabric.pair("west")?.isSuspended == false)
        #expect(fabric.pair("west")?.since == 7_000)
        _ = apply(.recover)
        #expect(fabric.pair("west")?.isSuspended == true)
        #expect(refusal(apply(.setPair("west", isSuspended: false, of: 0xd))).contains("pair them anew"))
        _ = apply(.putPair("west", terms(own: 0xd)))
        #expect(fabric.pair("west")?.isSuspended == false, "paired anew it begins anew")
        _ = apply(.removePair("west"))
        #expect(fabric.pair("west") == nil)
        #expect(apply(.removePair("west")) == .failure(.notFound(.pair, "west")))
    }

    @Test("Times that nobody can reckon with are not decoded, and none is kept")
    mutating func times() throws {
        for time in [Int64.min, .max, (1 << 53) + 1] {
            _ = apply(.putPair("west", terms()), at: time)
            let since = try #require(fabric.pair("west")).since
            #expect(PairNews.times.contains(since))
            #expect(try ClusterPair(decoding: try #require(fabric.pair("west")).encoded()).since == since)
            for keyPath in [\PairNews.at, \PairNews.skew] {
                var note = try greeted(at: 5_000)
                note.news?[keyPath: keyPath] = time
                var writer = ByteWriter()
                FabricCommand(.notePair(note), Trace(at: 1, by: "x")).encode(into: &writer)
                var reader = ByteReader(writer.bytes)
                #expect(throws: DecodingFault.self) { try FabricCommand(from: &reader) }
            }
            _ = apply(.removePair("west"))
        }
    }

    @Test("Commands and records are the same after their way through bytes")
    mutating func codec() throws {
        _ = apply(.putPair("west", terms()))
        var note = try greeted(at: 5_000, authority: 3)
        note.news?.believed = [[7, 8], []]
        note.endpoints = ["https://a:1", "https://b:2"]
        let actions: [FabricCommand.Action] = [
            .putPair("west", terms()), .setPair("west", isSuspended: true, of: .max), .removePair("west"),
            .notePair(note),
        ]
        for action in actions {
            var writer = ByteWriter()
            let command = FabricCommand(action, Trace(at: 1, by: "x"), expected: 7)
            command.encode(into: &writer)
            var reader = ByteReader(writer.bytes)
            #expect(try FabricCommand(from: &reader) == command)
            try reader.expectEnd()
        }
        _ = apply(.notePair(note))
        let pair = try #require(fabric.pair("west"))
        #expect(try ClusterPair(decoding: pair.encoded()) == pair)
        for count in 0..<pair.encoded().count {
            #expect(throws: DecodingFault.self) { try ClusterPair(decoding: Array(pair.encoded().prefix(count))) }
        }
    }
}
