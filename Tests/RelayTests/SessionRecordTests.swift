import FoundationEssentials
import Glibc
import RelayCore
import Testing

@testable import Relay

/// A folder that is gone when its test is over.
final class TemporaryFolder {
    let path: String

    init() throws {
        let name = "quic-relay-\(getpid())-\(UInt64.random(in: .min ... .max))"
        path = FileManager.default.temporaryDirectory.appendingPathComponent(name).path
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false)
    }

    deinit {
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            Issue.record("\(path) cannot be removed: \(error)")
        }
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func text(_ name: String) throws -> String {
        try String(contentsOfFile: file(name), encoding: .utf8)
    }

    func write(_ text: String, to name: String) throws {
        try text.write(toFile: file(name), atomically: false, encoding: .utf8)
    }
}

@Suite("A file of whole lines")
struct SessionLogFileTests {
    private func line(_ number: Int) -> String { "{\"session\":\"\(number)\"}\n" }

    @discardableResult
    private func append(_ text: String, to file: inout SessionLogFile) -> Errno? {
        let outcome = file.append(Array(text.utf8))
        if outcome.failure == nil { #expect(outcome.byteCount == text.utf8.count) }
        return outcome.failure
    }

    @Test func linesAreAppendedToWhatIsThere() throws {
        let folder = try TemporaryFolder()
        try folder.write("of another process\n", to: "log")
        var file = try SessionLogFile(path: folder.file("log"))
        append(line(1), to: &file)
        append(line(2) + line(3), to: &file)
        #expect(try folder.text("log") == "of another process\n" + line(1) + line(2) + line(3))
    }

    @Test func onlyOwnerAndGroupMayReadIt() throws {
        let folder = try TemporaryFolder()
        let file = try SessionLogFile(path: folder.file("log"))
        _ = consume file
        let attributes = try FileManager.default.attributesOfItem(atPath: folder.file("log"))
        let mode = try #require(attributes[.posixPermissions] as? Int)
        #expect(mode & 0o137 == 0 && mode & 0o600 == 0o600)
    }

    @Test func whatIsLeftOfALineIsCutOffBeforeTheNext() throws {
        let folder = try TemporaryFolder()
        try folder.write(line(1) + "{\"session\":\"2", to: "log")
        var file = try SessionLogFile(path: folder.file("log"))
        append(line(3), to: &file)
        #expect(try folder.text("log") == line(1) + line(3))
    }

    @Test func whatIsNotOursIsNotCut() throws {
        let folder = try TemporaryFolder()
        for text in ["a diary without an end", line(1) + "{\"sess", "\n\nx"] {
            try folder.write(text, to: "log")
            var file = try SessionLogFile(path: folder.file("log"))
            append(line(3), to: &file)
            #expect(try folder.text("log").hasPrefix(text))
        }
    }

    @Test func aRenamedFileIsWrittenToUntilItIsReopened() throws {
        let folder = try TemporaryFolder()
        var file = try SessionLogFile(path: folder.file("log"))
        append(line(1), to: &file)
        try FileManager.default.moveItem(atPath: folder.file("log"), toPath: folder.file("log.1"))
        append(line(2), to: &file)
        file.close()
        append(line(3), to: &file)
        #expect(try folder.text("log.1") == line(1) + line(2))
        #expect(try folder.text("log") == line(3))
    }

    @Test func aTruncatedFileGrowsFromItsBeginning() throws {
        let folder = try TemporaryFolder()
        var file = try SessionLogFile(path: folder.file("log"))
        append(line(1), to: &file)
        let result = unsafe truncate(folder.file("log"), 0)
        #expect(result == 0)
        append(line(2), to: &file)
        #expect(try folder.text("log") == line(2))
    }

    @Test func aDeletedFileIsMadeAnewAndAFolderIsWaitedFor() throws {
        let folder = try TemporaryFolder()
        let inner = folder.file("inner")
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: false)
        var file = try SessionLogFile(path: inner + "/log")
        append(line(1), to: &file)
        try FileManager.default.removeItem(atPath: inner)
        #expect(append(line(2), to: &file) == Errno(code: ENOENT))
        #expect(append(line(2), to: &file) == Errno(code: ENOENT))
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: false)
        #expect(append(line(2), to: &file) == nil)
        #expect(try folder.text("inner/log") == line(2))
    }

    @Test func onlyARegularFileWillDo() throws {
        let folder = try TemporaryFolder()
        let result = unsafe mkfifo(folder.file("pipe"), 0o600)
        #expect(result == 0)
        for path in [folder.file("pipe"), folder.path, "/dev/null", folder.file("no/log"), ""] {
            #expect(throws: SystemError.self, "\(path)") { _ = try SessionLogFile(path: path) }
        }
    }
}

