internal import Access
internal import Fabric
internal import MVCC
internal import Raft

/// What a caller must be allowed before an operation is carried out, while users and roles count. Every operation names its own.
struct Right<Asked>: Sendable {
    typealias Rule = @Sendable (Asked, Claim) throws(AccessRefusal) -> Void

    /// Nil for what callers may do who do not even say who they are.
    let rule: Rule?
    /// When this member hears first of all that was acknowledged before.
    enum Hearing: Sendable {
        /// Somebody looks at it again where it takes effect, or it is over with the answer.
        case never
        /// Nobody looks at it again, and it needs a leader anyway.
        case always
        /// Nobody looks at it again, and it goes on: where nobody's rights count it works without a leader, too.
        case whereRightsCount
    }

    let hearing: Hearing
    /// It is looked at where this member lets anybody in, too: what comes of it counts at the others.
    let isStrict: Bool
    /// It is looked at only where the fabric has a CA of its own.
    private(set) var needsAuthority = false

    init(hearing: Hearing = .never, isStrict: Bool = false, _ rule: @escaping Rule) {
        self.rule = rule
        self.hearing = hearing
        self.isStrict = isStrict
    }

    private init() {
        rule = nil
        hearing = .never
        isStrict = false
    }

    static var anybody: Right { Right() }
    /// It is made of operations that are carried out at the same desk, each with its own right.
    static var ofItsParts: Right { Right() }
    /// Anybody, but in a fabric with a CA of its own callers that it knows.
    static var known: Right {
        var right = caller
        right.needsAuthority = true
        return right
    }
    static var caller: Right { Right { _, claim throws(AccessRefusal) in try claim.expectCaller() } }
    static var root: Right { Right(hearing: .always) { _, claim throws(AccessRefusal) in try claim.expectRoot() } }
    /// Of those who run the fabric: they change members, domains and nodes, and see no keys.
    static var operate: Right {
        Right(hearing: .always) { _, claim throws(AccessRefusal) in try claim.expect(.operate) }
    }
    /// The same about the fabric's own CA, and about users and roles.
    static var strictlyRoot: Right {
        Right(hearing: .always, isStrict: true) { _, claim throws(AccessRefusal) in try claim.expectRoot() }
    }
    static var strictlyOperate: Right {
        Right(hearing: .always, isStrict: true) { _, claim throws(AccessRefusal) in try claim.expect(.operate) }
    }
    static var observe: Right { Right { _, claim throws(AccessRefusal) in try claim.expect(.observe) } }
}

/// What may be done with the storage cluster.
enum FabricUse: Equatable, Sendable {
    case observe, operate
    /// What a node does in its own name.
    case act(node: String)
}

/// As whom a caller comes, as far as a member has seen it proved.
enum Standing: Equatable, Sendable {
    case stranger
    /// By a token, by a certificate's common name, or as root of a member's own machine.
    case user(Author)
    /// By a client's certificate of the fabric's own CA, which is listed under this id.
    case certified(ReservedRole, id: [UInt8])
    /// As root of a member's machine: everything. By what name the fabric's events call them.
    case machine([UInt8])
    /// By a member's certificate.
    case member(NodeID)
    /// As a member of another fabric, which is paired with this one: it may greet, and nothing else.
    case paired(fabric: UInt64)

    /// If both let the same caller in as the same, whatever changed about users meanwhile.
    func isLike(_ other: Standing) -> Bool {
        guard case (.user(let one), .user(let another)) = (self, other) else { return self == other }
        return one.name == another.name
    }

    /// Whom writes are looked at again for where they are applied; nil for those whose rights nobody takes.
    var author: Author? {
        switch self {
        case .user(let author): author
        case .certified(_, let id): Author(certificate: id)
        case .stranger, .machine, .member, .paired: nil
        }
    }
}

/// A caller, and what they may do in one state.
struct Claim: Sendable {
    let standing: Standing
    let authorizer: Authorizer
    let access: AccessState
    let fabric: FabricState

    /// As a user.
    var author: Author? { if case .user(let author) = standing { author } else { nil } }

    /// Of the newest state: which roles somebody has counts at once, however old their token is.
    var roles: [[UInt8]] { author.flatMap { access.users[$0.name] }?.roles ?? [] }

    func expectCaller() throws(AccessRefusal) {
        switch standing {
        case .certified, .machine, .member: return
        case .paired: throw .denied
        case .user(let author) where author.revision > 0: return
        case .user: throw .emptyUserName
        case .stranger: throw access.isEnabled ? .emptyUserName : .noCertificate
        }
    }

    func expectRoot() throws(AccessRefusal) {
        try expectCaller()
        if case .certified(.root, _) = standing { return }
        if case .machine = standing { return }
        guard case .user = standing else { throw .denied }
        try access.expectRoot(author)
    }

    func expect(_ use: FabricUse) throws(AccessRefusal) {
        try expectCaller()
        switch standing {
        case .certified(let role, _): guard role.allows(use) else { throw .denied }
        case .machine: return
        case .member: guard use == .observe else { throw .denied }
        case .paired: throw .denied
        case .user, .stranger:
            guard roles.contains(where: { $0 == AccessState.root || ReservedRole($0)?.allows(use) ?? false }) else {
                throw .denied
            }
        }
    }

    /// Leases of nodes are none of the clients'.
    func expectWriting(_ lease: Int64) throws(AccessRefusal) {
        try expectCaller()
        if fabric.leases.contains(lease) { return try expect(.operate) }
        try authorizer.expectWritingKeys(of: lease)
    }

    /// Where answers are taken from a state, a token of any other does not count.
    func expectNow() throws(AccessRefusal) {
        if let author, author.revision > access.revision { throw .oldRevision }
    }
}

/// Roles that weft knows beside etcd's: they need not be made before they are granted.
extension ReservedRole {
    func allows(_ use: FabricUse) -> Bool {
        switch (self, use) {
        case (.root, _), (.operator, _), (.observer, .observe), (.node, .observe), (.client, .observe): true
        case (.node(let name), .act(let node)): name == node
        case (.observer, _), (.node, .operate), (.client, _), (.user, _): false
        }
    }
}
