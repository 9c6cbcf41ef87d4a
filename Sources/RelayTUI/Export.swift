internal import Glibc
internal import RelayCore

/// Writes what is shown to a JSON file, for reports and for later.
enum Export {
    /// Writes the file into the directory for temporary files, readable by its owner only, and says
    /// where it is or why it is not.
    static func write(_ model: Model) -> String {
        let text = Array(ExportText.json(model).utf8)
        let begin = "\(directory)/quic-relay-\(time(nil))-\(getpid())"
        var path = ""
        var file: Int32 = -1
        for number in 1...nameLimit {
            path = begin + (number == 1 ? "" : "-\(number)") + ".json"
            // Sound: the path is read as a C string; the file must not be there before.
            file = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard file < 0 else { break }
        }
        guard file >= 0 else { return "cannot write \(path): \(reason)" }
        defer { close(file) }
        // Sound: as many bytes are read as the array has.
        let count = unsafe Glibc.write(file, text, text.count)
        return count == text.count
            ? "written to \(path)" : "\(path) could not be written whole: \(reason)"
    }

    /// Files of one second, at the most.
    private static let nameLimit = 100

    private static var directory: String {
        // Sound: what is found is copied at once; nothing changes the environment.
        guard let set = unsafe getenv("TMPDIR"), unsafe set[0] == UInt8(ascii: "/") else {
            return "/tmp"
        }
        return unsafe String(cString: set)
    }

    private static var reason: String {
        // Sound: the text is copied at once.
        unsafe String(cString: strerror(errno))
    }
}

/// What an export says.
nonisolated enum ExportText {
    /// The screen, the totals, the sessions, drops and events that are shown, as one JSON object.
    static func json(_ model: Model) -> String {
        let totals = model.moment.picture.totals
        let list = model.eventList.events.suffix(eventLimit)
        let fields = [
            ("screen", string(model.screen.title.lowercased())),
            ("relay", string(model.isMasked ? "masked" : model.relay.name)),
            ("unix_seconds", seconds(totals.time, model)),
            ("state", string(totals.state.name)),
            ("log_level", string(totals.logLevel.name)),
            ("filter", string(model.isMasked ? "masked" : model.filter.description)),
            ("sorted_by", string(model.order.column.name)),
            ("sessions_paired", "\(totals.pairedSessions)"),
            ("sessions_waiting", "\(totals.waitingSessions)"),
            ("sessions_in_trouble", "\(model.moment.picture.diagnoses.troubled)"),
            ("received_datagrams", "\(totals.received.datagrams)"),
            ("forwarded_datagrams", "\(totals.forwarded.datagrams)"),
            ("forwarded_bytes", "\(totals.forwarded.bytes)"),
            ("dropped_datagrams", "\(totals.dropped)"),
            ("rebinds", "\(totals.rebinds.total)"),
            ("drops", drops(totals)),
            ("selected", model.selectedItem.map { session($0, model) } ?? "null"),
            ("sessions", array(model.items.map { session($0, model) })),
            ("events", array(list.map { event($0, model) })),
        ]
        let lines = fields.map { "  \(string($0.0)): \($0.1)" }
        return "{\n\(lines.joined(separator: ",\n"))\n}\n"
    }

    private static let eventLimit = 256

    private static func drops(_ totals: RelayTotals) -> String {
        object(DropReason.allCases.map { ($0.name, "\(totals.drops[$0])") })
    }

    private static func session(_ item: SessionItem, _ model: Model) -> String {
        let session = item.session
        let now = model.moment.picture.totals.time
        let id = model.isMasked ? model.shown(session.id) : session.id.description
        var fields = [
            ("session", string(id)),
            ("state", string(item.ending?.name ?? session.place.word)),
            ("diagnosis", string(session.diagnosis.kind.name)),
            ("seen", string(session.diagnosis.sentence)),
            ("next_step", string(session.diagnosis.nextStep)),
            ("age_seconds", "\(session.ageNanoseconds(at: now) / Nanoseconds.perSecond)"),
            ("rebinds", "\(session.rebinds)"),
            ("dropped_datagrams", "\(session.drops.total)"),
        ]
        for (name, peer) in [("a", session.a), ("b", session.b)] where peer.isBound {
            fields.append((name, self.peer(peer, model)))
        }
        return object(fields)
    }

    private static func peer(_ peer: PeerSnapshot, _ model: Model) -> String {
        object([
            ("address", string(Format.address(peer.address, isMasked: model.isMasked))),
            ("phase", string(peer.sight.phase.name)),
            ("validated", string(peer.validation.name)),
            ("sent_bytes", "\(peer.forwarded.bytes)"),
            ("sent_datagrams", "\(peer.forwarded.datagrams)"),
            ("bits_per_second", "\(Int(peer.bits[model.order.window]))"),
            (
                "round_trip_microseconds",
                peer.sight.roundTripMicroseconds.map(String.init) ?? "null"
            ),
            ("gaps", "\(peer.sight.gaps)"),
        ])
    }

    private static func event(_ recorded: RecordedEvent, _ model: Model) -> String {
        object([
            ("unix_seconds", seconds(recorded.time, model)),
            ("level", string(recorded.event.level.name)),
            ("event", string(recorded.event.name)),
            ("session", recorded.event.session.map { string(model.shown($0)) } ?? "null"),
            ("text", string(EventText.what(recorded.event, model))),
        ])
    }

    private static func seconds(_ time: Instant, _ model: Model) -> String {
        Format.fixed(Double(model.wallNanoseconds(at: time) / 1_000_000) / 1_000, decimals: 3)
    }

    // MARK: JSON

    private static func object(_ fields: [(String, String)]) -> String {
        "{" + fields.map { "\(string($0.0)): \($0.1)" }.joined(separator: ", ") + "}"
    }

    private static func array(_ elements: [String]) -> String {
        elements.isEmpty ? "[]" : "[\n    \(elements.joined(separator: ",\n    "))\n  ]"
    }

    /// A JSON string (RFC 8259 §7).
    private static func string(_ text: String) -> String {
        var result = "\""
        for character in text.unicodeScalars {
            switch character {
            case "\"", "\\": result += "\\\(character)"
            case _ where character.value < 0x20:
                let digits = String(character.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(character)
            }
        }
        return result + "\""
    }
}
