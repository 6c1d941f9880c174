internal import Schedules

/// Schedule policies: made, changed, removed.
extension FabricState {
    mutating func put(
        _ spec: PolicySpec, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> SchedulePolicy {
        try FabricLimits.check(spec)
        let known = policyTable[spec.name]
        try expect(expected, known, spec.name)
        guard known != nil || policyTable.count < FabricLimits.policiesMax else {
            throw .noSpace("there are \(FabricLimits.policiesMax) schedule policies, and may not be more")
        }
        var recurrence = spec.recurrence
        if case .interval(let minutes, _) = recurrence {
            // A policy that is changed in other ways goes on in its rhythm.
            if case .interval(minutes, let anchor)? = known?.recurrence {
                recurrence = .interval(minutes: minutes, anchor: anchor)
            } else {
                recurrence = .interval(minutes: minutes, anchor: trace.at)
            }
        }
        var policy = SchedulePolicy(
            name: spec.name, recurrence: recurrence, timeZone: spec.timeZone,
            retain: spec.retain ?? recurrence.retainUsual, overlap: spec.overlap, catchUpSeconds: spec.catchUpSeconds,
            jitterSeconds: spec.jitterSeconds, pausesOnFailure: spec.pausesOnFailure)
        policy.mark = known?.mark ?? RecordMark()
        if policy == known { return policy }
        policy = put(policy, trace)
        note(.policy, spec.name, known == nil ? "created" : "changed", trace)
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

    static func check(_ spec: PolicySpec) throws(FabricRefusal) {
        try checkName("schedule policy", spec.name)
        guard Zone.isName(spec.timeZone) else {
            throw .invalid(
                "timeZone \"\(spec.timeZone.prefix(64))\": IANA's name is expected, such as Europe/Berlin or UTC")
        }
        if let retain = spec.retain, !(1...retainMax).contains(retain) { throw .invalid("retain is 1 to \(retainMax)") }
        guard (0...waitSecondsMax).contains(spec.catchUpSeconds), (0...86_400).contains(spec.jitterSeconds) else {
            throw .invalid("catchUpSeconds is 0 to \(waitSecondsMax), jitterSeconds 0 to 86400")
        }
    }
}
