internal import Client
package import JSON

/// What a run came to, for people, for programs and as a chart.
package struct Report: Sendable {
    package let plan: LoadPlan
    package let recorder: Recorder

    package init(_ plan: LoadPlan, _ recorder: Recorder) {
        self.plan = plan
        self.recorder = recorder
    }

    package var seconds: Double { recorder.seconds(endsEarly: plan.total != nil) }
    package var perSecond: Double { Double(recorder.completed) / seconds }
    package var eventsPerSecond: Double { Double(recorder.eventsDelivered) / seconds }
    package var failed: Int { recorder.failures.values.reduce(0, +) }

    private static let quantiles: [(name: String, fraction: Double)] = [
        ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999),
    ]

    // MARK: - Text

    package var title: String {
        let clients = Self.counted(max(plan.clients, plan.connections), "client")
        let connections = Self.counted(max(plan.connections, 1), "connection")
        let members = Self.counted(plan.endpoints.count, "member")
        let pace = plan.rate.map { "at \(Self.rounded($0))/s" } ?? "each as fast as it is answered"
        return
            "\(plan.workload.name): \(clients) on \(connections) to \(members), \(plan.encoding.rawValue), \(pace); \(Self.counted(plan.keys.count, "key")), values of \(plan.valueSize) bytes"
    }

    package var text: String {
        var lines = [title]
        lines.append(
            "  \(recorder.completed) in \(Self.rounded(seconds)) s: \(Self.rounded(perSecond))/s; \(failed) failed")
        for (reason, count) in recorder.failures.sorted(by: { ($0.value, $1.key) > ($1.value, $0.key) }) {
            lines.append("    \(count) times: \(reason)")
        }
        lines.append("  latency  \(Self.text(recorder.latency))")
        lines.append("  longest time without a success: \(Self.milliseconds(recorder.longestPause)) ms")
        if plan.watching != nil {
            lines.append("  events   \(recorder.eventsDelivered): \(Self.rounded(eventsPerSecond))/s")
            lines.append("  put to event  \(Self.text(recorder.events))")
        }
        return lines.joined(separator: "\n")
    }

    private static func text(_ histogram: Histogram) -> String {
        let parts = quantiles.map { "\($0.name) \(milliseconds(histogram.quantile($0.fraction)))" }
        return
            "mean \(milliseconds(UInt64(histogram.mean)))  \(parts.joined(separator: "  "))  max \(milliseconds(histogram.max)) ms"
    }

    private static func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

    static func milliseconds(_ nanoseconds: UInt64) -> String { rounded(Double(nanoseconds) / 1e6) }

    /// With three digits that mean something.
    static func rounded(_ value: Double) -> String {
        let decimals = value >= 100 || value == 0 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3
        var scale = 1
        for _ in 0..<decimals { scale *= 10 }
        let whole = Int((value * Double(scale)).rounded())
        if decimals == 0 { return String(whole) }
        let fraction = String(whole % scale)
        return "\(whole / scale).\(String(repeating: "0", count: decimals - fraction.count))\(fraction)"
    }

    // MARK: - JSON

    package var json: JSONValue {
        var fields: [(String, JSONValue)] = [
            ("workload", .string(plan.workload.name)), ("protocol", .string(plan.encoding.rawValue)),
            ("endpoints", .array(plan.endpoints.map { .string($0.description) })),
            ("connections", .number(String(max(plan.connections, 1)))),
            ("clients", .number(String(max(plan.clients, plan.connections)))),
            ("keys", .number(String(plan.keys.count))), ("valueSize", .number(String(plan.valueSize))),
            ("rate", plan.rate.map { .number(Self.rounded($0)) } ?? .null),
            ("seconds", .number(Self.rounded(seconds))), ("completed", .number(String(recorder.completed))),
            ("perSecond", .number(Self.rounded(perSecond))), ("failed", .number(String(failed))),
            (
                "failures",
                Self.object(recorder.failures.sorted { $0.key < $1.key }.map { ($0.key, .number(String($0.value))) })
            ),
            ("latencyMilliseconds", Self.json(recorder.latency)),
            ("longestPauseMilliseconds", .number(Self.milliseconds(recorder.longestPause))),
        ]
        if plan.watching != nil {
            fields.append(("events", .number(String(recorder.eventsDelivered))))
            fields.append(("eventsPerSecond", .number(Self.rounded(eventsPerSecond))))
            fields.append(("eventMilliseconds", Self.json(recorder.events)))
        }
        let slice = Double(recorder.sliceNanoseconds) / 1e9
        fields.append(("sliceSeconds", .number(Self.rounded(slice))))
        fields.append(("slices", .array(recorder.busySlices.map(Self.json))))
        return Self.object(fields)
    }

    private static func object(_ fields: [(String, JSONValue)]) -> JSONValue {
        .object(fields.map { JSONValue.Field($0.0, $0.1) })
    }

    private static func json(_ histogram: Histogram) -> JSONValue {
        let parts = quantiles.map { ($0.name, JSONValue.number(milliseconds(histogram.quantile($0.fraction)))) }
        let ends: [(String, JSONValue)] = [
            ("mean", .number(milliseconds(UInt64(histogram.mean)))), ("max", .number(milliseconds(histogram.max))),
        ]
        return object(parts + ends)
    }

    private static func json(_ slice: Recorder.Slice) -> JSONValue {
        object([
            ("completed", .number(String(slice.latency.count))),
            ("p50", .number(milliseconds(slice.latency.quantile(0.5)))),
            ("p99", .number(milliseconds(slice.latency.quantile(0.99)))),
            ("events", .number(String(slice.events))),
        ])
    }
}

extension Workload {
    /// As the command calls it.
    package var name: String {
        switch self {
        case .put: "put"
        case .range: "range"
        case .txn: "txn"
        case .mixed: "mixed"
        case .lease: "lease"
        case .keepAlive: "keep-alive"
        case .lockRefresh: "lock-refresh"
        }
    }
}
