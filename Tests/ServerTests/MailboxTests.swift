import Testing

@testable import Server

@Suite struct MailboxTests {
    @Test("It reports when it is full, takes all the same, and has room once everything was taken")
    func fullness() {
        let mailbox = Mailbox<Int>(bytesMax: 10) { $0 }
        mailbox.post(4)
        #expect(!mailbox.isFull)
        mailbox.post(6)
        #expect(mailbox.isFull)
        #expect(mailbox.post(7))
        #expect(mailbox.take(until: 0) == [4, 6, 7])
        #expect(!mailbox.isFull)
        mailbox.post(20)
        #expect(mailbox.isFull && mailbox.takeOne() == 20 && !mailbox.isFull)
        mailbox.close()
        #expect(!mailbox.post(1) && mailbox.take(until: nil) == [] && mailbox.takeOne() == nil)
    }
}
