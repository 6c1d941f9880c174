internal import NIOCore
internal import Synchronization

/// A gRPC call of one request and one answer, for services that answer such without a task.
package struct UnaryCall: Sendable {
    /// "/etcdserverpb.KV/Put"
    package let path: String
    package let message: [UInt8]
    private let stream: HTTP2Stream
    private let turn: LoopTurn

    init(path: String, message: [UInt8], stream: HTTP2Stream, turn: LoopTurn) {
        self.path = path
        self.message = message
        self.stream = stream
        self.turn = turn
    }

    /// Answers the call; from any thread, once.
    package func answer(_ message: [UInt8]) {
        turn.post(LoopTurn.Answer(stream: stream, message: message, status: .ok))
    }

    /// Ends the call without an answer; from any thread, once.
    package func fail(_ status: GRPCStatus) {
        turn.post(LoopTurn.Answer(stream: stream, message: nil, status: status))
    }
}

/// Answers calls on one event loop. What it is given at once it may answer at once or later, from any thread.
package protocol UnaryService: AnyObject, Sendable {
    /// If calls of this method may be for it.
    func takes(_ path: String) -> Bool
    /// Takes a call over; false when it is one for a task. On the loop.
    func answer(_ call: UnaryCall) -> Bool
}

/// What the connections of one event loop share: work is gathered while the loop reads, and answers while others give them.
package final class LoopTurn: Sendable {
    struct Answer: Sendable {
        let stream: HTTP2Stream
        let message: [UInt8]?
        let status: GRPCStatus
    }

    let loop: any EventLoop
    let executor: EventLoopExecutor
    private let answers = Mutex<[Answer]>([])

    init(loop: any EventLoop) {
        self.loop = loop
        executor = EventLoopExecutor(loop)
    }

    package var isOnLoop: Bool { loop.inEventLoop }

    /// Runs `body` on the loop after all that is due there now.
    package func later(_ body: @escaping @Sendable () -> Void) { loop.execute(body) }

    func post(_ answer: Answer) {
        if loop.inEventLoop { return Self.pass(on: answer) }
        let isFirst = answers.withLock { answers in
            answers.append(answer)
            return answers.count == 1
        }
        guard isFirst else { return }
        loop.execute {
            for answer in self.answers.withLock({ answers in
                defer { answers = [] }
                return answers
            }) {
                Self.pass(on: answer)
            }
        }
    }

    private static func pass(on answer: Answer) {
        answer.stream.connection.reply(answer.stream, answer.message, answer.status)
    }
}

/// The turns and services of a listener, made when the first connection comes to a loop.
final class LoopTurns: Sendable {
    typealias Pair = (turn: LoopTurn, service: (any UnaryService)?)
    private let pairs = Mutex<[ObjectIdentifier: Pair]>([:])

    func pair(for loop: any EventLoop, _ service: any HTTPService) -> Pair {
        pairs.withLock { pairs in
            if let pair = pairs[ObjectIdentifier(loop)] { return pair }
            let turn = LoopTurn(loop: loop)
            let pair = (turn, service.unaryService(on: turn))
            pairs[ObjectIdentifier(loop)] = pair
            return pair
        }
    }
}
