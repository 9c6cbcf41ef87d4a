internal import FoundationEssentials
internal import Glibc
internal import RelayCore

/// Keeps what was sent in a month across restarts: the file `budget.json` in a folder.
///
/// The file is replaced as a whole, so that a crash leaves the old one or the new one. One that
/// cannot be read is put aside under another name and never overwritten.
public struct BudgetStore: Sendable {
    /// The folder, and the files in it.
    private let directory: String
    private var path: String { directory + "/budget.json" }
    private var unusablePath: String { path + ".unusable" }
    private var newPath: String { path + ".new" }

    /// What a file may have at most, in bytes: far more than the 600 that it has.
    static let sizeLimit = 16_384

    /// Keeps it in this folder, which must be there.
    public init(directory: String) {
        self.directory = directory
    }

    /// What was found.
    enum Finding {
        case nothing
        case ledger(BudgetLedger)
        /// There was a file, but not one that can be used.
        case unusable
    }

    /// Reads what a former relay kept. Where the system does not let us, nobody may begin anew:
    /// what is kept there would be replaced.
    func load() throws(SystemError) -> Finding {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try FileDescriptor(opening: path, O_RDONLY)
                .readAll(path, limit: BudgetStore.sizeLimit + 1)
        } catch {
            guard error.errno.code == ENOENT else { throw error }
            return .nothing
        }
        if let ledger = BudgetStore.ledger(in: bytes) { return .ledger(ledger) }
        // Sound: both are strings. Where it cannot be renamed it is replaced.
        _ = unsafe rename(path, unusablePath)
        return .unusable
    }

    /// What a file's bytes say; nothing if no relay wrote them.
    static func ledger(in bytes: [UInt8]) -> BudgetLedger? {
        guard bytes.count <= sizeLimit, JSONGrammar.accepts(bytes) else { return nil }
        do {
            return try JSONDecoder().decode(Contents.self, from: Data(bytes)).ledger
        } catch {
            return nil
        }
    }

    /// A file's bytes.
    static func contents(of ledger: BudgetLedger) -> [UInt8] {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            return [UInt8](try encoder.encode(Contents(ledger))) + [UInt8(ascii: "\n")]
        } catch {
            preconditionFailure("numbers can be encoded: \(error)")
        }
    }

    /// Replaces what is kept; says why if it cannot.
    func save(_ ledger: BudgetLedger) -> Errno? {
        do throws(SystemError) {
            let file = try FileDescriptor(opening: newPath, O_WRONLY | O_CREAT | O_TRUNC)
            try file.write(BudgetStore.contents(of: ledger), newPath)
            try systemCall("fsync", newPath) { Int(fsync(file.number)) }
            // Sound: both are strings, which are C strings for the duration of a call.
            try systemCall("rename", newPath) { Int(unsafe rename(newPath, path)) }
            // The file has its name after a crash of the machine, too (fsync(2)).
            let folder = try FileDescriptor(opening: directory, O_RDONLY | O_DIRECTORY)
            try systemCall("fsync", directory) { Int(fsync(folder.number)) }
            return nil
        } catch {
            return error.errno
        }
    }
}

/// The file. Its numbers are bytes, and seconds or hours since 1970.
private struct Contents: Codable {
    struct NotUsable: Error {}

    var version = 1
    var periodStart: Int64
    var periodEnd: Int64
    var spentBytes: UInt64
    var toldPercent: UInt8
    var hours: [UInt64]
    var hour: Int64
    var measuredSince: Int64

    private enum CodingKeys: String, CodingKey {
        case version
        case periodStart = "period_start"
        case periodEnd = "period_end"
        case spentBytes = "spent_bytes"
        case toldPercent = "told_percent"
        case hours
        case hour
        case measuredSince = "measured_since"
    }

    init(_ ledger: BudgetLedger) {
        periodStart = ledger.period.start
        periodEnd = ledger.period.end
        spentBytes = ledger.spentBytes
        toldPercent = ledger.toldPercent
        hours = (0..<24).map { ledger.hours[$0] }
        hour = ledger.hour
        measuredSince = ledger.measuredSince
    }

    /// What it holds, if that can be: another version, or numbers that no relay wrote, cannot.
    var ledger: BudgetLedger {
        get throws {
            // The year 10,000: beyond it no clock is right, and the calendar's sums still fit.
            let times: ClosedRange<Int64> = 0...253_402_300_800
            guard version == 1, hours.count == 24, times.contains(periodStart),
                times.contains(periodEnd), periodStart < periodEnd, times.contains(measuredSince),
                times.contains(hour), spentBytes <= UInt64(Int64.max),
                hours.allSatisfy({ $0 <= UInt64(Int64.max) / 24 })
            else { throw NotUsable() }
            var ledger = BudgetLedger(
                period: BudgetPeriod(start: periodStart, end: periodEnd), at: measuredSince)
            ledger.spentBytes = spentBytes
            ledger.toldPercent = toldPercent
            for place in 0..<24 { ledger.hours[place] = hours[place] }
            ledger.hour = hour
            return ledger
        }
    }
}
