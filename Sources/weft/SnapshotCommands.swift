internal import ArgumentParser
internal import Client
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Replication
internal import Server
internal import Storage
internal import Synchronization
internal import Transport

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Back a fabric up, check a backup, begin a fabric with one.",
        subcommands: [Save.self, StatusOf.self, Restore.self])

    struct Save: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Fetch a backup of everything from one member.",
            discussion: """
                The file appears under its name once it is whole and its checksum was found right.
                The same with curl: curl -o FILE HOST:2379/v1/snapshot

                Example:
                  weft snapshot save /backup/fabric.db --endpoints http://10.0.0.1:2379
                """)
        @Argument(help: "Where to put it.")
        var file: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let part = file + ".part"
            do {
                try await fetch(to: part)
                let contents = try Backup.inspect(part)
                try File.rename(part, to: file)
                try File.syncDirectory(of: file)
                try printBackup(contents, flags.output, text: "saved \(file): ")
            } catch let error as StorageError {
                try? File.remove(part)
                throw Problem(error)
            } catch {
                try? File.remove(part)
                throw error
            }
        }

        private static let patienceSeconds = 3600

        private func fetch(to path: String) async throws {
            try File.remove(path)
            let target = Download(try File(path, .create))
            var patient = flags
            // The member looks at every row before it sends the first.
            patient.timeout = max(flags.timeout, Self.patienceSeconds)
            try await patient.ask { client in
                try await client.stream(.GET, "/v1/snapshot") { response, bytes in
                    try target.add(bytes, of: response.headers.first(name: "weft-snapshot-bytes").flatMap(Int.init))
                }
            }
            try target.finish()
        }
    }

    struct StatusOf: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "status", abstract: "Check a backup, every row of it, and tell what it holds.",
            discussion: "Example:\n  weft snapshot status /backup/fabric.db -o json")
        @Argument(help: "The backup.")
        var file: String
        @Option(name: [.customShort("o"), .customLong("output")], help: "simple or json.")
        var output: OutputFormat = .simple

        func run() throws {
            try printBackup(try inspect(file), output, text: "")
        }
    }

    struct Restore: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Fill the directory of a new member with a backup.",
            discussion: """
                It begins a new fabric. The others join it: that is the easy way. Or each founder is filled from the same
                backup, with the same --initial-cluster, before any of them starts.

                The revision grows by --bump-revision and everything before is compacted: watches that know later revisions
                than the backup's end, and their clients begin anew, instead of taking new changes for old ones.

                Examples:
                  weft snapshot restore /backup/fabric.db --name m1 --data-dir /var/lib/weft
                  weft serve --name m1 --data-dir /var/lib/weft
                """)
        @Argument(help: "The backup.")
        var file: String
        @Option(help: "The member's name. (default: default)")
        var name: String?
        @Option(help: "The directory to fill; it must be new or empty. (default: NAME.weft)")
        var dataDir: String?
        @Option(help: "The founding members, as NAME=URL,NAME=URL. (default: NAME=advertised peer URL)")
        var initialCluster: String?
        @Option(help: "Where peers reach this member. (default: http://localhost:2380)")
        var initialAdvertisePeerUrls: String?
        @Option(help: "Tells fabrics apart whose founders have the same URLs. (default: etcd-cluster)")
        var initialClusterToken: String?
        @Option(help: "How much the revision grows; 0 keeps it.")
        var bumpRevision: Int64 = 1_000_000_000
        @Flag(inversion: .prefixedNo, help: "Compact everything before.")
        var markCompacted = true

        func run() throws {
            guard bumpRevision >= 0, bumpRevision < 1 << 60 else {
                throw Problem(.usage, "--bump-revision \(bumpRevision) is no number from 0 to 2^60")
            }
            let given = [
                ("name", name), ("data-dir", dataDir), ("initial-cluster", initialCluster),
                ("initial-advertise-peer-urls", initialAdvertisePeerUrls),
                ("initial-cluster-token", initialClusterToken),
            ].compactMap { key, value in value.map { (key, $0) } }
            let settings = try ServeSettings(given: given).server
            do {
                let contents = try inspect(file)
                let owner = DataDirectory.owner(at: settings.dataDirectory)
                let directory = try DataDirectory(settings.dataDirectory)
                let restored = try RunningMember.restore(
                    file, contents, into: directory, settings, revisionBump: bumpRevision, compacts: markCompacted)
                directory.give(to: owner, warn: Console.error)
                print(
                    "restored \(restored.keys) keys at revision \(restored.revision) into \(settings.dataDirectory) as member \(hex(restored.memberID)) of fabric \(hex(restored.clusterID)); now run `weft serve --name \(settings.name) --data-dir \(settings.dataDirectory)`"
                )
            } catch let error as StorageError {
                throw Problem(error)
            }
        }
    }
}

private func inspect(_ file: String) throws -> Backup.Contents {
    let progress = Progress("checking \(file)")
    do throws(StorageError) {
        return try Backup.inspect(file) { done, all in progress.show(done, of: all) }
    } catch {
        if case .damaged(let path, let reason) = error { throw Problem(.failed, "\(path) cannot be used: \(reason)") }
        throw Problem(error)
    }
}

private func printBackup(_ contents: Backup.Contents, _ format: OutputFormat, text: String) throws {
    let digest = contents.digest.map { byte in String(UInt16(byte) | 0x100, radix: 16).dropFirst() }.joined()
    guard format == .json else {
        return print(
            "\(text)\(contents.meta.keyCount) keys at revision \(contents.meta.revision), \(contents.bytes) bytes, SHA-256 \(digest)"
        )
    }
    var json = JSONWriter()
    json.object { json in
        // etcdutl's names.
        json.name("hash")
        json.number(UInt32(truncatingIfNeeded: contents.meta.hash))
        json.name("revision")
        json.number(contents.meta.revision)
        json.name("totalKey")
        json.number(contents.meta.keyCount)
        json.name("totalSize")
        json.number(contents.bytes + SHA256.bytes)
        json.name("version")
        json.string("3.6.0")
        json.name("sha256")
        json.string(digest)
    }
    try Console.output(json.bytes + [UInt8(ascii: "\n")])
}

/// A file that is being fetched.
private final class Download: Sendable {
    private let file: File
    private let offset = Atomic<Int>(0)
    private let progress = Progress("fetching")

    init(_ file: consuming File) { self.file = file }

    func add(_ bytes: [UInt8], of all: Int?) throws {
        let start = offset.load(ordering: .relaxed)
        try file.write(bytes, at: start)
        offset.store(start + bytes.count, ordering: .relaxed)
        if let all { progress.show(start + bytes.count, of: all) }
    }

    func finish() throws { try file.sync() }
}
