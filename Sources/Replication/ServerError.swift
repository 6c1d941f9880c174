package import MVCC
package import Raft

/// Why a member did not do what it was asked. The API maps these to its codes and texts, once.
package enum ServerError: Error, Equatable, Sendable {
    /// The state machine refused.
    case refused(MVCCError)
    /// No answer in time; the request may still take effect.
    case timeout
    /// No leader was found in time; nothing was done.
    case noLeader
    case tooManyRequests
    case requestTooLarge
    /// The disk of this member is full.
    case noSpace
    /// The lead was to be handed over, and was not.
    case transferTimeout
    case stopping
    case change(ChangeRefusal)
    case badTransferTarget
    /// This member is a witness: it holds no keys.
    case witness
    /// It may lack what it answered from before it was started, and no leader has said what is committed.
    case catchingUp
    /// This member's disk cannot be read; its log says more.
    case disk
    /// What this member's disk holds is not what was written.
    case damaged
}
