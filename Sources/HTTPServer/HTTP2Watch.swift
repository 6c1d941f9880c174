internal import NIOCore

/// Decides when a connection is of no more use: its client says nothing, takes nothing, or has nothing to ask.
struct HTTP2Watch {
    enum Verdict {
        case nothing
        case ping
        /// Idle for too long.
        case goAway
        /// Dead.
        case close
    }

    private let limits: HTTPLimits
    private var lastHeard: NIODeadline
    private var pingedAt: NIODeadline?
    private var unwritableSince: NIODeadline?
    private var hasSettings = false
    private(set) var nextLook: NIODeadline

    init(_ limits: HTTPLimits, now: NIODeadline) {
        self.limits = limits
        lastHeard = now
        nextLook = now + limits.headerTimeout
    }

    mutating func heard(at now: NIODeadline) {
        lastHeard = now
        pingedAt = nil
    }

    /// The connection's preface is complete.
    mutating func heardSettings() {
        hasSettings = true
    }

    mutating func isWritable(_ isWritable: Bool, at now: NIODeadline) {
        if isWritable {
            unwritableSince = nil
        } else if unwritableSince == nil {
            unwritableSince = now
            nextLook = min(nextLook, now + stallTimeout)
        }
    }

    /// A client that takes nothing is waited for as long as the least rate allows.
    private var stallTimeout: TimeAmount {
        limits.headerTimeout + .seconds(Int64(limits.streamBytesMax / limits.bytesPerSecondMin))
    }

    mutating func look(at now: NIODeadline, hasStreams: Bool) -> Verdict {
        nextLook = now + limits.idleTimeout
        if let since = unwritableSince {
            if now - since >= stallTimeout { return .close }
            nextLook = min(nextLook, since + stallTimeout)
        }
        if !hasSettings { return .close }
        if !hasStreams {
            if now - lastHeard >= limits.idleTimeout { return .goAway }
            nextLook = min(nextLook, lastHeard + limits.idleTimeout)
            return .nothing
        }
        if let pingedAt {
            if now - pingedAt >= limits.pingTimeout { return .close }
            nextLook = min(nextLook, pingedAt + limits.pingTimeout)
        } else if now - lastHeard >= limits.idleTimeout {
            pingedAt = now
            nextLook = min(nextLook, now + limits.pingTimeout)
            return .ping
        } else {
            nextLook = min(nextLook, lastHeard + limits.idleTimeout)
        }
        return .nothing
    }
}

/// How many more streams of a connection may be reset before their answer: each costs the server more than the client
/// (CVE-2023-44487, CVE-2025-8671).
struct HTTP2ResetAllowance {
    private let countMax: Int
    private let perSecond: Int
    private var left: Int
    private var filledAt: NIODeadline

    init(_ limits: HTTPLimits, now: NIODeadline) {
        countMax = limits.resetsMax
        perSecond = limits.resetsPerSecond
        left = limits.resetsMax
        filledAt = now
    }

    /// False when there were too many.
    mutating func spend(at now: NIODeadline) -> Bool {
        let seconds = Int((now - filledAt).nanoseconds / 1_000_000_000)
        if seconds > 0 {
            left = min(countMax, left + min(seconds, countMax) * perSecond)
            filledAt = filledAt + .seconds(Int64(seconds))
        }
        left -= 1
        return left >= 0
    }
}
