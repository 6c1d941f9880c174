/// What clients do, over and over, in a run.
package enum Workload: Sendable {
    case put
    /// Reads of one key each, or of a prefix.
    case range(RangeOptions)
    /// Reads the key of the last change, then replaces it under the condition that nobody else did.
    case txn
    /// Puts and reads of single keys; `reads` of 100 are reads.
    case mixed(reads: Int, isSerializable: Bool)
    /// Grants a lease and puts a key under it, which goes by itself.
    case lease(ttl: Int64)
    /// Renews a lease of its own.
    case keepAlive(ttl: Int64)
    /// Keeps a lock as Portworx's kvdb does: a new lease and its key moved to it, the old lease left to end.
    case lockRefresh(ttl: Int64)

    package struct RangeOptions: Sendable {
        /// All keys of the run's prefix instead of one key.
        package var isPrefix = false
        package var limit: Int64 = 0
        package var revision: Int64 = 0
        package var isSerializable = false
        package var isCountOnly = false
        package var isKeysOnly = false

        package init() {}
    }
}

/// One client of a run. Only on its event loop.
class LoadClient {
    private let link: Link
    let keys: KeySpace
    let value: [UInt8]
    let number: Int
    var dice: Dice

    required init(_ link: Link, _ keys: KeySpace, value: [UInt8], number: Int, dice: Dice) {
        self.link = link
        self.keys = keys
        self.value = value
        self.number = number
        self.dice = dice
    }

    final var caller: Caller { link.caller }

    /// Does what this client does once, then calls `done`, with what went wrong if something did.
    func once(_ done: @escaping (CallFailure?) -> Void) {
        preconditionFailure("a client that does nothing")
    }

    /// Makes a request of whose answer only matters that it is none of an error.
    final func ask(_ request: EtcdRequest, _ done: @escaping (CallFailure?) -> Void) {
        caller.call(request, keepsAnswer: false) { answer in
            if case .failure(let failure) = answer { done(failure) } else { done(nil) }
        }
    }

    /// Makes a request and goes on with its answer.
    final func ask(
        _ request: EtcdRequest, _ done: @escaping (CallFailure?) -> Void, then body: @escaping (EtcdAnswer) -> Void
    ) {
        caller.call(request) { answer in
            switch answer {
            case .success(let answer): body(answer)
            case .failure(let failure): done(failure)
            }
        }
    }
}

final class PutClient: LoadClient {
    override func once(_ done: @escaping (CallFailure?) -> Void) {
        ask(.put(key: keys.key(&dice), value: value, lease: 0), done)
    }
}

final class RangeClient: LoadClient {
    var options = Workload.RangeOptions()

    override func once(_ done: @escaping (CallFailure?) -> Void) {
        var range = EtcdRequest.Range(key: options.isPrefix ? Array(keys.prefix.utf8) : keys.key(&dice))
        if options.isPrefix { range.end = keys.end }
        range.limit = options.limit
        range.revision = options.revision
        range.isSerializable = options.isSerializable
        range.isCountOnly = options.isCountOnly
        range.isKeysOnly = options.isKeysOnly
        ask(.range(range), done)
    }
}

final class MixedClient: LoadClient {
    var reads = 0
    var isSerializable = false

    override func once(_ done: @escaping (CallFailure?) -> Void) {
        let key = keys.key(&dice)
        if Int.random(in: 0..<100, using: &dice) < reads {
            ask(.range(EtcdRequest.Range(key: key, isSerializable: isSerializable)), done)
        } else {
            ask(.put(key: key, value: value, lease: 0), done)
        }
    }
}

/// Compare and swap, tried again with what was found until it succeeds: that counts as one.
final class TxnClient: LoadClient {
    override func once(_ done: @escaping (CallFailure?) -> Void) {
        replace(keys.key(&dice), at: 0, done)
    }

    private func replace(_ key: [UInt8], at revision: Int64, _ done: @escaping (CallFailure?) -> Void) {
        ask(.replace(key: key, value: value, revision: revision, lease: 0), done) { [self] answer in
            if answer.isSucceeded { done(nil) } else { replace(key, at: answer.revisionFound, done) }
        }
    }
}

final class LeaseClient: LoadClient {
    var ttl: Int64 = 0
    private var count = 0

    override func once(_ done: @escaping (CallFailure?) -> Void) {
        ask(.grant(ttl: ttl), done) { [self] answer in
            count += 1
            // Keys of their own, so that each lease's end is the end of one key.
            let key = keys.key(0).dropLast(10) + Array("\(number)-\(count)".utf8)
            ask(.put(key: Array(key), value: value, lease: answer.leaseID), done)
        }
    }
}

final class LockClient: LoadClient {
    var ttl: Int64 = 0
    /// Of the lock's key, as this client left it.
    private var revision: Int64 = 0

    override func once(_ done: @escaping (CallFailure?) -> Void) {
        ask(.grant(ttl: ttl), done) { [self] answer in refresh(lease: answer.leaseID, done) }
    }

    private func refresh(lease: Int64, _ done: @escaping (CallFailure?) -> Void) {
        let request = EtcdRequest.replace(key: keys.key(number), value: value, revision: revision, lease: lease)
        ask(request, done) { [self] answer in
            if answer.isSucceeded {
                revision = answer.revision
                done(nil)
            } else {
                // Left over from an earlier run, or gone because this came too late.
                revision = answer.revisionFound
                refresh(lease: lease, done)
            }
        }
    }
}
