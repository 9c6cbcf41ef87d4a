/// What an operator may ask of a running relay. Its effect comes back as a `RelayEvent`.
public enum RelayCommand: Equatable, Sendable {
    /// Ends a session and refuses its id for a while.
    case evict(SessionID)
    /// Restores an evicted session whole.
    case undoEvict(SessionID)
    /// Takes no new sessions from now on and lets the old ones end.
    case drain
    /// Changes what is logged.
    case setLogLevel(LogLevel)
    /// Puts another configuration in force, but for the session limit: memory was laid out for that
    /// at the start.
    case reconfigure(RelayConfiguration)
}
