import Credentials
import Testing

@Suite("Hashes of passwords")
struct PasswordHashTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test("A password matches its own hash only", arguments: ["", "pw", "päss ☃", String(repeating: "x", count: 72)])
    func own(password: String) throws {
        let hash = try #require(PasswordHash.make(bytes(password), cost: 4))
        #expect(PasswordHash.isWellFormed(hash))
        #expect(PasswordHash.matches(bytes(password), hash))
        #expect(!PasswordHash.matches(bytes("y" + password), hash))
        #expect(try #require(PasswordHash.make(bytes(password), cost: 4)) != hash)
    }

    @Test("Hashes that etcd made are read")
    func others() {
        // golang.org/x/crypto/bcrypt makes "$2a$", of which only the name differs.
        let hash = bytes("$2b$04$abcdefghijklmnopqrstuuwUUtyYlosymNSpYfTQd49jdndrGwDyC")
        #expect(PasswordHash.isWellFormed(hash))
        #expect(PasswordHash.matches(bytes("pw-x"), hash))
        #expect(PasswordHash.matches(bytes("pw-x"), bytes("$2a$") + hash.dropFirst(4)))
    }

    @Test("Only 72 bytes count when somebody logs in, more cannot be set, and a zero byte ends no password")
    func lengths() throws {
        let long = [UInt8](repeating: 120, count: 72)
        let hash = try #require(PasswordHash.make(long, cost: 4))
        #expect(PasswordHash.matches(long + [1, 2], hash))
        #expect(!PasswordHash.matches(Array(long.dropLast()), hash))
        #expect(throws: PasswordHash.Refusal.tooLong) { try PasswordHash.check(long + [120]) }
        #expect(throws: PasswordHash.Refusal.zeroByte) { try PasswordHash.check([112, 0]) }
        let short = try #require(PasswordHash.make(bytes("p"), cost: 4))
        #expect(!PasswordHash.matches([112, 0], short) && !PasswordHash.matches([112, 0, 112], short))
    }

    @Test(
        "What is no hash matches nothing",
        arguments: [
            "", "*", "$2b$", "$2b$04$short", "$1$abc$def",
            "$2b$99$abcdefghijklmnopqrstuuwUUtyYlosymNSpYfTQd49jdndrGwDyC",
        ])
    func broken(hash: String) {
        #expect(!PasswordHash.isWellFormed(bytes(hash)))
        #expect(!PasswordHash.matches(bytes("pw"), bytes(hash)))
    }
}
