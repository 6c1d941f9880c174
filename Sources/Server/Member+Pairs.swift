internal import Access
package import Certificates
package import Fabric
internal import MVCC
internal import Raft
package import Replication
internal import Synchronization

/// Whom this fabric believes in those that it is paired with.
extension RunningMember {
    /// CAs of the pairs, the oldest pair's first. Nobody's CA is anybody else's: not this fabric's own, and not that of an older pair.
    var foreignAuthorities: ForeignAuthorities {
        let own = access.trust.authorities
        var foreign = ForeignAuthorities()
        for pair in appliedFabric.pairs.sorted(by: { $0.mark.createRevision < $1.mark.createRevision }) {
            for found in pair.certificates where found.isAuthority && own[found.keyDigest] == nil {
                foreign.add(found, of: pair.terms.fabric)
            }
        }
        return foreign
    }

    /// If a pair's CA is still one of the pair's.
    package func believes(_ issuer: ForeignIssuer) -> Bool {
        guard let pair = appliedFabric.pair(with: issuer.fabric) else { return false }
        return pair.certificates.contains { $0.keyDigest == issuer.key }
    }

    /// If a CA has the key, or calls itself by the name, of one of this fabric's own or of another pair's.
    package func isTaken(_ authority: Certificate, besides fabric: UInt64) -> Bool {
        let others = appliedFabric.pairs.filter { $0.terms.fabric != fabric }.flatMap(\.certificates)
        return (access.trust.certificates + others).contains {
            $0.keyDigest == authority.keyDigest || $0.commonName == authority.commonName
        }
    }

    /// Of the CAs that a paired fabric shows, those to believe from now on: what is believed of it already, and what one of these vouches for.
    /// The word of a member alone is not enough: it may have been taken out of its fabric.
    /// - Parameter bridges: certificates of newer CAs' keys, signed by older CAs.
    package func believable(
        _ shown: [Certificate], _ bridges: [Certificate], of pair: ClusterPair
    ) -> [Certificate] {
        var known = pair.certificates
        var found: [Certificate] = []
        var isGrowing = true
        while isGrowing {
            isGrowing = false
            for authority in shown where !found.contains(where: { $0.der == authority.der }) {
                let isVouched =
                    known.contains { $0.keyDigest == authority.keyDigest }
                    || bridges.contains { bridge in
                        bridge.keyDigest == authority.keyDigest && known.contains(where: bridge.isSigned)
                    }
                guard isVouched, !isTaken(authority, besides: pair.terms.fabric) else { continue }
                found.append(authority)
                known.append(authority)
                isGrowing = true
            }
        }
        return shown.filter { authority in found.contains { $0.der == authority.der } }
    }

    /// Where members of this fabric are reached by TLS. Witnesses know of no pairs.
    package var secureEndpoints: [String] {
        let members = membership.entries.filter { $0.member.role != .witness && $0.member.role != .joiningWitness }
        return Array(members.flatMap(\.attributes.clientURLs).filter { $0.hasPrefix("https://") }.prefix(64))
    }

    /// Certificates by which an older CA of this fabric vouches for the newest.
    package var bridges: [Certificate] { core.certificates?.authority?.bridges ?? [] }

    /// Where this member's certificate and its key are; nil where operators brought them.
    package var certificatePath: String? { core.certificates?.memberPath }

    /// If it is time to write down what a pair says; it is written down then.
    /// - Parameter milliseconds: no more often than that.
    package func mayNote(_ pair: ClusterPair, every milliseconds: UInt64) -> Bool {
        core.pairNotes.withLock { notes in
            let now = monotonicNanoseconds()
            let isSoon = notes[pair.name].map { now - $0 < milliseconds * 1_000_000 } ?? false
            guard !isSoon else { return false }
            notes = notes.filter { appliedFabric.pair($0.key) != nil }
            notes[pair.name] = now
            return true
        }
    }

    /// Writes down what was heard of a pair. What would be refused is not proposed: the other side could fill the log with it.
    package func note(_ told: PairNote) async throws(ServerError) {
        var trial = appliedFabric
        let command = FabricCommand(.notePair(told), Trace(at: wallMilliseconds, by: name))
        if case .failure(let refusal) = trial.apply(command) { throw .refused(.fabric(refusal)) }
        _ = try await change(.notePair(told), by: name)
    }

    /// What operators have to know of pairs.
    package var pairWarnings: [String] {
        appliedFabric.pairs.compactMap { pair in
            if pair.isSuspended {
                let remedy =
                    pair.terms.own == clusterID
                    ? "`weft pair resume \(pair.name)`"
                    : "this fabric was restored or recovered since: pair it anew, on both sides"
                return "pair \(pair.name) is suspended: \(remedy)"
            }
            return switch pair.contact {
            case .ready, .pending: nil
            case .degraded: "pair \(pair.name) is degraded: \(pair.reason)"
            case .unreachable: "pair \(pair.name) is unreachable: \(pair.reason)"
            }
        }
    }
}

extension ClusterPair {
    /// The CAs that are believed of it.
    package var certificates: [Certificate] { terms.authorities.compactMap { try? Certificate(der: $0) } }
}
