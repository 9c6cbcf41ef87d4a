/// A datagram that is meant for the relay itself, by the whole grammar of its line.
///
///     version 1   "REG:" session-id [ "\n" | "\r\n" ]
///     version 2   ( "REG:" | "BYE:" ) session-id 1*( ";" name "=" value ) "\n"
///
/// What is neither is payload, whatever it begins with. What has only the *shape* of a version 2
/// line, which no payload has by chance, is malformed: nobody is served by its being carried.
///
///     0      4                                    40 41                            ≤ 511
///     +------+------------------------------------+---+-----------------------------+----+
///     | verb | session id, canonical UUID         | ; | printable ASCII, or nothing | \n |
///     +------+------------------------------------+---+-----------------------------+----+
public enum ControlLine: Equatable, Sendable {
    /// A version 1 registration.
    case registration(Registration)
    /// A version 2 line.
    case keyed(KeyedLine)
    /// It has the shape of a version 2 line, and its attributes are not as they must be.
    case malformed

    /// The lengths that a control line can have, in bytes.
    static let lengths = Registration.lengths.lowerBound...512

    /// Reads a datagram; nothing if it is payload.
    public init?(_ datagram: Span<UInt8>) {
        if let registration = Registration(datagram) {
            self = .registration(registration)
            return
        }
        guard ControlLine.isPossible(length: datagram.count, firstByte: datagram.first),
            let verb = KeyedLine.Verb(datagram),
            let session = SessionID(text: datagram, at: ControlLine.sessionOffset),
            ControlLine.hasShape(datagram)
        else { return nil }
        if let line = KeyedLine(verb, session, attributesOf: datagram) {
            self = .keyed(line)
        } else {
            self = .malformed
        }
    }

    /// Whether a datagram of this length and first byte can be a control line at all.
    @inline(__always)
    static func isPossible(length: Int, firstByte: UInt8?) -> Bool {
        lengths.contains(length)
            && (firstByte == UInt8(ascii: "R") || firstByte == UInt8(ascii: "B"))
    }

    private static let sessionOffset = 4
    /// Where the first attribute's semicolon stands.
    fileprivate static let attributesOffset = sessionOffset + SessionID.textLength

    /// Whether what follows the session id has the shape of attributes.
    private static func hasShape(_ datagram: Span<UInt8>) -> Bool {
        let end = datagram.count - 1
        guard attributesOffset < end, datagram[attributesOffset] == UInt8(ascii: ";"),
            datagram[end] == UInt8(ascii: "\n")
        else { return false }
        for index in attributesOffset..<end
        where !(UInt8(ascii: " ")...UInt8(ascii: "~")).contains(datagram[index]) {
            return false
        }
        return true
    }
}

/// A line of version 2 of the registration: the sender has a key of its own beside the session id.
public struct KeyedLine: Equatable, Sendable {
    /// What the sender wants.
    public enum Verb: Equatable, Sendable {
        /// `REG`: to be bound, or to stay so.
        case register
        /// `BYE`: to end the session.
        case leave
    }

    /// What the sender wants.
    public let verb: Verb
    /// The session that it is about.
    public let session: SessionID
    /// Which peer of the session it is.
    public let peer: PeerKey
    /// What proves that the sender receives at its address; a `BYE` has one.
    public let cookie: Cookie?
    /// What proves that the sender may use the relay, where that takes a proof.
    public let token: RegistrationToken?
}

extension KeyedLine.Verb {
    /// The verb that a datagram of at least four bytes begins with, if it is one.
    fileprivate init?(_ datagram: Span<UInt8>) {
        if datagram.begins(with: "REG:") {
            self = .register
        } else if datagram.begins(with: "BYE:") {
            self = .leave
        } else {
            return nil
        }
    }
}

extension KeyedLine {
    /// Reads the attributes of a datagram that has the shape of a version 2 line. Each known one
    /// stands at most once, in any order; others are ignored.
    fileprivate init?(_ verb: Verb, _ session: SessionID, attributesOf datagram: Span<UInt8>) {
        var attributes = Attributes()
        let end = datagram.count - 1
        var start = ControlLine.attributesOffset
        while start < end {
            var next = start + 1
            while next < end, datagram[next] != UInt8(ascii: ";") { next += 1 }
            guard attributes.take(datagram.extracting(start + 1..<next)) else { return nil }
            start = next
        }
        guard let peer = attributes.peer, verb == .register || attributes.cookie != nil
        else { return nil }
        self.verb = verb
        self.session = session
        self.peer = peer
        cookie = attributes.cookie
        switch (attributes.expiry, attributes.mac) {
        case (nil, nil): token = nil
        case (let expiry?, let mac?):
            token = RegistrationToken(expiresAtUnixSeconds: expiry, mac: mac)
        default: return nil
        }
    }

    /// The known attributes that were read so far.
    private struct Attributes {
        var peer: PeerKey?
        var cookie: Cookie?
        var expiry: UInt64?
        var mac: TokenMAC?

