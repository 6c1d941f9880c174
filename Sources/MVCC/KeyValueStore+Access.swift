internal import Access

/// Users and roles: etcd's auth store, beside the keys, in the same state.
extension KeyValueStore {
    func apply(_ change: AccessChange) -> Result<CommandResult, MVCCError> {
        let before = access
        do throws(AccessRefusal) { try access.apply(change) } catch { return .failure(.access(error)) }
        for row in access.rows(since: before) { meta.mix(recordRows.note(row)) }
        return .success(.done)
    }
}
