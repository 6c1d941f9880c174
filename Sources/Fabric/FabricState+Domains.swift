/// Domains: made, changed, activated, deactivated, removed.
extension FabricState {
    mutating func put(_ spec: DomainSpec, _ trace: Trace, _ expected: Int64?) throws(FabricRefusal) -> Domain {
        try FabricLimits.checkName("domain", spec.name)
        if let labels = spec.labels { try FabricLimits.check(labels) }
        let known = domainTable[spec.name]
        try expect(expected, known, spec.name)
        guard var domain = known else {
            return try make(spec.name, kind: spec.kind ?? .data, labels: spec.labels ?? Labels(), trace)
        }
        if spec.kind == .witness, domain.kind == .data, nodeTable.rows().contains(where: { $0.domain == spec.name }) {
            throw .conflict("domain \"\(spec.name)\" has storage nodes, which a witness has not")
        }
        domain.kind = spec.kind ?? domain.kind
        domain.labels = spec.labels ?? domain.labels
        return domain == known ? domain : put(domain, trace)
    }

    mutating func make(
        _ name: String, kind: Domain.Kind, labels: Labels = Labels(), _ trace: Trace
    ) throws(FabricRefusal) -> Domain {
        guard domainTable.count < FabricLimits.domainsMax else {
            throw .noSpace("there are \(FabricLimits.domainsMax) domains, and may not be more")
        }
        let domain = put(Domain(name: name, kind: kind, labels: labels, lastChange: trace), trace)
        note(.domain, name, "created", trace)
        return domain
    }

    private func existingDomain(_ name: String, _ expected: Int64?) throws(FabricRefusal) -> Domain {
        guard let domain = domainTable[name] else { throw .notFound(.domain, name) }
        try expect(expected, domain, name)
        return domain
    }

    mutating func activate(_ name: String, _ trace: Trace, _ expected: Int64?) throws(FabricRefusal) -> Domain {
        var domain = try existingDomain(name, expected)
        guard !domain.isActive else { return domain }
        domain.isActive = true
        domain.epoch += 1
        domain.lastChange = trace
        domain = put(domain, trace)
        _ = settle(nodes(in: name), trace)
        note(.domain, name, "activated, epoch \(domain.epoch)", trace)
        return domain
    }

    mutating func deactivate(
        _ name: String, force: Bool, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> Domain {
        var domain = try existingDomain(name, expected)
        guard domain.isActive else { return domain }
        let others = domainTable.rows().contains { $0.kind == .data && $0.isActive && $0.name != name }
        guard others || force || domain.kind == .witness else {
            throw .conflict(
                "\"\(name)\" is the last active data domain: without it no volume is up; say force if you mean it")
        }
        domain.isActive = false
        domain.epoch += 1
        domain.lastChange = trace
        domain = put(domain, trace)
        releaseAttachments(on: nodes(in: name), trace)
        let stale = settle(nodes(in: name), trace)
        note(.domain, name, "deactivated, epoch \(domain.epoch), \(stale) replicas stale", trace)
        return domain
    }

    private func nodes(in domain: String) -> [String] {
        nodeTable.rows().filter { $0.domain == domain }.map(\.name)
    }

    mutating func removeDomain(_ name: String, _ trace: Trace, _ expected: Int64?) throws(FabricRefusal) -> FabricResult
    {
        let domain = try existingDomain(name, expected)
        let nodes = nodes(in: name)
        guard nodes.isEmpty else {
            throw .conflict("domain \"\(name)\" still has \(nodes.count) nodes: remove them first")
        }
        remove(domain)
        note(.domain, name, "removed", trace)
        return .removed
    }
}
