internal import RelayCore

/// Numbers as the dashboard writes them: each kind in a fixed width, so that columns never jump.
public nonisolated enum Format {
    /// How rates are counted.
    public enum RateUnit: Sendable {
        /// In bits a second.
        case bits
        /// In bytes a second.
        case bytes
    }

    /// A rate in 6 columns, "12.4M" right-aligned; "-" for none. Units are powers of 1,000.
    public static func rate(bitsPerSecond: Float, in unit: RateUnit) -> String {
        let value = Double(bitsPerSecond) / (unit == .bits ? 1 : 8)
        return value < 0.5 ? "-".padded(to: 6) : scaled(value, base: 1_000).padded(to: 6)
    }

    /// A number of bytes in 6 columns; units are powers of 1,024 (K is KiB).
    public static func bytes(_ count: UInt64) -> String {
        scaled(Double(count), base: 1_024).padded(to: 6)
    }

    /// A count in 6 columns; units are powers of 1,000.
    public static func count(_ count: UInt64) -> String {
        scaled(Double(count), base: 1_000).padded(to: 6)
    }

    /// Three or four significant digits and a unit: 0, 999, 1.02K, 12.3K, 123K, 1.00M.
    private static func scaled(_ value: Double, base: Double) -> String {
        let units = ["", "K", "M", "G", "T", "P", "E"]
        var value = value
        var unit = 0
        // What would be written with four digits before the point goes to the next unit.
        while value >= (unit == 0 ? base : 999.5), unit < units.count - 1 {
            value /= base
            unit += 1
        }
        if unit == 0 { return String(Int(value.rounded())) }
        let decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0
        return fixed(value, decimals: decimals) + units[unit]
    }

    /// A number with that many decimals; RelayTUI has no Foundation to ask.
    public static func fixed(_ value: Double, decimals: Int) -> String {
        var scale = 1.0
        for _ in 0..<decimals { scale *= 10 }
        let whole = Int((value * scale).rounded())
        let digits = String(whole)
        guard decimals > 0 else { return digits }
        let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        return "\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
    }

    /// A length of time in 5 columns, the two largest units: "850ms", " 3.2s", "  42s", "12m5s",
    /// "3h12m", "2d3h".
    public static func duration(nanoseconds: UInt64) -> String {
        let milliseconds = nanoseconds / Nanoseconds.perMillisecond
        let seconds = milliseconds / 1_000
        let text: String
        switch seconds {
        case 0: text = "\(milliseconds)ms"
        case 1..<10: text = fixed(Double(milliseconds) / 1_000, decimals: 1) + "s"
        case 10..<60: text = "\(seconds)s"
        case 60..<600: text = "\(seconds / 60)m\(two(seconds % 60))"
        case 600..<3_600: text = "\(seconds / 60)m"
        case 3_600..<36_000: text = "\(seconds / 3_600)h\(two(seconds / 60 % 60))"
        case 36_000..<86_400: text = "\(seconds / 3_600)h"
        case 86_400..<864_000: text = "\(seconds / 86_400)d\(two(seconds / 3_600 % 24))"
        default: text = "\(seconds / 86_400)d"
        }
        return text.padded(to: 5)
    }

    /// Hours, minutes and seconds of the day in UTC, as in the log: "12:34:56Z".
    static func clock(unixNanoseconds: UInt64) -> String {
        let seconds = unixNanoseconds / Nanoseconds.perSecond % 86_400
        return [seconds / 3_600, seconds / 60 % 60, seconds % 60].map(two).joined(separator: ":")
            + "Z"
    }

    /// A round trip in 5 columns, from microseconds: "0.42", " 8.3", "  12", " 120" ms.
    static func milliseconds(_ microseconds: UInt32?) -> String {
        guard let microseconds else { return "-".padded(to: 5) }
        let value = Double(microseconds) / 1_000
        let decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0
        return fixed(value, decimals: decimals).padded(to: 5)
    }

    private static func two(_ number: UInt64) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }

    /// A share in 5 columns: "0.03%", "12.5%", " 100%".
    public static func percent(_ part: UInt64, of whole: UInt64) -> String {
        guard whole > 0, part > 0 else { return "0%".padded(to: 5) }
        let value = 100 * Double(part) / Double(whole)
        let decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0
        return "\(fixed(value, decimals: decimals))%".padded(to: 5)
    }

    /// An address; with the privacy mask only so much of it that addresses can be told apart by
    /// whoever knows them: "203.0.x.x:x".
    static func address(_ address: TransportAddress, isMasked: Bool) -> String {
        guard address != .none else { return "-" }
        return isMasked ? masked(address) : address.description
    }

    /// The same in at most `width` columns: without the port, or the middle, if it is longer.
    static func address(_ address: TransportAddress, isMasked: Bool, width: Int) -> String {
        let text = Format.address(address, isMasked: isMasked)
        if text.count <= width { return text }
        let ip = isMasked ? text : address.ip.description
        if ip.count <= width { return ip }
        let head = (width - 1) * 2 / 3
        return ip.prefix(head) + String(Glyphs.ellipsis) + ip.suffix(max(0, width - 1 - head))
    }

    private static func masked(_ address: TransportAddress) -> String {
        let text = address.description
        guard address.ip.isV4 else {
            let inner = text.drop { $0 == "[" }
            return "[\(inner.prefix { $0 != ":" }):x]:x"
        }
        let parts = text.split(separator: ".")
        return parts.prefix(2).joined(separator: ".") + ".x.x:x"
    }

    /// Text cut to a width; what was cut leaves its mark.
    static func fitted(_ text: String, to width: Int) -> String {
        guard text.unicodeScalars.count > width else { return text }
        guard width > 0 else { return "" }
        return String(text.prefix(width - 1)) + String(Glyphs.ellipsis)
    }

    /// Text broken into lines of at most `width` columns, at blanks.
    public static func wrapped(_ text: String, to width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " \(word)"
        }
        return line.isEmpty ? lines : lines + [line]
    }
}

nonisolated extension String {
    /// Without the blanks in front.
    var trimmed: String { String(drop { $0 == " " }) }

    /// Blanks in front, up to a width.
    func padded(to width: Int) -> String {
        String(repeating: " ", count: max(0, width - unicodeScalars.count)) + self
    }

    /// Blanks behind, up to a width.
    func filled(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - unicodeScalars.count))
    }
}
