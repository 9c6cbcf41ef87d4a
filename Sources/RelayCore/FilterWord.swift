/// A word of a filter while it is read: what it asks, and how it is written.
struct FilterWord {
    /// Whether it was preceded by "!".
    let isNegated: Bool
    /// Its readings, at least one; it matches if any of them does.
    let tests: [FilterTest]
    /// The normalised word.
    let text: String
    /// The word as it was typed, but for capitals.
    let lowercasedText: String

    /// Reads a word as it was typed.
    init(_ typed: [UInt8]) throws(SessionFilterError) {
        let word = typed.map(lowercased)
        isNegated = word.first == UInt8(ascii: "!")
        let body = word[(isNegated ? 1 : 0)...]
        let shown = FilterWord.shown(typed)
        let plain: (tests: [FilterTest], text: String)
        if let operand = body.firstIndex(where: FilterWord.comparisons.contains) {
            plain = try FilterWord.comparison(body, at: operand, shown: shown)
        } else if let colon = body.firstIndex(of: UInt8(ascii: ":")),
            body[..<colon].contains(where: FilterWord.isOfNamesOnly)
        {
            plain = try FilterWord.pair(body, at: colon, shown: shown)
        } else {
            let tests = FilterKey.allCases.flatMap { $0.tests(body) }
            plain = (tests, String(decoding: body, as: UTF8.self))
            guard !tests.isEmpty else { throw .unknownWord(shown) }
        }
        tests = plain.tests
        lowercasedText = String(decoding: word, as: UTF8.self)
        text = (isNegated ? "!" : "") + plain.text
    }

    /// Reads a name, a comparison and a number.
    private static func comparison(
        _ body: ArraySlice<UInt8>, at operand: Int, shown: String
    ) throws(SessionFilterError) -> (tests: [FilterTest], text: String) {
        let name = body[..<operand]
        let rest = body[operand...]
        guard let quantity = SessionQuantity.allCases.first(where: { $0.name.isText(name) }) else {
            throw error(ofName: name, shown: shown)
        }
        let comparison = NumberComparison.allCases.first { rest.starts(with: $0.symbol.utf8) }
        guard let comparison, let bound = quantity.bound(rest.dropFirst(comparison.symbol.count))
        else { throw .badValue(shown, allowed: quantity.allowed) }
        return (
            [.number(quantity, comparison, bound)],
            quantity.name + comparison.symbol + quantity.text(ofBound: bound)
        )
    }

    /// Reads a name, a colon and a value.
    private static func pair(
        _ body: ArraySlice<UInt8>, at colon: Int, shown: String
    ) throws(SessionFilterError) -> (tests: [FilterTest], text: String) {
        let name = body[..<colon]
        guard let key = FilterKey.allCases.first(where: { $0.rawValue.isText(name) }) else {
            throw error(ofName: name, shown: shown)
        }
        let value = body[(colon + 1)...]
        let tests = key.tests(value)
        guard !tests.isEmpty else { throw .badValue(shown, allowed: key.allowed) }
        return (tests, key.rawValue + ":" + key.normalised(value))
    }

    /// What is wrong with a name that does not go with what follows it.
    private static func error(ofName name: ArraySlice<UInt8>, shown: String) -> SessionFilterError {
        if let key = FilterKey.allCases.first(where: { $0.rawValue.isText(name) }) {
            return .badValue(shown, allowed: key.allowed)
        }
        if let quantity = SessionQuantity.allCases.first(where: { $0.name.isText(name) }) {
            return .badValue(shown, allowed: quantity.allowed)
        }
        return .unknownName(shown)
    }

    private static let comparisons = [UInt8(ascii: "<"), UInt8(ascii: ">")]

    /// Whether a character before the first colon tells that this is a name, and no IPv6 address.
    private static func isOfNamesOnly(_ character: UInt8) -> Bool {
        switch character {
        case UInt8(ascii: "g")...UInt8(ascii: "z"), UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: false
        }
    }

    /// The word for an error's line: whatever is typed, this is short, and safe to print.
    private static func shown(_ typed: [UInt8]) -> String {
        let limit = 40
        let text = typed.prefix(limit).map {
            $0 > UInt8(ascii: " ") && $0 < 0x7f ? $0 : UInt8(ascii: "?")
        }
        return String(decoding: text, as: UTF8.self) + (typed.count > limit ? "..." : "")
    }
}

