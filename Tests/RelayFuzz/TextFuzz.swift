#if DEBUG || FUZZING
@testable import Relay
@testable import RelayCore

/// Small texts: what is read is written in a form that is read as the same.
enum TextFuzz {
    static func run(_ input: [UInt8]) {
        let text = String(decoding: input, as: UTF8.self)
        checkAddresses(input, text)
        if let id = SessionID(text) {
            precondition(id.description == text.lowercased() && SessionID(id.description) == id)
        }
        if let token = RegistrationToken(text) {
            precondition(RegistrationToken(token.text) == token)
        }
        if let name = HostName(text, defaultPort: 4_433) {
            precondition(!name.host.isEmpty && name.port != 0)
            let again = HostName(name.description, defaultPort: 1)
            // A bracket in a name is nobody's, and is not resolved.
            let hasBracket = name.host.unicodeScalars.contains { $0 == "[" || $0 == "]" }
            precondition(again == name || hasBracket)
        }
        if let address = MetricsAddress(text) {
            precondition(MetricsAddress(address.description) == address)
        }
    }

    /// Two readers of addresses: the core's own, and one that asks the system and takes one form.
    private static func checkAddresses(_ input: [UInt8], _ text: String) {
        let own = TransportAddress(text: input.span)
        if let own {
            precondition(TransportAddress(own.description) == own, "two readers do not agree")
            precondition(TransportAddress(text: Array(own.description.utf8).span) == own)
        }
        if let systems = TransportAddress(text) {
            precondition(systems.description == text)
            precondition(systems.scope != 0 || systems == own, "two readers do not agree")
        }
        for pattern in AddressPattern.readings(of: input[...]) {
            precondition(!pattern.matches(.none), "nobody's address matches")
            if let own, case .v6(let ip, _, let port?) = pattern {
                precondition(own.ip == ip && own.port == port)
                precondition(pattern.matches(own) || own == .none)
            }
        }
    }
}

/// The filter language of the dashboard.
enum FilterFuzz {
    private static let session: SessionSnapshot = {
        var session = SessionSnapshot(id: SessionID(high: 1, low: 2), place: .paired)
        session.a.address = TransportAddress(ip: IPAddress(v4: 0xc000_0201), port: 4_433)
        session.b.address = TransportAddress(
            ip: IPAddress(high: 0x2001_0db8 << 32, low: 1), port: 443)
        return session
    }()

    static func run(_ input: [UInt8]) {
        let now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)
        do throws(SessionFilterError) {
            let filter = try SessionFilter(String(decoding: input, as: UTF8.self))
            precondition(filter.description.utf8.count <= SessionFilter.byteLimit)
            let again = try SessionFilter(filter.description)
            precondition(again.description == filter.description, "it is not normal")
            let matches = filter.matches(session, window: .twoSeconds, at: now)
            precondition(matches == again.matches(session, window: .twoSeconds, at: now))
            precondition(!filter.isEmpty || matches, "a filter of nothing keeps something out")
        } catch {
            let line = error.description
            precondition(!line.isEmpty && line.utf8.allSatisfy { (0x20..<0x7f).contains($0) })
        }
    }
}
#endif
