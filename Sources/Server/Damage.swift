internal import Logging
internal import MVCC
internal import Raft
internal import Replication
internal import SQLite
internal import Storage
internal import Synchronization

/// What a member does about damage that it finds while it runs.
extension MemberCore {
    private static let lookNanoseconds: UInt64 = 1_000_000_000

    /// What to answer where `kv.db` could not be read.
    func failure(_ error: SQLiteError) -> ServerError {
        guard error.isCorruption else {
            logger.error("a read failed: \(error)")
            return .disk
        }
        noteDamage(error.message)
        return .damaged
    }

    /// Whoever finds that `kv.db` is not what was written says so here. If others have everything, the member gives up the lead, sees
    /// that the fabric goes on without it, and starts anew, which sets the file aside and fetches what was in it. One that has
    /// nobody to get it back from answers what it can, and is not ready.
    func noteDamage(_ reason: String) {
        guard !isDamaged.exchange(true, ordering: .relaxed) else { return }
        let error = StorageError.damaged(path: directory.statePath, reason: reason)
        guard hasOthers else {
            return logger.critical(
                """
                \(directory.statePath) is damaged: \(reason). There is no other member to get it back from: save what can be read \
                (`weft snapshot save`, `weft get --prefix ""`), and restore the last backup (`weft snapshot restore`)
                """)
        }
        logger.critical(
            "\(directory.statePath) is damaged: \(reason). This member starts anew and fetches it from the others")
        directory.note(error)
        // By a thread that runs like those of a start: the new one inherits what this process gives its lesser ones.
        repairDue.post(error)
    }

    private var hasOthers: Bool { membership.entries.contains { $0.member.id != identity.memberID } }

    func repair(_ error: StorageError) {
        handOver()
        while !isServedByOthers() {
            pause(nanoseconds: Self.lookNanoseconds)
            handOver()
        }
        end(error)
    }

    /// If another member leads, and a majority says so.
    private func isServedByOthers() -> Bool {
        let answer = Rendezvous<ServerError?>()
        let limit = now + serverSettings.requestTimeoutNanoseconds
        consensus.post(.read(PendingRead(deadline: limit) { answer.fulfil($0) }))
        guard let failure = answer.wait(until: limit + Self.lookNanoseconds), failure == nil else { return false }
        return status.leader.map { $0 != identity.memberID } ?? false
    }

    /// Gives up the lead, if it has it, within an election timeout. Blocks.
    func handOver() {
        beginStopping()
        let retired = Rendezvous<Void>()
        consensus.post(.retire { retired.fulfil(()) })
        retired.wait()
    }

    // MARK: - Looking for it

    private static let portionsPerSecond: UInt64 = 20

    /// Reads all of `kv.db` again and again, slowly: what nobody asks for is not damaged unseen until the day it is needed.
    func scrub() {
        let pauseBetween = serverSettings.scrubNanoseconds
        guard pauseBetween > 0 else { return }
        startThread("weft-scrub", isInBackground: true) { [self] in
            let slot = readers.makeSlot()
            var place: ScrubPlace?
            while !isStopping {
                let next = slot.read(path: directory.statePath) { reader in
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
