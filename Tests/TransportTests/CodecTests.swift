import Bytes
import Raft
import Testing

@testable import Transport

@Suite struct CodecTests {
    static let messages: [Message] = {
        let configuration = Configuration([Member(id: 3, role: .joining, peerURLs: ["http://a:1"])])
        let change = ConfigurationEntry(requestID: 8, configuration: configuration).encoded()
        let entries = [
            Entry(index: 5, term: 2, proposal: Proposal(id: 0, kind: .command, payload: [1, 2, 3])),
            Entry(index: 6, term: 2, proposal: Proposal(id: 0, kind: .configuration, payload: change)),
            Entry(index: 7, term: 3, proposal: Proposal(id: 0, kind: .empty, payload: [])),
        ]
        let bodies: [Message.Body] = [
            .preVote(lastIndex: 1, lastTerm: 2), .preVoteReply(granted: true),
            .vote(lastIndex: 1, lastTerm: 2, transfer: true), .voteReply(granted: false),
            .append(previousIndex: 4, previousTerm: 2, entries: entries, commit: 4, logEpoch: 1),
            .appendReply(.matched(9), logEpoch: 2),
            .appendReply(.conflict(rejected: 9, hint: 4, hintTerm: 2), logEpoch: 0),
            .appendReply(.staleTerm, logEpoch: 3),
            .heartbeat(
                Message.Heartbeat(
                    commit: 300, commitTerm: 4, round: 70_000, logEpoch: 5, electionMilliseconds: .max, stored: 7)),
            .heartbeatReply(round: .max, logEpoch: 6, health: .recovering, promise: 900), .timeoutNow,
            .propose([Proposal(id: 4, kind: .command, payload: [9])], Stamp(start: 3, number: 8)),
            .proposeRefused([1, 2], Stamp(start: .max, number: 9)),
            .change(
                requestID: 1, .add(Member(id: 9, role: .joining, peerURLs: ["http://b:2", "http://c:3"])),
                Stamp(start: 1, number: 1)),
            .change(
                requestID: 1,
                .add(Member(id: 9, role: .joiningWitness, peerURLs: ["http://b:2"], priority: 3, replaces: 8)),
                Stamp(start: 2, number: 5)),
            .change(
                requestID: 1, .several([.promote(4), .remove(5), .prioritize(6, 255)]), Stamp(start: 2, number: 6)),
            .change(requestID: 1, .promote(4), Stamp(start: 1, number: 2)),
            .change(requestID: 1, .remove(4), Stamp(start: 1, number: 3)),
            .change(requestID: 1, .update(4, peerURLs: ["http://d:4"]), Stamp(start: 1, number: 4)),
            .changeRefused(requestID: 2, .unhealthy),
            .readIndex([1, 2, 3]), .readIndexReply([7], index: 12),
        ]
        return bodies.map { Message(from: 1, to: 2, term: 77, body: $0) }
    }()

    private func encoded(_ message: Message) -> [UInt8] {
        var writer = ByteWriter()
        MessageCodec.encode(message, into: &writer)
        return writer.bytes
    }

    @Test(arguments: messages) func messagesComeBackAsTheyWere(_ message: Message) throws {
        var reader = ByteReader(encoded(message))
        #expect(try MessageCodec.decode(&reader) == message)
        #expect(reader.isAtEnd)
    }

    @Test(arguments: messages) func damagedFramesAreErrorsAndNeverTrap(_ message: Message) {
        let bytes = PeerFrame.messages([message]).encoded()
        for length in 0..<bytes.count {
            #expect(throws: DecodingFault.self) { try PeerFrame(decoding: Array(bytes[..<length])) }
        }
        for place in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[place] ^= 1 << UInt8(bit)
                _ = try? PeerFrame(decoding: damaged)
            }
        }
    }

    @Test func certificatesComeBackAsTheyWereAndDamagedNeverTrap() throws {
        let wish = CertificateWish(request: [1, 2], name: "m1", hosts: ["a", "10.0.0.1"], wantsAuthority: true)
        let answer = CertificateAnswer(certificate: [1], authorities: [2, 3], authority: [])
        let frames: [PeerFrame] = [.certificateWish(wish), .certificates(answer)]
        for frame in frames {
            let bytes = frame.encoded()
            switch try PeerFrame(decoding: bytes) {
            case .certificateWish(let found): #expect(found == wish)
            case .certificates(let found): #expect(found == answer)
            default: Issue.record("another kind of frame")
            }
            for length in 0..<bytes.count {
                #expect(throws: DecodingFault.self) { try PeerFrame(decoding: Array(bytes[..<length])) }
            }
            for place in bytes.indices {
                for bit in 0..<8 {
                    var damaged = bytes
                    damaged[place] ^= 1 << UInt8(bit)
                    _ = try? PeerFrame(decoding: damaged)
                }
            }
        }
        var writer = ByteWriter()
        writer.byte(11)
        CertificateWish(name: "", hosts: Array(repeating: "h", count: 64)).encode(into: &writer)
        _ = try PeerFrame(decoding: writer.bytes)
        #expect(throws: DecodingFault.self) {
            // 65 hosts are said, and there.
            try PeerFrame(decoding: [11, 0, 0, 65] + Array(repeating: 0, count: 66))
        }
    }

    @Test func noiseIsAnErrorAndNeverTraps() {
        var random = SplitMix64(seed: 5)
        for _ in 0..<20_000 {
            let bytes = (0..<Int(random.next() % 60)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            _ = try? PeerFrame(decoding: bytes)
        }
    }

    @Test func aDamagedPayloadDoesNotReachConsensus() {
        let message = Self.messages[4]
        var bytes = encoded(message)
        guard
            let place = bytes.firstIndex(of: 2).flatMap({ _ in
                bytes.indices.first { bytes[$0...].starts(with: [1, 2, 3]) }
            })
        else {
            Issue.record("the payload is not in the message")
            return
        }
        bytes[place] = 99
        var reader = ByteReader(bytes)
        #expect(throws: DecodingFault.self) { try MessageCodec.decode(&reader) }
    }
}
