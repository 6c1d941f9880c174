package import Bytes
package import Raft

/// Raft messages as bytes. Entries are checked when they are read: what a network damaged does not reach consensus.
package enum MessageCodec {
    package static func encode(_ message: Message, into writer: inout ByteWriter) {
        writer.fixed(message.from)
        writer.fixed(message.to)
        writer.varint(message.term)
        switch message.body {
        case .preVote(let lastIndex, let lastTerm): numbers(1, [lastIndex, lastTerm], &writer)
        case .preVoteReply(let granted): numbers(2, [granted ? 1 : 0], &writer)
        case .vote(let lastIndex, let lastTerm, let transfer):
            numbers(3, [lastIndex, lastTerm, transfer ? 1 : 0], &writer)
        case .voteReply(let granted): numbers(4, [granted ? 1 : 0], &writer)
        case .append(let previousIndex, let previousTerm, let entries, let commit, let logEpoch):
            numbers(5, [previousIndex, previousTerm, commit, logEpoch, UInt64(entries.count)], &writer)
            for entry in entries { encode(entry, into: &writer) }
        case .appendReply(.matched(let index), let logEpoch): numbers(6, [logEpoch, index], &writer)
        case .appendReply(.conflict(let rejected, let hint, let hintTerm), let logEpoch):
            numbers(7, [logEpoch, rejected, hint, hintTerm], &writer)
        case .appendReply(.staleTerm, let logEpoch): numbers(8, [logEpoch], &writer)
        case .appendReply(.lost(let index), let logEpoch): numbers(18, [logEpoch, index], &writer)
        case .heartbeat(let beat):
            numbers(
                9,
                [
                    beat.commit, beat.commitTerm, beat.round, beat.logEpoch, UInt64(beat.electionMilliseconds),
                    beat.stored, (beat.asksForPromise ? 1 : 0) | (beat.sparesReceiver ? 2 : 0),
                ], &writer)
        case .heartbeatReply(let round, let logEpoch, let health, let promise):
            numbers(10, [round, logEpoch, UInt64(health.rawValue), UInt64(promise)], &writer)
        case .timeoutNow: numbers(11, [], &writer)
        case .propose(let proposals, let stamp):
            self.stamp(12, stamp, &writer)
            writer.varint(UInt64(proposals.count))
            for proposal in proposals { encode(proposal, into: &writer) }
        case .proposeRefused(let ids, let stamp):
            self.stamp(13, stamp, &writer)
            list(ids, &writer)
        case .change(let requestID, let change, let stamp):
            self.stamp(14, stamp, &writer)
            writer.varint(requestID)
            encode(change, into: &writer)
        case .changeRefused(let requestID, let refusal):
            numbers(15, [requestID, UInt64(refusal.rawValue)], &writer)
        case .readIndex(let ids):
            writer.byte(16)
            list(ids, &writer)
        case .readIndexReply(let ids, let index):
            writer.byte(17)
            list(ids, &writer)
            writer.varint(index)
        }
    }

    package static func decode(_ reader: inout ByteReader) throws(DecodingFault) -> Message {
        let from: NodeID = try reader.fixed()
        let to: NodeID = try reader.fixed()
        let term = try number(&reader)
        return Message(from: from, to: to, term: term, body: try body(&reader))
    }

    private static func body(_ reader: inout ByteReader) throws(DecodingFault) -> Message.Body {
        let kind = try reader.byte()
        switch kind {
        case 1: return .preVote(lastIndex: try number(&reader), lastTerm: try number(&reader))
        case 2: return .preVoteReply(granted: try flag(&reader))
        case 3:
            return .vote(lastIndex: try number(&reader), lastTerm: try number(&reader), transfer: try flag(&reader))
        case 4: return .voteReply(granted: try flag(&reader))
        case 5: return try append(&reader)
        case 6...8, 18: return try appendReply(kind, &reader)
        case 9:
            var beat = Message.Heartbeat(
                commit: try number(&reader), commitTerm: try number(&reader), round: try reader.varint(),
                logEpoch: try number(&reader), electionMilliseconds: try milliseconds(&reader),
                stored: try number(&reader))
            let flags = try reader.varint()
            guard flags < 4 else { throw .invalid("heartbeat flags") }
            beat.asksForPromise = flags & 1 != 0
            beat.sparesReceiver = flags & 2 != 0
            return .heartbeat(beat)
        case 10:
            return .heartbeatReply(
                round: try reader.varint(), logEpoch: try number(&reader), health: try health(&reader),
                promise: try milliseconds(&reader))
        case 11: return .timeoutNow
        case 12:
            let stamp = try stamp(&reader)
            var proposals: [Proposal] = []
            for _ in 0..<(try reader.count(itemBytesMin: 14)) { proposals.append(try proposal(&reader)) }
            return .propose(proposals, stamp)
        case 13:
            let stamp = try stamp(&reader)
            return .proposeRefused(try list(&reader), stamp)
        case 14:
            let stamp = try stamp(&reader)
            return .change(requestID: try reader.varint(), try change(&reader), stamp)
        case 15:
            let requestID = try reader.varint()
            guard let refusal = ChangeRefusal(rawValue: UInt8(truncatingIfNeeded: try reader.varint())) else {
                throw .invalid("refusal")
            }
            return .changeRefused(requestID: requestID, refusal)
        case 16: return .readIndex(try list(&reader))
        case 17: return .readIndexReply(try list(&reader), index: try number(&reader))
        default: throw .invalid("message kind \(kind)")
        }
    }

    private static func append(_ reader: inout ByteReader) throws(DecodingFault) -> Message.Body {
        let previousIndex = try number(&reader)
        let previousTerm = try number(&reader)
        let commit = try number(&reader)
        let logEpoch = try number(&reader)
        var entries: [Entry] = []
        for _ in 0..<(try reader.count(itemBytesMin: 8)) { entries.append(try entry(&reader)) }
        return .append(
            previousIndex: previousIndex, previousTerm: previousTerm, entries: entries, commit: commit,
            logEpoch: logEpoch)
    }

    private static func appendReply(
        _ kind: UInt8, _ reader: inout ByteReader
    ) throws(DecodingFault) -> Message.Body {
        let logEpoch = try number(&reader)
        let outcome: Message.AppendOutcome =
            switch kind {
            case 6: .matched(try number(&reader))
            case 18: .lost(try number(&reader))
            case 7:
                .conflict(rejected: try number(&reader), hint: try number(&reader), hintTerm: try number(&reader))
            default: .staleTerm
            }
        return .appendReply(outcome, logEpoch: logEpoch)
    }

    // MARK: - Parts

    private static func health(_ reader: inout ByteReader) throws(DecodingFault) -> Message.Health {
        guard let raw = UInt8(exactly: try reader.varint()), let health = Message.Health(rawValue: raw) else {
            throw .invalid("health")
        }
        return health
    }

    private static func milliseconds(_ reader: inout ByteReader) throws(DecodingFault) -> UInt32 {
        guard let value = UInt32(exactly: try reader.varint()) else { throw .invalid("milliseconds") }
        return value
    }

    private static func numbers(_ kind: UInt8, _ values: [UInt64], _ writer: inout ByteWriter) {
        writer.byte(kind)
        for value in values { writer.varint(value) }
    }

    /// An index or a term: far from where adding to it would overflow.
    private static func number(_ reader: inout ByteReader) throws(DecodingFault) -> UInt64 {
        let value = try reader.varint()
        guard value < 1 << 62 else { throw .invalid("an index or term of \(value)") }
        return value
    }

    private static func stamp(_ kind: UInt8, _ stamp: Stamp, _ writer: inout ByteWriter) {
        writer.byte(kind)
        writer.fixed(stamp.start)
        writer.varint(stamp.number)
    }

    private static func stamp(_ reader: inout ByteReader) throws(DecodingFault) -> Stamp {
        Stamp(start: try reader.fixed(), number: try number(&reader))
    }

    private static func list(_ ids: [UInt64], _ writer: inout ByteWriter) {
        writer.varint(UInt64(ids.count))
        for id in ids { writer.fixed(id) }
    }

    private static func list(_ reader: inout ByteReader) throws(DecodingFault) -> [UInt64] {
        var ids: [UInt64] = []
        for _ in 0..<(try reader.count(itemBytesMin: 8)) { ids.append(try reader.fixed()) }
        return ids
    }

    private static func flag(_ reader: inout ByteReader) throws(DecodingFault) -> Bool {
        try reader.bool()
    }

    private static func encode(_ entry: Entry, into writer: inout ByteWriter) {
        writer.varint(entry.index)
        writer.varint(entry.term)
        writer.byte(entry.kind.rawValue)
        writer.fixed(entry.checksum)
        writer.lengthPrefixed(entry.payload)
    }

    private static func entry(_ reader: inout ByteReader) throws(DecodingFault) -> Entry {
        let index = try number(&reader)
        let term = try number(&reader)
        guard let kind = Entry.Kind(rawValue: try reader.byte()) else { throw .invalid("entry kind") }
        let checksum: UInt32 = try reader.fixed()
        let entry = Entry(
            index: index, term: term, kind: kind, payload: try reader.lengthPrefixed(), checksum: checksum)
        guard entry.isIntact else { throw .invalid("checksum of entry \(index)") }
        if kind == .configuration { _ = try ConfigurationEntry(decoding: entry.payload) }
        return entry
    }

    private static func encode(_ proposal: Proposal, into writer: inout ByteWriter) {
        writer.fixed(proposal.id)
        writer.byte(proposal.kind.rawValue)
        writer.fixed(proposal.checksum)
        writer.lengthPrefixed(proposal.payload)
    }

    private static func proposal(_ reader: inout ByteReader) throws(DecodingFault) -> Proposal {
        let id: UInt64 = try reader.fixed()
        guard let kind = Entry.Kind(rawValue: try reader.byte()) else { throw .invalid("proposal kind") }
        let checksum: UInt32 = try reader.fixed()
        let payload = try reader.lengthPrefixed()
        guard checksum == Entry.checksum(kind: kind, payload: payload) else { throw .invalid("proposal checksum") }
        return Proposal(id: id, kind: kind, payload: payload, checksum: checksum)
    }

    private static func encode(_ change: ConfigurationChange, into writer: inout ByteWriter) {
        switch change {
        case .add(let member):
            writer.byte(0)
            member.encode(into: &writer)
        case .promote(let id):
            writer.byte(1)
            writer.fixed(id)
        case .remove(let id):
            writer.byte(2)
            writer.fixed(id)
        case .update(let id, let peerURLs):
            writer.byte(3)
            Member(id: id, role: .voter, peerURLs: peerURLs).encode(into: &writer)
        case .prioritize(let id, let priority):
            writer.byte(4)
            writer.fixed(id)
            writer.byte(priority)
        case .locate(let id, let domain):
            writer.byte(6)
            writer.fixed(id)
            writer.string(domain)
        case .setActive(let domain, let isActive):
            writer.byte(7)
            writer.string(domain)
            writer.bool(isActive)
        case .spread(let domains):
            writer.byte(8)
            writer.byte(domains)
        case .readByLease(let isOn):
            writer.byte(9)
            writer.bool(isOn)
        case .several(let changes):
            writer.byte(5)
            writer.varint(UInt64(changes.count))
            for change in changes { encode(change, into: &writer) }
        }
    }

    private static func change(
        _ reader: inout ByteReader, isInner: Bool = false
    ) throws(DecodingFault) -> ConfigurationChange {
        switch try reader.byte() {
        case 1: return .promote(try reader.fixed())
        case 2: return .remove(try reader.fixed())
        case 0: return .add(try Member(from: &reader))
        case 3:
            let member = try Member(from: &reader)
            return .update(member.id, peerURLs: member.peerURLs)
        case 4: return .prioritize(try reader.fixed(), try reader.byte())
        case 6:
            let id: NodeID = try reader.fixed()
            return .locate(id, domain: try reader.string())
        case 7:
            let domain = try reader.string()
            return .setActive(domain: domain, try reader.bool())
        case 8: return .spread(try reader.byte())
        case 9: return .readByLease(try reader.bool())
        case 5 where !isInner:
            var changes: [ConfigurationChange] = []
            for _ in 0..<(try reader.count(itemBytesMin: 9)) { changes.append(try change(&reader, isInner: true)) }
            return .several(changes)
        default: throw .invalid("membership change")
        }
    }
}
