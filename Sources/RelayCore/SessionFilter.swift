/// Which sessions to show: words separated by blanks, all of which must match.
///
///     203.0.113          a peer's IPv4 address, or the whole numbers that it begins with
///     203.0.113.5:4433   the same and its port
///     2001:db8:          a peer's IPv6 address, or the text that it begins with
///     [2001:db8::1]:443  an IPv6 address and its port
///     5f0c2a             the digits that a session's id begins with
///     stalled            what a diagnosis, a phase or a state begins with
///     peer: id: why: phase: state:      the same, read in this one way
///     rate>1M idle<=10s  a number: rate bytes idle age rebinds drops gaps rtt attempts
///     !word              what the word does not match
///
/// A bare word matches if any of its readings does: `5` is the first number of an IPv4 address, the
/// first digit of an id and of an IPv6 address. `203.0.1` is no beginning of 203.0.113.5, since the
/// numbers between the dots are whole ones. Upper and lower case are alike. What is not known, such
/// as the round trip of a session without QUIC, is neither above nor below any number; `!` matches
/// it.
///
/// It is parsed once; matching a session makes no text and allocates nothing.
public struct SessionFilter: Sendable {
    /// Words in a filter: 16 with up to five readings of 48 B each take 4 KiB.
    public static let wordLimit = 16
    /// Bytes in a filter's text.
    public static let byteLimit = 256

    /// The normalised text, which makes the same filter when it is parsed.
    public let description: String
    /// The readings of all words, one word after the other.
    private let readings: [Reading]

    /// The filter that every session passes.
    public static let all = SessionFilter()

    /// A filter that every session passes.
    public init() {
        description = ""
        readings = []
    }

    /// Reads a filter, or says which word is wrong and what is allowed in its place.
    public init(_ text: String) throws(SessionFilterError) {
        let byteCount = text.utf8.count
        guard byteCount <= SessionFilter.byteLimit else { throw .tooLong(byteCount: byteCount) }
        let words = text.utf8.split { $0 <= UInt8(ascii: " ") }
        guard words.count <= SessionFilter.wordLimit else { throw .tooManyWords(words.count) }
        var readings: [Reading] = []
        var texts: [String] = []
        var typed: [String] = []
        for bytes in words {
            let word = try FilterWord(Array(bytes))
            for number in word.tests.indices {
                readings.append(
                    Reading(
                        test: word.tests[number], isNegated: word.isNegated,
                        isLast: number == word.tests.count - 1))
            }
            texts.append(word.text)
            typed.append(word.lowercasedText)
        }
        self.readings = readings
        // Names in full may be too long; whatever this is, it can be parsed again.
        let normalised = texts.joined(separator: " ")
        let isShort = normalised.utf8.count <= SessionFilter.byteLimit
        description = isShort ? normalised : typed.joined(separator: " ")
    }

    /// Whether every session passes.
    public var isEmpty: Bool { readings.isEmpty }

    /// Whether a session passes; rates are averaged over `window`.
    public func matches(
        _ session: SessionSnapshot, window: RateWindow, at now: Instant
    ) -> Bool {
        let row: InlineArray<1, SessionSnapshot> = [session]
        return matches(row.span, 0, window: window, at: now)
    }

    /// Whether one of many sessions passes, of which only the few bytes that matter are read.
    func matches(
        _ rows: Span<SessionSnapshot>, _ row: Int, window: RateWindow, at now: Instant
    ) -> Bool {
        var isMatch = false
        for reading in readings {
            if !isMatch { isMatch = reading.test.matches(rows, row, window: window, at: now) }
            guard reading.isLast else { continue }
            if isMatch == reading.isNegated { return false }
            isMatch = false
        }
        return true
    }

    /// One way in which a word can match.
    private struct Reading: BitwiseCopyable {
        let test: FilterTest
        /// Whether the session passes if none of the word's readings matches.
        let isNegated: Bool
        /// Whether the next reading is another word's.
        let isLast: Bool
    }
}

