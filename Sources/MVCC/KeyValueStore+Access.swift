package import Access
internal import Bytes
internal import Fabric

/// Users and roles: etcd's auth store, beside the keys, in the same state.
extension KeyValueStore {
    func apply(_ change: AccessChange, _ trace: Trace) -> Result<CommandResult, MVCCError> {
        let before = access
        do throws(AccessRefusal) { try access.apply(change) } catch { return .failure(.access(error)) }
        for row in access.rows(since: before) { meta.mix(recordRows.note(row)) }
        var isNews = access != before
        if case .noteMembers = change { isNews = true }
        if isNews, let summary = change.summary {
            fabric.noteAccess(summary, about: change.subject, trace)
            takeUpFabricChanges()
        }
        if let event = change.tokenEvent { tokenEvents.append(event) }
        return .success(.done)
    }

    /// Takes up, without a state, that users and roles changed: a witness knows none, and lets nobody do anything from then on.
    package func applyUnknownAccess(index: UInt64, term: UInt64) {
        applyNothing(index: index, term: term)
        let before = access
        access.lock()
        for row in access.rows(since: before) { _ = recordRows.note(row) }
    }

    /// Why a command is not carried out on somebody's behalf. They asked a member that may have known an older state.
    func refusal(of authored: AuthoredCommand) -> AccessRefusal? {
        if let author = authored.author, author.isCertificate { return refusal(of: authored.command, by: author.name) }
        guard access.isEnabled, !makes(.writesWithoutRights) else { return nil }
        let authorizer = Authorizer(authored.author, in: access, leases, &knownRights)
        do throws(AccessRefusal) {
            switch authored.command {
            case .put(let request): try authorizer.expect(request)
            case .deleteRange(let request): try authorizer.expect(request)
            case .txn(let request): try authorizer.expect(request)
            case .leaseRevoke(let id): try authorizer.expectWritingKeys(of: id)
            case .leaseRenew(let id):
                // Without an author it is a heartbeat, for a node that has shown that it may.
                guard authored.author != nil else { break }
                guard !fabric.leases.contains(id) else { throw .denied }
                try authorizer.expectWritingKeys(of: id)
            // A member does it, for whoever has shown that they may.
            case .access(.issueToken, _), .access(.noteMembers, _), .access(.logIn, _): break
            case .access(.trust(let change), _):
                if authored.author != nil { try access.expectRight(to: change, authored.author) }
            case .access: try access.expectRoot(authored.author)
            case .compact, .leaseGrant, .leaseExpire, .leaseAge, .publish, .raiseAlarm, .lowerAlarm, .fabric,
                .raiseVersion:
                break
            }
        } catch {
            return error
        }
        return nil
    }
}

extension KeyValueStore {
    /// Why a command is not carried out for whoever has a certificate: it was taken back since, or users count now.
    private func refusal(of command: Command, by certificate: [UInt8]) -> AccessRefusal? {
        guard let enrolment = access.trust.enrolments[certificate] else { return .noCertificate }
        switch command {
        case .put, .deleteRange, .txn, .leaseRevoke, .leaseRenew, .compact:
            return enrolment.role == .root || enrolment.role == .client && !access.isEnabled ? nil : .denied
        case .access(.trust(.renew(certificate, _, _)), _): return nil
        case .access(.trust(let change), _) where enrolment.role == .operator:
            return change.isForOperators ? nil : .denied
        case .access: return enrolment.role == .root ? nil : .denied
        // As for users, who may grant one whatever their rights.
        case .leaseGrant: return nil
        case .leaseExpire, .leaseAge, .publish, .raiseAlarm, .lowerAlarm, .fabric, .raiseVersion: return nil
        }
    }
}

extension AccessState {
    func expectRight(to change: TrustChange, _ author: Author?) throws(AccessRefusal) {
        let isOperator = author.flatMap { users[$0.name] }?.roles.contains { ReservedRole($0) == .operator } ?? false
        if !isOperator || !change.isForOperators { try expectRoot(author) }
    }

    /// Whatever the revision: it is looked up in the newest state.
    package func expectRoot(_ author: Author?) throws(AccessRefusal) {
        guard let author, author.revision > 0 else { throw .emptyUserName }
        guard let user = users[author.name], user.roles.contains(Self.root) else { throw .denied }
    }
}
