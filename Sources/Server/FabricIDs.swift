package import Raft

/// Ids of members and of the fabric, derived so that all founders agree without talking.
package enum FabricIDs {
    /// A founder's id: of its peer URLs and the cluster token.
    package static func founder(peerURLs: [String], token: String) -> NodeID {
        digest(peerURLs.sorted() + [token])
    }

    /// The fabric's id: of its founders' ids.
    package static func cluster(_ founders: [NodeID]) -> UInt64 {
        digest(founders.sorted().map { String($0, radix: 16) })
    }

    /// FNV-1a over the parts, finished with SplitMix64's mixer; never 0.
    private static func digest(_ parts: [String]) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for part in parts {
            for byte in Array(part.utf8) + [0] { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        }
        var mixer = SplitMix64(seed: hash)
        return max(mixer.next(), 1)
    }
}
