import Glibc
import Logging
import Testing

@testable import Relay

@Suite("Log lines")
struct LineLogHandlerTests {
    /// What is written for a message, without the time that it begins with.
    private func line(
        _ format: LogFormat, _ name: String, _ fields: [String: String],
        level: Logger.Level = .info
    ) throws -> String {
        let pipe = Pipe()
        var logger = Logger(label: "test") { _ in
            LineLogHandler(format: format, descriptor: pipe.writeEnd)
        }
        logger.logLevel = .trace
        logger.log(level: level, "\(name)", metadata: fields.mapValues { "\($0)" })
        let text = pipe.text()
        let time = #/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z/#
        #expect(text.matches(of: time).count == 1)
        #expect(text.last == "\n")
        #expect(text.filter { $0 == "\n" }.count == 1)
        return String(text.replacing(time, with: "T").dropLast())
    }

    /// A disk that is full takes nothing; once there is room it is told how much is missing.
    @Test func linesThatAFullDiskRefusedAreCounted() throws {
        let pipe = Pipe()
        let file = unsafe open("/dev/full", O_WRONLY | O_CLOEXEC)
        defer { close(file) }
        let logger = Logger(label: "test") { _ in LineLogHandler(format: .text, descriptor: file) }
        for number in 0..<5 { logger.info("lost_\(number)") }
        #expect(dup2(pipe.writeEnd, file) == file)
        logger.info("written")
        logger.info("next")
        let lines = pipe.text().split(separator: "\n").map { $0.drop { $0 != " " } }
        #expect(lines == [" warning log_lines_lost count=5", " info written", " info next"])
    }

    @Test func aTextLineHasTimeLevelEventAndFields() throws {
        #expect(try line(.text, "drained", [:]) == "T info drained")
        #expect(
            try line(.text, "session_opened", ["peer": "192.0.2.1:5"], level: .warning)
                == "T warning session_opened peer=192.0.2.1:5")
    }

    @Test func aJSONLineHasTheSameFactsUnderTheSameNames() throws {
        #expect(
            try line(.json, "drained", [:], level: .notice)
                == #"{"time":"T","level":"notice","event":"drained"}"#)
        #expect(
            try line(.json, "session_opened", ["peer": "[::1]:5", "session": "0a"])
                == #"{"time":"T","level":"info","event":"session_opened","#
                + #""session":"0a","peer":"[::1]:5"}"#)
    }

    @Test(arguments: LogFormat.allCases)
    func theSessionComesFirstAndWhatWasSuppressedLast(format: LogFormat) throws {
        let fields = [
            "zone": "1", "suppressed": "2", "a": "3", "session_id": "4", "session": "5", "to": "6",
        ]
        let text = try line(format, "e", fields)
        let places = ["session", "session_id", "a", "to", "zone", "suppressed"].map { name in
            let key = format == .text ? " \(name)=" : "\"\(name)\":"
            return text.ranges(of: key).map {
                text.distance(from: text.startIndex, to: $0.lowerBound)
            }
        }
        #expect(places.allSatisfy { $0.count == 1 })
        #expect(places.flatMap { $0 } == places.flatMap { $0 }.sorted())
    }

    @Test(arguments: [
        ("plain", "plain"), ("1.5", "1.5"), ("[::1]:4433", "[::1]:4433"), ("a=b", "a=b"),
        ("", #""""#), ("two words", #""two words""#), ("q\"q", #""q\"q""#), ("b\\b", #""b\\b""#),
        ("a\nb", #""a\u000ab""#), ("\u{1b}[2J", #""\u001b[2J""#), ("\t", #""\u0009""#),
        ("\u{7f}", #""\u007f""#), ("\0", #""\u0000""#), ("é", #""\u00e9""#),
        ("\u{9b}31m", #""\u009b31m""#), ("🙂", #""\ud83d\ude42""#), ("\u{202e}", #""\u202e""#),
        ("\r\n", #""\u000d\u000a""#),
    ])
    func noValueRunsIntoTheNextFieldOrReachesTheTerminal(value: String, shown: String) throws {
        #expect(
            try line(.text, "e", ["a": value, "b": "1"]) == "T info e a=\(shown) b=1")
        let quoted = shown.first == "\"" ? shown : "\"\(shown)\""
        #expect(
            try line(.json, "e", ["a": value])
                == #"{"time":"T","level":"info","event":"e","a":\#(quoted)}"#)
    }

    @Test(arguments: [Logger.Level.trace, .debug, .info, .notice, .warning, .error])
    func everyLevelHasItsName(level: Logger.Level) throws {
        #expect(try line(.text, "e", [:], level: level) == "T \(level.rawValue) e")
    }

    @Test func fieldsOfTheLoggerComeWithEachLineAndYieldToTheLinesOwn() {
        let pipe = Pipe()
        var logger = Logger(label: "test") { _ in
            LineLogHandler(format: .text, descriptor: pipe.writeEnd)
        }
        logger[metadataKey: "worker"] = "1"
        logger[metadataKey: "a"] = "2"
        logger.info("e", metadata: ["a": "3"])
        logger.debug("below the level")
        #expect(pipe.text().hasSuffix(" info e a=3 worker=1\n"))
    }
}
