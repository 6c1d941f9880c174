#if canImport(Glibc)
    internal import Glibc
#endif

/// Below 0, 0 or above 0 as `a` comes before, equals or comes after `b`, byte by byte.
package func order(_ a: [UInt8], _ b: [UInt8]) -> Int {
    let shared = min(a.count, b.count)
    let difference = a.withUnsafeBytes { left in
        b.withUnsafeBytes { right -> Int32 in
            guard shared > 0, let l = left.baseAddress, let r = right.baseAddress else { return 0 }
            return memcmp(l, r, shared)
        }
    }
    return difference != 0 ? Int(difference) : a.count - b.count
}
