public import Logging

/// How a log line looks.
public enum LogFormat: String, CaseIterable, Sendable {
    /// `2026-01-31T08:00:00.000Z info session_paired session=1a2b3c4d a=192.0.2.1:4433 …`
    case text
    /// One JSON object a line, every value a string.
    case json
}

/// Writes one line for each message to a file descriptor: time, level, event and fields.
///
/// The message is the event's name and the metadata are its fields, so that both formats hold the
/// same facts under the same names. Times are UTC with milliseconds (RFC 3339).
public struct LineLogHandler: LogHandler {
    private let format: LogFormat
    private let output: LogOutput

    /// See `LogHandler`.
    public var logLevel = Logger.Level.info
    /// See `LogHandler`.
    public var metadata: Logger.Metadata = [:]

    /// Writes to an open descriptor, such as 1, the standard output. Should that be a terminal that
    /// hangs up, lines go to `fallback`; to nowhere if that has hung up, too.
    public init(format: LogFormat, descriptor: Int32, fallback: Int32? = nil) {
        self.format = format
        output = LogOutput(descriptor: descriptor, fallback: fallback)
    }

    /// See `LogHandler`.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes the line, and before it how many were lost, as nobody read them or the disk was full.
    public func log(event: LogEvent) {
        let lost = output.takeLost()
        if lost > 0, !write(.warning, "log_lines_lost", ["count": "\(lost)"]) {
            output.noteLost(lost)
        }
        let fields = metadata.merging(event.metadata ?? [:]) { _, own in own }
        if !write(event.level, event.message.description, fields) { output.noteLost(1) }
    }

    private func write(
        _ level: Logger.Level, _ event: String, _ fields: Logger.Metadata
    ) -> Bool {
        let sorted = fields.sorted { LineLogHandler.order($0.key, $1.key) }
        return output.write(
            line(
                time: timestamp(unixMilliseconds: MonotonicClock.unixMilliseconds()),
                level: level.rawValue, event: event,
                fields: sorted.map { (name: $0.key, value: $0.value.description) }),
            // Start, summaries and end are notices: few, and what one looks for afterwards.
            isWorthWaitingFor: level == .notice)
    }

    /// The fields that say who and where, in the order in which one reads them; others follow by
    /// name, and how many lines were left out comes last.
    private static let firstFields = [
        "setting", "session", "session_id", "side", "address", "peer", "a", "b", "from", "to",
    ]

    static func order(_ left: String, _ right: String) -> Bool {
        func rank(_ name: String) -> Int {
            let last = firstFields.count + (name == "suppressed" ? 1 : 0)
            return firstFields.firstIndex(of: name) ?? last
        }
        return (rank(left), left) < (rank(right), right)
    }

    private func line(
        time: String, level: String, event: String, fields: [(name: String, value: String)]
    ) -> String {
        switch format {
        case .text:
            let rest = fields.map { " \($0.name)=\(quotedIfNeeded($0.value))" }.joined()
            return "\(time) \(level) \(event)\(rest)\n"
        case .json:
            let head = [("time", time), ("level", level), ("event", event)]
            let all = head + fields.map { ($0.name, $0.value) }
            let members = all.map { "\(jsonString($0.0)):\(jsonString($0.1))" }
            return "{\(members.joined(separator: ","))}\n"
        }
    }
}

/// A value as it stands, or in quotes where it would otherwise run into the next field.
func quotedIfNeeded(_ value: String) -> String {
    let isPlain =
        !value.isEmpty
        && value.unicodeScalars.allSatisfy {
            $0.value > 0x20 && $0.value < 0x7f && $0 != "\"" && $0 != "\\"
        }
    return isPlain ? value : jsonString(value)
}

/// A JSON string (RFC 8259 §7). Control characters and everything beyond ASCII are escaped, so that
/// no value can do anything to the terminal that shows it.
private func jsonString(_ value: String) -> String {
    var text = "\""
    for unit in value.utf16 {
        switch unit {
        case 0x22: text += "\\\""
        case 0x5c: text += "\\\\"
        case 0x20..<0x7f: text.unicodeScalars.append(Unicode.Scalar(UInt8(unit)))
        default:
            let digits = String(unit, radix: 16)
            text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
    }
    return text + "\""
}