/// What stands before a colon in a filter; each is also a way to read a bare word.
enum FilterKey: String, CaseIterable {
    case phase, why, state, peer, id

    /// The ways to read a value; none if it is no value of this.
    func tests(_ value: ArraySlice<UInt8>) -> [FilterTest] {
        switch self {
        case .phase, .why, .state:
            let names = names(beginningWith: value)
            return names.set.isEmpty ? [] : [.name(names.set)]
        case .peer: return AddressPattern.readings(of: value).map { .peer($0) }
        case .id: return SessionIDPrefix(value).map { [.id($0)] } ?? []
        }
    }

    /// The value as it is written: a name that is meant alone, in full.
    func normalised(_ value: ArraySlice<UInt8>) -> String {
        let matches = names(beginningWith: value).matches
        if matches.count == 1, let name = matches.first { return name }
        return String(decoding: value, as: UTF8.self)
    }

    /// What a value may be, for whoever wrote another one.
    var allowed: String {
        switch self {
        case .phase: "phase: and \(listed(QUICPhase.allCases.map(\.name)))"
        case .why: "why: and a diagnosis: \(listed(DiagnosisKind.allCases.map(\.name)))"
        case .state: "state: and \(listed(SessionPlace.allCases.compactMap(\.filterName)))"
        case .peer: "peer: and an IPv4 or IPv6 address or its beginning"
        case .id: "id: and 1 to 32 hexadecimal digits"
        }
    }

    /// The names that begin with a value: as a set, and in full.
    private func names(
        beginningWith value: ArraySlice<UInt8>
    ) -> (set: NameSet, matches: [String]) {
        var set = NameSet()
        var matches: [String] = []
        guard !value.isEmpty else { return (set, matches) }
        func add(_ name: String?, _ insert: () -> Void) {
            guard let name, name.utf8.starts(with: value) else { return }
            matches.append(name)
            insert()
        }
        switch self {
        case .phase:
            for phase in QUICPhase.allCases { add(phase.name) { set.insert(phase) } }
        case .why:
            for kind in DiagnosisKind.allCases { add(kind.name) { set.insert(kind) } }
        case .state:
            for place in SessionPlace.allCases { add(place.filterName) { set.insert(place) } }
        case .peer, .id: break
        }
        return (set, matches)
    }
}

/// Some diagnoses, phases and states, a bit for each.
struct NameSet: BitwiseCopyable {
    private var diagnoses: UInt32 = 0
    private var phases: UInt8 = 0
    private var places: UInt8 = 0

    var isEmpty: Bool { diagnoses == 0 && phases == 0 && places == 0 }

    @inline(__always)
    func contains(_ kind: DiagnosisKind) -> Bool { diagnoses >> kind.rawValue & 1 != 0 }

    @inline(__always)
    func contains(_ phase: QUICPhase) -> Bool { phases >> phase.rawValue & 1 != 0 }

    @inline(__always)
    func contains(_ place: SessionPlace) -> Bool { places >> place.rawValue & 1 != 0 }

    mutating func insert(_ kind: DiagnosisKind) { diagnoses |= 1 << kind.rawValue }

    mutating func insert(_ phase: QUICPhase) { phases |= 1 << phase.rawValue }

    mutating func insert(_ place: SessionPlace) { places |= 1 << place.rawValue }
}

extension SessionPlace {
    /// The name in a filter; a picture has no free places.
    fileprivate var filterName: String? {
        switch self {
        case .free: nil
        case .waiting: "waiting"
        case .paired: "paired"
        case .quarantined: "quarantined"
        }
    }
}

extension String {
    fileprivate func isText(_ bytes: ArraySlice<UInt8>) -> Bool { utf8.elementsEqual(bytes) }
}

private func listed(_ names: [String]) -> String {
    names.dropLast().joined(separator: ", ") + " or " + (names.last ?? "")
}

/// An ASCII letter in lower case, anything else as it is.
func lowercased(_ character: UInt8) -> UInt8 {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): character | 0x20
    default: character
    }
}
