internal import CLinux
internal import Glibc
public import RelayCore

/// Where a program is to be reached: a name or an IP address, and a UDP port.
public struct HostName: Equatable, Sendable, CustomStringConvertible {
    /// The name or address, without brackets.
    public let host: String
    /// The port.
    public let port: UInt16

    /// Reads `host`, `host:port`, an IPv6 address, or `[address]:port`; nothing if it is none.
    public init?(_ text: String, defaultPort: UInt16) {
        // As characters a bracket and a sign behind it that combines would be one, and no bracket.
        let scalars = text.unicodeScalars
        if scalars.first == "[" {
            guard let end = scalars.firstIndex(of: "]") else { return nil }
            let rest = scalars[scalars.index(after: end)...]
            host = String(scalars[scalars.index(after: scalars.startIndex)..<end])
            guard let port = HostName.port(rest, defaultPort) else { return nil }
            self.port = port
        } else if scalars.count(where: { $0 == ":" }) == 1,
            let colon = scalars.firstIndex(of: ":")
        {
            host = String(scalars[..<colon])
            guard let port = HostName.port(scalars[colon...], defaultPort) else { return nil }
            self.port = port
        } else {
            host = text
            port = defaultPort
        }
        guard !host.isEmpty, !host.utf8.contains(0) else { return nil }
    }

    /// What stands behind the host: nothing, or a colon and a port.
    private static func port(
        _ text: Substring.UnicodeScalarView, _ defaultPort: UInt16
    ) -> UInt16? {
        if text.isEmpty { return defaultPort }
        guard text.first == ":", let port = UInt16(port: String(text.dropFirst())), port > 0 else {
            return nil
        }
        return port
    }

    /// As it is read.
    public var description: String {
        host.unicodeScalars.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Its addresses in the order in which the system would try them (getaddrinfo(3)). May take as
    /// long as the name servers do.
    public func addresses() throws(HostNameError) -> [TransportAddress] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        unsafe hints.ai_flags = AI_ADDRCONFIG
        if IPAddress(host) != nil { unsafe hints.ai_flags = AI_NUMERICHOST }
        var list: UnsafeMutablePointer<addrinfo>?
        // Sound: both strings are read as C strings, and the list is freed below, once.
        let code = unsafe getaddrinfo(host, "\(port)", &hints, &list)
        guard code == 0 else {
            throw HostNameError(
                host: host, reason: unsafe String(cString: gai_strerror(code)),
                isFinal: code == EAI_NONAME)
        }
        defer { unsafe freeaddrinfo(list) }
        var found: [TransportAddress] = []
        var next = unsafe list
        while let entry = unsafe next {
            var name = SocketAddress()
            let length = min(
                Int(unsafe entry.pointee.ai_addrlen), MemoryLayout<SocketAddress>.size)
            if let address = unsafe entry.pointee.ai_addr {
                // Sound: the system's address is as long as it says, and no more is copied than
                // there is room for.
                unsafe withUnsafeMutableBytes(of: &name) { bytes in
                    unsafe bytes.copyMemory(
                        from: UnsafeRawBufferPointer(start: address, count: length))
                }
                found.append(name.transportAddress)
            }
            unsafe next = entry.pointee.ai_next
        }
        return found
    }
}

extension UInt16 {
    /// Reads a port, 0 to 65,535, as it is written: digits alone. To Swift a sign before them is a
    /// part of the number, too.
    package init?(port text: some StringProtocol) {
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard text.utf8.allSatisfy({ digits.contains($0) }) else { return nil }
        self.init(text)
    }
}

/// A name that could not be resolved.
public struct HostNameError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The name.
    public let host: String
    /// What the system said.
    public let reason: String
    /// Whether there is no such name; otherwise nobody could be asked, and trying again may help.
    public let isFinal: Bool

    /// One line.
    public var description: String { "\(host): \(reason)" }
}
