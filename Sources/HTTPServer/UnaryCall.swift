internal import NIOCore
package import NIOHTTP1
internal import Synchronization

/// A gRPC call of one request and one answer, for services that answer such without a task.
package struct UnaryCall: Sendable {
    /// "/etcdserverpb.KV/Put"
    package let path: String
    package let message: [UInt8]
    private let stream: HTTP2Stream
    /// See `GRPCCall`. On the loop.
    package var headers: HTTPHeaders { stream.headers }
    package var client: HTTPClientIdentity { stream.connection.client }
    private let turn: LoopTurn

    init(path: String, message: [UInt8], stream: HTTP2Stream, turn: LoopTurn) {
        self.path = path
        self.message = message
        self.stream = stream
        self.turn = turn
    }

    /// Runs `body` on the call's loop, where answers are encoded; from any thread.
    package func onLoop(_ body: @escaping @Sendable () -> Void) { turn.post(body) }

    /// Answers the call; from any thread, once.
    package func answer(_ message: [UInt8]) {
        turn.post { [stream] in stream.connection.reply(stream, message, .ok) }
    }

    /// Ends the call without an answer; from any thread, once.
    package func fail(_ status: GRPCStatus) {
        turn.post { [stream] in stream.connection.reply(stream, nil, status) }
    }
}

package typealias Reply = @Sendable (@escaping @Sendable () -> HTTPResponse) -> Void

/// Answers calls and requests on one event loop. What it is given it may answer at once or later, from any thread.
package protocol UnaryService: AnyObject, Sendable {
    /// If calls of this method may be for it.
    func takes(_ path: String) -> Bool
    /// Takes a call over; false when it is one for a task. On the loop.
    func answer(_ call: UnaryCall) -> Bool
    /// Takes a request over HTTP/1.1 over, and gives `reply`, once, what makes the whole answer on the loop; false when it is one
    /// for a task.
    func answer(_ request: HTTPRequest, _ reply: @escaping Reply) -> Bool
}

/// What the connections of one event loop share: work is gathered while the loop reads, and answers while others give them.
package final class LoopTurn: Sendable {
    let loop: any EventLoop
    let executor: EventLoopExecutor
    private let answers = Mutex<[@Sendable () -> Void]>([])

    init(loop: any EventLoop) {
        self.loop = loop
        executor = EventLoopExecutor(loop)
    }

    package var isOnLoop: Bool { loop.inEventLoop }

    /// Runs `body` on the loop after all that is due there now.
    package func later(_ body: @escaping @Sendable () -> Void) { loop.execute(body) }

    /// Runs `answer` on the loop: at once when that is where this is called.
    func post(_ answer: @escaping @Sendable () -> Void) {
        if loop.inEventLoop { return answer() }
        let isFirst = answers.withLock { answers in
            answers.append(answer)
            return answers.count == 1
        }
        guard isFirst else { return }
        loop.execute {
            var due = self.answers.withLock { answers in
                defer { answers = [] }
                return answers
            }
            // Each is let go of once it is written: together they may be large.
            for place in due.indices {
                due[place]()
                due[place] = {}
            }
        }
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
