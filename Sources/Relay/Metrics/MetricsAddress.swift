public import RelayCore

/// Where metrics are served: `127.0.0.1:9433`, `[::1]:9433`, or a port alone, which is on the
/// loopback address. Nobody but who says so explicitly makes them public.
public struct MetricsAddress: Sendable, Equatable, CustomStringConvertible {
    /// The address to listen on.
    public let ip: IPAddress
    /// The TCP port; 0 lets the system choose.
    public let port: UInt16

    /// What an address looks like, for whoever wrote another one.
    public static let allowed =
        "must be a port, or an address and a port, such as 9433, 127.0.0.1:9433 or [::1]:9433"

    /// Reads an address, nothing if it is none.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else {
            guard let port = UInt16(port: text) else { return nil }
            ip = IPAddress(v4: 0x7f00_0001)
            self.port = port
            return
        }
        var host = text[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        if isBracketed { host = host.dropFirst().dropLast() }
        guard let ip = IPAddress(String(host)), host.contains(":") == isBracketed,
            let port = UInt16(port: text[text.index(after: colon)...])
        else { return nil }
        self.ip = ip
        self.port = port
    }

    /// Whether only this machine can reach it.
    public var isLoopback: Bool { ip.isLoopback }

    /// `127.0.0.1:9433` or `[::1]:9433`.
    public var description: String { TransportAddress(ip: ip, port: port).description }
}
