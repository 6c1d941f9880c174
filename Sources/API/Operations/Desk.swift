internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// Where operations are carried out: the way from a request to the member.
struct Desk: Sendable {
    let member: RunningMember

    func carryOut<Asked: Operation>(_ operation: Asked) async throws(APIError) -> Asked.Answer {
        try await operation.run(at: self)
    }

    /// See `LoopOperation`.
    func begin<Asked: LoopOperation>(
        _ operation: Asked, _ done: @escaping @Sendable (Result<Asked.Answer, APIError>) -> Void
    ) -> Bool {
        operation.begin(at: self, done)
    }

    // MARK: - For operations

    /// Asks something of the member, and turns its errors into the API's.
    func ask<T: Sendable>(_ body: (RunningMember) async throws(ServerError) -> T) async throws(APIError) -> T {
        do throws(ServerError) { return try await body(member) } catch { throw APIError(error) }
    }

    /// Refuses what need not be asked.
    func check(_ body: (RequestLimits) throws(MVCCError) -> Void) throws(APIError) {
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

    /// Who answers here.
    var title: String { "member \(member.name) of fabric \(String(member.clusterID, radix: 16))" }

    /// Larger requests are refused before anything is looked at.
    var requestBytesMax: Int { member.settings.requestBytesMax }

    /// For requests that are worth nothing without a leader (`hasleader`, as etcd's clients send it).
    func expectLeader() throws(APIError) {
        if member.status.leader == nil { throw APIError(ServerError.noLeader) }
    }

    /// For the loop that asks: reads of single keys that it has decided to carry out itself.
    func makePointReader() -> PointReader { member.makePointReader() }

    /// If there is a leader, or was lately.
    var hasLeaderLately: Bool { member.hasLeaderLately }
}
