import Glibc
import RelayCore

/// What came from the peers of one real QUIC connection, and what is known about it: a fixture that
/// Captures/trim.py made.
struct CaptureFile {
    /// The names of all fixtures.
    static let names = [
        "aioquic", "aioquic-rebind-a-data", "aioquic-v2-retry", "h3-chromium_aioquic",
        "h3-ngtcp2_ngtcp2", "quicportal-quinn-prebind",
    ]

    /// Registrations among them, in order of arrival.
    let datagrams: [CapturedDatagram]
    /// One for each address that something came from.
    let flows: [CapturedFlow]

    /// Reads a fixture and its facts.
    init(_ name: String) throws(CaptureError) {
        let folder = "/" + #filePath.split(separator: "/").dropLast().joined(separator: "/")
        let path = "\(folder)/Captures/\(name)"
        datagrams = try CaptureFile.datagrams(in: CaptureReader(path: path + ".pcap"))
        flows = try CaptureFile.flows(in: CaptureReader(path: path + ".facts"))
    }
}

/// A datagram as it came to the relay.
struct CapturedDatagram {
    /// When it came; the first one came at `Instant.origin`.
    let time: Instant
    let source: TransportAddress
    /// Its payload: all of it if it starts with a long header or is a registration, else the first
    /// 32 bytes.
    let bytes: [UInt8]
    /// How long its payload was.
    let length: Int
    let ecn: UInt8
}

/// What is known about the datagrams from one address; the comment in each file of facts says how
/// it is counted. Registrations are left out, except where they are named.
struct CapturedFlow {
    enum Role: String {
        case client, server
    }

    enum Spin: String {
        case spins, constant, random
    }

    struct IDLengths: Hashable {
        let destination: Int
        let source: Int
    }

    let source: TransportAddress
    var datagramCount = 0
    var registrationCount = 0
    var role: Role?
    /// The versions of its long headers other than Retry.
    var versions: [UInt32] = []
    /// By "Initial", "0RTT", "Handshake", "Retry" and "1RTT".
    var packetCounts: [String: Int] = [:]
    var idLengthCounts: [IDLengths: Int] = [:]
    /// Short headers whose fixed bit is 0 (RFC 9287).
    var greasedCount = 0
    /// When the first datagram came that holds these packets, "Initial+Handshake" for example. To
    /// the nearest 100.
    var firstMicroseconds: [String: UInt64] = [:]
    var ecnCounts: [UInt8: Int] = [:]
    var spin: Spin?
    var edgeCount = 0
    /// The median time between two edges of the spin bit, if there are any. To the nearest 100.
    var edgeGapMicroseconds: UInt64?
}

/// A fixture that is not what it should be.
struct CaptureError: Error {
    let path: String
    let what: String
}

// MARK: - Datagrams

extension CaptureFile {
    /// A pcap file with little-endian microseconds, Ethernet, IPv4 without options, UDP.
    ///
    ///     file     magic 4 | version 4 | zone 4 | accuracy 4 | longest 4 | link type 4
    ///     record   seconds 4 | microseconds 4 | captured length 4 | length 4 | frame
    ///     frame    Ethernet 14 | IPv4 20 | UDP 8 | payload
    private static func datagrams(
        in file: CaptureReader
    ) throws(CaptureError) -> [CapturedDatagram] {
        try file.check(file.little32(at: 0) == 0xa1b2_c3d4, "not a pcap file of microseconds")
        try file.check(file.little32(at: 20) == 1, "not Ethernet")
        var datagrams: [CapturedDatagram] = []
        var start: UInt64?
        var offset = 24
        while offset < file.bytes.count {
            let seconds = UInt64(try file.little32(at: offset))
            let microseconds = seconds * 1_000_000 + UInt64(try file.little32(at: offset + 4))
            let frame = offset + 16
            let end = frame + Int(try file.little32(at: offset + 8))
            try file.check(end - frame >= 42 && end <= file.bytes.count, "a record is cut")
            let first = start ?? microseconds
            try file.check(microseconds >= first, "a datagram came before the first one")
            start = first
            datagrams.append(
                try datagram(
                    in: file, frame: frame, end: end,
                    time: Instant(
                        nanoseconds: (microseconds - first) * Nanoseconds.perMicrosecond)))
            offset = end
        }
        return datagrams
    }

