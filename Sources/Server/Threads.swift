internal import CPlatform
#if canImport(Glibc)
    internal import Glibc
#endif

/// Starts a thread that runs `body` once; tools show its name, of which the system keeps 15 bytes. One in the background
/// runs when others leave it time.
package func startThread(_ name: String, isInBackground: Bool = false, _ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let name: String
        let isInBackground: Bool
        let body: @Sendable () -> Void
        init(_ name: String, _ isInBackground: Bool, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.isInBackground = isInBackground
            self.body = body
        }
    }
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 2 << 20)
    let box = Unmanaged.passRetained(Box(name, isInBackground, body))
    let code = pthread_create(
        &thread, &attributes,
        { argument in
            guard let argument else { return nil }
            let box = Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
            weft_name_thread(String(box.name.prefix(15)))
            if box.isInBackground { weft_yield_to_others() }
            box.body()
            return nil
        }, box.toOpaque())
    pthread_attr_destroy(&attributes)
    precondition(code == 0, "cannot start thread \(name): \(String(cString: strerror(code)))")
}

/// Gives a thing to the one thread that owns it from then on, and keeps nothing of it.
final class Handover<Thing>: @unchecked Sendable {
    private var thing: Thing?

    init(_ thing: Thing) { self.thing = thing }

    func take() -> Thing {
        guard let taken = thing else { preconditionFailure("handed over twice") }
        thing = nil
        return taken
    }
}
