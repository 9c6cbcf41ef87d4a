/// The screens of the dashboard.
nonisolated enum Screen: CaseIterable, Sendable {
    case sessions, detail, events, drops, help

    /// The name in the header and in the help.
    var title: String {
        switch self {
        case .sessions: "Sessions"
        case .detail: "Session"
        case .events: "Events"
        case .drops: "Drops"
        case .help: "Help"
        }
    }
}

/// What an operator wants, whatever key said so.
nonisolated enum Intent: Hashable, Sendable {
    case up, down, pageUp, pageDown, first, last
    case open, back, nextScreen, previousScreen, show(Screen)
    case editFilter, sortByNext, reverseSort, holdOrder
    case pause, stepTime(seconds: Int)
    case evict, undoEviction
    case raiseLogLevel, lowerLogLevel
    case toggleUnit, nextWindow, toggleMask, export, refreshFaster, refreshSlower
    case onlyThisSession, nextLevel
    case repaint, suspend, quit

    /// Whether it asks the relay to do something.
    var isCommand: Bool {
        switch self {
        case .evict, .undoEviction, .raiseLogLevel, .lowerLogLevel: true
        default: false
        }
    }
}

/// A key, or several that mean the same, and what it stands for.
nonisolated struct Binding: Sendable {
    /// The keys; the first one is shown.
    let keys: [Key]
    let intent: Intent
    /// One or two words for the function bar; nothing where the key is not shown there.
    let label: String?
    /// What it does, for the help screen.
    let help: String

    init(_ keys: [Key], _ intent: Intent, label: String? = nil, help: String) {
        self.keys = keys
        self.intent = intent
        self.label = label
        self.help = help
    }
}

/// Which keys mean what on which screen: the one table that dispatch, help and function bar read.
nonisolated enum KeyTable {
    /// The bindings of a screen, those that matter most there first.
    static func bindings(on screen: Screen) -> [Binding] {
        switch screen {
        case .sessions: sessions + moving + everywhere
        case .detail: detail + moving + everywhere
        case .events: events + moving + everywhere
        case .drops: moving + everywhere
        case .help: moving + everywhere
        }
    }

    /// What a key stands for on a screen.
    static func intent(for key: Key, on screen: Screen) -> Intent? {
        bindings(on: screen).first { $0.keys.contains(key) }?.intent
    }

    private static let sessions: [Binding] = [
        Binding([.enter], .open, label: "Detail", help: "show everything about the session"),
        Binding(
            [.character("/")], .editFilter, label: "Filter", help: "show only sessions that match"),
        Binding([.character("s")], .sortByNext, label: "Sort", help: "sort by the next column"),
        Binding([.character("S")], .reverseSort, help: "sort the other way round"),
        Binding([.character("o")], .holdOrder, help: "hold the order, or let it go"),
        Binding(
            [.character("x")], .evict, label: "Evict", help: "evict the session, after a question"),
        Binding(
            [.character("u")], .undoEviction, label: "Undo",
            help: "undo the last eviction, within 5 s"),
        Binding(
            [.character("f")], .onlyThisSession, label: "Events",
            help: "show the session's events"),
    ]

    private static let detail: [Binding] = [
        Binding(
            [.character("x")], .evict, label: "Evict", help: "evict the session, after a question"),
        Binding(
            [.character("u")], .undoEviction, label: "Undo",
            help: "undo the last eviction, within 5 s"),
        Binding(
            [.character("f")], .onlyThisSession, label: "Events",
            help: "show the session's events"),
    ]

    private static let events: [Binding] = [
        Binding(
            [.enter], .open, label: "Detail", help: "show everything about the event's session"),
        Binding(
            [.character("f")], .onlyThisSession, label: "Session",
            help: "only the events of this one's session, or all"),
        Binding(
            [.character("v")], .nextLevel, label: "Level",
            help: "show only events from the next level up"),
    ]

    private static let moving: [Binding] = [
        Binding([.up, .character("k")], .up, help: "up"),
        Binding([.down, .character("j")], .down, help: "down"),
        Binding([.pageUp], .pageUp, help: "a page up"),
        Binding([.pageDown], .pageDown, help: "a page down"),
        Binding([.character("g"), .home], .first, help: "to the beginning"),
        Binding([.character("G"), .end], .last, help: "to the end"),
    ]

    private static let everywhere: [Binding] = [
        Binding([.character(" ")], .pause, label: "Pause", help: "freeze everything, or go on"),
        Binding([.escape, .backspace], .back, help: "back; an empty filter; out of the past"),
        Binding([.tab], .nextScreen, label: "Screen", help: "the next screen"),
        Binding([.backTab], .previousScreen, help: "the screen before"),
        Binding([.character("1"), .function(2)], .show(.sessions), help: "sessions"),
        Binding([.character("2"), .function(3)], .show(.detail), help: "the selected session"),
        Binding([.character("3"), .function(4)], .show(.events), help: "events"),
        Binding([.character("4"), .function(5)], .show(.drops), help: "drops"),
        Binding([.character("?"), .function(1)], .show(.help), label: "Help", help: "this help"),
        Binding([.character("[")], .stepTime(seconds: -1), help: "a second back in time"),
        Binding([.character("]")], .stepTime(seconds: 1), help: "a second forward"),
        Binding([.character("{")], .stepTime(seconds: -60), help: "a minute back in time"),
        Binding([.character("}")], .stepTime(seconds: 60), help: "a minute forward"),
        Binding([.character("l")], .raiseLogLevel, help: "log more; debug and trace for 10 min"),
        Binding([.character("L")], .lowerLogLevel, help: "log less"),
        Binding([.character("b")], .toggleUnit, help: "rates in bits or bytes"),
        Binding([.character("a")], .nextWindow, help: "rates over 2 s, 10 s or 60 s"),
        Binding([.character("P")], .toggleMask, help: "hide addresses and ids, for screenshots"),
        Binding([.character("e")], .export, help: "write what is shown to a JSON file"),
        Binding([.character("+")], .refreshFaster, help: "refresh more often"),
        Binding([.character("-")], .refreshSlower, help: "refresh less often"),
        Binding([.control("l")], .repaint, help: "draw the screen anew"),
        Binding([.control("z")], .suspend, help: "suspend, where the relay is another process"),
        Binding(
            [.character("q"), .control("c"), .function(10)], .quit, label: "Quit", help: "quit"),
    ]
}

nonisolated extension Key {
    /// How the key is written on the screen.
    var name: String {
        switch self {
        case .character(" "): "Space"
        case .character(let character): String(character)
        case .control(let character): "Ctrl-" + character.uppercased()
        case .up: "↑"
        case .down: "↓"
        case .left: "←"
        case .right: "→"
        case .pageUp: "PgUp"
        case .pageDown: "PgDn"
        case .home: "Home"
        case .end: "End"
        case .enter: "Enter"
        case .escape: "Esc"
        case .tab: "Tab"
        case .backTab: "Shift-Tab"
        case .backspace: "Backspace"
        case .delete: "Del"
        case .insert: "Ins"
        case .function(let number): "F\(number)"
        }
    }
}
