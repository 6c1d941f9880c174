internal import MVCC

/// What the services Lock and Election do. They are clients of their own member, as in etcd: their errors have no code of their
/// own.
protocol ConcurrencyOperation: Operation {
    func run(with concurrency: Concurrency) async throws(APIError) -> Answer
}

extension ConcurrencyOperation {
    static var right: Right<Self> { .ofItsParts }

    func run(at desk: Desk) async throws(APIError) -> Answer {
        do throws(APIError) { return try await run(with: Concurrency(desk: desk)) } catch { throw error.withoutCode }
    }
}

/// etcd's Lock service.
enum Locks {
    struct Lock: ConcurrencyOperation {
        typealias Answer = Answered<[UInt8]>

        var name: [UInt8]
        var lease: Int64

        /// The key that holds it.
        func run(with concurrency: Concurrency) async throws(APIError) -> Answered<[UInt8]> {
            let claimed = try await concurrency.claim(name, lease: lease, value: [])
            return Answered(header: claimed.header, body: claimed.body.key)
        }
    }

    struct Unlock: ConcurrencyOperation {
        typealias Answer = Answered<Void>

        var key: [UInt8]

        func run(with concurrency: Concurrency) async throws(APIError) -> Answered<Void> {
            Answered(header: try await concurrency.unlock(key), body: ())
        }
    }
}

/// etcd's Election service.
enum Elections {
    struct Won: Sendable {
        var name: [UInt8]
        var claim: Concurrency.Claim
    }

    struct Campaign: ConcurrencyOperation {
        typealias Answer = Answered<Won>

        var name: [UInt8]
        var lease: Int64
        var value: [UInt8]

        func run(with concurrency: Concurrency) async throws(APIError) -> Answered<Won> {
            let claimed = try await concurrency.claim(name, lease: lease, value: value)
            return Answered(header: claimed.header, body: Won(name: name, claim: claimed.body))
        }
    }

    struct Proclaim: ConcurrencyOperation {
        typealias Answer = Answered<Void>

        /// Nil when the request names none.
        var claim: Concurrency.Claim?
        var value: [UInt8]

        func run(with concurrency: Concurrency) async throws(APIError) -> Answered<Void> {
            Answered(header: try await concurrency.proclaim(try expected(claim), value: value), body: ())
        }
    }

    struct Leader: ConcurrencyOperation {
        typealias Answer = Answered<KeyValue>

        var name: [UInt8]

        func run(with concurrency: Concurrency) async throws(APIError) -> Answered<KeyValue> {
            try await concurrency.leader(name)
        }
    }

    struct Resign: ConcurrencyOperation {
        typealias Answer = Answered<Void>

        /// Nil when the request names none.
        var claim: Concurrency.Claim?

        func run(with concurrency: Concurrency) async throws(APIError) -> Answered<Void> {
            Answered(header: try await concurrency.resign(try expected(claim)), body: ())
        }
    }

    struct Observe: ConcurrencyOperation {
        typealias Answer = Observation

        var name: [UInt8]

        func run(with concurrency: Concurrency) async throws(APIError) -> Observation {
            Observation(name: name, concurrency: concurrency)
        }
    }

    struct Observation: Sendable {
        fileprivate let name: [UInt8]
        fileprivate let concurrency: Concurrency

        /// Calls `body` with each leader, and each value that one proclaims, until it throws.
        func forEach(_ body: (Answered<KeyValue>) async throws(APIError) -> Void) async throws(APIError) {
            do throws(APIError) { try await concurrency.observe(name, body) } catch { throw error.withoutCode }
        }
    }

    private static func expected(_ claim: Concurrency.Claim?) throws(APIError) -> Concurrency.Claim {
        guard let claim else { throw APIError(.unknown, "\"leader\" field must be provided") }
        return claim
    }
}

extension APIError {
    fileprivate var withoutCode: APIError {
        code == .cancelled || code == .unimplemented ? self : APIError(.unknown, message)
    }
}
