import Credentials
import Foundation
import JSON
import Testing

@Suite("JSON web tokens")
struct WebTokenTests {
    private static let now: Int64 = 1_700_000_000
    private let claims = WebTokens.Claims(user: Array("alice".utf8), revision: 7)

    /// A directory with a key of each kind, made by openssl.
    private final class Keys {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("weft-keys-\(UUID().uuidString)")

        init() throws {
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            try make("rsa", "RSA", "rsa_keygen_bits:2048")
            for curve in ["P-256", "P-384", "P-521", "secp256k1"] {
                try make(curve, "EC", "ec_paramgen_curve:\(curve)")
            }
            try make("ed", "ED25519")
            try Data("a shared secret".utf8).write(to: directory.appendingPathComponent("hs.key"))
        }

        deinit { try? FileManager.default.removeItem(at: directory) }

        private func make(_ name: String, _ algorithm: String, _ option: String? = nil) throws {
            let key = path("\(name).key")
            try run(["genpkey", "-algorithm", algorithm, "-out", key] + (option.map { ["-pkeyopt", $0] } ?? []))
            try run(["pkey", "-in", key, "-pubout", "-out", path("\(name).pub")])
        }

        func run(_ words: [String]) throws {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["openssl"] + words
            process.standardError = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            try #require(process.terminationStatus == 0, "openssl \(words)")
        }

        func path(_ name: String) -> String { directory.appendingPathComponent(name).path }
    }

    private static func key(for method: String) -> String {
        switch method {
        case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512": "rsa"
        case "ES256": "P-256"
        case "ES384": "P-384"
        case "ES512": "P-521"
        case "EdDSA": "ed"
        default: "hs"
        }
    }

