import Glibc
import Testing

/// Relays that take registrations with a token only, from the file of secrets to the answer.
@Suite("Tokens")
struct TokenTests {
    private static let id = "00000000-0000-4000-8000-00000000cafe"
    private static let first = "0123456789abcdef0123456789abcdef"
    private static let second = "fedcba9876543210fedcba9876543210"

    /// A file that nobody else may read.
    private func secretFile(_ text: String, mode: mode_t = 0o600) throws -> TestFile {
        let file = try TestFile(text)
        #expect(unsafe chmod(file.path, mode) == 0)
        return file
    }

    private func token(_ file: TestFile, _ more: [String] = [], id: String = id) throws -> String {
        let run = try Run(["token", "--secret-file", file.path, "--session", id] + more)
        #expect(run.ending == .exit(0) && run.errors == [])
        return try #require(run.output.first)
    }

    /// Registers by version 2 and returns the last answer.
    private func register(
        _ peer: TestPeer, key: Int, token: String = "", id: String = id
    ) throws -> String {
        let line = "REG:\(id);peer=000000000000000\(key)"
        peer.send(Array("\(line)\n".utf8))
        let challenge = String(decoding: try #require(peer.receive()), as: UTF8.self)
        try #require(challenge.hasPrefix("CHL:"))
        let cookie = challenge.dropFirst(4).dropLast()
        let rest = token.isEmpty ? "" : ";\(token)"
        peer.send(Array("\(line);cookie=\(cookie)\(rest)\n".utf8))
        return String(decoding: try #require(peer.receive()), as: UTF8.self)
    }

    @Test func onlyATokenOpensTheRelay() throws {
        let file = try secretFile("\(Self.first)\n")
        let relay = try RunningRelay(["--no-tui", "--auth-secret-file", file.path])
        let peers = [try TestPeer(relay, host: 2), try TestPeer(relay, host: 3)]
        peers[0].send(Array("REG:\(Self.id)\n".utf8))
        #expect(try relay.lines(until: "registration_refused").last?["reason"] == "unauthorized")
        #expect(try register(peers[0], key: 1) == "ERR:auth\n")
        let token = try token(file)
        for (index, peer) in peers.enumerated() {
            let answer = try register(peer, key: index + 1, token: token)
            #expect(answer.hasPrefix("ACK;addr=127.0.0.\(index + 2):"))
        }
        let message = Array("through".utf8)
        peers[0].send(message)
        #expect(peers[1].receive() == message)
        let other = try self.token(file, id: "00000000-0000-4000-8000-00000000beef")
        #expect(try register(try TestPeer(relay, host: 4), key: 3, token: other) == "ERR:auth\n")
        try relay.endWithSummary()
    }

    @Test func secretsChangeWithoutAnOutage() throws {
        let file = try secretFile("\(Self.first)\n")
        let relay = try RunningRelay(["--no-tui", "--auth-secret-file", file.path])
        let old = try token(file)
        try file.write("\(Self.second)\n\(Self.first)\n")
        relay.program.signal(SIGHUP)
        let lines = try relay.lines(until: "reconfigured")
        #expect(
            lines.first { $0.event == "auth_secrets_changed" }?["secrets"] == "2", "\(lines)")
        let new = try token(file)
        #expect(old != new)
        for (key, token) in [old, new].enumerated() {
            let answer = try register(try TestPeer(relay, host: 2), key: key + 1, token: token)
            #expect(answer.hasPrefix("ACK;"))
        }
        try file.write("\(Self.second)\n")
        relay.program.signal(SIGHUP)
        _ = try relay.lines(until: "reconfigured")
        let peer = try TestPeer(relay, host: 3)
        let id = "00000000-0000-4000-8000-00000000beef"
        #expect(try register(peer, key: 1, token: old, id: id) == "ERR:auth\n")
        // A file that gives no secrets changes nothing.
        try file.write("")
        relay.program.signal(SIGHUP)
        let refused = try relay.lines(until: "configuration_refused").last
        #expect(refused?["reason"]?.contains("must have a secret") == true)
        let good = try self.token(try secretFile("\(Self.second)\n"), id: id)
        #expect(try register(peer, key: 1, token: good, id: id).hasPrefix("ACK;"))
        try relay.endWithSummary()
    }

    @Test(arguments: [0o604, 0o620, 0o666] as [mode_t])
    func aFileThatOthersMayReadIsRefused(mode: mode_t) throws {
        let file = try secretFile("\(Self.first)\n", mode: mode)
        let run = try Run(["--no-tui", "--auth-secret-file", file.path])
        #expect(run.ending == .exit(EX_CONFIG) && run.errors.count == 1)
        #expect(
            run.errors.first == "quic-relay: --auth-secret-file: \(file.path): others may read or "
                + "change it (mode \(String(mode, radix: 8))); chmod 600 or 640")
        let check = try Run(["check-config", "--auth-secret-file", file.path])
        #expect(check.ending == .exit(EX_CONFIG) && check.errors == run.errors)
        let token = try Run(["token", "--secret-file", file.path, "--session", Self.id])
        #expect(token.ending == .exit(EX_CONFIG) && token.output == [])
    }

    @Test func whatIsNotThereIsNamed() throws {
        let run = try Run(["--no-tui", "--auth-secret-file", "/nowhere/secret"])
        #expect(run.ending == .exit(EX_NOINPUT))
        #expect(
            run.errors == [
                "quic-relay: --auth-secret-file: open /nowhere/secret: No such file or directory"
            ])
        let folder = try Run(["--no-tui", "--auth-secret-file", "/tmp"])
        #expect(folder.ending == .exit(EX_CONFIG))
    }

    @Test func aTokenSaysUntilWhenItIsGood() throws {
        let file = try secretFile("\(Self.first)\n")
        for (arguments, seconds) in [
            ([], 3_600), (["--ttl", "90s"], 90), (["--ttl", "2d"], 172_800),
        ]
            as [([String], Int)]
        {
            let before = time(nil)
            let token = try token(file, arguments)
            let match = try #require(token.wholeMatch(of: #/exp=(\d+);mac=([0-9a-f]{64})/#))
            let expiry = try #require(Int(match.1))
            #expect((before + seconds...time(nil) + seconds).contains(expiry))
        }
        for (option, value, words) in [
            ("--ttl", "0s", "must be a number and s, m, h or d"), ("--ttl", "1", "must be"),
            ("--ttl", "3651d", "must be"), ("--ttl", "-1h", "must be"), ("--ttl", "+1h", "must be"),
            ("--session", "none", "must be a UUID"),
        ] {
            let base = ["token", "--secret-file", file.path]
            let session = option == "--session" ? [] : ["--session", Self.id]
            let run = try Run(base + session + ["\(option)=\(value)"])
            #expect(run.ending == .exit(EX_USAGE) && run.errors.count == 1, "\(value)")
            #expect(run.errors.first?.contains(words) == true, "\(run.errors)")
        }
    }
}
