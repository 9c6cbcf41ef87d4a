/// Which version of registration a relay is spoken to in, and whom an answer is for.
///
/// There are three kinds of relays: those that know peers' keys; those before them that forward a
/// registration with a key like any datagram; and older ones that take the whole line for a session
/// id and acknowledge it, which binds the address to a session of nobody. So a relay that is not
/// known gets the plain line first and the one with the key behind it. It costs an old relay's peer
/// no time: the plain line serves. When the other one is acknowledged as if it were plain, it has
/// displaced that, and the plain line is sent again.
///
/// A peer that has a token waits with the plain line until others were not answered: a relay that
/// asks for tokens refuses it, and tells its operator.
struct Negotiation: BitwiseCopyable {
    /// What a relay was found to speak.
    enum Version: UInt8, BitwiseCopyable {
        case unknown
        case plain
        case keyed
    }

    /// What an answer means for the registration.
    enum Meaning: Equatable {
        /// It answers nothing that was said: it is the partner's.
        case foreign
        /// It has been heard before, or says nothing new.
        case nothing
        /// The peer is bound.
        case bound
        /// The peer should register again, now.
        case again
        case refused(RegistrationRefusal)
    }

    /// So many lines with the key are sent to a relay that acknowledges plain ones; the loss of all
    /// or of their answers is unlikely.
    static let greetingLimit = 3
    /// So many fresh cookies in a row are used at once. A relay that accepts none of its own is
    /// asked again as one that is silent.
    static let challengeLimit = 3
    /// A peer with a token sends the plain line after so many others, which is 0.75 s.
    static let patientAttempts = 2

    /// What the relay speaks.
    private(set) var version: Version
    /// Whether a plain line was acknowledged since the socket was opened.
    private var isPlainKnown = false
    /// Lines that may still be answered.
    private var plainOutstanding = 0
    private var keyedOutstanding = 0
    /// Whether one of them had a cookie.
    private var isCookieShown = false
    private var attempts = 0
    private var greetings = 0
    private var challenges = 0

    /// Begins with what is known of the relay, on a new socket.
    init(_ version: Version) {
        self.version = version
    }

    /// Whether an answer may still come.
    var isAnswerable: Bool { plainOutstanding + keyedOutstanding > 0 }

    /// Whether the relay should be sent the line with the key although it acknowledged a plain one.
    var wantsGreeting: Bool {
        version == .unknown && isPlainKnown && greetings < Negotiation.greetingLimit
    }

    /// Whether the relay knows the peer by its key.
    private(set) var isBoundByKey = false

    /// Forgets what was said so long ago that it will not be answered any more.
    mutating func forgetOutstanding() {
        plainOutstanding = 0
        keyedOutstanding = 0
        isCookieShown = false
    }

    /// Which lines are to be sent now, and notes that they are.
    mutating func nextLines(hasToken: Bool, hasCookie: Bool) -> (plain: Bool, keyed: Bool) {
        if version == .unknown, isPlainKnown, !wantsGreeting { version = .plain }
        let isPlain =
            version == .plain
            || (version == .unknown && !isPlainKnown
                && (!hasToken || attempts >= Negotiation.patientAttempts))
        let isKeyed = version != .plain
        attempts += 1
        if isPlain { plainOutstanding += 1 }
        if isKeyed {
            keyedOutstanding += 1
            greetings += 1
            isCookieShown = isCookieShown || hasCookie
        }
        return (isPlain, isKeyed)
    }

    /// Takes an answer.
    mutating func take(_ answer: RelayAnswer) -> Meaning {
        switch answer {
        case .acknowledged: return acknowledged()
        case .challenge:
            guard keyedOutstanding > 0 else { return .foreign }
            keyedOutstanding -= 1
            version = .keyed
            challenges += 1
            return challenges <= Negotiation.challengeLimit ? .again : .nothing
        case .bound:
            guard keyedOutstanding > 0 else { return .foreign }
            keyedOutstanding -= 1
            version = .keyed
            challenges = 0
            isBoundByKey = true
            return .bound
        case .refused(let reason):
            guard keyedOutstanding > 0, isCookieShown else { return .foreign }
            keyedOutstanding -= 1
            version = .keyed
            challenges = 0
            isBoundByKey = false
            return .refused(reason)
        }
    }

    private mutating func acknowledged() -> Meaning {
        if plainOutstanding > 0 {
            plainOutstanding -= 1
            // A relay that knows the key is registered with when it says so.
            if version == .keyed { return .nothing }
            isPlainKnown = true
            return .bound
        }
        // A relay that knows keys never answers so. What follows may still show that it is one.
        guard keyedOutstanding > 0, version != .keyed else { return .foreign }
        if version == .unknown {
            version = .plain
            return .again
        }
        keyedOutstanding -= 1
        return .nothing
    }
}
