import RelayCore

/// `relay-checks memory`: the bytes that a session costs, by table.
struct MemoryCommand {
    static let usage = "usage: relay-checks memory [--sessions N]"

    private var sessions = 1_000_000

    /// Reads the arguments; what is wrong with them is one line.
    init(_ arguments: ArraySlice<String>) throws(UsageError) {
        var rest = arguments
        while let option = rest.popFirst() {
            guard option == "--sessions", let number = rest.popFirst().flatMap(Int.init),
                Setting.sessionLimit.range.contains(number)
            else { throw UsageError("memory: --sessions takes a number; \(Self.usage)") }
            sessions = number
        }
    }

    /// Prints; the exit status.
    func run() -> Int32 {
        print("bytes for a session, at a limit of \(sessions), every peer at a source of its own")
        let tables = RelayEngine.tables(sessionLimit: sessions)
        for table in tables {
            line(table.name, table.byteCount, "\(table.count) records of \(table.recordBytes)")
        }
        line("together", tables.byteCount)
        print("beside them, where it is wanted")
        line("limits of bandwidth", RelayEngine.meterByteCount(sessionLimit: sessions))
        line("a picture for those who look", RelaySnapshot.byteCount(sessionLimit: sessions))
        line("a checkpoint to be written", RelayCheckpoint.byteCount(sessionLimit: sessions))
        line("a worker beside the first", ForwarderReplica.byteCount(sessionLimit: sessions))
        return 0
    }

    private func line(_ name: String, _ bytes: Int, _ note: String = "") {
        let tenths = (10 * bytes + sessions / 2) / sessions
        let number = "\(tenths / 10).\(tenths % 10)"
        let padding = String(repeating: " ", count: max(1, 42 - name.count - number.count))
        print("  \(name)\(padding)\(number)\(note.isEmpty ? "" : "  \(note)")")
    }
}
