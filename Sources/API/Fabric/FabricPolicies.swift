internal import Fabric
internal import HTTPServer
internal import JSON
internal import MVCC
internal import NIOHTTP1
internal import Schedules
internal import Server

/// Schedule policies: `/v1/fabric/schedule-policies`.
struct FabricPolicies: Sendable {
    let call: FabricCall

    func respond() async throws(APIError) -> HTTPResponse {
        switch (call.request.method, call.path.count) {
        case (.GET, 0):
            if let watch = try await call.watch(.policy) { return watch }
            let fabric = try await call.fabric()
            return call.list(fabric, Array(fabric.policies)) { $0.policy($1) }
        case (.GET, 1):
            if let watch = try await call.watch(.policy, name: call.path[0]) { return watch }
            guard let policy = try await call.fabric().policy(call.path[0]) else {
                throw FabricCall.missing(.policy, call.path[0])
            }
            return call.answer(policy.mark) { $0.policy(policy) }
        case (.GET, 2) where call.path[1] == "preview": return try await preview(call.path[0])
        case (.PUT, 1):
            let put = Records.PutPolicy(
                name: call.path[0], policy: try PolicyTerms(body: call.request.body), terms: try call.terms())
            return call.response(to: try await call.desk.carryOut(put))
        case (.DELETE, 1): return try await call.change(.removePolicy(call.path[0]))
        default: throw .nothing(at: call.request.path)
        }
    }

    private func preview(_ name: String) async throws(APIError) -> HTTPResponse {
        let count = Int(clamping: try call.number("count") ?? 5)
        let preview = Records.PreviewPolicy(name: name, count: count, after: try call.number("after"))
        guard let (policy, dues) = try await call.desk.carryOut(preview) else {
            throw FabricCall.missing(.policy, name)
        }
        return call.answer(nil) { json in
            json.object { json in
                json.field("policy", policy.name)
                json.field("timeZone", policy.terms.timeZone)
                json.field("items", dues) { json, due in
                    json.object { json in
                        json.field("at", timestamp(due.at))
                        json.field("local", Self.local(due))
                    }
                }
            }
        }
    }

    /// As clocks of the zone show it: `2026-03-29T03:00:00+02:00`.
    private static func local(_ due: Records.PreviewPolicy.Due) -> String {
        let minutes = abs(due.offset) / 60
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let offset = "\(due.offset < 0 ? "-" : "+")\(two(minutes / 60)):\(two(minutes % 60))"
        return String(timestamp(due.at + Int64(due.offset) * 1000).prefix(19)) + offset
    }
}

extension PolicyTerms {
    private static let fields: Set<String> = [
        "interval", "daily", "weekly", "monthly", "timeZone", "retain", "overlap", "catchUpSeconds", "jitterSeconds",
        "pauseOnFailure",
    ]

    init(body: [UInt8]) throws(APIError) {
        let body = try FabricBody(body, known: Self.fields)
        self.init(try Self.recurrence(body))
        if let zone = try body.text("timeZone") { timeZone = zone }
        retain = try body.number("retain")
        if let text = try body.text("overlap") {
            guard let known = Overlap.allCases.first(where: { "\($0)" == text }) else {
                throw APIError(.invalidArgument, "overlap is skip or queueOne, not \"\(text)\"")
            }
            overlap = known
        }
        if let seconds = try body.number("catchUpSeconds") { catchUpSeconds = seconds }
        if let seconds = try body.number("jitterSeconds") { jitterSeconds = seconds }
        pausesOnFailure = try body.flag("pauseOnFailure") ?? false
    }

    private static func recurrence(_ body: FabricBody) throws(APIError) -> Recurrence {
        let interval = try body.object("interval", known: ["minutes"])
        let daily = try body.object("daily", known: ["time"])
        let weekly = try body.object("weekly", known: ["day", "time"])
        let monthly = try body.object("monthly", known: ["date", "time", "shortMonths"])
        guard [interval, daily, weekly, monthly].count(where: { $0 != nil }) == 1 else {
            throw APIError(.invalidArgument, "a policy has one of interval, daily, weekly and monthly")
        }
        if let interval {
            let minutes = try interval.required("interval.minutes", interval.number("minutes"))
            guard (1...Recurrence.minutesMax).contains(minutes) else {
                throw APIError(.invalidArgument, "interval.minutes is 1 to \(Recurrence.minutesMax)")
            }
            return .interval(minutes: minutes, anchor: 0)
        }
        if let daily { return .daily(try time(daily, "daily")) }
        if let weekly {
            let text = try weekly.required("weekly.day", weekly.text("day"))
            guard let day = Weekday(text) else {
                throw APIError(.invalidArgument, "weekly.day is a day such as Sunday, not \"\(text)\"")
            }
            return .weekly(day, try time(weekly, "weekly"))
        }
        guard let monthly else { preconditionFailure("one of four is there") }
        let date = try monthly.required("monthly.date", monthly.number("date"))
        let short = try monthly.text("shortMonths") ?? "last"
        guard ["last", "skip"].contains(short),
            let day = Recurrence.MonthDay(day: Int(clamping: date), skipsShortMonths: short == "skip")
        else { throw APIError(.invalidArgument, "monthly.date is 1 to 31, and shortMonths last or skip") }
        return .monthly(day, try time(monthly, "monthly"))
    }

    private static func time(_ body: FabricBody, _ name: String) throws(APIError) -> TimeOfDay {
        let text = try body.required("\(name).time", body.text("time"))
        guard let time = TimeOfDay(text) else {
            throw APIError(.invalidArgument, "\(name).time is 23:05 or 11:05PM, not \"\(text)\"")
        }
        return time
    }
}

extension JSONWriter {
    mutating func policy(_ policy: SchedulePolicy) {
        object { json in
            json.field("name", policy.name)
            json.recurrence(policy.terms.recurrence)
            json.field("timeZone", policy.terms.timeZone)
            json.name("retain")
            json.number(policy.retain)
            json.field("overlap", "\(policy.terms.overlap)")
            json.name("catchUpSeconds")
            json.number(policy.terms.catchUpSeconds)
            json.name("jitterSeconds")
            json.number(policy.terms.jitterSeconds)
            json.name("pauseOnFailure")
            json.bool(policy.terms.pausesOnFailure)
            json.mark(policy.mark)
        }
    }

    private mutating func recurrence(_ recurrence: Recurrence) {
        switch recurrence {
        case .interval(let minutes, let anchor):
            name("interval")
            object { json in
                json.name("minutes")
                json.number(minutes)
                json.field("anchor", timestamp(anchor))
            }
        case .daily(let time):
            name("daily")
            object { $0.field("time", time.text) }
        case .weekly(let day, let time):
            name("weekly")
            object { json in
                json.field("day", "\(day)".capitalizedFirst)
                json.field("time", time.text)
            }
        case .monthly(let day, let time):
            name("monthly")
            object { json in
                json.name("date")
                json.number(day.day)
                json.field("time", time.text)
                json.field("shortMonths", day.skipsShortMonths ? "skip" : "last")
            }
        }
    }
}

extension String {
    var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
