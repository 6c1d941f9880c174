/// The thread that reads the images that are sent and writes and checks those that are received.
final class TransferLane: Sendable {
    /// Nil ends it.
    let mailbox = Mailbox<(@Sendable () -> Void)?>()

    func run() {
        while let work = mailbox.takeOne() { work() }
    }
}
