/// Roles that are there without being made, for what etcd does not have: what may be done with the storage cluster. Certificates of the
/// fabric's own CA have them, too.
package enum ReservedRole: Equatable, Sendable {
    case `operator`, observer
    case node(String)
    /// All keys, while users do not count.
    case client
    /// Everything, as the user root.
    case root
    /// What the roles of a user say, who logged in.
    case user(String)

    private static let node = "weft:node:"
    private static let user = "user:"

    /// A role that can be granted to users; nil for all other roles.
    package init?(_ name: [UInt8]) {
        switch ReservedRole(certified: String(decoding: name, as: UTF8.self)) {
        case .operator?: self = .operator
        case .observer?: self = .observer
        case .node(let name)?: self = .node(name)
        // Users have rights to keys by etcd's roles.
        case .client?, .root?, .user?, nil: return nil
        }
    }

    /// A role that a certificate can have, by its name.
    package init?(certified name: String) {
        switch name {
        case "weft:operator": self = .operator
        case "weft:observer": self = .observer
        case "weft:client": self = .client
        case "root": self = .root
        case _ where name.hasPrefix(Self.node) && name.utf8.count > Self.node.utf8.count:
            self = .node(String(name.dropFirst(Self.node.count)))
        case _ where name.hasPrefix(Self.user) && name.utf8.count > Self.user.utf8.count:
            self = .user(String(name.dropFirst(Self.user.count)))
        default: return nil
        }
    }

    package var text: String {
        switch self {
        case .operator: "weft:operator"
        case .observer: "weft:observer"
        case .node(let name): Self.node + name
        case .client: "weft:client"
        case .root: "root"
        case .user(let name): Self.user + name
        }
    }

    /// If root may give it to a certificate: a user's comes of logging in alone.
    package var canBeGiven: Bool { if case .user = self { false } else { true } }
}
