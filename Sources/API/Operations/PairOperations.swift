internal import Access
internal import Certificates
internal import Credentials
internal import Fabric
internal import MVCC
internal import Pairs
internal import Replication
internal import Server

/// Fabrics in other regions: paired, greeted, suspended.
enum Pairing {
    /// Makes a token by which another fabric pairs itself with this one.
    struct MakeToken: Operation {
        static var right: Right<Self> { .strictlyRoot }

        /// How long it is good.
        var seconds: Int64

        func run(at desk: Desk) async throws(APIError) -> (text: PairTokenText, token: JoinToken) {
            let endpoints = desk.member.secureEndpoints
            guard !endpoints.isEmpty else {
                throw APIError(
                    .failedPrecondition,
                    "weft: no member of this fabric has an https:// address for clients, where another fabric could come"
                )
            }
            let made = try await Trust.MakeToken(role: .pair, domain: "", seconds: seconds, usesMax: 1).run(at: desk)
            return (PairTokenText(made.text, at: endpoints), made.token)
        }
    }

    /// Pairs this fabric with the one that made a token.
    struct Add: Operation {
        static var right: Right<Self> { .strictlyRoot }

        var name: String
        var token: PairTokenText
        /// Where the other is, if not where the token says.
        var endpoints: [String]
        /// As the other is to call this one; empty leaves it to that.
        var ownName: String
        var terms: Records.Terms

        func run(at desk: Desk) async throws(APIError) -> Records.Outcome {
            let member = desk.member
            try await desk.ask { member throws(ServerError) in try await member.confirmCurrent() }
            guard Domain.canBeNamed(name) else {
                return .failure(.invalid("\"\(name)\" cannot be a pair's name: letters, digits, dots and dashes"))
            }
            guard member.fabricVersion >= FabricVersion.regions else {
                throw APIError(ServerError.refused(.needsVersion(FabricVersion.regions)))
            }
            let greeting: PairGreeting
            do throws(PairError) {
                greeting = try await PairDialer(of: member).show(token, as: ownName, at: endpoints)
            } catch {
                throw APIError(error, "the other fabric")
            }
            try expectFree(greeting, at: desk)
            return try await Records.Change(
                action: .putPair(name, PairTerms(greeting, own: member.clusterID, reach: endpoints)), terms: terms
            ).run(at: desk)
        }
    }

    /// Another fabric shows a token of this one.
    struct Accept: Operation {
        /// The token is looked at.
        static var right: Right<Self> { .anybody }

        var token: JoinTokenText
        /// As this fabric is to call the other; empty is by its id.
        var name: String
        var greeting: PairGreeting

        /// What this fabric says of itself.
        func run(at desk: Desk) async throws(APIError) -> PairGreeting {
            let key = greeting.authorities[0].keyDigest
            let found = try await desk.accept(token, for: key, Self.self)
            guard found.role == .pair else { throw found.role.misplaced }
            let chosen = name.isEmpty ? "fabric-\(String(greeting.fabric, radix: 16))" : name
            let terms = PairTerms(greeting, own: desk.member.clusterID)
            let known = desk.member.appliedFabric.pair(with: greeting.fabric)
            if found.returning.contains(key), let known, !known.isSuspended {
                // The answer was lost. Nothing else comes of a token that was used: its bearer's CA is no secret.
                guard known.name == chosen, known.terms.authorities == terms.authorities else {
                    throw APIError(AccessRefusal.badJoinToken)
                }
                return desk.member.greeting(believing: greeting.authorities)
            }
            // One that was used, and whose pair is not there any more, was for that one.
            let command = FabricCommand(
                .putPair(chosen, terms), Trace(at: desk.member.wallMilliseconds, by: ""), expected: 0)
            var trial = desk.member.appliedFabric
            // The token is not used up by what would be refused.
            if case .failure(let refusal) = trial.apply(command) {
                throw APIError(ServerError.refused(.fabric(refusal)))
            }
            try expectFree(greeting, at: desk)
            guard found.usesLeft > 0 else { throw APIError(AccessRefusal.badJoinToken) }
            try await desk.use(token, for: key)
            let asker = desk.asker(by: token)
            try await desk.ask { member throws(ServerError) in
                _ = try await member.change(.putPair(chosen, terms), by: asker.name, expected: 0)
            }
            return desk.member.greeting(believing: greeting.authorities)
        }
    }

