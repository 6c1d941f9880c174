package import Access
internal import Bytes

/// Says what a caller may do in one state.
package struct Authorizer: Sendable {
    /// Or why they may do nothing at all.
    private let rights: Result<Rights, AccessRefusal>
    private let leases: LeaseTable

    /// - Parameter author: nil for a caller without a name.
    init(_ author: Author?, in state: AccessState, _ leases: LeaseTable, _ known: inout KnownRights) {
        self.leases = leases
        if let author, author.revision > 0 {
            rights =
                author.revision < state.revision && !makes(.believesOldRights)
                ? .failure(.oldRevision)
                : known.rights(of: author.name, in: state).map { .success($0) } ?? .failure(.denied)
        } else {
            rights = .failure(.emptyUserName)
        }
    }

    /// For somebody who is no user: all keys, or none.
    init(allKeys: Bool, _ leases: LeaseTable) {
        self.leases = leases
        rights = .success(allKeys ? .all : .none)
    }

    /// For somebody who may do nothing, for a reason.
    init(_ refusal: AccessRefusal, _ leases: LeaseTable) {
        self.leases = leases
        rights = .failure(refusal)
    }

    package func expect(_ use: KeyUse, of range: KeyRange) throws(AccessRefusal) {
        guard try rights.get().allow(use, of: range) else { throw .denied }
    }

    // MARK: - Requests

    package func expect(_ request: RangeRequest) throws(AccessRefusal) { try expect(.read, of: request.range) }

    package func expect(_ request: PutRequest) throws(AccessRefusal) {
        let key = KeyRange(start: request.key, end: .single)
        try expect(.write, of: key)
        if request.lease != 0 { try expectWritingKeys(of: request.lease) }
        if request.wantsPrevious { try expect(.read, of: key) }
    }

    package func expect(_ request: DeleteRangeRequest) throws(AccessRefusal) {
        try expect(.write, of: request.range)
        if request.wantsPrevious { try expect(.read, of: request.range) }
    }

    /// Both branches, whichever is taken.
    package func expect(_ request: TxnRequest) throws(AccessRefusal) {
        for compare in request.compares { try expect(.read, of: compare.range) }
        for operation in request.success { try expect(operation) }
        if !makes(.forgetsBranchNotTaken) { for operation in request.failure { try expect(operation) } }
    }

    private func expect(_ operation: TxnRequest.Operation) throws(AccessRefusal) {
        switch operation {
        case .range(let range): try expect(range)
        case .put(let put): try expect(put)
        case .deleteRange(let deletion): try expect(deletion)
        case .txn(let inner): try expect(inner)
        }
    }

    // MARK: - Leases

    /// What a lease does at its end it does to the keys that it has.
    package func expectWritingKeys(of lease: Int64) throws(AccessRefusal) { try expect(.write, ofKeysOf: lease) }

    package func expectReadingKeys(of lease: Int64) throws(AccessRefusal) { try expect(.read, ofKeysOf: lease) }

    package func expectReadingKeysOfAllLeases() throws(AccessRefusal) {
        for id in leases.ids { try expectReadingKeys(of: id) }
    }

    private func expect(_ use: KeyUse, ofKeysOf lease: Int64) throws(AccessRefusal) {
        if case .success(let rights) = rights, rights.isRoot { return }
        for key in leases[lease]?.keys ?? [] { try expect(use, of: KeyRange(start: key.bytes, end: .single)) }
    }
}

/// Rights as they were put together, until anything of users and roles changes.
package struct KnownRights: Sendable {
    private static let countMax = 4096
    private var revision: UInt64 = 0
    private var byName: [[UInt8]: Rights] = [:]

    package init() {}

    /// Nil when there is no such user.
    package mutating func rights(of name: [UInt8], in state: AccessState) -> Rights? {
        if revision != state.revision || byName.count >= Self.countMax {
            revision = state.revision
            byName = [:]
        }
        if let known = byName[name] { return known }
        let rights = Rights(of: name, in: state)
        if let rights { byName[name] = rights }
        return rights
    }
}
