internal import Schedules

/// Schedule policies: made, changed, removed.
extension FabricState {
    mutating func put(
        _ name: String, _ terms: PolicyTerms, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> SchedulePolicy {
        try FabricLimits.checkName("schedule policy", name)
        try FabricLimits.check(terms)
        let known = policyTable[name]
        try expect(expected, known, name)
        guard known != nil || policyTable.count < FabricLimits.policiesMax else {
            throw .noSpace("there are \(FabricLimits.policiesMax) schedule policies, and may not be more")
        }
        var policy = known ?? SchedulePolicy(name: name, terms: terms)
        policy.terms = terms
        policy.terms.recurrence = terms.recurrence.anchored(at: trace.at, after: known?.terms.recurrence)
        if policy == known { return policy }
        policy = put(policy, trace)
        note(.policy, name, known == nil ? "created" : "changed", trace)
        return policy
    }

    mutating func removePolicy(
        _ name: String, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> FabricResult {
        guard let policy = policyTable[name] else { throw .notFound(.policy, name) }
        try expect(expected, policy, name)
        remove(policy)
        note(.policy, name, "removed", trace)
        return .removed
    }
}

extension FabricLimits {
    static let policiesMax = 1000
    static let retainMax: Int64 = 1000
    static let waitSecondsMax: Int64 = 366 * 86_400

    static func check(_ terms: PolicyTerms) throws(FabricRefusal) {
        guard Zone.isName(terms.timeZone) else {
            throw .invalid(
                "timeZone \"\(terms.timeZone.prefix(64))\": IANA's name is expected, such as Europe/Berlin or UTC")
        }
        if let retain = terms.retain, !(1...retainMax).contains(retain) {
            throw .invalid("retain is 1 to \(retainMax)")
        }
        guard (0...waitSecondsMax).contains(terms.catchUpSeconds), (0...86_400).contains(terms.jitterSeconds) else {
            throw .invalid("catchUpSeconds is 0 to \(waitSecondsMax), jitterSeconds 0 to 86400")
        }
    }
}

extension Recurrence {
    /// An interval counts from when it was made, and goes on in its rhythm while its length stays.
    fileprivate func anchored(at time: Int64, after known: Recurrence?) -> Recurrence {
        guard case .interval(let minutes, _) = self else { return self }
        if case .interval(minutes, let anchor)? = known { return .interval(minutes: minutes, anchor: anchor) }
        return .interval(minutes: minutes, anchor: time)
    }
}
