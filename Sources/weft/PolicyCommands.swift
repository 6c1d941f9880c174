internal import ArgumentParser
internal import Client
internal import JSON
internal import NIOHTTP1

struct PolicyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy",
        abstract: "Schedule policies: when something runs, in which time zone, and what becomes of late runs.",
        subcommands: [List.self, Create.self, Update.self, Show.self, Preview.self, Delete.self])

    /// What a policy is.
    struct Fields: ParsableArguments {
        @Option(help: "Run every so often: 15m, 1h, 36h.")
        var every: String?
        @Option(help: "Run each day at this time: 23:05 or 11:05PM.")
        var daily: String?
        @Option(help: "Run once a week: sunday@02:00.")
        var weekly: String?
        @Option(help: "Run once a month: 1@02:00, or 31@02:00 for the last day.")
        var monthly: String?
        @Option(help: "With --monthly, what a month without that day does: last (its last day) or skip.")
        var shortMonths: String?
        @Option(help: "IANA's name of the time zone, such as Europe/Berlin. (default: UTC)")
        var timeZone: String?
        @Option(help: "How many restore points are kept. (default: 10, 30, 7 or 12, by kind)")
        var retain: Int?
        @Option(
            help: "What a run does that comes due while the one before is under way: skip or queueOne. (default: skip)")
        var overlap: String?
        @Option(help: "A run that is late by more is missed. (default: 1h)")
        var catchUp: String?
        @Option(
            help:
                "Begin runs later by up to so much, so that those of many schedules do not begin together. (default: none)"
        )
        var jitter: String?
        @Flag(help: "After a run that failed wait for `resume`.")
        var pauseOnFailure = false

        func validate() throws {
            guard [every, daily, weekly, monthly].count(where: { $0 != nil }) == 1 else {
                throw ValidationError("a policy has one of --every, --daily, --weekly and --monthly")
            }
            guard shortMonths == nil || monthly != nil else {
                throw ValidationError("--short-months goes with --monthly")
            }
        }

        func write(_ json: inout JSONWriter) throws {
            if let every {
                let seconds = try Durations.seconds(every, "--every", atMost: 366 * 86_400)
                guard seconds % 60 == 0 else {
                    throw Problem(.usage, "--every: whole minutes are expected, such as 15m")
                }
                json.name("interval")
                json.object { $0.field("minutes", seconds / 60) }
            }
            if let daily {
                json.name("daily")
                json.object { $0.field("time", daily) }
            }
            if let weekly {
                let (day, time) = try Self.parts(weekly, "--weekly", "sunday@02:00")
                json.name("weekly")
                json.object { json in
                    json.field("day", day)
                    json.field("time", time)
                }
            }
            if let monthly {
                let (text, time) = try Self.parts(monthly, "--monthly", "31@02:00")
                guard let date = Int(text) else {
                    throw Problem(.usage, "--monthly: \"\(text)\" is not a day of the month")
                }
                json.name("monthly")
                json.object { json in
                    json.name("date")
                    json.number(date)
                    json.field("time", time)
                    if let shortMonths { json.field("shortMonths", shortMonths) }
                }
            }
            if let timeZone { json.field("timeZone", timeZone) }
            if let retain {
                json.name("retain")
                json.number(retain)
            }
            if let overlap { json.field("overlap", overlap) }
            if let catchUp { json.field("catchUpSeconds", try Self.wait(catchUp, "--catch-up")) }
            if let jitter { json.field("jitterSeconds", try Self.wait(jitter, "--jitter")) }
            json.field("pauseOnFailure", pauseOnFailure)
        }

        private static func parts(_ text: String, _ flag: String, _ example: String) throws -> (String, String) {
            let parts = text.split(separator: "@", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2 else { throw Problem(.usage, "\(flag): \(example) is expected, not \"\(text)\"") }
            return (parts[0], parts[1])
        }

        private static func wait(_ text: String, _ flag: String) throws -> Int64 {
            text == "0" ? 0 : try Durations.seconds(text, flag, atMost: 366 * 86_400)
        }
    }

    private static let resource = "schedule-policies"

    private static func put(
        _ name: String, _ fields: Fields, _ flags: ClientFlags, _ condition: (name: String, value: String)
    ) async throws {
        var json = JSONWriter()
        var failure: (any Error)?
        json.object { json in
            do { try fields.write(&json) } catch { failure = error }
        }
        if let failure { throw failure }
        let answer = try await FabricResource.put(resource, name, json.bytes, flags, condition)
        if flags.output == .json { return printJSON(answer) }
        print("policy \(name): \(when(answer))")
    }

    /// `daily at 23:05, Europe/Berlin`.
    private static func when(_ policy: JSONValue) -> String {
        let zone = policy["timeZone"]?.text ?? ""
        func at(_ kind: JSONValue) -> String { "at \(kind["time"]?.text ?? ""), \(zone)" }
        if let interval = policy["interval"] { return "every \(interval["minutes"]?.integer ?? 0) minutes" }
        if let daily = policy["daily"] { return "daily \(at(daily))" }
        if let weekly = policy["weekly"] { return "on \(weekly["day"]?.text ?? "") \(at(weekly))" }
        guard let monthly = policy["monthly"] else { return "?" }
        let short = monthly["shortMonths"]?.text == "skip" ? ", months without it skipped" : ""
        return "on day \(monthly["date"]?.integer ?? 0) of the month \(at(monthly))\(short)"
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the policies.", discussion: "Example:\n  weft policy list")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.send(.GET, FabricResource.path(resource)) }
            if flags.output == .json { return printJSON(answer) }
            var table = Table(["NAME", "RUNS", "RETAIN", "OVERLAP", "CATCH UP"])
            for policy in answer["items"]?.items ?? [] {
                table.add([
                    policy["name"]?.text ?? "", when(policy), String(policy["retain"]?.integer ?? 0),
                    policy["overlap"]?.text ?? "", "\(policy["catchUpSeconds"]?.integer ?? 0) s",
                ])
            }
            table.print()
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a policy.",
            discussion: """
                Each date has one run, also on the nights on which clocks change: a time that is left out runs at the first moment after it, one that
                comes twice at the first.

                Examples:
                  weft policy create quarter --every 15m
                  weft policy create nightly --daily 02:30 --time-zone Europe/Berlin --retain 14
                  weft policy create month-end --monthly 31@23:00 --overlap queueOne --catch-up 12h
                """)
        @Argument(help: "Letters, digits, dots, dashes and underscores.")
        var name: String
        @OptionGroup var fields: Fields
        @OptionGroup var flags: ClientFlags

        func run() async throws { try await put(name, fields, flags, ("if-none-match", "*")) }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replace a policy as a whole.",
            discussion:
                "An interval of the same length keeps its rhythm.\n\nExample:\n  weft policy update quarter --every 15m --retain 96"
        )
        @Argument(help: "The policy.")
        var name: String
        @OptionGroup var fields: Fields
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let known = try await flags.ask { try await $0.send(.GET, FabricResource.path(resource, name)) }
            try await put(name, fields, flags, ("if-match", "\"\(known["revision"]?.integer ?? 0)\""))
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a policy as JSON.", discussion: "Example:\n  weft policy show nightly")
        @Argument(help: "The policy.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            printJSON(try await flags.ask { try await $0.send(.GET, FabricResource.path(resource, name)) })
        }
    }

    struct Preview: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say when a policy runs next.", discussion: "Example:\n  weft policy preview nightly --count 10")
        @Argument(help: "The policy.")
        var name: String
        @Option(help: "How many runs, 1 to 100.")
        var count = 5
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask {
                try await $0.send(.GET, FabricResource.path(resource, name, "preview") + "?count=\(count)")
            }
            if flags.output == .json { return printJSON(answer) }
            var table = Table(["UTC", "IN \(answer["timeZone"]?.text ?? "")"])
            for due in answer["items"]?.items ?? [] {
                table.add([FabricResource.time(due["at"]), due["local"]?.text ?? ""])
            }
            table.print()
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget a policy.", discussion: "Example:\n  weft policy delete nightly")
        @Argument(help: "The policy.")
        var name: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask {
                try await FabricResource.change($0, .DELETE, FabricResource.path(resource, name))
            }
            if flags.output == .json { return printJSON(answer) }
            print("policy \(name) is forgotten")
        }
    }
}
