internal import Access
internal import JSON
internal import MVCC
internal import Replication
internal import Server

/// etcd's Auth service.
enum Auth {
    // MARK: - The whole

    struct Status: Operation {
        struct Report: Sendable {
            var isEnabled: Bool
            var revision: UInt64
        }

        /// Also of nobody; a bad token is refused.
        static var right: Right<Self> { Right { _, _ throws(AccessRefusal) in } }

        func run(at desk: Desk) async throws(APIError) -> Answered<Report> {
            let access = desk.member.access
            return desk.answered(Report(isEnabled: access.isEnabled, revision: access.revision))
        }
    }

    struct Authenticate: Operation {
        static var right: Right<Self> { .anybody }

        var name: [UInt8]
        var password: [UInt8]

        /// A token. At the socket of a member's own machine nobody needs a password to become somebody.
        func run(at desk: Desk) async throws(APIError) -> Answered<String> {
            let token = try await desk.ask { member throws(ServerError) in
                do throws(ServerError) {
                    return try await member.logIn(name, by: proof(of: desk.caller), from: desk.caller.address)
                } catch .refused(.access(let refusal)) where refusal != .notEnabled {
                    desk.note(refusal, Self.self, user: name)
                    throw .refused(.access(refusal))
                }
            }
            return desk.answered(token)
        }

        private func proof(of caller: Caller) -> LoginProof {
            caller.isLocal && password.isEmpty ? .machine : .password(password)
        }
    }

    struct Enable: AccessOperation {
        typealias Answer = Answered<Void>
        func change(_ member: RunningMember) -> AccessChange { .enable }
    }

    struct Disable: AccessOperation {
        typealias Answer = Answered<Void>
        func change(_ member: RunningMember) -> AccessChange { .disable }
    }

    // MARK: - Users

    struct AddUser: AccessOperation {
        typealias Answer = Answered<Void>

        var name: [UInt8]
        /// Nil for one who never logs in with a password.
        var password: [UInt8]?

        func change(_ member: RunningMember) async throws(ServerError) -> AccessChange {
            guard !name.isEmpty, let password else { return .addUser(name, passwordHash: nil) }
            return .addUser(name, passwordHash: try await member.hash(password))
        }
    }

    struct GetUser: Operation {
        /// Anybody may ask for oneself.
        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in
                try claim.expectCaller()
                if asked.name != claim.author?.name { try claim.expectRoot() }
            }
        }

        var name: [UInt8]

        var isRead: Bool { true }

        /// Their roles.
        func run(at desk: Desk) async throws(APIError) -> Answered<[[UInt8]]> {
            guard let user = try await desk.currentAccess().users[name] else { throw APIError(AccessRefusal.noUser) }
            return desk.answered(user.roles)
        }
    }

    struct ListUsers: Operation {
        static var right: Right<Self> { .root }

        var isRead: Bool { true }

        func run(at desk: Desk) async throws(APIError) -> Answered<[[UInt8]]> {
            desk.answered(try await desk.currentAccess().users.all.map(\.name))
        }
    }

    struct DeleteUser: AccessOperation {
        typealias Answer = Answered<Void>
        var name: [UInt8]
        func change(_ member: RunningMember) -> AccessChange { .deleteUser(name) }
    }

    struct ChangePassword: AccessOperation {
        typealias Answer = Answered<Void>

        var name: [UInt8]
        var password: [UInt8]
        /// In base64; it counts when there is no password.
        var hash: String

        func change(_ member: RunningMember) async throws(ServerError) -> AccessChange {
            guard password.isEmpty, !hash.isEmpty else {
                return .changePassword(name, passwordHash: try await member.hash(password))
            }
            guard let bytes = Base64.decode(hash) else { throw .refused(.access(.noPasswordUser)) }
            try member.checkHash(bytes)
            return .changePassword(name, passwordHash: bytes)
        }
    }

    struct GrantRole: AccessOperation {
        typealias Answer = Answered<Void>
        var user: [UInt8]
        var role: [UInt8]
        func change(_ member: RunningMember) -> AccessChange { .grantRole(role, user: user) }
    }

    struct RevokeRole: AccessOperation {
        typealias Answer = Answered<Void>
        var user: [UInt8]
        var role: [UInt8]
        func change(_ member: RunningMember) -> AccessChange { .revokeRole(role, user: user) }
    }

    // MARK: - Roles

    struct AddRole: AccessOperation {
        typealias Answer = Answered<Void>
        var name: [UInt8]
        func change(_ member: RunningMember) -> AccessChange { .addRole(name) }
    }

    struct GetRole: Operation {
        /// Anybody may ask for a role of theirs.
        static var right: Right<Self> {
            Right { asked, claim throws(AccessRefusal) in
                try claim.expectCaller()
                if !claim.roles.contains(asked.name) { try claim.expectRoot() }
            }
        }

        var name: [UInt8]

        var isRead: Bool { true }

        func run(at desk: Desk) async throws(APIError) -> Answered<[Permission]> {
            let access = try await desk.currentAccess()
            guard let role = access.roles[name] else { throw APIError(AccessRefusal.noRole) }
            return desk.answered(name == AccessState.root ? [Permission.all] : role.permissions)
        }
    }

    struct ListRoles: Operation {
        static var right: Right<Self> { .root }

        var isRead: Bool { true }

        func run(at desk: Desk) async throws(APIError) -> Answered<[[UInt8]]> {
            desk.answered(try await desk.currentAccess().roles.all.map(\.name))
        }
    }

    struct DeleteRole: AccessOperation {
        typealias Answer = Answered<Void>
        var name: [UInt8]
        func change(_ member: RunningMember) -> AccessChange { .deleteRole(name) }
    }

    struct GrantPermission: AccessOperation {
        typealias Answer = Answered<Void>

        var role: [UInt8]
        var permission: Permission?

        func change(_ member: RunningMember) throws(ServerError) -> AccessChange {
            guard let permission else { throw .refused(.access(.noPermission)) }
            return .grantPermission(permission, role: role)
        }
    }

    struct RevokePermission: AccessOperation {
        typealias Answer = Answered<Void>
        var role: [UInt8]
        var key: [UInt8]
        var end: [UInt8]
        func change(_ member: RunningMember) -> AccessChange { .revokePermission(key: key, end: end, role: role) }
    }
}

/// One that changes users or roles.
protocol AccessOperation: Operation where Answer == Answered<Void> {
    func change(_ member: RunningMember) async throws(ServerError) -> AccessChange
}

extension AccessOperation {
    static var right: Right<Self> { .strictlyRoot }

    func run(at desk: Desk) async throws(APIError) -> Answered<Void> {
        let applied = try await desk.ask { member throws(ServerError) in
            try await member.change(try await change(member), by: desk.name(orClaimed: ""), desk.author)
        }
        return Answered(header: desk.header(applied), body: ())
    }
}

extension Desk {
    /// Users and roles as of all that was acknowledged before.
    fileprivate func currentAccess() async throws(APIError) -> AccessState {
        try await ask { member throws(ServerError) in try await member.confirmCurrentDespiteAlarms() }
        return member.access
    }
}
