internal import Access
internal import Bytes
internal import Certificates
internal import Fabric
internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// Opens a desk for each who comes to a member.
struct Desks: Sendable {
    private let member: RunningMember

    init(of member: RunningMember) { self.member = member }

    func open(for caller: Caller) -> Desk { Desk(member: member, caller: caller) }

    /// Larger requests are refused before anything is looked at.
    var requestBytesMax: Int { member.settings.requestBytesMax }

    /// For the loop that asks: reads of single keys that it has decided to carry out itself.
    func makePointReader() -> PointReader { member.makePointReader() }
}

/// Where operations are carried out for one caller: the way from a request to the member, and the only place where rights are looked at.
struct Desk: Sendable {
    let member: RunningMember
    let caller: Caller
    /// As whom the caller was let in; a stranger while nobody's rights count.
    private(set) var standing = Standing.stranger
    /// On whose behalf commands are carried out.
    var author: Author? { standing.author }

    fileprivate init(member: RunningMember, caller: Caller) {
        self.member = member
        self.caller = caller
    }

    func carryOut<Asked: Operation>(_ operation: Asked) async throws(APIError) -> Asked.Answer {
        try check(operation.check)
        try await expectCurrent(for: Asked.right)
        let mark = isGuarded(Asked.right) ? member.accessMark : nil
        var desk = self
        if mark != nil { desk.standing = try await authorize(operation) }
        let answer = try await operation.run(at: desk)
        // What was read while rights changed is told to those who may know it now.
        if operation.tellsWhatIs, mark != nil, member.accessMark != mark { _ = try await authorize(operation) }
        return answer
    }

    /// See `LoopOperation`.
    func begin<Asked: LoopOperation>(
        _ operation: Asked, _ done: @escaping @Sendable (Result<Asked.Answer, APIError>) -> Void
    ) -> Bool {
        do throws(APIError) {
            try check(operation.check)
        } catch {
            done(.failure(error))
            return true
        }
        // It has just joined, and knows neither users nor certificates.
        guard member.hasState else { return false }
        var desk = self
        if isGuarded(Asked.right) {
            // A refusal may have to wait until this member has heard more.
            do throws(AccessRefusal) { desk.standing = try authorizeNow(operation) } catch { return false }
        }
        return operation.begin(at: desk, done)
    }

    // MARK: - Rights

    /// If a right is looked at.
    private func isGuarded<Asked>(_ right: Right<Asked>) -> Bool {
        member.isGuarded || right.isStrict && member.access.trust.isThere
    }

    private func isIdle<Asked>(_ right: Right<Asked>) -> Bool {
        right.needsAuthority && !member.access.trust.isThere
    }

    /// A member that has not heard of users yet would let everybody in. One without a state refuses, and what nobody looks at again waits
    /// until this member knows all that was acknowledged before.
    private func expectCurrent<Asked>(for right: Right<Asked>) async throws(APIError) {
        guard right.rule != nil, !right.needsAuthority || member.isGuarded else { return }
        try await ask { member throws(ServerError) in
            switch right.hearing {
            case .always: try await member.confirmCurrentDespiteAlarms()
            case .whereRightsCount where member.isGuarded: try await member.confirmCurrentDespiteAlarms()
            case .whereRightsCount, .never: try member.expectState()
            }
        }
    }

    /// Says as whom the caller comes, if they may. Where this member would refuse, it hears first what the others know: a token may have been issued,
    /// or a right granted, by another a moment ago.
    func authorize<Asked: Operation>(_ operation: Asked) async throws(APIError) -> Standing {
        do throws(AccessRefusal) { return try authorizeNow(operation) } catch {
            guard (try? await member.confirmCurrentDespiteAlarms()) != nil else { throw denied(operation, error) }
        }
        do throws(AccessRefusal) { return try authorizeNow(operation) } catch { throw denied(operation, error) }
    }

    private func denied<Asked: Operation>(_ operation: Asked, _ refusal: AccessRefusal) -> APIError {
        // The client asks again with a new token: nothing was denied.
        if refusal != .oldRevision { note(refusal, Asked.self, user: (try? identify())?.name ?? []) }
        return APIError(refusal)
    }

