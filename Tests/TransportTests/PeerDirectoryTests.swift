import NIOEmbedded
import Raft
import Storage
import Testing

@testable import Transport

@Suite struct PeerDirectoryTests {
    private let directory = PeerDirectory(clusterID: 1, selfID: 1, versions: 1...2)

    private func hello(from id: NodeID, configurationIndex: Index = 100) -> PeerHello {
        PeerHello(
            versions: 1...2, clusterID: 1, from: id, to: 1, isUnconfirmed: false, purpose: .messages,
            configurationIndex: configurationIndex, peerURLs: ["http://n\(id):1"])
    }

    private func announce(_ id: NodeID, from host: String) -> Set<NodeID>? {
        directory.noteAnnouncement(hello(from: id), from: host) == .newcomer ? directory.called : nil
    }

    @Test("One that moved is found by those it told, once its own word and the configuration lead nowhere")
    func hearsay() {
        let old = PeerAddress(host: "n2", port: 1)
        _ = directory.setAddresses([1: [], 2: [old], 3: [PeerAddress(host: "n3", port: 1)]], at: 5, committed: 5)
        directory.note(told: [
            PeerHint(id: 2, url: "http://n2:9"), PeerHint(id: 7, url: "http://n7:1"), PeerHint(id: 2, url: "nonsense"),
            PeerHint(id: 1, url: "http://n1:9"),
        ])
        #expect(directory.addresses(of: 2) == [old, PeerAddress(host: "n2", port: 9)])
        #expect(directory.addresses(of: 7).isEmpty, "nobody is made a member by hearsay")
        for port in 10..<20 { directory.note(told: [PeerHint(id: 2, url: "http://n2:\(port)")]) }
        #expect(directory.addresses(of: 2).map(\.port) == [1, 19, 18, 17, 16])
        // What it is told it does not pass on; what a member says of itself it does.
        _ = directory.noteAnnouncement(hello(from: 3), from: "10.0.0.3")
        #expect(directory.whereabouts(for: 2).map(\.url) == ["http://n3:1"])
        _ = directory.setAddresses([1: [], 3: []], at: 6, committed: 6)
        _ = directory.setAddresses([1: [], 2: [old], 3: []], at: 7, committed: 7)
        #expect(directory.addresses(of: 2) == [old])
    }

    @Test("A configuration that was cut off the log again keeps no holder of the one in its place out")
    func truncatedConfiguration() {
        _ = directory.setAddresses([2: []], at: 50, committed: 50)
        #expect(directory.refusal(of: hello(from: 9, configurationIndex: 45)) == .unknown)
        _ = directory.setAddresses([2: []], at: 40, committed: 40)
        #expect(directory.refusal(of: hello(from: 9, configurationIndex: 45)) == nil)
    }

    @Test("Made-up members of one host keep none of another out, and no member of the configuration")
    func madeUpMembers() {
        _ = directory.setAddresses([2: []], at: 50, committed: 50)
        for id in 100..<200 as Range<NodeID> { _ = announce(id, from: "10.0.0.9") }
        #expect(announce(9, from: "10.0.0.3")?.contains(9) == true)
        _ = announce(2, from: "10.0.0.2")
        #expect(directory.addresses(of: 2) == [PeerAddress(host: "n2", port: 1)])
        #expect(directory.addresses(of: 9) == [PeerAddress(host: "n9", port: 1)])
        // Once a configuration names it, it stays where it said.
        _ = directory.setAddresses([2: [], 9: []], at: 60, committed: 60)
        #expect(directory.addresses(of: 9) == [PeerAddress(host: "n9", port: 1)])
    }

    @Test("Callers that hung up make room for others, and are called no longer")
    func callersThatAreGone() {
        for id in 100..<200 as Range<NodeID> { _ = announce(id, from: "10.0.\(id).1") }
        let called = announce(9, from: "10.0.0.3")
        #expect(called?.contains(9) == true)
        #expect(called?.count == 32)
    }

    @Test("A configuration that never was committed keeps no member of the one in its place out")
    func uncommittedConfiguration() {
        _ = directory.setAddresses([2: []], at: 90, committed: 40)
        #expect(directory.refusal(of: hello(from: 9, configurationIndex: 60)) == nil)
        #expect(directory.refusal(of: hello(from: 9, configurationIndex: 40)) == .unknown)
        #expect(directory.hello(to: 2, for: .messages).configurationIndex == 90)
    }

    @Test("Of one host those that hung up make room; beyond those that are connected nobody is let in")
    func callersOfOneHost() {
        let channels = (100..<104 as Range<NodeID>).map { id in
            _ = announce(id, from: "10.0.0.9")
            let channel = EmbeddedChannel()
            directory.track(channel, from: id)
            return channel
        }
        #expect(directory.noteAnnouncement(hello(from: 104), from: "10.0.0.9") == .surplus)
        #expect(directory.noteAnnouncement(hello(from: 103), from: "10.0.0.9") == .known)
        _ = try? channels[1].finish()
        #expect(announce(104, from: "10.0.0.9") == [100, 102, 103, 104])
    }
}
