import CLinux
import FoundationEssentials
import Glibc
import RelayCore
import Testing

@testable import Relay

@Suite struct TokenSecretsTests {
    private static let root = String(
        #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined())

    private func secrets(_ text: String) throws(TokenSecrets.Mistake) -> TokenSecrets {
        try TokenSecrets(Array(text.utf8), path: "f")
    }

    @Test func theDocumentHasTheVectorsOfBothImplementations() throws {
        let document = try String(
            contentsOfFile: "\(Self.root)/Documentation/protocol.md", encoding: .utf8)
        let row = #/\| `([^`]+)` \| `([0-9A-Fa-f-]{36})` \| (\d+) \| `([0-9a-f]{64})` \|/#
        let vectors = document.matches(of: row)
        #expect(vectors.count >= 4)
        for vector in vectors {
            let session = try #require(SessionID(String(vector.2)))
            let expiry = try #require(UInt64(vector.3))
            let secrets = try secrets("\(vector.1)\n")
            let token = secrets.authority.token(for: session, expiresAtUnixSeconds: expiry)
            #expect(token.text == "exp=\(vector.3);mac=\(vector.4)")
        }
    }

    @Test func aFileHasASecretInEachLine() throws {
        let one = String(repeating: "a", count: 22)
        let two = String(repeating: "b", count: 256)
        let file = try secrets("# the new one\n\(one)\r\n\n  \(two.dropLast(2))\n#\(two)")
        #expect(file.count == 2)
        #expect(file.secrets == [Array(one.utf8), Array("  \(two.dropLast(2))".utf8)])
        #expect(file.authority.secretCount == 2)
        #expect(file.authority != (try secrets(one)).authority)
        #expect(file.authority == (try secrets("\(one)\n  \(two.dropLast(2))\n")).authority)
    }

    /// In a process of its own, which it is forbidden for good.
    @Test func whoeverHasReadSecretsLeavesNoCoreDump() async {
        await #expect(processExitsWith: .success) {
            let folder = TemporaryDirectory()
            let path = "\(folder.path)/secret"
            try String(repeating: "a", count: 22).write(
                toFile: path, atomically: false, encoding: .utf8)
            #expect(unsafe chmod(path, 0o600) == 0)
            #expect(clinux_may_dump() == 1)
            #expect(try TokenSecrets(path: path).count == 1)
            #expect(clinux_may_dump() == 0)
        }
    }

    @Test func whatIsNoSecretIsRefused() throws {
        let secret = String(repeating: "a", count: 22)
        let nine = String(repeating: secret + "\n", count: 9)
        for (text, mistake) in [
            ("", TokenSecrets.Mistake.empty(path: "f")), ("# \n\n", .empty(path: "f")),
            ("\(secret)\nshort\n", .wrongLength(path: "f", line: 2, bytes: 5)),
            (
                String(repeating: "a", count: 257), .wrongLength(path: "f", line: 1, bytes: 257)
            ), (nine, .tooMany(path: "f")),
        ] {
            #expect(throws: mistake) { _ = try secrets(text) }
            #expect(!mistake.description.contains("aaaa") && mistake.description.hasPrefix("f:"))
        }
    }
}