    /// Writes down what was denied.
    func note<Asked: Operation>(_ refusal: AccessRefusal, _: Asked.Type, user: [UInt8]) {
        let what = String(reflecting: Asked.self).split(separator: ".").dropFirst().joined(separator: ".")
        member.note(
            AuditLog.Denial(
                user: String(decoding: user, as: UTF8.self), address: caller.address, what: what,
                reason: refusal.message))
    }

    /// Who changes something, for the fabric's events: whoever they say they are, unless it is known.
    func name(orClaimed claimed: String) -> String {
        if standing == .stranger { return claimed }
        let name = String(decoding: standing.name, as: UTF8.self)
        return caller.address.isEmpty ? name : "\(name)@\(caller.address)"
    }

    /// Refuses once whoever this desk was opened for as root is it no more. A token that is past its time meanwhile counts as it did.
    func expectRootStill() throws(APIError) {
        guard member.isGuarded else { return }
        do throws(AccessRefusal) {
            if case .certified(_, let id) = standing, member.access.trust.enrolments[id] == nil { throw .noCertificate }
            try member.claim(of: standing).expectRoot()
        } catch {
            throw APIError(error)
        }
    }

    var asker: Asker { Asker(name: name(orClaimed: ""), author: author) }

    func authorizeNow<Asked: Operation>(_ operation: Asked) throws(AccessRefusal) -> Standing {
        guard let rule = Asked.right.rule, !isIdle(Asked.right) else { return .stranger }
        let claim = member.claim(of: try identify())
        guard isGuarded(Asked.right) else { return .stranger }
        if operation.isRead { try claim.expectNow() }
        try rule(operation, claim)
        return claim.standing
    }

    /// If an operation that a loop carries out itself may be; else it is one for a task.
    func mayNow<Asked: Operation>(_ operation: Asked) -> Bool {
        guard member.isGuarded else { return true }
        do throws(AccessRefusal) { _ = try authorizeNow(operation) } catch { return false }
        return true
    }

    /// For keys that are found out only with the answer.
    func expectReading(_ keys: [[UInt8]]) throws(APIError) {
        guard member.isGuarded, !keys.isEmpty else { return }
        let claim = member.claim(of: standing)
        do throws(AccessRefusal) {
            for key in keys { try claim.authorizer.expect(.read, of: KeyRange(start: key, end: .single)) }
        } catch {
            throw APIError(error)
        }
    }

    private func identify() throws(AccessRefusal) -> Standing {
        let access = member.access
        // A witness knows no users: it knows those who are root of a machine by its socket or by a certificate alone.
        guard access.isEnabled, !member.isWitness || caller.token != nil else {
            return caller.isLocal ? .machine(AccessState.root) : certified(access)
        }
        if let token = caller.token {
            guard let author = member.author(of: token) else { throw .invalidToken }
            return .user(author)
        }
        if caller.isLocal { return .user(Author(name: AccessState.root, revision: access.revision)) }
        if let name = caller.commonName { return .user(Author(name: Array(name.utf8), revision: access.revision)) }
        let certified = certified(access)
        switch certified {
        // What they write is looked at again like what the user root does.
        case .machine: return .user(Author(name: AccessState.root, revision: access.revision))
        case .certified, .member, .paired, .user, .stranger: return certified
        }
    }

    private static func standing(of enrolment: Enrolment, _ access: AccessState) -> Standing? {
        guard case .user(let name) = enrolment.role else { return .certified(enrolment.role, id: enrolment.name) }
        let user = Array(name.utf8)
        return access.isEnabled && access.users[user] != nil
            ? .user(Author(name: user, revision: access.revision)) : nil
    }

    /// The client's certificate that the caller shows, as it is listed, if it is good.
    var shownEnrolment: Enrolment? {
        guard case .client(member.clusterID, let id)? = caller.fabricName else { return nil }
        return member.access.trust.enrolments[id.hexadecimal].flatMap { member.isGood($0) ? $0 : nil }
    }

    /// As whom the caller's certificate lets it in now, where it is the certificate that does.
    var certified: Standing {
        let access = member.access
        return access.isEnabled && caller.token != nil ? .stranger : certified(access)
    }

