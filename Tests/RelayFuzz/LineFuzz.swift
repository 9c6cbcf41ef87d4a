#if DEBUG || FUZZING
@testable import RelayCore

/// The reader of registrations beside one that reads them as text, without care for what it costs.
enum LineFuzz {
    static func run(_ datagram: [UInt8]) {
        let line = ControlLine(datagram.span)
        precondition(line == reference(datagram), "two readers do not agree")
        if case .registration(let registration)? = line {
            precondition(Registration(datagram.span) == registration)
        } else {
            precondition(Registration(datagram.span) == nil)
        }
        guard case .keyed(let keyed)? = line else { return }
        precondition(ControlLine.lengths.contains(datagram.count))
        let again = text(of: keyed)
        precondition(ControlLine(again.span) == line, "a line is not read as it is written")
        checkAnswers(to: keyed, length: datagram.count)
    }

    /// Nothing that answers a line is longer than it.
    private static func checkAnswers(to line: KeyedLine, length: Int) {
        let cookie = Cookie(high: line.peer.rawValue, low: line.session.low)
        precondition(ControlReply.challenge(cookie).bytes.count < length)
        guard line.cookie != nil else { return }
        // The longest address that there is.
        let address = TransportAddress(
            ip: IPAddress(high: line.session.high | 1 << 63, low: .max), port: .max)
        precondition(ControlReply.acknowledged(address).bytes.count < length)
        for refusal in RegistrationRefusal.allCases {
            precondition(ControlReply.refused(refusal).bytes.count < length)
        }
    }

    private static func text(of line: KeyedLine) -> [UInt8] {
        var text = line.verb == .register ? "REG:" : "BYE:"
        text += "\(line.session);peer=\(hexadecimal(line.peer.rawValue, digits: 16))"
        if let token = line.token { text += ";\(token.text)" }
        if let cookie = line.cookie {
            text += ";cookie=" + hexadecimal(cookie.high, digits: 16)
            text += hexadecimal(cookie.low, digits: 16)
        }
        return Array("\(text)\n".utf8)
    }

    // MARK: Another reader

    private static func reference(_ datagram: [UInt8]) -> ControlLine? {
        guard datagram.count <= 512, datagram.allSatisfy({ $0 < 0x7f }) else { return nil }
        let text = String(decoding: datagram, as: UTF8.self).unicodeScalars
        let (verb, id) = (String(text.prefix(4)), String(text.dropFirst(4).prefix(36)))
        let rest = String(text.dropFirst(40))
        guard verb == "REG:" || verb == "BYE:", isUUID(id), let session = SessionID(id) else {
            return nil
        }
        if verb == "REG:",
            rest.isEmpty || rest == "\n"
                || rest.unicodeScalars.elementsEqual(
                    "\r\n".unicodeScalars)
        {
            return Registration(Array("REG:\(session)".utf8).span).map { .registration($0) }
        }
        let scalars = rest.unicodeScalars
        guard scalars.count > 1, scalars.first == ";", scalars.last == "\n",
            scalars.dropLast().allSatisfy({ $0.value >= 0x20 })
        else { return nil }
        let attributes = String(rest.dropFirst().dropLast())
            .split(separator: ";", omittingEmptySubsequences: false)
        return keyed(verb == "REG:" ? .register : .leave, session, attributes) ?? .malformed
    }

    private static func keyed(
        _ verb: KeyedLine.Verb, _ session: SessionID, _ attributes: [Substring]
    ) -> ControlLine? {
        var values: [Substring: Substring] = [:]
        for attribute in attributes {
            guard let sign = attribute.firstIndex(of: "="), sign != attribute.startIndex else {
                return nil
            }
            let name = attribute[..<sign]
            guard ["peer", "cookie", "exp", "mac"].contains(name) else { continue }
            guard values[name] == nil else { return nil }
            values[name] = attribute[sign...].dropFirst()
        }
        guard let peer = values["peer"].flatMap({ words($0, count: 1) }),
            let key = PeerKey(rawValue: peer[0])
        else { return nil }
        var cookie: Cookie?
        if let value = values["cookie"] {
            guard let words = words(value, count: 2) else { return nil }
            cookie = Cookie(high: words[0], low: words[1])
        }
        var token: RegistrationToken?
        if values["exp"] != nil || values["mac"] != nil {
            guard let expiry = values["exp"].flatMap(decimal),
                let mac = values["mac"].flatMap({ words($0, count: 4) })
            else { return nil }
            token = RegistrationToken(
                expiresAtUnixSeconds: expiry, mac: TokenMAC((mac[0], mac[1], mac[2], mac[3])))
        }
        guard verb == .register || cookie != nil else { return nil }
        return .keyed(
            KeyedLine(verb: verb, session: session, peer: key, cookie: cookie, token: token))
    }

    private static func isUUID(_ text: String) -> Bool {
        let groups = text.split(separator: "-", omittingEmptySubsequences: false)
        return groups.map(\.count) == [8, 4, 4, 4, 12]
            && groups.joined().allSatisfy { $0.isASCII && $0.isHexDigit }
    }

    /// So many times 16 hexadecimal digits.
    private static func words(_ text: Substring, count: Int) -> [UInt64]? {
        guard text.count == 16 * count, text.allSatisfy(\.isHexDigit) else { return nil }
        return (0..<count).compactMap { UInt64(text.dropFirst(16 * $0).prefix(16), radix: 16) }
    }

    private static func decimal(_ text: Substring) -> UInt64? {
        text.allSatisfy(\.isWholeNumber) ? UInt64(text) : nil
    }
}

/// What an agent takes for an answer of its relay.
enum AnswerFuzz {
    static func run(_ datagram: [UInt8]) {
        guard let answer = RelayAnswer(datagram.span) else { return }
        precondition(RelayAnswer.lengths.contains(datagram.count) && datagram.last == 0x0a)
        let reply: ControlReply
        switch answer {
        case .acknowledged:
            precondition(datagram == Array("ACK\n".utf8))
            return
        case .challenge(let cookie): reply = .challenge(cookie)
        case .bound(let address): reply = .acknowledged(address)
        case .refused(let reason): reply = .refused(reason)
        }
        let written = reply.bytes.array
        precondition(written.count <= RelayAnswer.lengths.upperBound)
        precondition(RelayAnswer(written.span) == answer, "an answer is not read as it is written")
        // Digits have two forms, and so have IPv6 addresses.
        guard case .bound = answer else {
            precondition(written == datagram.prefix(4) + datagram.dropFirst(4).map(lowercased))
            return
        }
    }
}
#endif
