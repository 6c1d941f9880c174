/// Throughput and latency over the time of a run, as an SVG document.
package struct Chart {
    private static let width = 760.0
    private static let height = 180.0
    private static let left = 70.0
    private static let top = 40.0
    private static let gap = 60.0

    private struct Line {
        var name: String
        var color: String
        var values: [Double]
    }

    private let report: Report

    package init(_ report: Report) { self.report = report }

    package var svg: String {
        let slices = report.recorder.busySlices
        let seconds = Double(report.recorder.sliceNanoseconds) / 1e9
        let isWatched = report.plan.watching != nil
        var rates = [
            Line(name: "operations/s", color: "#1f6feb", values: slices.map { Double($0.latency.count) / seconds })
        ]
        if isWatched {
            rates.append(Line(name: "events/s", color: "#2da44e", values: slices.map { Double($0.events) / seconds }))
        }
        let latencies = [(0.5, "p50", "#1f6feb"), (0.99, "p99", "#cf222e")].map { fraction, name, color in
            Line(
                name: "\(name) ms", color: color,
                values: slices.map { Double($0.latency.quantile(fraction)) / 1e6 })
        }
        let total = Self.top + 2 * Self.height + 2 * Self.gap
        return """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(Int(Self.left + Self.width) + 30)" height="\(Int(total))" font-family="sans-serif" font-size="12">
            <rect width="100%" height="100%" fill="white"/>
            <text x="10" y="20" font-size="13">\(Self.escaped(report.title))</text>
            \(Self.panel(rates, at: Self.top, seconds: seconds))
            \(Self.panel(latencies, at: Self.top + Self.height + Self.gap, seconds: seconds))
            </svg>

            """
    }

    private static func panel(_ lines: [Line], at top: Double, seconds: Double) -> String {
        let highest = max(lines.flatMap(\.values).max() ?? 0, 0.001)
        let count = lines.first?.values.count ?? 0
        let bottom = top + height
        var parts: [String] = []
        for step in 0...4 {
            let y = bottom - height * Double(step) / 4
            let label = Report.rounded(highest * Double(step) / 4)
            parts.append("<line x1=\"\(left)\" x2=\"\(left + width)\" y1=\"\(y)\" y2=\"\(y)\" stroke=\"#ddd\"/>")
            parts.append("<text x=\"\(left - 6)\" y=\"\(y + 4)\" text-anchor=\"end\">\(label)</text>")
        }
        for (number, line) in lines.enumerated() {
            let points = line.values.enumerated().map { place, value in
                let x = left + width * (Double(place) + 0.5) / Double(max(count, 1))
                return "\(Report.rounded(x)),\(Report.rounded(bottom - height * value / highest))"
            }
            parts.append(
                "<polyline fill=\"none\" stroke=\"\(line.color)\" stroke-width=\"1.5\" points=\"\(points.joined(separator: " "))\"/>"
            )
            let x = left + 110 * Double(number)
            parts.append("<text x=\"\(x)\" y=\"\(bottom + 32)\" fill=\"\(line.color)\">\(line.name)</text>")
        }
        let end = Report.rounded(Double(count) * seconds)
        parts.append("<text x=\"\(left)\" y=\"\(bottom + 16)\">0</text>")
        parts.append("<text x=\"\(left + width)\" y=\"\(bottom + 16)\" text-anchor=\"end\">\(end) s</text>")
        return parts.joined(separator: "\n")
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "<": result += "&lt;"
            case "&": result += "&amp;"
            default: result.append(character)
            }
        }
    }
}
