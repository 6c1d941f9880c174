/// Applications: made, changed, removed.
extension FabricState {
    mutating func put(
        _ name: String, _ wanted: ApplicationTerms, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> Application {
        try FabricLimits.checkName("application", name)
        var terms = wanted
        terms.prefixes.sort { $0.lexicographicallyPrecedes($1) }
        terms.volumes.sort()
        try FabricLimits.check(terms)
        let known = applicationTable[name]
        try expect(expected, known, name)
        guard known != nil || applicationTable.count < FabricLimits.applicationsMax else {
            throw .noSpace("there are \(FabricLimits.applicationsMax) applications, and may not be more")
        }
        try expectDisjoint(name, terms)
        var application = known ?? Application(name: name, terms: terms, epoch: 1)
        application.terms = terms
        if application == known { return application }
        application = put(application, trace)
        note(.application, name, known == nil ? "created" : "changed", trace)
        return application
    }

    /// No key and no volume belongs to two.
    private func expectDisjoint(_ name: String, _ terms: ApplicationTerms) throws(FabricRefusal) {
        for volume in terms.volumes {
            guard self.volume(.name(volume)) != nil else { throw .notFound(.volume, volume) }
            if let other = applicationNames[volume], other != name {
                throw .conflict("volume \"\(volume)\" belongs to application \"\(other)\"")
            }
        }
        for other in applicationTable.rows() where other.name != name {
            for prefix in terms.prefixes {
                guard let taken = other.terms.prefixes.first(where: { prefix.overlaps($0) }) else { continue }
                throw .conflict(
                    "prefix \"\(prefix.readable)\" overlaps \"\(taken.readable)\" of application \"\(other.name)\"")
            }
        }
    }

    mutating func removeApplication(
        _ name: String, _ trace: Trace, _ expected: Int64?
    ) throws(FabricRefusal) -> FabricResult {
        guard let application = applicationTable[name] else { throw .notFound(.application, name) }
        try expect(expected, application, name)
        remove(application)
        note(.application, name, "removed; its keys and volumes stay", trace)
        return .removed
    }
}

extension FabricLimits {
    static let applicationsMax = 1000
    static let prefixesMax = 64
    static let prefixBytesMax = 1024
    static let volumesOfApplicationMax = 10_000
    static let rpoSecondsMax: Int64 = 366 * 86_400

    static func check(_ terms: ApplicationTerms) throws(FabricRefusal) {
        guard !terms.prefixes.isEmpty || !terms.volumes.isEmpty else {
            throw .invalid("an application has prefixes of keys, volumes, or both")
        }
        guard terms.prefixes.count <= prefixesMax else { throw .invalid("over \(prefixesMax) prefixes") }
        guard terms.volumes.count <= volumesOfApplicationMax else {
            throw .invalid("over \(volumesOfApplicationMax) volumes")
        }
        for prefix in terms.prefixes {
            guard !prefix.isEmpty, prefix.count <= prefixBytesMax else {
                throw .invalid("a prefix has 1 to \(prefixBytesMax) bytes")
            }
        }
        // In order: one that begins like another comes right after it, or after others that do.
        for (prefix, next) in zip(terms.prefixes, terms.prefixes.dropFirst()) where prefix.overlaps(next) {
            throw .invalid("prefix \"\(next.readable)\" overlaps \"\(prefix.readable)\"")
        }
        for (volume, next) in zip(terms.volumes, terms.volumes.dropFirst()) where volume == next {
            throw .invalid("volume \"\(volume)\" is there twice")
        }
        guard (0...rpoSecondsMax).contains(terms.rpoSeconds) else {
            throw .invalid("rpoSeconds is 0 to \(rpoSecondsMax)")
        }
    }
}

extension [UInt8] {
    /// If some key begins with both.
    fileprivate func overlaps(_ other: [UInt8]) -> Bool { starts(with: other) || other.starts(with: self) }

    /// For people; what is no text as it comes.
    fileprivate var readable: String { String(decoding: prefix(128), as: UTF8.self) }
}
