internal import Glibc
internal import RelayCore

/// Writes what is shown to a JSON file, for reports and for later.
enum Export {
    /// Writes the file into the directory for temporary files, readable by its owner only, and says
    /// where it is or why it is not.
    static func write(_ model: Model) -> String {
        let directory = "/tmp"
        let path = "\(directory)/quic-relay-\(time(nil))-\(getpid()).json"
        let text = Array(json(model).utf8)
        // Sound: the path is read as a C string; the file must not be there before.
        let file = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { return "cannot write \(path)" }
        defer { close(file) }
        // Sound: as many bytes are read as the array has.
        let count = unsafe Glibc.write(file, text, text.count)
        return count == text.count ? "written to \(path)" : "\(path) could not be written whole"
    }

    /// The totals, and the sessions that are shown, as one JSON object.
    nonisolated static func json(_ model: Model) -> String {
        let totals = model.moment.picture.totals
        let sessions = model.items.map { session($0, model) }.joined(separator: ",\n    ")
        return """
            {
              "relay": \(string(model.isMasked ? "masked" : model.name)),
              "state": \(string(totals.state.name)),
              "filter": \(string(model.filter.description)),
              "received_datagrams": \(totals.received.datagrams),
              "forwarded_datagrams": \(totals.forwarded.datagrams),
              "forwarded_bytes": \(totals.forwarded.bytes),
              "dropped_datagrams": \(totals.dropped),
              "rebinds": \(totals.rebinds.total),
              "sessions": [
                \(sessions)
              ]
            }

            """
    }

    private nonisolated static func session(_ item: SessionItem, _ model: Model) -> String {
        let session = item.session
        let now = model.moment.picture.totals.time
        var fields = [
            ("session", string(model.shown(session.id))),
            ("state", string(item.ending?.name ?? session.place.word)),
            ("diagnosis", string(session.diagnosis.kind.name)),
            ("seen", string(session.diagnosis.sentence)),
            ("age_seconds", "\(session.ageNanoseconds(at: now) / Nanoseconds.perSecond)"),
            ("rebinds", "\(session.rebinds)"), ("dropped_datagrams", "\(session.drops.total)"),
        ]
        for (name, peer) in [("a", session.a), ("b", session.b)] where peer.isBound {
            fields.append((name, self.peer(peer, model)))
        }
        return object(fields)
    }

    private nonisolated static func peer(_ peer: PeerSnapshot, _ model: Model) -> String {
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

    private nonisolated static func object(_ fields: [(String, String)]) -> String {
        "{" + fields.map { "\(string($0.0)): \($0.1)" }.joined(separator: ", ") + "}"
    }

    /// A JSON string (RFC 8259 §7).
    private nonisolated static func string(_ text: String) -> String {
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
