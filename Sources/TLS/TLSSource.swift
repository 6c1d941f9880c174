package import Logging
internal import Synchronization
#if canImport(Glibc)
    internal import Glibc
#endif

/// A side's context, made anew when its files have changed: certificates are renewed without a restart. Thread-safe.
package final class TLSSource: Sendable {
    /// By what a file is known to have changed.
    private struct Stamp: Equatable {
        var inode: UInt64
        var bytes: Int64
        /// Of the newest change: of its bytes, its owner or its mode.
        var seconds: Int
        var nanoseconds: Int
    }

    private struct State {
        var context: TLSContext
        var stamps: [Stamp?]
        /// The files could not be used as they are now. What was in the way may go without their changing, such as want of descriptors.
        var failure: (text: String, nextTry: ContinuousClock.Instant)?
    }

    private static let retry = Duration.seconds(10)

    private let settings: TLSSettings
    private let logger: Logger
    private let state: Mutex<State>

    private let now: @Sendable () -> ContinuousClock.Instant
    private let make: @Sendable () throws(TLSError) -> TLSContext

    /// - Throws: when the files cannot be used as they are.
    package convenience init(
        _ settings: TLSSettings, _ side: TLSContext.Side, _ logger: Logger
    ) throws(TLSError) {
        try self.init(settings, logger, now: { .now }) { () throws(TLSError) in try TLSContext(settings, side) }
    }

    /// - Parameters:
    ///   - now: the time.
    ///   - make: reads the files.
    init(
        _ settings: TLSSettings, _ logger: Logger, now: @escaping @Sendable () -> ContinuousClock.Instant,
        make: @escaping @Sendable () throws(TLSError) -> TLSContext
    ) throws(TLSError) {
        self.settings = settings
        self.logger = logger
        self.now = now
        self.make = make
        let stamps = Self.stamps(settings)
        let context = try make()
        state = Mutex(State(context: context, stamps: stamps))
    }

    /// As the files are now; as they were before when they cannot be used.
    package var current: TLSContext {
        state.withLock { state in
            let stamps = Self.stamps(settings)
            guard stamps != state.stamps || state.failure.map({ now() >= $0.nextTry }) ?? false else {
                return state.context
            }
            state.stamps = stamps
            do throws(TLSError) {
                state.context = try make()
                state.failure = nil
                logger.info("\(settings.certificateFile ?? "a certificate") and what belongs to it are read anew")
            } catch {
                if state.failure?.text != error.description {
                    logger.error("the certificate in use stays, since the new one cannot be used: \(error)")
                }
                state.failure = (error.description, now() + Self.retry)
            }
            return state.context
        }
    }

    private static func stamps(_ settings: TLSSettings) -> [Stamp?] {
        [
            settings.certificateFile, settings.keyFile, settings.trustedCAFile, settings.crlFile,
            settings.foreignCAFile,
        ].map { path in
            guard let path else { return nil }
            var found = stat()
            guard stat(path, &found) == 0 else { return nil }
            return Stamp(
                inode: UInt64(found.st_ino), bytes: Int64(found.st_size), seconds: found.st_ctim.tv_sec,
                nanoseconds: found.st_ctim.tv_nsec)
        }
    }
}