    private static func datagram(
        in file: CaptureReader, frame: Int, end: Int, time: Instant
    ) throws(CaptureError) -> CapturedDatagram {
        let ip = frame + 14
        let udp = ip + 20
        try file.check(file.big16(at: frame + 12) == 0x0800, "not IPv4")
        try file.check(file.bytes[ip] == 0x45, "IPv4 with options")
        try file.check(file.bytes[ip + 9] == 17, "not UDP")
        let address = UInt32(file.big16(at: ip + 12)) << 16 | UInt32(file.big16(at: ip + 14))
        return CapturedDatagram(
            time: time,
            source: TransportAddress(ip: IPAddress(v4: address), port: file.big16(at: udp)),
            bytes: Array(file.bytes[(udp + 8)..<end]),
            length: Int(file.big16(at: udp + 4)) - 8,
            ecn: file.bytes[ip + 1] & 3)
    }
}

// MARK: - Facts

extension CaptureFile {
    private static func flows(in file: CaptureReader) throws(CaptureError) -> [CapturedFlow] {
        var flows: [CapturedFlow] = []
        for line in String(decoding: file.bytes, as: UTF8.self).split(separator: "\n")
        where !line.hasPrefix("#") {
            let words = line.split(separator: " ")
            if words[0] == "flow" {
                guard words.count == 2, let source = address(words[1]) else {
                    throw file.error("\(line)")
                }
                flows.append(CapturedFlow(source: source))
            } else {
                let last = flows.indices.last
                guard let last, flows[last].learn(words[0], words.dropFirst().map { $0 }) else {
                    throw file.error("\(line)")
                }
            }
        }
        return flows
    }

    /// Reads `192.0.2.1:4433`.
    private static func address(_ text: Substring) -> TransportAddress? {
        let numbers = text.split { $0 == "." || $0 == ":" }.compactMap { UInt16($0) }
        guard numbers.count == 5 else { return nil }
        let ip = numbers[..<4].reduce(0) { $0 << 8 | UInt32($1) }
        return TransportAddress(ip: IPAddress(v4: ip), port: numbers[4])
    }
}

extension CapturedFlow {
    /// Takes in one fact; false if it is none.
    fileprivate mutating func learn(_ name: Substring, _ values: [Substring]) -> Bool {
        let numbers = values.compactMap { Int($0) }
        switch (name, values.count, numbers.count) {
        case ("datagrams", 1, 1): datagramCount = numbers[0]
        case ("registrations", 1, 1): registrationCount = numbers[0]
        case ("greased", 1, 1): greasedCount = numbers[0]
        case ("edges", 1, 1): edgeCount = numbers[0]
        case ("edge_gap_us", 1, 1): edgeGapMicroseconds = UInt64(numbers[0])
        case ("packets", 2, _): packetCounts[String(values[0])] = numbers.last
        case ("first_us", 2, 1): firstMicroseconds[String(values[0])] = UInt64(numbers[0])
        case ("ids", 3, 3):
            let lengths = IDLengths(destination: numbers[0], source: numbers[1])
            idLengthCounts[lengths] = numbers[2]
        case ("ecn", 2, 2): ecnCounts[UInt8(numbers[0])] = numbers[1]
        case ("versions", _, 0):
            versions = values.compactMap { UInt32($0.dropFirst(2), radix: 16) }
            return versions.count == values.count
        case ("role", 1, 0):
            role = Role(rawValue: String(values[0]))
            return role != nil
        case ("spin", 1, 0):
            spin = Spin(rawValue: String(values[0]))
            return spin != nil
        default: return false
        }
        return true
    }
}

// MARK: - Bytes

/// A whole file in memory.
private struct CaptureReader {
    let path: String
    let bytes: [UInt8]

    /// The only unsafe code of the target. Sound: `path` and `chunk` are there until the calls
    /// return, and read(2) is told how long `chunk` is.
    init(path: String) throws(CaptureError) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw CaptureError(path: path, what: "cannot be opened") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        var count = 0
        repeat {
            count = unsafe read(descriptor, &chunk, chunk.count)
            guard count >= 0 else { throw CaptureError(path: path, what: "cannot be read") }
            bytes += chunk.prefix(count)
        } while count > 0
        self.path = path
        self.bytes = bytes
    }

    func error(_ what: String) -> CaptureError {
        CaptureError(path: path, what: what)
    }

    func check(_ isRight: Bool, _ what: String) throws(CaptureError) {
        guard isRight else { throw error(what) }
    }

    /// A number of the pcap format.
    func little32(at offset: Int) throws(CaptureError) -> UInt32 {
        try check(offset + 4 <= bytes.count, "it ends in a header")
        return (0..<4).reversed().reduce(0) { $0 << 8 | UInt32(bytes[offset + $1]) }
    }

    /// A number of the network, which must be there.
    func big16(at offset: Int) -> UInt16 {
        UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1])
    }
}
