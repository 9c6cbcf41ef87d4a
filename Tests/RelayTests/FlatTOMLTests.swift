import Testing

@testable import Relay

/// Whether a reader of the whole of TOML agrees is tested with the program.
@Suite struct FlatTOMLTests {
    private func read(_ text: String) throws(FlatTOML.Fault) -> [FlatTOML.Entry] {
        try FlatTOML(Array(text.utf8)).entries
    }

    private func value(_ text: String) throws(FlatTOML.Fault) -> FlatTOML.Value? {
        try read("key = \(text)").first?.value
    }

    @Test func linesBecomeEntriesInTheirOrder() throws {
        let entries = try read(
            "# about\n\nport = 4433 # here\r\n\t no-tui\t=true\nlog-level='info'#\n_9 = \"\"")
        #expect(
            entries == [
                .init(key: "port", value: .integer(4_433), line: 3),
                .init(key: "no-tui", value: .boolean(true), line: 4),
                .init(key: "log-level", value: .string("info"), line: 5),
                .init(key: "_9", value: .string(""), line: 6),
            ])
    }

    @Test(arguments: ["", "\n", "# only a comment", " \t\r\n\n", "\n\n#\n"])
    func thereMayBeNothing(text: String) throws {
        #expect(try read(text).isEmpty)
    }

    @Test(arguments: [
        ("0", 0), ("-0", 0), ("+7", 7), ("-12", -12), ("1_000_000", 1_000_000),
        ("9223372036854775807", Int.max), ("-9223372036854775808", Int.min),
    ])
    func integersAreDecimal(text: String, number: Int) throws {
        #expect(try value(text) == .integer(number))
    }

    @Test(arguments: [
        (#""a b""#, "a b"), (#""\b\t\n\f\r\"\\""#, "\u{8}\t\n\u{c}\r\"\\"), (#""""#, ""),
        (#""é€\u00e9\U0001F600""#, "é€é😀"), (#"'\n"# + "'", "\\n"), ("''", ""),
        (#"'say "so"'"#, "say \"so\""), ("\"#\"", "#"), ("\"\ta\"", "\ta"), ("'='", "="),
    ])
    func textStandsInQuotes(text: String, content: String) throws {
        #expect(try value(text) == .string(content))
    }

    @Test(arguments: [
        ("1.5", "'1.5'"), ("1e3", "'1e3'"), ("inf", "'inf'"), ("0x1F", "'0x1F'"),
        ("0o17", "'0o17'"), ("012", "'012'"), ("1_", "'1_'"), ("_1", "'_1'"), ("1__0", "'1__0'"),
        ("--1", "'--1'"), ("info", "text in quotes"), ("True", "true, false"),
        ("1979-05-27", "'1979-05-27'"), ("9223372036854775808", "64 bits"),
        ("[1, 2]", "arrays"), ("{ a = 1 }", "tables"), ("\"\"\"a\"\"\"", "several lines"),
        ("'''a'''", "several lines"), ("", "key has no value"), ("# none", "key has no value"),
        ("1 2", "only a comment"), ("\"a\" b", "only a comment"), ("true false", "only a comment"),
        ("\"a", "does not end"), ("'a", "does not end"), ("\"a\u{1}\"", "control character"),
        ("'a\u{7f}'", "does not end"), ("\"\\x41\"", "after a backslash"),
        ("\"\\", "does not end"), ("\"\\ud800\"", "no character"), ("\"\\u12\"", "no character"),
        ("\"\\u+123\"", "no character"), ("\"\\U00110000\"", "no character"),
        ("1 # a\u{2}", "control character"), ("\u{1}", "''"),
    ])
    func whatIsNotUsedHereIsNamed(text: String, part: String) {
        let fault = #expect(throws: FlatTOML.Fault.self) { try read("\n\nkey = \(text)\n") }
        #expect(fault?.line == 3)
        #expect(fault?.reason.contains(part) == true, "\(fault?.reason ?? "")")
    }

    @Test(arguments: [
        ("[table]", "tables"), ("[[tables]]", "tables"), ("\"key\" = 1", "without quotes"),
        ("'key' = 1", "without quotes"), ("a.b = 1", "dots"), ("a . b = 1", "dots"),
        ("key", "after key"), ("key 1", "after key"), ("= 1", "key = value"), ("ключ = 1", "key ="),
        ("\u{feff}key = 1", "key = value"), ("key = 1\r", "only a comment"),
        ("# a\r", "control character"), ("\r", "key = value"), (";", "key = value"),
    ])
    func whatIsNoLineIsNamed(text: String, part: String) {
        let fault = #expect(throws: FlatTOML.Fault.self) { try read(text) }
        #expect(fault?.line == 1)
        #expect(fault?.reason.contains(part) == true, "\(fault?.reason ?? "")")
    }

    @Test func aKeyIsSetOnce() {
        let fault = #expect(throws: FlatTOML.Fault.self) { try read("a = 1\nb = 2\na = 1\n") }
        #expect(fault == .init(line: 3, reason: "a is set for the second time, after line 1"))
    }

    @Test func otherEncodingsAreRefused() {
        for bytes: [UInt8] in [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82]] {
            let text = Array("a = 1\nb = \"".utf8) + bytes + Array("\"\n".utf8)
            let fault = #expect(throws: FlatTOML.Fault.self) { try FlatTOML(text) }
            #expect(fault == .init(line: 2, reason: "this is not UTF-8"))
        }
    }
}
