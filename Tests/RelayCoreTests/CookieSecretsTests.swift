import TestSupport
import Testing

@testable import RelayCore

@Suite struct CookieSecretsTests {
    private let start = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
    private let address = TransportAddress(ip: IPAddress(v4: 0x2d00_0001), port: 5_000)

    private func key(_ number: UInt64) -> SipHash.Key { SipHash.Key(low: number, high: 7) }

    private func after(_ seconds: UInt64) -> Instant {
        start.advanced(byNanoseconds: seconds * Nanoseconds.perSecond)
    }

    @Test func aCookieIsKnownFromItsAddressOnly() {
        let secrets = CookieSecrets(key(1), at: start)
        let cookie = secrets.cookie(for: address)
        #expect(secrets.know(cookie, from: address))
        var others = [address, address, address, address]
        others[0].port = 5_001
        others[1].ip.low += 1
        others[2].ip.high = 1
        others[3].scope = 1
        for other in others {
            #expect(!secrets.know(cookie, from: other), "\(other)")
            #expect(secrets.cookie(for: other) != cookie)
        }
    }

    @Test func noOtherBitsAreACookie() {
        let secrets = CookieSecrets(key(1), at: start)
        let cookie = secrets.cookie(for: address)
        for bit in 0..<64 {
            let flip = UInt64(1) << UInt64(bit)
            #expect(!secrets.know(Cookie(high: cookie.high ^ flip, low: cookie.low), from: address))
            #expect(!secrets.know(Cookie(high: cookie.high, low: cookie.low ^ flip), from: address))
        }
    }

    @Test func aCookieOutlivesOneSecretAndNotTwo() {
        var secrets = CookieSecrets(key(1), at: start)
        let cookie = secrets.cookie(for: address)
        #expect(secrets.dueAt == after(120))
        secrets.rotate(to: key(2), at: after(120))
        #expect(secrets.know(cookie, from: address))
        #expect(secrets.cookie(for: address) != cookie)
        secrets.rotate(to: key(3), at: after(240))
        #expect(!secrets.know(cookie, from: address))
    }

    @Test func aSecretThatIsTooOldIsNotKept() {
        var secrets = CookieSecrets(key(1), at: start)
        let cookie = secrets.cookie(for: address)
        secrets.rotate(to: key(2), at: after(240))
        #expect(!secrets.know(cookie, from: address))
    }

    @Test(arguments: [1, 2] as [UInt64])
    func cookiesOfOtherSecretsAreNotKnown(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<1_000 {
            let (one, two) = (key(random.next()), key(random.next()))
            let cookie = CookieSecrets(one, at: start).cookie(for: address)
            let isKnown = CookieSecrets(two, at: start).know(cookie, from: address)
            #expect(!isKnown, "seed \(seed)")
        }
    }
}
