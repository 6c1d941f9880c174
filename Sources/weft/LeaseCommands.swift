internal import ArgumentParser
internal import Client
internal import JSON

struct LeaseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lease", abstract: "Grant leases, keep them alive, end them.",
        discussion: "Ids are hexadecimal, as etcdctl's.",
        subcommands: [Grant.self, Revoke.self, TimeToLive.self, KeepAlive.self, List.self])

    /// An id as people write it.
    static func id(_ text: String) throws -> Int64 {
        guard let id = UInt64(text, radix: 16), id > 0 else {
            throw Problem(.usage, "\"\(text)\" is no lease id; ids are hexadecimal")
        }
        return Int64(bitPattern: id)
    }

    static func text(_ id: JSONValue?) -> String {
        String(UInt64(bitPattern: id?.integer ?? 0), radix: 16)
    }

    struct Grant: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Grant a lease.", discussion: "Example:\n  weft lease grant 60")
        @Argument(help: "Seconds until it ends if it is not kept alive.")
        var seconds: Int64
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { client in
                try await client.call("/v3/lease/grant") { $0.field("TTL", seconds) }
            }
            if flags.output == .json { return printJSON(answer) }
            print("lease \(LeaseCommand.text(answer["ID"])) granted with TTL(\(answer["TTL"]?.text ?? "?")s)")
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a lease; its keys are deleted.", discussion: "Example:\n  weft lease revoke 32695410dcc0ca06"
        )
        @Argument(help: "The lease's id.")
        var id: String
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let number = try LeaseCommand.id(id)
            let answer = try await flags.ask { client in
                try await client.call("/v3/lease/revoke") { $0.field("ID", number) }
            }
            if flags.output == .json { return printJSON(answer) }
            print("lease \(id) revoked")
        }
    }

    struct TimeToLive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "timetolive", abstract: "Tell how much is left of a lease, and its keys.",
            discussion: "Example:\n  weft lease timetolive 32695410dcc0ca06 --keys")
        @Argument(help: "The lease's id.")
        var id: String
        @Flag(help: "List its keys.")
        var keys = false
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let number = try LeaseCommand.id(id)
            let answer = try await flags.ask { client in
                try await client.call("/v3/lease/timetolive") { json in
                    json.field("ID", number)
                    json.field("keys", keys)
                }
            }
            if flags.output == .json { return printJSON(answer) }
            let left = answer["TTL"]?.integer ?? 0
            guard left >= 0 else { throw Problem(.notFound, "there is no lease \(id)") }
            print("lease \(id) granted with TTL(\(answer["grantedTTL"]?.text ?? "0")s), remaining(\(left)s)")
            for key in answer["keys"]?.items ?? [] {
                try Console.output((key.text.flatMap(Base64.decode) ?? []) + [10])
            }
        }
    }

    struct KeepAlive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "keep-alive", abstract: "Keep a lease alive until this is stopped, or once.",
            discussion: "Example:\n  weft lease keep-alive 32695410dcc0ca06 --once")
        @Argument(help: "The lease's id.")
        var id: String
        @Flag(help: "Renew it once.")
        var once = false
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let session = Session(lease: try LeaseCommand.id(id), flags: flags)
            while true {
                let seconds = try await session.renew()
                print("lease \(id) keepalived with TTL(\(seconds))")
                if once { return }
                try await Task.sleep(for: .milliseconds(Session.interval(ofSeconds: seconds)))
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List all leases.", discussion: "Example:\n  weft lease list")
        @OptionGroup var flags: ClientFlags

        func run() async throws {
            let answer = try await flags.ask { try await $0.call("/v3/lease/leases") }
            if flags.output == .json { return printJSON(answer) }
            for lease in answer["leases"]?.items ?? [] { print(LeaseCommand.text(lease["ID"])) }
        }
    }
}

/// A lease that this process keeps alive.
struct Session {
    let lease: Int64
    let flags: ClientFlags

    static func grant(seconds: Int64, _ flags: ClientFlags) async throws -> (Session, seconds: Int64) {
        let answer = try await flags.ask { client in
            try await client.call("/v3/lease/grant") { $0.field("TTL", seconds) }
        }
        return (Session(lease: answer["ID"]?.integer ?? 0, flags: flags), answer["TTL"]?.integer ?? seconds)
    }

    /// Milliseconds between renewals.
    static func interval(ofSeconds seconds: Int64) -> Int64 { max(seconds * 1000 / 3, 200) }

    /// Answers the seconds it has now. Every endpoint is asked, within `timeout` seconds each, until one answers.
    func renew(timeout: Int? = nil) async throws -> Int64 {
        var flags = flags
        if let timeout { flags.timeout = min(timeout, flags.timeout) }
        let answer = try await flags.ask { client in
            var failure: any Error = HTTPClient.Failure(description: "there is no endpoint")
            for endpoint in client.endpoints {
                var one = client.at([endpoint])
                one.http = client.http
                do {
                    return try await one.call("/v3/lease/keepalive") { $0.field("ID", lease) }
                } catch {
                    failure = error
                }
            }
            throw failure
        }
        if let error = answer["error"] { throw Problem(.unavailable, error["message"]?.text ?? "no answer") }
        guard let seconds = answer["result"]?["TTL"]?.integer, seconds > 0 else {
            throw Problem(.notFound, "lease \(String(UInt64(bitPattern: lease), radix: 16)) expired or was revoked")
        }
        return seconds
    }

    /// Renews it until the task is cancelled; throws once it must be taken for lost.
    func keep(seconds: Int64) async throws {
        var end = ContinuousClock.now + .seconds(seconds)
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(Self.interval(ofSeconds: seconds)))
            let asked = ContinuousClock.now
            do {
                end = asked + .seconds(try await renew(timeout: max(Int(seconds) / 4, 1)))
            } catch let problem as Problem where problem.kind != .notFound && ContinuousClock.now < end {
                Console.error("weft: \(problem.text); trying again")
            }
        }
    }

    func revoke() async {
        _ = try? await flags.ask { client in
            try await client.call("/v3/lease/revoke") { $0.field("ID", lease) }
        }
    }
}
