public import RelayCore

// From the stable names of the control interface back to the values that have them.

/// Something that has a stable name on the wire.
protocol WireNamed: CaseIterable {
    var name: String { get }
}

extension WireNamed {
    /// The value with this name; nothing if a newer relay has one that is not known here.
    init?(wireName: String) {
        guard let value = Self.allCases.first(where: { $0.name == wireName }) else { return nil }
        self = value
    }
}

extension DiagnosisKind: WireNamed {}
extension DropReason: WireNamed {}
extension QUICPhase: WireNamed {}
extension RebindEvidence: WireNamed {}
extension RelayState: WireNamed {}
extension SessionEnding: WireNamed {}
extension Side: WireNamed {}
extension SpinVerdict: WireNamed {}
extension Validation: WireNamed {}

extension SessionPlace: WireNamed {
    /// The stable name used in the control interface.
    var name: String {
        switch self {
        case .free: "free"
        case .waiting: "waiting"
        case .paired: "paired"
        case .quarantined: "evicted"
        }
    }
}

extension QUICVersion {
    /// The version that `description` made this text of.
    init?(_ text: String) {
        switch text {
        case "v1": self = .v1
        case "v2": self = .v2
        case "negotiation": self = .negotiation
        default:
            guard text.hasPrefix("0x"), let number = UInt32(text.dropFirst(2), radix: 16) else {
                return nil
            }
            self.init(rawValue: number)
        }
    }
}

extension QUICTraits {
    private static let names: [(QUICTraits, String)] = [
        (.versionNegotiation, "version_negotiation"), (.retry, "retry"), (.zeroRTT, "0rtt"),
        (.openedConnection, "opened_connection"),
    ]

    /// The stable names of those that are there.
    var names: [String] { QUICTraits.names.filter { contains($0.0) }.map(\.1) }

    /// Those with these names.
    init(names: [String]) {
        self.init(QUICTraits.names.filter { names.contains($0.1) }.map(\.0))
    }
}

extension ECNCodepoints {
    private static let names: [(ECNCodepoints, String)] = [
        (.notCapable, "not_ect"), (.capable1, "ect1"), (.capable0, "ect0"), (.congestion, "ce"),
    ]

    /// The stable names of those that were seen.
    var names: [String] { ECNCodepoints.names.filter { contains($0.0) }.map(\.1) }

    /// Those with these names.
    init(names: [String]) {
        self.init(ECNCodepoints.names.filter { names.contains($0.1) }.map(\.0))
    }
}

extension TransportAddress {
    /// The address that `description` made this text of: `192.0.2.1:4433`, `[2001:db8::1]:4433`,
    /// with a zone as a number. Another form of the same address is none.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[colon...].dropFirst())
        else { return nil }
        var host = text[..<colon]
        var scope: UInt32 = 0
        if host.first == "[", host.last == "]" {
            host = host.dropFirst().dropLast()
            if let percent = host.firstIndex(of: "%") {
                guard let zone = UInt32(host[percent...].dropFirst()) else { return nil }
                scope = zone
                host = host[..<percent]
            }
        }
        guard let ip = IPAddress(String(host)) else { return nil }
        self.init(ip: ip, port: port, scope: scope)
        guard description == text else { return nil }
    }
}
