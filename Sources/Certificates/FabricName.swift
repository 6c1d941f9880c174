/// Whom a certificate of a fabric's own CA is for: the URI among its alternative names.
package enum FabricName: Equatable, Sendable {
    /// `weft://FABRIC/member/ID`, both hexadecimal.
    case member(fabric: UInt64, id: UInt64)
    /// `weft://FABRIC/client/ID`: a node of the storage cluster, or a tool. The fabric's state says what it may do.
    case client(fabric: UInt64, id: UInt64)
    /// `weft://FABRIC/machine/ID`: root of a member's own machine, for a few minutes.
    case machine(fabric: UInt64, id: UInt64)

    package var uri: String {
        switch self {
        case .member(let fabric, let id): "weft://\(String(fabric, radix: 16))/member/\(String(id, radix: 16))"
        case .client(let fabric, let id): "weft://\(String(fabric, radix: 16))/client/\(String(id, radix: 16))"
        case .machine(let fabric, let id): "weft://\(String(fabric, radix: 16))/machine/\(String(id, radix: 16))"
        }
    }

    /// Nil for anything that is not written just as `uri` writes it.
    package init?(uri: String) {
        let parts = uri.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0] == "weft:", parts[1].isEmpty, let fabric = UInt64(parts[2], radix: 16),
            let id = UInt64(parts[4], radix: 16)
        else { return nil }
        switch parts[3] {
        case "member": self = .member(fabric: fabric, id: id)
        case "client": self = .client(fabric: fabric, id: id)
        case "machine": self = .machine(fabric: fabric, id: id)
        default: return nil
        }
        guard self.uri == uri else { return nil }
    }

    /// Whom a certificate with these URIs is for. One that names two is nobody's.
    package init?(uris: [String]) {
        guard uris.count == 1 else { return nil }
        self.init(uri: uris[0])
    }
}
