/// What a relay says to a peer itself, as the peer reads it: by its whole grammar, since everything
/// else is a datagram of the partner. It is `Registration.acknowledgement` or a `ControlReply`.
enum RelayAnswer: Equatable {
    case acknowledged
    case challenge(Cookie)
    case bound(TransportAddress)
    case refused(RegistrationRefusal)

    /// The shortest one and the longest: `ACK;addr=[`, 39 characters, `]:65535\n`.
    static let lengths = 4...57

    /// Reads a datagram that is exactly an answer; nothing else is one.
    init?(_ datagram: Span<UInt8>) {
        guard RelayAnswer.lengths.contains(datagram.count),
            datagram[datagram.count - 1] == UInt8(ascii: "\n"),
            RelayAnswer.isBeginning(datagram[0], datagram[1])
        else { return nil }
        let text = datagram.extracting(0..<datagram.count - 1)
        if text.count == 3, text.begins(with: "ACK") {
            self = .acknowledged
        } else if text.begins(with: "CHL:"), let cookie = Cookie(text.extracting(4...)) {
            self = .challenge(cookie)
        } else if text.begins(with: "ACK;addr="),
            let address = TransportAddress(text: text.extracting(9...))
        {
            self = .bound(address)
        } else if text.begins(with: "ERR:"),
            let reason = RegistrationRefusal(text.extracting(4...))
        {
            self = .refused(reason)
        } else {
            return nil
        }
    }

    /// All but some datagrams in a million end here.
    private static func isBeginning(_ first: UInt8, _ second: UInt8) -> Bool {
        switch first {
        case UInt8(ascii: "A"): second == UInt8(ascii: "C")
        case UInt8(ascii: "C"): second == UInt8(ascii: "H")
        case UInt8(ascii: "E"): second == UInt8(ascii: "R")
        default: false
        }
    }
}

extension RegistrationRefusal {
    /// Whether waiting cannot help: somebody has to do something.
    public var isFinal: Bool { self == .auth || self == .evicted }

    /// Whether another relay may do what this one does not.
    var isThisRelaysOwn: Bool { self == .limit || self == .draining }

    fileprivate init?(_ word: Span<UInt8>) {
        guard
            let reason = RegistrationRefusal.allCases.first(where: {
                word.count == $0.name.utf8.count && word.begins(with: $0.name)
            })
        else { return nil }
        self = reason
    }
}
