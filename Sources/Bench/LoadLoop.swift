internal import NIOCore
internal import Synchronization

/// What one event loop does of a run: begins its clients' operations and records them.
final class LoadLoop: @unchecked Sendable {
    private static let tick = TimeAmount.microseconds(500)
    private static let lossPatience = TimeAmount.milliseconds(10)
    /// How long operations are waited for that are under way at the end.
    private static let endPatience = TimeAmount.seconds(15)

    /// When to begin and to end, in monotonic nanoseconds.
    struct Times: Sendable {
        var start: UInt64
        var from: UInt64
        var to: UInt64
    }

    private let loop: any EventLoop
    private let clients: [(client: LoadClient, link: Link)]
    private let times: Times
    /// Operations per second of this loop.
    private let rate: Double?
    /// What is left to do of all, over all loops; nil for no end.
    private let left: Budget?
    private var idle: [Int] = []
    private var begun = 0
    private var underWay = 0
    private var isOver = false
    private var ticks: RepeatedTask?
    private(set) var recorder: Recorder
    private let finished: EventLoopPromise<Recorder>

    final class Budget: Sendable {
        private let left: Atomic<Int>
        init(_ total: Int) { left = Atomic(total) }
        func take() -> Bool { left.wrappingSubtract(1, ordering: .relaxed).oldValue > 0 }
    }

    init(
        loop: any EventLoop, clients: [(client: LoadClient, link: Link)], times: Times, rate: Double?, left: Budget?
    ) {
        self.loop = loop
        self.clients = clients
        self.times = times
        self.rate = rate
        self.left = left
        recorder = Recorder(from: times.from, to: times.to)
        finished = loop.makePromise()
    }

    /// Runs to the end.
    func run() -> EventLoopFuture<Recorder> {
        loop.scheduleTask(deadline: .uptimeNanoseconds(times.start)) { self.start() }
        return finished.futureResult
    }

    /// Notes an event of a watch.
    func recordEvent(put: UInt64, now: UInt64) { recorder.event(put: put, now: now) }

    private func start() {
        idle = Array(clients.indices.reversed())
        loop.scheduleTask(deadline: .uptimeNanoseconds(times.to)) { self.end() }
        loop.scheduleTask(deadline: .uptimeNanoseconds(times.to) + Self.endPatience) { self.finish() }
        if rate == nil {
            let all = idle
            idle = []
            for number in all { goOn(number) }
        } else {
            ticks = loop.scheduleRepeatedTask(initialDelay: .zero, delay: Self.tick) { _ in self.beginDue() }
        }
    }

    private var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

    /// Begins what is due, as far as there are clients who are free: what is left is late and counts from when it was due.
    private func beginDue() {
        guard let rate else { return }
        while !isOver, let number = idle.last {
            let due = times.start + UInt64(Double(begun) / rate * 1e9)
            if due > now { return }
            idle.removeLast()
            begun += 1
            begin(number, due: due)
        }
    }

    private func goOn(_ number: Int) {
        if isOver { return finishIfIdle() }
        if rate != nil {
            idle.append(number)
            return beginDue()
        }
        begin(number, due: now)
    }

    private func begin(_ number: Int, due: UInt64) {
        if let left, !left.take() { return end() }
        guard clients[number].link.isUsable() else {
            loop.scheduleTask(in: Self.lossPatience) { self.isOver ? () : self.begin(number, due: due) }
            return
        }
        underWay += 1
        clients[number].client.once { failure in
            self.underWay -= 1
            if let failure {
                self.recorder.failed(failure.text, begun: due)
                // Who fails at once must not fail for ever at once.
                self.loop.scheduleTask(in: Self.lossPatience) { self.goOn(number) }
            } else {
                self.recorder.succeeded(begun: due, now: self.now)
                self.goOn(number)
            }
        }
    }

    private func end() {
        isOver = true
        finishIfIdle()
    }

    private func finishIfIdle() {
        if isOver, underWay == 0 { finish() }
    }

    private func finish() {
        ticks?.cancel()
        guard underWay >= 0 else { return }
        for _ in 0..<underWay { recorder.failed("no answer", begun: times.from) }
        underWay = .min
        finished.succeed(recorder)
    }
}
