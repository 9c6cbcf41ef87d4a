/// A QUIC version as it stands in long headers (RFC 8999 §5.1).
public struct QUICVersion: Hashable, BitwiseCopyable, Sendable {
    /// The four bytes, most significant first.
    public let rawValue: UInt32

    /// Makes a version of its four bytes.
    @inline(__always)
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// The version of Version Negotiation packets, which is none (RFC 8999 §6).
    public static let negotiation = QUICVersion(rawValue: 0)
    /// QUIC version 1 (RFC 9000).
    public static let v1 = QUICVersion(rawValue: 1)
    /// QUIC version 2, whose long header types have other numbers (RFC 9369).
    public static let v2 = QUICVersion(rawValue: 0x6b33_43cf)

    /// Whether packets are laid out as in version 1: version 1 itself, its drafts, version 2.
    var hasKnownLayout: Bool {
        self == .v1 || self == .v2 || isDraft
    }

    /// Whether a long header with this version is one of QUIC's. There is no telling it from other
    /// protocols but by the versions that exist: those with a known layout, the one that means
    /// negotiation, and those reserved to exercise negotiation (RFC 9000 §15).
    @inline(__always)
    var isPlausible: Bool {
        self == .v1 || self == .v2 || self == .negotiation || isDraft
            || rawValue & 0x0f0f_0f0f == 0x0a0a_0a0a
    }

    /// Drafts 17 to 34 of version 1, 0xff000011 to 0xff000022; the earlier ones' headers differ.
    private var isDraft: Bool { rawValue >= 0xff00_0011 && rawValue <= 0xff00_0022 }
}

extension QUICVersion: CustomStringConvertible {
    /// "v1", "v2", or the number in hexadecimal.
    public var description: String {
        switch self {
        case .v1: "v1"
        case .v2: "v2"
        case .negotiation: "negotiation"
        default: "0x" + String(rawValue, radix: 16)
        }
    }
}
