/// The thread that reads the images that are sent and writes and checks those that are received.
final class TransferLane: Sendable {
    let mailbox = Mailbox<@Sendable () -> Void>()

    func run() {
        while let work = mailbox.takeOne() { work() }
    }
}