extension SessionFilter: CustomStringConvertible, Equatable {
    /// Whether two filters have the same normalised text.
    public static func == (left: SessionFilter, right: SessionFilter) -> Bool {
        left.description == right.description
    }
}

/// Why a text is no filter.
public enum SessionFilterError: Error, Equatable, CustomStringConvertible {
    /// The text is too long.
    case tooLong(byteCount: Int)
    /// There are too many words.
    case tooManyWords(Int)
    /// Nothing can be read into a word.
    case unknownWord(String)
    /// A word names what there is not.
    case unknownName(String)
    /// What follows a name is not what it takes.
    case badValue(String, allowed: String)

    /// One line that names the word and says what is allowed.
    public var description: String {
        switch self {
        case .tooLong(let byteCount):
            "filter of \(byteCount) bytes: must be at most \(SessionFilter.byteLimit)"
        case .tooManyWords(let count):
            "filter of \(count) words: must be at most \(SessionFilter.wordLimit)"
        case .unknownWord(let word):
            "\(word): must be an address or its beginning, hexadecimal digits of a session id, "
                + "a diagnosis, a phase or a state"
        case .unknownName(let word):
            "\(word): must begin with one of \(SessionFilterError.names)"
        case .badValue(let word, let allowed): "\(word): must be \(allowed)"
        }
    }

    /// What a word with a value begins with.
    private static var names: String {
        let keys = FilterKey.allCases.map { $0.rawValue + ":" }
        let quantities = SessionQuantity.allCases.map { $0.name + ">" }
        return (keys + quantities).joined(separator: " ")
    }
}

// MARK: - Matching

/// What a session is asked in one reading of a word.
enum FilterTest: BitwiseCopyable {
    /// Whether its diagnosis, phase or state is one of these.
    case name(NameSet)
    /// Whether its id begins so.
    case id(SessionIDPrefix)
    /// Whether a peer's address is so.
    case peer(AddressPattern)
    /// Whether a number of its is above or below a bound.
    case number(SessionQuantity, NumberComparison, UInt64)

    @inline(__always)
    func matches(
        _ rows: Span<SessionSnapshot>, _ row: Int, window: RateWindow, at now: Instant
    ) -> Bool {
        switch self {
        case .name(let names):
            if names.contains(rows[row].diagnosis.kind) { return true }
            if names.contains(rows[row].place) { return true }
            return names.contains(rows[row].phase)
        case .id(let prefix):
            return prefix.matches(rows[row].id)
        case .peer(let pattern):
            if pattern.matches(rows[row].a.address) { return true }
            return pattern.matches(rows[row].b.address)
        case .number(let quantity, let comparison, let bound):
            guard let value = quantity.value(of: rows, row, window: window, at: now) else {
                return false
            }
            return comparison.holds(value, bound)
        }
    }
}

/// The first digits of a session id.
struct SessionIDPrefix: BitwiseCopyable {
    private var id = SessionID(high: 0, low: 0)
    private var mask = SessionID(high: 0, low: 0)

    /// Reads 1 to 32 hexadecimal digits, with or without the dashes of the canonical form.
    init?(_ text: ArraySlice<UInt8>) {
        var digits = 0
        var mayHaveDash = false
        for byte in text {
            if byte == UInt8(ascii: "-"), mayHaveDash {
                mayHaveDash = false
                continue
            }
            guard digits < 32, let digit = hexadecimalValue(of: byte) else { return nil }
            let shift = UInt64(60 - 4 * (digits % 16))
            if digits < 16 {
                id.high |= digit << shift
                mask.high |= 0xf << shift
            } else {
                id.low |= digit << shift
                mask.low |= 0xf << shift
            }
            digits += 1
            mayHaveDash = digits == 8 || digits == 12 || digits == 16 || digits == 20
        }
        guard digits > 0 else { return nil }
    }

    @inline(__always)
    func matches(_ other: SessionID) -> Bool {
        other.high & mask.high == id.high && other.low & mask.low == id.low
    }
}
