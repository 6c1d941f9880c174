internal import Bytes
internal import MVCC
internal import Raft
internal import Replication
internal import Server

/// One thing that a client can ask for. It is carried out once, whatever protocol brought it: codecs turn bytes into operations and
/// answers into bytes.
protocol Operation: Sendable {
    associatedtype Answer: Sendable
    /// Who may have it carried out.
    static var right: Right<Self> { get }
    /// If what it answers depends on what the caller may read.
    var isRead: Bool { get }
    /// If the caller must still have the right when the answer is there.
    var tellsWhatIs: Bool { get }
    /// Refuses what need not be asked.
    func check(_ limits: RequestLimits) throws(MVCCError)
    /// Only a desk calls this, once all of that is seen to, and operations that this one is a part of.
    func run(at desk: Desk) async throws(APIError) -> Answer
}

extension Operation {
    var isRead: Bool { false }
    var tellsWhatIs: Bool { isRead }
    func check(_ limits: RequestLimits) throws(MVCCError) {}
}

/// An operation that an event loop can have carried out without a task.
protocol LoopOperation: Operation {
    /// Begins it. `done` is called once, on any thread, and must only pass the answer on.
    /// - Returns: false, and nothing is done, when it is one for a task.
    func begin(at desk: Desk, _ done: @escaping @Sendable (Result<Answer, APIError>) -> Void) -> Bool
}

/// An operation that is one command.
protocol CommandOperation: LoopOperation {
    /// Nil when it turns out to change nothing: `read` answers it then.
    var command: Command? { get }
    /// Where it is counted.
    static func counter(_ metrics: Metrics) -> Counter?
    static func answer(_ applied: Applied, _ header: ResponseHeader) -> Answer
    func read(_ member: RunningMember) async throws(ServerError) -> Applied
}

extension CommandOperation {
    static func counter(_ metrics: Metrics) -> Counter? { nil }

    func read(_ member: RunningMember) async throws(ServerError) -> Applied {
        preconditionFailure("\(Self.self) is a command always")
    }

    func run(at desk: Desk) async throws(APIError) -> Answer {
        Self.counter(desk.member.metrics)?.add()
        let applied = try await desk.ask { member throws(ServerError) in
            guard let command else { return try await read(member) }
            return try await member.propose(command, by: desk.author)
        }
        return Self.answer(applied, desk.header(applied))
    }

    func begin(at desk: Desk, _ done: @escaping @Sendable (Result<Answer, APIError>) -> Void) -> Bool {
        guard let command else { return false }
        let isTaken = desk.member.propose(command, by: desk.author) { outcome in
            switch outcome {
            case .success(let applied): done(.success(Self.answer(applied, desk.header(applied))))
            case .failure(let error): done(.failure(APIError(error)))
            }
        }
        // What is left to a task is counted there.
        if isTaken { Self.counter(desk.member.metrics)?.add() }
        return isTaken
    }
}

/// The header of every answer of etcd's API.
struct ResponseHeader: Sendable {
    var clusterID: UInt64
    var memberID: UInt64
    var revision: Int64
    var term: Term
}

/// What an operation of etcd's API answers.
protocol HeadedAnswer: Sendable {
    associatedtype Body: Sendable
    var header: ResponseHeader { get }
    var body: Body { get }
}

struct Answered<Body: Sendable>: HeadedAnswer {
    var header: ResponseHeader
    var body: Body
    /// What the body takes of the memory budget, if it does. Codecs keep it until the connection counts the bytes that they make.
    var hold: MemoryHold?
}
