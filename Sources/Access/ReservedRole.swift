/// Roles that are there without being made, for what etcd does not have: what may be done with the storage cluster.
package enum ReservedRole: Equatable, Sendable {
    case `operator`, observer
    case node(String)

    /// Nil for all other roles.
    package init?(_ name: [UInt8]) {
        let name = String(decoding: name, as: UTF8.self)
        let node = "weft:node:"
        switch name {
        case "weft:operator": self = .operator
        case "weft:observer": self = .observer
        case _ where name.hasPrefix(node) && name.utf8.count > node.utf8.count:
            self = .node(String(name.dropFirst(node.count)))
        default: return nil
        }
    }
}
