package import Schedules
internal import Storage
internal import Synchronization
#if canImport(Glibc)
    internal import Glibc
#endif

/// The time zones of this machine, as the package tzdata brings them. Thread-safe.
package enum ZoneFiles {
    private struct Known {
        var zone: Zone
        /// When it was read, in seconds of a clock that only runs forward: tables change now and then.
        var at: UInt64
    }

    private static let freshSeconds: UInt64 = 3600
    private static let folder = getenv("TZDIR").map { String(cString: $0) } ?? "/usr/share/zoneinfo"
    private static let known = Mutex<[String: Known]>([:])

    /// - Throws: when there is no such zone here.
    package static func zone(_ name: String) throws(ZoneError) -> Zone {
        if name == "UTC" { return .utc }
        guard Zone.isName(name) else { throw ZoneError("\"\(name.prefix(64))\" is not a name of a time zone") }
        let now = monotonicNanoseconds() / 1_000_000_000
        if let found = known.withLock({ $0[name] }), now - min(found.at, now) < freshSeconds { return found.zone }
        let bytes: [UInt8]
        do throws(StorageError) {
            bytes = try File("\(folder)/\(name)", .read).read(at: 0, count: Zone.fileBytesMax + 1)
        } catch {
            throw ZoneError("time zone \"\(name)\" is not known on this machine; its package tzdata has all of them")
        }
        let zone = try Zone(file: bytes)
        known.withLock { $0[name] = Known(zone: zone, at: now) }
        return zone
    }
}
