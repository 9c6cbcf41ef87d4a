/// A number of a session that a filter can set bounds to.
enum SessionQuantity: UInt8, BitwiseCopyable, CaseIterable {
    case rate, bytes, idle, age, rebinds, drops, gaps, rtt, attempts

    /// The name in a filter.
    var name: String {
        switch self {
        case .rate: "rate"
        case .bytes: "bytes"
        case .idle: "idle"
        case .age: "age"
        case .rebinds: "rebinds"
        case .drops: "drops"
        case .gaps: "gaps"
        case .rtt: "rtt"
        case .attempts: "attempts"
        }
    }

    /// The number in a session, where it is known: bits a second of both directions together,
    /// bytes, nanoseconds, microseconds for the round trip, else how often.
    @inline(__always)
    func value(
        of rows: Span<SessionSnapshot>, _ row: Int, window: RateWindow, at now: Instant
    ) -> UInt64? {
        switch self {
        case .rate: wholeBits(rows[row].a.bits[window] + rows[row].b.bits[window])
        case .bytes: rows[row].forwardedBytes
        case .idle: rows[row].idleNanoseconds(at: now)
        case .age: rows[row].ageNanoseconds(at: now)
        case .rebinds: UInt64(rows[row].rebinds)
        case .drops: rows[row].drops.total
        case .gaps: UInt64(rows[row].a.sight.gaps) + UInt64(rows[row].b.sight.gaps)
        case .rtt: rows[row].roundTripMicroseconds
        case .attempts: UInt64(rows[row].attempts)
        }
    }

    /// The units that its bounds may have, the largest first.
    private var units: [NumberUnit] {
        switch self {
        case .rate, .rebinds, .drops, .gaps, .attempts: NumberUnit.decimal
        case .bytes: NumberUnit.bytes
        case .idle, .age: NumberUnit.times
        case .rtt: NumberUnit.roundTrips
        }
    }

    /// What a number without a unit is counted in.
    private var bareFactor: UInt64 {
        switch self {
        case .rate, .bytes, .rebinds, .drops, .gaps, .attempts: 1
        case .idle, .age: Nanoseconds.perSecond
        case .rtt: Nanoseconds.perMillisecond / Nanoseconds.perMicrosecond
        }
    }

    /// What a bound may be, for whoever wrote another one.
    var allowed: String {
        let what =
            switch self {
            case .rate: "bits a second"
            case .bytes: "bytes"
            case .rebinds, .drops, .gaps, .attempts: "a number"
            case .idle, .age: "seconds"
            case .rtt: "milliseconds"
            }
        let names = units.reversed().map(\.name).joined(separator: ", ")
        return "\(name) with <, <=, > or >= and \(what), or with the unit \(names)"
    }

    /// Reads a bound such as "10", "1.5m" or "300ms"; nothing if it is none, or is not a whole
    /// number of what this is counted in, or does not fit in 64 bits.
    func bound(_ text: ArraySlice<UInt8>) -> UInt64? {
        let number = text.prefix { isDigit($0) || $0 == UInt8(ascii: ".") }
        let unit = text[number.endIndex...]
        if unit.isEmpty { return scaled(number, by: bareFactor) }
        guard let known = units.first(where: { unit.elementsEqual($0.name.utf8.map(lowercased)) })
        else { return nil }
        return scaled(number, by: known.factor)
    }

    /// A bound as it is written: in the largest unit of which it is a whole number.
    func text(ofBound bound: UInt64) -> String {
        let unit = units.first { bound != 0 && bound % $0.factor == 0 }
        return unit.map { "\(bound / $0.factor)\($0.name)" } ?? "\(bound)"
    }

    /// A decimal number with up to nine digits after its point, times `factor`.
    private func scaled(_ text: ArraySlice<UInt8>, by factor: UInt64) -> UInt64? {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count <= 2, let whole = parts.first, let value = UInt64(decimal: whole) else {
            return nil
        }
        let (product, isTooLarge) = value.multipliedReportingOverflow(by: factor)
        if isTooLarge { return nil }
        guard parts.count == 2 else { return product }
        guard parts[1].count <= 9, let fraction = UInt64(decimal: parts[1]) else { return nil }
        let power = parts[1].reduce(UInt64(1)) { power, _ in power * 10 }
        // The fraction is less than its power of ten, so the quotient fits.
        let (rest, remainder) = power.dividingFullWidth(fraction.multipliedFullWidth(by: factor))
        guard remainder == 0 else { return nil }
        let (sum, isSumTooLarge) = product.addingReportingOverflow(rest)
        return isSumTooLarge ? nil : sum
    }
}

/// How a number is compared with a bound.
enum NumberComparison: UInt8, BitwiseCopyable, CaseIterable {
    // Those with two characters first, so that the first one that fits is the right one.
    case atMost, atLeast, below, above

    var symbol: String {
        switch self {
        case .atMost: "<="
        case .atLeast: ">="
        case .below: "<"
        case .above: ">"
        }
    }

    @inline(__always)
    func holds(_ value: UInt64, _ bound: UInt64) -> Bool {
        switch self {
        case .atMost: value <= bound
        case .atLeast: value >= bound
        case .below: value < bound
        case .above: value > bound
        }
    }
}

/// A unit of numbers in a filter.
private struct NumberUnit {
    let name: String
    let factor: UInt64

    static let decimal = [
        NumberUnit(name: "G", factor: 1_000_000_000), NumberUnit(name: "M", factor: 1_000_000),
        NumberUnit(name: "k", factor: 1_000),
    ]
    static let bytes = [
        NumberUnit(name: "Gi", factor: 1 << 30), NumberUnit(name: "G", factor: 1_000_000_000),
        NumberUnit(name: "Mi", factor: 1 << 20), NumberUnit(name: "M", factor: 1_000_000),
        NumberUnit(name: "Ki", factor: 1 << 10), NumberUnit(name: "k", factor: 1_000),
    ]
    static let times = [
        NumberUnit(name: "d", factor: 86_400 * Nanoseconds.perSecond),
        NumberUnit(name: "h", factor: 3_600 * Nanoseconds.perSecond),
        NumberUnit(name: "m", factor: 60 * Nanoseconds.perSecond),
        NumberUnit(name: "s", factor: Nanoseconds.perSecond),
        NumberUnit(name: "ms", factor: Nanoseconds.perMillisecond),
        NumberUnit(name: "us", factor: Nanoseconds.perMicrosecond),
        NumberUnit(name: "ns", factor: 1),
    ]
    static let roundTrips = [
        NumberUnit(name: "s", factor: 1_000_000), NumberUnit(name: "ms", factor: 1_000),
        NumberUnit(name: "us", factor: 1),
    ]
}

extension UInt64 {
    /// Reads decimal digits; nothing if there are none, or others, or too many to fit.
    fileprivate init?(decimal text: ArraySlice<UInt8>) {
        guard !text.isEmpty, text.count <= 19, text.allSatisfy(isDigit) else { return nil }
        // 19 nines are less than 2^64.
        self = text.reduce(0) { $0 * 10 + UInt64($1 - UInt8(ascii: "0")) }
    }
}

/// A rate without its fraction; what is not a number counts as nothing.
@inline(__always)
private func wholeBits(_ rate: Float) -> UInt64 {
    guard rate >= 1 else { return 0 }
    return rate < 0x1p64 ? UInt64(rate) : .max
}

private func isDigit(_ character: UInt8) -> Bool {
    character >= UInt8(ascii: "0") && character <= UInt8(ascii: "9")
}