    /// A paired fabric says that it is there.
    struct Greet: Operation {
        static var right: Right<Self> {
            Right(isStrict: true) { _, claim throws(AccessRefusal) in
                if case .paired = claim.standing { return }
                try claim.expectCaller()
                throw .denied
            }
        }
        /// Words of the other side that come sooner are not written down, in milliseconds: it says all of them again.
        private static let noteAge: UInt64 = 2_000

        var greeting: PairGreeting

        func run(at desk: Desk) async throws(APIError) -> PairGreeting {
            let member = desk.member
            guard let fabric = desk.caller.foreignIssuer?.fabric, fabric == greeting.fabric,
                let pair = member.appliedFabric.pair(with: fabric)
            else { throw APIError(AccessRefusal.denied) }
            guard !pair.isSuspended else {
                throw APIError(
                    .failedPrecondition, "the other side has suspended the pair, which it calls \"\(pair.name)\"")
            }
            let now = member.wallMilliseconds
            // How long it was on its way is not known here: the clocks are compared by whoever asks.
            if member.mayNote(pair, every: Self.noteAge) {
                let note = PairNote(pair, greeting, skew: greeting.time - now, heardBy: member)
                try await desk.ask { member throws(ServerError) in try await member.note(note) }
            }
            // As it is written down, not as it was said.
            return member.greeting(believing: member.appliedFabric.pair(with: fabric)?.certificates ?? [])
        }
    }

    /// Suspends a pair, or goes on with it.
    struct Suspend: Operation {
        static var right: Right<Self> { .operate }

        var name: String
        var isSuspended: Bool
        var terms: Records.Terms

        func run(at desk: Desk) async throws(APIError) -> Records.Outcome {
            let action = FabricCommand.Action.setPair(name, isSuspended: isSuspended, of: desk.member.clusterID)
            return try await Records.Change(action: action, terms: terms).run(at: desk)
        }
    }

    /// Reaches the other side now.
    struct Verify: Operation {
        static var right: Right<Self> { .operate }

        var name: String

        func run(at desk: Desk) async throws(APIError) -> ClusterPair {
            let member = desk.member
            try await desk.ask { member throws(ServerError) in try await member.confirmCurrent() }
            guard let pair = member.appliedFabric.pair(name) else { throw FabricCall.missing(.pair, name) }
            guard !pair.isSuspended else {
                throw APIError(.failedPrecondition, "pair \"\(name)\" is suspended: `weft pair resume \(name)`")
            }
            let note: PairNote
            switch await PairDialer(of: member).greet(pair) {
            case .success((let greeting, let skew)):
                note = PairNote(pair, greeting, skew: skew, heardBy: member)
            case .failure(let error): throw APIError(error, "pair \"\(name)\"")
            }
            try await desk.ask { member throws(ServerError) in try await member.note(note) }
            return member.appliedFabric.pair(name) ?? pair
        }
    }
}

/// Refuses CAs that are this fabric's own or another pair's: nobody's CA is anybody else's.
private func expectFree(_ greeting: PairGreeting, at desk: Desk) throws(APIError) {
    for authority in greeting.authorities where desk.member.isTaken(authority, besides: greeting.fabric) {
        throw APIError(
            .failedPrecondition,
            "weft: the other fabric shows a CA as its own that is this fabric's or another pair's: \(authority.commonName ?? "")"
        )
    }
}

extension PairTerms {
    fileprivate init(_ greeting: PairGreeting, own: UInt64, reach: [String] = []) {
        self.init(
            fabric: greeting.fabric, own: own, endpoints: greeting.endpoints, reach: reach,
            authorities: greeting.authorities.map(\.der))
    }
}

extension APIError {
    /// - Parameter who: could not be reached, or refused.
    fileprivate init(_ error: PairError, _ who: String) {
        switch error {
        case .unreachable(let text): self.init(.unavailable, "\(who) cannot be reached: \(text)")
        case .refused(let text): self.init(.failedPrecondition, "\(who) refuses: \(text)")
        case .unusable(let text): self.init(.failedPrecondition, "\(who): \(text)")
        }
    }
}
