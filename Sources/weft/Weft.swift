internal import ArgumentParser
internal import CPlatform
internal import Storage
#if canImport(Glibc)
    internal import Glibc
#endif

@main
struct Weft: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "weft",
        abstract: "The metadata fabric of a storage cluster: a replicated key-value store with etcd's API.",
        discussion: """
            Start one member, and ask it:
              weft serve --data-dir /var/lib/weft
              weft put volumes/v1 '{"size":1}'
              weft get volumes/v1

            Add a machine to a running fabric:
              weft token create                                       at a member; prints a token
              weft join https://10.0.0.1:2379 --token TOKEN --name m2

            Shell completion:
              weft --generate-completion-script bash > /etc/bash_completion.d/weft
            """,
        subcommands: [
            Serve.self, Join.self, Leave.self, MemberCommand.self, DomainCommand.self, NodeCommand.self,
            VolumeCommand.self, PolicyCommand.self, ApplicationCommand.self, PairCommand.self, EventsCommand.self,
            Get.self, Put.self,
            Delete.self, Txn.self,
            Watch.self, LeaseCommand.self, Lock.self, Elect.self, Compact.self, SnapshotCommand.self, Recover.self,
            AlarmCommand.self, Defragment.self, Status.self, Check.self, UpgradeCommand.self, MoveLeader.self,
            LeaseReads.self, TokenCommand.self, Enrol.self, CACommand.self, Login.self,
            ContextCommand.self, AuthCommand.self, UserCommand.self,
            RoleCommand.self,
            BenchCommand.self,
            VersionCommand.self,
        ])

    static func main() async {
        // After a start in the same process: see `weft_start_anew`.
        weft_finish_start_anew()
        // Line by line, also into a pipe: what is printed is seen when it happens.
        weft_line_buffer_standard_output()
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot(IgnoredFlags.remove(from: Array(CommandLine.arguments.dropFirst())))
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let problem as Problem {
            Console.error("weft: \(problem.text)")
            Self.exit(withError: ExitCode(problem.exitCode))
        } catch {
            Self.exit(withError: error)
        }
    }
}

/// An error in the user's words; the exit code tells scripts what kind it is.
struct Problem: Error {
    /// 1: the operation failed; 2: it was asked for wrongly; 3: what was asked for is not there; 4: nobody answered;
    /// 5: the data directory cannot be used, and starting again will not help; 6: the member was removed from its fabric.
    enum Kind: Int32 {
        case failed = 1
        case usage = 2
        case notFound = 3
        case unavailable = 4
        case unusable = 5
        case removed = 6
    }

    var kind: Kind
    var text: String

    init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }

    init(_ error: StorageError) {
        switch error {
        case .damaged, .unusable: self.init(.unusable, error.description)
        case .system, .sqlite: self.init(.failed, error.description)
        }
    }

    var exitCode: Int32 { kind.rawValue }
}
