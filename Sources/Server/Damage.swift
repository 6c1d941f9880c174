internal import Logging
internal import MVCC
internal import Raft
internal import Replication
internal import SQLite
internal import Storage

/// What a member does about damage that it finds while it runs.
extension MemberCore {
    private static let lookNanoseconds: UInt64 = 1_000_000_000

    /// What to answer where `kv.db` could not be read.
    func failure(_ error: SQLiteError) -> ServerError {
        // The newest state is already another one.
        if error.isBusy { return .catchingUp }
        guard error.isCorruption else {
            logger.error("a read failed: \(error)")
            return .disk
        }
        noteDamage(error.message)
        return .damaged
    }

    /// Whoever finds that `kv.db` is not what was written says so here. The member tells its leader, or gives up the lead; it answers
    /// what is whole, and is not ready. When the leader says that the others can do without it, which it says to one member at a time,
    /// it starts anew: that sets the file aside and fetches what was in it. Where nobody else has the data that never comes.
    func noteDamage(_ reason: String) {
        let error = StorageError.damaged(path: directory.statePath, reason: reason)
        guard noteFirst(error) else { return }
        logger.critical(
            """
            \(directory.statePath) is damaged: \(reason). This member answers what is whole, and fetches everything from the others \
            as soon as they can do without it. Where no other member has the data, do not restart it: read what can be read, key by \
            key or prefix by prefix (`weft get --prefix`), then restore the last backup (`weft snapshot restore`)
            """)
        mail.consensus.post(.raft(.damaged))
    }

    /// The same of an error of other files, too: that a copy is damaged says nothing of what was copied.
    func noteDamage(_ error: StorageError) {
        if case .damaged(let path, let reason) = error, path == directory.statePath { noteDamage(reason) }
    }

    /// Starts anew if there is damage to repair, and the others can do without this member. On a thread that runs like those of a
    /// start, which inherits that.
    func repairIfSpared() {
        guard let damage, status.isSpared else { return }
        beginStopping()
        end(damage)
    }

    // MARK: - Looking for it

    private static let portionsPerSecond: UInt64 = 20

    /// Reads all of `kv.db` again and again, slowly: what nobody asks for is not damaged unseen until the day it is needed.
    func scrub() {
        let pauseBetween = serverSettings.scrubNanoseconds
        guard pauseBetween > 0 else { return }
        let slot = readers.makeSlot()
        startThread("weft-scrub", isInBackground: true) { [self] in
            var place: ScrubPlace?
            while !isStopping {
                let next = slot.read({ view }) { _, reader in
                    Result { () throws(SQLiteError) in try reader.get().scrub(from: place ?? .start) }
                }
                switch next {
                case .success(let next): place = next
                case .failure(let error):
                    _ = failure(error)
                    place = nil
                }
                if place != nil {
                    pause(nanoseconds: 1_000_000_000 / Self.portionsPerSecond)
                } else {
                    rest(pauseBetween)
                }
            }
        }
    }

    /// Until the next time, or the end.
    private func rest(_ nanoseconds: UInt64) {
        let limit = now + nanoseconds
        while !isStopping, now < limit { pause(nanoseconds: min(limit - now, Self.lookNanoseconds)) }
    }
}
