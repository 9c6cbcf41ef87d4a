/// What a peer says to its relay, ready to be sent.
///
///     REG:<session>\n                                                      version 1
///     REG:<session>;peer=<16 hex>[;cookie=<32 hex>][;exp=<s>;mac=<64 hex>]\n        version 2
///     BYE:<session>;peer=<16 hex>;cookie=<32 hex>\n
///
/// The longest is the second one with all: 41 + 22 + 40 + 25 + 69 = 197 bytes.
struct PeerLines {
    private let session: SessionID
    private let peerKey: PeerKey
    /// What the relay last gave out for the present socket.
    private(set) var cookie: Cookie?
    /// What lets the peer in where that is needed.
    private(set) var token: RegistrationToken?

    /// The registration that every relay knows.
    let plain: [UInt8]
    /// The registration with the peer's key and all that there is to show.
    private(set) var keyed: [UInt8] = []

    init(_ configuration: AgentConfiguration) {
        session = configuration.session
        peerKey = configuration.peerKey
        token = configuration.token
        plain = Array("REG:\(session)\n".utf8)
        write()
    }

    /// Takes the relay's cookie, or none for a new socket, which an old one is no proof for.
    mutating func take(_ cookie: Cookie?) {
        self.cookie = cookie
        write()
    }

    /// Takes another token.
    mutating func take(_ token: RegistrationToken) {
        self.token = token
        write()
    }

    /// Asks for a fresh cookie, and for nothing else: a relay keeps nothing of it.
    var inquiry: [UInt8] { Array("REG:\(identity)\n".utf8) }

    /// Ends the session, if there is the proof that it takes.
    var farewell: [UInt8]? {
        cookie.map { Array("BYE:\(identity);cookie=\($0.text)\n".utf8) }
    }

    private var identity: String { "\(session);peer=\(hexadecimal(peerKey.rawValue, digits: 16))" }

    private mutating func write() {
        var text = "REG:\(identity)"
        if let cookie { text += ";cookie=\(cookie.text)" }
        if let token { text += ";\(token.text)" }
        keyed = Array("\(text)\n".utf8)
    }
}

extension Cookie {
    /// Its 32 digits.
    fileprivate var text: String { hexadecimal(high, digits: 16) + hexadecimal(low, digits: 16) }
}

extension RegistrationToken {
    /// Reads the text form, `exp=<unix seconds>;mac=<64 hexadecimal digits>`; nothing if it is not
    /// exactly that.
    public init?(_ text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].starts(with: "exp=".utf8),
            parts[1].starts(with: "mac=".utf8)
        else { return nil }
        let (digits, code) = (Array(parts[0].dropFirst(4)), Array(parts[1].dropFirst(4)))
        guard let expiry = UInt64(decimal: digits.span), let mac = TokenMAC(code.span) else {
            return nil
        }
        self.init(expiresAtUnixSeconds: expiry, mac: mac)
    }

    /// Its attributes as they stand in a registration, which is the text form.
    public var text: String {
        let words = [mac.words.0, mac.words.1, mac.words.2, mac.words.3]
        let digits = words.map { hexadecimal($0, digits: 16) }.joined()
        return "exp=\(expiresAtUnixSeconds);mac=\(digits)"
    }
}
