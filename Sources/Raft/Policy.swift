internal import Bytes

/// What an entry needs beside a majority of the voters before it is committed, and a read before it is answered.
package struct Policy: Equatable, Sendable {
    /// In so many domains a voter with state must have it on disk; as many of them as are active, if those are fewer. 0 and
    /// 1 ask for nothing.
    package internal(set) var domainsMin: UInt8 = 0
    /// Domains that nothing is asked of, ascending.
    package private(set) var inactive: [String] = []
    /// A leader answers reads for as long as a quorum has promised to elect nobody else, without asking it each time (D 6.4.1). It
    /// stands on clocks that never stand still while their machine does not.
    package internal(set) var readsByLease = false

    package init(domainsMin: UInt8 = 0, readsByLease: Bool = false) {
        self.domainsMin = domainsMin
        self.readsByLease = readsByLease
    }

    var isPlain: Bool { self == Policy() }

    /// If `other` asks for less than this, for the same members.
    func isStricter(than other: Policy) -> Bool {
        domainsMin > max(other.domainsMin, 1) || domainsMin > 1 && !Set(other.inactive).isSubset(of: inactive)
    }

    mutating func set(_ domain: String, _ isActive: Bool) {
        inactive.removeAll { $0 == domain }
        if !isActive { inactive = (inactive + [domain]).sorted() }
    }

    func encode(into writer: inout ByteWriter) {
        writer.byte(domainsMin)
        writer.varint(UInt64(inactive.count) | (readsByLease ? Self.leaseMark : 0))
        for domain in inactive { writer.string(domain) }
    }

    /// Used from version 2 of the fabric on.
    private static var leaseMark: UInt64 { 1 << 40 }

    init(from reader: inout ByteReader) throws(DecodingFault) {
        domainsMin = try reader.byte()
        let count = try reader.varint()
        readsByLease = count & Self.leaseMark != 0
        for _ in 0..<(count & ~Self.leaseMark) { inactive.append(try reader.string()) }
    }
}

extension Configuration {
    /// The domains of voters that keep state, without those that are inactive; ascending.
    package var activeDomains: [String] {
        let all = members.filter { $0.role == .voter && !$0.domain.isEmpty }.map(\.domain)
        return Set(all).subtracting(policy.inactive).sorted()
    }

    /// All domains that members belong to, ascending.
    package var domains: [String] { Set(members.map(\.domain)).subtracting([""]).sorted() }

    /// The highest number that members with state have reached in as many domains as the policy asks for; nil when it asks for
    /// nothing.
    package func reachedBySpread(_ value: (NodeID) -> UInt64) -> UInt64? {
        guard policy.domainsMin > 1 else { return nil }
        let reached = activeDomains.map { domain in
            members.filter { $0.role == .voter && $0.domain == domain }.map { value($0.id) }.max() ?? 0
        }
        .sorted(by: >)
        let needed = min(Int(policy.domainsMin), reached.count)
        return needed == 0 ? nil : reached[needed - 1]
    }

    /// If it differs in nothing but the policy, and commits wait for no more domains.
    func isRelaxed(from other: Configuration) -> Bool {
        policy != other.policy && !policy.isStricter(than: other.policy)
            && Configuration(members, leaving: leaving, outgoing: outgoing, policy: other.policy) == other
    }

    /// Domains without which the voters that remain are no majority, if there are several: a fabric that is to survive a site has
    /// none.
    package var indispensableDomains: [String] {
        guard domains.count > 1 else { return [] }
        return domains.filter { domain in !isQuorum { self[$0]?.domain != domain } }
    }
}
