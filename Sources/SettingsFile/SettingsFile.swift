internal import Yams

/// The settings of a daemon as a YAML file says them: one mapping of names to plain values, lists of them, or sections of the same.
package enum SettingsFile {
    package struct Setting: Equatable, Sendable {
        /// Of one in a section: the section's name, a slash, and its own.
        package var key: String
        /// A list's values have commas between them.
        package var value: String
        /// Counted from 1.
        package var line: Int
    }

    /// What is wrong, and in which line; no line when it is the file as a whole.
    package struct Fault: Error, CustomStringConvertible, Sendable {
        package var line: Int?
        package var reason: String

        package var description: String { (line.map { "line \($0): " } ?? "") + reason }
    }

    package static func parse(_ text: String) throws(Fault) -> [Setting] {
        let document: Node?
        do {
            document = try Yams.compose(yaml: text)
        } catch {
            throw Fault(reason: "it is not YAML: \(error)")
        }
        guard let document, !(document.scalar?.string.isEmpty ?? false) else { return [] }
        guard let mapping = document.mapping else {
            throw Fault(line: 1, reason: "settings are written as KEY: VALUE")
        }
        var settings: [Setting] = []
        for (key, node) in mapping {
            let (name, line) = (key.string ?? "", key.mark?.line ?? 0)
            guard let section = node.mapping else {
                settings.append(Setting(key: name, value: try value(node, line), line: line))
                continue
            }
            for (key, node) in section {
                let line = key.mark?.line ?? line
                settings.append(Setting(key: "\(name)/\(key.string ?? "")", value: try value(node, line), line: line))
            }
        }
        return settings
    }

    private static func value(_ node: Node, _ line: Int) throws(Fault) -> String {
        if let scalar = node.scalar { return scalar.string }
        guard let sequence = node.sequence else { throw Fault(line: line, reason: "a plain value is expected") }
        var values: [String] = []
        for item in sequence {
            guard let scalar = item.scalar else {
                throw Fault(line: line, reason: "a list of plain values is expected")
            }
            values.append(scalar.string)
        }
        return values.joined(separator: ",")
    }
}
