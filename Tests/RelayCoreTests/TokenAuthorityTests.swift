import Testing

@testable import RelayCore

@Suite struct TokenAuthorityTests {
    private let id = session(1)
    private let a = host(1)
    private let b = host(2)
    private let away = host(3)

    private static func authority(_ secrets: [[UInt8]]) -> TokenAuthority {
        TokenAuthority(secrets: secrets, unixSeconds: { $0.nanoseconds / 1_000_000_000 })
    }

    private func token(
        _ id: SessionID, secret: [UInt8], expiry: UInt64 = 2_000
    ) -> String {
        let token = Self.authority([secret]).token(for: id, expiresAtUnixSeconds: expiry)
        let words = token.mac.words
        let digits = [words.0, words.1, words.2, words.3].map { word in
            let text = String(word, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }
        return ";exp=\(expiry);mac=\(digits.joined())"
    }

    /// The clock of test relays begins at 1,000 s, here on the wall, too.
    private func relay(secrets: [[UInt8]] = [[1], [2]]) throws -> TestRelay {
        var configuration = try RelayConfiguration(sessionLimit: 64)
        configuration.authority = Self.authority(secrets)
        return TestRelay(configuration)
    }

    @Test func theMessageNamesWhatItIsFor() {
        let upper = SessionID("0189AB4F-CDEF-7A12-B3C4-D5E6F7A8B9C0")
        let message = upper.map { TokenAuthority.message(for: $0, expiresAtUnixSeconds: 1_795) }
        let text = message.map { String(decoding: $0, as: UTF8.self) }
        #expect(text == "quic-relay v2|0189ab4f-cdef-7a12-b3c4-d5e6f7a8b9c0|1795")
    }

    @Test(arguments: [[1], [2]] as [[UInt8]])
    func aTokenOfAnySecretIsGood(secret: [UInt8]) throws {
        var relay = try relay()
        let answer = relay.register(id, key: 1, from: a, token: token(id, secret: secret))
        #expect(answer == "ACK;addr=\(a)\n")
    }

    @Test func otherTokensAreRefusedWithAReason() throws {
        var relay = try relay()
        let good = token(id, secret: [1])
        for bad in [
            "", token(id, secret: [3]), token(session(2), secret: [1]),
            token(id, secret: [1], expiry: 1_000), String(good.dropLast(1)) + "g",
            good.replacing("exp=2000", with: "exp=2001"),
        ] {
            let answer = relay.register(id, key: 1, from: a, token: bad)
            #expect(answer == "ERR:auth\n" || bad.hasSuffix("g") && answer == nil, "\(bad)")
        }
        #expect(relay.count(.waiting) == 0)
        #expect(relay.engine.counters.replies[.auth] == 5 && relay.drops(.malformed) == 1)
    }

    @Test func versionOneIsRefusedInSilence() throws {
        var relay = try relay()
        #expect(relay.register(id, from: a).isEmpty)
        #expect(relay.drops(.unauthorized) == 1)
        #expect(relay.events() == [.registrationRefused(id, from: a, .unauthorized)])
    }

    @Test func aTokenIsNotAskedForBeforeTheCookie() throws {
        var relay = try relay()
        let answer = relay.answer(to: keyedLine(id, key: 1), from: a)
        #expect(answer?.hasPrefix("CHL:") == true)
        #expect(relay.engine.counters.replies[.auth] == 0)
    }

    @Test func aPeerThatCameWithATokenStaysWithout() throws {
        var relay = try relay()
        relay.register(id, key: 1, from: a, token: token(id, secret: [1], expiry: 1_010))
        relay.register(id, key: 2, from: b, token: token(id, secret: [1], expiry: 1_010))
        relay.wait(seconds: 20)
        #expect(relay.register(id, key: 1, from: a) == "ACK;addr=\(a)\n")
        #expect(relay.register(id, key: 1, from: away) == "ACK;addr=\(away)\n")
        // Another key is another peer, even at an address that is known.
        #expect(relay.register(id, key: 3, from: away) == "ERR:auth\n")
    }

    @Test func tokensThatAreNoneCountForTheRateOfTheirSource() throws {
        var configuration = try RelayConfiguration(
            sessionLimit: 64, registrationRatePerSource: 1)
        configuration.authority = Self.authority([[1]])
        var relay = TestRelay(configuration)
        var answers: [String?] = []
        for _ in 0..<6 { answers.append(relay.register(id, key: 1, from: a)) }
        #expect(
            answers.compactMap { $0 } == Array(repeating: "ERR:auth\n", count: 4)
                + Array(repeating: "ERR:limit\n", count: 2))
    }

    @Test func secretsChangeWhileItRuns() throws {
        var relay = try relay(secrets: [[1]])
        var configuration = relay.engine.configuration
        configuration.authority = Self.authority([[2], [1]])
        #expect(configuration != relay.engine.configuration)
        relay.apply(.reconfigure(configuration))
        for (key, secret) in [(1, [1]), (2, [2])] as [(UInt64, [UInt8])] {
            let answer = relay.register(
                id, key: key, from: host(Int(key)), token: token(id, secret: secret))
            #expect(answer?.hasPrefix("ACK;addr=") == true)
        }
        configuration.authority = Self.authority([[2]])
        relay.apply(.reconfigure(configuration))
        let late = relay.register(session(2), key: 1, from: away, token: token(id, secret: [1]))
        #expect(late == "ERR:auth\n")
    }
}
