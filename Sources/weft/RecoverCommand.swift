internal import ArgumentParser
internal import JSON
internal import Logging
internal import Raft
internal import Replication
internal import Server
internal import Storage
internal import Transport
#if canImport(Glibc)
    internal import Glibc
#endif

/// The worst day: most members are lost, and one is left.
struct Recover: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Rebuild a fabric from the disk of one surviving member, when the others will not come back.",
        discussion: """
            Only for when no quorum can return: as long as a majority of the members can be started again, start them, and
            nothing is lost. The member must be stopped. It says what may be lost and asks; --yes goes ahead.

            What the member has becomes another fabric, with another id, of which it is the only member: those of before are
            refused by it, and it by them. Its directory of before is kept beside it. Then start it as always, and let new
            machines join it.

            Examples:
              systemctl stop weft && weft recover --data-dir /var/lib/weft/data
              weft recover --data-dir /var/lib/weft/data --yes
            """)
    @Option(help: "The surviving member's directory.")
    var dataDir: String
    @Flag(help: "Do not ask.")
    var yes = false
    @Option(help: "How much revisions grow, so that nobody takes new ones for what was lost.")
    var bumpRevision: Int64 = 1_000_000_000
    @Option(name: [.customShort("o"), .customLong("output")], help: "simple or json.")
    var output: OutputFormat = .simple

    func run() throws {
        guard (0..<1 << 60).contains(bumpRevision) else {
            throw Problem(.usage, "--bump-revision \(bumpRevision) is no number from 0 to 2^60")
        }
        var path = dataDir
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        guard access(path + "/identity", F_OK) == 0 else { throw Problem(.notFound, "there is no member in \(path)") }
        var logger = Logger(label: "weft")
        logger.logLevel = .error
        do {
            if try finishEarlier(path) { return }
            let source = try DataDirectory(path)
            let findings = try RunningMember.inspectForRecovery(source, logger: logger)
            for line in report(findings, changed: modified(source.logPath + "-wal") ?? modified(source.logPath)) {
                Console.error(line)
            }
            try askForConsent()
            let fresh = try DataDirectory(Self.unfinished(path))
            try fresh.clear()
            let user = getenv("USER").map { String(cString: $0) } ?? "uid \(getuid())"
            let restored = try RunningMember.recover(
                from: source, findings, into: fresh, by: user, revisionBump: bumpRevision, logger: logger)
            try RunningMember.giveUp(source, findings)
            let kept = try exchange(path, findings.identity.clusterID, [fresh, source])
            try print(restored, findings, path, kept)
        } catch let error as StorageError {
            throw Problem(error)
        }
    }

    private static func unfinished(_ path: String) -> String { path + ".recovering" }

    /// The new directory takes the place of the one that was given up, and has its owner. Answers where that is.
    /// - Parameter directories: both.
    private func exchange(
        _ path: String, _ former: UInt64, _ directories: [DataDirectory]
    ) throws(StorageError) -> String {
        let owner = DataDirectory.owner(at: path)
        for directory in directories { directory.give(to: owner, warn: Console.error) }
        try File.exchange(path, with: Self.unfinished(path))
        return try keep(path, former)
    }

    private func keep(_ path: String, _ former: UInt64) throws(StorageError) -> String {
        let kept = "\(path).before-\(hex(former))"
        try File.rename(Self.unfinished(path), to: kept)
        return kept
    }

    /// A recovery that was interrupted after its work was done is finished.
    private func finishEarlier(_ path: String) throws(StorageError) -> Bool {
        let unfinished = Self.unfinished(path)
        guard access(unfinished + "/identity", F_OK) == 0 else { return false }
        let directories = [try DataDirectory(path), try DataDirectory(unfinished)]
        guard let own = try directories[0].identity(), let other = try directories[1].identity() else { return false }
        let kept: String
        switch (own.state, other.state) {
        case (.removed, .member): kept = try exchange(path, own.clusterID, directories)
        case (.member, .removed): kept = try keep(path, other.clusterID)
        default: return false
        }
        Console.error(
            "a recovery that was interrupted is finished: start the member; what was before is in \(kept)")
        return true
    }

    private func report(_ findings: Recovery.Findings, changed: String?) -> [String] {
        func name(_ member: Member) -> String {
            let name = findings.names[member.id] ?? hex(member.id)
            return member.domain.isEmpty ? name : "\(name) (\(member.domain))"
        }
        let unsure = findings.lastIndex - min(findings.commit, findings.lastIndex)
        var lines = [
            "member \(findings.identity.name) of fabric \(hex(findings.identity.clusterID)): its log ends at entry \(findings.lastIndex) of term \(findings.lastTerm)"
                + (changed.map { ", last written \($0)" } ?? ""),
            "given up: \(findings.others.map(name).joined(separator: ", "))",
        ]
        if findings.identity.state == .removed {
            lines.append("it was removed from its fabric, or its fabric goes on elsewhere since an earlier recovery")
        }
        if unsure > 0 {
            lines.append(
                "kept though this member does not know that they were committed: \(unsure) entries; clients may not have been told of them"
            )
        }
        lines.append(
            findings.mayLackWrites
                ? "MAY BE LOST: whatever the others acknowledged without this member after entry \(findings.lastIndex)"
                : "nothing that was acknowledged is lost: no quorum of this fabric is without this member")
        if findings.lacksLog {
            lines.append(
                "this member had lost its log and was getting it back: it lacks what it had acknowledged before, but for \(findings.salvaged) entries that could still be read"
            )
        }
        if findings.mayLackWrites, findings.sharedVolumes > 0 {
            lines.append(
                "of \(findings.sharedVolumes) volumes this member may not know which replicas missed writes: look at their nodes before anything is attached, and report what is stale (PUT /v1/fabric/volumes/VOLUME/replicas/NODE)"
            )
        }
        lines.append(
            "leases, domains, nodes and volumes go on; attachments end, and epochs and fencing tokens rise beyond those of before"
        )
        lines.append("the members given up must never run again: together they would still be the old fabric")
        return lines
    }

    private func modified(_ path: String) -> String? {
        var found = stat()
        guard stat(path, &found) == 0 else { return nil }
        return utcText(seconds: Int64(found.st_mtim.tv_sec))
    }

    private func askForConsent() throws {
        if yes { return }
        guard isatty(STDIN_FILENO) == 1 else {
            throw Problem(.usage, "Nothing changed. Pass --yes to proceed.")
        }
        Console.error("rebuild the fabric from this member? Type yes: ")
        guard readLine() == "yes" else { throw Problem(.failed, "nothing is changed") }
    }

    private func print(
        _ restored: RunningMember.StateRestored, _ findings: Recovery.Findings, _ path: String, _ kept: String
    ) throws {
        guard output == .json else {
            return Swift.print(
                """
                rebuilt \(restored.keys) keys at revision \(restored.revision) as fabric \(hex(restored.clusterID)), of which \
                \(findings.identity.name) is the only member; what was before is in \(kept)
                now start it (weft serve --name \(findings.identity.name) --data-dir \(path)), and let others join it from empty directories
                """)
        }
        var json = JSONWriter()
        json.object { json in
            json.field("name", findings.identity.name)
            json.field("clusterID", hex(restored.clusterID))
            json.field("formerClusterID", hex(findings.identity.clusterID))
            json.field("memberID", hex(restored.memberID))
            json.name("revision")
            json.number(restored.revision)
            json.name("keys")
            json.number(restored.keys)
            json.name("lastEntry")
            json.number(findings.lastIndex)
            json.name("committedEntry")
            json.number(findings.commit)
            json.name("mayLackWrites")
            json.bool(findings.mayLackWrites)
            json.field("kept", kept)
        }
        try Console.output(json.bytes + [UInt8(ascii: "\n")])
    }
}
