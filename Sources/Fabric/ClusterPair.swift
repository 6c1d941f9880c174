internal import Bytes

/// Another fabric, in another region, that this one knows by its CAs.
package struct ClusterPair: Equatable, Sendable {
    /// How far the two have heard of each other.
    package enum Contact: UInt8, CaseIterable, Sendable {
        /// Not yet.
        case pending = 0
        case ready = 1
        /// The other side answers, and refuses.
        case degraded = 2
        case unreachable = 3
    }

    /// As it is called here.
    package let name: String
    /// What was agreed with the other side, and what it says of itself.
    package internal(set) var terms: PairTerms
    /// Nothing is asked of the other side, and it is answered nothing, until somebody resumes it.
    package internal(set) var isSuspended = false
    /// When they were paired last, or it was resumed: milliseconds since 1970.
    package internal(set) var since: Int64 = 0
    package internal(set) var contact = Contact.pending
    /// Why it is not ready; empty when it is.
    package internal(set) var reason = ""
    package internal(set) var news = PairNews()
    package internal(set) var mark = RecordMark()

    package init(name: String, terms: PairTerms) {
        self.name = name
        self.terms = terms
    }
}

/// Two fabrics, as one of them has it.
package struct PairTerms: Equatable, Sendable {
    /// The other fabric.
    package var fabric: UInt64
    /// This one, when they were paired: one that was restored is another.
    package var own: UInt64
    /// `https://` URLs of the other's members, as that tells them.
    package var endpoints: [String]
    /// Where operators say that it is reached from here; empty where they say nothing.
    package var reach: [String]
    /// CAs of the other fabric, DER, the newest first: its members have certificates of them.
    package var authorities: [[UInt8]]

    package init(fabric: UInt64, own: UInt64, endpoints: [String], reach: [String] = [], authorities: [[UInt8]]) {
        self.fabric = fabric
        self.own = own
        self.endpoints = endpoints
        self.reach = reach
        self.authorities = authorities
    }

    /// Where to go.
    package var places: [String] { reach.isEmpty ? endpoints : reach }
}

/// What was heard of the other side when it was last spoken to.
package struct PairNews: Equatable, Sendable {
    /// Milliseconds since 1970, by the clock of the member that heard it; 0 for never.
    package var at: Int64 = 0
    /// How far the other's clock is ahead, in milliseconds.
    package var skew: Int64 = 0
    /// What the other side runs.
    package var release = ""
    /// The other fabric's version.
    package var version: Int64 = 0
    /// Of its keys.
    package var revision: Int64 = 0
    /// Digests of this fabric's CAs that the other side believes: one that is on its way out must not be the only one.
    package var believed: [[UInt8]] = []

    package init() {}
}

/// What a member tells of a pair that it tried to reach, or that it was called by.
package struct PairNote: Equatable, Sendable {
    package var name: String
    /// Of another pair of the same name, or of one that was made anew, it says nothing.
    package var fabric: UInt64
    package var createRevision: Int64
    package var contact: ClusterPair.Contact
    package var reason = ""
    /// Nil when nothing was heard.
    package var news: PairNews?
    /// Empty leaves them as they are.
    package var endpoints: [String] = []
    package var authorities: [[UInt8]] = []

    private static let reasonBytesMax = 512

    package init(_ pair: ClusterPair, _ contact: ClusterPair.Contact, reason: String = "", news: PairNews? = nil) {
        name = pair.name
        fabric = pair.terms.fabric
        createRevision = pair.mark.createRevision
        self.contact = contact
        self.reason = String(decoding: reason.utf8.prefix(Self.reasonBytesMax), as: UTF8.self)
        self.news = news
    }
}

extension ClusterPair: Record {
    static let kind = RecordKind.pair
    var id: String { name }
    var key: [UInt8] { Array(name.utf8) }

    func encode(into writer: inout ByteWriter) {
        writer.string(name)
        terms.encode(into: &writer)
        writer.bool(isSuspended)
        writer.signed(since)
        writer.byte(contact.rawValue)
        writer.string(reason)
        news.encode(into: &writer)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        name = try reader.string()
        terms = try PairTerms(from: &reader)
        isSuspended = try reader.bool()
        since = try reader.time()
        contact = try reader.value("contact of a pair")
        reason = try reader.string()
        news = try PairNews(from: &reader)
    }
}

extension PairTerms {
    func encode(into writer: inout ByteWriter) {
        writer.fixed(fabric)
        writer.fixed(own)
        writer.strings(endpoints)
        writer.strings(reach)
        writer.list(authorities)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        fabric = try reader.fixed()
        own = try reader.fixed()
        endpoints = try reader.strings()
        reach = try reader.strings()
        authorities = try reader.list()
    }
}

extension PairNews {
    func encode(into writer: inout ByteWriter) {
        writer.signed(at)
        writer.signed(skew)
        writer.string(release)
        writer.signed(version)
        writer.signed(revision)
        writer.list(believed)
    }

    /// Times that are decoded again.
    package static let times = ByteReader.times

    init(from reader: inout ByteReader) throws(DecodingFault) {
        at = try reader.time()
        skew = try reader.time()
        release = try reader.string()
        version = try reader.signed()
        revision = try reader.signed()
        believed = try reader.list()
    }
}

extension PairNote {
    func encode(into writer: inout ByteWriter) {
        writer.string(name)
        writer.fixed(fabric)
        writer.signed(createRevision)
        writer.byte(contact.rawValue)
        writer.string(reason)
        writer.bool(news != nil)
        news?.encode(into: &writer)
        writer.strings(endpoints)
        writer.list(authorities)
    }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        name = try reader.string()
        fabric = try reader.fixed()
        createRevision = try reader.signed()
        contact = try reader.value("contact of a pair")
        reason = try reader.string()
        news = try reader.bool() ? try PairNews(from: &reader) : nil
        endpoints = try reader.strings()
        authorities = try reader.list()
    }
}
