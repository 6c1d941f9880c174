/// Lets one thread wait for another, once.
final class Rendezvous<Value: Sendable>: Sendable {
    private let mailbox = Mailbox<Value>()

    func fulfil(_ value: Value) { mailbox.post(value) }

    func wait() -> Value { mailbox.take(until: nil)[0] }

    /// Nil when it does not come in time.
    func wait(until deadline: UInt64) -> Value? { mailbox.take(until: deadline).first }
}
