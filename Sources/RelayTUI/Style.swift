/// What a piece of text is, which decides how it looks. State is never told by colour alone.
nonisolated enum Style: UInt8, CaseIterable, Sendable {
    /// Ordinary text.
    case plain
    /// What matters less: labels, units, hints.
    case faint
    /// The name of the program and of the screen.
    case title
    /// The heading of a table, and of the column that it is sorted by.
    case heading, sortedHeading
    /// The row with the cursor.
    case selection
    /// Rows of sessions that have ended.
    case ended
    /// Things that are as they should be, want attention, or are broken.
    case good, warning, bad
    /// What must not be overlooked: PAUSED, draining.
    case badge
    /// A key and what it does, in the function bar.
    case key, keyLabel
    /// Sparklines.
    case graph
    /// A dialog's frame and text, and its button that Enter presses.
    case dialog, button
    /// What is being typed.
    case entry
}

/// How a style looks on a terminal.
nonisolated struct Look: Equatable, Sendable {
    /// One of the terminal's eight colours.
    enum Color: Int, Sendable {
        case standard = -1
        case black, red, green, yellow, blue, magenta, cyan, white
    }

    var color = Color.standard
    var isBold = false
    var isDim = false
    var isReverse = false
    var isUnderlined = false
}

/// The looks of all styles. The background is the terminal's own.
nonisolated enum Theme {
    /// How a style looks, with colours or without (NO_COLOR, and terminals that have none).
    static func look(_ style: Style, hasColors: Bool) -> Look {
        var look = base(style)
        if !hasColors { look.color = .standard }
        return look
    }

    private static func base(_ style: Style) -> Look {
        switch style {
        case .plain: Look()
        case .faint: Look(isDim: true)
        case .title: Look(isBold: true)
        case .heading: Look(color: .cyan, isUnderlined: true)
        case .sortedHeading: Look(color: .cyan, isBold: true, isUnderlined: true)
        case .selection: Look(isReverse: true)
        case .ended: Look(isDim: true)
        case .good: Look(color: .green)
        case .warning: Look(color: .yellow, isBold: true)
        case .bad: Look(color: .red, isBold: true)
        case .badge: Look(color: .yellow, isBold: true, isReverse: true)
        case .key: Look(isBold: true, isReverse: true)
        case .keyLabel: Look()
        case .graph: Look(color: .green)
        case .dialog: Look(isBold: true)
        case .button: Look(isBold: true, isReverse: true)
        case .entry: Look(isUnderlined: true)
        }
    }
}