    /// As whom a certificate of the fabric's own CA lets somebody in. One that is not listed any more is nobody's, and so is one that is not
    /// listed at all once it is past its time, though its connection stays open. A client may have renewed its own since.
    private func certified(_ access: AccessState) -> Standing {
        if let issuer = caller.foreignIssuer {
            // The connection may be older than what is believed now.
            let isPaired = member.isInTime(caller.certificateUntil) && member.believes(issuer)
            return isPaired ? .paired(fabric: issuer.fabric) : .stranger
        }
        switch caller.fabricName {
        case .client(member.clusterID, let id)?:
            return access.trust.enrolments[id.hexadecimal].flatMap { enrolment in
                member.isGood(enrolment) ? Self.standing(of: enrolment, access) : nil
            } ?? .stranger
        case .member(member.clusterID, let id)? where member.isInTime(caller.certificateUntil):
            return member.membership[id] == nil ? .stranger : .member(id)
        // Root of that machine could sign such a certificate itself.
        case .machine(member.clusterID, let id)? where member.isInTime(caller.certificateUntil):
            return member.membership[id].map { .machine(Array("root@\($0.title)".utf8)) } ?? .stranger
        case .client?, .member?, .machine?, nil: return .stranger
        }
    }

    // MARK: - For operations

    /// Asks something of the member, and turns its errors into the API's.
    func ask<T: Sendable>(_ body: (RunningMember) async throws(ServerError) -> T) async throws(APIError) -> T {
        do throws(ServerError) { return try await body(member) } catch { throw APIError(error) }
    }

    /// Refuses what need not be asked.
    private func check(_ body: (RequestLimits) throws(MVCCError) -> Void) throws(APIError) {
        do throws(MVCCError) { try body(member.limits) } catch { throw APIError(error) }
    }

    func header(revision: Int64, term: Term) -> ResponseHeader {
        ResponseHeader(clusterID: member.clusterID, memberID: member.id, revision: revision, term: term)
    }

    func header(_ applied: Applied) -> ResponseHeader { header(revision: applied.revision, term: applied.term) }

    /// The header of an answer that reads or changes no keys.
    var header: ResponseHeader { header(revision: member.revision, term: member.status.term) }

    func answered<Body: Sendable>(_ body: Body, _ hold: MemoryHold? = nil) -> Answered<Body> {
        Answered(header: header, body: body, hold: hold)
    }

    // MARK: - For codecs

    /// If a certificate's name would be a user's here, were it not for etcd's gateway. The `weft` command means its certificate.
    var isNamedByCertificate: Bool { member.isAuthEnabled && caller.commonName != nil && !caller.isCommand }

    /// Who answers here.
    var title: String { "member \(member.name) of fabric \(String(member.clusterID, radix: 16))" }

    /// Larger requests are refused before anything is looked at.
    var requestBytesMax: Int { member.settings.requestBytesMax }

    /// For requests that are worth nothing without a leader (`hasleader`, as etcd's clients send it).
    func expectLeader() throws(APIError) {
        if member.status.leader == nil { throw APIError(ServerError.noLeader) }
    }

    /// If there is a leader, or was lately.
    var hasLeaderLately: Bool { member.hasLeaderLately }
}

extension Standing {
    /// What the fabric's events and the audit log call them.
    fileprivate var name: [UInt8] {
        switch self {
        case .stranger: []
        case .user(let author): author.name
        case .certified(_, let id): id
        case .machine(let name): name
        case .member(let id): Array("member \(String(id, radix: 16))".utf8)
        case .paired(let fabric): Array("fabric \(String(fabric, radix: 16))".utf8)
        }
    }
}

extension RunningMember {
    fileprivate func claim(of standing: Standing) -> Claim {
        let (authorizer, access) =
            switch standing {
            case .user(let author): authorizer(for: author)
            case .certified(let role, _): authorizer(for: role)
            case .machine: authorizer(for: .root)
            case .stranger, .member, .paired: authorizerForStrangers
            }
        return Claim(standing: standing, authorizer: authorizer, access: access, fabric: appliedFabric)
    }
}