@Suite("Session records")
struct SessionRecordTests {
    private func service(_ log: SessionLogConfiguration) throws -> RelayService {
        var start = RelayStart()
        start.sessionLog = log
        return try RelayService(
            RelayConfiguration(sessionLimit: 100),
            socket: SocketConfiguration(
                address: IPAddress(v4: 0x7f00_0001), port: 0, receiveBufferBytes: 100_000),
            logLevel: .info, start: start)
    }

    private func register(_ peer: TestSocket, _ number: UInt64, at service: RelayService) {
        peer.send(
            Array("REG:\(SessionID(high: number << 32, low: 5))\n".utf8),
            to: service.socket.address)
        #expect(peer.receive()?.bytes == Array("ACK\n".utf8))
    }

    /// What these tests look at.
    private struct Record: Decodable {
        let session: String
        let reason: String
    }

    private func records(_ text: String) throws -> [Record] {
        try text.split(separator: "\n").map {
            try JSONDecoder().decode(Record.self, from: Data($0.utf8))
        }
    }

    @Test func sessionsAreWrittenWhenTheyEndAndAtTheRelaysEnd() throws {
        let folder = try TemporaryFolder()
        let service = try service(SessionLogConfiguration(path: folder.file("log")))
        let peer = try TestSocket("127.0.0.1")
        // Each registration ends the session before.
        for number in 1...20 as ClosedRange<UInt64> { register(peer, number, at: service) }
        service.stop()
        let text = try folder.text("log")
        let ids = (1...20).map { SessionID(high: UInt64($0) << 32, low: 5).short }
        #expect(try records(text).map(\.session) == ids)
        let reasons = [String](repeating: "abandoned", count: 19) + ["relay_stopped"]
        #expect(try records(text).map(\.reason) == reasons)
        #expect(service.sessionRecords == SessionRecordCounts(written: 20, lost: 0, waiting: 0))
    }

    @Test func sessionsThatLiveOnAreNotAtTheirEnd() throws {
        let folder = try TemporaryFolder()
        let service = try service(
            SessionLogConfiguration(
                path: folder.file("log"), showsFullIDs: true, sessionsLiveOn: true))
        let peer = try TestSocket("127.0.0.1")
        register(peer, 1, at: service)
        register(peer, 2, at: service)
        service.stop()
        let text = try folder.text("log")
        #expect(try records(text).map(\.session) == [SessionID(high: 1 << 32, low: 5).description])
    }

    @Test func noLineIsLostWhenTheFileIsRotated() throws {
        let folder = try TemporaryFolder()
        let service = try service(SessionLogConfiguration(path: folder.file("log")))
        let peer = try TestSocket("127.0.0.1")
        let count = 400
        for number in 1...count {
            register(peer, UInt64(number), at: service)
            guard number % 20 == 0 else { continue }
            try FileManager.default.moveItem(
                atPath: folder.file("log"), toPath: folder.file("log.\(number)"))
            #expect(service.reopenFiles())
            // As the recorder makes the next file before it writes on.
            while !FileManager.default.fileExists(atPath: folder.file("log")) { sched_yield() }
        }
        service.stop()
        var ids: [String] = []
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
            let text = try folder.text(name)
            #expect(text.isEmpty || text.hasSuffix("\n"))
            ids += try records(text).map(\.session)
        }
        #expect(Set(ids).count == count && ids.count == count)
    }

    @Test func aMissingFolderIsToldAndWaitedFor() throws {
        let folder = try TemporaryFolder()
        let inner = folder.file("inner")
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: false)
        let service = try service(SessionLogConfiguration(path: inner + "/log"))
        let reader = try service.makeEventReader()
        let peer = try TestSocket("127.0.0.1")
        register(peer, 1, at: service)
        try FileManager.default.removeItem(atPath: inner)
        register(peer, 2, at: service)
        var events: [RelayEvent] = []
        func wait(for event: RelayEvent) throws {
            while !events.contains(event) {
                try #require(waitUntilReadable(reader.descriptor))
                events += reader.take().map(\.event)
            }
        }
        try wait(for: .sessionLogFailed(errno: ENOENT))
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: false)
        try wait(for: .sessionLogResumed)
        service.stop()
        #expect(
            try records(folder.text("inner/log")).map(\.reason) == ["abandoned", "relay_stopped"])
        #expect(service.sessionRecords.lost == 0)
    }

    @Test func whatCannotBeWrittenAtTheEndIsLostAndCounted() throws {
        let folder = try TemporaryFolder()
        let inner = folder.file("inner")
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: false)
        let service = try service(SessionLogConfiguration(path: inner + "/log"))
        let peer = try TestSocket("127.0.0.1")
        register(peer, 1, at: service)
        try FileManager.default.removeItem(atPath: inner)
        register(peer, 2, at: service)
        service.stop()
        #expect(service.sessionRecords == SessionRecordCounts(written: 0, lost: 2, waiting: 0))
    }
}