    private static let methods = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512",
        "EdDSA",
    ]

    private func tokens(_ options: String) throws -> WebTokens {
        guard case .jwt(let settings) = try TokenSettings("jwt,\(options)") else { throw CancellationError() }
        return try WebTokens(settings)
    }

    @Test(
        "What one member signs the others take, by every method, until it ends; nobody else's and nothing that was changed"
    )
    func methods() throws {
        let keys = try Keys()
        for method in Self.methods {
            let name = Self.key(for: method)
            let signs = try tokens("sign-method=\(method),priv-key=\(keys.path("\(name).key")),ttl=1m")
            let token = try #require(signs.issue(claims, at: Self.now), "\(method)")
            #expect(signs.claims(of: token, at: Self.now) == claims, "\(method)")
            #expect(
                signs.claims(of: token, at: Self.now + 59) == claims
                    && signs.claims(of: token, at: Self.now + 60) == nil)
            if name != "hs" {
                let verifies = try tokens("sign-method=\(method),pub-key=\(keys.path("\(name).pub"))")
                #expect(verifies.claims(of: token, at: Self.now) == claims, "\(method)")
                #expect(verifies.issue(claims, at: Self.now) == nil)
            }
            for other in Self.methods where other != method && Self.key(for: other) == name {
                let others = try tokens("sign-method=\(other),priv-key=\(keys.path("\(name).key"))")
                #expect(others.claims(of: token, at: Self.now) == nil, "\(other) takes \(method)")
            }
            var characters = Array(token)
            for place in stride(from: 0, to: characters.count, by: 7) where characters[place] != "." {
                let before = characters[place]
                characters[place] = before == "A" ? "B" : "A"
                // The last bits of base64 may mean nothing.
                if place < characters.count - 1 {
                    #expect(signs.claims(of: String(characters), at: Self.now) == nil, "\(method)")
                }
                characters[place] = before
            }
        }
    }

    @Test("Keys that are none for the method, or no pair, are refused at the start")
    func wrongKeys() throws {
        let keys = try Keys()
        // As long as P-256's.
        #expect(throws: CredentialsError.self) {
            try tokens("sign-method=ES256,priv-key=\(keys.path("secp256k1.key"))")
        }
        #expect(throws: CredentialsError.self) {
            try tokens("sign-method=RS256,priv-key=\(keys.path("rsa.key")),pub-key=\(keys.path("ed.pub"))")
        }
        _ = try tokens("sign-method=RS256,priv-key=\(keys.path("rsa.key")),pub-key=\(keys.path("rsa.pub"))")
        try keys.run([
            "req", "-x509", "-key", keys.path("rsa.key"), "-subj", "/CN=weft", "-out", keys.path("rsa.pem"),
        ])
        _ = try tokens("sign-method=RS256,priv-key=\(keys.path("rsa.key")),pub-key=\(keys.path("rsa.pem"))")
    }

    /// HS256 with another library's words.
    private func forged(_ head: String, _ body: String, _ keys: Keys) throws -> String {
        func encoded(_ data: Data) -> String {
            data.base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
                .replacingOccurrences(of: "=", with: "")
        }
        let text = "\(encoded(Data(head.utf8))).\(encoded(Data(body.utf8)))"
        let process = Process()
        let (input, output) = (Pipe(), Pipe())
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl", "dgst", "-sha256", "-hmac", "a shared secret", "-binary"]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        input.fileHandleForWriting.write(Data(text.utf8))
        try input.fileHandleForWriting.close()
        let sum = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return "\(text).\(encoded(sum))"
    }

    @Test("Claims must be there and of their kinds, and times must fit")
    func claimsOfOthers() throws {
        let keys = try Keys()
        let tokens = try tokens("sign-method=HS256,priv-key=\(keys.path("hs.key"))")
        let head = #"{"alg":"HS256","typ":"JWT"}"#
        let (now, later) = (Self.now, Self.now + 10)
        let good = [
            #"{"username":"alice","revision":7}"#, #"{"username":"alice","revision":7.0,"exp":\#(later)}"#,
            #"{"username":"alice","revision":7,"nbf":\#(now),"more":{"a":[1]}}"#,
        ]
        for body in good { #expect(tokens.claims(of: try forged(head, body, keys), at: now) == claims, "\(body)") }
        let bad = [
            "{}", "[]", "7", "", #"{"username":"alice"}"#, #"{"revision":7}"#, #"{"username":7,"revision":7}"#,
            #"{"username":"alice","revision":"7"}"#, #"{"username":"alice","revision":-1}"#,
            #"{"username":"alice","revision":7,"exp":\#(now)}"#, #"{"username":"alice","revision":7,"exp":"x"}"#,
            #"{"username":"alice","revision":7,"nbf":\#(later)}"#, #"{"username":null,"revision":7}"#,
            #"{"username":"alice","revision":1e400}"#,
        ]
        for body in bad { #expect(tokens.claims(of: try forged(head, body, keys), at: now) == nil, "\(body)") }
        for head in ["{}", #"{"alg":"none"}"#, #"{"alg":"HS512"}"#, #"{"alg":["HS256"]}"#, "x"] {
            #expect(tokens.claims(of: try forged(head, good[0], keys), at: now) == nil, "\(head)")
        }
        let token = try forged(head, good[0], keys)
        for text in [
            "", ".", "..", "a.b", token + ".x", String(token.dropLast(44)), String(repeating: ".", count: 100_000),
        ] {
            #expect(tokens.claims(of: text, at: now) == nil)
        }
    }

    @Test("Settings and keys that do not fit are named")
    func settings() throws {
        let keys = try Keys()
        let rsa = keys.path("rsa.key")
        let bad = [
            "": "simple", "simple,x": "simple", "jwt": "sign-method", "jwt,sign-method=RS256": "pub-key",
            "jwt,sign-method=ROT13,priv-key=\(rsa)": "ROT13", "jwt,sign-method=HS256,pub-key=\(rsa)": "shared key",
            "jwt,sign-method=RS256,priv-key=\(rsa),ttl=x": "ttl",
            "jwt,sign-method=RS256,priv-key=\(rsa),ttl=99999999999h": "ttl",
            "jwt,color=red,priv-key=\(rsa)": "color", "jwt,sign-method": "sign-method",
            "jwt,sign-method=RS256,priv-key=/nowhere": "/nowhere", "jwt,sign-method=ES256,priv-key=\(rsa)": "rsa.key",
            "jwt,sign-method=ES256,priv-key=\(keys.path("P-384.key"))": "P-384",
            "jwt,sign-method=RS256,priv-key=\(keys.path("hs.key"))": "hs.key",
        ]
        for (text, word) in bad {
            let error = #expect(throws: CredentialsError.self, "\(text)") {
                if case .jwt(let settings) = try TokenSettings(text) { _ = try WebTokens(settings) }
            }
            #expect(error?.description.contains(word) == true, "\(text): \(error?.description ?? "")")
        }
        guard case .jwt(let settings) = try TokenSettings("jwt,sign-method=RS256,priv-key=\(rsa),ttl=1h30m5s") else {
            return
        }
        #expect(settings.ttl == 5405)
    }
}
