package import Access
internal import Bytes
internal import Credentials
internal import Fabric
internal import Logging
package import MVCC
package import Replication
internal import Synchronization

/// Why somebody may be taken for a user.
package enum LoginProof: Sendable {
    case password([UInt8])
    /// They are root on the member's own machine.
    case machine
}

/// Users, roles and logins.
extension RunningMember {
    package var access: AccessState { core.view.access }

    /// If users and roles count. Cheap.
    package var isAuthEnabled: Bool { core.isAuthEnabled.load(ordering: .acquiring) }

    /// If anybody's rights are looked at. Cheap.
    package var isGuarded: Bool { core.isGuarded.load(ordering: .acquiring) }

    /// If they are as of a state: where users count, and where this member's port has a certificate of the fabric's own CA, unless it was told
    /// to let anybody in.
    package func guards(_ access: AccessState) -> Bool { core.guards(access) }

    /// If this member has a state to know users and certificates from.
    package var hasState: Bool { appliedIndex >= MemberDisk.foundingIndex }

    /// If a client's certificate is in its time, and by a CA that is believed, on a connection that was made long ago, too.
    package func isGood(_ enrolment: Enrolment) -> Bool {
        enrolment.until > core.wallMilliseconds && access.trust.authorities[enrolment.authority] != nil
    }

    /// If a certificate that is good until then, in seconds since 1970, is still.
    package func isInTime(_ until: Int64) -> Bool { until > core.wallMilliseconds / 1000 }

    /// Refuses while this member has no state to know users from: it has just joined. A witness never has one, and lets nobody in once it
    /// heard that there are users.
    package func expectState() throws(ServerError) {
        guard hasState else { throw .catchingUp }
    }

    /// What was allowed as of one is looked at again as of another.
    package struct AccessMark: Equatable, Sendable {
        let isEnabled: Bool
        let revision: UInt64
        let trust: UInt64
    }

    package var accessMark: AccessMark {
        let access = access
        return AccessMark(isEnabled: access.isEnabled, revision: access.revision, trust: access.trust.revision)
    }

    /// Whose a token is; nil when it is not good here and now.
    package func author(of token: String) -> Author? { core.authenticator.author(of: token, in: access) }

    /// What somebody may do in the newest state.
    package func authorizer(for author: Author?) -> (authorizer: Authorizer, state: AccessState) {
        let view = core.view
        return (core.knownRights.withLock { view.authorizer(for: author, &$0) }, view.access)
    }

    /// What somebody may do by a certificate.
    package func authorizer(for role: ReservedRole) -> (authorizer: Authorizer, state: AccessState) {
        let view = core.view
        return (view.authorizer(for: role), view.access)
    }

    /// What those may do of whom nothing is known.
    package var authorizerForStrangers: (authorizer: Authorizer, state: AccessState) {
        let view = core.view
        return (view.strangersAuthorizer, view.access)
    }

    /// - Parameter by: who, for the fabric's events.
    package func change(_ change: AccessChange, by: String, _ author: Author?) async throws(ServerError) -> Applied {
        try await propose(.access(change, Trace(at: core.wallMilliseconds, by: by)), by: author)
    }

    /// Writes down for the fabric's events what somebody does to the members. A fabric of an earlier version knows no such events.
    package func note(ofMembers what: String, by: String) async throws(ServerError) {
        guard fabricVersion >= FabricVersion.access else { return }
        _ = try await propose(.access(.noteMembers(what: Array(what.utf8)), Trace(at: core.wallMilliseconds, by: by)))
    }

    package func note(_ denial: AuditLog.Denial) { core.auditLog.note(denial) }

    // MARK: - Passwords

    package func hash(_ password: [UInt8]) async throws(ServerError) -> [UInt8] {
        do throws(PasswordHash.Refusal) {
            try PasswordHash.check(password)
        } catch {
            throw .refused(.access(error == .tooLong ? .passwordTooLong : .passwordWithZero))
        }
        let cost = core.authenticator.bcryptCost
        guard let hash = await core.authenticator.hasher.run({ PasswordHash.make(password, cost: cost) }) else {
            throw .tooManyRequests
        }
        guard let hash else { throw .refused(.access(.noBcrypt)) }
        return hash
    }

    /// A hash that a client made itself.
    package func checkHash(_ hash: [UInt8]) throws(ServerError) {
        guard PasswordHash.isWellFormed(hash) else { throw .refused(.access(.noPasswordUser)) }
    }

    /// Answers a token for a user whom `proof` shows to be one.
    /// - Parameter address: of who tries.
    package func logIn(
        _ name: [UInt8], by proof: LoginProof, from address: String
    ) async throws(ServerError) -> String {
        while true {
            try await confirmCurrentDespiteAlarms()
            let state = access
            guard state.isEnabled else { throw .refused(.access(.notEnabled)) }
            switch proof {
            case .password(let password): try await checkPassword(of: state.users[name], name, password, address)
            case .machine:
                if state.users[name] == nil { throw .refused(.access(.wrongPassword)) }
                core.logger.notice(
                    "root of this machine takes the name of user \(String(decoding: name, as: UTF8.self))")
            }
            do throws(ServerError) {
                if let token = try await issueToken(for: name, as: state.revision) { return token }
            } catch .refused(.access(.oldRevision)) {}
        }
    }

    private func checkPassword(
        of user: User?, _ name: [UInt8], _ password: [UInt8], _ address: String
    ) async throws(ServerError) {
        let attempts = core.authenticator.attempts
        guard attempts.admit(name, from: address, now: monotonicNanoseconds()) else {
            throw .refused(.access(.tooManyAttempts))
        }
        if let user, user.passwordHash == nil { throw .refused(.access(.noPasswordUser)) }
        // For one whom there is not it takes as long.
        let hash = user?.passwordHash ?? PasswordHash.ofNobody(cost: core.authenticator.bcryptCost)
        guard let matches = await core.authenticator.hasher.run({ PasswordHash.matches(password, hash) }) else {
            throw .tooManyRequests
        }
        guard matches, user != nil else {
            attempts.noteFailure(of: name, from: address, now: monotonicNanoseconds())
            throw .refused(.access(.wrongPassword))
        }
    }

    /// Nil when users or roles have changed since.
    private func issueToken(for name: [UInt8], as revision: UInt64) async throws(ServerError) -> String? {
        switch core.authenticator.tokens {
        case .web(let tokens):
            guard access.revision == revision else { return nil }
            let claims = WebTokens.Claims(user: name, revision: revision)
            guard let token = tokens.issue(claims, at: millisecondsSince1970() / 1000) else {
                throw .refused(.access(.cannotIssue))
            }
            return token
        case .simple:
            let secret = SimpleTokens.makeSecret()
            let issued = IssuedToken(
                digest: SimpleTokens.digest(of: secret), user: name, revision: revision, issued: millisecondsSince1970()
            )
            _ = try await propose(.access(.issueToken(issued), Trace(at: issued.issued, by: "")))
            return "\(String(decoding: secret, as: UTF8.self)).\(appliedIndex)"
        }
    }
}
