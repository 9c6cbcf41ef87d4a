/// What the relay answers to a line of version 2.
///
///     "CHL:" 32 hexadecimal digits "\n"       37 bytes: repeat the line with this cookie
///     "ACK;addr=" ip ":" port "\n"            at most 57: you are bound, and this is your address
///     "ERR:" reason "\n"                      at most 13: only after a valid cookie
///
/// Each is shorter than what it answers: a challenge than the 63 bytes of the shortest line, the
/// others than the 103 of the shortest one with a cookie. To a version 1 registration there is one
/// answer only, `Registration.acknowledgement`, and a `BYE` gets that, too.
public enum ControlReply: Equatable, Sendable {
    /// The address is to prove that it receives.
    case challenge(Cookie)
    /// The peer is bound to this address.
    case acknowledged(TransportAddress)
    /// The address has proved that it receives, and yet is not bound.
    case refused(RegistrationRefusal)

    /// The bytes to send.
    var bytes: ReplyBytes {
        var text = ReplyBytes()
        switch self {
        case .challenge(let cookie):
            text.append("CHL:")
            text.append(hexadecimal: cookie.high, digits: 16)
            text.append(hexadecimal: cookie.low, digits: 16)
        case .acknowledged(let address):
            text.append("ACK;addr=")
            text.append(address)
        case .refused(let refusal):
            text.append("ERR:")
            text.append(refusal.name)
        }
        text.append("\n")
        return text
    }
}

/// Why a peer that has proved its address was not bound.
public enum RegistrationRefusal: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// Both places are taken by peers that are demonstrably alive.
    case full
    /// The relay takes registrations with a valid token only, and this is none.
    case auth
    /// The relay or the source has as many sessions as it may, or registers too often.
    case limit
    /// An operator evicted the session.
    case evicted
    /// The relay takes no new sessions.
    case draining

    /// The word that stands in the answer.
    public var name: String {
        switch self {
        case .full: "full"
        case .auth: "auth"
        case .limit: "limit"
        case .evicted: "evicted"
        case .draining: "draining"
        }
    }
}

/// A short datagram of our own that is put together without allocating memory.
struct ReplyBytes {
    private(set) var count = 0
    /// Room for the longest that there is: `ACK;addr=[`, an IPv6 address of 39 characters,
    /// `]:65535` and a line feed are 57 bytes.
    private var bytes = InlineArray<64, UInt8>(repeating: 0)

    /// What stands there so far.
    var span: Span<UInt8> {
        @_lifetime(borrow self) borrowing get { bytes.span.extracting(0..<count) }
    }

    /// The same, for those who keep it.
    var array: [UInt8] { (0..<count).map { bytes[$0] } }

    private mutating func append(_ byte: UInt8) {
        bytes[count] = byte
        count += 1
    }

    /// Appends the lowest `octets` of a number in network order.
    mutating func append(network number: UInt64, octets: Int) {
        for octet in (0..<octets).reversed() {
            append(UInt8(truncatingIfNeeded: number >> UInt64(8 * octet)))
        }
    }

    /// Appends an ASCII text; one of up to 15 bytes is not allocated.
    mutating func append(_ text: String) {
        for byte in text.utf8 { append(byte) }
    }

    /// Appends the last `digits` of a number in lower case, with leading zeros.
    mutating func append(hexadecimal number: UInt64, digits: Int) {
        for place in (0..<digits).reversed() {
            let digit = UInt8(truncatingIfNeeded: number >> UInt64(4 * place)) & 0xf
            append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
    }

    /// Appends a number without leading zeros.
    mutating func append(decimal number: UInt64) {
        var unit: UInt64 = 1
        while number / unit >= 10 { unit *= 10 }
        while unit > 0 {
            append(UInt8(ascii: "0") + UInt8(number / unit % 10))
            unit /= 10
        }
    }

    /// Appends `192.0.2.1:4433` or `[2001:db8::1]:4433` (RFC 5952). A zone is left out: it is a
    /// number of this machine's own.
    mutating func append(_ address: TransportAddress) {
        if address.ip.isV4 {
            for octet in (0..<4).reversed() {
                append(decimal: UInt64(address.ip.v4 >> UInt32(8 * octet) & 0xff))
                if octet > 0 { append(".") }
            }
        } else {
            append("[")
            appendGroups(of: address.ip)
            append("]")
        }
        append(":")
        append(decimal: UInt64(address.port))
    }

    private mutating func appendGroups(of ip: IPAddress) {
        let zeros = ip.longestZeroRun ?? 8..<8
        var index = 0
        while index < 8 {
            if index == zeros.lowerBound {
                append("::")
                index = zeros.upperBound
                continue
            }
            if index > 0 && index != zeros.upperBound { append(":") }
            let group = UInt64(ip.group(index))
            var digits = 1
            while group >> UInt64(4 * digits) != 0 { digits += 1 }
            append(hexadecimal: group, digits: digits)
            index += 1
        }
    }
}
