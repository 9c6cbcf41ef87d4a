import Glibc
import TestSupport
import Testing

@Suite("The terminal after the dashboard", .serialized)
struct TerminalRestorationTests {
    static let types = ["xterm-256color", "screen-256color", "vt220", "linux"]

    @Test(arguments: types)
    func itIsRestoredWhenTheOperatorQuits(type: String) throws {
        let program = try TerminalProgram(environment: ["TERM": type])
        try program.waitForDashboard()
        #expect(program.pty.isRaw)
        #expect(program.seen.isAlternate == (type != "vt220" && type != "linux"))
        program.pty.type("q")
        #expect(try program.waitForEnd() == .exit(0))
        program.expectRestored()
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGQUIT], types)
    func itIsRestoredWhenASignalEndsTheRelay(signal: Int32, type: String) throws {
        let program = try TerminalProgram(environment: ["TERM": type])
        try program.waitForDashboard()
        program.signal(signal)
        #expect(try program.waitForEnd() == .exit(0))
        program.expectRestored()
    }

    @Test(
        arguments: [SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGILL, SIGTRAP],
        ["xterm-256color", "vt220", "linux"])
    func itIsRestoredWhenTheProgramIsKilled(signal: Int32, type: String) throws {
        let program = try TerminalProgram(environment: ["TERM": type])
        try program.waitForDashboard()
        program.signal(signal)
        #expect(try program.waitForEnd() == .signal(signal))
        program.expectRestored()
        // What was there before is there again.
        if type == "xterm-256color" { #expect(program.seen.text.joined() == "") }
    }

    @Test func aSignalEndsItWithASummaryWhenItDrainsFirst() throws {
        let program = try TerminalProgram("quic-relay", ["--drain-secs", "3600"], columns: 200)
        let port = try program.waitForDashboard()
        var pair = try Pair(port: port)
        program.signal(SIGTERM)
        try program.waitUntil("the drain") { $0.text.contains("drain_started") }
        program.expectRestored()
        for _ in 0..<20 { try pair.exchange() }
        program.signal(SIGTERM)
        #expect(try program.waitForEnd() == .exit(0))
        #expect(program.text.contains("notice stopped"))
    }

    @Test func itIsRestoredWhenAThreadTraps() throws {
        let program = try TerminalProgram("relay-breakdown", ["otherThread"])
        try program.waitForDashboard()
        program.pty.type("l")
        // A trap is ud2 on x86 and brk on ARM.
        let ending = try program.waitForEnd()
        #expect([.signal(SIGILL), .signal(SIGTRAP)].contains(ending), "\(ending)")
        program.expectRestored()
        // What Swift had to say about it would have been lost with the alternate screen.
        #expect(program.text.contains("Index out of range"), "\(program.text)")
    }

    @Test func aDescriptorThatOthersHaveIsLeftAsItWas() throws {
        let program = try TerminalProgram(
            shell: "\"$@\"; grep flags /proc/self/fdinfo/0; cat /proc/self/fdinfo/1")
        try program.waitForDashboard()
        program.pty.type("q")
        #expect(try program.waitForEnd() == .exit(0))
        let flags = program.text.matches(of: #/flags:\s*0?([0-7]+)/#).compactMap {
            Int($0.1, radix: 8)
        }
        #expect(flags.count == 2)
        #expect(flags.allSatisfy { $0 & Int(O_NONBLOCK) == 0 }, "\(program.text)")
    }
}
