public import RelayCore

/// Where an agent's token comes from: given once, or a file that may hold another one by now.
public struct TokenSource {
    /// What there is to say of the token when a relay refuses it.
    enum State {
        case missing
        case expired
        case given
    }

    /// The token to register with, if there is one.
    public private(set) var token: RegistrationToken?
    private let path: String?

    /// A token that was given, or none.
    public init(_ token: RegistrationToken?) {
        self.token = token
        path = nil
    }

    /// A file whose first line is the token. `token` is nothing if it is none.
    public init(path: String) throws(SystemError) {
        self.path = path
        token = try SecretFile.word(path: path).flatMap { RegistrationToken($0) }
    }

    var state: State {
        guard let token else { return .missing }
        let seconds = MonotonicClock.unixMilliseconds() / 1_000
        return token.expiresAtUnixSeconds < UInt64(max(0, seconds)) ? .expired : .given
    }

    /// The token that the file holds now, if it is another one than before.
    mutating func renewed() -> RegistrationToken? {
        guard let path else { return nil }
        let found: RegistrationToken?
        do {
            found = try SecretFile.word(path: path).flatMap { RegistrationToken($0) }
        } catch {
            // Somebody is about to put another one in its place, or never will.
            return nil
        }
        guard let found, found != token else { return nil }
        token = found
        return found
    }
}
