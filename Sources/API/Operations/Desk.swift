internal import Access
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
    /// The caller by name; nil while rights do not count.
    private(set) var author: Author?

    fileprivate init(member: RunningMember, caller: Caller) {
        self.member = member
        self.caller = caller
    }

    func carryOut<Asked: Operation>(_ operation: Asked) async throws(APIError) -> Asked.Answer {
        try check(operation.check)
        try await expectCurrent(for: Asked.right)
        let mark = member.isAuthEnabled ? member.accessMark : nil
        var desk = self
        if mark != nil { desk.author = try await authorize(operation) }
        let answer = try await operation.run(at: desk)
        // What was read while rights changed is told to those who may know it now.
        if operation.tellsWhatIs, member.isAuthEnabled, member.accessMark != mark { _ = try await authorize(operation) }
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
        var desk = self
        if member.isAuthEnabled {
            // A refusal may have to wait until this member has heard more.
            do throws(AccessRefusal) { desk.author = try authorizeNow(operation) } catch { return false }
        }
        return operation.begin(at: desk, done)
    }

    // MARK: - Rights

    /// A member that has not heard of users yet would let everybody in. One without a state refuses, and what nobody looks at again waits
    /// until this member knows all that was acknowledged before.
    private func expectCurrent<Asked>(for right: Right<Asked>) async throws(APIError) {
        guard right.rule != nil else { return }
        try await ask { member throws(ServerError) in
            switch right.hearing {
            case .always: try await member.confirmCurrentDespiteAlarms()
            case .whereUsersCount where member.isAuthEnabled: try await member.confirmCurrentDespiteAlarms()
            case .whereUsersCount, .never: try member.expectState()
            }
        }
    }

    /// Names the caller if they may. Where this member would refuse, it hears first what the others know: a token may have been issued,
    /// or a right granted, by another a moment ago.
    func authorize<Asked: Operation>(_ operation: Asked) async throws(APIError) -> Author? {
        do throws(AccessRefusal) { return try authorizeNow(operation) } catch {
            guard (try? await member.confirmCurrentDespiteAlarms()) != nil else { throw denied(operation, error) }
        }
        do throws(AccessRefusal) { return try authorizeNow(operation) } catch { throw denied(operation, error) }
    }

    private func denied<Asked: Operation>(_ operation: Asked, _ refusal: AccessRefusal) -> APIError {
        // The client asks again with a new token: nothing was denied.
        if refusal != .oldRevision { note(refusal, Asked.self, user: (try? identify())?.flatMap(\.name) ?? []) }
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
        guard let author else { return claimed }
        let name = String(decoding: author.name, as: UTF8.self)
        return caller.address.isEmpty ? name : "\(name)@\(caller.address)"
    }

    func authorizeNow<Asked: Operation>(_ operation: Asked) throws(AccessRefusal) -> Author? {
        guard let rule = Asked.right.rule else { return nil }
        let claim = member.claim(of: try identify())
        guard claim.access.isEnabled else { return nil }
        if operation.isRead { try claim.expectNow() }
        try rule(operation, claim)
        return claim.author
    }

    /// If an operation that a loop carries out itself may be; else it is one for a task.
    func mayNow<Asked: Operation>(_ operation: Asked) -> Bool {
        guard member.isAuthEnabled else { return true }
        do throws(AccessRefusal) { _ = try authorizeNow(operation) } catch { return false }
        return true
    }

    /// For keys that are found out only with the answer.
    func expectReading(_ keys: [[UInt8]]) throws(APIError) {
        guard member.isAuthEnabled, !keys.isEmpty else { return }
        let claim = member.claim(of: author)
        do throws(AccessRefusal) {
            for key in keys { try claim.authorizer.expect(.read, of: KeyRange(start: key, end: .single)) }
        } catch {
            throw APIError(error)
        }
    }

    private func identify() throws(AccessRefusal) -> Author? {
        guard let token = caller.token else {
            if caller.isLocal { return Author(name: AccessState.root, revision: member.access.revision) }
            return caller.commonName.map { Author(name: Array($0.utf8), revision: member.access.revision) }
        }
        guard let author = member.author(of: token) else { throw .invalidToken }
        return author
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

    func answered<Body: Sendable>(_ body: Body) -> Answered<Body> { Answered(header: header, body: body) }

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

extension RunningMember {
    fileprivate func claim(of author: Author?) -> Claim {
        let (authorizer, access) = authorizer(for: author)
        return Claim(author: author, authorizer: authorizer, access: access, fabric: appliedFabric)
    }
}
