internal import Dispatch
package import NIOCore
internal import Synchronization
#if canImport(Glibc)
    internal import Glibc
#endif

/// Finds the addresses of host names. A look-up may take as long as the resolver likes: each name has a thread of its own, so it
/// delays no other name. What was found before serves again when the resolver is slow or fails. Thread-safe.
package final class NameLookups: Sendable {
    /// A name that was found before waits no longer for news of it.
    private static let newsPatience = TimeAmount.milliseconds(200)

    private struct Name {
        var isAsked = false
        var known: [SocketAddress] = []
        var waiting: [EventLoopPromise<[SocketAddress]>] = []
    }

    private let names = Mutex<[String: Name]>([:])
    private let queue = DispatchQueue(label: "weft-names", attributes: .concurrent)

    /// The addresses of a host name, or the one that it spells, without a port.
    package func addresses(of host: String, on loop: any EventLoop) -> EventLoopFuture<[SocketAddress]> {
        if let spelt = try? SocketAddress(ipAddress: host, port: 0) { return loop.makeSucceededFuture([spelt]) }
        let promise = loop.makePromise(of: [SocketAddress].self)
        let (mustAsk, known) = names.withLock { names in
            var name = names[host] ?? Name()
            defer { names[host] = name }
            name.waiting.append(promise)
            defer { name.isAsked = true }
            return (!name.isAsked, name.known)
        }
        if mustAsk { queue.async { self.note(Self.ask(host), of: host) } }
        guard !known.isEmpty else { return promise.futureResult }
        let patient = loop.makePromise(of: [SocketAddress].self)
        let timer = loop.scheduleTask(in: Self.newsPatience) { patient.succeed(known) }
        promise.futureResult.whenComplete { result in
            timer.cancel()
            patient.completeWith(result)
        }
        return patient.futureResult
    }

    func isAsking(_ host: String) -> Bool { names.withLock { $0[host]?.isAsked ?? false } }

    private func note(_ result: Result<[SocketAddress], DialFailure>, of host: String) {
        let (waiting, known) = names.withLock { names in
            var name = names[host] ?? Name()
            defer { names[host] = name }
            if case .success(let found) = result { name.known = found }
            name.isAsked = false
            defer { name.waiting = [] }
            return (name.waiting, name.known)
        }
        for promise in waiting {
            if known.isEmpty {
                promise.completeWith(result.mapError { $0 as any Error })
            } else {
                promise.succeed(known)
            }
        }
    }

    /// Blocks.
    private static func ask(_ host: String) -> Result<[SocketAddress], DialFailure> {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        defer { if let list { freeaddrinfo(list) } }
        guard code == 0 else {
            let reason = code == EAI_SYSTEM ? String(cString: strerror(errno)) : String(cString: gai_strerror(code))
            return .failure(DialFailure("the look-up of \(host) failed: \(reason)"))
        }
        var found: [SocketAddress] = []
        var next = list
        while let entry = next?.pointee {
            if let address = address(entry), !found.contains(address) { found.append(address) }
            next = entry.ai_next
        }
        return found.isEmpty ? .failure(DialFailure("the name \(host) has no address")) : .success(found)
    }

    private static func address(_ entry: addrinfo) -> SocketAddress? {
        guard let raw = entry.ai_addr else { return nil }
        return switch entry.ai_family {
        case AF_INET: raw.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { SocketAddress($0.pointee) }
        case AF_INET6: raw.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { SocketAddress($0.pointee) }
        default: nil
        }
    }
}