        /// Takes what stands between two semicolons; says no if that is not an attribute, or a
        /// known one that is there already or has no such value.
        mutating func take(_ attribute: Span<UInt8>) -> Bool {
            var nameLength = 0
            while nameLength < attribute.count, attribute[nameLength] != UInt8(ascii: "=") {
                nameLength += 1
            }
            guard nameLength > 0, nameLength < attribute.count else { return false }
            let value = attribute.extracting(nameLength + 1..<attribute.count)
            if attribute.begins(with: "peer=") {
                return Attributes.set(&peer, PeerKey(value))
            }
            if attribute.begins(with: "cookie=") {
                return Attributes.set(&cookie, Cookie(value))
            }
            if attribute.begins(with: "exp=") {
                return Attributes.set(&expiry, UInt64(decimal: value))
            }
            if attribute.begins(with: "mac=") {
                return Attributes.set(&mac, TokenMAC(value))
            }
            return true
        }

        private static func set<Value>(_ place: inout Value?, _ value: Value?) -> Bool {
            guard place == nil, let value else { return false }
            place = value
            return true
        }
    }
}

// MARK: - Values

/// The random number by which a peer of version 2 is told from others that know the session id.
public struct PeerKey: Hashable, BitwiseCopyable, Sendable {
    /// The 64 bits; never 0.
    public let rawValue: UInt64

    /// The key with these bits; nothing for 0, which stands for no key.
    public init?(rawValue: UInt64) {
        guard rawValue != 0 else { return nil }
        self.rawValue = rawValue
    }

    /// Reads 16 hexadecimal digits in any case.
    init?(_ text: Span<UInt8>) {
        guard text.count == 16, let bits = UInt64(hexadecimal: text) else { return nil }
        self.init(rawValue: bits)
    }
}

/// What the relay sends to an address to see whether it comes back from there.
public struct Cookie: Hashable, BitwiseCopyable, Sendable {
    /// The first eight octets, most significant first.
    public let high: UInt64
    /// The last eight octets, most significant first.
    public let low: UInt64

    /// Creates a cookie from its two halves.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Reads 32 hexadecimal digits in any case.
    init?(_ text: Span<UInt8>) {
        guard text.count == 32, let high = UInt64(hexadecimal: text.extracting(0..<16)),
            let low = UInt64(hexadecimal: text.extracting(16..<32))
        else { return nil }
        self.init(high: high, low: low)
    }
}

/// Leave to register for a session until some time.
public struct RegistrationToken: Equatable, BitwiseCopyable, Sendable {
    /// When it expires, in seconds since 1970 began (POSIX time).
    public let expiresAtUnixSeconds: UInt64
    /// The proof that whoever shares a secret with the relay made it.
    public let mac: TokenMAC

    /// Puts a token together.
    public init(expiresAtUnixSeconds: UInt64, mac: TokenMAC) {
        self.expiresAtUnixSeconds = expiresAtUnixSeconds
        self.mac = mac
    }
}

/// A message authentication code of 256 bits: four parts of eight octets, most significant first.
public struct TokenMAC: BitwiseCopyable, Sendable {
    /// The four parts.
    public let words: (UInt64, UInt64, UInt64, UInt64)

    /// Creates a code from its four parts of eight octets.
    public init(_ words: (UInt64, UInt64, UInt64, UInt64)) {
        self.words = words
    }

    /// Reads 64 hexadecimal digits in any case.
    init?(_ text: Span<UInt8>) {
        guard text.count == 64, let first = UInt64(hexadecimal: text.extracting(0..<16)),
            let second = UInt64(hexadecimal: text.extracting(16..<32)),
            let third = UInt64(hexadecimal: text.extracting(32..<48)),
            let fourth = UInt64(hexadecimal: text.extracting(48..<64))
        else { return nil }
        self.init((first, second, third, fourth))
    }
}

extension TokenMAC: Equatable {
    /// Compares in a time that does not tell where the codes differ, so that nobody can find one
    /// out piece by piece.
    public static func == (left: TokenMAC, right: TokenMAC) -> Bool {
        let difference =
            (left.words.0 ^ right.words.0) | (left.words.1 ^ right.words.1)
            | (left.words.2 ^ right.words.2) | (left.words.3 ^ right.words.3)
        return difference == 0
    }
}

// MARK: - Text

extension Span where Element == UInt8 {
    /// Whether the bytes begin with those of a text. One of up to 15 bytes is not allocated.
    @inline(__always)
    func begins(with text: String) -> Bool {
        guard count >= text.utf8.count else { return false }
        var index = 0
        for byte in text.utf8 {
            guard self[index] == byte else { return false }
            index += 1
        }
        return true
    }
}

extension UInt64 {
    /// Reads 1 to 16 hexadecimal digits in any case, and nothing else.
    init?(hexadecimal text: Span<UInt8>) {
        guard (1...16).contains(text.count) else { return nil }
        var number: UInt64 = 0
        for index in text.indices {
            guard let digit = hexadecimalValue(of: text[index]) else { return nil }
            number = number << 4 | digit
        }
        self = number
    }

    /// Reads decimal digits of a number that fits, and nothing else.
    init?(decimal text: Span<UInt8>) {
        guard !text.isEmpty else { return nil }
        var number: UInt64 = 0
        for index in text.indices {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            let (tens, overflowsTens) = number.multipliedReportingOverflow(by: 10)
            let (sum, overflows) = tens.addingReportingOverflow(UInt64(digit))
            guard !overflowsTens, !overflows else { return nil }
            number = sum
        }
        self = number
    }
}
