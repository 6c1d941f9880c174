internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1
internal import Transport

struct AlarmCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alarm", abstract: "List alarms, or lower them.",
        discussion: """
            NOSPACE stands for a member that stores more than --quota-backend-bytes: puts are refused. It ends by itself once
            keys are deleted and history is compacted (`weft compact`).
            """,
        subcommands: [List.self, Disarm.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the alarms that are raised.", discussion: "Example:\n  weft alarm list -o json")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.call("/v3/maintenance/alarm") }
            if flags.output == .json { return printJSON(answer) }
            for alarm in answer["alarms"]?.items ?? [] { AlarmCommand.show(alarm) }
        }
    }

    struct Disarm: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lower all alarms.", discussion: "Example:\n  weft alarm disarm")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let lowered = try await flags.ask { client in
                var lowered: [JSONValue] = []
                for alarm in try await client.call("/v3/maintenance/alarm")["alarms"]?.items ?? [] {
                    let answer = try await client.call("/v3/maintenance/alarm") { json in
                        json.field("action", "DEACTIVATE")
                        json.field("memberID", alarm["memberID"]?.unsigned ?? 0)
                        json.field("alarm", alarm["alarm"]?.text ?? "")
                    }
                    lowered += answer["alarms"]?.items ?? []
                }
                return lowered
            }
            if flags.output == .json { return printJSON(.array(lowered)) }
            lowered.forEach(AlarmCommand.show)
        }
    }

    private static func show(_ alarm: JSONValue) {
        print("memberID:\(hex(alarm["memberID"]?.unsigned ?? 0)) alarm:\(alarm["alarm"]?.text ?? "")")
    }
}

struct Defragment: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "defrag", abstract: "Give the free pages of all members' files back to the file system.",
        discussion: """
            It happens in the background, bit by bit, and holds nobody up. Members do it by themselves when much is free.

            Example:
              weft defrag
            """)
    @OptionGroup var flags: ClientFlags

    func run() async throws {
        let names = try await flags.ask { client in
            let client = try await client.knownElsewhere()
            var names: [String] = []
            let fabric = try await client.members()
            for member in fabric.members {
                guard let own = client.at(member, of: fabric) else { continue }
                _ = try await own.call("/v3/maintenance/defragment")
                names.append(member.name)
            }
            return names
        }
        print("under way at \(names.joined(separator: ", "))")
    }
}

struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a fabric: members, leader, alarms, and that all have the same data.",
        discussion: """
            Exits with 1 when something is wrong; what it warns of works.

            Example:
              weft check --endpoints http://10.0.0.1:2379
            """)
    @OptionGroup var flags: ClientFlags

    private static let tries = 3

    private struct Finding {
        var what: String
        var trouble: [String]
        /// It works, and somebody may want to change it all the same.
        var isWarning = false

        var isWell: Bool { trouble.isEmpty || isWarning }
        var mark: String { trouble.isEmpty ? "ok  " : isWarning ? "warn" : "FAIL" }
    }

    private struct Answers {
        var name: String
        var status: JSONValue?
        var hash: UInt64?
        /// The hash is of what came after.
        var compactRevision: Int64?
        var trouble: String?
        /// What it warns of; nil where the asker may not know.
        var warnings: [String]?
        var isHashDenied = false
    }

    func run() async throws {
        let findings = try await flags.ask { client in try await examine(client.knownElsewhere()) }
        let isWell = findings.allSatisfy(\.isWell)
        if flags.output == .json {
            let items = findings.map { finding in
                JSONValue.object([
                    JSONValue.Field("check", .string(finding.what)),
                    JSONValue.Field("ok", .bool(finding.isWell)),
                    JSONValue.Field("warning", .bool(finding.isWarning && !finding.trouble.isEmpty)),
                    JSONValue.Field("trouble", .array(finding.trouble.map(JSONValue.string))),
                ])
            }
            printJSON(.array(items))
        } else {
            for finding in findings {
                print("\(finding.mark) \(finding.what)")
                for line in finding.trouble { print("     \(line)") }
            }
        }
        if !isWell { throw ExitCode(1) }
    }

    private func examine(_ client: FabricClient) async throws -> [Finding] {
        let fabric = try await client.members()
        let members = fabric.members
        // Of one revision, which all have once they confirmed that they are up to date.
        let revision = try await client.call("/v3/kv/txn")["header"]?["revision"]?.integer ?? 0
        var answers: [Answers] = []
        // A compaction between two answers would have them differ.
        var clocks = MemberClocks()
        for _ in 0..<Self.tries
        where Set(answers.compactMap(\.compactRevision)).count != 1 && !answers.contains(where: \.isHashDenied) {
            answers = []
            for member in members {
                let own = client.at(member, of: fabric)
                answers.append(await ask(member, revision, own))
                if let own { _ = try? await clocks.release(of: member.id, own) }
            }
        }
        let statuses = answers.compactMap(\.status)
        let leaders = Set(statuses.map { $0["leader"]?.unsigned ?? 0 })
        let hashes = Set(answers.compactMap(\.hash))
        let alarms = try await client.call("/v3/maintenance/alarm")["alarms"]?.items ?? []
        var warnings: [String] = []
        for warning in answers.flatMap({ $0.warnings ?? [] }) where !warnings.contains(warning) {
            warnings.append(warning)
        }
        let leader = leaders.count == 1 ? leaders.first : nil
        warnings += zip(members, answers).compactMap { clocks.warning(about: $1.name, $0.id, from: leader) }
        if answers.allSatisfy({ $0.warnings == nil }) { warnings.append("what the fabric warns of could not be asked") }
        let noted = answers.flatMap { answer in
            (answer.status?["errors"]?.items ?? []).compactMap(\.text).map { "\(answer.name): \($0)" }
        }
        return [
            Finding(
                what: "all \(members.count) members answer",
                trouble: answers.compactMap { answer in answer.trouble.map { "\(answer.name): \($0)" } }),
            Finding(
                what: "all follow one leader",
                trouble: leaders.count == 1 && !leaders.contains(0) ? [] : ["leaders are \(leaders.map(hex).sorted())"]),
            Finding(
                what: "no alarm is raised",
                trouble: alarms.isEmpty ? [] : noted.isEmpty ? ["see `weft alarm list`"] : noted),
            answers.contains(where: \.isHashDenied)
                ? Finding(
                    what: "whether all have the same data is not known", trouble: ["only root may compare it"],
                    isWarning: true)
                : Finding(
                    what: "all have the same data at revision \(revision)",
                    trouble: hashes.count <= 1
                        ? [] : answers.map { "\($0.name) has hash \($0.hash.map(hex) ?? "unknown")" }),
            Finding(
                what: warnings.isEmpty ? "no weakness is known" : "weaknesses are known", trouble: warnings,
                isWarning: true),
        ]
    }

    private func ask(_ member: FabricMembers.Member, _ revision: Int64, _ own: FabricClient?) async -> Answers {
        var answers = Answers(name: member.name.isEmpty ? hex(member.id) : member.name)
        guard let own else {
            answers.trouble = "not started yet"
            return answers
        }
        do {
            answers.status = try await own.call("/v3/maintenance/status")
            answers.warnings = try? await own.send(.GET, "/v1/fabric/status?serializable")["warnings"]?.items?
                .compactMap(\.text)
            _ = try await own.call("/v3/kv/txn")
            let hash = try await own.call("/v3/maintenance/hashkv") { $0.field("revision", revision) }
            answers.hash = hash["hash"]?.unsigned ?? 0
            answers.compactRevision = hash["compact_revision"]?.integer ?? 0
        } catch let refusal as FabricClient.Refusal where refusal.message.contains("witness") {
            // It keeps no keys.
        } catch let refusal as FabricClient.Refusal where refusal.isAboutCaller {
            answers.isHashDenied = answers.status != nil
        } catch {
            answers.trouble = "\(error)"
        }
        return answers
    }
}
