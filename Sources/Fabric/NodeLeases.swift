/// Which lease ids are those of nodes. Clients choose ids of their own, most of them at random among the positive numbers.
package struct NodeLeases: Equatable, Sendable {
    /// In a fabric of version 1 they are the highest numbers, one in 32,768 of those that clients choose from.
    private static let firstOfVersion1: Int64 = 0x7fff_0000_0000_0000
    private static let countMax: Int64 = 1 << 32

    private let isVersion1: Bool

    /// - Parameter version: the fabric's.
    package init(version: UInt64) {
        isVersion1 = version < 2
    }

    package func contains(_ id: Int64) -> Bool {
        isVersion1 ? id >= Self.firstOfVersion1 : id < .min + Self.countMax
    }

    /// The id of the lease with this number.
    func id(_ number: Int64) -> Int64 {
        isVersion1 ? Self.firstOfVersion1 + number : .min + number % Self.countMax
    }

    /// What a member may choose from for a client that does not say.
    package static let idsForClients: Range<Int64> = 1..<firstOfVersion1
}
