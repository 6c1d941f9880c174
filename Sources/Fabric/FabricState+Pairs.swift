/// Pairs with fabrics in other regions: made, heard of, suspended, removed.
extension FabricState {
    package func pair(with fabric: UInt64) -> ClusterPair? { pairTable.rows().first { $0.terms.fabric == fabric } }

    /// Makes a pair, or makes the same anew: the other side may have lost the answer.
    mutating func put(
        _ name: String, _ terms: PairTerms, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> ClusterPair {
        try FabricLimits.checkName("pair", name)
        try FabricLimits.check(terms)
        let known = pairTable[name]
        try expect(expected, known, name)
        if let known, known.terms.fabric != terms.fabric {
            throw .conflict(
                "pair \"\(name)\" is with fabric \(String(known.terms.fabric, radix: 16)): choose another name, or remove it first"
            )
        }
        if let other = pair(with: terms.fabric), other.name != name {
            throw .conflict(
                "this fabric is paired with fabric \(String(terms.fabric, radix: 16)) already, as \"\(other.name)\"")
        }
        guard known != nil || pairTable.count < FabricLimits.pairsMax else {
            throw .noSpace("there are \(FabricLimits.pairsMax) pairs, and may not be more")
        }
        var pair = known ?? ClusterPair(name: name, terms: terms)
        pair.terms = terms
        // Paired anew it begins anew.
        (pair.isSuspended, pair.contact, pair.reason, pair.news) = (false, .pending, "", PairNews())
        if pair == known { return pair }
        pair.since = Self.time(trace)
        pair = put(pair, trace)
        note(.pair, name, "paired with fabric \(String(terms.fabric, radix: 16))", trace)
        return pair
    }

    /// Whoever wrote the command may have written any.
    private static func time(_ trace: Trace) -> Int64 {
        min(max(trace.at, PairNews.times.lowerBound), PairNews.times.upperBound)
    }

    mutating func setPair(
        _ name: String, isSuspended: Bool, of fabric: UInt64, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> ClusterPair {
        guard var pair = pairTable[name] else { throw .notFound(.pair, name) }
        try expect(expected, pair, name)
        guard isSuspended || pair.terms.own == fabric else {
            throw .conflict(
                "pair \"\(name)\" was made when this was fabric \(String(pair.terms.own, radix: 16)), which was restored or recovered as \(String(fabric, radix: 16)): the other side does not know this one. Remove the pair on both sides, and pair them anew"
            )
        }
        guard pair.isSuspended != isSuspended else { return pair }
        pair.isSuspended = isSuspended
        if !isSuspended { (pair.contact, pair.reason, pair.since) = (.pending, "", Self.time(trace)) }
        pair = put(pair, trace)
        note(.pair, name, isSuspended ? "suspended" : "resumed", trace)
        return pair
    }

    mutating func removePair(_ name: String, _ trace: Trace, _ expected: Int64?) throws(FabricRefusal) -> FabricResult {
        guard let pair = pairTable[name] else { throw .notFound(.pair, name) }
        try expect(expected, pair, name)
        remove(pair)
        note(.pair, name, "removed: fabric \(String(pair.terms.fabric, radix: 16)) is not believed any more", trace)
        return .removed
    }

    /// Only what is news of a state is an event.
    mutating func note(_ told: PairNote, _ trace: Trace) throws(FabricRefusal) -> ClusterPair {
        guard let known = pairTable[told.name], known.terms.fabric == told.fabric,
            known.mark.createRevision == told.createRevision
        else { throw .notFound(.pair, told.name) }
        guard !known.isSuspended else { throw .conflict("pair \"\(told.name)\" is suspended") }
        var pair = known
        (pair.contact, pair.reason) = (told.contact, told.reason)
        if let news = told.news { pair.news = news }
        if !told.endpoints.isEmpty { pair.terms.endpoints = told.endpoints }
        if !told.authorities.isEmpty { pair.terms.authorities = told.authorities }
        try FabricLimits.check(pair.terms)
        try FabricLimits.check(pair)
        if pair == known { return pair }
        pair = put(pair, trace)
        if pair.contact != known.contact {
            note(.pair, pair.name, pair.reason.isEmpty ? "\(pair.contact)" : "\(pair.contact): \(pair.reason)", trace)
        }
        if pair.terms.authorities != known.terms.authorities { note(.pair, pair.name, "other CAs are believed", trace) }
        return pair
    }

    /// What was restored pulls from nobody until somebody says so.
    mutating func suspendPairs(_ trace: Trace) {
        for var pair in Array(pairTable.rows()) where !pair.isSuspended {
            pair.isSuspended = true
            note(.pair, put(pair, trace).name, "suspended: the fabric was restored or recovered", trace)
        }
    }
}

extension FabricLimits {
    static let pairsMax = 100
    static let endpointsMax = 64
    static let authoritiesMax = 16
    private static let authorityBytesMax = 16 << 10

    static func check(_ terms: PairTerms) throws(FabricRefusal) {
        guard terms.fabric != terms.own else {
            throw .invalid("a fabric cannot be paired with itself")
        }
        guard terms.endpoints.count <= endpointsMax, terms.reach.count <= endpointsMax else {
            throw .invalid("over \(endpointsMax) endpoints of a pair")
        }
        for endpoint in terms.endpoints + terms.reach { try checkText("an endpoint of a pair", endpoint) }
        guard (1...authoritiesMax).contains(terms.authorities.count),
            terms.authorities.allSatisfy({ $0.count <= authorityBytesMax })
        else { throw .invalid("a pair has 1 to \(authoritiesMax) CAs of up to \(authorityBytesMax) bytes") }
    }

    static func check(_ pair: ClusterPair) throws(FabricRefusal) {
        try checkText("the reason of a pair's state", pair.reason)
        try checkText("a pair's release", pair.news.release)
        guard pair.news.believed.count <= authoritiesMax, pair.news.believed.allSatisfy({ $0.count <= textBytesMax })
        else { throw .invalid("over \(authoritiesMax) digests of CAs") }
    }
}
