/// The secrets with which the relay makes cookies and knows them again without keeping any.
///
/// A cookie is a code over the address that it is sent to: whoever sends it back from there has
/// received it there. Each secret makes cookies for two minutes and is known for two more, so that
/// a cookie is good for two to four minutes, at one address, whatever session it is shown for.
struct CookieSecrets: BitwiseCopyable, Sendable {
    /// How long cookies are made with one secret.
    static let periodNanoseconds = 120 * Nanoseconds.perSecond

    private(set) var current: SipHash.Key
    private(set) var former: SipHash.Key
    /// Since when the current one makes cookies.
    private(set) var rotatedAt: Instant

    /// Begins with a secret that nobody can predict.
    init(_ first: SipHash.Key, at now: Instant) {
        current = first
        former = first
        rotatedAt = now
    }

    /// When another secret is to take the place of the current one.
    var dueAt: Instant { rotatedAt.advanced(byNanoseconds: CookieSecrets.periodNanoseconds) }

    /// Makes cookies with a new secret from now on. The one before is known for a period more, if
    /// it is not older than it should be by then.
    mutating func rotate(to next: SipHash.Key, at now: Instant) {
        let age = now.nanoseconds(since: rotatedAt)
        former = age < 2 * CookieSecrets.periodNanoseconds ? current : next
        current = next
        rotatedAt = now
    }

    /// The cookie for an address.
    func cookie(for address: TransportAddress) -> Cookie {
        CookieSecrets.cookie(for: address, current)
    }

    /// Whether a cookie is one that was sent to this address lately. The time that it takes does
    /// not tell how much of it is right.
    func know(_ cookie: Cookie, from address: TransportAddress) -> Bool {
        let isCurrent = cookie.difference(from: CookieSecrets.cookie(for: address, current)) == 0
        let isFormer = cookie.difference(from: CookieSecrets.cookie(for: address, former)) == 0
        return isCurrent || isFormer
    }

    private static func cookie(
        for address: TransportAddress, _ secret: SipHash.Key
    ) -> Cookie {
        var hash = SipHash(key: secret)
        hash.append(address.ip.high)
        hash.append(address.ip.low)
        hash.append(UInt64(address.scope) << 16 | UInt64(address.port))
        let code = hash.finish()
        return Cookie(high: code.0, low: code.1)
    }
}

extension CookieSecrets {
    /// What `write` takes, in bytes.
    static let byteCount = 40

    func write(to writer: inout CheckpointWriter) {
        for key in [current, former] {
            writer.write(key.low)
            writer.write(key.high)
        }
        writer.write(rotatedAt)
    }

    init(from reader: inout CheckpointReader) {
        current = SipHash.Key(low: reader.read(), high: reader.read())
        former = SipHash.Key(low: reader.read(), high: reader.read())
        rotatedAt = reader.readInstant()
    }
}

extension Cookie {
    fileprivate func difference(from other: Cookie) -> UInt64 {
        (high ^ other.high) | (low ^ other.low)
    }
}
