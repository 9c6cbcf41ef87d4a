/// A key as it was pressed.
nonisolated enum Key: Hashable, Sendable {
    /// One that stands for a character.
    case character(Character)
    /// A letter with the control key, in lower case.
    case control(Character)
    case up, down, left, right, pageUp, pageDown, home, end
    case enter, escape, tab, backTab, backspace, delete, insert
    /// F1 to F12.
    case function(Int)
}

/// Turns what a terminal sends into keys.
///
/// Terminals send an escape sequence for keys that stand for no character (ECMA-48 §5.4, xterm's
/// ctlseqs). The escape key itself sends the byte that they begin with; what it means shows only
/// when nothing follows: call `flush()` then. Sequences that mean nothing here are left out, whole.
nonisolated struct KeyDecoder: Sendable {
    /// How long after an escape byte the rest of a sequence may take. Terminals send it in one
    /// piece, but the network may cut it.
    static let escapeMilliseconds = 50
    /// A sequence longer than this is none.
    private static let sequenceLimit = 32

    private var pending: [UInt8] = []

    /// Whether `flush` has something to decide.
    var isPending: Bool { !pending.isEmpty }

    /// Takes bytes and gives the keys that they complete.
    mutating func take(_ bytes: some Sequence<UInt8>) -> [Key] {
        pending += bytes
        var keys: [Key] = []
        while let (key, count) = next() {
            if let key { keys.append(key) }
            pending.removeFirst(count)
        }
        return keys
    }

    /// Takes what is there as it stands, as nothing came for a while.
    mutating func flush() -> [Key] {
        guard pending.first == 0x1b else {
            pending.removeAll()
            return []
        }
        let rest = pending.dropFirst()
        pending.removeAll()
        return [.escape] + take(rest) + (pending.isEmpty ? [] : flush())
    }

    /// The first key of what is pending and its bytes; no key for what means nothing, and nothing
    /// at all while it is not complete.
    private func next() -> (key: Key?, count: Int)? {
        guard let first = pending.first else { return nil }
        switch first {
        case 0x1b: return sequence()
        case 0x0d, 0x0a: return (.enter, 1)
        case 0x09: return (.tab, 1)
        case 0x7f, 0x08: return (.backspace, 1)
        case 0x00: return (nil, 1)
        case 0x01...0x1a:
            return (.control(Character(Unicode.Scalar(first + 0x60))), 1)
        case 0x20...0x7e: return (.character(Character(Unicode.Scalar(first))), 1)
        case 0xc2...0xf4: return character(length: first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4)
        default: return (nil, 1)
        }
    }

    /// A character of several bytes (UTF-8).
    private func character(length: Int) -> (key: Key?, count: Int)? {
        guard pending.count >= length else { return nil }
        let text = String(decoding: pending.prefix(length), as: UTF8.self)
        guard let character = text.first, text.count == 1, character != "\u{fffd}" else {
            return (nil, 1)
        }
        return (.character(character), length)
    }

    private func sequence() -> (key: Key?, count: Int)? {
        guard pending.count >= 2 else { return nil }
        switch pending[1] {
        case UInt8(ascii: "["): return controlSequence()
        case UInt8(ascii: "O"):
            guard pending.count >= 3 else { return nil }
            return (KeyDecoder.key(final: pending[2], parameter: 0), 3)
        case 0x1b: return (.escape, 1)
        // A key with Alt: the key itself is meant as well as anything.
        default: return (nil, 1)
        }
    }

    /// ESC [ parameters final, where the final byte is the first from 0x40 to 0x7e.
    private func controlSequence() -> (key: Key?, count: Int)? {
        // The Linux console sends ESC [ [ A to E for F1 to F5.
        if pending.count >= 3, pending[2] == UInt8(ascii: "[") {
            guard pending.count >= 4 else { return nil }
            let number = Int(pending[3]) - Int(UInt8(ascii: "A")) + 1
            return ((1...5).contains(number) ? .function(number) : nil, 4)
        }
        var parameter = 0
        var isFirst = true
        for index in 2..<min(pending.count, KeyDecoder.sequenceLimit) {
            let byte = pending[index]
            switch byte {
            case 0x40...0x7e:
                return (KeyDecoder.key(final: byte, parameter: parameter), index + 1)
            case UInt8(ascii: "0")...UInt8(ascii: "9") where isFirst:
                parameter = min(1_000, 10 * parameter + Int(byte - UInt8(ascii: "0")))
            case UInt8(ascii: ";"): isFirst = false
            default: break
            }
        }
        return pending.count >= KeyDecoder.sequenceLimit ? (nil, KeyDecoder.sequenceLimit) : nil
    }

    private static func key(final: UInt8, parameter: Int) -> Key? {
        switch final {
        case UInt8(ascii: "A"): .up
        case UInt8(ascii: "B"): .down
        case UInt8(ascii: "C"): .right
        case UInt8(ascii: "D"): .left
        case UInt8(ascii: "H"): .home
        case UInt8(ascii: "F"): .end
        case UInt8(ascii: "Z"): .backTab
        case UInt8(ascii: "M"): .enter
        case UInt8(ascii: "P")...UInt8(ascii: "S"):
            .function(Int(final - UInt8(ascii: "P")) + 1)
        case UInt8(ascii: "~"): editing(parameter)
        default: nil
        }
    }

    /// The keys that send ESC [ number ~.
    private static func editing(_ number: Int) -> Key? {
        switch number {
        case 1, 7: .home
        case 2: .insert
        case 3: .delete
        case 4, 8: .end
        case 5: .pageUp
        case 6: .pageDown
        case 11...15: .function(number - 10)
        case 17...21: .function(number - 11)
        case 23, 24: .function(number - 12)
        default: nil
        }
    }
}
