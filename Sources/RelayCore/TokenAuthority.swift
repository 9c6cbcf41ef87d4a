/// Decides who may register with a relay that takes registrations with a token only.
///
/// A token is a code over the session's id and the time until which it is good, made with a secret
/// that the relay shares with whoever hands tokens out. There may be several secrets, so that one
/// can take another's place while tokens of both are about.
public struct TokenAuthority: Sendable {
    /// A secret's bytes.
    public typealias Secret = [UInt8]
    /// What the wall clock shows at a moment, in seconds since 1970 began.
    public typealias WallClock = @Sendable (Instant) -> UInt64

    private let secrets: [Secret]
    private let unixSeconds: WallClock

    /// Takes tokens that were made with any of these secrets.
    public init(secrets: [Secret], unixSeconds: @escaping WallClock) {
        self.secrets = secrets
        self.unixSeconds = unixSeconds
    }

    /// How many secrets there are.
    public var secretCount: Int { secrets.count }

    /// Makes a token with the first secret, of which there must be one.
    public func token(for session: SessionID, expiresAtUnixSeconds: UInt64) -> RegistrationToken {
        let message = TokenAuthority.message(
            for: session, expiresAtUnixSeconds: expiresAtUnixSeconds)
        return RegistrationToken(
            expiresAtUnixSeconds: expiresAtUnixSeconds,
            mac: HMACSHA256.code(for: message, key: secrets[0]))
    }

    /// What a token's code is made over: a name, so that it is no code of anything else, the
    /// session's id in lower case, and the time in decimal.
    static func message(for session: SessionID, expiresAtUnixSeconds: UInt64) -> [UInt8] {
        Array("quic-relay v2|\(session)|\(expiresAtUnixSeconds)".utf8)
    }

    /// Whether a token is good for a session now. The time that it takes does not tell how much of
    /// it is right, nor which secret it was made with.
    func allows(_ token: RegistrationToken?, for session: SessionID, at now: Instant) -> Bool {
        guard let token, token.expiresAtUnixSeconds > unixSeconds(now) else { return false }
        let message = TokenAuthority.message(
            for: session, expiresAtUnixSeconds: token.expiresAtUnixSeconds)
        var isGood = false
        for secret in secrets {
            let isMadeWithIt = HMACSHA256.code(for: message, key: secret) == token.mac
            isGood = isGood || isMadeWithIt
        }
        return isGood
    }
}

extension TokenAuthority: Equatable {
    /// Whether two take the same tokens.
    public static func == (left: TokenAuthority, right: TokenAuthority) -> Bool {
        left.secrets == right.secrets
    }
}
