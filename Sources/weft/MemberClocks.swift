internal import Client
internal import JSON
internal import NIOHTTP1
internal import Server

/// How members' clocks go. Certificates, tokens and schedules go by them, so that they should agree; commits and leases do not.
struct MemberClocks {
    /// A clock, compared with this machine's; milliseconds. The true difference is within half of the round trip.
    struct Reading {
        let ahead: Int64
        let roundTrip: Int64
    }

    /// Differences of this many milliseconds or more are warned of: certificates are good from five minutes before they are made.
    private static let warningMilliseconds: Int64 = 30_000

    private(set) var readings: [UInt64: Reading] = [:]

    /// Asks a member which release it runs, and reads its clock on the way. An earlier release does not tell the time.
    mutating func release(of member: UInt64, _ client: FabricClient) async throws -> String? {
        let start = millisecondsSince1970()
        let answer = try await client.send(.GET, "/version")
        let end = millisecondsSince1970()
        if let clock = answer["unixMilliseconds"]?.integer, (0...1 << 53).contains(clock) {
            readings[member] = Reading(ahead: clock - (start + end) / 2, roundTrip: end - start)
        }
        return answer["weft"]?.text
    }

    /// Milliseconds by which a member's clock is ahead of another's; nil where that is not known.
    func skew(of member: UInt64, from other: UInt64?) -> Int64? {
        guard let own = readings[member], let reference = other.flatMap({ readings[$0] }) else { return nil }
        let difference = own.ahead - reference.ahead
        // What the way may have done is not the clock's.
        return abs(difference) <= (own.roundTrip + reference.roundTrip) / 2 ? 0 : difference
    }

    /// `+1.2 s`.
    static func text(_ milliseconds: Int64) -> String {
        let tenths = (abs(milliseconds) + 50) / 100
        return "\(milliseconds < 0 ? "-" : "+")\(tenths / 10).\(tenths % 10) s"
    }

    func warning(about name: String, _ member: UInt64, from other: UInt64?) -> String? {
        guard let skew = skew(of: member, from: other), abs(skew) >= Self.warningMilliseconds else { return nil }
        return
            "the clock of \(name) differs by \(Self.text(skew)) from the leader's: set it right, for certificates and tokens go by it"
    }
}
