/// Which peers' addresses a word of a filter means.
///
/// It is kept without references, so that matching an address counts none and allocates nothing.
enum AddressPattern: BitwiseCopyable {
    /// The IPv4 addresses with these bits, and the port if there is one.
    case v4(bits: UInt32, mask: UInt32, port: UInt16?)
    /// This IPv6 address, in this zone and with this port if there are any.
    case v6(IPAddress, scope: UInt32?, port: UInt16?)
    /// The IPv6 addresses whose text begins so.
    case v6Text(AddressText)

    func matches(_ address: TransportAddress) -> Bool {
        switch self {
        case .v4(let bits, let mask, let port):
            return address.ip.isV4 && address.ip.v4 & mask == bits
                && (port == nil || port == address.port)
        case .v6(let ip, let scope, let port):
            return address.ip == ip && address != .none
                && (scope == nil || scope == address.scope)
                && (port == nil || port == address.port)
        case .v6Text(let prefix):
            return !address.ip.isV4 && address != .none
                && AddressText(v6: address.ip, upTo: prefix.count).hasPrefix(prefix)
        }
    }

    /// All that a word may mean: a single number is the beginning of either kind of address.
    static func readings(of word: ArraySlice<UInt8>) -> [AddressPattern] {
        if word.first == UInt8(ascii: "[") {
            return bracketed(word.dropFirst()).map { [$0] } ?? []
        }
        var readings: [AddressPattern] = []
        if let pattern = dotted(word) { readings.append(pattern) }
        if let ip = IPAddress(v6: word) {
            readings.append(.v6(ip, scope: nil, port: nil))
        }
        // "2001:db8::1" is an address and also how the text of 2001:db8::1:2 begins.
        if let text = AddressText(beginningOfV6: word) { readings.append(.v6Text(text)) }
        return readings
    }

