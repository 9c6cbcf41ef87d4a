import Testing

@testable import RelayCore

/// A line of version 2, put together by hand.
func keyedLine(
    _ id: SessionID, key: UInt64, verb: String = "REG", cookie: String? = nil,
    token: String = ""
) -> [UInt8] {
    let digits = String(key, radix: 16)
    let peer = String(repeating: "0", count: 16 - digits.count) + digits
    return Array(
        "\(verb):\(id);peer=\(peer)\(cookie.map { ";cookie=\($0)" } ?? "")\(token)\n".utf8)
}

extension Cookie {
    /// As it stands in a line.
    var digits: String {
        [high, low].map { half in
            let text = String(half, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
    }
}

extension TestRelay {
    /// What one datagram is answered with, as text; nothing if it is not, or is forwarded.
    mutating func answer(to bytes: [UInt8], from source: TransportAddress) -> String? {
        let sent = send(bytes, from: source)
        guard sent.count == 1, sent[0].destination == source else { return nil }
        #expect(sent[0].bytes.count <= bytes.count, "an answer is longer than its request")
        return String(decoding: sent[0].bytes, as: UTF8.self)
    }

    /// The cookie that an address is sent.
    mutating func cookie(for source: TransportAddress) -> String? {
        let line = keyedLine(session(999), key: 1)
        guard let answer = answer(to: line, from: source), answer.hasPrefix("CHL:") else {
            return nil
        }
        return String(answer.dropFirst(4).dropLast())
    }

    /// Registers by version 2, as often as it takes, and says what the answer is.
    @discardableResult
    mutating func register(
        _ id: SessionID, key: UInt64, from source: TransportAddress, token: String = ""
    ) -> String? {
        let cookie = cookie(for: source)
        return answer(to: keyedLine(id, key: key, cookie: cookie, token: token), from: source)
    }

    /// Says that a peer leaves.
    mutating func leave(_ id: SessionID, key: UInt64, from source: TransportAddress) -> String? {
        let cookie = cookie(for: source)
        return answer(to: keyedLine(id, key: key, verb: "BYE", cookie: cookie), from: source)
    }
}
