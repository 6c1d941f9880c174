import Foundation
import Testing

@testable import Raft

/// Scripts of commands with the protocol's conversation as their golden output, in `Interactions/`. A script is a list of
/// commands; under each stands what it printed. `WEFT_REWRITE=1 swift test --filter Interaction` writes them anew.
@Suite struct InteractionTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
        "Interactions")

    static var scripts: [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names.filter { $0.hasSuffix(".txt") }.sorted()
    }

    @Test func thereAreScripts() {
        #expect(Self.scripts.count >= 6)
    }

    @Test(arguments: scripts) func conversationIsAsRecorded(_ name: String) throws {
        let file = Self.folder.appendingPathComponent(name)
        let recorded = try String(contentsOf: file, encoding: .utf8)
        var player = Player()
        var output = ""
        for line in recorded.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("#") || line.isEmpty { output += line + "\n" }
            guard line.hasPrefix("> ") else { continue }
            output += line + "\n"
            for printed in player.run(String(line.dropFirst(2))) { output += "  \(printed)\n" }
        }
        while output.hasSuffix("\n\n") { output.removeLast() }
        if ProcessInfo.processInfo.environment["WEFT_REWRITE"] != nil {
            try output.write(to: file, atomically: true, encoding: .utf8)
        } else {
            #expect(output == recorded, "\(name) went another way; WEFT_REWRITE=1 records it")
        }
    }
}

/// Runs the commands of a script.
private struct Player {
    var network = Network(voters: [])
    var printed: [String] = []

    mutating func run(_ command: String) -> [String] {
        printed = []
        let words = command.split(separator: " ").map(String.init)
        let ids = words.dropFirst().compactMap { NodeID($0) }
        switch words[0] {
        case "voters": network = Network(voters: ids)
        case "empty": for id in ids { network.addEmpty(id) }
        case "campaign": network.post(.campaign, to: ids[0])
        case "propose": network.propose(words[2], at: ids[0])
        case "read": network.post(.readIndex([ids[1]]), to: ids[0])
        case "tick": network.tick(ids[0], times: ids.count > 1 ? Int(ids[1]) : 1)
        case "transfer": network.post(.transfer(to: ids[1]), to: ids[0])
        case "add":
            network.post(
                .change(requestID: 5, .add(Member(id: ids[1], role: .joining, peerURLs: ["http://n\(ids[1])"]))),
                to: ids[0])
        case "remove": network.post(.change(requestID: 5, .remove(ids[1])), to: ids[0])
        case "compact": network.post(.compact(to: ids[1]), to: ids[0])
        case "crash": network.crash(ids[0])
        case "restart": network.restart(ids[0])
        case "cut": network.cutOff(ids)
        case "heal": network.heal()
        case "slow-disks": network.writesAtOnce = false
        case "written": for id in ids { network.finishWrites(id); network.flush(id) }
        case "deliver": deliver()
        case "settle":
            while !network.wire.isEmpty {
                deliver()
                for id in network.ids where network.writesAtOnce { network.finishWrites(id); network.flush(id) }
            }
        case "show": show()
        default: printed.append("unknown command")
        }
        return printed
    }

    /// Delivers what is on the wire now, not what that sets off.
    private mutating func deliver() {
        for _ in 0..<network.wire.count {
            let message = network.wire[0]
            let isCut = network.cut.contains([message.from, message.to]) || network.hosts[message.to]?.isUp != true
            printed.append((isCut ? "lost " : "") + describe(message))
            network.deliver()
        }
    }

    private mutating func show() {
        for id in network.ids {
            guard let host = network.hosts[id] else { continue }
            let raft = host.raft
            var line = "\(id) \(host.isUp ? raft.role.rawValue : "down") term \(raft.term) leader \(raft.leader ?? 0)"
            line += " log \(raft.log.baseIndex)..\(raft.log.lastIndex) durable \(raft.log.durableIndex)"
            line += " commit \(raft.commit) applied \(host.disk.applied)"
            let state = host.disk.state.map { String(decoding: $0, as: UTF8.self) }
            if !state.isEmpty { line += " state \(state.joined(separator: ","))" }
            if !host.readStates.isEmpty {
                line += " reads " + host.readStates.map { "\($0.id)@\($0.index)" }.joined(separator: ",")
            }
            if !host.refused.isEmpty { line += " refused \(host.refused.map { "\($0)" }.joined(separator: ","))" }
            printed.append(line)
        }
    }
}