    /// One to four whole numbers with dots between them, and a port.
    private static func dotted(_ word: ArraySlice<UInt8>) -> AddressPattern? {
        let parts = word.split(
            separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
        var port: UInt16?
        if parts.count == 2 {
            guard let number = decimal(parts[1], limit: 65_535) else { return nil }
            port = UInt16(number)
        }
        guard let numbers = parts.first else { return nil }
        var octets = numbers.split(
            separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        // A dot at the end: the next number is still to come.
        if octets.count > 1 && octets.count <= 4 && octets.last?.isEmpty == true {
            octets.removeLast()
        }
        guard octets.count <= 4 else { return nil }
        var bits: UInt32 = 0
        var mask: UInt32 = 0
        for (number, text) in octets.enumerated() {
            guard let octet = decimal(text, limit: 255) else { return nil }
            bits |= UInt32(octet) << UInt32(24 - 8 * number)
            mask |= 0xff << UInt32(24 - 8 * number)
        }
        return .v4(bits: bits, mask: mask, port: port)
    }

    /// What follows a bracket: an IPv6 address, its zone, the other bracket and a port; or a text
    /// that an address begins with.
    private static func bracketed(_ word: ArraySlice<UInt8>) -> AddressPattern? {
        guard let end = word.firstIndex(of: UInt8(ascii: "]")) else {
            return AddressText(beginningOfV6: word).map { .v6Text($0) }
        }
        let inner = word[..<end].split(
            separator: UInt8(ascii: "%"), maxSplits: 1, omittingEmptySubsequences: false)
        guard let text = inner.first, let ip = IPAddress(v6: text) else { return nil }
        var scope: UInt32?
        if inner.count == 2 {
            guard let number = decimal(inner[1], limit: UInt64(UInt32.max)) else { return nil }
            scope = UInt32(number)
        }
        let rest = word[(end + 1)...]
        if rest.isEmpty { return .v6(ip, scope: scope, port: nil) }
        guard rest.first == UInt8(ascii: ":"),
            let port = decimal(rest.dropFirst(), limit: 65_535)
        else { return nil }
        return .v6(ip, scope: scope, port: UInt16(port))
    }

    /// A whole number as it is usually written, without zeros before it.
    private static func decimal(_ text: ArraySlice<UInt8>, limit: UInt64) -> UInt64? {
        guard let first = text.first, text.count <= 10,
            first != UInt8(ascii: "0") || text.count == 1
        else { return nil }
        var value: UInt64 = 0
        for byte in text {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + UInt64(byte - UInt8(ascii: "0"))
        }
        return value <= limit ? value : nil
    }
}

extension TransportAddress {
    /// Reads `192.0.2.1:4433` or `[2001:db8::1]:4433`; an address with a zone is none.
    init?(text: Span<UInt8>) {
        if text.count > 0, text[0] != UInt8(ascii: "[") {
            self.init(v4Text: text)
            return
        }
        var bytes: [UInt8] = []
        for index in text.indices { bytes.append(text[index]) }
        switch AddressPattern.readings(of: bytes[...]).first {
        case .v6(let ip, nil, let port?):
            self.init(ip: ip, port: port)
        default: return nil
        }
    }

    /// Reads `192.0.2.1:4433`. A relay tells an agent its address with every answer: nothing is
    /// allocated for that.
    private init?(v4Text text: Span<UInt8>) {
        var numbers = InlineArray<5, UInt32>(repeating: 0)
        var place = 0
        var digits = 0
        for index in text.indices {
            let byte = text[index]
            if byte == UInt8(ascii: place < 3 ? "." : ":"), place < 4 {
                guard digits > 0 else { return nil }
                place += 1
                digits = 0
                continue
            }
            // As it is usually written, without zeros before it.
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9"), digits < 5,
                digits == 0 || numbers[place] > 0
            else { return nil }
            numbers[place] = numbers[place] * 10 + UInt32(byte - UInt8(ascii: "0"))
            digits += 1
            guard numbers[place] <= (place < 4 ? 255 : 65_535) else { return nil }
        }
        guard place == 4, digits > 0 else { return nil }
        let bits = (0..<4).reduce(UInt32(0)) { $0 << 8 | numbers[$1] }
        self.init(ip: IPAddress(v4: bits), port: UInt16(numbers[4]))
    }
}

extension IPAddress {
    /// Reads an IPv6 address in any of its forms with hexadecimal groups (RFC 4291 §2.2).
    init?(v6 text: ArraySlice<UInt8>) {
        var groups = InlineArray<8, UInt64>(repeating: 0)
        var count = 0
        // Where "::" stands.
        var gap: Int?
        var rest = text
        if rest.starts(with: "::".utf8) {
            gap = 0
            rest = rest.dropFirst(2)
        }
        while let first = rest.first {
            guard count < 8, first != UInt8(ascii: ":") else { return nil }
            let digits = rest.prefix { $0 != UInt8(ascii: ":") }
            guard digits.count <= 4 else { return nil }
            for byte in digits {
                guard let digit = hexadecimalValue(of: byte) else { return nil }
                groups[count] = groups[count] << 4 | digit
            }
            count += 1
            rest = rest[digits.endIndex...]
            if rest.starts(with: "::".utf8) {
                guard gap == nil else { return nil }
                gap = count
                rest = rest.dropFirst(2)
            } else if !rest.isEmpty {
                rest = rest.dropFirst()
                // A colon at the end separates nothing.
                guard !rest.isEmpty else { return nil }
            }
        }
        guard gap == nil ? count == 8 : count < 8 else { return nil }
        self = .unspecified
        for number in 0..<count {
            let place = number < gap ?? 8 ? number : number + 8 - count
            let shift = UInt64(48 - 16 * (place % 4))
            if place < 4 { high |= groups[number] << shift } else { low |= groups[number] << shift }
        }
    }
}

/// The text of an IPv6 address (RFC 5952) or the beginning of one, in place.
struct AddressText: BitwiseCopyable {
    /// Eight groups of four digits and seven colons: 39 bytes.
    private var bytes = InlineArray<39, UInt8>(repeating: 0)
    private(set) var count: UInt8 = 0

    /// The text of an address, as `IPAddress.description` gives it, but only so many groups of it
    /// as make `limit` bytes.
    init(v6 ip: IPAddress, upTo limit: UInt8 = 39) {
        let zeros = AddressText.longestZeroRun(of: ip)
        var group = 0
        while group < 8 && count < limit {
            if group == zeros.lowerBound && !zeros.isEmpty {
                append(UInt8(ascii: ":"))
                append(UInt8(ascii: ":"))
                group = zeros.upperBound
                continue
            }
            if group > 0 && (group != zeros.upperBound || zeros.isEmpty) {
                append(UInt8(ascii: ":"))
            }
            appendDigits(AddressText.group(group, of: ip))
            group += 1
        }
    }

    /// Hexadecimal digits and colons that can be the beginning of an address's text.
    init?(beginningOfV6 text: ArraySlice<UInt8>) {
        guard !text.isEmpty, text.count <= 39 else { return nil }
        var digits = 0
        for byte in text {
            digits = byte == UInt8(ascii: ":") ? 0 : digits + 1
            let isAllowed = byte == UInt8(ascii: ":") || hexadecimalValue(of: byte) != nil
            guard isAllowed, digits <= 4 else { return nil }
            append(byte)
        }
    }

    func hasPrefix(_ prefix: AddressText) -> Bool {
        guard prefix.count <= count else { return false }
        for index in 0..<Int(prefix.count) where bytes[index] != prefix.bytes[index] {
            return false
        }
        return true
    }

    private mutating func append(_ byte: UInt8) {
        bytes[Int(count)] = byte
        count += 1
    }

    /// Appends a group without zeros before it (§4.1).
    private mutating func appendDigits(_ group: UInt64) {
        var shift: UInt64 = group > 0xfff ? 12 : group > 0xff ? 8 : group > 0xf ? 4 : 0
        while true {
            let digit = UInt8(truncatingIfNeeded: group >> shift & 0xf)
            append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            if shift == 0 { return }
            shift -= 4
        }
    }

    private static func group(_ index: Int, of ip: IPAddress) -> UInt64 {
        (index < 4 ? ip.high : ip.low) >> UInt64(48 - 16 * (index % 4)) & 0xffff
    }

    /// The first of the longest runs of two or more zero groups (§4.2); empty if there is none.
    private static func longestZeroRun(of ip: IPAddress) -> Range<Int> {
        var longest = 0..<0
        var start = 0
        for index in 0...8 where index == 8 || group(index, of: ip) != 0 {
            if index - start > max(longest.count, 1) { longest = start..<index }
            start = index + 1
        }
        return longest
    }
}
